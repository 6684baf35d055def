"""Worker processes on this machine. A worker has one job at a time; one that dies is replaced."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from fprdo_bridge.errors import FprdoError

Answer = dict[str, Any]  # what a worker sends back, see worker.py
_WORKER_MEMORY = 450 << 20  # bytes of a worker with torch and a network, before it does anything


@dataclass
class _Worker:
    process: subprocess.Popen[bytes]
    orders: IO[bytes]
    answers: IO[bytes]
    scratch: Path
    busy: str | None = None
    read: bytes = b""
    source: str | None = field(default=None)


@dataclass(frozen=True)
class Died:
    """A worker ended in the middle of a job."""

    key: str
    how: str


class LocalPool:
    """Workers for jobs of a store.

    Parameters
    ----------
    store : the store's folder; workers read finished jobs there
    scratch : a folder of this run
    count : workers, at least one
    """

    def __init__(self, store: Path, scratch: Path, count: int):
        self._store, self._scratch = store.absolute(), scratch.absolute()
        self._workers: list[_Worker] = []
        self._selector = selectors.DefaultSelector()
        self._number = 0
        self.count = count
        self.memory = max(available_memory() - count * _WORKER_MEMORY, 1 << 28)

    def free(self) -> list[str | None]:
        """One entry for each worker that waits: the source that it had last, None for a worker that is to be
        started."""
        there = [worker.source for worker in self._workers if worker.busy is None]
        return there + [None] * (self.count - len(self._workers))

    def submit(self, message: Mapping[str, object], source: str) -> None:
        """Give a job to a worker that waits, if possible to the one that had its source last."""
        waiting = [worker for worker in self._workers if worker.busy is None]
        worker = next((one for one in waiting if one.source == source), None)
        if worker is None:
            worker = self._start() if len(self._workers) < self.count else waiting[0]
        worker.busy, worker.source = str(message["key"]), source
        self._send(worker, message)

    def _start(self) -> _Worker:
        self._number += 1
        scratch = self._scratch / f"worker-{self._number}"
        scratch.mkdir()
        environment = os.environ | {
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "MKL_NUM_THREADS": "1",
            "TMPDIR": str(scratch),
        }
        root = str(Path(__file__).resolve().parents[2])
        environment["PYTHONPATH"] = os.pathsep.join([root, *filter(None, [environment.get("PYTHONPATH")])])
        try:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "fprdo_bridge.ctc.worker"],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise FprdoError(
                f"{sys.executable}: no worker can be started ({error.strerror}); free memory, or start fewer with "
                "fprdo ctc run --jobs"
            ) from None
        assert process.stdin and process.stdout
        worker = _Worker(process, process.stdin, process.stdout, scratch)
        self._workers.append(worker)
        self._selector.register(worker.answers, selectors.EVENT_READ, worker)
        self._send(worker, {"store": str(self._store), "scratch": str(scratch), "path": sys.path})
        return worker

    @staticmethod
    def _send(worker: _Worker, message: Mapping[str, object]) -> None:
        with suppress(BrokenPipeError):  # it died; `wait` says so
            worker.orders.write(json.dumps(message).encode() + b"\n")
            worker.orders.flush()

    def wait(self, timeout: float) -> list[Answer | Died]:
        """What has come back: answers of worker.py, or the job that a dead worker had."""
        found: list[Answer | Died] = []
        for key, _ in self._selector.select(timeout):
            worker: _Worker = key.data
            data = os.read(worker.answers.fileno(), 1 << 20)
            worker.read += data
            *lines, worker.read = worker.read.split(b"\n")
            for line in lines:
                found.append(json.loads(line))
                worker.busy = None
            if not data:
                found += self._bury(worker)
        return found

    def _bury(self, worker: _Worker) -> list[Died]:
        self._selector.unregister(worker.answers)
        self._workers.remove(worker)
        status = worker.process.wait()
        _close(worker)
        if worker.busy is None:
            return []
        name = {number.value: number.name for number in signal.Signals}.get(-status, str(status))
        hint = "; the memory may not suffice: free some, or start fewer workers with fprdo ctc run --jobs"
        return [Died(worker.busy, f"its worker ended ({name}){hint if status == -signal.SIGKILL else ''}")]

    def close(self) -> None:
        """End all workers and what they started."""
        for worker in self._workers:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(worker.process.pid, signal.SIGKILL)
            worker.process.wait()
            _close(worker)
        self._workers.clear()
        self._selector.close()


def _close(worker: _Worker) -> None:
    with suppress(OSError):
        worker.orders.close()
    worker.answers.close()


def available_memory() -> int:
    """Bytes that programs can still have (Linux), else half of the machine's memory."""
    with suppress(OSError, ValueError, IndexError):
        with open("/proc/meminfo", encoding="ascii") as file:
            for line in file:
                if line.startswith("MemAvailable"):
                    return int(line.split()[1]) << 10
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
