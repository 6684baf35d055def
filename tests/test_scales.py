"""Extractors that look at a picture of another size: resizing is part of the Jacobian."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from fprdo_bridge.importance.extractors import Extractor, feature_distance, load_extractor
from fprdo_bridge.importance.idse_file import IdseFile
from fprdo_bridge.importance.sketch import plan_tiles, sketch_gradients
from fprdo_bridge.importance.weighting import WeightSettings, write_weights
from fprdo_bridge.importance.weights import compute_map
from fprdo_bridge.video.colour import float_planes, planes_to_rgb
from fprdo_bridge.video.formats import VideoFormat, coded_format
from fprdo_bridge.video.source import open_source

FMT = VideoFormat(45, 30)
FRAME = tuple(np.random.default_rng(2).integers(40, 200, shape, dtype=np.uint8) for shape in FMT.plane_shapes)


def seeing(*scales) -> Extractor:
    """The picture as the network sees it is the feature."""
    return Extractor("seeing", nn.Sequential(nn.Identity()), ["0"], scales=scales)


def small(*scales, strides=(2, 4)) -> Extractor:
    torch.manual_seed(7)
    network = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.Tanh(), nn.Conv2d(4, 5, 3, stride=2, padding=1))
    return Extractor("small", network, ["1", "2"], strides=strides, margin=8, scales=scales)


@pytest.mark.parametrize(
    "height, width, scale, size",
    [
        (30, 45, 16, (16, 24)),
        (45, 30, 16, (24, 16)),
        (30, 45, 60, (60, 90)),
        (30, 31, 20, (20, 21)),
        (3, 300, 20, (20, 2000)),
        (33, 33, 16, (16, 16)),
    ],
)
def test_resizing_is_that_of_pil(height, width, scale, size):
    """Bicubic with antialiasing, in floating point and without clipping; the short side has the scale's length."""
    rgb = torch.rand((1, 3, height, width), generator=torch.Generator().manual_seed(1))
    (seen,) = seeing(scale)(rgb.double())
    assert seen.shape == (1, 3, *size)
    for channel in range(3):
        expected = Image.fromarray(rgb[0, channel].numpy(), mode="F").resize(size[::-1], Image.Resampling.BICUBIC)
        assert np.allclose(seen[0, channel].numpy(), np.asarray(expected), atol=2e-6)


def test_a_picture_of_the_scale_is_left_alone():
    rgb = torch.rand(1, 3, 30, 45)
    for scales in ((30,), (None,)):
        assert torch.equal(seeing(*scales)(rgb)[0], rgb)


@pytest.mark.parametrize("scale", [16, 29, 30, 77, None])
def test_gradient_is_the_adjoint_of_resizing(scale):
    """<R x, y> = <x, R^T y> for every x and y, in double precision."""
    extractor = seeing(scale)
    generator = torch.Generator().manual_seed(3)
    x = torch.randn((1, 3, 30, 45), generator=generator, dtype=torch.float64).requires_grad_()
    seen = extractor.resized(x)
    y = torch.randn(seen.shape, generator=generator, dtype=torch.float64)
    adjoint = extractor.gradient([seen], x, [y])
    assert (seen * y).sum().item() == pytest.approx((x * adjoint).sum().item(), rel=1e-12)
    assert adjoint.shape == x.shape and (adjoint.abs() > 0).float().mean() > 0.99


@pytest.mark.parametrize("scale", [20, 37])
def test_sketches_are_those_of_a_network_that_resizes_itself(scale):
    """By an extractor that knows nothing of scales, and with the exact Jacobian's diagonal as their mean."""

    class Resizing(nn.Module):
        def __init__(self, network):
            super().__init__()
            self.network = network

        def forward(self, rgb):
            size = (scale, round(45 * scale / 30))
            return self.network(nn.functional.interpolate(rgb, size=size, mode="bicubic", antialias=True))

    outer = Extractor("outer", Resizing(small(None)._network.module), ["network.1", "network.2"])
    inner = small(scale, strides=None)
    rgb = planes_to_rgb(float_planes(FRAME), FMT)
    for f, g in zip(inner(rgb), outer(rgb), strict=True):
        assert torch.allclose(f, g, atol=1e-6)
    assert feature_distance(inner, rgb, rgb + 0.1) == pytest.approx(feature_distance(outer, rgb, rgb + 0.1), rel=1e-5)
    for f, g in zip(
        sketch_gradients(inner, float_planes(FRAME), FMT, probes=2),
        sketch_gradients(outer, float_planes(FRAME), FMT, probes=2),
    ):
        for a, b, shape in zip(f, g, FMT.plane_shapes):
            assert a.shape == shape and torch.allclose(a, b, rtol=0, atol=1e-5 * b.abs().max().item())


def test_tiles_lie_on_the_resized_picture():
    planes = float_planes(FRAME)
    extractor = small(60)
    assert len(plan_tiles(60, 90, extractor, 40 * 40)) >= 4
    whole, tiled = (
        list(sketch_gradients(extractor, planes, FMT, probes=2, tile_samples=bound)) for bound in (1 << 20, 40 * 40)
    )
    for f, g in zip(whole, tiled):
        for a, b in zip(f, g):
            assert torch.allclose(a, b, rtol=0, atol=1e-5 * a.abs().max().item())


