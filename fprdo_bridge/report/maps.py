"""What drawings of weights share: colours, QP offsets; for `fprdo show` and for the page."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

from fprdo_bridge.native.picture import ONE, WeightedPicture
from fprdo_bridge.settings import IdseOptions
from fprdo_bridge.video.formats import VideoFormat

OCTAVES = 3  # the colour scale ends at 2^-3 and 2^3 times the mean
COLOURS = "inferno"
OPACITY = 0.75  # of the map over its picture


def octaves(plane: np.ndarray) -> np.ndarray:
    """Weights as powers of two: float (height, width), 0 for the mean, of uint16 weights with 8 fraction bits."""
    found: np.ndarray = np.log2(np.maximum(plane, 1) / ONE)
    return found


def qp_offsets(planes: Sequence[np.ndarray], fmt: VideoFormat, options: IdseOptions, block: int) -> list[list[int]]:
    """QP offsets that an encoder with these options takes from a map, a row of numbers for each row of blocks.

    Parameters
    ----------
    planes : uint16 pixel weights of shapes fmt.plane_shapes
    block : luma size of the quantisation groups
    """
    weighted = WeightedPicture(planes, {}, fmt, options)
    return [
        [weighted.qp_offset(x, y, block, block) for x in range(0, fmt.width, block)]
        for y in range(0, fmt.height, block)
    ]


@cache
def palette() -> np.ndarray:
    """The 256 colours of the scale from dark to bright, uint8 (256, 3)."""
    from matplotlib import colormaps

    colours: np.ndarray = np.round(colormaps[COLOURS](np.arange(256))[:, :3] * 255).astype(np.uint8)
    return colours


def coloured(plane: np.ndarray, picture: np.ndarray | None = None) -> np.ndarray:
    """A map in colours, uint8 (height, width, 3), over a pale grey picture where there is one.

    Parameters
    ----------
    plane : uint16 luma weights
    picture : uint8 (height, width, 3) of the same size
    """
    steps = (octaves(plane) + OCTAVES) * (255 / (2 * OCTAVES))
    colours = palette()[np.clip(np.round(steps), 0, 255).astype(np.uint8)]
    if picture is None:
        return colours
    grey = (picture.astype(float).mean(axis=2, keepdims=True) + 160) * (255 / 560)
    mixed: np.ndarray = np.round(OPACITY * colours + (1 - OPACITY) * grey).astype(np.uint8)
    return mixed
