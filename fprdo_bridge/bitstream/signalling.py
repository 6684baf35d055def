"""Tells decoders what the pictures of an HEVC bitstream mean, in the VUI of its sequence parameter sets.

HM writes a VUI only together with HRD parameters and timing, which it takes from a target bit rate that a run at fixed
QP does not have and from a table of frame rates; a bitstream would promise a buffer model that it breaks. So the VUI is
put in after the encode: each VPS and SPS goes through libavcodec's hevc_metadata filter, every other byte stays.
"""

from fractions import Fraction
from pathlib import Path

import av
from av.bitstream import BitStreamFilterContext

from fprdo_bridge.bitstream.nal_units import Standard, nal_units
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.video.formats import VideoFormat

_VPS, _SPS = 32, 33  # nal_unit_type, H.265 table 7-1

# colour_primaries, transfer_characteristics, matrix_coeffs (H.265 tables E.3 to E.5) of each Recommendation.
_COLOUR = {"bt601": (6, 6, 6), "bt709": (1, 1, 1), "bt2020": (9, 14, 9)}


def colour_codes(fmt: VideoFormat) -> tuple[int, int, int]:
    """colour_primaries, transfer_characteristics and matrix_coeffs of the Recommendation that `fmt.matrix` names; the
    same numbers in HEVC and AVC (ITU-T H.273)."""
    return _COLOUR[fmt.matrix]


def signal_format(bitstream: Path, fmt: VideoFormat, frame_rate: Fraction) -> None:
    """Rewrite the bitstream in place with matrix, range, chroma siting, sample aspect ratio and frame rate.

    Primaries and transfer characteristics are those of the matrix's Recommendation. The siting is signalled for 4:2:0
    only, where the standard has it, the aspect ratio where `fmt` has one. Pictures follow one another at POC steps of
    one, as HM counts them.

    Raises
    ------
    FprdoError
        The file is not an HEVC byte stream with a VPS before its first SPS.
    """
    primaries, transfer, matrix = colour_codes(fmt)
    settings = [
        f"video_full_range_flag={fmt.full_range:d}",
        f"colour_primaries={primaries}",
        f"transfer_characteristics={transfer}",
        f"matrix_coefficients={matrix}",
        f"tick_rate={frame_rate.numerator}/{frame_rate.denominator}",
        "num_ticks_poc_diff_one=1",
    ]
    if fmt.chroma == "420":
        settings.append(f"chroma_sample_loc_type={fmt.chroma_sample_loc_type}")
    if fmt.aspect:
        settings.append(f"sample_aspect_ratio={fmt.aspect[0]}/{fmt.aspect[1]}")
    data = bitstream.read_bytes()
    pieces: list[bytes] = []
    copied = 0
    vps = (0, 0)
    rewritten: dict[tuple[bytes, bytes], tuple[bytes, bytes]] = {}  # all-intra HM streams repeat the parameter sets
    for start, end in nal_units(data):
        kind = Standard.HEVC.unit_type(data[start:end])
        if kind == _VPS:
            vps = (start, end)
        elif kind == _SPS:
            old = data[slice(*vps)], data[start:end]
            if old not in rewritten:
                rewritten[old] = _rewrite(*old, "hevc_metadata=" + ":".join(settings), bitstream)
            if vps[0] >= copied:  # not yet written: an SPS may have no VPS of its own before it
                pieces += [data[copied : vps[0]], rewritten[old][0]]
                copied = vps[1]
            pieces += [data[copied:start], rewritten[old][1]]
            copied = end
    if not pieces:
        raise FprdoError(f"{bitstream}: no sequence parameter set, so no HEVC byte stream")
    bitstream.write_bytes(b"".join([*pieces, data[copied:]]))


def _rewrite(vps: bytes, sps: bytes, filter_description: str, bitstream: Path) -> tuple[bytes, bytes]:
    # The filter parses an SPS only after the VPS that it refers to.
    code = b"\0\0\0\1"
    try:
        packets = BitStreamFilterContext(filter_description, "hevc").filter(av.Packet(code + vps + code + sps))
    except av.error.FFmpegError as error:
        raise FprdoError(f"{bitstream}: its sequence parameter set cannot be read ({error.strerror})") from error
    data = b"".join(map(bytes, packets))
    units = {Standard.HEVC.unit_type(data[start:end]): data[start:end] for start, end in nal_units(data)}
    return units.get(_VPS, vps), units[_SPS]
