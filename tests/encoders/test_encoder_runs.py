"""What every encoder of the registry owes: decoders that give its reconstruction, a log that is true, a command that
repeats the encode, weights that are used or refused, and one line about what goes wrong, after which nothing is
left."""

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
from types import SimpleNamespace

import av
import pytest
from clips import logged_command, make_job
from limits import file_size_limit
from oracles import check_reconstruction, sequence_psnr

from fprdo_bridge import encoders
from fprdo_bridge.bitstream.libav import decode_libav, supports
from fprdo_bridge.encoders import running
from fprdo_bridge.encoders.codec import Codec
from fprdo_bridge.encoders.decoding import decode_own
from fprdo_bridge.encoders.job import EncodeJob, Rate
from fprdo_bridge.encoders.running import encode
from fprdo_bridge.encoders.structures import KINDS
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.importance.idse_file import ones, write_idse
from fprdo_bridge.video.formats import VideoFormat, coded_format, first_difference
from fprdo_bridge.video.raw import read_yuv

FMT = VideoFormat(64, 64)


def left_over(job: EncodeJob) -> list[str]:
    """What lies beside the outputs, which share a folder of their own."""
    folder = job.bitstream.parent
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def program(path: Path, text: str) -> Path:
    """A shell script in the place of an encoder."""
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def one_map(path: Path, fmt: VideoFormat) -> Path:
    write_idse(path, [ones(fmt)], fmt, frame_count=1)
    return path


# ---- encode and decode -----------------------------------------------------------------------------------------------

CLIPS = [
    (97, 65, "420", 8, "intra", 2),
    (136, 66, "420", 8, "randomaccess", 3),
    (96, 65, "420", 10, "lowdelay", 2),
    (97, 65, "400", 8, "lowdelay", 2),
    (32, 65, "400", 10, "intra", 2),
    (97, 65, "422", 8, "intra", 1),
    (64, 34, "422", 10, "randomaccess", 3),
    (97, 65, "444", 8, "lowdelay", 2),
    (64, 63, "444", 10, "intra", 1),
    (32, 17, "420", 12, "intra", 1),
    (32, 17, "422", 9, "intra", 1),
    (32, 17, "420", 11, "intra", 1),
    (32, 17, "444", 14, "intra", 1),
    (17, 19, "420", 8, "intra", 2),
    (8, 8, "420", 8, "intra", 1),
    (33, 129, "400", 10, "intra", 2),
    (3, 5, "420", 8, "intra", 2),
    (1, 1, "422", 10, "intra", 1),
]


@pytest.mark.parametrize("width, height, chroma, bit_depth, kind, count", CLIPS)
def test_decoders_give_the_reconstruction(
    tmp_path, codec: Codec, tools_of, width, height, chroma, bit_depth, kind, count
):
    """Or the encoder refuses the pictures: in one line, by what it cannot do."""
    fmt, tools = VideoFormat(width, height, chroma, bit_depth), tools_of[codec.name]
    job = make_job(tmp_path, fmt, tools, codec=codec, kind=kind, frames=count)
    coded = []
    try:
        result = encode(codec, job, tools, stock=True, progress=coded.append)
    except FprdoError as error:
        assert re.search(
            r"codes (up to \d+|8 and 10) bits, not|codes pictures from \d+x\d+ on, not|misreads pictures of more",
            str(error),
        ), error
        assert left_over(job) == []
        return
    assert left_over(job) == ["clip.bin", "clip.bin.log", "recon.yuv"]
    assert len(coded) == len(result.log.pictures) == count
    own, libav = bool(codec.decoder), supports(fmt, codec.standard)
    assert own or libav
    assert check_reconstruction(codec, tools, job, tmp_path) == (codec.title,) * own + ("libavcodec",) * libav
    if not libav:
        with pytest.raises(FprdoError, match=f"bits, not {bit_depth}; use the encoder's own decoder"):
            decode_libav(job.bitstream, fmt)
    psnr = sequence_psnr(zip(read_yuv(job.source, fmt), read_yuv(job.recon, fmt)), fmt)
    assert all(value > 25 for value in psnr)
    if result.log.psnr and coded_format(fmt) == fmt:  # encoders count the padding
        # Some take the largest sample as peak, and print two decimals.
        assert result.log.psnr[0] == pytest.approx(psnr[0], abs=0.006 if bit_depth == 8 else 0.06)


