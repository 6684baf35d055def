"""What an encode lost and what it saved: MSE, PSNR, feature quality and Bjontegaard delta rate.

Conventions that move numbers: PSNR takes 255 * 2^(bit_depth - 8) as peak, as HM does (1020, not 1023, for 10 bits); the
PSNR of a sequence is the mean of its pictures' PSNR, not the PSNR of the mean error; planes are not mixed.
"""

from collections.abc import Sequence

import numpy as np

from fprdo_bridge.errors import FprdoError
from fprdo_bridge.video.formats import Frame, VideoFormat, check_frame


def mse(reference: Frame, picture: Frame) -> tuple[float, ...]:
    """Mean squared error of each plane, in squared code values. Both frames have the same shapes."""
    # int64: 16-bit differences squared and summed over a picture stay exact.
    return tuple(float(np.mean(np.square(a.astype(np.int64) - b))) for a, b in zip(reference, picture, strict=True))


def psnr(reference: Frame, picture: Frame, fmt: VideoFormat) -> tuple[float, ...]:
    """PSNR of each plane in dB; identical planes give infinity (HM prints 999.99).

    Raises
    ------
    FprdoError
        A frame is not of format `fmt`.
    """
    check_frame(reference, fmt)
    check_frame(picture, fmt)
    peak = 255 << (fmt.bit_depth - 8)
    return tuple(
        float(10 * np.log10(peak * peak / error)) if error else float("inf") for error in mse(reference, picture)
    )


def feature_quality_db(distance: float) -> float:
    """Quality -10 log10(distance) of a relative feature distance (0: same features, 1: the error is as large as the
    features themselves), in dB; distance 0 gives infinity.

    Raises
    ------
    FprdoError
        The distance is negative or NaN.
    """
    if not distance >= 0:
        raise FprdoError(f"feature distance {distance}: must not be negative; check the features")
    return float(-10 * np.log10(distance)) if distance else float("inf")


def bd_rate(
    rate_a: Sequence[float], quality_a: Sequence[float], rate_b: Sequence[float], quality_b: Sequence[float]
) -> float:
    """Bjontegaard delta rate of b against the anchor a: the mean rate difference at equal quality.

    The log rate of each curve is interpolated over quality by piecewise cubic Hermite polynomials (pchip), the method
    of the JVET common test conditions: it is monotone between the points, so it cannot overshoot as the
    single cubic of VCEG-M33 (and, at a kink, Akima) can. The mean is taken over the qualities that both curves reach.

    Parameters
    ----------
    rate_a, rate_b : sequence of float
        At least four positive rates each, in any unit and order.
    quality_a, quality_b : sequence of float
        Quality of each point, in dB; must rise with the rate.

    Returns
    -------
    float
        Per cent; negative means that b needs less rate.

    Raises
    ------
    FprdoError
        Fewer than four points, values that are not finite, quality that does not rise strictly with rate, curves
        without a common quality, or a rate difference beyond all numbers.

    Examples
    --------
    >>> round(bd_rate([100, 200, 400, 800], [30, 33, 36, 39], [90, 180, 360, 720], [30, 33, 36, 39]), 6)
    -10.0
    """
    curves = [_curve("anchor", rate_a, quality_a), _curve("test", rate_b, quality_b)]
    low = max(quality[0] for _, quality in curves)
    high = min(quality[-1] for _, quality in curves)
    if not low < high:
        spans = " and ".join(f"{quality[0]:.2f} to {quality[-1]:.2f} dB" for _, quality in curves)
        raise FprdoError(f"BD-rate: the curves share no quality ({spans}); choose QPs that overlap")
    import bjontegaard  # here because it loads matplotlib

    (anchor_rate, anchor_quality), (test_rate, test_quality) = curves
    with np.errstate(over="ignore", invalid="ignore"):
        percent = float(
            bjontegaard.bd_rate(
                anchor_rate,
                anchor_quality,
                test_rate,
                test_quality,
                method="pchip",
                require_matching_points=False,
                min_overlap=0,
            )
        )
    if not np.isfinite(percent):
        raise FprdoError("BD-rate: the qualities of a curve lie too close together; choose QPs further apart")
    return percent


def _curve(name: str, rate: Sequence[float], quality: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    rates, qualities = np.asarray(rate, float), np.asarray(quality, float)
    if rates.ndim != 1 or rates.shape != qualities.shape or len(rates) < 4:
        raise FprdoError(
            f"BD-rate: the {name} curve has {rates.size} rates and {qualities.size} qualities; "
            "give at least four points"
        )
    if not (np.isfinite(rates).all() and np.isfinite(qualities).all() and (rates > 0).all()):
        raise FprdoError(
            f"BD-rate: the {name} curve has a rate or quality that is not a finite number "
            "(a picture coded without loss?); choose higher QPs"
        )
    order = np.argsort(rates)
    rates, qualities = rates[order], qualities[order]
    if (np.diff(rates) <= 0).any() or (np.diff(qualities) <= 0).any():
        points = ", ".join(f"{r:g}: {q:.3f}" for r, q in zip(rates, qualities))
        raise FprdoError(
            f"BD-rate: quality of the {name} curve does not rise with rate ({points}); choose QPs further apart"
        )
    return rates, qualities
