"""What only x265 can be asked: HM's decoder, threads, rate control, its table of pictures, what it refuses."""

import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import clips
import numpy as np
import oracles
import pytest
from clips import logged_command
from oracles import random_map, region_map, same, write_maps

from fprdo_bridge.bitstream.libav import decode_libav
from fprdo_bridge.bitstream.nal_units import hevc_pictures
from fprdo_bridge.bitstream.probe import probe
from fprdo_bridge.encoders.decoding import decode_own
from fprdo_bridge.encoders.hm import HM
from fprdo_bridge.encoders.job import EncodeJob, Rate
from fprdo_bridge.encoders.running import encode
from fprdo_bridge.encoders.x265 import X265
from fprdo_bridge.encoders.x265.log import parse_log, parse_picture
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.settings import IdseOptions
from fprdo_bridge.toolchain import Toolchain
from fprdo_bridge.video.formats import VideoFormat, first_difference
from fprdo_bridge.video.raw import read_yuv

make_job = partial(clips.make_job, codec=X265)
run_all = partial(oracles.run_all, codec=X265)


@pytest.fixture(scope="session")
def tools(x265_tools) -> Toolchain:
    return x265_tools


@pytest.fixture(scope="session")
def hm_tools() -> Toolchain:
    return HM.tools()


def small_job(folder: Path, tools: Toolchain, kind: str, **changes) -> EncodeJob:
    """Two pictures of 64x64 with a map each; the source has a third one."""
    fmt = VideoFormat(64, 64)
    weights = write_maps(folder / "w.idse", [random_map(fmt, 1)] * 2, fmt)
    return replace(make_job(folder, fmt, tools, kind=kind, frames=3, qp=27), weights=weights, **{"frames": 2} | changes)


# ---- decoders, threads, rate control ---------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", ["ultrafast", "medium", "slow", "placebo"])
@pytest.mark.parametrize(
    "fmt",
    [VideoFormat(136, 72), VideoFormat(104, 72, "422"), VideoFormat(104, 72, "444", 10), VideoFormat(101, 67, "400")],
    ids=str,
)
def test_hms_decoder_gives_the_reconstruction(tmp_path, tools, hm_tools, preset, fmt):
    """I, P and B pictures with weights."""
    job = make_job(tmp_path, fmt, tools, kind="randomaccess", frames=5, options={"preset": preset, "hash": "1"})
    weights = write_maps(tmp_path / "w.idse", [random_map(fmt, 1)], fmt, frame_count=5, frames_per_map=5)
    run_all({"weighted": (replace(job, weights=weights, idse=IdseOptions(tau=0.1)), tools.encoder)})
    report = decode_own(HM, hm_tools, tmp_path / "weighted.bin", tmp_path / "decoded.yuv", fmt)
    assert report.pictures == report.verified == 5
    assert first_difference(read_yuv(tmp_path / "weighted.yuv", fmt), read_yuv(tmp_path / "decoded.yuv", fmt)) is None


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"no-wpp": ""},
        {"pmode": "", "pme": "", "rd": "3"},
        {"pmode": "", "rd": "6"},
    ],
    ids=["wpp", "frames", "pmode-3", "pmode-6"],
)
def test_threads_give_the_same_each_time(tmp_path, tools, options):
    """Where the number of threads does not change what the stock encoder does, it does not with weights."""
    fmt = VideoFormat(192, 264)
    job = make_job(tmp_path, fmt, tools, kind="randomaccess", frames=10, rate="crf", qp=26)
    weights = write_maps(
        tmp_path / "w.idse", [random_map(fmt, seed) for seed in range(4)], fmt, frame_count=10, frames_per_map=3
    )
    weighted = replace(job, weights=weights, idse=IdseOptions(tau=0.1))
    runs = {}
    for workers in ("2", "4"):
        its = {"pools": workers, "frame-threads": "3", **options}
        runs |= {
            f"{workers}-first": (replace(weighted, options=its), tools.encoder),
            f"{workers}-again": (replace(weighted, options=its), tools.encoder),
            f"{workers}-stock": (replace(job, options=its), tools.stock_encoder),
        }
    run_all(runs)
    for workers in ("2", "4"):
        assert same(tmp_path, f"{workers}-first", f"{workers}-again")
    if same(tmp_path, "2-stock", "4-stock"):
        assert same(tmp_path, "2-first", "4-first")


