"""The engine and the store without encoders: order, memory, deaths, locks."""

from __future__ import annotations

import os
from collections import deque
from fractions import Fraction
from types import SimpleNamespace

import pytest

from fprdo_bridge.ctc.engine import Engine, count, duration
from fprdo_bridge.ctc.jobs import Job
from fprdo_bridge.ctc.plan import Group, Unit
from fprdo_bridge.ctc.pool import Died
from fprdo_bridge.ctc.store import Store

MANY = 1 << 40


class FakePool:
    """Does jobs in the order of `turn`; remembers what ran beside what."""

    shared = True

    def __init__(self, count: int = 3, memory: int = MANY, turn: int = 0, dies: dict[str, int] | None = None):
        self.count, self.memory, self._turn, self._dies = count, memory, turn, dies or {}
        self._busy: deque[tuple[dict, str]] = deque()
        self.together: list[set[str]] = []
        self.order: list[str] = []

    def free(self) -> list[str | None]:
        return [None] * (self.count - len(self._busy))

    def submit(self, message: dict, source: str) -> None:
        self._busy.append((message, source))
        self.order.append(message["how"]["title"])
        self.together.append({one["how"]["title"] for one, _ in self._busy})

    def wait(self, timeout: float) -> list:
        if not self._busy:
            return []
        self._busy.rotate(-self._turn)
        message, _ = self._busy.popleft()
        title = message["how"]["title"]
        if self._dies.get(title, 0) > 0:
            self._dies[title] -= 1
            return [Died(message["key"], "its worker ended (SIGKILL)")]
        if "bad" in title:
            return [{"key": message["key"], "error": f"{title}: no", "log": "log"}]
        os.makedirs(message["output"], exist_ok=True)
        result = {"recon": "r", "format": {}, "notes": ["a note"]} if message["kind"] == "encode" else {}
        return [{"key": message["key"], "record": {"kind": message["kind"], "result": result, "provenance": {}}}]

    def close(self) -> None:
        pass


def job(kind: str, title: str, *needs: Job, memory: int = 1) -> Job:
    names = {"map": "map", "encode": "encode"}
    return Job(
        kind,
        {"title": title, "encoder": "e"},
        {names[one.kind]: one.key for one in needs},
        {"title": title},
        title,
        1.0,
        memory,
        10,
    )


def group(name: str, points: int = 2, memory: int = 1, bad: str = "") -> Group:
    """A map, encodes with it, and a decode with a score of each."""
    weights = job("map", f"{bad if bad == 'badmap' else 'map'} {name}", memory=memory)
    units = [Unit((weights,))]
    for point in range(points):
        prefix = bad if bad.startswith("badencode") and point == 0 else "encode"
        encode = job("encode", f"{prefix} {name} {point}", weights, memory=memory)
        decode = job(
            "decode", f"{'baddecode' if bad == 'baddecode' else 'decode'} {name} {point}", encode, memory=memory
        )
        scores = [
            job("score", f"{'badscore' if bad == 'badscore' and task == 0 else 'score'} {name} {point} {task}", encode)
            for task in range(2)
        ]
        units += [Unit((encode,)), Unit((decode, *scores))]
    return Group(SimpleNamespace(content=name, name=name, fps=Fraction(30)), tuple(units), (), {})


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "store") as one:
        one.begin("test")
        yield one


def all_jobs(*groups: Group) -> list[Job]:
    return [one for each in groups for unit in each.units for one in unit.jobs]


@pytest.mark.parametrize("turn", [0, 1, 2])
def test_every_job_runs_once_after_its_inputs(store, turn):
    groups, pool = [group(name) for name in "abcd"], FakePool(turn=turn)
    outcome = Engine(store, pool).run(iter(groups))
    assert sorted(pool.order) == sorted(one.title for one in all_jobs(*groups)) and outcome.failed == []
    place = {title: index for index, title in enumerate(pool.order)}
    titles = {one.key: one.title for one in all_jobs(*groups)}
    assert all(place[titles[key]] < place[one.title] for one in all_jobs(*groups) for key in one.inputs.values())
    again = FakePool()
    assert Engine(store, again).run(iter(groups)).before == len(pool.order) and again.order == []
    totals = count(iter(groups), store)
    assert totals.jobs == totals.done and totals.seconds == 0


def test_groups_are_opened_as_workers_need_them(store):
    opened = []

    def groups():
        for number in range(50):
            opened.append(number)
            yield group(f"g{number}")

    seen = []

    class Watching(FakePool):
        def submit(self, message, source):
            seen.append(len(opened) - int(source[1:]))
            super().submit(message, source)

    outcome = Engine(store, Watching(count=2)).run(groups())
    assert sum(outcome.ran.values()) == 50 * 9 and max(seen) <= 5


def test_memory_is_not_exceeded(store):
    groups, pool = [group(name, memory=4) for name in "abc"], FakePool(count=6, memory=9)
    assert Engine(store, pool).run(iter(groups)).failed == []
    memory = {one.title: one.memory for one in all_jobs(*groups)}
    assert max(len([title for title in beside if memory[title] == 4]) for beside in pool.together) == 2
    large = group("large", memory=100)
    assert Engine(store, FakePool(memory=9)).run(iter([large])).failed == []  # alone, at least


