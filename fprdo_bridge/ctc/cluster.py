"""Jobs on a Dask cluster: no file system is shared. Inputs travel to the workers by content, results come back through
the scheduler into the store of the process that asked for them.
"""

from __future__ import annotations

import hashlib
import importlib
import logging
import os
import queue
import re
import shutil
import sys
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fprdo_bridge import __version__
from fprdo_bridge.ctc import material
from fprdo_bridge.ctc.execute import Executor, limit_threads
from fprdo_bridge.ctc.pool import Answer, Died
from fprdo_bridge.ctc.store import Store
from fprdo_bridge.ctc.worker import answer_to
from fprdo_bridge.errors import FprdoError

_WAIT = 15.0  # seconds for the scheduler and its first worker
_KEPT = 64  # files that are kept on the cluster
_LARGE = 1 << 16  # bytes from which on a file travels by itself
_BESIDE = 2  # jobs a worker has or has waiting
_ADDRESS = re.compile(r"((tcp|tls|wss?|ucxx?)://)?(\[[^]/\s]+]|[^]:/\s[]+):[0-9]{1,5}")


class DaskPool:
    """A pool of Dask workers (engine.Pool).

    Parameters
    ----------
    scheduler : address of a scheduler whose workers have this package and the encoders of the plan
    workers : number of workers of a local cluster instead

    Raises
    ------
    FprdoError
        Dask is not installed, the address is none, the scheduler cannot be reached, or it has no worker or one of
        another version.
    """

    memory = sys.maxsize  # a scheduler's own business

    def __init__(self, store: Store, scheduler: str | None = None, workers: int | None = None):
        try:
            distributed: Any = importlib.import_module("distributed")
        except ModuleNotFoundError:
            raise FprdoError("a cluster needs the package distributed: pip install 'fprdo[dask]'") from None
        if scheduler and not _ADDRESS.fullmatch(scheduler):  # Dask's client would wait for itself when it goes
            raise FprdoError(f"scheduler {scheduler}: cannot be reached by that; give an address like tcp://HOST:8786")
        self._store = store
        self._cluster: Any = None
        self._client: Any = None
        self._answers: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._files: OrderedDict[str, Any] = OrderedDict()
        self._jobs: dict[str, Any] = {}
        try:
            if scheduler:
                self._client = distributed.Client(scheduler, timeout=_WAIT, set_as_default=False)
            else:
                self._cluster = distributed.LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    dashboard_address=None,
                    memory_limit=0,
                    silence_logs=logging.ERROR,
                    local_directory=str(store.workplace),
                    env={"OMP_NUM_THREADS": "1"},
                )
                self._client = distributed.Client(self._cluster, set_as_default=False)
            self._client.wait_for_workers(1, timeout=_WAIT)
            found = self._client.run(_hello, sys.path)
        except (OSError, ValueError, TimeoutError) as error:
            self.close()
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise FprdoError(
                f"scheduler {scheduler or 'of the local cluster'}: cannot be reached, or has no worker "
                f"({reason}); check its address"
            ) from None
        others = {version for version in found.values() if version != __version__}
        if others:
            self.close()
            raise FprdoError(
                f"scheduler {scheduler}: a worker has fprdo {', '.join(sorted(map(str, others)))}, this is "
                f"{__version__}; install one version everywhere"
            )
        self.count = max(1, sum(self._client.nthreads().values()))

    def free(self) -> list[str | None]:
        """Places for jobs: some wait at the workers, so that none is idle."""
        self.count = max(1, sum(self._client.nthreads().values()))
        return [None] * (_BESIDE * self.count - len(self._jobs))

    def submit(self, message: Mapping[str, Any], source: str) -> None:
        """Give a job to the cluster, with the files that it reads."""
        key = str(message["key"])
        try:
            files = dict(self._inputs(message))
        except (OSError, FprdoError) as error:  # as a worker on this machine would answer: the other jobs go on
            self._answers.put((key, _unreadable(message, error)))
            return
        inputs = {name: self._on_cluster(data) for name, data in files.items()}
        plain = {**message, "output": "", "how": _without_paths(message["how"])}
        future = self._client.submit(
            run_remote,
            plain,
            inputs,
            key=f"fprdo-{key[:32]}-{len(self._jobs)}-{os.urandom(4).hex()}",
            pure=False,
            retries=2,
        )
        self._jobs[key] = future
        future.add_done_callback(lambda one: self._answers.put((key, one)))

    def _inputs(self, message: Mapping[str, Any]) -> Iterator[tuple[str, bytes]]:
        """Files of a job by the name that `run_remote` knows them under."""
        how, spec = message["how"], message["spec"]
        needs_source = message["kind"] != "decode"
        if needs_source:
            yield "source", self._source(spec["source"], how)
        for name, key in message["inputs"].items():
            file = {"map": "weights.idse", "encode": "bitstream.bin"}[name]
            yield f"{key}/{file}", (self._store.place(key) / file).read_bytes()
        for number, path in enumerate(how.get("setup", {}).get("config", ())):
            yield f"config/{number}-{Path(path).name}", Path(path).read_bytes()
        if how.get("annotations"):
            yield "annotations", Path(how["annotations"]).read_bytes()
        if how.get("predictor"):
            yield "predictor", Path(how["predictor"]).read_bytes()

    def _source(self, spec: Mapping[str, Any], how: Mapping[str, Any]) -> bytes:
        """The file of an item; of a raw clip only the frames that are coded."""
        if how["origin"].startswith("skimage:"):
            return b""
        if spec["kind"] != "raw":
            return Path(how["origin"]).read_bytes()
        fmt = material.format_from(spec["format"])
        with open(how["origin"], "rb") as file:
            file.seek(how["skip"] * fmt.frame_bytes)
            return file.read(spec["frames"] * fmt.frame_bytes)

    def _on_cluster(self, data: bytes) -> Any:
        """The data itself, or where they lie on the cluster: equal data travel once."""
        if len(data) < _LARGE:
            return data
        name = hashlib.sha256(data).hexdigest()
        if name not in self._files or self._files[name].status != "finished":
            while len(self._files) >= _KEPT:
                self._files.popitem(last=False)
            self._files[name] = self._client.scatter(data, hash=True)
        self._files.move_to_end(name)
        return self._files[name]

    def wait(self, timeout: float) -> list[Answer | Died]:
        """What has come back."""
        found: list[Answer | Died] = []
        try:
            key, future = self._answers.get(timeout=timeout) if timeout > 0 else self._answers.get_nowait()
            while True:
                found.append(self._answer(key, future))
                key, future = self._answers.get_nowait()
        except queue.Empty:
            return found

    def _answer(self, key: str, future: Any) -> Answer | Died:
        if isinstance(future, dict):  # of a job that never got to the cluster
            return future
        self._jobs.pop(key, None)
        try:
            answer: Answer = future.result(timeout=_WAIT)
            return answer
        except Exception as error:  # its worker died, or the cluster did
            self._files.clear()  # what it held may be lost
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            return Died(key, f"the cluster lost it ({type(error).__name__}: {reason})")
        finally:
            future.release()

    def close(self) -> None:
        """Give back what the cluster has of this run."""
        for future in self._jobs.values():
            future.cancel()
        for one in (self._client, self._cluster):
            if one is not None:
                one.close(timeout=5)


