"""The kernel by rows of the original picture, as JM calls it, against integer references of what idse.h promises."""

from fractions import Fraction

import numpy as np
import pytest
from bridge_material import CHROMAS, PLAIN, SEEDS, exact_plane, is_exact, open_encoder, padded, random_shapes
from hypothesis import given, settings
from hypothesis import strategies as st

from fprdo_bridge.importance.idse_file import ones, write_idse
from fprdo_bridge.native._idse import ffi, lib
from fprdo_bridge.native.picture import ONE, WeightedPicture
from fprdo_bridge.settings import IdseOptions
from fprdo_bridge.video.formats import VideoFormat

INTRA, CHROMA = 1, 16
BUDGET = (2**31 - 1) - (2**31 - 1) // 8  # squared errors of a macroblock: an eighth of 32 bits is the rate's
MACROBLOCK = {"400": 256, "420": 384, "422": 512, "444": 768}  # its samples


class Original:
    """Planes of an original and a coded picture in memory, with the weights that belong to them."""

    def __init__(
        self,
        fmt: VideoFormat,
        sample: type,
        planes: tuple[np.ndarray, ...],
        shapes: dict | None = None,
        options: IdseOptions = PLAIN,
    ):
        self.weights = WeightedPicture(planes, shapes or {}, fmt, options)
        self.picture = self.weights._picture
        self.sample = np.dtype(sample)
        self.planes = [np.zeros(padded(plane).shape, sample) for plane in planes]
        self.coded = [plane.copy() for plane in self.planes]
        for component, plane in enumerate(self.planes):
            lib.idse_jm_original(
                self.picture, component, ffi.from_buffer(plane), plane.strides[0], plane.shape[0], self.sample.itemsize
            )

    def address(self, array: np.ndarray, x: int, y: int) -> int:
        return array.ctypes.data + y * array.strides[0] + x * self.sample.itemsize

    def sse(
        self,
        component: int,
        x: int,
        y: int,
        step: int,
        width: int,
        height: int,
        decision: int = INTRA,
        original: np.ndarray | None = None,
    ) -> int | None:
        """Of the block whose rows lie `step` rows of the frame apart; `original` in the place of the one that is
        known."""
        rows = slice(y, y + step * height, step)
        array = self.planes[component] if original is None else original
        block = self.weights.block(
            decision, 0, 0, 0, array[rows, x : x + width], self.coded[component][rows, x : x + width]
        )
        distortion = ffi.new("int64_t *", -1)
        done = lib.idse_jm_distortion(self.picture, block, distortion)
        assert done in (0, 1) and (done or distortion[0] == -1)
        return distortion[0] if done else None

    def below(self, component: int, x: int, y: int, step: int) -> tuple[object, object]:
        return tuple(ffi.cast("void *", self.address(self.planes[component], x, row)) for row in (y, y + step))


