"""Runs a plan: each job once, in whatever order its inputs allow, whatever happens to the others."""

from __future__ import annotations

import json
import shutil
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from fprdo_bridge.ctc.jobs import Job
from fprdo_bridge.ctc.plan import Group, Unit
from fprdo_bridge.ctc.pool import Answer, Died
from fprdo_bridge.ctc.store import Store
from fprdo_bridge.errors import FprdoError

_TRIES = 2  # of a job whose worker died
_OTHERS = 0.25  # seconds between two looks at a job that another run has
_EVERY = 2.0  # seconds between two lines of progress


class Pool(Protocol):
    """Where jobs are done: pool.LocalPool, or cluster.DaskPool."""

    count: int
    memory: int

    def free(self) -> list[str | None]: ...
    def submit(self, message: dict[str, Any], source: str) -> None: ...
    def wait(self, timeout: float) -> list[Answer | Died]: ...
    def close(self) -> None: ...


@dataclass
class Totals:
    """Jobs of a plan by kind, and what they cost by estimate."""

    jobs: Counter[str] = field(default_factory=Counter)
    done: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    disk: int = 0

    def add(self, job: Job, done: bool) -> None:
        """Count a job."""
        self.jobs[job.kind] += 1
        if done:
            self.done[job.kind] += 1
        else:
            self.seconds += job.seconds
            self.disk += job.disk


def count(groups: Iterable[Group], store: Store | None) -> Totals:
    """What a plan is made of, and what of it is done already."""
    totals, seen = Totals(), set[str]()
    for group in groups:
        seen.clear()  # jobs of two items differ, unless the items are equal
        for unit in group.units:
            for job in unit.jobs:
                if job.key not in seen:
                    seen.add(job.key)
                    totals.add(job, store is not None and store.has(job.key))
    return totals


@dataclass
class Outcome:
    """How a run ended: jobs that ran, jobs that were done before, (title, error) of those that failed, and the number
    of those that had to be left out because of them."""

    ran: Counter[str] = field(default_factory=Counter)
    before: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    left_out: int = 0


@dataclass
class _Running:
    group: _Open
    unit: Unit
    left: deque[Job]
    tries: int = 1


@dataclass
class _Open:
    """A group in progress."""

    source: str
    waiting: deque[Unit]
    running: int = 0
    failed: set[str] = field(default_factory=set)


class Watcher:
    """Is told what becomes of jobs. What its methods raise ends the run."""

    def begun(self, job: Job) -> None:
        """A worker gets the job; it gets it again if the worker died."""

    def done(self, job: Job) -> None:
        """The job is in the store."""

    def failed(self, job: Job, error: str) -> None:
        """The job failed, and why."""


