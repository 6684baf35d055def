"""Numbers from rate-score curves: monotone fits, Bjontegaard delta rates, pooled curves, intervals, matched cost.

Conventions that move numbers: rates are compared as logarithms; the mean is taken over the scores that both curves
reach; a fit merges the points that it makes equal into one at their mean log rate; intervals are percentiles of
resampled pictures.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fprdo_bridge.ctc import pchip
from fprdo_bridge.errors import FprdoError

METHODS = ("pchip", "akima")
_FEWEST = 4  # points of a curve
_CLOSEST = 1e-12  # scores, as a share of the largest: nearer ones are equal but for rounding


class NotComparable(FprdoError):
    """Two curves have no BD-rate; the message says why, and the rest of a table goes on without it."""


@dataclass(frozen=True)
class Curve:
    """Points of one encoder under one setting, in any order.

    Parameters
    ----------
    rates : positive rates, in any unit
    scores : one per rate; higher is better

    Raises
    ------
    NotComparable
        The numbers differ, or a value is not finite or a rate not positive.
    """

    rates: tuple[float, ...]
    scores: tuple[float, ...]

    def __post_init__(self) -> None:
        rates, scores = tuple(map(float, self.rates)), tuple(map(float, self.scores))
        object.__setattr__(self, "rates", rates)
        object.__setattr__(self, "scores", scores)
        if len(rates) != len(scores):
            raise NotComparable(f"{len(rates)} rates and {len(scores)} scores; give one score per rate")
        if not all(0 < rate < math.inf for rate in rates):
            raise NotComparable("a rate is not a positive number")
        if not all(map(math.isfinite, scores)):
            raise NotComparable("a score is not a finite number (a picture coded without loss?)")


@dataclass(frozen=True)
class Fit:
    """A curve that rises strictly, and what was done to it.

    Attributes
    ----------
    curve : by rising rate and score
    raw : the points that were measured, by rising rate
    refitted : how many of the measured points the fit moved or merged
    """

    curve: Curve
    raw: Curve
    refitted: int


@dataclass(frozen=True)
class BdRate:
    """A Bjontegaard delta rate and what it rests on.

    Attributes
    ----------
    percent : negative means that the test needs less rate
    overlap : the scores that both curves reach, as a share of those that either reaches, 0 to 1
    refitted : points that the monotone fit moved, of the anchor and of the test
    """

    percent: float
    overlap: float
    refitted: tuple[int, int]


def monotone(curve: Curve) -> Fit:
    """Fit a curve that rises with the rate, by least squares (isotonic regression over the points sorted by rate).

    Neighbours to which the fit gives one score become one point at the mean of their log rates, since a rate as a
    function of the score needs scores that differ by more than rounding. A curve that rises so comes back as it is.
    """
    points = sorted(zip(curve.rates, curve.scores))
    raw = Curve(tuple(rate for rate, _ in points), tuple(score for _, score in points))
    blocks: list[_Block] = []
    for rate, score in points:  # points of one rate are one point of their mean score
        if blocks and blocks[-1].rate == rate:
            blocks[-1] = blocks[-1].joined(_Block(1, score, rate), rate)
        else:
            blocks.append(_Block(1, score, rate))
    merged: list[_Block] = []
    close = _closest(curve)
    for block in blocks:  # pool adjacent violators
        while merged and merged[-1].score + close >= block.score:
            before = merged.pop()
            logs = before.count * math.log(before.rate) + block.count * math.log(block.rate)
            block = before.joined(block, math.exp(logs / (before.count + block.count)))
        merged.append(block)
    kept = sum(block.count == 1 for block in merged)
    if kept == len(points):
        return Fit(raw, raw, 0)
    fit = Curve(tuple(block.rate for block in merged), tuple(block.score for block in merged))
    return Fit(fit, raw, len(points) - kept)


@dataclass(frozen=True)
class _Block:
    """Points that the fit makes one."""

    count: int
    score: float
    rate: float

    def joined(self, other: _Block, rate: float) -> _Block:
        """Both, at a rate, with the mean score of all their points."""
        count = self.count + other.count
        return _Block(count, (self.count * self.score + other.count * other.score) / count, rate)


def rising(curve: Curve) -> Fit:
    """The curve by rising rate, unchanged.

    Raises
    ------
    NotComparable
        The score does not rise strictly with the rate.
    """
    points = sorted(zip(curve.rates, curve.scores))
    if any(not (a[0] < b[0] and a[1] < b[1]) for a, b in zip(points, points[1:])):
        raise NotComparable(
            "the score does not rise with the rate ("
            + ", ".join(f"{rate:g}: {score:.4g}" for rate, score in points)
            + ")"
        )
    raw = Curve(tuple(rate for rate, _ in points), tuple(score for _, score in points))
    return Fit(raw, raw, 0)


def fitted(curve: Curve, fit: bool) -> Fit:
    """A curve ready for a BD-rate: `monotone` if `fit`, else `rising`.

    Raises
    ------
    NotComparable
        Fewer than four points, a curve that does not rise, or less than two points after the fit.
    """
    if len(curve.rates) < _FEWEST:
        raise NotComparable(f"{len(curve.rates)} points; BD-rate needs {_FEWEST}")
    found = monotone(curve) if fit else rising(curve)
    if len(found.curve.rates) < 2:
        raise NotComparable("the score does not rise with the rate at all")
    return found


def bd_rate(anchor: Curve, test: Curve, *, method: str = "pchip", fit: bool = False) -> BdRate:
    """Bjontegaard delta rate of `test` against `anchor`: the mean rate difference at equal score.

    Parameters
    ----------
    anchor, test : at least four points each
    method : interpolation of the log rate over the score: "pchip", as in the spreadsheets of JVET's common test
        conditions, or "akima"
    fit : make both curves monotone first, as the conditions for machines do; otherwise they must rise

    Raises
    ------
    NotComparable
        See `fitted`, or the curves have no score in common, or scores of a curve lie too close together.
    """
    fits = []
    for name, curve in (("anchor", anchor), ("test", test)):
        try:
            fits.append(fitted(curve, fit))
        except NotComparable as error:
            raise NotComparable(f"{name}: {error}") from None
    return bd_rate_of_fits(fits[0], fits[1], method)


def bd_rate_of_fits(anchor: Fit, test: Fit, method: str = "pchip") -> BdRate:
    """The same of two curves that are fitted already. Raises NotComparable as `bd_rate` does for two curves."""
    if method not in METHODS:
        raise FprdoError(f"interpolation {method!r}: use {' or '.join(METHODS)}")
    low, high, whole = _common(anchor, test)
    import bjontegaard  # here because it loads matplotlib

    percent = bjontegaard.bd_rate(
        anchor.curve.rates,
        anchor.curve.scores,
        test.curve.rates,
        test.curve.scores,
        method=method,
        require_matching_points=False,
        min_overlap=0,
    )
    return BdRate(float(percent), (high - low) / whole, (anchor.refitted, test.refitted))


def quick_bd_rate(anchor: Fit, test: Fit, method: str = "pchip") -> float:
    """The same number, much faster for "pchip": for the many resamples of an interval. Raises NotComparable."""
    if method != "pchip":
        return bd_rate_of_fits(anchor, test, method).percent
    low, high, _ = _common(anchor, test)
    means = [pchip.mean(one.curve.scores, list(map(math.log, one.curve.rates)), low, high) for one in (anchor, test)]
    return 100 * math.expm1(means[1] - means[0])


def _closest(curve: Curve) -> float:
    return max(_CLOSEST * max(map(abs, curve.scores)), sys.float_info.min / _CLOSEST)


def _common(anchor: Fit, test: Fit) -> tuple[float, float, float]:
    """Ends of the scores that both curves reach, and the width of all that either reaches. Raises NotComparable."""
    for curve in (anchor.curve, test.curve):
        if min(b - a for a, b in zip(curve.scores, curve.scores[1:])) <= _closest(curve):
            raise NotComparable("scores of a curve lie too close together")
    spans = [(one.curve.scores[0], one.curve.scores[-1]) for one in (anchor, test)]
    low, high = max(span[0] for span in spans), min(span[1] for span in spans)
    if not low < high:
        raise NotComparable("the curves share no score (" + " and ".join(f"{a:.4g} to {b:.4g}" for a, b in spans) + ")")
    return low, high, max(span[1] for span in spans) - min(span[0] for span in spans)


# ---- pooling ---------------------------------------------------------------------------------------------------------


def pooled_rate(rates: Sequence[float], durations: Sequence[float]) -> float:
    """Mean rate of several sequences, each weighted by its duration: bits of all over seconds of all, if the rates are
    bits per second."""
    if len(rates) != len(durations) or not rates:
        raise FprdoError(f"{len(rates)} rates and {len(durations)} durations; give one duration per rate")
    return math.fsum(rate * seconds for rate, seconds in zip(rates, durations)) / math.fsum(durations)


def db(distance: float) -> float:
    """A quality that rises with the rate, -10 log10 of a distance; infinite for distance 0."""
    if not distance >= 0:
        raise FprdoError(f"distance {distance}: must not be negative")
    return -10 * math.log10(distance) if distance else math.inf


# ---- intervals -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Interval:
    """A percentile interval over resampled pictures.

    Attributes
    ----------
    low, high : its ends
    level : the share of resamples inside
    used : resamples that had a value; the others, whose curves could not be compared, are left out
    resamples : all
    """

    low: float
    high: float
    level: float
    used: int
    resamples: int


def resampled(count: int, resamples: int = 1000, seed: int = 0) -> np.ndarray:
    """Indices of pictures drawn with replacement, (resamples, count), the same for the same arguments."""
    return np.random.default_rng(seed).integers(0, count, (resamples, count))


def interval(values: np.ndarray, level: float = 0.95) -> Interval | None:
    """Percentile interval of a statistic's values for resampled pictures; NaN where a resample has none.

    Returns
    -------
    None where fewer than half of the resamples have a value.
    """
    known = values[np.isfinite(values)]
    if not len(values) or 2 * len(known) < len(values):
        return None
    low, high = np.percentile(known, [50 * (1 - level), 50 * (1 + level)])
    return Interval(float(low), float(high), level, len(known), len(values))


# ---- matched cost ----------------------------------------------------------------------------------------------------


def matched(sweep: Sequence[tuple[float, float, float]], cost: float) -> tuple[float, float]:
    """What a setting that is swept gives at a stated cost, interpolated, never extrapolated.

    Parameters
    ----------
    sweep : (setting, cost, gain) of each run, such as (tau, BD-rate of luma PSNR, BD-rate of a task)
    cost : the cost that is asked for

    Returns
    -------
    (setting, gain) by straight lines between neighbours in the setting.

    Raises
    ------
    NotComparable
        Fewer than two runs, the cost lies outside of what the sweep reached, or the sweep reaches it more than once.
    """
    points = sorted(point for point in sweep if all(map(math.isfinite, point)))
    if len(points) < 2:
        raise NotComparable(f"the sweep has {len(points)} settings with a value; two are needed")
    low, high = min(point[1] for point in points), max(point[1] for point in points)
    if not low <= cost <= high:
        raise NotComparable(f"{cost:+g} % lies outside of what the sweep reached ({low:+.1f} to {high:+.1f} %)")
    found = []
    for (setting_a, cost_a, gain_a), (setting_b, cost_b, gain_b) in zip(points, points[1:]):
        if cost_a == cost_b:
            if cost_a == cost:
                raise NotComparable(f"the sweep reaches {cost:+g} % at more than one setting")
        elif min(cost_a, cost_b) <= cost <= max(cost_a, cost_b):
            share = (cost - cost_a) / (cost_b - cost_a)
            found.append((setting_a + share * (setting_b - setting_a), gain_a + share * (gain_b - gain_a)))
    if len(set(found)) > 1 and not all(math.isclose(found[0][0], one[0]) for one in found):
        raise NotComparable(f"the sweep reaches {cost:+g} % at {len(found)} settings")
    return found[0]
