"""What a run left in its store, as numbers: per set, encoder and variant the rates and scores of every item and
point."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from fprdo_bridge.ctc import conditions as conditions_file
from fprdo_bridge.ctc.conditions import Conditions, TaskSetting
from fprdo_bridge.ctc.store import Store
from fprdo_bridge.ctc.tasks import Measure, Task, make
from fprdo_bridge.errors import FprdoError

Run = tuple[str, str]  # encoder setting and variant
Grid = list[list[float]]  # per item, per rate point; NaN where there is none


@dataclass
class SetResults:
    """One set.

    Attributes
    ----------
    items : names, in the order of the run
    seconds_of : duration of each item
    bits : run -> Grid
    scores : (run, task title, measure) -> Grid, of tasks that are means
    records : (run, task title) -> keys of score jobs, of tasks that reduce a set by themselves
    costs : (run, what) -> Grid; what is "encode", "decode", "memory", "map" (seconds, seconds, bytes, seconds)
    """

    name: str
    overall: bool
    items: list[str] = field(default_factory=list)
    seconds_of: list[float] = field(default_factory=list)
    values_of: dict[Run, list[tuple[float, ...]]] = field(default_factory=dict)
    bits: dict[Run, Grid] = field(default_factory=dict)
    scores: dict[tuple[Run, str, str], Grid] = field(default_factory=dict)
    records: dict[tuple[Run, str], list[list[str]]] = field(default_factory=dict)
    originals: dict[str, list[str]] = field(default_factory=dict)
    costs: dict[tuple[Run, str], Grid] = field(default_factory=dict)


@dataclass
class Results:
    """A run's numbers.

    Attributes
    ----------
    missing : jobs that are not done
    tasks : by title, in the order of the conditions; those that had to be left out are not there
    """

    conditions: Conditions
    store: Store
    sets: dict[str, SetResults]
    tasks: dict[str, Task]
    problems: list[str]
    missing: int = 0
    software: dict[str, str] = field(default_factory=dict)

    def measures(self) -> Iterator[tuple[str, Task, Measure]]:
        """Every measure with its task and the task's title."""
        for title, task in self.tasks.items():
            for measure in task.measures:
                yield title, task, measure

    def runs(self) -> list[Run]:
        """Encoder settings and variants that have points, in the order of the conditions."""
        there = {run for one in self.sets.values() for run in one.bits}
        return [
            (encoder.name, variant.name)
            for encoder in self.conditions.encoders
            for variant in self.conditions.variants
            if (encoder.name, variant.name) in there
        ]


def own_reducer(task: Task) -> bool:
    """Whether the task pools a set in another way than by means."""
    return type(task).reducer is not Task.reducer


def manifests(store: Store) -> list[str]:
    """Names of the conditions that were run in a store."""
    return sorted(path.parent.name for path in store.folder.glob("runs/*/manifest.jsonl"))


def read(store: Store, name: str, each: Callable[[dict[str, Any]], None] = lambda row: None) -> Results:
    """Gather the results of the conditions `name`.

    Parameters
    ----------
    each : called with a row for each point, as for a CSV file

    Raises
    ------
    FprdoError
        They were not run in this store, or a record is damaged.
    """
    lines = _manifest(store, name)
    header = next(lines)
    with _undamaged(store, name):
        conditions = conditions_file.parse(tomllib.loads(header["conditions"]), name, header["conditions"])
        settings = {title: TaskSetting(**setting) for title, setting in header["tasks"].items()}
        found = Results(conditions, store, {}, {}, header["problems"], software=header["software"])
    found.tasks |= {title: make(setting) for title, setting in settings.items()}
    for line in lines:
        with _undamaged(store, name):
            rows = _take(found, line)
        for row in rows:
            each(row)
    return found


def maps_of(store: Store, name: str) -> dict[str, Path]:
    """Weight file of each item of the conditions `name` that has one; the first one where there are several.

    Raises
    ------
    FprdoError
        As `read`.
    """
    found: dict[str, Path] = {}
    lines = _manifest(store, name)
    next(lines)
    with _undamaged(store, name):
        for line in lines:
            for point in line["points"]:
                if point["map"] and store.has(point["map"]):
                    found.setdefault(line["item"], store.place(point["map"]) / "weights.idse")
    return found


def manifest_lines(store: Store, name: str) -> list[dict[str, Any]]:
    """What was planned of each item, as `plan.Group.line` wrote it: names, format, and the keys of its jobs by point.

    Raises
    ------
    FprdoError
        As `read`.
    """
    _, *lines = _manifest(store, name)
    return lines