def test_log_of_a_run(coded):
    job, log = coded.job, coded.result.log
    again = coded.codec.parse_log(job.log.read_text())
    assert [replace(picture, bits=0) for picture in again.pictures] == [
        replace(picture, bits=0) for picture in log.pictures
    ]
    assert all(picture.bits <= whole.bits for picture, whole in zip(log.pictures, again.pictures, strict=True))
    assert sorted(picture.poc for picture in log.pictures) == list(range(5)) and log.pictures[0].slice_type == "I"
    assert {picture.slice_type for picture in log.pictures} <= {"I", "P", "B"} and len(log.pictures) == 5
    assert log.seconds > 0 and log.idse is None and coded.result.peak_memory > 1 << 20
    assert (
        coded.result.kbps == pytest.approx(log.bits / 5 * 12.5 / 1000) and log.bits <= 8 * job.bitstream.stat().st_size
    )


def test_log_of_a_run_that_was_cut(coded):
    text = coded.job.log.read_text()
    lines = text.splitlines(keepends=True)
    pictures = [number for number, line in enumerate(lines) if coded.codec.parse_picture(line, 3)]
    cut = coded.codec.parse_log("".join(lines[: pictures[-1]]) + lines[pictures[-1]][:20])
    assert len(cut.pictures) == 4 and cut.bytes_written is None
    assert coded.codec.parse_log("").pictures == ()


def test_notes_of_a_patched_encoder_are_passed_on(codec: Codec):
    text = "IDSE: warning: 5 distortions were limited; raise IDSETau or set IDSEClip\n"
    assert codec.parse_log(text).notes == ("5 distortions were limited; raise IDSETau or set IDSEClip",)


