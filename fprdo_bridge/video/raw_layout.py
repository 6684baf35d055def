"""How the samples of a raw frame lie in its file, and their way into planes and back."""

import os
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from fprdo_bridge.errors import FprdoError
from fprdo_bridge.video.formats import Frame, VideoFormat

PACKINGS = ("yuyv", "uyvy", "yvyu", "vyuy")  # 4:2:2, two pixels: both luma samples, one Cb (u) and one Cr (v)


@dataclass(frozen=True)
class RawLayout:
    """Order and storage of the samples of a raw frame. The bytes of a frame are as many in every layout.

    Parameters
    ----------
    order : {"planar", "semiplanar", "yuyv", "uyvy", "yvyu", "vyuy"}
        Three planes; a luma plane and one of chroma pairs, as NV12; or packed 4:2:2.
    cr_first : bool
        Cr before Cb, as in YV12 and NV21; packed orders say it themselves.
    big_endian : bool
        Byte order of samples that take two bytes.
    high_bits : bool
        The samples fill the upper bits of two bytes, as in P010, and the lower bits are 0.
    """

    order: str = "planar"
    cr_first: bool = False
    big_endian: bool = False
    high_bits: bool = False


PLANAR = RawLayout()


def planes_of(data: bytes, fmt: VideoFormat, layout: RawLayout = PLANAR) -> Frame:
    """The frame that `data` holds: planes that can be written to, in native byte order; check_layout passes.

    Raises
    ------
    FprdoError
        `data` is not fmt.frame_bytes long, or bits below the samples are not 0.
    """
    if len(data) != fmt.frame_bytes:
        raise FprdoError(f"{len(data)} of {fmt.frame_bytes} bytes could be read; the file was cut in the meantime")
    samples = np.frombuffer(data, fmt.dtype.newbyteorder(">" if layout.big_endian else "<")).astype(fmt.dtype)
    if layout.high_bits:
        shift = 16 - fmt.bit_depth
        if (samples & ((1 << shift) - 1)).any():
            raise FprdoError(
                f"the lower {shift} bits of its samples are not 0, so they do not hold {fmt.bit_depth} "
                "bits in the upper ones"
            )
        samples >>= shift
    if layout.order in PACKINGS:
        pixels = samples.reshape(fmt.height, fmt.width // 2, 4)
        first, second = (place for place, component in enumerate(layout.order) if component == "y")
        luma = np.stack((pixels[..., first], pixels[..., second]), axis=-1).reshape(fmt.height, fmt.width)
        return luma, *(np.ascontiguousarray(pixels[..., layout.order.index(component)]) for component in "uv")
    shapes = fmt.plane_shapes
    luma, chroma = np.split(samples, [fmt.width * fmt.height])
    planes = [luma.reshape(shapes[0])]
    if len(shapes) == 3:
        if layout.order == "semiplanar":
            pairs = chroma.reshape(*shapes[1], 2)
            chromas = [np.ascontiguousarray(pairs[..., component]) for component in (0, 1)]
        else:
            chromas = [plane.reshape(shapes[1]) for plane in np.split(chroma, 2)]
        planes += chromas[::-1] if layout.cr_first else chromas
    return tuple(planes)


def check_layout(fmt: VideoFormat, layout: RawLayout, path: str | os.PathLike[str]) -> None:
    """Raise FprdoError, which names the file `path`, where frames of `fmt` cannot lie so."""
    if layout.order in PACKINGS and (fmt.chroma != "422" or fmt.width % 2):
        raise FprdoError(
            f"{path}: {layout.order.upper()} packs two pixels of 4:2:2, {fmt} given; use 4:2:2 of even width"
        )
    if layout.high_bits and fmt.bit_depth == 8:
        raise FprdoError(f"{path}: samples in the upper bits of two bytes have more than 8 bits, {fmt} given")


def write_planes(file: BinaryIO, frame: Frame, fmt: VideoFormat) -> None:
    """Write one frame of format `fmt` as planar raw YUV, little-endian."""
    stored = fmt.dtype.newbyteorder("<")
    for plane in frame:
        file.write(np.ascontiguousarray(plane, stored).data)
