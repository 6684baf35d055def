"""NAL units in a byte stream (annex B of H.264 and H.265)."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

_START_CODE = b"\0\0\1"


class Standard(Enum):
    """A video coding standard; the value is libavcodec's name of it."""

    HEVC = "hevc"
    AVC = "h264"

    @property
    def title(self) -> str:
        """What texts call it."""
        return self.name

    def unit_type(self, unit: bytes) -> int:
        """nal_unit_type of a NAL unit (H.265 table 7-1, H.264 table 7-1)."""
        return unit[0] >> 1 & 63 if self is Standard.HEVC else unit[0] & 31

    @property
    def header_bytes(self) -> int:
        """Size of a NAL unit's header."""
        return 2 if self is Standard.HEVC else 1

    @property
    def sps(self) -> int:
        """nal_unit_type of a sequence parameter set."""
        return 33 if self is Standard.HEVC else 7

    def is_slice(self, unit_type: int) -> bool:
        """Whether a NAL unit of this type holds coded samples."""
        return unit_type < 32 if self is Standard.HEVC else unit_type in (1, 2, 3, 4, 5)


def nal_units(data: bytes) -> Iterator[tuple[int, int]]:
    """(start, end) of each NAL unit of a byte stream, without start codes and the zeros around them."""
    starts = [match.end() for match in re.finditer(_START_CODE, data)]
    for start, following in zip(starts, [*starts[1:], None]):
        unit = data[start:] if following is None else data[start : following - len(_START_CODE)]
        length = len(unit.rstrip(b"\0"))  # the last byte of a NAL unit is never 0
        if length >= 2:
            yield start, start + length


def without_padding(data: bytes) -> bytes:
    """The byte stream without the zero bytes that may stand before its first start code and after its last NAL unit
    (leading_zero_8bits and trailing_zero_8bits, clause B.1.1): not every decoder expects them."""
    first = data.find(_START_CODE)
    if first < 0 or data[:first].strip(b"\0"):
        return data  # no byte stream; a decoder may say so
    return b"\0" + data[first:].rstrip(b"\0")


def payload(unit: bytes, standard: Standard) -> bytes:
    """RBSP of a NAL unit: without its header and the emulation prevention bytes (clause 7.3.1.1)."""
    return unit[standard.header_bytes :].replace(b"\0\0\3", b"\0\0")


def sei_bits(data: bytes) -> list[int]:
    """Bits of the SEI messages, start codes included, before each picture of an AVC byte stream, in coding order."""
    bits = []
    waiting = 0
    previous = 0
    for start, end in nal_units(data):
        kind = Standard.AVC.unit_type(data[start:end])
        if kind == 6:
            waiting += 8 * (end - previous)
        elif kind in (1, 5) and data[start + 1] & 128:  # first_mb_in_slice is 0: a picture begins
            bits.append(waiting)
            waiting = 0
        previous = end
    return bits


@dataclass
class PictureBytes:
    """What a picture takes in a byte stream, without SEI messages.

    Attributes
    ----------
    units : bytes of its NAL units that are no parameter sets, without start codes
    parameter_sets : bytes of the parameter sets before it, without start codes
    all : bytes of all these, start codes included
    """

    units: int = 0
    parameter_sets: int = 0
    all: int = 0


def hevc_pictures(data: bytes) -> list[PictureBytes]:
    """The pictures of an HEVC byte stream, in coding order."""
    pictures: list[PictureBytes] = []
    waiting = PictureBytes()
    previous = 0
    for start, end in nal_units(data):
        kind = Standard.HEVC.unit_type(data[start:end])
        if Standard.HEVC.is_slice(kind) and data[start + 2] & 128:  # first_slice_segment_in_pic_flag
            pictures.append(waiting)
            waiting = PictureBytes()
        of_last = pictures and (Standard.HEVC.is_slice(kind) or 36 <= kind <= 38)  # ends, filler data: table 7-1
        picture = pictures[-1] if of_last else waiting
        if kind not in (39, 40):  # SEI messages
            if 32 <= kind <= 34:
                picture.parameter_sets += end - start
            else:
                picture.units += end - start
            picture.all += end - previous
        previous = end
    return pictures
