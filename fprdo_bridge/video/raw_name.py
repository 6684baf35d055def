"""What the name of a raw file says about its samples.

A raw file has no header, so its name is all there is. The words are those that FFmpeg, GStreamer, YUView and the clips
of JCT-VC and JVET use; they stand between characters that are neither letters nor digits, or begin with a capital.
A word that would change how samples are read is understood or refused, so that a file is never misread in silence.
Other words belong to the title.
"""

import os
import re
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from fprdo_bridge.errors import FprdoError
from fprdo_bridge.video.raw_layout import PLANAR, RawLayout

_SITINGS = {"jpeg": "center", "mpeg2": "left", "paldv": "topleft"}
_SWAPPED = RawLayout(cr_first=True)
_PAIRS, _SWAPPED_PAIRS = RawLayout("semiplanar"), RawLayout("semiplanar", cr_first=True)

# Words of one meaning -> chroma format, bit depth, layout. P010 and its like may be followed by le or be.
_FORMATS: dict[str, tuple[str, int, RawLayout]] = {
    "i420": ("420", 8, PLANAR),
    "iyuv": ("420", 8, PLANAR),
    "yu12": ("420", 8, PLANAR),
    "i422": ("422", 8, PLANAR),
    "yu16": ("422", 8, PLANAR),
    "y42b": ("422", 8, PLANAR),
    "i444": ("444", 8, PLANAR),
    "yu24": ("444", 8, PLANAR),
    "y444": ("444", 8, PLANAR),
    "i400": ("400", 8, PLANAR),
    "y800": ("400", 8, PLANAR),
    "y8": ("400", 8, PLANAR),
    "y16": ("400", 16, PLANAR),
    "yv12": ("420", 8, _SWAPPED),
    "yv16": ("422", 8, _SWAPPED),
    "yv24": ("444", 8, _SWAPPED),
    "nv12": ("420", 8, _PAIRS),
    "nv16": ("422", 8, _PAIRS),
    "nv24": ("444", 8, _PAIRS),
    "nv20": ("422", 10, _PAIRS),
    "nv21": ("420", 8, _SWAPPED_PAIRS),
    "nv61": ("422", 8, _SWAPPED_PAIRS),
    "nv42": ("444", 8, _SWAPPED_PAIRS),
    **{word: ("422", 8, RawLayout("yuyv")) for word in ("yuyv", "yuy2", "yunv", "yuyv422")},
    **{word: ("422", 8, RawLayout("uyvy")) for word in ("uyvy", "uynv", "y422", "2vuy", "uyvy422")},
    **{word: ("422", 8, RawLayout("yvyu")) for word in ("yvyu", "yvyu422")},
    **{word: ("422", 8, RawLayout("vyuy")) for word in ("vyuy", "vyuy422")},
    **{
        f"{family}{code}{depth}": (chroma, depth, layout)
        for family, layout in (("i", PLANAR), ("p", RawLayout("semiplanar", high_bits=True)))
        for code, chroma in (("0", "420"), ("2", "422"), ("4", "444"))
        for depth in (10, 12, 16)
    },
    **{f"y2{depth}": ("422", depth, RawLayout("yuyv", high_bits=True)) for depth in (10, 12, 16)},
}
_MATRICES = {
    **dict.fromkeys(("bt601", "rec601", "smpte170m", "bt470bg"), "bt601"),
    **dict.fromkeys(("bt709", "rec709"), "bt709"),
    **dict.fromkeys(("bt2020", "bt2020nc", "bt2020ncl", "rec2020", "ct2020"), "bt2020"),
}
_RANGES = {"fullrange": True, "limitedrange": False, "videorange": False, "narrowrange": False}
_ORDERS = {
    "planar": ("planar",),
    "semiplanar": ("semiplanar",),
    **dict.fromkeys(("packed", "interleaved"), ("yuyv", "uyvy", "yvyu", "vyuy")),
}

