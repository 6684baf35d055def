"""What the patched JM owes: the stock bitstream where weights say nothing, a decodable one where they do, less error
where they are high, and one line about every file and option that it cannot use."""

import itertools
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from clips import make_job
from oracles import random_map, region_map, run_all, same, write_maps

from fprdo_bridge import encoders
from fprdo_bridge.bitstream.libav import decode_libav, supports
from fprdo_bridge.bitstream.nal_units import Standard
from fprdo_bridge.encoders.decoding import decode_own
from fprdo_bridge.encoders.jm import JM
from fprdo_bridge.encoders.job import EncodeJob, IdseOptions
from fprdo_bridge.encoders.structures import KINDS
from fprdo_bridge.video.formats import VideoFormat, first_difference
from fprdo_bridge.video.pictures import load_picture
from fprdo_bridge.video.raw import read_yuv, write_yuv
from fprdo_bridge.importance.idse_file import ones

OFF = IdseOptions(rdoq=0, qp_map=False, sao=False, decisions=0)
CONFIGS = Path(encoders.__file__).parents[2] / "cfg" / "jm"


def check_decoders(folder: Path, name: str, fmt: VideoFormat, tools, libav: bool = True) -> None:
    """The stock decoders give the encoder's reconstruction."""
    recon = list(read_yuv(folder / f"{name}.yuv", fmt))
    assert decode_own(JM, tools, folder / f"{name}.bin", folder / "decoded.yuv", fmt).pictures == len(recon)
    assert first_difference(recon, read_yuv(folder / "decoded.yuv", fmt)) is None
    if libav and supports(fmt, Standard.AVC):
        assert first_difference(recon, decode_libav(folder / f"{name}.bin", fmt)) is None


# ---- stock bitstreams, and decodable ones ----------------------------------------------------------------------------

