"""Unusual modules work, or are refused in one line that names the extractor; so is whatever their code raises."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from fprdo_bridge.errors import FprdoError
from fprdo_bridge.importance.extractors import Extractor
from fprdo_bridge.importance.fingerprint import state_fingerprint
from fprdo_bridge.importance.weights import compute_map
from fprdo_bridge.video.formats import VideoFormat

FMT = VideoFormat(16, 12)
FRAME = tuple(np.random.default_rng(1).integers(40, 200, shape, dtype=np.uint8) for shape in FMT.plane_shapes)


class Wrapped(nn.Module):
    """A convolution called `layer` that sees what `before` makes of the picture, then `after`."""

    def __init__(self, layer=None, before=lambda x: x, after=lambda x: x):
        super().__init__()
        torch.manual_seed(1)
        self.layer, self.before, self.after = layer or nn.Conv2d(3, 4, 3), before, after

    def forward(self, rgb):
        return self.after(self.layer(self.before(rgb)))


class ExtraState(Wrapped):
    def get_extra_state(self):
        return {"classes": ["cat", "dog"], "scale": 1.5, "table": np.arange(3), "options": {1, 2}}

    def set_extra_state(self, state):
        pass


class Recurrent(nn.Module):
    """Rows through an LSTM."""

    def __init__(self):
        super().__init__()
        self.layer = nn.LSTM(3 * 16, 5, batch_first=True)

    def forward(self, rgb):
        return self.layer(rgb.transpose(1, 2).flatten(2))[0]


class Flattening(nn.Module):
    """view() wants the layout that pictures have elsewhere."""

    def __init__(self):
        super().__init__()
        self.convolution, self.layer = nn.Conv2d(3, 4, 3), nn.Linear(14 * 10 * 4, 3)

    def forward(self, rgb):
        return self.layer(self.convolution(rgb).view(len(rgb), -1))


class SharedView(nn.Module):
    """A shared layer behind which view() fails in the other layout: its second call is not lost."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, rgb):
        once = self.layer(rgb)
        once.view(len(rgb), -1)
        return self.layer(once)


def quantised() -> nn.Module:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 5)).eval()
    return torch.ao.quantization.quantize_dynamic(network, {nn.Linear})


def with_buffers(*buffers: torch.Tensor) -> nn.Module:
    network = Wrapped()
    for index, buffer in enumerate(buffers):
        network.register_buffer(f"buffer{index}", buffer)
    return network


def spectral() -> nn.Module:
    return Wrapped(parametrizations.spectral_norm(nn.Conv2d(3, 4, 3)))


def old_weight_norm() -> nn.Module:
    with pytest.warns(FutureWarning):
        return Wrapped(nn.utils.weight_norm(nn.Conv2d(3, 4, 3)))


def tied() -> nn.Module:
    network = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1))
    network[1].weight = network[0].weight
    return network


@pytest.mark.parametrize(
    "make, layer",
    [
        (ExtraState, "layer"),
        (quantised, "0"),
        (lambda: Wrapped(nn.Conv3d(3, 4, (1, 3, 3)), lambda x: x.unsqueeze(2)), "layer"),
        (lambda: nn.Sequential(nn.Unflatten(1, (3, 1)), nn.Conv3d(3, 8, (1, 3, 3))), "1"),
        (
            lambda: with_buffers(
                torch.rand(3).half(),
                torch.rand(2, 2).bfloat16(),
                torch.rand(4, dtype=torch.complex64).conj(),
                torch.rand(1, 2, 3, 3).double(),
                torch.tensor(True),
                torch.rand(0, 3),
                torch.rand(2, 2).to_sparse(),
                torch.quantize_per_tensor(torch.rand(1, 2, 3, 3), 0.1, 3, torch.qint8),
            ),
            "layer",
        ),
        (lambda: Wrapped(parametrizations.weight_norm(nn.Conv2d(3, 4, 3))), "layer"),
        (old_weight_norm, "layer"),
        (spectral, "layer"),
        (Recurrent, "layer"),
        (tied, "1"),
        (Flattening, "layer"),
        (Flattening, "convolution"),
        (SharedView, "layer"),
        (lambda: nn.DataParallel(Wrapped()), "module.layer"),
        (
            lambda: Wrapped(
                nn.TransformerEncoderLayer(3, 1, 8, batch_first=True), lambda x: x.flatten(2).transpose(1, 2)
            ),
            "layer",
        ),
        (lambda: Wrapped(nn.ConvTranspose2d(3, 2, 3, stride=2)), "layer"),
    ],
)
def test_modules_that_work(make, layer):
    extractor = Extractor("unusual", make(), [layer])
    weight_map = compute_map(FRAME, FMT, extractor, probes=2)
    assert weight_map.plane_gain[0] == 1 and all(gain > 0 for gain in weight_map.plane_gain[1:])
    assert len(extractor(torch.rand(1, 3, 12, 16))) == {SharedView: 2, Recurrent: 3}.get(make, 1)
    assert extractor.fingerprint.startswith("sha256:")


