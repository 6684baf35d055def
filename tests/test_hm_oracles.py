"""What only HM can be asked: that weights lie where their samples are, block by block."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from clips import make_job
from oracles import run_all, same, write_maps

from fprdo_bridge.encoders.job import EncodeJob
from fprdo_bridge.importance.idse_file import WeightMap, ones
from fprdo_bridge.settings import IdseOptions
from fprdo_bridge.video.formats import VideoFormat
from fprdo_bridge.video.raw import read_yuv

OFF = IdseOptions(rdoq=0, qp_map=False, sao=False, decisions=0)
SMALL_BLOCKS = {
    "MaxCUWidth": "16",
    "MaxCUHeight": "16",
    "MaxPartitionDepth": "2",
    "QuadtreeTULog2MaxSize": "2",
    "QuadtreeTULog2MinSize": "2",
    "QuadtreeTUMaxDepthInter": "3",
    "QuadtreeTUMaxDepthIntra": "3",
    "TransformSkip": "0",
}

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
@pytest.mark.parametrize(
    "chroma, kind, size, options, expected",
    [
        ("420", "intra", 4, SMALL_BLOCKS, {"rdoq": (1.6, 1.6, 1.6), "intra": (1.15, 1.1, 1.1)}),
        ("444", "intra", 4, SMALL_BLOCKS, {"rdoq": (1.6, 1.6, 1.6), "intra": (1.15, 1.1, 1.1)}),
        ("422", "intra", 4, SMALL_BLOCKS, {"rdoq": (1.6, 1.6, 1.6)}),
        ("420", "lowdelay", 4, SMALL_BLOCKS, {"rdoq": (1.3, 2.5, 2.5), "residual": (0, 1.6, 1.6), "skip": (1.3, 3, 3)}),
        ("444", "lowdelay", 4, SMALL_BLOCKS, {"rdoq": (1.25, 1.25, 1.25)}),
        ("444", "lowdelay", 16, {}, {"rdoq": (1.2, 1.2, 1.2), "residual": (1.15, 1.15, 1.15), "skip": (1.8, 1.8, 1.8)}),
        ("420", "intra", 16, ONE_SIZE, {"qp": (1.5, 0, 0)}),
    ],
    ids=["intra-420", "intra-444", "intra-422", "inter-420", "inter-444", "inter-444-wide", "qp-map"],
)
def test_weights_lie_where_their_samples_are(tmp_path, tools, chroma, kind, size, options, axis, expected):
    """Where stripes are as wide as the blocks, a position that is off by a block takes the wrong weight: errors must go
    by the weights, against the stock encoder's. Inter pictures predict from one without weights, else motion moves its
    stripes. Expected are lower bounds for Y, Cb and Cr, about halfway from 1 to what was found."""
    fmt = VideoFormat(128, 96, chroma)
    frames = 2 if kind == "lowdelay" else 1
    weights = write_maps(tmp_path / "w.idse", [ones(fmt)] * (frames - 1) + [stripes(fmt, axis, size)], fmt)
    job = make_job(tmp_path, fmt, tools, kind=kind, frames=frames, qp=22 if kind == "lowdelay" else 32, options=options)
    idse = {
        "rdoq": replace(OFF, tau=0, rdoq=1),
        "intra": replace(OFF, tau=0, decisions=1 + 16),
        "skip": replace(OFF, tau=0, decisions=2 + 16),
        "residual": replace(OFF, tau=0, decisions=4 + 16),
        "qp": replace(OFF, tau=0, qp_map=True),
    }
    run_all(
        {"stock": (job, tools.stock_encoder)}
        | {name: (replace(job, weights=weights, idse=idse[name]), tools.encoder) for name in expected}
    )
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


@pytest.mark.parametrize(
    "ctu, options", [(64, {}), (32, {"MaxCUWidth": "32", "MaxCUHeight": "32", "MaxPartitionDepth": "3"})]
)
@pytest.mark.parametrize("chroma", ["420", "422", "444"])
def test_sao_and_qp_map_take_the_means_of_their_own_blocks(tmp_path, tools, chroma, ctu, options):
    """Weights whose mean is 1.0 in every CTU change neither; the same ones on another grid do."""
    fmt = VideoFormat(192, 128, chroma)
    job = make_job(tmp_path, fmt, tools, qp=32, options=options)
    maps = {
        name: write_maps(tmp_path / f"{name}.idse", [quarters(fmt, ctu, shift)], fmt)
        for name, shift in (("aligned", 0), ("moved", 3 * ctu // 8))
    }
    idse = {"sao": replace(OFF, tau=0, sao=True), "qp": replace(OFF, tau=0, qp_map=True, qp_map_clip=12)}
    logs = run_all(
        {"stock": (job, tools.stock_encoder)}
        | {
            f"{what}-{name}": (replace(job, weights=path, idse=idse[what]), tools.encoder)
            for what in idse
            for name, path in maps.items()
        }
    )
    assert same(tmp_path, "stock", "sao-aligned")
    stock, moved = (next(read_yuv(tmp_path / f"{name}.yuv", fmt)) for name in ("stock", "sao-moved"))
    assert all((a != b).any() for a, b in zip(stock[1:], moved[1:]))
    aligned, moved = logs["qp-aligned"].idse, logs["qp-moved"].idse
    assert aligned.qp_groups >= 6 and aligned.qp_offset_min == aligned.qp_offset_max == 0
    assert moved.qp_offset_min < moved.qp_offset_max
