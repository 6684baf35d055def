"""YUV4MPEG2 (.y4m): raw video that says its own format."""

import os
import re
import stat
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

from fprdo_bridge.errors import FprdoError
from fprdo_bridge.video.formats import Frame, VideoFormat

_LONGEST_LINE = 1024
# C parameter -> chroma format, siting; "p10" and the like at the end say more than 8 bits. What a file leaves open is 420jpeg.
_CHROMA = {"420": ("420", "center"), "420jpeg": ("420", "center"), "420mpeg2": ("420", "left"), "422": ("422", "left"),
           "444": ("444", "left"), "mono": ("400", "left")}


def read_header(path: str | Path) -> tuple[VideoFormat, Fraction | None]:
    """Format and frame rate (None if unknown) of a .y4m file. The matrix, which it cannot say, is VideoFormat's default.

    Raises
    ------
    FprdoError
        The file cannot be read, is no .y4m, interlaced, or of a format that is not known here.
    """
    try:
        if stat.S_ISFIFO(os.stat(path).st_mode):
            raise FprdoError(f"{path}: is a pipe, and frames are read more than once; write them to a file first")
        with open(path, "rb") as file:
            line = file.readline(_LONGEST_LINE)
    except OSError as error:
        raise FprdoError(f"{path}: cannot be read ({error.strerror}); check the name") from None
    words = line.decode("latin-1").split()
    if not line.endswith(b"\n") or words[:1] != ["YUV4MPEG2"]:
        raise FprdoError(f"{path}: not a YUV4MPEG2 file; give raw samples the suffix .yuv")
    values: dict[str, str] = {}
    for word in words[1:]:
        values.setdefault(word[0], word[1:])
        if word.startswith("XCOLORRANGE="):
            values["range"] = word.partition("=")[2]
    space = re.fullmatch(r"(420jpeg|420mpeg2|420|422|444|mono)(?:p?(9|10|12|14|16))?", values.get("C", "420jpeg"))
    if not space:
        raise FprdoError(f"{path}: chroma format C{values['C']} is not supported; convert it to C420mpeg2, C422, C444 or Cmono")
    if values.get("I", "p") not in ("p", "?"):
        raise FprdoError(f"{path}: is interlaced (I{values['I']}); convert it to progressive frames")
    try:
        width, height = int(values["W"]), int(values["H"])
        over, _, under = values.get("F", "0:0").partition(":")
        rate = Fraction(int(over), int(under)) if int(under) else None
        if rate is not None and rate < 0:
            raise ValueError
    except (KeyError, ValueError):
        raise FprdoError(f"{path}: damaged header {line[:80].decode('latin-1').strip()!r}; convert it again") from None
    chroma, siting = _CHROMA[space[1]]
    try:
        fmt = VideoFormat(width, height, chroma, int(space[2] or 8), full_range=values.get("range") == "FULL",
                          siting=siting)
    except FprdoError as error:
        raise FprdoError(f"{path}: {error}") from None
    return fmt, rate or None


def count_frames(path: str | Path) -> int:
    """Number of frames; FprdoError if the file does not end with a whole one."""
    return sum(1 for _ in _frame_offsets(Path(path)))


def read_frames(path: str | Path, fmt: VideoFormat, count: int) -> Iterator[Frame]:
    """The first `count` frames, of the format `fmt` that read_header gave (matrix, range and siting may be others).

    Raises
    ------
    FprdoError
        The file has fewer frames, or samples of more bits than its header says.
    """
    stored = fmt.dtype.newbyteorder("<")
    with open(path, "rb") as file:
        for number, offset in zip(range(count), _frame_offsets(Path(path))):
            file.seek(offset)
            samples = np.frombuffer(file.read(fmt.frame_bytes), stored).astype(fmt.dtype)
            if samples.max() > fmt.max_value:
                raise FprdoError(f"{path}: frame {number} has samples of more than the {fmt.bit_depth} bits that the "
                                 "header promises; convert it again")
            ends = np.cumsum([rows * columns for rows, columns in fmt.plane_shapes])
            yield tuple(plane.reshape(shape) for plane, shape in zip(np.split(samples, ends[:-1]), fmt.plane_shapes))


def _frame_offsets(path: Path) -> Iterator[int]:
    frame_bytes = read_header(path)[0].frame_bytes
    size = path.stat().st_size
    with open(path, "rb") as file:
        file.readline(_LONGEST_LINE)
        number = 0
        while line := file.readline(_LONGEST_LINE):
            offset = file.tell()
            if not line.startswith(b"FRAME") or not line.endswith(b"\n") or offset + frame_bytes > size:
                raise FprdoError(f"{path}: ends inside frame {number}, or is damaged there; copy it again")
            yield offset
            file.seek(frame_bytes, 1)
            number += 1
    if number == 0:
        raise FprdoError(f"{path}: holds no frame")
