"""Training of a predictor on maps that an extractor gave."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from fprdo_bridge.importance.predictor import (
    CELL,
    COMPONENTS,
    PredictorNetwork,
    block_coefficients,
    component_of,
    shapes_of,
    write_tensors,
)
from fprdo_bridge.importance.weight_map import TRANSFORM_SIZES

STEPS = 2400
SCHEME = 2  # of the training; a state of another one is not taken up
_CROP = 256  # luma samples a side
_BATCH = 4
_RATE = 4e-3
_TAUGHT = (8, 16)  # block sizes whose shapes are taught; the others follow from the coefficients
_FLOOR = 1e-3
_PARTS = ("network", "_optimiser", "_rate")


@dataclass(frozen=True)
class Example:
    """A picture of 4:2:0 and its map.

    Attributes
    ----------
    rgb : (1, 3, height, width)
    planes, shapes : as in a WeightMap, as tensors
    """

    rgb: Tensor
    planes: Sequence[Tensor]
    shapes: Mapping[int, Sequence[Tensor]]


class Training:
    """Adam with one cycle of its rate; the same seed gives the same network on one machine.

    Attributes
    ----------
    network, means : the network and the mean log shapes (`mean_logs`)
    step : number of steps that are done
    """

    def __init__(self, make: Callable[[], PredictorNetwork], examples: Sequence[Example], steps: int, seed: int):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = make().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.means, self.step = mean_logs(examples), 0
        self._examples, self._generator = examples, torch.Generator().manual_seed(seed)
        self._optimiser = torch.optim.Adam(self.network.parameters(), lr=_RATE)
        self._rate = torch.optim.lr_scheduler.OneCycleLR(self._optimiser, _RATE, total_steps=steps + 1)

    def advance(self) -> float:
        """Do a step; returns its loss."""
        with torch.enable_grad():
            loss = train_step(self.network, self._examples, self.means, self._generator)
            self._optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self._optimiser.step()
        self._rate.step()
        self.step += 1
        return loss.item()

    def save(self, path: Path, key: str) -> None:
        """Write the state, for a later run of the same key."""
        parts = {name: getattr(self, name).state_dict() for name in _PARTS}
        write_tensors(path, {"key": key, "step": self.step, "random": self._generator.get_state(), **parts})

    def resume(self, path: Path, key: str) -> None:
        """Take up the state that a run of the same key has left, if there is one."""
        try:
            found = torch.load(path, weights_only=True)
            if found["key"] != key:
                return
        except Exception:  # none, or damaged: train from the beginning
            return
        for name in _PARTS:
            getattr(self, name).load_state_dict(found[name])
        self._generator.set_state(found["random"])
        self.step = found["step"]


def mean_logs(examples: Sequence[Example]) -> dict[int, Tensor]:
    """Per block size the log of the mean shape of each component, (COMPONENTS, n, n)."""
    found = {}
    for n in TRANSFORM_SIZES:
        means = [
            torch.stack([_blocks(one.shapes[n][component], n).mean((0, 1)) for one in examples]).mean(0)
            for component in range(COMPONENTS)
        ]
        found[n] = torch.stack(means).clamp_min(_FLOOR).log()
    return found


def train_step(
    network: PredictorNetwork, examples: Sequence[Example], means: Mapping[int, Tensor], generator: torch.Generator
) -> Tensor:
    """The loss of a batch of random crops, each as it is or mirrored.

    It is the deviance w / w' + log w' of weights, which fits multiplicative noise.
    """
    total = torch.zeros(())
    for _ in range(_BATCH):
        one = examples[int(torch.randint(len(examples), (1,), generator=generator))]
        height, width = one.rgb.shape[-2:]
        size = [min(_CROP, side // 64 * 64) for side in (height, width)]
        y, x = (
            64 * int(torch.randint((side - crop) // 64 + 1, (1,), generator=generator))
            for side, crop in zip((height, width), size)
        )
        mirrored = bool(torch.randint(2, (1,), generator=generator))
        found = network(_turned(one.rgb[..., y : y + size[0], x : x + size[1]], mirrored, -1))[0]
        for component in range(COMPONENTS):
            step = 1 if component == 0 else 2
            cell = CELL // step
            window = (slice(y // step, (y + size[0]) // step), slice(x // step, (x + size[1]) // step))
            plane = _turned(one.planes[component][window], mirrored, -1)
            target = functional.avg_pool2d(plane[None, None], cell)[0, 0].clamp_min(_FLOOR)
            log_weight, coefficients = component_of(found, component)
            log_weight = log_weight - log_weight.logsumexp((0, 1)) + torch.tensor(log_weight.numel()).log()
            target = target / target.mean()
            total = total + (target * (-log_weight).exp() + log_weight - 1 - target.log()).mean()
            for n in _TAUGHT:
                blocks = _turned(_blocks(one.shapes[n][component][window], n), mirrored, 1).clamp_min(_FLOOR)
                side, count = n * step / CELL, (blocks.shape[0], blocks.shape[1])
                of_block = block_coefficients(coefficients, (side, side), count)
                made = shapes_of(means[n][component], of_block, n)
                total = total + (blocks / made + made.log() - 1 - blocks.log()).mean()
    return total / _BATCH


def _turned(values: Tensor, mirrored: bool, across: int) -> Tensor:
    """Mirrored along the axis `across`, or as it is; squared coefficients of a block do not change with its picture."""
    return values.flip(across) if mirrored else values


def _blocks(spectrum: Tensor, n: int) -> Tensor:
    rows, columns = spectrum.shape
    return spectrum.reshape(rows // n, n, columns // n, n).transpose(1, 2)
