"""What x265 prints on standard output, where its table of pictures (--csv) is sent."""

import re

from fprdo_bridge.encoders.log import EncodeLog, PictureLog, parse_notes, parse_summary

# 1, P-SLICE,    8, 29.76,      12328, 0,32.250,38.101, 42.035, 43.231, 39.234,12,  0 , -, ...
# Encode order, type, number in output order, mean QP, bits, scene cut, then real numbers: the rate factor at constant
# quality, two of a buffer where there is one, four of PSNR where it is told; then a whole number, the delay. Bits are
# without start codes and SEI messages. A picture that nothing refers to has its type in lower case.
_ENCODED = re.compile(
    r"^\d+, (?P<type>[IPBipb])-SLICE, *(?P<poc>\d+), (?P<qp>-?[\d.]+), *(?P<bits>\d+), \d+,"
    r"(?P<reals>(?: *-?(?:\d+\.\d+|nan|inf),)*) *\d+, ",
    re.MULTILINE,
)
_FINISHED = re.compile(r"^Summary$", re.MULTILINE)
_PSNR = 4  # Y, U, V and their mean
_IDENTICAL = "99.990"  # what it prints for identical planes


def parse_log(text: str) -> EncodeLog:
    """Read the standard output of x265; a run that stopped early gives the pictures that it coded.

    `bytes_written` counts no start codes and SEI messages; see `X265.bytes_written`. x265 does not tell its CPU time.
    The PSNR of 4:0:0 and of pictures that it pads is empty.

    Raises
    ------
    FprdoError
        The IDSE summary is damaged.
    """
    pictures = tuple(_picture(match, 3) for match in _ENCODED.finditer(text))
    return EncodeLog(
        pictures,
        sum(picture.bits for picture in pictures) // 8 if _FINISHED.search(text) else None,
        seconds=None,
        idse=parse_summary(text),
        notes=parse_notes(text),
    )


def parse_picture(line: str, planes: int) -> PictureLog | None:
    """The picture of one line, None if the line is about something else."""
    match = _ENCODED.match(line)
    return _picture(match, planes) if match else None


def _picture(match: re.Match[str], planes: int) -> PictureLog:
    reals = [word.strip() for word in match["reals"].split(",")[:-1]]
    told = reals[-_PSNR:-1][:planes] if len(reals) >= _PSNR else []
    return PictureLog(
        poc=int(match["poc"]),
        slice_type=match["type"].upper(),
        qp=round(float(match["qp"])),
        bits=int(match["bits"]),
        psnr=tuple(float("inf") if value == _IDENTICAL else float(value) for value in told),
        seconds=0.0,
    )
