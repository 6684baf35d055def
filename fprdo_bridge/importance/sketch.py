"""Jacobian sketches: random projections of a network's Jacobian, taken in the samples of the coded format.

With the features f_l(x), l = 1..L, the relative feature distance of a small error e in the coded samples is

    d(e) = 1/L sum_l ||f_l(x + e) - f_l(x)||^2 / ||f_l(x)||^2  =  ||J e||^2 + O(||e||^3)

where J stacks the Jacobians of f_l / (sqrt(L) ||f_l(x)||), colour conversion, chroma upsampling and the resizing to the
extractor's scale included. For a
vector s of independent random signs E[s s^T] = I, so that g = J^T s has E[g g^T] = J^T J. The diagonal of J^T J is
therefore the expectation of g^2, and in the basis of an orthonormal transform T that of (T g)^2.

Probes are taken at x + noise: the Jacobian of a network with rectifiers jumps within the neighbourhood in which coding
errors lie, and a weight should hold on average there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import EllipsisType
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fprdo_bridge.errors import FprdoError
from fprdo_bridge.importance.device import wide
from fprdo_bridge.importance.draws import Draws, batch_size
from fprdo_bridge.importance.extractors import Extractor
from fprdo_bridge.video.colour import planes_to_rgb

if TYPE_CHECKING:
    from fprdo_bridge.video.formats import VideoFormat

DEFAULT_PROBES = 16
DEFAULT_JITTER = 5.0  # standard deviation in code values at 8 bits, about the coding error at QP 32

# Samples of a tile with its margin. Forward and backward of lite0 keep 1.2 kB per sample: 2.5 GB per tile. A
# picture of 1920x1080 is still one tile, 3840x2160 takes eight.
DEFAULT_TILE_SAMPLES = 1 << 21


@dataclass(frozen=True)
class Tile:
    """A window of the picture, and the core of it that owns features.

    The network runs on the window. Each feature belongs to the one tile whose core holds its position; all others in
    the window are left out, and the gradients of the windows add up. This is the gradient of the whole picture but for
    one thing: where a feature's receptive field is wider than the margin, it sees the network's padding instead of the
    picture. All numbers are samples of the picture as the network sees it; cores and windows start at multiples of the
    largest stride.
    """

    core_rows: tuple[int, int]
    core_columns: tuple[int, int]
    rows: tuple[int, int]
    columns: tuple[int, int]

    def cut(self, picture: Tensor) -> Tensor:
        """The window of a picture (..., height, width)."""
        return picture[..., slice(*self.rows), slice(*self.columns)]


def sketch_gradients(
    extractor: Extractor,
    planes: Sequence[Tensor],
    fmt: VideoFormat,
    *,
    probes: int = DEFAULT_PROBES,
    seed: int = 0,
    jitter: float = DEFAULT_JITTER,
    signs_per_noise: int = 1,
    tile_samples: int = DEFAULT_TILE_SAMPLES,
) -> Iterator[list[Tensor]]:
    """Yield g_k = J^T s_k for k = 1..probes, in the coded planes.

    Parameters
    ----------
    extractor : of one scale
    planes : float32 code values, shapes fmt.plane_shapes
    probes : number of sketches K, at least 1
    seed : of the signs and the noise, which are the same whatever the tile size; 0 to 2^63 - 1
    jitter : standard deviation of the Gaussian noise on the planes, 0 to 255, in code values at 8 bits (scaled to
        fmt.bit_depth)
    signs_per_noise : probes that share a noise and with it a forward pass, at least 1; each has signs of its own. They
        cost half as much, and average over less noise.
    tile_samples : bound of a tile, in samples of the resized picture with margin, for extractors that may be tiled;
        bounds memory

    Yields
    ------
    list of Tensor, float32, shapes fmt.plane_shapes: derivatives with respect to code values (so that (g . e)^2,
    averaged over probes, is the relative feature distance of an error of e code values)

    Raises
    ------
    FprdoError
        The extractor fails, or tile_samples leaves no room beside the extractor's margin.
    """
    picture = extractor.resized(planes_to_rgb(planes, fmt))
    tiles = plan_tiles(picture.shape[-2], picture.shape[-1], extractor, tile_samples)
    shapes, scales = _feature_shapes_and_scales(extractor, picture, tiles)
    del picture
    deviation = jitter * 2.0 ** (fmt.bit_depth - 8)
    planned = Draws([tuple(plane.shape) for plane in planes], shapes, probes, seed, signs_per_noise)
    rows = batch_size(extractor, tiles, probes, signs_per_noise)
    if rows > 1:
        yield from _batched_sketches(extractor, planes, fmt, tiles, planned, deviation, scales, rows)
        return
    for noise, signs in planned.kept(extractor.device):
        noisy = [plane + deviation * one.to(plane.device) for plane, one in zip(planes, noise)]
        yield from _sketches(extractor, noisy, fmt, tiles, signs, scales)


def _batched_sketches(
    extractor: Extractor,
    planes: Sequence[Tensor],
    fmt: VideoFormat,
    tiles: Sequence[Tile],
    planned: Draws,
    deviation: float,
    scales: Sequence[float],
    rows: int,
) -> Iterator[list[Tensor]]:
    """The sketches in their order, `rows` of them in each pass."""
    pairs = [(noise, signs) for noise, several in planned.kept(extractor.device) for signs in several]
    for first in range(0, len(pairs), rows):
        batch = pairs[first : first + rows]
        noisy = [
            plane + deviation * torch.stack([noise[component] for noise, _ in batch])
            for component, plane in enumerate(planes)
        ]
        signs = [torch.cat(of_feature) for of_feature in zip(*(signs for _, signs in batch))]
        (gradients,) = _sketches(extractor, noisy, fmt, tiles, [signs], scales)
        for row in range(len(batch)):
            yield [gradient[row] for gradient in gradients]


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
        raise FprdoError(
            f"tiles of {tile_samples} samples leave no room for the margin of {margin} samples that "
            f"extractor {extractor.name} needs: allow at least {(step + 2 * margin) ** 2}"
        )
    _, rows, columns = best
    return [
        Tile(core_rows, core_columns, window_rows, window_columns)
        for core_rows, window_rows in rows
        for core_columns, window_columns in columns
    ]


def _partitions(size: int, step: int, margin: int) -> Iterator[list[tuple[tuple[int, int], tuple[int, int]]]]:
    """All ways to cut [0, size) into 1, 2, ... equal cores (whole steps), each as (core, core with its margins)."""
    previous = None
    for count in range(1, -(-size // step) + 1):
        core = -(-size // (count * step)) * step
        if core == previous:
            continue
        previous = core
        yield [
            ((start, min(start + core, size)), (max(start - margin, 0), min(start + core + margin, size)))
            for start in range(0, size, core)
        ]


def _feature_shapes_and_scales(
    extractor: Extractor, picture: Tensor, tiles: Sequence[Tile]
) -> tuple[list[list[int]], list[float]]:
    """Per feature the shape in the whole picture, and 1 / (sqrt(L) ||f_l||), 0 where all f_l are zero."""
    shapes: list[list[int]] = []
    energies: list[float] = []
    with torch.no_grad():
        for tile in tiles:
            features = _owned_features(extractor, tile.cut(picture), tile)
            if not shapes:
                shapes, energies = [[] for _ in features], [0.0] * len(features)
            for index, owned in enumerate(features):
                energies[index] += wide(owned.values).square().sum().item()
                shapes[index] = owned.whole_shape  # the last tile lies at the bottom right
    if not all(energy < float("inf") for energy in energies):
        raise FprdoError(f"extractor {extractor.name} returns NaN or infinite features: check its preparation")
    return shapes, [(len(energies) * energy) ** -0.5 if energy > 0 else 0.0 for energy in energies]


def _sketches(
    extractor: Extractor,
    planes: Sequence[Tensor],
    fmt: VideoFormat,
    tiles: Sequence[Tile],
    draws: Sequence[Sequence[Tensor]],
    scales: Sequence[float],
) -> list[list[Tensor]]:
    """J^T s for each draw s of signs, by the chain rule.

    The gradient goes through the network tile by tile, then through resizing and colour conversion at once. All draws
    share the forward passes.

    Parameters
    ----------
    planes : float32, shapes fmt.plane_shapes, or with a leading batch size; they become leaves of the derivative
    draws : per draw and feature, int8 signs of the shape in the whole picture
    scales : per feature, see `_feature_shapes_and_scales`

    Returns
    -------
    per draw, list of Tensor of the planes' shapes
    """
    with torch.enable_grad():  # whatever a plug-in or the caller has switched off
        leaves = [plane.requires_grad_() for plane in planes]
        picture = extractor.resized(planes_to_rgb(leaves, fmt))
        gradients = [
            torch.zeros_like(picture, requires_grad=False, memory_format=torch.contiguous_format) for _ in draws
        ]
        for tile in tiles:
            window = tile.cut(picture.detach()).clone().requires_grad_()
            features = _owned_features(extractor, window, tile)
            if len(features) != len(scales):
                raise FprdoError(
                    f"extractor {extractor.name}: gives {len(scales)} features for the picture and "
                    f"{len(features)} for the picture with noise: name layers that are called alike"
                )
            for draw, (signs, gradient) in enumerate(zip(draws, gradients)):
                cotangents = [
                    _cotangent(extractor, owned, sign, scale) for owned, sign, scale in zip(features, signs, scales)
                ]
                tile.cut(gradient).add_(
                    extractor.gradient(
                        [owned.values for owned in features], window, cotangents, again=draw + 1 < len(draws)
                    )
                )
        return [
            list(torch.autograd.grad(picture, leaves, gradient, retain_graph=draw + 1 < len(draws)))
            for draw, gradient in enumerate(gradients)
        ]


@dataclass(frozen=True)
class _Owned:
    """What a tile owns of a feature: values, their place in the whole picture's feature, and its shape so far."""

    name: str
    values: Tensor
    place: tuple[slice | EllipsisType, ...]
    whole_shape: list[int]


