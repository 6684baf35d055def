"""What the patched x264 owes: the stock bitstream where weights say nothing, a decodable and repeatable one where they do,
decisions that follow them, and one line about every file or option that it cannot use."""

import itertools
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from clips import clip, logged_command
from oracles import random_map, region_map, same, write_maps
from scipy.fft import dctn
from x264_builds import build_without_assembly

from fprdo_bridge import toolchain
from fprdo_bridge.bitstream.libav import decode_libav, supports
from fprdo_bridge.bitstream.nal_units import Standard
from fprdo_bridge.bitstream.probe import probe
from fprdo_bridge.encoders.job import EncodeJob, IdseOptions, Rate
from fprdo_bridge.encoders.log import EncodeLog
from fprdo_bridge.encoders.running import encode
from fprdo_bridge.encoders.x264 import X264
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.video.formats import VideoFormat, first_difference
from fprdo_bridge.video.pictures import load_picture
from fprdo_bridge.video.raw import read_yuv, write_yuv
from fprdo_bridge.importance.idse_file import WeightMap, ones

OFF = IdseOptions(rdoq=0, qp_map=False, decisions=0)


@pytest.fixture(scope="session")
def tools(x264_tools) -> toolchain.Toolchain:
    return x264_tools


def make_job(folder: Path, fmt: VideoFormat, kind: str, frames: int, tools, qp: float = 27, rate: str = "qp",
             **arguments) -> EncodeJob:
    write_yuv(folder / "source.yuv", clip(fmt, frames), fmt)
    return EncodeJob(**{"source": folder / "source.yuv", "fmt": fmt, "frames": frames, "rate": Rate(rate, qp),
                             "bitstream": folder / "out.264", "recon": folder / "out.yuv",
                             "config": (X264.config_for(kind, fmt, tools),)} | arguments)


def run(job: EncodeJob, program: Path, name: str) -> EncodeLog:
    """Run the program itself, so that its bitstream is seen as it wrote it; outputs name.bin and name.yuv."""
    folder = job.source.parent
    this = replace(job, bitstream=folder / f"{name}.bin", recon=folder / f"{name}.yuv")
    commands = [X264.command(this, program)]
    if job.rate.kind == "abr":
        stats = ["--stats", str(folder / f"{name}.stats")]
        commands = [[*commands[0], "--pass", "1", *stats], [*commands[0], "--pass", "2", *stats]]
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    return X264.parse_log(done.stderr)


def run_all(jobs: dict[str, tuple[EncodeJob, Path]]) -> dict[str, EncodeLog]:
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(jobs, pool.map(lambda name: run(*jobs[name], name), jobs)))


def check_decoder(folder: Path, name: str, fmt: VideoFormat) -> None:
    assert supports(fmt, Standard.AVC)
    assert first_difference(read_yuv(folder / f"{name}.yuv", fmt), decode_libav(folder / f"{name}.bin", fmt)) is None


# ---- stock bitstreams, and decodable ones ----------------------------------------------------------------------------

