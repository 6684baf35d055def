"""Rate-distortion curves."""

from __future__ import annotations

from pathlib import Path

from fprdo_bridge.ctc.compare import MODES, Point, bd_rates
from fprdo_bridge.files import replacing

_COLOURS = {"sse": "#6b7280", "idse": "#d9480f"}
_LABELS = {"sse": "SSE (stock)", "idse": "IDSE"}


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
