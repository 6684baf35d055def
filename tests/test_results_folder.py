"""The folder of a comparison: what is not ours stays as it is, what is ours is taken up again."""

import json
import os
from pathlib import Path

import pytest

from fprdo_bridge.ctc.results_folder import MARKER, ResultsFolder
from fprdo_bridge.errors import FprdoError

NAMES = ["results.csv", "points/a-sse-qp27.json", "bitstreams/a-sse-qp27.bin", "weights/a.idse"]


def contents(folder: Path) -> dict[str, bytes | None]:
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def claim(path: Path, names=tuple(NAMES)) -> frozenset[str]:
    with ResultsFolder(path) as folder:
        folder.claim(names)
        return folder.ours()


def test_claims_are_remembered(tmp_path):
    path = tmp_path / "a" / "b"
    assert claim(path) == set(NAMES)
    (path / "results.csv").write_text("ours")
    assert claim(path, ["results.csv", "map-a\n\udcff.png"]) == {*NAMES, "map-a\n\udcff.png"}
    with ResultsFolder(path) as folder:
        assert folder.ours() == {*NAMES, "map-a\n\udcff.png"}
        work = folder.workspace()
        assert not [entry for entry in work.iterdir() if not entry.name.startswith(".")]
        folder.discard(["results.csv", "points/a-sse-qp27.json", "mine.txt"])
    assert not work.exists() and os.listdir(path) == [MARKER]


def test_a_folder_without_claims_is_left_as_it_was(tmp_path):
    with pytest.raises(ValueError), ResultsFolder(tmp_path / "a" / "b") as folder:
        folder.workspace()
        raise ValueError
    assert not list(tmp_path.iterdir())
    (tmp_path / "mine").touch()
    with ResultsFolder(tmp_path):
        pass
    assert os.listdir(tmp_path) == ["mine"]


ANYTHING = [Path.touch, Path.mkdir, lambda path: path.symlink_to("nowhere"), os.mkfifo]


@pytest.mark.parametrize(
    "name, make",
    [
        *((name, make) for name in ("results.csv", "points/a-sse-qp27.json", "weights/a.idse") for make in ANYTHING),
        *(("points", make) for make in ANYTHING if make != Path.mkdir),
    ],
)
def test_what_is_in_the_way_is_named_and_stays(tmp_path, name, make):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    make(tmp_path / name)
    before = contents(tmp_path)
    with pytest.raises(FprdoError, match=f"{name}: is in the way and not of an earlier comparison; move it, or choose"):
        claim(tmp_path)
    assert contents(tmp_path) == before


def test_files_beside_ours_are_nobodys_business(tmp_path):
    for name in (".work/thesis.txt", ".lock", "bitstreams/film.bin", "weights/net.pt", "map-b.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("mine")
    before = contents(tmp_path)
    claim(tmp_path)
    with ResultsFolder(tmp_path) as folder:
        folder.workspace()
        folder.discard(folder.ours() | {".work/thesis.txt", "map-b.png"})
        with pytest.raises(FprdoError, match="map-b.png: is in the way"):
            folder.claim(["map-b.png", "map-c.png"])
        assert "map-c.png" not in folder.ours()
    after = contents(tmp_path)
    assert after.pop(MARKER).startswith(b'{"fprdo": "results of a comparison", "version": 1}\n') and after == before


@pytest.mark.parametrize(
    "left", [b"", b'{"fprdo": "resu', b'{"fprdo": "results of a comparison", "version": 1}\n"resul']
)
def test_a_marker_that_a_killed_run_did_not_finish(tmp_path, left):
    (tmp_path / MARKER).write_bytes(left)
    assert claim(tmp_path, ["results.csv"]) == {"results.csv"}
    assert claim(tmp_path, []) == {"results.csv"}


@pytest.mark.parametrize(
    "content, message",
    [
        ('{"fprdo": "results of a comparison", "version": 2}\n', "holds results of a later version"),
        ("shopping list\n", "is not of fprdo"),
        ("\n", "is not of fprdo"),
        ("\0", "is not of fprdo"),
    ],
)
def test_a_marker_of_others(tmp_path, content, message):
    (tmp_path / MARKER).write_text(content)
    with pytest.raises(FprdoError, match=f"{message}.*; choose another output folder"):
        claim(tmp_path)
    assert (tmp_path / MARKER).read_text() == content


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("elsewhere")])
def test_a_marker_that_is_no_file(tmp_path, make):
    make(tmp_path / MARKER)
    with pytest.raises(FprdoError, match="choose another output folder"):
        claim(tmp_path)
    assert os.listdir(tmp_path) == [MARKER]


def test_one_at_a_time(tmp_path):
    for _ in range(2):
        with ResultsFolder(tmp_path / "out"):
            with pytest.raises(FprdoError, match="another run is working here"), ResultsFolder(tmp_path / "out"):
                pass
        assert not (tmp_path / "out").exists()


# ---- results of the version that left no marker ------------------------------------------------------------------


@pytest.fixture
def old(tmp_path) -> Path:
    """As that version left it when it was killed."""
    point = {"key": "0" * 64, "sequence": "a", "mode": "sse", "qp": 27, "bits": 1000}
    files = {
        ".lock": "",
        "points/a-sse-qp27.json": json.dumps(point),
        "bitstreams/a-sse-qp27.bin": "b",
        "bitstreams/a-sse-qp27.log": "log",
        "bitstreams/a-idse-qp32.bin": "b",
        "weights/a.idse": "w",
        "weights/a.key": "1" * 64,
        "results.csv": "sequence,encoder,mode,qp,frames\n",
        "rd-curves.png": "\x89PNG tEXtSoftware\0Matplotlib",
        ".work/a.yuv": "y",
        ".work/a-idse-qp32/recon.yuv": "y",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_results_without_a_marker_are_taken_up(old):
    before = contents(old)
    claim(old)
    after = contents(old)
    gone = {".lock", ".work", ".work/a.yuv", ".work/a-idse-qp32", ".work/a-idse-qp32/recon.yuv"}
    assert set(before) - set(after) == gone and set(after) - set(before) == {MARKER}
    assert claim(old, ["bitstreams/a-idse-qp32.bin"])  # without a record
    assert claim(old, ["rd-curves.png"]) >= {*NAMES, "weights/a.key", "rd-curves.png"}


@pytest.mark.parametrize(
    "name, text",
    [
        ("results.csv", "my own table"),
        ("rd-curves.png", "my own picture"),
        (".work/thesis.txt", "mine"),
        ("map-a.png", "my own picture"),
    ],
)
def test_files_of_others_among_them_stay(old, name, text):
    (old / name).write_text(text)
    if name.startswith(".work"):
        claim(old)
    else:
        for _ in range(2):  # a refusal changes nothing
            with pytest.raises(FprdoError, match=f"{name}: is in the way"):
                claim(old, [*NAMES, name])
    assert (old / name).read_text() == text


@pytest.mark.parametrize(
    "spoil",
    [
        lambda old: (old / ".lock").write_text("mine"),
        lambda old: (old / ".lock").unlink(),
        lambda old: [(old / name).write_text("{}") for name in ("points/a-sse-qp27.json", "weights/a.key")],
        lambda old: [(old / name).write_text("[" * 100000) for name in ("points/a-sse-qp27.json", "weights/a.key")],
    ],
)
def test_another_folder_is_not_taken_for_one(old, spoil):
    spoil(old)
    before = contents(old)
    with pytest.raises(FprdoError, match="is in the way"):
        claim(old)
    assert contents(old) == before
