"""Runs of test conditions, in this process and by the command, and what they leave."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from fprdo_bridge.ctc.run import plan, run
from fprdo_bridge.ctc.store import Store

_PROGRAM = [sys.executable, "-m", "fprdo_bridge.cli", "ctc"]
# Of the conditions ctc_material.TWO on two pictures.
VARIANTS, POINTS, PICTURES = 5, 4, 2
CLEAN = {
    "encode": VARIANTS * POINTS * PICTURES,
    "decode": VARIANTS * POINTS * PICTURES,
    "score": 2 * VARIANTS * POINTS * PICTURES,
    "map": PICTURES,
}


def go(conditions: Path, data: Path, folder: Path, **options):
    """Plan and run; returns the outcome and the plan."""
    said = []
    with Store(folder) as store:
        planned, totals = plan(str(conditions), data, store, said.append)
        return run(planned, totals, store, say=said.append, **{"workers": 2} | options), planned


def environment() -> dict[str, str]:
    """One in which ctc_material can be imported."""
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}


def command(*words: object, more: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """fprdo ctc, to its end."""
    line = [*_PROGRAM, *map(str, words)]
    return subprocess.run(line, env=environment() | (more or {}), text=True, capture_output=True)


def start(place: Path, folder: Path, *words: object) -> subprocess.Popen[str]:
    """fprdo ctc run of place/two.toml into `folder`, in a session of its own."""
    line = [*_PROGRAM, "run", place / "two.toml", "--data", place, "-o", folder, *words]
    return subprocess.Popen(
        list(map(str, line)),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for_jobs(folder: Path, count: int, process: subprocess.Popen[str]) -> None:
    """Until so many jobs are in the store, or the run has ended."""
    while process.poll() is None and sum(1 for _ in folder.glob("jobs/*/*/record.json")) < count:
        time.sleep(0.01)


def tables(folder: Path, name: str = "two") -> dict[str, object]:
    """All tables of a store, times and what comes from them aside."""
    done = command("table", folder, name)
    assert done.returncode == 0, done.stderr
    text = [
        line
        for line in done.stdout.splitlines()
        if ", ratio" not in line and not line.startswith("map, s") and not line.endswith(".csv")
    ]
    data = json.loads((folder / "tables" / name / "summary.json").read_text())
    data.pop("time_ratios")
    with open(folder / "tables" / name / "points.csv", newline="") as file:
        rows = [
            {key: value for key, value in row.items() if "seconds" not in key and "memory" not in key}
            for row in csv.DictReader(file)
        ]
    return {"text": text, "json": data, "points": rows}