class Engine:
    """Runs groups of jobs with a pool.

    Parameters
    ----------
    say : called with a line of text now and then
    expected : estimated seconds of all jobs that are not done, for the time left
    jobs : their number; 0 for no lines about progress and failures
    watcher : is told what becomes of each job
    """

    def __init__(
        self,
        store: Store,
        pool: Pool,
        say: Callable[[str], None] = lambda line: None,
        expected: float = 0.0,
        jobs: int = 0,
        watcher: Watcher | None = None,
    ):
        self._watcher = watcher or Watcher()
        self._store, self._pool, self._say = store, pool, say
        self._open: list[_Open] = []
        self._running: dict[str, _Running] = {}  # by the key of the job that a worker has
        self._elsewhere: deque[tuple[float, _Open, Unit]] = deque()
        self._memory = 0
        self._outcome = Outcome()
        self._noted: set[str] = set()  # what encoders said already
        self._expected, self._jobs, self._spent = expected, jobs, 0.0
        self._started = self._said = time.monotonic()

    def run(self, groups: Iterator[Group]) -> Outcome:
        """All jobs that are not done. Raises KeyboardInterrupt through; the pool is then the caller's to close."""
        source = iter(groups)
        more = True
        while more or self._open or self._running:
            while more and len(self._open) < self._pool.count + 1:
                group = next(source, None)
                if group is None:
                    more = False
                else:
                    self._take(group)
            started = self._dispatch()
            for answer in self._pool.wait(
                0.0 if started and self._pool.free() else _OTHERS if self._elsewhere else 1.0 if self._running else 0.0
            ):
                self._finish(answer)
            self._open = [group for group in self._open if group.waiting or group.running]
        return self._outcome

    # ---- what is to be done ------------------------------------------------------------------------------------------

    def _take(self, group: Group) -> None:
        waiting = deque[Unit]()
        for unit in group.units:
            left = self._missing(unit.jobs)
            self._outcome.before += len(unit.jobs) - len(left)
            if left:
                waiting.append(Unit(left))
        if waiting:
            self._open.append(_Open(group.item.content, waiting))

    def _missing(self, jobs: Iterable[Job]) -> tuple[Job, ...]:
        """The jobs of a unit that are not done; a decode whose scores are missing is not done again."""
        return tuple(job for job in jobs if not self._store.has(job.key))

    def _dispatch(self) -> int:
        """Give jobs to workers that wait; returns how many."""
        self._return_from_elsewhere()
        started = 0
        for last in self._pool.free():
            chosen = self._choose(last)
            if chosen is None:
                break
            started += self._begin(*chosen)
        return started

    def _return_from_elsewhere(self) -> None:
        now = time.monotonic()
        while self._elsewhere and self._elsewhere[0][0] <= now:
            _, group, unit = self._elsewhere.popleft()
            group.running -= 1
            group.waiting.append(unit)

    def _choose(self, last: str | None) -> tuple[_Open, Unit] | None:
        """A unit whose inputs are there and that fits into the memory, of the worker's last source if possible."""
        for group in sorted(self._open, key=lambda one: one.source != last):
            for unit in list(group.waiting):
                state = self._state(group, unit)
                if state == "impossible":
                    group.waiting.remove(unit)
                    group.failed |= {job.key for job in unit.jobs}
                    self._outcome.left_out += len(unit.jobs)
                    self._spent += sum(job.seconds for job in unit.jobs)
                elif state == "ready" and (not self._running or self._memory + unit.memory <= self._pool.memory):
                    group.waiting.remove(unit)
                    return group, unit
        return None

    def _state(self, group: _Open, unit: Unit) -> str:
        own = {job.key for job in unit.jobs}
        needs = {key for job in unit.jobs for key in job.inputs.values()} - own
        if needs & group.failed:
            return "impossible"
        return "ready" if all(map(self._store.has, needs)) else "waits"

    # ---- one unit ----------------------------------------------------------------------------------------------------

    def _begin(self, group: _Open, unit: Unit) -> int:
        """Lock and start a unit; one that another run has is looked at again later."""
        mine, done = deque[Job](), list[Job]()
        for job in unit.jobs:
            if not self._store.lock(job.key):
                for other in mine:
                    self._store.unlock(other.key)
                group.running += 1
                self._elsewhere.append((time.monotonic() + _OTHERS, group, unit))
                return 0
            if self._store.has(job.key):  # another run was faster
                self._store.unlock(job.key)
                done.append(job)
            else:
                mine.append(job)
        self._outcome.before += len(done)
        self._spent += sum(job.seconds for job in done)
        if not mine:
            return 1
        group.running += 1
        self._memory += unit.memory
        self._next(_Running(group, unit, mine))
        return 1

    def _next(self, running: _Running) -> None:
        """Send the first of a unit's jobs to a worker."""
        job = running.left[0]
        message = job.message(str(self._store.workplace.absolute() / f"{job.key[:24]}-{running.tries}"))
        if job.kind in ("decode", "score") and "encode" in job.inputs:
            try:
                encoded = self._store.record(job.inputs["encode"])["result"]
                known = {name: encoded[name] for name in ("recon", "format")}
            except (FprdoError, KeyError) as error:
                self._failed(running, f"{error}", "")
                return
            message["how"] = {**job.how, **known}
        self._running[job.key] = running
        self._watcher.begun(job)
        self._pool.submit(message, running.group.source)

    def _finish(self, answer: Answer | Died) -> None:
        """Store what a worker has sent, and go on with its unit."""
        key = answer.key if isinstance(answer, Died) else answer["key"]
        running = self._running.pop(key)
        if isinstance(answer, Died):
            if running.tries < _TRIES:
                running.tries += 1
                self._next(running)
            else:
                self._failed(running, answer.how, "")
        elif "error" in answer:
            self._failed(running, answer["error"], answer.get("log", ""))
        else:
            self._commit(running, answer)

    def _commit(self, running: _Running, answer: Answer) -> None:
        job = running.left[0]
        made = self._store.workplace / f"{job.key[:24]}-{running.tries}"
        try:
            made.mkdir(exist_ok=True)
            for name, data in answer.get("files", {}).items():
                (made / name).write_bytes(data)
            self._store.commit(job.key, made, answer["record"])
        except OSError as error:
            self._failed(running, f"{made}: cannot be written ({error.strerror}); check that the disk has room", "")
            return
        except FprdoError as error:
            self._failed(running, str(error), "")
            return
        for note in answer["record"]["result"].get("notes", ()) if job.kind == "encode" else ():
            if note not in self._noted:
                self._noted.add(note)
                self._say(f"{job.spec['encoder']}: {note}")
        self._outcome.ran[job.kind] += 1
        self._watcher.done(job)
        self._done(running)

    def _failed(self, running: _Running, error: str, log: str) -> None:
        job = running.left[0]
        shutil.rmtree(self._store.workplace / f"{job.key[:24]}-{running.tries}", ignore_errors=True)
        running.group.failed.add(job.key)
        self._outcome.failed.append((job.title, error))
        self._store.fail(job.key, job.title, error, log)
        self._watcher.failed(job, error)
        if self._jobs:
            self._say(f"failed: {job.title}: {error}")
        if job.kind == "decode":  # what is not verified is not scored
            self._outcome.left_out += len(running.left) - 1
            for other in list(running.left)[1:]:
                self._store.unlock(other.key)
            running.left = deque([job])
        self._done(running)

    def _done(self, running: _Running) -> None:
        job = running.left.popleft()
        running.tries = 1
        self._store.unlock(job.key)
        self._spent += job.seconds
        if running.left:
            self._next(running)
        else:
            running.group.running -= 1
            self._memory -= running.unit.memory
        self._progress(job)

    def _progress(self, job: Job) -> None:
        now = time.monotonic()
        if now - self._said < _EVERY or not self._jobs:
            return
        self._said = now
        number = sum(self._outcome.ran.values()) + len(self._outcome.failed) + self._outcome.left_out
        left = ""
        if self._spent > 0 and self._expected > self._spent:
            left = f", about {duration((now - self._started) * (self._expected - self._spent) / self._spent)} left"
        self._say(f"[{number}/{self._jobs}] {job.title}{left}")


def duration(seconds: float) -> str:
    """Seconds for people, such as "3 min"."""
    for size, name in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {name}"
    return f"{seconds:.0f} s"


def write_manifest(path: Path, groups: Iterable[Group], header: dict[str, Any]) -> None:
    """What the tables need to know of a plan: a line of JSON for the header and one for each item."""
    from fprdo_bridge.files import replacing

    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write(json.dumps(header) + "\n")
        for group in groups:
            file.write(json.dumps(group.line()) + "\n")
