"""What the patched encoder owes: the stock bitstream where weights say nothing, a decodable one where they do, less error
where they are high, and one line about every file that it cannot use."""

import itertools
import re
import struct
import subprocess
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from clips import clip, make_job
from scipy.fft import dctn

from fprdo_bridge.codecs import hm
from fprdo_bridge.codecs.decoders import decode_hm, decode_libav, supported_by_libav
from fprdo_bridge.codecs.hm_log import EncodeLog
from fprdo_bridge.frames import VideoFormat, first_difference, load_picture, read_yuv, write_yuv
from fprdo_bridge.importance.idse_file import WeightMap, ones, write_idse

SIZES = (4, 8, 16, 32)
OFF = hm.IdseOptions(rdoq=0, qp_map=False, sao=False, decisions=0)


def mean1_blocks(rng: np.random.Generator, rows: int, columns: int, n: int) -> np.ndarray:
    shape = rng.exponential(1, (rows // n, n, columns // n, n))
    return (shape / shape.mean(axis=(1, 3), keepdims=True)).reshape(rows, columns).astype(np.float32)


def random_map(fmt: VideoFormat, seed: int) -> WeightMap:
    """Weights that differ from 16x16 block to block by up to a hundred times, and from sample to sample; random shapes."""
    rng = np.random.default_rng(seed)
    whole = ones(fmt)
    planes = []
    for plane in whole.planes:
        blocks = np.exp(rng.normal(0, 1, [-(-side // 16) for side in plane.shape])).repeat(16, 0).repeat(16, 1)
        weights = blocks[:plane.shape[0], :plane.shape[1]] * rng.uniform(0.5, 1.5, plane.shape)
        planes.append((weights / weights.mean()).astype(np.float32))
    shapes = {n: tuple(mean1_blocks(rng, *shape.shape, n) for shape in group) for n, group in whole.shapes.items()}
    return WeightMap(tuple(planes), shapes, whole.plane_gain)


def write_maps(path: Path, maps: list[WeightMap], fmt: VideoFormat, **arguments) -> Path:
    write_idse(path, maps, fmt, **{"frame_count": len(maps)} | arguments)
    return path


def run(job: hm.EncodeJob, encoder: Path, name: str) -> EncodeLog:
    """Run the encoder itself, so that its bitstream is seen as it wrote it; outputs name.bin and name.yuv."""
    folder = job.source.parent
    this = replace(job, bitstream=folder / f"{name}.bin", recon=folder / f"{name}.yuv")
    done = subprocess.run(hm.command(this, encoder), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + done.stdout[-500:]
    return hm.parse_log(done.stdout)


def run_all(jobs: dict[str, tuple[hm.EncodeJob, Path]]) -> dict[str, EncodeLog]:
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(jobs, pool.map(lambda name: run(*jobs[name], name), jobs)))


def same(folder: Path, one: str, other: str) -> bool:
    """Whether bitstreams and reconstructions of two runs are equal."""
    bitstreams, reconstructions = ([(folder / f"{name}.{suffix}").read_bytes() for name in (one, other)]
                                   for suffix in ("bin", "yuv"))
    assert all(bitstreams) and all(reconstructions)
    return bitstreams[0] == bitstreams[1] and reconstructions[0] == reconstructions[1]


def check_decoders(folder: Path, name: str, fmt: VideoFormat, tools) -> None:
    """The stock decoders find the encoder's MD5 in every picture and give its reconstruction."""
    recon = list(read_yuv(folder / f"{name}.yuv", fmt))
    report = decode_hm(folder / f"{name}.bin", tools, folder / "decoded.yuv", fmt)
    assert len(report.pictures) == len(recon) and all(picture.verified for picture in report.pictures)
    assert first_difference(recon, read_yuv(folder / "decoded.yuv", fmt)) is None
    if supported_by_libav(fmt):
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
    "422-range-extensions": (98, 63, "422", 8, "intra", 1, RANGE_EXTENSIONS | {"CrossComponentPrediction": "0"}),
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
        "ones": (replace(job, weights=ones_file, idse=hm.IdseOptions(tau=0.7, power=0.5, clip=3)), tools.encoder),
        "random": (replace(job, weights=random_file, idse=hm.IdseOptions(tau=0.1, qp_map_clip=12)), tools.encoder)})

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
    job = make_job(tmp_path, fmt, tools, qp=qp, options={"MaxCuDQPDepth": "2"}, idse=hm.IdseOptions(tau=0, qp_map_clip=12),
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
                "residual": replace(OFF, decisions=4), "inter": replace(OFF, decisions=8), "all": replace(OFF, decisions=31),
                "luma": replace(OFF, decisions=15), "chroma": replace(OFF, decisions=16)}
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
    run_all({f"rdoq{mode}": (replace(job, idse=hm.IdseOptions(rdoq=mode)), tools.encoder) for mode in (0, 1, 2)})
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
    job = make_job(tmp_path, fmt, tools, frames=frames, kind="randomaccess", qp=22, idse=hm.IdseOptions(qp_map=False))
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