_CONVERT = "convert it to planar Y'CbCr, such as yuv420p or yuv444p10le"
# Words that are refused, what they mean, and the remedy. The last row is what looks like a pixel format but is unknown.
_REFUSED = [
    (r"(?:gbr|gbra|[ax]?rgb|[ax]?bgr|rgb[ax0]|bgr[ax0])(?:a?p)?f?\d*(?:le|be)?", "R'G'B' samples", _CONVERT),
    (r"xyz\d+(?:le|be)?", "XYZ samples", _CONVERT),
    (r"bayer\w*", "a colour filter array", _CONVERT),
    (r"yuva\w*|ayuv\w*|vuya\w*|vuyx\w*", "an alpha plane", _CONVERT),
    (
        r"interlaced|tff|bff|uvi|(?:480|576|720|1080)i\d*|(?:25|30|50|60|4[024][024])i",
        "fields",
        "convert it to progressive frames",
    ),
    (
        r"pq|hlg|hdr|hdr10\w*|(?:smpte)?(?:st)?2084|b67|(?:bt|rec)2100\w*|dovi",
        "an HDR transfer function",
        "convert it to SDR, or take the word out of the name to code the samples as if they were",
    ),
    (r"(?:bt|rec)2020cl?", "constant luminance", "convert it to BT.2020 non-constant luminance"),
    (r"tiled|msb", "a layout that is not read here", _CONVERT),
    (
        r"(?:yuv|yvu|yuy|uyv|yvy|vyu|ycbcr|ycrcb)\w+|nv\d\d\w*|yv\d\d\w*|[pi][024]1\d\w*|p1[0-6](?:le|be)?|y[24]?1\d\w*"
        r"|v(?:210|216|308|408|410)\w*|xv\d\d\w*|y41[1bp]|4(?:10|11|40)p\w*|gr[ae]yf?\d+\w*"
        r"|4[024][024](?:p\d+\w*|sp\w*|1\d[lb]e)|yu\d\d\w*|imc[1-4]",
        "an unknown pixel format",
        _CONVERT,
    ),
]

_LARGEST_RATE = 480
_FPS = re.compile(
    r"(?<![\dx.])(\d+(?:\.\d+)?)[-_ ]?(?:fps|hz)(?![a-z\d])"
    r"|(?<![a-z\d])fps[-_ ]?(\d+(?:\.\d+)?)(?![a-z\d])"
)
_BITS = re.compile(r"(?<![\d.])(\d+)[-_ ]?(?:bits?|bpc)(le|be)?(?![a-z])")
_SIZE = re.compile(r"(?<!\d)([1-9]\d*)x([1-9]\d*)(?!\d)(i\d*(?![a-z\d]))?")
# What may follow a size: _50, p50, p_50, _29.97, _50hz, and with a depth _60_10 and _60_10b. The rate of _50.420
# ends before the point.
_AFTER_SIZE = re.compile(
    r"p?[-_. ]?([1-9]\d*(?:\.(?!4[024][024](?!\d))\d{1,3})?)(?:p|hz)?(?![a-z\d])"
    r"(?:[-_. ](8|9|1[0-6])b?(?![a-z\d]))?"
)
_LARGEST_BARE_RATE = 240  # a larger number after a size counts frames, or is a chroma format


@dataclass(frozen=True)
class RawName:
    """What a name says; None where it says nothing.

    Attributes
    ----------
    sizes : (width, height) of each size in the name, without repetitions
    layout : how the samples lie; a byte order means nothing to samples of 8 bits
    """

    sizes: tuple[tuple[int, int], ...]
    layout: RawLayout
    chroma: str | None
    bit_depth: int | None
    matrix: str | None
    full_range: bool | None
    siting: str | None
    frame_rate: Fraction | None


