"""SSE against IDSE: a thin layer over the engine of the test conditions, with its results in a folder for people."""

from __future__ import annotations

import filecmp
import math
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fprdo_bridge.ctc import coding
from fprdo_bridge.ctc import plan as planning
from fprdo_bridge.ctc.conditions import (
    Clip,
    Conditions,
    EncoderSetting,
    Rates,
    Set,
    StatisticsSetting,
    TaskSetting,
    Variant,
)
from fprdo_bridge.ctc.engine import Engine, Watcher
from fprdo_bridge.ctc.jobs import Job
from fprdo_bridge.ctc.material import Item
from fprdo_bridge.ctc.plan import Group, Plan
from fprdo_bridge.ctc.points import MODES, CompareSettings, Comparison, Point
from fprdo_bridge.ctc.pool import LocalPool
from fprdo_bridge.ctc.results_folder import ResultsFolder
from fprdo_bridge.ctc.store import Store
from fprdo_bridge.ctc.tasks import make
from fprdo_bridge.encoders.checking import check_file
from fprdo_bridge.encoders.structures import KINDS
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.files import replacing
from fprdo_bridge.importance.weighting import REGIONS_ALONE, VARIANCE
from fprdo_bridge.processes import cores
from fprdo_bridge.video.source import FormatRequest, Source

_STORE = "store"  # the folder of the jobs, in the folder of results
_JUDGE = "features"  # the task that measures


def compare(
    sources: list[Source],
    settings: CompareSettings,
    folder: ResultsFolder,
    *,
    reports: Iterable[str] = (),
    say: Callable[[str], None] = lambda line: None,
    complete: Callable[[Sequence[Point]], None] = lambda points: None,
) -> Comparison:
    """Run what is not yet in `folder`.

    Leaves in `folder`: store/ with every job that was done (the resume), bitstreams/ with the encoders' logs, weights/.
    A job whose inputs changed in any way is done again. A source for which the network gives no weights is left out.

    Parameters
    ----------
    folder : entered
    reports : names of further files in the folder that the caller is going to write
    say : called with a line of text for each step done
    complete : called with the points of a source as soon as these and those of the sources before it are there

    Raises
    ------
    FprdoError
        Bad input; an encode fails; a stock decoder does not give the encoder's reconstruction; a file that is not of a
        comparison is in the way; no source has weights. Jobs already finished stay.
    """
    _check_names(sources)
    values = tuple(sorted(set(settings.qps)))
    planned = _plan(sources, settings, values, folder.workspace())
    groups = _groups(planned)
    folder.claim([*reports, f"{_STORE}/store.json", *_outputs(sources, values)])
    _discard_records(folder)
    progress = _Progress(sources, [(mode, value) for mode in MODES for value in values], say, complete)
    with Store(folder.path / _STORE) as store:
        store.begin(planned.conditions.name)
        watcher = _Watcher(settings, folder, store, progress, say)
        missing = watcher.take_up(groups)
        for remark in planned.remarks:
            say(remark)
        if missing:
            pool = LocalPool(store.folder, store.workplace, cores())
            try:
                Engine(store, pool, say, watcher=watcher).run(iter(groups))
            finally:
                pool.close()
    return progress.comparison()


def _check_names(sources: Iterable[Source]) -> None:
    named: dict[str, str] = {}
    for source in sources:
        key = source.name.casefold()  # a disk may not tell A.bin from a.bin
        if key in named:
            raise FprdoError(
                f"{named[key]} and {source.origin}: two inputs are called {source.name}; compare them in "
                "separate folders"
            )
        named[key] = source.origin


# ---- what is run -----------------------------------------------------------------------------------------------------


def _plan(sources: Sequence[Source], settings: CompareSettings, values: tuple[float, ...], work: Path) -> Plan:
    """The comparison as test conditions, on sources as raw files in `work`."""
    structure = settings.config in KINDS
    if not structure:
        check_file(Path(settings.config))
    encoder = EncoderSetting(
        name=settings.encoder,
        encoder=settings.encoder,
        structure=settings.config if structure else KINDS[0],
        rates=Rates(settings.rate, values),
        options=settings.options,
        config=None if structure else str(Path(settings.config).absolute()),
    )
    sse, idse = MODES
    conditions = Conditions(
        name="compare",
        title="",
        sets=(Set("compare"),),
        encoders=(encoder,),
        variants=(
            Variant(sse, "stock", sse),
            Variant(idse, "idse", idse, idse=settings.idse, map="weights", options=settings.idse_options),
        ),
        maps={"weights": settings.weights},
        tasks=tuple(_judges(settings).values()),
        anchors=(sse,),
        request=FormatRequest(),
        bits="pictures",
        pool="picture",
        statistics=StatisticsSetting(),
        device=settings.weights.device,
    )
    items = [
        Item(
            name=source.name,
            group="compare",
            origin=str(source.yuv(work).absolute()),
            kind="raw",
            fmt=source.fmt,
            frames=source.frames,
            fps=source.frame_rate,
            skip=0,
            content=source.sha256(),
            clip=Clip(source.name, source.origin),
        )
        for source in sources
    ]
    return planning.plan_of(conditions, items, Path())


