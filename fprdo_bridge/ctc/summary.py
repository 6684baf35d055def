"""From results to the numbers of a report: BD-rates per item, set and overall, with intervals, and at matched cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from fprdo_bridge.ctc import statistics
from fprdo_bridge.ctc.results import Grid, Results, Run, SetResults, own_reducer
from fprdo_bridge.ctc.statistics import Curve, Fit, NotComparable
from fprdo_bridge.ctc.tasks import Measure, Task
from fprdo_bridge.ctc.tasks.base import Reducer

COST = ("picture", "psnr_y")  # the task and measure whose BD-rate is the picture's cost


@dataclass(frozen=True)
class Cell:
    """One number of a table, in per cent.

    Attributes
    ----------
    value : None where there is none, then `reason` says why
    low, high : of its interval; None without one
    count, of : items that have a value, and all
    refitted : points that monotone fits moved, in all curves behind it
    overlap : the smallest share of scores that two curves behind it have in common
    """

    value: float | None
    reason: str = ""
    low: float | None = None
    high: float | None = None
    count: int = 0
    of: int = 0
    refitted: int = 0
    overlap: float | None = None


@dataclass
class Column:
    """All BD-rates of one encoder's variant against one anchor for one measure."""

    encoder: str
    variant: str
    anchor: str
    task: str
    measure: str
    title: str
    pool: str
    items: dict[tuple[str, str], Cell] = field(default_factory=dict)
    sets: dict[str, Cell] = field(default_factory=dict)
    overall: Cell = Cell(None, "no set counts")
    samples: np.ndarray = field(default_factory=lambda: np.zeros(0))  # overall: the value, then those of the resamples


@dataclass(frozen=True)
class MatchedRow:
    """What a sweep gives at a stated cost of the picture."""

    encoder: str
    group: str
    anchor: str
    cost: float
    setting: float | None
    cells: dict[tuple[str, str], Cell]


