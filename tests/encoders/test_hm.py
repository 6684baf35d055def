"""HM: its log, its configurations and levels, what it says, and damage that decoders notice."""

import re
import subprocess
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from clips import make_job

from fprdo_bridge.bitstream.libav import decode_libav
from fprdo_bridge.bitstream.nal_units import Standard
from fprdo_bridge.bitstream.probe import probe
from fprdo_bridge.bitstream.signalling import signal_format
from fprdo_bridge.encoders.decoding import decode_own
from fprdo_bridge.encoders.hm import HM
from fprdo_bridge.encoders.hm.log import parse_decoder_log
from fprdo_bridge.encoders.job import EncodeJob, IdseOptions, Rate
from fprdo_bridge.encoders.log import IdseSummary
from fprdo_bridge.encoders.running import EncodeResult, encode
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.video.formats import VideoFormat, first_difference
from fprdo_bridge.video.raw import read_yuv


@pytest.fixture(scope="module")
def encoded(tmp_path_factory, tools) -> tuple[EncodeJob, EncodeResult]:
    """Three random-access pictures, full range BT.601 with chroma in the middle, at 12.5 Hz."""
    fmt = VideoFormat(96, 64, matrix="bt601", full_range=True, siting="center")
    job = make_job(
        tmp_path_factory.mktemp("encoded"), fmt, tools, kind="randomaccess", frames=3, frame_rate=Fraction(25, 2)
    )
    return job, encode(HM, job, tools, stock=True)


def test_log_says_what_hm_says(encoded):
    job, result = encoded
    text = job.log.read_text()
    log = HM.parse_log(text)
    assert log == result.log
    # HM's own average line: frames, slice type "a", kbit/s at whole frame rates, PSNR of Y, U and V.
    average = re.search(r"Y-PSNR.*\n\s+(\d+)\s+a\s+(\S+)\s+(\S+)\s+(\S+)\s+(\S+)", text)
    assert int(average[1]) == len(log.pictures) == 3
    assert log.bits / 3 * 12 / 1000 == pytest.approx(float(average[2]), abs=1e-3)
    assert log.psnr == pytest.approx([float(average[index]) for index in (3, 4, 5)], abs=1e-4)
    assert sorted(picture.poc for picture in log.pictures) == [0, 1, 2]
    assert [picture.slice_type for picture in log.pictures] == ["I", "B", "B"]
    assert [picture.qp for picture in log.pictures][0] == 32 - 3  # IntraQPOffset of the configuration
    assert all(len(digest) == 32 for picture in log.pictures for digest in picture.md5)
    assert log.seconds > 0 and log.bytes_written * 8 > log.bits
    assert log.idse is None
    assert result.kbps == pytest.approx(log.bits / 3 * 12.5 / 1000)