def test_command_repeats_the_encode(coded, tmp_path):
    """Coded slices; what is said about the pictures may be put in afterwards."""
    job, result = coded.job, coded.result
    assert logged_command(job.log) == list(result.command)
    again = [argument.replace(str(job.bitstream.parent), str(tmp_path)) for argument in result.command]
    subprocess.run(again, check=True, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert (tmp_path / "recon.yuv").read_bytes() == job.recon.read_bytes()


def test_colours_are_signalled(coded):
    with av.open(str(coded.job.bitstream), format=coded.codec.standard.value) as container:
        picture = next(container.decode(video=0))
    # H.273 code points: BT.601 with 525 lines is 6 in all three tables; libav's range 2 is full.
    assert (picture.colorspace, picture.color_primaries, picture.color_trc, picture.color_range) == (6, 6, 6, 2)


def test_stock_and_patched_encoder_write_the_same_without_weights(coded, tmp_path):
    patched = replace(coded.job, bitstream=tmp_path / "out" / "clip.bin", recon=None)
    encode(coded.codec, patched, coded.tools)
    assert patched.bitstream.read_bytes() == coded.job.bitstream.read_bytes()
    assert left_over(patched) == ["clip.bin", "clip.bin.log"]


def test_names_with_blanks_and_equals_signs(tmp_path, codec: Codec, tools_of):
    """And more than the 255 characters that the file names of JM hold."""
    folder = tmp_path / "a = b" / ("long" * 50) / ("longer" * 20)
    folder.mkdir(parents=True)
    job = make_job(folder, FMT, tools_of[codec.name], codec=codec, weights=one_map(folder / "my = weights.idse", FMT))
    config = folder / "my config.cfg"
    config.write_bytes(job.config[0].read_bytes())
    result = encode(codec, replace(job, config=(config,)), tools_of[codec.name])
    assert result.log.idse.pictures == 1 and left_over(job) == ["clip.bin", "clip.bin.log", "recon.yuv"]
    assert check_reconstruction(codec, tools_of[codec.name], job, folder)


# ---- weights ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fmt", [VideoFormat(97, 65), VideoFormat(32, 50, "422", 10)], ids=str)
def test_weights_of_the_coded_size(tmp_path, codec: Codec, tools_of, fmt):
    tools = tools_of[codec.name]
    job = make_job(tmp_path, fmt, tools, codec=codec, weights=one_map(tmp_path / "ones.idse", coded_format(fmt)))
    summary = encode(codec, job, tools).log.idse
    assert summary.pictures == 1 and summary.weighted > 0 and summary.unweighted == 0
    assert check_reconstruction(codec, tools, job, tmp_path)


def test_the_encoders_own_message_names_the_users_file(tmp_path, codec: Codec, tools_of):
    job = make_job(
        tmp_path, FMT, tools_of[codec.name], codec=codec, weights=one_map(tmp_path / "w.idse", VideoFormat(32, 32))
    )
    with pytest.raises(FprdoError) as error:
        encode(codec, job, tools_of[codec.name])
    assert str(error.value).startswith(f"{tmp_path / 'w.idse'}: weights for 32x32, the pictures are 64x64")
    assert "\n" not in str(error.value) and "command" not in str(error.value) and left_over(job) == []


def test_weights_need_the_patched_encoder(tmp_path, codec: Codec, tools_of):
    tools = tools_of[codec.name]
    job = make_job(tmp_path, FMT, tools, codec=codec, weights=one_map(tmp_path / "w.idse", FMT))
    with pytest.raises(FprdoError, match="stock encoder takes no weights"):
        encode(codec, job, tools, stock=True)
    with pytest.raises(FprdoError, match=r"(?i)IDSE-?weight"):
        encode(codec, job, replace(tools, encoder=tools.stock_encoder))
    assert left_over(job) == []


def test_a_run_that_ignores_weights_is_an_error(tmp_path, codec: Codec, tools_of):
    """An encoder that takes the options, drops them and reports nothing."""
    tools = tools_of[codec.name]
    job = make_job(tmp_path, FMT, tools, codec=codec, weights=one_map(tmp_path / "w.idse", FMT))
    script = program(
        tmp_path / "encoder",
        textwrap.dedent("""
        n=$#
        while [ $n -gt 0 ]; do
          case "$1" in
            -p) case "$2" in IDSE*) shift 2; n=$((n-2)); continue ;; esac ;;
            --IDSE*) shift; n=$((n-1)); continue ;;
            --idse*) shift 2; n=$((n-2)); continue ;;
          esac
          set -- "$@" "$1"; shift; n=$((n-1))
        done
        """)
        + f"exec '{tools.stock_encoder}' \"$@\"",
    )
    with pytest.raises(FprdoError, match="did not report its use of the weights"):
        encode(codec, job, replace(tools, encoder=script))
    assert left_over(job) == []


# ---- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(source=Path("gone.yuv")), "gone.yuv: cannot be read"),
        (dict(source=Path("/dev/zero")), "/dev/zero: is a device"),
        (dict(fmt=VideoFormat(64, 62)), "source.yuv: 12288 bytes are not a whole number"),
        (dict(frames=3), "has 2 frames, 3 asked for"),
        (dict(rate=Rate("qp", 52)), "QP 52: use 0 to 51"),
        (dict(rate=Rate("qp", -1)), "QP -1: use 0 to 51"),
        (dict(config=()), "no encoder configuration"),
        (dict(config=(Path("gone.cfg"),)), "gone.cfg: no such file"),
        (dict(weights=Path("gone.idse")), "gone.idse: no such file"),
        (dict(options={"-q 3": "1"}), "encoder option '-q 3'"),
        (dict(options={"": "1"}), "encoder option ''"),
        (dict(options={"NoSuchOption": "1"}), "(?i)NoSuchOption"),
    ],
)
def test_bad_jobs(tmp_path, codec: Codec, tools_of, change, message):
    job = replace(make_job(tmp_path, FMT, tools_of[codec.name], frames=2, codec=codec), **change)
    with pytest.raises(FprdoError, match=message) as error:
        encode(codec, job, tools_of[codec.name])
    assert "\n" not in str(error.value) and left_over(job) == []


