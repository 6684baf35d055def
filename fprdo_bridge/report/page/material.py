"""What a page is made of, read from a store: numbers, and where bitstreams, maps and logs lie."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fprdo_bridge.ctc import results as ctc_results
from fprdo_bridge.ctc.results import Results, Run
from fprdo_bridge.ctc.store import Store
from fprdo_bridge.ctc.summary import Summary
from fprdo_bridge.errors import FprdoError

Place = tuple[str, str]  # set and item


@dataclass(frozen=True)
class Keys:
    """Jobs of a rate point.

    Attributes
    ----------
    value : QP, CRF or kbit/s
    scores : by title of the task
    map : None without weights
    """

    value: float
    encode: str
    decode: str
    scores: Mapping[str, str]
    map: str | None


@dataclass(frozen=True)
class Material:
    """A run.

    Attributes
    ----------
    sizes : (width, height, frames, pictures per second) of each item
    keys : by item and run, in the order of the values
    failed : what jobs of the last run said that failed, and their titles
    """

    results: Results
    summary: Summary
    sizes: Mapping[Place, tuple[int, int, int, float]]
    keys: Mapping[Place, Mapping[Run, list[Keys]]]
    failed: list[tuple[str, str]] = field(default_factory=list)

    @property
    def store(self) -> Store:
        """The store."""
        return self.results.store

    def done(self, keys: Keys) -> bool:
        """Whether a point is encoded and verified."""
        return self.store.has(keys.encode) and self.store.has(keys.decode)

    @property
    def finished(self) -> int:
        """Points that are encoded and verified."""
        return sum(self.done(one) for runs in self.keys.values() for points in runs.values() for one in points)

    @property
    def planned(self) -> int:
        """All points."""
        return sum(len(points) for runs in self.keys.values() for points in runs.values())


def read(store: Store, name: str, say: Callable[[str], None] = lambda line: None) -> Material:
    """The run `name` of a store.

    Raises
    ------
    FprdoError
        It was not run in this store, or a record is damaged.
    """
    from fractions import Fraction

    results = ctc_results.read(store, name)
    sizes: dict[Place, tuple[int, int, int, float]] = {}
    keys: dict[Place, dict[Run, list[Keys]]] = {}
    for line in ctc_results.manifest_lines(store, name):
        place = line["set"], line["item"]
        sizes[place] = line["width"], line["height"], line["frames"], float(Fraction(line["fps"]))
        runs = keys.setdefault(place, {})
        for point in line["points"]:
            one = Keys(point["value"], point["encode"], point["decode"], point["scores"], point["map"])
            runs.setdefault((point["encoder"], point["variant"]), []).append(one)
    for runs in keys.values():
        for points in runs.values():
            points.sort(key=lambda one: one.value)
    return Material(results, Summary(results, say), sizes, keys, _failed(store, name))


def _failed(store: Store, name: str) -> list[tuple[str, str]]:
    found = []
    for path in sorted((store.folder / "failed" / name).glob("*.json")):
        try:
            entry = json.loads(path.read_bytes())
            found.append((str(entry["title"]), str(entry["error"])))
        except (OSError, ValueError, KeyError, TypeError):
            found.append((path.stem, f"{path} cannot be read"))
    return found


def encode_record(material: Material, keys: Keys) -> dict[str, Any] | None:
    """The record of a point's encode; None where it is not done or damaged."""
    try:
        return material.store.record(keys.encode)
    except FprdoError:
        return None


_TEMPORARY = re.compile(r"[^\s='\"]*/tmp/[0-9a-f]{32}/[^\s'\"]*?([^/\s'\"]+)(?=[\s'\"]|$)")


def command_of(record: Mapping[str, Any], item: str, store: Path) -> str:
    """The encoder's command as it ran, without the folders of the machine: of the run's temporary files the name alone,
    ITEM.yuv for the source, STORE for the store, and names of programs and configurations.

    Parameters
    ----------
    record : of an encode
    item : the name of its source
    """
    command = str(record["provenance"].get("command", ""))
    command = _TEMPORARY.sub(lambda found: _name(found[1], item), command)
    command = command.replace(str(store), "STORE").replace(str(store.absolute()), "STORE")
    command = re.sub(r"(?<![^\s'\"=])/[^\s'\"]*/bin/([^/\s'\"]+)", r"\1", command)
    return re.sub(r"(?<![^\s'\"=])/[^\s'\"]*/([^/\s'\"]+\.cfg)", r"\1", command)


def _name(name: str, item: str) -> str:
    stem, dot, suffix = name.rpartition(".")
    return f"{item}{dot}{suffix}" if re.fullmatch("[0-9a-f]{64}", stem) else name


def finite(value: float | None, digits: int = 6) -> float | None:
    """A number as JSON holds it: rounded to significant digits; None for what is none."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.{digits}g}")
