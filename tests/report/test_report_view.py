"""What the page says, as plain values: sentences, figures, curves, tables, choices."""

import math
import re

import pytest
from report_material import FACTORS, make_store

from fprdo_bridge.ctc.store import Store
from fprdo_bridge.ctc.summary import Cell
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.report.page import answer, curves, forest, material, sample, tables
from fprdo_bridge.report.page.answer import Amount, Dot, Figure, Row
from fprdo_bridge.report.page.what_ran import what_ran


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> material.Material:
    folder = make_store(tmp_path_factory.mktemp("view"))
    return material.read(Store(folder, create=False), "two")


@pytest.fixture(scope="module")
def half(tmp_path_factory) -> material.Material:
    folder = make_store(tmp_path_factory.mktemp("half"), done=0.2)
    return material.read(Store(folder, create=False), "two")


# ---- the answer ------------------------------------------------------------------------------------------------------


def test_the_sentence(found):
    assert answer.answer(found).lead == (
        "On 3 pictures, x264 0.164 intra with idse tau=0.15 needs 50.0 % fewer bits than stock for equal features "
        "lite0. The picture pays 20.0 % more bits for equal luma PSNR."
    )


def test_a_card_for_each_encoder(found):
    first, second = answer.answer(found).cards
    assert (first.encoder, second.encoder) == ("x264 0.164 intra", "second <b>x264</b>")
    assert (first.variant, first.anchor, first.measure) == ("idse tau=0.15", "stock", "features lite0")
    assert (first.saved.tone, first.paid.tone) == ("good", "bad")
    assert first.saved.percent == pytest.approx(-50, abs=0.01) and first.paid.percent == pytest.approx(20, abs=0.01)


def test_at_equal_cost(found):
    """Between tau=1 (10 % for 30 %) and tau=3 (-2 % for 10 %) the sweep pays 0 % at a saving of 10 + 20 / 6 %."""
    costs = dict(answer.answer(found).cards[0].matched)
    assert costs[0.0].percent == pytest.approx(-(10 + 20 / 6), abs=0.02)
    assert costs[10.0].percent == pytest.approx(-30, abs=0.02)


def test_the_figure_has_every_variant_and_every_cost(found):
    figures = answer.answer(found).figures
    assert [one.label for one in figures if one.kind == "face"] == list(FACTORS)[1:]
    assert [one.label for one in figures if one.kind == "matched"] == [
        "idse where the picture pays nothing",
        *(f"idse where the picture pays +{cost} %" for cost in (2, 5, 10)),
    ]
    assert [(row.title, row.cost) for row in figures[0].rows] == [
        ("features lite0", False),
        ("the picture: luma PSNR", True),
    ]


def test_half_a_run_has_no_sentence(half):
    assert answer.answer(half).lead is None
    assert 0 < half.finished < half.planned


@pytest.mark.parametrize(
    "cell, number, direction, tone",
    [
        (Cell(-12.34, "", -15.0, -9.0), "12.3 %", "fewer bits", "good"),
        (Cell(3.0, "", 1.0, 5.0), "3.0 %", "more bits", "bad"),
        (Cell(-1.0, "", -3.0, 1.0), "1.0 %", "fewer bits", "open"),
        (Cell(None, "no points"), "n/a", "no number yet", "none"),
    ],
)
def test_amounts(cell, number, direction, tone):
    amount = Amount.of(cell)
    assert (amount.number, amount.direction, amount.tone) == (number, direction, tone)


# ---- the figure ------------------------------------------------------------------------------------------------------


def figure(*percents: float | None) -> Figure:
    amounts = [Amount(one, None if one is None else one - 1, None if one is None else one + 1) for one in percents]
    return Figure("face", "stock", "v", [Row("r", False, [Dot("a", amount) for amount in amounts])])


def test_marks_lie_on_the_axis():
    drawn = forest.draw(figure(-20, 0, 10), ["a"], (-30, 20))
    left, middle, right = (mark.x for mark in drawn.marks)
    assert drawn.left < left < middle == drawn.zero < right < drawn.right
    assert (middle - left) == pytest.approx(2 * (right - middle), abs=0.3)
    assert drawn.narrow and drawn.narrow.width < drawn.width


def test_what_lies_outside_is_drawn_at_the_edge():
    drawn = forest.draw(figure(-500), ["a"], (-30, 20))
    assert drawn.marks[0].x == drawn.left


def test_no_number_no_mark():
    _, mark = forest.draw(figure(-3, None), ["a"], (-30, 20)).marks
    assert (mark.x, mark.low, mark.text) == (None, None, "n/a")
    drawn = forest.draw(figure(None), ["a"], (-30, 20))
    assert (drawn.marks, drawn.missing) == ([], [("r", "nothing to compare")])


@pytest.mark.parametrize("percents", [(), (None,), (0.0,), (-20.0, 10.0), (1000.0,), (-99.0, 3e6)])
def test_the_axis_holds_the_numbers_and_0(percents):
    low, high = forest.span_of([figure(*percents)])
    assert low < 0 < high and all(low <= one <= high for one in percents if one is not None)
    ticks = forest.ticks_of(low, high)
    assert 0 in ticks and 3 <= len(ticks) <= 14 and len(set(ticks)) == len(ticks)


# ---- curves ----------------------------------------------------------------------------------------------------------