def _cotangent(extractor: Extractor, owned: _Owned, signs: Tensor, scale: float) -> Tensor:
    if not owned.values.requires_grad:
        raise FprdoError(
            f"extractor {extractor.name}: layer {owned.name} has no derivative in the picture: let its module "
            "run without no_grad and detach"
        )
    signs = signs[owned.place]
    if signs.shape != owned.values.shape:
        raise FprdoError(
            f"extractor {extractor.name}: layer {owned.name} gives {tuple(signs.shape)} features for the picture "
            f"and {tuple(owned.values.shape)} for the picture with noise: name a layer of fixed shape"
        )
    return signs.to(owned.values).mul_(scale)


def _owned_features(extractor: Extractor, window: Tensor, tile: Tile) -> list[_Owned]:
    """The features of a window that the tile owns.

    Raises FprdoError where the number of features is not what the extractor's strides say.
    """
    features = extractor.features(window)
    if extractor.strides is None:
        return [_Owned(name, feature, (...,), list(feature.shape)) for name, feature in features]
    if len(features) != len(extractor.strides):
        raise FprdoError(
            f"extractor {extractor.name}: its {len(extractor.layers)} layers give {len(features)} features, and "
            "it has a stride for each layer: name layers that are called once, or leave the strides out"
        )
    return [
        _owned(extractor, name, feature, stride, tile) for (name, feature), stride in zip(features, extractor.strides)
    ]


