"""Names say what files hold: .mp4 and .mkv with the bitstream in them, reconstructions as .y4m or a picture, logs of
their own."""

import os
from fractions import Fraction
from pathlib import Path

import av
import pytest
from clips import clip, logged_command, make_job
from PIL import Image

from fprdo_bridge import cli, encoders
from fprdo_bridge.bitstream import container
from fprdo_bridge.bitstream.nal_units import Standard, nal_units
from fprdo_bridge.encoders.checking import check
from fprdo_bridge.encoders.codec import Codec
from fprdo_bridge.encoders.hm import HM
from fprdo_bridge.encoders.jm import JM
from fprdo_bridge.encoders.running import encode
from fprdo_bridge.encoders.x264 import X264
from fprdo_bridge.encoders.x265 import X265
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.video import y4m
from fprdo_bridge.video.formats import VideoFormat, first_difference
from fprdo_bridge.video.pictures import load_picture
from fprdo_bridge.video.raw import read_yuv, write_yuv

CODECS = [encoders.get(name) for name in encoders.ENCODERS]
FMT = VideoFormat(96, 64, matrix="bt601", full_range=True, siting="center", aspect=(128, 117))
RATE = Fraction(30000, 1001)


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """An empty folder with a clip of three frames."""
    monkeypatch.chdir(tmp_path)
    write_yuv("c_96x64.yuv", clip(FMT, 3), FMT)
    return tmp_path


def run(*words: str) -> int:
    return cli.main(["encode", "c_96x64.yuv", "-q", "32", "--plain", *words])


# ---- containers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".MP4"])
@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
def test_pictures_colours_rate_and_order(tmp_path, tools_of, capsys, codec: Codec, suffix: str):
    """B pictures are stored in coding order and shown in output order, at even distances."""
    job = make_job(
        tmp_path,
        FMT,
        tools_of[codec.name],
        codec=codec,
        kind="randomaccess",
        frames=9,
        frame_rate=RATE,
        bitstream=tmp_path / f"clip{suffix}",
    )
    result = encode(codec, job, tools_of[codec.name])
    assert [picture.poc for picture in result.log.pictures] != list(range(9))
    with av.open(str(job.bitstream)) as file:
        assert file.format.name == ("matroska,webm" if suffix == ".mkv" else "mov,mp4,m4a,3gp,3g2,mj2")
        stream = file.streams.video[0]
        assert stream.average_rate == pytest.approx(RATE, rel=1e-3)
        assert stream.sample_aspect_ratio == Fraction(128, 117)
        if suffix != ".mkv":
            assert stream.codec_context.codec_tag == ("hvc1" if codec.standard is Standard.HEVC else "avc1")
        pictures = list(file.decode(stream))
    assert len(pictures) == 9
    times = [float(picture.pts * picture.time_base * RATE) for picture in pictures]
    assert times == pytest.approx(list(range(9)), abs=0.02)  # Matroska counts in milliseconds
    assert all((p.colorspace, p.color_primaries, p.color_trc, p.color_range) == (6, 6, 6, 2) for p in pictures)
    assert cli.main(["decode", str(job.bitstream), "-o", str(tmp_path / "d.yuv")]) == 0, capsys.readouterr().err
    assert (tmp_path / "d.yuv").read_bytes() == job.recon.read_bytes()
    assert ("verified the hash of every picture" in capsys.readouterr().out) == (codec is HM)


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
def test_packing_codes_nothing_again(tmp_path, tools_of, codec: Codec):
    tools, slices = tools_of[codec.name], []
    for name in ("clip.bin", "clip.mp4", "clip.mkv"):
        job = make_job(tmp_path, FMT, tools, codec=codec, frames=2, bitstream=tmp_path / name, recon=None)
        encode(codec, job, tools)
        (tmp_path / "work").mkdir(exist_ok=True)
        with container.byte_stream(job.bitstream, tmp_path / "work") as stream:
            data = stream.read_bytes()
        kinds = [
            data[start:end]
            for start, end in nal_units(data)
            if codec.standard.is_slice(codec.standard.unit_type(data[start:end]))
        ]
        slices.append(kinds)
    assert len(slices[0]) == 2 and slices[0] == slices[1] == slices[2]


@pytest.mark.parametrize(
    "codec, chroma, depth",
    [
        (HM, "422", 10),
        (HM, "400", 10),
        (HM, "444", 12),
        (JM, "400", 10),
        (JM, "444", 14),
        (X264, "400", 10),
        (X265, "422", 10),
    ],
    ids=lambda value: value.name if isinstance(value, Codec) else str(value),
)
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_formats(tmp_path, tools_of, capsys, codec: Codec, chroma: str, depth: int, suffix: str):
    fmt = VideoFormat(64, 64, chroma, depth)
    job = make_job(tmp_path, fmt, tools_of[codec.name], codec=codec, frames=2, bitstream=tmp_path / f"clip{suffix}")
    encode(codec, job, tools_of[codec.name])
    assert cli.main(["decode", str(job.bitstream), "-o", str(tmp_path / "d.yuv")]) == 0, capsys.readouterr().err
    assert (tmp_path / "d.yuv").read_bytes() == job.recon.read_bytes()


