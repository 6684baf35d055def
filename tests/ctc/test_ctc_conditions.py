"""Conditions as data: what a file says, what is wrong with it, and the tables of the ready-made ones."""

import os
from fractions import Fraction

import pytest

from fprdo_bridge.ctc import conditions
from fprdo_bridge.ctc.conditions import Rates
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.importance.weighting import WeightSettings


def parse(text: str, name: str = "test") -> conditions.Conditions:
    return conditions.parse(conditions.tomllib.loads(text), name)


BASE = """
[[sets]]
name = "a"
files = ["skimage:chelsea"]
[[encoders]]
encoder = "hm"
qp = [22, 27, 32, 37]
"""


def test_smallest_file():
    found = parse(BASE)
    assert (found.title, found.bits, found.anchors) == ("test", "pictures", ("stock",))
    assert [variant.name for variant in found.variants] == ["stock", "idse"]
    assert found.encoders[0].name == "hm intra" and found.encoders[0].rates == Rates("qp", (22, 27, 32, 37))
    assert found.maps["default"] == WeightSettings()
    assert found.device == "auto" and parse('device = "cuda"\n' + BASE).device == "cuda"


def test_a_list_is_a_sweep():
    found = parse(
        BASE
        + """
[maps.full]
[maps.half]
probes = 2
[[variants]]
kind = "stock"
[[variants]]
kind = "idse"
tau = [0.15, 1]
[[variants]]
name = "both"
kind = "idse"
map = ["full", "half"]
rdoq = [1, 2]
[[variants]]
kind = "qp-map"
[[variants]]
kind = "aq"
mode = [1, 2]
"""
    )
    by = {variant.name: variant for variant in found.variants}
    assert list(by) == [
        "stock",
        "idse tau=0.15",
        "idse tau=1",
        "both map=full rdoq=1",
        "both map=full rdoq=2",
        "both map=half rdoq=1",
        "both map=half rdoq=2",
        "qp-map",
        "aq mode=1",
        "aq mode=2",
    ]
    assert (by["idse tau=1"].parameter, by["idse tau=1"].group, by["idse tau=1"].idse.tau) == (1.0, "idse", 1)
    assert by["both map=half rdoq=1"].map == "half" and by["both map=half rdoq=1"].parameter is None
    assert (by["qp-map"].idse.decisions, by["qp-map"].idse.rdoq, by["qp-map"].idse.qp_map) == (0, 0, True)
    assert by["aq mode=2"].mode == 2 and by["stock"].idse is None


def test_points_may_be_first_step_count():
    found = parse(BASE.replace("[22, 27, 32, 37]", "{ first = 33, step = 2, count = 9 }"))
    assert found.encoders[0].rates.points == (33, 35, 37, 39, 41, 43, 45, 47, 49)


@pytest.mark.parametrize(
    "change, message",
    [
        (("encoder =", "encodr ="), r"test: encoders\[0\]\.encoder: is missing"),
        (("qp = [22, 27, 32, 37]", "qp = [22, 27, 32, 99]"), r"encoders\[0\]\.qp: 99: use -48 to 63"),
        (("qp = [22, 27, 32, 37]", "qp = [22, 22]"), r"encoders\[0\]\.qp.*twice"),
        (("qp = [22, 27, 32, 37]", "qp = [22.5, 23]"), r"encoders\[0\]\.qp: use whole numbers"),
        (("qp = [22, 27, 32, 37]", "qp = [22]\ncrf = [1]"), r"encoders\[0\]\.crf: qp stands there too"),
        (("qp = [22, 27, 32, 37]", "qp = { first = 1 }"), r"encoders\[0\]\.qp.*first = 22"),
        (("qp = [22, 27, 32, 37]", ""), r"encoders\[0\]\.qp: is missing"),
        (('files = ["skimage:chelsea"]', ""), r"sets\[0\]\.folder: give exactly one of"),
        (('files = ["skimage:chelsea"]', 'files = "x.png"'), r"sets\[0\]\.files.*give a list"),
        (('files = ["skimage:chelsea"]', 'coco = "x"'), r"sets\[0\]\.annotations: is missing"),
        (('name = "a"', 'name = "a"\ncont = 3'), r"sets\[0\]\.cont: no such key; use count"),
    ],
)
def test_mistakes_name_the_key(change, message):
    with pytest.raises(FprdoError, match=message):
        parse(BASE.replace(*change))


