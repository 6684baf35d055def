"""The same runs on a Dask cluster."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import pytest
from ctc_running import CLEAN, command, environment, go, start, tables, wait_for_jobs

from fprdo_bridge.errors import FprdoError

pytest.importorskip("distributed")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory):
    """A scheduler and two workers, as somebody would start them; yields its address and the workers."""
    folder = tmp_path_factory.mktemp("cluster")
    started = [
        subprocess.Popen(
            [
                sys.executable,
                "-m",
                "distributed.cli.dask_scheduler",
                "--host",
                "127.0.0.1",
                "--port",
                "0",
                "--no-dashboard",
                "--scheduler-file",
                str(folder / "scheduler.json"),
            ],
            cwd=folder,
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    ]
    for _ in range(600):
        if (folder / "scheduler.json").exists():
            break
        time.sleep(0.1)
    address = json.loads((folder / "scheduler.json").read_text())["address"]
    for number in range(2):
        (folder / f"w{number}").mkdir()
        started.append(
            subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "distributed.cli.dask_worker",
                    address,
                    "--nthreads",
                    "1",
                    "--no-dashboard",
                    "--no-nanny",
                    "--local-directory",
                    str(folder / f"w{number}"),
                ],
                cwd=folder / f"w{number}",
                env=environment(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )
    yield address, started[1:]
    for process in started[::-1]:
        process.kill()
        process.wait()


def test_a_local_cluster_gives_the_same_to_the_digit(place, finished, tmp_path):
    outcome, _ = go(place / "two.toml", place, tmp_path / "store", workers=None, dask=2)
    assert outcome.failed == [] and outcome.ran == CLEAN
    assert tables(tmp_path / "store") == tables(finished)


def test_a_worker_that_dies_is_survived(place, finished, scheduler, tmp_path):
    address, workers = scheduler
    folder = tmp_path / "store"
    process = start(place, folder, "--scheduler", address)
    wait_for_jobs(folder, 20, process)
    workers[0].send_signal(signal.SIGKILL)
    _, err = process.communicate()
    assert process.returncode == 0, err
    assert tables(folder) == tables(finished)


def test_a_scheduler_that_cannot_be_reached(place, tmp_path, monkeypatch):
    from fprdo_bridge.ctc import cluster

    monkeypatch.setattr(cluster, "_WAIT", 2.0)
    for address in ("tcp://127.0.0.1:9", "nonsense://x", "tcp://"):
        with pytest.raises(FprdoError, match="cannot be reached"):
            go(place / "two.toml", place, tmp_path / "store", workers=None, scheduler=address)


def test_from_the_command_line(place, finished, tmp_path):
    done = command("run", place / "two.toml", "--data", place, "-o", tmp_path / "store", "--workers", "2")
    assert done.returncode == 0, done.stderr
    assert tables(tmp_path / "store") == tables(finished)
