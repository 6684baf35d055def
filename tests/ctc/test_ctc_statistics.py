"""BD-rates against published numbers, fits and intervals against scipy and scikit-learn."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fprdo_bridge.ctc import statistics
from fprdo_bridge.ctc.statistics import Curve, NotComparable, bd_rate, interval, matched, monotone, resampled
from fprdo_bridge.errors import FprdoError

# Two examples of JCTVC-E137 with the results of its spreadsheet (piecewise cubic), in per cent; the inputs are printed
# with four decimals there.
PUBLISHED = [
    (
        ((108048.8736, 43.6471), (61279.976, 40.3953), (33905.6656, 37.247), (18883.6928, 34.2911)),
        ((108061.2784, 43.6768), (61299.9936, 40.4232), (33928.7472, 37.2761), (18910.912, 34.3147)),
        -0.465215420752807,
    ),
    (
        ((40433.8848, 37.5761), (7622.7456, 35.3756), (2394.488, 33.8977), (1017.6184, 32.0603)),
        ((40370.12, 37.5982), (7587.0024, 35.4025), (2390.0944, 33.9194), (1017.0984, 32.0822)),
        -1.8779823450567612,
    ),
]


def curve(*points) -> Curve:
    return Curve(tuple(rate for rate, _ in points), tuple(score for _, score in points))


def line(factor: float = 1.0, scores=(30, 33, 36, 39)) -> Curve:
    return Curve(tuple(factor * rate for rate in (100, 200, 400, 800)), scores)


# ---- BD-rate ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("anchor, test, percent", PUBLISHED)
def test_published_examples(anchor, test, percent):
    found = bd_rate(curve(*anchor), curve(*test))
    assert found.percent == pytest.approx(percent, abs=0.005)
    assert found.refitted == (0, 0) and 0.9 < found.overlap <= 1


@settings(deadline=None)  # the first call imports the library
@given(factor=st.floats(0.1, 10), method=st.sampled_from(statistics.METHODS))
def test_the_rate_of_a_scaled_curve_is_the_scale(factor, method):
    found = bd_rate(line(), line(factor), method=method)
    assert found.percent == pytest.approx((factor - 1) * 100, abs=1e-9) and found.overlap == 1


def test_exponential_curves():
    """Rates 2^(q/3) and 2^(q/3 - 1 + (q - 30)/9): log2 rates differ by a line, whose mean over 30 to 39 is -1/2."""
    scores = np.array([30.0, 33, 36, 39])
    anchor, test = (Curve(tuple(2**logs), tuple(scores)) for logs in (scores / 3, scores / 3 - 1 + (scores - 30) / 9))
    assert bd_rate(anchor, test).percent == pytest.approx((2**-0.5 - 1) * 100)


def test_the_common_scores_alone_count():
    """The same exponential curve from points elsewhere, five on one side: no difference."""
    anchor, test = (
        Curve(tuple(10 * 2 ** (score / 6) for score in scores), scores)
        for scores in ((30, 33, 36, 39), (31.5, 34, 35, 37, 42))
    )
    assert bd_rate(anchor, test).percent == pytest.approx(0, abs=1e-9)


def test_points_may_stand_in_any_order():
    backward = Curve(line().rates[::-1], line().scores[::-1])
    assert bd_rate(backward, line(0.9)).percent == pytest.approx(-10)


def test_akima_differs_where_a_curve_bends():
    anchor, test = (curve(*points) for points in PUBLISHED[1][:2])
    by = {method: bd_rate(anchor, test, method=method).percent for method in statistics.METHODS}
    assert by["akima"] == pytest.approx(by["pchip"], abs=0.3) and by["akima"] != by["pchip"]


def test_overlap_is_a_share_of_all_scores():
    assert bd_rate(line(), line(scores=(33, 36, 39, 42))).overlap == pytest.approx(6 / 12)


@pytest.mark.parametrize(
    "test, message",
    [
        (line(scores=(50, 51, 52, 53)), "share no score"),
        (line(scores=(30, 33, 32, 39)), "test: the score does not rise"),
        (line(scores=(30, 33, 33, 39)), "test: the score does not rise"),
        (Curve((100, 100, 390, 820), (30, 33, 36, 39)), "test: the score does not rise"),
        (line(scores=(30, 30.000000000000004, 36, 39)), "too close together"),
        (Curve((1, 2, 3), (1, 2, 3)), "3 points"),
    ],
)
def test_what_cannot_be_compared(test, message):
    with pytest.raises(NotComparable, match=message):
        bd_rate(line(), test)


@pytest.mark.parametrize("scores", [[33.333333333333336 + k * 7.2e-15 for k in range(4)], [0, 1e-310, 2e-310, 3e-310]])
def test_curves_of_rounding_alone(scores):
    flat = line(scores=tuple(scores))
    with pytest.raises(NotComparable, match="too close together"):
        bd_rate(flat, flat)
    with pytest.raises(NotComparable, match="too close together"):
        statistics.quick_bd_rate(statistics.rising(flat), statistics.rising(flat))


def test_values_that_are_no_numbers():
    for rates, scores in (((1, 2), (1,)), ((0, 1), (1, 2)), ((1, 2), (1, math.inf)), ((1, math.nan), (1, 2))):
        with pytest.raises(NotComparable):
            Curve(rates, scores)
    with pytest.raises(FprdoError, match="interpolation"):
        bd_rate(line(), line(), method="cubic")


def test_scores_that_rounding_tells_apart_are_equal():
    third = sum([0.1, 0.2, 0.3]) / 3, 0.6 / 3  # which differ in the last bit
    assert third[0] != third[1]
    found = monotone(Curve((100, 200, 400, 800), (0.1, min(third), max(third), 0.3)))
    assert len(found.curve.rates) == 3 and found.refitted == 2


def test_a_flat_curve_has_no_rate():
    for scores in ((5, 4, 3, 2), tuple(33.333333333333336 + k * 7.2e-15 for k in range(4))):
        with pytest.raises(NotComparable, match="at all"):
            bd_rate(line(), line(scores=scores), fit=True)


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.tuples(st.floats(0.01, 5), st.floats(0.01, 5)), min_size=4, max_size=9),
    st.lists(st.tuples(st.floats(0.01, 5), st.floats(0.01, 5)), min_size=4, max_size=9),
)
def test_the_quick_number_is_the_packages(one, other):
    fits = []
    for steps in (one, other):
        rates, scores = (np.cumsum([step[index] for step in steps]) for index in (0, 1))
        fits.append(statistics.rising(Curve(tuple(np.exp(rates / 5)), tuple(scores))))
    try:
        expected = statistics.bd_rate_of_fits(*fits).percent
    except NotComparable:
        with pytest.raises(NotComparable):
            statistics.quick_bd_rate(*fits)
        return
    assert statistics.quick_bd_rate(*fits) == pytest.approx(expected, rel=1e-8, abs=1e-8)
    assert statistics.quick_bd_rate(*fits, method="akima") == statistics.bd_rate_of_fits(*fits, method="akima").percent


def test_the_quick_number_of_two_points():
    fit = statistics.monotone(line(0.9, (30, 34, 32, 39)))
    two = statistics.Fit(Curve((100, 300), (30, 40)), Curve((100, 300), (30, 40)), 0)
    assert statistics.quick_bd_rate(two, fit) == pytest.approx(statistics.bd_rate_of_fits(two, fit).percent)


# ---- monotone fit ----------------------------------------------------------------------------------------------------


def test_fit_keeps_what_rises():
    fit = monotone(Curve((400, 100, 200), (3, 1, 2)))
    assert fit.curve == fit.raw == Curve((100, 200, 400), (1, 2, 3)) and fit.refitted == 0


def test_fit_merges_at_the_mean_log_rate_and_keeps_the_raw_points():
    fit = monotone(Curve((100, 200, 400, 800), (1.0, 3.0, 2.0, 4.0)))
    assert fit.curve.scores == (1, 2.5, 4) and fit.curve.rates == pytest.approx((100, math.sqrt(200 * 400), 800))
    assert fit.raw.scores == (1, 3, 2, 4) and fit.refitted == 2


def test_equal_scores_are_one_point():
    fit = monotone(Curve((100, 200, 400, 800), (1.0, 2.0, 2.0, 2.0)))
    assert fit.curve.scores == (1, 2) and fit.curve.rates[1] == pytest.approx((200 * 400 * 800) ** (1 / 3))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(-50, 50, width=16), min_size=2, max_size=9))
def test_fit_is_isotonic_regression(scores):
    from sklearn.isotonic import IsotonicRegression

    rates = tuple(2.0**index for index in range(len(scores)))
    expected = IsotonicRegression().fit_transform(np.log(rates), scores)
    fit = monotone(Curve(rates, tuple(scores)))
    assert np.interp(np.log(rates), np.log(fit.curve.rates), fit.curve.scores).min() >= expected.min() - 1e-9
    found = sorted(fit.curve.scores)
    assert found == list(fit.curve.scores) and list(fit.curve.rates) == sorted(fit.curve.rates)
    assert all(np.abs(expected - score).min() < 1e-9 for score in found)
    assert all(np.abs(np.asarray(found) - score).min() < 1e-9 for score in expected)
    from scipy.optimize import isotonic_regression

    assert isotonic_regression(scores).x == pytest.approx(expected, abs=1e-9)


def test_fit_averages_points_of_one_rate():
    fit = monotone(Curve((100, 100, 200), (1.0, 3.0, 5.0)))
    assert fit.curve == Curve((100, 200), (2, 5)) and fit.refitted == 2


def test_bd_rate_says_what_was_refitted():
    found = bd_rate(line(), line(0.9, (30, 36, 33, 39)), fit=True)
    assert found.refitted == (0, 2)
    assert bd_rate(line(), line(0.9), fit=True).percent == pytest.approx(-10)


# ---- pooling ---------------------------------------------------------------------------------------------------------


def test_pooled_rate_weights_by_duration():
    assert statistics.pooled_rate([100, 400], [3, 1]) == 175
    with pytest.raises(FprdoError):
        statistics.pooled_rate([100], [])


def test_db():
    assert statistics.db(0.01) == pytest.approx(20) and statistics.db(0) == math.inf
    with pytest.raises(FprdoError):
        statistics.db(-1)


# ---- intervals -------------------------------------------------------------------------------------------------------


def test_an_interval_is_scipys_percentile_bootstrap():
    from scipy.stats import bootstrap

    values = np.random.default_rng(3).normal(size=12)
    found = interval(values[resampled(12, 500, 7)].mean(1))
    expected = bootstrap(
        (values,), np.mean, n_resamples=500, method="percentile", rng=np.random.default_rng(7)
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert (found.used, found.resamples, found.level) == (500, 500, 0.95)


def test_an_interval_leaves_out_what_has_no_value():
    found = interval(np.array([math.nan, 1, 1, 1]))
    assert (found.low, found.high, found.used, found.resamples) == (1, 1, 3, 4)
    assert interval(np.array([math.nan, math.nan, 1])) is None and interval(np.array([])) is None


# ---- matched cost ----------------------------------------------------------------------------------------------------

SWEEP = [(0.15, 11.0, -17.0), (1.0, 4.0, -14.0), (3.0, 1.0, -6.0)]


def test_matched_cost_is_interpolated():
    setting, gain = matched(SWEEP, 2.5)
    assert setting == pytest.approx(2.0) and gain == pytest.approx(-10.0)
    assert matched(SWEEP, 4.0) == (1.0, -14.0)
    assert matched(SWEEP, 11.0)[1] == -17.0


@pytest.mark.parametrize("cost", [0.0, 0.99, 11.01])
def test_matched_cost_is_never_extrapolated(cost):
    with pytest.raises(NotComparable, match="outside"):
        matched(SWEEP, cost)


def test_matched_cost_needs_one_answer():
    with pytest.raises(NotComparable, match="settings"):
        matched([(1, 1, -1), (2, 5, -2), (3, 1, -3)], 3)
    with pytest.raises(NotComparable, match="two are needed"):
        matched([(1, 1, -1), (2, math.nan, -2)], 1)
    with pytest.raises(NotComparable, match="more than one"):
        matched([(1, 2, -1), (2, 2, -2), (3, 1, -3)], 2)