# width, height, chroma, depth, coding structure, frames, rate control, its value, options
CASES = {
    "intra": (136, 72, "420", 8, "intra", 2, "qp", 27, {}),
    "intra-placebo": (136, 72, "420", 8, "intra", 2, "qp", 22, {"preset": "placebo"}),
    "intra-ultrafast": (136, 72, "420", 8, "intra", 2, "qp", 27, {"preset": "ultrafast"}),
    "intra-cavlc": (136, 72, "420", 8, "intra", 2, "qp", 27, {"no-cabac": "", "trellis": "2"}),
    "medium": (136, 88, "420", 8, "randomaccess", 10, "crf", 26, {}),
    "medium-4-threads": (136, 264, "420", 8, "randomaccess", 12, "crf", 26, {"threads": "4"}),
    "placebo-4-threads": (104, 264, "420", 8, "randomaccess", 6, "qp", 30, {"preset": "placebo", "threads": "4"}),
    "placebo-aq": (104, 72, "420", 8, "randomaccess", 6, "crf", 26, {"preset": "placebo", "aq-mode": "2"}),  # QP search
    "ultrafast-4-threads": (136, 264, "420", 8, "randomaccess", 12, "crf", 26, {"preset": "ultrafast", "threads": "4"}),
    "sliced": (136, 264, "420", 8, "randomaccess", 8, "crf", 26, {"threads": "4", "sliced-threads": ""}),
    "sliced-lowdelay": (136, 264, "420", 8, "lowdelay", 6, "qp", 27, {"threads": "3", "sliced-threads": ""}),
    "slices": (136, 136, "420", 8, "lowdelay", 4, "qp", 27, {"slices": "3"}),
    "cavlc": (136, 72, "420", 8, "randomaccess", 8, "crf", 26, {"no-cabac": "", "preset": "slower"}),
    "two-pass": (136, 88, "420", 8, "randomaccess", 12, "abr", 200, {}),
    "two-pass-no-mbtree": (136, 88, "420", 8, "randomaccess", 12, "abr", 200, {"no-mbtree": ""}),
    "vbv": (136, 88, "420", 8, "randomaccess", 12, "crf", 26, {"vbv-maxrate": "300", "vbv-bufsize": "150"}),
    "psy-trellis": (136, 88, "420", 8, "randomaccess", 6, "qp", 24, {"preset": "slower", "psy-rd": "1:1"}),
    "10-bit-psy-trellis": (104, 72, "420", 10, "randomaccess", 4, "qp", 22, {"preset": "placebo", "psy-rd": "1:1"}),
    "noise-reduction": (136, 88, "420", 8, "randomaccess", 6, "crf", 26, {"nr": "500"}),
    "psy-aq": (136, 88, "420", 8, "randomaccess", 8, "crf", 26, {"tune": "film"}),
    "444": (104, 72, "444", 8, "randomaccess", 6, "crf", 26, {"preset": "slow"}),
    "444-intra-cavlc": (101, 67, "444", 8, "intra", 1, "qp", 27, {"no-cabac": "", "preset": "placebo"}),
    "422": (104, 75, "422", 8, "randomaccess", 6, "crf", 26, {"preset": "slower"}),
    "400": (101, 67, "400", 8, "randomaccess", 6, "crf", 26, {}),
    "10-bit": (104, 72, "420", 10, "randomaccess", 6, "crf", 26, {"preset": "slow"}),
    "10-bit-444": (104, 72, "444", 10, "lowdelay", 4, "qp", 22, {"threads": "2"}),
    "10-bit-422-intra": (104, 72, "422", 10, "intra", 1, "qp", 22, {"preset": "placebo"}),
    "weighted-prediction": (136, 72, "420", 8, "lowdelay", 5, "qp", 27, {"weightp": "2", "ref": "4"}),
    "intra-refresh": (136, 72, "420", 8, "lowdelay", 6, "crf", 26, {"intra-refresh": "", "keyint": "10"}),
    "lossless": (104, 72, "420", 8, "randomaccess", 4, "qp", 0, {}),
    "custom-matrix": (104, 72, "420", 8, "randomaccess", 4, "qp", 27, {"cqm": "jvt", "trellis": "2"}),
    "tiny": (16, 16, "420", 8, "randomaccess", 3, "crf", 26, {}),
}


