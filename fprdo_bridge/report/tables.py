"""What a comparison found: tables for people and for programs."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping
from pathlib import Path

from fprdo_bridge.files import replacing
from fprdo_bridge.ctc.compare import MODES, CompareSettings, Point, bd_rates


def write_csv(path: Path, points: list[Point]) -> None:
    """One row per encode: sequence, encoder, mode, QP, bits, bits per luma sample, PSNR per plane, feature distances, seconds."""
    judges = list(points[0].distance)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["sequence", "encoder", "mode", "qp", "frames", "bits", "bits_per_sample", "psnr_y", "psnr_cb", "psnr_cr",
                     *(f"feature_distance_{judge}" for judge in judges), "encoder_seconds", "qp_offset_mean", "decoders"])
    for p in points:
        psnr = [f"{value:.4f}" for value in p.psnr] + [""] * (3 - len(p.psnr))
        writer.writerow([p.sequence, p.encoder, p.mode, p.qp, p.frames, p.bits, f"{p.bits / (p.frames * p.width * p.height):.5f}", *psnr,
                         *(f"{p.distance[judge]:.6g}" for judge in judges), p.encoder_seconds, p.qp_offset_mean,
                         "+".join(p.decoders)])
    with replacing(path) as temporary:
        temporary.write_text(text.getvalue())


def format_points(points: list[Point], judge: str) -> str:
    """A table with one line per sequence and QP: bits, luma PSNR and feature quality of both modes."""
    lines = [f"{points[0].encoder:14}{'':>5}{'bits':>21}{'PSNR Y, dB':>18}{'features, dB':>18}",
             f"{'picture':14}{'QP':>5}" + f"{'SSE':>12}{'IDSE':>9}" + 2 * f"{'SSE':>10}{'IDSE':>8}"]
    by = {(p.sequence, p.qp, p.mode): p for p in points}
    for name, qp in dict.fromkeys((p.sequence, p.qp) for p in points):
        sse, idse = (by[name, qp, mode] for mode in MODES)
        lines.append(f"{name:14}{qp:5}{sse.bits:12}{idse.bits:9}{sse.psnr[0]:10.2f}{idse.psnr[0]:8.2f}"
                     f"{sse.quality(judge):10.2f}{idse.quality(judge):8.2f}")
    return "\n".join(lines)


def format_bd_rates(points: list[Point], judges: tuple[str, ...]) -> str:
    """A table of BD-rates in per cent, negative is fewer bits: one line per sequence and their mean."""
    tables = {judge: bd_rates(points, judge) for judge in judges}
    psnr = {name: rates[1] for name, rates in tables[judges[0]].items()}
    columns = {f"features {judge}": {name: rates[0] for name, rates in table.items()} for judge, table in tables.items()}
    columns["PSNR Y"] = psnr
    lines = [f"{f'{points[0].encoder} BD-rate, %':22}" + "".join(f"{title:>{len(title) + 3}}" for title in columns)]
    for name in [*psnr, "mean"]:
        values = [_mean(column) if name == "mean" else column[name] for column in columns.values()]
        lines.append(f"{name:22}" + "".join(f"{value:{len(title) + 3}.2f}" for title, value in zip(columns, values)))
    return "\n".join(lines)


def to_json(points: list[Point], settings: CompareSettings) -> str:
    """All points and BD-rates, for programs."""
    rates = {judge: bd_rates(points, judge) for judge in settings.judges}
    return json.dumps({
        "points": [vars(point) | {"psnr": [value if math.isfinite(value) else None for value in point.psnr]}
                   for point in points],  # JSON has no infinity, the PSNR of identical planes
        "bd_rate_percent": {judge: {name: {"features": f, "psnr_y": y} for name, (f, y) in table.items()}
                            | {"mean": {"features": _mean({n: r[0] for n, r in table.items()}),
                                        "psnr_y": _mean({n: r[1] for n, r in table.items()})}}
                            for judge, table in rates.items()}}, indent=1)


def _mean(values: Mapping[str, float]) -> float:
    return sum(values.values()) / len(values)
