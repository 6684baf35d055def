"""Weight maps: how much an error in each sample, and at each frequency of each block, moves a network's features."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import groupby
from numbers import Real
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from fprdo_bridge.errors import FprdoError
from fprdo_bridge.importance.device import exact_arithmetic, to_host, wide
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
            return tuple(to_host([tensor.div_(count) for tensor in tensors]))

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
    groups = _of_one_shape(planes)  # a GPU takes as long for two small planes as for one
    squares = [torch.stack([torch.zeros_like(planes[c]) for c in group]) for group in groups]
    # Two accumulators, for the first and the second half of the probes: what differs between them is estimation noise.
    spectra = {
        n: [square.new_zeros(2, len(square), *_whole_blocks(square.shape[-2:], n)) for square in squares]
        for n in sorted(set(transform_sizes))
    }
    for k, gradients in enumerate(sketches):
        for g, group in enumerate(groups):
            gradient = torch.stack([gradients[c] for c in group])
            squares[g].addcmul_(gradient, gradient)
            for n, halves in spectra.items():
                coefficients = block_dct(gradient, n)
                halves[g][2 * k // probes].addcmul_(coefficients, coefficients)
        done(k + 1)
    means = [wide(plane).mean().item() / probes for square in squares for plane in square]
    if not all(mean < math.inf for mean in means):
        raise FprdoError(f"extractor {extractor.name} has NaN or infinite derivatives here: check its layers")
    for g, group in enumerate(groups):
        for member, c in enumerate(group):
            if means[c] <= _UNSEEN * max(means):
                means[c] = 0.0
                for accumulator in (squares[g], *(half for halves in spectra.values() for half in halves[g])):
                    accumulator[member].fill_(1)
    return _Tensors(
        [(plane / wide(plane).mean()).float() for square in squares for plane in _smoothed(square, smooth)],
        {n: [plane for both in halves for plane in _block_shapes(both, n, shrink)] for n, halves in spectra.items()},
        [mean / (means[0] or max(means) or 1.0) for mean in means],
    )


def _of_one_shape(planes: Sequence[Tensor]) -> list[list[int]]:
    """Indices of planes, neighbours of one shape together."""
    return [list(group) for _, group in groupby(range(len(planes)), key=lambda c: planes[c].shape)]


def block_dct(planes: Tensor, n: int) -> Tensor:
    """Orthonormal DCT-II of the n x n blocks of planes (..., h, w), in place of the blocks.

    The grid starts at the planes' origin; partial blocks at the right and the bottom are completed by reflection.
    Returns (..., ceil(h/n) n, ceil(w/n) n): vertical frequency v, horizontal frequency u of block (by, bx) at
    [by n + v, bx n + u].
    """
    *many, height, width = planes.shape
    rows, columns = _whole_blocks((height, width), n)
    if (rows, columns) != (height, width):
        down, across = (_reflected(0, *sides, planes.device) for sides in ((rows, height), (columns, width)))
        planes = planes[..., down, :][..., across]
    basis = _dct_basis(n, planes.device)
    vertical = torch.matmul(basis, planes.reshape(*many, rows // n, n, columns))
    return torch.matmul(vertical.reshape(*many, rows, columns // n, n), basis.T).reshape(*many, rows, columns)


@lru_cache(maxsize=16)
def _dct_basis(n: int, device: torch.device) -> Tensor:
    """Row u: sqrt((2 - [u = 0]) / n) cos(pi (2 x + 1) u / (2 n))."""
    u, x = torch.arange(n, dtype=torch.float64)[:, None], torch.arange(n, dtype=torch.float64)[None, :]
    basis = torch.cos(math.pi * (2 * x + 1) * u / (2 * n)) * math.sqrt(2 / n)
    basis[0] /= math.sqrt(2)
    return basis.float().to(device)


def _whole_blocks(shape: Sequence[int], n: int) -> tuple[int, int]:
    return -(-shape[0] // n) * n, -(-shape[1] // n) * n


@lru_cache(maxsize=32)
def _reflected(start: int, stop: int, size: int, device: torch.device) -> Tensor:
    """Indices start..stop-1 folded into 0..size-1, border samples repeated: 1 0 | 0 1 .. size-1 | size-1 .."""
    index = torch.arange(start, stop) % (2 * size)
    return torch.minimum(index, 2 * size - 1 - index).to(device)


def _smoothed(planes: Tensor, deviation: float) -> Tensor:
    """Convolve planes (..., h, w) with a Gaussian, cut off at 3 deviations; reflected borders keep the mean."""
    reach = math.ceil(3 * deviation)
    if reach == 0:
        return planes
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / deviation) ** 2)
    first, *others = (weights / weights.sum()).tolist()
    for _ in range(2):  # rows, then, transposed, columns
        size = planes.shape[-1]
        padded = planes[..., _reflected(-reach, size + reach, size, planes.device)]
        total = first * padded[..., :size]
        for t, tap in enumerate(others, 1):
            total.add_(padded[..., t : t + size], alpha=tap)
        planes = total.transpose(-1, -2)
    return planes.contiguous()


def _block_shapes(halves: Tensor, n: int, shrink: float | None) -> Tensor:
    """Block shapes (c, h, w) of mean 1 from the sums (2, c, h, w) of squared coefficients of two sets of probes.

    A block's own estimate r is so noisy at 16 probes that it predicts the shape worse than the plane's mean shape m
    does. The best linear combination is m + (1 - shrink) (r - m), where 1 - shrink is the share of the true differences
    in the variance of r over the blocks (James and Stein, 1961). The covariance of the two sets' estimates is the
    variance of the true differences, nearly: each set is divided by its own block means. Against the shapes of 48
    further probes this estimate of shrink, 0.74 to 0.92 over planes and sizes, came within 0.03 of the best value.
    """
    own = _normalised_blocks(halves[0] + halves[1], n)
    mean = own.mean(dim=(1, 3), keepdim=True)
    if shrink is None:
        variance, true = _covariance(own, own), _covariance(*_normalised_blocks(halves, n))
        # On its device: no number is awaited.
        share = torch.where(variance > 0, true / variance, torch.zeros_like(true))
        weight = (1 - share.clamp(0, 1)).float().reshape(-1, 1, 1, 1, 1)
    else:
        weight = own.new_tensor(shrink)
    return own.lerp_(mean, weight).reshape(halves.shape[1:])


def _covariance(one: Tensor, other: Tensor) -> Tensor:
    """Of each plane's blocks (c, h/n, n, w/n, n) the mean over their frequencies: (c,)."""
    products = torch.stack([torch.dot(a.flatten(), b.flatten()) for a, b in zip(one, other)])
    means = torch.stack([a.mean() for a in one.mean(dim=(1, 3)) * other.mean(dim=(1, 3))])
    return wide(products) / one[0].numel() - wide(means)


def _normalised_blocks(spectra: Tensor, n: int) -> Tensor:
    """(..., h, w) -> (..., h/n, n, w/n, n), each block divided by its mean; ones for a block of zeros."""
    *many, rows, columns = spectra.shape
    blocks = spectra.reshape(*many, rows // n, n, columns // n, n)
    level = blocks.mean(dim=-3, keepdim=True).mean(dim=-1, keepdim=True)
    empty = level == 0
    shaped = blocks / level
    return shaped.masked_fill_(empty, 1.0) if level.is_cuda or empty.any() else shaped
