"""What the patched encoder owes: the stock bitstream where weights say nothing, a decodable one where they do, less
error where they are high, and one line about every file that it cannot use."""

import itertools
import re
import struct
import subprocess
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from clips import make_job
from oracles import random_map, region_map, run, run_all, same, write_maps
from scipy.fft import dctn

from fprdo_bridge.bitstream.libav import decode_libav, supports
from fprdo_bridge.bitstream.nal_units import Standard
from fprdo_bridge.encoders.decoding import decode_own
from fprdo_bridge.encoders.hm import HM
from fprdo_bridge.encoders.job import EncodeJob, IdseOptions
from fprdo_bridge.video.formats import VideoFormat, first_difference
from fprdo_bridge.video.pictures import load_picture
from fprdo_bridge.video.raw import read_yuv, write_yuv
from fprdo_bridge.importance.idse_file import WeightMap, ones

SIZES = (4, 8, 16, 32)
OFF = IdseOptions(rdoq=0, qp_map=False, sao=False, decisions=0)


def check_decoders(folder: Path, name: str, fmt: VideoFormat, tools) -> None:
    """The stock decoders find the encoder's MD5 in every picture and give its reconstruction."""
    recon = list(read_yuv(folder / f"{name}.yuv", fmt))
    report = decode_own(HM, tools, folder / f"{name}.bin", folder / "decoded.yuv", fmt)
    assert report.pictures == report.verified == len(recon)
    assert first_difference(recon, read_yuv(folder / "decoded.yuv", fmt)) is None
    if supports(fmt, Standard.HEVC):
        assert first_difference(recon, decode_libav(folder / f"{name}.bin", fmt)) is None


# ---- stock bitstreams, and decodable ones ----------------------------------------------------------------------------

LOSSLESS = {"CostMode": "lossless", "TransquantBypassEnable": "1", "CUTransquantBypassFlagForce": "1"}
RANGE_EXTENSIONS = {"ImplicitResidualDPCM": "1", "ExplicitResidualDPCM": "1", "ResidualRotation": "1",
                    "SingleSignificanceMapContext": "1", "GolombRiceParameterAdaptation": "1",
                    "TransformSkipLog2MaxSize": "4", "CrossComponentPrediction": "1"}
CASES = {
    "intra": (136, 72, "420", 8, "intra", 1, {}),
    "intra-2": (136, 72, "420", 8, "intra", 2, {"MaxCuDQPDepth": "2"}),
    "no-rdoq": (136, 72, "420", 8, "intra", 1, {"RDOQ": "0", "RDOQTS": "0"}),
    "no-rdoqts": (136, 72, "420", 8, "intra", 1, {"RDOQTS": "0"}),
    "no-sao": (136, 72, "420", 8, "intra", 1, {"SAO": "0"}),
    "no-transform-skip": (136, 72, "420", 8, "intra", 1, {"TransformSkip": "0"}),
    "no-sign-hiding": (136, 72, "420", 8, "intra", 1, {"SignHideFlag": "0"}),
    "bare": (136, 72, "420", 8, "lowdelay", 2, {"RDOQ": "0", "RDOQTS": "0", "SAO": "0", "TransformSkip": "0",
                                                "SignHideFlag": "0"}),
    "scaling-list": (136, 72, "420", 8, "intra", 1, {"ScalingList": "1", "MaxCuDQPDepth": "1"}),
    "delta-qp-search": (72, 72, "420", 8, "intra", 1, {"MaxDeltaQP": "1", "MaxCuDQPDepth": "1"}),
    "delta-qp-search-0": (72, 72, "420", 8, "lowdelay", 2, {"MaxDeltaQP": "1", "MaxCuDQPDepth": "0"}),
    "small-ctu": (104, 56, "420", 8, "randomaccess", 2, {"MaxCUWidth": "16", "MaxCUHeight": "16",
                                                         "MaxPartitionDepth": "2", "QuadtreeTULog2MaxSize": "4"}),
    "slices": (136, 136, "420", 8, "intra", 1, {"SliceMode": "1", "SliceArgument": "2", "MaxCuDQPDepth": "1"}),
    "pcm": (72, 72, "420", 8, "intra", 1, {"PCMEnabledFlag": "1", "PCMLog2MinSize": "3", "PCMInputBitDepthFlag": "1"}),
    "lossless": (72, 72, "420", 8, "intra", 1, LOSSLESS),
    "lossless-inter": (72, 72, "420", 8, "lowdelay", 2, LOSSLESS | {"MaxCuDQPDepth": "1"}),
    "mixed-lossless": (72, 72, "420", 8, "lowdelay", 2, LOSSLESS | {"CostMode": "mixed_lossless_lossy",
                                                                    "CUTransquantBypassFlagForce": "0"}),
    "lowdelay": (130, 66, "420", 8, "lowdelay", 3, {}),
    "lowdelay-weighted-prediction": (136, 72, "420", 8, "lowdelay", 3, {"WeightedPredP": "1", "WeightedPredB": "1"}),
    "randomaccess": (136, 72, "420", 8, "randomaccess", 3, {"MaxCuDQPDepth": "1"}),
    "randomaccess-10": (134, 74, "420", 10, "randomaccess", 3, {}),
    "intra-10": (130, 66, "420", 10, "intra", 1, {"MaxCuDQPDepth": "1"}),
    "intra-12": (72, 40, "420", 12, "intra", 1, {"MaxCuDQPDepth": "1"}),
    "400": (129, 65, "400", 8, "intra", 1, {"MaxCuDQPDepth": "1"}),
    "400-10": (97, 63, "400", 10, "lowdelay", 2, {}),
    "422": (130, 65, "422", 8, "intra", 1, {"MaxCuDQPDepth": "1"}),
    "422-10": (130, 65, "422", 10, "randomaccess", 2, {}),
    "444": (129, 65, "444", 8, "intra", 1, {"CrossComponentPrediction": "1", "MaxCuDQPDepth": "1"}),
    "444-10": (97, 63, "444", 10, "lowdelay", 2, {"CrossComponentPrediction": "1"}),
    "444-range-extensions": (97, 63, "444", 8, "lowdelay", 2, RANGE_EXTENSIONS),
    "422-range-extensions": (98, 63, "422", 8, "intra", 1, RANGE_EXTENSIONS | {"CrossComponentPrediction": "0",
                                                                                "MaxCuDQPDepth": "1"}),
    "tiny": (8, 8, "420", 8, "intra", 1, {}),
}


