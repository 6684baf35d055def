"""YUV4MPEG2 (.y4m): raw video that says its own format."""

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import gcd

from fprdo_bridge.errors import FprdoError
from fprdo_bridge.files import regular_file, replacing
from fprdo_bridge.video.formats import Frame, VideoFormat, check_frame
from fprdo_bridge.video.raw_layout import planes_of, write_planes

_LONGEST_LINE = 1024
# C parameter -> chroma format, siting. Programs write "420jpeg" for 8 bits and leave the siting of deeper samples out,
# which lie as those of MPEG-2 and its successors do. What a file leaves open altogether is 420jpeg.
_CHROMA = {
    "420": ("420", "center"),
    "420jpeg": ("420", "center"),
    "420mpeg2": ("420", "left"),
    "420paldv": ("420", "topleft"),
    "422": ("422", "left"),
    "444": ("444", "left"),
    "mono": ("400", "left"),
}
_SITING_WORDS = {"center": "jpeg", "left": "mpeg2", "topleft": "paldv"}
DEPTHS = (8, 9, 10, 12, 14, 16)


@dataclass(frozen=True)
class Header:
    """First line of a .y4m file.

    Attributes
    ----------
    fmt : VideoFormat; the matrix, which the file cannot say, is its default
    frame_rate : pictures per second; None if the file leaves it open
    first_frame : position of the first frame's line, in bytes
    """

    fmt: VideoFormat
    frame_rate: Fraction | None
    first_frame: int


def read_header(path: str | os.PathLike[str]) -> Header:
    """What a .y4m file says about itself.

    Raises
    ------
    FprdoError
        The file cannot be read, is no .y4m, interlaced, or of a format that is not known here.
    """
    path = regular_file(path)
    try:
        with open(path, "rb") as file:
            line = file.readline(_LONGEST_LINE)
    except OSError as error:
        raise FprdoError(f"{path}: cannot be read ({error.strerror})") from None
    text = line.decode("latin-1")
    words = text.split()
    if not line.endswith(b"\n") or words[:1] != ["YUV4MPEG2"]:
        raise FprdoError(f"{path}: not a YUV4MPEG2 file; give raw samples the suffix .yuv")
    damaged = FprdoError(f"{path}: damaged header {text[:80].strip()!r}; convert it again")
    values: dict[str, str] = {}
    for word in words[1:]:
        key, value = word[0], word[1:]
        if key == "X":
            key, _, value = word.partition("=")
        if values.setdefault(key, value) != value and not key.startswith("X"):
            raise damaged
    if values.get("I", "p") not in ("p", "?"):
        raise FprdoError(f"{path}: is interlaced (I{values['I']}); convert it to progressive frames")
    colour_range = values.get("XCOLORRANGE", "LIMITED")
    if colour_range not in ("FULL", "LIMITED"):
        raise FprdoError(f"{path}: colour range XCOLORRANGE={colour_range} is not known; convert it to LIMITED or FULL")
    space = values.get("C", values.get("XYSCSS", "420jpeg").lower())  # the older of two ways to say it
    match = re.fullmatch(r"(420jpeg|420mpeg2|420paldv|420|422|444|mono)(?:p?(9|10|12|14|16))?", space)
    if not match:
        raise FprdoError(
            f"{path}: chroma format C{space} is not supported; convert it to C420mpeg2, C422, C444 or Cmono"
        )
    depth = int(match[2] or 8)
    chroma, siting = _CHROMA[match[1]]
    if match[1] == "420" and depth > 8:
        siting = "left"
    try:
        width, height = int(values["W"]), int(values["H"])
        rate, aspect = _ratio(values.get("F", "0:0")), _ratio(values.get("A", "0:0"))
    except (KeyError, ValueError):
        raise damaged from None
    try:
        fmt = VideoFormat(width, height, chroma, depth, full_range=colour_range == "FULL", siting=siting, aspect=aspect)
    except FprdoError as error:
        raise FprdoError(f"{path}: {error}") from None
    return Header(fmt, Fraction(*rate) if rate else None, len(line))


