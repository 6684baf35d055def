"""HM runs on small clips, odd sizes included; both stock decoders must give the encoder's reconstruction."""

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from clips import logged_command, make_job
from limits import file_size_limit

from fprdo_bridge import encoders
from fprdo_bridge.bitstream.libav import decode_libav, supports
from fprdo_bridge.bitstream.nal_units import Standard
from fprdo_bridge.bitstream.signalling import signal_format
from fprdo_bridge.encoders.decoding import decode_own
from fprdo_bridge.encoders.hm import HM
from fprdo_bridge.encoders.hm.log import parse_decoder_log
from fprdo_bridge.encoders.job import EncodeJob, IdseOptions, Rate
from fprdo_bridge.encoders.log import IdseSummary
from fprdo_bridge.encoders.running import EncodeResult, encode
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
    (264, 130, "420", 8, "randomaccess", 3),
    (97, 65, "420", 10, "lowdelay", 2),
    (264, 130, "420", 10, "intra", 1),
    (97, 65, "400", 8, "lowdelay", 2),
    (33, 129, "400", 10, "intra", 2),
    (97, 65, "422", 8, "intra", 1),
    (65, 34, "422", 10, "randomaccess", 3),
    (97, 65, "444", 8, "randomaccess", 2),
    (64, 63, "444", 10, "intra", 1),
    (33, 17, "420", 12, "intra", 1),
    (33, 17, "422", 9, "intra", 1),
    (33, 17, "420", 11, "intra", 1),
    (8, 8, "420", 8, "intra", 1),
    (3, 5, "420", 8, "intra", 2),
    (1, 1, "422", 10, "intra", 1),
]


@pytest.mark.parametrize("width, height, chroma, bit_depth, kind, count", CLIPS)
def test_both_decoders_give_the_reconstruction(tmp_path, tools, width, height, chroma, bit_depth, kind, count):
    fmt = VideoFormat(width, height, chroma, bit_depth)
    job = make_job(tmp_path, fmt, tools, kind=kind, frames=count)
    coded = []
    result = encode(HM, job, tools, stock=True, progress=coded.append)
    assert left_over(job) == ["clip.bin", "clip.bin.log", "recon.yuv"]
    assert tuple(coded) == result.log.pictures and len(coded) == count

    recon = list(read_yuv(job.recon, fmt))
    report = decode_own(HM, tools, job.bitstream, tmp_path / "decoded.yuv", fmt)
    assert first_difference(recon, read_yuv(tmp_path / "decoded.yuv", fmt)) is None
    assert report.verified == report.pictures == count
    assert {p.poc: p.md5 for p in report.details} == {p.poc: p.md5 for p in result.log.pictures}
    if bit_depth == 11:
        assert not supports(fmt, Standard.HEVC)
        with pytest.raises(FprdoError, match="bits, not 11; use the encoder's own decoder"):
            decode_libav(job.bitstream, fmt)
    else:
        assert first_difference(recon, decode_libav(job.bitstream, fmt)) is None

    psnr = sequence_psnr(zip(read_yuv(job.source, fmt), recon), fmt)
    if coded_format(fmt) == fmt:
        assert result.log.psnr == pytest.approx(psnr, abs=1e-4)  # HM prints four decimals
    else:  # HM counts the padding
        assert len(result.log.psnr) == len(psnr)
    assert all(value > 25 for value in psnr)


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


def test_log_of_a_run_that_was_cut(encoded):
    text = encoded[0].log.read_text()
    last = [match.start() for match in re.finditer("^POC ", text, re.MULTILINE)][-1]
    cut = HM.parse_log(text[: last + 40])
    assert len(cut.pictures) == 2 and cut.bytes_written is None and cut.seconds is None
    assert HM.parse_log("").pictures == ()