def test_errors_move_to_where_weights_are_high_at_constant_quality(tmp_path, tools):
    fmt, frames = VideoFormat(256, 192), 6
    weights, mask = region_map(fmt, slice(64, 128), slice(64, 160), 4)
    job = make_job(tmp_path, fmt, tools, kind="randomaccess", frames=frames, rate="crf", qp=28)
    weighted = replace(
        job,
        weights=write_maps(tmp_path / "w.idse", [weights], fmt, frame_count=frames, frames_per_map=frames),
        idse=IdseOptions(tau=0),
    )
    logs = run_all({"weighted": (weighted, tools.encoder), "plain": (job, tools.encoder)})
    errors = {}
    for name in logs:
        pairs = zip(*(read_yuv(tmp_path / f"{file}.yuv", fmt) for file in ("source", name)))
        errors[name] = np.mean([(a[0].astype(float) - b[0]) ** 2 for a, b in pairs], axis=0)
    assert errors["weighted"][mask].mean() < 0.85 * errors["plain"][mask].mean()
    assert errors["weighted"][~mask].mean() > errors["plain"][~mask].mean()


# ---- the module ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate, value", [("qp", 30), ("crf", 30), ("abr", 60)])
def test_encode(tmp_path, tools, rate, value):
    fmt = VideoFormat(131, 75, matrix="bt601", full_range=True)  # odd: coded as 132x76
    coded, frames = VideoFormat(132, 76), 9
    weights = write_maps(tmp_path / "w.idse", [random_map(coded, 1)], coded, frame_count=frames, frames_per_map=frames)
    job = make_job(tmp_path, fmt, tools, kind="randomaccess", frames=frames, rate=rate, qp=value, weights=weights)
    job = replace(job, options={"keyint": "4"})
    seen = []
    result = encode(X265, job, tools, progress=seen.append)
    assert len(seen) == frames and sorted(p.poc for p in result.log.pictures) == list(range(frames))
    assert first_difference(read_yuv(job.recon, fmt), decode_libav(job.bitstream, fmt)) is None
    size = 8 * job.bitstream.stat().st_size
    assert size - 8 * 100 < result.bits < size  # less start codes
    assert result.log.seconds > 0 and result.log.idse.pictures == frames
    assert probe(job.bitstream).fmt.full_range and probe(job.bitstream).fmt.matrix == "bt601"
    assert logged_command(job.log)[0] == str(tools.encoder)
    stock = encode(X265, replace(job, weights=None, bitstream=tmp_path / "stock.265", recon=None), tools, stock=True)
    assert stock.log.idse is None and stock.bits != result.bits
    if rate == "abr":
        assert stock.kbps / 1.5 < result.kbps < stock.kbps * 1.5