class RaisingIn(Wrapped):
    """Raises in one of its methods, once it is made."""

    def __init__(self, method: str, error: BaseException):
        super().__init__()
        self.method, self.error = method, error

    def _maybe(self, method: str) -> None:
        if self.__dict__.get("method") == method:
            raise self.error

    def train(self, mode=True):
        self._maybe("eval")
        return super().train(mode)

    def state_dict(self, *args, **kwargs):
        self._maybe("state_dict")
        return super().state_dict(*args, **kwargs)

    def named_modules(self, *args, **kwargs):
        self._maybe("named_modules")
        return super().named_modules(*args, **kwargs)

    def named_parameters(self, *args, **kwargs):
        self._maybe("named_parameters")
        return super().named_parameters(*args, **kwargs)

    def forward(self, rgb):
        self._maybe("forward")
        return super().forward(rgb)


class Unspeakable(Exception):
    def __str__(self):
        raise ValueError


class Own(BaseException):
    pass


@pytest.mark.parametrize("method", ["eval", "state_dict", "named_modules", "named_parameters", "forward"])
@pytest.mark.parametrize(
    "error, said",
    [
        (KeyError("x"), "KeyError: 'x'"),
        (SystemExit(3), "SystemExit: 3"),
        (RecursionError("too deep"), "RecursionError: too deep"),
        (Own("a\nb"), "Own: a"),
        (NotImplementedError(), "NotImplementedError: no message"),
        (Unspeakable(), "Unspeakable: its text cannot be had"),
        (MemoryError(), "MemoryError"),
        (GeneratorExit(), "GeneratorExit"),
        (StopIteration("z"), "StopIteration: z"),
    ],
)
def test_what_a_module_raises_is_one_line(method, error, said):
    with pytest.raises(FprdoError) as caught:
        Extractor("raising", RaisingIn(method, error), ["layer"])(torch.rand(1, 3, 8, 8))
    assert (
        str(caught.value).startswith("extractor raising")
        and said in str(caught.value)
        and "\n" not in str(caught.value)
    )


@pytest.mark.parametrize("method", ["eval", "state_dict", "named_modules", "forward"])
def test_ctrl_c_stays_a_stop(method):
    with pytest.raises(KeyboardInterrupt):
        Extractor("stopped", RaisingIn(method, KeyboardInterrupt()), ["layer"])(torch.rand(1, 3, 8, 8))


def test_endless_recursion_is_one_line():
    def deeper(x):
        return deeper(x)

    with pytest.raises(FprdoError, match="extractor deep fails on a 8x8 picture: RecursionError: "):
        Extractor("deep", Wrapped(before=deeper), ["layer"])(torch.rand(1, 3, 8, 8))


class Backwards(torch.autograd.Function):
    @staticmethod
    def forward(context, x):
        return x.clone()

    @staticmethod
    def backward(context, gradient):
        raise SystemExit(1)


def changed_after(x):
    y = torch.sigmoid(x)
    z = y * 1
    y += 1  # what the derivative of sigmoid needs
    return z


