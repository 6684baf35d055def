"""Run-time settings as they are applied to a map."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from bridge_material import PLAIN, SEEDS, flat, read_weights
from hypothesis import given, settings
from hypothesis import strategies as st

from fprdo_bridge.errors import FprdoError
from fprdo_bridge.native.picture import ONE, WeightedPicture
from fprdo_bridge.settings import IdseOptions
from fprdo_bridge.video.formats import VideoFormat


def applied(source: np.ndarray, tau: float, power: float, clip: float) -> tuple[np.ndarray, np.ndarray]:
    """Weights after power, clip, mean 1 and tau in real numbers, and how far fixed point may be from them."""
    powered = (source / ONE) ** power
    limit = clip * powered.mean() if clip else np.inf
    clipped = np.minimum(powered, limit)
    mean = clipped.mean()
    # powered has 16 fraction bits, an error of 2^-17; limit adds its own of clip + 1 times as much.
    slack = 2.0**-17 * (clip + 2) * (1 + clipped / mean) / mean + 2.0**-16
    weights = (clipped / mean + tau) / (1 + tau)
    return weights.clip(1 / 256, 65535 / 256), 0.5 / 256 + slack


@settings(max_examples=150, deadline=None)
@given(
    st.integers(1, 24),
    st.integers(1, 24),
    st.one_of(st.sampled_from((0.0, 0.3, 1.0, 1000.0)), st.floats(0, 1000)),
    st.one_of(st.sampled_from((0.5, 1.0)), st.floats(0.05, 1)),
    st.one_of(st.sampled_from((0.0, 1.0)), st.floats(1, 255)),
    SEEDS,
)
def test_settings_are_applied_in_order(width, height, tau, power, clip, seed):
    rng = np.random.default_rng(seed)
    source = np.exp(rng.normal(0, 1.5, (height, width)))
    source = np.clip(source / source.mean() * ONE + 0.5, 1, 65535).astype(np.uint16)
    fmt = VideoFormat(width, height, "400")
    found = read_weights(WeightedPicture((source,), {}, fmt, IdseOptions(tau, power, clip)), 0, source.shape)
    expected, tolerance = applied(source.astype(float), tau, power, clip)
    assert (np.abs(found - expected) <= tolerance).all()
    order = np.argsort(source, axis=None)
    assert (np.diff(found.ravel()[order]) >= 0).all()  # monotone
    if clip == 0:
        assert abs(found.mean() - 1) <= 1.5 / 256 + (expected.mean() - 1)  # clamping at 1/256 lifts the mean


def test_settings_literals():
    """Four weights of mean 1: 0.25 0.5 1.25 2. By hand, tau 1: (w + 1) / 2; power 0.5: sqrt(w) / 0.93484; clip 1.5
    cuts 2 to 1.5, the mean is 0.875 then."""
    fmt = VideoFormat(4, 1, "400")
    source = np.array([[64, 128, 320, 512]], np.uint16)

    def weights(**options) -> list[float]:
        picture = WeightedPicture((source,), {}, fmt, IdseOptions(**{"tau": 0.0, **options}))
        return [256 * value for value in read_weights(picture, 0, source.shape)[0]]

    assert weights() == [64, 128, 320, 512]
    assert weights(tau=1.0) == [160, 192, 288, 384]
    assert weights(tau=0.3) == [108, 158, 305, 453]  # 108.31 157.54 305.23 452.92
    assert weights(power=0.5) == [137, 194, 306, 387]  # 136.92 193.64 306.17 387.27
    assert weights(clip=1.5) == [73, 146, 366, 439]  # 73.14 146.29 365.71 438.86
    assert weights(power=0.5, clip=1.0, tau=0.5) == [196, 242, 293, 293]  # 196.27 242.22 292.75


def test_the_least_weight_everywhere_is_no_preference():
    fmt = VideoFormat(16, 16)
    assert (read_weights(WeightedPicture(flat(fmt, 1), {}, fmt, PLAIN), 0, (16, 16)) == 1).all()


@pytest.mark.parametrize("component", [0, 1, 2])
def test_a_weight_of_zero_is_none(component):
    fmt = VideoFormat(40, 24)
    planes = flat(fmt)
    planes[component][-1, -1] = 0
    with pytest.raises(FprdoError, match=f"a pixel weight of component {component} is 0, the least is 1"):
        WeightedPicture(planes, {}, fmt, PLAIN)


@pytest.mark.parametrize(
    "name, value, message",
    [
        ("tau", -0.001, "IDSETau is -0.001; give a value from 0 to 1000"),
        ("tau", 1000.5, "IDSETau is 1000.5"),
        ("tau", math.nan, "IDSETau is .*nan"),
        ("tau", math.inf, "IDSETau is inf"),
        ("power", 0.0, "IDSEPower is 0; give a value above 0 and up to 1"),
        ("power", 1.001, "IDSEPower is 1.001"),
        ("power", math.nan, "IDSEPower is .*nan"),
        ("power", -1.0, "IDSEPower is -1"),
        ("clip", 0.5, "IDSEClip is 0.5; give 0 for no limit, or a value from 1 to 255"),
        ("clip", -1.0, "IDSEClip is -1"),
        ("clip", 255.5, "IDSEClip is 255.5"),
        ("clip", math.nan, "IDSEClip is .*nan"),
        ("rdoq", 3, "IDSERdoq is 3; give a value from 0 to 2"),
        ("rdoq", -1, "IDSERdoq is -1"),
        ("qp_map", 2, "IDSEQpMap is 2; give a value from 0 to 1"),
        ("qp_map", -1, "IDSEQpMap is -1"),
        ("qp_map_clip", 13, "IDSEQpMapClip is 13; give a value from 0 to 12"),
        ("qp_map_clip", -1, "IDSEQpMapClip is -1"),
        ("sao", 2, "IDSESao is 2"),
        ("decisions", 32, "IDSEDecisions is 32; give a value from 0 to 31"),
        ("decisions", -1, "IDSEDecisions is -1"),
    ],
)
def test_settings_out_of_range(name, value, message):
    """IdseOptions refuses these as well, so they come in past it."""
    fmt = VideoFormat(8, 8, "400")
    options = SimpleNamespace(**(vars(IdseOptions()) | {name: value}))
    with pytest.raises(FprdoError, match=f"^{message}") as error:
        WeightedPicture(flat(fmt), {}, fmt, options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "values",
    [
        dict(tau=0),
        dict(tau=1000),
        dict(power=1e-9),
        dict(power=1),
        dict(clip=1),
        dict(clip=255),
        dict(qp_map_clip=12),
        dict(decisions=0),
    ],
)
def test_settings_at_the_ends_of_their_ranges(values):
    fmt = VideoFormat(8, 8, "400")
    options = SimpleNamespace(**(vars(IdseOptions()) | values))
    assert WeightedPicture(flat(fmt), {}, fmt, options).mean(0, 0, 0, 8, 8) == 1


def test_arrays_of_another_shape_are_refused():
    fmt = VideoFormat(9, 7)
    good, bad = flat(fmt), flat(VideoFormat(7, 9))
    for planes, shapes in ((bad, {}), (tuple(plane.astype(np.int32) for plane in good), {}), (good, {4: good})):
        with pytest.raises(FprdoError, match=r"weights of component 0: .* given; use uint16 \("):
            WeightedPicture(planes, shapes, fmt, PLAIN)
