"""Frames in and out of the Python API are streams: memory does not grow with their number; and where they lie."""

import gc
import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
import programs
import pytest
from built import optional_tools
from clips import clip

from fprdo_bridge import Encoder
from fprdo_bridge.bitstream.libav import decode_libav
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.session.encoded import Reconstruction
from fprdo_bridge.video.formats import VideoFormat, first_difference
from fprdo_bridge.video.pictures import frame_to_picture, load_picture
from fprdo_bridge.video.raw import read_yuv, write_yuv
from fprdo_bridge.video.source import open_source

FMT = VideoFormat(72, 56)
DEEP = VideoFormat(71, 55, "444", 10)

# A flat picture and few modes, so that the encoder is fast: what is measured is this side.
GROWTH = """
import resource
fmt = VideoFormat(256, 192, "400")
def frames(count):
    for number in range(count):
        yield (np.full((192, 256), 60 + 120 * (number % 2), np.uint8),)
def peak(count):
    encoded = Encoder({name!r}).encode(frames(count), 51, fmt=fmt, options={options}, {weights})
    assert len(encoded.reconstruction) == count == len(encoded.log.pictures)
    assert [frame[0].mean() > 120 for frame in encoded.reconstruction] == [number % 2 == 1 for number in range(count)]
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
few = peak(20)
print(few, peak(200) - few)
"""
FAST = {
    "hm": {"SAO": 0, "RDOQ": 0, "MaxPartitionDepth": 1, "QuadtreeTUMaxDepthIntra": 1, "TransformSkip": 0},
    "jm": {"RDOptimization": 0, "UseRDOQuant": 0, "Transform8x8Mode": 0},
}


@pytest.mark.parametrize("name, weights", [("hm", ""), ("jm", "weights=ones(fmt)")])
def test_memory_does_not_grow_with_the_frames(tmp_path, name, weights):
    if name == "jm":
        optional_tools("jm")
    few, growth = map(
        int, programs.said(tmp_path, GROWTH.format(name=name, weights=weights, options=FAST[name])).split()
    )
    frames = 180 * 192 * 256 // 1024  # kilobytes, as ru_maxrss on Linux
    assert few > 1000 and growth < frames / 3


def test_frames_are_read_when_they_are_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    encoded = Encoder("hm").encode(clip(DEEP, 3), 32, fmt=DEEP)
    assert list(tmp_path.iterdir()) == []  # the file has no name any more
    found = encoded.reconstruction
    assert len(found) == 3 and "3 frames of 71x55 444 10-bit" in repr(found)
    (tmp_path / "a.265").write_bytes(encoded.bitstream)
    assert first_difference(found, decode_libav(tmp_path / "a.265", DEEP)) is None
    assert all(plane.dtype == np.uint16 and plane.flags.writeable for plane in found[0])
    for asked, expected in ((found[-1], found[2]), (found[1:][0], found[1]), (found[::2][1], found[2])):
        assert all(map(np.array_equal, asked, expected))
    with pytest.raises(IndexError):
        found[3]
    with ThreadPoolExecutor(4) as pool:
        assert all(
            np.array_equal(found[number % 3][0], frame[0])
            for number, frame in enumerate(pool.map(lambda number: found[number % 3], range(60)))
        )
    with pytest.raises(FprdoError, match="^reconstruction: is an open file"):
        pickle.dumps(encoded)
    found.close()
    found.close()
    assert len(found) == 3
    with pytest.raises(FprdoError, match="^reconstruction: is closed"):
        list(found)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="no /proc")
def test_a_reconstruction_that_nobody_holds_is_closed():
    fmt = VideoFormat(16, 16, "400")
    frames = clip(fmt, 1)
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    kept = [Encoder("hm").encode(frames, 40, fmt=fmt) for _ in range(2)]
    assert len(os.listdir("/proc/self/fd")) == before + 2
    del kept
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_reconstruction_that_is_cut_meanwhile(tmp_path):
    write_yuv(tmp_path / "a.yuv", clip(FMT, 2), FMT)
    found = Reconstruction(tmp_path / "a.yuv", FMT)
    os.truncate(tmp_path / "a.yuv", FMT.frame_bytes + 7)
    found[0]
    with pytest.raises(FprdoError, match="^reconstruction: ends inside frame 1"):
        found[1]
    with pytest.raises(FprdoError, match="^reconstruction: cannot be opened"):
        Reconstruction(tmp_path / "b.yuv", FMT)


