"""The mean of a piecewise cubic Hermite interpolant, in plain Python: intervals take hundreds of thousands of them.

The same interpolant as that of scipy and of the package bjontegaard (Fritsch and Butland's slopes), which costs a
hundred times as much for a curve of six points; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Sequence


def mean(x: Sequence[float], y: Sequence[float], low: float, high: float) -> float:
    """Mean of the interpolant of (x, y) from low to high.

    Parameters
    ----------
    x : strictly rising, two values at least
    y : one for each
    low, high : inside of x's span, low < high
    """
    slopes = _slopes(x, y)
    total = 0.0
    for index in range(len(x) - 1):
        start, end = max(low, x[index]), min(high, x[index + 1])
        if start < end:
            h = x[index + 1] - x[index]
            total += h * (
                _integral((end - x[index]) / h, y, slopes, index, h)
                - _integral((start - x[index]) / h, y, slopes, index, h)
            )
    return total / (high - low)


def _integral(t: float, y: Sequence[float], slopes: Sequence[float], index: int, h: float) -> float:
    """Integral of a piece from its beginning to the share t of it, over h: the Hermite basis integrated."""
    t2, t3, t4 = t * t, t**3, t**4
    return (
        y[index] * (t4 / 2 - t3 + t)
        + y[index + 1] * (t3 - t4 / 2)
        + h * slopes[index] * (t4 / 4 - 2 * t3 / 3 + t2 / 2)
        + h * slopes[index + 1] * (t4 / 4 - t3 / 3)
    )


def _slopes(x: Sequence[float], y: Sequence[float]) -> list[float]:
    """Derivatives at the points: weighted harmonic means of the neighbouring secants, 0 at an extremum."""
    widths = [b - a for a, b in zip(x, x[1:])]
    secants = [(b - a) / width for a, b, width in zip(y, y[1:], widths)]
    if len(x) == 2:
        return [secants[0], secants[0]]
    inner = []
    for (h0, h1), (m0, m1) in zip(zip(widths, widths[1:]), zip(secants, secants[1:])):
        if m0 * m1 <= 0:
            inner.append(0.0)
        else:
            w0, w1 = 2 * h1 + h0, h1 + 2 * h0
            inner.append((w0 + w1) / (w0 / m0 + w1 / m1))
    first = _end(widths[0], widths[1], secants[0], secants[1])
    last = _end(widths[-1], widths[-2], secants[-1], secants[-2])
    return [first, *inner, last]


def _end(h0: float, h1: float, m0: float, m1: float) -> float:
    """Derivative at an end: one-sided, of three points, kept from overshooting."""
    slope = ((2 * h0 + h1) * m0 - h0 * m1) / (h0 + h1)
    if slope * m0 <= 0:
        return 0.0
    return 3 * m0 if m0 * m1 <= 0 and abs(slope) > 3 * abs(m0) else slope
