"""Mean weights, QP offsets and weights of coefficients, against references of what idse.h promises."""

import math

import numpy as np
import pytest
from bridge_material import (
    CHROMAS,
    PLAIN,
    SEEDS,
    SIZES,
    blocks,
    exact_plane,
    flat,
    is_exact,
    of_sum,
    padded,
    random_shapes,
)
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fprdo_bridge.native._idse import lib
from fprdo_bridge.native.picture import FREQUENCIES, ONE, SAMPLES, UNORDERED, WeightedPicture
from fprdo_bridge.settings import IdseOptions
from fprdo_bridge.video.formats import VideoFormat

# ---- mean weights ------------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(blocks(), SEEDS)
def test_mean_of_the_visible_part(block, seed):
    fmt, component, x, y, width, height = block
    rng = np.random.default_rng(seed)
    planes = tuple(exact_plane(rng, shape) for shape in fmt.plane_shapes)
    assume(all(map(is_exact, planes)))
    plane = planes[component].astype(np.int64)
    visible = plane[y : y + height, x : x + width]
    if not visible.size:  # in the padding: the nearest samples
        rows, columns = plane.shape
        visible = plane[
            min(y, rows - 1) : max(min(y, rows - 1) + 1, y + height),
            min(x, columns - 1) : max(min(x, columns - 1) + 1, x + width),
        ]
    expected = math.floor(int(visible.sum()) * 256 / visible.size + 0.5) / 65536
    assert WeightedPicture(planes, {}, fmt, PLAIN).mean(component, x, y, width, height) == expected


def test_mean_of_a_large_plane():
    """Sums of the integral image pass 2^32; those of blocks stay right."""
    fmt = VideoFormat(2048, 1024, "400")
    plane = np.full((1024, 2048), 2, np.uint16)
    plane[:, 2040:] = 65024  # 8 columns of 254.0 and the rest low: a mean of 1.0, a sum of 2^29
    plane[:, 2032:2040] = 512 - 2 * 254
    total = plane.sum(dtype=np.int64)
    options = IdseOptions(tau=1000)  # weights of (w + 1000) / 1001: near 1 everywhere, the sum is 2^29 again
    normal = plane / (total / plane.size)
    for chosen, expected in ((PLAIN, normal), (options, (normal + 1000) / 1001)):
        picture = WeightedPicture((plane,), {}, fmt, chosen)
        for x, y in ((0, 0), (1984, 960), (2016, 992), (960, 512)):
            assert picture.mean(0, x, y, 64, 64) == pytest.approx(expected[y : y + 64, x : x + 64].mean(), abs=1 / 512)


# ---- QP offsets --------------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(st.floats(-14, 14), st.integers(0, 12), st.sampled_from((8, 16, 32, 64)), SEEDS)
def test_qp_offset(target, clip, size, seed):
    """A block of mean weight near 2^(-target / 3) at the far corner of a picture; the rest makes up for it."""
    rng = np.random.default_rng(seed)
    fmt = VideoFormat(5 * size + 3, 5 * size - 1, "400")
    block = rng.uniform(0.5, 1.5, (size, size)) * 2 ** (-target / 3)
    rest = 1 - block.sum() / (fmt.width * fmt.height)
    assume(rest > 0.1)
    plane = np.full(fmt.plane_shapes[0], rest)
    plane[size : 2 * size, 2 * size : 3 * size] = block
    plane = np.clip(plane / plane.mean() * ONE + 0.5, 1, 65535).astype(np.uint16)
    picture = WeightedPicture((plane,), {}, fmt, IdseOptions(tau=0, qp_map_clip=clip))
    exact = -3 * math.log2(picture.mean(0, 2 * size, size, size, size))
    assume(abs(exact % 1 - 0.5) > 0.002)  # thresholds have 16 fraction bits
    expected = max(-clip, min(clip, round(exact)))
    assert picture.qp_offset(2 * size, size, size, size) == expected


