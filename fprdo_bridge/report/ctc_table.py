"""The tables of test conditions for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fprdo_bridge.ctc.results import Results
from fprdo_bridge.ctc.summary import Cell, Column, Summary
from fprdo_bridge.text import printable

_COLUMNS = 6  # variants beside one another
_WIDTH = 16
_LABELS = 32, 48  # least and largest width of the first column
_COSTS = {"encode": "encode time, ratio", "decode": "decode time, ratio", "memory": "encode memory, ratio"}
_NOTES = 12  # lines of notes


def format_summary(summary: Summary) -> str:
    """All tables of a run: BD-rates by encoder and anchor, matched cost, times, and what is to be known of them."""
    results, lines = summary.results, []
    conditions = results.conditions
    lines.append(printable(f"{conditions.name}: {conditions.title}"))
    lines.append(
        "BD-rate in %, negative is fewer bits; in brackets 95 % of "
        f"{conditions.statistics.resamples} resamples of the pictures ({conditions.statistics.method}, "
        f"{conditions.bits} counted)"
    )
    notes: list[str] = []
    for (encoder, anchor), columns in _blocks(summary).items():
        lines += ["", *_block(summary, encoder, anchor, columns, notes)]
    for encoder, group, anchor in dict.fromkeys((row.encoder, row.group, row.anchor) for row in summary.matched):
        lines += ["", *_matched(summary, encoder, group, anchor)]
    if notes:
        lines += ["", *(printable(note) for note in notes[:_NOTES])]
        if len(notes) > _NOTES:
            lines.append(f"and {len(notes) - _NOTES} more notes; summary.json has all")
    if results.problems:
        lines += ["", *(printable(f"left out: {problem}") for problem in results.problems[:_NOTES])]
        if len(results.problems) > _NOTES:
            lines.append(f"and {len(results.problems) - _NOTES} more; summary.json has all")
    if results.missing:
        lines += ["", f"{results.missing} jobs are not done; run it again to complete the tables"]
    return "\n".join(lines)


def _blocks(summary: Summary) -> dict[tuple[str, str], list[Column]]:
    found: dict[tuple[str, str], list[Column]] = {}
    for column in summary.columns:
        found.setdefault((column.encoder, column.anchor), []).append(column)
    return found


def _block(summary: Summary, encoder: str, anchor: str, columns: Sequence[Column], notes: list[str]) -> Iterator[str]:
    variants = list(dict.fromkeys(column.variant for column in columns))
    by = {(column.variant, column.task, column.measure): column for column in columns}
    measures = list(dict.fromkeys((column.task, column.measure, column.title, column.pool) for column in columns))
    sets = list(summary.results.sets)
    labels = [printable(f"{title}{' (set)' if pool == 'set' else ''}") for _, _, title, pool in measures]
    wide = _width(labels)
    for start in range(0, len(variants), _COLUMNS):
        part = variants[start : start + _COLUMNS]
        yield printable(f"{_title(summary.results, encoder)} against {anchor}")
        yield f"{'':{wide}}" + "".join(f"{printable(variant)[: _WIDTH - 2]:>{_WIDTH}}" for variant in part)
        for label, (task, measure, title, _) in zip(labels, measures):
            cells = [by[variant, task, measure].overall for variant in part]
            yield _label(label, wide) + "".join(f"{_value(cell):>{_WIDTH}}" for cell in cells)
            if any(cell.low is not None for cell in cells):
                yield f"{'':{wide}}" + "".join(f"{_interval(cell):>{_WIDTH}}" for cell in cells)
            if len(sets) > 1:
                for name in sets:
                    own = [by[variant, task, measure].sets.get(name, Cell(None)) for variant in part]
                    yield _label(printable(f"  {name}"), wide) + "".join(f"{_value(cell):>{_WIDTH}}" for cell in own)
            for variant, cell in zip(part, cells):
                _note(f"{encoder}, {variant}, {title}", cell, notes)
        for what, label in _COSTS.items():
            ratios = [summary.time_ratio(encoder, variant, anchor, what) for variant in part]
            yield f"{label:{wide}}" + "".join(f"{'' if one is None else f'{one:.2f}':>{_WIDTH}}" for one in ratios)
        seconds = [summary.map_seconds(encoder, variant) for variant in part]
        if any(one is not None for one in seconds):
            yield f"{'map, s':{wide}}" + "".join(f"{'' if one is None else f'{one:.1f}':>{_WIDTH}}" for one in seconds)
        if start + _COLUMNS < len(variants):
            yield ""


def _note(label: str, cell: Cell, notes: list[str]) -> None:
    if cell.reason:
        share = f" for {cell.of - cell.count} of {cell.of}" if cell.count else ""
        notes.append(f"n/a{share}: {label}: {cell.reason}")
    elif cell.overlap is not None and cell.overlap < 0.5:
        notes.append(f"little overlap: {label}: two curves share {100 * cell.overlap:.0f} % of their scores")
    if cell.refitted and cell.value is not None:
        notes.append(f"made monotone: {label}: {cell.refitted} points moved")


def _width(labels: Sequence[str]) -> int:
    low, high = _LABELS
    return min(max([low, *(len(label) + 1 for label in labels)]), high)


def _label(text: str, wide: int) -> str:
    return f"{text[: wide - 1]:{wide}}"


def _title(results: Results, encoder: str) -> str:
    return f"{encoder} ({results.software[encoder]})" if encoder in results.software else encoder


def _value(cell: Cell) -> str:
    return "n/a" if cell.value is None else f"{cell.value:+.2f}"


def _interval(cell: Cell) -> str:
    return "" if cell.low is None or cell.high is None else f"[{cell.low:+.1f} {cell.high:+.1f}]"


def _matched(summary: Summary, encoder: str, group: str, anchor: str) -> Iterator[str]:
    rows = [row for row in summary.matched if (row.encoder, row.group, row.anchor) == (encoder, group, anchor)]
    titles = {(column.task, column.measure): column.title for column in summary.columns}
    yield printable(
        f"{_title(summary.results, encoder)} against {anchor}: {group} at a stated luma PSNR BD-rate, interpolated "
        "over the sweep"
    )
    labels = {name: printable(titles[name]) for name in rows[0].cells}
    wide = _width(list(labels.values()))
    yield f"{'':{wide}}" + "".join(f"{f'{row.cost:+g} %':>{_WIDTH}}" for row in rows)
    yield f"{'setting':{wide}}" + "".join(
        f"{'n/a' if row.setting is None else f'{row.setting:.3g}':>{_WIDTH}}" for row in rows
    )
    for name, label in labels.items():
        cells = [row.cells[name] for row in rows]
        yield _label(label, wide) + "".join(f"{_value(cell):>{_WIDTH}}" for cell in cells)
        if any(cell.low is not None for cell in cells):
            yield f"{'':{wide}}" + "".join(f"{_interval(cell):>{_WIDTH}}" for cell in cells)


def format_plan(rows: Sequence[tuple[str, int, int]], seconds: str, disk: int, problems: Sequence[str]) -> str:
    """What a run would do.

    Parameters
    ----------
    rows : (kind of job, all, done)
    seconds : the time it takes, in words
    disk : bytes it needs
    problems : what is left out
    """
    lines = [f"{'job':10}{'all':>10}{'done':>10}{'to do':>10}"]
    lines += [f"{kind:10}{all_:>10}{done:>10}{all_ - done:>10}" for kind, all_, done in rows]
    lines.append(f"about {seconds}, {disk / 1e9:.2f} GB")
    return "\n".join([*lines, *(printable(f"left out: {problem}") for problem in problems)])
