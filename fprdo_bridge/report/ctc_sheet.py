"""A workbook in the shape of the sheets of JVET's common test conditions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from fprdo_bridge.ctc.results import SetResults
from fprdo_bridge.ctc.summary import Cell, Summary
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.files import replacing
from fprdo_bridge.text import printable

_PLANES = (("psnr_y", "Y"), ("psnr_cb", "U"), ("psnr_cr", "V"), ("psnr_yuv", "YUV 6:1:1"))
_POINT = ("kbps", "Y psnr", "U psnr", "V psnr", "YUV psnr", "enc T", "dec T")


def write_sheet(path: Path, summary: Summary, variant: str, anchor: str) -> None:
    """The sheets of a variant against an anchor: a summary by class, and one for each encoder setting with every clip's
    points and BD-rates. Values, no formulas.

    Raises
    ------
    FprdoError
        openpyxl is not installed.
    """
    try:
        from openpyxl import Workbook
    except ModuleNotFoundError:
        raise FprdoError("a workbook needs the package openpyxl: pip install openpyxl") from None
    book = Workbook()
    sheet = book.active
    sheet.title = "Summary"
    encoders = [encoder for encoder, name in summary.results.runs() if name == variant]
    _fill(sheet, _summary(summary, encoders, variant, anchor))
    for number, encoder in enumerate(encoders, 1):
        title = printable(f"{number} {encoder}")[:31].translate({ord(char): "-" for char in "[]:*?/\\"})
        _fill(book.create_sheet(title), _points(summary, encoder, variant, anchor))
    with replacing(path) as temporary:
        book.save(temporary)


def _fill(sheet: Any, rows: Iterable[list[Any]]) -> None:
    """Write rows; text is text, though it may begin with = or hold control characters."""
    for number, row in enumerate(rows, 1):
        for column, value in enumerate(row, 1):
            cell = sheet.cell(number, column, printable(value) if isinstance(value, str) else value)
            if isinstance(value, str):
                cell.data_type = "s"


def _summary(summary: Summary, encoders: list[str], variant: str, anchor: str) -> Iterator[list[Any]]:
    yield ["Anchor", anchor]
    yield ["Tested", variant]
    for encoder in encoders:
        columns = [
            one for one in summary.columns if (one.encoder, one.variant, one.anchor) == (encoder, variant, anchor)
        ]
        planes = {one.measure: one for one in columns if one.task == "picture"}
        judges = [one for one in columns if one.task != "picture"]
        yield []
        yield [encoder, *(title for _, title in _PLANES), "EncT", "DecT", *(one.title for one in judges)]
        times = [summary.time_ratio(encoder, variant, anchor, what) for what in ("encode", "decode")]
        for name in summary.results.sets:
            cells = [planes[key].sets.get(name) for key, _ in _PLANES if key in planes]
            yield [name, *(_share(cell) for cell in cells), "", "", *(_share(one.sets.get(name)) for one in judges)]
        yield [
            "Overall",
            *(_share(planes[key].overall) for key, _ in _PLANES if key in planes),
            *times,
            *(_share(one.overall) for one in judges),
        ]


def _points(summary: Summary, encoder: str, variant: str, anchor: str) -> Iterator[list[Any]]:
    yield ["", "", "", "Anchor", *[""] * (len(_POINT) - 1), "Tested", *[""] * (len(_POINT) - 1), "BD-rate"]
    yield ["Class", "Sequence", "QP", *_POINT, *_POINT, *(title for _, title in _PLANES)]
    columns = {
        one.measure: one
        for one in summary.columns
        if (one.encoder, one.variant, one.anchor, one.task) == (encoder, variant, anchor, "picture")
    }
    for one in summary.results.sets.values():
        if (encoder, variant) not in one.bits or (encoder, anchor) not in one.bits:
            continue
        for index, item in enumerate(one.items):
            sides = [_side(one, (encoder, name), index) for name in (anchor, variant)]
            for point, (left, right) in enumerate(zip(*sides)):
                cells = [columns[key].items.get((one.name, item)) for key, _ in _PLANES if key in columns]
                yield [
                    one.name,
                    item,
                    one.values_of[encoder, anchor][index][point],
                    *left,
                    *right,
                    *(_share(cell) if point == 0 else None for cell in cells),
                ]


def _side(one: SetResults, run: tuple[str, str], index: int) -> list[list[Any]]:
    rows = []
    for point, bits in enumerate(one.bits[run][index]):
        values = [
            bits / one.seconds_of[index] / 1000,
            *(one.scores[run, "picture", key][index][point] for key, _ in _PLANES),
            *(one.costs[run, what][index][point] for what in ("encode", "decode")),
        ]
        rows.append([None if math.isnan(value) else value for value in values])
    return rows


def _share(cell: Cell | None) -> float | str | None:
    """A BD-rate as the sheets have it, 0.01 for 1 %."""
    if cell is None:
        return None
    return "n/a" if cell.value is None else cell.value / 100