def test_formats_that_are_not_packed(tmp_path, tools_of):
    for codec in (HM, JM):
        job = make_job(
            tmp_path, VideoFormat(64, 64, bit_depth=11), tools_of[codec.name], codec=codec, bitstream=tmp_path / "o.mp4"
        )
        with pytest.raises(FprdoError, match=r"o\.mp4: \w+ of 11 bits is not packed into \.mp4; use another suffix"):
            check(codec, job)


@pytest.mark.parametrize(
    "order, shown",
    [
        ([0, 4, 2, 1, 3], [0, 4, 2, 1, 3]),
        ([0, 2, 1, 0, 2, 1], [0, 2, 1, 3, 5, 4]),
        ([0, 1, 2], [0, 1, 2]),
        ([0, -2, -1, 1], [2, 0, 1, 3]),
        ([0], [0]),
    ],
)
def test_order_of_pictures(order, shown):
    assert container._display_order(order) == shown


def test_idr_pictures_within_a_clip(tmp_path, tools_of):
    """The numbers of pictures begin anew there."""
    for codec, kind, options in (
        (HM, "lowdelay", {"IntraPeriod": "16", "DecodingRefreshType": "2"}),
        (X264, "randomaccess", {"keyint": "4", "min-keyint": "1"}),
        (JM, "randomaccess", {"IDRPeriod": "4", "IntraPeriod": "4", "NumberBFrames": "1", "HierarchicalCoding": "0"}),
    ):
        job = make_job(
            tmp_path,
            FMT,
            tools_of[codec.name],
            codec=codec,
            kind=kind,
            frames=18,
            options=options,
            bitstream=tmp_path / f"{codec.name}.mp4",
            qp=40,
        )
        encode(codec, job, tools_of[codec.name])
        with av.open(str(job.bitstream)) as file:
            stamps = [picture.pts * picture.time_base * 30 for picture in file.decode(video=0)]
        assert stamps == list(range(18)), codec.name


@pytest.mark.parametrize(
    "name", ["o.avi", "o.mov", "o.webm", "o.ts", "o.MOV", "o.m4v", "o.flv", "o.png", "o.y4m", "o.yuv", "o.jpg"]
)
def test_other_kinds_of_files_are_refused(here, capsys, tools, name):
    before = sorted(os.listdir())
    assert run("-o", name) == 2
    said = capsys.readouterr().err
    assert said == (
        f"fprdo: error: {name}: a bitstream is not written as {Path(name).suffix}; use .mp4 or .mkv, or another suffix, "  # noqa: E501
        "such as .bin, for a plain byte stream\n"
    )
    assert sorted(os.listdir()) == before


def test_damaged_containers(here, capsys, tools):
    assert run("-o", "o.mp4") == 0
    data = Path("o.mp4").read_bytes()
    position = data.index(b"mdat") + 2000
    spoiled = data[:position] + bytes(byte ^ 0x5A for byte in data[position : position + 60]) + data[position + 60 :]
    for name, content in (("cut.mp4", data[:200]), ("text.mkv", b"no video at all" * 20), ("spoiled.mp4", spoiled)):
        Path(name).write_bytes(content)
        capsys.readouterr()
        assert cli.main(["decode", name, "-o", "d.yuv"]) == 2
        said = capsys.readouterr().err
        assert said.startswith(f"fprdo: error: {name}: ") and len(said.splitlines()) == 1 and "/tmp" not in said
        assert not Path("d.yuv").exists()
    assert cli.main(["decode", "gone.mp4", "-o", "d.yuv"]) == 2
    assert "gone.mp4: no such bitstream" in capsys.readouterr().err


def test_containers_of_other_codecs(here, capsys):
    with av.open("other.mp4", "w") as file:
        stream = file.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for packet in [*stream.encode(av.VideoFrame(96, 64, "yuv420p")), *stream.encode(None)]:
            file.mux(packet)
    assert cli.main(["decode", "other.mp4", "-o", "d.yuv"]) == 2
    assert "other.mp4: holds mpeg4, which is not decoded here; give HEVC or AVC" in capsys.readouterr().err


# ---- reconstructions and decoded pictures ----------------------------------------------------------------------------


