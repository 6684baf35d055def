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
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from ctc_material import TWO, write_conditions, write_pictures
from ctc_running import CLEAN, PICTURES, POINTS, VARIANTS, command, environment, go, start, tables, wait_for_jobs

from fprdo_bridge.ctc.store import Store
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.video.pictures import load_picture, save_picture

pytestmark = pytest.mark.slow


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


def test_how_maps_follow_one_another_means_nothing_for_pictures(place, copy, tmp_path):
    heading = re.search(r"^\[maps\..*\]$", TWO, re.MULTILINE)[0]
    other = write_conditions(tmp_path, TWO.replace(heading, f"{heading}\nframes-per-map = 3\ncuts = false"))
    outcome, _ = go(other, place, copy)
    assert outcome.ran == Counter() and outcome.before == sum(CLEAN.values())


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


def test_ten_kills(place, finished, tmp_path):
    moments, folder = random.Random(12), tmp_path / "store"
    for _ in range(10):
        process = start(place, folder, "--jobs", 2)
        wait_for_jobs(folder, moments.randrange(sum(CLEAN.values())), process)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    process = start(place, folder, "--jobs", 2)
    process.communicate()
    assert process.returncode == 0
    assert tables(folder) == tables(finished)
    assert not list((folder / "tmp").iterdir())


def test_a_worker_that_is_killed_is_replaced(place, finished, tmp_path):
    folder = tmp_path / "store"
    process = start(place, folder, "--jobs", 2)
    wait_for_jobs(folder, 5, process)
    workers = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True).stdout.split()
    os.kill(int(workers[0]), signal.SIGKILL)
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert tables(folder) == tables(finished)


def test_ctrl_c_keeps_what_is_done(place, tmp_path):
    folder = tmp_path / "store"
    process = start(place, folder, "--jobs", 2)
    wait_for_jobs(folder, 8, process)
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate()
    assert process.returncode == 130 and "Traceback" not in err
    assert not list((folder / "tmp").iterdir())
    outcome, _ = go(place / "two.toml", place, folder)
    assert outcome.before >= 8 and outcome.failed == []


def test_runs_that_begin_at_once_make_one_store(tmp_path):
    for number in range(40):
        folder, together = tmp_path / str(number), Barrier(4)

        def make(folder: Path = folder, together: Barrier = together) -> Store:
            together.wait()
            return Store(folder)

        with ThreadPoolExecutor(4) as pool:
            assert len([made.result() for made in [pool.submit(make) for _ in range(4)]]) == 4


def test_two_runs_share_a_store(place, finished, tmp_path):
    folder = tmp_path / "store"
    both = [start(place, folder, "--jobs", 2) for _ in range(2)]
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
    done = subprocess.run(
        [sys.executable, "-c", limited, "ctc", "run", str(place / "two.toml"), "--data", str(place), "-o", str(folder)],
        env=environment(),
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