@pytest.mark.parametrize(
    "bad, failed, left_out", [("badmap", 1, 8), ("badencode", 1, 3), ("baddecode", 2, 4), ("badscore", 2, 0)]
)
def test_a_failure_leaves_out_what_needs_it(store, bad, failed, left_out):
    said = []
    outcome = Engine(store, FakePool(), said.append, jobs=18).run(iter([group("a", bad=bad), group("b")]))
    assert (len(outcome.failed), outcome.left_out) == (failed, left_out)
    assert sum(outcome.ran.values()) == 18 - failed - left_out
    assert sum(line.startswith("failed: ") for line in said) == failed
    assert len(list((store.folder / "failed" / "test").iterdir())) == failed
    assert not list((store.folder / "locks").iterdir())


def test_what_encoders_say_is_passed_on_once(store):
    said = []
    Engine(store, FakePool(), said.append).run(iter([group("a"), group("b")]))
    assert said.count("e: a note") == 1


def test_a_job_whose_worker_died_is_tried_once_more(store):
    outcome = Engine(store, FakePool(dies={"encode a 0": 1})).run(iter([group("a")]))
    assert outcome.failed == [] and sum(outcome.ran.values()) == 9
    outcome = Engine(store, FakePool(dies={"encode b 0": 2})).run(iter([group("b")]))
    assert [title for title, _ in outcome.failed] == ["encode b 0"] and "SIGKILL" in outcome.failed[0][1]


def test_a_job_of_another_run_is_waited_for(store, monkeypatch):
    from fprdo_bridge.ctc import engine

    monkeypatch.setattr(engine, "_OTHERS", 0.01)
    one = group("a")
    first = one.units[0].jobs[0]
    with Store(store.folder) as other:
        assert other.lock(first.key) and not store.lock(first.key)
        looks = []
        lock = store.lock

        def later(key):
            if key == first.key:
                looks.append(key)
                if len(looks) == 3:  # now the other run is through
                    (other.workplace / "made").mkdir()
                    other.commit(key, other.workplace / "made", {"kind": "map", "result": {}, "provenance": {}})
                    other.unlock(key)
            return lock(key)

        monkeypatch.setattr(store, "lock", later)
        pool = FakePool()
        outcome = Engine(store, pool).run(iter([one]))
    assert first.title not in pool.order and outcome.before == 1 and sum(outcome.ran.values()) == 8


def test_what_another_run_has_done_counts_once_however_often_its_unit_is_looked_at(store, monkeypatch):
    from fprdo_bridge.ctc import engine

    monkeypatch.setattr(engine, "_OTHERS", 0.01)
    one = group("a", points=1)
    decode, score, _ = one.units[2].jobs
    lock, looks = store.lock, []
    with Store(store.folder) as other:
        assert other.lock(score.key)

        def later(key):
            if key == decode.key and not looks:  # the other run is through with the decode, not with the score
                (other.workplace / "made").mkdir()
                other.commit(key, other.workplace / "made", {"kind": "decode", "result": {}, "provenance": {}})
            if key == score.key:
                looks.append(key)
                if len(looks) == 4:
                    other.unlock(key)
            return lock(key)

        monkeypatch.setattr(store, "lock", later)
        running = Engine(store, FakePool(), expected=5.0)
        outcome = running.run(iter([one]))
    assert len(looks) == 4 and outcome.before == 1 and sum(outcome.ran.values()) == 4
    assert running._spent == pytest.approx(5.0)  # what the five jobs cost by estimate


def test_a_lock_dies_with_its_process(store, tmp_path):
    child = os.fork()
    if child == 0:
        Store(store.folder).lock("k" * 64)
        os._exit(0)
    os.waitpid(child, 0)
    assert store.lock("k" * 64)


def test_what_a_dead_run_left_is_swept(store):
    (store.folder / "tmp" / "dead").mkdir()
    (store.folder / "tmp" / "dead" / "half").write_text("x")
    (store.folder / "tmp" / "dead.lock").touch()
    with Store(store.folder) as other:
        alive = other.workplace
        assert not (store.folder / "tmp" / "dead").exists() and not (store.folder / "tmp" / "dead.lock").exists()
        assert store.workplace.is_dir() and alive.is_dir()
    assert not alive.exists()


def test_keys_are_of_everything_that_matters():
    one = Job("encode", {"a": 1}, {"map": "k"})
    assert one.key == Job("encode", {"a": 1}, {"map": "k"}, {"origin": "elsewhere"}, "title", 5.0, 7, 8).key
    others = [
        Job("score", {"a": 1}, {"map": "k"}),
        Job("encode", {"a": 2}, {"map": "k"}),
        Job("encode", {"a": 1}, {"map": "l"}),
        Job("encode", {"a": 1}),
    ]
    assert len({one.key, *(other.key for other in others)}) == 5


@pytest.mark.parametrize("seconds, text", [(0, "0 s"), (90, "90 s"), (600, "10 min"), (7200, "2 h"), (3e5, "3 days")])
def test_durations(seconds, text):
    assert duration(seconds) == text
