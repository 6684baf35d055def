"""x265 in the conformance suite."""

from functools import partial

from subject import Case, Encodes, Region, Shapes, Subject

from fprdo_bridge.encoders.x265 import X265
from fprdo_bridge.video.formats import VideoFormat

Case = partial(Case, frames_per_map=3, quantises=None)
BUFFER = {"vbv-maxrate": "300", "vbv-bufsize": "150"}
THREADS = {"pools": "4", "frame-threads": "3"}
CASES = {
    "intra": Case(136, 72, frames=2),
    "intra-placebo": Case(136, 72, frames=2, options={"preset": "placebo", "tskip": ""}, value=22),
    "intra-ultrafast": Case(136, 72, frames=2, options={"preset": "ultrafast"}),
    "medium": Case(136, 88, kind="randomaccess", frames=10, rate="crf", value=26),
    "medium-4-threads": Case(136, 264, kind="randomaccess", frames=10, options=THREADS, rate="crf", value=26),
    "ultrafast-4-threads": Case(
        136, 264, kind="randomaccess", frames=10, options={"preset": "ultrafast", **THREADS}, rate="crf", value=26
    ),
    "slow": Case(104, 72, kind="randomaccess", frames=7, options={"preset": "slow"}, rate="crf", value=26),
    "placebo-4-threads": Case(
        104, 136, kind="randomaccess", frames=5, options={"preset": "placebo", **THREADS}, value=30
    ),
    "pmode": Case(
        136, 136, kind="randomaccess", frames=6, options={"pools": "4", "pmode": "", "pme": ""}, rate="crf", value=26
    ),
    "placebo-aq": Case(
        104, 72, kind="randomaccess", frames=6, options={"preset": "slower", "aq-mode": "2"}, rate="crf", value=26
    ),
    "psy": Case(
        104,
        72,
        kind="randomaccess",
        frames=6,
        options={"preset": "slow", "psy-rd": "2", "psy-rdoq": "1", "aq-mode": "1"},
        rate="crf",
        value=26,
    ),
    "slices": Case(136, 200, kind="lowdelay", frames=4, options={"slices": "3", **THREADS}),
    "two-pass": Case(136, 88, kind="randomaccess", frames=12, rate="abr", value=200),
    "two-pass-no-cutree": Case(
        136, 88, kind="randomaccess", frames=12, options={"no-cutree": ""}, rate="abr", value=200
    ),
    "vbv": Case(136, 88, kind="randomaccess", frames=12, options=BUFFER, rate="crf", value=26),
    "small-groups": Case(
        136, 88, kind="randomaccess", frames=6, options={"qg-size": "8", "rd": "5"}, rate="crf", value=26
    ),
    "small-ctus": Case(104, 72, kind="lowdelay", frames=4, options={"ctu": "16"}),
    "rd-refine": Case(
        104, 72, kind="lowdelay", frames=3, options={"rd": "6", "rd-refine": "", "opt-cu-delta-qp": "", "aq-mode": "1"}
    ),
    "rdoq-1": Case(136, 72, frames=2, options={"rdoq-level": "1"}, quantises=True),
    "rdoq-0": Case(136, 72, frames=2, options={"rdoq-level": "0"}, quantises=False),
    "transform-skip": Case(104, 72, kind="lowdelay", frames=3, options={"tskip": "", "rd": "6", "rdoq-level": "2"}),
    "noise-reduction": Case(
        136, 88, kind="randomaccess", frames=6, options={"nr-inter": "500", "nr-intra": "200"}, rate="crf", value=26
    ),
    "444": Case(104, 72, "444", kind="randomaccess", frames=6, options={"preset": "slow"}, rate="crf", value=26),
    "444-intra": Case(101, 67, "444", options={"preset": "placebo"}),
    "422": Case(104, 75, "422", kind="randomaccess", frames=6, options={"preset": "slower"}, rate="crf", value=26),
    "400": Case(101, 67, "400", kind="randomaccess", frames=6, rate="crf", value=26),
    "10-bit": Case(104, 72, "420", 10, kind="randomaccess", frames=6, options={"preset": "slow"}, rate="crf", value=26),
    "10-bit-444": Case(104, 72, "444", 10, kind="lowdelay", frames=4, options=THREADS, value=22),
    "10-bit-422-intra": Case(104, 72, "422", 10, options={"preset": "placebo"}, value=22),
    "10-bit-400": Case(104, 72, "400", 10, kind="lowdelay", frames=3),
    "weighted-prediction": Case(136, 72, kind="lowdelay", frames=5, options={"weightp": "", "ref": "4"}),
    "intra-refresh": Case(
        136, 72, kind="lowdelay", frames=6, options={"intra-refresh": "", "keyint": "10"}, rate="crf", value=26
    ),
    "lossless": Case(
        104, 72, kind="randomaccess", frames=4, options={"lossless": ""}, lossless=True, offsets=False, differs=None
    ),
    "cu-lossless": Case(104, 72, kind="lowdelay", frames=3, options={"cu-lossless": ""}, value=12),
    "tiny": Case(16, 16, kind="randomaccess", frames=3, rate="crf", value=26, differs=None, offsets=False),
}


def words(option: str, value: str) -> list[str]:
    return [f"--{option}", value]


SUBJECT = Subject(
    codec=X265,
    cases=CASES,
    settings=Encodes("randomaccess", 8, 24, {"preset": "slower"}),
    without_effect=(),
    extreme_qps=(1, 51),
    group_options={"qg-size": "16"},
    pixels_only=[{"rdoq-level": "2"}, {"rdoq-level": "1"}],
    reordered=[Encodes("randomaccess", 6, 22, {"pools": "4", "frame-threads": "3", "b-adapt": "0", "bframes": "3"})],
    shared=Encodes("randomaccess", 6, 27, {"pools": "2", "frame-threads": "2"}),
    every_second=None,
    regions=[
        Region(qp, qp_map, {"preset": "slower", "qg-size": "16"}, 0.9 if qp_map else 0.95, 1.003)
        for qp in (27, 37)
        for qp_map in (True, False)
    ],
    shapes=[Shapes(30, {"rdoq-level": "2"}, 1.2)],
    limited=(VideoFormat(320, 240), Encodes("randomaccess", 6, 51)),
    words=words,
    said=lambda option, value: f"--{option} {value}: ",
    refused={
        ("--interlace", "tff"): "--idse-weights cannot be combined with interlaced coding; give --interlace 0",
        ("--frame-dup",): "--idse-weights cannot be combined with --frame-dup; leave it out",
        ("--hevc-aq",): "--idse-weights cannot be combined with --hevc-aq, which leaves no place for its QP offsets; "
        "give --idse-qp-map 0 or leave out --hevc-aq",
    },
    allowed={"hevc-aq": ""},
)
