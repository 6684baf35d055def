"""Weights without a network: blocks with little texture count more, as the encoders' variance AQ has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fprdo_bridge.importance.weight_map import WeightMap
from fprdo_bridge.video.blocks import block_means

if TYPE_CHECKING:
    from fprdo_bridge.video.formats import Frame, VideoFormat

BLOCK = 16  # luma samples

# x264's aq-mode 1 at strength 1 adds 1.0397 log2(energy) to the QP of a macroblock, and our QP map subtracts
# 3 log2(weight): the same offsets, up to the mean, come from weights energy^-0.3466.
_EXPONENT = -1.0397 / 3


def variance_map(frame: Frame, fmt: VideoFormat) -> WeightMap:
    """The weight of a sample is energy^-0.3466 of its block, divided by the plane's mean.

    The energy of a block of 16x16 luma samples is the sum over its luma and chroma samples of the squared differences
    from the block's mean in their plane, in code values at 8 bits, and at least 1. A block that the border cuts counts
    as a whole one.

    Parameters
    ----------
    frame : integer planes, shapes fmt.plane_shapes

    Returns
    -------
    WeightMap without transform shapes, plane_gain 1
    """
    height, width = fmt.plane_shapes[0]
    rows, columns = -(-height // BLOCK), -(-width // BLOCK)
    energy = np.zeros((rows, columns))
    for plane in frame:
        sides = BLOCK * plane.shape[0] // height, BLOCK * plane.shape[1] // width
        energy += _variances(plane / 2.0 ** (fmt.bit_depth - 8), *sides) * (sides[0] * sides[1])
    weights = np.maximum(energy, 1.0) ** _EXPONENT
    planes = []
    for shape in fmt.plane_shapes:
        sides = BLOCK * shape[0] // height, BLOCK * shape[1] // width
        plane = weights.repeat(sides[0], axis=0).repeat(sides[1], axis=1)[: shape[0], : shape[1]]
        planes.append((plane / plane.mean()).astype(np.float32))
    return WeightMap(tuple(planes), {}, (1.0,) * len(planes))


def _variances(plane: np.ndarray, down: int, across: int) -> np.ndarray:
    """Of each block of `down` x `across` samples, those at the border cut."""
    means, squares = (block_means(values, down, across) for values in (plane, plane * plane))
    variances: np.ndarray = np.maximum(squares - means**2, 0.0)
    return variances
