"""Sources: their names, the frames that are left out, and what is no file."""

import os
import shutil
import socket
from fractions import Fraction

import numpy as np
import pytest

from fprdo_bridge.errors import FprdoError
from fprdo_bridge.video.formats import VideoFormat, first_difference
from fprdo_bridge.video.pictures import save_picture
from fprdo_bridge.video.raw import read_yuv, write_yuv
from fprdo_bridge.video.source import FormatRequest, Source, open_source, source_name
from fprdo_bridge.video.y4m import write_y4m

FMT = VideoFormat(16, 8)


def frames_of(count: int) -> list[tuple[np.ndarray, ...]]:
    rng = np.random.default_rng(count)
    return [tuple(rng.integers(0, 256, shape).astype(np.uint8) for shape in FMT.plane_shapes) for _ in range(count)]


# ---- names ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "origin, name",
    [
        ("/home/me/photo", "photo"),
        ("photo", "photo"),
        ("a/b.c/photo", "photo"),
        ("/data/photo.png", "photo"),
        ("clip_416x240.yuv", "clip_416x240"),
        ("../x/Clip.Y4M", "Clip"),
        ("photo.tar", "photo.tar"),
        ("photo.v2.png", "photo.v2"),
        ("/data/photo.v2", "photo.v2"),
        (".png", ".png"),
        (".hidden.png", ".hidden"),
        ("a:b", "a:b"),
        ("/tmp/c:d.webp", "c:d"),
        ("skimage:astronaut", "astronaut"),
        ("photo/", "photo"),
        ("two words.jpg", "two words"),
    ],
)
def test_name_is_the_last_part(origin, name):
    assert source_name(origin) == name


@pytest.mark.parametrize(
    "origin", ["", "/", ".", "..", "a/..", "skimage:", "skimage:/etc/passwd", "skimage:..", "skimage:a/b", "a\0b"]
)
def test_what_gives_no_name(origin):
    with pytest.raises(FprdoError, match="is not the name of a source") as error:
        open_source(origin)
    assert "\n" not in str(error.value) and "\0" not in str(error.value)


def test_a_source_is_written_into_the_folder_alone(tmp_path):
    """A picture without a suffix, by its absolute path, does not overwrite its neighbour photo.yuv."""
    work = tmp_path / "work"
    work.mkdir()
    save_picture(tmp_path / "photo.png", np.full((8, 16, 3), 77, np.uint8))
    (tmp_path / "photo.png").rename(tmp_path / "photo")
    (tmp_path / "photo.yuv").write_bytes(b"precious")
    path = open_source(str(tmp_path / "photo")).yuv(work)
    assert path == work / "photo.yuv" and path.stat().st_size == FMT.frame_bytes
    assert (tmp_path / "photo.yuv").read_bytes() == b"precious"
    assert sorted(os.listdir(tmp_path)) == ["photo", "photo.yuv", "work"]


# ---- skip ----------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["clip_16x8.yuv", "clip.y4m"])
def clip(request, tmp_path) -> str:
    """Five frames."""
    path = tmp_path / request.param
    if path.suffix == ".y4m":
        write_y4m(path, frames_of(5), FMT, 25)
    else:
        write_yuv(path, frames_of(5), FMT)
    return str(path)


@pytest.mark.parametrize("skip, frames", [(0, None), (0, 2), (2, None), (1, 3), (4, 1), (4, None)])
def test_skip(clip, tmp_path, skip, frames):
    """The frames that are read, coded and hashed are the same ones."""
    expected = frames_of(5)[skip:][:frames]
    source = open_source(clip, skip=skip, frames=frames)
    assert source.frames == len(expected)
    assert first_difference(source.read(), expected) is None
    folder = tmp_path / "work"
    folder.mkdir()
    raw = source.yuv(folder)
    assert first_difference(read_yuv(raw, FMT, count=source.frames), expected) is None
    write_yuv(tmp_path / "cut_16x8.yuv", expected, FMT)
    assert source.sha256() == open_source(str(tmp_path / "cut_16x8.yuv")).sha256()
    assert (source.sha256() == open_source(clip).sha256()) == (skip == 0 and frames is None)


