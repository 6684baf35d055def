"""Video in containers (.mp4, .mkv and so on), decoded by libavcodec; and libav's pictures as frames."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fprdo_bridge.errors import FprdoError
from fprdo_bridge.files import regular_file
from fprdo_bridge.video.formats import MATRICES, Frame, VideoFormat

if TYPE_CHECKING:
    from av import VideoFrame

SUFFIXES = (".mp4", ".m4v", ".mkv", ".mov", ".avi", ".webm")

# libav's pixel formats -> chroma format, bit depth; the yuvj ones say full range.
PIXEL_FORMATS = {
    f"{prefix}{'' if depth == 8 else f'{depth}le'}": (chroma, depth)
    for depth in (8, 9, 10, 12, 14)
    for prefix, chroma in (("gray", "400"), ("yuv420p", "420"), ("yuv422p", "422"), ("yuv444p", "444"))
} | {f"yuvj{chroma}p": (chroma, 8) for chroma in ("420", "422", "444")}

_HIGH_DYNAMIC_RANGE = {16: "PQ", 18: "HLG"}  # by transfer_characteristics, H.265 table E.4
_FULL_RANGE = 2  # libav's AVCOL_RANGE_JPEG


@dataclass(frozen=True)
class Stream:
    """The first video of a file.

    Attributes
    ----------
    fmt : of its pictures
    frame_rate : pictures per second; None if the file leaves it open
    """

    fmt: VideoFormat
    frame_rate: Fraction | None


def read_stream(path: str | os.PathLike[str]) -> Stream:
    """What a file says about its video.

    Raises
    ------
    FprdoError
        The file cannot be read, holds no video, or one whose samples are not read here.
    """
    import av

    regular_file(path)
    try:
        with av.open(str(path)) as container:
            video = container.streams.video[0]
            context = video.codec_context
            rate = Fraction(video.average_rate) if video.average_rate else None
            aspect = video.sample_aspect_ratio
            if context.pix_fmt not in PIXEL_FORMATS:
                raise FprdoError(
                    f"{path}: holds {context.pix_fmt} pictures, which are not read here; convert it to .y4m"
                )
            if context.color_trc in _HIGH_DYNAMIC_RANGE:
                raise FprdoError(
                    f"{path}: is of high dynamic range ({_HIGH_DYNAMIC_RANGE[context.color_trc]}), which is not read "
                    "here; convert it to BT.709"
                )
            chroma, depth = PIXEL_FORMATS[context.pix_fmt]
            fmt = VideoFormat(
                context.width,
                context.height,
                chroma,
                depth,
                MATRICES.get(context.colorspace, "bt709"),
                context.color_range == _FULL_RANGE or context.pix_fmt.startswith("yuvj"),
                aspect=(aspect.numerator, aspect.denominator) if aspect else None,
            )
    except (av.error.FFmpegError, IndexError, ValueError, UnicodeError) as error:
        raise FprdoError(f"{path}: holds no video ({_reason(error)}); copy it again, or convert it to .y4m") from None
    return Stream(fmt, rate)


def count_frames(path: str | os.PathLike[str], fmt: VideoFormat, wanted: int | None = None) -> int:
    """Number of frames, at most `wanted`: what comes after those is not decoded. Raises as `read_frames`."""
    return sum(1 for _ in islice(_pictures(path, fmt), wanted))


def read_frames(path: str | os.PathLike[str], fmt: VideoFormat, count: int, skip: int = 0) -> Iterator[Frame]:
    """Frames `skip` to `skip + count - 1`, one in memory at a time.

    Raises
    ------
    FprdoError
        The file is damaged, its pictures change their format, or it has fewer frames.
    """
    found = 0
    for picture in islice(_pictures(path, fmt), skip, skip + count):
        try:
            frame = picture_planes(picture, fmt)
        except FprdoError as error:
            raise FprdoError(f"{path}: frame {skip + found} {error}; convert it to .y4m") from None
        yield frame
        found += 1
    if found < count:
        raise FprdoError(f"{path}: ends after {skip + found} of {skip + count} frames; copy it again")


def picture_planes(picture: VideoFrame, fmt: VideoFormat, chroma: str | None = None) -> Frame:
    """The planes of a libav picture without the padding at the end of its lines.

    VideoFrame.to_ndarray does not know all of these pixel formats, nor odd sizes.

    Parameters
    ----------
    chroma : the chroma format that the picture is taken for, if not its own; "400" leaves chroma planes out

    Raises
    ------
    FprdoError
        The picture is of another format than `fmt`; the message begins with what it is.
    """
    name = picture.format.name
    own, depth = PIXEL_FORMATS.get(name, (None, 0))
    found = (picture.width, picture.height, chroma or own, depth)
    if found != (fmt.width, fmt.height, fmt.chroma, fmt.bit_depth):
        raise FprdoError(f"holds {found[0]}x{found[1]} {name} pictures, not {fmt}")
    stored = fmt.dtype.newbyteorder("<")
    frame = []
    for plane, (rows, columns) in zip(picture.planes, fmt.plane_shapes):
        lines = np.frombuffer(memoryview(plane), np.uint8, rows * plane.line_size).reshape(rows, plane.line_size)
        samples = lines[:, : columns * stored.itemsize].copy().view(stored)
        frame.append(samples.astype(fmt.dtype, copy=False))
    return tuple(frame)


def _pictures(path: str | os.PathLike[str], fmt: VideoFormat) -> Iterator[VideoFrame]:
    import av

    try:
        with av.open(str(path)) as container:
            for number, picture in enumerate(container.decode(video=0)):
                if (picture.width, picture.height) != (fmt.width, fmt.height):
                    raise FprdoError(
                        f"{path}: frame {number} is {picture.width}x{picture.height}, not "
                        f"{fmt.width}x{fmt.height}; convert it to one size"
                    )
                yield picture
    except (av.error.FFmpegError, IndexError, ValueError, UnicodeError) as error:
        raise FprdoError(f"{path}: cannot be decoded ({_reason(error)}); copy it again") from None


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error or "no stream of pictures").splitlines()[0]


def is_container(path: str | os.PathLike[str]) -> bool:
    """Whether the suffix says so."""
    return Path(path).suffix.lower() in SUFFIXES
