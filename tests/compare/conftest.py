"""A tiny picture and its comparison."""

import shutil
from pathlib import Path

import pytest
from comparing import SETTINGS, compare

from fprdo_bridge.ctc.points import Point
from fprdo_bridge.video.pictures import load_picture, save_picture
from fprdo_bridge.video.source import Source, open_source


@pytest.fixture(scope="module")
def sequence(tmp_path_factory) -> Source:
    path = tmp_path_factory.mktemp("picture") / "face.png"
    save_picture(path, load_picture("skimage:astronaut")[20:116, 150:230])
    return open_source(str(path))


@pytest.fixture(scope="module")
def finished(tmp_path_factory, sequence, tools) -> tuple[Path, list[Point]]:
    """A comparison that nobody changes."""
    folder = tmp_path_factory.mktemp("finished") / "out"
    return folder, compare([sequence], SETTINGS, tools, folder)


@pytest.fixture
def folder(finished, tmp_path) -> Path:
    """A copy of the finished comparison."""
    shutil.copytree(finished[0], tmp_path / "out")
    return tmp_path / "out"