def test_maps_of_several_scales_are_averaged():
    """Each scale's map alone, all of mean 1, whatever the level of its gradients; the seed is every scale's."""
    maps = [compute_map(FRAME, FMT, small(scale), probes=4, seed=3) for scale in (20, 60, None)]
    mixed = compute_map(FRAME, FMT, small(20, 60, None), probes=4, seed=3)
    for c, plane in enumerate(mixed.planes):
        assert plane.dtype == np.float32 and plane.mean() == pytest.approx(1, abs=1e-5)
        assert np.allclose(plane, np.mean([one.planes[c] for one in maps], axis=0), rtol=1e-5)
    for n, group in mixed.shapes.items():
        for c, shape in enumerate(group):
            assert np.allclose(shape, np.mean([one.shapes[n][c] for one in maps], axis=0), rtol=1e-5, atol=1e-6)
            assert np.allclose(shape.reshape(shape.shape[0] // n, n, -1, n).mean((1, 3)), 1, atol=1e-4)
    assert mixed.plane_gain == pytest.approx(np.mean([one.plane_gain for one in maps], axis=0))
    assert not np.allclose(maps[0].planes[0], maps[2].planes[0], rtol=0.1)


def test_distance_of_several_scales_is_the_mean():
    rgb, decoded = (torch.rand((1, 3, 30, 45), generator=torch.Generator().manual_seed(seed)) for seed in (1, 2))
    alone = [feature_distance(small(scale), rgb, decoded) for scale in (20, 60, None)]
    extractor = small(20, 60, None)
    assert feature_distance(extractor, rgb, decoded) == pytest.approx(sum(alone) / 3, rel=1e-6)
    assert feature_distance(extractor, extractor(rgb), decoded) == feature_distance(extractor, rgb, decoded)
    assert [tuple(f.shape[1:]) for f in extractor(rgb)] == [
        (4, 10, 15),
        (5, 5, 8),
        (4, 30, 45),
        (5, 15, 23),
        (4, 15, 23),
        (5, 8, 12),
    ]


def test_progress_covers_all_scales():
    shares = []
    compute_map(FRAME, FMT, small(20, None), probes=2, progress=shares.append)
    assert shares == [0.25, 0.5, 0.75, 1.0]


def test_a_small_scale_is_cheap():
    """The network never sees more than the small picture, whatever the size of the source, and no tile is cut."""
    sizes = set()
    extractor = small(16)
    extractor._network.module.register_forward_pre_hook(lambda _module, inputs: sizes.add(tuple(inputs[0].shape)))
    fmt = VideoFormat(400, 320)
    frame = tuple(np.full(shape, 90, np.uint8) for shape in fmt.plane_shapes)
    weight_map = compute_map(frame, fmt, extractor, probes=1, tile_samples=32 * 32)
    assert sizes == {(1, 3, 16, 20)} and weight_map.planes[0].shape == (320, 400)


@pytest.fixture(scope="module")
def lite0():
    return {text: load_extractor(text) for text in ("lite0", "lite0@64", "lite0@64,full")}


def test_metadata_name_the_scales(lite0, tmp_path):
    assert [one.description().get("scales") for one in lite0.values()] == [None, [64], [64, "full"]]
    assert {one.description()["name"] for one in lite0.values()} == {"efficientnet_lite0"}
    assert len({one.fingerprint for one in lite0.values()}) == 1
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (70, 90, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    source = open_source(str(tmp_path / "a.png"))
    planes = {}
    for text, extractor in lite0.items():
        path = tmp_path / "a.idse"
        write_weights(source, WeightSettings(extractor=text, probes=1), path, extractor)
        with IdseFile(path) as file:
            assert file.metadata["extractor"] == extractor.description()
            planes[text] = file.raw_map(0)[0][0].astype(int)
    assert np.abs(planes["lite0@64,full"] - (planes["lite0"] + planes["lite0@64"]) / 2).max() <= 1
    assert np.abs(planes["lite0"] - planes["lite0@64"]).mean() > 20


def test_default_network_at_a_scale_is_it_on_the_resized_picture(lite0):
    rgb = torch.rand((1, 3, 70, 90), generator=torch.Generator().manual_seed(4))
    for f, g in zip(lite0["lite0@64"](rgb), lite0["lite0"](lite0["lite0@64"].resized(rgb)), strict=True):
        assert torch.equal(f, g)
    assert lite0["lite0@64"].resized(rgb).shape[-2:] == (64, 82)
    fmt = coded_format(VideoFormat(90, 70))
    frame = tuple(np.random.default_rng(5).integers(0, 256, shape, dtype=np.uint8) for shape in fmt.plane_shapes)
    assert compute_map(frame, fmt, lite0["lite0@64"], probes=1).plane_gain[0] == 1