CAVLC, PLAIN_QUANTISATION = {"SymbolMode": "0"}, {"UseRDOQuant": "0"}
IBBP = {"NumberBFrames": "2", "HierarchicalCoding": "0", "HierarchyLevelQPEnable": "0"}
FIELDS, MBAFF = {"PicInterlace": "1"}, {"MbInterlace": "2"}
LOSSLESS = {"LosslessCoding": "1", "ProfileIDC": "244"}
SEPARATE = {"SeparateColourPlane": "1"}  # JM deblocks all planes with the QPs of the first: no map
CASES = {
    "intra": (88, 56, "420", 8, "intra", 2, {}),
    "cavlc": (88, 56, "420", 8, "intra", 1, CAVLC),
    "no-rdoq": (88, 56, "420", 8, "intra", 1, PLAIN_QUANTISATION),
    "cavlc-no-rdoq": (88, 56, "420", 8, "lowdelay", 2, CAVLC | PLAIN_QUANTISATION),
    "adaptive-rounding": (88, 56, "420", 8, "lowdelay", 2, PLAIN_QUANTISATION | {"AdaptiveRounding": "1"}),
    "4x4-transform": (88, 56, "420", 8, "intra", 1, {"Transform8x8Mode": "0"}),
    "8x8-transform": (88, 56, "420", 8, "lowdelay", 2, {"Transform8x8Mode": "2"}),
    "main-profile": (88, 56, "420", 8, "lowdelay", 2, {"Transform8x8Mode": "0", "ProfileIDC": "77"}),
    "baseline-profile": (88, 56, "420", 8, "lowdelay", 2, {"Transform8x8Mode": "0", "ProfileIDC": "66"} | CAVLC),
    "scaling-matrix": (88, 56, "420", 8, "intra", 1, {"ScalingMatrixPresentFlag": "1"}),
    "qp-search": (56, 40, "420", 8, "lowdelay", 2, {"RDOQ_QP_Num": "3"}),
    "ippp": (88, 56, "420", 8, "lowdelay", 3, {}),
    "ippp-cavlc": (72, 56, "420", 8, "lowdelay", 3, CAVLC),
    "ibbp": (88, 56, "420", 8, "randomaccess", 4, IBBP),
    "ibbp-cavlc": (72, 56, "420", 8, "randomaccess", 4, IBBP | CAVLC),
    "ibbp-temporal-direct": (72, 56, "420", 8, "randomaccess", 4, IBBP | {"DirectModeType": "0"}),
    "hierarchical": (72, 56, "420", 8, "randomaccess", 5, {"NumberBFrames": "3"}),
    "fast-mode-decision": (88, 56, "420", 8, "lowdelay", 2, {"RDOptimization": "2", "ProfileIDC": "77",
                                                                   "Transform8x8Mode": "0"}),
    "mbaff": (88, 64, "420", 8, "intra", 1, MBAFF),
    "mbaff-ippp": (72, 72, "420", 8, "lowdelay", 3, MBAFF),
    "mbaff-ibbp-cavlc": (72, 72, "420", 8, "randomaccess", 4, IBBP | MBAFF | CAVLC | {
        "ReferenceReorder": "0", "PocMemoryManagement": "0"}),
    "mb-field-pairs": (72, 72, "420", 8, "lowdelay", 2, {"MbInterlace": "1"}),
    "fields": (88, 64, "420", 8, "intra", 2, FIELDS),
    "fields-ippp": (72, 72, "420", 8, "lowdelay", 3, FIELDS),
    "fields-cavlc": (72, 72, "420", 8, "lowdelay", 2, FIELDS | CAVLC),
    "slices": (88, 72, "420", 8, "lowdelay", 2, {"SliceMode": "1", "SliceArgument": "7"}),
    "slices-by-bytes": (88, 72, "420", 8, "intra", 1, {"SliceMode": "2", "SliceArgument": "300"}),
    "slices-fields": (88, 64, "420", 8, "intra", 1, {"SliceMode": "1", "SliceArgument": "6"} | FIELDS),
    "constrained-intra": (88, 56, "420", 8, "lowdelay", 2, {"UseConstrainedIntraPred": "1"}),
    "400": (89, 57, "400", 8, "intra", 1, {}),
    "400-ippp": (72, 40, "400", 8, "lowdelay", 2, {}),
    "422": (88, 57, "422", 8, "intra", 1, {}),
    "422-10-cavlc": (64, 41, "422", 10, "lowdelay", 2, CAVLC),
    "444": (73, 41, "444", 8, "intra", 1, {}),
    "444-cavlc": (73, 41, "444", 8, "intra", 1, CAVLC),
    "444-ippp": (56, 40, "444", 8, "lowdelay", 2, {}),
    "444-separate-planes": (56, 40, "444", 8, "intra", 1, SEPARATE),
    "444-separate-planes-ippp": (56, 40, "444", 8, "lowdelay", 2, SEPARATE | CAVLC),
    "420-10": (80, 40, "420", 10, "intra", 1, {}),
    "420-10-ibbp": (64, 40, "420", 10, "randomaccess", 4, IBBP),
    "444-14": (32, 40, "444", 14, "intra", 1, {}),
    "lossless": (56, 40, "420", 8, "intra", 1, LOSSLESS),
    "lossless-ippp": (56, 40, "444", 8, "lowdelay", 2, LOSSLESS),
    "one-macroblock": (16, 16, "420", 8, "intra", 1, {}),
    "beyond-one-macroblock": (18, 18, "420", 8, "lowdelay", 2, {}),
}


