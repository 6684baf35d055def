"""What a run of any encoder reports, and the summary line that every patched encoder prints."""

import re
from dataclasses import dataclass, fields

from fprdo_bridge.errors import FprdoError

_SUMMARY = re.compile(r"^IDSE summary: (.*)$", re.MULTILINE)
_NOTE = re.compile(r"^IDSE: (?:note|warning): (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class PictureLog:
    """One coded picture, as the encoder printed it."""

    poc: int  # number of the frame in output order
    slice_type: str  # "I", "P" or "B"
    qp: int  # of the slice, or the mean of its blocks
    bits: int  # without SEI messages
    psnr: tuple[float, ...]  # dB per plane over the size handed to the encoder; infinity if the plane is identical
    seconds: float
    temporal_id: int = 0  # of encoders that tell it
    md5: tuple[str, ...] = ()  # per plane, 32 hexadecimal digits; empty from encoders that do not hash


@dataclass(frozen=True)
class IdseSummary:
    """Counters that a patched encoder prints at the end of a run."""

    pictures: int
    weighted: int  # SSE calls of mode decisions with weights
    masked: int  # without weights because IDSEDecisions says so
    unweighted: int  # that missed the weights: must be 0
    rdoq: int  # transform units quantised with weights
    qp_groups: int
    qp_offset_mean: float
    qp_offset_min: int
    qp_offset_max: int


_WHOLE = [field.name for field in fields(IdseSummary) if field.name != "qp_offset_mean"]


@dataclass(frozen=True)
class EncodeLog:
    """A run of an encoder. The pictures are in coding order."""

    pictures: tuple[PictureLog, ...]
    bytes_written: int | None  # of the whole bitstream; None if the run did not come to its end
    seconds: float | None  # as the encoder tells it; None if it does not
    idse: IdseSummary | None  # None without weights
    notes: tuple[str, ...] = ()  # what the patched encoder says that its user should know

    @property
    def bits(self) -> int:
        """Bits of all pictures, the rate of the encoder's own summary: parameter sets count, SEI messages do not."""
        return sum(picture.bits for picture in self.pictures)

    @property
    def psnr(self) -> tuple[float, ...]:
        """PSNR per plane in dB, the mean of the pictures' as in the encoder's summary; infinite if a picture's is."""
        return tuple(sum(values) / len(values) for values in zip(*(picture.psnr for picture in self.pictures)))


@dataclass(frozen=True)
class DecodedPicture:
    """One picture, as a decoder printed it."""

    poc: int
    md5: tuple[str, ...]  # per plane of the decoded picture; empty if the bitstream has another hash or none
    verified: bool | None  # whether the hash is that of the bitstream; None if the bitstream has none


@dataclass(frozen=True)
class DecoderLog:
    """What a decoder said."""

    pictures: int  # that it decoded; 0 if it did not come to its end
    complaint: str = ""  # what it finds wrong with the bitstream; it may go on all the same
    details: tuple[DecodedPicture, ...] = ()  # in decoding order, from decoders that check hashes


def parse_notes(text: str) -> tuple[str, ...]:
    """The notes and warnings of a patched encoder."""
    return tuple(match[1] for match in _NOTE.finditer(text))


def parse_summary(text: str) -> IdseSummary | None:
    """The IDSE summary in the output of a patched encoder, None if there is none.

    Raises
    ------
    FprdoError
        It has lost a value or has one that is not a number.
    """
    match = _SUMMARY.search(text)
    if not match:
        return None
    words = match[1].split()
    values = dict(zip(words[::2], words[1::2]))
    try:
        mean = float(values.pop("qp_offset_mean"))
        return IdseSummary(qp_offset_mean=mean, **{name: int(values[name]) for name in _WHOLE})
    except (KeyError, ValueError) as error:
        raise FprdoError(
            f"IDSE summary {match[1]!r}: missing or bad value ({error}); the encoder and this package "
            "differ in version: run python3 build.py"
        ) from None
