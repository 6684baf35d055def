"""HM in the conformance suite."""

from subject import Case, Encodes, Region, Shapes, Subject

from fprdo_bridge.encoders.hm import HM

LOSSLESS = {"CostMode": "lossless", "TransquantBypassEnable": "1", "CUTransquantBypassFlagForce": "1"}
RANGE_EXTENSIONS = {
    "ImplicitResidualDPCM": "1",
    "ExplicitResidualDPCM": "1",
    "ResidualRotation": "1",
    "SingleSignificanceMapContext": "1",
    "GolombRiceParameterAdaptation": "1",
    "TransformSkipLog2MaxSize": "4",
    "CrossComponentPrediction": "1",
}
CASES = {
    "intra": Case(136, 72),
    "intra-2": Case(136, 72, frames=2, options={"MaxCuDQPDepth": "2"}),
    "no-rdoq": Case(136, 72, options={"RDOQ": "0", "RDOQTS": "0"}, quantises=False),
    "no-rdoqts": Case(136, 72, options={"RDOQTS": "0"}),
    "no-sao": Case(136, 72, options={"SAO": "0"}),
    "no-transform-skip": Case(136, 72, options={"TransformSkip": "0"}),
    "no-sign-hiding": Case(136, 72, options={"SignHideFlag": "0"}),
    "bare": Case(
        136,
        72,
        kind="lowdelay",
        frames=2,
        options={"RDOQ": "0", "RDOQTS": "0", "SAO": "0", "TransformSkip": "0", "SignHideFlag": "0"},
        quantises=False,
    ),
    "scaling-list": Case(136, 72, options={"ScalingList": "1", "MaxCuDQPDepth": "1"}),
    "delta-qp-search": Case(72, 72, options={"MaxDeltaQP": "1", "MaxCuDQPDepth": "1"}),
    "delta-qp-search-0": Case(72, 72, kind="lowdelay", frames=2, options={"MaxDeltaQP": "1", "MaxCuDQPDepth": "0"}),
    "small-ctu": Case(
        104,
        56,
        kind="randomaccess",
        frames=2,
        options={"MaxCUWidth": "16", "MaxCUHeight": "16", "MaxPartitionDepth": "2", "QuadtreeTULog2MaxSize": "4"},
    ),
    "slices": Case(136, 136, options={"SliceMode": "1", "SliceArgument": "2", "MaxCuDQPDepth": "1"}),
    "pcm": Case(72, 72, options={"PCMEnabledFlag": "1", "PCMLog2MinSize": "3", "PCMInputBitDepthFlag": "1"}),
    "lossless": Case(72, 72, options=LOSSLESS, lossless=True),
    "lossless-inter": Case(72, 72, kind="lowdelay", frames=2, options=LOSSLESS | {"MaxCuDQPDepth": "1"}, lossless=True),
    "mixed-lossless": Case(
        72,
        72,
        kind="lowdelay",
        frames=2,
        options=LOSSLESS | {"CostMode": "mixed_lossless_lossy", "CUTransquantBypassFlagForce": "0"},
    ),
    "lowdelay": Case(130, 66, kind="lowdelay", frames=3),
    "lowdelay-weighted-prediction": Case(
        136, 72, kind="lowdelay", frames=3, options={"WeightedPredP": "1", "WeightedPredB": "1"}
    ),
    "randomaccess": Case(136, 72, kind="randomaccess", frames=3, options={"MaxCuDQPDepth": "1"}),
    "randomaccess-10": Case(134, 74, "420", 10, kind="randomaccess", frames=3),
    "intra-10": Case(130, 66, "420", 10, options={"MaxCuDQPDepth": "1"}),
    "intra-12": Case(72, 40, "420", 12, options={"MaxCuDQPDepth": "1"}),
    "400": Case(129, 65, "400", options={"MaxCuDQPDepth": "1"}),
    "400-10": Case(97, 63, "400", 10, kind="lowdelay", frames=2),
    "422": Case(130, 65, "422", options={"MaxCuDQPDepth": "1"}),
    "422-10": Case(130, 65, "422", 10, kind="randomaccess", frames=2),
    "444": Case(129, 65, "444", options={"CrossComponentPrediction": "1", "MaxCuDQPDepth": "1"}),
    "444-10": Case(97, 63, "444", 10, kind="lowdelay", frames=2, options={"CrossComponentPrediction": "1"}),
    "444-range-extensions": Case(97, 63, "444", kind="lowdelay", frames=2, options=RANGE_EXTENSIONS),
    "422-range-extensions": Case(
        98, 63, "422", options=RANGE_EXTENSIONS | {"CrossComponentPrediction": "0", "MaxCuDQPDepth": "1"}
    ),
    "rate-control": Case(
        98,
        66,
        kind="lowdelay",
        frames=5,
        options={"RateControl": "1", "TargetBitrate": "60000", "KeepHierarchicalBit": "2"},
    ),
    "tiny": Case(8, 8, offsets=False),
}


def words(option: str, value: str) -> list[str]:
    return [f"--{option}={value}"]


def refused(name: str) -> str:
    return f"IDSEWeightFile cannot be combined with {name}; set {name} to 0"


SUBJECT = Subject(
    codec=HM,
    cases=CASES,
    settings=Encodes("lowdelay", 3, 27),
    without_effect=(),
    extreme_qps=(0, 51),
    group_options={"MaxCuDQPDepth": "2"},
    pixels_only=[{"TransformSkip": "0"}],
    reordered=[Encodes("randomaccess", 5, 22)],
    shared=Encodes("lowdelay", 4, 32),
    every_second={"TemporalSubsampleRatio": "2"},
    regions=[Region(qp, qp_map, {"MaxCuDQPDepth": "1"}, 0.9, 1.03) for qp in (27, 37) for qp_map in (True, False)],
    shapes=[Shapes(27, {}, 1.2), Shapes(37, {}, 1.2)],
    limited=None,
    words=words,
    said=lambda option, value: f"{option} is {value}; ",
    refused={
        (f"--{name}=1",): refused(name)
        for name in (
            "AdaptiveQP",
            "BIM",
            "SmoothQPReductionEnable",
            "LumaLevelToDeltaQPMode",
            "SelectiveRDOQ",
            "FieldCoding",
        )
    },
    allowed={"AdaptiveQP": "1"},
)
