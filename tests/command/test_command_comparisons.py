"""fprdo compare: results at once, drawings last, folders of others."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from calling import FAST, PROGRAM, files
from PIL import Image

from fprdo_bridge.video.pictures import save_picture

pytestmark = pytest.mark.encoder


@pytest.mark.parametrize("form", ["table", "json"])
def test_a_comparison_without_bd_rates(fprdo, tmp_path, form):
    """All points of such a picture are alike. Everything else is there."""
    save_picture("dot.png", np.full((1, 1, 3), 99, np.uint8))
    said = fprdo("compare", "dot.png", "-o", "cmp", *FAST, *(["--json"] if form == "json" else []))
    error = said.err.splitlines()[-1]
    assert said.status == 2 and error.startswith("fprdo: error: no picture has a BD-rate; the first one, dot: ")
    if form == "json":
        data = json.loads(said.out)
        assert len(data["points"]) == 8 and data["bd_rate_percent"]["efficientnet_lite0"]["dot"]["psnr_y"] is None
    else:
        rows = [line.split()[:2] for line in said.out.splitlines()[2:6]]
        assert rows == [["dot", qp] for qp in ("27", "32", "37", "42")] and "n/a: dot, PSNR Y: BD-rate: " in said.out
    assert {"results.csv", "rd-curves.png", "map-dot.png"} <= files(Path("cmp"))


def test_one_flat_picture_among_others(fprdo, here):
    """Its BD-rates are n/a with the reason; those of the other one stand, and the exit status is 0."""
    save_picture("flat.png", np.full((64, 64, 3), 99, np.uint8))
    said = fprdo("compare", "flat.png", "even.png", "-o", "cmp", *FAST, "--json")
    assert said.status == 0
    data = json.loads(said.out)
    table = data["bd_rate_percent"]["efficientnet_lite0"]
    assert len(data["points"]) == 16
    assert table["flat"]["features"] is None and table["flat"]["psnr_y"] is None
    assert "a picture coded without loss?" in table["flat"]["reasons"]["features"]
    assert table["mean"]["features"] == table["even"]["features"] and table["mean"]["pictures"]["features"] == 1
    said = fprdo("compare", "flat.png", "even.png", "-o", "cmp", *FAST)
    assert said.status == 0
    even = f"even {table['even']['features']:.2f} {table['even']['psnr_y']:.2f}"
    assert [" ".join(line.split()) for line in said.out.splitlines()][15:18] == [
        "flat n/a n/a",
        even,
        even.replace("even", "mean"),
    ]


def test_results_come_before_drawings_and_before_the_other_pictures(here):
    """A table stands on standard output when its picture is done, the BD-rates before the first figure."""
    shutil.copy(here / "even.png", here / "next.png")
    words = ["compare", "even.png", "next.png", "-o", "cmp", *FAST]
    process = subprocess.Popen(
        [*PROGRAM, *words], cwd=here, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    lines, drawn = [], {}
    for line in process.stdout:
        lines.append(line)
        drawn[line] = sorted(path.name for path in (here / "cmp").glob("*.png"))
    assert process.wait() == 0, lines
    tables = [number for number, line in enumerate(lines) if line.startswith("HM 18.0  ")]
    last = next(number for number, line in enumerate(lines) if line.startswith("[16/16]"))
    assert len(tables) == 2 and tables[0] < last < tables[1]
    rates = next(line for line in lines if line.startswith("HM 18.0 BD-rate, %"))
    assert drawn[rates] == [] and drawn[lines[-1]] == ["map-even.png", "map-next.png", "rd-curves.png"]


def test_drawings_of_more_pictures_on_request(fprdo, here, x264_tools):
    names = [f"{letter}.png" for letter in "abcdef"]
    for name in names:
        shutil.copy("even.png", name)

    def drawn(*words) -> set[str]:
        said = fprdo("compare", *names, "-o", "cmp", "--probes", 1, "--encoder", "x264", *words)
        assert said.status == 0, said.err
        return {path.name for path in Path("cmp").glob("*.png")}

    assert drawn() == {"rd-curves.png", *(f"map-{letter}.png" for letter in "abcd")}
    assert drawn("--maps", "all", "--curves", 5) == {"rd-curves.png", "rd-curves-2.png", *(f"map-{n}" for n in names)}
    with Image.open("cmp/rd-curves.png") as first, Image.open("cmp/rd-curves-2.png") as second:
        assert first.width > 1400 and second.width < 700
    Path("cmp/map-mine.png").touch()
    assert drawn("--maps", 1, "--curves", 0) == {"map-a.png", "map-mine.png"}


def test_comparing_in_a_folder_of_others(fprdo, here):
    """Nothing of the user's is removed or written over, and what is in the way is named."""
    Path(".work").mkdir()
    for name in (".work/thesis.txt", "results.csv", ".lock"):
        Path(name).write_text("mine")
    before = {path: path.read_bytes() for path in here.rglob("*") if path.is_file()}
    said = fprdo("compare", "even.png", "-o", ".", *FAST)
    assert said == (
        2,
        "",
        "fprdo: error: results.csv: is in the way and not of an earlier comparison; move it, or choose "
        "another output folder\n",
    )
    assert {path: path.read_bytes() for path in here.rglob("*") if path.is_file()} == before
    Path("results.csv").rename("mine.csv")
    assert fprdo("compare", "even.png", "-o", ".", *FAST).status == 0
    for path, content in before.items():
        assert Path("mine.csv" if path.name == "results.csv" else path).read_bytes() == content
    said = fprdo("compare", "even.png", "-o", ".", *FAST)
    assert said.status == 0 and said.err == "8 of 8 points are there already\n"
    said = fprdo("compare", "map-even.png", "rd-curves.png", "-o", ".", *FAST)
    assert said.status == 2 and "rd-curves.png: is read by this command" in said.err


@pytest.mark.parametrize(
    "words, message",
    [
        ("--option NoSuchOption=1", "Unknown option `NoSuchOption'"),
        ("--idse-option BIM=1", "cannot be combined with BIM"),
    ],
)
def test_mistakes_that_a_comparison_finds_later(fprdo, here, words, message):
    """What is done stays; no table is written."""
    said = fprdo("compare", "even.png", "-o", "cmp", *FAST, *words.split())
    errors = [line for line in said.err.splitlines() if "error" in line]
    assert said.status == 2 and said.out == "" and len(errors) == 1 and message in errors[0]
    assert errors[0] == said.err.splitlines()[-1] and errors[0].startswith("fprdo: error: ")
    kept = files(here / "cmp")
    assert not [name for name in kept if name.endswith((".csv", ".png", ".yuv")) or ".work" in name]
    done = {name for name in kept if name.startswith("bitstreams/") and name.endswith(".bin")}
    assert done <= {f"bitstreams/even-sse-qp{qp}.bin" for qp in (27, 32, 37, 42) if words.startswith("--idse-option")}
