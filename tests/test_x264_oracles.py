"""What only x264 can be asked: assembly, lambda that follows a macroblock's QP, rate control, presets, threads."""

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
from x264_builds import build_without_assembly

from fprdo_bridge.bitstream.libav import decode_libav
from fprdo_bridge.bitstream.probe import probe
from fprdo_bridge.encoders.job import EncodeJob, Rate
from fprdo_bridge.encoders.running import encode
from fprdo_bridge.encoders.x264 import X264
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.importance.idse_file import WeightMap, ones
from fprdo_bridge.settings import IdseOptions
from fprdo_bridge.toolchain import Toolchain
from fprdo_bridge.video.formats import VideoFormat, first_difference
from fprdo_bridge.video.raw import read_yuv

make_job = partial(clips.make_job, codec=X264)
run_all = partial(oracles.run_all, codec=X264)


@pytest.fixture(scope="session")
def tools(x264_tools) -> Toolchain:
    return x264_tools


# ---- assembly and C --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def in_c(tmp_path_factory, tools) -> Path:
    return build_without_assembly(tmp_path_factory.mktemp("in-c"), tools)


@pytest.mark.parametrize(
    "options",
    [
        {"preset": "placebo"},
        {"preset": "slower", "psy-rd": "1:1"},
        {"preset": "slower", "psy-rd": "1:1", "no-8x8dct": ""},
        {"no-cabac": "", "preset": "slower"},
        {"preset": "medium", "nr": "300"},
        {"preset": "slower", "cqm": "jvt"},
    ],
    ids=["placebo", "psy", "psy-4x4", "cavlc", "noise-reduction", "custom-matrix"],
)
@pytest.mark.parametrize(
    "fmt",
    [
        VideoFormat(136, 88),
        VideoFormat(136, 88, "422"),
        VideoFormat(136, 88, "420", 10),
        VideoFormat(136, 88, "444", 10),
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", ["intra", "randomaccess"])
def test_assembly_gives_what_c_gives(tmp_path, tools, in_c, kind, fmt, options):
    """Trellis in assembly takes the weights in the place of its own table, with psychovisual trellis too."""
    job = make_job(tmp_path, fmt, tools, kind=kind, frames=4, options=options | {"cpu-independent": ""})
    weights = write_maps(tmp_path / "random.idse", [random_map(fmt, seed) for seed in range(4)], fmt)
    jobs = {}
    for qp in (6, 26, 40):
        weighted = replace(job, rate=Rate("qp", qp), weights=weights, idse=IdseOptions(tau=0, qp_map_clip=12))
        jobs |= {
            f"stock-{qp}": (replace(job, rate=Rate("qp", qp)), tools.stock_encoder),
            f"absent-{qp}": (replace(job, rate=Rate("qp", qp)), in_c),
            f"assembly-{qp}": (weighted, tools.encoder),
            f"c-{qp}": (weighted, in_c),
        }
    run_all(jobs)
    for qp in (6, 26, 40):
        assert same(tmp_path, f"stock-{qp}", f"absent-{qp}")
        assert same(tmp_path, f"assembly-{qp}", f"c-{qp}") and not same(tmp_path, f"assembly-{qp}", f"stock-{qp}")


# ---- what each setting changes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"preset": "placebo"}, {"no-cabac": "", "preset": "slower"}, {"threads": "3"}])
@pytest.mark.parametrize("kind", ["intra", "randomaccess"])
def test_absolute_weights_are_relative_ones_with_the_macroblocks_lambda(tmp_path, tools, kind, options):
    """Weights of 2 and 1/2, the same all over a macroblock: its QP moves by exactly 3, and lambda by the same factor as
    the distortion. Then weighting the distortion or leaving it plain are the same decisions, bit by bit."""
    fmt = VideoFormat(144, 144)
    levels = np.where(np.random.default_rng(3).permutation(81) < 27, 2.0, 0.5).reshape(9, 9)  # their mean is 1
    planes = tuple(
        levels.repeat(shape[0] // 9, 0).repeat(shape[1] // 9, 1).astype(np.float32) for shape in fmt.plane_shapes
    )
    weights = write_maps(tmp_path / "levels.idse", [WeightMap(planes, ones(fmt).shapes, (1.0, 1.0, 1.0))] * 4, fmt)
    job = make_job(tmp_path, fmt, tools, kind=kind, frames=4, qp=30, weights=weights, options=options)
    idse = IdseOptions(tau=0)
    logs = run_all(
        {
            "absolute": (replace(job, idse=idse), tools.encoder),
            "plain": (replace(job, idse=replace(idse, rdoq=0, decisions=0)), tools.encoder),
            "no-offset": (replace(job, idse=replace(idse, qp_map=False)), tools.encoder),
        }
    )
    assert logs["absolute"].idse.qp_offset_min == -3 and logs["absolute"].idse.qp_offset_max == 3
    assert logs["absolute"].idse.weighted > 0 and logs["plain"].idse.weighted == 0
    assert same(tmp_path, "absolute", "plain") and not same(tmp_path, "absolute", "no-offset")


# ---- where errors go -------------------------------------------------------------------------------------------------


def squared_error(folder: Path, name: str, fmt: VideoFormat) -> np.ndarray:
    source, coded = (next(iter(read_yuv(folder / f"{file}.yuv", fmt)))[0].astype(float) for file in ("source", name))
    return (source - coded) ** 2


@pytest.mark.parametrize(
    "idse",
    [
        IdseOptions(rdoq=0, qp_map=False),
        IdseOptions(rdoq=1, qp_map=False, decisions=0),
        IdseOptions(rdoq=0, decisions=0),
    ],
    ids=["decisions", "trellis", "qp-map"],
)
def test_errors_move_to_where_weights_are_low(tmp_path, tools, idse):
    fmt = VideoFormat(192, 192)
    left = np.ones((192, 192), np.float32)
    left[:, :96], left[:, 96:] = 1.9, 0.1
    planes = (left, left[::2, ::2], left[::2, ::2])
    files = {
        name: write_maps(
            tmp_path / f"{name}.idse",
            [WeightMap(tuple(np.ascontiguousarray(p[:, ::step]) for p in planes), ones(fmt).shapes, (1.0, 1.0, 1.0))],
            fmt,
        )
        for name, step in (("left", 1), ("right", -1))
    }
    job = make_job(
        tmp_path,
        fmt,
        tools,
        kind="intra",
        frames=1,
        qp=27,
        options={"preset": "slower"},
        idse=replace(idse, tau=0, qp_map_clip=6),
    )
    run_all({name: (replace(job, weights=path), tools.encoder) for name, path in files.items()})
    error = {name: squared_error(tmp_path, name, fmt) for name in files}
    assert error["left"][:, :96].mean() < 0.97 * error["right"][:, :96].mean()
    assert error["right"][:, 96:].mean() < 0.97 * error["left"][:, 96:].mean()


def test_weights_act_where_qp_cannot_move(tmp_path, tools):
    """A QP range of one value leaves the map's offsets without effect: lambda stays, so do the weights."""
    fmt = VideoFormat(176, 144)
    weights, mask = region_map(fmt, slice(32, 96), slice(48, 128), 16)
    job = make_job(
        tmp_path,
        fmt,
        tools,
        kind="intra",
        frames=1,
        rate="crf",
        qp=30,
        idse=IdseOptions(tau=0),
        weights=write_maps(tmp_path / "region.idse", [weights], fmt),
        options={"qpmin": "32", "qpmax": "32"},
    )
    run_all(
        {
            "map": (job, tools.encoder),
            "no-map": (replace(job, idse=replace(job.idse, qp_map=False)), tools.encoder),
            "plain": (replace(job, weights=None), tools.encoder),
        }
    )
    assert (tmp_path / "map.yuv").read_bytes() == (tmp_path / "no-map.yuv").read_bytes()
    assert squared_error(tmp_path, "map", fmt)[mask].mean() < 0.9 * squared_error(tmp_path, "plain", fmt)[mask].mean()


def test_weights_far_from_one_are_limited_and_said_to_be(tmp_path, tools):
    """Chroma of the largest QP, whose distortion psy-rd multiplies by 16, at a weight of 37: too much for its costs."""
    fmt, frames = VideoFormat(320, 240, "420", 10), 6
    weights, mask = region_map(fmt, slice(80, 144), slice(80, 112), 1e6)
    job = make_job(
        tmp_path,
        fmt,
        tools,
        kind="randomaccess",
        frames=frames,
        qp=51,
        idse=IdseOptions(qp_map=False),
        weights=write_maps(tmp_path / "peak.idse", [weights] * frames, fmt),
        options={"psy-rd": "1:0"},
    )
    logs = run_all({"peak": (job, tools.encoder), "plain": (replace(job, weights=None), tools.encoder)})
    assert any("distortions were limited" in note for note in logs["peak"].notes)
    errors = {}
    for name in logs:
        pairs = zip(*(read_yuv(tmp_path / f"{file}.yuv", fmt) for file in ("source", name)))
        errors[name] = np.mean([(a[c].astype(float) - b[c])[mask[::2, ::2]] ** 2 for a, b in pairs for c in (1, 2)])
    assert errors["peak"] < errors["plain"]
    assert first_difference(read_yuv(tmp_path / "peak.yuv", fmt), decode_libav(tmp_path / "peak.bin", fmt)) is None


# ---- the module ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate, value", [("qp", 30), ("crf", 30), ("abr", 60)])
def test_encode(tmp_path, tools, rate, value):
    fmt = VideoFormat(131, 75, matrix="bt601", full_range=True)  # odd: coded as 132x76
    coded = VideoFormat(132, 76)
    frames = 9
    weights = write_maps(tmp_path / "w.idse", [random_map(coded, 1)], coded, frame_count=frames, frames_per_map=frames)
    job = make_job(
        tmp_path,
        fmt,
        tools,
        kind="randomaccess",
        frames=frames,
        rate=rate,
        qp=value,
        weights=weights,
        options={"keyint": "4"},
    )
    seen = []
    result = encode(X264, job, tools, progress=seen.append)
    assert len(seen) == frames and [p.bits for p in seen] != [p.bits for p in result.log.pictures]
    assert sorted(picture.poc for picture in result.log.pictures) == list(range(frames))
    assert first_difference(read_yuv(job.recon, fmt), decode_libav(job.bitstream, fmt)) is None
    size = 8 * job.bitstream.stat().st_size
    assert size - 8 * 1200 < result.bits < size - 8 * 400  # less x264's list of its options
    assert result.log.seconds > 0 and result.log.idse.pictures == frames
    assert probe(job.bitstream).fmt.full_range and probe(job.bitstream).fmt.matrix == "bt601"
    assert logged_command(job.log)[0] == str(tools.encoder)
    stock = encode(X264, replace(job, weights=None, bitstream=tmp_path / "stock.264", recon=None), tools, stock=True)
    assert stock.log.idse is None and stock.bits != result.bits
    if rate == "abr":
        assert stock.kbps / 1.5 < result.kbps < stock.kbps * 1.5


@pytest.mark.parametrize(
    "changes, line",
    [
        ({"rate": Rate("qp", 52)}, "QP 52: use 0 to 51 for 8 bits"),
        ({"rate": Rate("abr", 0)}, "bit rate 0: use 1 kbit/s or more"),
        ({"options": {"bogus": "1"}}, "bogus"),
        ({"options": {"preset": "fastest"}}, "invalid preset 'fastest'"),
        (
            {"options": {"interlaced": ""}},
            "--idse-weights cannot be combined with interlaced coding; give --no-interlaced",
        ),
        ({"frames": 3}, "weights for 2 frames, 3 are needed"),
    ],
)
def test_refusals(tmp_path, tools, changes, line):
    fmt = VideoFormat(64, 64)
    job = replace(
        make_job(tmp_path, fmt, tools, kind="intra", frames=3, qp=27),
        **{"frames": 2} | changes,
        weights=write_maps(tmp_path / "w.idse", [random_map(fmt, 1)] * 2, fmt),
    )
    with pytest.raises(FprdoError, match=re.escape(line)) as error:
        encode(X264, job, tools)
    assert "\n" not in str(error.value)
    assert {path.name for path in tmp_path.rglob("*")} <= {"source.yuv", "w.idse", "out"}


@pytest.mark.parametrize(
    "options, note",
    [
        ({"subme": "5"}, "subme 5 decides without distortion, the weights change QP and trellis only"),
        ({"subme": "6"}, "subme 6 decides without distortion in B-frames"),
        ({"trellis": "0"}, "trellis 0 quantises without distortion, idse-rdoq does nothing"),
        ({}, "lossless coding has no distortion, the weights do nothing"),
        ({}, None),
    ],
)
def test_what_does_nothing_is_said(tmp_path, tools, options, note):
    fmt = VideoFormat(64, 64)
    job = make_job(
        tmp_path,
        fmt,
        tools,
        kind="randomaccess",
        frames=2,
        options=options,
        qp=0 if "lossless" in str(note) else 27,
        weights=write_maps(tmp_path / "w.idse", [random_map(fmt, 1)] * 2, fmt),
    )
    notes = encode(X264, job, tools).log.notes
    assert len(notes) == (note is not None) and all(line.startswith(note) for line in notes)


def test_defaults_give_way_to_the_user(tmp_path):
    fmt = VideoFormat(64, 64)
    config = tmp_path / "mine.cfg"
    config.write_text("# of mine\nkeyint = 5  # short\nno-mbtree\n\naq-mode = 2\n")
    job = EncodeJob(
        Path("s.yuv"),
        fmt,
        1,
        Rate("qp", 30),
        Path("o.264"),
        (config,),
        options={"psy-rd": "1:0.1", "sliced-threads": ""},
    )
    words = X264.command(job, Path("x264"))
    assert (
        words[words.index("--keyint") + 1] == "5"
        and "--no-mbtree" in words
        and words[words.index("--aq-mode") + 1] == "2"
    )
    assert "--no-psy" not in words and words[words.index("--threads") + 1] == "1" and "--sliced-threads" in words
    assert X264.remarks(job) == [
        "x264 runs with --threads 1, with weights and without; give these options to have it otherwise"
    ]
    config.write_text("key int = 5\n")
    with pytest.raises(FprdoError, match="mine.cfg, line 1: 'key int' is no option of x264"):
        X264.command(job, Path("x264"))