class Summary:
    """All columns of a run; computed when they are asked for first."""

    def __init__(self, results: Results, say: Callable[[str], None] = lambda line: None):
        self.results, self._say = results, say
        self._settings = results.conditions.statistics
        self._pooled: dict[tuple[Run, str, str, str], list[Fit | str]] = {}

    @cached_property
    def columns(self) -> list[Column]:
        """By encoder, anchor, variant and measure."""
        found, runs = [], self.results.runs()
        for anchor in self.results.conditions.anchors:
            for encoder, variant in runs:
                if variant == anchor or (encoder, anchor) not in runs:
                    continue
                for title, task, measure in self.results.measures():
                    found.append(self._column(encoder, variant, anchor, title, task, measure))
                self._pooled = {key: value for key, value in self._pooled.items() if key[0] == (encoder, anchor)}
        return found

    def pool_of(self, title: str, measure: Measure) -> str:
        """How a measure is pooled: as its task's conditions say, else all conditions for measures of the picture, else
        as the measure says."""
        for setting, own in zip(self.results.conditions.tasks, self._titles):
            if own == title and setting.pool:
                return setting.pool
        return measure.pool if measure.judge else self.results.conditions.pool

    @cached_property
    def _titles(self) -> list[str]:
        from fprdo_bridge.ctc.tasks import make

        return [make(setting).title for setting in self.results.conditions.tasks]

    # ---- one column --------------------------------------------------------------------------------------------------

    def _column(self, encoder: str, variant: str, anchor: str, title: str, task: Task, measure: Measure) -> Column:
        pool = self.pool_of(title, measure)
        column = Column(
            encoder,
            variant,
            anchor,
            title,
            measure.key,
            f"{title} {measure.title}".strip() if measure.judge else measure.title,
            pool,
        )
        sums, counts, means, cells = [], [], [], []
        for number, one in enumerate(self.results.sets.values()):
            if (encoder, variant) not in one.bits or (encoder, anchor) not in one.bits:
                continue
            indices = statistics.resampled(len(one.items), self._settings.resamples, self._settings.seed + number)
            if pool == "set":
                samples, cell = self._of_set(one, (encoder, anchor), (encoder, variant), title, task, measure, indices)
                total, count = samples, np.isfinite(samples).astype(float)
            else:
                values, cell = self._of_items(column, one, (encoder, anchor), (encoder, variant), title, measure)
                known = np.isfinite(values)
                zeros = np.where(known, values, 0.0)
                total = np.array([zeros.sum(), *zeros[indices].sum(axis=1)])
                count = np.array([known.sum(), *known[indices].sum(axis=1)], float)
                with np.errstate(invalid="ignore", divide="ignore"):
                    samples = total / count
            column.sets[one.name] = self._with_interval(cell, samples, len(one.items))
            if one.overall:
                sums.append(total)
                counts.append(count)
                means.append(samples)
                cells.append(column.sets[one.name])
        if means:
            self._overall(column, pool, sums, counts, means, cells)
        return column

    def _overall(
        self,
        column: Column,
        pool: str,
        sums: list[np.ndarray],
        counts: list[np.ndarray],
        means: list[np.ndarray],
        cells: list[Cell],
    ) -> None:
        with np.errstate(invalid="ignore", divide="ignore"):
            column.samples = (
                np.sum(sums, axis=0) / np.sum(counts, axis=0) if pool == "picture" else np.mean(means, axis=0)
            )
        if len(cells) == 1:
            column.overall = cells[0]
            return
        value = float(column.samples[0])
        reason = "; ".join(dict.fromkeys(cell.reason for cell in cells if cell.reason))
        overlaps = [cell.overlap for cell in cells if cell.overlap is not None]
        cell = Cell(
            value if math.isfinite(value) else None,
            reason,
            None,
            None,
            sum(cell.count for cell in cells),
            sum(cell.of for cell in cells),
            sum(cell.refitted for cell in cells),
            min(overlaps, default=None),
        )
        column.overall = self._with_interval(cell, column.samples, cell.of)

    def _with_interval(self, cell: Cell, samples: np.ndarray, items: int) -> Cell:
        interval = statistics.interval(samples[1:]) if items > 1 and cell.value is not None else None
        if interval is None:
            return cell
        return Cell(
            cell.value, cell.reason, interval.low, interval.high, cell.count, cell.of, cell.refitted, cell.overlap
        )

    def fits(self, measure: Measure) -> bool:
        """Whether curves of a measure are made monotone."""
        return self._settings.fit == "all" or self._settings.fit == "tasks" and measure.judge

    def _of_items(
        self, column: Column, one: SetResults, anchor: Run, test: Run, title: str, measure: Measure
    ) -> tuple[np.ndarray, Cell]:
        """BD-rate of each item, and their mean."""
        values, cells = [], []
        for index, name in enumerate(one.items):
            try:
                curves = [
                    curve(one.bits[run][index], one.scores[run, title, measure.key][index], measure)
                    for run in (anchor, test)
                ]
                found = statistics.bd_rate(*curves, method=self._settings.method, fit=self.fits(measure))
                cell = Cell(found.percent, "", None, None, 1, 1, sum(found.refitted), found.overlap)
            except (NotComparable, IndexError) as error:
                cell = Cell(None, f"{name}: {error if isinstance(error, NotComparable) else 'no points'}", of=1)
            column.items[one.name, name] = cell
            cells.append(cell)
            values.append(math.nan if cell.value is None else cell.value)
        known = [cell for cell in cells if cell.value is not None]
        numbers = [value for value in values if not math.isnan(value)]
        overlaps = [cell.overlap for cell in known if cell.overlap is not None]
        reasons = [cell.reason for cell in cells if cell.reason]
        reason = "; ".join(reasons[:3]) + (f"; and {len(reasons) - 3} more" if len(reasons) > 3 else "")
        mean = math.fsum(numbers) / len(numbers) if numbers else None
        return np.array(values), Cell(
            mean,
            reason,
            None,
            None,
            len(known),
            len(cells),
            sum(cell.refitted for cell in known),
            min(overlaps, default=None),
        )

    def _of_set(
        self, one: SetResults, anchor: Run, test: Run, title: str, task: Task, measure: Measure, indices: np.ndarray
    ) -> tuple[np.ndarray, Cell]:
        """BD-rate of the pooled curves, and of those of the resamples."""
        curves = [self._pooled_curves(one, run, title, task, measure, indices) for run in (anchor, test)]
        of, values = len(one.items), list[float]()
        cell: Cell | None = None
        for number, (a, b) in enumerate(zip(*curves)):
            try:
                if isinstance(a, str) or isinstance(b, str):
                    raise NotComparable(f"anchor: {a}" if isinstance(a, str) else f"test: {b}")
                if number == 0:
                    found = statistics.bd_rate_of_fits(a, b, self._settings.method)
                    cell = Cell(found.percent, "", None, None, of, of, sum(found.refitted), found.overlap)
                    values.append(found.percent)
                else:
                    values.append(statistics.quick_bd_rate(a, b, self._settings.method))
            except NotComparable as error:
                values.append(math.nan)
                cell = cell or Cell(None, str(error), of=of)
        assert cell
        return np.array(values), cell

    def _pooled_curves(
        self, one: SetResults, run: Run, title: str, task: Task, measure: Measure, indices: np.ndarray
    ) -> list[Fit | str]:
        """The pooled curve of all items, then one for each resample; a text where there is none."""
        key = (run, one.name, title, measure.key)
        if key not in self._pooled:
            for each, curves in self._all_pooled_curves(one, run, title, task, indices).items():
                self._pooled[run, one.name, title, each] = curves
        return self._pooled[key]

    def _all_pooled_curves(
        self, one: SetResults, run: Run, title: str, task: Task, indices: np.ndarray
    ) -> dict[str, list[Fit | str]]:
        """By measure of the task."""
        bits = one.bits[run]
        common = (
            min(map(len, bits)) if len(bits) == len(one.items) else 0
        )  # high QPs that an encoder lacks fall off the end
        if not common:
            return {measure.key: ["an item has no points"] * (len(indices) + 1) for measure in task.measures}
        everything = [np.arange(len(one.items)), *indices]
        table, seconds = np.array([row[:common] for row in bits], float), np.array(one.seconds_of)
        rates = [table[chosen].sum(axis=0) / seconds[chosen].sum() for chosen in everything]
        pooled = []
        for point in range(common):
            reduce = self.reducer(one, run, title, task, point)
            pooled.append([reduce(chosen) for chosen in everything])
        found: dict[str, list[Fit | str]] = {}
        for measure in task.measures:
            found[measure.key] = []
            for number, rate in enumerate(rates):
                try:
                    scores = [row[number].get(measure.key, math.nan) for row in pooled]
                    found[measure.key].append(statistics.fitted(curve(rate, scores, measure), self.fits(measure)))
                except NotComparable as error:
                    found[measure.key].append(str(error))
        return found

    def reducer(self, one: SetResults, run: Run, title: str, task: Task, point: int) -> Reducer:
        """Pools the items of a set at one rate point: indices of items -> value by measure."""
        if not own_reducer(task):
            records = [
                {measure.key: _known(one.scores[run, title, measure.key][item][point]) for measure in task.measures}
                for item in range(len(one.items))
            ]
            return task.reducer(records, [])
        store = self.results.store
        if not all(row[point] and store.has(row[point]) for row in one.records[run, title]):
            return lambda _: {}  # a score is missing
        records = [store.record(row[point])["result"] for row in one.records[run, title]]
        originals = [store.record(key)["result"] for key in one.originals.get(title, []) if key]
        return task.reducer(records, originals)

    # ---- matched cost ------------------------------------------------------------------------------------------------

    @cached_property
    def matched(self) -> list[MatchedRow]:
        """Every sweep at the costs that the conditions name."""
        groups: dict[str, dict[str, float]] = {}
        for variant in self.results.conditions.variants:
            if variant.parameter is not None:
                groups.setdefault(variant.group, {})[variant.name] = variant.parameter
        rows = []
        for anchor in self.results.conditions.anchors:
            for encoder in dict.fromkeys(name for name, _ in self.results.runs()):
                for group, settings in groups.items():
                    columns = [
                        one
                        for one in self.columns
                        if (one.encoder, one.anchor) == (encoder, anchor) and one.variant in settings
                    ]
                    if len(settings) > 1 and columns:
                        rows += [
                            self._matched(encoder, group, anchor, settings, columns, cost)
                            for cost in self._settings.matched
                        ]
        return rows

    def _matched(
        self, encoder: str, group: str, anchor: str, settings: dict[str, float], columns: Sequence[Column], cost: float
    ) -> MatchedRow:
        costs = {one.variant: one.samples for one in columns if (one.task, one.measure) == COST}
        cells: dict[tuple[str, str], Cell] = {}
        setting = None
        for name in dict.fromkeys((one.task, one.measure) for one in columns):
            gains = {one.variant: one.samples for one in columns if (one.task, one.measure) == name}
            common = [one for one in settings if len(gains.get(one, ())) and len(costs.get(one, ()))]
            values, reason = [], ""
            for number in range(min((len(gains[one]) for one in common), default=0)):
                try:
                    found = statistics.matched(
                        [(settings[one], costs[one][number], gains[one][number]) for one in common], cost
                    )
                    values.append(found[1])
                    setting = found[0] if number == 0 and name == COST else setting
                except NotComparable as error:
                    values.append(math.nan)
                    reason = reason if number else str(error)
            value = float(values[0]) if values and math.isfinite(values[0]) else None
            reason = "" if value is not None else reason or "the sweep has no values"
            cells[name] = self._with_interval(Cell(value, reason), np.array(values), 2 if len(values) > 2 else 1)
        return MatchedRow(encoder, group, anchor, cost, setting, cells)

    # ---- times -------------------------------------------------------------------------------------------------------

    def time_ratio(self, encoder: str, variant: str, anchor: str, what: str) -> float | None:
        """Geometric mean of the ratios of encoder or decoder times, or of memory, over all items and points."""
        ratios = []
        for one in self.results.sets.values():
            pair: list[Grid] = [one.costs.get(((encoder, name), what), []) for name in (variant, anchor)]
            ratios += [a / b for rows in zip(*pair) for a, b in zip(*rows) if a > 0 and b > 0]
        return float(np.exp(np.mean(np.log(ratios)))) if ratios else None

    def map_seconds(self, encoder: str, variant: str) -> float | None:
        """Mean time of an item's weights; None without weights."""
        grids = [one.costs.get(((encoder, variant), "map"), []) for one in self.results.sets.values()]
        seconds = [row[0] for grid in grids for row in grid if row and not math.isnan(row[0])]
        return math.fsum(seconds) / len(seconds) if seconds else None


def curve(rates: Sequence[float], values: Sequence[float], measure: Measure) -> Curve:
    """A curve of a measure's values, as qualities that rise with the rate. Raises NotComparable."""
    if any(math.isnan(rate) for rate in rates):
        raise NotComparable("an encode failed or is not done")
    if any(math.isnan(value) for value in values):
        raise NotComparable("a point has no value")
    return Curve(tuple(rates), tuple(statistics.db(value) if measure.distance else value for value in values))


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
