"""What to encode and how the weights are used: the same for every encoder."""

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from fractions import Fraction
from numbers import Integral, Rational
from pathlib import Path

from fprdo_bridge.errors import FprdoError
from fprdo_bridge.files import is_stream
from fprdo_bridge.settings import IdseOptions
from fprdo_bridge.text import printable
from fprdo_bridge.values import shown, whole_number
from fprdo_bridge.video.formats import VideoFormat

__all__ = ["PROVIDED", "RATE_KINDS", "EncodeJob", "IdseOptions", "Provided", "Rate"]


class Provided(Enum):
    """Weights that are no file: a provider gives them to an encoder that runs as a library (native/idse.h)."""

    PROVIDED = "provider"

    def __str__(self) -> str:
        return self.value


PROVIDED = Provided.PROVIDED

_MAX_FRAME_RATE = 10000
_LARGEST_DENOMINATOR = 1 << 16  # of a frame rate
_MIN_FRAME_RATE = Fraction(1, _LARGEST_DENOMINATOR)
_LONGEST_NAME, _LONGEST_OPTION = 100, 10000  # characters of an option and of its value


@dataclass(frozen=True)
class Rate:
    """What rules the rate of an encode.

    Parameters
    ----------
    kind : {"qp", "crf", "abr"}
        A quantisation parameter, a constant quality of the encoder's own scale, or an average bit rate in two passes.
        Not every encoder has all of them.
    value : int or float
        QP and kbit/s are whole numbers, a constant quality need not be one.

    Raises
    ------
    FprdoError
        Unknown kind, or a value that is no number of the kind. Whether the bit depth allows a QP is looked at by
        `checking.check`.
    """

    kind: str
    value: int | float

    def __post_init__(self) -> None:
        if self.kind not in RATE_KINDS:
            raise FprdoError(f"rate control {self.kind!r}: use one of {', '.join(RATE_KINDS)}")
        if self.kind == "crf":
            if (
                isinstance(self.value, bool)
                or not isinstance(self.value, (Integral, float))
                or not math.isfinite(self.value)
            ):
                raise FprdoError(f"CRF {shown(self.value)}: give a number")
            whole = float(self.value).is_integer()  # 27 and 27.0 are the same encode
            object.__setattr__(self, "value", int(self.value) if whole else float(self.value))
        else:
            what = "QP" if self.kind == "qp" else "bit rate"
            object.__setattr__(self, "value", whole_number(what, self.value))

    def __str__(self) -> str:
        return f"{self.value} kbit/s" if self.kind == "abr" else f"{self.kind.upper()} {self.value}"


RATE_KINDS = ("qp", "crf", "abr")


@dataclass(frozen=True)
class EncodeJob:
    """One encode.

    Parameters
    ----------
    source : Path
        Raw YUV of format `fmt` (video.raw).
    fmt : VideoFormat
        The visible format; odd sizes are allowed.
    frames : int
        Pictures to code, from the first of the source on.
    rate : Rate
    bitstream : Path
        Output; the encoder's log goes beside it, see `log`. The suffix .mp4 or .mkv asks for that container.
    config : tuple of Path
        Encoder configuration files, later ones override earlier ones; see `Codec.config`.
    recon : Path, optional
        Output: the encoder's reconstruction, of format `Codec.decoded_format(job)`. The suffix .y4m or that of a
        picture asks for such a file, all others get raw YUV.
    options : mapping, optional
        Further encoder options by name, such as {"SAO": "0"}, values as strings or numbers; they come last and override
        everything else.
    weights : Path or PROVIDED, optional
        Weight file (.idse). It describes the frames that the encoder gets: its size is that of `coded_format(fmt)`.
    idse : IdseOptions, optional
        Only used with `weights`.
    frame_rate : Fraction, int or float, optional
        Pictures per second, up to 10000; it becomes a Fraction whose denominator is at most 65536.
    portable : bool, optional
        Whether decisions must be the same on every machine, for encodes that are compared. It matters for encoders
        whose machine code for some processors decides otherwise, and costs them time.
    title : str, optional
        What messages call the source, such as the picture that it was made from; empty: its path.
    """

    source: Path
    fmt: VideoFormat
    frames: int
    rate: Rate
    bitstream: Path
    config: tuple[Path, ...]
    recon: Path | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    weights: Path | Provided | None = None
    idse: IdseOptions = IdseOptions()
    frame_rate: Fraction = Fraction(30)
    portable: bool = False
    title: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "title", self.title or str(self.source))
        if self.frames < 1:
            raise FprdoError(f"{self.frames} frames to encode: use 1 or more")
        if not isinstance(self.rate, Rate):
            raise FprdoError(f"rate {shown(self.rate)}: give a Rate, such as Rate('qp', 32)")
        if (
            isinstance(self.frame_rate, bool)
            or not isinstance(self.frame_rate, (Rational, float))
            or not _MIN_FRAME_RATE <= self.frame_rate <= _MAX_FRAME_RATE
        ):
            rate = self.frame_rate
            short = isinstance(rate, Fraction) and max(abs(rate.numerator), rate.denominator) < 1 << 32
            said = str(rate) if short else shown(rate)
            raise FprdoError(f"frame rate {said}: must be a number above 0, up to {_MAX_FRAME_RATE}")
        # Both numbers of a rate have 32 bits in a bitstream, where AVC doubles one of them.
        object.__setattr__(self, "frame_rate", Fraction(self.frame_rate).limit_denominator(_LARGEST_DENOMINATOR))
        if not isinstance(self.options, Mapping):
            raise FprdoError(f"encoder options {shown(self.options)}: give a mapping, like {{'SAO': '0'}}")
        object.__setattr__(self, "options", dict(_option(name, value) for name, value in self.options.items()))

    @property
    def log(self) -> Path | None:
        """Where the encoder's log goes: clip.264.log for clip.264; None where the bitstream goes into a device or
        pipe."""
        return None if is_stream(self.bitstream) else self.bitstream.with_name(f"{self.bitstream.name}.log")

    @property
    def weight_file(self) -> Path | None:
        """The weights, if they are a file."""
        return self.weights if isinstance(self.weights, Path) else None


def _option(name: object, value: object) -> tuple[str, str]:
    """An encoder option as text that a command line can hold; FprdoError for what is none."""
    if not isinstance(name, str) or printable(name) != name or len(name) > _LONGEST_NAME:
        raise FprdoError(f"encoder option {shown(name)}: give its name, like 'SAO'")
    name = str.__str__(name)
    if isinstance(value, bool) or not isinstance(value, (str, Integral, float)):
        raise FprdoError(
            f"encoder option {name}={shown(value)}: give a string or a number, such as 0 for off, 1 for on"
        )
    try:
        text = str.__str__(value) if isinstance(value, str) else str(value)
    except Exception:  # of a class of its own, or too large
        text = "\0"
    if len(text) > _LONGEST_OPTION or re.search("[\0-\x1f]", text) or not _encodes(text):
        raise FprdoError(
            f"encoder option {name}={shown(value)}: no command line can hold it; give a shorter, plain text"
        )
    return name, text


def _encodes(text: str) -> bool:
    try:
        os.fsencode(text)
    except UnicodeError:
        return False
    return True
