"""What the caller's functions get: the picture that begins, and the block whose distortion is asked for."""

from dataclasses import dataclass

import numpy as np

from fprdo_bridge.video.formats import VideoFormat


@dataclass(frozen=True)
class Picture:
    """A picture that an encoder is about to code.

    Attributes
    ----------
    poc : number in output order, 0 for the first
    frame : number of its source frame among those that are coded, 0 for the first
    fmt : what the encoder codes: sides rounded up where the chroma format asks for it (`coded_format`)
    """

    poc: int
    frame: int
    fmt: VideoFormat


@dataclass(frozen=True)
class Block:
    """A block whose distortion is asked for.

    Attributes
    ----------
    decision : 1 intra, 2 inter skip, 4 inter residual, 8 inter, as in IDSEDecisions
    component : 0 Y, 1 Cb, 2 Cr
    x, y : column and row of its first sample in that component
    original, coded : read-only (height, width) views of the encoder's memory, of dtype uint8, uint16, int16 or int32,
        valid during the call only; in HM's trials of inter transform units (decision 4) residuals
    bit_depth : of the samples, 8 to 16
    """

    decision: int
    component: int
    x: int
    y: int
    original: np.ndarray
    coded: np.ndarray
    bit_depth: int