def test_jobs_that_make_no_sense(tmp_path, codec: Codec, tools_of):
    tools = tools_of[codec.name]
    job = make_job(tmp_path, FMT, tools, codec=codec)
    for change, message in (
        (dict(frames=0), "0 frames"),
        (dict(frame_rate=0), "frame rate 0: must be"),
        (dict(frame_rate=10001), "up to 10000"),
        (dict(rate=32), r"rate 32: give a Rate"),
        (dict(options={"SAO": True}), "SAO=True"),
        (dict(options=["SAO"]), "give a mapping"),
        (dict(options={"a\0b": "1"}), "give its name"),
        (dict(options={"SAO": "1\n"}), "no command line can hold it"),
    ):
        with pytest.raises(FprdoError, match=message):
            replace(job, **change)
    before = job.source.read_bytes()
    with pytest.raises(FprdoError, match=r"source.yuv: is written and used otherwise"):
        encode(codec, replace(job, recon=job.source), tools)
    assert job.source.read_bytes() == before
    with pytest.raises(FprdoError, match="is a folder"):
        encode(codec, replace(job, bitstream=tmp_path), tools)
    with pytest.raises(FprdoError, match=f"up to {codec.max_bit_depth} bits, not 16"):
        encode(codec, replace(job, fmt=VideoFormat(64, 64, bit_depth=16)), tools)
    with pytest.raises(FprdoError, match="cannot be written"):
        encode(codec, replace(job, bitstream=job.source / "clip.bin", recon=None), tools)
    with pytest.raises(FprdoError, match=f"cannot be run .*; run python3 build.py {codec.name}"):
        encode(codec, job, replace(tools, encoder=job.source))


def test_an_old_output_survives_a_failure(tmp_path, codec: Codec, tools_of):
    job = make_job(tmp_path, FMT, tools_of[codec.name], codec=codec)
    job.bitstream.parent.mkdir()
    job.bitstream.write_bytes(b"old")
    with pytest.raises(FprdoError):
        encode(codec, replace(job, options={"NoSuchOption": "1"}), tools_of[codec.name])
    assert job.bitstream.read_bytes() == b"old" and left_over(job) == ["clip.bin"]


@pytest.mark.parametrize("last, how", [("exit 3", "exit status 3"), ("kill -KILL $$", "killed by SIGKILL")])
def test_a_failure_is_told_without_the_banner(tmp_path, monkeypatch, codec: Codec, tools_of, last, how):
    tools = tools_of[codec.name]
    script = program(tmp_path / "encoder", f"'{tools.encoder}' \"$@\"\n{last}")
    job = make_job(tmp_path, FMT, tools, codec=codec)
    for room, text in ((1 << 30, ""), (1000, f"; the disk of {job.bitstream.parent} is full")):
        monkeypatch.setattr(running.os, "statvfs", lambda path, room=room: SimpleNamespace(f_bavail=room, f_frsize=1))
        with pytest.raises(FprdoError) as error:
            encode(codec, job, replace(tools, encoder=script))
        reason = re.fullmatch(rf"{codec.title} failed, {how}: (.*) .command: .*", str(error.value))[1]
        assert reason.endswith(text) and "Off" not in reason and "Parsing" not in reason
    assert left_over(job) == []


def test_a_crash_is_told_with_command_status_and_log(tmp_path, codec: Codec, tools_of):
    script = program(tmp_path / "encoder", "echo 'the last words'\nkill -SEGV $$")
    job = make_job(tmp_path, FMT, tools_of[codec.name], codec=codec)
    with pytest.raises(
        FprdoError, match=f"{codec.title} failed, killed by SIGSEGV: the last words .command: .*encoder"
    ):
        encode(codec, job, replace(tools_of[codec.name], encoder=script))
    assert left_over(job) == []


