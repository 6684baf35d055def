"""Formats and raw YUV: exact sizes, exact samples, and one clear line for what cannot be read."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fprdo_bridge.errors import FprdoError
from fprdo_bridge.video.blocks import block_means
from fprdo_bridge.video.formats import VideoFormat, check_frame, coded_format, crop_frame, first_difference, pad_frame
from fprdo_bridge.video.raw import count_frames, read_yuv, write_yuv

formats = st.builds(
    VideoFormat,
    width=st.integers(1, 40),
    height=st.integers(1, 40),
    chroma=st.sampled_from(["400", "420", "422", "444"]),
    bit_depth=st.integers(8, 16),
)


def noise(fmt: VideoFormat, seed: int) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    return tuple(rng.integers(0, fmt.max_value, shape, dtype=fmt.dtype, endpoint=True) for shape in fmt.plane_shapes)


# ---- formats -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "chroma, chroma_shape, samples",
    [
        ("400", None, 97 * 65),
        ("420", (33, 49), 97 * 65 + 2 * 33 * 49),
        ("422", (65, 49), 97 * 65 + 2 * 65 * 49),
        ("444", (65, 97), 3 * 97 * 65),
    ],
)
def test_odd_sizes_round_chroma_up(chroma, chroma_shape, samples):
    fmt = VideoFormat(97, 65, chroma)
    assert fmt.plane_shapes == ((65, 97), *([chroma_shape] * 2 if chroma_shape else []))
    assert fmt.frame_bytes == samples
    assert VideoFormat(97, 65, chroma, 10).frame_bytes == 2 * samples


@pytest.mark.parametrize("chroma, size", [("400", (97, 65)), ("420", (98, 66)), ("422", (98, 65)), ("444", (97, 65))])
def test_coded_size_is_a_multiple_of_the_cropping_unit(chroma, size):
    coded = coded_format(VideoFormat(97, 65, chroma, 10, full_range=True))
    assert (coded.width, coded.height) == size
    assert coded == VideoFormat(*size, chroma, 10, full_range=True)
    assert coded_format(coded) == coded


@pytest.mark.parametrize(
    "arguments, named",
    [
        (dict(width=0, height=4), "0x4"),
        (dict(width=4, height=65536), "4x65536"),
        (dict(width=4, height=4, bit_depth=7), "bit depth 7"),
        (dict(width=4, height=4, bit_depth=17), "bit depth 17"),
        (dict(width=4, height=4, chroma="411"), "'411'"),
        (dict(width=4, height=4, matrix="rgb"), "'rgb'"),
        (dict(width=4, height=4, siting="top"), "'top'"),
        (dict(width=4, height=4, aspect=(0, 1)), "sample aspect ratio 0:1"),
        (dict(width=4, height=4, aspect=(1, 65536)), "sample aspect ratio 1:65536"),
    ],
)
def test_impossible_formats_are_refused(arguments, named):
    with pytest.raises(FprdoError, match=named):
        VideoFormat(**arguments)


def test_aspect_ratio_does_not_tell_formats_apart():
    """It says how pictures are shown: planes, weights and results of both formats are the same."""
    plain, wide = VideoFormat(4, 4), VideoFormat(4, 4, aspect=(128, 117))
    assert plain == wide and hash(plain) == hash(wide) and repr(plain) == repr(wide)
    assert coded_format(VideoFormat(5, 5, aspect=(128, 117))).aspect == (128, 117)


@pytest.mark.parametrize("siting, code", [("left", 0), ("center", 1), ("topleft", 2)])
def test_chroma_sample_loc_type(siting, code):
    assert VideoFormat(4, 4, siting=siting).chroma_sample_loc_type == code


# ---- raw YUV -------------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(fmt=formats, count=st.integers(1, 4), seed=st.integers(0, 2**32 - 1), data=st.data())
def test_yuv_round_trip(tmp_path_factory, fmt, count, seed, data):
    path = tmp_path_factory.mktemp("yuv") / "clip.yuv"
    frames = [noise(fmt, seed + index) for index in range(count)]
    assert write_yuv(path, frames, fmt) == count
    assert path.stat().st_size == count * fmt.frame_bytes
    assert count_frames(path, fmt) == count
    start = data.draw(st.integers(0, count - 1))
    length = data.draw(st.integers(1, count - start))
    assert first_difference(read_yuv(path, fmt, start, length), frames[start : start + length]) is None
    for frame in read_yuv(path, fmt, start):
        check_frame(frame, fmt)


def test_yuv_layout(tmp_path):
    """Planes in order, rows without padding, deep samples little-endian."""
    fmt = VideoFormat(3, 1, "420", 10)
    frame = tuple(np.array([values], np.uint16) for values in ([1, 2, 1023], [4, 5], [6, 0x0107 & 1023]))
    write_yuv(tmp_path / "a.yuv", [frame], fmt)
    assert (tmp_path / "a.yuv").read_bytes() == bytes([1, 0, 2, 0, 255, 3, 4, 0, 5, 0, 6, 0, 7, 1])


@settings(deadline=None)
@given(fmt=formats, seed=st.integers(0, 2**32 - 1))
def test_padding_repeats_the_edge_and_cropping_undoes_it(fmt, seed):
    frame = noise(fmt, seed)
    coded = coded_format(fmt)
    padded = pad_frame(frame, fmt, coded)
    check_frame(padded, coded)
    assert np.array_equal(padded[0][:, -1], padded[0][:, fmt.width - 1])
    assert np.array_equal(padded[0][-1], padded[0][fmt.height - 1])
    assert first_difference([crop_frame(padded, fmt)], [frame]) is None


def test_wrong_size_is_told_with_both_sizes(tmp_path):
    path = tmp_path / "clip.yuv"
    path.write_bytes(bytes(1000))
    with pytest.raises(FprdoError, match=r"clip\.yuv: 1000 bytes .* 16x16 420 8-bit frames of 384 bytes"):
        count_frames(path, VideoFormat(16, 16))
    with pytest.raises(FprdoError, match="1000 bytes"):
        read_yuv(path, VideoFormat(16, 16))  # before the first frame is asked for
    path.write_bytes(b"")
    with pytest.raises(FprdoError, match="0 bytes"):
        count_frames(path, VideoFormat(16, 16))


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(FprdoError, match="nothing.yuv: cannot be read"):
        count_frames(tmp_path / "nothing.yuv", VideoFormat(16, 16))
    with pytest.raises(FprdoError, match="is a folder; give a regular file"):
        count_frames(tmp_path, VideoFormat(16, 16))


@pytest.mark.parametrize("start, count", [(2, 1), (1, 2), (-1, 1), (0, 0)])
def test_frames_beyond_the_file(tmp_path, start, count):
    fmt = VideoFormat(4, 4)
    write_yuv(tmp_path / "a.yuv", [noise(fmt, 1), noise(fmt, 2)], fmt)
    with pytest.raises(FprdoError, match="it has 0 to 1"):
        read_yuv(tmp_path / "a.yuv", fmt, start, count)


def test_samples_beyond_the_bit_depth(tmp_path):
    deep, shallow = VideoFormat(4, 4, "444", 12), VideoFormat(4, 4, "444", 10)
    good = tuple(np.full((4, 4), 1023, np.uint16) for _ in range(3))
    bad = (*good[:2], np.full((4, 4), 1024, np.uint16))
    write_yuv(tmp_path / "a.yuv", [good, bad], deep)
    with pytest.raises(FprdoError, match="a.yuv: frame 1: Cr sample 1024 does not fit 10 bits"):
        list(read_yuv(tmp_path / "a.yuv", shallow))


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda frame: frame[:2], "are not a"),
        (lambda frame: (frame[0][:-1], *frame[1:]), "are not a"),
        (lambda frame: (frame[0].astype(np.uint16), *frame[1:]), "uint16"),
    ],
)
def test_a_wrong_frame_leaves_no_file(tmp_path, spoil, message):
    fmt = VideoFormat(6, 4)
    frame = noise(fmt, 1)
    with pytest.raises(FprdoError, match=message):
        write_yuv(tmp_path / "a.yuv", [frame, spoil(frame)], fmt)
    with pytest.raises(FprdoError, match="no frame"):
        write_yuv(tmp_path / "a.yuv", [], fmt)
    assert not list(tmp_path.iterdir())


def test_first_difference_says_where():
    fmt = VideoFormat(6, 4)
    a, b = noise(fmt, 1), noise(fmt, 1)
    assert first_difference([a, a], [a, b]) is None
    b[1][1, 2] ^= 1
    assert first_difference([a, a], [a, b]) == f"picture 1, Cb, row 1, column 2: {a[1][1, 2]} and {b[1][1, 2]}"
    assert first_difference([a], [a, b]) == "the first ends before picture 1"
    assert first_difference([a, b], [a]) == "the second ends before picture 1"
    assert first_difference([a], [a[:1]]) == "picture 0: plane Cb is missing or of another size"


# ---- blocks ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape, block", [((8, 8), (4, 4)), ((9, 7), (4, 4)), ((3, 5), (8, 8)), ((9, 10), (2, 4))])
@pytest.mark.parametrize("dtype", [np.uint16, np.float64])
def test_block_means(shape, block, dtype):
    plane = np.arange(shape[0] * shape[1], dtype=dtype).reshape(shape)
    down, across = block
    found = block_means(plane, down, across)
    for y, row in enumerate(found):
        for x, value in enumerate(row):
            assert value == pytest.approx(plane[down * y : down * (y + 1), across * x : across * (x + 1)].mean())
    assert found.shape == tuple(-(-side // step) for side, step in zip(shape, block)) and found.dtype == np.float64
    if down == across:
        assert np.array_equal(found, block_means(plane, down))