@pytest.mark.parametrize("case", CASES)
def test_stock_without_a_say_and_decodable_with_one(tmp_path, tools, case):
    width, height, chroma, depth, kind, frames, options = CASES[case]
    fmt = VideoFormat(width, height, chroma, depth)
    job = make_job(tmp_path, fmt, tools, kind=kind, frames=frames, options=options, qp=27)
    ones_file = write_maps(tmp_path / "ones.idse", [ones(fmt)] * frames, fmt)
    random_file = write_maps(tmp_path / "random.idse", [random_map(fmt, seed) for seed in range(frames)], fmt)
    logs = run_all({
        "stock": (job, tools.stock_encoder),
        "absent": (job, tools.encoder),
        "ones": (replace(job, weights=ones_file, idse=IdseOptions(tau=0.7, power=0.5, clip=3)), tools.encoder),
        "random": (replace(job, weights=random_file, idse=IdseOptions(tau=0.1, qp_map_clip=12)), tools.encoder)})

    assert same(tmp_path, "stock", "absent") and logs["absent"].idse is None
    assert same(tmp_path, "stock", "ones")
    check_decoders(tmp_path, "random", fmt, tools)
    for name in ("ones", "random"):
        summary = logs[name].idse
        assert summary.pictures == frames
        assert summary.weighted > 0 and summary.unweighted == 0 and summary.masked == 0
    if options.get("CUTransquantBypassFlagForce") == "1":
        assert (tmp_path / "random.yuv").read_bytes() == job.source.read_bytes()
    else:
        assert not same(tmp_path, "stock", "random")
        assert (logs["random"].idse.rdoq > 0) == (options.get("RDOQ") != "0")
        if case != "tiny":
            assert logs["random"].idse.qp_offset_min < logs["random"].idse.qp_offset_max
    assert logs["ones"].idse.qp_groups == 0 or logs["ones"].idse.qp_offset_min == logs["ones"].idse.qp_offset_max == 0


@pytest.mark.parametrize("qp", [0, 51])
def test_qp_offsets_stay_in_the_range_of_qp(tmp_path, tools, qp):
    fmt = VideoFormat(72, 72)
    job = make_job(tmp_path, fmt, tools, qp=qp, options={"MaxCuDQPDepth": "2"},
                   idse=IdseOptions(tau=0, qp_map_clip=12),
                   weights=write_maps(tmp_path / "random.idse", [random_map(fmt, 1)], fmt))
    summary = run(job, tools.encoder, "random").idse
    assert summary.qp_offset_min < -3 and summary.qp_offset_max > 3
    check_decoders(tmp_path, "random", fmt, tools)


# ---- what each setting changes -----------------------------------------------------------------------------------

