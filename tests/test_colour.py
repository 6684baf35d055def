"""Colour conversion: known code values, chroma phases, round trips, and the exact adjoint."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fprdo_bridge.errors import FprdoError
from fprdo_bridge.video.colour import LUMA_COEFFICIENTS, frame_to_rgb, planes_to_rgb, rgb_to_frame, rgb_to_planes
from fprdo_bridge.video.formats import VideoFormat

formats = st.builds(
    VideoFormat,
    width=st.integers(1, 11),
    height=st.integers(1, 11),
    chroma=st.sampled_from(["400", "420", "422", "444"]),
    bit_depth=st.sampled_from([8, 10]),
    matrix=st.sampled_from(sorted(LUMA_COEFFICIENTS)),
    full_range=st.booleans(),
    siting=st.sampled_from(["left", "center", "topleft"]),
)


def flat(rgb: tuple[float, float, float], fmt: VideoFormat) -> torch.Tensor:
    return torch.tensor(rgb, dtype=torch.float64).view(1, 3, 1, 1).expand(1, 3, fmt.height, fmt.width)


@pytest.mark.parametrize(
    ("matrix", "full_range", "bit_depth", "rgb", "expected"),
    [
        ("bt709", False, 8, (0, 0, 0), (16, 128, 128)),
        ("bt709", False, 8, (1, 1, 1), (235, 128, 128)),
        ("bt709", False, 8, (1, 0, 0), (63, 102, 240)),
        ("bt709", False, 8, (0, 1, 0), (173, 42, 26)),
        ("bt709", False, 8, (0, 0, 1), (32, 240, 118)),
        ("bt601", False, 8, (1, 0, 0), (81, 90, 240)),
        ("bt601", False, 8, (0, 1, 0), (145, 54, 34)),
        ("bt601", False, 8, (0, 0, 1), (41, 240, 110)),
        ("bt601", True, 8, (1, 0, 0), (76, 85, 255)),  # JFIF red
        ("bt601", True, 8, (1, 1, 1), (255, 128, 128)),
        ("bt709", False, 10, (1, 1, 1), (940, 512, 512)),
        ("bt2020", False, 10, (1, 0, 0), (294, 387, 960)),
        ("bt2020", True, 10, (0, 0, 1), (61, 1023, 471)),
    ],
)
def test_known_code_values(matrix, full_range, bit_depth, rgb, expected):
    fmt = VideoFormat(4, 2, matrix=matrix, full_range=full_range, bit_depth=bit_depth)
    frame = rgb_to_frame(flat(rgb, fmt), fmt)
    assert tuple(int(plane[0, 0]) for plane in frame) == expected
    assert all(plane.dtype == fmt.dtype and (plane == plane[0, 0]).all() for plane in frame)
    assert tuple(plane.shape for plane in frame) == fmt.plane_shapes


@given(formats, st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_adjoint_of_planes_to_rgb(fmt, seed):
    """<A x, y> = <x, A^T y>, with A the linear part of planes_to_rgb and A^T y from autograd."""
    generator = torch.Generator().manual_seed(seed)
    x = [torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_() for shape in fmt.plane_shapes]
    y = torch.randn((1, 3, fmt.height, fmt.width), generator=generator, dtype=torch.float64)
    rgb = planes_to_rgb(x, fmt)
    adjoint = torch.autograd.grad(rgb, x, y)
    with torch.no_grad():
        left = ((rgb - planes_to_rgb([torch.zeros_like(plane) for plane in x], fmt)) * y).sum()
        right = sum((plane * gradient).sum() for plane, gradient in zip(x, adjoint))
    assert left.item() == pytest.approx(right.item(), rel=1e-9, abs=1e-9)


@given(formats, st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_adjoint_of_rgb_to_planes(fmt, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn((1, 3, fmt.height, fmt.width), generator=generator, dtype=torch.float64).requires_grad_()
    y = [torch.randn((1, *shape), generator=generator, dtype=torch.float64) for shape in fmt.plane_shapes]
    planes = rgb_to_planes(x, fmt)
    (adjoint,) = torch.autograd.grad(planes, x, y)
    with torch.no_grad():
        offsets = rgb_to_planes(torch.zeros_like(x), fmt)
        left = sum(((plane - offset) * weight).sum() for plane, offset, weight in zip(planes, offsets, y))
        right = (x * adjoint).sum()
    assert left.item() == pytest.approx(right.item(), rel=1e-9, abs=1e-7)


@pytest.mark.parametrize("chroma", ["420", "422", "444"])
@pytest.mark.parametrize("siting", ["left", "center", "topleft"])
def test_adjoint_is_the_transposed_matrix(chroma, siting):
    """The matrix of the operator, column by column from unit impulses, against the rows that autograd gives."""
    fmt = VideoFormat(5, 3, chroma=chroma, siting=siting)
    sizes = [h * w for h, w in fmt.plane_shapes]

    def convert(values: torch.Tensor) -> torch.Tensor:
        return planes_to_rgb([part.view(s) for part, s in zip(values.split(sizes), fmt.plane_shapes)], fmt).flatten()

    origin = torch.zeros(sum(sizes), dtype=torch.float64)
    columns = torch.stack([convert(unit) - convert(origin) for unit in torch.eye(sum(sizes), dtype=torch.float64)], 1)
    rows = torch.autograd.functional.jacobian(convert, origin)
    assert torch.allclose(columns, rows, rtol=0, atol=1e-12)
    assert columns.count_nonzero() > sum(sizes)


@given(formats, st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_444_round_trip_is_exact(fmt, seed):
    fmt = VideoFormat(fmt.width, fmt.height, "444", fmt.bit_depth, fmt.matrix, fmt.full_range)
    rgb = torch.rand((2, 3, fmt.height, fmt.width), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    assert torch.allclose(planes_to_rgb(rgb_to_planes(rgb, fmt), fmt), rgb, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("bit_depth", "full_range", "bound"), [(8, True, 1.6), (8, False, 1.8), (10, False, 0.45)])
def test_444_round_trip_of_integer_pictures(bit_depth, full_range, bound):
    """Half a code value in each plane moves RGB by at most (1/2) (1 + 2 (1 - KB)) code values (of 255 here)."""
    fmt = VideoFormat(32, 32, "444", bit_depth, full_range=full_range)
    rgb = torch.randint(0, 256, (1, 3, 32, 32), generator=torch.Generator().manual_seed(1)) / 255
    error = (frame_to_rgb(rgb_to_frame(rgb, fmt), fmt) - rgb).abs().max().item() * 255
    assert 0 < error < bound


@given(formats)
@settings(max_examples=40, deadline=None)
def test_flat_pictures_stay_flat(fmt):
    """Borders included: both filters have unit gain everywhere."""
    rgb = flat((0.3, 0.5, 0.9), fmt)
    planes = rgb_to_planes(rgb, fmt)
    assert all(torch.allclose(plane, plane[0, 0, 0].expand_as(plane)) for plane in planes)
    shown = planes_to_rgb(planes, fmt)
    if fmt.chroma == "400":
        kr, kb = LUMA_COEFFICIENTS[fmt.matrix]
        rgb = torch.full_like(shown, kr * 0.3 + (1 - kr - kb) * 0.5 + kb * 0.9)
    assert torch.allclose(shown, rgb)


@pytest.mark.parametrize(
    ("chroma", "siting", "dx", "dy"),
    [
        ("420", "left", 0.0, 0.5),
        ("420", "center", 0.5, 0.5),
        ("420", "topleft", 0.0, 0.0),
        ("422", "left", 0.0, None),
        ("422", "center", 0.0, None),
    ],
)
@pytest.mark.parametrize(("width", "height"), [(12, 10), (13, 11)])
def test_chroma_phase(chroma, siting, dx, dy, width, height):
    """A chroma ramp keeps its place: chroma sample i lies at luma position 2 i + d (4:2:2: at every luma row)."""
    fmt = VideoFormat(width, height, chroma=chroma, siting=siting)
    y, x = torch.meshgrid(
        torch.arange(height, dtype=torch.float64), torch.arange(width, dtype=torch.float64), indexing="ij"
    )
    rows, columns = fmt.plane_shapes[1]
    cy = torch.arange(rows, dtype=torch.float64) * (1 if dy is None else 2) + (dy or 0)
    cx = torch.arange(columns, dtype=torch.float64) * 2 + dx
    ramp = 128 + 3 * cx[None, :] - 2 * cy[:, None]
    grey = torch.full((height, width), 126.0, dtype=torch.float64)
    rgb = planes_to_rgb([grey, ramp, torch.full_like(ramp, 128)], fmt)
    inside = (slice(2, -2), slice(2, -2))
    blue_difference = (rgb[0, 2] - rgb[0, 0])[inside]  # Cr is neutral: B - R = 2 (1 - KB) PB
    expected = (2 * (1 - 0.0722) * (3 * x - 2 * y) / 224)[inside]
    assert torch.allclose(blue_difference, expected, rtol=0, atol=1e-12)
    back = rgb_to_planes(rgb, fmt)[1][0]
    assert torch.allclose(back[2:-2, 2:-2], ramp[2:-2, 2:-2], rtol=0, atol=1e-9)


def test_interpolation_and_low_pass_by_hand():
    def blue(values: list[float], siting: str) -> list[float]:
        fmt = VideoFormat(6, 1, "420", full_range=True, siting=siting)
        planes = [torch.zeros(1, 6), 128 + torch.tensor([values]), torch.full((1, 3), 128.0)]
        return (planes_to_rgb(planes, fmt)[0, 2, 0] * 255 / (2 * (1 - 0.0722))).tolist()

    assert blue([0, 8, 16], "left") == pytest.approx([0, 4, 8, 12, 16, 16], abs=1e-4)
    assert blue([0, 8, 16], "center") == pytest.approx([0, 2, 6, 10, 14, 16], abs=1e-4)

    def chroma(position: int, siting: str) -> list[float]:
        fmt = VideoFormat(6, 2, "420", full_range=True, siting=siting)
        rgb = torch.zeros(1, 3, 2, 6)
        rgb[0, 2, :, position] = 1
        return ((rgb_to_planes(rgb, fmt)[1][0, 0] - 128) / 127.5).tolist()

    assert chroma(2, "left") == pytest.approx([0, 1 / 2, 0], abs=1e-6)
    assert chroma(3, "left") == pytest.approx([0, 1 / 4, 1 / 4], abs=1e-6)
    assert chroma(2, "center") == pytest.approx([1 / 8, 3 / 8, 0], abs=1e-6)
    assert chroma(0, "center") == pytest.approx([1 / 2, 0, 0], abs=1e-6)  # the border sample counts twice


def test_batches_and_single_planes_agree():
    fmt = VideoFormat(7, 5)
    planes = [torch.rand(2, *shape) * 255 for shape in fmt.plane_shapes]
    both = planes_to_rgb(planes, fmt)
    assert both.shape == (2, 3, 5, 7)
    assert torch.equal(both[1:], planes_to_rgb([plane[1] for plane in planes], fmt))


def test_display_clamps_and_coding_clips():
    fmt = VideoFormat(2, 2, "444", full_range=True)
    white_and_red = tuple(np.full((2, 2), value, np.uint8) for value in (255, 128, 255))
    assert frame_to_rgb(white_and_red, fmt).max() == 1
    assert planes_to_rgb([torch.from_numpy(plane).float() for plane in white_and_red], fmt).max() > 1.5
    frame = rgb_to_frame(flat((4.0, -1.0, 0.5), fmt).float(), fmt)
    # E'Y = 4 KR - KG + KB / 2 = 0.1713, E'PB = (0.5 - E'Y) / 1.8556 = 0.1771, E'PR = (4 - E'Y) / 1.5748 = 2.43
    assert [int(plane[0, 0]) for plane in frame] == [44, 173, 255]


def test_wrong_shapes_are_refused():
    fmt = VideoFormat(5, 3)
    good = [torch.zeros(shape) for shape in fmt.plane_shapes]
    for planes in (good[:1], [good[0], good[1], torch.zeros(2, 2)], [torch.zeros(5, 3), *good[1:]]):
        with pytest.raises(FprdoError, match=r"planes of shapes .* given for 5x3 420"):
            planes_to_rgb(planes, fmt)
    for shape in ((3, 3, 5), (1, 3, 5, 3), (1, 1, 3, 5)):
        with pytest.raises(FprdoError, match="RGB of shape"):
            rgb_to_planes(torch.zeros(shape), fmt)
    with pytest.raises(FprdoError, match="batch of 2"):
        rgb_to_frame(torch.zeros(2, 3, 3, 5), fmt)


def test_every_format_differs():
    """No argument is ignored: each combination gives planes of its own (siting matters to 4:2:0 alone)."""
    rgb = torch.rand((1, 3, 6, 6), generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    seen = []
    for chroma, matrix, full_range, siting in itertools.product(
        ("420", "444"), LUMA_COEFFICIENTS, (False, True), ("left", "center", "topleft")
    ):
        if chroma == "444" and siting != "left":
            continue
        fmt = VideoFormat(6, 6, chroma, matrix=matrix, full_range=full_range, siting=siting)
        seen.append(torch.cat([plane.flatten() for plane in rgb_to_planes(rgb, fmt)]))
    for a, b in itertools.combinations(seen, 2):
        assert a.shape != b.shape or not torch.allclose(a, b, atol=1e-3)
