"""NAL units in a byte stream (annex B of H.264 and H.265)."""

import re
from collections.abc import Iterator
from pathlib import Path

_SLICES, _SEI = (1, 5), 6  # nal_unit_type, H.264 table 7-1


def nal_units(data: bytes) -> Iterator[tuple[int, int]]:
    """(start, end) of each NAL unit of a byte stream, without start codes and the zeros around them."""
    starts = [match.end() for match in re.finditer(b"\0\0\1", data)]
    for start, following in zip(starts, [*starts[1:], None]):
        unit = data[start:] if following is None else data[start:following - 3]
        length = len(unit.rstrip(b"\0"))  # the last byte of a NAL unit is never 0
        if length >= 2:
            yield start, start + length


def sei_bits(bitstream: Path) -> list[int]:
    """Bits of the SEI messages, start codes included, before each picture of an AVC byte stream, in coding order."""
    data = bitstream.read_bytes()
    bits = []
    waiting = 0
    previous = 0
    for start, end in nal_units(data):
        kind = data[start] & 31
        if kind == _SEI:
            waiting += 8 * (end - previous)
        elif kind in _SLICES and data[start + 1] & 128:  # first_mb_in_slice is 0: a picture begins
            bits.append(waiting)
            waiting = 0
        previous = end
    return bits