@pytest.mark.parametrize(
    "asked, message",
    [
        (dict(skip=-1), "the first -1 frames cannot be left out; use --skip 0 or more"),
        (dict(skip=5), "has 5 frames, the first 5 are left out; use --skip 0 to 4"),
        (dict(skip=7, frames=1), "has 5 frames, the first 7 are left out; use --skip 0 to 4"),
        (dict(skip=3, frames=3), "has 5 frames, 3 asked for after the first 3; use --frames 1 to 2"),
        (dict(frames=6), "has 5 frames, 6 asked for; use --frames 1 to 5"),
        (dict(frames=0), "0 frames asked for; use --frames 1 or more"),
        (dict(frames=-1), "-1 frames asked for"),
    ],
)
def test_frames_that_are_not_there(clip, asked, message):
    with pytest.raises(FprdoError, match=message) as error:
        open_source(clip, **asked)
    assert str(error.value).startswith(f"{clip}: ")


def test_a_picture_has_nothing_to_skip(tmp_path):
    save_picture(tmp_path / "a.png", np.zeros((8, 16, 3), np.uint8))
    with pytest.raises(FprdoError, match="a.png: a picture is 1 frame, the first 1 are left out; leave --skip out"):
        open_source(str(tmp_path / "a.png"), skip=1)
    assert open_source(str(tmp_path / "a.png"), skip=0, frames=1).frames == 1


# ---- aspect, frame rate --------------------------------------------------------------------------------------------


def test_aspect_is_not_part_of_the_hash(tmp_path):
    """Weights of the same samples fit, however wide these are shown."""
    write_y4m(tmp_path / "square.y4m", frames_of(2), FMT, 25)
    write_y4m(tmp_path / "wide.y4m", frames_of(2), VideoFormat(16, 8, aspect=(128, 117)), 25)
    square, wide = (open_source(str(tmp_path / f"{name}.y4m")) for name in ("square", "wide"))
    assert (square.fmt.aspect, wide.fmt.aspect) == (None, (128, 117))
    assert square.sha256() == wide.sha256()


def test_frame_rate(clip):
    own = Fraction(25) if clip.endswith(".y4m") else Fraction(30)
    assert open_source(clip).frame_rate == own
    assert open_source(clip, frame_rate=Fraction(24000, 1001)).frame_rate == Fraction(24000, 1001)


# ---- what is no regular file ---------------------------------------------------------------------------------------

SUFFIXES = ["_16x8.yuv", ".y4m", ".png", ""]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_no_regular_file_is_refused_and_not_waited_for(tmp_path, monkeypatch, suffix):
    monkeypatch.chdir(tmp_path)  # the address of a socket is short
    os.mkfifo(f"pipe{suffix}")
    os.mkdir(f"folder{suffix}")
    os.symlink("/dev/zero", f"device{suffix}")
    os.symlink(f"pipe{suffix}", f"link{suffix}")
    os.symlink("nowhere", f"dangling{suffix}")
    os.symlink(f"loop{suffix}", f"loop{suffix}")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"socket{suffix}")
        for name, kind in (
            ("pipe", "is a pipe"),
            ("folder", "is a folder"),
            ("device", "is a device"),
            ("link", "is a pipe"),
            ("socket", "is a socket"),
            ("dangling", "no such"),
            ("loop", "cannot be read"),
            ("gone", "no such"),
        ):
            with pytest.raises(FprdoError, match=f"{name}{suffix}: .*{kind}") as error:
                open_source(f"{name}{suffix}")
            assert "\n" not in str(error.value)


def test_standard_input(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_picture("a.png", np.zeros((8, 16, 3), np.uint8))
    shutil.copy("a.png", "-")
    with pytest.raises(FprdoError, match="-: standard input is not read; write it to a file"):
        open_source("-")
    assert open_source("./-").name == "-"


@pytest.mark.parametrize(
    "name",
    ["a\ud800.png", "a\ud800_16x8.yuv", "a\ud800.y4m", 300 * "a" + ".png", 300 * "a" + "_16x8.yuv", 300 * "a" + ".y4m"],
)
def test_text_that_names_no_file(name):
    with pytest.raises(FprdoError, match="is no file name|cannot be read"):
        open_source(name)


def test_a_link_to_a_file_is_followed(clip, tmp_path):
    link = tmp_path / f"link{clip[-9:] if clip.endswith('.yuv') else '.y4m'}"
    link.symlink_to(clip)
    assert isinstance(open_source(str(link)), Source)


def test_request_of_a_format():
    fmt = VideoFormat(16, 8, "444", 10, "bt2020", True, "center", (4, 3))
    applied = FormatRequest.of(fmt).apply(VideoFormat(1, 1))
    assert (applied, applied.aspect) == (fmt, (4, 3))
