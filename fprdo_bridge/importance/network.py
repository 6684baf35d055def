"""Somebody's network, and what its named layers return while it runs."""

from __future__ import annotations

import dataclasses
import difflib
import itertools
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from fprdo_bridge.errors import FprdoError
from fprdo_bridge.importance.foreign import guarded

Features = list[tuple[str, Tensor]]  # a name for messages, and the feature map


class Network:
    """A torch module whose layers are watched.

    The module is put into evaluation mode, its parameters out of autograd's sight, and its in-place activations made
    out-of-place.

    Parameters
    ----------
    name : what messages call the extractor
    module : takes RGB (n, 3, height, width) float32 in [0, 1]; its weights are on the CPU, until `move`
    layers : names as in `module.named_modules()`, all different

    Raises
    ------
    FprdoError
        A named layer does not exist, the weights are not on the CPU, or the module's code raises anything.
    """

    def __init__(self, name: str, module: nn.Module, layers: Sequence[str]):
        self.name, self.module = name, module
        self.device = torch.device("cpu")
        self._once: set[tuple[int, ...]] = set()  # sizes for which each layer was called once
        with guarded(f"extractor {name} cannot be used", "correct the network"):
            self._layers = self._named_layers(layers)
            self._check_places()
            self._prepare()
            # Convolutions are up to twice as fast in this layout.
            self._use_layout(torch.channels_last)

    def run(self, picture: Tensor) -> Features:
        """Features of a picture (n, 3, height, width): by layer, then call, then tensor.

        Each feature is a copy: what the network does in place behind the layer changes neither values nor derivatives.

        The first pass for a size runs to its end, which shows how often each layer is called. Where that is once, later
        passes end when the last of the layers has returned. What the module raises behind its layers does not matter
        (its head may need more than a picture), unless a layer was called twice and may have further calls to come.

        Raises
        ------
        FprdoError
            The module fails on this picture, a layer was not reached, or it returns no floating-point Tensor.
        """
        size = tuple(picture.shape)
        calls, error = self._pass(picture, stop=size in self._once)
        if error and self._layout != torch.contiguous_format:
            self._use_layout(torch.contiguous_format)  # the network may reshape by view(), which asks for it
            calls, error = self._pass(picture, stop=size in self._once)
        once = all(len(made) == 1 for made in calls.values())
        if error and not once:
            with guarded(
                f"extractor {self.name} fails on a {size[-1]}x{size[-2]} picture",
                f"try another size or correct the network{self.hint()}",
            ):
                raise error
        for layer, made in calls.items():
            if not made:
                raise FprdoError(f"extractor {self.name}: the run never calls layer {layer!r}: name another")
        if once:
            self._once.add(size)
        return list(itertools.chain.from_iterable(itertools.chain.from_iterable(calls.values())))

    def move(self, device: torch.device) -> None:
        """Move the module, which then takes pictures there; FprdoError if it cannot be moved."""
        if device == self.device:
            return
        with guarded(f"extractor {self.name} cannot run on the device {device}", "use the device cpu"):
            self.module.to(device)
            # Only CPUs are faster in the layout channels_last, at 32 bits.
            self._use_layout(torch.channels_last if device.type == "cpu" else torch.contiguous_format)
        self.device = device

    def hint(self) -> str:
        """For messages: what is unusual about the weights' type."""
        types = {tensor.dtype for tensor in self.module.parameters() if tensor.is_floating_point()} - {torch.float32}
        return f" (it has weights of {', '.join(sorted(map(str, types)))}, pictures are float32)" if types else ""

    def _pass(self, picture: Tensor, stop: bool) -> tuple[dict[str, list[Features]], BaseException | None]:
        """One forward pass: the tensors of each call of each layer, and what the module raised."""
        calls: dict[str, list[Features]] = {layer: [] for layer in self._layers}
        refused: list[FprdoError] = []

        def keep(layer: str, output: object) -> None:
            if not (stop and all(calls.values())):
                features = _named(layer, len(calls[layer]), output)
                if not features:
                    refused.append(
                        FprdoError(
                            f"extractor {self.name}: layer {layer!r} returns {type(output).__name__} "
                            "without a floating-point Tensor: name another layer"
                        )
                    )
                    raise refused[0]
                calls[layer].append(features)
            if stop and all(calls.values()):
                raise _Reached

        hooks = []
        error: BaseException | None = None
        try:
            for name, part in self._layers.items():
                hooks.append(
                    part.register_forward_hook(lambda _module, _inputs, output, layer=name: keep(layer, output))
                )
            self.module(picture.clone(memory_format=self._layout))  # a copy: the module may work in place
        except (_Reached, KeyboardInterrupt) as stopped:
            if isinstance(stopped, KeyboardInterrupt):
                raise
        except BaseException as raised:  # whatever somebody's network raises
            error = raised
        finally:
            for hook in hooks:
                hook.remove()
        if refused:  # whether or not the network caught it
            raise refused[0]
        return calls, error

    def _named_layers(self, names: Sequence[str]) -> dict[str, nn.Module]:
        modules = dict(self.module.named_modules(remove_duplicate=False))  # a shared module has several names
        layers: dict[str, nn.Module] = {}
        for name in names:
            if name not in modules:
                near = difflib.get_close_matches(name, modules, n=4, cutoff=0.3) or list(modules)[1:5]
                raise FprdoError(f"extractor {self.name}: no layer {name!r}: near names are {', '.join(near)}")
            for other, part in layers.items():
                if part is modules[name]:
                    raise FprdoError(
                        f"extractor {self.name}: layers {other!r} and {name!r} are one and the same: name one"
                    )
            layers[name] = modules[name]
        return layers

    def _check_places(self) -> None:
        for name, tensor in itertools.chain(self.module.named_parameters(), self.module.named_buffers()):
            if nn.parameter.is_lazy(tensor):
                raise FprdoError(
                    f"extractor {self.name}: {name} has no weights yet: run the network once before it is "
                    "returned, or load its weights"
                )
            if tensor.device.type != "cpu":
                raise FprdoError(
                    f"extractor {self.name}: {name} is on the device {tensor.device}: return the network with "
                    "its weights on the CPU"
                )

    def _prepare(self) -> None:
        self.module.eval()
        for parameter in self.module.parameters():
            parameter.requires_grad_(False)
        for part in self.module.modules():
            if getattr(part, "inplace", False) is True:
                part.inplace = False  # type: ignore[assignment]

    def _use_layout(self, layout: torch.memory_format) -> None:
        self._layout = layout
        for tensor in itertools.chain(self.module.parameters(), self.module.buffers()):
            if tensor.ndim == 4 and tensor.is_floating_point():
                tensor.data = tensor.data.contiguous(memory_format=layout)


class _Reached(BaseException):
    """Leaves a forward pass whose rest nobody needs; no `except Exception` of a network may stop it."""


def _named(layer: str, call: int, output: object) -> Features:
    """Copies of the tensors in what a call returned."""
    tensors = list(_tensors(output))
    name = repr(layer) if call == 0 else f"{layer!r} (call {call + 1})"
    return [
        (name if len(tensors) == 1 else f"{name} (tensor {index + 1})", tensor.clone())
        for index, tensor in enumerate(tensors)
    ]


def _tensors(output: object) -> Iterator[Tensor]:
    """The floating-point tensors in an output, in order; complex ones as pairs of real numbers."""
    if isinstance(output, Tensor):
        if output.is_floating_point():
            yield output
        elif output.is_complex():
            yield torch.view_as_real(output.resolve_conj())
    elif isinstance(output, Mapping):
        for item in output.values():
            yield from _tensors(item)
    elif isinstance(output, Sequence) and not isinstance(output, (str, bytes)):
        for item in output:
            yield from _tensors(item)
    elif dataclasses.is_dataclass(output) and not isinstance(output, type):
        for field in dataclasses.fields(output):
            yield from _tensors(getattr(output, field.name))
