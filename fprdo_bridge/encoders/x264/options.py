"""The options of x264's command line (its x264.c), and those that `fprdo` refuses."""

from fprdo_bridge.encoders import options
from fprdo_bridge.encoders.options import InputFile, Rule
from fprdo_bridge.encoders.x26x import LongOptions
from fprdo_bridge.settings import option_names

RULES = (
    Rule("output dump-yuv", options.FILES),
    Rule("muxer stdout", "would write another kind of file; use -o FILE.mp4 or FILE.mkv"),
    Rule("demuxer stdin index input-fmt input-res", options.FILES),
    Rule("stats pass", "is what --rate-control abr takes for its two passes"),
    Rule("tcfile-out opencl-clbin", options.MORE_FILES),
    Rule("seek frames", options.PICTURES),
    Rule("fps tcfile-in timebase dts-compress", options.FRAME_RATE),
    Rule("pulldown", "would show pictures more than once; leave it out"),
    Rule("qp crf bitrate", options.RATE),
    Rule("qpfile", "would give pictures other QPs and types than -q and the configuration; leave it out"),
    Rule("vf video-filter", options.SAMPLES),
    Rule("crop-rect", options.CROP),
    Rule("input-csp output-csp", options.CHROMA),
    Rule("input-depth", options.SOURCE_DEPTH),
    Rule("output-depth", "is that of the source; for a picture use --bit-depth"),
    Rule("input-range range colorprim transfer colormatrix chromaloc alternative-transfer", options.COLOUR),
    Rule("sar", options.ASPECT),
    Rule("quiet log-level", options.LOG),
    Rule("help longhelp fullhelp version", "is no setting of an encode; leave it out"),
    Rule(" ".join(option_names("x264")), options.WEIGHTS),
)

INPUT_FILES = (InputFile("cqmfile"),)

_FLAG_NAMES = """
    help longhelp fullhelp version slow-firstpass no-b-adapt open-gop bluray-compat intra-refresh no-scenecut nf
    no-deblock interlaced tff bff no-interlaced constrained-intra cabac no-cabac no-asm opencl weightb no-weightb
    no-psy psy mixed-refs no-mixed-refs no-chroma-me 8x8dct no-8x8dct fast-pskip no-fast-pskip no-dct-decimate mbtree
    no-mbtree sliced-threads no-sliced-threads thread-input non-deterministic cpu-independent psnr ssim quiet verbose
    no-progress aud force-cfr pic-struct fake-interlaced dts-compress stitchable filler
"""
_VALUE_NAMES = """
    profile preset tune bitrate bframes b-adapt b-bias b-pyramid avcintra-class avcintra-flavor min-keyint keyint
    scenecut filter deblock qp qpmin qpmax qpstep crf rc-lookahead ref asm opencl-clbin opencl-device sar fps frames
    seek output muxer demuxer stdout stdin index analyse partitions direct weightp me merange mvrange mvrange-thread
    subme psy-rd trellis aq-strength aq-mode deadzone-inter deadzone-intra level ratetol vbv-maxrate vbv-bufsize
    vbv-init crf-max ipratio pbratio chroma-qp-offset pass stats qcomp qblur cplxblur zones qpfile threads
    lookahead-threads slice-max-size slice-max-mbs slice-min-mbs slices slices-max sync-lookahead log-level dump-yuv
    sps-id nr cqm cqmfile cqm4 cqm4i cqm4iy cqm4ic cqm4p cqm4py cqm4pc cqm8 cqm8i cqm8p overscan videoformat range
    colorprim transfer colormatrix chromaloc tcfile-in tcfile-out timebase crop-rect nal-hrd pulldown frame-packing
    mastering-display cll alternative-transfer vf video-filter input-fmt input-res input-csp input-depth output-depth
    output-csp input-range
"""
OPTIONS = LongOptions(
    flags=frozenset(_FLAG_NAMES.split()), with_value=frozenset((*_VALUE_NAMES.split(), *option_names("x264")))
)


def full_name(name: str) -> str:
    """The option that x264 takes a name for: getopt_long completes a beginning that only one option has. A beginning of
    several, which it refuses, comes back as it is, and so does an unknown name."""
    known = OPTIONS.flags | OPTIONS.with_value
    if name in known:
        return name
    completed = [option for option in known if option.startswith(name)]
    return completed[0] if len(completed) == 1 else name
