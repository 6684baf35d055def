"""Makes libavcodec take AVC bitstreams without chroma whose parameter sets give chroma another bit depth than luma.

JM writes them so: 8 bits for the chroma that 4:0:0 does not have. The number means nothing there (H.264 clause
7.4.2.1.1), but libavcodec refuses the bitstream for it.
"""

import re

from fprdo_bridge.bitstream.bits import BitReader
from fprdo_bridge.bitstream.nal_units import Standard, nal_units, payload
from fprdo_bridge.bitstream.parameter_sets import parse_sps


def with_equal_depths(data: bytes) -> bytes:
    """The byte stream with chroma's depth set to luma's in every parameter set of 4:0:0; all else as it is."""
    pieces: list[bytes] = []
    copied = 0
    for start, end in nal_units(data):
        unit = data[start:end]
        if Standard.AVC.unit_type(unit) == Standard.AVC.sps:
            said = parse_sps(unit, Standard.AVC)
            if said.chroma_format_idc == 0 and said.bit_depth_chroma != said.bit_depth:
                pieces += [data[copied:start], _rewritten(unit)]
                copied = end
    return b"".join([*pieces, data[copied:]]) if pieces else data


def _rewritten(unit: bytes) -> bytes:
    rbsp = payload(unit, Standard.AVC)
    reader = BitReader(rbsp)
    reader.u(24)  # profile, constraint flags, level
    reader.ue(), reader.ue()  # seq_parameter_set_id, chroma_format_idc
    luma = reader.position
    reader.ue()
    chroma = reader.position
    reader.ue()
    bits = f"{int.from_bytes(rbsp, 'big'):0{8 * len(rbsp)}b}"
    bits = (bits[:chroma] + bits[luma:chroma] + bits[reader.position :]).rstrip("0")  # the last 1 is rbsp_stop_one_bit
    bits += "0" * (-len(bits) % 8)
    new = int(bits, 2).to_bytes(len(bits) // 8, "big")
    return unit[:1] + re.sub(rb"\0\0(?=[\0-\3])", b"\0\0\3", new)  # emulation prevention