def test_an_encoder_that_writes_more_than_the_disk_takes(tmp_path, codec: Codec, tools_of):
    """Killed by the limit, or told by its failing writes; some do not look at these, and end with status 0."""
    tools = tools_of[codec.name]
    job = make_job(tmp_path, FMT, tools, codec=codec, qp=20)
    with file_size_limit(1024), pytest.raises(FprdoError, match="killed by SIGXFSZ"):
        encode(codec, job, tools)
    script = program(tmp_path / "encoder", f"trap '' XFSZ\nexec '{tools.encoder}' \"$@\"")
    with file_size_limit(1024), pytest.raises(FprdoError, match=f"check that the disk has room|{codec.title} failed"):
        encode(codec, job, replace(tools, encoder=script))
    assert left_over(job) == []


def test_interrupt_stops_the_encoder_and_leaves_nothing(tmp_path, codec: Codec, tools_of):
    tools, pid_file = tools_of[codec.name], tmp_path / "pid"
    job = make_job(tmp_path, VideoFormat(97, 65), tools, codec=codec, frames=12, qp=4)
    script = program(tmp_path / "encoder", f"echo $$ > '{pid_file}'\nexec '{tools.encoder}' \"$@\"")
    text = textwrap.dedent(f"""
        import time
        from pathlib import Path
        from dataclasses import replace
        from fprdo_bridge import encoders
        from fprdo_bridge.encoders.job import EncodeJob, Rate
        from fprdo_bridge.encoders.running import encode
        from fprdo_bridge.video.formats import VideoFormat
        def progress(picture):
            print("picture", flush=True)
            time.sleep(60)
        codec = encoders.get({codec.name!r})
        tools = replace(codec.tools(), encoder=Path({str(script)!r}))
        job = EncodeJob(Path({str(job.source)!r}), {job.fmt!r}, 12, Rate("qp", 4), Path({str(job.bitstream)!r}),
                        (Path({str(job.config[0])!r}),))
        encode(codec, job, tools, progress=progress)
        """)
    process = subprocess.Popen(
        [sys.executable, "-c", text],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(encoders.__file__).parents[2],
    )
    assert process.stdout.readline() == "picture\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert "KeyboardInterrupt" in errors and left_over(job) == []
    deadline = time.monotonic() + 5
    while Path(f"/proc/{pid_file.read_text().strip()}").exists():
        assert time.monotonic() < deadline, "the encoder is still running"
        time.sleep(0.05)


# ---- what comes back -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change", [dict(width=94), dict(chroma="422"), dict(bit_depth=10), dict(chroma="444")], ids=str
)
def test_a_bitstream_of_another_format(tmp_path, coded, change):
    other = replace(coded.job.fmt, **change)
    if coded.codec.decoder:
        with pytest.raises(FprdoError, match="check size, chroma format and bit depth"):
            decode_own(coded.codec, coded.tools, coded.job.bitstream, tmp_path / "decoded.yuv", other)
    with pytest.raises(FprdoError, match="check size, chroma format and bit depth"):
        list(decode_libav(coded.job.bitstream, other))
    assert list(tmp_path.iterdir()) == []


def test_missing_and_empty_bitstreams(tmp_path, codec: Codec, tools_of):
    (tmp_path / "empty.bin").touch()
    for name, message in (("gone.bin", "no such bitstream"), ("empty.bin", "is empty")):
        if codec.decoder:
            with pytest.raises(FprdoError, match=f"{name}: {message}"):
                decode_own(codec, tools_of[codec.name], tmp_path / name, tmp_path / "decoded.yuv", FMT)
        with pytest.raises(FprdoError, match=f"{name}: {message}"):
            decode_libav(tmp_path / name, FMT)