@pytest.mark.parametrize(
    "more, message",
    [
        ('[[variants]]\nkind = "idse"\ntau = 2000', r"variants\[0\].*IDSETau"),
        ('[[variants]]\nkind = "idse"\ntau = "1"', r"variants\[0\]\.tau: '1': use a number"),
        ('[[variants]]\nkind = "idse"\nmap = "none"', r"variants\[0\]\.map.*use one of default"),
        ('[[variants]]\nkind = "other"', r"variants\[0\]\.kind.*stock, idse"),
        ('[[variants]]\nkind = "stock"\n[[variants]]\nkind = "stock"', r"variants: 'stock' stands twice"),
        (
            '[[variants]]\nkind = "idse"\ntau = [1, 2]\n[[variants]]\nkind = "idse"\ntau = 3',
            r"variants: 'idse' stands twice",
        ),
        ('[[variants]]\nkind = "stock"\nencoders = ["x266"]', r"variants\[0\]\.encoders"),
        ('[[variants]]\nkind = "stock"\noptions = { SAO = true }', r"variants\[0\]\.options.*SAO"),
        ("[maps.m]\nprobes = 0", r"maps\.m\.probes: 0"),
        ("[maps.m]\nprobs = 0", r"maps\.m\.probs: no such key; use probes"),
        ('[statistics]\nbd-rate = "cubic"', r"statistics\.bd-rate"),
        ("[format]\nbit-depth = 7", r"format\.bit-depth"),
        ('[maps.m]\ndevice = "cpu"', r"maps\.m\.device: no such key"),
    ],
)
def test_mistakes_of_other_tables(more, message):
    with pytest.raises(FprdoError, match=message):
        parse(BASE + more)


def test_mistakes_at_the_top():
    with pytest.raises(FprdoError, match="anchors.*stock"):
        parse('anchors = ["none"]\n' + BASE)
    with pytest.raises(FprdoError, match="sets: write at least one"):
        parse("sets = []" + BASE.partition("[[encoders]]")[2].join(["\n[[encoders]]", ""]))
    with pytest.raises(FprdoError, match="titel: no such key; use title"):
        parse('titel = "x"\n' + BASE)


def test_files_that_are_none(tmp_path):
    with pytest.raises(FprdoError, match="no such conditions; use one of .*kodak"):
        conditions.load("nothing")
    with pytest.raises(FprdoError, match="cannot be read"):
        conditions.load(str(tmp_path / "nothing.toml"))
    for content in (b"a = [", b"\xff\xfe", b"a = " + b"[" * 5000):
        (tmp_path / "bad.toml").write_bytes(content)
        with pytest.raises(FprdoError, match="bad.toml"):
            conditions.load(str(tmp_path / "bad.toml"))
    os.mkfifo(tmp_path / "pipe.toml")
    with pytest.raises(FprdoError, match="pipe.toml: is a pipe; give a regular file"):
        conditions.load(str(tmp_path / "pipe.toml"))
    (tmp_path / "bom.toml").write_bytes(b"\xef\xbb\xbf" + BASE.encode())
    assert conditions.load(str(tmp_path / "bom.toml")).name == "bom"


# ---- the ready-made ones against the tables they are made from -------------------------------------------------------


@pytest.mark.parametrize("name", conditions.ready_made())
def test_ready_made_conditions_are_valid(name):
    found = conditions.load(name)
    assert found.title and found.sets and found.tasks


