"""Weights of coefficients in integers, as x265 takes them, against those in double precision."""

import numpy as np
import pytest

from fprdo_bridge.native.picture import FREQUENCIES, SAMPLES, UNORDERED, WeightedPicture
from fprdo_bridge.settings import IdseOptions
from fprdo_bridge.video.formats import VideoFormat

FMT = VideoFormat(64, 64, "400")


def some_picture() -> WeightedPicture:
    rng = np.random.default_rng(4)
    shapes = {n: (rng.integers(0, 2000, (64, 64)).astype(np.uint16),) for n in (4, 8, 16, 32)}
    plane = rng.integers(1, 1000, (64, 64)).astype(np.uint16)
    return WeightedPicture((plane,), shapes, FMT, IdseOptions(tau=0.3))


@pytest.mark.parametrize("order", [FREQUENCIES, SAMPLES, UNORDERED])
@pytest.mark.parametrize("size", [4, 8, 16, 32])
def test_integers_are_the_floor_of_the_exact_weights(size, order):
    picture = some_picture()
    for place in (0, 32):
        exact = picture.tu_weights(0, place, 32, size, order)[0]
        assert np.array_equal(picture.tu_weights_in_integers(0, place, 32, size, order), np.floor(256 * exact))
    assert picture.counters()["rdoq"] == 4


def test_large_weights_are_cut_where_costs_end():
    plane = np.ones((64, 64), np.uint16)
    plane[:8, :8] = 65535
    shapes = {8: (np.full((64, 64), 65535, np.uint16),)}
    picture = WeightedPicture((plane,), shapes, FMT, IdseOptions(tau=0))
    exact = picture.tu_weights(0, 0, 0, 8)[0]
    assert exact.min() > 8192
    assert (picture.tu_weights_in_integers(0, 0, 0, 8) == 256 * 8192).all()


def test_weights_of_one_are_256():
    plane = np.full((64, 64), 256, np.uint16)
    shapes = dict.fromkeys((4, 8, 16, 32), (plane,))
    picture = WeightedPicture((plane,), shapes, FMT, IdseOptions(tau=0.7))
    for size in (4, 8, 16, 32):
        assert (picture.tu_weights_in_integers(0, 0, 0, size) == 256).all()
