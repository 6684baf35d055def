"""What x264 prints with --verbose and --psnr."""

import re

from fprdo_bridge.encoders.log import EncodeLog, PictureLog, parse_notes, parse_summary

# x264 [debug]: frame=   1 QP=33.44 NAL=2 Slice:P Poc:8   I:54   P:470  SKIP:356  size=2853 bytes PSNR Y:34.45 U:40.91
# V:39.81 Pictures in coding order. Poc counts fields from the last IDR picture on. The size is all of the access
# unit's, parameter sets and SEI messages included.
_ENCODED = re.compile(
    r"^x264 \[debug\]: frame= *\d+ QP=(?P<qp>-?[\d.]+) NAL=\d+ Slice:(?P<type>[IPB]) Poc:(?P<poc>-?\d+) .*"
    r" size=(?P<bytes>\d+) bytes(?: PSNR Y: *(?P<y>\S+) U: *(?P<u>\S+) V: *(?P<v>\S+))?",
    re.MULTILINE,
)
_MONOCHROME = re.compile(r"^x264 \[info\]: profile .* 4:0:0", re.MULTILINE)
_FINISHED = re.compile(r"^encoded \d+ frames, ", re.MULTILINE)


def parse_log(text: str) -> EncodeLog:
    """Read the standard error of x264; a run that stopped early gives the pictures that it coded.

    The bits of a picture are those of its access unit, SEI messages included. x264 does not tell its CPU time, nor
    the PSNR of 4:0:0, which is empty.

    Raises
    ------
    FprdoError
        The IDSE summary is damaged.
    """
    planes = 0 if _MONOCHROME.search(text) else 3
    pictures: list[PictureLog] = []
    first = 0  # number, in output order, of the IDR picture that Poc counts from: all pictures before it are out
    for match in _ENCODED.finditer(text):
        if match["type"] == "I" and match["poc"] == "0":
            first = len(pictures)
        pictures.append(_picture(match, planes, first))
    return EncodeLog(
        tuple(pictures),
        sum(p.bits for p in pictures) // 8 if _FINISHED.search(text) else None,
        seconds=None,
        idse=parse_summary(text),
        notes=parse_notes(text),
    )


def parse_picture(line: str, planes: int) -> PictureLog | None:
    """The picture of one line, counted from the last IDR picture; None if the line is about something else."""
    match = _ENCODED.match(line)
    return _picture(match, planes, 0) if match else None


def _picture(match: re.Match[str], planes: int, first: int) -> PictureLog:
    # In lossless coding, and there alone, x264 does not compute PSNR though it is told to.
    psnr = tuple(float(match[plane] or "inf") for plane in "yuv"[:planes])
    return PictureLog(
        poc=first + int(match["poc"]) // 2,
        slice_type=match["type"],
        qp=round(float(match["qp"])),
        bits=8 * int(match["bytes"]),
        psnr=psnr,
        seconds=0.0,
    )
