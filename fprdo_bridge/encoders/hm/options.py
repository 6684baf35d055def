"""HM's own options that `fprdo` refuses, and the short names of them (TAppEncCfg.cpp)."""

from fprdo_bridge.encoders import options
from fprdo_bridge.encoders.options import InputFile, Rule

RULES = (
    Rule("InputFile BitstreamFile ReconFile", options.FILES, ours=True),
    Rule("InputPathPrefix", options.FILES, harmless=("",)),
    Rule("SummaryOutFilename SummaryPicFilenameBase SEIShutterIntervalPreFilename", options.MORE_FILES, harmless=("",)),
    Rule("FramesToBeEncoded", options.PICTURES, ours=True),
    Rule("FrameSkip", options.PICTURES, harmless=("0",)),
    Rule("TemporalSubsampleRatio", options.SUBSAMPLING, harmless=("1",)),
    Rule("SEINoDisplay", "would have decoders leave out pictures; leave it out", harmless=("0",)),
    Rule("FieldCoding", options.FIELDS, harmless=("0",)),
    Rule("FrameRate", options.FRAME_RATE, ours=True),
    Rule("QP", options.RATE, ours=True),
    Rule("SourceWidth SourceHeight", options.SIZE, ours=True),
    Rule("ConformanceWindowMode", options.CROP, ours=True),
    Rule("ConfWinLeft ConfWinRight ConfWinTop ConfWinBottom HorizontalPadding VerticalPadding", options.CROP,
         harmless=("0",)),
    Rule("InputBitDepth", options.SOURCE_DEPTH, ours=True),
    Rule("OutputBitDepth", "is that of the bitstream, as decoders give it; use InternalBitDepth", ours=True),
    Rule("InputChromaFormat ChromaFormatIDC", options.CHROMA, ours=True),
    Rule("InputColourSpaceConvert", options.SAMPLES, harmless=("", "UNCHANGED")),
    Rule("ClipInputVideoToRec709Range ClipOutputVideoToRec709Range", options.SAMPLES, harmless=("0",)),
    Rule("VuiParametersPresent", "would write what --matrix, --range, --siting and --frame-rate, or else the source, say",
         harmless=("0",)),
    Rule("IDSEWeightFile IDSETau IDSEPower IDSEClip IDSERdoq IDSEQpMap IDSEQpMapClip IDSESao IDSEDecisions",
         options.WEIGHTS, ours=True),
    Rule("help", "is no setting of an encode; leave it out"),
)

INPUT_FILES = (
    InputFile("dQPFile"), InputFile("ScalingListFile", "ScalingList", off=("0", "off", "1", "default")),
    InputFile("SEIFGCExternalMask"), InputFile("SEIFGCExternalDenoised"),
    # NAME_0.txt and so on
    InputFile("SEIColourRemappingInfoFileRoot", whole=False), InputFile("SEIRegionalNestingFileRoot", whole=False),
    InputFile("SEIAnnotatedRegionsFileRoot", whole=False))

SHORT_NAMES = {
    "i": "InputFile", "ipp": "InputPathPrefix", "b": "BitstreamFile", "o": "ReconFile", "wdt": "SourceWidth",
    "hgt": "SourceHeight", "cf": "ChromaFormatIDC", "pdx": "HorizontalPadding", "pdy": "VerticalPadding", "fr": "FrameRate",
    "fs": "FrameSkip", "ts": "TemporalSubsampleRatio", "f": "FramesToBeEncoded", "q": "QP", "m": "dQPFile",
    "vui": "VuiParametersPresent", "sii": "SEIShutterIntervalPreFilename", "cri": "SEIColourRemappingInfoFileRoot",
    "rns": "SEIRegionalNestingFileRoot", "ar": "SEIAnnotatedRegionsFileRoot", "ip": "IntraPeriod",
    "dr": "DecodingRefreshType", "g": "GOPSize", "s": "MaxCUSize", "h": "MaxPartitionDepth", "sr": "SearchRange",
    "d": "MaxDeltaQP", "dqd": "MaxCuDQPDepth", "dqr": "DeltaQpRD", "qpif": "QPIncrementFrame", "aq": "AdaptiveQP",
    "aqr": "MaxQPAdaptationRange", "aqps": "AdaptiveQpSelection", "cbqpofs": "CbQpOffset", "crqpofs": "CrQpOffset",
    "wpP": "WeightedPredP", "wpB": "WeightedPredB", "wpM": "WeightedPredMethod", "SBH": "SignHideFlag",
    "sis": "StrongIntraSmoothing", "w": "WarnUnknowParameter", "xPS": "xPSNREnableFlag", "IQF": "IQPFactor"}
