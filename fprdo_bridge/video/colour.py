"""Coded planes to RGB and back, as linear operators that autograd differentiates exactly.

The importance of a coded sample is a gradient through the conversion a decoder's display path makes, so matrix, range,
chroma format and chroma siting are explicit, and every step is linear: the gradient of `planes_to_rgb` is its adjoint.

Rec. ITU-T H.273, MatrixCoefficients (Table 4) and the equations around it, with E'R, E'G, E'B in [0, 1]:

    E'Y  = KR E'R + (1 - KR - KB) E'G + KB E'B
    E'PB = (E'B - E'Y) / (2 (1 - KB))
    E'PR = (E'R - E'Y) / (2 (1 - KR))

and, with B the bit depth, for limited range (VideoFullRangeFlag 0)

    Y = 2^(B-8) (219 E'Y + 16)        Cb = 2^(B-8) (224 E'PB + 128)        Cr = 2^(B-8) (224 E'PR + 128)

and for full range (VideoFullRangeFlag 1)

    Y = (2^B - 1) E'Y                 Cb = (2^B - 1) E'PB + 2^(B-1)        Cr = (2^B - 1) E'PR + 2^(B-1)

BT.2020 is the non-constant-luminance form (MatrixCoefficients 9).

Chroma positions follow Rec. ITU-T H.265, figure E.1: 4:2:0 chroma lies on the even luma columns and midway between two
luma rows (siting "left", chroma_sample_loc_type 0), midway between both columns and rows ("center", type 1), or on the
even luma columns and rows ("topleft", type 2).
chroma_sample_loc_type means nothing for the other formats: 4:2:2 chroma always lies on the even luma columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from fprdo_bridge.errors import FprdoError

if TYPE_CHECKING:
    from fprdo_bridge.video.formats import Frame, VideoFormat

# KR and KB of H.273 Table 4: MatrixCoefficients 6 (or 5), 1 and 9.
LUMA_COEFFICIENTS = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722), "bt2020": (0.2627, 0.0593)}


def planes_to_rgb(planes: Sequence[Tensor], fmt: VideoFormat) -> Tensor:
    """Convert code values to RGB.

    Parameters
    ----------
    planes : one (4:0:0) or three float tensors of code values, shapes fmt.plane_shapes, or with a leading batch size n
    fmt : the format of the planes

    Returns
    -------
    Tensor (n, 3, height, width), nominal range [0, 1], not clamped: the operator stays linear. 4:0:0 gives grey.

    Raises
    ------
    FprdoError
        The planes do not have the shapes of `fmt`.
    """
    kr, kb = LUMA_COEFFICIENTS[fmt.matrix]
    offset, scale, chroma_offset, chroma_scale = _quantisation(fmt)
    planes = _batched(planes, fmt)
    luma = (planes[0] - offset) / scale
    if len(planes) == 1:
        return luma.unsqueeze(1).expand(-1, 3, -1, -1)
    pb, pr = (_upsample((plane - chroma_offset) / chroma_scale, fmt) for plane in planes[1:])
    red = luma + 2 * (1 - kr) * pr
    blue = luma + 2 * (1 - kb) * pb
    green = (luma - kr * red - kb * blue) / (1 - kr - kb)
    return torch.stack((red, green, blue), dim=1)


def rgb_to_planes(rgb: Tensor, fmt: VideoFormat) -> list[Tensor]:
    """Convert RGB to code values; the colour matrix of `planes_to_rgb` inverted, chroma low-passed and decimated.

    The low-pass per direction is the transpose of the linear interpolation, scaled to unit gain: (1 2 1)/4 where chroma
    lies on a luma sample, (1 3 3 1)/8 where it lies midway. Borders are replicated.

    Parameters
    ----------
    rgb : Tensor (n, 3, fmt.height, fmt.width), nominal range [0, 1]
    fmt : the format of the planes

    Returns
    -------
    list of Tensor (n, h, w), float code values, neither rounded nor clipped

    Raises
    ------
    FprdoError
        The picture does not have the size of `fmt`.
    """
    kr, kb = LUMA_COEFFICIENTS[fmt.matrix]
    offset, scale, chroma_offset, chroma_scale = _quantisation(fmt)
    if rgb.ndim != 4 or rgb.shape[1:] != (3, fmt.height, fmt.width):
        raise FprdoError(
            f"RGB of shape {tuple(rgb.shape)} given for a {fmt.width}x{fmt.height} format: "
            f"pass (n, 3, {fmt.height}, {fmt.width})"
        )
    red, green, blue = rgb.unbind(1)
    luma = kr * red + (1 - kr - kb) * green + kb * blue
    planes = [luma * scale + offset]
    if fmt.chroma != "400":
        for difference, k in ((blue - luma, kb), (red - luma, kr)):
            planes.append(_downsample(difference / (2 * (1 - k)), fmt) * chroma_scale + chroma_offset)
    return planes


def frame_to_rgb(frame: Frame, fmt: VideoFormat) -> Tensor:
    """Show a frame: `planes_to_rgb` clamped to [0, 1] as on a display; (1, 3, height, width) float32."""
    return planes_to_rgb(float_planes(frame), fmt).clamp(0, 1)


def rgb_to_frame(rgb: Tensor, fmt: VideoFormat) -> Frame:
    """Quantise one picture (1, 3, height, width): rounded half up, clipped to [0, 2^bit_depth - 1], fmt.dtype.

    Raises FprdoError as `rgb_to_planes`, and for a batch of several pictures.
    """
    with torch.no_grad():
        planes = rgb_to_planes(rgb, fmt)
        if len(rgb) != 1:
            raise FprdoError(f"a batch of {len(rgb)} pictures given for one frame: pass one picture at a time")
        return tuple((plane[0] + 0.5).floor_().clamp_(0, fmt.max_value).numpy().astype(fmt.dtype) for plane in planes)


def float_planes(frame: Frame) -> list[Tensor]:
    """The integer planes of a frame as float32 tensors of the same code values and shapes."""
    return [torch.from_numpy(np.asarray(plane, dtype=np.float32)) for plane in frame]


def _quantisation(fmt: VideoFormat) -> tuple[float, float, float, float]:
    """Luma offset and scale, chroma offset and scale, in code values."""
    if fmt.full_range:
        return 0.0, float(fmt.max_value), 2.0 ** (fmt.bit_depth - 1), float(fmt.max_value)
    step = 2.0 ** (fmt.bit_depth - 8)
    return 16 * step, 219 * step, 128 * step, 224 * step


def _batched(planes: Sequence[Tensor], fmt: VideoFormat) -> list[Tensor]:
    shapes = fmt.plane_shapes
    if len(planes) != len(shapes) or any(p.ndim not in (2, 3) or p.shape[-2:] != s for p, s in zip(planes, shapes)):
        raise FprdoError(
            f"planes of shapes {[tuple(p.shape) for p in planes]} given for {fmt.width}x{fmt.height} "
            f"{fmt.chroma}: pass planes of shapes {list(shapes)}"
        )
    return [plane if plane.ndim == 3 else plane.unsqueeze(0) for plane in planes]


def _upsample(plane: Tensor, fmt: VideoFormat) -> Tensor:
    """Chroma (n, h, w) to luma resolution (n, height, width) by linear interpolation."""
    if fmt.chroma in ("420", "422"):
        plane = _double(plane, fmt.width, midway=_midway_columns(fmt))
    if fmt.chroma == "420":
        plane = _double(plane.transpose(-1, -2), fmt.height, midway=_midway_rows(fmt)).transpose(-1, -2)
    return plane


def _downsample(plane: Tensor, fmt: VideoFormat) -> Tensor:
    """Luma resolution (n, height, width) to chroma (n, h, w)."""
    if fmt.chroma in ("420", "422"):
        plane = _halve(plane, midway=_midway_columns(fmt))
    if fmt.chroma == "420":
        plane = _halve(plane.transpose(-1, -2), midway=_midway_rows(fmt)).transpose(-1, -2)
    return plane


def _midway_columns(fmt: VideoFormat) -> bool:
    return fmt.chroma == "420" and fmt.siting == "center"


def _midway_rows(fmt: VideoFormat) -> bool:
    return fmt.chroma == "420" and fmt.siting != "topleft"


def _double(x: Tensor, size: int, midway: bool) -> Tensor:
    """Interpolate the last axis from ceil(size / 2) to size samples.

    Sample i of the input lies at 2i + 1/2 (`midway`) or at 2i of the output. Outside, the border sample repeats.
    """
    after = torch.cat((x[..., 1:], x[..., -1:]), dim=-1)
    if midway:
        before = torch.cat((x[..., :1], x[..., :-1]), dim=-1)
        even, odd = torch.lerp(x, before, 0.25), torch.lerp(x, after, 0.25)
    else:
        even, odd = x, torch.lerp(x, after, 0.5)
    return torch.stack((even, odd), dim=-1).flatten(-2)[..., :size]


def _halve(x: Tensor, midway: bool) -> Tensor:
    """Low-pass and decimate the last axis from size to ceil(size / 2) samples, at the phase that `_double` assumes."""
    count = (x.shape[-1] + 1) // 2
    taps = (1 / 8, 3 / 8, 3 / 8, 1 / 8) if midway else (1 / 4, 1 / 2, 1 / 4)
    # Tap t of output i reads input 2i - 1 + t, from -1 to 2 (count - 1) - 1 + len(taps) - 1.
    missing = 2 * (count - 1) + len(taps) - 1 - x.shape[-1]
    x = torch.cat((x[..., :1], x, x[..., -1:].expand(*x.shape[:-1], missing)), dim=-1)
    result = taps[0] * x[..., : 2 * count - 1 : 2]
    for t, tap in enumerate(taps[1:], 1):
        result = result + tap * x[..., t : t + 2 * count - 1 : 2]
    return result
