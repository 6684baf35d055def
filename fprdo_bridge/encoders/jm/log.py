"""What JM's encoder (with Verbose=3) and decoder print."""

import re

from fprdo_bridge.encoders.log import EncodeLog, PictureLog, parse_notes, parse_summary
from fprdo_bridge.errors import FprdoError

# Frame     Bit/pic NVB WP QP   Lambda   SnrY    SnrU    SnrV   Time(ms) MET(ms) Frm/Fld   I D L0 L1 RDP Ref
# 00000(IDR)   35456 184  0 32 1128  34.904  32.385  32.117       336       0    FRM   153 1  0  0  0   3
# The bits are all of the picture's: slices and, where they come before it, parameter sets.
_ENCODED = re.compile(
    r"^(?P<poc>\d+)\((?P<type>[A-Z ]{3})\) *(?P<bits>\d+) +\d+ +\d+ +(?P<qp>-?\d+) +-?\d+"
    r" +(?P<y>\S+) +(?P<u>\S+) +(?P<v>\S+) +(?P<ms>\d+) +\d+ +F(?:RM|LD)\b.*$",
    re.MULTILINE,
)
_MONOCHROME = re.compile(r"^ YUV Format +: YUV 4:0:0", re.MULTILINE)
_BITS = re.compile(r"^ Total bits +: (\d+) ", re.MULTILINE)
_SECONDS = re.compile(r"^ Total encoding time for the seq\. +: +(\S+) sec", re.MULTILINE)
_UNKNOWN = re.compile(r"Parameter Name '([^']*)' not recognized")

_DECODED = re.compile(r"^ Total decoding time : .*\[(\d+) frm/", re.MULTILINE)
# A start code of three bytes where the standard wants four harms nobody.
_COMPLAINT = re.compile(r"^(?:warning: (?!zero_byte shall exist)|An unintentional loss|Error ).*", re.MULTILINE)


def parse_log(text: str) -> EncodeLog:
    """Read the standard output of JM's encoder; a run that stopped early gives the pictures that it coded.

    Raises
    ------
    FprdoError
        JM has ignored a parameter that it does not know; the IDSE summary is damaged.
    """
    unknown = _UNKNOWN.search(text)
    if unknown:
        name = unknown[1]
        raise FprdoError(
            f"{name}: this JM has no parameter of that name and ignores it; "
            + ("it is not the patched one: run python3 build.py jm" if name.startswith("IDSE") else "check the name")
        )
    planes = 1 if _MONOCHROME.search(text) else 3
    bits, seconds = _BITS.search(text), _SECONDS.search(text)
    return EncodeLog(
        pictures=tuple(_picture(match, planes) for match in _ENCODED.finditer(text)),
        bytes_written=int(bits[1]) // 8 if bits else None,
        seconds=float(seconds[1]) if seconds else None,
        idse=parse_summary(text),
        notes=parse_notes(text),
    )


def parse_picture(line: str, planes: int) -> PictureLog | None:
    """The picture of one line of output, None if the line is about something else; `planes` is 1 or 3."""
    match = _ENCODED.match(line)
    return _picture(match, planes) if match else None


def _picture(match: re.Match[str], planes: int) -> PictureLog:
    # JM prints 0.000 for identical planes, and for the chroma that 4:0:0 does not have.
    psnr = tuple(float(match[plane]) or float("inf") for plane in "yuv"[:planes])
    kind = match["type"].strip()
    return PictureLog(
        poc=int(match["poc"]),
        slice_type="I" if kind == "IDR" else kind[-1],
        qp=int(match["qp"]),
        bits=int(match["bits"]),
        psnr=psnr,
        seconds=int(match["ms"]) / 1000,
    )


def parse_decoder_log(text: str) -> int:
    """How many frames JM's decoder says it has decoded; 0 if it did not come to its end."""
    match = _DECODED.search(text)
    return int(match[1]) if match else 0


def decoder_complaint(text: str) -> str:
    """What JM's decoder finds wrong with a bitstream; it may go on all the same."""
    match = _COMPLAINT.search(text)
    return match[0].strip() if match else ""
