"""Jacobian sketches: random projections of a network's Jacobian, taken in the samples of the coded format.

With the features f_l(x) of layers l = 1..L, the relative feature distance of a small error e in the coded samples is

    d(e) = 1/L sum_l ||f_l(x + e) - f_l(x)||^2 / ||f_l(x)||^2  =  ||J e||^2 + O(||e||^3)

where J stacks the Jacobians of f_l / (sqrt(L) ||f_l(x)||), colour conversion and chroma upsampling included. For a
vector s of independent random signs E[s s^T] = I, so that g = J^T s has E[g g^T] = J^T J. The diagonal of J^T J is
therefore the expectation of g^2, and in the basis of an orthonormal transform T that of (T g)^2.

Probes are taken at x + noise: the Jacobian of a network with rectifiers jumps within the neighbourhood in which coding
errors lie, and a weight should hold on average there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fprdo_bridge.video.colour import planes_to_rgb
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.importance.extractors import Extractor

if TYPE_CHECKING:
    from fprdo_bridge.video.formats import VideoFormat

DEFAULT_PROBES = 16
DEFAULT_JITTER = 5.0  # standard deviation in code values at 8 bits, about the coding error at QP 32

# Luma samples of a tile with its margin. Forward and backward of lite0 keep 1.2 kB per sample: 2.5 GB per tile. A
# picture of 1920x1080 is still one tile, 3840x2160 takes eight.
DEFAULT_TILE_SAMPLES = 1 << 21


@dataclass(frozen=True)
class Tile:
    """A window of the picture, and the core of it that owns features.

    The network runs on the window. Each feature belongs to the one tile whose core holds its position; all others in
    the window are left out, and the gradients of the windows add up. This is the gradient of the whole picture but for
    one thing: where a feature's receptive field is wider than the margin, it sees the network's padding instead of the
    picture. All numbers are luma samples; cores and windows start at multiples of the largest stride.
    """

    core_rows: tuple[int, int]
    core_columns: tuple[int, int]
    rows: tuple[int, int]
    columns: tuple[int, int]

    def cut(self, picture: Tensor) -> Tensor:
        """The window of a picture (..., height, width)."""
        return picture[..., slice(*self.rows), slice(*self.columns)]


def sketch_gradients(extractor: Extractor, planes: Sequence[Tensor], fmt: VideoFormat, *,
                     probes: int = DEFAULT_PROBES, seed: int = 0, jitter: float = DEFAULT_JITTER,
                     tile_samples: int = DEFAULT_TILE_SAMPLES) -> Iterator[list[Tensor]]:
    """Yield g_k = J^T s_k for k = 1..probes, in the coded planes.

    Parameters
    ----------
    planes : float32 code values, shapes fmt.plane_shapes
    probes : number of sketches K
    seed : of the signs and the noise, which are the same whatever the tile size
    jitter : standard deviation of the Gaussian noise on the planes, in code values at 8 bits (scaled to fmt.bit_depth)
    tile_samples : bound of a tile, in luma samples with margin, for extractors that may be tiled; bounds memory

    Yields
    ------
    list of Tensor, shapes fmt.plane_shapes: derivatives with respect to code values (so that (g . e)^2, averaged over
    probes, is the relative feature distance of an error of e code values)

    Raises
    ------
    FprdoError
        The extractor fails, or tile_samples leaves no room beside the extractor's margin.
    """
    generator = torch.Generator().manual_seed(seed)
    tiles = plan_tiles(fmt.height, fmt.width, extractor, tile_samples)
    shapes, scales = _feature_shapes_and_scales(extractor, planes_to_rgb(planes, fmt), tiles)
    deviation = jitter * 2.0 ** (fmt.bit_depth - 8)
    for _ in range(probes):
        noisy = [plane + deviation * torch.randn(plane.shape, generator=generator) for plane in planes]
        signs = [torch.randint(0, 2, shape, generator=generator, dtype=torch.int8).mul_(2).sub_(1) for shape in shapes]
        yield _sketch(extractor, noisy, fmt, tiles, signs, scales)


def plan_tiles(height: int, width: int, extractor: Extractor, tile_samples: int = DEFAULT_TILE_SAMPLES) -> list[Tile]:
    """Cut a picture into the tiles that cost the least, none larger than tile_samples with its margin.

    One tile, the whole picture, for an extractor without strides or a picture that is small enough.

    Raises
    ------
    FprdoError
        Not even a core of one stride fits into tile_samples.
    """
    if extractor.strides is None or height * width <= tile_samples:
        return [Tile((0, height), (0, width), (0, height), (0, width))]
    step = max(extractor.strides)
    margin = -(-extractor.margin // step) * step
    best = None
    for rows in _partitions(height, step, margin):
        for columns in _partitions(width, step, margin):
            areas = [(y1 - y0) * (x1 - x0) for _, (y0, y1) in rows for _, (x0, x1) in columns]
            if max(areas) <= tile_samples:
                if best is None or sum(areas) < best[0]:
                    best = sum(areas), rows, columns
                break  # more columns only add margins
    if best is None:
        raise FprdoError(f"tiles of {tile_samples} samples leave no room for the margin of {margin} samples that "
                         f"extractor {extractor.name} needs: allow at least {(step + 2 * margin) ** 2}")
    _, rows, columns = best
    return [Tile(core_rows, core_columns, window_rows, window_columns)
            for core_rows, window_rows in rows for core_columns, window_columns in columns]


def _partitions(size: int, step: int, margin: int) -> Iterator[list[tuple[tuple[int, int], tuple[int, int]]]]:
    """All ways to cut [0, size) into 1, 2, ... equal cores (whole steps), each as (core, core with its margins)."""
    previous = None
    for count in range(1, -(-size // step) + 1):
        core = -(-size // (count * step)) * step
        if core == previous:
            continue
        previous = core
        yield [((start, min(start + core, size)), (max(start - margin, 0), min(start + core + margin, size)))
               for start in range(0, size, core)]


def _feature_shapes_and_scales(extractor: Extractor, rgb: Tensor,
                               tiles: Sequence[Tile]) -> tuple[list[list[int]], list[float]]:
    """Per layer the shape of the whole picture's features, and 1 / (sqrt(L) ||f_l||), 0 where all f_l are zero."""
    shapes: list[list[int]] = [[] for _ in extractor.layers]
    energies = [0.0] * len(extractor.layers)
    with torch.no_grad():
        for tile in tiles:
            for layer, feature in enumerate(extractor(tile.cut(rgb))):
                local, whole = _owned(feature, tile, extractor, layer)
                energies[layer] += feature[local].double().square().sum().item()
                shapes[layer] = list(feature.shape)
                if whole is not Ellipsis:  # the last tile lies at the bottom right
                    shapes[layer][-2:] = whole[-2].stop, whole[-1].stop
    if not all(energy < float("inf") for energy in energies):
        raise FprdoError(f"extractor {extractor.name} returns NaN or infinite features: check its preparation")
    return shapes, [(len(energies) * energy) ** -0.5 if energy > 0 else 0.0 for energy in energies]