@pytest.mark.parametrize("case", CASES)
def test_stock_without_a_say_and_decodable_with_one(tmp_path, tools, case):
    width, height, chroma, depth, kind, frames, rate, value, options = CASES[case]
    fmt = VideoFormat(width, height, chroma, depth)
    job = make_job(tmp_path, fmt, kind, frames, tools, rate=rate, qp=value, options=options)
    every = 3
    count = -(-frames // every)
    arguments = {"frame_count": frames, "frames_per_map": every}
    ones_file = write_maps(tmp_path / "ones.idse", [ones(fmt)] * count, fmt, **arguments)
    random_file = write_maps(tmp_path / "random.idse", [random_map(fmt, seed) for seed in range(count)], fmt, **arguments)
    weighted = replace(job, weights=random_file, idse=IdseOptions(tau=0.1, qp_map_clip=12))
    logs = run_all({
        "stock": (job, tools.stock_encoder),
        "absent": (job, tools.encoder),
        "ones": (replace(job, weights=ones_file, idse=IdseOptions(tau=0.7, power=0.5, clip=3)), tools.encoder),
        "random": (weighted, tools.encoder),
        "again": (weighted, tools.encoder)})
    assert same(tmp_path, "stock", "absent") and logs["absent"].idse is None
    assert same(tmp_path, "stock", "ones")
    assert same(tmp_path, "random", "again")
    check_decoder(tmp_path, "random", fmt)
    for name in ("ones", "random"):
        summary = logs[name].idse
        assert summary.pictures == frames
        assert summary.unweighted == 0 and summary.masked == 0
        assert (summary.weighted > 0) == (options.get("preset") != "ultrafast")  # subme 0: no distortion
    if case == "lossless":
        assert (tmp_path / "random.yuv").read_bytes() == job.source.read_bytes()
    elif case != "tiny":
        assert not same(tmp_path, "stock", "random")
        assert logs["random"].idse.qp_offset_min < 0 < logs["random"].idse.qp_offset_max
    assert logs["ones"].idse.qp_offset_min == logs["ones"].idse.qp_offset_max == 0


# ---- assembly and C --------------------------------------------------------------------------------------------------

@pytest.fixture(scope="session")
def in_c(tmp_path_factory, tools) -> Path:
    return build_without_assembly(tmp_path_factory.mktemp("in-c"), tools)


@pytest.mark.parametrize("options", [
    {"preset": "placebo"}, {"preset": "slower", "psy-rd": "1:1"},
    {"preset": "slower", "psy-rd": "1:1", "no-8x8dct": ""}, {"no-cabac": "", "preset": "slower"},
    {"preset": "medium", "nr": "300"}, {"preset": "slower", "cqm": "jvt"}],
    ids=["placebo", "psy", "psy-4x4", "cavlc", "noise-reduction", "custom-matrix"])
@pytest.mark.parametrize("fmt", [VideoFormat(136, 88), VideoFormat(136, 88, "422"), VideoFormat(136, 88, "420", 10),
                                 VideoFormat(136, 88, "444", 10)], ids=str)
@pytest.mark.parametrize("kind", ["intra", "randomaccess"])
def test_assembly_gives_what_c_gives(tmp_path, tools, in_c, kind, fmt, options):
    """Trellis in assembly takes the weights in the place of its own table, with psychovisual trellis too."""
    job = make_job(tmp_path, fmt, kind, 4, tools, options=options | {"cpu-independent": ""})
    weights = write_maps(tmp_path / "random.idse", [random_map(fmt, seed) for seed in range(4)], fmt)
    jobs = {}
    for qp in (6, 26, 40):
        weighted = replace(job, rate=Rate("qp", qp), weights=weights, idse=IdseOptions(tau=0, qp_map_clip=12))
        jobs |= {f"stock-{qp}": (replace(job, rate=Rate("qp", qp)), tools.stock_encoder), f"absent-{qp}": (replace(job, rate=Rate("qp", qp)), in_c),
                 f"assembly-{qp}": (weighted, tools.encoder), f"c-{qp}": (weighted, in_c)}
    run_all(jobs)
    for qp in (6, 26, 40):
        assert same(tmp_path, f"stock-{qp}", f"absent-{qp}")
        assert same(tmp_path, f"assembly-{qp}", f"c-{qp}") and not same(tmp_path, f"assembly-{qp}", f"stock-{qp}")


# ---- what each setting changes ---------------------------------------------------------------------------------------

def test_every_setting_acts_alone(tmp_path, tools):
    """With everything off the bitstream is the stock one; each setting by itself changes it, and counts as itself."""
    fmt = VideoFormat(136, 72)
    job = make_job(tmp_path, fmt, "randomaccess", 8, tools, options={"preset": "slower"}, qp=26, rate="crf",
                   weights=write_maps(tmp_path / "random.idse", [random_map(fmt, seed) for seed in range(8)], fmt))
    settings = {"off": OFF, "rdoq1": replace(OFF, rdoq=1), "rdoq2": replace(OFF, rdoq=2),
                "qp": replace(OFF, qp_map=True), "qp1": replace(OFF, qp_map=True, qp_map_clip=1),
                "intra": replace(OFF, decisions=1), "skip": replace(OFF, decisions=2),
                "refinement": replace(OFF, decisions=4), "inter": replace(OFF, decisions=8), "all": replace(OFF, decisions=31),
                "luma": replace(OFF, decisions=15), "chroma": replace(OFF, decisions=16)}
    logs = run_all({"stock": (replace(job, weights=None), tools.stock_encoder)}
                   | {name: (replace(job, idse=idse), tools.encoder) for name, idse in settings.items()})
    assert same(tmp_path, "stock", "off")
    assert same(tmp_path, "stock", "chroma")  # a mask of chroma in no decision
    others = [name for name in settings if name not in ("off", "chroma")]
    for one, other in itertools.combinations(["stock", *others], 2):
        assert not same(tmp_path, one, other), (one, other)
    for name in others:
        check_decoder(tmp_path, name, fmt)
    for name, idse in settings.items():
        summary = logs[name].idse
        assert summary.unweighted == 0 and summary.pictures == 8
        assert (summary.weighted > 0) == (name in ("intra", "skip", "refinement", "inter", "all", "luma")), name
        assert (summary.masked > 0) == (name != "all"), name
        assert (summary.rdoq > 0) == (idse.rdoq > 0), name
        assert (summary.qp_groups > 0) == idse.qp_map, name
    assert logs["qp1"].idse.qp_offset_min == -1 and logs["qp1"].idse.qp_offset_max == 1


@pytest.mark.parametrize("options", [{}, {"preset": "placebo"}, {"no-cabac": "", "preset": "slower"}, {"threads": "3"}])
@pytest.mark.parametrize("kind", ["intra", "randomaccess"])
def test_absolute_weights_are_relative_ones_with_the_macroblocks_lambda(tmp_path, tools, kind, options):
    """Weights of 2 and 1/2, the same all over a macroblock: its QP moves by exactly 3, and lambda by the same factor as the
    distortion. Then weighting the distortion or leaving it plain are the same decisions, bit by bit."""
    fmt = VideoFormat(144, 144)
    levels = np.where(np.random.default_rng(3).permutation(81) < 27, 2.0, 0.5).reshape(9, 9)  # their mean is 1
    planes = tuple(levels.repeat(shape[0] // 9, 0).repeat(shape[1] // 9, 1).astype(np.float32) for shape in fmt.plane_shapes)
    weights = write_maps(tmp_path / "levels.idse", [WeightMap(planes, ones(fmt).shapes, (1.0, 1.0, 1.0))] * 4, fmt)
    job = make_job(tmp_path, fmt, kind, 4, tools, qp=30, weights=weights, options=options)
    idse = IdseOptions(tau=0)
    logs = run_all({"absolute": (replace(job, idse=idse), tools.encoder),
                    "plain": (replace(job, idse=replace(idse, rdoq=0, decisions=0)), tools.encoder),
                    "no-offset": (replace(job, idse=replace(idse, qp_map=False)), tools.encoder)})
    assert logs["absolute"].idse.qp_offset_min == -3 and logs["absolute"].idse.qp_offset_max == 3
    assert logs["absolute"].idse.weighted > 0 and logs["plain"].idse.weighted == 0
    assert same(tmp_path, "absolute", "plain") and not same(tmp_path, "absolute", "no-offset")


# ---- where errors go -------------------------------------------------------------------------------------------------

def squared_error(folder: Path, name: str, fmt: VideoFormat) -> np.ndarray:
    source, coded = (next(iter(read_yuv(folder / f"{file}.yuv", fmt)))[0].astype(float) for file in ("source", name))
    return (source - coded) ** 2


@pytest.mark.parametrize("idse", [IdseOptions(rdoq=0, qp_map=False), IdseOptions(rdoq=1, qp_map=False, decisions=0),
                                  IdseOptions(rdoq=0, decisions=0)], ids=["decisions", "trellis", "qp-map"])
def test_errors_move_to_where_weights_are_low(tmp_path, tools, idse):
    fmt = VideoFormat(192, 192)
    left = np.ones((192, 192), np.float32)
    left[:, :96], left[:, 96:] = 1.9, 0.1
    planes = (left, left[::2, ::2], left[::2, ::2])
    files = {name: write_maps(tmp_path / f"{name}.idse", [WeightMap(tuple(np.ascontiguousarray(p[:, ::step]) for p in planes),
                                                                    ones(fmt).shapes, (1.0, 1.0, 1.0))], fmt)
             for name, step in (("left", 1), ("right", -1))}
    job = make_job(tmp_path, fmt, "intra", 1, tools, options={"preset": "slower"}, idse=replace(idse, tau=0, qp_map_clip=6))
    run_all({name: (replace(job, weights=path), tools.encoder) for name, path in files.items()})
    error = {name: squared_error(tmp_path, name, fmt) for name in files}
    assert error["left"][:, :96].mean() < 0.97 * error["right"][:, :96].mean()
    assert error["right"][:, 96:].mean() < 0.97 * error["left"][:, 96:].mean()


def test_weights_act_where_qp_cannot_move(tmp_path, tools):
    """A QP range of one value leaves the map's offsets without effect: lambda stays, so do the weights."""
    fmt = VideoFormat(176, 144)
    weights, mask = region_map(fmt, slice(32, 96), slice(48, 128), 16)
    job = make_job(tmp_path, fmt, "intra", 1, tools, rate="crf", qp=30, idse=IdseOptions(tau=0),
                   weights=write_maps(tmp_path / "region.idse", [weights], fmt), options={"qpmin": "32", "qpmax": "32"})
    run_all({"map": (job, tools.encoder), "no-map": (replace(job, idse=replace(job.idse, qp_map=False)), tools.encoder),
             "plain": (replace(job, weights=None), tools.encoder)})
    assert (tmp_path / "map.yuv").read_bytes() == (tmp_path / "no-map.yuv").read_bytes()
    assert squared_error(tmp_path, "map", fmt)[mask].mean() < 0.9 * squared_error(tmp_path, "plain", fmt)[mask].mean()


def test_weights_far_from_one_are_limited_and_said_to_be(tmp_path, tools):
    """Chroma of the largest QP, whose distortion psy-rd multiplies by 16, at a weight of 37: more than x264's costs hold."""
    fmt, frames = VideoFormat(320, 240, "420", 10), 6
    weights, mask = region_map(fmt, slice(80, 144), slice(80, 112), 1e6)
    job = make_job(tmp_path, fmt, "randomaccess", frames, tools, qp=51, idse=IdseOptions(qp_map=False),
                   weights=write_maps(tmp_path / "peak.idse", [weights] * frames, fmt), options={"psy-rd": "1:0"})
    logs = run_all({"peak": (job, tools.encoder), "plain": (replace(job, weights=None), tools.encoder)})
    assert any("distortions were limited" in note for note in logs["peak"].notes)
    errors = {}
    for name in logs:
        pairs = zip(*(read_yuv(tmp_path / f"{file}.yuv", fmt) for file in ("source", name)))
        errors[name] = np.mean([(a[c].astype(float) - b[c])[mask[::2, ::2]] ** 2 for a, b in pairs for c in (1, 2)])
    assert errors["peak"] < errors["plain"]
    check_decoder(tmp_path, "peak", fmt)


@pytest.mark.parametrize("options", [{}, {"no-cabac": ""}, {"no-8x8dct": ""}, {"no-8x8dct": "", "no-cabac": ""}],
                         ids=["8x8", "8x8-cavlc", "4x4", "4x4-cavlc"])
def test_coefficient_weights_know_horizontal_from_vertical(tmp_path, tools, options):
    """x264 keeps coefficients transposed: shapes that protect horizontal frequencies must protect those."""
    fmt = VideoFormat(128, 128, "400")
    picture = load_picture("skimage:astronaut")[100:228, 180:308, 1]
    write_yuv(tmp_path / "source.yuv", [(picture,)], fmt)
    whole = ones(fmt)

    def shapes(horizontal: bool) -> dict[int, tuple[np.ndarray, ...]]:
        result = {}
        for n in whole.shapes:
            v, u = np.mgrid[:n, :n]
            weight = np.where(u == v, 1.0, np.where((u > v) == horizontal, 4.0, 0.25))
            result[n] = (np.tile(weight / weight.mean(), (128 // n, 128 // n)).astype(np.float32),)
        return result

    job = EncodeJob(tmp_path / "source.yuv", fmt, 1, Rate("qp", 30), tmp_path / "o.264", (X264.config_for("intra", fmt, tools),),
                         options={"trellis": "2"} | options,
                         idse=IdseOptions(tau=0, rdoq=2, qp_map=False, decisions=0))
    names = {"horizontal": True, "vertical": False}
    run_all({name: (replace(job, weights=write_maps(
        tmp_path / f"{name}.idse", [WeightMap(whole.planes, shapes(value), (1.0,))], fmt)), tools.encoder)
        for name, value in names.items()})
    energy = {}
    for name in names:
        source, coded = (next(iter(read_yuv(tmp_path / f"{file}.yuv", fmt)))[0].astype(float) for file in ("source", name))
        blocks = dctn((source - coded).reshape(16, 8, 16, 8), axes=(1, 3), norm="ortho") ** 2
        v, u = np.mgrid[:8, :8]
        energy[name] = {"h": blocks.transpose(0, 2, 1, 3)[..., u > v].sum(), "v": blocks.transpose(0, 2, 1, 3)[..., u < v].sum()}
    assert energy["horizontal"]["h"] / energy["horizontal"]["v"] < 0.95 * energy["vertical"]["h"] / energy["vertical"]["v"]


# ---- which map serves which picture ----------------------------------------------------------------------------------

def test_maps_belong_to_pictures_in_output_order(tmp_path, tools):
    """B pictures are coded after those that follow them; the lookahead and frame threads hold several at once."""
    fmt, frames = VideoFormat(64, 128), 6
    base = [ones(fmt)] * frames
    files = {"base": write_maps(tmp_path / "base.idse", base, fmt)}
    for poc in range(frames):
        files[f"poc{poc}"] = write_maps(tmp_path / f"poc{poc}.idse", base[:poc] + [random_map(fmt, poc)] + base[poc + 1:], fmt)
    job = make_job(tmp_path, fmt, "randomaccess", frames, tools, qp=22, idse=IdseOptions(qp_map=False),
                   options={"threads": "3", "b-adapt": "0"})
    logs = run_all({name: (replace(job, weights=path), tools.encoder) for name, path in files.items()})
    order = [picture.poc for picture in logs["base"].pictures]
    assert sorted(order) == list(range(frames)) and order != sorted(order)
    plain = list(read_yuv(tmp_path / "base.yuv", fmt))
    for poc in range(frames):
        coded = list(read_yuv(tmp_path / f"poc{poc}.yuv", fmt))
        changed = [n for n in order if any((a != b).any() for a, b in zip(plain[n], coded[n]))]
        assert changed and changed[0] == poc, f"map {poc} changed pictures {changed}, coded in order {order}"


def test_frames_that_share_a_map(tmp_path, tools):
    fmt = VideoFormat(64, 64)
    one, two = random_map(fmt, 1), random_map(fmt, 2)
    job = make_job(tmp_path, fmt, "randomaccess", 6, tools, options={"threads": "2"})
    files = {"shared": write_maps(tmp_path / "a.idse", [one, two], fmt, frame_count=6, frames_per_map=3),
             "single": write_maps(tmp_path / "b.idse", [one] * 3 + [two] * 3, fmt),
             "otherwise": write_maps(tmp_path / "c.idse", [one] + [two] * 5, fmt)}
    run_all({name: (replace(job, weights=path), tools.encoder) for name, path in files.items()})
    assert same(tmp_path, "shared", "single") and not same(tmp_path, "shared", "otherwise")


# ---- the module ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("rate, value", [("qp", 30), ("crf", 30), ("abr", 60)])
def test_encode(tmp_path, tools, rate, value):
    fmt = VideoFormat(131, 75, matrix="bt601", full_range=True)  # odd: coded as 132x76
    coded = VideoFormat(132, 76)
    frames = 9
    weights = write_maps(tmp_path / "w.idse", [random_map(coded, 1)], coded, frame_count=frames, frames_per_map=frames)
    job = make_job(tmp_path, fmt, "randomaccess", frames, tools, rate=rate, qp=value, weights=weights,
                   options={"keyint": "4"})
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


@pytest.mark.parametrize("changes, line", [
    ({"rate": Rate("qp", 52)}, "QP 52: use 0 to 51 for 8 bits"),
    ({"rate": Rate("abr", 0)}, "bit rate 0: use 1 kbit/s or more"),
    ({"options": {"bogus": "1"}}, "bogus"),
    ({"options": {"preset": "fastest"}}, "invalid preset 'fastest'"),
    ({"options": {"interlaced": ""}}, "--idse-weights cannot be combined with interlaced coding; give --no-interlaced"),
    ({"frames": 3}, "weights for 2 frames, 3 are needed"),
])
def test_refusals(tmp_path, tools, changes, line):
    fmt = VideoFormat(64, 64)
    job = replace(make_job(tmp_path, fmt, "intra", 3, tools), **{"frames": 2} | changes,
                  weights=write_maps(tmp_path / "w.idse", [random_map(fmt, 1)] * 2, fmt))
    with pytest.raises(FprdoError, match=re.escape(line)) as error:
        encode(X264, job, tools)
    assert "\n" not in str(error.value)
    assert {path.name for path in tmp_path.iterdir()} == {"source.yuv", "w.idse"}


def test_unusable_weights_leave_no_output(tmp_path, tools):
    """Said by the encoder itself, before it creates its output file."""
    fmt = VideoFormat(64, 64)
    job = make_job(tmp_path, fmt, "intra", 1, tools, recon=None)
    good = write_maps(tmp_path / "good.idse", [random_map(fmt, 1)], fmt)
    damaged = bytearray(good.read_bytes())
    damaged[-200] ^= 1
    (tmp_path / "damaged.idse").write_bytes(damaged)
    small = VideoFormat(32, 64)
    write_maps(tmp_path / "small.idse", [random_map(small, 1)], small)
    for name, line in (("damaged", "wrong checksum of map 0 of 1"), ("small", "weights for 32x64, the pictures are 64x64"),
                       ("absent", "cannot be opened")):
        command = X264.command(replace(job, weights=tmp_path / f"{name}.idse"), tools.encoder)
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 2
        assert re.search(rf"^IDSE: error: {re.escape(str(tmp_path))}/{name}.idse: .*{line}", done.stderr, re.MULTILINE)
        assert not job.bitstream.exists()
    command = X264.command(replace(job, weights=good, options={"idse-tau": "much"}), tools.encoder)
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and "IDSE: error: --idse-tau much: give a number" in done.stderr


@pytest.mark.parametrize("options, note", [
    ({"subme": "5"}, "subme 5 decides without distortion, the weights change QP and trellis only"),
    ({"subme": "6"}, "subme 6 decides without distortion in B-frames"),
    ({"trellis": "0"}, "trellis 0 quantises without distortion, idse-rdoq does nothing"),
    ({}, "lossless coding has no distortion, the weights do nothing"), ({}, None)])
def test_what_does_nothing_is_said(tmp_path, tools, options, note):
    fmt = VideoFormat(64, 64)
    job = make_job(tmp_path, fmt, "randomaccess", 2, tools, options=options, qp=0 if "lossless" in str(note) else 27,
                   weights=write_maps(tmp_path / "w.idse", [random_map(fmt, 1)] * 2, fmt))
    notes = encode(X264, job, tools).log.notes
    assert len(notes) == (note is not None) and all(line.startswith(note) for line in notes)


def test_defaults_give_way_to_the_user(tmp_path):
    fmt = VideoFormat(64, 64)
    config = tmp_path / "mine.cfg"
    config.write_text("# of mine\nkeyint = 5  # short\nno-mbtree\n\naq-mode = 2\n")
    job = EncodeJob(Path("s.yuv"), fmt, 1, Rate("qp", 30), Path("o.264"), (config,), options={"psy-rd": "1:0.1", "sliced-threads": ""})
    words = X264.command(job, Path("x264"))
    assert words[words.index("--keyint") + 1] == "5" and "--no-mbtree" in words and words[words.index("--aq-mode") + 1] == "2"
    assert "--no-psy" not in words and words[words.index("--threads") + 1] == "1" and "--sliced-threads" in words
    assert X264.remarks(job) == ["x264 runs with --threads 1, with weights and without; give these options to "
                                                    "have it otherwise"]
    config.write_text("key int = 5\n")
    with pytest.raises(FprdoError, match="mine.cfg, line 1: 'key int' is no option of x264"):
        X264.command(job, Path("x264"))
