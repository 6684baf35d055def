"""What sequence parameter sets say about the pictures: size, chroma format, bit depth, colour, aspect and rate."""

from dataclasses import dataclass
from fractions import Fraction

from fprdo_bridge.bitstream.bits import BitReader
from fprdo_bridge.bitstream.nal_units import Standard, payload

_SUBSAMPLING = ((1, 1), (2, 2), (2, 1), (1, 1))  # SubWidthC, SubHeightC by chroma_format_idc; table 6-1

# Sample aspect ratio by aspect_ratio_idc from 1 on (H.264 table E-1, H.265 table E.1).
_ASPECTS = (
    (1, 1),
    (12, 11),
    (10, 11),
    (16, 11),
    (40, 33),
    (24, 11),
    (20, 11),
    (32, 11),
    (80, 33),
    (18, 11),
    (15, 11),
    (64, 33),
    (160, 99),
    (4, 3),
    (3, 2),
    (2, 1),
)
_EXTENDED_SAR = 255

# profile_idc whose sequence parameter sets have a chroma format, H.264 clause 7.3.2.1.1
_WITH_CHROMA_FORMAT = (44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244)


@dataclass(frozen=True)
class Vui:
    """Video usability information (annex E); None where it says nothing."""

    aspect: tuple[int, int] | None = None  # width to height of a sample
    full_range: bool | None = None
    matrix: int | None = None  # matrix_coeffs
    chroma_sample_loc_type: int | None = None
    frame_rate: Fraction | None = None


@dataclass(frozen=True)
class SequenceParameters:
    """The sizes are those of the visible picture, in luma samples."""

    width: int
    height: int
    chroma_format_idc: int
    bit_depth: int
    bit_depth_chroma: int
    vui: Vui


def parse_sps(unit: bytes, standard: Standard) -> SequenceParameters:
    """Read a sequence parameter set, a NAL unit with its header.

    Raises
    ------
    EOFError
        It ends too early.
    ValueError
        It holds what no parameter set holds.
    """
    reader = BitReader(payload(unit, standard))
    return _hevc(reader) if standard is Standard.HEVC else _avc(reader)


# ---- H.265 clause 7.3.2.2 --------------------------------------------------------------------------------------------


def _hevc(r: BitReader) -> SequenceParameters:
    r.u(4)  # sps_video_parameter_set_id
    sub_layers = r.u(3)
    r.flag()
    _profile_tier_level(r, sub_layers)
    r.ue()  # sps_seq_parameter_set_id
    chroma = _at_most(r.ue(), 3)
    if chroma == 3:
        r.flag()  # separate_colour_plane_flag
    size = [r.ue(), r.ue()]
    if r.flag():  # conformance_window_flag
        _crop(size, [r.ue() for _ in range(4)], _SUBSAMPLING[chroma])
    depths = [8 + r.ue(), 8 + r.ue()]
    poc_bits = 4 + r.ue()
    for _ in range(sub_layers + 1 if r.flag() else 1):
        r.ue(), r.ue(), r.ue()
    for _ in range(6):  # block sizes and depths of the transform trees
        r.ue()
    if r.flag() and r.flag():  # scaling_list_enabled_flag, sps_scaling_list_data_present_flag
        _scaling_list_data(r)
    r.u(2)  # amp_enabled_flag, sample_adaptive_offset_enabled_flag
    if r.flag():  # pcm_enabled_flag
        r.u(8), r.ue(), r.ue(), r.flag()
    _reference_picture_sets(r)
    if r.flag():  # long_term_ref_pics_present_flag
        for _ in range(_at_most(r.ue(), 32)):
            r.u(poc_bits), r.flag()
    r.u(2)  # sps_temporal_mvp_enabled_flag, strong_intra_smoothing_enabled_flag
    return SequenceParameters(size[0], size[1], chroma, depths[0], depths[1], _hevc_vui(r) if r.flag() else Vui())


def _profile_tier_level(r: BitReader, sub_layers: int) -> None:
    r.u(88 + 8)  # the general ones
    present = [(r.flag(), r.flag()) for _ in range(sub_layers)]
    if sub_layers:
        r.u(2 * (8 - sub_layers))
    for profile, level in present:
        r.u(88 * profile + 8 * level)


def _scaling_list_data(r: BitReader) -> None:
    for size in range(4):
        for _ in range(0, 6, 3 if size == 3 else 1):
            if not r.flag():
                r.ue()
                continue
            if size > 1:
                r.se()
            for _ in range(min(64, 1 << 4 + 2 * size)):
                r.se()