def test_a_decoder_that_gives_something_else_is_noticed(tmp_path, coded):
    """Else the tests above could not fail. What the user is told: tests/compare."""
    (tmp_path / "recon.yuv").write_bytes(coded.job.recon.read_bytes()[::-1])
    spoiled = replace(coded.job, recon=tmp_path / "recon.yuv")
    with pytest.raises(AssertionError, match=r"decodes something else \(picture 0, Y, row 0"):
        check_reconstruction(coded.codec, coded.tools, spoiled, tmp_path)


def test_every_picture_differs_from_the_next(coded):
    """Else the tests above would not see pictures in the wrong order."""
    frames = list(read_yuv(coded.job.recon, coded.job.fmt))
    assert all(first_difference([one], [next_one]) for one, next_one in zip(frames, frames[1:]))


# ---- registry --------------------------------------------------------------------------------------------------------


def test_what_every_encoder_brings(codec: Codec, tools_of):
    tools = tools_of[codec.name]
    assert encoders.get(codec.name) is codec and codec in encoders.built()
    assert all(codec.config_for(kind, FMT, tools).is_file() for kind in KINDS)
    with pytest.raises(FprdoError, match="'still': use one of intra, lowdelay, randomaccess"):
        codec.config_for("still", FMT, tools)
    assert bool(codec.decoder) == (tools.stock_decoder is not None) and codec.in_process == (tools.library is not None)
    assert (codec.name in encoders.decoders()) == bool(codec.decoder) and encoders.decoders()[-1] == "libavcodec"
    settings = codec.parse_config(codec.config_for("randomaccess", FMT, tools).read_text(), Path("x"))
    assert any(codec.full_name(name) == codec.intra_period_option for name, _ in settings)


def test_an_encoder_that_is_not_there():
    with pytest.raises(FprdoError, match="encoder 'vtm': use one of hm"):
        encoders.get("vtm")


def test_which_encoders_are_built(tmp_path, monkeypatch, codec: Codec, tools_of):
    entry = {name: str(value) for name, value in vars(tools_of[codec.name]).items() if value}
    monkeypatch.setenv("FPRDO_TOOLS", str(tmp_path / "tools.json"))
    for content, expected in (
        ({}, []),
        ({codec.name: entry}, [codec]),
        ({codec.name: entry | {"encoder": "/gone"}}, []),
    ):
        (tmp_path / "tools.json").write_text(json.dumps(content))
        assert encoders.built() == expected


def test_toolchain_errors(tmp_path, monkeypatch, codec: Codec, tools_of):
    listing, tools = tmp_path / "tools.json", tools_of[codec.name]
    monkeypatch.setenv("FPRDO_TOOLS", str(listing))
    with pytest.raises(
        FprdoError, match=rf"{codec.title} is not built \(looked for .*json\): run python3 build.py {codec.name}"
    ):
        codec.tools()
    entry = {name: str(value) for name, value in vars(tools).items() if value}
    for text, message in (
        ("{", "not a readable list"),
        ("[]", f"no entry '{codec.name}'"),
        (json.dumps({codec.name: {}}), "has no 'version'"),
        (json.dumps({codec.name: entry | {"stock_encoder": "gone"}}), "stock_encoder .*gone is missing"),
    ):
        listing.write_text(text)
        with pytest.raises(FprdoError, match=message):
            codec.tools()
    relative = {
        name: os.path.relpath(value, tmp_path) if value.startswith("/") else value for name, value in entry.items()
    }
    listing.write_text(json.dumps({codec.name: relative}))
    assert codec.tools().encoder.samefile(tools.encoder) and codec.tools().config_dir.samefile(tools.config_dir)


def test_frame_rates_are_fractions_that_a_bitstream_holds(tmp_path):
    for given, kept in (
        (30, Fraction(30)),
        (29.97, Fraction(2997, 100)),
        (Fraction(30000, 1001), Fraction(30000, 1001)),
        (1e-4, Fraction(1, 10000)),
        (23.976023976023978, Fraction(24000, 1001)),
    ):
        assert (
            EncodeJob(tmp_path / "s.yuv", FMT, 1, Rate("qp", 32), tmp_path / "o", (), frame_rate=given).frame_rate
            == kept
        )
