"""PSNR and BD-rate against values that can be worked out by hand."""

import numpy as np
import pytest

from fprdo_bridge.ctc.metrics import feature_quality_db, mse, psnr
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.video.formats import VideoFormat


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