def _reference_picture_sets(r: BitReader) -> None:
    """st_ref_pic_set(), clause 7.3.7; a set may be told from the one before it, so their sizes have to be known."""
    pictures = 0  # NumDeltaPocs of the set before
    for index in range(_at_most(r.ue(), 64)):
        if index and r.flag():  # inter_ref_pic_set_prediction_flag
            r.flag(), r.ue()
            kept = 0
            for _ in range(pictures + 1):
                kept += r.flag() or r.flag()  # used_by_curr_pic_flag, or else use_delta_flag
            pictures = kept
        else:
            pictures = _at_most(r.ue(), 16) + _at_most(r.ue(), 16)
            for _ in range(pictures):
                r.ue(), r.flag()


def _hevc_vui(r: BitReader) -> Vui:
    aspect = _aspect(r)
    if r.flag():  # overscan_info_present_flag
        r.flag()
    full_range, matrix = _signal_type(r)
    siting = _siting(r)
    r.u(3)  # neutral_chroma_indication_flag, field_seq_flag, frame_field_info_present_flag
    if r.flag():  # default_display_window_flag
        for _ in range(4):
            r.ue()
    rate = None
    if r.flag():  # vui_timing_info_present_flag
        ticks, scale = r.u(32), r.u(32)
        rate = Fraction(scale, ticks) if ticks and scale else None
    return Vui(aspect, full_range, matrix, siting, rate)


@dataclass(frozen=True)
class CodingTools:
    """What a sequence parameter set of HEVC says to a parser of slice data.

    Attributes
    ----------
    width, height : of the coded picture, in luma samples
    chroma : ChromaArrayType
    depths : bits of luma and chroma
    log2_min_cb, log2_ctb, log2_min_tb, log2_max_tb : sizes of coding and transform blocks
    intra_depth : max_transform_hierarchy_depth_intra
    """

    width: int
    height: int
    chroma: int
    separate_planes: bool
    depths: tuple[int, int]
    log2_min_cb: int
    log2_ctb: int
    log2_min_tb: int
    log2_max_tb: int
    intra_depth: int
    sao: bool
    pcm: bool


def parse_coding_tools(unit: bytes) -> CodingTools:
    """Read a sequence parameter set of HEVC; raises as `parse_sps`."""
    r = BitReader(payload(unit, Standard.HEVC))
    r.u(4)
    sub_layers = r.u(3)
    r.flag()
    _profile_tier_level(r, sub_layers)
    r.ue()
    chroma = _at_most(r.ue(), 3)
    separate = r.flag() if chroma == 3 else False
    width, height = r.ue(), r.ue()
    if r.flag():
        r.ue(), r.ue(), r.ue(), r.ue()
    depths = 8 + r.ue(), 8 + r.ue()
    r.ue()  # log2_max_pic_order_cnt_lsb_minus4
    for _ in range(sub_layers + 1 if r.flag() else 1):
        r.ue(), r.ue(), r.ue()
    min_cb = 3 + r.ue()
    ctb = _at_most(min_cb + r.ue(), 6)
    min_tb = 2 + r.ue()
    max_tb = _at_most(min_tb + r.ue(), 5)
    r.ue()  # max_transform_hierarchy_depth_inter
    intra_depth = r.ue()
    if r.flag() and r.flag():
        _scaling_list_data(r)
    r.flag()  # amp_enabled_flag
    sao, pcm = r.flag(), r.flag()
    return CodingTools(
        width, height, chroma, separate, depths, min_cb, ctb, min_tb, max_tb, _at_most(intra_depth, 4), sao, pcm
    )


@dataclass(frozen=True)
class PictureTools:
    """What a picture parameter set of HEVC says to a parser of slice data; clause 7.3.2.3."""

    output_flag_present: bool
    extra_header_bits: int
    sign_hiding: bool
    init_qp: int  # minus 26
    transform_skip: bool
    qp_delta: bool
    qp_delta_depth: int
    slice_chroma_offsets: bool
    transquant_bypass: bool
    tiles: bool
    wavefronts: bool
    filter_across_slices: bool
    deblocking_override: bool
    deblocking_disabled: bool
    header_extension: bool


