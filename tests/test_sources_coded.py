"""What encoders get of a source: the frames that were asked for, in the layout and precision of the file."""

from pathlib import Path

import numpy as np
import pytest
from picture_files import png

from fprdo_bridge.cli import main
from fprdo_bridge.video.formats import VideoFormat
from fprdo_bridge.video.pictures import load_picture, save_picture
from fprdo_bridge.video.raw import write_yuv
from fprdo_bridge.video.y4m import write_y4m

FMT = VideoFormat(32, 16)


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def frames_of(count: int) -> list[tuple[np.ndarray, ...]]:
    """Parts of a photograph, each brighter than the one before."""
    photo = load_picture("skimage:astronaut")[100:, 200:]
    return [
        tuple(
            photo[:rows, :columns, index] // 2 + 20 * number for index, (rows, columns) in enumerate(FMT.plane_shapes)
        )
        for number in range(count)
    ]


@pytest.mark.parametrize("encoder", ["hm", "jm", "x264"])
@pytest.mark.parametrize("clip", ["clip_32x16.yuv", "clip.y4m"])
def test_skipped_frames_are_not_coded(here, tools, jm_tools, x264_tools, encoder, clip):
    """The bitstream of `--skip 2 --frames 2` is that of a file of these two frames, with weights too."""
    if clip.endswith(".y4m"):
        write_y4m(clip, frames_of(5), FMT, 30)
    else:
        write_yuv(clip, frames_of(5), FMT)
    write_yuv("cut_32x16.yuv", frames_of(4)[2:], FMT)
    options = ["-q", "30", "--encoder", encoder, "--config", "lowdelay", "--probes", "1"]
    for source, output, more in ((clip, "a.bin", ["--skip", "2", "--frames", "2"]), ("cut_32x16.yuv", "b.bin", [])):
        assert main(["encode", source, "-o", output, *options, *more]) == 0
    assert Path("a.bin").read_bytes() == Path("b.bin").read_bytes()


@pytest.mark.parametrize("words", ["nv12", "yv12", "yuv420p10be", "p010"])
def test_layouts_are_coded_as_planar_ones(here, x264_tools, words):
    """Luma is that of the planar file, and so is chroma: the bitstreams are the same."""
    depth = 8 if words in ("nv12", "yv12") else 10
    frame = [plane.astype(np.uint16) << depth - 8 for plane in frames_of(1)[0]]
    write_yuv(
        "planar_32x16.yuv",
        [tuple(plane.astype(np.uint8 if depth == 8 else np.uint16) for plane in frame)],
        VideoFormat(32, 16, bit_depth=depth),
    )
    luma, cb, cr = frame
    pairs = np.stack((cb, cr), axis=-1)
    planes, stored = {
        "nv12": ((luma, pairs), "u1"),
        "yv12": ((luma, cr, cb), "u1"),
        "yuv420p10be": ((luma, cb, cr), ">u2"),
        "p010": ((luma << 6, pairs << 6), "<u2"),
    }[words]
    Path(f"other_32x16_{words}.yuv").write_bytes(b"".join(plane.astype(stored).tobytes() for plane in planes))
    options = ["-q", "30", "--encoder", "x264", "--plain"]
    assert main(["encode", "planar_32x16.yuv", "-o", "a.264", "--bit-depth", str(depth), *options]) == 0
    assert main(["encode", f"other_32x16_{words}.yuv", "-o", "b.264", *options]) == 0
    assert Path("a.264").read_bytes() == Path("b.264").read_bytes()


def test_a_picture_without_a_suffix(here, x264_tools):
    """Given by its absolute path: what lies beside it stays, and nothing else comes to lie there."""
    (here / "input").mkdir()
    (here / "output").mkdir()
    save_picture(here / "photo.png", load_picture("skimage:astronaut")[100:116, 200:232])
    (here / "photo.png").rename(here / "input" / "photo")
    (here / "input" / "photo.yuv").write_bytes(b"precious")
    assert (
        main(["encode", f"{here}/input/photo", "-o", "output/o.264", "-q", "30", "--encoder", "x264", "--plain"]) == 0
    )
    assert sorted(path.name for path in (here / "input").iterdir()) == ["photo", "photo.yuv"]
    assert (here / "input" / "photo.yuv").read_bytes() == b"precious"


def test_16_bits_through_an_encoder(here, x264_tools, capsys):
    """Lossless at 10 bits: all levels of a ramp come out, in a picture of 16 bits."""
    ramp = np.linspace(20000, 30000, 256).round().astype(np.uint16)
    Path("ramp.png").write_bytes(png(256, 16, 16, 2, np.tile(ramp[:, None], (16, 1, 3)).astype(">u2").tobytes()))
    assert (
        main(
            [
                "encode",
                "ramp.png",
                "-o",
                "o.264",
                "-q",
                "-12",
                "--encoder",
                "x264",
                "--plain",
                "--bit-depth",
                "10",
                "--chroma",
                "444",
                "--range",
                "full",
            ]
        )
        == 0
    )
    assert main(["decode", "o.264", "-o", "o.png", "--decoder", "libavcodec", "--range", "full"]) == 0
    decoded = load_picture("o.png")
    assert decoded.dtype == np.uint16
    assert np.abs(decoded[8].astype(int) - ramp[:, None]).max() <= 65535 / 1023
    assert len(np.unique(decoded[8, :, 1])) > 150  # 157 of 10 bits, 40 of 8


def test_conversions_are_told(here, x264_tools, capsys):
    Path("p3.png").write_bytes(png(32, 16, 8, 2, bytes((230, 60, 40)) * 512, (b"cICP", bytes((12, 4, 0, 1)))))
    assert main(["encode", "p3.png", "-o", "o.264", "-q", "1", "--encoder", "x264", "--plain", "--chroma", "444"]) == 0
    assert "p3.png: is converted to sRGB by its cICP chunk, relative colorimetric" in capsys.readouterr().err
    assert main(["decode", "o.264", "-o", "o.png", "--decoder", "libavcodec"]) == 0
    assert np.abs(load_picture("o.png")[8, 8].astype(int) - (251, 25, 0)).max() <= 4
