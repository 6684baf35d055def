"""Runs an encoder on a job: a working folder, progress, outputs that appear whole or not at all."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from fprdo_bridge import __version__
from fprdo_bridge.bitstream.container import container_of, mux
from fprdo_bridge.encoders.checking import LOG_MARK, check
from fprdo_bridge.encoders.codec import Codec
from fprdo_bridge.encoders.job import EncodeJob
from fprdo_bridge.encoders.log import EncodeLog, PictureLog
from fprdo_bridge.encoders.structures import config_text
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.files import disk_is_full, folder_for, is_stream, replacing, workspace
from fprdo_bridge.processes import child
from fprdo_bridge.toolchain import Toolchain
from fprdo_bridge.video.formats import VideoFormat, coded_format, crop_frame, pad_frame
from fprdo_bridge.video.output import is_raw, write_frames
from fprdo_bridge.video.raw import read_yuv, write_yuv

# Lines that an encoder prints in any case: settings, progress, rules.
_BANNER = re.compile(
    r"\s:(\s|$)|^(Parsing (Config|command)|Setting )|^\w+ \[(info|debug)\]|^(encoded )?\d+ frames"
    r"|^\[[\d.]+%\]|^POC +\d|^\d+\(|^Frame +Bit|^Inserting \d|-{9}"
)
_BOM = b"\xef\xbb\xbf"
_MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024  # getrusage(2)


@dataclass(frozen=True)
class Launch:
    """How a program starts: with these words before its path on the command line, and these open files."""

    words: tuple[str, ...] = ()
    descriptors: tuple[int, ...] = ()


@dataclass(frozen=True)
class EncodeResult:
    """A finished encode; the files exist and are complete.

    Attributes
    ----------
    bitstream, recon : as the job has them
    fmt : of the reconstruction, and of what a decoder gives
    log_file : None where the bitstream went into a device or pipe
    log : what the encoder said
    command : as `Codec.command` gives it; it ran with temporary names, and on a padded source where needed
    frame_rate : pictures per second
    wall_seconds : of the run
    cpu_seconds : user and system time of the encoder, of all its passes
    peak_memory : largest resident size of the encoder, in bytes
    """

    bitstream: Path
    recon: Path | None
    fmt: VideoFormat
    log_file: Path | None
    log: EncodeLog
    command: tuple[str, ...]
    frame_rate: Fraction
    wall_seconds: float
    cpu_seconds: float
    peak_memory: int

    @property
    def bits(self) -> int:
        """Rate in bits by the convention of the common test conditions, see EncodeLog.bits."""
        return self.log.bits

    @property
    def kbps(self) -> float:
        """Rate in kilobit per second."""
        return float(self.bits * self.frame_rate / len(self.log.pictures) / 1000)


def encode(
    codec: Codec,
    job: EncodeJob,
    tools: Toolchain,
    stock: bool = False,
    progress: Callable[[PictureLog], None] | None = None,
    launch: Launch = Launch(),
) -> EncodeResult:
    """Run an encoder; the outputs of the job and its log appear when all of it has succeeded.

    A picture of odd size that the chroma format cannot crop to is padded for the encoder and cut again in the
    reconstruction (video.formats.coded_format). The bitstream says colours, sample aspect ratio and frame rate.

    Parameters
    ----------
    codec : Codec
    job : EncodeJob
    tools : Toolchain
        Of `codec.tools()`.
    stock : bool
        Run the unpatched encoder, which knows no weights.
    progress : callable, optional
        Called with each picture when the encoder reports it.
    launch : Launch
        How the program starts.

    Raises
    ------
    FprdoError
        Bad input; the encoder fails, codes fewer pictures or writes less than it should; weights that were asked for
        but not used in every mode decision. Then none of the outputs is touched.
    """
    check(codec, job, stock)
    program = tools.stock_encoder if stock else tools.encoder
    coded, decoded = coded_format(job.fmt), codec.decoded_format(job)
    if job.fmt.bit_depth > 8:  # an encoder misreads samples above the bit depth
        for _ in read_yuv(job.source, job.fmt, count=job.frames):
            pass
    with ExitStack() as stack:
        # The bitstream is put in place last: where it stands, the job's other outputs do. Devices and pipes come before
        # all files, as writing into them may fail.
        outputs = {"bitstream": job.bitstream, "log": job.log, "recon": job.recon}  # two may be one device
        within: dict[str, Path] = {}
        for role, path in sorted(outputs.items(), key=lambda output: output[1] is not None and is_stream(output[1])):
            if path:
                within[role] = stack.enter_context(replacing(path))
        bitstream, log_file, recon = within["bitstream"], within.get("log"), within.get("recon")
        work = stack.enter_context(workspace(folder_for(job.bitstream)))
        run = replace(job, bitstream=bitstream, recon=recon, config=_clean_configs(job.config, work))
        if container_of(job.bitstream):
            run = replace(run, bitstream=work / "bitstream")
        if coded != job.fmt:
            padded = (pad_frame(frame, job.fmt, coded) for frame in read_yuv(job.source, job.fmt, count=job.frames))
            write_yuv(work / "padded.yuv", padded, coded)
            run = replace(run, source=work / "padded.yuv", fmt=coded)
        if job.recon and (coded != job.fmt or not is_raw(job.recon)):
            run = replace(run, recon=work / "recon.yuv")
        arguments = [*launch.words, *codec.command(job, program)]
        started = time.monotonic()
        log, errors, output, seconds, memory = _run_all(codec, job, run, program, launch, work, progress, arguments)
        wall_seconds = time.monotonic() - started
        _verify(codec, job, run, log, arguments)
        if recon and run.recon and run.recon != recon:
            frames = (crop_frame(frame, decoded) for frame in read_yuv(run.recon, coded_format(decoded)))
            write_frames(recon, frames, decoded, job.frame_rate)
        log = codec.finish(run.bitstream, job, log)
        if run.bitstream != bitstream:
            mux(run.bitstream, bitstream, decoded, job.frame_rate, [picture.poc for picture in log.pictures])
        if log_file:
            log_file.write_text(
                f"{LOG_MARK}{__version__} ran: {shlex.join(arguments)}\n{errors}{output}",
                encoding="utf-8",
                errors="surrogateescape",
            )  # file names may be any bytes
    return EncodeResult(
        job.bitstream, job.recon, decoded, job.log, log, tuple(arguments), job.frame_rate, wall_seconds, seconds, memory
    )


def _clean_configs(configs: tuple[Path, ...], work: Path) -> tuple[Path, ...]:
    """The configuration files, each with a byte order mark as a copy without it: encoders take the mark for a part of
    the first name."""
    clean = []
    for number, path in enumerate(configs):
        if path.read_bytes().startswith(_BOM):
            path, text = work / f"config-{number}.cfg", config_text(path)
            path.write_text(text, encoding="utf-8", errors="surrogateescape")
        clean.append(path)
    return tuple(clean)


def _run_all(
    codec: Codec,
    job: EncodeJob,
    run: EncodeJob,
    program: Path,
    launch: Launch,
    work: Path,
    progress: Callable[[PictureLog], None] | None,
    arguments: list[str],
) -> tuple[EncodeLog, str, str, float, int]:
    """The commands of a run, one after the other; what the last one said, as a log and as text of its two streams,
    the CPU time of all and the largest memory of them."""
    place = work / "run"
    place.mkdir()
    commands = [[*launch.words, *command] for command in codec.commands_in(place, run, program)]
    seconds, memory = 0.0, 0
    for number, command in enumerate(commands, 1):
        status, output, used, size = _run(
            codec,
            launch,
            command,
            place,
            work / "errors.txt",
            progress if number == len(commands) else None,
            planes=len(run.fmt.plane_shapes),
        )
        seconds, memory = seconds + used, max(memory, size)
        errors = (work / "errors.txt").read_text(encoding="utf-8", errors="replace")
        if status:
            raise FprdoError(_failure(codec, job, arguments, status, errors, output))
    log = codec.parse_log(output)
    return log if log.seconds is not None else replace(log, seconds=seconds), errors, output, seconds, memory


def _run(
    codec: Codec,
    launch: Launch,
    arguments: list[str],
    folder: Path,
    errors: Path,
    progress: Callable[[PictureLog], None] | None,
    planes: int,
) -> tuple[int, str, float, int]:
    """Run a program in `folder` to its end; returns its exit status, its log, its CPU time and its memory. The log is
    its standard output, and its standard error goes to a file, or the other way round.

    Two streams, as an encoder may flush its standard output late, and an error message would get lost amid its banner.
    """
    lines = []
    log, other = ("stderr", "stdout") if codec.logs_on_stderr else ("stdout", "stderr")
    with open(errors, "wb") as error_file, ExitStack() as stack:
        try:
            process = stack.enter_context(
                child(
                    arguments,
                    launch.descriptors,
                    cwd=folder,
                    stdin=subprocess.DEVNULL,
                    encoding="utf-8",
                    errors="replace",
                    **{log: subprocess.PIPE, other: error_file},
                )
            )
        except OSError as error:
            raise FprdoError(
                f"{arguments[0]}: cannot be run ({error.strerror}); run python3 build.py {codec.name}"
            ) from error
        for line in getattr(process, log):
            lines.append(line)
            picture = codec.parse_picture(line, planes) if progress else None
            if picture and progress:
                progress(picture)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, "".join(lines), usage.ru_utime + usage.ru_stime, usage.ru_maxrss * _MAXRSS_UNIT


def _failure(codec: Codec, job: EncodeJob, arguments: list[str], status: int, errors: str, output: str) -> str:
    """One line that says why the encoder stopped."""
    ours = re.search(r"^IDSE: error: (.*)$", f"{errors}\n{output}", re.MULTILINE)
    if ours:  # names the weight file as the encoder was given it
        return re.sub(rf"^{re.escape(codec.local_weights)}(?=: )", lambda _: str(job.weights), ours[1].strip())
    how = f"exit status {status}"
    if status < 0:
        names = {number.value: number.name for number in signal.Signals}
        how = f"killed by {names.get(-status, f'signal {-status}')}"
    said = [line.strip() for line in re.split(r"[\r\n]+", errors + "\n" + output) if line.strip()]
    said = [line for line in said if not _BANNER.search(line)]
    complaints = [line for line in said if re.search(r"error|fail|assert", line, re.IGNORECASE)]
    reason = "; ".join(complaints[:3] or said[-3:]) or "no message"
    folders = dict.fromkeys(folder_for(path) for path in (job.bitstream, job.recon) if path)
    full = "".join(f"; the disk of {folder} is full" for folder in folders if disk_is_full(folder))
    return f"{codec.title} failed, {how}: {reason}{full} (command: {shlex.join(arguments)})"


def _verify(codec: Codec, job: EncodeJob, run: EncodeJob, log: EncodeLog, arguments: list[str]) -> None:
    """An encoder may end with status 0 though its input could not be read or the disk is full: look at what it left."""
    ran = f"(command: {shlex.join(arguments)})"
    written = codec.bytes_written(run.bitstream, job, log)
    if len(log.pictures) != job.frames or written is None:
        raise FprdoError(f"{job.title}: {codec.title} coded {len(log.pictures)} of {job.frames} pictures {ran}")
    sizes = [(job.bitstream, run.bitstream, written)]
    if run.recon and job.recon:
        sizes.append((job.recon, run.recon, job.frames * codec.bitstream_format(job).frame_bytes))
    for name, path, expected in sizes:
        size = path.stat().st_size if path.exists() else 0
        if size != expected:
            raise FprdoError(
                f"{name}: {codec.title} wrote {size} of {expected} bytes; check that the disk has room {ran}"
            )
    if not job.weights:
        return
    build = f"python3 build.py {codec.name}"
    if log.idse is None:
        raise FprdoError(
            f"{job.weights}: the encoder did not report its use of the weights, so it is not the patched "
            f"one: run {build} {ran}"
        )
    if log.idse.unweighted or log.idse.pictures != job.frames:
        raise FprdoError(
            f"{job.weights}: {log.idse.unweighted} distortions were computed without weights and "
            f"{log.idse.pictures} of {job.frames} pictures with; this is a bug of the patches {ran}"
        )
