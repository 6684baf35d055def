"""What each setting of the weights changes, and what is said of values that none may have."""

import itertools
from dataclasses import replace

import numpy as np
from coding import OFF, STOCK, Coding
from oracles import random_map, same

from fprdo_bridge.settings import IdseOptions
from fprdo_bridge.video.formats import VideoFormat
from fprdo_bridge.video.raw import read_yuv

PLAIN = IdseOptions(qp_map=False, chroma_qp_offset=0, deblock_offset=0, aq_strength=0)  # no options of an encoder's own
SETTINGS = {
    "off": OFF,
    "rdoq1": replace(OFF, rdoq=1),
    "rdoq2": replace(OFF, rdoq=2),
    "qp": replace(OFF, qp_map=True),
    "qp1": replace(OFF, qp_map=True, qp_map_clip=1),
    "sao": replace(OFF, sao=True),
    "intra": replace(OFF, decisions=1),
    "skip": replace(OFF, decisions=2),
    "residual": replace(OFF, decisions=4),
    "inter": replace(OFF, decisions=8),
    "all": replace(OFF, decisions=31),
    "luma": replace(OFF, decisions=15),
    "chroma": replace(OFF, decisions=16),
}  # in no decision
DECIDING = ("intra", "skip", "residual", "inter", "all", "luma")


def test_every_setting_acts_alone(tmp_path, subject, tools):
    """With everything off the bitstream is the stock one; each setting by itself changes it, and counts as itself."""
    fmt, frames = VideoFormat(136, 72), subject.settings.frames
    coding = Coding(subject, tools, tmp_path, fmt, subject.settings)
    weights = coding.maps("random", [random_map(fmt, seed) for seed in range(frames)])
    logs = coding.run(stock=None, **{name: coding.weighted(weights, idse=idse) for name, idse in SETTINGS.items()})
    plain = ("off", "chroma", *subject.without_effect)
    assert all(same(tmp_path, STOCK, name) for name in plain)
    others = [name for name in SETTINGS if name not in plain]
    for one, other in itertools.combinations([STOCK, *others], 2):
        assert not same(tmp_path, one, other), (one, other)
    for name in others:
        coding.check_decoders(name)
    for name, idse in SETTINGS.items():
        said = logs[name].idse
        assert said.unweighted == 0 and said.pictures == frames
        assert (said.weighted > 0) == (name in DECIDING), name
        assert (said.masked > 0) == (name != "all"), name
        assert (said.rdoq > 0) == (idse.rdoq > 0), name
        assert (said.qp_groups > 0) == idse.qp_map, name
    assert logs["qp1"].idse.qp_offset_min == -1 and logs["qp1"].idse.qp_offset_max == 1
    assert logs["qp"].idse.qp_offset_min < -1 and logs["qp"].idse.qp_offset_max > 1


def test_rdoq_modes_without_shapes_are_the_same(tmp_path, subject, tools):
    fmt = VideoFormat(88, 72)
    for number, options in enumerate(subject.pixels_only):
        folder = tmp_path / str(number)
        folder.mkdir()
        coding = Coding(subject, tools, folder, fmt, replace(subject.settings, kind="intra", frames=1, options=options))
        weights = coding.maps("pixels", [replace(random_map(fmt, 5), shapes={})], transform_sizes=())
        coding.run(**{f"rdoq{mode}": coding.weighted(weights, idse=IdseOptions(rdoq=mode)) for mode in (0, 1, 2)})
        assert same(folder, "rdoq1", "rdoq2") and not same(folder, "rdoq0", "rdoq1")


def test_chroma_qp_offset_is_the_encoders_own(tmp_path, subject, tools):
    """Chroma gets coarser or finer, luma keeps its QP, and the decoders know."""
    fmt = VideoFormat(136, 72)
    coding = Coding(subject, tools, tmp_path, fmt, replace(subject.settings, kind="intra", frames=1))
    weights = coding.maps("random", [random_map(fmt, 1)])
    options = {
        f"offset{offset}": subject.codec.weighted_options(replace(PLAIN, chroma_qp_offset=offset))
        for offset in (-6, 0, 6)
    }
    logs = coding.run(
        **{
            name: coding.weighted(weights, idse=replace(OFF, rdoq=1), options={**coding.job.options, **its})
            for name, its in options.items()
        }
    )
    assert not options["offset0"] and set(options["offset6"].values()) == {"6"}
    (y, *fine), (_, *middle), (luma, *coarse) = (logs[name].psnr for name in options)
    assert all(a > b + 1 and b > c + 1 for a, b, c in zip(fine, middle, coarse))
    assert abs(y - luma) < 1
    for name in options:
        coding.check_decoders(name)


def test_deblock_offset_is_the_encoders_own(tmp_path, subject, tools):
    """The higher the thresholds, the smaller the steps at the edges of blocks, and the decoders know."""
    fmt = VideoFormat(136, 72)
    coding = Coding(subject, tools, tmp_path, fmt, replace(subject.settings, qp=37, frames=3))
    weights = coding.maps("random", [random_map(fmt, seed) for seed in range(3)])
    steps = []
    for offset in (-6, 0, 6):
        own, name = subject.codec.weighted_options(replace(PLAIN, deblock_offset=offset)), f"offset{offset}"
        assert bool(own) == bool(offset)
        coding.run(**{name: coding.weighted(weights, idse=OFF, options={**coding.job.options, **own})})
        coding.check_decoders(name)
        lumas = np.array([planes[0] for planes in read_yuv(tmp_path / f"{name}.yuv", fmt)], int)
        steps.append(np.abs(lumas[:, :, 7:-1:8] - lumas[:, :, 8::8]).sum())
    assert steps[0] > steps[1] > steps[2]
