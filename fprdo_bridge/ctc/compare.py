"""SSE against IDSE: encode, decode with every stock decoder, measure; resumable point by point."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict
from pathlib import Path

from fprdo_bridge import __version__, encoders
from fprdo_bridge.ctc import metrics
from fprdo_bridge.ctc.points import MODES, CompareSettings, Comparison, Point
from fprdo_bridge.ctc.results_folder import ResultsFolder
from fprdo_bridge.encoders.checking import check
from fprdo_bridge.encoders.decoding import check_reconstruction
from fprdo_bridge.encoders.job import EncodeJob, Rate
from fprdo_bridge.encoders.running import encode
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.files import replacing
from fprdo_bridge.importance.weighting import WeightSettings, weights_key, write_weights
from fprdo_bridge.processes import Group
from fprdo_bridge.progress import percentage
from fprdo_bridge.toolchain import Toolchain
from fprdo_bridge.video.formats import VideoFormat, deepened
from fprdo_bridge.video.raw import read_yuv
from fprdo_bridge.video.source import Source

_RECON = "recon.yuv"  # the encoder's reconstruction in a point's working folder


def compare(
    sources: list[Source],
    settings: CompareSettings,
    tools: Toolchain,
    folder: ResultsFolder,
    *,
    reports: Iterable[str] = (),
    say: Callable[[str], None] = lambda line: None,
    complete: Callable[[Sequence[Point]], None] = lambda points: None,
) -> Comparison:
    """Run what is not yet in `folder`.

    Leaves in `folder`: points/ (a file per finished point: the resume), bitstreams/ with the encoders' logs, weights/.
    A point whose inputs changed in any way is done again. A source for which the network gives no weights is left out.

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
        comparison is in the way; no source has weights. Points already finished stay.
    """
    named: dict[str, str] = {}
    for source in sources:
        key = source.name.casefold()  # a disk may not tell A.bin from a.bin
        if key in named:
            raise FprdoError(
                f"{named[key]} and {source.origin}: two inputs are called {source.name}; compare them in "
                "separate folders"
            )
        named[key] = source.origin
    run = _Run(settings, tools, folder)
    kinds = [(mode, qp) for mode in MODES for qp in sorted(set(settings.qps))]
    for source in sources:
        run.check(source)
    folder.claim([*reports, *(name for source in sources for name in run.outputs(source))])
    progress = _Progress(sources, kinds, say, complete)
    progress.take_up(run.finished)
    for line in run.codec.remarks(run.job(sources[0], *kinds[0], run.work)):
        say(line)
    futures: set[Future[Point]] = set()

    def collect() -> None:
        done, _ = wait(futures, return_when=FIRST_COMPLETED)
        futures.difference_update(done)
        for point in sorted((one.result() for one in done), key=lambda point: (point.sequence, point.mode, point.qp)):
            progress.add(point, _progress_line(point, settings))
        while run.notes:
            say(run.notes.pop(0))

    with ThreadPoolExecutor(run.workers) as pool:
        try:
            for source in sources:
                while len(futures) > 2 * run.workers:  # a few in stock; results shall not wait for all weights
                    collect()
                try:
                    run.weigh(source, say)
                except FprdoError as error:  # the network cannot do with this picture, which may be too small for it
                    progress.leave_out(source, str(error))
                    continue
                futures |= {pool.submit(run.measure, source, *kind) for kind in progress.missing(source)}
            while futures:
                collect()
        except BaseException:
            run.stop()
            pool.shutdown(cancel_futures=True)
            raise
    return progress.comparison()


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

    def take_up(self, finished: Callable[[Source, str, float], Point | None]) -> None:
        """Add what an earlier run has measured."""
        for source in self._sources:
            for kind in self._kinds:
                point = finished(source, *kind)
                if point:
                    self._points[source.name, *kind] = point
        if self._points:
            self._say(f"{len(self._points)} of {self._total} points are there already")
        self._pass_on()

    def add(self, point: Point, line: str) -> None:
        """Add a point, and say a line about it."""
        self._points[point.sequence, point.mode, point.qp] = point
        self._say(f"[{len(self._points):{len(str(self._total))}}/{self._total}] {line}")
        self._pass_on()

    def leave_out(self, source: Source, reason: str) -> None:
        """Go on without a source."""
        self._left_out[source.name] = reason
        self._points = {key: point for key, point in self._points.items() if key[0] != source.name}
        if len(self._sources) > 1:
            self._say(f"{source.name} is left out: {reason}")
        self._pass_on()

    def missing(self, source: Source) -> list[tuple[str, float]]:
        """Mode and QP of the points that a source lacks."""
        return [kind for kind in self._kinds if (source.name, *kind) not in self._points]

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


class _Run:
    """The parts of a comparison that every point shares."""

    def __init__(self, settings: CompareSettings, tools: Toolchain, folder: ResultsFolder):
        self.settings, self.tools = settings, tools
        self.results, self.folder, self.work = folder, folder.path, folder.workspace()
        self.workers = os.cpu_count() or 1
        self.codec = encoders.get(settings.encoder)
        self.extractors = {
            name: settings.weights.load() if name == settings.weights.extractor else WeightSettings(name).load()
            for name in {*settings.judges, settings.weights.extractor}
        }
        self.network = threading.Lock()  # one use at a time: memory, and torch has its own threads
        self.stopping = threading.Event()
        self.programs = Group()
        self.noted: set[str] = set()  # what the encoder said, and
        self.notes: list[str] = []  # what of it is still to be passed on
        self.sources: dict[str, Path] = {}
        self.identity: dict[str, str] = {}
        self.weights_keys: dict[str, str] = {}

    def outputs(self, source: Source) -> list[str]:
        """Names of the files that a source leaves in the folder."""
        stems = [_stem(source, mode, qp) for mode in MODES for qp in self.settings.qps]
        return [
            f"weights/{source.name}.idse",
            f"weights/{source.name}.key",
            *(f"points/{stem}.json" for stem in stems),
            *(f"bitstreams/{stem}{end}" for stem in stems for end in (".bin", ".bin.log")),
        ]

    def check(self, source: Source) -> None:
        """Raw file of a source; refuses what its encodes would refuse after the weights were computed."""
        self.sources[source.name] = source.yuv(self.work)
        self.identity[source.name] = source.sha256()
        extractor = self.extractors[self.settings.weights.extractor]
        self.weights_keys[source.name] = weights_key(source, self.settings.weights, extractor)
        for qp in self.settings.qps:
            check(self.codec, self.job(source, "sse", qp, self.work), stock=True)

    def weigh(self, source: Source, say: Callable[[str], None]) -> None:
        """Weights of a source; those that are there already are kept."""
        path, key = self.weights(source), self.weights_keys[source.name]
        stamp = path.with_suffix(".key")
        if path.exists() and stamp.exists() and stamp.read_text(encoding="ascii", errors="replace") == key:
            return
        stamp.unlink(missing_ok=True)
        extractor = self.extractors[self.settings.weights.extractor]
        say(f"weights of {source.name}: {self.settings.weights.probes} probes through {extractor.name}")
        with self.network:
            write_weights(source, self.settings.weights, path, extractor, percentage(f"weights of {source.name}", say))
        with replacing(stamp) as temporary:
            temporary.write_text(key, encoding="ascii")

    def weights(self, source: Source) -> Path:
        """The weight file of a source."""
        return self.folder / "weights" / f"{source.name}.idse"

    def job(self, source: Source, mode: str, qp: float, folder: Path) -> EncodeJob:
        """The encode of a point, with its outputs in `folder`."""
        weighted = mode == "idse"
        config = self.codec.config(self.settings.config, source.fmt, self.tools)
        options = dict(self.settings.options)
        if weighted:  # as in fprdo encode, what the user asks for wins
            options = {**self.codec.weighted_options(self.settings.idse), **options, **self.settings.idse_options}
        return EncodeJob(
            source=self.sources[source.name],
            fmt=source.fmt,
            frames=source.frames,
            rate=Rate(self.settings.rate, qp),
            portable=True,
            bitstream=folder / f"{_stem(source, mode, qp)}.bin",
            recon=folder / _RECON,
            config=(config,),
            options=options,
            frame_rate=source.frame_rate,
            weights=self.weights(source) if weighted else None,
            idse=self.settings.idse,
            title=source.origin,
        )

    def key(self, source: Source, mode: str, qp: float) -> str:
        """Hash of everything that the point depends on."""
        job = self.job(source, mode, qp, Path())
        inputs = [
            __version__,
            self.tools.key,
            self.identity[source.name],
            mode,
            str(job.rate),
            str(job.frame_rate),
            job.portable,
            dict(job.options),
            [hashlib.sha256(_bytes(path)).hexdigest() for path in job.config],
            {name: self.extractors[name].description() for name in self.settings.judges},
        ]
        if job.weights:
            inputs += [asdict(job.idse), self.weights_keys[source.name]]
        return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()

    def record(self, source: Source, mode: str, qp: float) -> Path:
        return self.folder / "points" / f"{_stem(source, mode, qp)}.json"

    def finished(self, source: Source, mode: str, qp: float) -> Point | None:
        """The point if it was measured before from the same inputs and its bitstream still stands."""
        bitstream = self.folder / "bitstreams" / f"{_stem(source, mode, qp)}.bin"
        try:
            entry = json.loads(self.record(source, mode, qp).read_text(encoding="ascii"))
            if entry.pop("key") != self.key(source, mode, qp):
                return None
            if entry.pop("bitstream_sha256", None) not in (None, _sha256(bitstream)):  # None: of an earlier version
                return None
            point = Point.from_record(entry)
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return None
        return point if bitstream.is_file() else None

    def measure(self, source: Source, mode: str, qp: float) -> Point:
        """Encode, decode, measure, and put the results in place."""
        work = self.work / _stem(source, mode, qp)
        work.mkdir()
        job = self.job(source, mode, qp, work)
        with self.programs.joined():
            result = encode(self.codec, job, self.tools, stock=mode == "sse")
            decoders = check_reconstruction(self.codec, self.tools, job, work)
        self.notes += [note for note in dict.fromkeys(result.log.notes) if note not in self.noted]
        self.noted |= set(result.log.notes)
        recon = work / _RECON
        distance, unmeasured = self._distances(source, recon, result.fmt)
        point = Point(
            sequence=source.name,
            encoder=f"{self.codec.title} {self.tools.version}",
            mode=mode,
            qp=qp,
            frames=source.frames,
            width=source.fmt.width,
            height=source.fmt.height,
            bits=result.bits,
            psnr=metrics.sequence_psnr(
                zip(deepened(source.read(), source.fmt, result.fmt), read_yuv(recon, result.fmt)), result.fmt
            ),
            distance=distance,
            unmeasured=unmeasured,
            encoder_seconds=round(result.cpu_seconds, 3),
            decoders=decoders,
            qp_offset_mean=result.log.idse.qp_offset_mean if result.log.idse else 0.0,
        )
        entry = {"key": self.key(source, mode, qp), "bitstream_sha256": _sha256(result.bitstream), **point.record()}
        record, kept = self.record(source, mode, qp), self.folder / "bitstreams"
        record.unlink(missing_ok=True)  # what is replaced now is not what it describes
        kept.mkdir(exist_ok=True)
        for file in filter(None, (result.log_file, result.bitstream)):
            os.replace(file, kept / file.name)
        self.results.discard(
            [f"bitstreams/{work.name}.log"]
        )  # of the replaced bitstream, as an earlier version named it
        with replacing(record) as temporary:
            temporary.write_text(json.dumps(entry, indent=1), encoding="ascii")
        shutil.rmtree(work)
        return point

    def stop(self) -> None:
        """End what is running; the threads notice."""
        self.stopping.set()
        self.programs.end()

    def _go_on(self) -> None:
        if self.stopping.is_set():
            raise FprdoError("stopped")

    def _distances(self, source: Source, recon: Path, fmt: VideoFormat) -> tuple[dict[str, float], dict[str, str]]:
        """Relative feature distance by judge, NaN where there is none, and why there is none."""
        from fprdo_bridge.importance.extractors import feature_distance
        from fprdo_bridge.video.colour import frame_to_rgb

        distances, unmeasured = {}, {}
        for judge in self.settings.judges:
            total = 0.0
            try:
                for reference, frame in zip(source.read(), read_yuv(recon, fmt), strict=True):
                    with self.network:
                        self._go_on()
                        total += feature_distance(
                            self.extractors[judge], frame_to_rgb(reference, source.fmt), frame_to_rgb(frame, fmt)
                        )
            except FprdoError as error:
                self._go_on()
                total, unmeasured[judge] = math.nan, str(error)
            distances[judge] = total / source.frames
        return distances, unmeasured


def _stem(source: Source, mode: str, qp: float) -> str:
    return f"{source.name}-{mode}-qp{qp}"


def _progress_line(point: Point, settings: CompareSettings) -> str:
    agree = f"{' and '.join(point.decoders)} agree{'s' * (len(point.decoders) == 1)}"
    checked = agree if point.decoders else "no decoder knows this format"
    return (
        f"{point.sequence} {point.mode.upper()} QP {point.qp}: {point.bits} bits, Y {point.psnr[0]:.2f} dB, features "
        f"{point.quality(settings.judges[0]):.2f} dB, {point.encoder_seconds:.1f} s, {checked}"
    )


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise FprdoError(
            f"{path}: cannot be read ({error.strerror}); name an encoder configuration file or one of "
            "intra, lowdelay, randomaccess"
        ) from None
