"""Feature extractors: the networks whose view of a picture the weights protect.

A plug-in is named `module:callable`. The callable takes no argument and returns

* a `torch.nn.Module` that takes RGB (n, 3, height, width) in [0, 1] and does its task's own preparation (resize,
  normalisation) inside; the user names the layers (names as in `named_modules()`); or
* an `Extractor`, which can also say at which sizes its task looks, and that pictures may be cut into tiles.

For example, in a file `my_task.py` in the current folder or on the Python path::

    def detector():
        return torch.nn.Sequential(Normalise(), torchvision.models.resnet18(weights="DEFAULT"))

    load_extractor("my_task:detector", layers=["1.layer2", "1.layer3"])
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from fprdo_bridge.errors import FprdoError
from fprdo_bridge.importance.device import DEFAULT_DEVICE, exact_arithmetic, find_device, wide
from fprdo_bridge.importance.fingerprint import state_fingerprint
from fprdo_bridge.importance.foreign import guarded
from fprdo_bridge.importance.network import Features, Network
from fprdo_bridge.importance.plug_ins import call_plug_in
from fprdo_bridge.importance.specification import DEFAULT_EXTRACTOR, FULL, Scale, Specification, scale_names

__all__ = ["DEFAULT_EXTRACTOR", "Extractor", "feature_distance", "load_extractor", "state_fingerprint"]


class Extractor:
    """Named feature maps of a torch module, ready for differentiation with respect to the picture.

    The features of a layer are all floating-point tensors that it returns, of each call, in the order of the calls: a
    head that runs on three levels of a pyramid has three, and so has a layer that returns a tuple, list, dictionary or
    dataclass of three. They are copies, so what the network does in place behind a layer does not change them.

    The module itself is prepared: evaluation mode, parameters that need no gradient, in-place activations out-of-place,
    weights in the memory layout that is fast. `Network.run` says how far a forward pass goes.

    Parameters
    ----------
    name : what the metadata call it
    module : takes RGB (n, 3, height, width) float32 in [0, 1]; on the CPU
    layers : names as in `module.named_modules()`, at least one; their order is the order of the features
    strides : for a module that may be run on tiles of a picture, the samples per feature sample of each layer.
        Such a module commutes with shifts by max(strides) samples (convolutions with "same" padding), and each stride
        divides the largest; each layer is called once and returns one Tensor (n, c, h, w). None (default) for all
        others: resizing, attention over the whole picture.
    margin : samples of context that a tile needs around it
    fingerprint : identifies the weights; default: SHA-256 over the module's state
    scales : at which sizes the task looks, each a length of the picture's short side in samples, or None for the
        picture's own size. The picture is resized in front of the module, bicubic and antialiased, without clipping;
        both sides by the same factor, rounded. The features of several scales stand one after another.

    Attributes
    ----------
    name, layers, strides, margin, fingerprint, scales : as given, sequences as tuples
    device : torch.device where the module runs; the CPU until `to` moves it

    Raises
    ------
    FprdoError
        A named layer does not exist, the module's weights are not on the CPU, or its code raises anything.
    """

    def __init__(
        self,
        name: str,
        module: nn.Module,
        layers: Sequence[str],
        *,
        strides: Sequence[int] | None = None,
        margin: int = 0,
        fingerprint: str | None = None,
        scales: Sequence[Scale] = FULL,
    ):
        if not isinstance(module, nn.Module):
            raise FprdoError(f"extractor {name}: {type(module).__name__} given: give a torch.nn.Module")
        if isinstance(layers, str) or not all(isinstance(layer, str) for layer in layers):
            raise FprdoError(f"extractor {name}: layers {layers!r}: give a sequence of names")
        self.name = name
        self.layers = tuple(layers)
        self.strides = None if strides is None else tuple(strides)
        self.margin = margin
        self.scales = tuple(scales)
        self._check_arguments()
        self._network = Network(name, module, self.layers)
        with guarded(f"extractor {name}: its weights cannot be read", "correct the network or give a fingerprint"):
            self.fingerprint = fingerprint or state_fingerprint(module.state_dict())

    @property
    def device(self) -> torch.device:
        return self._network.device

    def to(self, device: str) -> Extractor:
        """Move the module to a device, "auto", "cpu", "cuda" or "mps", and return this extractor.

        Raises FprdoError if there is no such device, or the module cannot be moved.
        """
        self._network.move(find_device(device))
        return self

    def __call__(self, rgb: Tensor) -> list[Tensor]:
        """Features of RGB (n, 3, height, width) float32 in [0, 1], at all scales, on the extractor's device.

        Returns
        -------
        list of Tensor, float, of any shape: by scale, then layer, then call

        Raises
        ------
        FprdoError
            The module fails on this picture, or a layer was not reached or returns no floating-point Tensor.
        """
        return [feature for _, feature in self.named(rgb)]

    def named(self, rgb: Tensor) -> Features:
        """The features of `__call__`, each with a name for messages."""
        if not isinstance(rgb, Tensor) or not rgb.is_floating_point() or rgb.ndim != 4 or 0 in rgb.shape:
            got = f"{rgb.dtype} of shape {tuple(rgb.shape)}" if isinstance(rgb, Tensor) else type(rgb).__name__
            raise FprdoError(f"extractor {self.name}: {got} given: give RGB (n, 3, height, width), float32 in [0, 1]")
        rgb = rgb.to(self.device)
        with exact_arithmetic(self.device):
            return [feature for part in self.parts for feature in part.features(part.resized(rgb))]

    @property
    def parts(self) -> list[Extractor]:
        """An extractor of one scale for each of the scales."""
        if len(self.scales) == 1:
            return [self]
        parts = []
        for scale in self.scales:
            parts.append(copy.copy(self))
            parts[-1].scales = (scale,)
        return parts

    def resized(self, rgb: Tensor) -> Tensor:
        """RGB (n, 3, height, width) as the network sees it: a linear map, part of J. This extractor has one scale."""
        (scale,) = self.scales
        height, width = rgb.shape[-2:]
        if scale is None or scale == min(height, width):
            return rgb
        size = [max(round(side * scale / min(height, width)), 1) for side in (height, width)]
        if rgb.device.type == "cpu":
            return functional.interpolate(rgb, size=size, mode="bicubic", antialias=True)
        # The same as matrices: on a GPU the derivative of `interpolate` adds up in any order, or there is none.
        rows, columns = (_resizing(*sides, rgb.device) for sides in zip((height, width), size))
        return rows @ rgb @ columns.T

    def features(self, picture: Tensor) -> Features:
        """Names and values of the features of a picture (n, 3, height, width) that has its scale already.

        Raises as `__call__`.
        """
        return self._network.run(picture)

    def gradient(
        self, features: Sequence[Tensor], picture: Tensor, cotangents: Sequence[Tensor], *, again: bool = False
    ) -> Tensor:
        """Sum over the features of their cotangents times their derivative in the picture, of the picture's shape.

        Parameters
        ----------
        features : of `features(picture)`, or parts of them
        picture : a leaf that requires a gradient
        cotangents : of the features' shapes and types
        again : whether another gradient of the same features follows

        Raises
        ------
        FprdoError
            The module cannot be differentiated.
        """
        with guarded(
            f"extractor {self.name} has no derivative on a {picture.shape[-1]}x{picture.shape[-2]} picture",
            f"correct the network{self._network.hint()}",
        ):
            # A single number as the root: given cotangents themselves, torch loads a library for symbols first (0.4 s).
            products = [(feature * cotangent).sum() for feature, cotangent in zip(features, cotangents)]
            return torch.autograd.grad(sum(products[1:], products[0]), picture, retain_graph=again)[0]

    def description(self) -> dict[str, object]:
        """What the metadata of a weight file say about the extractor."""
        scales = {} if self.scales == FULL else {"scales": scale_names(self.scales)}
        return {"name": self.name, "layers": list(self.layers), "fingerprint": self.fingerprint, **scales}

    def _check_arguments(self) -> None:
        if not self.layers:
            raise FprdoError(f"extractor {self.name}: name at least one layer")
        for layer in self.layers:
            if self.layers.count(layer) > 1:
                raise FprdoError(f"extractor {self.name}: layer {layer!r} is named twice: name it once")
        if self.strides is not None and (
            len(self.strides) != len(self.layers)
            or not all(isinstance(stride, int) and stride > 0 for stride in self.strides)
            or any(max(self.strides) % stride for stride in self.strides)
        ):
            raise FprdoError(
                f"extractor {self.name}: strides {self.strides} do not fit layers {', '.join(self.layers)}: "
                "give one per layer, each a divisor of the largest"
            )
        if not self.scales or not all(scale is None or isinstance(scale, int) and scale > 0 for scale in self.scales):
            raise FprdoError(
                f"extractor {self.name}: scales {self.scales}: give lengths of the short side, or None for the "
                "picture's own size"
            )


def load_extractor(
    spec: str = DEFAULT_EXTRACTOR, layers: Sequence[str] | None = None, device: str = DEFAULT_DEVICE
) -> Extractor:
    """Load a network by name, or a plug-in by `module:callable`.

    Parameters
    ----------
    spec : NAME[@SCALES][:LAYERS], see `Specification`
    layers : the feature maps to use, where `spec` names none; default for the networks of the package: the last
        blocks at strides 8, 16 and 32. A plug-in that returns a Module needs them; with one that returns an Extractor
        neither layers nor scales are allowed.
    device : where it runs: "auto" (a GPU if there is one), "cpu", "cuda" or "mps"

    Raises
    ------
    FprdoError
        No such device, an unknown name, a package that is not installed (the message names it), a plug-in that cannot
        be imported or returns something else, a layer that does not exist.
    """
    find_device(device)  # before anything is loaded
    given = Specification.parse(spec)
    if given.layers is not None and layers is not None:
        raise FprdoError(f"extractor {spec}: layers are named there and as {', '.join(layers)}: name them once")
    layers = given.layers or layers
    if not given.is_plug_in:
        from fprdo_bridge.importance.efficientnet import load_efficientnet_lite  # which needs this module

        return load_efficientnet_lite(given.name, layers, given.scales).to(device)
    made = call_plug_in(given.name)
    if isinstance(made, Extractor):
        if layers is not None or given.scales != FULL:
            raise FprdoError(f"extractor {given.name} chooses its layers and scales itself: leave them out")
        return made.to(device)
    if isinstance(made, nn.Module):
        if not layers:
            with guarded(f"extractor {given.name} cannot be used", "correct the network"):
                parts = [name for name, _ in made.named_children()]
            raise FprdoError(
                f"extractor {given.name} is a module: name its layers (its parts are {', '.join(parts) or 'none'}), "
                f"like {given.name}:{parts[0] if parts else 'LAYER'}"
            )
        return Extractor(given.name, made, layers, scales=given.scales).to(device)
    raise FprdoError(f"extractor {given.name} returned {type(made).__name__}: return a torch.nn.Module or an Extractor")


def feature_distance(extractor: Extractor, reference: Tensor | Sequence[Tensor], decoded: Tensor) -> float:
    """Relative feature distance of a decoded picture, the quantity that the weights approximate to second order.

    d = 1/F sum over features f of ||f(decoded) - f(reference)||^2 / ||f(reference)||^2

    Parameters
    ----------
    reference : RGB (1, 3, height, width) float32 in [0, 1], or its features `extractor(rgb)`, which are worth keeping
        when many pictures are compared to it
    decoded : RGB of the same shape

    Returns
    -------
    float, 0 for equal features, about 1 where the error is as large as the features

    Raises
    ------
    FprdoError
        The shapes differ, the reference's features are all zero, or the extractor returns NaN or infinity.
    """
    with torch.no_grad():
        if isinstance(reference, Tensor):
            reference = extractor(reference)
        features = extractor.named(decoded)
        if len(features) != len(reference):
            raise FprdoError(
                f"extractor {extractor.name}: gives {len(reference)} features for one picture and "
                f"{len(features)} for the other: name layers that are called alike for every picture"
            )
        total = 0.0
        for f, (name, g) in zip(reference, features):
            if f.shape != g.shape:
                raise FprdoError(
                    f"extractor {extractor.name}: features {name} of the two pictures have shapes "
                    f"{tuple(f.shape)} and {tuple(g.shape)}: compare pictures of one size"
                )
            energy = wide(f).square().sum().item()
            error = (wide(g) - wide(f)).square().sum().item()
            if energy == 0 and error > 0:
                raise FprdoError(
                    f"extractor {extractor.name}: features {name} of the reference picture are all zero, "
                    "no distance is relative to them: leave the layer out"
                )
            total += error / energy if error else 0.0
    distance = total / len(features)
    if not distance < float("inf"):
        raise FprdoError(f"extractor {extractor.name} returns NaN or infinite features: check its preparation")
    return distance


@lru_cache(maxsize=16)
def _resizing(before: int, after: int, device: torch.device) -> Tensor:
    """The matrix (after, before) by which `interpolate` resizes one side, bicubic and antialiased."""
    unit = torch.eye(before)[None, None]
    matrix = functional.interpolate(unit, size=(after, before), mode="bicubic", antialias=True)[0, 0]
    return matrix.to(device)
