"""Weights move error to where they are low."""

from dataclasses import replace

import numpy as np
import pytest
from coding import STOCK, Coding
from oracles import region_map
from scipy.fft import dctn
from subject import SUBJECTS, Encodes

from fprdo_bridge.importance.idse_file import WeightMap, ones
from fprdo_bridge.settings import IdseOptions
from fprdo_bridge.video.formats import VideoFormat
from fprdo_bridge.video.pictures import load_picture
from fprdo_bridge.video.raw import read_yuv, write_yuv


def error(coding: Coding, name: str, component: int = 0) -> np.ndarray:
    """Difference of the first picture of a run from its source."""
    coded, source = (
        next(read_yuv(path, coding.fmt))[component] for path in (coding.folder / f"{name}.yuv", coding.job.source)
    )
    return coded.astype(float) - source


@pytest.mark.parametrize(
    ("subject", "number"),
    [(name, number) for name in SUBJECTS for number in range(len(SUBJECTS[name].regions))],
    indirect=["subject"],
)
@pytest.mark.parametrize(
    ("rows", "columns"), [(slice(96, 192), slice(0, 128)), (slice(64, 128), slice(64, 160))], ids=["corner", "middle"]
)
def test_a_region_gains_what_the_rest_loses(tmp_path, subject, tools, number, rows, columns):
    """Twice the weight, a photograph, the rate of the stock encoder within 5 %."""
    fmt, expected = VideoFormat(256, 192), subject.regions[number]
    coding = Coding(subject, tools, tmp_path, fmt, Encodes(qp=expected.qp, options=expected.options))
    rgb = load_picture("skimage:astronaut")[:192, 128:384]
    write_yuv(coding.job.source, [(rgb[..., 1], rgb[::2, ::2, 0], rgb[::2, ::2, 2])], fmt)
    weights, mask = region_map(fmt, rows, columns, 2)
    logs = coding.run(
        stock=None,
        weighted=coding.weighted(coding.maps("w", [weights]), idse=IdseOptions(tau=0, qp_map=expected.qp_map)),
    )
    stock, weighted = (error(coding, name) ** 2 for name in (STOCK, "weighted"))
    region, rest = (weighted[where].mean() / stock[where].mean() for where in (mask, ~mask))
    assert region < expected.region and rest > expected.rest, (region, rest)
    assert logs["weighted"].bits == pytest.approx(logs["stock"].bits, rel=0.05)


def leaning_map(fmt: VideoFormat, horizontal: bool) -> WeightMap:
    """Shapes that weigh coefficients of one orientation four times as much as those of the other."""
    whole = ones(fmt)
    shapes = {}
    for n, group in whole.shapes.items():
        vertical_frequency, horizontal_frequency = np.mgrid[:n, :n]
        lean = np.sign(horizontal_frequency - vertical_frequency) * (1 if horizontal else -1)
        block = np.array([1.0, 2.5, 4.0])[lean + 1]
        shapes[n] = tuple(
            np.tile(block / block.mean(), [side // n for side in plane.shape]).astype(np.float32) for plane in group
        )
    return replace(whole, shapes=shapes)


@pytest.mark.parametrize(
    ("subject", "number"),
    [(name, number) for name in SUBJECTS for number in range(len(SUBJECTS[name].shapes))],
    indirect=["subject"],
)
def test_shapes_favour_the_orientation_that_they_weigh(tmp_path, subject, tools, number):
    """On a texture that equals its transpose, weight on horizontal frequencies lowers their error; so for vertical."""
    fmt, expected = VideoFormat(128, 128, "400"), subject.shapes[number]
    noise = np.random.default_rng(0).normal(0, 1, (130, 130))
    smooth = sum(noise[i : i + 128, j : j + 128] for i in range(3) for j in range(3))
    smooth = smooth + smooth.T
    coding = Coding(subject, tools, tmp_path, fmt, Encodes(qp=expected.qp, options=expected.options))
    write_yuv(coding.job.source, [(np.clip(128 + 30 * smooth / smooth.std(), 0, 255).astype(np.uint8),)], fmt)
    logs = coding.run(
        **{
            name: coding.weighted(
                coding.maps(name, [leaning_map(fmt, name == "horizontal")]),
                idse=IdseOptions(tau=0, rdoq=2, qp_map=False, decisions=0),
            )
            for name in ("horizontal", "vertical")
        }
    )
    energy = {}
    for name in logs:
        spectrum = (dctn(error(coding, name).reshape(16, 8, 16, 8), axes=(1, 3), norm="ortho") ** 2).sum(axis=(0, 2))
        energy[name] = {"horizontal": np.triu(spectrum, 1).sum(), "vertical": np.tril(spectrum, -1).sum()}
    for one, other in (("horizontal", "vertical"), ("vertical", "horizontal")):
        assert energy[other][one] > expected.gain * energy[one][one], energy
    assert logs["horizontal"].bits == pytest.approx(logs["vertical"].bits, rel=0.03)


def test_distortions_beyond_what_costs_hold_are_limited_and_said_to_be(tmp_path, subject, tools):
    if subject.limited is None:
        pytest.skip(f"the costs of {subject.codec.title} hold every weighted distortion")
    fmt, how = subject.limited
    coding = Coding(subject, tools, tmp_path, fmt, how)
    weights, mask = region_map(fmt, slice(0, 16), slice(0, 16), 1000)
    rng = np.random.default_rng(1)
    frame = tuple(rng.integers(0, 2, shape, fmt.dtype) * fmt.dtype.type(fmt.max_value) for shape in fmt.plane_shapes)
    write_yuv(coding.job.source, [frame] * how.frames, fmt)
    logs = coding.run(
        stock=None,
        peak=coding.weighted(coding.maps("w", [weights] * how.frames), idse=IdseOptions(tau=0, qp_map=False)),
    )
    assert any("distortions were limited" in note for note in logs["peak"].notes), logs["peak"].notes
    stock, peak = ((error(coding, name) ** 2)[mask].mean() for name in (STOCK, "peak"))
    assert peak < stock
    coding.check_decoders("peak")
