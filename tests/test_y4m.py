"""YUV4MPEG2 in: the format and the samples that another program wrote, and one line about what cannot be read."""

import os
from fractions import Fraction

import av
import numpy as np
import pytest

from fprdo_bridge.errors import FprdoError
from fprdo_bridge.video.formats import VideoFormat, first_difference
from fprdo_bridge.video.raw import read_yuv
from fprdo_bridge.video.source import FormatRequest, open_source
from fprdo_bridge.video.y4m import read_header


def frames_of(fmt: VideoFormat, count: int) -> list[tuple[np.ndarray, ...]]:
    rng = np.random.default_rng(fmt.width)
    return [tuple(rng.integers(0, fmt.max_value + 1, shape).astype(fmt.dtype) for shape in fmt.plane_shapes) for _ in range(count)]


def write(path, header: str, frames) -> None:
    path.write_bytes(header.encode() + b"".join(b"FRAME Ip\n" + b"".join(plane.tobytes() for plane in frame) for frame in frames))


@pytest.mark.parametrize("space, fmt", [
    ("C420jpeg", VideoFormat(37, 23, siting="center")), ("C420mpeg2 XCOLORRANGE=FULL", VideoFormat(37, 23, full_range=True)),
    ("", VideoFormat(37, 23, siting="center")), ("C420p10", VideoFormat(38, 22, bit_depth=10, siting="center")),
    ("C422p10", VideoFormat(38, 23, "422", 10)), ("C444", VideoFormat(37, 23, "444")), ("Cmono", VideoFormat(37, 23, "400"))])
def test_samples_and_format(tmp_path, space, fmt):
    frames = frames_of(fmt, 3)
    path = tmp_path / "clip.y4m"
    write(path, f"YUV4MPEG2 W{fmt.width} H{fmt.height} F30000:1001 Ip A1:1 {space}\n", frames)
    sequence = open_source(str(path), frames=2)
    assert (sequence.fmt, sequence.frames, sequence.frame_rate) == (fmt, 2, Fraction(30000, 1001))
    assert first_difference(sequence.read(), frames[:2]) is None
    assert first_difference(read_yuv(sequence.yuv(tmp_path), fmt), frames[:2]) is None
    assert open_source(str(path), FormatRequest(matrix="bt601")).fmt.matrix == "bt601"


def test_what_libavformat_writes(tmp_path):
    fmt = VideoFormat(64, 48)
    frames = frames_of(fmt, 2)
    path = tmp_path / "written.y4m"
    with av.open(str(path), "w", format="yuv4mpegpipe") as out:
        stream = out.add_stream("wrapped_avframe", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for frame in frames:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(np.concatenate([p.reshape(-1) for p in frame]).reshape(72, 64), "yuv420p")))
        out.mux(stream.encode(None))
    sequence = open_source(str(path))
    assert (sequence.fmt.width, sequence.fmt.chroma, sequence.frame_rate) == (64, "420", 25)
    assert first_difference(sequence.read(), frames) is None


@pytest.mark.parametrize("header, data, line", [
    ("YUV4MPEG2 W8 H8 It\n", b"", "is interlaced"), ("YUV4MPEG2 W8 H8 C411\n", b"", "chroma format C411 is not supported"),
    ("YUV4MPEG3 W8 H8\n", b"", "not a YUV4MPEG2 file"), ("YUV4MPEG2 W8\n", b"", "damaged header"),
    ("YUV4MPEG2 W8 H8\n", b"", "holds no frame"), ("YUV4MPEG2 W8 Height\n", b"", "damaged header"),
    ("YUV4MPEG2 W8 H8 F-30:1\n", b"", "damaged header"), ("YUV4MPEG2 W0 H8\n", b"", "bad.y4m: picture size 0x8: both"),
    ("YUV4MPEG2 W8 H8 " + 2000 * "X" + "\n", b"", "not a YUV4MPEG2 file"), ("", b"", "not a YUV4MPEG2 file"),
    ("YUV4MPEG2 W8 H8 C444alpha\n", b"", "chroma format C444alpha is not supported"),
    ("YUV4MPEG2 W8 H8\n", b"FRAME\n" + bytes(96) + b"FRA", "ends inside frame 1"),
    ("YUV4MPEG2 W8 H8\n", b"FRAME" + bytes(2000), "ends inside frame 0"),
    ("YUV4MPEG2 W8 H8\n", b"FRAME\n" + bytes(95), "ends inside frame 0"),
    ("YUV4MPEG2 W8 H8\n", b"FRAME\n" + bytes(96) + b"FRUME\n" + bytes(96), "ends inside frame 1")])
def test_what_cannot_be_read(tmp_path, header, data, line):
    path = tmp_path / "bad.y4m"
    path.write_bytes(header.encode() + data)
    with pytest.raises(FprdoError, match=line) as error:
        open_source(str(path))
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_what_it_is_not(tmp_path):
    path = tmp_path / "clip.y4m"
    write(path, "YUV4MPEG2 W16 H16 C444\n", frames_of(VideoFormat(16, 16, "444"), 1))
    with pytest.raises(FprdoError, match="holds 16x16 444 8-bit, not 16x16 420 8-bit"):
        open_source(str(path), FormatRequest(chroma="420"))
    with pytest.raises(FprdoError, match="has 1 frames, 2 asked for"):
        open_source(str(path), frames=2)
    with pytest.raises(FprdoError, match="cannot be read"):
        read_header(tmp_path / "absent.y4m")


def test_pipe(tmp_path):
    """Refused, not waited for."""
    path = tmp_path / "pipe.y4m"
    os.mkfifo(path)
    with pytest.raises(FprdoError, match="pipe.y4m: is a pipe"):
        open_source(str(path))


def test_samples_of_more_bits_than_said(tmp_path):
    path = tmp_path / "clip.y4m"
    fitting, too_deep = (frames_of(VideoFormat(8, 8, bit_depth=depth), 1) for depth in (10, 12))
    write(path, "YUV4MPEG2 W8 H8 C420p10\n", fitting + too_deep)
    with pytest.raises(FprdoError, match="frame 1 has samples of more than the 10 bits"):
        list(open_source(str(path)).read())


def test_frames_are_counted_without_reading_them(tmp_path):
    """A file of 93 GB, nearly all of it a hole."""
    fmt, frames = VideoFormat(7680, 4320), 2000
    path = tmp_path / "large.y4m"
    with open(path, "wb") as file:
        file.write(b"YUV4MPEG2 W7680 H4320 F60:1\n")
        for _ in range(frames):
            file.write(b"FRAME\n")
            file.seek(fmt.frame_bytes, 1)
        try:
            file.truncate()
        except OSError as error:
            pytest.skip(f"no room for a hole ({error.strerror})")
    sequence = open_source(str(path))
    assert (sequence.fmt.width, sequence.frames) == (7680, frames)
