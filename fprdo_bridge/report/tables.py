"""What a comparison found: tables for people and for programs, and rate-distortion curves."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping
from pathlib import Path

from fprdo_bridge.files import replacing
from fprdo_bridge.ctc.compare import MODES, CompareSettings, Point, bd_rates

_COLOURS = {"sse": "#6b7280", "idse": "#d9480f"}
_LABELS = {"sse": "SSE (stock)", "idse": "IDSE"}


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


def draw_curves(path: Path, points: list[Point], judge: str) -> None:
    """Write a picture (PNG by suffix) of all rate-distortion curves: features above, luma PSNR below, one column each."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rates = bd_rates(points, judge)
    figure = Figure(figsize=(max(5.0, 3.5 * len(rates)), 6.4), dpi=110, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots(2, len(rates), squeeze=False)
    rows = ((f"feature quality, dB\n({judge})", lambda p: p.quality(judge)), ("PSNR Y, dB", lambda p: p.psnr[0]))
    for column, name in enumerate(rates):
        for row, (label, quality) in enumerate(rows):
            axis = axes[row][column]
            for mode in MODES:
                curve = sorted(((p.bits / (p.frames * p.width * p.height), quality(p)) for p in points
                                if (p.sequence, p.mode) == (name, mode)))
                axis.plot(*zip(*curve), "o-", color=_COLOURS[mode], label=_LABELS[mode], linewidth=1.8, markersize=4.5)
            axis.set_xscale("log", base=2)
            axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
            axis.grid(True, which="both", alpha=0.25)
            axis.set_title(f"{name}: {rates[name][row]:+.1f} % rate" if row == 0 else f"{rates[name][row]:+.1f} % rate",
                           fontsize=10)
            if column == 0:
                axis.set_ylabel(label)
            if row:
                axis.set_xlabel("bits per luma sample")
    axes[0][0].legend(loc="lower right", fontsize=9, frameon=False)
    with replacing(path) as temporary:
        canvas.print_figure(temporary, format=path.suffix.lstrip(".") or "png")


def _mean(values: Mapping[str, float]) -> float:
    return sum(values.values()) / len(values)