def _sketch(extractor: Extractor, planes: Sequence[Tensor], fmt: VideoFormat, tiles: Sequence[Tile],
            signs: Sequence[Tensor], scales: Sequence[float]) -> list[Tensor]:
    """J^T s by the chain rule: through the network tile by tile, then through the colour conversion at once."""
    leaves = [plane.requires_grad_() for plane in planes]
    rgb = planes_to_rgb(leaves, fmt)
    gradient = torch.zeros(rgb.shape)
    for tile in tiles:
        window = tile.cut(rgb.detach()).clone().requires_grad_()
        owned, cotangents = [], []
        for layer, feature in enumerate(extractor(window)):
            if not feature.requires_grad:
                raise FprdoError(f"extractor {extractor.name}: layer {extractor.layers[layer]!r} has no derivative in "
                                 "the picture: let its module run without no_grad and detach")
            local, whole = _owned(feature, tile, extractor, layer)
            owned.append(feature[local])
            cotangents.append(signs[layer][whole].to(feature.dtype).mul_(scales[layer]))
        tile.cut(gradient).add_(torch.autograd.grad(owned, window, cotangents)[0])
    return list(torch.autograd.grad(rgb, leaves, gradient))


def _owned(feature: Tensor, tile: Tile, extractor: Extractor, layer: int) -> tuple[object, object]:
    """The features that the tile owns: as an index into the window's features, and into the whole picture's.

    Raises FprdoError where the number of features is not what the extractor's strides say.
    """
    if extractor.strides is None:
        return ..., ...
    stride = extractor.strides[layer]
    local, whole = [...], [...]
    for (core_start, core_stop), (start, stop), count in ((tile.core_rows, tile.rows, feature.shape[-2]),
                                                          (tile.core_columns, tile.columns, feature.shape[-1])):
        if (stop - start) % max(extractor.strides) == 0 and count != (stop - start) // stride:
            raise FprdoError(f"extractor {extractor.name}: layer {extractor.layers[layer]!r} has {count} features "
                             f"across {stop - start} samples, not the {(stop - start) // stride} of stride {stride}: "
                             "correct its stride")
        first = (core_start - start) // stride
        # A window that ends with its core also owns the features that a network's padding adds at the picture's border.
        last = count if stop == core_stop else (core_stop - start) // stride
        local.append(slice(first, last))
        whole.append(slice(core_start // stride, core_start // stride + last - first))
    return tuple(local), tuple(whole)
