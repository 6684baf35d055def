"""JM in the conformance suite."""

from subject import Case, Encodes, Region, Shapes, Subject

from fprdo_bridge.encoders.jm import JM
from fprdo_bridge.video.formats import VideoFormat

CAVLC, PLAIN_QUANTISATION = {"SymbolMode": "0"}, {"UseRDOQuant": "0"}
IBBP = {"NumberBFrames": "2", "HierarchicalCoding": "0", "HierarchyLevelQPEnable": "0"}
FIELDS, MBAFF = {"PicInterlace": "1"}, {"MbInterlace": "2"}
LOSSLESS = {"LosslessCoding": "1", "ProfileIDC": "244", "QPISlice": "0", "QPPSlice": "0", "QPBSlice": "0"}
SEPARATE = {"SeparateColourPlane": "1"}  # JM deblocks all planes with the QPs of the first: no map
CASES = {
    "intra": Case(88, 56, frames=2),
    "cavlc": Case(88, 56, options=CAVLC),
    "no-rdoq": Case(88, 56, options=PLAIN_QUANTISATION, quantises=False),
    "cavlc-no-rdoq": Case(88, 56, kind="lowdelay", frames=2, options=CAVLC | PLAIN_QUANTISATION, quantises=False),
    "adaptive-rounding": Case(
        88, 56, kind="lowdelay", frames=2, options=PLAIN_QUANTISATION | {"AdaptiveRounding": "1"}, quantises=False
    ),
    "4x4-transform": Case(88, 56, options={"Transform8x8Mode": "0"}),
    "8x8-transform": Case(88, 56, kind="lowdelay", frames=2, options={"Transform8x8Mode": "2"}),
    "main-profile": Case(88, 56, kind="lowdelay", frames=2, options={"Transform8x8Mode": "0", "ProfileIDC": "77"}),
    "baseline-profile": Case(
        88, 56, kind="lowdelay", frames=2, options={"Transform8x8Mode": "0", "ProfileIDC": "66"} | CAVLC
    ),
    "scaling-matrix": Case(88, 56, options={"ScalingMatrixPresentFlag": "1"}),
    "qp-search": Case(56, 40, kind="lowdelay", frames=2, options={"RDOQ_QP_Num": "3"}, qp_map_clip=8),
    "ippp": Case(88, 56, kind="lowdelay", frames=3),
    "ippp-cavlc": Case(72, 56, kind="lowdelay", frames=3, options=CAVLC),
    "ibbp": Case(88, 56, kind="randomaccess", frames=4, options=IBBP),
    "ibbp-cavlc": Case(72, 56, kind="randomaccess", frames=4, options=IBBP | CAVLC),
    "ibbp-temporal-direct": Case(72, 56, kind="randomaccess", frames=4, options=IBBP | {"DirectModeType": "0"}),
    "hierarchical": Case(72, 56, kind="randomaccess", frames=5, options={"NumberBFrames": "3"}),
    "fast-mode-decision": Case(
        88, 56, kind="lowdelay", frames=2, options={"RDOptimization": "2", "ProfileIDC": "77", "Transform8x8Mode": "0"}
    ),
    "mbaff": Case(88, 64, options=MBAFF, quantises=False),
    "mbaff-ippp": Case(72, 72, kind="lowdelay", frames=3, options=MBAFF, quantises=False),
    "mbaff-ibbp-cavlc": Case(
        72,
        72,
        kind="randomaccess",
        frames=4,
        options=IBBP | MBAFF | CAVLC | {"ReferenceReorder": "0", "PocMemoryManagement": "0"},
        quantises=False,
    ),
    "mb-field-pairs": Case(72, 72, kind="lowdelay", frames=2, options={"MbInterlace": "1"}, quantises=False),
    "fields": Case(88, 64, frames=2, options=FIELDS),
    "fields-ippp": Case(72, 72, kind="lowdelay", frames=3, options=FIELDS),
    "fields-cavlc": Case(72, 72, kind="lowdelay", frames=2, options=FIELDS | CAVLC),
    "slices": Case(88, 72, kind="lowdelay", frames=2, options={"SliceMode": "1", "SliceArgument": "7"}),
    "slices-by-bytes": Case(88, 72, options={"SliceMode": "2", "SliceArgument": "300"}),
    "slices-fields": Case(88, 64, options={"SliceMode": "1", "SliceArgument": "6"} | FIELDS),
    "constrained-intra": Case(88, 56, kind="lowdelay", frames=2, options={"UseConstrainedIntraPred": "1"}),
    "400": Case(89, 57, "400"),
    "400-ippp": Case(72, 40, "400", kind="lowdelay", frames=2),
    "422": Case(88, 57, "422"),
    "422-10-cavlc": Case(64, 41, "422", 10, kind="lowdelay", frames=2, options=CAVLC),
    "444": Case(73, 41, "444"),
    "444-cavlc": Case(73, 41, "444", options=CAVLC),
    "444-ippp": Case(56, 40, "444", kind="lowdelay", frames=2),
    "444-separate-planes": Case(56, 40, "444", options=SEPARATE, qp_map=False, libav=False),
    "444-separate-planes-ippp": Case(
        56, 40, "444", kind="lowdelay", frames=2, options=SEPARATE | CAVLC, qp_map=False, libav=False
    ),
    "420-10": Case(80, 40, "420", 10),
    "420-10-ibbp": Case(64, 40, "420", 10, kind="randomaccess", frames=4, options=IBBP),
    "444-14": Case(32, 40, "444", 14),
    "lossless": Case(56, 40, options=LOSSLESS, lossless=True, qp_map=False),
    "lossless-ippp": Case(56, 40, "444", kind="lowdelay", frames=2, options=LOSSLESS, lossless=True, qp_map=False),
    "one-macroblock": Case(16, 16, offsets=False),
    "beyond-one-macroblock": Case(18, 18, kind="lowdelay", frames=2),
}


