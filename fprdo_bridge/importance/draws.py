"""Random signs and noise of sketches: the same numbers on every device and for every batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from fprdo_bridge.importance.extractors import Extractor
    from fprdo_bridge.importance.sketch import Tile

Group = tuple[list[Tensor], list[list[Tensor]]]  # noise of each plane; of each sketch the signs of each feature

_KEPT_BYTES, _KEPT_BYTES_OF_GPU = 1 << 24, 1 << 30  # of draws that stay for the next picture
_KEPT_SETS = 2  # of draws: one for each of the default extractor's scales
_BATCH_SAMPLES = 1 << 23  # in a pass on a GPU, 1.2 kB each: 10 GB
_SMALL_SAMPLES = 1 << 19  # of a picture whose pass takes a GPU less time than its launches
_BYTES_OF_SAMPLE = 1500

_kept: dict[tuple[Draws, str], list[Group]] = {}


@dataclass(frozen=True)
class Draws:
    """What the draws of a map depend on; the pictures of a sequence share them.

    Parameters
    ----------
    planes : shapes of the coded planes
    features : shapes of the features of the whole picture
    probes, seed, signs_per_noise : see `sketch_gradients`
    """

    planes: Sequence[tuple[int, ...]]
    features: Sequence[Sequence[int]]
    probes: int
    seed: int
    signs_per_noise: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "planes", tuple(self.planes))
        object.__setattr__(self, "features", tuple(map(tuple, self.features)))

    def draw(self) -> Iterator[Group]:
        """Per noise: float32 of deviation 1 in the planes' shapes, and for each of its sketches int8 signs."""
        generator = torch.Generator().manual_seed(self.seed)
        for first in range(0, self.probes, self.signs_per_noise):
            noise = [torch.randn(shape, generator=generator, dtype=torch.float32) for shape in self.planes]
            yield (
                noise,
                [
                    [
                        torch.randint(0, 2, list(shape), generator=generator, dtype=torch.int8).mul_(2).sub_(1)
                        for shape in self.features
                    ]
                    for _ in range(min(self.signs_per_noise, self.probes - first))
                ],
            )

    def kept(self, device: torch.device) -> Iterator[Group]:
        """`draw` on a device, which keeps the draws of the last pictures if they are not too large."""
        key, most = (self, str(device)), _KEPT_BYTES if device.type == "cpu" else _KEPT_BYTES_OF_GPU
        if key in _kept:
            yield from _kept[key]
            return
        groups: list[Group] = []
        size = 0
        for noise, several in self.draw():
            group = [one.to(device) for one in noise], [[one.to(device) for one in signs] for signs in several]
            size += sum(one.nbytes for part in (group[0], *group[1]) for one in part)
            groups.append(group)
            if size > most:
                groups.clear()
            yield group
        if size <= most:
            while len(_kept) >= _KEPT_SETS:
                _kept.pop(next(iter(_kept)), None)
            _kept[key] = groups


def batch_size(extractor: Extractor, tiles: Sequence[Tile], probes: int, signs_per_noise: int) -> int:
    """How many sketches share a pass as a batch.

    Processors gain nothing from batches, and a plug-in's code may take one picture at a time only. A batch repeats the
    forward passes that sketches of one noise could share, which pays for small pictures alone, as far as NVIDIA's GPUs
    go.
    """
    if extractor.device.type == "cpu" or extractor.strides is None:
        return 1
    largest = max((tile.rows[1] - tile.rows[0]) * (tile.columns[1] - tile.columns[0]) for tile in tiles)
    room = _BATCH_SAMPLES
    if extractor.device.type == "cuda":
        if signs_per_noise > 1 and largest > _SMALL_SAMPLES:
            return 1
        room = min(room, torch.cuda.mem_get_info(extractor.device)[0] // 2 // _BYTES_OF_SAMPLE)
    return max(1, min(probes, room // largest))
