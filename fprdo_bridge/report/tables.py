"""What a comparison found: tables for people and for programs."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from fprdo_bridge.ctc.points import MODES, BdRate, Comparison, Point, mean_rate
from fprdo_bridge.files import replacing
from fprdo_bridge.text import printable

_COLUMNS = ("sequence", "encoder", "mode", "qp", "frames", "bits", "bits_per_sample", "psnr_y", "psnr_cb", "psnr_cr")


def write_csv(path: Path, points: Sequence[Point]) -> None:
    """One row per encode: source, encoder, mode, QP, bits, bits per luma sample, PSNR per plane, distances, seconds.

    A distance that could not be measured is an empty cell. Control characters of names are escaped (text.printable).
    """
    judges = list(points[0].distance)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        [
            *_COLUMNS,
            *(f"feature_distance_{printable(judge)}" for judge in judges),
            "encoder_seconds",
            "qp_offset_mean",
            "decoders",
        ]
    )
    for p in points:
        psnr = [f"{value:.4f}" for value in p.psnr] + [""] * (3 - len(p.psnr))
        distances = ["" if judge in p.unmeasured else f"{p.distance[judge]:.6g}" for judge in judges]
        writer.writerow(
            [
                printable(p.sequence),
                p.encoder,
                p.mode,
                p.qp,
                p.frames,
                p.bits,
                f"{p.bits_per_sample:.5f}",
                *psnr,
                *distances,
                p.encoder_seconds,
                p.qp_offset_mean,
                "+".join(p.decoders),
            ]
        )
    with replacing(path) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8")


def format_points(points: Sequence[Point], judge: str) -> str:
    """A table with one line per source and QP: bits, luma PSNR and feature quality of both modes."""
    width = max(14, *(len(printable(p.sequence)) for p in points))
    lines = [
        f"{points[0].encoder:{width}}{'':>5}{'bits':>21}{'PSNR Y, dB':>18}{'features, dB':>18}",
        f"{'picture':{width}}{'QP':>5}" + f"{'SSE':>12}{'IDSE':>9}" + 2 * f"{'SSE':>10}{'IDSE':>8}",
    ]
    by = {(p.sequence, p.qp, p.mode): p for p in points}
    for name, qp in dict.fromkeys((p.sequence, p.qp) for p in points):
        sse, idse = (by[name, qp, mode] for mode in MODES)
        lines.append(
            f"{printable(name):{width}}{qp:5g}{sse.bits:12}{idse.bits:9}{sse.psnr[0]:10.2f}{idse.psnr[0]:8.2f}"
            f"{_db(sse.quality(judge)):>10}{_db(idse.quality(judge)):>8}"
        )
    return "\n".join(lines)


def format_bd_rates(found: Comparison) -> str:
    """A table of BD-rates in per cent, negative is fewer bits: a line per source, their mean, and why one has none."""
    columns = _columns(found)
    names = list(next(iter(columns.values())))
    width = max(22, *(len(printable(name)) for name in names))
    lines = [_line(f"{found.points[0].encoder} BD-rate, %", width, {title: title for title in columns})]
    for name in names:
        cells = {title: _percent(column[name].percent) for title, column in columns.items()}
        lines.append(_line(printable(name), width, cells))
    means = {title: mean_rate(column.values()) for title, column in columns.items()}
    lines.append(_line("mean", width, {title: _percent(mean) for title, (mean, _) in means.items()}))
    if any(count < len(names) for _, count in means.values()):
        counts = {title: f"{count} of {len(names)}" for title, (_, count) in means.items()}
        lines.append(_line("  over pictures", width, counts))
    for name in names:
        if name in found.left_out:
            lines.append(f"n/a: {printable(name)}: {printable(found.left_out[name])}")
            continue
        lines += [
            f"n/a: {printable(name)}, {title}: {printable(column[name].reason)}"
            for title, column in columns.items()
            if column[name].percent is None
        ]
    return "\n".join(lines)


def to_json(found: Comparison) -> str:
    """All points and BD-rates, for programs.

    Where a BD-rate is null, "reasons" says why. "pictures" of a mean says over how many pictures it was taken. The
    means stand beside the pictures under "mean", unless a picture is called that, and always in "bd_rate_mean_percent".
    JSON has no infinity: the PSNR of identical planes is null.
    """
    pictures = [
        point.record()
        | {
            "psnr": [value if math.isfinite(value) else None for value in point.psnr],
            "distance": {judge: value if math.isfinite(value) else None for judge, value in point.distance.items()},
        }
        for point in found.points
    ]
    rates: dict[str, dict[str, dict[str, object]]] = {}
    means: dict[str, dict[str, object]] = {}
    for judge in found.judges:
        table = found.bd_rates(judge)
        (features, over), (psnr, psnr_over) = (mean_rate(pair[index] for pair in table.values()) for index in (0, 1))
        means[judge] = {"features": features, "psnr_y": psnr, "pictures": {"features": over, "psnr_y": psnr_over}}
        rates[judge] = {"mean": means[judge]} | {name: _rates(*pair) for name, pair in table.items()}
    document = {"points": pictures, "bd_rate_percent": rates, "bd_rate_mean_percent": means}
    return json.dumps(document, indent=1, allow_nan=False)


def checked(points: Sequence[Point]) -> str:
    """One line per set of decoders that gave the encoder's reconstruction, for the bitstreams that any decoded."""
    groups: dict[tuple[str, ...], int] = {}
    for point in points:
        groups[point.decoders] = groups.get(point.decoders, 0) + 1
    unchecked = groups.pop((), 0)
    lines = [
        f"{'Every bitstream' if count == len(points) else f'{count} of {len(points)} bitstreams'} decoded by "
        f"{' and '.join(decoders)}: equal to the encoder's reconstruction."
        for decoders, count in groups.items()
    ]
    if unchecked:
        lines.append(f"{unchecked} of {len(points)} bitstreams not checked: no decoder here knows their format.")
    return "\n".join(lines)


def _columns(found: Comparison) -> dict[str, dict[str, BdRate]]:
    """BD-rates by title and source: one column per judge, and one for the luma PSNR."""
    tables = {judge: found.bd_rates(judge) for judge in found.judges}
    columns = {
        f"features {printable(judge)}": {name: pair[0] for name, pair in table.items()}
        for judge, table in tables.items()
    }
    return columns | {"PSNR Y": {name: pair[1] for name, pair in tables[found.judges[0]].items()}}


def _line(first: str, width: int, cells: Mapping[str, str]) -> str:
    """A line of a table whose columns are as wide as their titles."""
    return f"{first:{width}}" + "".join(f"{cell:>{len(title) + 3}}" for title, cell in cells.items())


def _rates(features: BdRate, psnr: BdRate) -> dict[str, object]:
    values: dict[str, object] = {"features": features.percent, "psnr_y": psnr.percent}
    reasons = {key: rate.reason for key, rate in (("features", features), ("psnr_y", psnr)) if rate.percent is None}
    return values | ({"reasons": reasons} if reasons else {})


def _percent(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.2f}"


def _db(value: float) -> str:
    return "n/a" if math.isnan(value) else f"{value:.2f}"