def read_name(path: str | os.PathLike[str], bit_depth: int | None = None) -> RawName:
    """Read a name such as `clip_416x240_30fps_10bit_422.yuv`, `Cactus_1920x1080_50.yuv` or `foreman_352x288_nv12.yuv`.

    Parameters
    ----------
    bit_depth : what the user says; it tells a rate from a depth in `clip_416x240_10.yuv`

    Raises
    ------
    FprdoError
        Words contradict each other, or say something that is not read here.
    """
    facts = _Facts(path)
    text = _joined(Path(path).stem)
    lower = "".join(c.lower() if len(c.lower()) == 1 else c for c in text)  # of the same length
    spent = []
    for match in _FPS.finditer(lower):
        facts.rate(Fraction(match[1] or match[2]), match[0])
        spent.append(match.span())
    for match in _BITS.finditer(lower):
        facts.say("bit_depth", int(match[1]), match[0])
        facts.byte_order(match[2], match[0])
        spent.append(match.span())
    sizes = list(_SIZE.finditer(lower))
    alone = None
    for match in sizes:
        spent.append(match.span())
        if match[3]:
            _refuse("interlaced", facts, match[0])
        after = _AFTER_SIZE.match(lower, match.end())
        if (
            after is None
            or Fraction(after[1]) > _LARGEST_BARE_RATE
            or any(start <= after.start(1) < end for start, end in spent)
        ):
            continue
        spent.append(after.span())
        if after[2]:
            facts.say("bit_depth", int(after[2]), after[0])
        if after[2] or after[1] not in ("8", "9", "10", "12", "14", "16"):
            facts.rate(Fraction(after[1]), after[0])
        else:
            alone = int(after[1])
    title_end = sizes[0].start() if sizes else 0
    for start, end in spent:
        text = text[:start] + " " * (end - start) + text[end:]
    for match in re.finditer(r"[^\W_]+", text):
        in_title = match.start() < title_end
        if not _understand(match[0].lower(), facts, in_title):
            for part in re.split(r"(?<=[a-z])(?=[A-Z])", match[0]):
                _understand(part.lower(), facts, in_title)
    if alone is not None:
        _resolve(alone, facts, bit_depth)
    return RawName(
        tuple(dict.fromkeys((int(match[1]), int(match[2])) for match in sizes)),
        _layout(facts),
        *map(facts.get, ("chroma", "bit_depth", "matrix", "full_range", "siting", "frame_rate")),
    )


def rate_in_name(path: str | os.PathLike[str]) -> Fraction | None:
    """Frames per second of a name such as `clip_30fps.y4m`; else None."""
    match = _FPS.search(Path(path).stem.lower())
    rate = Fraction(match[1] or match[2]) if match else Fraction(0)
    return rate if 0 < rate <= _LARGEST_RATE else None