def test_jvet():
    found = conditions.load("jvet")
    by = {one.name: one for one in found.sets}
    assert {name: len(one.clips) for name, one in by.items()} == {
        "A1": 3,
        "A2": 3,
        "B": 5,
        "C": 4,
        "D": 4,
        "E": 3,
        "F": 4,
    }
    assert [name for name, one in by.items() if not one.overall] == ["D", "F"]
    assert sum(clip.frames for one in found.sets for clip in one.clips) == 12094
    assert all(encoder.rates.points == (22, 27, 32, 37) for encoder in found.encoders)
    assert {encoder.name: encoder.subsample for encoder in found.encoders} == {"AI": 8, "RA": 1, "LB": 1, "LP": 1}
    for one in found.sets:
        for clip in one.clips:
            assert clip.intra_period % 8 == 0 and 0.7 <= clip.intra_period / clip.fps <= 1.1
            assert f"{clip.request.size[0]}x{clip.request.size[1]}" in clip.file and str(clip.fps) in clip.file
    assert "randomaccess" not in by["E"].structures and "lowdelay" not in by["A1"].structures
    assert (found.bits, found.pool) == ("bitstream", "picture")


def test_vcm_sfu():
    found = conditions.load("vcm-sfu")
    clips = {clip.name: clip for one in found.sets for clip in one.clips}
    assert len(clips) == 14 and {"RaceHorsesC", "RaceHorsesD"} < set(clips)
    assert clips["RaceHorsesC"].file != clips["RaceHorsesD"].file
    assert sum(clip.frames for clip in clips.values()) == 33 * 3 + 97 * 6 + 129 * 3 + 65 * 2
    assert all(clip.frames + clip.skip in (150, 240, 500, 600, 300) for clip in clips.values())  # the clips' last part
    first = {name: clip.rates["randomaccess"].points[0] for name, clip in clips.items()}
    assert sum(first.values()) == 35 + 30 + 44 + 38 + 38 + 32 + 22 + 27 + 32 + 27 + 3 * 22 + 27
    steps = {name: clip.rates["lowdelay"].points[1] - first[name] for name, clip in clips.items()}
    assert (steps["Cactus"], steps["BQTerrace"], steps["ParkScene"], steps["Traffic"]) == (2, 3, 5, 4)
    assert all(len(rates.points) == 6 for clip in clips.values() for rates in clip.rates.values())
    assert {
        name: clip.rates["intra"].points[0] for name, clip in clips.items() if clip.rates["intra"].points[0] != 22
    } == {"Traffic": 32, "Kimono": 32}
    assert [one.name for one in found.sets if not one.overall] == ["optional"]
    assert clips["Kimono"].fps == Fraction(24) and found.pool == "class"


def test_vcm_tvd_and_oiv6_and_paper():
    clips = conditions.load("vcm-tvd").sets[0].clips
    assert len(clips) == 7 and sum(clip.frames for clip in clips) == 6 * 500 + 636
    points = [clip.rates["randomaccess"].points for clip in clips]
    assert [(one[0], one[1] - one[0]) for one in points] == [
        (20, 3),
        (22, 3),
        (22, 4),
        (20, 4),
        (34, 4),
        (29, 4),
        (22, 5),
    ]
    assert conditions.load("vcm-oiv6").encoders[0].rates.points == (22, 27, 32, 37, 42, 47)
    paper = conditions.load("paper")
    assert {encoder.encoder for encoder in paper.encoders} == {"hm", "jm"}
    assert all(encoder.rates.points == tuple(range(33, 50, 2)) for encoder in paper.encoders)


# ---- the documentation -----------------------------------------------------------------------------------------------


def block(page: str, language: str) -> str:
    """The first block of a language on a page of docs/."""
    text = (conditions.FOLDER.parents[1] / "docs" / page).read_text(encoding="utf-8")
    return text.partition(f"```{language}\n")[2].partition("```")[0]


def test_the_documented_file_is_valid():
    found = parse(block("test-conditions.md", "toml"))
    assert [one.name for one in found.sets] == ["mine", "B"] and found.sets[1].clips[0].md5 == "0" * 32
    assert {variant.kind for variant in found.variants} == set(conditions.KINDS)
    assert found.sets[1].clips[0].rates["randomaccess"] == Rates("qp", (27, 32, 37, 42, 47, 52))


def test_every_ready_made_file_is_documented():
    page = (conditions.FOLDER.parents[1] / "docs" / "test-conditions.md").read_text(encoding="utf-8")
    table = page.partition("## Ready-made conditions")[2].partition("\n## ")[0]
    names = [
        name.strip() for line in table.splitlines() if line.startswith("| ") for name in line.split("|")[1].split(",")
    ]
    assert sorted(set(names) - {"name"}) == conditions.ready_made()