def words(option: str, value: str) -> list[str]:
    return ["-p", f"{option}={value}"]


def refused(*options: str) -> tuple[str, ...]:
    return tuple(word for option in options for word in ("-p", option))


SUBJECT = Subject(
    codec=JM,
    cases=CASES,
    settings=Encodes("lowdelay", 3, 20),
    without_effect=("sao",),
    extreme_qps=(0, 51),
    group_options={},
    pixels_only=[{}, CAVLC],
    reordered=[Encodes("randomaccess", 5, 22, {"NumberBFrames": "3"}), Encodes("lowdelay", 5, 22, FIELDS)],
    shared=Encodes("lowdelay", 4, 32),
    every_second={"FrameSkip": "1", "FramesToBeEncoded": "2"},
    # MBAFF has no RDOQ, so mode decisions alone have to do it.
    regions=[
        Region(32, qp_map, options, 0.98 if options == MBAFF and not qp_map else 0.9, 1.003)
        for options in ({}, FIELDS, MBAFF)
        for qp_map in (True, False)
    ],
    shapes=[Shapes(27, {}, 1.1), Shapes(37, CAVLC, 1.2)],
    # JM, the stock one too, crashes on the picture from QP 40 on.
    limited=(VideoFormat(256, 64, "444", 14), Encodes(qp=30)),
    words=words,
    said=lambda option, value: f"{option} is {value}; ",
    refused={
        refused(*options): f"IDSEWeightFile cannot be combined with {what}; change one of them"
        for options, what in (
            (("RateControlEnable=1", "RCUpdateMode=1"), "RateControlEnable"),
            (("RDOptimization=3",), "RDOptimization=3"),
            (("PicInterlace=2",), "PicInterlace=2"),
            (("RDPictureDecision=1",), "RDPictureDecision"),
            (("LosslessCoding=1", "ProfileIDC=244"), "LosslessCoding and IDSEQpMap"),
            (("SeparateColourPlane=1", "YUVFormat=3", "ProfileIDC=244"), "SeparateColourPlane and IDSEQpMap"),
            (("RDOQ_QP_Num=3", "RDOQ_CP_Mode=1"), "RDOQ_CP_Mode and IDSEQpMap"),
            (("RDOQ_QP_Num=3", "IDSEQpMapClip=9"), "RDOQ_QP_Num above 1 and IDSEQpMapClip above 8"),
        )
    },
    allowed={"RDPictureDecision": "1"},
)
