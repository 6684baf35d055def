"""Clips in containers and numbered pictures as sources."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from clips import clip

from fprdo_bridge.errors import FprdoError
from fprdo_bridge.video.formats import Frame, VideoFormat, first_difference
from fprdo_bridge.video.pictures import picture_to_frame, save_picture
from fprdo_bridge.video.source import FormatRequest, open_source


def write_container(path: Path, frames: list[Frame], fmt: VideoFormat, pixels: str = "yuv420p", **context: int) -> Path:
    """Without loss."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream("ffv1", rate=Fraction(24000, 1001))
        stream.width, stream.height, stream.pix_fmt = fmt.width, fmt.height, pixels
        for name, value in context.items():
            setattr(stream.codec_context, name, value)
        for planes in frames:
            picture = av.VideoFrame(fmt.width, fmt.height, pixels)
            for plane, samples in zip(picture.planes, planes):
                lines = np.zeros((samples.shape[0], plane.line_size), np.uint8)
                lines[:, : samples.shape[1] * samples.itemsize] = samples.view(np.uint8)
                plane.update(lines.tobytes())
            for packet in stream.encode(picture):
                file.mux(packet)
        for packet in stream.encode(None):
            file.mux(packet)
    return path


@pytest.mark.parametrize(
    ("fmt", "pixels"),
    [
        (VideoFormat(36, 20), "yuv420p"),
        (VideoFormat(37, 21), "yuv420p"),
        (VideoFormat(36, 20, "422", 10), "yuv422p10le"),
        (VideoFormat(36, 20, "444"), "yuv444p"),
        (VideoFormat(36, 20, "400"), "gray"),
    ],
    ids=str,
)
def test_a_container_gives_its_samples(tmp_path, fmt, pixels):
    frames = clip(fmt, 5)
    path = str(write_container(tmp_path / "clip.mkv", frames, fmt, pixels))
    source = open_source(path)
    assert (source.name, source.fmt, source.frames, source.frame_rate) == ("clip", fmt, 5, Fraction(24000, 1001))
    assert first_difference(source.read(), frames) is None
    part = open_source(path, frames=2, skip=2)
    assert part.frames == 2 and first_difference(part.read(), frames[2:4]) is None
    assert first_difference(open_source(str(part.yuv(tmp_path)), FormatRequest.of(fmt)).read(), frames[2:4]) is None


def test_colours_are_those_that_the_container_says(tmp_path):
    fmt = VideoFormat(36, 20)
    path = write_container(tmp_path / "clip.mkv", clip(fmt, 1), fmt, colorspace=9, color_range=2)
    assert open_source(str(path)).fmt == VideoFormat(36, 20, matrix="bt2020", full_range=True)
    assert open_source(str(path), FormatRequest(matrix="bt601")).fmt.matrix == "bt601"


@pytest.mark.parametrize(
    ("request_", "arguments", "message"),
    [
        (FormatRequest(size=(8, 8)), {}, "holds 36x20 420 8-bit, not 8x8 420 8-bit; leave size"),
        (FormatRequest(), {"frames": 4}, "has 3 frames, 4 asked for; use --frames 1 to 3"),
        (FormatRequest(), {"skip": 3}, "has 3 frames, the first 3 are left out"),
    ],
)
def test_what_a_container_does_not_hold(tmp_path, request_, arguments, message):
    fmt = VideoFormat(36, 20)
    path = write_container(tmp_path / "clip.mkv", clip(fmt, 3), fmt)
    with pytest.raises(FprdoError, match=rf"clip\.mkv: {message}"):
        open_source(str(path), request_, **arguments)


def test_containers_that_are_none(tmp_path):
    fmt = VideoFormat(36, 20)
    write_container(tmp_path / "rgb.mkv", [(np.zeros((20, 36 * 4), np.uint8),)], fmt, "bgr0")
    write_container(tmp_path / "hdr.mkv", clip(VideoFormat(36, 20, bit_depth=10), 1), fmt, "yuv420p10le", color_trc=16)
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "folder.mkv").mkdir()
    whole = write_container(tmp_path / "whole.mkv", clip(fmt, 20), fmt).read_bytes()
    (tmp_path / "empty.mkv").touch()
    for name, message in (
        ("rgb.mkv", "holds bgr0 pictures, which are not read here"),
        ("hdr.mkv", r"is of high dynamic range \(PQ\)"),
        ("text.mp4", "holds no video"),
        ("empty.mkv", "holds no video"),
        ("folder.mkv", "is a folder"),
        ("gone.mp4", r"cannot be read \(no such file\)"),
    ):
        with pytest.raises(FprdoError, match=f"{name}: {message}") as said:
            open_source(str(tmp_path / name))
        assert "\n" not in str(said.value)
    source = open_source(str(tmp_path / "whole.mkv"))
    (tmp_path / "whole.mkv").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FprdoError, match=r"whole\.mkv: "):
        list(source.read())


def test_numbered_pictures_are_a_clip(tmp_path):
    pictures = [np.full((6, 8, 3), 40 * number, np.uint8) for number in range(4)]
    for number, picture in enumerate(pictures, 8):
        save_picture(tmp_path / f"shot-{number:02}.png", picture)
    save_picture(tmp_path / "shot-100.png", pictures[0])  # %02d too
    (tmp_path / "shot-100.png").rename(tmp_path / "other-100.png")
    source = open_source(str(tmp_path / "shot-%02d.png"), FormatRequest(chroma="444"))
    assert (source.name, source.frames, source.fmt) == ("shot", 4, VideoFormat(8, 6, "444"))
    assert first_difference(source.read(), [picture_to_frame(one, source.fmt) for one in pictures]) is None
    part = open_source(str(tmp_path / "shot-%02d.png"), frames=1, skip=2)
    assert first_difference(part.read(), [picture_to_frame(pictures[2], part.fmt)]) is None
    assert part.yuv(tmp_path).stat().st_size == part.fmt.frame_bytes


def test_a_series_that_is_none(tmp_path):
    picture = np.zeros((6, 8, 3), np.uint8)
    for number in (1, 2, 4):
        save_picture(tmp_path / f"{number}.png", picture)
    save_picture(tmp_path / "a1.png", picture)
    save_picture(tmp_path / "a2.png", picture[:4])
    for name, message in (
        ("%d.png", "picture 3 is missing between 2 and 4"),
        ("%04d.png", r"no such pictures; check folder and digits"),
        ("gone/%d.png", r"gone: cannot be read"),
    ):
        with pytest.raises(FprdoError, match=message):
            open_source(str(tmp_path / name))
    with pytest.raises(FprdoError, match=r"a2\.png: is 8x4, the first one is 8x6"):
        list(open_source(str(tmp_path / "a%d.png")).read())
    with pytest.raises(FprdoError, match="has 2 frames, 3 asked for"):
        open_source(str(tmp_path / "a%d.png"), frames=3)
    with pytest.raises(FprdoError, match="holds 8x6 pictures, not 9x9"):
        open_source(str(tmp_path / "a%d.png"), FormatRequest(size=(9, 9)))


def test_a_file_of_that_very_name_is_a_picture(tmp_path):
    save_picture(tmp_path / "100%d.png", np.zeros((6, 8, 3), np.uint8))
    assert open_source(str(tmp_path / "100%d.png")).picture is not None


def test_a_series_in_a_folder_is_called_after_it(tmp_path):
    (tmp_path / "walk").mkdir()
    save_picture(tmp_path / "walk" / "0.png", np.zeros((6, 8, 3), np.uint8))
    assert open_source(str(tmp_path / "walk" / "%d.png")).name == "walk"
