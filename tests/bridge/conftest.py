"""A weight file that several modules read."""

from pathlib import Path

import pytest
from bridge_material import CLIP, map_of

from fprdo_bridge.importance.idse_file import write_idse


@pytest.fixture(scope="module")
def three_maps(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("maps") / "three.idse"
    write_idse(
        path,
        [map_of(CLIP, corner) for corner in (1.25, 1.5, 1.75)],
        CLIP,
        frame_count=5,
        frames_per_map=2,
        metadata={"name": "a test"},
    )
    return path
