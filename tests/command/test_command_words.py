"""Words of the command line that nobody would choose: names of any bytes, pipes, numbers of 400 digits."""

import os
from pathlib import Path

import pytest
from calling import FAST, files

from fprdo_bridge.importance.idse_file import IdseFile

pytestmark = pytest.mark.encoder


def test_a_name_that_is_not_utf8(fprdo, here):
    name = os.fsdecode(b"\xff\xfe")
    Path("even.png").rename(f"{name}.png")
    assert fprdo("weights", f"{name}.png", *FAST) == (0, "\\udcff\\udcfe.idse: weights of 80x64, 1 frame\n", "")
    with IdseFile(f"{name}.idse") as weights:
        assert weights.metadata["source"] == name
    said = fprdo("encode", f"{name}.png", "-o", f"{name}.bin", "-q", 40, "--weights", f"{name}.idse")
    assert said.status == 0 and os.fsencode(f"{name}.idse") in Path(f"{name}.bin.log").read_bytes()
    assert fprdo("decode", f"{name}.bin", "-o", f"{name}.yuv").status == 0
    assert fprdo("show", f"{name}.idse").status == 0
    said = fprdo("compare", f"{name}.png", "-o", "cmp", *FAST)
    assert said.status == 0 and "\\udcff\\udcfe" in said.out
    assert "\\udcff\\udcfe,HM 18.0,sse,27" in Path("cmp/results.csv").read_text(encoding="utf-8")


def test_a_long_name(fprdo, here):
    name = "e" * 247  # with .bin.log the longest that a disk takes
    Path("even.png").rename(f"{name}.png")
    said = fprdo("encode", f"{name}.png", "-o", f"{name}e.bin", "-q", 40, "--plain")
    assert said.status == 2 and said.err.endswith("e.bin.log: File name too long; check the path and the disk's room\n")
    assert fprdo("encode", f"{name}.png", "-o", f"{name}.bin", "-q", 40, "--plain").status == 0
    assert fprdo("weights", f"{name}.png", "-o", "w.idse", *FAST).status == 0


@pytest.mark.parametrize(
    "words",
    [
        "weights a\nb.png",
        "weights even.png a\rb",
        "weights even.png --extractor a:\n",
        "encode even.png -o o.bin -q 3 --weights a\nb",
        "decode a\nb -o d.png",
    ],
)
def test_a_line_break_in_a_name(fprdo, here, words):
    said = fprdo(*words.split(" "))
    assert said.status == 2 and said.err.startswith("fprdo: error: ") and len(said.err.splitlines()) == 1


@pytest.mark.parametrize(
    "words",
    [
        "show pipe.idse",
        "encode even.png -o o.bin -q 32 --weights pipe.idse",
        "weights pipe.png",
        "weights pipe.y4m",
        "weights pipe_16x16.yuv",
        "encode pipe -o o.bin -q 32 --plain",
        "show even.idse pipe.webp",
        "decode pipe.bin -o o.yuv",
        "compare even.png pipe.png -o cmp",
        "encode even.png -o o.bin -q 32 --plain --config pipe.cfg",
        "compare even.png -o cmp --config pipe.cfg",
        "compare even.png -o cmp --config pipe.cfg --encoder x264",
    ],
)
def test_pipes_are_refused_and_not_waited_for(fprdo, here, x264_tools, words):
    for name in ("pipe", "pipe.idse", "pipe.png", "pipe.y4m", "pipe_16x16.yuv", "pipe.webp", "pipe.bin", "pipe.cfg"):
        os.mkfifo(name)
    before = files(here)
    said = fprdo(*words.split())
    assert said.status == 2 and said.out == "" and len(said.err.splitlines()) == 1
    assert said.err.startswith("fprdo: error: pipe") and ("is a pipe" in said.err or "is no regular file" in said.err)
    assert files(here) == before


@pytest.mark.parametrize(
    "words",
    [
        "weights a\0b.png",
        "weights even.png -o a\0b",
        "encode even.png -o o -q 30 --option a=\0",
        "weights even.png --extractor a:\0",
        "show even.idse --frame \0",
        "\0",
        "--\0=1",
    ],
)
def test_a_nul_character(fprdo, here, words):
    said = fprdo(*words.split(" "))
    assert said.status == 2 and said.out == "" and said.err.count("\n") == 1
    assert said.err.startswith("fprdo: error: ") and "holds a NUL character; leave it out" in said.err


@pytest.mark.parametrize(
    "option",
    [
        "--probes",
        "--seed",
        "--frames",
        "--skip",
        "--bit-depth",
        "--frames-per-map",
        "--size",
        "--frame-rate",
        "--jitter",
    ],
)
@pytest.mark.parametrize("value", ["1" + 400 * "0", 5000 * "9", "nan", "-inf", "1e400", ""])
def test_numbers_beyond_all_ranges(fprdo, here, option, value):
    said = fprdo("weights", "even.png", f"{option}={value}")
    assert said.status == 2 and said.out == "" and said.err.count("\n") == 1
    assert said.err.startswith(f"fprdo: error: argument {option}") and len(said.err) < 300
