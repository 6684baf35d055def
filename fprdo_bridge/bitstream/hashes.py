"""Hashes of decoded pictures in HEVC bitstreams (H.265 clause D.3.19)."""

from dataclasses import dataclass
from pathlib import Path

from fprdo_bridge.bitstream.nal_units import Standard, nal_units
from fprdo_bridge.bitstream.probe import read_bitstream, standard_of

_SUFFIX_SEI, _HASH = (
    40,
    132,
)  # nal_unit_type and payloadType of a decoded picture hash, H.265 table 7-1 and clause D.2.1


@dataclass(frozen=True)
class Hashes:
    """How many hashes an HEVC bitstream has."""

    total: int
    md5: int  # those that libavcodec checks as well
    cut: bool  # whether the last picture has lost its own


def hashes(bitstream: Path) -> Hashes:
    """Look for them; AVC has none. Raises as `standard_of`."""
    if standard_of(bitstream) is not Standard.HEVC:
        return Hashes(0, 0, False)
    data = read_bitstream(bitstream)
    last_slice = last_hash = -1
    total = md5 = 0
    for start, end in nal_units(data):
        kind = Standard.HEVC.unit_type(data[start : start + 1])
        if Standard.HEVC.is_slice(kind):
            last_slice = start
        elif kind == _SUFFIX_SEI and end > start + 4 and data[start + 2] == _HASH:
            last_hash = start
            total += 1
            md5 += data[start + 4] == 0  # hash_type, after payloadType and payloadSize of one byte each
    return Hashes(total, md5, 0 <= last_hash < last_slice)
