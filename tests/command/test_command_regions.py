"""Masks and boxes on the command line: bits move, and mistakes are one line."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from calling import FAST, files

from fprdo_bridge import Encoder, Regions, VideoFormat, ones
from fprdo_bridge.importance.idse_file import IdseFile
from fprdo_bridge.settings import IdseOptions
from fprdo_bridge.video.formats import Frame
from fprdo_bridge.video.pictures import save_picture
from fprdo_bridge.video.source import open_source

BOX = np.s_[0:64, 0:32]  # of the picture of 80x64
ALONE = ("--extractor", "none", "--tau", 0)


def errors(here: Path, name: str) -> tuple[float, float]:
    """Mean squared error of luma in the box and beside it."""
    (original,) = open_source(str(here / "even.png")).read()
    (coded,) = open_source(str(here / name)).read()
    square = np.square(original[0].astype(float) - coded[0])
    inside = square[BOX].sum()
    return inside / square[BOX].size, (square.sum() - inside) / (square.size - square[BOX].size)


def encode(fprdo, here: Path, *words: object) -> tuple[float, float]:
    said = fprdo("encode", "even.png", "-o", "o.bin", "--recon", "o.y4m", "-q", 37, *words)
    assert said.status == 0, said.err
    return errors(here, "o.y4m")


@pytest.mark.parametrize("encoder", ["hm", "jm", "x264"])
def test_bits_move_into_a_box(fprdo, here, jm_tools, x264_tools, encoder):
    plain = encode(fprdo, here, "--encoder", encoder, "--plain")
    boxed = encode(fprdo, here, "--encoder", encoder, *ALONE, "--box", "0,0,32,64,16", "--qp-map")
    assert boxed[0] < 0.8 * plain[0] and boxed[1] > 1.1 * plain[1]
    less = encode(fprdo, here, "--encoder", encoder, *ALONE, "--box", "0,0,32,64,0.0625")
    assert less[0] > 1.1 * plain[0] and less[1] < plain[1]


def test_a_mask_and_a_box_of_the_same_place_are_the_same_encode(fprdo, here, tools):
    mask = np.zeros((64, 80), np.uint8)
    mask[BOX] = 255
    save_picture(here / "mask.png", mask)
    box = encode(fprdo, here, *ALONE, "--box", "0,0,32,64,8")
    bits = (here / "o.bin").read_bytes()
    assert encode(fprdo, here, *ALONE, "--mask", "mask.png", "--mask-factor", 8) == box
    (here / "found.json").write_text(json.dumps([{"image_id": 0, "bbox": [0, 0, 32, 64]}]))
    assert encode(fprdo, here, *ALONE, "--boxes", "found.json", "--boxes-factor", 8) == box
    assert (here / "o.bin").read_bytes() == bits


def test_python_has_the_same(fprdo, here, tools):
    encode(fprdo, here, *ALONE, "--box", "0,0,32,64,8")
    fmt = VideoFormat(80, 64)
    weights = Regions(fmt, boxes=[(0, 0, 32, 64, 8)]).weigh(ones(fmt, ()))
    frames: list[Frame] = list(open_source(str(here / "even.png")).read())
    encoded = Encoder("hm").encode(frames, 37, fmt=fmt, weights=weights, transform_sizes=(), idse=IdseOptions(tau=0))
    assert encoded.reconstruction[0][0].tobytes() == next(open_source(str(here / "o.y4m")).read())[0].tobytes()


def test_the_program_of_the_page_runs(tools, capsys):
    page = (Path(__file__).parents[2] / "docs" / "regions.md").read_text()
    exec(page.partition("```python\n")[2].partition("```")[0], {"__name__": "__main__"})
    assert capsys.readouterr().out.endswith(" bytes\n")


def test_a_factor_of_1_is_plain_sse(fprdo, here, tools):
    words = ("encode", "even.png", "-q", 37, "--option", "MaxCuDQPDepth=0", "--option", "CbQpOffset=0")
    words += ("--option", "CrQpOffset=0", "--deblock-offset", 0)
    assert fprdo(*words, "-o", "plain.bin", "--plain").status == 0
    assert fprdo(*words, "-o", "one.bin", *ALONE, "--box", "0,0,32,64,1").status == 0
    assert (here / "plain.bin").read_bytes() == (here / "one.bin").read_bytes()


def test_the_map_of_a_network_is_multiplied(fprdo, here):
    assert fprdo("weights", "even.png", "-o", "boxed.idse", *FAST, "--box", "0,0,32,64,4").status == 0
    with IdseFile(here / "even.idse") as file, IdseFile(here / "boxed.idse") as boxed:
        plain, found = file.map(0).planes[0], boxed.map(0).planes[0]
        assert boxed.metadata["regions"]["boxes"] == [[0, 0, 32, 64, 4]] and "regions" not in file.metadata
        assert boxed.metadata["extractor"] == file.metadata["extractor"]
    expected = plain.copy()
    expected[BOX] *= 4
    assert np.allclose(found, expected / expected.mean(), atol=0.02)


@pytest.mark.slow
def test_a_comparison_with_regions_alone(fprdo, here, x264_tools):
    words = ("compare", "even.png", "-o", "out", "--encoder", "x264", *ALONE, "--maps", 0, "--curves", 0)
    said = fprdo(*words, "--box", "0,0,32,64,8")
    assert said.status == 0 and "weights of regions alone" in said.err
    with open(here / "out" / "results.csv", newline="") as file:
        assert {row["mode"] for row in csv.DictReader(file)} == {"sse", "idse"}
    before = (here / "out" / "weights" / "even.idse").read_bytes()
    assert "8 of 8 points are there already" in fprdo(*words, "--box", "0,0,32,64,8").err
    assert fprdo(*words, "--box", "0,0,32,64,9").status == 0
    assert (here / "out" / "weights" / "even.idse").read_bytes() != before


MISTAKES = [
    ("weights even.png --mask odd.png -o odd.png", "odd.png: is read by this command"),
    ("weights even.png --extractor none", "extractor none: weights come from regions alone; give --mask, --box or"),
    ("weights even.png --extractor none --layer x --box 0,0,8,8,2", "extractor none: has no layers"),
    ("weights even.png --extractor none:a --box 0,0,8,8,2", "extractor none:a: No module named 'none'"),
    ("weights even.png --box 0,0,8,8", "'0,0,8,8' is no box; write five numbers like 96,64,200,120,4"),
    ("weights even.png --box 0,0,8,8,x", "'0,0,8,8,x' is no box"),
    ("weights even.png --box 0,0,8,nan,2", "'0,0,8,nan,2' is no box"),
    ("weights even.png --box 76,0,8,8,2", "box 76,0,8,8,2: reaches beyond the frames, which are 80x64; cut it"),
    ("weights even.png --box=-1,0,8,8,2", "box -1,0,8,8,2: x and y begin at 0"),
    ("weights even.png --box 0,0,0,8,2", "box 0,0,0,8,2: x and y begin at 0 in the top left, width and height are"),
    ("weights even.png --box 0,0,8,8,101", "box 0,0,8,8,101: factor 101.0: use 0.01 to 100"),
    ("weights even.png --mask odd.png", "odd.png: is a picture in colour; a mask is grey"),
    ("weights even.png --mask gone.png", "gone.png: no such picture"),
    ("weights even.png --mask even.png --mask-factor 0", "factor 0.0: use 0.01 to 100"),
    ("weights even.png --mask-factor 4", "--mask-factor 4: is of --mask, which is not given"),
    ("weights even.png --boxes-factor 4", "--boxes-factor 4: is of --boxes, which is not given"),
    ("weights even.png --boxes gone.json", "gone.json: no such file of boxes"),
    ("weights even.png --boxes even.png", "even.png: is no JSON"),
    ("encode even.png -o o.bin -q 32 --plain --box 0,0,8,8,2", "--box: weights are not used (--plain); leave one out"),
    ("encode even.png -o o.bin -q 32 --weights even.idse --mask m.png", "--mask: weights are those of --weights"),
    ("encode even.png -o o.bin -q 32 --boxes gone.json", "gone.json: no such file of boxes"),
    ("compare even.png -o out --encoder x264 --box 0,0,99,8,2", "box 0,0,99,8,2: reaches beyond the frames"),
]


@pytest.mark.parametrize(("words", "message"), MISTAKES, ids=[words for words, _ in MISTAKES])
def test_a_mistake_is_one_line_and_nothing_is_written(fprdo, here, words, message):
    before = files(here)
    said = fprdo(*words.split())
    assert said.status == 2 and message in said.err.splitlines()[-1] and "Traceback" not in said.err
    if not words.startswith("compare"):
        assert files(here) == before