def test_every_setting_acts_alone(tmp_path, tools):
    """With everything off the bitstream is the stock one; each setting by itself changes it, and counts as itself."""
    fmt = VideoFormat(136, 72)
    job = make_job(tmp_path, fmt, tools, frames=3, kind="lowdelay", qp=27,
                   weights=write_maps(tmp_path / "random.idse", [random_map(fmt, seed) for seed in range(3)], fmt))
    settings = {"off": OFF, "rdoq1": replace(OFF, rdoq=1), "rdoq2": replace(OFF, rdoq=2),
                "qp": replace(OFF, qp_map=True), "qp1": replace(OFF, qp_map=True, qp_map_clip=1),
                "sao": replace(OFF, sao=True), "intra": replace(OFF, decisions=1), "skip": replace(OFF, decisions=2),
                "residual": replace(OFF, decisions=4), "inter": replace(OFF, decisions=8),
                "all": replace(OFF, decisions=31), "luma": replace(OFF, decisions=15),
                "chroma": replace(OFF, decisions=16)}
    logs = run_all({"stock": (replace(job, weights=None), tools.stock_encoder)}
                   | {name: (replace(job, idse=idse), tools.encoder) for name, idse in settings.items()})
    assert same(tmp_path, "stock", "off")
    assert same(tmp_path, "stock", "chroma")  # a mask of chroma in no decision
    others = [name for name in settings if name not in ("off", "chroma")]
    for one, other in itertools.combinations(["stock", *others], 2):
        assert not same(tmp_path, one, other), (one, other)
    for name in others:
        check_decoders(tmp_path, name, fmt, tools)

    for name, idse in settings.items():
        summary = logs[name].idse
        assert summary.unweighted == 0 and summary.pictures == 3
        assert (summary.weighted > 0) == (name in ("intra", "skip", "residual", "inter", "all", "luma")), name
        assert (summary.masked > 0) == (name != "all"), name
        assert (summary.rdoq > 0) == (idse.rdoq > 0), name
        assert (summary.qp_groups > 0) == idse.qp_map, name
    assert logs["qp1"].idse.qp_offset_min == -1 and logs["qp1"].idse.qp_offset_max == 1
    assert logs["qp"].idse.qp_offset_min < -1 and logs["qp"].idse.qp_offset_max > 1
    assert {log.idse.weighted + log.idse.masked for name, log in logs.items() if name in ("off", "chroma")} == {
        logs["off"].idse.masked}


def test_rdoq_modes_without_shapes_are_the_same_but_for_transform_skip(tmp_path, tools):
    fmt = VideoFormat(72, 72)
    weights = write_maps(tmp_path / "pixels.idse", [replace(random_map(fmt, 5), shapes={})], fmt, transform_sizes=())
    job = make_job(tmp_path, fmt, tools, weights=weights, options={"TransformSkip": "0"})
    run_all({f"rdoq{mode}": (replace(job, idse=IdseOptions(rdoq=mode)), tools.encoder) for mode in (0, 1, 2)})
    assert same(tmp_path, "rdoq1", "rdoq2") and not same(tmp_path, "rdoq0", "rdoq1")


# ---- which map serves which picture ------------------------------------------------------------------------------

def test_maps_belong_to_pictures_in_output_order(tmp_path, tools):
    """Random access codes 0, 4, 2, 1, 3 or the like: in coding order, the first picture to change is the one whose map
    did."""
    fmt, frames = VideoFormat(72, 40), 5
    base = [ones(fmt)] * frames
    files = {"base": write_maps(tmp_path / "base.idse", base, fmt)}
    for poc in range(frames):
        maps = base[:poc] + [random_map(fmt, poc)] + base[poc + 1:]
        files[f"poc{poc}"] = write_maps(tmp_path / f"poc{poc}.idse", maps, fmt)
    job = make_job(tmp_path, fmt, tools, frames=frames, kind="randomaccess", qp=22, idse=IdseOptions(qp_map=False))
    logs = run_all({name: (replace(job, weights=path), tools.encoder) for name, path in files.items()})
    order = [picture.poc for picture in logs["base"].pictures]
    assert sorted(order) == list(range(frames)) and order != sorted(order)
    for poc in range(frames):
        changed = [a.poc for a, b in zip(logs["base"].pictures, logs[f"poc{poc}"].pictures) if a.md5 != b.md5]
        assert changed[0] == poc, f"map {poc} changed pictures {changed}, coded in order {order}"


def test_maps_beyond_the_coded_frames_do_not_matter(tmp_path, tools):
    fmt = VideoFormat(72, 40)
    maps = [random_map(fmt, seed) for seed in range(4)]
    jobs = {}
    for name, chosen in (("three", maps[:3]), ("four", maps), ("other", [*maps[:3], random_map(fmt, 9)]),
                         ("third", [*maps[:2], random_map(fmt, 9)])):
        weights = write_maps(tmp_path / f"{name}.idse", chosen, fmt)
        jobs[name] = (make_job(tmp_path, fmt, tools, frames=3, kind="randomaccess", weights=weights), tools.encoder)
    run_all(jobs)
    assert same(tmp_path, "three", "four") and same(tmp_path, "three", "other")
    assert not same(tmp_path, "three", "third")


