"""What the conformance suite has to know of an encoder. A new encoder brings a module subject_NAME with a SUBJECT."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from fprdo_bridge.encoders import ENCODERS
from fprdo_bridge.encoders.codec import Codec
from fprdo_bridge.video.formats import VideoFormat


@dataclass(frozen=True)
class Case:
    """A configuration in which weights of 1.0 must leave the stock encoder's bitstream.

    Attributes
    ----------
    width, height, chroma, depth : of the pictures
    kind : coding structure
    frames : pictures to code
    options : of the encoder
    rate, value : kind and value of the rate control
    frames_per_map : pictures that share a map
    qp_map : False where the encoder refuses a QP map
    qp_map_clip : largest QP offset of the random weights
    lossless : the reconstruction is the source, whatever the weights
    decides : whether mode decisions ask for a distortion
    quantises : whether RDOQ runs; None where it does not matter
    offsets : whether the random weights give QP offsets of several values
    differs : whether the random weights change the bitstream; None where they may or not
    libav : whether libavcodec decodes it, for formats that it knows
    """

    width: int
    height: int
    chroma: str = "420"
    depth: int = 8
    kind: str = "intra"
    frames: int = 1
    options: Mapping[str, str] = field(default_factory=dict)
    rate: str = "qp"
    value: float = 27
    frames_per_map: int = 1
    qp_map: bool = True
    qp_map_clip: int = 12
    lossless: bool = False
    decides: bool = True
    quantises: bool | None = True
    offsets: bool = True
    differs: bool | None = True
    libav: bool = True

    @property
    def fmt(self) -> VideoFormat:
        return VideoFormat(self.width, self.height, self.chroma, self.depth)


@dataclass(frozen=True)
class Encodes:
    """How the encoder is run where a test is about the weights: coding structure, frames, QP, options."""

    kind: str = "intra"
    frames: int = 1
    qp: int = 27
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Region:
    """A region of twice the weight: `region` is the largest share of its error that may be left, `rest` the smallest
    share of the error elsewhere, both of the stock encoder's, at the rate within 5 %."""

    qp: int
    qp_map: bool
    options: Mapping[str, str]
    region: float
    rest: float


@dataclass(frozen=True)
class Shapes:
    """Shapes that favour an orientation: how many times the energy of its errors grows, at the least, with shapes that
    favour the other one."""

    qp: int
    options: Mapping[str, str]
    gain: float


@dataclass(frozen=True)
class Subject:
    """An encoder under test.

    Attributes
    ----------
    codec : what the package knows of it
    cases : configurations by name
    settings : an encode in which each setting of the weights changes something
    without_effect : settings that change nothing in it, since the standard or the encoder has no such tool
    extreme_qps : smallest and largest QP at which lossy coding has a range for offsets, of 8 bits
    group_options : that give the QP map small groups
    pixels_only : options under which RDOQ with mean weights and with shapes that are not there are the same
    reordered : encodes that code several pictures, those of random access not in output order
    shared : an encode of an even number of pictures
    every_second : options that code every second picture; None where there are none
    regions : what a region of twice the weight must gain
    shapes : what shapes that favour an orientation must gain
    limited : format and encode of black and white noise whose distortions are more than the encoder's costs hold; None
        where they hold all
    words : (option of a setting, value) -> words of the command line
    said : (option of a setting, value) -> how a message about it begins
    refused : words of the command line with which weights cannot be combined, and the message
    allowed : options that are refused with weights, and without them give the stock bitstream
    """

    codec: Codec
    cases: Mapping[str, Case]
    settings: Encodes
    without_effect: Sequence[str]
    extreme_qps: tuple[int, int]
    group_options: Mapping[str, str]
    pixels_only: Sequence[Mapping[str, str]]
    reordered: Sequence[Encodes]
    shared: Encodes
    every_second: Mapping[str, str] | None
    regions: Sequence[Region]
    shapes: Sequence[Shapes]
    limited: tuple[VideoFormat, Encodes] | None
    words: Callable[[str, str], list[str]]
    said: Callable[[str, str], str]
    refused: Mapping[tuple[str, ...], str]
    allowed: Mapping[str, str]


def subject(name: str) -> Subject:
    """The subject of an encoder that the package knows."""
    found = importlib.import_module(f"subject_{name}").SUBJECT
    assert isinstance(found, Subject)
    return found


SUBJECTS = {name: subject(name) for name in ENCODERS}
