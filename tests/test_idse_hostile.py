"""Whatever is wrong with a weight file, its metadata or the arguments is one line, at once, and loses nothing."""

import math
import os
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from weight_files import FMT, with_header, write_random

from fprdo_bridge.errors import FprdoError
from fprdo_bridge.importance.idse_file import IdseFile, WeightMap, ones, write_idse
from fprdo_bridge.video.formats import VideoFormat


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b'{"a": ', "not JSON"),
        (b'{"a": "\xff"}', "not JSON"),
        (b"", "not JSON"),
        (b"[1]", "not a JSON object"),
        (b'{"plane_gain": [1.0]}', "plane_gain"),
        (b'{"plane_gain": [1, 1, "x"]}', "plane_gain"),
        (b'{"plane_gain": [1, 1, -2]}', "plane_gain"),
        (b'{"plane_gain": [1, 1, 1e999]}', "plane_gain"),
        (b'{"plane_gain": 1}', "plane_gain"),
        (b'{"plane_gain": [1, 1, true]}', "plane_gain"),
        (b'{"plane_gain": [1, 1, 1%s]}' % (b"0" * 400), "plane_gain"),
        (b'{"plane_gain": null}', "plane_gain"),
        (b'{"plane_gain": [1, 1, NaN]}', "NaN is no number of JSON"),
        (b'{"a": -Infinity}', "-Infinity is no number of JSON"),
        (b'{"a": 1, "b": {"c": 1, "c": 1}}', "key 'c' stands twice"),
        (b'{"a": 1, "a": 1}', "key 'a' stands twice"),
        (b'{"%s": 1, "%s": 1}' % (b"k" * 5000, b"k" * 5000), "key 'kkk.{,40}' stands twice"),
        (b'{"a": %s' % (b"[" * 3000), "not JSON"),
        (b'{"a": ' * 3000 + b"1" + b"}" * 3000, "not JSON .*recursion"),
        (b'{"a": 1%s}' % (b"0" * 5000), "not JSON"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (b"{}\0", "not JSON"),
        (b"null", "not a JSON object"),
        (b'"text"', "not a JSON object"),
        (b"\xff\xfe{\0}\0", "not JSON"),
    ],
)
def test_bad_metadata(tmp_path, text, message):
    """Refused in one line of bounded length."""
    path = tmp_path / "a.idse"
    write_with_metadata(path, text)
    with pytest.raises(FprdoError, match=message) as caught:
        IdseFile(path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < len(str(path)) + 300


def write_with_metadata(path: Path, text: bytes) -> None:
    """A file that is right but for its metadata."""
    write_random(path)
    data = path.read_bytes()
    (offset,) = struct.unpack_from("<Q", data, 48)
    front = data[:108] + text
    front += bytes(-len(front) % 64)
    path.write_bytes(with_header(with_header(front + data[offset:], 48, "Q", len(front)), 56, "I", len(text)))


def test_metadata_that_are_unusual_and_right(tmp_path):
    path = tmp_path / "a.idse"
    text = b'{"plane_gain": [1, 0.5, 1%s], "deep": %s1%s, "long": 1%s, "lone": "\\ud800"}' % (
        b"0" * 300,
        b"[" * 500,
        b"]" * 500,
        b"0" * 400,
    )
    write_with_metadata(path, text)
    with IdseFile(path) as file:
        file.verify()
        assert file.plane_gain == (1.0, 0.5, 1e300) and file.metadata["long"] == 10**400


def test_metadata_beyond_all_measure_are_not_read(tmp_path):
    """4 GB of metadata in a file that takes no room on the disk."""
    path = tmp_path / "a.idse"
    write_random(path)
    data = path.read_bytes()
    with open(path, "r+b") as file:
        size = (1 << 32) - 64
        for where, layout, value in ((56, "I", size), (48, "Q", size + 192)):
            file.seek(where)
            file.write(struct.pack("<" + layout, value))
        file.truncate(size + 192 + len(data) - struct.unpack_from("<Q", data, 48)[0])
    with pytest.raises(FprdoError, match="4294967232 bytes of metadata: this fprdo reads 67108864 at most"):
        IdseFile(path)


@pytest.mark.parametrize(
    "metadata, message",
    [
        ({"a": math.nan}, "Out of range float"),
        ({"a": math.inf}, "Out of range"),
        ({"a": {1, 2}}, "set is not JSON"),
        ({"a": b"bytes"}, "bytes is not JSON"),
        ([1], "a mapping whose keys are str"),
        ({1: 2}, "a mapping whose keys are str"),
        ("a", "a mapp"),
    ],
)
def test_metadata_that_json_cannot_say_are_not_written(tmp_path, metadata, message):
    with pytest.raises(FprdoError, match=f"a.idse: metadata that JSON cannot say .*{message}"):
        write_idse(tmp_path / "a.idse", [ones(FMT)], FMT, frame_count=1, metadata=metadata)
    deep: list = []
    for _ in range(100000):
        deep = [deep]
    circle: dict = {}
    circle["self"] = circle
    for one in ({"a": deep}, circle):
        with pytest.raises(FprdoError, match="metadata that JSON cannot say"):
            write_idse(tmp_path / "a.idse", [ones(FMT)], FMT, frame_count=1, metadata=one)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "make",
    [
        lambda plane: WeightMap(None, {}, (1.0,)),
        lambda plane: WeightMap((plane,), None, (1.0,)),
        lambda plane: WeightMap((plane,), {}, None),
        lambda plane: WeightMap(plane, {}, (1.0,)),
        lambda plane: WeightMap((plane,), {}, ("x",)),
        lambda plane: WeightMap((plane,), {}, (True,)),
        lambda plane: WeightMap((plane,), {}, (-1,)),
        lambda plane: WeightMap((plane,), {}, (10**400,)),
        lambda plane: WeightMap((plane,), {}, (math.nan,)),
        lambda plane: WeightMap((plane,), {4: None}, (1.0,)),
        lambda plane: WeightMap((plane,), {4: plane}, (1.0,)),
        lambda plane: WeightMap((plane,), [4], (1.0,)),
    ],
)
def test_weight_maps_of_other_types(make):
    with pytest.raises(FprdoError, match="^weight map: (planes|plane_gain|shapes)"):
        make(np.ones((5, 6), np.float32))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"maps": None}, "NoneType where the maps should be"),
        ({"maps": [None]}, "map 0: NoneType given: give a WeightMap"),
        ({"maps": [np.ones((5, 6))]}, "map 0: ndarray given"),
        ({"fmt": None}, "format of weights: NoneType given"),
        ({"fmt": (6, 5)}, "format of weights: tuple given"),
        ({"frame_count": "1"}, "'1' frames: both"),
        ({"frame_count": 1.0}, "1.0 frames: both"),
        ({"frame_count": True}, "True frames: both"),
        ({"frame_count": 1 << 32}, "4294967296 frames: both"),
        ({"frames_per_map": None}, "None frames per"),
        ({"transform_sizes": None}, "transform sizes None"),
        ({"transform_sizes": (64,)}, "transform size 64: use some of 4, 8"),
        ({"transform_sizes": ("4",)}, "transform size '4'"),
        ({"transform_sizes": (4.0,)}, "transform size 4.0"),
        ({"path": None}, "weight file None"),
        ({"path": "a\0b"}, "is no file name"),
        ({"path": 3}, "weight file 3: is no file name"),
        ({"path": b"a"}, "is no file name"),
        ({"maps": [WeightMap((None,), {}, (1.0,))]}, "Y plane is missing"),
        ({"maps": [WeightMap(([[1.0]],), {}, (1.0,))]}, "Y plane is list"),
        ({"maps": [WeightMap((np.ones((5, 6), np.uint16),), {}, (1.0,))]}, "Y plane is uint16"),
        ({"maps": [WeightMap((np.ones((5, 6), object),), {}, (1.0,))]}, "Y plane is object"),
        (
            {"maps": [WeightMap((np.ones((5, 6)),), {}, (1.0, 1.0))]},
            "plane_gain has 2 numbers: give one for each of the 1",
        ),
    ],
)
def test_arguments_of_other_types(tmp_path, monkeypatch, changes, message):
    monkeypatch.chdir(tmp_path)
    fmt = VideoFormat(6, 5, "400")
    right = {"path": "a.idse", "maps": [ones(fmt, ())], "fmt": fmt, "frame_count": 1, "transform_sizes": ()}
    with pytest.raises(FprdoError, match=message):
        write_idse(**right | changes)
    assert list(tmp_path.iterdir()) == []
    write_idse(**right)
    for path in (None, 3, "a\0b", b"a.idse", 1.5):
        with pytest.raises(FprdoError, match="is no file name"):
            IdseFile(path)
    with IdseFile("a.idse") as file:
        for index in ("0", None, 0.0, True, -1, 1, 1 << 70):
            with pytest.raises(FprdoError, match="no map .*: the file holds 1"):
                file.map(index)
        assert file.map(np.int64(0)).plane_gain == (1.0,)
    with pytest.raises(FprdoError, match="a.idse: is closed: open it again"):
        file.raw_map(0)


