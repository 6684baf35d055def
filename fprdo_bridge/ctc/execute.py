"""Does jobs, in whatever process holds it: sources, networks and references are kept from one job to the next."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from fractions import Fraction
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar

from fprdo_bridge import __version__
from fprdo_bridge.ctc import coding, material
from fprdo_bridge.ctc.conditions import TaskSetting
from fprdo_bridge.ctc.jobs import digest
from fprdo_bridge.ctc.tasks import Frames, Task, make
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.video.formats import Frame, VideoFormat, deepened
from fprdo_bridge.video.raw import read_yuv, write_yuv

T = TypeVar("T")
_KEPT = 3  # sources, references and decoded sequences that are kept
_IN_MEMORY = 64 << 20  # bytes of a sequence that is kept in memory instead of on the disk

Json = dict[str, Any]
Message = Mapping[str, Any]


def limit_threads() -> None:
    """One thread per process, so that results do not depend on the machine; before NumPy and torch are loaded."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"


class Executor:
    """Runs jobs one after another.

    Parameters
    ----------
    scratch : an empty folder for raw samples; its owner removes it
    place : key of a finished job -> folder of its files
    """

    def __init__(self, scratch: Path, place: Callable[[str], Path]):
        self._scratch, self._place = scratch, place
        self._raw: OrderedDict[str, Path] = OrderedDict()
        self._originals: OrderedDict[str, Frames] = OrderedDict()
        self._decodes: OrderedDict[str, Frames] = OrderedDict()
        self._prepared: OrderedDict[str, object] = OrderedDict()
        self._tasks: dict[str, Task] = {}
        self._extractors: dict[str, Any] = {}
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(1)

    def run(self, message: Message) -> dict[str, object]:
        """Do a job (`Job.message`); its files are left in the message's output folder.

        Returns
        -------
        The record: kind, key, spec, inputs, result, and provenance.

        Raises
        ------
        FprdoError
            The job fails. Whatever a plug-in or a library raises becomes one.
        """
        output = Path(message["output"])
        output.mkdir(parents=True, exist_ok=True)
        started, clock, cpu = datetime.now(UTC), time.perf_counter(), _cpu_seconds()
        try:
            result, extra = getattr(self, f"_{message['kind']}")(message, output)
        except FprdoError:
            raise
        except MemoryError:
            raise FprdoError(
                f"{message['how'].get('title', message['kind'])}: the memory does not suffice; free some, or do fewer "
                "jobs at once with fprdo ctc run --jobs (--workers on a Dask cluster)"
            ) from None
        except OSError as error:
            raise FprdoError(
                f"{error.filename or output}: {error.strerror or error}; check that the disk has room"
            ) from error
        except Exception as error:
            raise FprdoError(
                f"{message['how'].get('title', message['kind'])}: {type(error).__name__}: {error}"
            ) from error
        provenance = {
            "software": f"fprdo {__version__}",
            "started": started.isoformat(timespec="seconds"),
            "seconds": round(time.perf_counter() - clock, 4),
            "cpu_seconds": round(_cpu_seconds() - cpu, 4),
            **machine(),
            **extra,
        }
        return {
            "kind": message["kind"],
            "key": message["key"],
            "spec": message["spec"],
            "inputs": message["inputs"],
            "result": result,
            "provenance": provenance,
        }

    # ---- kinds -------------------------------------------------------------------------------------------------------

    def _map(self, message: Message, output: Path) -> tuple[Json, Json]:
        spec, source = message["spec"], message["spec"]["source"]
        settings = coding.map_settings(spec, message["how"])
        name = digest([spec["extractor"], settings.device])
        if name not in self._extractors:
            self._extractors[name] = settings.load()
            if self._extractors[name].description() != spec["extractor"]:
                raise FprdoError(
                    f"extractor {settings.extractor}: is another network than when the run was planned; if its "
                    "weights are drawn at random, set the seed where it is made, else run again"
                )
        self._one_thread()
        single = source["kind"] == "picture"
        _reset_peak()
        coding.write_map(
            material.as_source(source, message["how"], None if single else self._samples(message)),
            settings,
            self._extractors[name],
            output / "weights.idse",
        )
        return {}, {"memory": _peak(), "threads": 1}

    def _encode(self, message: Message, output: Path) -> tuple[Json, Json]:
        spec, how = message["spec"], message["how"]
        fmt, frames = (
            material.format_from(spec["source"]["format"]),
            -(-spec["source"]["frames"] // spec["source"]["every"]),
        )
        weights = self._place(message["inputs"]["map"]) / "weights.idse" if "map" in message["inputs"] else None
        done = coding.encode(
            coding.Setup.restored(how["setup"]),
            fmt,
            frames,
            Fraction(spec["source"]["fps"]),
            how["control"],
            how["value"],
            self._samples(message),
            weights,
            output,
            how["title"],
        )
        result = asdict(done)
        extra = {name: result.pop(name) for name in ("command", "memory")}
        return result, extra | {"compiler": _compiler(spec["encoder"], how["setup"]["stock"])}

    def _decode(self, message: Message, output: Path) -> tuple[Json, Json]:
        spec = message["spec"]
        folder, how = self._place(message["inputs"]["encode"]), message["how"]
        fmt = material.format_from(how["format"])
        seconds = coding.verify(spec["encoder"], folder / "bitstream.bin", fmt, how["recon"], output, how["title"])
        return {"decoders": list(seconds), "recon": how["recon"], "seconds": seconds}, {}

    def _score(self, message: Message, output: Path) -> tuple[Json, Json]:
        task = self._task(message["how"]["task"], message["how"]["arguments"], message["how"]["device"])
        self._one_thread()
        original = self._original(message)
        name = digest(
            [
                message["how"]["task"],
                message["how"]["arguments"],
                message["spec"]["source"],
                message["spec"]["truth"],
                message["how"].get("format"),
            ]
        )
        prepared = _keep(self._prepared, name, lambda: task.prepare(original), 8 * _KEPT)
        record = (
            task.score(prepared, self._decoded(message))
            if "encode" in message["inputs"]
            else task.score_original(prepared, original)
        )
        return dict(record), {"threads": 1}

    # ---- what is kept ------------------------------------------------------------------------------------------------

    def _one_thread(self) -> None:
        import torch

        torch.set_num_threads(1)

    def _task(self, name: str, arguments: Mapping[str, Any], device: str) -> Task:
        key = digest([name, arguments, device])
        if key not in self._tasks:
            self._tasks[key] = make(TaskSetting(name, arguments), device=device)
        return self._tasks[key]

    def _samples(self, message: Message) -> Path:
        """A raw file with the frames that are coded: the source itself where it is one."""
        spec, how = message["spec"]["source"], message["how"]
        if spec["kind"] == "raw" and spec["every"] == 1 and how["skip"] == 0:
            return Path(how["origin"])
        name = digest(spec)

        def make_raw() -> Path:
            path = self._scratch / f"{name}.yuv"
            write_yuv(path, material.read_frames(spec, how), material.format_from(spec["format"]))
            return path

        return _keep(self._raw, name, make_raw, _KEPT, lambda _, path: path.unlink(missing_ok=True))

    def _original(self, message: Message) -> Frames:
        """The frames of a source, at the bit depth of what was decoded."""
        spec, how = message["spec"]["source"], message["how"]
        fmt, deep = material.format_from(spec["format"]), material.format_from(how.get("format", spec["format"]))
        name = digest([spec, how.get("format", spec["format"])])

        def open_original() -> Frames:
            read: Callable[[], Iterator[Frame]]
            read = partial(read_yuv, self._samples(message), fmt, 0, -(-spec["frames"] // spec["every"]))
            if spec["kind"] == "picture":
                frames = list(material.read_frames(spec, how))
                read = lambda: iter(frames)  # noqa: E731
            return Frames(deep, lambda: deepened(read(), fmt, deep), how.get("image_id"), how.get("annotations"))

        if spec["kind"] != "picture":
            self._samples(message)  # may have been dropped since
        return _keep(self._originals, name, open_original, _KEPT)

    def _decoded(self, message: Message) -> Frames:
        """The pictures of a bitstream; decoded once for all tasks that follow one another."""
        spec, key = message["spec"], message["inputs"]["encode"]
        fmt = material.format_from(message["how"]["format"])

        def decode() -> Frames:
            work = self._scratch / f"{key}.decode"
            work.mkdir(exist_ok=True)
            pictures = coding.decode(spec["encoder"], self._place(key) / "bitstream.bin", fmt, work)
            count = -(-spec["source"]["frames"] // spec["source"]["every"])
            if count * fmt.frame_bytes <= _IN_MEMORY:
                frames = list(pictures)
                shutil.rmtree(work)
                found = Frames(fmt, lambda: iter(frames))
            else:
                write_yuv(work / "frames.yuv", pictures, fmt)
                found = Frames(fmt, partial(_read_all, work / "frames.yuv", fmt))
            if coding.frames_hash(found) != message["how"]["recon"]:
                raise FprdoError(
                    f"{message['how']['title']}: decodes to something else than when it was verified; remove "
                    "the store's job and run again"
                )
            return found

        return _keep(self._decodes, key, decode, _KEPT, self._drop)

    def _drop(self, key: str, _: Frames) -> None:
        shutil.rmtree(self._scratch / f"{key}.decode", ignore_errors=True)


def _read_all(path: Path, fmt: VideoFormat) -> Iterator[Frame]:
    return read_yuv(path, fmt)


def _keep(
    kept: OrderedDict[str, T],
    key: str,
    make_one: Callable[[], T],
    most: int,
    drop: Callable[[str, T], object] = lambda _key, _value: None,
) -> T:
    """The value of a key, made if it is not there; the ones that were not used for longest are dropped."""
    if key not in kept:
        while len(kept) >= most:
            drop(*kept.popitem(last=False))
        kept[key] = make_one()
    kept.move_to_end(key)
    return kept[key]


# ---- the machine -----------------------------------------------------------------------------------------------------


@cache
def machine() -> dict[str, object]:
    """What ran the job, for its provenance."""
    from importlib.metadata import PackageNotFoundError, version

    versions = {"python": platform.python_version()}
    for name in ("numpy", "torch", "av"):
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    cpu = platform.processor() or platform.machine()
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                cpu = line.partition(":")[2].strip()
                break
    return {"cpu": cpu, "system": f"{platform.system()} {platform.machine()}", "versions": versions}


@cache
def _compiler(encoder: str, stock: bool) -> str:
    return coding.compiler(encoder, stock)


def _cpu_seconds() -> float:
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def _reset_peak() -> None:
    """Start the count of `_peak` anew (Linux)."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak() -> int | None:
    """Largest resident size of this process in bytes."""
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) << 10
    return None
