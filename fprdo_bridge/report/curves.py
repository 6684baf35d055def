"""Rate-distortion curves."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

from fprdo_bridge.ctc.points import MODES, BdRate, Point, bd_rates
from fprdo_bridge.report.figures import LITERAL, figure, literal

PANELS = 4  # pictures in one figure

_COLOURS = {"sse": "#6b7280", "idse": "#d9480f"}
_LABELS = {"sse": "SSE (stock)", "idse": "IDSE"}


def curve_files(count: int) -> list[str]:
    """Names of the figures for this many pictures: rd-curves.png, rd-curves-2.png and so on."""
    return [f"rd-curves{f'-{page}' if page > 1 else ''}.png" for page in range(1, math.ceil(count / PANELS) + 1)]


def draw_curves(path: Path, points: list[Point], judge: str) -> None:
    """Write a picture (PNG by suffix) of rate-distortion curves: features above, luma PSNR below, a column per source.

    Parameters
    ----------
    points : of at most PANELS sources
    judge : extractor whose distances are drawn

    Raises
    ------
    FprdoError
        The file cannot be written.
    """
    rates = bd_rates(points, judge)
    rows: tuple[tuple[str, Callable[[Point], float]], ...] = (
        (f"feature quality, dB\n({literal(judge, 40)})", lambda p: p.quality(judge)),
        ("PSNR Y, dB", lambda p: p.psnr[0]),
    )
    with figure(path, max(5.0, 3.5 * len(rates)), 6.4) as page:
        axes = page.subplots(2, len(rates), squeeze=False)
        for column, name in enumerate(rates):
            for row, (label, quality) in enumerate(rows):
                axis = axes[row][column]
                for mode in MODES:
                    curve = sorted(
                        (p.bits_per_sample, quality(p)) for p in points if (p.sequence, p.mode) == (name, mode)
                    )
                    curve = [point for point in curve if math.isfinite(point[1])]
                    axis.plot(
                        [x for x, _ in curve],
                        [y for _, y in curve],
                        "o-",
                        color=_COLOURS[mode],
                        label=_LABELS[mode],
                        linewidth=1.8,
                        markersize=4.5,
                    )
                axis.set_xscale("log", base=2)
                axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
                axis.grid(True, which="both", alpha=0.25)
                rate = _title(rates[name][row])
                axis.set_title(rate if row else f"{literal(name, 40)}: {rate}", fontsize=10, **LITERAL)
                if column == 0:
                    axis.set_ylabel(label, **LITERAL)
                if row:
                    axis.set_xlabel("bits per luma sample")
        axes[0][0].legend(loc="lower right", fontsize=9, frameon=False)


def _title(rate: BdRate) -> str:
    return "no BD-rate" if rate.percent is None else f"{rate.percent:+.1f} % rate"
