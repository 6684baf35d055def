"""Runs an encoder on a job: checks, a working folder, progress, outputs that appear whole or not at all."""

import os
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from fprdo_bridge import __version__
from fprdo_bridge.encoders.log import EncodeLog, PictureLog
from fprdo_bridge.encoders.job import EncodeJob
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.files import folder_for, replacing, same_file, workspace
from fprdo_bridge.processes import child
from fprdo_bridge.video.formats import VideoFormat, coded_format, crop_frame, pad_frame
from fprdo_bridge.video.raw import count_frames, read_yuv, write_yuv

# Lines that an encoder prints in any case: settings, progress, rules.
_BANNER = re.compile(r"\s:(\s|$)|^(Parsing (Config|command)|Setting )|^\w+ \[(info|debug)\]|^(encoded )?\d+ frames"
                     r"|^\[[\d.]+%\]|^POC +\d|^\d+\(|^Frame +Bit|^Inserting \d|-{9}")
_LOG_MARK = "# fprdo "  # how our logs begin
_FULL = 1 << 20  # bytes; where so little is left, a disk is full

LOCAL_WEIGHTS = "weights.idse"  # what `command_in` calls the weight file where it gives it a name in the run's folder


@dataclass(frozen=True)
class EncodeResult:
    """A finished encode; the files exist and are complete."""

    bitstream: Path
    recon: Path | None
    log_file: Path | None      # None where the bitstream went into a device or pipe
    log: EncodeLog
    command: tuple[str, ...]   # as `command` gives it; it ran with temporary names, and on a padded source where needed
    frame_rate: Fraction
    wall_seconds: float

    @property
    def bits(self) -> int:
        """Rate in bits by the convention of the common test conditions, see EncodeLog.bits."""
        return self.log.bits

    @property
    def kbps(self) -> float:
        """Rate in kilobit per second."""
        return float(self.bits * self.frame_rate / len(self.log.pictures) / 1000)


@dataclass(frozen=True)
class Encoder:
    """What a run has to know of an encoder.

    Parameters
    ----------
    title : name in messages
    name : what build.py calls it
    max_bit_depth : largest depth that it codes
    command : (job, program) -> the command line; the job's source is of format `coded_format(job.fmt)`
    parse_log : standard output of the whole run -> EncodeLog
    parse_picture : (line of output, number of planes) -> the picture that it reports, or None
    command_in : (folder, job, program) -> the command line for a run in that folder, which is there for it alone;
        `command` if there is no difference
    first_pass : the same for a run that goes before that one in the folder, None if the job needs none
    check : refuses jobs that this encoder cannot do
    finish : (bitstream, visible format) -> what is left to do with the bitstream
    rates : what it knows of EncodeJob.rate
    logs_on_stderr : its standard error is what `parse_log` reads
    file_options : its options that name the files of a run; a user who gave them would write elsewhere
    """

    title: str
    name: str
    max_bit_depth: int
    command: Callable[[EncodeJob, Path], list[str]]
    parse_log: Callable[[str], EncodeLog]
    parse_picture: Callable[[str, int], PictureLog | None]
    command_in: Callable[[Path, EncodeJob, Path], list[str]] | None = None
    first_pass: Callable[[Path, EncodeJob, Path], list[str] | None] | None = None
    check: Callable[[EncodeJob], None] | None = None
    finish: Callable[[Path, VideoFormat], None] | None = None
    rates: tuple[str, ...] = ("qp",)
    logs_on_stderr: bool = False
    file_options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Launch:
    """How a program starts: with these words before its path on the command line, and these open files."""

    words: tuple[str, ...] = ()
    descriptors: tuple[int, ...] = ()


