"""The tables of the page: titles, columns and rows as JSON holds them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from fprdo_bridge.ctc.summary import Cell, Column, Summary
from fprdo_bridge.report.page.answer import encoder_title, plain
from fprdo_bridge.report.page.material import Material, finite

_COSTS = (("encode", "encode time, ratio"), ("decode", "decode time, ratio"), ("memory", "encode memory, ratio"))


def tables(material: Material) -> list[dict[str, Any]]:
    """All that have rows. A cell is a text, a number, or [number, low, high, reason] of a BD-rate."""
    found = [
        _overall(material),
        _matched(material),
        *([_sets(material)] if len(material.results.sets) > 1 else []),
        _items(material),
        _costs(material),
    ]
    return [one for one in found if one["rows"]]


def _table(
    name: str, title: str, note: str, columns: Iterable[str], rows: Iterable[Sequence[Any]], variant: int | None = 1
) -> dict[str, Any]:
    return {
        "id": name,
        "title": title,
        "note": note,
        "columns": list(columns),
        "rows": [list(row) for row in rows],
        "variant": variant,
    }


def rate_cell(cell: Cell | None) -> list[Any]:
    """A BD-rate: per cent, the interval's ends, and the reason where there is none."""
    if cell is None:
        return [None, None, None, "was not measured"]
    return [finite(cell.value), finite(cell.low), finite(cell.high), cell.reason]


def _runs(columns: Sequence[Column]) -> dict[tuple[str, str, str], dict[tuple[str, str], Column]]:
    found: dict[tuple[str, str, str], dict[tuple[str, str], Column]] = {}
    for one in columns:
        found.setdefault((one.encoder, one.variant, one.anchor), {})[one.task, one.measure] = one
    return found


def _names(columns: Sequence[Column]) -> dict[tuple[str, str], str]:
    """Titles of measures, tasks first."""
    names = {(one.task, one.measure): plain(one.title) for one in columns}
    judged = {name: title for name, title in names.items() if name[0] != "picture"}
    return judged | {name: title for name, title in names.items() if name[0] == "picture"}


def _overall(material: Material) -> dict[str, Any]:
    columns = material.summary.columns
    names, titles = _names(columns), _titles(material)
    rows = [
        [titles[encoder], variant, anchor, *(rate_cell(own[name].overall if name in own else None) for name in names)]
        for (encoder, variant, anchor), own in _runs(columns).items()
    ]
    return _table(
        "overall",
        "Bits at equal score",
        "BD-rate in per cent against the anchor; negative is fewer bits. In brackets 95 % of the resampled pictures.",
        ["encoder", "variant", "anchor", *names.values()],
        rows,
    )


def _matched(material: Material) -> dict[str, Any]:
    names, titles = _names(material.summary.columns), _titles(material)
    rows = [
        [
            titles[row.encoder],
            row.group,
            row.anchor,
            finite(row.cost),
            finite(row.setting, 3),
            *(rate_cell(row.cells.get(name)) for name in names),
        ]
        for row in material.summary.matched
    ]
    return _table(
        "matched",
        "Bits at equal score where the picture pays a stated amount",
        "Sweeps, read at a BD-rate of luma PSNR by straight lines between neighbouring settings, never beyond them.",
        ["encoder", "sweep", "anchor", "picture pays, %", "setting", *names.values()],
        rows,
        None,
    )


def _sets(material: Material) -> dict[str, Any]:
    columns, titles = material.summary.columns, _titles(material)
    names = _names(columns)
    rows = [
        [titles[encoder], variant, anchor, group,
         *(rate_cell(own[name].sets.get(group) if name in own else None) for name in names)]
        for (encoder, variant, anchor), own in _runs(columns).items()
        for group in material.results.sets
    ]  # fmt: skip
    return _table("sets", "By class", "BD-rates of each class.", ["encoder", "variant", "anchor", "class",
                  *names.values()], rows)  # fmt: skip


def _items(material: Material) -> dict[str, Any]:
    """Measures that are pooled over the set have no number of an item."""
    columns, titles = material.summary.columns, _titles(material)
    names = {name: title for name, title in _names(columns).items() if any(
        one.items for one in columns if (one.task, one.measure) == name)}  # fmt: skip
    rows = [
        [item, group, titles[encoder], variant, anchor,
         *(rate_cell(own[name].items.get((group, item)) if name in own else None) for name in names)]
        for (encoder, variant, anchor), own in _runs(columns).items()
        for group, one in material.results.sets.items()
        if (encoder, variant) in one.bits
        for item in one.items
    ]  # fmt: skip
    return _table(
        "items",
        "By picture or clip",
        "BD-rates of each item, of the measures that are not pooled over the set first.",
        ["item", "class", "encoder", "variant", "anchor", *names.values()],
        rows if names else [],
        3,
    )


def _costs(material: Material) -> dict[str, Any]:
    summary: Summary = material.summary
    titles = _titles(material)
    rows = [
        [titles[encoder], variant, anchor,
         *(finite(summary.time_ratio(encoder, variant, anchor, what), 4) for what, _ in _COSTS),
         finite(summary.map_seconds(encoder, variant), 4), finite(_memory(material, encoder, variant), 4)]
        for encoder, variant, anchor in _runs(summary.columns)
    ]  # fmt: skip
    return _table(
        "costs",
        "Times and memory",
        "Ratios to the anchor: geometric means over all items and points. The map is computed once for all points.",
        ["encoder", "variant", "anchor", *(title for _, title in _COSTS), "map, seconds", "encode memory, MB"],
        rows,
    )


def _memory(material: Material, encoder: str, variant: str) -> float | None:
    """The largest encode in MB."""
    grids = [one.costs.get(((encoder, variant), "memory"), []) for one in material.results.sets.values()]
    known = [value for grid in grids for row in grid for value in row if value == value]
    return max(known) / 1e6 if known else None


def _titles(material: Material) -> dict[str, str]:
    return {one: encoder_title(material, one) for one, _ in material.results.runs()}