def test_command_repeats_the_encode(encoded, tmp_path):
    job, result = encoded
    assert logged_command(job.log) == list(result.command)
    again = [argument.replace(str(job.bitstream.parent), str(tmp_path)) for argument in result.command]
    subprocess.run(again, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert (tmp_path / "recon.yuv").read_bytes() == job.recon.read_bytes()


def test_colours_are_signalled(encoded):
    with av.open(str(encoded[0].bitstream), format="hevc") as container:
        picture = next(container.decode(video=0))
    # H.273 code points: BT.601 with 525 lines is 6 in all three tables; libav's range 2 is full.
    assert (picture.colorspace, picture.color_primaries, picture.color_trc, picture.color_range) == (6, 6, 6, 2)


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
    signal_format(tmp_path / "clip.bin", job.fmt, job.frame_rate)
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
        signal_format(tmp_path / "a.bin", VideoFormat(8, 8), Fraction(30))
    assert (tmp_path / "a.bin").read_bytes() == data


def test_stock_and_patched_encoder_write_the_same_without_weights(encoded, tools, tmp_path):
    job = encoded[0]
    patched = replace(job, bitstream=tmp_path / "clip.bin", recon=None)
    encode(HM, patched, tools)
    assert patched.bitstream.read_bytes() == job.bitstream.read_bytes()
    assert left_over(patched) == ["clip.bin", "clip.bin.log"]


def test_options_override_the_configuration(tmp_path, tools):
    job = make_job(tmp_path, VideoFormat(64, 64), tools, options={"SEIDecodedPictureHash": "0", "SAO": "0"})
    result = encode(HM, job, tools, stock=True)
    assert result.log.pictures[0].md5 == ()
    assert " SAO:0 " in job.log.read_text()
    report = decode_own(HM, tools, job.bitstream, tmp_path / "decoded.yuv", job.fmt)
    assert (report.pictures, report.verified) == (1, 0)
    assert first_difference(read_yuv(job.recon, job.fmt), read_yuv(tmp_path / "decoded.yuv", job.fmt)) is None


# ---- weights -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fmt", [VideoFormat(97, 65), VideoFormat(33, 50, "422", 10)])
def test_weights_of_the_coded_size(tmp_path, tools, fmt):
    write_idse(tmp_path / "ones.idse", [ones(coded_format(fmt))], coded_format(fmt), frame_count=1)
    job = make_job(tmp_path, fmt, tools, weights=tmp_path / "ones.idse")
    result = encode(HM, job, tools)
    assert result.log.idse.pictures == 1
    assert result.log.idse.weighted > 0 and result.log.idse.unweighted == 0
    decode_own(HM, tools, job.bitstream, tmp_path / "decoded.yuv", fmt)
    assert first_difference(read_yuv(job.recon, fmt), read_yuv(tmp_path / "decoded.yuv", fmt)) is None
    assert first_difference(read_yuv(job.recon, fmt), decode_libav(job.bitstream, fmt)) is None


def test_the_encoders_own_message_stands_alone(tmp_path, tools):
    fmt = VideoFormat(64, 64)
    write_idse(tmp_path / "w.idse", [ones(VideoFormat(32, 32))], VideoFormat(32, 32), frame_count=1)
    job = make_job(tmp_path, fmt, tools, weights=tmp_path / "w.idse")
    with pytest.raises(FprdoError, match=r"w\.idse.*32x32.*64x64") as error:
        encode(HM, job, tools)
    assert "IDSE: error" not in str(error.value) and "command" not in str(error.value)
    assert "\n" not in str(error.value)
    assert left_over(job) == []


def test_weights_need_the_patched_encoder(tmp_path, tools):
    fmt = VideoFormat(64, 64)
    write_idse(tmp_path / "w.idse", [ones(fmt)], fmt, frame_count=1)
    job = make_job(tmp_path, fmt, tools, weights=tmp_path / "w.idse")
    with pytest.raises(FprdoError, match="stock encoder takes no weights"):
        encode(HM, job, tools, stock=True)
    with pytest.raises(FprdoError, match="Unknown option `IDSEWeightFile'"):
        encode(HM, job, replace(tools, encoder=tools.stock_encoder))
    assert left_over(job) == []


def test_a_run_that_ignores_weights_is_an_error(tmp_path, tools):
    """An encoder that takes the options, drops them and reports nothing."""
    script = tmp_path / "encoder"
    script.write_text(
        '#!/bin/sh\nfor a; do shift; case $a in --IDSE*) ;; *) set -- "$@" "$a" ;; esac; done\n'
        f"exec '{tools.stock_encoder}' \"$@\"\n"
    )
    script.chmod(0o755)
    fmt = VideoFormat(64, 64)
    write_idse(tmp_path / "w.idse", [ones(fmt)], fmt, frame_count=1)
    job = make_job(tmp_path, fmt, tools, weights=tmp_path / "w.idse")
    with pytest.raises(FprdoError, match="did not report its use of the weights"):
        encode(HM, job, replace(tools, encoder=script))
    assert left_over(job) == []


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
    "change, message",
    [
        (dict(source=Path("gone.yuv")), "gone.yuv: cannot be read"),
        (dict(fmt=VideoFormat(64, 62)), "source.yuv: 12288 bytes are not a whole number"),
        (dict(frames=3), "has 2 frames, 3 asked for"),
        (dict(rate=Rate("qp", 52)), "QP 52: use 0 to 51"),
        (dict(rate=Rate("qp", -1)), "QP -1"),
        (dict(config=()), "no encoder configuration"),
        (dict(config=(Path("gone.cfg"),)), "gone.cfg: no such file"),
        (dict(weights=Path("gone.idse")), "gone.idse: no such file"),
        (dict(options={"-q 3": "1"}), "encoder option '-q 3'"),
        (dict(options={"NoSuchOption": "1"}), "exit status 1: .*Unknown option `NoSuchOption'"),
        (dict(options={"SearchRange": "many"}), 'Error parsing option "SearchRange'),
        (dict(options={"Profile": "main", "InternalBitDepth": "10"}), "exit status 1: .*bitDepthConstraint"),
        (dict(source=Path("/dev/zero")), "/dev/zero: is a device"),
    ],
)
def test_bad_jobs(tmp_path, tools, change, message):
    job = replace(make_job(tmp_path, VideoFormat(64, 64), tools, frames=2), **change)
    with pytest.raises(FprdoError, match=message) as error:
        encode(HM, job, tools)
    assert "\n" not in str(error.value)
    assert left_over(job) == []


