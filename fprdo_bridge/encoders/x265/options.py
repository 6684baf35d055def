"""The options of x265's command line (its x265cli.h), and those that `fprdo` refuses."""

from fprdo_bridge.encoders import options
from fprdo_bridge.encoders.options import InputFile, Rule
from fprdo_bridge.encoders.x26x import LongOptions
from fprdo_bridge.settings import option_names

_OTHER_DATA = "takes decisions from a file of another encode, or makes such a file; leave it out"
_SHOWN = "would show pictures otherwise than the source does; leave it out"

RULES = (
    Rule("input output recon y4m input-res recon-depth", options.FILES),
    Rule("stats pass", "is what --rate-control abr takes for its two passes"),
    Rule("recon-y4m-exec abr-ladder", "would run further programs or encodes; leave it out"),
    Rule(
        "nalu-file dhdr10-info dolby-vision-rpu dolby-vision-profile",
        "would write messages of another file; leave it out",
    ),
    Rule(
        "analysis-reuse-mode analysis-reuse-file analysis-reuse-level analysis-save-reuse-level "
        "analysis-load-reuse-level analysis-save analysis-load scale-factor refine-intra refine-inter refine-mv "
        "refine-ctu-distortion refine-analysis-type ctu-info multi-pass-opt-analysis multi-pass-opt-distortion",
        _OTHER_DATA,
        harmless=("0",),
    ),
    Rule("seek frame-skip frames chunk-start chunk-end", options.PICTURES),
    Rule("frame-dup dup-threshold", options.SUBSAMPLING),
    Rule("interlace field", options.FIELDS, harmless=("0",)),
    Rule("fps", options.FRAME_RATE),
    Rule("pic-struct", _SHOWN),
    Rule("qp crf bitrate", options.RATE),
    Rule(
        "qpfile zones zonefile", "would give pictures other QPs and types than -q and the configuration; leave it out"
    ),
    Rule("dither", options.SAMPLES),
    Rule("display-window crop-rect", options.CROP),
    Rule("input-csp", options.CHROMA),
    Rule("input-depth", options.SOURCE_DEPTH),
    Rule("output-depth", "is that of the source; for a picture use --bit-depth"),
    Rule("range colorprim transfer colormatrix chromaloc atc-sei", options.COLOUR),
    Rule("sar", options.ASPECT),
    Rule("csv csv-log-level log-level ssim no-psnr", options.LOG),
    Rule("svt", "is of another encoder, which is not built in; leave it out"),
    Rule("help fullhelp version", "is no setting of an encode; leave it out"),
    Rule(" ".join(option_names("x265")), options.WEIGHTS),
)

NO_LIST = ("off", "default")  # of --scaling-list: no file
INPUT_FILES = (InputFile("scaling-list", switch="scaling-list", off=NO_LIST), InputFile("lambda-file"))

