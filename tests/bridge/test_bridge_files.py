"""Weight files as an encoder opens them: which picture has which map, and what is refused."""

import os
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import pytest
from bridge_material import CLIP, open_encoder, said
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from weight_files import front_bytes

from fprdo_bridge.importance.idse_file import IdseFile, ones, write_idse
from fprdo_bridge.native._idse import ffi, lib
from fprdo_bridge.video.formats import VideoFormat


def test_pictures_are_found_by_their_number(three_maps):
    handle = open_encoder(three_maps, frames=5, tau=0)
    for poc, corner in ((4, 1.75), (0, 1.25), (2, 1.5), (1, 1.25), (3, 1.5)):  # coding order is not output order
        picture = lib.idse_picture_begin(handle, poc)
        for component in range(3):
            assert lib.idse_mean(picture, component, 0, 0, 1, 1) == corner
            assert lib.idse_mean(picture, component, 1, 0, 1, 1) == 2 - corner
    for poc in (-1, 5, 6, 1000):
        assert lib.idse_picture_begin(handle, poc) == ffi.NULL
        assert said(handle) == (
            f"{three_maps}: no weights for picture {poc}, only for 5 frames; code fewer frames or make the "
            "map again with: fprdo weights for all of them"
        )
    counters = ffi.new("idse_counters *")
    lib.idse_counters_get(handle, counters)
    assert counters.pictures == 5
    every_second = open_encoder(three_maps, frames=3, step=2, tau=0)
    corners = [lib.idse_mean(lib.idse_picture_begin(every_second, poc), 0, 0, 0, 1, 1) for poc in range(3)]
    assert corners == [1.25, 1.5, 1.75]


def test_maps_share_a_record(tmp_path, three_maps):
    """A record that several maps are is loaded for the first and serves the others; a bad table is refused."""
    with IdseFile(three_maps) as file:
        first, second, _ = (file.record(n) for n in range(3))
    shared = tmp_path / "shared.idse"
    write_idse(shared, [first, first, second, second, first], CLIP, frame_count=5)
    handle = open_encoder(shared, frames=5, tau=0)
    for poc, corner in ((4, 1.25), (0, 1.25), (2, 1.5), (1, 1.25), (3, 1.5)):
        assert lib.idse_mean(lib.idse_picture_begin(handle, poc), 0, 0, 0, 1, 1) == corner
    data = shared.read_bytes()
    assert struct.unpack_from("<IIII", data, 24) == (5, 1, 5, 3) and struct.unpack_from("<5I", data, 108) == (
        0,
        0,
        1,
        1,
        2,
    )
    for place, value, message in (
        (36, 0, "the header contradicts itself"),
        (36, 6, "the header contradicts itself"),
        (108, 3, "map 0 is record 3 of 3"),
    ):
        shared.write_bytes(with_header(data, {place: value}))
        assert message in open_encoder(shared, frames=5)


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
        (dict(frames=3, step=3), "weights for 5 frames, 7 are needed"),
    ):
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
    assert (
        open_encoder(path) == f"{path}: not an .idse weight file but a pipe or a device; give the path of an .idse file"
    )
    assert time.monotonic() - started < 1


