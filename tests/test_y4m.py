"""YUV4MPEG2 in: the format and the samples that another program wrote, and one line about what cannot be read."""

from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest

from fprdo_bridge.errors import FprdoError
from fprdo_bridge.video.formats import VideoFormat, first_difference
from fprdo_bridge.video.raw import read_yuv
from fprdo_bridge.video.source import FormatRequest, open_source
from fprdo_bridge.video.y4m import count_frames, read_header, write_y4m


def frames_of(fmt: VideoFormat, count: int) -> list[tuple[np.ndarray, ...]]:
    rng = np.random.default_rng(fmt.width)
    return [
        tuple(rng.integers(0, fmt.max_value + 1, shape).astype(fmt.dtype) for shape in fmt.plane_shapes)
        for _ in range(count)
    ]


def write(path, header: str, frames) -> None:
    data = [b"FRAME Ip\n" + b"".join(plane.tobytes() for plane in frame) for frame in frames]
    path.write_bytes(header.encode() + b"".join(data))


@pytest.mark.parametrize(
    "space, fmt",
    [
        ("C420jpeg", VideoFormat(37, 23, siting="center")),
        ("C420mpeg2 XCOLORRANGE=FULL", VideoFormat(37, 23, full_range=True)),
        ("", VideoFormat(37, 23, siting="center")),
        ("C420p10", VideoFormat(38, 22, bit_depth=10, siting="left")),
        ("C420", VideoFormat(37, 23, siting="center")),
        ("C420paldv", VideoFormat(37, 23, siting="topleft")),
        ("C420p16 XCOLORRANGE=LIMITED", VideoFormat(37, 23, bit_depth=16)),
        ("Cmono12", VideoFormat(37, 23, "400", 12)),
        ("XYSCSS=444", VideoFormat(37, 23, "444")),
        ("C420mpeg2 XYSCSS=420MPEG2", VideoFormat(37, 23)),
        ("XYSCSS=420JPEG", VideoFormat(37, 23, siting="center")),
        ("XYSCSS=422P10", VideoFormat(37, 23, "422", 10)),
        ("C422p10", VideoFormat(38, 23, "422", 10)),
        ("C444", VideoFormat(37, 23, "444")),
        ("Cmono", VideoFormat(37, 23, "400")),
    ],
)
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
            samples = np.concatenate([plane.reshape(-1) for plane in frame]).reshape(72, 64)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(samples, "yuv420p")))
        out.mux(stream.encode(None))
    sequence = open_source(str(path))
    assert (sequence.fmt.width, sequence.fmt.chroma, sequence.frame_rate) == (64, "420", 25)
    assert first_difference(sequence.read(), frames) is None


@pytest.mark.parametrize(
    "header, data, line",
    [
        ("YUV4MPEG2 W8 H8 It\n", b"", "is interlaced"),
        ("YUV4MPEG2 W8 H8 C411\n", b"", "chroma format C411 is not supported"),
        ("YUV4MPEG3 W8 H8\n", b"", "not a YUV4MPEG2 file"),
        ("YUV4MPEG2 W8\n", b"", "damaged header"),
        ("YUV4MPEG2 W8 H8\n", b"", "holds no frame"),
        ("YUV4MPEG2 W8 Height\n", b"", "damaged header"),
        ("YUV4MPEG2 W8 H8 F-30:1\n", b"", "damaged header"),
        ("YUV4MPEG2 W0 H8\n", b"", "bad.y4m: picture size 0x8: both"),
        ("YUV4MPEG2 W8 H8 " + 2000 * "X" + "\n", b"", "not a YUV4MPEG2 file"),
        ("", b"", "not a YUV4MPEG2 file"),
        ("YUV4MPEG2 W8 H8 Ib\n", b"", "is interlaced"),
        ("YUV4MPEG2 W8 H8 Im\n", b"", "is interlaced"),
        ("YUV4MPEG2 W8 H8 F25\n", b"", "damaged header"),
        ("YUV4MPEG2 W8 H8 W16\n", b"", "damaged header"),
        ("YUV4MPEG2 W8 H8 A1\n", b"", "damaged header"),
        ("YUV4MPEG2 W8 H8 A-1:1\n", b"", "damaged header"),
        ("YUV4MPEG2 W8 H8 A70000:1\n", b"", "bad.y4m: sample aspect ratio 70000:1: both"),
        ("YUV4MPEG2 W8 H8 C\n", b"", "chroma format C is not supported"),
        ("YUV4MPEG2 W8 H8 XYSCSS=411\n", b"", "chroma format C411 is not supported"),
        ("YUV4MPEG2 W8 H8 XCOLORRANGE=WIDE\n", b"", "colour range XCOLORRANGE=WIDE is not known"),
        ("YUV4MPEG2 W8 H8 C444alpha\n", b"", "chroma format C444alpha is not supported"),
        ("YUV4MPEG2 W8 H8\n", b"FRAME\n" + bytes(96) + b"FRA", "ends inside frame 1"),
        ("YUV4MPEG2 W8 H8\n", b"FRAMED\n" + bytes(96), "ends inside frame 0, or is damaged there; copy it again"),
        ("YUV4MPEG2 W8 H8\n", b"FRAME" + bytes(2000), "ends inside frame 0"),
        ("YUV4MPEG2 W8 H8\n", b"FRAME\n" + bytes(95), "ends inside frame 0"),
        ("YUV4MPEG2 W8 H8\n", b"FRAME\n" + bytes(96) + b"FRUME\n" + bytes(96), "ends inside frame 1"),
    ],
)
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