def test_frames_that_share_a_map(tmp_path, tools):
    fmt = VideoFormat(72, 40)
    one, two = random_map(fmt, 1), random_map(fmt, 2)
    job = make_job(tmp_path, fmt, tools, frames=4, kind="lowdelay")
    files = {"shared": write_maps(tmp_path / "a.idse", [one, two], fmt, frame_count=4, frames_per_map=2),
             "single": write_maps(tmp_path / "b.idse", [one, one, two, two], fmt),
             "otherwise": write_maps(tmp_path / "c.idse", [one, two, two, two], fmt)}
    run_all({name: (replace(job, weights=path), tools.encoder) for name, path in files.items()})
    assert same(tmp_path, "shared", "single") and not same(tmp_path, "shared", "otherwise")


def test_temporal_subsampling_uses_the_maps_of_the_frames_it_codes(tmp_path, tools):
    fmt = VideoFormat(72, 40)
    maps = [random_map(fmt, seed) for seed in range(4)]
    job = make_job(tmp_path, fmt, tools, frames=4, options={"TemporalSubsampleRatio": "2"})
    files = {"base": maps, "odd": [maps[0], random_map(fmt, 8), maps[2], random_map(fmt, 9)],
             "even": [*maps[:2], random_map(fmt, 8), maps[3]]}
    logs = run_all({name: (replace(job, weights=write_maps(tmp_path / f"{name}.idse", chosen, fmt)), tools.encoder)
                    for name, chosen in files.items()})
    assert len(logs["base"].pictures) == 2
    assert same(tmp_path, "base", "odd") and not same(tmp_path, "base", "even")
    md5 = {name: [picture.md5 for picture in log.pictures] for name, log in logs.items()}
    assert md5["base"][0] == md5["even"][0] and md5["base"][1] != md5["even"][1]


# ---- weights move error ------------------------------------------------------------------------------------------

@pytest.mark.parametrize("rows, columns", [(slice(96, 192), slice(0, 128)), (slice(64, 128), slice(64, 160))])
@pytest.mark.parametrize("idse", [IdseOptions(tau=0), IdseOptions(tau=0, qp_map=False)], ids=["map", "no-map"])
@pytest.mark.parametrize("qp", [27, 37])
def test_a_region_gains_what_the_rest_loses(tmp_path, tools, rows, columns, idse, qp):
    """Twice the weight, a photograph, the rate of the stock encoder within 5 %."""
    fmt = VideoFormat(256, 192)
    weights, mask = region_map(fmt, rows, columns, 2)
    rgb = load_picture("skimage:astronaut")[:192, 128:384]
    frame = (rgb[..., 1], rgb[::2, ::2, 0], rgb[::2, ::2, 2])
    job = make_job(tmp_path, fmt, tools, qp=qp, options={"MaxCuDQPDepth": "1"}, idse=idse)
    write_yuv(job.source, [frame], fmt)
    logs = run_all({"stock": (job, tools.stock_encoder),
                    "weighted": (replace(job, weights=write_maps(tmp_path / "w.idse", [weights], fmt)), tools.encoder)})
    errors = {}
    for name in logs:
        difference = next(read_yuv(tmp_path / f"{name}.yuv", fmt))[0].astype(float) - frame[0]
        errors[name] = np.array([(difference[where] ** 2).mean() for where in (mask, ~mask)])
    region, rest = errors["weighted"] / errors["stock"]
    assert region < 0.9 and rest > 1.03, (region, rest)
    assert logs["weighted"].bits == pytest.approx(logs["stock"].bits, rel=0.05)


