"""JM runs on small clips, odd sizes included; both stock decoders must give the encoder's reconstruction."""

import json
import math
import re
import subprocess
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import pytest
from clips import logged_command, make_job

from fprdo_bridge import cli, encoders
from fprdo_bridge.bitstream.libav import decode_libav
from fprdo_bridge.bitstream.nal_units import Standard
from fprdo_bridge.bitstream.probe import Probe, probe
from fprdo_bridge.encoders import running
from fprdo_bridge.encoders.decoding import decode_own
from fprdo_bridge.encoders.jm import JM
from fprdo_bridge.encoders.job import EncodeJob, Rate
from fprdo_bridge.encoders.running import EncodeResult, encode
from fprdo_bridge.encoders.structures import KINDS
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.video.formats import VideoFormat, coded_format, first_difference
from fprdo_bridge.video.raw import read_yuv
from fprdo_bridge.importance.idse_file import ones, write_idse
from fprdo_bridge.ctc.metrics import sequence_psnr


def left_over(job: EncodeJob) -> list[str]:
    """Everything beside the outputs, which share a folder of their own."""
    folder = job.bitstream.parent
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


# ---- encode and decode -------------------------------------------------------------------------------------------

CLIPS = [
    (97, 65, "420", 8, "intra", 2),
    (136, 66, "420", 8, "randomaccess", 3),
    (96, 65, "420", 10, "lowdelay", 2),
    (97, 65, "400", 8, "lowdelay", 2),
    (32, 65, "400", 10, "intra", 2),
    (97, 65, "422", 8, "intra", 1),
    (64, 34, "422", 10, "randomaccess", 3),
    (97, 65, "444", 8, "lowdelay", 2),
    (32, 17, "420", 12, "intra", 1),
    (32, 17, "420", 9, "intra", 1),
    (32, 17, "444", 14, "intra", 1),
    (16, 16, "420", 8, "intra", 1),
    (17, 19, "420", 8, "intra", 2),
]


@pytest.mark.parametrize("width, height, chroma, bit_depth, kind, count", CLIPS)
def test_both_decoders_give_the_reconstruction(tmp_path, jm_tools, width, height, chroma, bit_depth, kind, count):
    fmt = VideoFormat(width, height, chroma, bit_depth)
    job = make_job(tmp_path, fmt, jm_tools, kind=kind, frames=count, codec=JM)
    coded = []
    result = encode(JM, job, jm_tools, stock=True, progress=coded.append)
    assert left_over(job) == ["clip.bin", "clip.bin.log", "recon.yuv"]
    assert tuple(coded) == result.log.pictures and len(coded) == count

    recon = list(read_yuv(job.recon, fmt))
    assert decode_own(JM, jm_tools, job.bitstream, tmp_path / "decoded.yuv", fmt).pictures == count
    assert first_difference(recon, read_yuv(tmp_path / "decoded.yuv", fmt)) is None
    assert first_difference(recon, decode_libav(job.bitstream, fmt)) is None

    psnr = sequence_psnr(zip(read_yuv(job.source, fmt), recon), fmt)
    if coded_format(fmt) == fmt:
        peak = 20 * math.log10((2**bit_depth - 1) / (255 << bit_depth - 8))  # JM's is the largest sample
        assert result.log.psnr == pytest.approx([value + peak for value in psnr], abs=2e-3)  # it prints three decimals
    else:  # JM counts the padding
        assert len(result.log.psnr) == len(psnr)
    assert all(value > 25 for value in psnr)


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
    assert log.bits == int(total[1]) == 8 * log.bytes_written == 8 * job.bitstream.stat().st_size
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


def test_log_of_a_run_that_was_cut(encoded):
    text = encoded[0].log.read_text()
    last = [match.start() for match in re.finditer(r"^\d{5}\(", text, re.MULTILINE)][-1]
    cut = JM.parse_log(text[: last + 30])
    assert len(cut.pictures) == 9 and cut.bytes_written is None and cut.seconds is None
    assert JM.parse_log("").pictures == ()


def test_log_of_identical_planes():
    line = "00000(IDR)   35456 184  0 32 1128   0.000  32.385   0.000       336       0    FRM   153 1  0  0  0   3\n"
    assert JM.parse_picture(line, 3).psnr == (float("inf"), 32.385, float("inf"))
    assert JM.parse_picture(line, 1).psnr == (float("inf"),)
    assert JM.parse_picture(line, 3).bits == 35456 and JM.parse_picture("00000(NVB)     184 \n", 3) is None


