"""Frames into the kind of file that a name asks for."""

from collections.abc import Iterable
from fractions import Fraction
from itertools import islice
from pathlib import Path

from fprdo_bridge.errors import FprdoError
from fprdo_bridge.files import is_stream
from fprdo_bridge.video.formats import Frame, VideoFormat
from fprdo_bridge.video.pictures import WRITTEN, save_frame
from fprdo_bridge.video.raw import write_yuv
from fprdo_bridge.video.y4m import DEPTHS, write_y4m

_RAW = (".yuv", ".raw", "")


def is_raw(path: Path) -> bool:
    """Whether raw samples are what the name asks for; devices and pipes get them too."""
    return path.suffix.lower() in _RAW or is_stream(path)


def check_output(path: Path, frames: int, fmt: VideoFormat | None = None) -> None:
    """Refuse a name that frames cannot be written to.

    Parameters
    ----------
    fmt : of the frames; None where it is not known yet

    Raises
    ------
    FprdoError
        The suffix is unknown, is that of a picture and there are several frames, or has no word for the format.
    """
    suffix = path.suffix.lower()
    if is_raw(path):
        return
    if suffix == ".y4m":
        if fmt and fmt.bit_depth not in DEPTHS:
            raise FprdoError(f"{path}: .y4m has no word for {fmt.bit_depth} bits; write a .yuv file")
        return
    if suffix not in WRITTEN:
        raise FprdoError(f"{path}: unknown kind of file {suffix}; use .yuv, .y4m or a picture ({', '.join(WRITTEN)})")
    if frames > 1:
        raise FprdoError(f"{path}: is one picture, and there are several; use .yuv or .y4m")


def write_frames(path: Path, frames: Iterable[Frame], fmt: VideoFormat, frame_rate: Fraction) -> int:
    """Write frames as raw samples, .y4m or a picture, by the suffix; returns how many.

    Raises
    ------
    FprdoError
        As `check_output`; the file cannot be written.
    """
    check_output(path, 1, fmt)
    if is_raw(path):
        return write_yuv(path, frames, fmt)
    if path.suffix.lower() == ".y4m":
        return write_y4m(path, frames, fmt, frame_rate)
    some = list(islice(frames, 2))
    check_output(path, len(some), fmt)
    if not some:
        raise FprdoError(f"{path}: no picture to write")
    save_frame(path, some[0], fmt)
    return 1