_FLAG_NAMES = """
    help fullhelp version no-asm no-pmode pmode no-pme pme high-tier uhd-bd no-high-tier allow-non-conformance
    no-allow-non-conformance no-cu-stats cu-stats y4m no-progress no-interlace field no-field no-wpp wpp
    no-temporal-mvp temporal-mvp hme no-hme no-rect rect no-amp amp no-early-skip early-skip no-fast-cbf fast-cbf
    no-tskip tskip no-tskip-fast tskip-fast cu-lossless no-cu-lossless no-constrained-intra constrained-intra cip
    no-cip fast-intra no-fast-intra no-open-gop open-gop no-scenecut hist-scenecut no-hist-scenecut fades no-fades
    intra-refresh no-b-adapt no-b-pyramid b-pyramid no-limit-modes limit-modes no-weightp weightp no-weightb weightb
    rc-grain no-rc-grain const-vbv no-const-vbv no-rdoq-level no-psy-rd no-psy-rdoq rd-refine no-rd-refine lossless
    no-lossless no-signhide signhide no-lft lft no-deblock no-sao sao no-sao-non-deblock sao-non-deblock no-ssim
    ssim no-psnr psnr no-strong-intra-smoothing strong-intra-smoothing no-cutree cutree no-hrd hrd vui-timing-info
    no-vui-timing-info vui-hrd-info no-vui-hrd-info opt-qp-pps no-opt-qp-pps opt-ref-list-length-pps
    no-opt-ref-list-length-pps opt-cu-delta-qp no-opt-cu-delta-qp no-dither dither no-repeat-headers repeat-headers
    aud no-aud info no-info b-intra no-b-intra multi-pass-opt-analysis no-multi-pass-opt-analysis
    multi-pass-opt-distortion no-multi-pass-opt-distortion vbv-live-multi-pass no-vbv-live-multi-pass slow-firstpass
    no-slow-firstpass multi-pass-opt-rps no-multi-pass-opt-rps dynamic-refine no-dynamic-refine strict-cbr
    temporal-layers no-temporal-layers analyze-src-pics no-analyze-src-pics aq-motion no-aq-motion ssim-rd
    no-ssim-rd hdr no-hdr hdr10 no-hdr10 hdr-opt no-hdr-opt hdr10-opt no-hdr10-opt limit-sao no-limit-sao dhdr10-opt
    no-dhdr10-opt splitrd-skip no-splitrd-skip lowpass-dct copy-pic no-copy-pic idr-recovery-sei no-idr-recovery-sei
    single-sei no-single-sei hrd-concat no-hrd-concat hevc-aq no-hevc-aq frame-dup no-frame-dup svt no-svt svt-hme
    no-svt-hme svt-compressed-ten-bit-format no-svt-compressed-ten-bit-format svt-speed-control no-svt-speed-control
    svt-fps-in-vps no-svt-fps-in-vps cll no-cll
"""
_VALUE_NAMES = """
    asm pools numa-pools preset tune frame-threads log-level profile level-idc csv csv-log-level output output-depth
    input input-depth input-res input-csp interlace fps seek frame-skip frames recon recon-depth ctu min-cu-size
    max-tu-size tu-intra-depth tu-inter-depth limit-tu me subme merange max-merge hme-search rdpenalty rskip
    rskip-edge-threshold keyint min-keyint gop-lookahead scenecut scenecut-bias hist-threshold scenecut-aware-qp
    masking-strength radl ctu-info rc-lookahead lookahead-slices lookahead-threads bframes bframe-bias b-adapt ref
    limit-refs crf crf-max crf-min vbv-maxrate vbv-bufsize vbv-init vbv-end vbv-end-fr-adj chunk-start chunk-end
    bitrate qp aq-mode aq-strength ipratio pbratio qcomp qpstep qpmin qpmax ratetol cplxblur qblur cbqpoffs crqpoffs
    rd rdoq-level dynamic-rd psy-rd psy-rdoq scaling-list deblock selective-sao hash sar overscan videoformat range
    colorprim transfer colormatrix chromaloc display-window crop-rect master-display max-cll min-luma max-luma
    log2-max-poc-lsb zones qpfile zonefile lambda-file nr-intra nr-inter stats pass analysis-reuse-mode
    analysis-reuse-file analysis-reuse-level analysis-save-reuse-level analysis-load-reuse-level analysis-save
    analysis-load scale-factor refine-intra refine-inter qg-size recon-y4m-exec slices dhdr10-info
    dolby-vision-profile refine-mv refine-ctu-distortion force-flush refine-analysis-type max-ausize-factor atc-sei
    pic-struct nalu-file dolby-vision-rpu qp-adaptation-range dup-threshold svt-search-width svt-search-height
    svt-preset-tuner svt-hierarchical-level svt-base-layer-switch-mode svt-pred-struct hme-range abr-ladder
    min-vbv-fullness max-vbv-fullness
"""
OPTIONS = LongOptions(
    flags=frozenset(_FLAG_NAMES.split()), with_value=frozenset((*_VALUE_NAMES.split(), *option_names("x265")))
)