def test_pipes_and_devices_are_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.idse")
    (tmp_path / "link.idse").symlink_to("pipe.idse")
    for path in (tmp_path / "pipe.idse", tmp_path / "link.idse", "/dev/zero"):
        with pytest.raises(FprdoError, match=f"{path}: is no regular file: name an .idse file"):
            IdseFile(path)


@pytest.mark.parametrize("left", [0, 50, 300, -1])
def test_a_file_that_shrinks_while_it_is_open(tmp_path, left):
    """A message, not a signal; maps that were read before stay."""
    path = tmp_path / "a.idse"
    write_random(path)
    with IdseFile(path) as file:
        first = file.raw_map(0)[0][0]
        copy = first.copy()
        os.truncate(path, left if left >= 0 else path.stat().st_size - 1)
        with pytest.raises(
            FprdoError, match="a.idse: ends inside map 2, it was cut while being read: write the file again"
        ):
            file.map(2)
        assert np.array_equal(first, copy)


def test_records_go_through_as_they_are(tmp_path):
    """Byte for byte what the floats give that were quantised once."""
    path = tmp_path / "a.idse"
    maps = write_random(path, sizes=(4, 32))
    for number, one in enumerate(maps):
        write_idse(tmp_path / f"{number}.idse", [one], FMT, frame_count=1, transform_sizes=(4, 32))

    def records():
        for number in range(3):
            with IdseFile(tmp_path / f"{number}.idse") as file:
                yield file.record(0)

    write_idse(
        tmp_path / "b.idse", records(), FMT, frame_count=3, transform_sizes=(4, 32), metadata={"extractor": "a β c"}
    )
    assert (tmp_path / "b.idse").read_bytes() == path.read_bytes()
    with pytest.raises(FprdoError, match="map 0: is for Layout.*, the file for Layout"):
        write_idse(tmp_path / "b.idse", records(), FMT, frame_count=3, transform_sizes=(4,))
    assert (tmp_path / "b.idse").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("seed", range(4))