@pytest.mark.parametrize("case", CASES)
def test_stock_without_a_say_and_decodable_with_one(tmp_path, jm_tools, case):
    width, height, chroma, depth, kind, frames, options = CASES[case]
    fmt = VideoFormat(width, height, chroma, depth)
    lossless, qp_map = "LosslessCoding" in options, not options.keys() & {"LosslessCoding", *SEPARATE}
    job = make_job(tmp_path, fmt, jm_tools, kind=kind, frames=frames, codec=JM, qp=27,
                   options=options | ({f"QP{kind}Slice": "0" for kind in "IPB"} if lossless else {}))
    ones_file = write_maps(tmp_path / "ones.idse", [ones(fmt)] * frames, fmt)
    random_file = write_maps(tmp_path / "random.idse", [random_map(fmt, seed) for seed in range(frames)], fmt)
    clip = 8 if "RDOQ_QP_Num" in options else 12
    logs = run_all({
        "stock": (job, jm_tools.stock_encoder),
        "absent": (job, jm_tools.encoder),
        "ones": (replace(job, weights=ones_file, idse=IdseOptions(tau=0.7, power=0.5, clip=3, qp_map=qp_map)),
                 jm_tools.encoder),
        "random": (replace(job, weights=random_file, idse=IdseOptions(tau=0.1, qp_map_clip=clip, qp_map=qp_map)),
                   jm_tools.encoder)}, JM)

    assert same(tmp_path, "stock", "absent") and logs["absent"].idse is None
    assert same(tmp_path, "stock", "ones")
    check_decoders(tmp_path, "random", fmt, jm_tools, libav="SeparateColourPlane" not in options)  # libavcodec has none
    for name in ("ones", "random"):
        summary = logs[name].idse
        assert summary.pictures == frames
        assert summary.weighted > 0 and summary.unweighted == 0 and summary.masked == 0
    random = logs["random"].idse
    if lossless:
        assert (tmp_path / "random.yuv").read_bytes() == job.source.read_bytes()
    else:
        assert not same(tmp_path, "stock", "random")
        assert (random.rdoq > 0) == (options.get("UseRDOQuant") != "0" and "MbInterlace" not in options)
        if qp_map and case != "one-macroblock":
            assert random.qp_offset_min < random.qp_offset_max
    assert logs["ones"].idse.qp_groups == 0 or logs["ones"].idse.qp_offset_min == logs["ones"].idse.qp_offset_max == 0


@pytest.mark.parametrize("qp", [0, 51])
def test_qp_offsets_stay_in_the_range_of_qp(tmp_path, jm_tools, qp):
    fmt = VideoFormat(88, 72)
    job = make_job(tmp_path, fmt, jm_tools, codec=JM, qp=qp, idse=IdseOptions(tau=0, qp_map_clip=12),
                   weights=write_maps(tmp_path / "random.idse", [random_map(fmt, 1)], fmt))
    summary = run_all({"random": (job, jm_tools.encoder)}, JM)["random"].idse
    assert summary.qp_offset_min < -3 and summary.qp_offset_max > 3
    check_decoders(tmp_path, "random", fmt, jm_tools)


@pytest.mark.parametrize("kind", KINDS)
def test_our_configurations_with_their_overlay(tmp_path, jm_tools, kind):
    """As a user would run them, without the runner: the overlay's values are the defaults of the package."""
    fmt, frames = VideoFormat(72, 56), 9
    weights = write_maps(tmp_path / "w.idse", [random_map(fmt, seed) for seed in range(frames)], fmt)
    job = make_job(tmp_path, fmt, jm_tools, kind=kind, frames=frames, codec=JM)
    overlay = replace(job, config=(*job.config, CONFIGS / "idse.cfg"), options={"IDSEWeightFile": str(weights)})
    logs = run_all({"overlay": (overlay, jm_tools.encoder),
                    "runner": (replace(job, weights=weights), jm_tools.encoder),
                    "stock": (job, jm_tools.stock_encoder)}, JM)
    assert same(tmp_path, "overlay", "runner") and not same(tmp_path, "overlay", "stock")
    assert logs["overlay"].idse == logs["runner"].idse
    check_decoders(tmp_path, "overlay", fmt, jm_tools)
    types = "".join(picture.slice_type for picture in logs["stock"].pictures)
    assert types == {"intra": "IIIIIIIII", "lowdelay": "IPPPPPPPP"}.get(kind, types)
    assert kind != "randomaccess" or set(types) == {"I", "P", "B"} and types.count("B") == 7


# ---- what each setting changes -----------------------------------------------------------------------------------

