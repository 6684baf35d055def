"""What goes to the workers of a cluster and what a worker does with it, without Dask and without encoders."""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import pytest

from fprdo_bridge import __version__
from fprdo_bridge.ctc import cluster
from fprdo_bridge.ctc.engine import Engine
from fprdo_bridge.ctc.jobs import Job
from fprdo_bridge.ctc.plan import Group, Unit
from fprdo_bridge.ctc.store import Store
from fprdo_bridge.errors import FprdoError


class Future:
    """Is done when it is made."""

    def __init__(self, answer: dict):
        self._answer = answer

    def add_done_callback(self, call) -> None:
        call(self)

    def result(self, timeout: float) -> dict:
        return self._answer

    def release(self) -> None:
        pass


class Client:
    """Does every job at once, in this process."""

    def __init__(self, *_: object, **__: object):
        pass

    def wait_for_workers(self, *_: object, **__: object) -> None:
        pass

    def run(self, *_: object) -> dict[str, str]:
        return {"worker": __version__}

    def nthreads(self) -> dict[str, int]:
        return {"worker": 2}

    def submit(self, function, *arguments, **_: object) -> Future:
        return Future(function(*arguments))

    def close(self, timeout: float) -> None:
        pass


@pytest.fixture
def worker(tmp_path, monkeypatch):
    """A worker that has done nothing yet; yields a function that sets what it answers to a message."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(cluster, "_site", [])
    monkeypatch.setattr(cluster, "limit_threads", lambda: None)
    monkeypatch.setattr(cluster, "Executor", lambda *_: None)
    return lambda answer: monkeypatch.setattr(cluster, "answer_to", lambda _, message: answer(message))


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "store") as one:
        one.begin("test")
        yield one


@pytest.fixture
def pool(store, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", SimpleNamespace(Client=Client))
    one = cluster.DaskPool(store, scheduler="tcp://nowhere:8786")
    yield one
    one.close()


@pytest.mark.parametrize("address", ["foo", "tcp://foo", "tcp://", "foo://host:1", "::1:8786", "host:port"])
def test_what_is_no_address_makes_no_client(store, monkeypatch, address):
    monkeypatch.setitem(sys.modules, "distributed", SimpleNamespace())
    with pytest.raises(FprdoError, match="cannot be reached by that; give an address like tcp://HOST:8786"):
        cluster.DaskPool(store, scheduler=address)


@pytest.mark.parametrize("address", ["host:8786", "tls://10.0.0.1:8786", "tcp://[::1]:8786"])
def test_what_is_an_address(store, monkeypatch, address):
    monkeypatch.setitem(sys.modules, "distributed", SimpleNamespace(Client=Client))
    cluster.DaskPool(store, scheduler=address).close()


def done(message: dict, **result: object) -> dict:
    """A worker's answer to a job that left no files."""
    Path(message["output"]).mkdir()
    return {
        "key": message["key"],
        "record": {"kind": message["kind"], "result": result, "provenance": {}},
    }


def map_job(title: str, origin: str, **how: str) -> Job:
    return Job(
        "map", {"source": {"kind": "picture", "content": title}}, {}, {"origin": origin, "skip": 0, **how}, title
    )


def test_threads_of_a_worker_do_one_job_at_a_time(worker):
    """They share a folder of inputs, which is removed after each job, and an executor."""
    beside, there = [], []

    def answer(message):
        beside.append(message["key"])
        most = len(beside)
        time.sleep(0.05)
        there.append((most, (cluster._site[0].folder / "inputs" / message["key"] / "bitstream.bin").is_file()))
        beside.remove(message["key"])
        return done(message)

    worker(answer)
    threads = [
        threading.Thread(
            target=cluster.run_remote,
            args=(
                {"key": key, "kind": "decode", "how": {"file": ""}, "output": ""},
                {f"{key}/bitstream.bin": b"bits"},
            ),
        )
        for key in "abcd"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert there == [(1, True)] * 4
    assert not (cluster._site[0].folder / "inputs").exists()


def test_a_predictor_travels_by_content(worker, pool, tmp_path):
    def answer(message):
        here.unlink(missing_ok=True)  # a worker has no file of the client's
        path = Path(message["how"]["predictor"])
        return done(message, predictor=path.read_text(), inside=path.is_relative_to(cluster._site[0].folder))

    worker(answer)
    here = tmp_path / "mine.pt"
    here.write_text("network")
    pool.submit(map_job("map", "skimage:astronaut", predictor=str(here)).message(""), "source")
    (found,) = pool.wait(0)
    assert found["record"]["result"] == {"predictor": "network", "inside": True}


def test_a_file_that_cannot_be_read_fails_its_job_alone(worker, pool, store, tmp_path):
    worker(done)
    (tmp_path / "here.png").write_bytes(b"picture")
    jobs = [map_job(name, str(tmp_path / f"{name}.png")) for name in ("gone", "here")]
    group = Group(SimpleNamespace(content="c", name="n", fps=Fraction(30)), tuple(Unit((job,)) for job in jobs), (), {})
    outcome = Engine(store, pool).run(iter([group]))
    ((title, error),) = outcome.failed
    assert title == "gone" and error.startswith(
        f"{tmp_path / 'gone.png'}: cannot be read (No such file or directory); "
    )
    assert outcome.ran == {"map": 1} and store.has(jobs[1].key)
