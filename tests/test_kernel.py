"""The kernel that the encoders run, against integer and floating-point references of what idse.h promises."""

import math
import os
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fprdo_bridge.encoders.job import IdseOptions
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.video.formats import VideoFormat
from fprdo_bridge.importance.idse_file import WeightMap, ones, write_idse
from fprdo_bridge.native._idse import ffi, lib
from fprdo_bridge.native.picture import (FREQUENCIES, ONE, SAMPLES, UNORDERED, WeightedPicture, default_settings)

INTRA, SKIP, RESIDUAL, INTER, CHROMA = 1, 2, 4, 8, 16
SIZES = (4, 8, 16, 32)
PLAIN = IdseOptions(tau=0, power=1, clip=0)  # weights go through as they are
CHROMAS = st.sampled_from(("400", "420", "422", "444"))
SEEDS = st.integers(0, 2 ** 32 - 1)


def of_sum(values: np.ndarray, total: int) -> np.ndarray:
    """Whole numbers proportional to `values`, >= 0, of exactly this sum: the running sum is what is rounded."""
    running = np.floor(np.cumsum(values.ravel()) * (total / values.sum()) + 0.5)
    running[-1] = total
    return np.diff(running, prepend=0).reshape(values.shape).astype(np.int64)


def exact_plane(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Weights of mean exactly 1.0 over four decades, from 1 on: the kernel's normalisation leaves them as they are."""
    above_one = of_sum(np.exp(rng.normal(0, 2, shape)), (ONE - 1) * shape[0] * shape[1])
    return (1 + above_one).clip(1, 65535).astype(np.uint16)


def is_exact(plane: np.ndarray) -> bool:
    return plane.sum(dtype=np.int64) == ONE * plane.size  # not if 65535 cut something off


def random_shapes(rng: np.random.Generator, fmt: VideoFormat, sizes=SIZES) -> dict[int, tuple[np.ndarray, ...]]:
    """Transform shapes, each block of mean exactly 1.0."""
    shapes = {}
    for n in sizes:
        planes = []
        for rows, columns in fmt.plane_shapes:
            grid = [[of_sum(rng.exponential(1, (n, n)), ONE * n * n) for _ in range(-(-columns // n))]
                    for _ in range(-(-rows // n))]
            planes.append(np.block(grid).astype(np.uint16))
        shapes[n] = tuple(planes)
    return shapes


def flat(fmt: VideoFormat, value: int = ONE) -> tuple[np.ndarray, ...]:
    return tuple(np.full(shape, value, np.uint16) for shape in fmt.plane_shapes)


def padded(plane: np.ndarray) -> np.ndarray:
    """The plane as blocks of a padded picture see it, up to the end of the last CTU."""
    rows, columns = plane.shape
    return np.pad(plane, ((0, -rows % 64), (0, -columns % 64)), mode="edge")


def sse(picture: WeightedPicture, component: int, x: int, y: int, a: np.ndarray, b: np.ndarray, shift: int = 0) -> int:
    """The weighted distortion of a block in an intra decision."""
    found = picture.distortion(picture.block(INTRA, component, x, y, a, b, shift))
    assert found is not None
    return found


def read_weights(picture: WeightedPicture, component: int, shape: tuple[int, int]) -> np.ndarray:
    """Every weight of a plane as the kernel uses it."""
    return np.array([[picture.mean(component, x, y, 1, 1) for x in range(shape[1])] for y in range(shape[0])])


# ---- weighted SSE ------------------------------------------------------------------------------------------------

@st.composite
def blocks(draw):
    """A picture, a component, a block that may reach into the padding, and its place."""
    fmt = VideoFormat(draw(st.integers(1, 140)), draw(st.integers(1, 140)), draw(CHROMAS))
    component = draw(st.integers(0, len(fmt.plane_shapes) - 1))
    rows, columns = (-(-side // 64) * 64 for side in fmt.plane_shapes[component])
    if draw(st.booleans()):
        width = height = draw(st.sampled_from((4, 8, 16, 32, 64)))
    else:
        width, height = draw(st.sampled_from((2, 4, 8, 12, 16, 24, 32, 48, 64))), draw(st.integers(1, 64))
    return fmt, component, draw(st.integers(0, columns - width)), draw(st.integers(0, rows - height)), width, height


@settings(max_examples=200, deadline=None)
@given(blocks(), st.sampled_from((np.int16, np.int32)), st.sampled_from((8, 10, 12, 15, 16)), st.booleans(),
       st.integers(0, 16), st.tuples(st.integers(0, 7), st.integers(0, 7)), SEEDS)
def test_sse(block, sample, depth, extreme, shift, extra, seed):
    fmt, component, x, y, width, height = block
    rng = np.random.default_rng(seed)
    planes = tuple(exact_plane(rng, shape) for shape in fmt.plane_shapes)
    assume(all(map(is_exact, planes)))
    # 16-bit samples: unsigned in 32-bit variables, signed (residuals) in 16-bit ones.
    low, high = (-2 ** 15, 2 ** 15) if depth == 16 and sample == np.int16 else (0, 2 ** depth)
    fill = (lambda: rng.choice([low, high - 1], (height, width + 7))) if extreme else (
        lambda: rng.integers(low, high, (height, width + 7)))
    a, b = (fill().astype(sample)[:, :width + more] for more in extra)
    a, b = (np.ascontiguousarray(array)[:, :width] for array in (a, b))  # strides of their own, odd ones too

    weight = padded(planes[component])[y:y + height, x:x + width]
    error = a.astype(object) - b.astype(object)  # Python's integers
    expected = int((weight.astype(object) * (error ** 2 // 2 ** shift)).sum()) // ONE
    assert sse(WeightedPicture(planes, {}, fmt, PLAIN), component, x, y, a, b, shift) == expected


@pytest.mark.parametrize("sample", [np.int16, np.int32])
def test_sse_at_the_limits(sample):
    """A 64x64 block of the largest weight and the largest difference: 4096 * 65535 * 65535^2 / 256; and of the least."""
    fmt = VideoFormat(2048, 1024, "400")
    plane = np.full(fmt.plane_shapes[0], 128, np.uint16)
    plane[64:128, 128:192] = 65535
    plane[:64, :64] = 1
    plane[-512:] = 129  # a mean of exactly 1.0
    assert is_exact(plane)
    picture = WeightedPicture((plane,), {}, fmt, PLAIN)
    a, b = np.full((64, 64), 32767, sample), np.full((64, 64), -32768, sample)
    assert sse(picture, 0, 128, 64, a, b) == 4503393472086000 == 4096 * 65535 * 65535 ** 2 // 256
    assert sse(picture, 0, 128, 64, b, a) == sse(picture, 0, 128, 64, a, b)
    assert sse(picture, 0, 0, 0, a, b) == 4096 * 65535 ** 2 // 256
    assert picture.mean(0, 128, 64, 64, 64) == 65535 / 256


def pattern(height: int, width: int, factor: int, modulus: int) -> np.ndarray:
    return (np.arange(height * width).reshape(height, width) * factor % modulus).astype(np.int16)


# Sums of both calls below, by a program of eight lines in plain integers.
LITERALS = {4: (127008, 7936), 8: (582556, 36396), 16: (2554065, 159572), 32: (10624008, 663775),
            64: (42105116, 2630675)}


@pytest.mark.parametrize("size", [4, 8, 16, 32, 64])
@pytest.mark.parametrize("sample", [np.int16, np.int32])
def test_sse_literals(size, sample):
    """Fixed blocks, so that a change of the reference above cannot hide one of the kernel."""
    fmt = VideoFormat(64, 64, "400")
    plane = np.where(np.add.outer(np.arange(64), np.arange(64)) % 2, 384, 128).astype(np.uint16)
    picture = WeightedPicture((plane,), {}, fmt, PLAIN)
    a, b = pattern(size, size, 37, 256).astype(sample), pattern(size, size, 11, 239).astype(sample)
    assert (sse(picture, 0, 0, 0, a, b), sse(picture, 0, 0, 0, a, b, 4)) == LITERALS[size]


@settings(max_examples=60, deadline=None)
@given(blocks(), st.floats(0, 1000), st.floats(0.01, 1), st.one_of(st.just(0.0), st.floats(1, 255)), st.integers(0, 8),
       SEEDS)
def test_weight_one_is_plain_sse(block, tau, power, clip, shift, seed):
    """For every setting, in every place: what makes an encode with a map of ones the stock encoder's."""
    fmt, component, x, y, width, height = block
    rng = np.random.default_rng(seed)
    shapes = {n: tuple(np.full(tuple(-(-side // n) * n for side in shape), ONE, np.uint16)
                       for shape in fmt.plane_shapes) for n in SIZES}
    picture = WeightedPicture(flat(fmt), shapes, fmt, IdseOptions(tau, power, clip))
    a, b = rng.integers(0, 1024, (2, height, width)).astype(np.int16)
    plain = sum((int(p) - int(q)) ** 2 >> shift for p, q in zip(a.ravel(), b.ravel()))
    assert sse(picture, component, x, y, a, b, shift) == plain
    assert picture.mean(component, x, y, width, height) == 1.0
    assert picture.qp_offset(x, y, width, height) == 0
    for order in (FREQUENCIES, SAMPLES, UNORDERED):
        for n in SIZES:
            rows, columns = fmt.plane_shapes[component]
            weights, mean = picture.tu_weights(component, columns // n // 2 * n, rows // n // 2 * n, n, order)
            assert mean == 1.0 and (weights == 1.0).all()


# ---- mean weights ------------------------------------------------------------------------------------------------

@settings(max_examples=150, deadline=None)
@given(blocks(), SEEDS)
def test_mean_of_the_visible_part(block, seed):
    fmt, component, x, y, width, height = block
    rng = np.random.default_rng(seed)
    planes = tuple(exact_plane(rng, shape) for shape in fmt.plane_shapes)
    assume(all(map(is_exact, planes)))
    plane = planes[component].astype(np.int64)
    visible = plane[y:y + height, x:x + width]
    if not visible.size:  # in the padding: the nearest samples
        rows, columns = plane.shape
        visible = plane[min(y, rows - 1):max(min(y, rows - 1) + 1, y + height),
                        min(x, columns - 1):max(min(x, columns - 1) + 1, x + width)]
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
            assert picture.mean(0, x, y, 64, 64) == pytest.approx(expected[y:y + 64, x:x + 64].mean(), abs=1 / 512)


# ---- run-time settings -------------------------------------------------------------------------------------------

def applied(source: np.ndarray, tau: float, power: float, clip: float) -> tuple[np.ndarray, np.ndarray]:
    """Weights after power, clip, mean 1 and tau in real numbers, and how far fixed point may be from them."""
    powered = (source / ONE) ** power
    limit = clip * powered.mean() if clip else np.inf
    clipped = np.minimum(powered, limit)
    mean = clipped.mean()
    # powered has 16 fraction bits, an error of 2^-17; limit adds its own of clip + 1 times as much.
    slack = 2.0 ** -17 * (clip + 2) * (1 + clipped / mean) / mean + 2.0 ** -16
    weights = (clipped / mean + tau) / (1 + tau)
    return weights.clip(1 / 256, 65535 / 256), 0.5 / 256 + slack


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 24), st.integers(1, 24), st.one_of(st.sampled_from((0.0, 0.3, 1.0, 1000.0)), st.floats(0, 1000)),
       st.one_of(st.sampled_from((0.5, 1.0)), st.floats(0.05, 1)),
       st.one_of(st.sampled_from((0.0, 1.0)), st.floats(1, 255)), SEEDS)
def test_settings_are_applied_in_order(width, height, tau, power, clip, seed):
    rng = np.random.default_rng(seed)
    source = np.exp(rng.normal(0, 1.5, (height, width)))
    source = np.clip(source / source.mean() * ONE + 0.5, 1, 65535).astype(np.uint16)
    fmt = VideoFormat(width, height, "400")
    found = read_weights(WeightedPicture((source,), {}, fmt, IdseOptions(tau, power, clip)), 0, source.shape)
    expected, tolerance = applied(source.astype(float), tau, power, clip)
    assert (np.abs(found - expected) <= tolerance).all()
    order = np.argsort(source, axis=None)
    assert (np.diff(found.ravel()[order]) >= 0).all()  # monotone
    if clip == 0:
        assert abs(found.mean() - 1) <= 1.5 / 256 + (expected.mean() - 1)  # clamping at 1/256 lifts the mean


def test_settings_literals():
    """Four weights of mean 1: 0.25 0.5 1.25 2. By hand, tau 1: (w + 1) / 2; power 0.5: sqrt(w) / 0.93484; clip 1.5
    cuts 2 to 1.5, the mean is 0.875 then."""
    fmt = VideoFormat(4, 1, "400")
    source = np.array([[64, 128, 320, 512]], np.uint16)

    def weights(**options) -> list[float]:
        picture = WeightedPicture((source,), {}, fmt, IdseOptions(**{"tau": 0.0, **options}))
        return [256 * value for value in read_weights(picture, 0, source.shape)[0]]
    assert weights() == [64, 128, 320, 512]
    assert weights(tau=1.0) == [160, 192, 288, 384]
    assert weights(tau=0.3) == [108, 158, 305, 453]  # 108.31 157.54 305.23 452.92
    assert weights(power=0.5) == [137, 194, 306, 387]  # 136.92 193.64 306.17 387.27
    assert weights(clip=1.5) == [73, 146, 366, 439]  # 73.14 146.29 365.71 438.86
    assert weights(power=0.5, clip=1.0, tau=0.5) == [196, 242, 293, 293]  # 196.27 242.22 292.75


def test_the_least_weight_everywhere_is_no_preference():
    fmt = VideoFormat(16, 16)
    assert (read_weights(WeightedPicture(flat(fmt, 1), {}, fmt, PLAIN), 0, (16, 16)) == 1).all()


@pytest.mark.parametrize("component", [0, 1, 2])
def test_a_weight_of_zero_is_none(component):
    fmt = VideoFormat(40, 24)
    planes = flat(fmt)
    planes[component][-1, -1] = 0
    with pytest.raises(FprdoError, match=f"a pixel weight of component {component} is 0, the least is 1"):
        WeightedPicture(planes, {}, fmt, PLAIN)


@pytest.mark.parametrize("name, value, message", [
    ("tau", -0.001, "IDSETau is -0.001; give a value from 0 to 1000"), ("tau", 1000.5, "IDSETau is 1000.5"),
    ("tau", math.nan, "IDSETau is .*nan"), ("tau", math.inf, "IDSETau is inf"),
    ("power", 0.0, "IDSEPower is 0; give a value above 0 and up to 1"), ("power", 1.001, "IDSEPower is 1.001"),
    ("power", math.nan, "IDSEPower is .*nan"), ("power", -1.0, "IDSEPower is -1"),
    ("clip", 0.5, "IDSEClip is 0.5; give 0 for no limit, or a value from 1 to 255"), ("clip", -1.0, "IDSEClip is -1"),
    ("clip", 255.5, "IDSEClip is 255.5"), ("clip", math.nan, "IDSEClip is .*nan"),
    ("rdoq", 3, "IDSERdoq is 3; give a value from 0 to 2"), ("rdoq", -1, "IDSERdoq is -1"),
    ("qp_map", 2, "IDSEQpMap is 2; give a value from 0 to 1"), ("qp_map", -1, "IDSEQpMap is -1"),
    ("qp_map_clip", 13, "IDSEQpMapClip is 13; give a value from 0 to 12"), ("qp_map_clip", -1, "IDSEQpMapClip is -1"),
    ("sao", 2, "IDSESao is 2"), ("decisions", 32, "IDSEDecisions is 32; give a value from 0 to 31"),
    ("decisions", -1, "IDSEDecisions is -1")])
def test_settings_out_of_range(name, value, message):
    """IdseOptions refuses these as well, so they come in past it."""
    fmt = VideoFormat(8, 8, "400")
    options = SimpleNamespace(**(vars(IdseOptions()) | {name: value}))
    with pytest.raises(FprdoError, match=f"^{message}") as error:
        WeightedPicture(flat(fmt), {}, fmt, options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("values", [dict(tau=0), dict(tau=1000), dict(power=1e-9), dict(power=1), dict(clip=1),
                                    dict(clip=255), dict(qp_map_clip=12), dict(decisions=0)])
def test_settings_at_the_ends_of_their_ranges(values):
    fmt = VideoFormat(8, 8, "400")
    options = SimpleNamespace(**(vars(IdseOptions()) | values))
    assert WeightedPicture(flat(fmt), {}, fmt, options).mean(0, 0, 0, 8, 8) == 1


def test_arrays_of_another_shape_are_refused():
    fmt = VideoFormat(9, 7)
    good, bad = flat(fmt), flat(VideoFormat(7, 9))
    for planes, shapes in ((bad, {}), (tuple(plane.astype(np.int32) for plane in good), {}), (good, {4: good})):
        with pytest.raises(FprdoError, match=r"weights of component 0: .* given; use uint16 \("):
            WeightedPicture(planes, shapes, fmt, PLAIN)


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
    plane[size:2 * size, 2 * size:3 * size] = block
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
        plane[8:16, (k + 16) * 8:(k + 17) * 8] = min(2 ** (k / 3), 24)
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
@given(CHROMAS, st.integers(1, 100), st.integers(1, 100), st.sampled_from(SIZES), st.floats(0, 5),
       st.sampled_from((1.0, 0.5)), SEEDS, st.data())
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
    block = shapes[size][component][by * size:(by + 1) * size, bx * size:(bx + 1) * size] / ONE
    if power != 1:
        block = block ** power / (block ** power).mean()
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
        shapes = {size: tuple(np.full(tuple(-(-side // size) * size for side in shape), 128, np.uint16)
                              for shape in fmt.plane_shapes)}
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
        visible = padded(planes[component])[y:y + size, x:x + size] / ONE
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


# ---- decisions ---------------------------------------------------------------------------------------------------

def decides(picture: WeightedPicture, decision: int, component: int) -> bool:
    """Whether the distortion of a block is weighted, which is plain SSE where all weights are 1.0."""
    a, b = np.full((4, 4), 3, np.int16), np.full((4, 4), 1, np.int16)
    found = picture.distortion(picture.block(decision, component, 4, 4, a, b))
    assert found in (None, 64)
    return found is not None


@pytest.mark.parametrize("mask", range(32))
def test_decisions(mask):
    fmt = VideoFormat(8, 8)
    picture = WeightedPicture(flat(fmt), {}, fmt, IdseOptions(decisions=mask))
    for decision in (INTRA, SKIP, RESIDUAL, INTER):
        for component in range(3):
            expected = bool(mask & decision) and (component == 0 or bool(mask & CHROMA))
            assert decides(picture, decision, component) == expected
    weighted = bin(mask & 15).count("1") * (3 if mask & CHROMA else 1)
    counters = picture.counters()
    assert (counters["weighted"], counters["masked"], counters["unweighted"]) == (weighted, 12 - weighted, 0)


@pytest.mark.parametrize("fields", [
    dict(decision=0), dict(decision=0, component=2), dict(x=-1), dict(y=-1), dict(x=121), dict(y=61), dict(width=1000),
    dict(height=1000), dict(sample_bytes=4, is_signed=0), dict(sample_bytes=1, is_signed=1), dict(sample_bytes=3),
    dict(sample_bytes=8, is_signed=1)], ids=str)
def test_a_block_that_says_too_little_is_counted(fields):
    """No decision, a place that is not in the picture, samples of no known type: a hole in a patch, and no weights."""
    fmt = VideoFormat(100, 50, "444")
    picture = WeightedPicture(flat(fmt), {}, fmt, IdseOptions())
    samples = np.zeros((4, 8), np.int16)
    block = picture.block(INTRA, 0, 120, 60, samples, samples)
    assert picture.distortion(block) == 0  # the last one of the padding
    for name, value in fields.items():
        setattr(block, name, value)
    assert picture.distortion(block) is None and picture.scaled_distortion(block, 65536) is None
    counters = picture.counters()
    assert (counters["unweighted"], counters["weighted"]) == (2, 1)


def test_no_picture_no_weights():
    assert lib.idse_rdoq(ffi.NULL) == lib.idse_sao(ffi.NULL) == lib.idse_qp_offset(ffi.NULL, 0, 0, 8, 8) == 0
    block, found = ffi.new("idse_block *", {"decision": INTRA}), ffi.new("uint64_t *", 7)
    assert not lib.idse_distortion(ffi.NULL, block, found) and not lib.idse_x264_distortion(ffi.NULL, block, 65536, found)
    assert not lib.idse_jm_distortion(ffi.NULL, block, ffi.new("int64_t *")) and found[0] == 7


def test_pictures_do_not_see_each_other():
    fmt = VideoFormat(8, 8, "400")
    one, other = (WeightedPicture(flat(fmt), {}, fmt, IdseOptions(sao=sao)) for sao in (True, False))
    decides(one, INTRA, 0)
    assert (one.counters()["weighted"], other.counters()["weighted"]) == (1, 0)
    assert (lib.idse_sao(one._picture), lib.idse_sao(other._picture)) == (1, 0)


# ---- weight files ------------------------------------------------------------------------------------------------

CLIP = VideoFormat(20, 12)


def sequence(fmt: VideoFormat, frames: int, step: int = 1) -> object:
    return ffi.new("idse_sequence *", dict(width=fmt.width, height=fmt.height, coded_width=fmt.width + 4,
                                           coded_height=fmt.height + 4, chroma_format_idc=fmt.chroma_format_idc,
                                           frames=frames, frame_step=step))


def open_encoder(path: Path | str, fmt: VideoFormat = CLIP, frames: int = 1, step: int = 1, provider=ffi.NULL,
                 **options) -> object | str:
    """An open handle, or the message why there is none."""
    chosen = ffi.new("idse_settings *", {**default_settings(), **options})
    message = ffi.new("char[]", lib.IDSE_MESSAGE_BYTES)
    handle = lib.idse_encoder_open(os.fsencode(path), chosen, sequence(fmt, frames, step), provider, message)
    if handle == ffi.NULL:
        return ffi.string(message).decode()
    assert ffi.string(message) == b""
    return ffi.gc(handle, lib.idse_encoder_close)


def said(handle: object) -> str:
    return ffi.string(lib.idse_message(handle)).decode()


def map_of(fmt: VideoFormat, corner: float) -> WeightMap:
    """A first sample that weighs more than the others."""
    whole = ones(fmt)
    for plane in whole.planes:
        plane[0, 0] = corner
        plane[0, 1] = 2 - corner
    return whole


@pytest.fixture(scope="module")
def three_maps(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("maps") / "three.idse"
    write_idse(path, [map_of(CLIP, corner) for corner in (1.25, 1.5, 1.75)], CLIP, frame_count=5, frames_per_map=2,
               metadata={"name": "a test"})
    return path


def test_pictures_are_found_by_their_number(three_maps):
    handle = open_encoder(three_maps, frames=5, tau=0)
    for poc, corner in ((4, 1.75), (0, 1.25), (2, 1.5), (1, 1.25), (3, 1.5)):  # coding order is not output order
        picture = lib.idse_picture_begin(handle, poc)
        for component in range(3):
            assert lib.idse_mean(picture, component, 0, 0, 1, 1) == corner
            assert lib.idse_mean(picture, component, 1, 0, 1, 1) == 2 - corner
    for poc in (-1, 5, 6, 1000):
        assert lib.idse_picture_begin(handle, poc) == ffi.NULL
        assert said(handle) == (f"{three_maps}: no weights for picture {poc}, only for 5 frames; code fewer frames or make the "
                                "map again with: fprdo weights for all of them")
    counters = ffi.new("idse_counters *")
    lib.idse_counters_get(handle, counters)
    assert counters.pictures == 5
    every_second = open_encoder(three_maps, frames=3, step=2, tau=0)
    corners = [lib.idse_mean(lib.idse_picture_begin(every_second, poc), 0, 0, 0, 1, 1) for poc in range(3)]
    assert corners == [1.25, 1.5, 1.75]


def test_maps_that_cannot_change_a_qp(tmp_path, three_maps):
    write_idse(tmp_path / "ones.idse", [ones(CLIP)], CLIP, frame_count=1)
    assert lib.idse_changes_qp(open_encoder(three_maps)) == 1
    assert lib.idse_changes_qp(open_encoder(three_maps, qp_map=0)) == 0
    assert lib.idse_changes_qp(open_encoder(tmp_path / "ones.idse")) == 0
    assert lib.idse_changes_qp(ffi.NULL) == 0


def test_files_and_sequences_that_do_not_fit(tmp_path, three_maps):
    for arguments, message in (
            (dict(fmt=VideoFormat(20, 14)), "weights for 20x12, the pictures are 20x14; make the map again"),
            (dict(fmt=VideoFormat(20, 12, "422")), "weights for 4:2:0, the pictures are coded as 4:2:2"),
            (dict(frames=6), "weights for 5 frames, 6 are needed"),
            (dict(frames=3, step=3), "weights for 5 frames, 7 are needed")):
        assert open_encoder(three_maps, **arguments).startswith(f"{three_maps}: {message}")
    assert "cannot be opened (No such file or directory)" in open_encoder(tmp_path / "gone.idse")
    assert open_encoder(tmp_path).startswith(f"{tmp_path}: not an .idse weight file but a folder; ")
    assert open_encoder(three_maps, tau=-1) == "IDSETau is -1; give a value from 0 to 1000"


@pytest.mark.parametrize("kind", ["pipe", "device", "link to a pipe"])
def test_what_is_no_file_is_not_waited_for(tmp_path, kind):
    path = tmp_path / "map.idse"
    if kind == "device":
        path.symlink_to("/dev/zero")
    else:
        os.mkfifo(tmp_path / "pipe")
        path.symlink_to(tmp_path / "pipe")
    if kind == "pipe":
        path = tmp_path / "pipe"
    started = time.monotonic()
    assert open_encoder(path) == f"{path}: not an .idse weight file but a pipe or a device; give the path of an .idse file"
    assert time.monotonic() - started < 1


@pytest.mark.parametrize("left", [0, 0.3, 0.6, 0.99])
def test_a_file_that_becomes_shorter_ends_with_a_message(tmp_path, left):
    """While an encoder has it open, before and after its lookahead. In a process of its own: it used to be a signal."""
    program = f"""
import os, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_kernel import *
fmt, path = VideoFormat(320, 192), Path({str(tmp_path / "map.idse")!r})
write_idse(path, [map_of(fmt, 1.5)] * 3, fmt, frame_count=3)
handle = open_encoder(path, fmt, frames=3)
assert lib.idse_picture_begin(handle, 0) != ffi.NULL
assert lib.idse_qp_offsets(handle, 1, 16, 20, 12, ffi.new("float[240]"))
os.truncate(path, int({left} * os.path.getsize(path)))
assert lib.idse_picture_begin(handle, 0) != ffi.NULL  # that map is in memory
print(lib.idse_picture_begin(handle, 2) == ffi.NULL, said(handle), sep="\\n")
print(lib.idse_qp_offsets(handle, 2, 16, 20, 12, ffi.new("float[240]")) == 0, said(handle), sep="\\n")
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.returncode == 0, f"{run.returncode}: {run.stderr}"
    lines = run.stdout.splitlines()
    assert lines[::2] == ["True", str(left < 0.66)] and lines[1] == lines[3]  # of the last map, at the end or all missing
    assert lines[1].startswith(f"{tmp_path / 'map.idse'}: has become shorter than the ") and lines[1].endswith(
        "copy it again or make the map again with: fprdo weights")


def test_a_file_that_is_replaced_or_removed_is_still_read(tmp_path, three_maps):
    path = tmp_path / "map.idse"
    path.write_bytes(three_maps.read_bytes())
    handle = open_encoder(path, frames=5, tau=0)
    path.unlink()
    path.write_bytes(b"something else")
    assert lib.idse_mean(lib.idse_picture_begin(handle, 4), 0, 0, 0, 1, 1) == 1.75


@pytest.mark.parametrize("offset", [0, 239, 240, 359], ids=["first of Y", "last of Y", "first of Cb", "last of Cr"])
def test_a_pixel_weight_of_zero_is_noticed(tmp_path_factory, three_maps, offset):
    """With a checksum that fits: somebody else's writer."""
    data = bytearray(three_maps.read_bytes())
    map_bytes, maps_offset = struct.unpack_from("<QQ", data, 40)
    struct.pack_into("<H", data, maps_offset + map_bytes + 2 * offset, 0)
    record = data[maps_offset + map_bytes:maps_offset + 2 * map_bytes]
    struct.pack_into("<I", data, 100, zlib.crc32(record))
    message = refused(tmp_path_factory, with_header(bytes(data), {}))
    assert ": a pixel weight of map 1 is 0, the least is 1; make the map again with: fprdo weights" in message


def test_a_name_with_a_line_break_is_one_line(tmp_path):
    assert "\n" not in open_encoder(tmp_path / "a\nb.idse") and "a?b.idse: cannot be opened" in open_encoder(
        tmp_path / "a\nb.idse")


def test_a_long_name_keeps_its_message(tmp_path):
    path = f"{tmp_path}/{'a/' * 1000}w.idse"
    assert open_encoder(path) == f"{path}: cannot be opened (No such file or directory); give the path of an .idse file"


def refused(tmp_path_factory, data: bytes) -> str:
    path = tmp_path_factory.getbasetemp() / "damaged.idse"
    path.write_bytes(data)
    message = open_encoder(path, frames=1)
    assert isinstance(message, str), "opened a damaged file"
    assert message.startswith(f"{path}: ") and "\n" not in message
    return message


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2 ** 32), st.integers(1, 255))
def test_a_changed_byte_is_noticed(tmp_path_factory, three_maps, position, mask):
    data = bytearray(three_maps.read_bytes())
    metadata_bytes, = struct.unpack_from("<I", data, 56)
    maps_offset, = struct.unpack_from("<Q", data, 48)
    position %= len(data)
    assume(not 96 + 4 * 3 + metadata_bytes <= position < maps_offset)  # padding that nobody reads
    data[position] ^= mask
    refused(tmp_path_factory, bytes(data))


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2 ** 32))
def test_a_truncated_file_is_noticed(tmp_path_factory, three_maps, length):
    data = three_maps.read_bytes()
    message = refused(tmp_path_factory, data[:length % len(data)])
    assert "truncated" in message or "not an .idse weight file" in message


def test_a_longer_file_is_noticed(tmp_path_factory, three_maps):
    assert "too long" in refused(tmp_path_factory, three_maps.read_bytes() + bytes(64))


def test_a_future_version_is_named(tmp_path_factory, three_maps):
    data = bytearray(three_maps.read_bytes())
    data[8] = 2
    assert "version 2, this encoder reads version 1; update the encoder" in refused(tmp_path_factory, bytes(data))


FIELDS = {10: "<H", 12: "<I", 16: "<I", 20: "<B", 21: "<B", 22: "<B", 24: "<I", 28: "<I", 32: "<I", 40: "<Q", 48: "<Q",
          56: "<I"}


def with_header(data: bytes, changes: dict[int, int]) -> bytes:
    """Fields by their offset, and a header checksum that fits as long as what it covers is in the file."""
    changed = bytearray(data)
    for offset, value in changes.items():
        struct.pack_into(FIELDS[offset], changed, offset, value)
    maps, metadata_bytes = struct.unpack_from("<I", changed, 24)[0], struct.unpack_from("<I", changed, 56)[0]
    covered = changed[96:96 + 4 * maps + metadata_bytes]
    struct.pack_into("<I", changed, 92, zlib.crc32(covered, zlib.crc32(changed[:92])))
    return bytes(changed)


@settings(max_examples=200, deadline=None)
@given(st.data(), st.sampled_from(sorted(FIELDS)))
def test_a_header_field_that_contradicts_the_rest_is_noticed(tmp_path_factory, three_maps, data, offset):
    """A checksum does not make a header right."""
    original = three_maps.read_bytes()
    limit = 256 ** struct.calcsize(FIELDS[offset]) - 1
    old, = struct.unpack_from(FIELDS[offset], original, offset)
    value = data.draw(st.one_of(st.integers(0, limit), st.integers(max(0, old - 3), min(limit, old + 3)),
                                st.sampled_from([0, limit])))
    if offset == 32:  # five or six frames at two per map need three maps
        assume(value not in (5, 6))
    elif offset == 56:  # the metadata may end anywhere before the maps
        assume(value > struct.unpack_from("<Q", original, 48)[0])
    else:
        assume(value != old)
    refused(tmp_path_factory, with_header(original, {offset: value}))


def test_sizes_that_wrap_around_are_noticed(tmp_path, three_maps):
    """Offset and count whose sum, modulo 2^64, is the size of the file: reading the checksums would leave the file. In
    a process of its own, because that would be a crash."""
    data = three_maps.read_bytes()
    map_bytes, = struct.unpack_from("<Q", data, 40)
    maps = 10_000_000
    (tmp_path / "wraps.idse").write_bytes(with_header(data, {
        24: maps, 28: 1, 32: maps, 48: (len(data) - maps * map_bytes) % 2 ** 64, 56: 0}))
    program = (f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); from test_kernel import open_encoder; "
               f"from pathlib import Path; print(open_encoder(Path({str(tmp_path / 'wraps.idse')!r})))")
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.returncode == 0, f"died of signal {-run.returncode}: {run.stderr}"
    assert "wraps.idse: " in run.stdout and "<cdata" not in run.stdout


# ---- defaults ----------------------------------------------------------------------------------------------------

def test_defaults_are_those_of_the_job():
    assert default_settings() == vars(IdseOptions())


# ---- providers ---------------------------------------------------------------------------------------------------

class Provider:
    """Weights from arrays of this process, 256 is 1.0, and a distortion that says what it was asked."""

    def __init__(self, planes: tuple[np.ndarray, ...], decisions: int = 0):
        self.planes, self.asked, self.refused, self.value = planes, [], [], 12.75
        self.callbacks = {
            "begin": ffi.callback("int(void *, int, int, idse_map *)", self.begin),
            "end": ffi.callback("void(void *, int)", lambda context, frame: None),
            "distortion": ffi.callback("double(void *, const idse_block *)", self.distortion),
            "refuse": ffi.callback("void(void *, double)", lambda context, value: self.refused.append(value))}
        self.struct = ffi.new("idse_provider *", {"bytes": ffi.sizeof("idse_provider"), "decisions": decisions, **self.callbacks})

    def begin(self, context, poc, frame, weight_map) -> int:
        for component, plane in enumerate(self.planes):
            weight_map.pixel[component] = ffi.cast("uint16_t *", plane.ctypes.data)
        return int(poc < 2)

    def distortion(self, context, block) -> float:
        self.asked.append(tuple(getattr(block, name) for name in (
            "decision", "component", "x", "y", "width", "height", "sample_bytes", "is_signed", "shift")))
        return self.value

    def picture(self, poc: int = 0, **options) -> tuple[object, object]:
        """An encoder and a picture that read from here."""
        handle = open_encoder("", frames=3, provider=self.struct, **options)
        return handle, lib.idse_picture_begin(handle, poc)


@pytest.mark.parametrize("sample", [np.uint8, np.uint16, np.int16, np.int32])
def test_a_provided_distortion_takes_the_place_of_every_kernel(sample):
    provider = Provider(flat(CLIP), decisions=INTRA | INTER)
    handle, picture = provider.picture()
    samples, found = np.zeros((8, 4), sample), ffi.new("uint64_t *")
    block = WeightedPicture.block(INTRA, 1, 4, 8, samples, samples)
    kind = (np.dtype(sample).itemsize, int(np.dtype(sample).kind == "i"))
    assert lib.idse_distortion(picture, block, found) and found[0] == 12
    assert lib.idse_x264_distortion(picture, block, 131072, found) and found[0] == 25  # of 12.75 twice
    assert provider.asked == [(INTRA, 1, 4, 8, 4, 8, *kind, 0)] * 2
    block.decision = SKIP  # which it does not decide
    assert lib.idse_distortion(picture, block, found) and found[0] == 0 and len(provider.asked) == 2


def test_a_provided_distortion_takes_the_place_of_jms():
    provider = Provider(flat(CLIP), decisions=INTRA)
    handle, picture = provider.picture()
    plane, found = np.zeros((64, 64), np.uint16), ffi.new("int64_t *")
    lib.idse_jm_original(picture, 0, ffi.from_buffer(plane), 128, 64, 2)
    block = WeightedPicture.block(INTRA, 0, 0, 0, plane[8:16, 4:8], plane[:8, :4])
    assert lib.idse_jm_distortion(picture, block, found) and found[0] == 12.75 * 32
    assert provider.asked == [(INTRA, 0, 4, 8, 4, 8, 2, 0, 0)]


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf, 2.0 ** 44])
def test_a_provided_distortion_out_of_range_is_refused(value):
    provider = Provider(flat(CLIP), decisions=15)
    provider.value = value
    handle, picture = provider.picture()
    samples, found = np.zeros((4, 4), np.uint8), ffi.new("uint64_t *")
    block = WeightedPicture.block(INTER, 0, 0, 0, samples, samples)
    for call in (lambda: lib.idse_distortion(picture, block, found),
                 lambda: lib.idse_x264_distortion(picture, block, 65536, found)):
        assert call() and found[0] == 0
    assert len(provider.refused) == 2 and (provider.refused == [value] * 2 or math.isnan(value))


def test_what_a_provider_cannot_give():
    planes = flat(CLIP)
    planes[1][0, 0] = 0
    handle, picture = Provider(planes).picture()
    assert picture == ffi.NULL
    assert said(handle) == "provider: a pixel weight of picture 0 is 0, the least is 1; raise it"
    handle, picture = Provider(flat(CLIP)).picture(poc=2)
    assert picture == ffi.NULL and said(handle) == "provider: no weights for picture 2"
    assert not lib.idse_qp_offsets(handle, 0, 16, 2, 1, ffi.new("float[2]"))
    assert said(handle).startswith("provider: has its maps in coding order")


def test_encoders_of_one_process_have_providers_of_their_own(three_maps):
    """An encoder from a file between two from providers, opened before any of them begins a picture."""
    weights = [np.full(shape, ONE, np.uint16) for shape in CLIP.plane_shapes], [
        np.full(shape, ONE, np.uint16) for shape in CLIP.plane_shapes]
    for planes, corner in zip(weights, (300, 400)):
        planes[0][0, 0], planes[0][0, 1] = corner, 2 * ONE - corner
    providers = [Provider(tuple(planes)) for planes in weights]
    handles = [open_encoder("", provider=providers[0].struct, tau=0), open_encoder(three_maps, tau=0),
               open_encoder("", provider=providers[1].struct, tau=0)]
    corners = [256 * lib.idse_mean(lib.idse_picture_begin(handle, 0), 0, 0, 0, 1, 1) for handle in handles]
    assert corners == [300, 320, 400]


def test_a_provider_of_another_build_is_refused():
    provider = ffi.new("idse_provider *", {"bytes": ffi.sizeof("idse_provider") - 8})
    assert open_encoder("", provider=provider).startswith("encoder library and Python package are of different builds")
