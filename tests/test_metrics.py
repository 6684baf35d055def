"""PSNR and BD-rate against values that can be worked out by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fprdo_bridge.ctc.metrics import bd_rate, feature_quality_db, mse, psnr
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.video.formats import VideoFormat

RATES, QUALITY = [100.0, 210.0, 390.0, 820.0], [30.1, 33.3, 36.2, 39.0]


def flat(fmt: VideoFormat, value: int) -> tuple[np.ndarray, ...]:
    return tuple(np.full(shape, value, fmt.dtype) for shape in fmt.plane_shapes)


def test_mse_is_per_plane_and_exact():
    fmt = VideoFormat(5, 3, "420", 16)
    a, b = flat(fmt, 0), flat(fmt, 0)
    b[0][0, 0] = 65535
    b[2][:] = 3
    assert mse(a, b) == mse(b, a) == (65535**2 / 15, 0.0, 9.0)


@pytest.mark.parametrize("bit_depth, peak", [(8, 255), (10, 1020), (12, 4080)])
def test_psnr(bit_depth, peak):
    fmt = VideoFormat(5, 3, "422", bit_depth)
    y, cb, cr = psnr(flat(fmt, 10), (flat(fmt, 10)[0], flat(fmt, 11)[1], flat(fmt, 20)[2]), fmt)
    assert y == float("inf")
    assert cb == pytest.approx(20 * np.log10(peak))
    assert cr == pytest.approx(20 * np.log10(peak) - 20)


def test_psnr_of_another_format_is_refused():
    fmt = VideoFormat(4, 4)
    with pytest.raises(FprdoError, match="4x4 420 8-bit"):
        psnr(flat(fmt, 0), flat(VideoFormat(4, 2), 0), fmt)


def test_feature_quality():
    assert feature_quality_db(0.01) == pytest.approx(20)
    assert feature_quality_db(0) == float("inf")
    for distance in (-1e-9, float("nan")):
        with pytest.raises(FprdoError, match="feature distance"):
            feature_quality_db(distance)


@settings(deadline=None)  # the first call imports the library
@given(factor=st.floats(0.1, 10))
def test_bd_rate_of_a_scaled_rate_is_the_scale(factor):
    scaled = [rate * factor for rate in RATES]
    assert bd_rate(RATES, QUALITY, scaled, QUALITY) == pytest.approx((factor - 1) * 100, abs=1e-9)


def test_bd_rate_of_exponential_curves():
    """Rates 2^(q/3) and 2^(q/3 - 1 + (q - 30)/9): log2 rates differ by a line, whose mean over 30 to 39 is -1/2."""
    quality = np.array([30.0, 33, 36, 39])
    anchor, test = 2 ** (quality / 3), 2 ** (quality / 3 - 1 + (quality - 30) / 9)
    assert bd_rate(anchor, quality, test, quality) == pytest.approx((2**-0.5 - 1) * 100)


def test_bd_rate_counts_the_common_qualities_only():
    """The same exponential curve from points elsewhere, five on one side: no difference."""

    def rate(quality: list[float]) -> list[float]:
        return [10 * 2 ** (q / 6) for q in quality]

    a, b = [30.0, 33, 36, 39], [31.5, 34, 35, 37, 42]
    assert bd_rate(rate(a), a, rate(b), b) == pytest.approx(0, abs=1e-9)


def test_bd_rate_takes_points_in_any_order():
    assert bd_rate(RATES[::-1], QUALITY[::-1], [r * 0.9 for r in RATES], QUALITY) == pytest.approx(-10)


@pytest.mark.parametrize(
    "rate, quality, message",
    [
        (RATES[:3], QUALITY[:3], "at least four points"),
        (RATES, QUALITY[:3], "4 rates and 3 qualities"),
        (RATES, [30, 33, 32, 39], "does not rise with rate"),
        (RATES, [30, 33, 33, 39], "does not rise with rate"),
        ([100, 100, 390, 820], QUALITY, "does not rise with rate"),
        ([0, 210, 390, 820], QUALITY, "finite number"),
        (RATES, [30, 33, 36, float("inf")], "finite number"),
        (RATES, [30, float("nan"), 36, 39], "finite number"),
        (RATES, [50, 51, 52, 53], "share no quality"),
    ],
)
def test_bd_rate_refuses(rate, quality, message):
    with pytest.raises(FprdoError, match=message):
        bd_rate(RATES, QUALITY, rate, quality)
    with pytest.raises(FprdoError, match=message):
        bd_rate(rate, quality, RATES, QUALITY)