@pytest.mark.parametrize(
    "words, aspect",
    [("A128:117", (128, 117)), ("A256:234", (128, 117)), ("A1:1", (1, 1)), ("A0:0", None), ("A0:1", None), ("", None)],
)
def test_sample_aspect_ratio(tmp_path, words, aspect):
    path = tmp_path / "clip.y4m"
    write(path, f"YUV4MPEG2 W16 H16 {words}\n", frames_of(VideoFormat(16, 16), 1))
    assert open_source(str(path)).fmt.aspect == aspect
    assert open_source(str(path), FormatRequest(aspect=(4, 3))).fmt.aspect == (4, 3)


def test_cut_after_the_frames_that_are_asked_for(tmp_path):
    """What comes after them is not needed; whoever asks for all is told how many there are."""
    frames = frames_of(VideoFormat(8, 8), 4)
    path = tmp_path / "cut.y4m"
    write(path, "YUV4MPEG2 W8 H8\n", frames)
    path.write_bytes(path.read_bytes()[:-10])
    assert first_difference(open_source(str(path), frames=3).read(), frames[:3]) is None
    assert first_difference(open_source(str(path), frames=1, skip=2).read(), frames[2:3]) is None
    for asked in (dict(), dict(frames=4), dict(frames=2, skip=2), dict(skip=3)):
        with pytest.raises(FprdoError, match="ends inside frame 3, .*, or use its first frames with --frames 3"):
            open_source(str(path), **asked)
    assert count_frames(path, 3) == 3


# ---- out -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fmt, space",
    [
        (VideoFormat(37, 23), "420mpeg2"),
        (VideoFormat(37, 23, siting="center"), "420jpeg"),
        (VideoFormat(37, 23, siting="topleft"), "420paldv"),
        (VideoFormat(37, 23, "422", full_range=True), "422"),
        (VideoFormat(37, 23, "444", aspect=(128, 117)), "444"),
        (VideoFormat(37, 23, "400"), "mono"),
        (VideoFormat(37, 23, bit_depth=10), "420p10"),
        (VideoFormat(37, 23, "422", 12), "422p12"),
        (VideoFormat(37, 23, "444", 16), "444p16"),
        (VideoFormat(37, 23, "400", 10), "mono10"),
    ],
)
def test_what_is_written_is_read(tmp_path, fmt, space):
    frames = frames_of(fmt, 3)
    path = tmp_path / "clip.y4m"
    assert write_y4m(path, iter(frames), fmt, Fraction(30000, 1001)) == 3
    words = path.read_bytes().partition(b"\n")[0].decode().split()
    assert f"C{space}" in words and "F30000:1001" in words
    source = open_source(str(path))
    assert (source.fmt, source.fmt.aspect) == (fmt, fmt.aspect)
    assert (source.frames, source.frame_rate) == (3, Fraction(30000, 1001))
    assert first_difference(source.read(), frames) is None
    path.unlink()
    write_y4m(path, frames, fmt, 25)
    assert open_source(str(path)).frame_rate == 25


@pytest.mark.parametrize(
    "fmt, pixels",
    [
        (VideoFormat(38, 22), "yuv420p"),
        (VideoFormat(38, 22, bit_depth=10), "yuv420p10le"),
        (VideoFormat(38, 22, "422"), "yuv422p"),
        (VideoFormat(38, 22, "444", 12), "yuv444p12le"),
        (VideoFormat(38, 22, "400"), "gray"),
    ],
)
def test_libavformat_reads_what_is_written(tmp_path, fmt, pixels):
    frames = frames_of(fmt, 2)
    write_y4m(tmp_path / "clip.y4m", frames, replace(fmt, aspect=(128, 117)), 50)
    with av.open(str(tmp_path / "clip.y4m")) as file:
        stream = file.streams.video[0]
        assert (stream.codec_context.pix_fmt, stream.average_rate) == (pixels, 50)
        assert stream.sample_aspect_ratio == Fraction(128, 117)
        for picture, frame in zip(file.decode(stream), frames, strict=True):
            for plane, samples in zip(picture.planes, frame, strict=True):
                lines = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
                used = lines[:, : samples.shape[1] * samples.itemsize]
                assert np.array_equal(used.copy().view(samples.dtype), samples)


def test_what_cannot_be_written(tmp_path):
    fmt = VideoFormat(8, 8)
    path = tmp_path / "clip.y4m"
    with pytest.raises(FprdoError, match="no word for 11 bits; write a .yuv file"):
        write_y4m(path, [], VideoFormat(8, 8, bit_depth=11), 25)
    with pytest.raises(FprdoError, match="no frame to write"):
        write_y4m(path, [], fmt, 25)
    with pytest.raises(FprdoError, match="are not a 8x8 420 8-bit frame"):
        write_y4m(path, [*frames_of(fmt, 1), *frames_of(VideoFormat(8, 6), 1)], fmt, 25)
    assert not list(tmp_path.iterdir())


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
