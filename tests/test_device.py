"""Devices: names, what is missing, and maps that are the same on each but for rounding."""

import numpy as np
import pytest
import torch
from networks import tiny_extractor
from torch import nn
from torch.nn import functional

from fprdo_bridge.errors import FprdoError
from fprdo_bridge.importance import draws, sketch
from fprdo_bridge.importance.device import exact_arithmetic, find_device, wide
from fprdo_bridge.importance.efficientnet import _Native, _Pointwise, _Rectifier
from fprdo_bridge.importance.extractors import Extractor, _resizing, load_extractor
from fprdo_bridge.importance.memory import reused_memory
from fprdo_bridge.importance.weight_map import WeightMap
from fprdo_bridge.importance.weighting import WeightSettings
from fprdo_bridge.importance.weights import compute_map
from fprdo_bridge.video.colour import float_planes
from fprdo_bridge.video.formats import VideoFormat

FMT = VideoFormat(96, 64)
FRAME = tuple(np.random.default_rng(4).integers(16, 235, shape, dtype=np.uint8) for shape in FMT.plane_shapes)

# What devices may differ by, in weights of mean 1. Most maps are the same but for rounding. In some, rounding decides
# at a rectifier's edge for one probe, as between processors with other kernels too (one map of three at this size).
ROUNDING_RMS = 1e-5
EDGE, EDGE_RMS = 0.5, 2e-2


def strided(layers: int = 2) -> Extractor:
    """Convolutions that may be run on tiles, and so in batches."""
    generator = torch.Generator().manual_seed(1)
    network = nn.Sequential(
        *(
            part
            for index in range(layers)
            for part in (nn.Conv2d(3 if index == 0 else 8, 8, 3, stride=2, padding=1), nn.ReLU())
        )
    )
    for parameter in network.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) / 3
    return Extractor("strided", network, ["1", "3"], strides=(2, 4), margin=16)


def arrays(found: WeightMap) -> list[np.ndarray]:
    return [*found.planes, *(plane for planes in found.shapes.values() for plane in planes)]


def test_names_of_devices():
    assert find_device("cpu") == torch.device("cpu")
    assert find_device().type in ("cpu", "cuda", "mps")
    for wrong in ("gpu", "cuda:0", "", None, 3):
        with pytest.raises(FprdoError, match="device .*use one of auto, cpu, cuda, mps"):
            find_device(wrong)
    with pytest.raises(FprdoError, match="device 'gpu': use one of"):
        WeightSettings(device="gpu")


@pytest.mark.parametrize("name", ["cuda", "mps"])
def test_a_missing_device_is_one_line(monkeypatch, name):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    for ask in (find_device, lambda device: load_extractor("lite0", device=device), tiny_extractor().to):
        with pytest.raises(FprdoError, match=f"^device {name}: torch [^ ]+ sees none here; use cpu") as caught:
            ask(name)
        assert "\n" not in str(caught.value)
    assert find_device("auto").type == "cpu"


@pytest.mark.parametrize("signs", [1, 2, 5])
@pytest.mark.parametrize("rows", [2, 3, 5, 8])
def test_batches_give_the_same_sketches_in_the_same_order(monkeypatch, signs, rows):
    """As a GPU takes them: sketches of a batch share neither noise nor signs with their neighbours."""

    def sketches() -> list[list[torch.Tensor]]:
        found = sketch.sketch_gradients(strided(), float_planes(FRAME), FMT, probes=5, seed=3, signs_per_noise=signs)
        return [list(one) for one in found]

    alone = sketches()
    monkeypatch.setattr(sketch, "batch_size", lambda *_: rows)
    together = sketches()
    assert len(together) == len(alone) == 5
    for a, b in zip(alone, together):
        for x, y in zip(a, b):
            assert torch.allclose(x, y, rtol=0, atol=2e-6 * x.abs().max().item())
    assert not torch.allclose(alone[0][0], alone[1][0], rtol=0, atol=1e-2 * alone[0][0].abs().max().item())


def test_batches_are_for_networks_that_may_be_cut_and_not_for_processors(monkeypatch):
    tiles = sketch.plan_tiles(64, 96, strided())
    assert draws.batch_size(strided(), tiles, 16, 1) == 1
    there = strided()
    there._network.device = torch.device("meta")
    large = sketch.plan_tiles(1024, 1024, there)
    assert draws.batch_size(there, tiles, 16, 1) == draws.batch_size(there, tiles, 16, 4) == 16
    assert draws.batch_size(there, large, 16, 1) == draws.batch_size(there, large, 16, 4) == 8
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (80 << 30, 80 << 30))
    there._network.device = torch.device("cuda")
    assert draws.batch_size(there, tiles, 16, 1) == draws.batch_size(there, tiles, 16, 4) == 16
    assert draws.batch_size(there, large, 16, 1) == 8
    assert draws.batch_size(there, large, 16, 4) == 1  # which share their forward pass instead
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1 << 30, 80 << 30))
    assert draws.batch_size(there, tiles, 200, 1) == (1 << 29) // 1500 // (64 * 96)
    there.strides = None
    assert draws.batch_size(there, tiles, 16, 1) == 1


