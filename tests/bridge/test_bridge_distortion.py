"""The weighted distortion of a block, against references in integers of what idse.h promises."""

import numpy as np
import pytest
from bridge_material import (
    CHROMA,
    INTER,
    INTRA,
    PLAIN,
    RESIDUAL,
    SEEDS,
    SIZES,
    SKIP,
    blocks,
    exact_plane,
    flat,
    is_exact,
    padded,
    sse,
)
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fprdo_bridge.native._idse import ffi, lib
from fprdo_bridge.native.picture import FREQUENCIES, ONE, SAMPLES, UNORDERED, WeightedPicture
from fprdo_bridge.settings import IdseOptions
from fprdo_bridge.video.formats import VideoFormat


@settings(max_examples=200, deadline=None)
@given(
    blocks(),
    st.sampled_from((np.int16, np.int32)),
    st.sampled_from((8, 10, 12, 15, 16)),
    st.booleans(),
    st.integers(0, 16),
    st.tuples(st.integers(0, 7), st.integers(0, 7)),
    SEEDS,
)
def test_sse(block, sample, depth, extreme, shift, extra, seed):
    fmt, component, x, y, width, height = block
    rng = np.random.default_rng(seed)
    planes = tuple(exact_plane(rng, shape) for shape in fmt.plane_shapes)
    assume(all(map(is_exact, planes)))
    # 16-bit samples: unsigned in 32-bit variables, signed (residuals) in 16-bit ones.
    low, high = (-(2**15), 2**15) if depth == 16 and sample == np.int16 else (0, 2**depth)
    fill = (
        (lambda: rng.choice([low, high - 1], (height, width + 7)))
        if extreme
        else (lambda: rng.integers(low, high, (height, width + 7)))
    )
    a, b = (fill().astype(sample)[:, : width + more] for more in extra)
    a, b = (np.ascontiguousarray(array)[:, :width] for array in (a, b))  # strides of their own, odd ones too

    weight = padded(planes[component])[y : y + height, x : x + width]
    error = a.astype(object) - b.astype(object)  # Python's integers
    expected = int((weight.astype(object) * (error**2 // 2**shift)).sum()) // ONE
    assert sse(WeightedPicture(planes, {}, fmt, PLAIN), component, x, y, a, b, shift) == expected


@pytest.mark.parametrize("sample", [np.int16, np.int32])
def test_sse_at_the_limits(sample):
    """A 64x64 block of the largest weight and the largest difference: 4096 * 65535 * 65535^2 / 256; and of the
    least."""
    fmt = VideoFormat(2048, 1024, "400")
    plane = np.full(fmt.plane_shapes[0], 128, np.uint16)
    plane[64:128, 128:192] = 65535
    plane[:64, :64] = 1
    plane[-512:] = 129  # a mean of exactly 1.0
    assert is_exact(plane)
    picture = WeightedPicture((plane,), {}, fmt, PLAIN)
    a, b = np.full((64, 64), 32767, sample), np.full((64, 64), -32768, sample)
    assert sse(picture, 0, 128, 64, a, b) == 4503393472086000 == 4096 * 65535 * 65535**2 // 256
    assert sse(picture, 0, 128, 64, b, a) == sse(picture, 0, 128, 64, a, b)
    assert sse(picture, 0, 0, 0, a, b) == 4096 * 65535**2 // 256
    assert picture.mean(0, 128, 64, 64, 64) == 65535 / 256


def pattern(height: int, width: int, factor: int, modulus: int) -> np.ndarray:
    return (np.arange(height * width).reshape(height, width) * factor % modulus).astype(np.int16)


# Sums of both calls below, by a program of eight lines in plain integers.
LITERALS = {
    4: (127008, 7936),
    8: (582556, 36396),
    16: (2554065, 159572),
    32: (10624008, 663775),
    64: (42105116, 2630675),
}


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
@given(
    blocks(),
    st.floats(0, 1000),
    st.floats(0.01, 1),
    st.one_of(st.just(0.0), st.floats(1, 255)),
    st.integers(0, 8),
    SEEDS,
)
def test_weight_one_is_plain_sse(block, tau, power, clip, shift, seed):
    """For every setting, in every place: what makes an encode with a map of ones the stock encoder's."""
    fmt, component, x, y, width, height = block
    rng = np.random.default_rng(seed)
    shapes = {
        n: tuple(np.full(tuple(-(-side // n) * n for side in shape), ONE, np.uint16) for shape in fmt.plane_shapes)
        for n in SIZES
    }
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


@pytest.mark.parametrize(
    "fields",
    [
        dict(decision=0),
        dict(decision=0, component=2),
        dict(x=-1),
        dict(y=-1),
        dict(x=121),
        dict(y=61),
        dict(width=1000),
        dict(height=1000),
        dict(sample_bytes=4, is_signed=0),
        dict(sample_bytes=1, is_signed=1),
        dict(sample_bytes=3),
        dict(sample_bytes=8, is_signed=1),
    ],
    ids=str,
)
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
    assert not lib.idse_distortion(ffi.NULL, block, found) and not lib.idse_x264_distortion(
        ffi.NULL, block, 65536, found
    )
    assert not lib.idse_jm_distortion(ffi.NULL, block, ffi.new("int64_t *")) and found[0] == 7


def test_pictures_do_not_see_each_other():
    fmt = VideoFormat(8, 8, "400")
    one, other = (WeightedPicture(flat(fmt), {}, fmt, IdseOptions(sao=sao)) for sao in (True, False))
    decides(one, INTRA, 0)
    assert (one.counters()["weighted"], other.counters()["weighted"]) == (1, 0)
    assert (lib.idse_sao(one._picture), lib.idse_sao(other._picture)) == (1, 0)
