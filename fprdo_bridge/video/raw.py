"""Raw YUV in and out, sample exact.

Raw YUV is planar (Y, then Cb, Cr), without headers or line padding; 8-bit samples take one byte, deeper ones two bytes,
little-endian.
"""

import os
import re
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import numpy as np

from fprdo_bridge.errors import FprdoError
from fprdo_bridge.files import regular_file, replacing
from fprdo_bridge.video.formats import Frame, VideoFormat, check_frame


def guess_format(path: str | os.PathLike) -> VideoFormat:
    """Read the format off a name such as `clip_416x240_30fps_10bit_422.yuv` or `foreman_352x288_yuv420p10le.yuv`.

    What the name does not say is 4:2:0, 8 bits and the defaults of VideoFormat.

    Raises
    ------
    FprdoError
        The name says no size, or two.
    """
    stem = Path(path).stem.lower()
    sizes = set(re.findall(r"(?<!\d)([1-9]\d*)x([1-9]\d*)(?!\d)", stem))
    if len(sizes) != 1:
        raise FprdoError(f"{path}: the name says {'no' if not sizes else 'more than one'} picture size "
                         "(like clip_416x240.yuv); give the size explicitly")
    width, height = map(int, sizes.pop())
    pixel_format = re.search(r"(?:yuvj?(420|422|444)|(gr[ae]y))p?(\d+)?(?:le)?(?![a-z\d])", stem)
    chroma = re.search(r"(?<![a-z\d])(400|420|422|444)p?(?![a-z\d])", stem)
    depth = re.search(r"(?<!\d)(\d+)[-_]?bits?(?![a-z])", stem)
    return VideoFormat(
        width, height,
        chroma=chroma[1] if chroma else (pixel_format[1] or "400") if pixel_format else "420",
        bit_depth=int(depth[1] if depth else pixel_format[3] if pixel_format and pixel_format[3] else 8))


def guess_frame_rate(path: str | os.PathLike) -> Fraction | None:
    """Frames per second from a name such as `clip_416x240_30fps.yuv` or `clip_416x240_29.97fps.yuv`; else None."""
    rate = re.search(r"(?<![\d.])(\d+(?:\.\d+)?)fps", Path(path).stem.lower())
    return Fraction(rate[1]) if rate and Fraction(rate[1]) > 0 else None


def count_frames(path: str | os.PathLike, fmt: VideoFormat) -> int:
    """Number of frames in a raw file.

    Raises
    ------
    FprdoError
        The file is missing, empty, or not a whole number of frames.
    """
    size = regular_file(path).stat().st_size
    if size == 0 or size % fmt.frame_bytes:
        raise FprdoError(f"{path}: {size} bytes are not a whole number of {fmt} frames of {fmt.frame_bytes} bytes; "
                         "check size, chroma format and bit depth")
    return size // fmt.frame_bytes


def read_yuv(path: str | os.PathLike, fmt: VideoFormat, start: int = 0, count: int | None = None) -> Iterator[Frame]:
    """Frames `start` to `start + count - 1` of a raw file, all from `start` on if `count` is None.

    One frame is in memory at a time. The file and the range are checked before the first frame is asked for.

    Raises
    ------
    FprdoError
        As count_frames; the file has fewer frames; a sample does not fit the bit depth.
    """
    total = count_frames(path, fmt)
    count = total - start if count is None else count
    if start < 0 or count < 1 or start + count > total:
        raise FprdoError(f"{path}: frames {start} to {start + count - 1} asked for, it has 0 to {total - 1}")
    return _read_frames(Path(path), fmt, start, count)


def _read_frames(path: Path, fmt: VideoFormat, start: int, count: int) -> Iterator[Frame]:
    try:
        with open(path, "rb") as file:
            file.seek(start * fmt.frame_bytes)
            for index in range(start, start + count):
                try:
                    frame = planes_of(file.read(fmt.frame_bytes), fmt)
                    check_frame(frame, fmt)
                except FprdoError as error:
                    raise FprdoError(f"{path}: frame {index}: {error}; check bit depth and byte order") from None
                yield frame
    except OSError as error:
        raise FprdoError(f"{path}: cannot be read ({error.strerror})") from error


def planes_of(data: bytes, fmt: VideoFormat) -> Frame:
    """The frame that `data` holds as raw YUV: planes that can be written to, in native byte order.

    Raises
    ------
    FprdoError
        `data` is not fmt.frame_bytes long.
    """
    if len(data) != fmt.frame_bytes:
        raise FprdoError(f"{len(data)} of {fmt.frame_bytes} bytes could be read; the file was cut in the meantime")
    stored = fmt.dtype.newbyteorder("<")
    frame = []
    offset = 0
    for rows, columns in fmt.plane_shapes:
        plane = np.frombuffer(data, stored, rows * columns, offset).reshape(rows, columns)
        frame.append(plane.astype(fmt.dtype))
        offset += plane.nbytes
    return tuple(frame)


def write_planes(file: BinaryIO, frame: Frame, fmt: VideoFormat) -> None:
    """Write one frame of format `fmt` as raw YUV."""
    stored = fmt.dtype.newbyteorder("<")
    for plane in frame:
        file.write(np.ascontiguousarray(plane, stored).data)


def write_yuv(path: str | os.PathLike, frames: Iterable[Frame], fmt: VideoFormat) -> int:
    """Write frames as raw YUV and return how many; the file appears when the last one is written.

    Raises
    ------
    FprdoError
        No frame came, a frame is not of format `fmt`, or the file cannot be written.
    """
    count = 0
    with replacing(path) as temporary, open(temporary, "wb") as file:
        for frame in frames:
            check_frame(frame, fmt)
            write_planes(file, frame, fmt)
            count += 1
        if count == 0:
            raise FprdoError(f"{path}: no frame to write")
    return count