def _groups(planned: Plan) -> list[Group]:
    """The jobs of all sources. FprdoError if any of them could not be run."""
    if planned.problems:
        raise FprdoError(planned.problems[0])
    found = []
    for group in planned.groups():
        if planned.problems:
            raise FprdoError(f"{group.item.clip.file}: {planned.problems[0]}")
        found.append(group)
    return found


def _judges(settings: CompareSettings) -> dict[str, TaskSetting]:
    """The tasks that measure, by their titles; a network under two names is one."""
    return {make(task).title: task for task in (_judge(name, settings) for name in settings.judges)}


def _judge(name: str, settings: CompareSettings) -> TaskSetting:
    """The task that measures by an extractor; the one of the weights has their layers."""
    layers = settings.weights.layers if name == settings.weights.extractor else None
    return TaskSetting(_JUDGE, {"extractor": name, **({"layers": list(layers)} if layers else {})})


def _stem(name: str, mode: str, value: float) -> str:
    return f"{name}-{mode}-qp{value}"


def _outputs(sources: Iterable[Source], values: Iterable[float]) -> list[str]:
    """Names of the files that sources leave in the folder for people."""
    names = [source.name for source in sources]
    stems = [_stem(name, mode, value) for name in names for mode in MODES for value in values]
    ends = [f"bitstreams/{stem}{end}" for stem in stems for end in (".bin", ".bin.log")]
    return [*(f"weights/{name}.idse" for name in names), *ends]


def _discard_records(folder: ResultsFolder) -> None:
    """Remove the records of earlier versions, which held each its own version and would be done again anyway."""
    folder.discard(name for name in folder.ours() if name.startswith("points/") or Path(name).match("weights/*.key"))
    with suppress(OSError):
        (folder.path / "points").rmdir()


# ---- what comes back -------------------------------------------------------------------------------------------------


class _Progress:
    """The points that are there, in the order of sources, modes and QPs, and what is said about them."""

    def __init__(
        self,
        sources: list[Source],
        kinds: list[tuple[str, float]],
        say: Callable[[str], None],
        complete: Callable[[Sequence[Point]], None],
    ):
        self._sources, self._kinds, self._say, self._complete = sources, kinds, say, complete
        self._points: dict[tuple[str, str, float], Point] = {}
        self._left_out: dict[str, str] = {}
        self._waiting = [source.name for source in sources]  # whose points are not passed on yet

    def take_up(self, points: Iterable[Point]) -> None:
        """Add what an earlier run has measured."""
        self._points |= {(point.sequence, point.mode, point.qp): point for point in points}
        if self._points:
            self._say(f"{len(self._points)} of {self._total} points are there already")
        self._pass_on()

    def add(self, point: Point, line: str) -> None:
        """Add a point, and say a line about it; not if its source is left out."""
        if point.sequence in self._left_out:
            return
        self._points[point.sequence, point.mode, point.qp] = point
        self._say(f"[{len(self._points):{len(str(self._total))}}/{self._total}] {line}")
        self._pass_on()

    def leave_out(self, name: str, reason: str) -> None:
        """Go on without a source."""
        self._left_out[name] = reason
        self._points = {key: point for key, point in self._points.items() if key[0] != name}
        if len(self._sources) > 1:
            self._say(f"{name} is left out: {reason}")
        self._pass_on()

    def comparison(self) -> Comparison:
        """Everything; FprdoError if all sources were left out."""
        if len(self._left_out) == len(self._sources):
            raise FprdoError(next(iter(self._left_out.values())))
        return Comparison(
            tuple(
                self._points[source.name, *kind]
                for source in self._sources
                if source.name not in self._left_out
                for kind in self._kinds
            ),
            self._left_out,
        )

    @property
    def _total(self) -> int:
        return (len(self._sources) - len(self._left_out)) * len(self._kinds)

    def _pass_on(self) -> None:
        while self._waiting:
            name = self._waiting[0]
            if name not in self._left_out:
                if not all((name, *kind) in self._points for kind in self._kinds):
                    return
                self._complete([self._points[name, *kind] for kind in self._kinds])
            self._waiting.pop(0)


@dataclass
class _Open:
    """A point some of whose jobs are not done, and why networks could not measure it."""

    item: Item
    point: planning.Point
    jobs: set[str]
    unmeasured: dict[str, str] = field(default_factory=dict)