def test_command_repeats_the_encode(encoded, tmp_path):
    job, result = encoded
    assert logged_command(job.log) == list(result.command)
    again = [argument.replace(str(job.bitstream.parent), str(tmp_path)) for argument in result.command]
    subprocess.run(again, check=True, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert (tmp_path / "recon.yuv").read_bytes() == job.recon.read_bytes()
    assert (tmp_path / "clip.bin").read_bytes() == job.bitstream.read_bytes()


def test_colours_are_signalled(encoded):
    with av.open(str(encoded[0].bitstream), format="h264") as container:
        picture = next(container.decode(video=0))
    # H.273 code points: BT.601 with 525 lines is 6 in all three tables; libav's range 2 is full.
    assert (picture.colorspace, picture.color_primaries, picture.color_trc, picture.color_range) == (6, 6, 6, 2)
    said = probe(encoded[0].bitstream)
    assert said == Probe(
        Standard.AVC, VideoFormat(96, 64, matrix="bt601", full_range=True, siting="center"), Fraction(25, 2)
    )


def test_names_that_jm_cannot_take(tmp_path, jm_tools):
    """Blanks, equals signs, and more than the 255 characters that its file names hold."""
    folder = tmp_path / "a = b" / ("long" * 50) / ("longer" * 20)
    folder.mkdir(parents=True)
    fmt = VideoFormat(40, 24)
    write_idse(folder / "my = weights.idse", [ones(fmt)], fmt, frame_count=1)
    job = make_job(folder, fmt, jm_tools, codec=JM, weights=folder / "my = weights.idse")
    config = folder / "my config.cfg"
    config.write_bytes(job.config[0].read_bytes())
    job = replace(job, config=(config,))
    result = encode(JM, job, jm_tools)
    assert result.log.idse.pictures == 1 and left_over(job) == ["clip.bin", "clip.bin.log", "recon.yuv"]
    assert decode_own(JM, jm_tools, job.bitstream, folder / "decoded.yuv", fmt).pictures == 1
    assert first_difference(read_yuv(job.recon, fmt), read_yuv(folder / "decoded.yuv", fmt)) is None


# ---- weights -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fmt", [VideoFormat(97, 65), VideoFormat(32, 50, "422", 10)])
def test_weights_of_the_coded_size(tmp_path, jm_tools, fmt):
    write_idse(tmp_path / "ones.idse", [ones(coded_format(fmt))], coded_format(fmt), frame_count=1)
    job = make_job(tmp_path, fmt, jm_tools, codec=JM, weights=tmp_path / "ones.idse")
    result = encode(JM, job, jm_tools)
    assert result.log.idse.pictures == 1
    assert result.log.idse.weighted > 0 and result.log.idse.unweighted == 0
    assert first_difference(read_yuv(job.recon, fmt), decode_libav(job.bitstream, fmt)) is None


def test_the_encoders_own_message_names_the_users_file(tmp_path, jm_tools):
    write_idse(tmp_path / "w.idse", [ones(VideoFormat(32, 32))], VideoFormat(32, 32), frame_count=1)
    job = make_job(tmp_path, VideoFormat(64, 64), jm_tools, codec=JM, weights=tmp_path / "w.idse")
    with pytest.raises(FprdoError) as error:
        encode(JM, job, jm_tools)
    assert str(error.value).startswith(f"{tmp_path / 'w.idse'}: weights for 32x32, the pictures are 64x64")
    assert "\n" not in str(error.value) and left_over(job) == []


def test_weights_need_the_patched_encoder(tmp_path, jm_tools):
    fmt = VideoFormat(64, 64)
    write_idse(tmp_path / "w.idse", [ones(fmt)], fmt, frame_count=1)
    job = make_job(tmp_path, fmt, jm_tools, codec=JM, weights=tmp_path / "w.idse")
    with pytest.raises(FprdoError, match="stock encoder takes no weights"):
        encode(JM, job, jm_tools, stock=True)
    with pytest.raises(FprdoError, match="IDSEWeightFile: this JM has no parameter .* run python3 build.py jm"):
        encode(JM, job, replace(jm_tools, encoder=jm_tools.stock_encoder))
    assert left_over(job) == []


# ---- bad input -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(source=Path("gone.yuv")), "gone.yuv: cannot be read"),
        (dict(frames=3), "has 2 frames, 3 asked for"),
        (dict(rate=Rate("qp", 52)), "QP 52: use 0 to 51"),
        (dict(config=()), "no encoder configuration"),
        (dict(config=(Path("gone.cfg"),)), "gone.cfg: no such file"),
        (dict(weights=Path("gone.idse")), "gone.idse: no such file"),
        (dict(options={"-p x": "1"}), "encoder option '-p x'"),
        (dict(options={"SEIMessageText": "a b"}), "SEIMessageText=a b: JM's values hold no blank"),
        (dict(options={"SEIMessageText": "a=b"}), "JM's values hold no blank, quote, = or #"),
        (
            dict(options={"PicInterlace": "2"}),
            "PicInterlace=2: PicInterlace crashes JM 19.1, the stock one too; use PicInter",
        ),
        (dict(options={"rdoptimization": "3"}), "RDOptimization=3: RDOptimization crashes JM 19.1"),
        (
            dict(options={"NoSuchOption": "1"}),
            "NoSuchOption: this JM has no parameter of that name and ignores it; check",
        ),
        (dict(options={"SearchRange": "many"}), "exit status .*Expected numerical value for Parameter of SearchRange"),
        (dict(options={"LevelIDC": "77"}), "JM failed, exit status .*evel"),
        (dict(fmt=VideoFormat(64, 62)), "not a whole number"),
    ],
)
def test_bad_jobs(tmp_path, jm_tools, change, message):
    job = replace(make_job(tmp_path, VideoFormat(64, 64), jm_tools, frames=2, codec=JM), **change)
    with pytest.raises(FprdoError, match=message) as error:
        encode(JM, job, jm_tools)
    assert "\n" not in str(error.value)
    assert left_over(job) == []


