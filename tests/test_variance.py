"""Weights of variance AQ: against the formula, block by block."""

import numpy as np
import pytest

from fprdo_bridge.errors import FprdoError
from fprdo_bridge.importance.idse_file import IdseFile
from fprdo_bridge.importance.variance import variance_map
from fprdo_bridge.importance.weighting import WeightSettings, write_weights
from fprdo_bridge.video.formats import VideoFormat, coded_format, pad_frame
from fprdo_bridge.video.source import open_source


def expected(frame, fmt: VideoFormat, row: int, column: int) -> float:
    """The weight of a block before the mean is taken out."""
    energy = 0.0
    for plane, (height, width) in zip(frame, fmt.plane_shapes):
        down, across = 16 * height // fmt.height, 16 * width // fmt.width
        block = plane[down * row : down * (row + 1), across * column : across * (column + 1)] / 2.0 ** (
            fmt.bit_depth - 8
        )
        energy += float(((block - block.mean()) ** 2).mean()) * down * across
    return max(energy, 1.0) ** (-1.0397 / 3)


@pytest.mark.parametrize("chroma", ["400", "420", "422", "444"])
@pytest.mark.parametrize("bit_depth", [8, 10])
def test_weights_fall_with_the_energy_of_a_block(chroma, bit_depth):
    fmt = VideoFormat(72, 40, chroma=chroma, bit_depth=bit_depth)  # blocks at the right and the bottom are cut
    rng = np.random.default_rng(2)
    frame = tuple(rng.integers(0, fmt.max_value + 1, shape).astype(fmt.dtype) for shape in fmt.plane_shapes)
    for plane, (height, width) in zip(frame, fmt.plane_shapes):
        plane[: 16 * height // fmt.height, : 16 * width // fmt.width] = 77  # a flat block
    found = variance_map(frame, fmt)
    assert found.shapes == {} and found.plane_gain == (1.0,) * len(frame)
    blocks = {(row, column): expected(frame, fmt, row, column) for row in range(3) for column in range(5)}
    assert blocks[0, 0] == 1.0 and max(value for place, value in blocks.items() if place != (0, 0)) < 0.05
    for plane, (height, width) in zip(found.planes, fmt.plane_shapes):
        assert plane.shape == (height, width) and plane.mean() == pytest.approx(1, abs=1e-4)
        down, across = 16 * height // fmt.height, 16 * width // fmt.width
        for (row, column), value in blocks.items():
            block = plane[down * row : down * (row + 1), across * column : across * (column + 1)]
            assert np.all(block == block[0, 0]) and block[0, 0] / plane[0, 0] == pytest.approx(value, rel=1e-4)


def test_a_file_of_them(tmp_path):
    source = open_source("skimage:chelsea")
    settings = WeightSettings("variance")
    write_weights(source, settings, tmp_path / "map.idse")
    with IdseFile(tmp_path / "map.idse") as file:
        found, metadata = file.map(0), file.metadata
    fmt = coded_format(source.fmt)
    made = variance_map(pad_frame(next(iter(source.read())), source.fmt, fmt), fmt)
    assert all(np.allclose(a, b, atol=1 / 256) for a, b in zip(found.planes, made.planes)) and found.shapes == {}
    assert metadata["extractor"] == {"name": "variance"} and "probes" not in metadata
    with pytest.raises(FprdoError, match="^extractor variance: has no layers; leave them out$"):
        WeightSettings("variance", layers=("a",))


def test_bit_depth_does_not_change_weights():
    frame = tuple(
        np.random.default_rng(3).integers(0, 256, shape, np.uint8) for shape in ((32, 32), (16, 16), (16, 16))
    )
    eight = variance_map(frame, VideoFormat(32, 32))
    ten = variance_map(tuple(plane.astype(np.uint16) * 4 for plane in frame), VideoFormat(32, 32, bit_depth=10))
    assert all(np.allclose(a, b) for a, b in zip(eight.planes, ten.planes))
