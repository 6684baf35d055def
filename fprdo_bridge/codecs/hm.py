"""HM, the HEVC reference encoder: command line, run, results."""

import re
import shlex
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from fprdo_bridge.atomic import replacing
from fprdo_bridge.codecs.colour_signal import signal_colour
from fprdo_bridge.codecs.hm_log import EncodeLog, IdseSummary, PictureLog, parse_log, parse_picture
from fprdo_bridge.codecs.job import EncodeJob, IdseOptions
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.frames import VideoFormat, coded_format, count_frames, crop_frame, pad_frame, read_yuv, write_yuv
from fprdo_bridge.toolchain import Toolchain

__all__ = ["KINDS", "EncodeJob", "EncodeLog", "EncodeResult", "IdseOptions", "IdseSummary", "PictureLog", "command",
           "config_for", "encode", "parse_log", "weighted_options"]

KINDS = ("intra", "lowdelay", "randomaccess")
_MAX_BIT_DEPTH = 12  # of an HM built without RExt__HIGH_BIT_DEPTH_SUPPORT

# general_level_idc / 30, MaxLumaPs, MaxLumaSr: H.265 tables A.8 and A.9.
_LEVELS = (("1", 36864, 552960), ("2", 122880, 3686400), ("2.1", 245760, 7372800), ("3", 552960, 16588800),
           ("3.1", 983040, 33177600), ("4", 2228224, 66846720), ("4.1", 2228224, 133693440),
           ("5", 8912896, 267386880), ("5.1", 8912896, 534773760), ("5.2", 8912896, 1069547520),
           ("6", 35651584, 1069547520), ("6.1", 35651584, 2139095040), ("6.2", 35651584, 4278190080))


@dataclass(frozen=True)
class EncodeResult:
    """A finished encode; the files exist and are complete."""

    bitstream: Path
    recon: Path | None
    log_file: Path
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


def _profile(fmt: VideoFormat) -> str:
    if fmt.chroma == "420" and fmt.bit_depth <= 10:
        return "main" if fmt.bit_depth == 8 else "main10"
    return "main-RExt"


