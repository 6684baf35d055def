"""The command in a folder of its own."""

import shutil
from pathlib import Path

import pytest
from calling import FAST, Said

from fprdo_bridge import cli
from fprdo_bridge.video.pictures import load_picture, save_picture


@pytest.fixture
def fprdo(tmp_path, monkeypatch, capsys):
    """Runs the command in an empty folder; status, standard output and standard error."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str | Path) -> Said:
        capsys.readouterr()
        try:
            status = cli.main([str(word) for word in words])
        except SystemExit as exit:  # argparse
            status = exit.code
        return Said(status, *capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Path:
    """A folder with a picture of odd size, one of even size, and their weights."""
    folder = tmp_path_factory.mktemp("made")
    photo = load_picture("skimage:astronaut")
    save_picture(folder / "odd.png", photo[20:85, 150:247])
    save_picture(folder / "even.png", photo[20:84, 150:230])
    for name in ("odd", "even"):
        assert cli.main(["weights", str(folder / f"{name}.png"), "-o", str(folder / f"{name}.idse"), *FAST]) == 0
    return folder


@pytest.fixture
def here(made, tmp_path) -> Path:
    """Copies of those in the folder where the command runs."""
    for path in made.iterdir():
        shutil.copy(path, tmp_path)
    return tmp_path