@pytest.mark.parametrize(
    "make, layer, message",
    [
        (quantised, "3", "has no derivative on a 16x12 picture: RuntimeError"),
        (
            lambda: Wrapped(before=Backwards.apply),
            "layer",
            "has no derivative on a 16x12 picture: SystemExit: 1; correct the network",
        ),
        (
            lambda: Wrapped(before=changed_after),
            "layer",
            "has no derivative on a 16x12 picture: RuntimeError: one of the variables",
        ),
        (
            lambda: Wrapped(before=torch.detach),
            "layer",
            "layer 'layer' has no derivative in the picture: let its module run",
        ),
        (
            lambda: Wrapped(before=lambda x: torch.from_numpy(x.numpy(force=True).copy())),
            "layer",
            "has no derivative in the picture",
        ),
        (lambda: Wrapped(before=torch.inference_mode()(lambda x: x * 1)), "layer", "(has no derivative|fails on a)"),
        (
            lambda: Wrapped().half(),
            "layer",
            r"fails on a 16x12 picture: .*it has weights of torch.float16, pictures are float32",
        ),
        (lambda: Wrapped().double(), "layer", "it has weights of torch.float64"),
        (lambda: Wrapped(after=lambda x: x / 0), "", "NaN or infinite features"),
        (
            lambda: torch.jit.script(nn.Sequential(nn.Conv2d(3, 4, 3))),
            "0",
            "fails on a 16x12 picture: RuntimeError: .*ScriptModules",
        ),
        (
            lambda: torch.jit.trace(nn.Sequential(nn.Conv2d(3, 4, 3)), torch.zeros(1, 3, 12, 16)),
            "0",
            "the run never calls layer '0': name another",
        ),
    ],
)
def test_modules_that_are_refused_when_they_run(make, layer, message):
    with pytest.raises(FprdoError, match=f"^extractor refused.*{message}") as caught:
        compute_map(FRAME, FMT, Extractor("refused", make(), [layer]), probes=1)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "make, message",
    [
        (
            lambda: Wrapped().to("meta"),
            "layer.weight is on the device meta: return the network with its weights on the CPU",
        ),
        (lambda: with_buffers(torch.rand(3, device="meta")), "buffer0 is on the device meta"),
        (lambda: Wrapped(nn.LazyConv2d(4, 3)), "layer.weight has no weights yet: run the network once"),
        (lambda: Wrapped().state_dict(), "OrderedDict given: give a torch.nn.Module"),
        (lambda: None, "NoneType given"),
        (lambda: Wrapped, "type given"),
    ],
)
def test_modules_that_are_refused_at_once(make, message):
    with pytest.raises(FprdoError, match=f"^extractor refused: {message}"):
        Extractor("refused", make(), ["layer"])


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"layers": "layer"}, "layers 'layer': give a sequence of names"),
        ({"layers": [0]}, r"layers \[0\]: give a sequence"),
        ({"strides": [0]}, "do not fit"),
        ({"strides": [2.0]}, "do not fit"),
        ({"scales": ()}, "scales"),
        ({"scales": (0,)}, "scales"),
        ({"scales": ("224",)}, "scales"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(FprdoError, match=f"extractor wrong: .*{message}"):
        Extractor("wrong", Wrapped(), **{"layers": ["layer"]} | arguments)


def test_fingerprint_sees_what_lies_beside_the_weights():
    def of(**state):
        network = ExtraState()
        network.get_extra_state = lambda: {**ExtraState.get_extra_state(network), **state}
        return Extractor("extra", network, ["layer"]).fingerprint

    assert (
        of() == of()
        and len({of(), of(scale=2.5), of(classes=["cat"]), of(table=np.arange(4)), of(options={1, 3})}) == 5
    )
    assert (
        Extractor("quantised", quantised(), ["0"]).fingerprint != Extractor("quantised", quantised(), ["0"]).fingerprint
    )
    network = quantised()
    assert state_fingerprint(network.state_dict()) == state_fingerprint(network.state_dict())


def test_what_has_no_fingerprint_is_said():
    network = ExtraState()
    network.get_extra_state = lambda: lambda: None
    with pytest.raises(
        FprdoError, match="extractor extra: its weights cannot be read: .*; correct the network or give a finger"
    ):
        Extractor("extra", network, ["layer"])
    assert Extractor("extra", network, ["layer"], fingerprint="mine").fingerprint == "mine"