def _level(fmt: VideoFormat, frame_rate: Fraction | int) -> str:
    """The lowest level whose picture size and sample rate suffice (H.265 clause A.4.1); its bit rate is not looked at,
    as a run at fixed QP does not know its own."""
    sides = [-(-side // 8) * 8 for side in (fmt.width, fmt.height)]
    samples = sides[0] * sides[1]
    for name, picture_size, sample_rate in _LEVELS:
        if samples <= picture_size and samples * frame_rate <= sample_rate and max(sides) ** 2 <= 8 * picture_size:
            return name
    return "none"


def config_for(kind: str, fmt: VideoFormat, tools: Toolchain) -> Path:
    """HM's own configuration file for a coding structure and a format.

    Parameters
    ----------
    kind : {"intra", "lowdelay", "randomaccess"}

    Raises
    ------
    FprdoError
        Unknown kind, or the file is not in the tree.
    """
    if kind not in KINDS:
        raise FprdoError(f"coding structure {kind!r}: use one of {', '.join(KINDS)}")
    path = tools.config_dir / f"encoder_{kind}_{_profile(fmt).lower().replace('-', '_')}.cfg"
    if not path.is_file():
        raise FprdoError(f"{path}: no such configuration file; run python3 build.py hm")
    return path


def weighted_options(idse: IdseOptions) -> dict[str, str]:
    """HM's own options that weighted encodes need, the same as in cfg/hm/idse.cfg: quantisation groups of 32x32 luma
    samples (in CTUs of 64x64) for the QP map."""
    return {"MaxCuDQPDepth": "1"} if idse.qp_map else {}


def command(job: EncodeJob, encoder: Path) -> list[str]:
    """The command line that codes `job`, its source being of format `coded_format(job.fmt)`.

    IDSE options stand in it only if the job has weights, so the stock encoder understands it otherwise.
    """
    fmt = coded_format(job.fmt)
    arguments = [str(encoder)]
    for config in job.config:
        arguments += ["-c", str(config.absolute())]
    arguments += ["-i", str(job.source.absolute()), "-b", str(job.bitstream.absolute()),
                  # HM's files name a reconstruction; an empty name means none.
                  f"--ReconFile={job.recon.absolute() if job.recon else ''}",
                  "-wdt", str(fmt.width), "-hgt", str(fmt.height), "-f", str(job.frames), "-q", str(job.qp),
                  "-fr", str(max(1, round(job.frame_rate))),  # HM takes whole numbers
                  f"--InputBitDepth={fmt.bit_depth}", f"--InternalBitDepth={fmt.bit_depth}",
                  f"--OutputBitDepth={fmt.bit_depth}", f"--InputChromaFormat={fmt.chroma}",
                  f"--ChromaFormatIDC={fmt.chroma}", f"--Profile={_profile(fmt)}",
                  f"--Level={_level(fmt, job.frame_rate)}",
                  "--ConformanceWindowMode=1",  # HM pads to whole minimum CUs and signals the crop
                  "--SEIDecodedPictureHash=1"]  # MD5
    if job.weights:
        arguments += job.idse.arguments(job.weights.absolute())
    return arguments + [f"--{name}={value}" for name, value in job.options.items()]


def encode(job: EncodeJob, tools: Toolchain, stock: bool = False,
           progress: Callable[[PictureLog], None] | None = None) -> EncodeResult:
    """Run HM; the outputs of the job and its log appear when all of it has succeeded.

    A picture of odd size that the chroma format cannot crop to is padded for HM and cut again in the reconstruction
    (frames.coded_format). The bitstream carries the colour description of the format (codecs.colour_signal).

    Parameters
    ----------
    job : EncodeJob
    tools : Toolchain
        Of `toolchain.find("hm")`.
    stock : bool
        Run the unpatched encoder, which knows no weights.
    progress : callable, optional
        Called with each picture as soon as HM has coded it.

    Raises
    ------
    FprdoError
        Bad input; HM fails, codes fewer pictures or writes less than it should; weights that were asked for but not
        used in every mode decision. Then none of the outputs is touched.
    """
    _check(job, stock)
    coded = coded_format(job.fmt)
    with ExitStack() as stack:
        # The bitstream is renamed last: where it stands, the job's other outputs do.
        bitstream = stack.enter_context(replacing(job.bitstream))
        log_file = stack.enter_context(replacing(job.log))
        recon = stack.enter_context(replacing(job.recon)) if job.recon else None
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=job.bitstream.parent, prefix=".fprdo-")))
        run = replace(job, bitstream=bitstream, recon=recon)
        if coded != job.fmt:
            padded = (pad_frame(frame, job.fmt, coded) for frame in read_yuv(job.source, job.fmt, count=job.frames))
            write_yuv(work / "source.yuv", padded, coded)
            run = replace(run, source=work / "source.yuv", fmt=coded, recon=work / "recon.yuv" if recon else None)
        encoder = tools.stock_encoder if stock else tools.encoder
        arguments = command(job, encoder)
        started = time.monotonic()
        status, output = _run(command(run, encoder), work / "errors.txt", progress, planes=len(coded.plane_shapes))
        wall_seconds = time.monotonic() - started
        errors = (work / "errors.txt").read_text(encoding="utf-8", errors="replace")
        if status:
            raise FprdoError(_failure(arguments, status, errors, output))
        log = parse_log(output)
        _verify(job, run, log, arguments)
        if recon and run.recon != recon:
            cropped = (crop_frame(frame, job.fmt) for frame in read_yuv(run.recon, coded))
            write_yuv(recon, cropped, job.fmt)
        signal_colour(bitstream, job.fmt)
        log_file.write_text(f"{shlex.join(arguments)}\n{errors}{output}", encoding="utf-8")
    return EncodeResult(job.bitstream, job.recon, job.log, log, tuple(arguments), Fraction(job.frame_rate),
                        wall_seconds)


