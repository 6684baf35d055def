"""What a classifier says of a decoded picture, against what it says of the original."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fprdo_bridge.ctc import schema
from fprdo_bridge.ctc.schema import Table
from fprdo_bridge.ctc.tasks.base import Frames, Measure, Record, Reducer, Task, call
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.importance.device import exact_arithmetic, find_device

if TYPE_CHECKING:
    from torch import Tensor, nn

# Side of the picture at which each network is evaluated; its crop leaves a border of 32 samples at that scale.
SIDES = {"efficientnet_lite0": 224, "efficientnet_lite1": 240, "efficientnet_lite2": 260}
_BORDER = 32

# The logarithm of a divergence is bounded here, in nats: below it lies rounding.
_SMALLEST = 1e-7


class Classes(Task):
    """Kullback-Leibler divergence of the class distribution, and agreement of the classes.

    kl: sum p log(p / q) in nats, p of the original, q of the decoded picture, mean over the frames. top1: share of
    frames whose first class is the original's first; top5: whose first five hold it.

    One view of one picture is a noisy judge: a class that is about to change weighs as much as all others. With more
    views the numbers above are means over these too, and log_kl is added: the geometric mean of kl over views, frames
    and pictures, to which each contributes its relative change.

    Arguments: `network`, one of SIDES or `module:callable` that returns a torch module, RGB (n, 3, side, side) float32
    in [0, 1] -> logits (n, classes); `side`, for such a module; `views`, the number of views, 1 (default) to 64, see
    `view`.
    """

    name = "classes"
    measures: tuple[Measure, ...] = (
        Measure("kl", "KL", distance=True, pool="set", digits=4),
        Measure("top1", "top-1", pool="set"),
        Measure("top5", "top-5", pool="set"),
    )
    seconds = 0.3

    def __init__(self, arguments: Table):
        self.network = arguments.take("network", schema.text, "efficientnet_lite0")
        self.side = arguments.take("side", schema.whole(8, 4096), SIDES.get(self.network, 224))
        if self.network in SIDES and self.side != SIDES[self.network]:
            raise arguments.error("side", f"{self.network} is evaluated at {SIDES[self.network]}; leave it out")
        if self.network not in SIDES and ":" not in self.network:
            raise arguments.error("network", f"{self.network!r}: use {', '.join(SIDES)} or module:callable")
        self.views = arguments.take("views", schema.whole(1, 64), 1)
        if self.views > 1:
            self.measures = (Measure("log_kl", "KL, geometric", distance=True, pool="set", digits=4), *self.measures)
        self.seconds *= self.views
        self._module: nn.Module | None = None
        super().__init__(arguments)

    @property
    def title(self) -> str:
        views = f" ({self.views} views)" if self.views > 1 else ""
        return f"classes {self.network.removeprefix('efficientnet_')}{views}"

    def _load(self) -> nn.Module:
        if self._module is None:
            self._device = find_device(self.device)
            module = _efficientnet(self.network) if self.network in SIDES else _plug_in(self.network)
            self._module = module.to(self._device)
        return self._module

    def identity(self) -> dict[str, object]:
        from fprdo_bridge.importance.extractors import state_fingerprint

        views = {"views": self.views} if self.views > 1 else {}
        weights = state_fingerprint(self._load().state_dict())
        return {"network": self.network, "side": self.side, "weights": weights, **views}

    def _logits(self, frames: Frames) -> list[Tensor]:
        """Per frame and view the logits (classes,), float64."""
        import torch

        found: list[Tensor] = []
        network = self._load()
        with torch.no_grad(), exact_arithmetic(self._device):
            for picture in frames.rgb():
                for number in range(self.views):
                    logits = network(view(picture, self.side, number).to(self._device)).cpu()
                    if logits.ndim != 2 or not torch.isfinite(logits).all():
                        raise FprdoError(f"network {self.network} returns no finite logits (n, classes); correct it")
                    found.append(logits[0].double())
        return found

    def prepare(self, original: Frames) -> Any:
        return self._logits(original)

    def score(self, prepared: Any, decoded: Frames) -> Record:
        import torch

        kl, logarithm, top1, top5 = 0.0, 0.0, 0, 0
        pairs = list(zip(prepared, self._logits(decoded), strict=True))
        for p, q in pairs:
            log_p, log_q = torch.log_softmax(p, 0), torch.log_softmax(q, 0)
            divergence = max(0.0, float((log_p.exp() * (log_p - log_q)).sum()))
            kl += divergence
            logarithm += math.log(max(divergence, _SMALLEST))
            first = int(p.argmax())
            order = torch.topk(q, min(5, len(q))).indices.tolist()
            top1 += order[0] == first
            top5 += first in order
        record = {"kl": kl / len(pairs), "top1": top1 / len(pairs), "top5": top5 / len(pairs)}
        return record if self.views == 1 else record | {"log_kl": math.exp(logarithm / len(pairs))}

    def reducer(self, records: Sequence[Record], originals: Sequence[Record]) -> Reducer:
        means = super().reducer(records, originals)
        if self.views == 1:
            return means
        logarithms = np.log([record["log_kl"] for record in records])

        def reduce(indices: np.ndarray) -> Mapping[str, float]:
            return {**means(indices), "log_kl": float(np.exp(logarithms[indices].mean()))}

        return reduce


def view(picture: Tensor, side: int, number: int) -> Tensor:
    """A square of a picture (1, 3, height, width) at `side` samples.

    View 0 is `central`. Another is side / short of the shorter side, with short from side to 2 side, and lies anywhere:
    logarithm of the scale, row and column are the numbers of Halton's sequence in the bases 2, 3 and 5, so the first
    few views spread evenly and are the same for every picture.
    """
    if number == 0:
        return central(picture, side)
    scale, row, column = (_radical_inverse(number, base) for base in (2, 3, 5))
    height, width = picture.shape[-2:]
    edge = max(1, round(min(height, width) * 2**-scale))
    return _square(picture, round(row * (height - edge)), round(column * (width - edge)), edge, side)


def _radical_inverse(number: int, base: int) -> float:
    """The digits of a number, mirrored at the point: 0 to 1."""
    inverse, digit = 0.0, 1.0
    while number:
        number, rest = divmod(number, base)
        digit /= base
        inverse += rest * digit
    return inverse


def central(picture: Tensor, side: int) -> Tensor:
    """The central square of a picture (1, 3, height, width), side / (side + 32) of its shorter side, at `side` samples:
    bicubic, antialiased, clamped to [0, 1], as these networks are evaluated."""
    height, width = picture.shape[-2:]
    edge = max(1, round(min(height, width) * side / (side + _BORDER)))
    return _square(picture, (height - edge) // 2, (width - edge) // 2, edge, side)


def _square(picture: Tensor, top: int, left: int, edge: int, side: int) -> Tensor:
    import torch

    crop = picture[..., top : top + edge, left : left + edge]
    return torch.nn.functional.interpolate(
        crop, (side, side), mode="bicubic", align_corners=False, antialias=True
    ).clamp(0, 1)


def _efficientnet(name: str) -> nn.Module:
    from fprdo_bridge.importance.efficientnet import load_network, normalised

    network = load_network(name, f"network {name}").requires_grad_(False)
    network.register_forward_pre_hook(lambda _module, inputs: (normalised(inputs[0]),))
    return network


def _plug_in(spec: str) -> nn.Module:
    import torch

    network: nn.Module = call(spec, "network")
    if not isinstance(network, torch.nn.Module):
        raise FprdoError(f"network {spec} returned {type(network).__name__}: return a torch.nn.Module")
    return network.eval().requires_grad_(False)
