"""Which standard a bitstream is of, and what it says about its pictures."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from fprdo_bridge.bitstream.nal_units import Standard, nal_units
from fprdo_bridge.bitstream.parameter_sets import SequenceParameters, parse_sps
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.video.formats import MATRICES, SITINGS, VideoFormat

_HEAD = 1 << 20  # bytes in which the first parameter sets are looked for
_CHROMA = ("400", "420", "422", "444")  # by chroma_format_idc


@dataclass(frozen=True)
class Probe:
    """What a bitstream declares.

    Attributes
    ----------
    standard : Standard
    fmt : VideoFormat
        The size is that of the visible picture. A matrix, range or siting that the bitstream leaves open is
        VideoFormat's default.
    frame_rate : Fraction or None
        Pictures per second; None if it does not say.
    """

    standard: Standard
    fmt: VideoFormat
    frame_rate: Fraction | None


def standard_of(bitstream: Path) -> Standard:
    """The standard of a byte stream, by its first NAL unit: HEVC begins with a parameter set, a delimiter or SEI,
    whose two header bytes do not begin an AVC bitstream.

    Raises
    ------
    FprdoError
        The bitstream is missing, empty, or begins with something else than a NAL unit.
    """
    data = read_bitstream(bitstream, _HEAD)
    start, _ = next(nal_units(data), (0, 0))
    if start == 0 or data[: start - 1].strip(b"\0"):  # zeros and 1 are the start code, more zeros may stand before it
        raise FprdoError(f"{bitstream}: no HEVC or AVC bitstream (it begins with no NAL unit)")
    # nal_unit_type 32 to 35 and 39 of layer 0 (H.265 table 7-1)
    hevc = data[start] in (0x40, 0x42, 0x44, 0x46, 0x4E) and data[start + 1] == 1
    return Standard.HEVC if hevc else Standard.AVC


def probe(bitstream: Path) -> Probe:
    """What an HEVC or AVC byte stream declares in its first sequence parameter set.

    Raises
    ------
    FprdoError
        The bitstream is missing, damaged, or of a format that VideoFormat does not have.
    """
    standard = standard_of(bitstream)
    data = read_bitstream(bitstream, _HEAD)
    units = (data[start:end] for start, end in nal_units(data))
    unit = next((unit for unit in units if standard.unit_type(unit) == standard.sps), None)
    if unit is None:
        raise FprdoError(f"{bitstream}: no HEVC or AVC bitstream (it has no sequence parameter set)")
    try:
        said = parse_sps(unit, standard)
    except (EOFError, ValueError) as error:
        raise FprdoError(
            f"{bitstream}: no {standard.title} bitstream (its sequence parameter set is damaged: {error})"
        ) from None
    try:
        return Probe(standard, _format(said), said.vui.frame_rate)
    except FprdoError as error:
        raise FprdoError(f"{bitstream}: {error}") from None


def _format(said: SequenceParameters) -> VideoFormat:
    if said.chroma_format_idc and said.bit_depth_chroma != said.bit_depth:
        raise FprdoError(
            f"luma of {said.bit_depth} bits and chroma of {said.bit_depth_chroma}, which is not supported here"
        )
    vui = said.vui
    if vui.matrix == 0 and said.chroma_format_idc == 3:
        raise FprdoError("holds R'G'B' planes, which is not supported here; convert it to Y'CbCr")
    siting = vui.chroma_sample_loc_type or 0
    return VideoFormat(
        said.width,
        said.height,
        _CHROMA[said.chroma_format_idc],
        said.bit_depth,
        MATRICES.get(vui.matrix or 0, VideoFormat.matrix),
        bool(vui.full_range),
        SITINGS[siting] if siting < len(SITINGS) else VideoFormat.siting,
        vui.aspect,
    )


def read_bitstream(bitstream: Path, most: int = -1) -> bytes:
    """Its first `most` bytes, or all.

    Raises
    ------
    FprdoError
        The bitstream is missing or empty.
    """
    if not bitstream.is_file():
        raise FprdoError(f"{bitstream}: no such bitstream; check the name")
    try:
        with open(bitstream, "rb") as file:
            data = file.read(most)
    except OSError as error:
        raise FprdoError(f"{bitstream}: cannot be read ({error.strerror})") from None
    if not data:
        raise FprdoError(f"{bitstream}: is empty; encode again")
    return data