def test_signalling_colours_changes_parameter_sets_only(encoded, tools, tmp_path):
    job, result = encoded
    bare = [argument.replace(str(job.bitstream.parent), str(tmp_path)) for argument in result.command]
    subprocess.run(bare, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def units(path: Path) -> list[bytes]:
        return re.split(rb"\x00\x00\x00?\x01", path.read_bytes())[1:]

    before, after = units(tmp_path / "clip.bin"), units(job.bitstream)
    assert len(before) == len(after)
    changed = {old[0] >> 1 for old, new in zip(before, after) if old != new}
    assert changed == {32, 33}  # video and sequence parameter sets
    signal_format(tmp_path / "clip.bin", Standard.HEVC, job.fmt, job.frame_rate)
    assert (tmp_path / "clip.bin").read_bytes() == job.bitstream.read_bytes()


@pytest.mark.parametrize(
    "data, message",
    [
        (b"\0\0\1", "no sequence parameter set"),
        (b"text" * 9, "no HEVC byte stream"),
        (b"\0\0\1\x42\x01\x01\x04", "cannot be read"),
    ],
)
def test_what_has_no_parameter_set_is_refused(tmp_path, data, message):
    (tmp_path / "a.bin").write_bytes(data)
    with pytest.raises(FprdoError, match=message):
        signal_format(tmp_path / "a.bin", Standard.HEVC, VideoFormat(8, 8), Fraction(30))
    assert (tmp_path / "a.bin").read_bytes() == data


def test_options_override_the_configuration(tmp_path, tools):
    job = make_job(tmp_path, VideoFormat(64, 64), tools, options={"SEIDecodedPictureHash": "0", "SAO": "0"})
    result = encode(HM, job, tools, stock=True)
    assert result.log.pictures[0].md5 == ()
    assert " SAO:0 " in job.log.read_text()
    report = decode_own(HM, tools, job.bitstream, tmp_path / "decoded.yuv", job.fmt)
    assert (report.pictures, report.verified) == (1, 0)
    assert first_difference(read_yuv(job.recon, job.fmt), read_yuv(tmp_path / "decoded.yuv", job.fmt)) is None


# ---- weights -----------------------------------------------------------------------------------------------------


SUMMARY = (
    "IDSE summary: pictures 2 weighted 123456 masked 7 unweighted 0 rdoq 4567 "
    "qp_groups 96 qp_offset_mean -0.12 qp_offset_min -3 qp_offset_max 4"
)


def test_idse_summary():
    assert HM.parse_log(f"x\n{SUMMARY}\n").idse == IdseSummary(2, 123456, 7, 0, 4567, 96, -0.12, -3, 4)
    for broken in (SUMMARY.replace("96", "many"), SUMMARY.replace("qp_offset_max 4", "")):
        with pytest.raises(FprdoError, match="missing or bad value"):
            HM.parse_log(broken)


def test_idse_defaults_are_the_encoders():
    from fprdo_bridge.native._idse import ffi, lib

    settings = ffi.new("idse_settings *")
    lib.idse_settings_default(settings)
    options = IdseOptions()
    names = ("tau", "power", "clip", "rdoq", "qp_map", "qp_map_clip", "sao", "decisions")
    assert [getattr(options, name) for name in names] == [getattr(settings, name) for name in names]


@pytest.mark.parametrize(
    "values, message",
    [
        ({"tau": -0.1}, "IDSETau -0.1: use 0 to 1000"),
        ({"tau": float("nan")}, "IDSETau nan"),
        ({"power": 0}, "IDSEPower 0: use above 0"),
        ({"power": 1.1}, "IDSEPower 1.1"),
        ({"clip": 0.5}, "IDSEClip 0.5"),
        ({"clip": 256}, "IDSEClip 256"),
        ({"rdoq": 3}, "IDSERdoq 3"),
        ({"qp_map": 2}, "IDSEQpMap 2"),
        ({"qp_map_clip": 13}, "IDSEQpMapClip 13"),
        ({"qp_map_clip": 2.5}, "IDSEQpMapClip 2.5"),
        ({"sao": -1}, "IDSESao -1"),
        ({"decisions": 32}, "IDSEDecisions 32"),
    ],
)
def test_idse_options_out_of_range(values, message):
    with pytest.raises(FprdoError, match=message):
        IdseOptions(**values)


# ---- bad input -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options, message",
    [
        ({"NoSuchOption": "1"}, "exit status 1: .*Unknown option `NoSuchOption'"),
        ({"SearchRange": "many"}, 'Error parsing option "SearchRange'),
        ({"Profile": "main", "InternalBitDepth": "10"}, "exit status 1: .*bitDepthConstraint"),
    ],
)
def test_what_hm_refuses_is_told(tmp_path, tools, options, message):
    job = make_job(tmp_path, VideoFormat(64, 64), tools, options=options)
    with pytest.raises(FprdoError, match=message) as error:
        encode(HM, job, tools)
    assert "\n" not in str(error.value)


# ---- damaged bitstreams ----------------------------------------------------------------------------------------------


