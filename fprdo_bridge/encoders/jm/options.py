"""JM's own parameters that `fprdo` refuses (lencod's configfile.h)."""

from fprdo_bridge.encoders import options
from fprdo_bridge.encoders.options import InputFile, Rule
from fprdo_bridge.settings import option_names

RULES = (
    Rule("InputFile OutputFile ReconFile", options.FILES, ours=True),
    Rule("InputHeaderLength MultiSourceData", options.FILES, harmless=("0",)),
    Rule("InputFile3", options.FILES, harmless=("",)),
    Rule("NumberOfViews", "would code a second view, which has no file here; leave it out", harmless=("1",)),
    Rule("TraceFile StatsFile LeakyBucketParamFile", options.MORE_FILES, ours=True),
    Rule("SP_output SP2_FRAMES SI_FRAMES", options.MORE_FILES, harmless=("0",)),
    Rule(
        "OutFileMode", "would write packets for a network, which no decoder here reads; leave it out", harmless=("0",)
    ),
    Rule("FramesToBeEncoded", options.PICTURES, ours=True),
    Rule("StartFrame", options.PICTURES, harmless=("0",)),
    Rule("FrameSkip", options.SUBSAMPLING, harmless=("0",)),
    Rule(
        "NumFramesInELayerSubSeq UseRedundantPicture",
        "would code pictures more than once; leave it out",
        harmless=("0",),
    ),
    Rule("Enable32Pulldown SEIVUI32Pulldown", "would code pictures more than once; leave it out", harmless=("0",)),
    Rule("FrameRate", options.FRAME_RATE, ours=True),
    Rule("QPISlice QPPSlice QPBSlice", options.RATE, ours=True),
    Rule("SourceWidth SourceHeight OutputWidth OutputHeight", options.SIZE, ours=True),
    Rule("SourceResize", options.SAMPLES, harmless=("0",)),
    Rule("SourceBitDepthLuma SourceBitDepthChroma", options.SOURCE_DEPTH, ours=True),
    Rule("YUVFormat", options.CHROMA, ours=True),
    Rule("Interleaved PixelFormat RGBInput Grayscale ProcessInput", options.SAMPLES, harmless=("0",)),
    Rule(
        "SeparateColourPlane",
        "would code three pictures for one, which libavcodec does not decode; leave it out",
        harmless=("0",),
    ),
    Rule(
        "EnableVUISupport VUI_video_signal_type_present_flag VUI_video_full_range_flag "
        "VUI_colour_description_present_flag VUI_colour_primaries VUI_transfer_characteristics VUI_matrix_coefficients "
        "VUI_chroma_location_info_present_flag VUI_chroma_sample_loc_type_top_field "
        "VUI_chroma_sample_loc_type_bottom_field",
        options.COLOUR,
        ours=True,
    ),
    Rule(
        "VUI_aspect_ratio_info_present_flag VUI_aspect_ratio_idc VUI_sar_width VUI_sar_height",
        options.ASPECT,
        ours=True,
    ),
    Rule(
        "VUI_timing_info_present_flag VUI_num_units_in_tick VUI_time_scale VUI_fixed_frame_rate_flag",
        options.FRAME_RATE,
        ours=True,
    ),
    Rule("Verbose", options.LOG, ours=True),
    Rule("SkipGlobalStats", options.LOG, harmless=("0",)),
    Rule(" ".join(option_names("jm")), options.WEIGHTS, ours=True),
    Rule("InternalBitDepth", "is HM's word; JM's is OutputBitDepthLuma"),
    # Stock JM 19.1 crashes on them too.
    Rule(
        "PicInterlace",
        "crashes JM 19.1, the stock one too; use PicInterlace=0 or 1, or MbInterlace",
        harmless=("0", "1", "3"),
    ),
    Rule("RDOptimization", "crashes JM 19.1, the stock one too; use RDOptimization=1", harmless=("0", "1", "2", "4")),
)

INPUT_FILES = (
    InputFile("QmatrixFile", "ScalingMatrixPresentFlag"),
    InputFile("QOffsetMatrixFile", "OffsetMatrixPresentFlag"),
    InputFile("SliceGroupConfigFileName", "num_slice_groups_minus1"),
    InputFile("ToneMappingFile", "ToneMappingSEIPresentFlag"),
    InputFile("ExplicitSeqFile", "ExplicitSeqCoding"),
)
