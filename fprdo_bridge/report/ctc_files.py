"""The files of test conditions for programs: points, summaries, and the CSV of the conditions for machines."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from fprdo_bridge.ctc.results import Results, SetResults
from fprdo_bridge.ctc.statistics import NotComparable, monotone, pooled_rate
from fprdo_bridge.ctc.summary import Cell, Summary, curve
from fprdo_bridge.ctc.tasks import Measure, Task
from fprdo_bridge.files import replacing


class PointsFile:
    """points.csv, row by row: one for each encode, with every score. A context that leaves the file whole or not at
    all."""

    _FIXED = ("set", "item", "encoder", "variant", "value", "frames", "fps", "width", "height")
    _COSTS = (
        "bits",
        "kbps",
        "encode_seconds",
        "decode_seconds",
        "encoder_memory",
        "map_seconds",
        "map_memory",
        "qp_offset_mean",
        "decoders",
    )

    def __init__(self, path: Path):
        self._path = path
        self._stack: ExitStack
        self._writer: Any = None
        self._file: Any = None

    def __enter__(self) -> PointsFile:
        with ExitStack() as stack:
            temporary = stack.enter_context(replacing(self._path))
            self._file = stack.enter_context(
                open(temporary, "w", newline="", encoding="utf-8", errors="surrogateescape")
            )
            self._stack = stack.pop_all()
        self._writer = csv.writer(self._file, lineterminator="\n")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)  # a disk that is full may say so only when the file is closed

    def write(self, row: Mapping[str, Any]) -> None:
        """A row as `results.read` hands it out."""
        measures = [(title, measure) for title, task in row["tasks"].items() for measure in task.measures]
        if self._file.tell() == 0:
            self._writer.writerow(
                [*self._FIXED, *self._COSTS, *(f"{title} {measure.key}" for title, measure in measures)]
            )
        numbers = row["numbers"]
        kbps = numbers["bits"] / row["seconds"] / 1000
        self._writer.writerow(
            [
                *(row[name] for name in self._FIXED),
                _text(numbers["bits"]),
                _text(kbps),
                _text(numbers["encode"]),
                _text(numbers["decode"]),
                _text(numbers["memory"]),
                _text(numbers["map"]),
                _text(numbers.get("map_memory")),
                _text(numbers.get("qp_offset_mean")),
                "+".join(numbers.get("decoders", ())),
                *(_text(numbers.get((title, measure.key))) for title, measure in measures),
            ]
        )


def _text(value: float | None) -> str:
    if value is None or math.isnan(value):
        return ""
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else f"{value:.8g}"


def write_summary(folder: Path, summary: Summary) -> None:
    """summary.csv: a row for each BD-rate; summary.json: the same with conditions, versions and matched cost."""
    rows = list(_rows(summary))
    with (
        replacing(folder / "summary.csv") as temporary,
        open(temporary, "w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        writer = csv.DictWriter(file, list(rows[0]) if rows else ["encoder"], lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: "" if value is None else value for key, value in row.items()} for row in rows)
    matched = [
        {
            "encoder": row.encoder,
            "sweep": row.group,
            "anchor": row.anchor,
            "cost_percent": row.cost,
            "setting": row.setting,
            "bd_rate_percent": {f"{task} {measure}": _cell(cell) for (task, measure), cell in row.cells.items()},
        }
        for row in summary.matched
    ]
    times = [
        {
            "encoder": encoder,
            "variant": variant,
            "anchor": anchor,
            **{what: summary.time_ratio(encoder, variant, anchor, what) for what in ("encode", "decode")},
        }
        for encoder, variant, anchor in dict.fromkeys((one.encoder, one.variant, one.anchor) for one in summary.columns)
    ]
    results = summary.results
    data = {
        "conditions": results.conditions.name,
        "title": results.conditions.title,
        "software": results.software,
        "conditions_file": results.conditions.source,
        "missing_jobs": results.missing,
        "left_out": results.problems,
        "bd_rates": rows,
        "matched": matched,
        "time_ratios": times,
    }
    with replacing(folder / "summary.json") as temporary:
        temporary.write_text(json.dumps(data, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def _rows(summary: Summary) -> Iterator[dict[str, object]]:
    for column in summary.columns:
        shared = {
            "encoder": column.encoder,
            "anchor": column.anchor,
            "variant": column.variant,
            "task": column.task,
            "measure": column.measure,
            "pool": column.pool,
        }
        yield shared | {"set": "overall", "item": ""} | _cell(column.overall)
        for name, cell in column.sets.items():
            yield shared | {"set": name, "item": ""} | _cell(cell)
        for (name, item), cell in column.items.items():
            yield shared | {"set": name, "item": item} | _cell(cell)


def _cell(cell: Cell) -> dict[str, object]:
    def rounded(value: float | None) -> float | None:
        return None if value is None else round(value, 6)

    return {
        "bd_rate_percent": rounded(cell.value),
        "low": rounded(cell.low),
        "high": rounded(cell.high),
        "items": cell.count,
        "of": cell.of,
        "refitted_points": cell.refitted,
        "overlap": rounded(cell.overlap),
        "reason": cell.reason,
    }


# ---- the conditions for machines -------------------------------------------------------------------------------------

_MACHINE = ("Dataset", "qp", "bitrate (kbps)", "end_accuracy", "y_psnr", "encode", "decode", "end_accuracy (monotone)")


def write_machine(folder: Path, summary: Summary) -> list[Path]:
    """A CSV per encoder, variant and measure of a task, in the columns of the MPEG conditions for machines; one more
    column has the monotone curve. Classes follow their clips, with rates weighted by duration."""
    results, written = summary.results, []
    for encoder, variant in results.runs():
        for title, task, measure in results.measures():
            if not measure.judge:
                continue
            path = folder / f"machine-{slug(encoder)}-{slug(variant)}-{slug(title)}-{slug(measure.key)}.csv"
            rows = [
                row
                for one in results.sets.values()
                if (encoder, variant) in one.bits
                for row in _machine_rows(summary, one, (encoder, variant), title, task, measure)
            ]
            with (
                replacing(path) as temporary,
                open(temporary, "w", newline="", encoding="utf-8", errors="surrogateescape") as file,
            ):
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(_MACHINE)
                writer.writerows(rows)
            written.append(path)
    return written


def _machine_rows(
    summary: Summary, one: SetResults, run: tuple[str, str], title: str, task: Task, measure: Measure
) -> Iterator[tuple[object, ...]]:
    import numpy as np

    scores, psnr = one.scores[run, title, measure.key], one.scores[run, "picture", "psnr_y"]
    for index, item in enumerate(one.items):
        kbps = [bits / one.seconds_of[index] / 1000 for bits in one.bits[run][index]]
        fit = _monotone(kbps, scores[index], measure)
        for point, value in enumerate(one.values_of[run][index]):
            yield (
                item,
                f"{value:g}",
                f"{kbps[point]:.6g}",
                _text(scores[index][point]),
                _text(psnr[index][point]),
                _text(one.costs[run, "encode"][index][point]),
                _text(one.costs[run, "decode"][index][point]),
                fit[point],
            )
    if len({len(row) for row in one.bits[run]}) == 1 and one.bits[run][0]:
        everything = np.arange(len(one.items))
        reduced = [
            summary.reducer(one, run, title, task, point)(everything).get(measure.key, math.nan)
            for point in range(len(one.bits[run][0]))
        ]
        rates = [
            pooled_rate(
                [bits[point] / seconds / 1000 for bits, seconds in zip(one.bits[run], one.seconds_of)], one.seconds_of
            )
            for point in range(len(reduced))
        ]
        fit = _monotone(rates, reduced, measure)
        for point, value in enumerate(reduced):
            yield (one.name, point, f"{rates[point]:.6g}", _text(value), "", "", "", fit[point])


def _monotone(kbps: list[float], scores: list[float], measure: Measure) -> list[str]:
    """The fitted score at each rate, empty where there is no fit."""
    import numpy as np

    try:
        fit = monotone(curve(kbps, scores, measure)).curve
    except NotComparable:
        return [""] * len(scores)
    values = np.interp(np.log(kbps), np.log(fit.rates), fit.scores)
    return [_text(float(10 ** (-value / 10) if measure.distance else value)) for value in values]


def slug(name: str) -> str:
    """A name fit for a file."""
    return re.sub(r"[^A-Za-z0-9.=]+", "-", name).strip("-.") or "x"


def leave(results: Results, folder: Path) -> None:
    """The conditions as they were run, beside the tables."""
    with replacing(folder / "conditions.toml") as temporary:
        temporary.write_text(results.conditions.source, encoding="utf-8")
