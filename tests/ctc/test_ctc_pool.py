"""Worker processes on this machine: how many, and what is said when the memory does not suffice."""

from __future__ import annotations

import errno
import os
import signal
import subprocess

import pytest

from fprdo_bridge.ctc.execute import Executor
from fprdo_bridge.ctc.pool import LocalPool
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.processes import cores


@pytest.fixture
def pool(tmp_path):
    (tmp_path / "scratch").mkdir()
    one = LocalPool(tmp_path, tmp_path / "scratch", 1)
    yield one
    one.close()


def test_a_worker_that_cannot_be_started(pool, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    monkeypatch.setattr(subprocess, "Popen", full)
    with pytest.raises(FprdoError, match="no worker can be started .*--jobs") as caught:
        pool.submit({"key": "k"}, "source")
    assert "--workers" not in str(caught.value)  # which are those of a cluster


def test_a_worker_that_the_system_ended(pool):
    pool.submit({"key": "k"}, "source")
    os.kill(pool._workers[0].process.pid, signal.SIGKILL)
    found = pool.wait(30)
    assert [one.key for one in found] == ["k"]
    assert "SIGKILL" in found[0].how and "--jobs" in found[0].how and "--workers" not in found[0].how


def test_a_job_that_gets_no_memory(tmp_path):
    class Full(Executor):
        def __init__(self) -> None:
            pass

        def _map(self, message, output):
            raise MemoryError

    with pytest.raises(FprdoError, match="weights of p: the memory does not suffice; .* --jobs"):
        Full().run({"kind": "map", "output": str(tmp_path / "out"), "how": {"title": "weights of p"}})


def test_cores_where_the_system_does_not_say_which_are_ours(monkeypatch):
    assert 1 <= cores() <= os.cpu_count()
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)  # as on macOS
    assert cores() == os.cpu_count()
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cores() == 1