def test_curves_of_a_set(found):
    (one,) = curves.sets_curves(found)
    run = next(run for run in one["runs"] if run["variant"] == "stock")
    assert one["title"] == "all of small (3)" and run["value"] == [22, 27, 32, 37]
    assert run["rate"] == [pytest.approx(bits / (96 * 64), rel=1e-3) for bits in (100_000, 50_000, 25_000, 12_500)]
    assert run["scores"]["picture/psnr_y"] == [40, 34, 28, 22]
    assert run["scores"]["features lite0/distance"] == [pytest.approx(one) for one in (40, 34, 28, 22)]
    rates, scores = run["fits"]["features lite0/distance"]
    assert scores == sorted(scores) and rates == sorted(rates)


def test_curves_of_an_item_have_commands(found):
    (one,) = curves.item_curves(found, [("small", "p1")])
    assert one["runs"][0]["command"][1] == "x264 --crf 27 -o bitstream.bin p1.yuv"
    assert one["runs"][0]["bits"] == [100_000, 50_000, 25_000, 12_500]


def test_unfinished_points_are_no_points(half):
    (one,) = curves.item_curves(half, [("small", "p0")])
    lengths = [len(run["rate"]) for run in one["runs"]]
    assert max(lengths) == 4 and min(lengths) == 0
    assert all(len(run["scores"].get("picture/psnr_y", run["rate"])) == len(run["rate"]) for run in one["runs"])


def test_variants_can_be_told_without_colour(found):
    looks = curves.looks(found)
    assert len({(one["symbol"], one["dash"]) for one in looks.values()}) == len(looks) == 4


# ---- tables ----------------------------------------------------------------------------------------------------------


def test_tables(found):
    by = {one["id"]: one for one in tables.tables(found)}
    assert list(by) == ["overall", "matched", "items", "costs"]
    for one in by.values():
        assert all(len(row) == len(one["columns"]) for row in one["rows"])
    row = dict(zip(by["overall"]["columns"], by["overall"]["rows"][0]))
    assert row["variant"] == "idse tau=0.15" and row["features lite0"][0] == pytest.approx(-50, abs=0.01)
    assert row["luma PSNR"][0] == pytest.approx(20, abs=0.01) and row["luma PSNR"][1] is not None
    row = dict(zip(by["costs"]["columns"], by["costs"]["rows"][0]))
    assert row["encode time, ratio"] == 1.5 and row["map, seconds"] == 2 and row["encode memory, MB"] == 5
    assert len(by["items"]["rows"]) == 3 * 3 * 2


def test_tables_of_half_a_run_give_reasons(half):
    overall = tables.tables(half)[0]
    cells = [cell for row in overall["rows"] for cell in row if isinstance(cell, list)]
    assert cells and all(cell[3] for cell in cells if cell[0] is None)


# ---- choices ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "size, count, indices",
    [
        (1, 3, [0]),
        (2, 3, [0, 1]),
        (3, 3, [0, 1, 2]),
        (12, 3, [0, 5, 11]),
        (1000, 3, [0, 499, 999]),
        (9, 1, [4]),
        (5, 0, []),
    ],
)
def test_worst_median_best(size, count, indices):
    assert sample.spread(size, count) == indices


def test_named_pictures(found):
    assert [one.place for one in sample.choose(found, ["p2", "small/p0", "p2"])] == [("small", "p2"), ("small", "p0")]
    with pytest.raises(FprdoError, match="--pictures p9: the run has no such picture or clip; it has p0, p1, p2"):
        sample.choose(found, ["p9"])


def test_ranked_pictures(found):
    reasons = [one.reason for one in sample.choose(found)]
    assert [reason.partition(":")[0] for reason in reasons] == ["best", "median", "worst"]


def test_the_nearest_point():
    assert sample.nearest([100.0, 200.0, 400.0], 260).index == 1
    assert sample.nearest([100.0, math.nan, 400.0], 260).bits == 400
    assert sample.nearest([100.0, 80.0], 100).percent == 0
    assert sample.nearest([math.nan], 1) is None


def test_bits_at_which_pictures_are_shown():
    """The inner point to which the variant comes nearest: 210 to 200, not 560 to 400."""
    bits = {("e", "stock"): [800.0, 400.0, 200.0, 100.0], ("e", "idse"): [560.0, 210.0, 90.0, 50.0]}
    assert sample.asked_bits(bits, "stock", "idse") == 200
    assert sample.asked_bits(bits, "stock") == 400
    assert sample.asked_bits({("e", "idse"): [3.0, math.nan]}, "stock") == 3
    assert sample.asked_bits({("e", "stock"): [math.nan]}, "stock") is None


# ---- what was run ----------------------------------------------------------------------------------------------------


def test_what_was_run(found):
    ran = what_ran(found)
    assert ran["conditions"].strip().startswith('title = "a small run"')
    assert len(ran["sources"]) == 3 and all(re.fullmatch("[0-9a-f]{64}", value) for _, value in ran["sources"])
    assert "name: efficientnet_lite0" in dict(ran["networks"])["weights"]
    assert "x264 0.164 intra, x264-build" in dict(ran["builds"])


def test_commands_have_no_folders_of_the_machine(found):
    text = repr(curves.item_curves(found, [("small", "p0")]))
    assert "/home" not in text and str(found.store.folder) not in text
