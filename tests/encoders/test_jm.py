"""JM: its log, its parameters and levels, what it crashes on or refuses, and damage that its decoder notices."""

import re
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from clips import make_job

from fprdo_bridge import cli
from fprdo_bridge.bitstream.probe import probe
from fprdo_bridge.encoders.decoding import decode_own
from fprdo_bridge.encoders.jm import JM
from fprdo_bridge.encoders.job import EncodeJob, Rate
from fprdo_bridge.encoders.running import EncodeResult, encode
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.video.formats import VideoFormat


@pytest.fixture(scope="module")
def encoded(tmp_path_factory, jm_tools) -> tuple[EncodeJob, EncodeResult]:
    """Ten pictures of two groups, full range BT.601 with chroma in the middle, at 12.5 Hz."""
    fmt = VideoFormat(96, 64, matrix="bt601", full_range=True, siting="center")
    job = make_job(
        tmp_path_factory.mktemp("encoded"),
        fmt,
        jm_tools,
        kind="randomaccess",
        frames=10,
        codec=JM,
        frame_rate=Fraction(25, 2),
    )
    return job, encode(JM, job, jm_tools, stock=True)


def test_log_says_what_jm_says(encoded):
    job, result = encoded
    text = job.log.read_text()
    log = JM.parse_log(text)
    assert log == result.log
    # JM's own totals: "Total bits : 14472 (I 8000, P 2000, B 4000, NVB 232)"
    total = re.search(r"Total bits +: (\d+) \(I (\d+), P (\d+), B (\d+),? NVB (\d+)\)", text)
    assert log.bits == int(total[1]) == 8 * log.bytes_written
    assert 0 < 8 * job.bitstream.stat().st_size - log.bits < 200  # rate and aspect, which are put in afterwards
    for index, kind in enumerate("IPB"):
        bits = sum(picture.bits for picture in log.pictures if picture.slice_type == kind)
        assert bits == int(total[2 + index]) + (int(total[5]) if kind == "I" else 0)  # parameter sets: with the first
    average = [float(re.search(rf"^ {plane} {{ PSNR .*{{ +(\S+),", text, re.MULTILINE)[1]) for plane in "YUV"]
    assert log.psnr == pytest.approx(average, abs=2e-3)
    assert sorted(picture.poc for picture in log.pictures) == list(range(10))
    assert [picture.poc for picture in log.pictures][:3] == [0, 8, 4]
    assert [picture.slice_type for picture in log.pictures][:3] == ["I", "P", "B"]
    assert log.pictures[0].qp == job.rate.value < log.pictures[-1].qp
    assert log.seconds > 0 and log.idse is None
    assert result.kbps == pytest.approx(log.bits / 10 * 12.5 / 1000)


def test_log_of_identical_planes():
    line = "00000(IDR)   35456 184  0 32 1128   0.000  32.385   0.000       336       0    FRM   153 1  0  0  0   3\n"
    assert JM.parse_picture(line, 3).psnr == (float("inf"), 32.385, float("inf"))
    assert JM.parse_picture(line, 1).psnr == (float("inf"),)
    assert JM.parse_picture(line, 3).bits == 35456 and JM.parse_picture("00000(NVB)     184 \n", 3) is None


# ---- bad input -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(options={"SEIMessageText": "a b"}), "SEIMessageText=a b: JM's values hold no blank"),
        (dict(options={"SEIMessageText": "a=b"}), "JM's values hold no blank, quote, = or #"),
        (
            dict(options={"PicInterlace": "2"}),
            "PicInterlace=2 crashes JM 19.1, the stock one too; use PicInter",
        ),
        (dict(options={"rdoptimization": "3"}), "RDOptimization=3 crashes JM 19.1"),
        (
            dict(options={"NoSuchOption": "1"}),
            "NoSuchOption: this JM has no parameter of that name and ignores it; check",
        ),
        (dict(options={"SearchRange": "many"}), "exit status .*Expected numerical value for Parameter of SearchRange"),
        (dict(options={"LevelIDC": "77"}), "JM failed, exit status .*evel"),
    ],
)
def test_what_jm_refuses_is_told(tmp_path, jm_tools, change, message):
    job = replace(make_job(tmp_path, VideoFormat(64, 64), jm_tools, frames=2, codec=JM), **change)
    with pytest.raises(FprdoError, match=message) as error:
        encode(JM, job, jm_tools)
    assert "\n" not in str(error.value)


