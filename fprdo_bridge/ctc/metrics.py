"""What an encode lost: MSE, PSNR and feature quality.

Conventions that move numbers: PSNR takes 255 * 2^(bit_depth - 8) as peak, as HM does (1020, not 1023, for 10 bits); the
PSNR of a sequence is the mean of its pictures' PSNR, not the PSNR of the mean error; planes are not mixed.
"""

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
