"""Rate curves: what was measured, and the monotone fits that BD-rates are taken of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fprdo_bridge.ctc.results import Run, SetResults
from fprdo_bridge.ctc.statistics import NotComparable, db, fitted
from fprdo_bridge.ctc.summary import curve
from fprdo_bridge.ctc.tasks import Measure, Task
from fprdo_bridge.report.page.answer import plain
from fprdo_bridge.report.page.material import Material, Place, command_of, encode_record, finite

# Okabe and Ito's colours; a variant has one of them, a symbol and a dash, so that none has to be told by colour alone.
COLOURS = ("#000000", "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7", "#8B8000")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star", "triangle-down", "pentagon", "hexagon")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash")


def looks(material: Material) -> dict[str, dict[str, str]]:
    """Colour, symbol and dash of each variant."""
    runs = dict.fromkeys(variant for _, variant in material.results.runs())
    return {
        variant: {
            "colour": COLOURS[number % len(COLOURS)],
            "symbol": SYMBOLS[number % len(SYMBOLS)],
            "dash": DASHES[number % len(DASHES)],
        }
        for number, variant in enumerate(runs)
    }


def measures(material: Material) -> list[dict[str, Any]]:
    """Every measure: its key, title and axis."""
    found = []
    for title, _, measure in material.results.measures():
        name = f"{title} {measure.title}".strip() if measure.judge else measure.title
        axis = f"{plain(name)}, -10 log10" if measure.distance else plain(name)
        found.append({"key": f"{title}/{measure.key}", "title": plain(name), "axis": axis, "judge": measure.judge})
    return found


def sets_curves(material: Material) -> list[dict[str, Any]]:
    """Curves of whole sets: mean bits per sample of the items, scores as the set's are pooled."""
    return [
        {"id": f"set {number}", "title": f"all of {one.name} ({len(one.items)})", "runs": _set_runs(material, one)}
        for number, one in enumerate(material.results.sets.values())
    ]


def _set_runs(material: Material, one: SetResults) -> list[dict[str, Any]]:
    found = []
    samples = [_samples(material, (one.name, item)) for item in one.items]
    for run in material.results.runs():
        rows = one.bits.get(run, [])
        if len(rows) != len(one.items) or not rows:
            continue
        common = min(map(len, rows))
        bits = np.array([row[:common] for row in rows], float).reshape(len(rows), common)
        rates = (bits / np.array(samples)[:, None]).mean(axis=0)  # NaN where an item's point is not done
        kbps = bits.sum(axis=0) / sum(one.seconds_of) / 1000
        keep = [point for point in range(common) if np.isfinite(bits[:, point]).all()]
        scores: dict[str, list[float | None]] = {}
        fits: dict[str, list[list[float | None]]] = {}
        for title, task, measure in material.results.measures():
            values = [_pooled(material, one, run, title, task, measure, point) for point in keep]
            _add(material, f"{title}/{measure.key}", measure, [float(rates[i]) for i in keep], values, scores, fits)
        found.append(
            {
                "encoder": run[0],
                "variant": run[1],
                "value": [one.values_of[run][0][point] for point in keep],
                "rate": [finite(float(rates[point])) for point in keep],
                "kbps": [finite(float(kbps[point])) for point in keep],
                "scores": scores,
                "fits": fits,
            }
        )
    return found


def _pooled(
    material: Material, one: SetResults, run: Run, title: str, task: Task, measure: Measure, point: int
) -> float:
    found = material.summary.reducer(one, run, title, task, point)(np.arange(len(one.items)))
    return float(found.get(measure.key, math.nan))


def item_curves(material: Material, places: Sequence[Place]) -> list[dict[str, Any]]:
    """Curves of single items, with the command of each point."""
    return [
        {"id": f"item {number}", "title": f"{item}" + (f" ({group})" if len(material.results.sets) > 1 else ""),
         "runs": _item_runs(material, (group, item))}
        for number, (group, item) in enumerate(places)
    ]  # fmt: skip


def _item_runs(material: Material, place: Place) -> list[dict[str, Any]]:
    group, item = place
    one, found = material.results.sets[group], []
    index, samples = one.items.index(item), _samples(material, place)
    for run, keys in material.keys[place].items():
        bits = one.bits[run][index]
        keep = [point for point, value in enumerate(bits) if math.isfinite(value)]
        rates = [bits[point] / samples for point in keep]
        scores: dict[str, list[float | None]] = {}
        fits: dict[str, list[list[float | None]]] = {}
        for title, _, measure in material.results.measures():
            row = one.scores[run, title, measure.key][index]
            _add(material, f"{title}/{measure.key}", measure, rates, [row[point] for point in keep], scores, fits)
        records = [encode_record(material, keys[point]) for point in keep]
        found.append(
            {
                "encoder": run[0],
                "variant": run[1],
                "value": [keys[point].value for point in keep],
                "rate": [finite(rate) for rate in rates],
                "bits": [int(bits[point]) for point in keep],
                "kbps": [finite(bits[point] / one.seconds_of[index] / 1000) for point in keep],
                "scores": scores,
                "fits": fits,
                "command": [command_of(record, item, material.store.folder) if record else "" for record in records],
            }
        )
    return found


def _add(
    material: Material,
    key: str,
    measure: Measure,
    rates: Sequence[float],
    values: Sequence[float],
    scores: dict[str, list[float | None]],
    fits: dict[str, list[list[float | None]]],
) -> None:
    """A measure's scores as curves show them, and the fit where there is one."""
    shown = [db(value) if measure.distance and math.isfinite(value) else value for value in values]
    if not any(map(math.isfinite, shown)):
        return
    scores[key] = [finite(value) for value in shown]
    try:
        fit = fitted(curve(rates, values, measure), material.summary.fits(measure)).curve
    except NotComparable:
        return
    fits[key] = [[finite(value) for value in fit.rates], [finite(value) for value in fit.scores]]


def _samples(material: Material, place: Place) -> int:
    width, height, frames, _ = material.sizes[place]
    return width * height * frames