class _Facts:
    """What the words of one name say, and which word said it."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = path
        self.facts: dict[str, tuple[Any, str]] = {}

    def get(self, what: str) -> Any:
        return self.facts[what][0] if what in self.facts else None

    def word(self, what: str) -> str:
        return self.facts[what][1]

    def say(self, what: str, value: object, word: str) -> None:
        """Note a fact; FprdoError if another word says otherwise."""
        word = word.strip("-_. ")
        if self.facts.setdefault(what, (value, word))[0] != value:
            raise self.contradiction(self.word(what), word)

    def byte_order(self, order: str | None, word: str) -> None:
        if order:
            self.say("big_endian", order == "be", word)

    def rate(self, value: Fraction, word: str) -> None:
        if not 0 < value <= _LARGEST_RATE:
            raise FprdoError(
                f"{self.path}: {word.strip('-_. ')} in its name is no frame rate; write 1fps to "
                f"{_LARGEST_RATE}fps, or take it out and use --frame-rate"
            )
        self.say("frame_rate", value, word)

    def contradiction(self, one: str, other: str) -> FprdoError:
        return FprdoError(f"{self.path}: its name says both {one} and {other}; leave one of them in it")


def _joined(stem: str) -> str:
    """The name with words in one piece that are also written in several, such as 4:2:0, big-endian and BT.709."""
    stem = re.sub(r"(semi|big|little|full|limited|video|narrow)[-_. ](planar|endian|range)", r"\1\2", stem, flags=re.I)
    stem = re.sub(r"(?<![^\W_])(bt|rec)[-_. ](601|709|2020|2100)(?!\d)", r"\1\2", stem, flags=re.I)
    return re.sub(r"(?<!\d)4([-_:. ])([0-4])\1([0-4])(?!\d)", r" 4\2\3 ", stem)


def _understand(word: str, facts: _Facts, in_title: bool) -> bool:
    """Note what a word says; False if it says nothing. FprdoError if it says what is not read here."""
    base, order = word, None
    if word[-2:] in ("le", "be") and _FORMATS.get(word[:-2], ("", 8, PLANAR))[1] > 8:
        base, order = word[:-2], word[-2:]
    if base in _FORMATS:
        chroma, depth, layout = _FORMATS[base]
        facts.say("chroma", chroma, word)
        facts.say("bit_depth", depth, word)
        facts.say("layout", layout, word)
        facts.byte_order(order, word)
    elif match := re.fullmatch(
        r"(yuvj?|yvu|ycbcr|p|)(400|420|422|444)(p|jpeg|mpeg2|paldv|)(8|9|1[0-6]|)(le|be|)", word
    ):
        family, chroma, kind, bits, order = match.groups()
        if not family and bits and kind != "p":
            return _refuse(word, facts)
        facts.say("chroma", chroma, word)
        if kind == "p" or family == "yvu":
            facts.say("layout", _SWAPPED if family == "yvu" else PLANAR, word)
        if kind in _SITINGS:
            facts.say("siting", _SITINGS[kind], word)
        if family == "yuvj":
            facts.say("full_range", True, word)
        if bits:
            facts.say("bit_depth", int(bits), word)
        facts.byte_order(order, word)
    elif match := re.fullmatch(r"(?:gr[ae]y(?:scale)?|mono(?:chrome)?|luma|yonly)(8|9|1[0-6]|)(le|be|)", word):
        facts.say("chroma", "400", word)
        if match[1]:
            facts.say("bit_depth", int(match[1]), word)
        facts.byte_order(match[2], word)
    elif match := re.fullmatch(r"(8|9|1[0-6])(b|le|be)", word):
        facts.say("bit_depth", int(match[1]), word)
        facts.byte_order(match[2] if match[2] != "b" else None, word)
    elif word in ("le", "be") and not in_title or word in ("littleendian", "bigendian"):
        facts.say("big_endian", word.startswith("b"), word)
    elif word in _MATRICES:
        facts.say("matrix", _MATRICES[word], word)
    elif word in _RANGES:
        facts.say("full_range", _RANGES[word], word)
    elif word in _ORDERS:
        facts.say("orders", _ORDERS[word], word)
    elif match := re.fullmatch(r"(?:480|576|720|1080|1440|2160)p(\d{2,3})|(24|25|30|48|50|60|100|120)p", word):
        facts.rate(Fraction(match[1] or match[2]), word)
    else:
        return _refuse(word, facts)
    return True


def _refuse(word: str, facts: _Facts, written: str | None = None) -> bool:
    for pattern, what, remedy in _REFUSED:
        if re.fullmatch(pattern, word):
            raise FprdoError(f"{facts.path}: {written or word} in its name means {what}; {remedy}")
    return False


def _resolve(number: int, facts: _Facts, bit_depth: int | None) -> None:
    """A number alone after the size is the rate, but 10 may be the bit depth as well."""
    if facts.get("bit_depth") is not None or bit_depth not in (None, number):
        facts.rate(Fraction(number), str(number))
    elif facts.get("frame_rate") is not None or bit_depth == number or number == 8:
        facts.say("bit_depth", number, str(number))
    else:
        raise FprdoError(
            f"{facts.path}: {number} in its name may be the frame rate or the bit depth; "
            f"give --bit-depth, or write {number}fps or {number}bit in the name"
        )


def _layout(facts: _Facts) -> RawLayout:
    layout: RawLayout = facts.get("layout") or PLANAR
    orders = facts.get("orders")
    if orders and layout.order not in orders:
        if facts.get("layout"):
            raise facts.contradiction(facts.word("layout"), facts.word("orders"))
        raise FprdoError(
            f"{facts.path}: {facts.word('orders')} in its name does not say in which order samples lie; "
            "write a word such as nv12, yuyv or uyvy, or convert it to planar samples"
        )
    return replace(layout, big_endian=bool(facts.get("big_endian")))