def test_crashes_in_configuration_files_are_refused_too(tmp_path, jm_tools):
    job = make_job(tmp_path, VideoFormat(64, 64), jm_tools, codec=JM)
    (tmp_path / "more.cfg").write_text("PicInterlace = 1\n picinterlace = 2 # adaptive\n")
    with pytest.raises(FprdoError, match="more.cfg: PicInterlace = 2: PicInterlace crashes"):
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


def test_a_crash_is_told_with_command_status_and_log(tmp_path, jm_tools):
    script = tmp_path / "encoder"
    script.write_text("#!/bin/sh\necho 'the last words'\nkill -SEGV $$\n")
    script.chmod(0o755)
    job = make_job(tmp_path, VideoFormat(64, 64), jm_tools, codec=JM)
    with pytest.raises(FprdoError, match="JM failed, killed by SIGSEGV: the last words .command: .*QPISlice=32"):
        encode(JM, job, replace(jm_tools, encoder=script))
    assert left_over(job) == []


@pytest.mark.parametrize("last, how", [("exit 3", "exit status 3"), ("kill -KILL $$", "killed by SIGKILL")])
def test_a_failure_is_told_without_the_banner(tmp_path, monkeypatch, jm_tools, last, how):
    script = tmp_path / "encoder"
    script.write_text(f"#!/bin/sh\n'{jm_tools.encoder}' \"$@\"\n{last}\n")
    script.chmod(0o755)
    job = make_job(tmp_path, VideoFormat(64, 64), jm_tools, codec=JM)
    for room, text in ((1 << 30, ""), (1000, f"; the disk of {job.bitstream.parent} is full")):
        monkeypatch.setattr(running.os, "statvfs", lambda path: SimpleNamespace(f_bavail=room, f_frsize=1))
        with pytest.raises(FprdoError) as error:
            encode(JM, job, replace(jm_tools, encoder=script))
        reason = re.fullmatch(rf"JM failed, {how}: (.*) .command: .*", str(error.value))[1]
        assert reason.endswith(text) and "Off" not in reason and "Parsing" not in reason


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
    with pytest.raises(FprdoError, match="bad.bin: JM's decoder (finds it damaged|cannot read it)"):
        decode_own(JM, jm_tools, path, tmp_path / "decoded.yuv", job.fmt)
    assert [entry.name for entry in tmp_path.iterdir()] == ["bad.bin"]


@pytest.mark.parametrize("change", [dict(width=94), dict(chroma="422"), dict(bit_depth=10)])
def test_a_bitstream_of_another_format(tmp_path, jm_tools, encoded, change):
    job = encoded[0]
    other = replace(job.fmt, **change)
    with pytest.raises(FprdoError, match="check size, chroma format and bit depth"):
        decode_own(JM, jm_tools, job.bitstream, tmp_path / "decoded.yuv", other)
    with pytest.raises(FprdoError, match="check size, chroma format and bit depth"):
        list(decode_libav(job.bitstream, other))


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


# ---- tools -----------------------------------------------------------------------------------------------------------


def test_registry(jm_tools):
    assert encoders.get("jm") is JM
    with pytest.raises(FprdoError, match="'still': use one of intra, lowdelay, randomaccess"):
        JM.config_for("still", VideoFormat(64, 64), jm_tools)
    for kind in KINDS:
        assert JM.config_for(kind, VideoFormat(64, 64), jm_tools).is_file()


def test_which_encoders_are_built(tmp_path, monkeypatch, jm_tools):
    entry = {name: str(value) for name, value in vars(jm_tools).items()}
    monkeypatch.setenv("FPRDO_TOOLS", str(tmp_path / "tools.json"))
    for content, expected in (({}, []), ({"jm": entry}, ["jm"]), ({"jm": entry | {"encoder": "/gone"}}, [])):
        (tmp_path / "tools.json").write_text(json.dumps(content))
        assert [codec.name for codec in encoders.built()] == expected