@pytest.mark.parametrize("options", [{}, {"repeat-headers": ""}, {"repeat-headers": "", "aud": ""}, {"slices": "2"}])
@pytest.mark.parametrize("frames", [1, 4])
def test_a_bitstream_that_is_cut_is_not_taken_for_whole(tmp_path, tools, options, frames):
    fmt = VideoFormat(136, 136)
    job = make_job(tmp_path, fmt, tools, kind="lowdelay", frames=frames, options=options)
    log = run_all({"plain": (job, tools.stock_encoder)})["plain"]
    path = tmp_path / "plain.bin"
    data = path.read_bytes()
    assert X265.bytes_written(path, job, log) == len(data)
    assert 8 * sum(picture.units for picture in hevc_pictures(data)) <= sum(picture.bits for picture in log.pictures)
    for cut in (len(data) - 2, len(data) - 40, len(data) // 2, 3):
        path.write_bytes(data[:cut])
        assert X265.bytes_written(path, job, log) > cut


@pytest.mark.parametrize(
    "changes, line",
    [
        ({"rate": Rate("qp", 52)}, "QP 52: use 0 to 51 for 8 bits"),
        ({"rate": Rate("abr", 0)}, "bit rate 0: use 1 kbit/s or more"),
        ({"options": {"bogus": "1"}}, "encoder option bogus: bogus=1 is no option of x265; write the whole name"),
        ({"options": {"fram": "1"}}, "encoder option fram: fram=1 is no option of x265; write the whole name"),
        ({"options": {"preset": "fastest"}}, "preset or tune unrecognized"),
        ({"options": {"hevc-aq": ""}}, "--idse-weights cannot be combined with --hevc-aq"),
        ({"frames": 3}, "weights for 2 frames, 3 are needed"),
    ],
)
def test_refusals(tmp_path, tools, changes, line):
    with pytest.raises(FprdoError, match=re.escape(line)) as error:
        encode(X265, small_job(tmp_path, tools, "intra", **changes), tools)
    assert "\n" not in str(error.value)
    assert {path.name for path in tmp_path.rglob("*")} <= {"source.yuv", "w.idse", "out"}


@pytest.mark.parametrize(
    "fmt, line", [(VideoFormat(64, 12), "from 16x16 on, not 64x12"), (VideoFormat(64, 64, "420", 9), "8 and")]
)
def test_formats_that_it_does_not_code(tmp_path, tools, fmt, line):
    with pytest.raises(FprdoError, match=line):
        encode(X265, make_job(tmp_path, fmt, tools, kind="intra", frames=1, qp=27), tools)


@pytest.mark.parametrize(
    "options, note",
    [
        ({"rd": "2"}, "rd 2 decides most of P and B pictures without distortion"),
        ({"rdoq-level": "0"}, "rdoq-level 0 quantises without distortion, idse-rdoq does nothing"),
        ({"lossless": ""}, "lossless coding has no distortion, the weights do nothing"),
        ({"preset": "slow"}, None),
    ],
)
def test_what_does_nothing_is_said(tmp_path, tools, options, note):
    job = small_job(tmp_path, tools, "randomaccess", options={"rdoq-level": "2", **options})
    notes = encode(X265, job, tools).log.notes
    assert len(notes) == (note is not None) and all(line.startswith(note) for line in notes)


# ---- without the program ---------------------------------------------------------------------------------------------


def test_defaults_give_way_to_the_user(tmp_path):
    config = tmp_path / "mine.cfg"
    config.write_text("# of mine\nkeyint = 5  # short\nno-cutree\n\naq-mode = 2\n")
    job = EncodeJob(
        Path("s.yuv"),
        VideoFormat(64, 48),
        1,
        Rate("qp", 30),
        Path("o.265"),
        (config,),
        options={"psy-rd": "1", "frame-threads": "2", "scaling-list": "default"},
    )
    words = X265.command(job, Path("x265"))
    for name, value in {"keyint": "5", "aq-mode": "2", "psy-rdoq": "0", "ctu": "32", "scaling-list": "default"}.items():
        assert words[words.index(f"--{name}") + 1] == value
    assert "--no-cutree" in words and "--pools" not in words and words.count("--psy-rd") == 1
    assert X265.remarks(job) == [
        "x265 runs with --psy-rdoq 0, --ctu 32, with weights and without; give these options to have it otherwise"
    ]
    config.write_text("key int = 5\n")
    with pytest.raises(FprdoError, match="mine.cfg, line 1: 'key int' is no option of x265"):
        X265.command(job, Path("x265"))


ROW = "{order}, {type}-SLICE, {poc:4d}, 29.76,      12328, 0,{reals}7,  0 1 , -, 12.50%,  0.00%,\n"


@pytest.mark.parametrize(
    "reals, psnr",
    [
        ("", ()),
        ("28.100,", ()),
        ("28.100,0.900, 0.850,", ()),
        ("32.250, 38.101, 42.035, 34.188,", (32.25, 38.101, 42.035)),
        ("28.100,32.250, 99.990, 42.035, 34.188,", (32.25, float("inf"), 42.035)),
        ("28.100,0.900, 0.850,32.250, 38.101, 42.035, 34.188,", (32.25, 38.101, 42.035)),
    ],
)
def test_rows_of_its_table(reals, psnr):
    """Whatever stands before PSNR: the rate factor at constant quality, two numbers of a buffer."""
    rows = ROW.format(order=0, type="I", poc=0, reals=reals) + ROW.format(order=1, type="b", poc=3, reals=reals)
    pictures = parse_log(rows).pictures
    assert [(p.poc, p.slice_type, p.qp, p.bits, p.psnr) for p in pictures] == [
        (0, "I", 30, 12328, psnr),
        (3, "B", 30, 12328, psnr),
    ]
    assert parse_log(rows).bytes_written is None
    assert parse_log(rows + "\nSummary\nCommand, Date/Time\n").bytes_written == 2 * 12328 // 8
    assert parse_picture(rows.splitlines()[0], 1).psnr == psnr[:1] and parse_picture("IDSE summary: x", 3) is None