def parse_picture_tools(unit: bytes) -> PictureTools:
    """Read a picture parameter set of HEVC; one with tiles is read up to them. Raises as `parse_sps`."""
    r = BitReader(payload(unit, Standard.HEVC))
    r.ue(), r.ue(), r.flag()  # its number, that of the sequence's, dependent_slice_segments_enabled_flag
    output_flag_present, extra, hiding = r.flag(), r.u(3), r.flag()
    r.flag(), r.ue(), r.ue()  # cabac_init_present_flag, default numbers of references
    init_qp = r.se()
    r.flag()  # constrained_intra_pred_flag
    skip, delta = r.flag(), r.flag()
    depth = r.ue() if delta else 0
    r.se(), r.se()
    chroma_offsets = r.flag()
    r.u(2)  # weighted prediction
    bypass, tiles, wavefronts = r.flag(), r.flag(), r.flag()
    across = override = disabled = extension = False
    if not tiles:
        across = r.flag()
        if r.flag():  # deblocking_filter_control_present_flag
            override, disabled = r.flag(), r.flag()
            if not disabled:
                r.se(), r.se()
        if r.flag():  # pps_scaling_list_data_present_flag
            _scaling_list_data(r)
        r.flag(), r.ue()  # lists_modification_present_flag, log2_parallel_merge_level_minus2
        extension = r.flag()
    return PictureTools(
        output_flag_present, extra, hiding, init_qp, skip, delta, depth, chroma_offsets, bypass, tiles, wavefronts,
        across, override, disabled, extension,
    )  # fmt: skip


# ---- H.264 clause 7.3.2.1.1 ------------------------------------------------------------------------------------------


def _avc(r: BitReader) -> SequenceParameters:
    profile = r.u(8)
    r.u(16)  # constraint flags, level_idc
    r.ue()  # seq_parameter_set_id
    chroma, depths = 1, [8, 8]
    if profile in _WITH_CHROMA_FORMAT:
        chroma = _at_most(r.ue(), 3)
        if chroma == 3:
            r.flag()  # separate_colour_plane_flag
        depths = [8 + r.ue(), 8 + r.ue()]
        r.flag()
        if r.flag():  # seq_scaling_matrix_present_flag
            for index in range(12 if chroma == 3 else 8):
                if r.flag():
                    _scaling_list(r, 16 if index < 6 else 64)
    r.ue()  # log2_max_frame_num_minus4
    order = _at_most(r.ue(), 2)  # pic_order_cnt_type
    if order == 0:
        r.ue()
    elif order == 1:
        r.flag(), r.se(), r.se()
        for _ in range(_at_most(r.ue(), 255)):
            r.se()
    r.ue(), r.flag()  # max_num_ref_frames, gaps_in_frame_num_value_allowed_flag
    across, down = r.ue() + 1, r.ue() + 1
    frames_only = r.flag()
    if not frames_only:
        r.flag()
        down *= 2
    r.flag()  # direct_8x8_inference_flag
    size = [16 * across, 16 * down]
    if r.flag():  # frame_cropping_flag
        unit_width, unit_height = _SUBSAMPLING[chroma]
        _crop(size, [r.ue() for _ in range(4)], (unit_width, unit_height * (1 if frames_only else 2)))
    return SequenceParameters(size[0], size[1], chroma, depths[0], depths[1], _avc_vui(r) if r.flag() else Vui())


def _scaling_list(r: BitReader, length: int) -> None:
    last = following = 8
    for _ in range(length):
        if following:
            following = (last + r.se()) % 256
        last = following or last


def _avc_vui(r: BitReader) -> Vui:
    aspect = _aspect(r)
    if r.flag():  # overscan_info_present_flag
        r.flag()
    full_range, matrix = _signal_type(r)
    siting = _siting(r)
    rate = None
    if r.flag():  # timing_info_present_flag
        ticks, scale = r.u(32), r.u(32)
        rate = Fraction(scale, 2 * ticks) if ticks and scale else None  # a tick is a field's
    return Vui(aspect, full_range, matrix, siting, rate)


# ---- both ------------------------------------------------------------------------------------------------------------


def _at_most(value: int, largest: int) -> int:
    if value > largest:
        raise ValueError(f"{value} where at most {largest} may stand")
    return value


def _crop(size: list[int], offsets: list[int], unit: tuple[int, int]) -> None:
    """Take the cropping rectangle, left, right, top and bottom in units of chroma samples, off the size."""
    size[0] -= unit[0] * (offsets[0] + offsets[1])
    size[1] -= unit[1] * (offsets[2] + offsets[3])


def _aspect(r: BitReader) -> tuple[int, int] | None:
    if not r.flag():  # aspect_ratio_info_present_flag
        return None
    code = r.u(8)
    aspect = (
        (r.u(16), r.u(16)) if code == _EXTENDED_SAR else _ASPECTS[code - 1] if 1 <= code <= len(_ASPECTS) else (0, 0)
    )
    return aspect if all(aspect) else None


def _signal_type(r: BitReader) -> tuple[bool | None, int | None]:
    if not r.flag():  # video_signal_type_present_flag
        return None, None
    r.u(3)
    full_range = r.flag()
    if not r.flag():  # colour_description_present_flag
        return full_range, None
    r.u(16)  # primaries and transfer characteristics
    return full_range, r.u(8)


def _siting(r: BitReader) -> int | None:
    if not r.flag():  # chroma_loc_info_present_flag
        return None
    top, _ = r.ue(), r.ue()
    return top
