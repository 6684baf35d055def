"""What a layer returned is what is measured and differentiated, whatever the network does with it afterwards."""

import collections
import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from fprdo_bridge.errors import FprdoError
from fprdo_bridge.importance.extractors import Extractor, feature_distance
from fprdo_bridge.importance.sketch import sketch_gradients
from fprdo_bridge.importance.weights import compute_map
from fprdo_bridge.video.colour import float_planes, planes_to_rgb
from fprdo_bridge.video.formats import VideoFormat

FMT = VideoFormat(12, 8)
FRAME = tuple(np.random.default_rng(1).integers(40, 200, shape, dtype=np.uint8) for shape in FMT.plane_shapes)


class Residual(nn.Module):
    """Two layers with a residual block's operations in place behind the first, or the same written out of place."""

    def __init__(self, how: str):
        super().__init__()
        torch.manual_seed(3)
        self.how = how
        self.stem, self.conv, self.next = (nn.Conv2d(inputs, 4, 3, padding=1) for inputs in (3, 4, 4))

    def forward(self, rgb):
        a = self.stem(rgb)
        b = self.conv(a)
        if self.how == "pure":
            b = (b + 10 * a).relu()
        elif self.how == "in place":
            b += 10 * a
            b.relu_()
        elif self.how == "through a view":
            flat = b.view(-1)
            flat += (10 * a).view(-1)
            functional.relu(b.flatten(1), inplace=True)
        elif self.how == "data":
            b.data.mul_(3)  # behind autograd's back: neither values nor derivatives of the layer
            b = (b.data / 3 + 10 * a).relu() + 0 * b
        return self.next(b)


def sketches(extractor: Extractor, probes: int = 2) -> list[torch.Tensor]:
    return [
        torch.cat([g.flatten() for g in gradients])
        for gradients in sketch_gradients(extractor, float_planes(FRAME), FMT, probes=probes, jitter=0)
    ]


@pytest.mark.parametrize(
    "layers", [["conv"], ["next"], ["conv", "next"], ["next", "conv"], ["stem", "conv", "next"]], ids=str
)
@pytest.mark.parametrize("how", ["in place", "through a view"])
def test_in_place_operations_behind_a_layer_change_nothing(how, layers):
    """Features and gradients are those of the network that is written without them."""
    pure, other = (Extractor("net", Residual(kind), layers) for kind in ("pure", how))
    rgb = planes_to_rgb(float_planes(FRAME), FMT)
    for _ in range(2):  # the first pass runs to its end, the second stops
        for f, g in zip(pure(rgb), other(rgb), strict=True):
            assert torch.allclose(f, g, rtol=1e-5, atol=1e-5)
    for f, g in zip(sketches(pure), sketches(other)):
        assert torch.allclose(f, g, rtol=1e-4, atol=1e-5 * f.abs().max().item())


def test_gradients_are_those_of_the_exact_jacobian():
    """Mean of g g^T over many draws is J^T J on its diagonal, J by autograd from the pure network alone."""
    pure = Residual("pure").eval().requires_grad_(False)
    planes = float_planes(FRAME)

    def features(*leaves):
        a = pure.stem(planes_to_rgb(leaves, FMT))
        b = pure.conv(a)
        return b.flatten(), pure.next((b + 10 * a).relu()).flatten()

    blocks = torch.autograd.functional.jacobian(features, tuple(planes))
    norms = [f.norm() for f in features(*planes)]
    jacobian = torch.cat(
        [
            torch.cat([part.flatten(1) for part in layer], 1) / (norm * math.sqrt(2))
            for layer, norm in zip(blocks, norms)
        ]
    )
    exact = jacobian.square().sum(0)
    probes = 300
    extractor = Extractor("net", Residual("in place"), ["conv", "next"])
    mean = sum(g.square() for g in sketches(extractor, probes)) / probes
    assert ((mean - exact).abs() <= 6 * math.sqrt(2 / probes) * exact + 1e-9).all()