def test_crashes_in_configuration_files_are_refused_too(tmp_path, jm_tools):
    job = make_job(tmp_path, VideoFormat(64, 64), jm_tools, codec=JM)
    (tmp_path / "more.cfg").write_text("PicInterlace = 1\n picinterlace = 2 # adaptive\n")
    with pytest.raises(FprdoError, match="more.cfg: PicInterlace=2 crashes"):
        encode(JM, replace(job, config=(*job.config, tmp_path / "more.cfg")), jm_tools)
    encode(JM, replace(job, config=(*job.config, tmp_path / "more.cfg"), options={"PicInterlace": "0"}), jm_tools)


def test_pictures_that_jm_does_not_code(tmp_path, jm_tools):
    for fmt, message in (
        (VideoFormat(15, 40), "from 16x16 on, not 15x40"),
        (VideoFormat(32, 32, "444", 16), "up to 14 bits, not 16"),
        (VideoFormat(40, 32, "420", 10), "misreads pictures of more than 8 bits whose width is no"),
    ):
        job = make_job(tmp_path, fmt, jm_tools, codec=JM)
        with pytest.raises(FprdoError, match=message):
            encode(JM, job, jm_tools)


@pytest.mark.parametrize(
    "width, height, rate, interlaced, level",
    [
        (176, 144, 15, False, 10),
        (352, 288, 15, False, 12),
        (352, 288, 30, False, 13),
        (352, 288, 30, True, 21),
        (720, 576, 25, False, 30),
        (512, 512, 30, False, 30),
        (1280, 720, 30, False, 31),
        (1920, 1080, 30, False, 40),
        (1920, 1080, 60, False, 42),
        (3840, 2160, Fraction(60000, 1001), False, 52),
        (1024, 16, 15, False, 21),
    ],
)
def test_level_of_a_sequence(tmp_path, width, height, rate, interlaced, level):
    """H.264 table A-1: macroblocks a second, macroblocks of a picture, four of them in the buffer, sides up to
    sqrt(8 MaxFS) macroblocks."""
    job = EncodeJob(
        tmp_path / "a.yuv",
        VideoFormat(width, height),
        1,
        Rate("qp", 32),
        tmp_path / "a.bin",
        (),
        frame_rate=rate,
        options={"MbInterlace": "2"} if interlaced else {},
    )
    assert f"LevelIDC={level}" in JM.command(job, Path("encoder"))
    with pytest.raises(FprdoError, match="above level 4.1 of AVC"):
        JM.command(replace(job, fmt=VideoFormat(3840, 2160), options={"PicInterlace": "1"}), Path("encoder"))


# ---- bitstreams ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"no bitstream at all " * 20, None])
def test_damage_that_jm_notices(tmp_path, jm_tools, encoded, data):
    job = encoded[0]
    path = tmp_path / "bad.bin"
    good = bytearray(job.bitstream.read_bytes())
    for position in range(200, len(good), 97):
        good[position] ^= 0x35
    path.write_bytes(data or good)
    with pytest.raises(FprdoError, match="bad.bin: (JM's decoder (finds it damaged|cannot read it)|holds no picture)"):
        decode_own(JM, jm_tools, path, tmp_path / "decoded.yuv", job.fmt)
    assert [entry.name for entry in tmp_path.iterdir()] == ["bad.bin"]


@pytest.mark.parametrize("chroma", ["400", "422", "444"])
def test_command_line_reads_the_chroma_format(tmp_path, jm_tools, chroma):
    """libavcodec, which is asked for the format, passes 4:0:0 off as 4:2:0."""
    fmt = VideoFormat(64, 34, chroma)
    job = make_job(tmp_path, fmt, jm_tools, frames=2, codec=JM)
    encode(JM, job, jm_tools, stock=True)
    assert probe(job.bitstream).fmt == fmt
    for decoder in ("jm", "libavcodec"):
        assert cli.main(["decode", str(job.bitstream), "-o", str(tmp_path / "a.yuv"), "--decoder", decoder]) == 0
        assert (tmp_path / "a.yuv").read_bytes() == job.recon.read_bytes()


def test_command_line_decodes_avc_with_jm(tmp_path, encoded, capsys):
    job = encoded[0]
    for decoder in ([], ["--decoder", "libavcodec"]):
        assert cli.main(["decode", str(job.bitstream), "-o", str(tmp_path / "a.yuv"), *decoder]) == 0
        assert (tmp_path / "a.yuv").read_bytes() == job.recon.read_bytes()
    assert cli.main(["decode", str(job.bitstream), "-o", str(tmp_path / "a.yuv"), "--decoder", "hm"]) == 2
    assert "fprdo: error: " in capsys.readouterr().err
