"""SSE against IDSE: encode, decode with every stock decoder, measure; resumable point by point."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from fprdo_bridge import __version__, encoders
from fprdo_bridge.ctc import metrics
from fprdo_bridge.files import replacing
from fprdo_bridge.encoders import running
from fprdo_bridge.bitstream.decoders import bitstream_codec, decode_libav, supported_by_libav
from fprdo_bridge.encoders.job import EncodeJob, IdseOptions
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.video.formats import first_difference
from fprdo_bridge.video.raw import read_yuv
from fprdo_bridge.importance.weighting import WeightSettings, weights_key, write_weights
from fprdo_bridge.progress import percentage
from fprdo_bridge.video.source import Source
from fprdo_bridge.toolchain import TITLES, Toolchain

MODES = ("sse", "idse")


@dataclass(frozen=True)
class CompareSettings:
    """What a comparison does besides the sequences.

    Parameters
    ----------
    qps : at least four, for BD-rate
    config : coding structure ("intra", "lowdelay", "randomaccess") or an encoder configuration file
    options : further encoder options, for both modes
    idse_options : further encoder options for the weighted encodes alone
    idse : run-time settings of the weights
    weights : how weights are computed
    measure : extractors by whose features the decoded pictures are judged; empty: the one of the weights
    rate : what `qps` are, see EncodeJob.rate
    """

    qps: tuple[int, ...] = (27, 32, 37, 42)
    config: str = "intra"
    options: Mapping[str, str] = field(default_factory=dict)
    idse_options: Mapping[str, str] = field(default_factory=dict)
    idse: IdseOptions = IdseOptions()
    weights: WeightSettings = WeightSettings()
    measure: tuple[str, ...] = ()
    encoder: str = "hm"
    rate: str = "qp"

    def __post_init__(self) -> None:
        if len(set(self.qps)) < 4:
            raise FprdoError(f"QPs {', '.join(map(str, self.qps))}: BD-rate needs at least four different ones")

    @property
    def judges(self) -> tuple[str, ...]:
        """The extractors that measure."""
        return self.measure or (self.weights.extractor,)


@dataclass(frozen=True)
class Point:
    """One encode, measured.

    Attributes
    ----------
    encoder : title and version, like "HM 18.0"
    mode : "sse" (stock encoder) or "idse" (patched encoder with weights)
    bits : of the whole sequence, parameter sets counted, SEI messages not
    psnr : dB per plane
    distance : extractor -> relative feature distance, mean over the frames
    encoder_seconds : CPU time of the encoder
    decoders : stock decoders whose output is the encoder's reconstruction, sample by sample
    qp_offset_mean : mean offset of the quantisation groups, 0 for SSE
    """

    sequence: str
    encoder: str
    mode: str
    qp: int
    frames: int
    width: int
    height: int
    bits: int
    psnr: tuple[float, ...]
    distance: Mapping[str, float]
    encoder_seconds: float
    decoders: tuple[str, ...]
    qp_offset_mean: float

    def quality(self, judge: str) -> float:
        """Feature quality in dB, -10 log10 of the relative feature distance."""
        return metrics.feature_quality_db(self.distance[judge])


def compare(sequences: list[Source], settings: CompareSettings, tools: Toolchain, folder: Path,
            say: Callable[[str], None] = lambda line: None) -> list[Point]:
    """Run what is not yet in `folder`; returns all points, by sequence, mode and QP.

    Leaves in `folder`: points/ (one file per finished point: the resume), bitstreams/ with the encoders' logs, weights/.
    A point whose inputs changed in any way is done again.

    Parameters
    ----------
    say : called with a line of text for each step done

    Raises
    ------
    FprdoError
        Bad input; an encode fails; a stock decoder does not give the encoder's reconstruction; another run is working in
        the folder. Points already finished stay.
    """
    named: dict[str, str] = {}
    for sequence in sequences:
        key = sequence.name.casefold()  # a disk may not tell A.bin from a.bin
        if key in named:
            raise FprdoError(f"{named[key]} and {sequence.origin}: two inputs are called {sequence.name}; compare them in "
                             "separate folders")
        named[key] = sequence.origin
    with _working_folder(folder) as work:
        run = _Run(settings, tools, folder, work)
        plan = [(sequence, mode, qp) for sequence in sequences for mode in MODES for qp in sorted(set(settings.qps))]
        for sequence in sequences:
            run.check(sequence)
        for sequence in sequences:
            run.weigh(sequence, say)
        some = run.job(sequences[0], MODES[0], settings.qps[0], work)
        for line in encoders.remarks(settings.encoder, some.config, some.options):
            say(line)
        points, waiting = {}, []
        for task in plan:
            point = run.finished(*task)
            if point:
                points[task[0].name, *task[1:]] = point
            else:
                waiting.append(task)
        if points:
            say(f"{len(points)} of {len(plan)} points are there already")
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            futures = {pool.submit(run.measure, *task): task for task in waiting}
            try:
                for future in as_completed(futures):
                    point = future.result()
                    points[point.sequence, point.mode, point.qp] = point
                    say(f"[{len(points):{len(str(len(plan)))}}/{len(plan)}] {_progress_line(point, settings)}")
                    while run.notes:
                        say(run.notes.pop(0))
            except BaseException:
                run.stopping.set()
                pool.shutdown(cancel_futures=True)
                raise
    return [points[sequence.name, mode, qp] for sequence, mode, qp in plan]


def bd_rates(points: list[Point], judge: str) -> dict[str, tuple[float, float]]:
    """Per sequence (feature BD-rate, luma PSNR BD-rate) of IDSE against SSE in per cent.

    Raises
    ------
    FprdoError
        The curves cannot be compared; names the sequence.
    """
    rates = {}
    for name in dict.fromkeys(point.sequence for point in points):
        anchor, test = ([p for p in points if p.sequence == name and p.mode == mode] for mode in MODES)
        try:
            rates[name] = tuple(metrics.bd_rate([p.bits for p in anchor], [quality(p) for p in anchor],
                                                [p.bits for p in test], [quality(p) for p in test])
                                for quality in (lambda p: p.quality(judge), lambda p: p.psnr[0]))
        except FprdoError as error:
            raise FprdoError(f"{name}: {error}") from None
    return rates


class _Run:
    """The parts of a comparison that every point shares."""

    def __init__(self, settings: CompareSettings, tools: Toolchain, folder: Path, work: Path):
        self.settings, self.tools, self.folder, self.work = settings, tools, folder, work
        self.codec = encoders.get(settings.encoder)
        self.extractors = {name: settings.weights.load() if name == settings.weights.extractor
                           else WeightSettings(name).load() for name in {*settings.judges, settings.weights.extractor}}
        self.judging = threading.Lock()  # one network at a time: memory, and torch has its own threads
        self.stopping = threading.Event()
        self.noted: set[str] = set()    # what the encoder said, and
        self.notes: list[str] = []      # what of it is still to be passed on
        self.sources: dict[str, Path] = {}
        self.weights: dict[str, Path] = {}
        self.identity: dict[str, str] = {}

    def check(self, sequence: Source) -> None:
        """Raw file of a sequence; refuses what its encodes would refuse after the weights were computed."""
        self.sources[sequence.name] = sequence.yuv(self.work)
        for qp in self.settings.qps:
            running.check(self.codec.ENCODER, self.job(sequence, "sse", qp, self.work), stock=True)

    def weigh(self, sequence: Source, say: Callable[[str], None]) -> None:
        """Weights of a sequence; those that are there already are kept."""
        extractor = self.extractors[self.settings.weights.extractor]
        key = weights_key(sequence, self.settings.weights, extractor)
        path = self.folder / "weights" / f"{sequence.name}.idse"
        stamp = path.with_suffix(".key")
        if not (path.exists() and stamp.exists() and stamp.read_text() == key):
            stamp.unlink(missing_ok=True)
            say(f"weights of {sequence.name}: {self.settings.weights.probes} probes through {extractor.name}")
            write_weights(sequence, self.settings.weights, path, extractor,
                          percentage(f"weights of {sequence.name}", say))
            with replacing(stamp) as temporary:
                temporary.write_text(key)
        self.weights[sequence.name] = path
        self.identity[sequence.name] = sequence.sha256()

    def job(self, sequence: Source, mode: str, qp: int, folder: Path) -> EncodeJob:
        """The encode of a point, with its outputs in `folder`."""
        weighted = mode == "idse"
        config = (self.codec.config_for(self.settings.config, sequence.fmt, self.tools)
                  if self.settings.config in self.codec.KINDS else Path(self.settings.config))
        options = dict(self.settings.options)
        if weighted:
            options |= self.codec.weighted_options(self.settings.idse) | dict(self.settings.idse_options)
        return EncodeJob(source=self.sources[sequence.name], fmt=sequence.fmt, frames=sequence.frames, qp=qp,
                         bitstream=folder / f"{sequence.name}-{mode}-qp{qp}.bin", recon=folder / "recon.yuv",
                         config=(config,), options=options, frame_rate=sequence.frame_rate,
                         weights=self.weights[sequence.name] if weighted else None, idse=self.settings.idse,
                         rate=self.settings.rate, title=sequence.origin)

    def key(self, sequence: Source, mode: str, qp: int) -> str:
        """Hash of everything that the point depends on."""
        job = self.job(sequence, mode, qp, Path())
        inputs = [__version__, self.tools.key, self.identity[sequence.name], mode, job.rate, qp, str(job.frame_rate),
                  dict(job.options), [hashlib.sha256(_bytes(path)).hexdigest() for path in job.config],
                  {name: self.extractors[name].description() for name in self.settings.judges}]
        if job.weights:
            inputs += [asdict(job.idse), job.weights.with_suffix(".key").read_text()]
        return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()

    def record(self, sequence: Source, mode: str, qp: int) -> Path:
        return self.folder / "points" / f"{sequence.name}-{mode}-qp{qp}.json"

    def finished(self, sequence: Source, mode: str, qp: int) -> Point | None:
        """The point if it was measured before from the same inputs and its bitstream still stands."""
        try:
            entry = json.loads(self.record(sequence, mode, qp).read_text())
            if entry.pop("key") != self.key(sequence, mode, qp):
                return None
            point = Point(**{name: tuple(value) if isinstance(value, list) else value for name, value in entry.items()})
        except (OSError, ValueError, KeyError, TypeError):
            return None
        bitstream = self.job(sequence, mode, qp, self.folder / "bitstreams").bitstream
        return point if bitstream.exists() else None

    def measure(self, sequence: Source, mode: str, qp: int) -> Point:
        """Encode, decode twice, measure, and put the results in place."""
        if self.stopping.is_set():
            raise FprdoError("stopped")
        work = self.work / f"{sequence.name}-{mode}-qp{qp}"
        work.mkdir()
        job = self.job(sequence, mode, qp, work)
        result = self.codec.encode(job, self.tools, stock=mode == "sse")
        self.notes += [note for note in dict.fromkeys(result.log.notes) if note not in self.noted]
        self.noted |= set(result.log.notes)
        decoders = self._check_decoders(job, work)
        psnr = metrics.sequence_psnr(zip(sequence.read(), read_yuv(job.recon, sequence.fmt)), sequence.fmt)
        point = Point(sequence=sequence.name, encoder=f"{TITLES[self.settings.encoder]} {self.tools.version}", mode=mode,
                      qp=qp, frames=sequence.frames, width=sequence.fmt.width, height=sequence.fmt.height, bits=result.bits, psnr=psnr,
                      distance={judge: self._distance(sequence, job.recon, judge) for judge in self.settings.judges},
                      encoder_seconds=result.log.seconds, decoders=decoders,
                      qp_offset_mean=result.log.idse.qp_offset_mean if result.log.idse else 0.0)
        kept = self.folder / "bitstreams"
        kept.mkdir(exist_ok=True)
        os.replace(job.log, kept / job.log.name)
        os.replace(job.bitstream, kept / job.bitstream.name)
        with replacing(self.record(sequence, mode, qp)) as temporary:
            temporary.write_text(json.dumps({"key": self.key(sequence, mode, qp), **asdict(point)}, indent=1))
        shutil.rmtree(work)
        return point

    def _check_decoders(self, job: EncodeJob, work: Path) -> tuple[str, ...]:
        """The stock decoders, each having given the encoder's reconstruction."""
        decoded = {}
        for name, decode in self.codec.STOCK_DECODERS.items():
            decode(job.bitstream, self.tools, work / f"{name}.yuv", job.fmt)
            decoded[name] = read_yuv(work / f"{name}.yuv", job.fmt)
        if supported_by_libav(job.fmt, bitstream_codec(job.bitstream)):
            decoded["libavcodec"] = decode_libav(job.bitstream, job.fmt)
        for name, frames in decoded.items():
            difference = first_difference(frames, read_yuv(job.recon, job.fmt))
            if difference:
                raise FprdoError(f"{job.bitstream.name}: {name} decodes something else than the encoder's "
                                 f"reconstruction ({difference}); this is a bug, please report it")
        return tuple(decoded)

    def _distance(self, sequence: Source, recon: Path, judge: str) -> float:
        from fprdo_bridge.video.colour import frame_to_rgb
        from fprdo_bridge.importance.extractors import feature_distance

        with self.judging:
            distances = [feature_distance(self.extractors[judge], frame_to_rgb(reference, sequence.fmt),
                                          frame_to_rgb(frame, sequence.fmt))
                         for reference, frame in zip(sequence.read(), read_yuv(recon, sequence.fmt))]
        return sum(distances) / len(distances)


def _progress_line(point: Point, settings: CompareSettings) -> str:
    return (f"{point.sequence} {point.mode.upper()} QP {point.qp}: {point.bits} bits, Y {point.psnr[0]:.2f} dB, features "
            f"{point.quality(settings.judges[0]):.2f} dB, {point.encoder_seconds:.1f} s, "
            f"{' and '.join(point.decoders)} agree")


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise FprdoError(f"{path}: cannot be read ({error.strerror}); name an encoder configuration file or one of "
                         "intra, lowdelay, randomaccess") from None


@contextmanager
def _working_folder(folder: Path) -> Iterator[Path]:
    """An empty folder for what is not finished, inside `folder`; what a killed run left there is removed."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder / ".lock", "w")
    except OSError as error:
        raise FprdoError(f"{folder}: cannot be written ({error.strerror}); choose another output folder") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FprdoError(f"{folder}: another run is working here; wait for it or choose another folder") from None
        work = folder / ".work"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        try:
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)
