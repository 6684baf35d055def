"""The .idse format: literal bytes, round trips, and every kind of damaged file."""

import json
import math
import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from limits import file_size_limit
from weight_files import FMT, random_map, with_header, write_random

from fprdo_bridge.errors import FprdoError
from fprdo_bridge.importance.idse_file import IdseFile, WeightMap, ones, write_idse
from fprdo_bridge.native import _quantise
from fprdo_bridge.video.formats import VideoFormat


def test_example_of_the_specification(tmp_path):
    """The program in docs/idse-format.md writes the bytes that are printed below it."""
    text = (Path(__file__).parents[1] / "docs" / "idse-format.md").read_text()
    program = re.search(r"```python\n(.*?)```", text, re.S).group(1).replace("ones.idse", str(tmp_path / "ones.idse"))
    exec(compile(program, "docs/idse-format.md", "exec"), {})
    dump = re.search(r"```\n(0000000 .*?)\n```", text, re.S).group(1).splitlines()
    expected = b""
    for line, following in zip(dump, [*dump[1:], ""]):
        if line == "*":  # od: the line before repeats up to the next address
            row = expected[-16:]
            expected += row * ((int(following.split()[0]) - len(expected)) // 16)
        else:
            assert int(line.split()[0]) == len(expected)
            expected += bytes.fromhex("".join(line.split()[1:]))
    assert (tmp_path / "ones.idse").read_bytes() == expected


def test_layout_by_hand(tmp_path):
    """Each field at its offset, and each array at its place in the record, read with struct alone."""
    path = tmp_path / "a.idse"
    fmt = VideoFormat(5, 3, "422")
    rng = np.random.default_rng(2)
    maps = [random_map(fmt, (4, 8), rng) for _ in range(2)]
    write_idse(path, maps, fmt, frame_count=3, frames_per_map=2, transform_sizes=(8, 4, 8), metadata={"seed": 7})
    data = path.read_bytes()
    assert data[:8] == b"IDSE\r\n\x1a\n"
    assert struct.unpack_from("<HHII", data, 8) == (1, 96, 5, 3)
    assert list(data[20:24]) == [2, 8, 0b1100, 0]
    assert struct.unpack_from("<IIII", data, 24) == (2, 2, 3, 0)
    # Y 5x3, Cb and Cr 3x3; 4x4 blocks: Y 8x4, chroma 4x4; 8x8 blocks: Y 8x8, chroma 8x8
    values = 15 + 9 + 9 + (32 + 64) + (16 + 64) + (16 + 64)
    map_bytes, maps_offset = struct.unpack_from("<QQ", data, 40)
    assert map_bytes == -(-2 * values // 64) * 64 and maps_offset % 64 == 0
    assert len(data) == maps_offset + 2 * map_bytes
    (size,) = struct.unpack_from("<I", data, 56)
    metadata = json.loads(data[104 : 104 + size])
    assert metadata["seed"] == 7
    assert metadata["plane_gain"] == pytest.approx(np.mean([m.plane_gain for m in maps], axis=0))
    assert not any(data[60:92]) and not any(data[104 + size : maps_offset])
    assert struct.unpack_from("<I", data, 92)[0] == zlib.crc32(data[:92] + data[96 : 104 + size])
    for index, weight_map in enumerate(maps):
        record = data[maps_offset + index * map_bytes :][:map_bytes]
        assert struct.unpack_from("<I", data, 96 + 4 * index)[0] == zlib.crc32(record)
        stored = np.frombuffer(record, "<u2")
        assert not stored[values:].any()
        expected = np.concatenate(
            [plane.ravel() for plane in weight_map.planes]
            + [weight_map.shapes[n][c].ravel() for c in range(3) for n in (4, 8)]
        )
        assert np.abs(stored[:values] / 256 - expected).max() < 1 / 256 + 1e-6


@given(
    fmt=st.builds(
        VideoFormat,
        width=st.integers(1, 40),
        height=st.integers(1, 40),
        chroma=st.sampled_from(["400", "420", "422", "444"]),
    ),
    sizes=st.sets(st.sampled_from([4, 8, 16, 32])).map(lambda s: tuple(sorted(s))),
    frame_count=st.integers(1, 7),
    frames_per_map=st.integers(1, 9),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=60, deadline=None)
def test_round_trip(tmp_path_factory, fmt, sizes, frame_count, frames_per_map, seed):
    path = tmp_path_factory.mktemp("idse") / "a.idse"
    rng = np.random.default_rng(seed)
    maps = [random_map(fmt, sizes, rng) for _ in range(math.ceil(frame_count / frames_per_map))]
    write_idse(
        path,
        iter(maps),
        fmt,
        frame_count=frame_count,
        frames_per_map=frames_per_map,
        transform_sizes=sizes,
        metadata={"layers": ["a", "b"]},
    )
    with IdseFile(path) as file:
        file.verify()
        assert (file.layout.width, file.layout.height, file.layout.chroma) == (fmt.width, fmt.height, fmt.chroma)
        assert file.layout.transform_sizes == sizes and file.metadata["layers"] == ["a", "b"]
        assert (file.map_count, file.frames_per_map, file.frame_count) == (len(maps), frames_per_map, frame_count)
        assert file.plane_gain == pytest.approx(np.mean([m.plane_gain for m in maps], axis=0))
        for index, weight_map in enumerate(maps):
            planes, shapes = file.raw_map(index)
            for stored, plane in zip(planes, weight_map.planes, strict=True):
                expected = np.clip(np.floor(plane.astype(np.float64) * 256 + 0.5), 1, 65535)
                assert stored.dtype == np.uint16 and np.array_equal(stored, expected)
            for n in sizes:
                for stored, shape in zip(shapes[n], weight_map.shapes[n], strict=True):
                    assert np.abs(stored.astype(np.float64) - shape.astype(np.float64) * 256).max() < 1.01
                    sums = stored.astype(np.int64).reshape(shape.shape[0] // n, n, -1, n).sum((1, 3))
                    assert np.abs(sums - 256 * n * n).max() <= 1  # float32 blocks have mean 1 only to rounding
            floats = file.map(index)
            assert all(np.array_equal(f, s / 256) for f, s in zip(floats.planes, planes))
            assert all(np.array_equal(f, s / 256) for n in sizes for f, s in zip(floats.shapes[n], shapes[n]))


def test_ones_are_exact(tmp_path):
    fmt = VideoFormat(17, 9, "420")
    write_idse(tmp_path / "a.idse", [ones(fmt)], fmt, frame_count=25, frames_per_map=25)
    with IdseFile(tmp_path / "a.idse") as file:
        planes, shapes = file.raw_map(0)
        assert [plane.shape for plane in planes] == [(9, 17), (5, 9), (5, 9)]
        assert all((array == 256).all() for array in (*planes, *(a for group in shapes.values() for a in group)))
        assert file.plane_gain == (1.0, 1.0, 1.0)


def test_quantisation_limits(tmp_path):
    """0 becomes the smallest weight, rounding is half up, large weights saturate; a constant shape stays constant."""
    fmt = VideoFormat(4, 2, "400")
    weights = np.array([[0, 0.5 / 256, 1.5 / 256, 1.499 / 256], [1, 255.99, 256, 1e9]], np.float32)
    shape = np.zeros((4, 4), np.float32)
    shape[0, 0], shape[3, 3] = 15.5, 0.5
    write_idse(
        tmp_path / "a.idse", [WeightMap((weights,), {4: (shape,)}, (1.0,))], fmt, frame_count=1, transform_sizes=(4,)
    )
    with IdseFile(tmp_path / "a.idse") as file:
        planes, shapes = file.raw_map(0)
    assert planes[0].tolist() == [[1, 1, 2, 1], [256, 65533, 65535, 65535]]
    assert shapes[4][0].tolist() == [[3968, 0, 0, 0], [0] * 4, [0] * 4, [0, 0, 0, 128]]


def test_views_outlive_the_file_and_cannot_be_written(tmp_path):
    write_random(tmp_path / "a.idse")
    with IdseFile(tmp_path / "a.idse") as file:
        plane = file.raw_map(1)[0][0]
        copy = plane.copy()
    assert np.array_equal(plane, copy)
    with pytest.raises(ValueError):
        plane[0, 0] = 1


def test_truncation_at_every_offset(tmp_path):
    path = tmp_path / "a.idse"
    write_random(path)
    data = path.read_bytes()
    for size in range(len(data)):
        path.write_bytes(data[:size])
        with pytest.raises(FprdoError) as caught:
            IdseFile(path)
        message = str(caught.value)
        assert message.startswith(str(path)) and "\n" not in message
        if size >= 10:
            assert f"truncated, {size} of {96 if size < 96 else len(data)} bytes" in message
        else:
            assert "not an .idse" in message or "truncated" in message
    path.write_bytes(data + b"\0")
    with pytest.raises(FprdoError, match=f"{len(data) + 1} bytes where {len(data)} are described"):
        IdseFile(path)


def test_every_flipped_bit_is_found(tmp_path):
    """In header, checksums, metadata and maps; only the padding in front of the maps has no checksum."""
    path = tmp_path / "a.idse"
    write_random(path)
    data = path.read_bytes()
    (maps_offset,) = struct.unpack_from("<Q", data, 48)
    end = 96 + 4 * 3 + struct.unpack_from("<I", data, 56)[0]
    for position in (*range(end), *range(maps_offset, len(data))):
        damaged = bytearray(data)
        damaged[position] ^= 1 << (position % 8)
        path.write_bytes(damaged)
        with pytest.raises(FprdoError) as caught:
            with IdseFile(path) as file:
                file.verify()
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_wrong_map_checksum_names_the_map(tmp_path):
    path = tmp_path / "a.idse"
    write_random(path)
    data = bytearray(path.read_bytes())
    data[-1] ^= 128
    path.write_bytes(data)
    with IdseFile(path) as file:
        file.raw_map(0), file.map(1)
        with pytest.raises(FprdoError, match="map 2 has checksum"):
            file.raw_map(2)
        with pytest.raises(FprdoError, match="no map 3: the file holds 3"):
            file.raw_map(3)
        with pytest.raises(FprdoError, match="no map -1"):
            file.map(-1)


@pytest.mark.parametrize(
    ("offset", "layout", "values", "message"),
    [
        (8, "H", (3,), "version 3, this fprdo reads versions 1 and 2"),
        (8, "H", (2,), "0 records for 3 maps"),
        (8, "H", (0,), "version 0"),
        (10, "H", (100,), "header size 100"),
        (12, "I", (0,), "width 0"),
        (12, "I", (65536,), "width 65536"),
        (12, "I", (30,), "map size .* where the picture size needs"),
        (16, "I", (0,), "height 0"),
        (20, "B", (4,), "chroma format 4"),
        (20, "B", (3,), "map size"),
        (21, "B", (9,), "fraction bits 9"),
        (22, "B", (0b1000000,), "transform sizes 64"),
        (22, "B", (0b0000010,), "transform sizes 2"),
        (22, "B", (0b0001100,), "map size"),
        (24, "I", (2,), "2 maps where 3 frames at 1 per map need 3"),
        (28, "I", (0,), "frames per map 0"),
        (28, "I", (2,), "3 maps where 3 frames at 2 per map need 2"),
        (32, "I", (0,), "frame count 0"),
        (32, "I", (4,), "3 maps where 4 frames at 1 per map need 4"),
        (40, "Q", (64,), "map size 64"),
        (40, "Q", (2**63,), "map size"),
        (48, "Q", (257,), "maps offset 257"),
        (48, "Q", (64,), "maps offset 64"),
        (48, "Q", (2**40,), "truncated"),
        (56, "I", (2**31,), "maps offset .* where the metadata end at"),
    ],
)
def test_inconsistent_headers(tmp_path, offset, layout, values, message):
    """Refused for what they say, although their checksum is right."""
    path = tmp_path / "a.idse"
    write_random(path)
    path.write_bytes(with_header(path.read_bytes(), offset, layout, *values))
    with pytest.raises(FprdoError, match=message):
        IdseFile(path)


def test_maps_share_records(tmp_path):
    """Version 2 by struct alone: three maps of which the first two are one object, and what readers make of it."""
    path, rng = tmp_path / "a.idse", np.random.default_rng(3)
    one, other = random_map(FMT, (4,), rng), random_map(FMT, (4,), rng)
    write_idse(path, [one, one, other], FMT, frame_count=5, frames_per_map=2, transform_sizes=(4,))
    data = path.read_bytes()
    assert struct.unpack_from("<H", data, 8) == (2,) and struct.unpack_from("<IIII", data, 24) == (3, 2, 5, 2)
    map_bytes, maps_offset = struct.unpack_from("<QQ", data, 40)
    assert len(data) == maps_offset + 2 * map_bytes
    records = [data[maps_offset + n * map_bytes :][:map_bytes] for n in range(2)]
    assert struct.unpack_from("<5I", data, 96) == (*map(zlib.crc32, records), 0, 0, 1)
    write_idse(tmp_path / "b.idse", [other, one, one], FMT, frame_count=3, transform_sizes=(4,))
    with IdseFile(path) as file, IdseFile(tmp_path / "b.idse") as turned:
        assert (file.map_count, file.record_count, turned.record_count) == (3, 2, 2)
        assert [file.record(n).values.tobytes() for n in range(3)] == [records[0], records[0], records[1]]
        assert [turned.record(n).values.tobytes() for n in range(3)] == [records[1], records[0], records[0]]
        file.verify()


def test_a_map_that_is_filled_again_is_another(tmp_path):
    """The same object with other values is no repetition; nor is an equal one that was made anew."""
    one = random_map(FMT, (), np.random.default_rng(3))

    def refilled():
        yield one
        one.planes[0][0, 0] += 1
        yield one
        yield one

    write_idse(tmp_path / "a.idse", refilled(), FMT, frame_count=3, transform_sizes=())
    with IdseFile(tmp_path / "a.idse") as file:
        assert file.record_count == 2 and file.raw_map(1)[0][0][0, 0] > file.raw_map(0)[0][0][0, 0]
    write_idse(tmp_path / "b.idse", [ones(FMT), ones(FMT)], FMT, frame_count=2)
    with IdseFile(tmp_path / "b.idse") as file:
        assert file.record_count == 2


@pytest.mark.parametrize(
    ("offset", "values", "message"),
    [
        (36, (0,), "0 records for 3 maps"),
        (36, (4,), "4 records for 3 maps"),
        (36, (1,), "bytes where .* are described"),
        (36, (3,), "truncated"),
        (108, (2,), "a map is record 2 of 2"),
    ],
)
def test_inconsistent_tables(tmp_path, offset, values, message):
    path, maps = tmp_path / "a.idse", [ones(FMT), ones(FMT)]
    write_idse(path, [maps[0], maps[0], maps[1]], FMT, frame_count=3)
    path.write_bytes(with_header(path.read_bytes(), offset, "I", *values))
    with pytest.raises(FprdoError, match=message):
        IdseFile(path)


def test_later_version_is_named_first(tmp_path):
    """A later version may change everything behind its number."""
    path = tmp_path / "a.idse"
    path.write_bytes(b"IDSE\r\n\x1a\n\x07\x00" + b"\xff" * 5)
    with pytest.raises(FprdoError, match="version 7, this fprdo reads versions 1 and 2: use a newer fprdo"):
        IdseFile(path)


def test_reserved_fields_and_other_metadata_are_ignored(tmp_path):
    path = tmp_path / "a.idse"
    write_random(path)
    path.write_bytes(with_header(path.read_bytes(), 60, "32B", *range(32)))
    with IdseFile(path) as file:
        file.verify()


def test_missing_plane_gain_is_one(tmp_path):
    path = tmp_path / "a.idse"
    write_random(path)
    data = bytearray(path.read_bytes())
    data[108:110] = b"{}"
    path.write_bytes(with_header(bytes(data), 56, "I", 2))
    with IdseFile(path) as file:
        assert file.plane_gain == (1.0, 1.0, 1.0) == file.map(0).plane_gain


@pytest.mark.parametrize("content", [None, b"", b"IDS", b"RIFF" * 40])
def test_other_files(tmp_path, content):
    path = tmp_path / "a.idse"
    if content is None:
        with pytest.raises(FprdoError, match="cannot be read .*No such file"):
            IdseFile(path)
        with pytest.raises(FprdoError, match="is no regular file: name an .idse file"):
            IdseFile(tmp_path)
    else:
        path.write_bytes(content)
        with pytest.raises(FprdoError, match="not an .idse weight file"):
            IdseFile(path)


def changed(weight_map: WeightMap, **fields: object) -> WeightMap:
    return WeightMap(**{**vars(weight_map), **fields})


def test_bad_maps_leave_no_file(tmp_path):
    path = tmp_path / "a.idse"
    good = random_map(FMT, (4,), np.random.default_rng(3))

    def poisoned(value: float) -> np.ndarray:
        plane = good.planes[1].copy()
        plane[1, 2] = value
        return plane

    def generator_that_fails():
        yield good
        raise FprdoError("extractor failed")

    cases = [
        ([good, good], "2 maps given, not the 3 that 3 frames need at 1 per map: pass as many"),
        ([good] * 4, "more maps than the 3 that 3 frames need at 1 per map"),
        ([], "0 maps given, not the 3"),
        (generator_that_fails, "extractor failed"),
        ([good, good, ones(VideoFormat(6, 6), (4,))], r"map 2: Y plane is \(6, 6\), \(5, 6\) expected"),
        ([good, ones(VideoFormat(6, 5, "400"), (4,)), good], "map 1: Cb plane is missing"),
        ([ones(FMT, (8,))] * 3, "map 0: Y 4x4 shape is missing"),
        ([good, changed(good, shapes={4: tuple(-shape for shape in good.shapes[4])}), good], "map 1: Y 4x4 shape has"),
    ] + [
        (
            [changed(good, planes=(good.planes[0], poisoned(value), good.planes[2]))] * 3,
            "map 0: Cb plane has NaN, infinite or negative weights",
        )
        for value in (math.nan, math.inf, -1e-6)
    ]
    for earlier in (None, b"an earlier file"):
        if earlier:
            path.write_bytes(earlier)
        for maps, message in cases:
            with pytest.raises(FprdoError, match=message):
                write_idse(path, maps() if callable(maps) else maps, FMT, frame_count=3, transform_sizes=(4,))
            assert [p.name for p in tmp_path.iterdir()] == (["a.idse"] if earlier else [])
            assert not earlier or path.read_bytes() == earlier
    for frames, per_map in ((0, 1), (1, 0)):
        with pytest.raises(FprdoError, match="both must be at least 1"):
            write_idse(path, [good], FMT, frame_count=frames, frames_per_map=per_map, transform_sizes=(4,))


def test_full_disk_leaves_no_file(tmp_path):
    """A file size limit fails the write as a full disk does."""
    fmt = VideoFormat(200, 200, "400")
    with file_size_limit(20000), pytest.raises(FprdoError, match="a.idse: cannot be written"):
        write_idse(tmp_path / "a.idse", [ones(fmt, ())], fmt, frame_count=1, transform_sizes=())
    assert list(tmp_path.iterdir()) == []


def test_writing_streams(tmp_path):
    """A map is written before the next one is asked for: only one is alive at a time."""
    import gc
    import weakref

    alive = []

    def maps():
        for _ in range(4):
            gc.collect()
            assert sum(reference() is not None for reference in alive) <= 1  # the writer's loop variable
            weight_map = ones(FMT, ())
            alive.append(weakref.ref(weight_map))
            yield weight_map
            del weight_map

    write_idse(tmp_path / "a.idse", maps(), FMT, frame_count=4, transform_sizes=())
    assert len(alive) == 4


def reference_plane(weights: np.ndarray) -> np.ndarray:
    return np.clip(np.floor(weights.astype(np.float64) * 256 + 0.5), 1, 65535).astype(np.uint16)


def reference_blocks(weights: np.ndarray, n: int) -> np.ndarray:
    rows, columns = weights.shape
    blocks = weights.reshape(rows // n, n, columns // n, n).swapaxes(1, 2).reshape(-1, n * n)
    sums = np.floor(np.cumsum(blocks, axis=1, dtype=np.float64) * 256 + 0.5)
    fixed = np.clip(np.diff(sums, axis=1, prepend=0), 0, 65535).astype(np.uint16)
    return fixed.reshape(rows // n, columns // n, n, n).swapaxes(1, 2).reshape(rows, columns)


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from((4, 8, 16, 32)),
    st.integers(1, 3),
    st.integers(1, 3),
    st.sampled_from((1e-4, 1.0, 300.0, 1e6, 1e30)),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
def test_native_quantisation_is_numpys(n, down, across, scale, transposed, seed):
    rng = np.random.default_rng(seed)
    weights = (rng.gamma(0.3, 3, (down * n, across * n)) * scale).astype(np.float32)
    weights = weights.T.copy().T if transposed else weights  # neither order of memory is taken for the other
    out = np.zeros(weights.shape, np.uint16)
    assert _quantise.quantise_plane(weights, out) and np.array_equal(out, reference_plane(weights))
    assert _quantise.quantise_blocks(weights, n, out) and np.array_equal(out, reference_blocks(weights, n))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -1e-30])
def test_native_quantisation_refuses(bad):
    weights, out = np.ones((8, 8), np.float32), np.zeros((8, 8), np.uint16)
    weights[3, 5] = bad
    assert not _quantise.quantise_plane(weights, out) and not _quantise.quantise_blocks(weights, 4, out)
    with pytest.raises(ValueError, match="same two dimensions"):
        _quantise.quantise_plane(weights, out[:4])
    with pytest.raises(ValueError, match="whole blocks"):
        _quantise.quantise_blocks(weights[:6].copy(), 4, np.zeros((6, 8), np.uint16))
    with pytest.raises(TypeError):
        _quantise.quantise_plane(weights, np.zeros((8, 8), np.float32))  # would be written to a copy
