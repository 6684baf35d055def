"""Raw YUV in and out, sample exact.

What is written is planar (Y, then Cb, Cr), without headers or line padding; 8-bit samples take one byte, deeper ones
two bytes, little-endian. What is read may have another layout (raw_layout.RawLayout).
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from fprdo_bridge.errors import FprdoError
from fprdo_bridge.files import regular_file, replacing
from fprdo_bridge.video.formats import Frame, VideoFormat, check_frame
from fprdo_bridge.video.raw_layout import PLANAR, RawLayout, check_layout, planes_of, write_planes


def count_frames(path: str | os.PathLike[str], fmt: VideoFormat) -> int:
    """Number of frames in a raw file.

    Raises
    ------
    FprdoError
        The file is missing, empty, or not a whole number of frames.
    """
    size = regular_file(path).stat().st_size
    if size == 0 or size % fmt.frame_bytes:
        raise FprdoError(
            f"{path}: {size} bytes are not a whole number of {fmt} frames of {fmt.frame_bytes} bytes; "
            "check size, chroma format and bit depth"
        )
    return size // fmt.frame_bytes


def read_yuv(
    path: str | os.PathLike[str], fmt: VideoFormat, start: int = 0, count: int | None = None, layout: RawLayout = PLANAR
) -> Iterator[Frame]:
    """Frames `start` to `start + count - 1` of a raw file, all from `start` on if `count` is None.

    One frame is in memory at a time. The file and the range are checked before the first frame is asked for.

    Raises
    ------
    FprdoError
        As count_frames; the format has no such layout; the file has fewer frames; a sample does not fit the bit depth.
    """
    check_layout(fmt, layout, path)
    total = count_frames(path, fmt)
    count = total - start if count is None else count
    if start < 0 or count < 1 or start + count > total:
        raise FprdoError(f"{path}: frames {start} to {start + count - 1} asked for, it has 0 to {total - 1}")
    return _read_frames(Path(path), fmt, start, count, layout)


def _read_frames(path: Path, fmt: VideoFormat, start: int, count: int, layout: RawLayout) -> Iterator[Frame]:
    try:
        with open(path, "rb") as file:
            file.seek(start * fmt.frame_bytes)
            for index in range(start, start + count):
                try:
                    frame = planes_of(file.read(fmt.frame_bytes), fmt, layout)
                    check_frame(frame, fmt)
                except FprdoError as error:
                    raise FprdoError(f"{path}: frame {index}: {error}; check bit depth and byte order") from None
                yield frame
    except OSError as error:
        raise FprdoError(f"{path}: cannot be read ({error.strerror})") from error


def write_yuv(path: str | os.PathLike[str], frames: Iterable[Frame], fmt: VideoFormat) -> int:
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