@pytest.mark.parametrize("left", [0, 0.3, 0.6, 0.99])
def test_a_file_that_becomes_shorter_ends_with_a_message(tmp_path, left):
    """While an encoder has it open, before and after its lookahead. In a process of its own: it used to be a signal."""
    program = f"""
import os, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from bridge_material import *
from fprdo_bridge.importance.idse_file import write_idse
fmt, path = VideoFormat(320, 192), Path({str(tmp_path / "map.idse")!r})
write_idse(path, [map_of(fmt, 1.5) for _ in range(3)], fmt, frame_count=3)
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
    assert (
        lines[::2] == ["True", str(left < 0.66)] and lines[1] == lines[3]
    )  # of the last map, at the end or all missing
    assert lines[1].startswith(f"{tmp_path / 'map.idse'}: has become shorter than the ") and lines[1].endswith(
        "copy it again or make the map again with: fprdo weights"
    )


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
    record = data[maps_offset + map_bytes : maps_offset + 2 * map_bytes]
    struct.pack_into("<I", data, 100, zlib.crc32(record))
    message = refused(tmp_path_factory, with_header(bytes(data), {}))
    assert ": a pixel weight of map 1 is 0, the least is 1; make the map again with: fprdo weights" in message


def test_a_name_with_a_line_break_is_one_line(tmp_path):
    assert "\n" not in open_encoder(tmp_path / "a\nb.idse") and "a?b.idse: cannot be opened" in open_encoder(
        tmp_path / "a\nb.idse"
    )


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
@given(st.integers(0, 2**32), st.integers(1, 255))
def test_a_changed_byte_is_noticed(tmp_path_factory, three_maps, position, mask):
    data = bytearray(three_maps.read_bytes())
    (metadata_bytes,) = struct.unpack_from("<I", data, 56)
    (maps_offset,) = struct.unpack_from("<Q", data, 48)
    position %= len(data)
    assume(not 96 + 4 * 3 + metadata_bytes <= position < maps_offset)  # padding that nobody reads
    data[position] ^= mask
    refused(tmp_path_factory, bytes(data))


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32))
def test_a_truncated_file_is_noticed(tmp_path_factory, three_maps, length):
    data = three_maps.read_bytes()
    message = refused(tmp_path_factory, data[: length % len(data)])
    assert "truncated" in message or "not an .idse weight file" in message


def test_a_longer_file_is_noticed(tmp_path_factory, three_maps):
    assert "too long" in refused(tmp_path_factory, three_maps.read_bytes() + bytes(64))


def test_a_future_version_is_named(tmp_path_factory, three_maps):
    data = bytearray(three_maps.read_bytes())
    data[8] = 3
    assert "version 3, this encoder reads versions 1 and 2; update the encoder" in refused(
        tmp_path_factory, bytes(data)
    )


FIELDS = {
    10: "<H",
    12: "<I",
    16: "<I",
    20: "<B",
    21: "<B",
    22: "<B",
    24: "<I",
    28: "<I",
    32: "<I",
    40: "<Q",
    48: "<Q",
    56: "<I",
}


def with_header(data: bytes, changes: dict[int, int]) -> bytes:
    """Fields of header and table by their offset, and a header checksum that fits if what it covers is in the file."""
    changed = bytearray(data)
    for offset, value in changes.items():
        struct.pack_into(FIELDS.get(offset, "<I"), changed, offset, value)
    covered = changed[96 : front_bytes(changed)]
    struct.pack_into("<I", changed, 92, zlib.crc32(covered, zlib.crc32(changed[:92])))
    return bytes(changed)


@settings(max_examples=200, deadline=None)
@given(st.data(), st.sampled_from(sorted(FIELDS)))
def test_a_header_field_that_contradicts_the_rest_is_noticed(tmp_path_factory, three_maps, data, offset):
    """A checksum does not make a header right."""
    original = three_maps.read_bytes()
    limit = 256 ** struct.calcsize(FIELDS[offset]) - 1
    (old,) = struct.unpack_from(FIELDS[offset], original, offset)
    value = data.draw(
        st.one_of(st.integers(0, limit), st.integers(max(0, old - 3), min(limit, old + 3)), st.sampled_from([0, limit]))
    )
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
    (map_bytes,) = struct.unpack_from("<Q", data, 40)
    maps = 10_000_000
    (tmp_path / "wraps.idse").write_bytes(
        with_header(data, {24: maps, 28: 1, 32: maps, 48: (len(data) - maps * map_bytes) % 2**64, 56: 0})
    )
    program = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); from bridge_material import open_encoder; "
        f"from pathlib import Path; print(open_encoder(Path({str(tmp_path / 'wraps.idse')!r})))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.returncode == 0, f"died of signal {-run.returncode}: {run.stderr}"
    assert "wraps.idse: " in run.stdout and "<cdata" not in run.stdout