def test_the_reconstruction_in_a_file(tmp_path):
    frames, path = clip(FMT, 2), tmp_path / "new" / "recon.YUV"
    encoded = Encoder("hm").encode(frames, 32, fmt=FMT, recon=path)
    assert first_difference(encoded.reconstruction, read_yuv(path, FMT)) is None
    assert {entry.name for entry in path.parent.iterdir()} == {"recon.YUV"}
    before = path.read_bytes()
    with pytest.raises(ZeroDivisionError):
        Encoder("hm").encode(frames, 40, fmt=FMT, recon=path, on_picture=lambda picture: 1 // 0)
    assert path.read_bytes() == before and {entry.name for entry in path.parent.iterdir()} == {"recon.YUV"}
    Encoder("hm").encode(frames, 32, fmt=FMT, recon=tmp_path / "recon.y4m", frame_rate=25)
    source = open_source(str(tmp_path / "recon.y4m"))
    assert source.frame_rate == 25 and first_difference(encoded.reconstruction, source.read()) is None
    Encoder("hm").encode(frames, 32, fmt=FMT, recon=tmp_path / "recon.png", count=1)
    assert np.array_equal(load_picture(tmp_path / "recon.png"), frame_to_picture(encoded.reconstruction[0], FMT))
    for name, message in (
        ("recon.png", "recon.png: is one picture, and there are several"),
        ("new", "is a folder; give a file name"),
        ("recon.txt", "recon.txt: unknown kind of file .txt"),
    ):
        with pytest.raises(FprdoError, match=message):
            Encoder("hm").encode(frames, 32, fmt=FMT, recon=tmp_path / name)
    write_yuv(tmp_path / "source.yuv", frames, FMT)
    for name, fmt in (("source.yuv", FMT), ("recon.y4m", None)):
        with pytest.raises(FprdoError, match=f"^recon .*{name}: is read in this encode"):
            Encoder("hm").encode(tmp_path / name, 32, fmt=fmt, recon=tmp_path / name)


def test_some_of_the_frames(tmp_path):
    """The same from a sequence, from a generator that has no end, and from a file."""
    frames = clip(FMT, 4)
    write_yuv(tmp_path / "clip.yuv", frames, FMT)
    expected = Encoder("hm").encode(frames[1:3], 32, fmt=FMT).bitstream

    def without_end():
        while True:
            yield from frames

    for given in (frames, without_end(), tmp_path / "clip.yuv"):
        asked = []
        encoded = Encoder("hm").encode(given, 32, fmt=FMT, skip=1, count=2, on_picture=asked.append)
        assert encoded.bitstream == expected and len(asked) == 2
    assert Encoder("hm").encode(islice(frames, 1, 3), 32, fmt=FMT).bitstream == expected
    for arguments, message in (
        ({"skip": 4}, "frames: there are none after the first 4"),
        ({"skip": 9}, "frames: there are none"),
        ({"count": 5}, "frames: 5 asked for, there are fewer"),
        ({"skip": 3, "count": 2}, "frames: 2 asked for after the first 3, there are fewer"),
        ({"skip": -1}, "skip -1: use 0 or more"),
        ({"count": 0}, "count 0: use 1 or more"),
        ({"skip": 1.0}, "skip 1.0: give a whole number"),
        ({"count": True}, "count True: give a whole"),
    ):
        with pytest.raises(FprdoError, match=f"^{message}"):
            Encoder("hm").encode(frames, 32, fmt=FMT, **arguments)
    for arguments in ({"skip": 4}, {"count": 5}, {"skip": 3, "count": 2}):
        with pytest.raises(FprdoError, match="clip.yuv: has 4 frames"):
            Encoder("hm").encode(tmp_path / "clip.yuv", 32, fmt=FMT, **arguments)