def _check(job: EncodeJob, stock: bool) -> None:
    """Refuse what HM would refuse late, silently or with a message about something else."""
    fmt = job.fmt
    if fmt.bit_depth > _MAX_BIT_DEPTH:
        raise FprdoError(f"{job.source}: HM codes up to {_MAX_BIT_DEPTH} bits, not {fmt.bit_depth}; reduce the depth")
    lowest = -6 * (fmt.bit_depth - 8)  # -QpBdOffsetY, H.265 clause 7.4.3.2.1
    if not lowest <= job.qp <= 51:
        raise FprdoError(f"QP {job.qp}: use {lowest} to 51 for {fmt.bit_depth} bits")
    for name in job.options:
        if not re.fullmatch(r"[A-Za-z]\w*", name):
            raise FprdoError(f"encoder option {name!r}: give its name only, like SAO")
    if not job.config:
        raise FprdoError(f"{job.bitstream}: no encoder configuration file given; name one")
    if stock and job.weights:
        raise FprdoError(f"{job.weights}: the stock encoder takes no weights; use the patched one")
    for path in (*job.config, *([job.weights] if job.weights else [])):
        if not path.is_file():
            raise FprdoError(f"{path}: no such file; check the name")
    available = count_frames(job.source, fmt)
    if available < job.frames:
        raise FprdoError(f"{job.source}: has {available} frames, {job.frames} asked for")
    outputs = [path.absolute() for path in (job.bitstream, job.log, job.recon) if path]
    inputs = [path.absolute() for path in (job.source, job.weights, *job.config) if path]
    for index, path in enumerate(outputs):
        if path in inputs or path in outputs[:index]:
            raise FprdoError(f"{path}: is written and used otherwise in one encode; give another name")
        if path.is_dir():
            raise FprdoError(f"{path}: is a folder; give a file name")


def _run(arguments: list[str], errors: Path, progress: Callable[[PictureLog], None] | None,
         planes: int) -> tuple[int, str]:
    """Run a program to its end; returns its exit status and standard output, its standard error goes to a file.

    Two streams, as HM flushes its standard output late and an error message would get lost amid its banner.
    """
    lines = []
    with open(errors, "wb") as error_file:
        try:
            process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=error_file,
                                       encoding="utf-8", errors="replace")
        except OSError as error:
            raise FprdoError(f"{arguments[0]}: cannot be run ({error.strerror}); run python3 build.py hm") from error
        try:
            for line in process.stdout:
                lines.append(line)
                picture = parse_picture(line, planes) if progress else None
                if picture:
                    progress(picture)
            status = process.wait()
        except BaseException:  # a keyboard interrupt above all
            process.kill()
            process.wait()
            raise
        finally:
            process.stdout.close()
    return status, "".join(lines)


def _failure(arguments: list[str], status: int, errors: str, output: str) -> str:
    """One line that says why HM stopped."""
    ours = re.search(r"^IDSE: error: (.*)$", errors, re.MULTILINE)
    if ours:
        return ours[1].strip()
    how = f"exit status {status}"
    if status < 0:
        names = {number.value: number.name for number in signal.Signals}
        how = f"killed by {names.get(-status, f'signal {-status}')}"
    said = [line.strip() for line in (errors + "\n" + output).splitlines() if line.strip()]
    complaints = [line for line in said if re.search(r"error|fail|assert", line, re.IGNORECASE)]
    reason = "; ".join(complaints[:3] or said[-3:]) or "no message"
    return f"HM failed, {how}: {reason} (command: {shlex.join(arguments)})"


def _verify(job: EncodeJob, run: EncodeJob, log: EncodeLog, arguments: list[str]) -> None:
    """HM ends with status 0 even if it could not open its input or the disk is full, so look at what it left."""
    ran = f"(command: {shlex.join(arguments)})"
    if len(log.pictures) != job.frames or log.bytes_written is None:
        raise FprdoError(f"{job.source}: HM coded {len(log.pictures)} of {job.frames} pictures {ran}")
    sizes = [(job.bitstream, run.bitstream, log.bytes_written)]
    if run.recon:
        sizes.append((job.recon, run.recon, job.frames * run.fmt.frame_bytes))
    for name, path, expected in sizes:
        size = path.stat().st_size if path.exists() else 0
        if size != expected:
            raise FprdoError(f"{name}: HM wrote {size} of {expected} bytes; check that the disk has room {ran}")
    if not job.weights:
        return
    if log.idse is None:
        raise FprdoError(f"{job.weights}: the encoder did not report its use of the weights, so it is not the patched "
                         f"one: run python3 build.py hm {ran}")
    if log.idse.unweighted or log.idse.pictures != job.frames:
        raise FprdoError(f"{job.weights}: {log.idse.unweighted} distortions were computed without weights and "
                         f"{log.idse.pictures} of {job.frames} pictures with; this is a bug of the patches {ran}")