def _hello(path: list[str]) -> str:
    """Prepare a worker: plug-ins are found where the client finds them, if the folders are there."""
    limit_threads()
    sys.path += [folder for folder in path if folder not in sys.path]
    return __version__


def _unreadable(message: Mapping[str, Any], error: OSError | FprdoError) -> Answer:
    """The answer to a job whose files cannot be read here."""
    text = str(error)
    if isinstance(error, OSError):
        name = error.filename or message["how"].get("title", message["kind"])
        text = f"{name}: cannot be read ({error.strerror or error}); check that it is still there"
    return {"key": message["key"], "error": text}


def _without_paths(how: Mapping[str, Any]) -> dict[str, Any]:
    kept = dict(how)
    if "setup" in kept:
        names = [f"{number}-{Path(path).name}" for number, path in enumerate(kept["setup"]["config"])]
        kept["setup"] = {**kept["setup"], "config": names}
    kept["file"] = "" if how.get("origin", "").startswith("skimage:") else Path(how.get("origin", "")).name
    return kept


# ---- on a worker -----------------------------------------------------------------------------------------------------


class _Site:
    """What a worker process keeps between two jobs."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="fprdo-worker-"))
        (self.folder / "scratch").mkdir()
        self.executor = Executor(self.folder / "scratch", lambda key: self.folder / "inputs" / key)
        self.kept: OrderedDict[str, Path] = OrderedDict()

    def source(self, data: bytes, content: str, name: str) -> Path:
        """A source on this machine's disk; the last few stay."""
        if content not in self.kept:
            while len(self.kept) >= 4:
                self.kept.popitem(last=False)[1].unlink(missing_ok=True)
            path = self.folder / content[:32] / name  # the name of a raw file may say how its samples lie
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
            self.kept[content] = path
        self.kept.move_to_end(content)
        return self.kept[content]


_site: list[_Site] = []
_one_job = threading.Lock()  # the threads of a worker share a site, whose executor does one job at a time


def run_remote(message: dict[str, Any], inputs: dict[str, bytes]) -> dict[str, Any]:
    """Do a job on a worker; returns worker.py's answer with the job's files under "files"."""
    with _one_job:
        return _run_at(_the_site(), message, inputs)


def _the_site() -> _Site:
    import atexit

    if not _site:
        limit_threads()
        _site.append(_Site())
        atexit.register(shutil.rmtree, _site[0].folder, ignore_errors=True)
    return _site[0]


def _run_at(site: _Site, message: dict[str, Any], inputs: dict[str, bytes]) -> dict[str, Any]:
    key = message["key"]
    work = site.folder / key[:32]
    work.mkdir(exist_ok=True)
    how = dict(message["how"])
    try:
        for name, data in inputs.items():
            if name == "source" and how["file"]:
                content = message["spec"]["source"]["content"]
                how["origin"] = str(site.source(data, content, how["file"]))
                how["skip"] = 0 if message["spec"]["source"]["kind"] == "raw" else how["skip"]
            elif name != "source":
                path = (site.folder / "inputs" if "/" in name and not name.startswith("config/") else work) / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
        if "setup" in how:
            how["setup"] = {**how["setup"], "config": [str(work / "config" / name) for name in how["setup"]["config"]]}
        if how.get("annotations"):
            how["annotations"] = str(work / "annotations")
        if how.get("predictor"):
            how["predictor"] = str(work / "predictor")
        output = work / "output"
        answer = answer_to(site.executor, {**message, "how": how, "output": str(output)})
        if "record" in answer:
            answer["files"] = {path.name: path.read_bytes() for path in output.iterdir() if path.is_file()}
        return answer
    finally:
        shutil.rmtree(work, ignore_errors=True)
        shutil.rmtree(site.folder / "inputs", ignore_errors=True)