def test_every_setting_acts_alone(tmp_path, jm_tools):
    """With everything off the bitstream is the stock one; each setting by itself changes it, and counts as itself."""
    fmt = VideoFormat(136, 72)
    job = make_job(tmp_path, fmt, jm_tools, frames=3, kind="lowdelay", codec=JM, qp=20,
                   weights=write_maps(tmp_path / "random.idse", [random_map(fmt, seed) for seed in range(3)], fmt))
    settings = {"off": OFF, "rdoq1": replace(OFF, rdoq=1), "rdoq2": replace(OFF, rdoq=2),
                "qp": replace(OFF, qp_map=True), "qp1": replace(OFF, qp_map=True, qp_map_clip=1),
                "sao": replace(OFF, sao=True), "intra": replace(OFF, decisions=1), "skip": replace(OFF, decisions=2),
                "residual": replace(OFF, decisions=4), "inter": replace(OFF, decisions=8),
                "all": replace(OFF, decisions=31), "luma": replace(OFF, decisions=15),
                "chroma": replace(OFF, decisions=16)}
    logs = run_all({"stock": (replace(job, weights=None), jm_tools.stock_encoder)}
                   | {name: (replace(job, idse=idse), jm_tools.encoder) for name, idse in settings.items()}, JM)
    plain = ("off", "sao", "chroma")  # AVC has no SAO; a mask of chroma in no decision
    assert all(same(tmp_path, "stock", name) for name in plain)
    others = [name for name in settings if name not in plain]
    for one, other in itertools.combinations(["stock", *others], 2):
        assert not same(tmp_path, one, other), (one, other)
    for name in others:
        check_decoders(tmp_path, name, fmt, jm_tools)
    for name, idse in settings.items():
        summary = logs[name].idse
        assert summary.unweighted == 0 and summary.pictures == 3
        assert (summary.weighted > 0) == (name in ("intra", "skip", "residual", "inter", "all", "luma")), name
        assert (summary.masked > 0) == (name != "all"), name
        assert (summary.rdoq > 0) == (idse.rdoq > 0), name
        assert (summary.qp_groups > 0) == idse.qp_map, name
    assert logs["qp1"].idse.qp_offset_min == -1 and logs["qp1"].idse.qp_offset_max == 1
    assert logs["qp"].idse.qp_offset_min < -1 and logs["qp"].idse.qp_offset_max > 1


@pytest.mark.parametrize("options", [{}, CAVLC])
def test_rdoq_modes_without_shapes_are_the_same(tmp_path, jm_tools, options):
    fmt = VideoFormat(88, 72)
    weights = write_maps(tmp_path / "pixels.idse", [replace(random_map(fmt, 5), shapes={})], fmt, transform_sizes=())
    job = make_job(tmp_path, fmt, jm_tools, codec=JM, weights=weights, options=options)
    run_all({f"rdoq{mode}": (replace(job, idse=IdseOptions(rdoq=mode)), jm_tools.encoder) for mode in (0, 1, 2)}, JM)
    assert same(tmp_path, "rdoq1", "rdoq2") and not same(tmp_path, "rdoq0", "rdoq1")


def test_weights_far_from_one_are_limited_and_said_to_be(tmp_path, jm_tools):
    """14 bits, a weight of 200 where the errors are. (JM, the stock one too, crashes on this clip from QP 40 on.)"""
    fmt = VideoFormat(256, 64, "444", 14)
    weights, _ = region_map(fmt, slice(0, 16), slice(0, 16), 1000)
    job = make_job(tmp_path, fmt, jm_tools, codec=JM, qp=30, idse=IdseOptions(tau=0, qp_map=False),
                   weights=write_maps(tmp_path / "peak.idse", [weights], fmt))
    rng = np.random.default_rng(1)
    write_yuv(job.source, [tuple(rng.integers(0, 2, shape, np.uint16) * 16383 for shape in fmt.plane_shapes)], fmt)
    (tmp_path / "run").mkdir()
    run = replace(job, bitstream=tmp_path / "peak.bin", recon=tmp_path / "peak.yuv")
    done = subprocess.run(JM.command(run, jm_tools.encoder), cwd=tmp_path / "run", capture_output=True, text=True)
    assert done.returncode == 0
    assert re.search(r"^IDSE: warning: [1-9]\d* distortions were limited; raise IDSETau", done.stdout, re.MULTILINE)
    check_decoders(tmp_path, "peak", fmt, jm_tools)


# ---- which map serves which picture ------------------------------------------------------------------------------