def test_mutated_files_are_read_or_refused(tmp_path, seed):
    """Flipped, cut, repeated and overwritten bytes, with checksums mended in half of the cases."""
    path = tmp_path / "a.idse"
    write_random(path)
    data, rng = path.read_bytes(), np.random.default_rng(seed)
    refused = 0
    for _ in range(400):
        mutated = bytearray(data)
        for _ in range(rng.integers(1, 4)):
            where = int(rng.integers(0, len(mutated)))
            kind = rng.integers(0, 4)
            if kind == 0:
                mutated[where] ^= 1 << int(rng.integers(0, 8))
            elif kind == 1:
                mutated[where : where + 4] = rng.integers(0, 256, 4, dtype=np.uint8).tobytes()
            elif kind == 2:
                mutated[where:where] = mutated[max(where - 9, 0) : where]
            else:
                del mutated[where : where + int(rng.integers(1, 9))]
        if rng.integers(0, 2) and len(mutated) > 100:
            mutated = bytearray(with_header(bytes(mutated), 90, "B", 0))
        path.write_bytes(mutated)
        try:
            with IdseFile(path) as file:
                file.verify()
                file.map(0)
        except FprdoError as error:
            refused += 1
            assert str(error).startswith(str(path)) and "\n" not in str(error)
    assert 300 < refused < 400


@pytest.mark.parametrize("place", [0, 29, 30, 38, 39, 47], ids=["first of Y", "last", "of Cb", "last", "of Cr", "last"])
def test_a_pixel_weight_of_zero_is_refused(tmp_path, place):
    """By the reader, with a checksum that fits, and by the writer of a record."""
    path = tmp_path / "a.idse"
    write_random(path)
    data = bytearray(path.read_bytes())
    map_bytes, offset = struct.unpack_from("<QQ", data, 40)
    struct.pack_into("<H", data, offset + map_bytes + 2 * place, 0)
    struct.pack_into("<I", data, 100, zlib.crc32(data[offset + map_bytes : offset + 2 * map_bytes]))
    path.write_bytes(with_header(bytes(data), 8, "H", 1))
    with IdseFile(path) as file:
        record = file.record(0)
        for call in (file.record, file.raw_map, file.map, lambda index: file.verify()):
            with pytest.raises(FprdoError, match=r"damaged .*, a pixel weight of map 1 is 0, the least is 1: "):
                call(1)
    values = record.values.copy()
    values[place] = 0
    with pytest.raises(FprdoError, match=r"b\.idse: map 0: a pixel weight is 0, the least is 1: raise it"):
        write_idse(tmp_path / "b.idse", [replace(record, values=values)], FMT, frame_count=1, transform_sizes=(4,))
    assert not (tmp_path / "b.idse").exists()
    values[place] = 1
    write_idse(tmp_path / "b.idse", [replace(record, values=values)], FMT, frame_count=1, transform_sizes=(4,))


def test_a_shape_weight_of_zero_is_right(tmp_path):
    path = tmp_path / "a.idse"
    write_random(path)
    with IdseFile(path) as file:
        record = file.record(0)
    values = record.values.copy()
    values[48:64] = 0  # a block of Y
    write_idse(path, [replace(record, values=values)], FMT, frame_count=1, transform_sizes=(4,))
    with IdseFile(path) as file:
        assert not file.raw_map(0)[1][4][0].ravel()[:16].any()
