"""Weight maps: how much an error in each sample, and at each frequency of each block, moves a network's features."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from numbers import Real
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from fprdo_bridge.errors import FprdoError
from fprdo_bridge.importance.device import exact_arithmetic, wide
from fprdo_bridge.importance.extractors import Extractor
from fprdo_bridge.importance.memory import reused_memory
from fprdo_bridge.importance.ranges import check_count, check_deviation, check_sketch_numbers
from fprdo_bridge.importance.sketch import DEFAULT_JITTER, DEFAULT_PROBES, DEFAULT_TILE_SAMPLES, sketch_gradients
from fprdo_bridge.importance.weight_map import TRANSFORM_SIZES, Layout, WeightMap
from fprdo_bridge.values import shown
from fprdo_bridge.video.colour import float_planes
from fprdo_bridge.video.formats import VideoFormat

if TYPE_CHECKING:
    from fprdo_bridge.video.formats import Frame

# Against the map of 48 further probes, a deviation of 2 samples lowers the RMS error of 16 probes' pixel weights from
# 0.57 to 0.38 and that of their 8x8 means from 0.17 to 0.15 (luma); values from 1.5 to 4 do about the same.
DEFAULT_SMOOTH = 2.0

# A plane whose mean squared gradient is this small beside the largest is seen by the features only through rounding.
_UNSEEN = 1e-12


def compute_map(
    frame: Frame,
    fmt: VideoFormat,
    extractor: Extractor,
    *,
    probes: int = DEFAULT_PROBES,
    seed: int = 0,
    jitter: float = DEFAULT_JITTER,
    signs_per_noise: int = 1,
    transform_sizes: Sequence[int] = TRANSFORM_SIZES,
    smooth: float = DEFAULT_SMOOTH,
    shrink: float | None = None,
    tile_samples: int = DEFAULT_TILE_SAMPLES,
    progress: Callable[[float], None] | None = None,
) -> WeightMap:
    """Compute the weight map of one picture.

    The weight of a sample is the mean over the probes of its squared sketch gradient, smoothed, divided by the plane's
    mean. The transform shape of an N x N block is the mean over the probes of its squared orthonormal DCT-II
    coefficients, divided by the block's mean and shrunk towards the plane's mean shape. Where the extractor looks at
    several scales, planes, shapes and plane_gain are the means of those of each scale alone.

    Parameters
    ----------
    frame : integer planes, shapes fmt.plane_shapes
    probes : sketches for each scale, at least 1
    seed, jitter, signs_per_noise, tile_samples : see `sketch_gradients`
    transform_sizes : block sizes N of the transform shapes, from 4, 8, 16, 32; may be empty
    smooth : standard deviation of the Gaussian that smooths the pixel weights, in samples of their plane; 0 for none
    shrink : how much of a block's shape is the plane's mean shape, 0 to 1; None estimates it, see `_block_shapes`
    progress : called with the share that is done, 0 to 1, after each probe

    Returns
    -------
    WeightMap. A plane on which the features do not depend gets weights 1 and plane_gain 0.

    Raises
    ------
    FprdoError
        An argument is out of range, or the extractor fails or returns NaN or infinity.
    """
    _check_source(frame, fmt, extractor)
    check_sketch_numbers(probes, seed, jitter, signs_per_noise)
    check_deviation("smooth", smooth)
    check_count("tile samples", tile_samples)
    if shrink is not None and (isinstance(shrink, bool) or not isinstance(shrink, Real) or not 0 <= shrink <= 1):
        raise FprdoError(f"shrink {shown(shrink)}: use 0 (each block's own shape) to 1 (one shape for the plane)")
    transform_sizes = Layout.of(fmt, transform_sizes).transform_sizes
    parts = extractor.parts
    maps: _Tensors | None = None
    with reused_memory(), exact_arithmetic(extractor.device):
        planes = [plane.to(extractor.device) for plane in float_planes(frame)]
        for number, part in enumerate(parts):

            def done(probe: int, before: int = number * probes) -> None:
                if progress:
                    progress((before + probe) / (len(parts) * probes))

            gradients = sketch_gradients(
                part,
                planes,
                fmt,
                probes=probes,
                seed=seed,
                jitter=jitter,
                signs_per_noise=signs_per_noise,
                tile_samples=tile_samples,
            )
            one = _one_scale(gradients, part, planes, probes, transform_sizes, smooth, shrink, done)
            maps = maps.plus(one) if maps else one
        assert maps is not None  # there is a scale
        return maps.mean(len(parts))


class _Tensors(NamedTuple):
    """What a `WeightMap` holds, on the extractor's device, summed over scales."""

    planes: list[Tensor]
    shapes: dict[int, list[Tensor]]
    plane_gain: list[float]

    def plus(self, other: _Tensors) -> _Tensors:
        for mine, others in ((self.planes, other.planes), *((self.shapes[n], other.shapes[n]) for n in self.shapes)):
            for target, more in zip(mine, others):
                target.add_(more)
        return self._replace(plane_gain=[a + b for a, b in zip(self.plane_gain, other.plane_gain)])

    def mean(self, count: int) -> WeightMap:
        """Planes and blocks keep their mean of 1."""

        def arrays(tensors: Sequence[Tensor]) -> tuple[np.ndarray, ...]:
            return tuple(tensor.div_(count).cpu().numpy() for tensor in tensors)

        return WeightMap(
            arrays(self.planes),
            {n: arrays(shapes) for n, shapes in self.shapes.items()},
            tuple(gain / count for gain in self.plane_gain),
        )