def test_the_picture_is_not_changed_by_a_network_that_works_in_place():
    class Normalise(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Conv2d(3, 2, 1)

        def forward(self, rgb):
            rgb -= 0.5
            rgb.clamp_(-0.4, 0.4)
            return self.layer(rgb)

    torch.manual_seed(1)
    extractor = Extractor("net", Normalise(), ["layer"])
    for rgb in (torch.rand(1, 3, 4, 5), torch.rand(1, 3, 4, 5).contiguous(memory_format=torch.channels_last)):
        before = rgb.clone()
        first, again = extractor(rgb)[0], extractor(rgb)[0]
        assert torch.equal(rgb, before) and torch.equal(first, again)
        assert feature_distance(extractor, rgb, rgb) == 0
    assert all(g.abs().max() > 0 for g in sketches(extractor))


class Pyramid(nn.Module):
    """One head on three levels."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(5)
        self.levels = nn.ModuleList(nn.Conv2d(inputs, 4, 3, stride=2, padding=1) for inputs in (3, 4, 4))
        self.head = nn.Conv2d(4, 2, 3, padding=1)
        self.other = nn.Conv2d(4, 1, 1)

    def forward(self, rgb):
        results = []
        for level in self.levels:
            rgb = level(rgb)
            results.append(self.head(rgb))
        return results, self.other(rgb)


def test_all_calls_of_a_shared_layer_count():
    network = Pyramid()
    extractor = Extractor("pyramid", network, ["other", "head"])
    rgb = torch.rand(1, 3, 16, 24)
    for _ in range(2):
        features = extractor(rgb)
        assert [tuple(f.shape) for f in features] == [(1, 1, 2, 3), (1, 2, 8, 12), (1, 2, 4, 6), (1, 2, 2, 3)]
        expected, other = network(rgb)
        for f, g in zip(features, [other, *expected], strict=True):
            assert torch.allclose(f, g, atol=1e-6)
    decoded = rgb + 0.05
    terms = [((f - g).square().sum() / f.square().sum()).item() for f, g in zip(extractor(rgb), extractor(decoded))]
    assert feature_distance(extractor, rgb, decoded) == pytest.approx(sum(terms) / 4, rel=1e-5)


def test_gradients_run_through_all_calls_of_a_shared_layer():
    """Sketches of the shared head are those of a network whose three heads are copies."""

    class Copies(Pyramid):
        def __init__(self):
            super().__init__()
            self.heads = nn.ModuleList(nn.Conv2d(4, 2, 3, padding=1) for _ in range(3))
            for head in self.heads:
                head.load_state_dict(self.head.state_dict())

        def forward(self, rgb):
            for level, head in zip(self.levels, self.heads):
                rgb = level(rgb)
                head(rgb)

    shared = sketches(Extractor("shared", Pyramid(), ["head"]))
    copies = sketches(Extractor("copies", Copies(), ["heads.0", "heads.1", "heads.2"]))
    for f, g in zip(shared, copies):
        assert torch.allclose(f, g, rtol=1e-4, atol=1e-6 * f.abs().max().item())


@dataclasses.dataclass
class Output:
    name: str
    maps: dict
    count: int


class Returning(nn.Module):
    """A layer that returns what `make` makes of two feature maps, and a layer behind it."""

    def __init__(self, make):
        super().__init__()
        torch.manual_seed(6)
        self.block = nn.Module()
        self.block.convolution = nn.Conv2d(3, 4, 1)
        self.block.forward = lambda rgb: make(self.block.convolution(rgb), rgb * 2)

    def forward(self, rgb):
        return self.block(rgb)


Pair = collections.namedtuple("Pair", "first second")


@pytest.mark.parametrize(
    "make",
    [
        lambda a, b: (a, b),
        lambda a, b: [a, b],
        lambda a, b: {"a": a, "b": b},
        Pair,
        lambda a, b: collections.OrderedDict(x=a, y=b),
        lambda a, b: Output("net", {"levels": [a, (b,)]}, 2),
        lambda a, b: (a, None, "text", torch.tensor([1, 2]), [[b]], {}),
        lambda a, b: {"scores": (a,), "labels": torch.zeros(3, dtype=torch.long), "maps": {"b": b}},
    ],
)
def test_layers_that_return_several_tensors(make):
    network = Returning(make)
    rgb = torch.rand(1, 3, 4, 5)
    features = Extractor("net", network, ["block"])(rgb)
    assert len(features) == 2
    assert torch.allclose(features[0], network.block.convolution(rgb), atol=1e-6) and torch.equal(features[1], rgb * 2)
    assert compute_map(FRAME, FMT, Extractor("net", network, ["block"]), probes=2).plane_gain[1] > 0


@pytest.mark.parametrize(
    "make, kind",
    [
        (lambda a, b: None, "NoneType"),
        (lambda a, b: (), "tuple"),
        (lambda a, b: "text", "str"),
        (lambda a, b: {}, "dict"),
        (lambda a, b: a > 0, "Tensor"),
        (lambda a, b: (a * 10).long(), "Tensor"),
        (lambda a, b: [1, (2, None)], "list"),
    ],
)
def test_layers_that_return_nothing_with_a_derivative(make, kind):
    extractor = Extractor("net", Returning(make), ["block"])
    with pytest.raises(
        FprdoError, match=f"^extractor net: layer 'block' returns {kind} without a floating-point Tensor: name"
    ):
        extractor(torch.rand(1, 3, 4, 5))


def test_a_refused_layer_is_said_although_the_network_catches_it():
    class Careful(Returning):
        def forward(self, rgb):
            try:
                return self.block(rgb)
            except BaseException:
                return None

    with pytest.raises(FprdoError, match="layer 'block' returns NoneType"):
        Extractor("net", Careful(lambda a, b: None), ["block"])(torch.rand(1, 3, 4, 5))


def test_complex_features_are_pairs_of_real_ones():
    rgb = torch.rand(1, 3, 4, 5)
    (feature,) = Extractor("net", Returning(lambda a, b: torch.fft.fft2(a).conj()), ["block"])(rgb)
    assert feature.shape == (1, 4, 4, 5, 2) and feature.dtype == torch.float32 and feature[..., 1].abs().max() > 0
    assert all(
        g.abs().max() > 0 for g in sketches(Extractor("net", Returning(lambda a, b: torch.fft.fft2(a)), ["block"]))
    )


@pytest.mark.parametrize(
    "view",
    [
        lambda a: a[:, ::2],
        lambda a: a.transpose(1, 2),
        lambda a: a.expand(2, -1, -1, -1),
        lambda a: a.flatten(),
        lambda a: a.sum(),
    ],
    ids=["slice", "transpose", "expand", "flat", "scalar"],
)
def test_layers_that_return_views(view):
    class Viewing(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(2)
            self.stem, self.view = nn.Conv2d(3, 4, 1), nn.Identity()
            self.view.forward = view

        def forward(self, rgb):
            a = self.stem(rgb)
            b = self.view(a)
            a.mul_(0)  # what the view looks at
            return b

    network = Viewing()
    rgb = planes_to_rgb(float_planes(FRAME), FMT)
    (feature,) = Extractor("net", network, ["view"])(rgb)
    assert torch.allclose(feature, view(network.stem(rgb)), atol=1e-6)
    assert all(g.abs().max() > 0 for g in sketches(Extractor("net", network, ["view"])))


def test_a_network_may_catch_exceptions():
    class Careful(Residual):
        def forward(self, rgb):
            try:
                return super().forward(rgb)
            except Exception:
                return self.stem(rgb)

    extractor = Extractor("net", Careful("pure"), ["stem", "conv"])
    for _ in range(3):
        assert len(extractor(torch.rand(1, 3, 4, 5))) == 2


def test_what_fails_behind_the_last_layer_is_not_needed():
    """A detector's head may need more than a picture; but a shared layer may have more calls to come."""

    class Headed(nn.Module):
        def __init__(self, calls: int):
            super().__init__()
            self.calls, self.body = calls, nn.Conv2d(3, 2, 1)

        def forward(self, rgb, targets=None):
            for _ in range(self.calls):
                self.body(rgb)
            return targets["boxes"]

    rgb = torch.rand(1, 3, 4, 5)
    extractor = Extractor("once", Headed(1), ["body"])
    assert len(extractor(rgb)) == len(extractor(rgb)) == 1
    for calls in (0, 2):
        with pytest.raises(FprdoError, match="extractor more fails on a 5x4 picture: TypeError"):
            Extractor("more", Headed(calls), ["body"])(rgb)


def test_strides_are_for_layers_that_are_called_once():
    extractor = Extractor("pyramid", Pyramid(), ["head"], strides=[8])
    with pytest.raises(FprdoError, match="its 1 layers give 3 features, and it has a stride for each layer"):
        next(sketch_gradients(extractor, float_planes(FRAME), FMT))


def test_layers_whose_calls_or_sizes_depend_on_the_picture():
    class Changing(nn.Module):
        def __init__(self, shape: bool):
            super().__init__()
            self.shape, self.layer, self.passes = shape, nn.Conv2d(3, 2, 1), 0

        def forward(self, rgb):
            self.passes += 1
            if self.shape:
                return self.layer(rgb[..., self.passes :])
            for _ in range(1 + self.passes):
                self.layer(rgb)

    with pytest.raises(FprdoError, match="gives 2 features for the picture and 3 for the picture with noise"):
        compute_map(FRAME, FMT, Extractor("net", Changing(False), ["layer"]), probes=1)
    with pytest.raises(
        FprdoError, match=r"layer 'layer' gives \(1, 2, 8, 11\) features for the picture and \(1, 2, 8, 10\) for"
    ):
        compute_map(FRAME, FMT, Extractor("net", Changing(True), ["layer"]), probes=1)
    with pytest.raises(FprdoError, match="gives 2 features for one picture and 3 for the other"):
        feature_distance(Extractor("net", Changing(False), ["layer"]), torch.rand(1, 3, 4, 5), torch.rand(1, 3, 4, 5))


def test_one_module_under_two_names_is_one_layer():
    network = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU())
    network.add_module("2", network[0])  # tied
    rgb = torch.rand(1, 3, 4, 5)
    for name in ("0", "2"):
        assert len(Extractor("tied", network, [name])(rgb)) == 2
    for layers, message in (
        (["0", "2"], "layers '0' and '2' are one and the same: name one"),
        (["0", "1", "0"], "'0' is named twice"),
    ):
        with pytest.raises(FprdoError, match=message):
            Extractor("tied", network, layers)


def test_sketches_in_a_place_without_gradients():
    """Under a caller's no_grad, and after a plug-in has switched gradients off for good."""
    extractor = Extractor("net", Residual("pure"), ["next"])
    expected = sketches(extractor)
    with torch.no_grad():
        assert all(torch.equal(f, g) for f, g in zip(sketches(extractor), expected))