def test_draws_are_kept_and_stay_the_same():
    planned = draws.Draws([(8, 6), (4, 3)], [[1, 2, 4, 3]], 3, 7, 2)
    first, kept = (list(planned.kept(torch.device("cpu"))) for _ in range(2))
    fresh = list(planned.draw())
    assert kept[0][0][0] is first[0][0][0]
    assert [len(signs) for _, signs in fresh] == [2, 1]
    for groups in (first, kept):
        for (noise, signs), (other, others) in zip(groups, fresh, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(noise, other, strict=True))
            assert all(torch.equal(a, b) for x, y in zip(signs, others, strict=True) for a, b in zip(x, y, strict=True))
    draws._kept.clear()


def test_resizing_by_matrices_is_resizing():
    rgb = torch.rand(2, 3, 41, 67, generator=torch.Generator().manual_seed(2))
    expected = functional.interpolate(rgb, size=(20, 33), mode="bicubic", antialias=True)
    found = _resizing(41, 20, rgb.device) @ rgb @ _resizing(67, 33, rgb.device).T
    assert torch.allclose(found, expected, atol=2e-6)


def test_rectifiers_in_place_have_the_values_and_derivatives_of_others():
    values = torch.tensor([-1.0, 0.0, 1e-3, 3.0, 6.0, 7.0], requires_grad=True)
    cotangent = torch.arange(1.0, 7.0)
    expected = functional.relu6(values)
    (gradient,) = torch.autograd.grad(expected, values, cotangent)
    found = _Rectifier()(values * 1)
    assert torch.equal(found, expected)
    assert torch.equal(torch.autograd.grad(found, values, cotangent)[0], gradient)


@pytest.mark.parametrize("kernel, stride, groups", [(1, 1, 1), (3, 1, 6), (5, 1, 6), (5, 2, 6), (3, 2, 1), (3, 1, 1)])
def test_convolutions_of_gpus_have_the_values_and_derivatives_of_others(kernel, stride, groups):
    generator = torch.Generator().manual_seed(kernel)
    made = 4 if groups == 1 else 6
    values = torch.randn(2, 6, 11, 14, generator=generator, requires_grad=True)
    weight = torch.randn(made, 6 // groups, kernel, kernel, generator=generator)
    bias, padding = torch.randn(made, generator=generator), (kernel // 2, kernel // 2)
    expected = functional.conv2d(values, weight, bias, stride, padding, groups=groups)
    cotangent = torch.randn(expected.shape, generator=generator)
    (gradient,) = torch.autograd.grad(expected, values, cotangent)
    ways = [_Native.apply(values, weight, bias, (stride, stride), padding, groups)]
    ways += [_Pointwise.apply(values, weight, bias)] if kernel == 1 else []
    for found in ways:
        assert torch.allclose(found, expected, atol=1e-5)
        assert torch.allclose(torch.autograd.grad(found, values, cotangent)[0], gradient, atol=1e-5)


def test_reused_memory_changes_nothing_and_nests():
    outside = compute_map(FRAME, FMT, strided(), probes=2)
    with reused_memory(), reused_memory():
        inside = compute_map(FRAME, FMT, strided(), probes=2)
    assert all(np.array_equal(a, b) for a, b in zip(arrays(outside), arrays(inside)))


def test_wide_numbers_and_exact_arithmetic_of_the_processor():
    assert wide(torch.ones(1)).dtype == torch.float64
    with exact_arithmetic(torch.device("cpu")):
        assert strided().to("cpu").device.type == "cpu"


@pytest.mark.skipif(find_device().type == "cpu", reason="torch sees no GPU on this machine")
@pytest.mark.parametrize("extractor", ["lite0@64,full", None], ids=["lite0", "strided"])
def test_devices_agree(extractor):
    """Maps of the GPU are repeatable, and those of the processor within the stated rounding."""

    def made(device: str) -> Extractor:
        return load_extractor(extractor, device=device) if extractor else strided().to(device)

    processor, gpu = made("cpu"), made("auto")
    apart = []
    for seed in range(9):
        rng = np.random.default_rng(seed)
        frame = tuple(rng.integers(16, 235, shape, dtype=np.uint8) for shape in FMT.plane_shapes)
        here, there, again = (arrays(compute_map(frame, FMT, one, probes=4)) for one in (processor, gpu, gpu))
        assert all(np.array_equal(a, b) for a, b in zip(there, again))
        differences = [np.abs(a - b) for a, b in zip(here, there)]
        assert max(map(np.max, differences)) < EDGE
        apart.append(max(float(np.sqrt(np.square(one).mean())) for one in differences))
    assert max(apart) < EDGE_RMS
    assert np.median(apart) < ROUNDING_RMS
