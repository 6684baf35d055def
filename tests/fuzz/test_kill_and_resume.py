"""Comparisons that are killed at any moment: the next run ends with the same results, and nothing is left over.

The moments come from fixed seeds. A longer run:

    FPRDO_FUZZ_ROUNDS=50 python -m pytest -q tests/fuzz/test_kill_and_resume.py
"""

import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from fprdo_bridge.ctc.results_folder import MARKER
from fprdo_bridge.video.pictures import save_picture

ROUNDS = int(os.environ.get("FPRDO_FUZZ_ROUNDS", 1))
KILLS = 3  # before a run may end

PLUG_IN = """
import torch
from fprdo_bridge.importance.extractors import Extractor

def net():
    torch.manual_seed(0)
    return Extractor("tiny", torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3)), ["0"])
"""
COMMAND = [
    sys.executable,
    "-m",
    "fprdo_bridge.cli",
    "compare",
    "a.png",
    "b.png",
    "-o",
    "out",
    "-q",
    "20",
    "27",
    "34",
    "41",
    "--encoder",
    "x264",
    "--extractor",
    "tiny:net",
    "--probes",
    "40",
    "--maps",
    "1",
    "--curves",
    "all",
]


def results(folder: Path) -> dict[str, object]:
    """Everything in a results folder, times aside."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        found[name] = path.read_bytes() if path.is_file() else None
        if path.name == "record.json":
            record = json.loads(path.read_text())
            record["result"].pop("seconds", None)
            found[name] = record | {"provenance": sorted(record["provenance"])}
        elif name == "results.csv":
            with open(path, newline="") as file:
                found[name] = [row | {"encoder_seconds": 0} for row in csv.DictReader(file)]
        elif name.endswith(".log") or path.name == "log.txt":
            found[name] = path.stat().st_size > 0  # with times and names of temporary folders
        elif name == MARKER:
            found[name] = sorted(path.read_text().split("\n"))
    return found


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, x264_tools) -> tuple[Path, str, float]:
    """A folder with the pictures and the results of a run, what it printed, and how long it worked."""
    folder = tmp_path_factory.mktemp("undisturbed")
    rng = np.random.default_rng(5)
    (folder / "tiny.py").write_text(PLUG_IN)
    for name in ("a", "b"):
        rough = rng.integers(0, 256, (5, 6, 3), np.uint8)
        save_picture(folder / f"{name}.png", np.kron(rough, np.ones((8, 8, 1), np.uint8)))
    process, started = start(folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = process.communicate()
    assert process.returncode == 0, err
    return folder, out, time.monotonic() - started


def workspaces(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("out/.fprdo-*") if path.is_dir()}


def start(folder: Path, **streams) -> tuple[subprocess.Popen[str], float]:
    """A run, and when it began to work, which is after some seconds of imports; or when it ended."""
    before = workspaces(folder)
    process = subprocess.Popen(COMMAND, cwd=folder, text=True, **streams)
    while not workspaces(folder) - before and process.poll() is None:
        time.sleep(0.005)
    return process, time.monotonic()


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_a_run_that_is_killed_again_and_again(undisturbed, tmp_path, seed):
    folder, printed, seconds = undisturbed
    moments = random.Random(seed)
    for path in folder.iterdir():
        if path.is_file():
            shutil.copy(path, tmp_path)
    killed = 0
    for _ in range(KILLS):
        process, begun = start(tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(max(0.0, begun + moments.uniform(0, seconds) - time.monotonic()))
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
    assert killed >= 1
    run = subprocess.run(COMMAND, cwd=tmp_path, capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (0, printed), run.stderr
    assert results(tmp_path / "out") == results(folder / "out")
    assert {path.name for path in tmp_path.iterdir()} - {"__pycache__"} == {"a.png", "b.png", "tiny.py", "out"}
