"""Names from outside are never markup: in figures, on the terminal, in tables."""

import csv
import json
import re
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from matplotlib import mathtext, texmanager
from PIL import Image

from fprdo_bridge.ctc.points import Comparison, Point
from fprdo_bridge.encoders.job import IdseOptions
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.report import ctc_sheet, curves, heatmap, tables
from fprdo_bridge.report.figures import figure
from fprdo_bridge.text import printable
from fprdo_bridge.video.formats import VideoFormat

JUDGE = "net$x$:<b>_^\\"
NAMES = [
    "US$5_$",
    "a_b^c",
    r"\frac{1}{2}$\alpha$",
    r"$\nonsense{$",
    "<b>&amp;</b>",
    "[red]x[/red]",
    "\x1b[31mred\x1b[0m",
    "two\nlines\r",
    "\x9b2J\x07\x7f",
    "\u202etxt.exe",
    "\udcff\udcfe",
    "{0}%s%d",
    "漢字",
    "n" * 240,
    "-o",
    "mean",
    " ",
]
FMT = VideoFormat(70, 40)


def points(name: str) -> list[Point]:
    return [
        Point(name, "HM 18.0", mode, qp, 1, 70, 40, bits, (db, db, db), {JUDGE: 10 ** (-db / 10)}, 0.1, ("HM",), 0.0)
        for mode, less in (("sse", 0), ("idse", 7))
        for qp, bits, db in (
            (27, 4000 - less, 40.0),
            (32, 3000 - less, 37.0),
            (37, 2000 - less, 34.0),
            (42, 1000 - less, 31.0),
        )
    ]


def planes() -> tuple[np.ndarray, ...]:
    return tuple(np.full(shape, 256, np.uint16) for shape in FMT.plane_shapes)


@pytest.fixture
def no_renderer(monkeypatch):
    """Neither mathematics nor TeX may see a name, whatever the user's matplotlibrc says."""

    def refuse(self, text, *_, **__):
        raise AssertionError(f"{text!r} was taken for markup")

    parse = mathtext.MathTextParser.parse
    monkeypatch.setattr(
        mathtext.MathTextParser,
        "parse",  # the axes' own numbers may be mathematics
        lambda self, text, *rest, **more: (
            parse(self, text, *rest, **more)
            if re.fullmatch(r"\$\\mathdefault\{[-\d.^{}\\times ]*\}\$", text)
            else refuse(self, text)
        ),
    )
    monkeypatch.setattr(texmanager.TexManager, "get_text_width_height_descent", refuse)
    monkeypatch.setitem(matplotlib.rcParams, "text.usetex", True)
    monkeypatch.setitem(matplotlib.rcParams, "figure.dpi", 3.0)


@pytest.mark.parametrize("name", NAMES)
def test_names_in_figures(tmp_path, no_renderer, recwarn, name):
    """They are drawn as they are."""
    heatmap.draw_map(tmp_path / "map.svg", planes(), FMT, IdseOptions(), None, name)
    curves.draw_curves(tmp_path / "curves.svg", points(name), JUDGE)
    for path in (tmp_path / "map.svg", tmp_path / "curves.svg"):
        tags = {element.tag.rpartition("}")[2] for element in ElementTree.parse(path).iter()}
        assert tags.isdisjoint({"b", "script", "text"}) and "path" in tags
    assert not recwarn.list


def test_different_names_give_different_pictures(tmp_path, no_renderer):
    pictures = set()
    for name in ("$a$", "a", "\x1ba", "<a>", r"\a"):
        heatmap.draw_map(tmp_path / "map.png", planes(), FMT, IdseOptions(), None, name)
        pictures.add((tmp_path / "map.png").read_bytes())
    assert len(pictures) == 5


def test_the_test_for_markup_can_fail(tmp_path, no_renderer):
    with pytest.raises(AssertionError, match="taken for markup"), figure(tmp_path / "a.png", 2, 2) as page:
        page.suptitle("US$5_$")


@pytest.mark.parametrize("name", NAMES)
def test_names_in_tables(tmp_path, name):
    """No control character, one line per row; a program reads the names back exactly from JSON."""
    rows = points(name)
    for text, lines in ((tables.format_points(rows, JUDGE), 6), (tables.format_bd_rates(Comparison(tuple(rows))), 3)):
        assert len(text.split("\n")) == lines
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff]", text)
        assert name in text or printable(name) != name
    text = tables.to_json(Comparison(tuple(rows)))
    assert text.isascii() and json.loads(text)["points"][0]["sequence"] == name
    tables.write_csv(tmp_path / "r.csv", rows)
    with open(tmp_path / "r.csv", newline="", encoding="utf-8") as file:
        assert [row["sequence"] for row in csv.DictReader(file)] == [printable(name)] * 8


def test_printable():
    assert printable("a\x1b[2J\n\u2028\udcffö $_^\\<&[red]") == r"a\x1b[2J\n\u2028\udcffö $_^\<&[red]"


def test_the_width_of_a_table_follows_the_names():
    lines = tables.format_bd_rates(Comparison((*points("n" * 40), *points("m")))).split("\n")
    assert len({len(line) for line in lines}) == 1
    lines = tables.format_points([*points("n" * 40), *points("m")], JUDGE).split("\n")
    assert len({len(line) for line in lines}) == 1


@pytest.mark.parametrize("width, height", [(16, 6000), (6000, 16), (1, 1), (3840, 2160)])
def test_maps_of_any_shape(tmp_path, width, height):
    """A narrow picture does not ask for a figure that no renderer can make, nor a large one for unreadable numbers."""
    fmt = VideoFormat(width, height, "400")
    heatmap.draw_map(
        tmp_path / "map.png", (np.full((height, width), 300, np.uint16),), fmt, IdseOptions(), None, "m", 8
    )
    with Image.open(tmp_path / "map.png") as picture:
        assert 300 < picture.width < 2000 and 200 < picture.height < 5000


def test_figures_of_unknown_types(tmp_path):
    for name in ("a.xyz", "a.png.gz", "a.pgf", "a.y4m"):
        with pytest.raises(FprdoError, match="unknown picture type"):
            heatmap.draw_map(tmp_path / name, planes(), FMT, IdseOptions(), None, "m")
    assert not list(tmp_path.iterdir())
    heatmap.draw_map(tmp_path / "a", planes(), FMT, IdseOptions(), None, "m")
    assert Path(tmp_path / "a").read_bytes()[:4] == b"\x89PNG"


def test_names_in_a_workbook(tmp_path):
    """A name is no formula, and control characters do not end the run."""
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    ctc_sheet._fill(book.active, [["=1+1", "\x1b[31m", 3.5, None], [], ["", "+cmd"]])
    book.save(tmp_path / "a.xlsx")
    sheet = openpyxl.load_workbook(tmp_path / "a.xlsx").active
    assert [cell.value for cell in sheet[1]] == ["=1+1", "\\x1b[31m", 3.5]
    assert sheet["A1"].data_type == "s" and sheet["B3"].value == "+cmd"
