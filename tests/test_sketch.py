"""Sketches against exact Jacobians, tiles against whole pictures, weight maps against their definition."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fprdo_bridge.errors import FprdoError
from fprdo_bridge.importance.extractors import Extractor, feature_distance
from fprdo_bridge.importance.sketch import Tile, _sketches, plan_tiles, sketch_gradients
from fprdo_bridge.importance.weights import block_dct, compute_map
from fprdo_bridge.video.colour import float_planes, planes_to_rgb, rgb_to_frame
from fprdo_bridge.video.formats import VideoFormat


def tiny_extractor(seed: int = 0) -> Extractor:
    """Two smooth layers; on a 7x5 picture 4 + 2 features, so that all 64 sign vectors can be tried."""
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Conv2d(3, 1, 4, stride=4, padding=2), nn.Tanh(), nn.Conv2d(1, 2, 2, stride=2), nn.Tanh())
    return Extractor("tiny", network, ["1", "3"])


def rectified_extractor(margin: int, seed: int = 0) -> Extractor:
    """A small receptive field: 3x3 with stride 2 thrice, it reaches 7 samples up and to the left and 7 down."""
    torch.manual_seed(seed)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(4, 4, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(4, 6, 3, stride=2, padding=1),
    )
    return Extractor("rectified", network, ["1", "3", "4"], strides=[2, 4, 8], margin=margin)


def random_frame(fmt: VideoFormat, seed: int = 1) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    return tuple(rng.integers(40, 200, shape).astype(fmt.dtype) for shape in fmt.plane_shapes)


def exact_jacobian(extractor: Extractor, planes: list[torch.Tensor], fmt: VideoFormat) -> torch.Tensor:
    """J of the module's text, (features, samples of all planes), by autograd's own Jacobian; nothing of sketch.py."""

    def features(*leaves: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(f.flatten() for f in extractor(planes_to_rgb(leaves, fmt)))

    blocks = torch.autograd.functional.jacobian(features, tuple(planes))
    norms = [f.norm() for f in features(*planes)]
    return torch.cat(
        [
            torch.cat([part.flatten(1) for part in layer], 1) / (norm * math.sqrt(len(norms)))
            for layer, norm in zip(blocks, norms)
        ]
    )


def flattened(gradients: list[torch.Tensor]) -> torch.Tensor:
    return torch.cat([gradient.flatten() for gradient in gradients])


def all_sketches(extractor: Extractor, planes: list[torch.Tensor], fmt: VideoFormat) -> list[list[torch.Tensor]]:
    """J^T s for every sign vector s."""
    features = extractor(planes_to_rgb(planes, fmt))
    scales = [1 / (f.norm().item() * math.sqrt(len(features))) for f in features]
    whole = [Tile((0, fmt.height), (0, fmt.width), (0, fmt.height), (0, fmt.width))]
    sketches = []
    for vector in itertools.product((-1, 1), repeat=sum(f.numel() for f in features)):
        parts = torch.tensor(vector, dtype=torch.int8).split([f.numel() for f in features])
        signs = [part.view(f.shape) for part, f in zip(parts, features)]
        sketches += _sketches(extractor, [plane.clone() for plane in planes], fmt, whole, [signs], scales)
    return sketches


@pytest.mark.parametrize(
    "fmt",
    [
        VideoFormat(7, 5),
        VideoFormat(7, 5, "444", 10, "bt2020"),
        VideoFormat(7, 5, "422", matrix="bt601", full_range=True),
        VideoFormat(7, 5, "400"),
        VideoFormat(7, 5, siting="center"),
    ],
    ids=str,
)
def test_all_sign_vectors_give_the_exact_matrix(fmt):
    """The mean of g g^T over all 2^F sign vectors is J^T J, not only on its diagonal."""
    extractor, planes = tiny_extractor(), float_planes(random_frame(fmt))
    sketches = all_sketches(extractor, planes, fmt)
    assert len(sketches) == 64
    g = torch.stack([flattened(sketch) for sketch in sketches]).double()
    jacobian = exact_jacobian(extractor, planes, fmt).double()
    exact = jacobian.T @ jacobian
    mean = g.T @ g / len(g)
    assert torch.allclose(mean, exact, rtol=0, atol=2e-6 * exact.max().item())
    assert (exact.diagonal() > 0).float().mean() > 0.7  # a stride of 4 leaves out the last of 7 columns


@pytest.mark.parametrize("n", [2, 4])
def test_all_sign_vectors_give_the_exact_spectrum(n):
    """The mean of (T g)^2 is the diagonal of T J^T J T^T, T the blocks' DCT built here coefficient by coefficient."""
    fmt = VideoFormat(8, 4, "400")
    extractor, planes = tiny_extractor(), float_planes(random_frame(fmt))
    jacobian = exact_jacobian(extractor, planes, fmt).double()
    transform = torch.zeros(4, 8, 4, 8, dtype=torch.float64)
    for v, u, y, x in itertools.product(range(4), range(8), range(4), range(8)):
        if (v // n, u // n) == (y // n, x // n):
            transform[v, u, y, x] = (
                2
                / n
                * math.prod(
                    math.cos(math.pi * (2 * (p % n) + 1) * (f % n) / (2 * n)) * (math.sqrt(0.5) if f % n == 0 else 1)
                    for f, p in ((v, y), (u, x))
                )
            )
    t = transform.view(32, 32)
    assert torch.allclose(t @ t.T, torch.eye(32, dtype=torch.float64), atol=1e-12)
    expected = (t @ jacobian.T @ jacobian @ t.T).diagonal().view(4, 8)
    sketches = all_sketches(extractor, planes, fmt)
    mean = sum(block_dct(gradient, n).double().square() for (gradient,) in sketches) / len(sketches)
    assert torch.allclose(mean, expected, rtol=0, atol=2e-6 * expected.max().item())


def test_random_sketches_converge_to_the_diagonal():
    """Var(g_p^2) <= 2 w_p^2 for signs: the mean of K probes lies within 6 sqrt(2 / K) w_p, for every sample."""
    fmt, probes = VideoFormat(7, 5), 500
    extractor, planes = tiny_extractor(), float_planes(random_frame(fmt))
    exact = exact_jacobian(extractor, planes, fmt).square().sum(0)
    sketches = sketch_gradients(extractor, planes, fmt, probes=probes, jitter=0)
    mean = sum(flattened(g).square() for g in sketches) / probes
    assert ((mean - exact).abs() <= 6 * math.sqrt(2 / probes) * exact).all()
    assert not torch.allclose(mean, exact, rtol=1e-4)


def test_small_errors_move_features_as_predicted():
    """d(x + e) = e^T J^T J e + O(e^3), and the mean of (g . e)^2 over all sign vectors is that form."""
    fmt = VideoFormat(7, 5)
    extractor, planes = tiny_extractor(), float_planes(random_frame(fmt))
    jacobian = exact_jacobian(extractor, planes, fmt).double()
    g = torch.stack([flattened(sketch) for sketch in all_sketches(extractor, planes, fmt)]).double()
    reference = planes_to_rgb(planes, fmt)
    generator = torch.Generator().manual_seed(9)
    for _ in range(5):
        error = [2 * torch.randn(plane.shape, generator=generator) for plane in planes]
        distance = feature_distance(extractor, reference, planes_to_rgb([p + e for p, e in zip(planes, error)], fmt))
        e = flattened(error).double()
        assert (jacobian @ e).square().sum().item() == pytest.approx(distance, rel=0.05)
        assert (g @ e).square().mean().item() == pytest.approx((jacobian @ e).square().sum().item(), rel=1e-4)


def test_jitter_moves_the_point_of_the_jacobian():
    """With noise far beyond the rectifier's kink (at grey 100) both of its sides are seen, without noise one."""

    class Kink(nn.Module):
        def forward(self, rgb):
            return torch.relu(rgb - 99.5 / 255)

    fmt = VideoFormat(64, 64, "400", full_range=True)
    planes = [torch.full((64, 64), 100.0)]
    extractor = Extractor("kink", nn.Sequential(Kink()), ["0"])
    seen = {
        jitter: (next(sketch_gradients(extractor, planes, fmt, probes=1, jitter=jitter))[0] != 0).float().mean()
        for jitter in (0.0, 50.0)
    }
    assert seen[0.0] > 0.7  # three signs cancel out nowhere: their sum is odd
    assert 0.4 < seen[50.0] < 0.6


def test_jitter_is_in_8_bit_code_values():
    eight, ten = VideoFormat(16, 16, "400", full_range=False), VideoFormat(16, 16, "400", 10)
    frame = random_frame(eight)
    deeper = (frame[0].astype(np.uint16) * 4,)
    a, b = (
        list(sketch_gradients(tiny_extractor(), float_planes(f), fmt, probes=2, jitter=8.0))
        for f, fmt in ((frame, eight), (deeper, ten))
    )
    for (x,), (y,) in zip(a, b):
        assert torch.allclose(x, 4 * y, rtol=1e-4, atol=1e-5 * x.abs().max().item())


@given(height=st.integers(1, 700), width=st.integers(1, 700), margin=st.integers(0, 70), core=st.integers(1, 12))
@settings(max_examples=80, deadline=None)
def test_tiles_partition_the_picture(height, width, margin, core):
    extractor = rectified_extractor(margin)
    bound = (8 * core + 2 * (-(-margin // 8) * 8)) ** 2
    tiles = plan_tiles(height, width, extractor, bound)
    owners = np.zeros((height, width), int)
    for tile in tiles:
        owners[slice(*tile.core_rows), slice(*tile.core_columns)] += 1
        (y0, y1), (x0, x1) = tile.rows, tile.columns
        assert y0 % 8 == 0 and x0 % 8 == 0 and tile.core_rows[0] % 8 == 0 and tile.core_columns[0] % 8 == 0
        assert (y1 - y0) * (x1 - x0) <= bound
        for (core_start, core_stop), (start, stop), size in (
            (tile.core_rows, tile.rows, height),
            (tile.core_columns, tile.columns, width),
        ):
            assert 0 <= start <= max(0, core_start - margin) and min(size, core_stop + margin) <= stop <= size
    assert (owners == 1).all()


@pytest.mark.parametrize("fmt", [VideoFormat(90, 70), VideoFormat(61, 83, "444"), VideoFormat(64, 64, "422")], ids=str)
def test_tiles_give_the_gradient_of_the_whole_picture(fmt):
    planes = float_planes(random_frame(fmt))
    whole = list(sketch_gradients(rectified_extractor(8), planes, fmt, probes=2, seed=3))
    tiled = list(sketch_gradients(rectified_extractor(8), planes, fmt, probes=2, seed=3, tile_samples=40 * 40))
    assert len(plan_tiles(fmt.height, fmt.width, rectified_extractor(8), 40 * 40)) >= 4
    for a, b in zip(whole, tiled):
        for x, y in zip(a, b):
            assert torch.allclose(x, y, rtol=0, atol=1e-5 * x.abs().max().item())
    seams = list(sketch_gradients(rectified_extractor(0), planes, fmt, probes=2, seed=3, tile_samples=40 * 40))
    assert not torch.allclose(whole[0][0], seams[0][0], rtol=0, atol=1e-2 * whole[0][0].abs().max().item())


def test_tiles_without_room_and_wrong_strides():
    fmt = VideoFormat(64, 64)
    planes = float_planes(random_frame(fmt))
    with pytest.raises(FprdoError, match="tiles of 100 samples leave no room .* allow at least 576"):
        next(sketch_gradients(rectified_extractor(8), planes, fmt, tile_samples=100))
    wrong = rectified_extractor(8)
    wrong.strides = (2, 8, 8)
    with pytest.raises(FprdoError, match="layer '3' has 10 features across 40 samples, not the 5 of stride 8"):
        next(sketch_gradients(wrong, planes, fmt, tile_samples=40 * 40))


def test_seed_decides():
    fmt = VideoFormat(20, 12)
    planes = float_planes(random_frame(fmt))
    a, b, c = (
        [flattened(g) for g in sketch_gradients(tiny_extractor(), planes, fmt, probes=2, seed=seed)]
        for seed in (1, 1, 2)
    )
    assert torch.equal(a[0], b[0]) and torch.equal(a[1], b[1])
    assert not torch.allclose(a[0], c[0]) and not torch.allclose(a[0], a[1])


@pytest.mark.parametrize("probes, signs, passes", [(6, 1, 6), (6, 2, 3), (6, 4, 2), (6, 6, 1), (6, 100, 1)])
def test_probes_share_forward_passes(probes, signs, passes):
    """As many passes as noises, and one for the features' energy; the first sketch is as ever, all signs differ."""
    fmt = VideoFormat(20, 12)
    planes = float_planes(random_frame(fmt))
    extractor, runs = rectified_extractor(8), []
    extractor._network.module.register_forward_pre_hook(lambda _module, inputs: runs.append(inputs[0].detach().clone()))
    shared = [flattened(g) for g in sketch_gradients(extractor, planes, fmt, probes=probes, signs_per_noise=signs)]
    assert len(runs) == 1 + passes and len(shared) == probes
    assert not any(torch.allclose(a, b) for a, b in itertools.combinations(runs, 2))
    assert not any(torch.allclose(a, b) for a, b in itertools.combinations(shared, 2))
    assert torch.equal(shared[0], flattened(next(sketch_gradients(rectified_extractor(8), planes, fmt))))
    tiled = [
        flattened(g)
        for g in sketch_gradients(
            rectified_extractor(8), planes, fmt, probes=probes, signs_per_noise=signs, tile_samples=576
        )
    ]
    for a, b in zip(shared, tiled):
        assert torch.allclose(a, b, rtol=0, atol=1e-5 * a.abs().max().item())


def test_shared_sketches_converge_to_the_diagonal():
    """With one noise for all, of deviation 0, the bound is that of sketches with a pass of their own."""
    fmt, probes = VideoFormat(7, 5), 500
    extractor, planes = tiny_extractor(), float_planes(random_frame(fmt))
    exact = exact_jacobian(extractor, planes, fmt).square().sum(0)
    sketches = sketch_gradients(extractor, planes, fmt, probes=probes, jitter=0, signs_per_noise=50)
    mean = sum(flattened(g).square() for g in sketches) / probes
    assert ((mean - exact).abs() <= 6 * math.sqrt(2 / probes) * exact).all()


@pytest.mark.parametrize("chroma", ["400", "420", "422", "444"])
def test_map_follows_its_definition(chroma):
    """Weights and shapes from the sketches themselves, without smoothing and shrinking."""
    fmt = VideoFormat(37, 22, chroma)
    frame, extractor = random_frame(fmt), rectified_extractor(8)
    weight_map = compute_map(frame, fmt, extractor, probes=3, seed=5, smooth=0, shrink=0, transform_sizes=(4, 16))
    sketches = list(sketch_gradients(extractor, float_planes(frame), fmt, probes=3, seed=5))
    levels = []
    assert [plane.shape for plane in weight_map.planes] == list(fmt.plane_shapes)
    for c, (h, w) in enumerate(fmt.plane_shapes):
        g = np.stack([sketch[c].numpy() for sketch in sketches]).astype(np.float64)
        weights = (g**2).mean(0)
        levels.append(weights.mean())
        assert weight_map.planes[c].dtype == np.float32
        assert np.allclose(weight_map.planes[c], weights / weights.mean(), rtol=1e-4)
        for n in (4, 16):
            padded = np.pad(g, ((0, 0), (0, -h % n), (0, -w % n)), mode="symmetric")
            u, x = np.arange(n)[:, None], np.arange(n)[None, :]
            basis = np.sqrt(np.where(u == 0, 1, 2) / n) * np.cos(np.pi * (2 * x + 1) * u / (2 * n))
            blocks = padded.reshape(3, padded.shape[1] // n, n, padded.shape[2] // n, n).swapaxes(2, 3)
            spectrum = ((basis @ blocks @ basis.T) ** 2).mean(0)
            shape = (spectrum / spectrum.mean((2, 3), keepdims=True)).swapaxes(1, 2).reshape(padded.shape[1:])
            assert np.allclose(weight_map.shapes[n][c], shape, rtol=1e-3, atol=1e-4)
    assert weight_map.plane_gain == pytest.approx([level / levels[0] for level in levels])
    assert set(weight_map.shapes) == {4, 16}


def test_map_means_are_one():
    fmt = VideoFormat(45, 38)
    weight_map = compute_map(random_frame(fmt), fmt, rectified_extractor(8), probes=4)
    for plane in weight_map.planes:
        assert plane.mean() == pytest.approx(1, abs=1e-5) and plane.min() >= 0
    for n, group in weight_map.shapes.items():
        for shape in group:
            blocks = shape.reshape(shape.shape[0] // n, n, -1, n)
            assert np.allclose(blocks.mean((1, 3)), 1, atol=1e-4) and shape.min() >= 0


def test_smoothing_keeps_the_mean_and_lowers_the_spread():
    fmt = VideoFormat(48, 40, "400")
    rough, smooth = (
        compute_map(random_frame(fmt), fmt, rectified_extractor(8), probes=2, smooth=s, transform_sizes=())
        for s in (0, 2.0)
    )
    assert smooth.planes[0].std() < 0.7 * rough.planes[0].std()
    one = compute_map((np.array([[90]], np.uint8),), VideoFormat(1, 1, "400"), rectified_extractor(8), probes=2)
    assert one.planes[0].tolist() == [[1.0]] and all(group[0].shape == (n, n) for n, group in one.shapes.items())


def test_smoothing_is_a_gaussian_with_reflected_borders():
    from fprdo_bridge.importance.weights import _smoothed

    impulse = np.zeros((21, 30), np.float32)
    impulse[10, 15], impulse[0, 0] = 1, 1
    taps = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    taps /= taps.sum()
    padded = np.pad(impulse.astype(np.float64), 5, mode="symmetric")
    expected = sum(
        a * b * padded[y : y + 21, x : x + 30] for (y, a), (x, b) in itertools.product(enumerate(taps), enumerate(taps))
    )
    assert np.allclose(_smoothed(torch.from_numpy(impulse), 1.5).numpy(), expected, atol=1e-7)


def test_shrinking_is_linear_between_block_and_plane():
    fmt = VideoFormat(48, 40, "400")
    maps = {
        shrink: compute_map(
            random_frame(fmt), fmt, rectified_extractor(8), probes=8, shrink=shrink, transform_sizes=(8,)
        )
        for shrink in (0, 0.25, 1, None)
    }
    own, quarter, plane, estimated = (maps[s].shapes[8][0] for s in (0, 0.25, 1, None))
    assert np.allclose(quarter, 0.75 * own + 0.25 * plane, atol=1e-5)
    blocks = plane.reshape(5, 8, 6, 8)
    assert np.allclose(blocks, blocks[:1, :, :1], atol=1e-6)
    assert np.allclose(blocks[0, :, 0], own.reshape(5, 8, 6, 8).mean((0, 2)), atol=1e-5)
    share = ((estimated - plane) * (own - plane)).sum() / ((own - plane) ** 2).sum()
    assert 0 <= share < 0.9


def test_shrinking_is_estimated_from_the_noise():
    """Blocks of two true shapes, seen through chi-square noise: shrinking as estimated comes near the least error."""
    from fprdo_bridge.importance.weights import _block_shapes

    generator = torch.Generator().manual_seed(11)
    for contrast, low, high in ((0.0, 0.95, 1.0), (3.0, 0.5, 0.7)):
        truth = torch.ones(64, 4, 64, 4)
        truth[:, :, ::2, :2] += contrast
        draws = torch.randn((16, *truth.shape), generator=generator).square() * truth
        halves = draws.reshape(2, 8, 1, 256, 256).sum(1)
        own, mean, estimate = (_block_shapes(halves, 4, shrink)[0] for shrink in (0, 1, None))
        used = 1 - (((estimate - mean) * (own - mean)).sum() / (own - mean).square().sum()).item()
        assert low <= used <= high
        exact = (truth / truth.mean((1, 3), keepdim=True)).reshape(256, 256)
        errors = [(shape - exact).square().mean() for shape in (own, mean, estimate)]
        assert errors[2] <= 1.02 * min(errors)


class Blind(nn.Module):
    """Sees what `view` leaves of the picture."""

    def __init__(self, view):
        super().__init__()
        self.view, self.out = view, nn.Identity()

    def forward(self, rgb):
        return self.out(self.view(rgb))


def test_planes_that_features_do_not_see_get_ones():
    fmt = VideoFormat(24, 16)
    luma = torch.tensor([0.2126, 0.7152, 0.0722]).view(1, 3, 1, 1)
    grey = Extractor("grey", Blind(lambda rgb: (rgb * luma).sum(1, keepdim=True).square()), ["out"])
    weight_map = compute_map(random_frame(fmt), fmt, grey, probes=2)
    assert weight_map.plane_gain == (1.0, 0.0, 0.0)
    assert all((plane == 1).all() for plane in weight_map.planes[1:]) and not (weight_map.planes[0] == 1).all()
    assert all(np.allclose(group[c], 1) for group in weight_map.shapes.values() for c in (1, 2))
    colourful = Extractor("colourful", Blind(lambda rgb: 1 + (rgb[:, 2:] - rgb[:, :1]).square()), ["out"])
    gains = compute_map(random_frame(fmt), fmt, colourful, probes=2).plane_gain
    assert gains[0] == 0 and max(gains) == 1 and min(gains[1:]) > 0
    constant = Extractor("constant", Blind(lambda rgb: 1 + 0 * rgb), ["out"])
    weight_map = compute_map(random_frame(fmt), fmt, constant, probes=2)
    assert weight_map.plane_gain == (0.0, 0.0, 0.0) and all((plane == 1).all() for plane in weight_map.planes)


def test_broken_networks_and_arguments_are_refused():
    fmt = VideoFormat(16, 16)
    frame = random_frame(fmt)
    with pytest.raises(FprdoError, match="NaN or infinite features"):
        compute_map(frame, fmt, Extractor("nan", Blind(lambda rgb: rgb / 0), ["out"]))
    with pytest.raises(FprdoError, match="NaN or infinite derivatives"):  # sqrt has no derivative at 0
        compute_map(frame, fmt, Extractor("steep", Blind(lambda rgb: 1 + (rgb * 0).sqrt()), ["out"]), jitter=0)
    with pytest.raises(FprdoError, match="layer 'out' has no derivative in the picture"):
        compute_map(frame, fmt, Extractor("detached", Blind(torch.detach), ["out"]))
    for argument, message in (
        ({"probes": 0}, "probes 0"),
        ({"signs_per_noise": 0}, "signs per noise 0"),
        ({"jitter": -1.0}, "jitter -1.0"),
        ({"jitter": math.nan}, "jitter nan"),
        ({"smooth": math.inf}, "smooth inf"),
        ({"shrink": 1.5}, "shrink 1.5"),
        ({"transform_sizes": (4, 64)}, "transform size 64"),
        ({"transform_sizes": None}, "transform sizes None"),
        ({"probes": 2.5}, "probes 2.5: give a whole number"),
        ({"probes": None}, "probes None: give a whole number"),
        ({"tile_samples": 0}, "tile samples 0"),
        ({"seed": "1"}, "seed '1'"),
        ({"seed": -1}, "seed -1"),
        ({"jitter": "5"}, "jitter '5'"),
        ({"smooth": None}, "smooth None"),
        ({"shrink": "0.5"}, "shrink '0.5'"),
        ({"frame": None}, "frame None: give a tuple of NumPy arrays"),
        ({"frame": frame[0]}, "frame array"),
        ({"frame": (None, None, None)}, "frame .*: give a tuple"),
        ({"frame": tuple(plane.astype(str) for plane in frame)}, "frame .*: give a tuple"),
        ({"fmt": None}, "format None: give a VideoFormat"),
        ({"extractor": "lite0"}, "extractor 'lite0': give an Extractor"),
    ):
        with pytest.raises(FprdoError, match=message):
            compute_map(**{"frame": frame, "fmt": fmt, "extractor": tiny_extractor()} | argument)
    with pytest.raises(FprdoError, match="planes of shapes"):
        compute_map(frame[:1], fmt, tiny_extractor())


def test_default_network_end_to_end():
    """Texture outweighs a flat area under the default extractor, and the map predicts the loss of a region's error."""
    from fprdo_bridge.importance.extractors import load_extractor

    generator = torch.Generator().manual_seed(12)
    rgb = torch.full((1, 3, 96, 128), 0.5)
    rgb[..., 64:] += 0.3 * torch.randn((1, 1, 96, 64), generator=generator).sign()
    fmt = VideoFormat(128, 96)
    frame, extractor = rgb_to_frame(rgb.clamp(0, 1), fmt), load_extractor()
    weight_map = compute_map(frame, fmt, extractor, probes=4)
    weights = weight_map.planes[0]
    planes = float_planes(frame)
    reference = planes_to_rgb(planes, fmt)
    losses = []
    for columns in (slice(0, 48), slice(80, 128)):
        noisy = planes[0].clone()
        noisy[:, columns] += 4 * torch.randn((96, 48), generator=generator)
        losses.append(feature_distance(extractor, reference, planes_to_rgb([noisy, *planes[1:]], fmt)))
    predicted = weights[:, :48].mean() / weights[:, 80:].mean()
    assert (predicted > 1) == (losses[0] > losses[1])
    assert predicted == pytest.approx(losses[0] / losses[1], rel=1.0)