@pytest.mark.parametrize("kind, options", [("randomaccess", {"NumberBFrames": "3"}), ("lowdelay", FIELDS)])
def test_maps_belong_to_pictures_in_output_order(tmp_path, jm_tools, kind, options):
    """In coding order, the first picture to change is the one whose map did."""
    fmt, frames = VideoFormat(72, 48), 5
    base = [ones(fmt)] * frames
    files = {"base": base} | {f"poc{poc}": base[:poc] + [random_map(fmt, poc)] + base[poc + 1:]
                              for poc in range(frames)}
    job = make_job(tmp_path, fmt, jm_tools, frames=frames, kind=kind, codec=JM, qp=22, options=options,
                   idse=IdseOptions(qp_map=False))
    logs = run_all({name: (replace(job, weights=write_maps(tmp_path / f"{name}.idse", maps, fmt)), jm_tools.encoder)
                    for name, maps in files.items()}, JM)
    order = [picture.poc for picture in logs["base"].pictures]
    assert sorted(order) == list(range(frames)) and (kind == "lowdelay") == (order == sorted(order))
    for poc in range(frames):
        recon = [list(read_yuv(tmp_path / f"{name}.yuv", fmt)) for name in ("base", f"poc{poc}")]
        changed = [p for p in order if any((a != b).any() for a, b in zip(recon[0][p], recon[1][p]))]
        assert changed[0] == poc, f"map {poc} changed pictures {changed}, coded in order {order}"


def test_skipped_frames_have_maps_of_their_own(tmp_path, jm_tools):
    fmt = VideoFormat(72, 40)
    maps = [random_map(fmt, seed) for seed in range(3)]
    job = make_job(tmp_path, fmt, jm_tools, frames=3, codec=JM, options={"FrameSkip": "1", "FramesToBeEncoded": "2"})
    files = {"base": maps, "odd": [maps[0], random_map(fmt, 8), maps[2]], "even": [*maps[:2], random_map(fmt, 8)]}
    logs = run_all({name: (replace(job, weights=write_maps(tmp_path / f"{name}.idse", chosen, fmt)), jm_tools.encoder)
                    for name, chosen in files.items()}, JM)
    assert len(logs["base"].pictures) == logs["base"].idse.pictures == 2
    assert same(tmp_path, "base", "odd") and not same(tmp_path, "base", "even")


# ---- weights move error ------------------------------------------------------------------------------------------

@pytest.mark.parametrize("options", [{}, FIELDS, MBAFF], ids=["frame", "fields", "mbaff"])
@pytest.mark.parametrize("qp_map", [True, False], ids=["qp-map", "no-qp-map"])
def test_a_region_gains_what_the_rest_loses(tmp_path, jm_tools, options, qp_map):
    """Twice the weight, a photograph, the rate of the stock encoder within 5 %. MBAFF has no RDOQ, so mode decisions
    alone have to do it."""
    fmt = VideoFormat(256, 192)
    weights, mask = region_map(fmt, slice(64, 128), slice(64, 160), 2)
    rgb = load_picture("skimage:astronaut")[:192, 128:384]
    frame = (rgb[..., 1], rgb[::2, ::2, 0], rgb[::2, ::2, 2])
    job = make_job(tmp_path, fmt, jm_tools, codec=JM, qp=32, options=options, idse=IdseOptions(tau=0, qp_map=qp_map))
    write_yuv(job.source, [frame], fmt)
    file = write_maps(tmp_path / "w.idse", [weights], fmt)
    logs = run_all({"stock": (job, jm_tools.stock_encoder),
                    "weighted": (replace(job, weights=file), jm_tools.encoder)}, JM)
    errors = {}
    for name in logs:
        difference = next(read_yuv(tmp_path / f"{name}.yuv", fmt))[0].astype(float) - frame[0]
        errors[name] = np.array([(difference[where] ** 2).mean() for where in (mask, ~mask)])
    region, rest = errors["weighted"] / errors["stock"]
    assert region < (0.98 if options == MBAFF and not qp_map else 0.9) and rest > 1.003, (region, rest)
    assert logs["weighted"].bits == pytest.approx(logs["stock"].bits, rel=0.05)


# ---- files and options that cannot be used -----------------------------------------------------------------------

BAD = VideoFormat(40, 24)


@pytest.fixture
def bad_job(tmp_path, jm_tools) -> EncodeJob:
    weights = write_maps(tmp_path / "w.idse", [random_map(BAD, seed) for seed in range(2)], BAD)
    return make_job(tmp_path, BAD, jm_tools, frames=2, codec=JM, weights=weights)