def test_jobs_that_make_no_sense(tmp_path, tools):
    job = make_job(tmp_path, VideoFormat(64, 64), tools)
    for change, message in ((dict(frames=0), "0 frames"), (dict(frame_rate=0), "frame rate 0: must be")):
        with pytest.raises(FprdoError, match=message):
            replace(job, **change)
    before = job.source.read_bytes()
    with pytest.raises(FprdoError, match="source.yuv: is written and used otherwise"):
        encode(HM, replace(job, recon=job.source), tools)
    assert job.source.read_bytes() == before
    with pytest.raises(FprdoError, match="is a folder"):
        encode(HM, replace(job, bitstream=tmp_path), tools)
    with pytest.raises(FprdoError, match="up to 12 bits, not 16"):
        encode(HM, replace(job, fmt=VideoFormat(64, 64, bit_depth=16)), tools)
    with pytest.raises(FprdoError, match="cannot be written"):
        encode(HM, replace(job, bitstream=job.source / "clip.bin", recon=None), tools)
    with pytest.raises(FprdoError, match="cannot be run"):
        encode(HM, job, replace(tools, encoder=job.source))


def test_an_old_output_survives_a_failure(tmp_path, tools):
    job = make_job(tmp_path, VideoFormat(64, 64), tools)
    job.bitstream.parent.mkdir()
    job.bitstream.write_bytes(b"old")
    with pytest.raises(FprdoError):
        encode(HM, replace(job, options={"NoSuchOption": "1"}), tools)
    assert job.bitstream.read_bytes() == b"old" and left_over(job) == ["clip.bin"]


def test_a_killed_encoder_is_told_by_its_signal(tmp_path, tools):
    job = make_job(tmp_path, VideoFormat(64, 64), tools)
    with file_size_limit(1024), pytest.raises(FprdoError, match="killed by SIGXFSZ"):  # who writes more is killed
        encode(HM, job, tools)
    assert left_over(job) == []


def test_a_full_disk_is_noticed(tmp_path, tools):
    """HM does not look whether its writes succeed, and ends with status 0."""
    script = tmp_path / "encoder"
    script.write_text(f"#!/bin/sh\ntrap '' XFSZ\nexec '{tools.encoder}' \"$@\"\n")  # writes fail instead
    script.chmod(0o755)
    job = make_job(tmp_path, VideoFormat(64, 64), tools, qp=20)
    with file_size_limit(1024), pytest.raises(FprdoError, match="check that the disk has room"):
        encode(HM, job, replace(tools, encoder=script))
    assert left_over(job) == []