def _owned(extractor: Extractor, name: str, feature: Tensor, stride: int, tile: Tile) -> _Owned:
    if feature.ndim < 2:
        raise FprdoError(
            f"extractor {extractor.name}: layer {name} has features of shape {tuple(feature.shape)}, and a "
            "stride is for (n, c, h, w): leave the strides out"
        )
    step = max(extractor.strides or ())
    local: list[slice | EllipsisType] = [...]
    place: list[slice | EllipsisType] = [...]
    shape = list(feature.shape[:-2])
    for (core_start, core_stop), (start, stop), count in (
        (tile.core_rows, tile.rows, feature.shape[-2]),
        (tile.core_columns, tile.columns, feature.shape[-1]),
    ):
        if (stop - start) % step == 0 and count != (stop - start) // stride:
            raise FprdoError(
                f"extractor {extractor.name}: layer {name} has {count} features across {stop - start} samples, "
                f"not the {(stop - start) // stride} of stride {stride}: correct its stride"
            )
        first = (core_start - start) // stride
        # A window that ends with its core also owns the features that a network's padding adds at the picture's border.
        last = count if stop == core_stop else (core_stop - start) // stride
        local.append(slice(first, last))
        place.append(slice(core_start // stride, core_start // stride + last - first))
        shape.append(core_start // stride + last - first)
    return _Owned(name, feature[tuple(local)], tuple(place), shape)
