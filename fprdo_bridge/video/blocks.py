"""Planes in blocks."""

import numpy as np


def block_means(plane: np.ndarray, height: int, width: int | None = None) -> np.ndarray:
    """Means over blocks; one that the right or lower border cuts has the mean of what it holds.

    Parameters
    ----------
    plane : (rows, columns) of any real type
    height, width : of a block, in samples; square where no width is given

    Returns
    -------
    float64 (ceil(rows / height), ceil(columns / width))
    """
    tops, lefts = (np.arange(0, side, step) for side, step in zip(plane.shape, (height, width or height)))
    sums = np.add.reduceat(np.add.reduceat(np.asarray(plane, np.float64), tops, axis=0), lefts, axis=1)
    heights, widths = (np.diff([*starts, side]) for starts, side in zip((tops, lefts), plane.shape))
    means: np.ndarray = sums / np.outer(heights, widths)
    return means