def damage(data: bytes, kind: str) -> bytes:
    if kind == "hash":  # one bit of the first MD5: payload type, payload size and hash type come before it
        position = data.index(b"\0\0\1\x50") + 3 + 2 + 3 + 4
    elif kind == "slice":
        position = len(data) // 2
    elif kind == "cut":
        return data[: len(data) // 2]
    else:
        return b"no bitstream at all " * 20
    return data[:position] + bytes([data[position] ^ 0x10]) + data[position + 1 :]


@pytest.mark.parametrize("kind", ["hash", "slice", "cut", "text"])
def test_damage_is_noticed_by_both_decoders(tmp_path, tools, encoded, kind):
    job = encoded[0]
    path = tmp_path / "bad.bin"
    path.write_bytes(damage(job.bitstream.read_bytes(), kind))
    said = (
        r"bad\.bin: HM's decoder finds it damaged or cut short \(the hash of picture 0 is"
        if kind == "hash"
        else r"bad\.bin: "
    )
    with pytest.raises(FprdoError, match=said):
        decode_own(HM, tools, path, tmp_path / "decoded.yuv", job.fmt)
    if kind == "cut":  # inside a picture, whose MD5 is gone; the docstring of decode_libav says what to do
        assert first_difference(read_yuv(job.recon, job.fmt), decode_libav(path, job.fmt))
    else:
        with pytest.raises(FprdoError, match=r"bad\.bin: (libavcodec cannot decode it|no HEVC or AVC)"):
            list(decode_libav(path, job.fmt))
    assert [entry.name for entry in tmp_path.iterdir()] == ["bad.bin"]


def test_libav_names_a_pixel_format_that_it_cannot_give(tmp_path):
    """libavcodec's own encoder with R'G'B' planes makes a bitstream of a format that VideoFormat does not have."""
    path = tmp_path / "rgb.bin"
    with av.open(str(path), "w", format="hevc") as container:
        stream = container.add_stream("libx265", rate=25, options={"x265-params": "log-level=none"})
        stream.width, stream.height, stream.pix_fmt = 64, 64, "gbrp"
        picture = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), "gbrp")
        for packet in [*stream.encode(picture), *stream.encode(None)]:
            container.mux(packet)
    with pytest.raises(FprdoError, match="pixel format gbrp"):
        list(decode_libav(path, VideoFormat(64, 64, "444")))
    with pytest.raises(FprdoError, match="rgb.bin: holds R'G'B' planes, which is not supported here; convert it"):
        probe(path)


def test_decoder_log_tells_mismatch_from_missing_hash():
    line = "POC    {} TId: 0 ( b-SLICE, QP 32 ) [DT  0.001] [L0 0 ] [L1 1 ] [{}] \n"
    pictures = parse_decoder_log(
        line.format(3, "MD5:00ff,(OK)")
        + line.format(1, "MD5:00ff,a1,b2,(***ERROR***)")
        + line.format(2, ":,(unk)")
        + line.format(4, "CRC:12ab,(OK)")
    )
    assert [(p.poc, p.md5, p.verified) for p in pictures] == [
        (3, ("00ff",), True),
        (1, ("00ff", "a1", "b2"), False),
        (2, (), None),
        (4, (), True),
    ]


# ---- tools -----------------------------------------------------------------------------------------------------------


def test_configuration_of_a_format(tools):
    names = {
        (chroma, depth): HM.config_for("intra", VideoFormat(64, 64, chroma, depth), tools).name
        for chroma in ("420", "444")
        for depth in (8, 10, 12)
    }
    assert names == {
        ("420", 8): "encoder_intra_main.cfg",
        ("420", 10): "encoder_intra_main10.cfg",
        ("420", 12): "encoder_intra_main_rext.cfg",
    } | {("444", depth): "encoder_intra_main_rext.cfg" for depth in (8, 10, 12)}


@pytest.mark.parametrize(
    "width, height, rate, level",
    [
        (176, 144, 15, "1"),
        (352, 288, 30, "2"),
        (416, 240, 60, "2.1"),
        (1280, 720, 60, "4"),
        (1920, 1080, 30, "4"),
        (1920, 1080, 60, "4.1"),
        (3840, 2160, Fraction(60000, 1001), "5.1"),
        (7680, 4320, 120, "6.2"),
        (550, 64, 1, "2"),
        (16384, 8192, 1, "none"),
    ],
)
def test_level_of_a_sequence(tmp_path, width, height, rate, level):
    """Limits of H.265 annex A: MaxLumaPs, MaxLumaSr, and sides of up to sqrt(8 MaxLumaPs), 543 samples at level 1."""
    job = EncodeJob(
        tmp_path / "a.yuv", VideoFormat(width, height), 1, Rate("qp", 32), tmp_path / "a.bin", (), frame_rate=rate
    )
    assert f"--Level={level}" in HM.command(job, Path("encoder"))
