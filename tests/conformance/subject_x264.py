"""x264 in the conformance suite."""

from functools import partial

from subject import Case, Encodes, Region, Shapes, Subject

from fprdo_bridge.encoders.x264 import X264
from fprdo_bridge.video.formats import VideoFormat

Case = partial(Case, frames_per_map=3, quantises=None)
CASES = {
    "intra": Case(136, 72, frames=2),
    "intra-placebo": Case(136, 72, frames=2, options={"preset": "placebo"}, value=22),
    "intra-ultrafast": Case(136, 72, frames=2, options={"preset": "ultrafast"}, decides=False),
    "intra-cavlc": Case(136, 72, frames=2, options={"no-cabac": "", "trellis": "2"}),
    "medium": Case(136, 88, kind="randomaccess", frames=10, rate="crf", value=26),
    "medium-4-threads": Case(136, 264, kind="randomaccess", frames=12, options={"threads": "4"}, rate="crf", value=26),
    "placebo-4-threads": Case(
        104, 264, kind="randomaccess", frames=6, options={"preset": "placebo", "threads": "4"}, value=30
    ),
    "placebo-aq": Case(
        104, 72, kind="randomaccess", frames=6, options={"preset": "placebo", "aq-mode": "2"}, rate="crf", value=26
    ),
    "ultrafast-4-threads": Case(
        136,
        264,
        kind="randomaccess",
        frames=12,
        options={"preset": "ultrafast", "threads": "4"},
        rate="crf",
        value=26,
        decides=False,
    ),
    "sliced": Case(
        136, 264, kind="randomaccess", frames=8, options={"threads": "4", "sliced-threads": ""}, rate="crf", value=26
    ),
    "sliced-lowdelay": Case(136, 264, kind="lowdelay", frames=6, options={"threads": "3", "sliced-threads": ""}),
    "slices": Case(136, 136, kind="lowdelay", frames=4, options={"slices": "3"}),
    "cavlc": Case(
        136, 72, kind="randomaccess", frames=8, options={"no-cabac": "", "preset": "slower"}, rate="crf", value=26
    ),
    "two-pass": Case(136, 88, kind="randomaccess", frames=12, rate="abr", value=200),
    "two-pass-no-mbtree": Case(
        136, 88, kind="randomaccess", frames=12, options={"no-mbtree": ""}, rate="abr", value=200
    ),
    "vbv": Case(
        136,
        88,
        kind="randomaccess",
        frames=12,
        options={"vbv-maxrate": "300", "vbv-bufsize": "150"},
        rate="crf",
        value=26,
    ),
    "psy-trellis": Case(
        136, 88, kind="randomaccess", frames=6, options={"preset": "slower", "psy-rd": "1:1"}, value=24
    ),
    "10-bit-psy-trellis": Case(
        104, 72, "420", 10, kind="randomaccess", frames=4, options={"preset": "placebo", "psy-rd": "1:1"}, value=22
    ),
    "noise-reduction": Case(136, 88, kind="randomaccess", frames=6, options={"nr": "500"}, rate="crf", value=26),
    "psy-aq": Case(136, 88, kind="randomaccess", frames=8, options={"tune": "film"}, rate="crf", value=26),
    "444": Case(104, 72, "444", kind="randomaccess", frames=6, options={"preset": "slow"}, rate="crf", value=26),
    "444-intra-cavlc": Case(101, 67, "444", options={"no-cabac": "", "preset": "placebo"}),
    "422": Case(104, 75, "422", kind="randomaccess", frames=6, options={"preset": "slower"}, rate="crf", value=26),
    "400": Case(101, 67, "400", kind="randomaccess", frames=6, rate="crf", value=26),
    "10-bit": Case(104, 72, "420", 10, kind="randomaccess", frames=6, options={"preset": "slow"}, rate="crf", value=26),
    "10-bit-444": Case(104, 72, "444", 10, kind="lowdelay", frames=4, options={"threads": "2"}, value=22),
    "10-bit-422-intra": Case(104, 72, "422", 10, options={"preset": "placebo"}, value=22),
    "weighted-prediction": Case(136, 72, kind="lowdelay", frames=5, options={"weightp": "2", "ref": "4"}),
    "intra-refresh": Case(
        136, 72, kind="lowdelay", frames=6, options={"intra-refresh": "", "keyint": "10"}, rate="crf", value=26
    ),
    "lossless": Case(104, 72, kind="randomaccess", frames=4, value=0, lossless=True),
    "custom-matrix": Case(104, 72, kind="randomaccess", frames=4, options={"cqm": "jvt", "trellis": "2"}),
    "tiny": Case(16, 16, kind="randomaccess", frames=3, rate="crf", value=26, differs=None, offsets=False),
}


def words(option: str, value: str) -> list[str]:
    return [f"--{option}", value]


SUBJECT = Subject(
    codec=X264,
    cases=CASES,
    settings=Encodes("randomaccess", 8, 24, {"preset": "slower"}),
    without_effect=("sao",),
    extreme_qps=(1, 51),
    group_options={},
    pixels_only=[{"trellis": "2"}],
    reordered=[Encodes("randomaccess", 6, 22, {"threads": "3", "b-adapt": "0"})],
    shared=Encodes("randomaccess", 6, 27, {"threads": "2"}),
    every_second=None,
    regions=[
        Region(qp, qp_map, {"preset": "slower"}, 0.9 if qp_map else 0.95, 1.003)
        for qp in (27, 37)
        for qp_map in (True, False)
    ],
    shapes=[
        Shapes(30, {"trellis": "2"} | options, 1.2)
        for options in ({}, {"no-cabac": ""}, {"no-8x8dct": ""}, {"no-8x8dct": "", "no-cabac": ""})
    ],
    limited=(VideoFormat(320, 240, "420", 10), Encodes("randomaccess", 6, 51, {"psy-rd": "1:0"})),
    words=words,
    said=lambda option, value: f"--{option} {value}: ",
    refused={("--interlaced",): "--idse-weights cannot be combined with interlaced coding; give --no-interlaced"},
    allowed={"interlaced": ""},
)