def encode(encoder: Encoder, job: EncodeJob, program: Path, stock: bool = False,
           progress: Callable[[PictureLog], None] | None = None, launch: Launch = Launch()) -> EncodeResult:
    """Run `program`; the outputs of the job and its log appear when all of it has succeeded.

    A picture of odd size that the chroma format cannot crop to is padded for the encoder and cut again in the
    reconstruction (frames.coded_format).

    Raises
    ------
    FprdoError
        Bad input; the encoder fails, codes fewer pictures or writes less than it should; weights that were asked for
        but not used in every mode decision. Then none of the outputs is touched.
    """
    check(encoder, job, stock)
    coded = coded_format(job.fmt)
    if job.fmt.bit_depth > 8:  # encoders take samples above the bit depth for others
        for _ in read_yuv(job.source, job.fmt, count=job.frames):
            pass
    with ExitStack() as stack:
        # The bitstream is renamed last: where it stands, the job's other outputs do.
        bitstream = stack.enter_context(replacing(job.bitstream))
        log_file = stack.enter_context(replacing(job.log)) if job.log else None
        recon = stack.enter_context(replacing(job.recon)) if job.recon else None
        work = stack.enter_context(workspace(folder_for(job.bitstream)))
        run = replace(job, bitstream=bitstream, recon=recon)
        if coded != job.fmt:
            padded = (pad_frame(frame, job.fmt, coded) for frame in read_yuv(job.source, job.fmt, count=job.frames))
            write_yuv(work / "padded.yuv", padded, coded)
            run = replace(run, source=work / "padded.yuv", fmt=coded, recon=work / "recon.yuv" if recon else None)
        arguments = [*launch.words, *encoder.command(job, program)]
        place = work / "run"
        place.mkdir()
        started = time.monotonic()
        here = encoder.command_in(place, run, program) if encoder.command_in else encoder.command(run, program)
        here = [*launch.words, *here]
        first = encoder.first_pass(place, run, program) if encoder.first_pass else None
        seconds = 0.0
        for this in ([first] if first else []) + [here]:
            status, output, used = _run(encoder, launch, this, place, work / "errors.txt", progress if this is here else None,
                                        planes=len(coded.plane_shapes))
            seconds += used
            errors = (work / "errors.txt").read_text(encoding="utf-8", errors="replace")
            if status:
                raise FprdoError(_failure(encoder, job, arguments, status, errors, output))
        wall_seconds = time.monotonic() - started
        log = encoder.parse_log(output)
        if log.seconds is None:
            log = replace(log, seconds=seconds)
        _verify(encoder, job, run, log, arguments)
        if recon and run.recon != recon:
            cropped = (crop_frame(frame, job.fmt) for frame in read_yuv(run.recon, coded))
            write_yuv(recon, cropped, job.fmt)
        if encoder.finish:
            encoder.finish(bitstream, job.fmt)
        if log_file:
            log_file.write_text(f"{_LOG_MARK}{__version__} ran: {shlex.join(arguments)}\n{errors}{output}",
                                encoding="utf-8", errors="surrogateescape")  # file names may be any bytes
    return EncodeResult(job.bitstream, job.recon, job.log, log, tuple(arguments), Fraction(job.frame_rate),
                        wall_seconds)


def check(encoder: Encoder, job: EncodeJob, stock: bool = False) -> None:
    """Refuse what the encoder would refuse late, silently or with a message about something else.

    Raises
    ------
    FprdoError
        Bad input; `encode` says the same. Whether the encoder knows the job's options is not looked at.
    """
    fmt = job.fmt
    if fmt.bit_depth > encoder.max_bit_depth:
        raise FprdoError(f"{job.title}: {encoder.title} codes up to {encoder.max_bit_depth} bits, not "
                         f"{fmt.bit_depth}; reduce the depth")
    if job.rate not in encoder.rates:
        raise FprdoError(f"rate control {job.rate!r}: {encoder.title} has {', '.join(encoder.rates)} here")
    lowest = -6 * (fmt.bit_depth - 8)  # -QpBdOffsetY, H.265 clause 7.4.3.2.1 and H.264 clause 7.4.2.1.1
    if job.rate == "abr" and job.qp < 1:
        raise FprdoError(f"bit rate {job.qp}: use 1 kbit/s or more")
    if job.rate != "abr" and not lowest <= job.qp <= 51:
        raise FprdoError(f"{job.rate.upper()} {job.qp}: use {lowest} to 51 for {fmt.bit_depth} bits")
    for name in job.options:
        if not re.fullmatch(r"[A-Za-z][\w-]*", name):
            raise FprdoError(f"encoder option {name!r}: give its name only, like SAO")
        own = next((own for own in encoder.file_options if own.lower().startswith(name.lower())), None)
        if own:  # x264 takes a beginning for the whole
            raise FprdoError(f"encoder option {name}: {own} is set by other arguments of this command; leave it out")
    if not job.config:
        raise FprdoError(f"{job.bitstream}: no encoder configuration file given; name one")
    if stock and job.weights:
        raise FprdoError(f"{job.weights}: the stock encoder takes no weights; use the patched one")
    for path in filter(None, (*job.config, job.weight_file)):
        if not path.is_file():
            raise FprdoError(f"{path}: {'is no regular file' if path.exists() else 'no such file'}; check the name")
    if encoder.check:
        encoder.check(job)
    available = count_frames(job.source, fmt)
    if available < job.frames:
        raise FprdoError(f"{job.title}: has {available} frames, {job.frames} asked for")
    _check_outputs(job)