@st.composite
def blocks(draw):
    """A picture, a component, a block of JM's sizes in a frame (step 1) or a field (2), and its place."""
    fmt = VideoFormat(draw(st.integers(1, 100)), draw(st.integers(1, 100)), draw(CHROMAS))
    component = draw(st.integers(0, len(fmt.plane_shapes) - 1))
    rows, columns = (-(-side // 64) * 64 for side in fmt.plane_shapes[component])
    width, height = draw(st.sampled_from(((4, 4), (8, 8), (16, 16), (8, 16), (16, 8))))
    step = draw(st.sampled_from((1, 2)))
    x = draw(st.integers(0, (columns - width) // 4)) * 4
    y = draw(st.integers(0, (rows - step * height) // (4 * step))) * 4 * step + draw(st.integers(0, step - 1))
    return fmt, component, x, min(y, rows - step * height), step, width, height


@settings(max_examples=200, deadline=None)
@given(blocks(), st.sampled_from((8, 9, 10, 14, 16)), st.booleans(), SEEDS)
def test_sse_of_frames_and_fields(block, depth, wide, seed):
    fmt, component, x, y, step, width, height = block
    rng = np.random.default_rng(seed)
    planes = tuple(exact_plane(rng, shape) for shape in fmt.plane_shapes)
    if not all(map(is_exact, planes)):
        planes = tuple(np.full(shape, ONE, np.uint16) for shape in fmt.plane_shapes)
    original = Original(fmt, np.uint8 if depth == 8 and not wide else np.uint16, planes)
    for array in (original.planes[component], original.coded[component]):
        array[:] = rng.integers(0, 2**depth, array.shape)
    taken = (slice(y, y + step * height, step), slice(x, x + width))
    weight = padded(planes[component])[taken].astype(object)
    error = original.planes[component][taken].astype(object) - original.coded[component][taken].astype(object)
    total, plain = int((weight * error**2).sum()), int((error**2).sum())
    knee = BUDGET * 32 // MACROBLOCK[fmt.chroma] // 2 * width * height
    expected = 1 if 0 < total < 8 else total // 8
    if expected > knee:
        expected = min(expected, max(2 * knee - knee**2 // expected, 32 * plain))
    found = original.sse(component, x, y, step, width, height)
    assert found == pytest.approx(expected, rel=1e-3 if expected > knee else 0, abs=0)
    counters = original.weights.counters()
    assert counters["weighted"] == 1 and counters["unweighted"] == 0
    assert counters["limited"] == (found < total // 8)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**53), st.integers(0, 2**53), st.integers(1, 2**53))
def test_limited_distortion(weighted, plain, knee):
    """Up to the knee it is the distortion itself; beyond, it rises on towards twice the knee, unless SSE is more."""
    picture = WeightedPicture((np.full((16, 16), ONE, np.uint16),), {}, VideoFormat(16, 16, "400"), PLAIN)
    limited = lib.idse_limited(picture._picture, weighted, plain, knee)
    assert picture.counters()["limited"] == (limited != weighted)
    if weighted <= max(knee, plain):
        assert limited == weighted
    else:
        assert max(knee, plain) <= limited <= max(2 * knee, plain)
        exact = 2 * knee - Fraction(knee**2, weighted)
        assert abs(limited - max(exact, plain)) <= Fraction(knee, 1000) + 1
    assert limited <= lib.idse_limited(picture._picture, weighted + weighted // 100 + 1, plain, knee)


@settings(max_examples=60, deadline=None)
@given(blocks(), st.floats(0, 1000), st.floats(0.01, 1), SEEDS)
def test_weight_one_is_jms_own_distortion(block, tau, power, seed):
    fmt, component, x, y, step, width, height = block
    ones = tuple(np.full(shape, ONE, np.uint16) for shape in fmt.plane_shapes)
    original = Original(fmt, np.uint16, ones, options=IdseOptions(tau, power))
    rng = np.random.default_rng(seed)
    for array in (original.planes[component], original.coded[component]):
        array[:] = rng.integers(0, 2**14, array.shape)  # beyond the limit with 14 bits: the plain error stands
    taken = (slice(y, y + step * height, step), slice(x, x + width))
    error = original.planes[component][taken].astype(int) - original.coded[component][taken].astype(int)
    assert original.sse(component, x, y, step, width, height) == int((error**2).sum()) << 5
    assert original.weights.counters()["limited"] == 0
    assert lib.idse_jm_qp_offset(original.picture, *original.below(component, x, y, step), 16, 16) == 0


def checkered(value: int = 0) -> Original:
    """64x64 luma samples of weight 1.5 and 0.5 in turn, the coded picture `value` everywhere, the original 0."""
    plane = np.where(np.add.outer(np.arange(64), np.arange(64)) % 2, 384, 128).astype(np.uint16)
    original = Original(VideoFormat(64, 64, "400"), np.uint8, (plane,))
    original.coded[0][:] = value
    return original


def test_sse_literals():
    original = checkered()
    assert original.sse(0, 16, 32, 1, 16, 16) == 0
    original.coded[0][33, 17] = 3  # on a sample of weight 0.5: 9 * 0.5 * 32
    assert original.sse(0, 16, 32, 1, 16, 16) == original.sse(0, 16, 32, 1, 4, 4) == 144
    assert original.sse(0, 16, 32, 2, 4, 4) == 0  # rows 32, 34, 36, 38
    assert original.sse(0, 16, 33, 2, 8, 8) == 144  # rows 33, 35, ...
    assert checkered(255).sse(0, 0, 0, 1, 16, 16) == 256 * 255**2 * 32


def test_the_least_error_is_never_none():
    """1/256 of 1/32 of the squared error 1: JM takes a distortion of 0 for lossless."""
    plane = np.full((64, 64), ONE + 1, np.uint16)
    plane[8:12, 8:12] = 1
    plane[0, 0] += ONE * 64 * 64 - plane.sum(dtype=np.int64)
    original = Original(VideoFormat(64, 64, "400"), np.uint8, (plane,))
    original.coded[0][9, 9] = 1
    assert original.sse(0, 8, 8, 1, 4, 4) == 1
    original.coded[0][9, 9] = 2  # 4 / 8 is still below one unit
    assert original.sse(0, 8, 8, 1, 4, 4) == 1
    original.coded[0][9, 9] = 4
    assert original.sse(0, 8, 8, 1, 4, 4) == 2


@pytest.mark.parametrize("chroma", MACROBLOCK)
def test_a_macroblock_of_the_largest_weights_fits_into_32_bits(chroma):
    """The largest error of 8 bits at weights near 256 everywhere: all blocks of a macroblock, with an eighth left."""
    fmt = VideoFormat(1024, 512, chroma)
    planes = []
    for shape in fmt.plane_shapes:
        plane = np.ones(shape, np.uint16)
        plane[:16, :16] = 65535
        plane[-16:] += np.uint16((ONE * plane.size - plane.sum(dtype=np.int64)) // (16 * shape[1]))
        planes.append(plane)
    original = Original(fmt, np.uint8, tuple(planes))
    for coded in original.coded:
        coded[:] = 255
    total = sum(
        original.sse(component, 0, 0, 1, *(16 if component == 0 else 16 // side for side in fmt.subsampling))
        for component in range(len(planes))
    )
    assert 0.7 * 2**31 < total / 32 <= 2**31 * 7 / 8
    assert original.weights.counters()["limited"] == len(planes)
    # In parts, too.
    assert sum(original.sse(0, x, y, 1, 4, 4) for x in range(0, 16, 4) for y in range(0, 16, 4)) == pytest.approx(
        original.sse(0, 0, 0, 1, 16, 16), rel=1e-6
    )


def test_rows_of_something_else_are_counted():
    original = checkered(9)
    other = np.zeros((64, 64), np.uint8)
    assert original.sse(0, 0, 0, 1, 16, 16, original=other) is None
    assert original.weights.counters()["unweighted"] == 1 and original.weights.counters()["weighted"] == 0
    outside = [ffi.cast("void *", address) for address in (other.ctypes.data, other.ctypes.data + 64)]
    plain = ffi.new("double[16]", [2.0] * 16)
    assert lib.idse_jm_errors(original.picture, *outside, 4, plain) == plain
    assert lib.idse_jm_mean(original.picture, *outside, 8, 16) == 1
    assert lib.idse_jm_qp_offset(original.picture, *outside, 16, 16) == 0
    assert original.weights.counters()["unweighted"] == 4


def test_decisions_are_masked_by_kind_and_component():
    fmt = VideoFormat(32, 32)
    planes = tuple(np.full(shape, ONE, np.uint16) for shape in fmt.plane_shapes)
    original = Original(fmt, np.uint16, planes, options=IdseOptions(decisions=INTRA))
    assert original.sse(0, 0, 0, 1, 8, 8) == 0 and original.sse(1, 0, 0, 1, 8, 8) is None
    assert original.sse(0, 0, 0, 1, 8, 8, decision=2) is None
    assert original.weights.counters()["masked"] == 2


def test_no_picture_no_original():
    plane = np.zeros((16, 16), np.uint16)
    lib.idse_jm_original(ffi.NULL, 0, ffi.from_buffer(plane), 32, 16, 2)
    plain = ffi.new("double[16]")
    assert lib.idse_jm_errors(ffi.NULL, ffi.NULL, ffi.NULL, 4, plain) == plain
    assert lib.idse_jm_qp_offset(ffi.NULL, ffi.NULL, ffi.NULL, 16, 16) == 0


@settings(max_examples=60, deadline=None)
@given(st.sampled_from((4, 8)), st.sampled_from((0, 1, 2)), st.sampled_from((0.0, 0.15)), SEEDS)
def test_errors_of_coefficients_of_frames_and_fields(size, component, tau, seed):
    """In a frame times the weights of the block; in a field times the mean over the rows of the frame that it spans."""
    fmt = VideoFormat(72, 56, "444")
    rng = np.random.default_rng(seed)
    planes = tuple(exact_plane(rng, shape) for shape in fmt.plane_shapes)
    original = Original(fmt, np.uint16, planes, random_shapes(rng, fmt, (4, 8)), IdseOptions(tau=tau, clip=0))
    x, y = (int(value) for value in rng.integers(0, 4, 2) * size)
    plain = rng.random((size, size))

    def errors(step: int) -> np.ndarray:
        found = lib.idse_jm_errors(
            original.picture, *original.below(component, x, y, step), size, ffi.from_buffer("double[]", plain)
        )
        return np.array(list(found[0 : size * size])).reshape(size, size)

    assert (errors(1) == plain * original.weights.tu_weights(component, x, y, size)[0]).all()
    assert (errors(2) == plain * original.weights.mean(component, x, y, size, 2 * size)).all()
    for step in (1, 2):  # a DC transform wants the mean only
        mean = lib.idse_jm_mean(original.picture, *original.below(component, x, y, step), 8, 16)
        assert mean == original.weights.mean(component, x, y, 8, 16 * step)
    assert original.weights.counters()["rdoq"] == 5


def test_errors_of_many_blocks_in_any_order():
    """Products are kept from call to call; what comes back is that of the block and the table of this call."""
    fmt = VideoFormat(64, 64, "444")
    rng = np.random.default_rng(3)
    planes = tuple(exact_plane(rng, shape) for shape in fmt.plane_shapes)
    original = Original(fmt, np.uint16, planes, random_shapes(rng, fmt, (4, 8)))
    tables = {size: rng.random((2, size, size)) for size in (4, 8)}
    for _ in range(3000):
        size, component, table, step = (int(value) for value in rng.integers((1, 0, 0, 1), (3, 3, 2, 3)))
        size, plain = 4 * size, tables[4 * size][table]
        x, y = (int(value) for value in rng.integers(0, 32 // size, 2) * size)
        found = lib.idse_jm_errors(
            original.picture, *original.below(component, x, y, step), size, ffi.from_buffer("double[]", plain)
        )
        weights = (
            original.weights.tu_weights(component, x, y, size)[0]
            if step == 1
            else original.weights.mean(component, x, y, size, 2 * size)
        )
        assert list(found[0 : size * size]) == (plain * weights).ravel().tolist()


def test_errors_of_the_next_picture(tmp_path):
    """Its original lies where the last one lay, its weights are others."""
    fmt, plain, plane = VideoFormat(64, 64, "400"), ffi.new("double[16]", [1.0] * 16), np.zeros((64, 64), np.uint8)
    maps = []
    for upper in (1.5, 1.75):
        maps.append(ones(fmt))
        maps[-1].planes[0][:32], maps[-1].planes[0][32:] = upper, 2 - upper
    write_idse(tmp_path / "two.idse", maps, fmt, frame_count=2)
    encoder = open_encoder(tmp_path / "two.idse", fmt, frames=2, tau=0)
    for frame, upper in enumerate((1.5, 1.75)):
        picture = lib.idse_picture_begin(encoder, frame)
        lib.idse_jm_original(picture, 0, ffi.from_buffer(plane), 64, 64, 1)
        sample, below = (ffi.cast("void *", plane.ctypes.data + offset) for offset in (0, 64))
        assert list(lib.idse_jm_errors(picture, sample, below, 4, plain)[0:16]) == [upper] * 16
        lib.idse_picture_end(picture)


def test_qp_offsets_of_frames_and_fields():
    """Upper half 1.75, lower half 0.25: -3 log2 is -2.42 and 6; a field macroblock over both sees their mean."""
    plane = np.full((64, 64), 448, np.uint16)
    plane[32:] = 64
    original = Original(VideoFormat(64, 64, "400"), np.uint8, (plane,))

    def offset(y: int, step: int) -> int:
        return lib.idse_jm_qp_offset(original.picture, *original.below(0, 16, y, step), 16, 16)

    assert [offset(0, 1), offset(16, 1), offset(32, 1), offset(48, 1)] == [-2, -2, 6, 6]
    assert [offset(0, 2), offset(1, 2), offset(32, 2), offset(33, 2)] == [-2, -2, 6, 6]
    assert offset(16, 2) == 0