class _Watcher(Watcher):
    """Turns jobs that are done into points, and into files for people."""

    def __init__(
        self,
        settings: CompareSettings,
        folder: ResultsFolder,
        store: Store,
        progress: _Progress,
        say: Callable[[str], None],
    ):
        self._settings, self._folder, self._store = settings, folder, store
        self._progress, self._say = progress, say
        self._encoder = coding.title(settings.encoder)
        self._titles = {name: make(_judge(name, settings)).title for name in settings.judges}
        self._open: dict[str, list[_Open]] = {}  # by the key of a job that is not done

    def take_up(self, groups: Iterable[Group]) -> bool:
        """Look up what an earlier run has done; returns whether anything is missing."""
        finished = []
        for group in groups:
            for point in group.points:
                keys = filter(None, (point.map, point.encode, point.decode, *point.scores.values()))
                one = _Open(group.item, point, {key for key in keys if not self._store.sound(key)})
                for key in one.jobs:
                    self._open.setdefault(key, []).append(one)
                if not one.jobs:
                    finished.append(self._finish(one))
        self._progress.take_up(finished)
        return bool(self._open)

    def begun(self, job: Job) -> None:
        """Weights take long, so there is a line about them."""
        if job.kind == "map":
            weights = self._settings.weights
            how = {REGIONS_ALONE: "weights of regions alone", VARIANCE: "weights of variance AQ"}.get(
                weights.extractor, f"{weights.probes} probes through {weights.extractor}"
            )
            if weights.predictor:
                how = f"predictor {weights.predictor}"
            self._say(f"{job.how['title']}: {how}")

    def done(self, job: Job) -> None:
        """The points that waited for nothing else are there."""
        self._settle(job.key)

    def failed(self, job: Job, error: str) -> None:
        """Without weights a source is left out, and what a network cannot judge is not measured by it. Anything else
        ends the comparison."""
        if job.kind == "map":
            self._progress.leave_out(job.how["name"], error)
        elif job.kind == "score" and job.how["task"] == _JUDGE:
            for one in self._open.get(job.key, ()):
                titles = self._titles.items()
                one.unmeasured |= {name: error for name, title in titles if one.point.scores[title] == job.key}
            self._settle(job.key)
        else:
            raise FprdoError(error)

    def _settle(self, key: str) -> None:
        for one in self._open.pop(key, ()):
            one.jobs.discard(key)
            if not one.jobs:
                point = self._finish(one)
                self._progress.add(point, _progress_line(point, self._settings))

    def _finish(self, one: _Open) -> Point:
        """The point, and its files under names for people."""
        point = self._point(one)
        name = f"bitstreams/{_stem(point.sequence, point.mode, point.qp)}"
        self._folder.discard([f"{name}.log"])  # of an earlier version
        self._export(one.point.encode, "log.txt", f"{name}.bin.log")
        self._export(one.point.encode, "bitstream.bin", f"{name}.bin")
        if one.point.map:
            self._export(one.point.map, "weights.idse", f"weights/{point.sequence}.idse")
        return point

    def _export(self, key: str, stored: str, name: str) -> None:
        """Copy a job's file; an equal one that is there already stays."""
        source, path = self._store.place(key) / stored, self._folder.path / name
        if not (path.is_file() and filecmp.cmp(source, path, shallow=False)):
            with replacing(path) as temporary:
                shutil.copyfile(source, temporary)

    def _result(self, key: str) -> dict[str, Any]:
        result: dict[str, Any] = self._store.record(key)["result"]
        return result

    def _point(self, one: _Open) -> Point:
        item, point = one.item, one.point
        encode, decode = self._result(point.encode), self._result(point.decode)
        picture: Mapping[str, float | None] = self._result(point.scores["picture"])
        psnr = [picture[name] for name in ("psnr_y", "psnr_cb", "psnr_cr")[: len(item.fmt.plane_shapes)]]
        return Point(
            sequence=item.name,
            encoder=self._encoder,
            mode=point.variant,
            qp=point.value,
            frames=item.frames,
            width=item.fmt.width,
            height=item.fmt.height,
            bits=encode["bits"],
            psnr=tuple(math.inf if value is None else value for value in psnr),
            distance={
                name: math.nan if name in one.unmeasured else self._result(point.scores[title])["distance"]
                for name, title in self._titles.items()
            },
            unmeasured=dict(one.unmeasured),
            encoder_seconds=encode["seconds"],
            decoders=tuple(decode["decoders"]),
            qp_offset_mean=encode["qp_offset_mean"],
        )


def _progress_line(point: Point, settings: CompareSettings) -> str:
    return (
        f"{point.sequence} {point.mode.upper()} QP {point.qp:g}: {point.bits} bits, Y {point.psnr[0]:.2f} dB, features "
        f"{point.quality(settings.judges[0]):.2f} dB, {point.encoder_seconds:.1f} s, "
        f"{' and '.join(point.decoders)} agree"
    )