@pytest.mark.parametrize("encoder", list(encoders.ENCODERS))
def test_reconstructions_are_what_their_names_say(here, capsys, tools_of, encoder):
    tools_of[encoder]  # skipped here where it is missing
    words = (
        "--encoder",
        encoder,
        "--matrix",
        "bt601",
        "--range",
        "full",
        "--siting",
        "center",
        "--frame-rate",
        "30000/1001",
    )
    assert run("-o", "o.bin", "--recon", "r.yuv", *words) == 0
    assert run("-o", "o.bin", "--recon", "r.y4m", *words) == 0
    header = y4m.read_header("r.y4m")
    assert (header.fmt.siting, header.fmt.full_range, header.frame_rate) == ("center", True, RATE)
    recon = list(read_yuv("r.yuv", FMT))
    assert first_difference(y4m.read_frames("r.y4m", FMT, 3), recon) is None
    assert run("-o", "p.bin", "--recon", "r.png", "--frames", "1", *words) == 0
    assert Image.open("r.png").format == "PNG"
    for name in ("d.y4m", "d.png", "d.yuv"):
        bitstream = "p.bin" if name == "d.png" else "o.bin"
        assert cli.main(["decode", bitstream, "-o", name]) == 0, capsys.readouterr().err
    assert Path("d.y4m").read_bytes() == Path("r.y4m").read_bytes()
    assert Path("d.yuv").read_bytes() == Path("r.yuv").read_bytes()
    assert (load_picture("d.png") == load_picture("r.png")).all()


@pytest.mark.parametrize(
    "name, message",
    [
        ("r.png", "r.png: is one picture, and there are several; use .yuv or .y4m"),
        ("r.mp4", "r.mp4: unknown kind of file .mp4; use .yuv, .y4m or a picture"),
        ("r.xyz", "r.xyz: unknown kind of file .xyz"),
    ],
)
def test_reconstructions_that_are_refused(here, capsys, tools, name, message):
    before = sorted(os.listdir())
    assert run("-o", "o.bin", "--recon", name) == 2
    assert message in capsys.readouterr().err and sorted(os.listdir()) == before


@pytest.mark.parametrize("depth", [10, 12])
def test_depths_that_y4m_and_pictures_hold(here, capsys, tools, depth):
    assert run("-o", "o.bin", "--recon", "r.y4m", "--option", f"InternalBitDepth={depth}") == 0
    assert y4m.read_header("r.y4m").fmt.bit_depth == depth
    assert cli.main(["decode", "o.bin", "-o", "d.y4m"]) == 0, capsys.readouterr().err
    assert Path("d.y4m").read_bytes() == Path("r.y4m").read_bytes()


def test_odd_sizes(here, tools):
    fmt = VideoFormat(33, 17)
    write_yuv("c_33x17.yuv", clip(fmt, 2), fmt)
    for name in ("r.y4m", "r.yuv"):
        assert cli.main(["encode", "c_33x17.yuv", "-q", "32", "--plain", "-o", "o.mkv", "--recon", name]) == 0
    assert first_difference(y4m.read_frames("r.y4m", fmt, 2), read_yuv("r.yuv", fmt)) is None
    assert cli.main(["decode", "o.mkv", "-o", "d.y4m", "--size", "33x17"]) == 0
    assert Path("d.y4m").read_bytes() == Path("r.y4m").read_bytes()


# ---- devices, pipes, links -------------------------------------------------------------------------------------------


def test_bitstreams_into_devices_and_links(here, tools):
    Path("big").mkdir()
    Path("link.bin").symlink_to("big/o.bin")
    assert run("-o", "/dev/null", "--recon", "/dev/null") == 0
    assert Path("/dev/null").is_char_device() and not Path("/dev/null.log").exists()
    assert run("-o", "link.bin") == 0 and run("-o", "plain.bin") == 0
    assert Path("link.bin").is_symlink() and Path("big/o.bin").read_bytes() == Path("plain.bin").read_bytes()
    assert sorted(os.listdir()) == ["big", "c_96x64.yuv", "link.bin", "link.bin.log", "plain.bin", "plain.bin.log"]
    assert os.listdir("big") == ["o.bin"]


def test_links_to_what_is_read_are_refused(here, capsys, tools):
    Path("same.yuv").symlink_to("c_96x64.yuv")
    before = Path("c_96x64.yuv").read_bytes()
    assert run("-o", "o.bin", "--recon", "same.yuv") == 2
    assert "same.yuv: " in capsys.readouterr().err and Path("c_96x64.yuv").read_bytes() == before


# ---- logs ------------------------------------------------------------------------------------------------------------


def test_every_output_has_a_log_of_its_own(here, tools):
    for name, qp in (("o.qp22", "22"), ("o.qp37", "37"), ("clip.bin", "30"), ("clip.264", "31"), ("o", "40")):
        assert cli.main(["encode", "c_96x64.yuv", "-q", qp, "--plain", "-o", name]) == 0
    for name, qp in (("o.qp22", "22"), ("o.qp37", "37"), ("clip.bin", "30"), ("clip.264", "31"), ("o", "40")):
        command = logged_command(Path(f"{name}.log"))
        assert command[command.index("-q") + 1] == qp
    assert not Path("o.log.log").exists() and not Path("clip.log").exists()


def test_a_log_of_the_user_is_not_touched(here, capsys, tools):
    Path("o.bin.log").write_text("my notes\n")
    assert run("-o", "o.bin") == 2
    assert "o.bin.log: the encoder's log would go there, and this file is none" in capsys.readouterr().err
    assert Path("o.bin.log").read_text() == "my notes\n" and not Path("o.bin").exists()
    Path("o.bin.log").unlink()
    assert run("-o", "o.bin") == 0 and run("-o", "o.bin") == 0  # its own log may be replaced
