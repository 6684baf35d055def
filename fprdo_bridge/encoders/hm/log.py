"""What HM's encoder and decoder print."""

import re

from fprdo_bridge.encoders.log import DecodedPicture, EncodeLog, PictureLog, parse_notes, parse_summary

# POC    0 TId: 0 ( I-SLICE, nQP 32 QP 32 )      39912 bits [Y 30.8350 dB    U 31.7779 dB    V 31.5658 dB] [ET     0 ]
# [L0 ] [L1 ] [MD5:24962aa6...,cda0acb2...,57e391f9...]
# A picture that nothing refers to has its slice type in lower case.
_ENCODED = re.compile(
    r"^POC +(?P<poc>-?\d+) TId: +(?P<tid>\d+) \( (?P<type>[IPBipb])-SLICE,(?: nQP -?\d+)? QP (?P<qp>-?\d+) \)"
    r" +(?P<bits>\d+) bits \[Y (?P<y>\S+) dB +U (?P<u>\S+) dB +V (?P<v>\S+) dB\].*?\[ET +(?P<seconds>\S+) \]"
    r"(?:.*\[MD5:(?P<md5>[0-9a-f,]+)\])?",
    re.MULTILINE,
)
_CHROMA_FORMAT = re.compile(r"^ *Output \(internal\) ChromaFormatIDC = +4:(\d):(\d)", re.MULTILINE)
_BYTES = re.compile(r"^Bytes written to file: (\d+) ", re.MULTILINE)
_SECONDS = re.compile(r"^ Total Time: +(\S+) sec\.", re.MULTILINE)

# POC    0 TId: 0 ( I-SLICE, QP 32 ) [DT  0.001] [L0 ] [L1 ] [MD5:2243ed20...,(OK)]
_DECODED = re.compile(
    r"^POC +(-?\d+) TId: +\d+ \( [IPBipb]-SLICE, QP +-?\d+ \) .*"
    r"\[(?P<kind>\w*):(?P<hash>[0-9a-f,]*?),?\((?P<verdict>OK|unk|\*{3}ERROR\*{3})\)\]",
    re.MULTILINE,
)


def parse_log(text: str) -> EncodeLog:
    """Read the standard output of HM's encoder; a run that stopped early gives the pictures that it coded.

    Raises
    ------
    FprdoError
        The IDSE summary has lost a value or has one that is not a number.
    """
    chroma_format = _CHROMA_FORMAT.search(text)
    planes = 1 if chroma_format and chroma_format.groups() == ("0", "0") else 3
    written, seconds = _BYTES.search(text), _SECONDS.search(text)
    return EncodeLog(
        pictures=tuple(_picture(match, planes) for match in _ENCODED.finditer(text)),
        bytes_written=int(written[1]) if written else None,
        seconds=float(seconds[1]) if seconds else None,
        idse=parse_summary(text),
        notes=parse_notes(text),
    )


def parse_picture(line: str, planes: int) -> PictureLog | None:
    """The picture of one line of output, None if the line is about something else; `planes` is 1 or 3."""
    match = _ENCODED.match(line)
    return _picture(match, planes) if match else None


def _picture(match: re.Match[str], planes: int) -> PictureLog:
    # HM prints 999.99 for identical planes, and 0 for the chroma that 4:0:0 does not have.
    psnr = tuple(float("inf") if match[plane] == "999.9900" else float(match[plane]) for plane in "yuv"[:planes])
    return PictureLog(
        poc=int(match["poc"]),
        slice_type=match["type"].upper(),
        qp=int(match["qp"]),
        bits=int(match["bits"]),
        psnr=psnr,
        seconds=int(match["seconds"]),
        temporal_id=int(match["tid"]),
        md5=tuple(match["md5"].split(",")) if match["md5"] else (),
    )


def parse_decoder_log(text: str) -> tuple[DecodedPicture, ...]:
    """Read the standard output of HM's decoder; the pictures are in decoding order."""
    return tuple(
        DecodedPicture(
            poc=int(match[1]),
            md5=tuple(match["hash"].split(",")) if match["kind"] == "MD5" else (),
            verified={"OK": True, "unk": None}.get(match["verdict"], False),
        )
        for match in _DECODED.finditer(text)
    )