def test_qp_offset_of_every_weight():
    """All weights from 1/16 to 8, one by one."""
    fmt = VideoFormat(128, 128, "400")
    tried = np.arange(16, 2049)
    rest = np.ones(fmt.width * fmt.height - tried.size)
    plane = np.concatenate([tried, of_sum(rest, ONE * fmt.width * fmt.height - tried.sum())]).reshape(128, 128)
    picture = WeightedPicture((plane.astype(np.uint16),), {}, fmt, IdseOptions(tau=0, qp_map_clip=12))
    found = [picture.qp_offset(index % 128, index // 128, 1, 1) for index in range(tried.size)]
    assert found == [round(-3 * math.log2(weight / ONE)) for weight in tried]


def test_qp_offset_literals_and_counters():
    """Weights 2^(k/3) in 8x8 blocks give -k; beyond 12 they give 12."""
    fmt = VideoFormat(8 * 33, 8 * 8, "400")
    plane = np.full(fmt.plane_shapes[0], 1.0)
    for k in range(-16, 17):
        plane[8:16, (k + 16) * 8 : (k + 17) * 8] = min(2 ** (k / 3), 24)
    plane[16:] *= (plane.size - plane[:16].sum()) / plane[16:].sum()
    fixed = np.floor(plane * ONE + 0.5).astype(np.uint16)
    picture = WeightedPicture((fixed,), {}, fmt, IdseOptions(tau=0, qp_map_clip=12))
    found = [picture.qp_offset(8 * index, 8, 8, 8) for index in range(33)]
    assert found == [12] * 4 + list(range(12, -13, -1)) + [-12] * 4
    counters = picture.counters()
    names = ("qp_groups", "qp_offset_sum", "qp_offset_min", "qp_offset_max")
    assert [counters[name] for name in names] == [33, 0, -12, 12]

    clipped = WeightedPicture((fixed,), {}, fmt, IdseOptions(tau=0, qp_map_clip=3))
    assert {clipped.qp_offset(8 * index, 8, 8, 8) for index in range(4, 12)} == {3}
    assert clipped.counters()["qp_offset_min"] == clipped.counters()["qp_offset_max"] == 3
    off = WeightedPicture((fixed,), {}, fmt, IdseOptions(tau=0, qp_map=False))
    assert off.qp_offset(0, 8, 8, 8) == 0 and off.counters()["qp_groups"] == 0


def test_qp_offset_of_a_group_beyond_the_picture_takes_its_visible_part():
    fmt = VideoFormat(40, 40, "400")
    plane = np.full((40, 40), 0.5)
    plane[32:, 32:] = 4
    plane[:32, :32] *= (1600 - plane.sum() + plane[:32, :32].sum()) / plane[:32, :32].sum()
    picture = WeightedPicture(((plane * ONE + 0.5).astype(np.uint16),), {}, fmt, IdseOptions(tau=0))
    assert [picture.qp_offset(32, 32, 32, 32), picture.qp_offset(0, 32, 32, 32)] == [-6, 3]


# ---- weights of transform coefficients -----------------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(
    CHROMAS,
    st.integers(1, 100),
    st.integers(1, 100),
    st.sampled_from(SIZES),
    st.floats(0, 5),
    st.sampled_from((1.0, 0.5)),
    SEEDS,
    st.data(),
)
def test_tu_weights_of_frequencies(chroma, width, height, size, tau, power, seed, data):
    """mean * shape for the part of the mean that is the map's, 1 for the part that is tau's."""
    rng = np.random.default_rng(seed)
    fmt = VideoFormat(width, height, chroma)
    component = data.draw(st.integers(0, len(fmt.plane_shapes) - 1))
    planes = tuple(exact_plane(rng, shape) for shape in fmt.plane_shapes)
    shapes = random_shapes(rng, fmt)
    rows, columns = fmt.plane_shapes[component]
    bx, by = data.draw(st.integers(0, -(-columns // size) - 1)), data.draw(st.integers(0, -(-rows // size) - 1))
    picture = WeightedPicture(planes, shapes, fmt, IdseOptions(tau, power, rdoq=2))
    weights, mean = picture.tu_weights(component, bx * size, by * size, size)

    assert mean == picture.mean(component, bx * size, by * size, size, size)
    block = shapes[size][component][by * size : (by + 1) * size, bx * size : (bx + 1) * size] / ONE
    if power != 1:
        block = block**power / (block**power).mean()
    share = min(tau / (1 + tau), mean)
    expected = share + (mean - share) * block
    tolerance = (0 if power == 1 else 1 / 256) * mean + (1 + block.max()) / 65536  # tau's share has 16 fraction bits
    assert np.abs(weights - expected).max() <= tolerance
    assert weights.mean() == pytest.approx(mean, abs=tolerance)
    assert picture.counters()["rdoq"] == 1


def test_tu_weights_orientation():
    """Row v, column u of the answer is vertical frequency v, horizontal frequency u of the map, in that very block."""
    fmt = VideoFormat(48, 40, "420")
    for size in (4, 8, 16, 32):
        shapes = {
            size: tuple(
                np.full(tuple(-(-side // size) * size for side in shape), 128, np.uint16) for shape in fmt.plane_shapes
            )
        }
        for component, plane in enumerate(shapes[size]):
            by, bx = plane.shape[0] // size - 1, plane.shape[1] // size - 1
            plane[by * size + 1, bx * size + 3] = 128 * (component + 2)
            picture = WeightedPicture(flat(fmt), shapes, fmt, IdseOptions(tau=0))
            weights, mean = picture.tu_weights(component, bx * size, by * size, size)
            expected = np.full((size, size), 0.5)
            expected[1, 3] = 0.5 * (component + 2)
            assert mean == 1 and (weights == expected).all()
            if bx:
                assert (picture.tu_weights(component, 0, by * size, size)[0] == 0.5).all()


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(SIZES), SEEDS)
def test_tu_weights_by_order_and_mode(size, seed):
    rng = np.random.default_rng(seed)
    fmt = VideoFormat(75, 69, "422")
    planes = tuple(exact_plane(rng, shape) for shape in fmt.plane_shapes)
    assume(all(map(is_exact, planes)))
    shapes = random_shapes(rng, fmt)
    full, mean_only, off = (WeightedPicture(planes, shapes, fmt, IdseOptions(tau=0, rdoq=rdoq)) for rdoq in (2, 1, 0))
    assert [lib.idse_rdoq(picture._picture) for picture in (full, mean_only, off)] == [1, 1, 0]
    for component, x, y in ((0, size, size), (1, 0, size), (2, 32, 32)):
        for order in (FREQUENCIES, SAMPLES, UNORDERED):
            weights, mean = mean_only.tu_weights(component, x, y, size, order)
            assert (weights == mean).all() and mean == full.mean(component, x, y, size, size)
        weights, mean = full.tu_weights(component, x, y, size, UNORDERED)
        assert (weights == mean).all()
        weights, mean = full.tu_weights(component, x, y, size, SAMPLES)
        visible = padded(planes[component])[y : y + size, x : x + size] / ONE
        assert (weights == visible).all()
        shape, _ = full.tu_weights(component, x, y, size, FREQUENCIES)
        assert not (shape == mean).all()
    counted = [picture.counters()["rdoq"] for picture in (full, mean_only)]
    assert counted == [9, 9]


def test_tu_weights_without_shapes_are_the_mean():
    rng = np.random.default_rng(3)
    fmt = VideoFormat(64, 64, "444")
    planes = tuple(exact_plane(rng, shape) for shape in fmt.plane_shapes)
    picture = WeightedPicture(planes, random_shapes(rng, fmt, (8,)), fmt, IdseOptions(tau=0))
    for size in (2, 4, 16, 32):  # 2 is no transform size, but 4:2:2 splits could ask
        weights, mean = picture.tu_weights(1, 32, 0, size)
        assert (weights == mean).all() and mean == picture.mean(1, 32, 0, size, size)
    weights, mean = picture.tu_weights(1, 32, 0, 8)
    assert not (weights == mean).all()


def test_tu_weights_in_the_padding_repeat_the_last_block():
    rng = np.random.default_rng(4)
    fmt = VideoFormat(20, 36, "400")
    picture = WeightedPicture((exact_plane(rng, (36, 20)),), random_shapes(rng, fmt), fmt, IdseOptions(tau=0))
    inside, beyond = picture.tu_weights(0, 16, 32, 4)[0], picture.tu_weights(0, 60, 60, 4)[0]
    ratio = picture.mean(0, 60, 60, 4, 4) / picture.mean(0, 16, 32, 4, 4)
    assert beyond == pytest.approx(inside * ratio, abs=1e-3)
