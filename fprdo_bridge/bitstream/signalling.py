"""Tells decoders what the pictures of a bitstream mean, in the VUI of its sequence parameter sets.

For encoders that do not say it by themselves. HM writes a VUI only together with HRD parameters and timing, which it
takes from a target bit rate that a run at fixed QP does not have and from a table of frame rates; a bitstream would
promise a buffer model that it breaks. So the VUI is put in after the encode: each parameter set that has one goes
through libavcodec's hevc_metadata or h264_metadata filter, every other byte stays. The rate that an encoder reports
does not count what is added here.
"""

from fractions import Fraction
from pathlib import Path

import av
from av.bitstream import BitStreamFilterContext

from fprdo_bridge.bitstream.nal_units import Standard, nal_units
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.video.formats import VideoFormat

# nal_unit_type of the parameter sets that hold timing: VPS and SPS (H.265 table 7-1), SPS (H.264 table 7-1).
_PARAMETER_SETS = {Standard.HEVC: (32, 33), Standard.AVC: (7,)}
_START_CODE = b"\0\0\0\1"

# colour_primaries, transfer_characteristics, matrix_coeffs (H.265 tables E.3 to E.5) of each Recommendation.
_COLOUR = {"bt601": (6, 6, 6), "bt709": (1, 1, 1), "bt2020": (9, 14, 9)}


def colour_codes(fmt: VideoFormat) -> tuple[int, int, int]:
    """colour_primaries, transfer_characteristics and matrix_coeffs of the Recommendation that `fmt.matrix` names; the
    same numbers in HEVC and AVC (ITU-T H.273)."""
    return _COLOUR[fmt.matrix]


def signal_format(bitstream: Path, standard: Standard, fmt: VideoFormat, frame_rate: Fraction) -> None:
    """Rewrite the bitstream in place with matrix, range, chroma siting, sample aspect ratio and frame rate.

    Primaries and transfer characteristics are those of the matrix's Recommendation. The siting is signalled for 4:2:0
    only, where the standard has it, the aspect ratio where `fmt` has one. Pictures of HEVC follow one another at POC
    steps of one.

    Raises
    ------
    FprdoError
        The file has no sequence parameter set, or one of HEVC with no VPS before it.
    """
    description = f"{standard.value}_metadata={':'.join(_settings(standard, fmt, frame_rate))}"
    rewrite = BitStreamFilterContext(description, standard.value)
    data = bitstream.read_bytes()
    pieces: list[bytes] = []
    copied = 0
    known: dict[bytes, bytes] = {}  # all-intra streams may repeat the parameter sets at every picture
    sps = False
    for start, end in nal_units(data):
        unit = data[start:end]
        kind = standard.unit_type(unit)
        if kind not in _PARAMETER_SETS[standard]:
            continue
        if unit not in known:
            known[unit] = _rewritten(rewrite, unit, bitstream)
        pieces += [data[copied:start], known[unit]]
        copied = end
        sps |= kind == standard.sps
    if not sps:
        raise FprdoError(f"{bitstream}: no sequence parameter set, so no {standard.title} byte stream")
    bitstream.write_bytes(b"".join([*pieces, data[copied:]]))


def _settings(standard: Standard, fmt: VideoFormat, frame_rate: Fraction) -> list[str]:
    primaries, transfer, matrix = colour_codes(fmt)
    settings = [
        f"video_full_range_flag={fmt.full_range:d}",
        f"colour_primaries={primaries}",
        f"transfer_characteristics={transfer}",
        f"matrix_coefficients={matrix}",
    ]
    if standard is Standard.HEVC:
        settings += [f"tick_rate={frame_rate.numerator}/{frame_rate.denominator}", "num_ticks_poc_diff_one=1"]
    else:  # a tick is a field's
        ticks = 2 * frame_rate
        settings += [f"tick_rate={ticks.numerator}/{ticks.denominator}"]
    if fmt.chroma == "420":
        settings.append(f"chroma_sample_loc_type={fmt.chroma_sample_loc_type}")
    if fmt.aspect:
        settings.append(f"sample_aspect_ratio={fmt.aspect[0]}/{fmt.aspect[1]}")
    return settings


def _rewritten(rewrite: BitStreamFilterContext, unit: bytes, bitstream: Path) -> bytes:
    try:
        data = b"".join(map(bytes, rewrite.filter(av.Packet(_START_CODE + unit))))
        start, end = next(nal_units(data))
    except (av.error.FFmpegError, StopIteration) as error:
        reason = getattr(error, "strerror", None) or "nothing is left of it"
        raise FprdoError(f"{bitstream}: its sequence parameter set cannot be read ({reason})") from error
    return data[start:end]