def directional_map(fmt: VideoFormat, horizontal: bool) -> WeightMap:
    """Shapes that weigh coefficients of one orientation four times as much as those of the other."""
    whole = ones(fmt)
    shapes = {}
    for n, group in whole.shapes.items():
        vertical_frequency, horizontal_frequency = np.mgrid[:n, :n]
        lean = np.sign(horizontal_frequency - vertical_frequency) * (1 if horizontal else -1)
        block = np.array([1.0, 2.5, 4.0])[lean + 1]
        shapes[n] = tuple(np.tile(block / block.mean(), [side // n for side in plane.shape]).astype(np.float32)
                          for plane in group)
    return replace(whole, shapes=shapes)


@pytest.mark.parametrize("qp", [27, 37])
def test_shapes_favour_the_orientation_that_they_weigh(tmp_path, tools, qp):
    """On a texture that equals its transpose, weight on horizontal frequencies lowers their error; so for vertical."""
    fmt = VideoFormat(128, 128, "400")
    noise = np.random.default_rng(0).normal(0, 1, (130, 130))
    smooth = sum(noise[i:i + 128, j:j + 128] for i in range(3) for j in range(3))
    smooth = smooth + smooth.T
    plane = np.clip(128 + 30 * smooth / smooth.std(), 0, 255).astype(np.uint8)
    job = make_job(tmp_path, fmt, tools, qp=qp, idse=IdseOptions(tau=0, rdoq=2, qp_map=False))
    write_yuv(job.source, [(plane,)], fmt)
    files = {name: write_maps(tmp_path / f"{name}.idse", [directional_map(fmt, name == "horizontal")], fmt)
             for name in ("horizontal", "vertical")}
    logs = run_all({name: (replace(job, weights=path), tools.encoder) for name, path in files.items()})
    energy = {}
    for name in logs:
        difference = next(read_yuv(tmp_path / f"{name}.yuv", fmt))[0].astype(float) - plane
        spectrum = (dctn(difference.reshape(16, 8, 16, 8), axes=(1, 3), norm="ortho") ** 2).sum(axis=(0, 2))
        energy[name] = {"horizontal": np.triu(spectrum, 1).sum(), "vertical": np.tril(spectrum, -1).sum()}
    assert energy["vertical"]["horizontal"] > 1.2 * energy["horizontal"]["horizontal"]
    assert energy["horizontal"]["vertical"] > 1.2 * energy["vertical"]["vertical"]
    assert logs["horizontal"].bits == pytest.approx(logs["vertical"].bits, rel=0.03)


# ---- weights lie where their samples are -------------------------------------------------------------------------

SMALL_BLOCKS = {"MaxCUWidth": "16", "MaxCUHeight": "16", "MaxPartitionDepth": "2", "QuadtreeTULog2MaxSize": "2",
                "QuadtreeTULog2MinSize": "2", "QuadtreeTUMaxDepthInter": "3", "QuadtreeTUMaxDepthIntra": "3",
                "TransformSkip": "0"}

ONE_SIZE = {"MaxCUWidth": "16", "MaxCUHeight": "16", "MaxPartitionDepth": "1", "QuadtreeTULog2MaxSize": "4"}


def stripes(fmt: VideoFormat, axis: int, size: int) -> WeightMap:
    """Every plane in stripes of so many of its samples, across rows or columns: 1.9 and 0.1 by turns."""
    whole = ones(fmt)
    for plane in whole.planes:
        odd = np.arange(plane.shape[axis]) // size % 2 == 1
        plane[:] = np.expand_dims(np.where(odd, 0.1, 1.9), 1 - axis)
    return whole


def contrast(folder: Path, name: str, job: EncodeJob, axis: int, size: int) -> np.ndarray:
    """Per plane, the error of the last picture in the stripes of low weight by that in the others."""
    ratios = []
    for a, b in zip(list(read_yuv(job.source, job.fmt))[-1], list(read_yuv(folder / f"{name}.yuv", job.fmt))[-1]):
        error = np.square(a.astype(float) - b).mean(axis=1 - axis)
        odd = np.arange(len(error)) // size % 2 == 1
        ratios.append(error[odd].mean() / error[~odd].mean())
    return np.array(ratios)


@pytest.mark.parametrize("axis", [0, 1], ids=["rows", "columns"])
@pytest.mark.parametrize("chroma, kind, size, options, expected", [
    ("420", "intra", 4, SMALL_BLOCKS, {"rdoq": (1.6, 1.6, 1.6), "intra": (1.15, 1.1, 1.1)}),
    ("444", "intra", 4, SMALL_BLOCKS, {"rdoq": (1.6, 1.6, 1.6), "intra": (1.15, 1.1, 1.1)}),
    ("422", "intra", 4, SMALL_BLOCKS, {"rdoq": (1.6, 1.6, 1.6)}),
    ("420", "lowdelay", 4, SMALL_BLOCKS, {"rdoq": (1.3, 2.5, 2.5), "residual": (0, 1.6, 1.6), "skip": (1.3, 3, 3)}),
    ("444", "lowdelay", 4, SMALL_BLOCKS, {"rdoq": (1.25, 1.25, 1.25)}),
    ("444", "lowdelay", 16, {}, {"rdoq": (1.2, 1.2, 1.2), "residual": (1.15, 1.15, 1.15), "skip": (1.8, 1.8, 1.8)}),
    ("420", "intra", 16, ONE_SIZE, {"qp": (1.5, 0, 0)})],
    ids=["intra-420", "intra-444", "intra-422", "inter-420", "inter-444", "inter-444-wide", "qp-map"])
def test_weights_lie_where_their_samples_are(tmp_path, tools, chroma, kind, size, options, axis, expected):
    """Where stripes are as wide as the blocks, a position that is off by a block takes the wrong weight: errors must go
    by the weights, against the stock encoder's. Inter pictures predict from one without weights, else motion moves its
    stripes. Expected are lower bounds for Y, Cb and Cr, about halfway from 1 to what was found."""
    fmt = VideoFormat(128, 96, chroma)
    frames = 2 if kind == "lowdelay" else 1
    weights = write_maps(tmp_path / "w.idse", [ones(fmt)] * (frames - 1) + [stripes(fmt, axis, size)], fmt)
    job = make_job(tmp_path, fmt, tools, kind=kind, frames=frames, qp=22 if kind == "lowdelay" else 32, options=options)
    idse = {"rdoq": replace(OFF, tau=0, rdoq=1), "intra": replace(OFF, tau=0, decisions=1 + 16),
            "skip": replace(OFF, tau=0, decisions=2 + 16), "residual": replace(OFF, tau=0, decisions=4 + 16),
            "qp": replace(OFF, tau=0, qp_map=True)}
    run_all({"stock": (job, tools.stock_encoder)}
            | {name: (replace(job, weights=weights, idse=idse[name]), tools.encoder) for name in expected})
    stock = contrast(tmp_path, "stock", job, axis, size)
    for name, bounds in expected.items():
        found = contrast(tmp_path, name, job, axis, size) / stock
        assert (found > bounds).all(), (name, found)


def quarters(fmt: VideoFormat, block: int, shift: int) -> WeightMap:
    """Blocks of so many luma samples with a mean weight of exactly 1.0: a quarter weighs 2.5, in one corner or, in
    every second block, in the other, and the rest 0.5. The grid is moved by `shift` luma samples."""
    whole = ones(fmt)
    for component, plane in enumerate(whole.planes):
        sub_width, sub_height = fmt.subsampling if component else (1, 1)
        y, x = (np.arange(side) * step - shift for side, step in zip(plane.shape, (sub_height, sub_width)))
        second = (np.add.outer(y // block, x // block) % 2).astype(bool)
        top, left = y[:, None] % block < block // 2, x[None] % block < block // 2
        plane[:] = np.where(np.where(second, ~top & ~left, top & left), 2.5, 0.5)
    return whole


@pytest.mark.parametrize("ctu, options", [
    (64, {}), (32, {"MaxCUWidth": "32", "MaxCUHeight": "32", "MaxPartitionDepth": "3"})])
@pytest.mark.parametrize("chroma", ["420", "422", "444"])
def test_sao_and_qp_map_take_the_means_of_their_own_blocks(tmp_path, tools, chroma, ctu, options):
    """Weights whose mean is 1.0 in every CTU change neither; the same ones on another grid do."""
    fmt = VideoFormat(192, 128, chroma)
    job = make_job(tmp_path, fmt, tools, qp=32, options=options)
    maps = {name: write_maps(tmp_path / f"{name}.idse", [quarters(fmt, ctu, shift)], fmt)
            for name, shift in (("aligned", 0), ("moved", 3 * ctu // 8))}
    idse = {"sao": replace(OFF, tau=0, sao=True), "qp": replace(OFF, tau=0, qp_map=True, qp_map_clip=12)}
    logs = run_all({"stock": (job, tools.stock_encoder)}
                   | {f"{what}-{name}": (replace(job, weights=path, idse=idse[what]), tools.encoder)
                      for what in idse for name, path in maps.items()})
    assert same(tmp_path, "stock", "sao-aligned")
    stock, moved = (next(read_yuv(tmp_path / f"{name}.yuv", fmt)) for name in ("stock", "sao-moved"))
    assert all((a != b).any() for a, b in zip(stock[1:], moved[1:]))
    aligned, moved = logs["qp-aligned"].idse, logs["qp-moved"].idse
    assert aligned.qp_groups >= 6 and aligned.qp_offset_min == aligned.qp_offset_max == 0
    assert moved.qp_offset_min < moved.qp_offset_max


# ---- configuration file ----------------------------------------------------------------------------------------------

OVERLAY = Path(__file__).parent.parent / "cfg" / "hm" / "idse.cfg"


def test_the_configuration_file_holds_the_defaults():
    lines = (line.partition("#")[0].split(":") for line in OVERLAY.read_text().splitlines())
    values = {name.strip(): value.strip() for name, value in filter(lambda words: len(words) == 2, lines)}
    arguments = dict(word.removeprefix("--").split("=") for word in IdseOptions().arguments(Path("w.idse")))
    assert arguments.pop("IDSEWeightFile") == "w.idse"
    ours = {name: float(values.pop(name)) for name in list(values) if name.startswith("IDSE")}
    assert ours == {name: float(value) for name, value in arguments.items()}
    assert values == HM.weighted_options(IdseOptions())


def test_the_configuration_file_makes_the_same_bitstream(tmp_path, tools):
    """As the command, and not as HM's configuration alone."""
    fmt = VideoFormat(136, 72)
    weights = write_maps(tmp_path / "w.idse", [random_map(fmt, 1)], fmt)
    job = make_job(tmp_path, fmt, tools, weights=weights, options=HM.weighted_options(IdseOptions()))
    run(job, tools.encoder, "command")
    bare = replace(job, weights=None, options={})

    def with_files(name: str, *configs: Path) -> None:
        one = replace(bare, config=configs, bitstream=tmp_path / f"{name}.bin", recon=tmp_path / f"{name}.yuv")
        arguments = [*HM.command(one, tools.encoder), f"--IDSEWeightFile={weights}"]
        subprocess.run(arguments, check=True, capture_output=True)
    with_files("files", *job.config, OVERLAY)
    with_files("without", *job.config)
    assert same(tmp_path, "command", "files") and not same(tmp_path, "command", "without")


# ---- bad input: the encoder by itself --------------------------------------------------------------------------------

BAD = VideoFormat(40, 24)


def refusal(job: EncodeJob, tools, *options: str) -> str:
    """The one line that the encoder says before it ends with status 2 and has made no file."""
    (job.source.parent / "out").mkdir(exist_ok=True)
    done = subprocess.run([*HM.command(job, tools.encoder), *options], capture_output=True, text=True)
    assert done.returncode == 2, (done.returncode, done.stderr)
    lines = [line for line in done.stderr.splitlines() if not line.startswith(("**", "Info:"))]  # HM's own remarks
    assert len(lines) == 1 and lines[0].startswith("IDSE: error: "), done.stderr
    assert not list((job.source.parent / "out").iterdir())
    return lines[0].removeprefix("IDSE: error: ")


@pytest.fixture
def bad_job(tmp_path, tools):
    """An encode of two frames with a good file, to be spoiled."""
    maps = [random_map(BAD, seed) for seed in range(2)]
    weights = write_maps(tmp_path / "w.idse", maps, BAD, metadata={"name": "bad"})
    return make_job(tmp_path, BAD, tools, frames=2, weights=weights)


def test_the_good_file_is_taken(bad_job, tools):
    assert run(bad_job, tools.encoder, "good").idse.pictures == 2


def flipped(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 1]) + data[position + 1:]


def versioned(data: bytes, version: int) -> bytes:
    """Another version with a checksum that is right."""
    changed = bytearray(data)
    struct.pack_into("<H", changed, 8, version)
    maps, = struct.unpack_from("<I", changed, 24)
    metadata, = struct.unpack_from("<I", changed, 56)
    struct.pack_into("<I", changed, 92, zlib.crc32(changed[96:96 + 4 * maps + metadata], zlib.crc32(changed[:92])))
    return bytes(changed)


def maps_offset(data: bytes) -> int:
    return struct.unpack_from("<Q", data, 48)[0]


REMAKE = "make the map again with: fprdo weights"
DAMAGE = {
    "empty": (lambda data: b"", f"not an .idse weight file; {REMAKE}"),
    "text": (lambda data: b"no weights at all\n" * 40, f"not an .idse weight file; {REMAKE}"),
    "picture": (lambda data: b"\x89PNG" + data[4:], f"not an .idse weight file; {REMAKE}"),
    "cut-8": (lambda data: data[:8], "not an .idse weight file"),
    "cut-12": (lambda data: data[:12], f"truncated, 12 bytes where the header alone has 96; {REMAKE}"),
    "cut-95": (lambda data: data[:95], "truncated, 95 bytes where the header alone has 96"),
    "cut-96": (lambda data: data[:96],
               r"truncated, 96 bytes where the header promises \d+ maps of \d+ bytes from byte \d+ on; copy it again or make"),
    "cut-half": (lambda data: data[:len(data) // 2], r"truncated, \d+ bytes where the header promises \d+"),
    "cut-1": (lambda data: data[:-1], r"truncated, \d+ bytes where the header promises \d+"),
    "longer": (lambda data: data + b"\0", r"too long, \d+ bytes where the header promises \d+"),
    "header-width": (lambda data: flipped(data, 12), "the header contradicts itself"),
    "header-reserved": (lambda data: flipped(data, 70), "wrong checksum of the header; copy it again"),
    "header-crc": (lambda data: flipped(data, 92), "wrong checksum of the header"),
    "map-crc": (lambda data: flipped(data, 96), "wrong checksum of the header"),
    "metadata": (lambda data: flipped(data, 106), "wrong checksum of the header"),
    "first-map": (lambda data: flipped(data, maps_offset(data)), "wrong checksum of map 0 of 2; copy it again"),
    "last-byte": (lambda data: flipped(data, len(data) - 1), "wrong checksum of map 1 of 2"),
    "version-2": (lambda data: versioned(data, 2), "version 2, this encoder reads version 1; update the encoder"),
    "version-65535": (lambda data: versioned(data, 65535), "version 65535"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_weight_files(bad_job, tools, damage):
    change, message = DAMAGE[damage]
    bad_job.weights.write_bytes(change(bad_job.weights.read_bytes()))
    assert re.match(f"{re.escape(str(bad_job.weights))}: .*{message}", refusal(bad_job, tools))


def test_weight_files_of_something_else(bad_job, tools, tmp_path):
    for other, frames, message in (
            (VideoFormat(24, 40), 2, "weights for 24x40, the pictures are 40x24; make the map again with: fprdo"),
            (VideoFormat(40, 24, "444"), 2, "weights for 4:4:4, the pictures are coded as 4:2:0; make the map"),
            (VideoFormat(40, 24, "400"), 2, "weights for 4:0:0, the pictures are coded as 4:2:0"),
            (BAD, 1, "weights for 1 frames, 2 are needed; code fewer frames")):
        weights = write_maps(tmp_path / "other.idse", [ones(other)] * frames, other)
        assert refusal(replace(bad_job, weights=weights), tools).startswith(f"{weights}: {message}")
    for path, message in ((tmp_path / "gone.idse", r"cannot be opened \(No such file or directory\); give the path"),
                          (tmp_path, "not an .idse weight file"),
                          (bad_job.source / "w.idse", r"cannot be opened \(Not a directory\)")):
        assert re.match(f"{re.escape(str(path))}: {message}", refusal(replace(bad_job, weights=path), tools))


@pytest.mark.parametrize("option, message", [
    ("IDSETau=-1", "IDSETau is -1; give a value from 0 to 1000"), ("IDSETau=1001", "IDSETau is 1001"),
    ("IDSEPower=0", "IDSEPower is 0; give a value above 0 and up to 1"), ("IDSEPower=1.5", "IDSEPower is 1.5"),
    ("IDSEClip=0.5", "IDSEClip is 0.5; give 0 for no limit, or a value from 1 to 255"),
    ("IDSEClip=300", "IDSEClip is 300"),
    ("IDSERdoq=3", "IDSERdoq is 3; give a value from 0 to 2"), ("IDSERdoq=-1", "IDSERdoq is -1"),
    ("IDSEQpMap=2", "IDSEQpMap is 2; give a value from 0 to 1"),
    ("IDSEQpMapClip=13", "IDSEQpMapClip is 13; give a value from 0 to 12"), ("IDSEQpMapClip=-1", "IDSEQpMapClip is -1"),
    ("IDSESao=2", "IDSESao is 2"), ("IDSEDecisions=32", "IDSEDecisions is 32; give a value from 0 to 31"),
    ("IDSEDecisions=-1", "IDSEDecisions is -1")])
def test_settings_out_of_range(bad_job, tools, option, message):
    assert refusal(bad_job, tools, f"--{option}").startswith(message)


@pytest.mark.parametrize("option", ["IDSETau=nan", "IDSEPower=inf", "IDSEClip=much", "IDSERdoq="])
def test_settings_that_are_no_numbers(bad_job, tools, option):
    """HM's own parser refuses them, by name and value."""
    (bad_job.source.parent / "out").mkdir()
    done = subprocess.run([*HM.command(bad_job, tools.encoder), f"--{option}"], capture_output=True, text=True)
    name, value = option.split("=")
    assert done.returncode and f'"{name}" with argument "{value}"' in done.stderr
    assert not list((bad_job.source.parent / "out").iterdir())


@pytest.mark.parametrize("options", [
    ["RateControl=1", "TargetBitrate=100000"], ["AdaptiveQP=1"], ["BIM=1"], ["SmoothQPReductionEnable=1"],
    ["LumaLevelToDeltaQPMode=1"], ["SelectiveRDOQ=1"], ["FieldCoding=1"]])
def test_combinations_that_make_no_sense(bad_job, tools, options):
    name = options[0].removesuffix("=1")
    assert refusal(bad_job, tools, *(f"--{option}" for option in options)) == (
        f"IDSEWeightFile cannot be combined with {name}; set {name} to 0")


def test_combinations_are_free_without_weights(tmp_path, tools):
    job = make_job(tmp_path, BAD, tools, options={"AdaptiveQP": "1"})
    run_all({"stock": (job, tools.stock_encoder), "patched": (job, tools.encoder)})
    assert same(tmp_path, "stock", "patched")


def test_the_stock_encoder_knows_no_weights(bad_job, tools):
    done = subprocess.run(HM.command(bad_job, tools.stock_encoder), capture_output=True, text=True)
    assert done.returncode and "IDSEWeightFile" in done.stderr