def _ratio(text: str) -> tuple[int, int] | None:
    """Two whole numbers in lowest terms; None where one of them is 0, which means unknown."""
    over, under = map(int, text.split(":"))
    if over < 0 or under < 0:
        raise ValueError(text)
    if not (over and under):
        return None
    divisor = gcd(over, under)
    return over // divisor, under // divisor


def count_frames(path: str | os.PathLike[str], wanted: int | None = None) -> int:
    """Number of frames, at most `wanted`: what comes after those is not looked at.

    Raises
    ------
    FprdoError
        The file does not end with a whole frame, or holds none.
    """
    return sum(1 for _ in _frame_offsets(path, wanted))


def read_frames(path: str | os.PathLike[str], fmt: VideoFormat, count: int, skip: int = 0) -> Iterator[Frame]:
    """Frames `skip` to `skip + count - 1`, of the format `fmt` that read_header gave (matrix, range and siting may be
    others).

    Raises
    ------
    FprdoError
        The file has fewer frames, or samples of more bits than its header says.
    """
    try:
        with open(path, "rb") as file:
            for number, offset in enumerate(_frame_offsets(path, skip + count)):
                if number < skip:
                    continue
                file.seek(offset)
                frame = planes_of(file.read(fmt.frame_bytes), fmt)
                if any(plane.max() > fmt.max_value for plane in frame):
                    raise FprdoError(
                        f"{path}: frame {number} has samples of more than the {fmt.bit_depth} bits that "
                        "the header promises; convert it again"
                    )
                yield frame
    except OSError as error:
        raise FprdoError(f"{path}: cannot be read ({error.strerror})") from error


def _frame_offsets(path: str | os.PathLike[str], wanted: int | None) -> Iterator[int]:
    """Where the samples of each frame begin."""
    header = read_header(path)
    frame_bytes = header.fmt.frame_bytes
    number = 0
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        file.seek(header.first_frame)
        while number != wanted and (line := file.readline(_LONGEST_LINE)):
            offset = file.tell()
            if not re.match(rb"FRAME[ \n]", line) or not line.endswith(b"\n") or offset + frame_bytes > size:
                remedy = f"copy it again, or use its first frames with --frames {number}" if number else "copy it again"
                raise FprdoError(f"{path}: ends inside frame {number}, or is damaged there; {remedy}")
            yield offset
            file.seek(offset + frame_bytes)
            number += 1
    if number == 0:
        raise FprdoError(f"{path}: holds no frame")


def write_y4m(path: str | os.PathLike[str], frames: Iterable[Frame], fmt: VideoFormat, rate: Fraction | int) -> int:
    """Write frames as .y4m and return how many; the file appears when the last one is written.

    Size, chroma format, bit depth, range, sample aspect ratio and rate go into the header. It has no word for the
    matrix, and none for the chroma siting of more than 8 bits.

    Parameters
    ----------
    frames : of format `fmt`, one in memory at a time
    rate : pictures per second, above 0

    Raises
    ------
    FprdoError
        No frame came, a frame is not of format `fmt`, the file has no word for the format, or it cannot be written.
    """
    if fmt.bit_depth not in DEPTHS:
        raise FprdoError(f"{path}: .y4m has no word for {fmt.bit_depth} bits; write a .yuv file")
    rate = Fraction(rate)
    depth = str(fmt.bit_depth) if fmt.bit_depth > 8 else ""
    if fmt.chroma == "400":
        space = f"mono{depth}"
    elif fmt.chroma == "420" and not depth:
        space = f"420{_SITING_WORDS[fmt.siting]}"
    else:
        space = fmt.chroma + (f"p{depth}" if depth else "")
    aspect = fmt.aspect or (0, 0)
    header = (
        f"YUV4MPEG2 W{fmt.width} H{fmt.height} F{rate.numerator}:{rate.denominator} Ip A{aspect[0]}:{aspect[1]} "
        f"C{space} XCOLORRANGE={'FULL' if fmt.full_range else 'LIMITED'}\n"
    )
    count = 0
    with replacing(path) as temporary, open(temporary, "wb") as file:
        file.write(header.encode("ascii"))
        for frame in frames:
            check_frame(frame, fmt)
            file.write(b"FRAME\n")
            write_planes(file, frame, fmt)
            count += 1
        if count == 0:
            raise FprdoError(f"{path}: no frame to write")
    return count
