"""The kernel by macroblocks against NumPy: scaled distortion of unsigned samples, coefficient weights in integers, many
pictures of one file at once."""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from cffi import FFI
from oracles import random_map, write_maps

from fprdo_bridge import native
from fprdo_bridge.native._idse import ffi, lib
from fprdo_bridge.native.build_idse import HEADERS, declarations
from fprdo_bridge.native.picture import FREQUENCIES, WeightedPicture, lambda_scale
from fprdo_bridge.settings import IdseOptions
from fprdo_bridge.video.formats import VideoFormat

NATIVE = Path(native.__file__).parent

INTRA = 1
SIZES = [
    (16, 16),
    (16, 8),
    (8, 16),
    (8, 8),
    (8, 4),
    (4, 8),
    (4, 4),
    (4, 16),
    (4, 2),
    (2, 8),
    (2, 4),
    (2, 2),
]  # of macroblocks


def picture_of(plane: np.ndarray, shapes=None, **options) -> WeightedPicture:
    return WeightedPicture(
        (plane,), shapes or {}, VideoFormat(plane.shape[1], plane.shape[0], "400"), IdseOptions(tau=0, **options)
    )


def mean_one(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    """Weights of mean exactly 1.0, which loading leaves as they are."""
    plane = rng.integers(1, 3 * 256, (rows, columns))
    plane[0, 0] += 256 * plane.size - plane.sum() if plane.sum() < 256 * plane.size else 0
    while (excess := plane.sum() - 256 * plane.size) > 0:
        plane -= np.minimum(plane - 1, -(-excess // plane.size)).clip(0)
        plane[0, 0] += max(0, 256 * plane.size - plane.sum())
    return plane.astype(np.uint16)


@pytest.mark.parametrize("width, height", SIZES)
@pytest.mark.parametrize("dtype, depth", [(np.uint8, 8), (np.uint16, 10), (np.uint16, 15)])
def test_scaled_distortion(width, height, dtype, depth):
    rng = np.random.default_rng(width * 100 + height)
    plane = mean_one(rng, 48, 64)
    picture = picture_of(plane)
    for extreme in (False, True):
        for scale in (65536, 4096, 1048576, lambda_scale(1), 12345):
            x, y = (int(n) for n in rng.integers(0, 32, 2))
            a, b = rng.integers(0, 1 << depth, (2, height, 32)).astype(dtype)
            if extreme:
                a[:], b[:] = (1 << depth) - 1, 0
            a, b = a[:, 5 : 5 + width], b[:, 9 : 9 + width]  # rows apart, at any address
            weights = plane[y : y + height, x : x + width].astype(object)
            expected = int((weights * (a.astype(object) - b.astype(object)) ** 2).sum()) * scale // 2**24
            assert picture.scaled_distortion(picture.block(INTRA, 0, x, y, a, b), scale) == expected


def test_largest_weights_and_errors():
    plane = np.ones((64, 64), np.uint16)
    plane[16:32, 16:32] = 65535
    picture = picture_of(plane)
    weight = round(picture.mean(0, 16, 16, 16, 16) * 256)
    a, b = np.full((16, 16), 255, np.uint8), np.zeros((16, 16), np.uint8)
    assert weight > 3000
    assert picture.scaled_distortion(picture.block(INTRA, 0, 16, 16, a, b), 65536) == 256 * 255**2 * weight // 256


def test_lambda_scale():
    for offset in range(-12, 13):
        assert lambda_scale(offset) == pytest.approx(65536 * 2 ** (offset / 3), rel=4e-6, abs=1)
        if offset % 3 == 0:
            assert lambda_scale(offset) == 65536 * 2.0 ** (offset / 3)


@pytest.mark.parametrize("size, count", [(4, 4), (8, 8), (16, 4), (8, 2)])
@pytest.mark.parametrize("tau", [0.0, 0.3])
def test_coefficient_weights_are_the_transform_units(size, count, tau):
    rng = np.random.default_rng(size)
    fmt = VideoFormat(32, 32, "400")
    plane = mean_one(rng, 32, 32)
    shape = rng.integers(0, 512, (32, 32)).astype(np.uint16)
    picture = WeightedPicture((plane,), {size: (shape,)}, fmt, IdseOptions(tau=tau))
    level = round(picture.mean(0, 16, 16, size, size) * 65536)
    tau_part = min(level, round(tau / (1 + tau) * 65536))
    block = shape[16 : 16 + count, 16 : 16 + count].astype(object)
    for scale in (65536, lambda_scale(-4), lambda_scale(5), 1048576):
        weights, same = picture.coefficient_weights(0, 16, 16, size, count, scale)
        assert not same
        assert (weights == (256 * tau_part + (level - tau_part) * block) * scale // 2**32).all()
        places = [0, count + 1, count * count - 1]
        some, _ = picture.coefficient_weights(0, 16, 16, size, count, scale, places)
        listed = np.isin(np.arange(count * count), places).reshape(count, count).T
        assert (some == np.where(listed, weights, 0)).all()
        factors, _ = picture.tu_weights(0, 16, 16, size, FREQUENCIES)
        rounded_down = factors[:count, :count] * scale / 256 - weights
        assert rounded_down.min() >= 0 and rounded_down.max() < 1
    flat, same = WeightedPicture((plane,), {size: (shape,)}, fmt, IdseOptions(tau=tau, rdoq=1)).coefficient_weights(
        0, 16, 16, size, count, 65536
    )
    assert same and abs(flat[0, 0] / 256 - picture.mean(0, 16, 16, size, size)) <= 1 / 256


def test_coefficient_weights_have_a_limit():
    plane = np.ones((64, 64), np.uint16)
    plane[:8, :8] = 65535
    shape = np.full((64, 64), 256, np.uint16)
    shape[0, 0] = 65535
    picture = WeightedPicture((plane,), {8: (shape,)}, VideoFormat(64, 64, "400"), IdseOptions(tau=0))
    weights, _ = picture.coefficient_weights(0, 0, 0, 8, 8, 1048576)
    assert weights[0, 0] == 8192 * 256 > weights[0, 1] == weights[7, 7] > 200 * 256


@pytest.fixture(scope="module")
def portable(tmp_path_factory):
    """The same kernel without a processor's own instructions."""
    library = tmp_path_factory.mktemp("portable") / "idse.so"
    subprocess.run(
        [
            os.environ.get("CC", "cc"),
            "-O2",
            "-shared",
            "-fPIC",
            "-DIDSE_PORTABLE",
            *map(str, sorted(NATIVE.glob("[!_]*.c"))),
            "-lm",
            "-o",
            str(library),
        ],
        check=True,
    )
    plain = FFI()
    plain.cdef("".join(declarations((NATIVE / name).read_text()) for name in HEADERS))
    return plain, plain.dlopen(str(library))


def test_plain_c_gives_the_same(tmp_path, portable):
    plain, other = portable
    fmt = VideoFormat(64, 48)
    path = write_maps(tmp_path / "w.idse", [random_map(fmt, 1)], fmt)
    damaged = tmp_path / "damaged.idse"
    data = bytearray(path.read_bytes())
    data[-1000] ^= 1
    damaged.write_bytes(data)
    rng = np.random.default_rng(2)
    results = []
    for ffi_, lib_ in ((ffi, lib), (plain, other)):
        encoder = open_encoder(path, fmt, 1, ffi_, lib_)
        picture = lib_.idse_picture_begin(encoder, 0)
        rng = np.random.default_rng(2)
        values = []
        for dtype in (np.uint8, np.uint16, np.int16, np.int32):
            for width, height in SIZES:
                a, b = (ffi_.from_buffer(array) for array in rng.integers(0, 256, (2, 16, 32)).astype(dtype))
                block = ffi_.new(
                    "idse_block *",
                    {
                        "decision": INTRA,
                        "component": 1,
                        "x": 3,
                        "y": 5,
                        "width": width,
                        "height": height,
                        "sample_bytes": np.dtype(dtype).itemsize,
                        "is_signed": np.dtype(dtype).kind == "i",
                        "original": a,
                        "original_stride": 32,
                        "coded": b,
                        "coded_stride": 32,
                    },
                )
                found = ffi_.new("uint64_t *")
                assert lib_.idse_x264_distortion(picture, block, 52016, found)
                values.append(found[0])
        results.append(values)
        with pytest.raises(AssertionError, match="wrong checksum of map 0 of 1"):
            open_encoder(damaged, fmt, 1, ffi_, lib_)
    assert results[0] == results[1]


# ---- many pictures at once -------------------------------------------------------------------------------------------


def open_encoder(path: Path, fmt: VideoFormat, frames: int, ffi=ffi, lib=lib, **settings):
    chosen = ffi.new("idse_settings *")
    lib.idse_settings_default(chosen)
    for name, value in settings.items():
        setattr(chosen, name, value)
    sequence = ffi.new(
        "idse_sequence *",
        {
            "width": fmt.width,
            "height": fmt.height,
            "coded_width": fmt.width,
            "coded_height": fmt.height,
            "chroma_format_idc": fmt.chroma_format_idc,
            "frames": frames,
            "frame_step": 1,
        },
    )
    message = ffi.new("char[]", lib.IDSE_MESSAGE_BYTES)
    encoder = lib.idse_encoder_open(str(path).encode(), chosen, sequence, ffi.NULL, message)
    assert encoder != ffi.NULL, ffi.string(message)
    return ffi.gc(encoder, lib.idse_encoder_close)


@pytest.mark.parametrize("power", [1.0, 0.5])  # shapes read in place, shapes of its own
def test_pictures_live_side_by_side(tmp_path, power):
    """In any order of beginning and ending, every picture keeps its weights, and the counters add up."""
    fmt, frames, every = VideoFormat(64, 48), 12, 2
    path = write_maps(
        tmp_path / "w.idse", [random_map(fmt, seed) for seed in range(6)], fmt, frame_count=frames, frames_per_map=every
    )

    def look(picture) -> list[float]:
        mean = ffi.new("double *")
        values = [lib.idse_mean(picture, c, 4 * k, 8, 4, 4) for c in range(3) for k in range(6)]
        return [*values, *lib.idse_tu_weights(picture, 0, 8, 8, 8, FREQUENCIES, mean)[0:64], mean[0]]

    alone = {}
    for poc in range(frames):
        encoder = open_encoder(path, fmt, frames, power=power)
        alone[poc] = look(lib.idse_picture_begin(encoder, poc))
    assert alone[0] == alone[1] != alone[2]

    encoder = open_encoder(path, fmt, frames, power=power)
    rng = np.random.default_rng(0)
    live, begun, asked = {}, 0, 0
    for poc in [*rng.permutation(frames), *rng.permutation(frames)]:
        poc = int(poc)
        if poc in live:
            lib.idse_picture_end(live.pop(poc)[0])
        picture = lib.idse_picture_begin(encoder, poc)
        live[poc] = (picture, lib.idse_picture_share(picture))
        begun += 1
        if len(live) > 4:
            for handle in live.pop(next(iter(live))):
                lib.idse_picture_end(handle)
        for number, handles in live.items():
            for handle in handles:
                assert look(handle) == alone[number]
                lib.idse_qp_offset(handle, 0, 0, 16, 16)
                asked += 1
    counters = ffi.new("idse_counters *")
    lib.idse_counters_get(encoder, counters)
    assert (counters.pictures, counters.rdoq, counters.qp_groups) == (begun, asked, asked)
    assert lib.idse_picture_begin(encoder, frames) == ffi.NULL and lib.idse_picture_begin(encoder, -1) == ffi.NULL


def test_qp_offsets_of_a_picture_are_those_of_its_blocks(tmp_path):
    fmt, frames = VideoFormat(72, 40), 4  # blocks at the right and the bottom are visible in part
    path = write_maps(
        tmp_path / "w.idse", [random_map(fmt, seed) for seed in range(2)], fmt, frame_count=frames, frames_per_map=2
    )
    encoder = open_encoder(path, fmt, frames, tau=0.1, clip=5)
    for poc in (3, 0, 1, 2):
        offsets = ffi.new("float[15]", [0.5] * 15)
        assert lib.idse_qp_offsets(encoder, poc, 16, 5, 3, offsets)
        picture = lib.idse_picture_begin(encoder, poc)
        expected = [lib.idse_qp_offset(picture, 16 * x, 16 * y, 16, 16) for y in range(3) for x in range(5)]
        assert [value - 0.5 for value in offsets] == expected and len(set(expected)) > 2
    assert not lib.idse_qp_offsets(encoder, frames, 16, 5, 3, ffi.new("float[15]"))