def test_interrupt_stops_the_encoder_and_leaves_nothing(tmp_path, tools):
    job = make_job(tmp_path, VideoFormat(97, 65), tools, frames=12, qp=4)
    pid_file = tmp_path / "pid"
    script = tmp_path / "encoder"
    script.write_text(f"#!/bin/sh\necho $$ > '{pid_file}'\nexec '{tools.encoder}' \"$@\"\n")
    script.chmod(0o755)
    program = textwrap.dedent(f"""
        import time
        from pathlib import Path
        from dataclasses import replace
        from fprdo_bridge import toolchain
        from fprdo_bridge.encoders.hm import HM
        from fprdo_bridge.encoders.job import EncodeJob, Rate
        from fprdo_bridge.encoders.running import encode
        from fprdo_bridge.video.formats import VideoFormat
        def progress(picture):
            print("picture", flush=True)
            time.sleep(60)
        tools = replace(toolchain.find("hm"), encoder=Path({str(script)!r}))
        job = EncodeJob(Path({str(job.source)!r}), {job.fmt!r}, 12, Rate("qp", 4), Path({str(job.bitstream)!r}),
                           (Path({str(job.config[0])!r}),))
        encode(HM, job, tools, progress=progress)
        """)
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(encoders.__file__).parents[2],
    )
    assert process.stdout.readline() == "picture\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert "KeyboardInterrupt" in errors
    assert left_over(job) == []
    deadline = time.monotonic() + 5
    while Path(f"/proc/{pid_file.read_text().strip()}").exists():
        assert time.monotonic() < deadline, "the encoder is still running"
        time.sleep(0.05)


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


@pytest.mark.parametrize("change", [dict(width=94), dict(chroma="422"), dict(bit_depth=10), dict(chroma="400")])
def test_a_bitstream_of_another_format(tmp_path, tools, encoded, change):
    job = encoded[0]
    other = replace(job.fmt, **change)
    with pytest.raises(FprdoError, match="check size, chroma format and bit depth"):
        decode_own(HM, tools, job.bitstream, tmp_path / "decoded.yuv", other)
    with pytest.raises(FprdoError, match="check size, chroma format and bit depth"):
        list(decode_libav(job.bitstream, other))


def test_missing_and_empty_bitstreams(tmp_path, tools):
    fmt = VideoFormat(64, 64)
    (tmp_path / "empty.bin").touch()
    for name, message in (("gone.bin", "no such bitstream"), ("empty.bin", "is empty")):
        with pytest.raises(FprdoError, match=f"{name}: {message}"):
            decode_own(HM, tools, tmp_path / name, tmp_path / "decoded.yuv", fmt)
        with pytest.raises(FprdoError, match=f"{name}: {message}"):
            decode_libav(tmp_path / name, fmt)


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


def test_registry(tools):
    assert encoders.get("hm") is HM
    with pytest.raises(FprdoError, match="encoder 'x265': use one of hm"):
        encoders.get("x265")
    with pytest.raises(FprdoError, match="'still': use one of intra, lowdelay, randomaccess"):
        HM.config_for("still", VideoFormat(64, 64), tools)
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


def test_toolchain_errors(tmp_path, monkeypatch, tools):
    listing = tmp_path / "tools.json"
    monkeypatch.setenv("FPRDO_TOOLS", str(listing))
    with pytest.raises(FprdoError, match=r"HM is not built \(looked for .*tools.json\): run python3 build.py hm"):
        HM.tools()
    entry = {
        field: os.path.relpath(value, tmp_path) if isinstance(value, Path) else value
        for field, value in vars(tools).items()
    }
    for text, message in (
        ("{", "not a readable list"),
        ("[]", "no entry 'hm'"),
        ('{"hm": {}}', "has no 'version'"),
        (json.dumps({"hm": entry | {"stock_decoder": "gone"}}), "stock_decoder .*gone is missing"),
    ):
        listing.write_text(text)
        with pytest.raises(FprdoError, match=message):
            HM.tools()
    listing.write_text(json.dumps({"hm": entry}))
    found = HM.tools()
    assert found.encoder.samefile(tools.encoder) and found.config_dir.samefile(tools.config_dir)