def refusal(job: EncodeJob, tools, *options: str) -> str:
    """What the encoder says; it must be one line, exit status 2, and no output file."""
    folder = job.bitstream.parent
    folder.mkdir()
    arguments = [word for option in options for word in ("-p", option)]
    done = subprocess.run([*JM.command(job, tools.encoder), *arguments], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 2, done.stdout[-500:] + done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("IDSE: error: ")]
    assert len(lines) == 1 and done.stderr.rstrip().endswith(lines[0])
    assert not list(folder.iterdir())
    folder.rmdir()
    return lines[0].removeprefix("IDSE: error: ")


def test_weight_files_of_something_else(bad_job, jm_tools, tmp_path):
    for other, frames, message in (
            (VideoFormat(24, 40), 2, "weights for 24x40, the pictures are 40x24; make the map again with: fprdo"),
            (VideoFormat(40, 24, "444"), 2, "weights for 4:4:4, the pictures are coded as 4:2:0; make the map"),
            (BAD, 1, "weights for 1 frames, 2 are needed; code fewer frames")):
        weights = write_maps(tmp_path / "other.idse", [ones(other)] * frames, other)
        assert refusal(replace(bad_job, weights=weights), jm_tools).startswith(f"{weights}: {message}")
    damaged = bytearray(bad_job.weights.read_bytes())
    damaged[-1] ^= 1
    (tmp_path / "damaged.idse").write_bytes(damaged)
    for path, message in ((tmp_path / "gone.idse", r"cannot be opened \(No such file or directory\); give the path"),
                          (tmp_path / "damaged.idse", "wrong checksum of map 1 of 2"),
                          (bad_job.source, "not an .idse weight file")):
        assert re.match(f"{re.escape(str(path))}: {message}", refusal(replace(bad_job, weights=path), jm_tools))


@pytest.mark.parametrize("option, message", [
    ("IDSETau=-1", "IDSETau is -1; give a value from 0 to 1000"),
    ("IDSEPower=0", "IDSEPower is 0; give a value above 0"), ("IDSEClip=0.5", "IDSEClip is 0.5"),
    ("IDSERdoq=3", "IDSERdoq is 3; give a value from 0 to 2"),
    ("IDSEQpMap=2", "IDSEQpMap is 2"), ("IDSEQpMapClip=13", "IDSEQpMapClip is 13; give a value from 0 to 12"),
    ("IDSESao=2", "IDSESao is 2"), ("IDSEDecisions=32", "IDSEDecisions is 32; give a value from 0 to 31"),
    ("IDSETau=nan", "IDSETau is nan")])
def test_settings_out_of_range(bad_job, jm_tools, option, message):
    assert refusal(bad_job, jm_tools, option).startswith(message)


@pytest.mark.parametrize("options, name", [
    (["RateControlEnable=1", "RCUpdateMode=1"], "RateControlEnable"), (["RDOptimization=3"], "RDOptimization=3"),
    (["PicInterlace=2"], "PicInterlace=2"), (["RDPictureDecision=1"], "RDPictureDecision"),
    (["LosslessCoding=1", "ProfileIDC=244"], "LosslessCoding and IDSEQpMap"),
    (["SeparateColourPlane=1", "YUVFormat=3", "ProfileIDC=244"], "SeparateColourPlane and IDSEQpMap"),
    (["RDOQ_QP_Num=3", "RDOQ_CP_Mode=1"], "RDOQ_CP_Mode and IDSEQpMap"),
    (["RDOQ_QP_Num=3", "IDSEQpMapClip=9"], "RDOQ_QP_Num above 1 and IDSEQpMapClip above 8")])
def test_combinations_that_make_no_sense(bad_job, jm_tools, options, name):
    assert refusal(bad_job, jm_tools, *options) == (
        f"IDSEWeightFile cannot be combined with {name}; change one of them")


def test_combinations_are_free_without_weights(tmp_path, jm_tools):
    job = make_job(tmp_path, BAD, jm_tools, codec=JM, options={"RDPictureDecision": "1"})
    run_all({"stock": (job, jm_tools.stock_encoder), "patched": (job, jm_tools.encoder)}, JM)
    assert same(tmp_path, "stock", "patched")
