"""How tests compare one tiny picture, and what they look at."""

import json
from dataclasses import replace
from pathlib import Path

from fprdo_bridge.ctc import compare as engine
from fprdo_bridge.ctc.points import MODES, CompareSettings, Point
from fprdo_bridge.ctc.results_folder import ResultsFolder
from fprdo_bridge.importance.weighting import WeightSettings
from fprdo_bridge.video.source import Source

JUDGE = "efficientnet_lite0"
SETTINGS = CompareSettings(weights=WeightSettings("efficientnet_lite0", probes=2))


def compare(sources: list[Source], settings: CompareSettings, tools, path: Path, say=lambda line: None) -> list[Point]:
    with ResultsFolder(path) as folder:
        return list(engine.compare(sources, settings, folder, say=say).points)


def stamps(folder: Path, pattern: str = "bitstreams/*.bin") -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in sorted(folder.glob(pattern))}


def redone(before: dict[str, int], after: dict[str, int]) -> set[str]:
    return {name for name, when in after.items() if before.get(name) != when}


def names(modes=MODES, qps=(27, 32, 37, 42)) -> set[str]:
    return {f"face-{mode}-qp{qp}.bin" for mode in modes for qp in qps}


def find_job(folder: Path, kind: str) -> Path:
    """The folder of a job of a kind."""
    records = sorted(folder.glob("store/jobs/*/*/record.json"))
    return next(path.parent for path in records if json.loads(path.read_text())["kind"] == kind)


def other_tools(folder: Path, monkeypatch, tools, **changes: str) -> None:
    """Have FPRDO_TOOLS name HM with some programs replaced."""
    entry = {name: str(value) for name, value in vars(tools).items() if value is not None} | changes
    (folder / "tools.json").write_text(json.dumps({"hm": entry}))
    monkeypatch.setenv("FPRDO_TOOLS", str(folder / "tools.json"))


def same_but_for_time(points: list[Point]) -> list[Point]:
    return [replace(point, encoder_seconds=0) for point in points]