def _manifest(store: Store, name: str) -> Iterator[dict[str, Any]]:
    """Header and lines of what run.keep has written."""
    with _undamaged(store, name), open(_path(store, name), encoding="utf-8") as file:
        yield json.loads(file.readline())
        yield from map(json.loads, file)


def _path(store: Store, name: str) -> Path:
    return store.folder / "runs" / name / "manifest.jsonl"


@contextmanager
def _undamaged(store: Store, name: str) -> Iterator[None]:
    """A block that reads the manifest and nothing else, so that its errors are the manifest's."""
    try:
        yield
    except FileNotFoundError:
        there = ", ".join(manifests(store)) or "none"
        raise FprdoError(f"{store.folder}: holds no run of {name}; there are: {there}") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FprdoError(f"{_path(store, name)}: is damaged ({error}); run fprdo ctc run again") from None


def _take(found: Results, line: dict[str, Any]) -> list[dict[str, Any]]:
    """Add an item; returns a row for each of its points."""
    points = list[dict[str, Any]]()
    group = next(one for one in found.conditions.sets if one.name == line["set"])
    one = found.sets.setdefault(group.name, SetResults(group.name, group.overall))
    index = len(one.items)
    one.items.append(line["item"])
    seconds = float(line["frames"] / Fraction(line["fps"]))
    one.seconds_of.append(seconds)
    for title, key in line["originals"].items():
        keys = one.originals.setdefault(title, [])
        keys += [""] * (index - len(keys)) + [key]
    for point in sorted(line["points"], key=lambda point: point["value"]):
        run = point["encoder"], point["variant"]
        numbers = _point(found, point)
        _at(one.bits, run, index).append(numbers["bits"])
        rows = one.values_of.setdefault(run, [])
        rows += [()] * (index + 1 - len(rows))
        rows[index] += (point["value"],)
        for what in ("encode", "decode", "memory", "map"):
            _at(one.costs, (run, what), index).append(numbers[what])
        for title, task in found.tasks.items():
            if own_reducer(task):
                _at(one.records, (run, title), index).append(point["scores"].get(title, ""))
            for measure in task.measures:
                _at(one.scores, (run, title, measure.key), index).append(numbers.get((title, measure.key), math.nan))
        points.append(
            {
                "set": line["set"],
                "item": line["item"],
                "encoder": run[0],
                "variant": run[1],
                "value": point["value"],
                "frames": line["frames"],
                "fps": line["fps"],
                "width": line["width"],
                "height": line["height"],
                "seconds": seconds,
                "numbers": numbers,
                "tasks": found.tasks,
            }
        )
    return points


def _at(table: dict[Any, list[list[Any]]], key: object, index: int) -> list[Any]:
    rows = table.setdefault(key, [])
    rows += [[] for _ in range(index + 1 - len(rows))]
    return rows[index]


def _point(found: Results, point: Mapping[str, Any]) -> dict[Any, Any]:
    """The numbers of a point; NaN for what is not done. What is not verified counts as not done."""
    store = found.store
    numbers: dict[Any, Any] = dict.fromkeys(("bits", "encode", "decode", "memory", "map"), math.nan)
    if not (store.has(point["encode"]) and store.has(point["decode"])):
        found.missing += 1
        return numbers
    encode, decode = store.record(point["encode"]), store.record(point["decode"])
    numbers["bits"] = encode["result"]["bits" if found.conditions.bits == "pictures" else "bitstream_bits"]
    numbers["encode"] = encode["result"]["seconds"]
    numbers["memory"] = encode["provenance"].get("memory") or math.nan
    numbers["decode"] = next(iter(decode["result"]["seconds"].values()))
    numbers["decoders"] = decode["result"]["decoders"]
    numbers["qp_offset_mean"] = encode["result"]["qp_offset_mean"]
    if point["map"]:
        provenance = store.record(point["map"])["provenance"]
        numbers["map"], numbers["map_memory"] = provenance["seconds"], provenance.get("memory")
    for title, key in point["scores"].items():
        if title not in found.tasks:
            continue
        if not store.has(key):
            found.missing += 1
            continue
        result = store.record(key)["result"]
        for measure in found.tasks[title].measures:
            value = result.get(measure.key)
            numbers[title, measure.key] = math.nan if value is None else value
    return numbers