def _check_source(frame: object, fmt: object, extractor: object) -> None:
    if not isinstance(fmt, VideoFormat):
        raise FprdoError(f"format {shown(fmt)}: give a VideoFormat")
    if not isinstance(extractor, Extractor):
        raise FprdoError(f"extractor {shown(extractor)}: give an Extractor, such as load_extractor() returns")
    if not isinstance(frame, (tuple, list)) or not all(
        isinstance(plane, np.ndarray) and plane.dtype.kind in "uif" for plane in frame
    ):
        raise FprdoError(f"frame {shown(frame)}: give a tuple of NumPy arrays, one per plane, such as (y, cb, cr)")


def _one_scale(
    sketches: Iterator[list[Tensor]],
    extractor: Extractor,
    planes: Sequence[Tensor],
    probes: int,
    transform_sizes: Sequence[int],
    smooth: float,
    shrink: float | None,
    done: Callable[[int], None],
) -> _Tensors:
    squares = [torch.zeros_like(plane) for plane in planes]
    # Two accumulators, for the first and the second half of the probes: what differs between them is estimation noise.
    spectra = {
        n: [[plane.new_zeros(_whole_blocks(plane.shape, n)) for plane in planes] for _ in range(2)]
        for n in sorted(set(transform_sizes))
    }
    for k, gradients in enumerate(sketches):
        for c, gradient in enumerate(gradients):
            squares[c].addcmul_(gradient, gradient)
            for n, halves in spectra.items():
                coefficients = block_dct(gradient, n)
                halves[2 * k // probes][c].addcmul_(coefficients, coefficients)
        done(k + 1)
    means = [wide(square).mean().item() / probes for square in squares]
    if not all(mean < math.inf for mean in means):
        raise FprdoError(f"extractor {extractor.name} has NaN or infinite derivatives here: check its layers")
    for c, mean in enumerate(means):
        if mean <= _UNSEEN * max(means):
            means[c] = 0.0
            for accumulator in (squares, *(half for halves in spectra.values() for half in halves)):
                accumulator[c].fill_(1)
    pixel = [_smoothed(square, smooth) for square in squares]
    shapes = {
        n: [_block_shapes(first, second, n, shrink) for first, second in zip(*halves)] for n, halves in spectra.items()
    }
    return _Tensors(
        [(plane / wide(plane).mean()).float() for plane in pixel],
        shapes,
        [mean / (means[0] or max(means) or 1.0) for mean in means],
    )


def block_dct(plane: Tensor, n: int) -> Tensor:
    """Orthonormal DCT-II of the n x n blocks of a plane (h, w), in place of the blocks.

    The grid starts at the plane's origin; partial blocks at the right and the bottom are completed by reflection.
    Returns (ceil(h/n) n, ceil(w/n) n): vertical frequency v, horizontal frequency u of block (by, bx) at
    [by n + v, bx n + u].
    """
    rows, columns = _whole_blocks(plane.shape, n)
    if (rows, columns) != plane.shape:
        down, across = (_reflected(0, *sides).to(plane.device) for sides in zip((rows, columns), plane.shape))
        plane = plane[down][:, across]
    basis = _dct_basis(n).to(plane.device)
    vertical = torch.matmul(basis, plane.reshape(rows // n, n, columns))
    return torch.matmul(vertical.reshape(rows, columns // n, n), basis.T).reshape(rows, columns)


def _dct_basis(n: int) -> Tensor:
    """Row u: sqrt((2 - [u = 0]) / n) cos(pi (2 x + 1) u / (2 n))."""
    u, x = torch.arange(n, dtype=torch.float64)[:, None], torch.arange(n, dtype=torch.float64)[None, :]
    basis = torch.cos(math.pi * (2 * x + 1) * u / (2 * n)) * math.sqrt(2 / n)
    basis[0] /= math.sqrt(2)
    return basis.float()


def _whole_blocks(shape: Sequence[int], n: int) -> tuple[int, int]:
    return -(-shape[0] // n) * n, -(-shape[1] // n) * n


def _reflected(start: int, stop: int, size: int) -> Tensor:
    """Indices start..stop-1 folded into 0..size-1, border samples repeated: 1 0 | 0 1 .. size-1 | size-1 .."""
    index = torch.arange(start, stop) % (2 * size)
    return torch.minimum(index, 2 * size - 1 - index)


def _smoothed(plane: Tensor, deviation: float) -> Tensor:
    """Convolve a plane (h, w) with a Gaussian, cut off at 3 deviations; reflected borders keep the mean."""
    reach = math.ceil(3 * deviation)
    if reach == 0:
        return plane
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / deviation) ** 2)
    first, *others = (weights / weights.sum()).tolist()
    for _ in range(2):  # rows, then, transposed, columns
        size = plane.shape[1]
        padded = plane[:, _reflected(-reach, size + reach, size).to(plane.device)]
        total = first * padded[:, :size]
        for t, tap in enumerate(others, 1):
            total.add_(padded[:, t : t + size], alpha=tap)
        plane = total.T
    return plane.contiguous()


def _block_shapes(first: Tensor, second: Tensor, n: int, shrink: float | None) -> Tensor:
    """Block shapes of mean 1 from the sums of squared coefficients of two independent sets of probes.

    A block's own estimate r is so noisy at 16 probes that it predicts the shape worse than the plane's mean shape m
    does. The best linear combination is m + (1 - shrink) (r - m), where 1 - shrink is the share of the true differences
    in the variance of r over the blocks (James and Stein, 1961). The covariance of the two sets' estimates is the
    variance of the true differences, nearly: each set is divided by its own block means. Against the shapes of 48
    further probes this estimate of shrink, 0.74 to 0.92 over planes and sizes, came within 0.03 of the best value.
    """
    own = _normalised_blocks(first + second, n)
    mean = own.mean(dim=(0, 2), keepdim=True)
    if shrink is None:
        one, other = (_normalised_blocks(half, n) for half in (first, second))
        variance, true = _covariance(own, own), _covariance(one, other)
        shrink = 1 - min(max(true / variance, 0.0), 1.0) if variance > 0 else 1.0
    return own.lerp_(mean, shrink).reshape(first.shape)


def _covariance(one: Tensor, other: Tensor) -> float:
    """Of blocks (h/n, n, w/n, n), the mean over their frequencies."""
    product = torch.dot(one.flatten(), other.flatten()).item() / one.numel()
    return product - (one.mean(dim=(0, 2)) * other.mean(dim=(0, 2))).mean().item()


def _normalised_blocks(spectrum: Tensor, n: int) -> Tensor:
    """(h, w) -> (h/n, n, w/n, n), each block divided by its mean; ones for a block of zeros."""
    rows, columns = spectrum.shape
    blocks = spectrum.reshape(rows // n, n, columns // n, n)
    level = blocks.mean(dim=1, keepdim=True).mean(dim=3, keepdim=True)
    seen = level > 0
    shaped = blocks / level
    return shaped if seen.all() else shaped.masked_fill_(~seen, 1.0)