def _check_outputs(job: EncodeJob) -> None:
    outputs = [path for path in (job.bitstream, job.log, job.recon) if path]
    inputs = [path for path in (job.source, job.weight_file, *job.config) if path]
    for index, path in enumerate(outputs):
        if any(same_file(path, other) for other in inputs + outputs[:index]):
            raise FprdoError(f"{path}: is written and used otherwise in one encode; give another name")
        if path.is_dir():
            raise FprdoError(f"{path}: is a folder; give a file name")
    if job.log and job.log.is_file():
        with open(job.log, encoding="utf-8", errors="replace") as file:
            if not file.read(len(_LOG_MARK)) == _LOG_MARK:
                raise FprdoError(f"{job.log}: the encoder's log would go there, and this file is none; move it or give "
                                 "the bitstream another name")


def _run(encoder: Encoder, launch: Launch, arguments: list[str], folder: Path, errors: Path,
         progress: Callable[[PictureLog], None] | None, planes: int) -> tuple[int, str, float]:
    """Run a program in `folder` to its end; returns its exit status, its log and its CPU time. The log is its standard
    output, and its standard error goes to a file, or the other way round.

    Two streams, as HM flushes its standard output late and an error message would get lost amid its banner.
    """
    lines = []
    log, other = ("stderr", "stdout") if encoder.logs_on_stderr else ("stdout", "stderr")
    with open(errors, "wb") as error_file, ExitStack() as stack:
        try:
            process = stack.enter_context(child(
                arguments, launch.descriptors, cwd=folder, stdin=subprocess.DEVNULL, encoding="utf-8", errors="replace",
                **{log: subprocess.PIPE, other: error_file}))
        except OSError as error:
            raise FprdoError(f"{arguments[0]}: cannot be run ({error.strerror}); "
                             f"run python3 build.py {encoder.name}") from error
        for line in getattr(process, log):
            lines.append(line)
            picture = encoder.parse_picture(line, planes) if progress else None
            if picture:
                progress(picture)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, "".join(lines), usage.ru_utime + usage.ru_stime


def _failure(encoder: Encoder, job: EncodeJob, arguments: list[str], status: int, errors: str, output: str) -> str:
    """One line that says why the encoder stopped."""
    ours = re.search(r"^IDSE: error: (.*)$", f"{errors}\n{output}", re.MULTILINE)
    if ours:  # names the weight file as the encoder was given it
        return re.sub(rf"^{re.escape(LOCAL_WEIGHTS)}(?=: )", lambda _: str(job.weights), ours[1].strip())
    how = f"exit status {status}"
    if status < 0:
        names = {number.value: number.name for number in signal.Signals}
        how = f"killed by {names.get(-status, f'signal {-status}')}"
    said = [line.strip() for line in re.split(r"[\r\n]+", errors + "\n" + output) if line.strip()]
    said = [line for line in said if not _BANNER.search(line)]
    complaints = [line for line in said if re.search(r"error|fail|assert", line, re.IGNORECASE)]
    reason = "; ".join(complaints[:3] or said[-3:]) or "no message"
    folders = dict.fromkeys(path.parent for path in (job.bitstream, job.recon) if path)
    full = "".join(f"; the disk of {folder} is full" for folder in folders
                   if (room := os.statvfs(folder)).f_bavail * room.f_frsize < _FULL)
    return f"{encoder.title} failed, {how}: {reason}{full} (command: {shlex.join(arguments)})"


def _verify(encoder: Encoder, job: EncodeJob, run: EncodeJob, log: EncodeLog, arguments: list[str]) -> None:
    """An encoder may end with status 0 though its input could not be read or the disk is full: look at what it left."""
    ran = f"(command: {shlex.join(arguments)})"
    if len(log.pictures) != job.frames or log.bytes_written is None:
        raise FprdoError(f"{job.title}: {encoder.title} coded {len(log.pictures)} of {job.frames} pictures {ran}")
    sizes = [(job.bitstream, run.bitstream, log.bytes_written)]
    if run.recon:
        sizes.append((job.recon, run.recon, job.frames * run.fmt.frame_bytes))
    for name, path, expected in sizes:
        size = path.stat().st_size if path.exists() else 0
        if size != expected:
            raise FprdoError(f"{name}: {encoder.title} wrote {size} of {expected} bytes; check that the disk has room "
                             f"{ran}")
    if not job.weights:
        return
    build = f"python3 build.py {encoder.name}"
    if log.idse is None:
        raise FprdoError(f"{job.weights}: the encoder did not report its use of the weights, so it is not the patched "
                         f"one: run {build} {ran}")
    if log.idse.unweighted or log.idse.pictures != job.frames:
        raise FprdoError(f"{job.weights}: {log.idse.unweighted} distortions were computed without weights and "
                         f"{log.idse.pictures} of {job.frames} pictures with; this is a bug of the patches {ran}")
