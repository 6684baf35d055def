"""One run of small conditions, with which the others are compared."""

from pathlib import Path

import pytest
from ctc_material import write_conditions, write_pictures
from ctc_running import CLEAN, PICTURES, go


@pytest.fixture(scope="session")
def place(tmp_path_factory, x264_tools) -> Path:
    """Two pictures and conditions."""
    folder = tmp_path_factory.mktemp("data")
    write_conditions(write_pictures(folder, PICTURES))
    return folder


@pytest.fixture(scope="session")
def finished(place, tmp_path_factory) -> Path:
    """A store that nobody changes."""
    folder = tmp_path_factory.mktemp("finished") / "store"
    outcome, planned = go(place / "two.toml", place, folder)
    assert (outcome.failed, outcome.left_out, planned.problems) == ([], 0, [])
    assert outcome.ran == CLEAN and outcome.before == 0
    return folder
