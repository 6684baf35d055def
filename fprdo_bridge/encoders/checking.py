"""Refuses jobs that an encoder would refuse late, silently or with a message about something else."""

import re
from pathlib import Path

from fprdo_bridge.bitstream.container import check_suffix
from fprdo_bridge.encoders.codec import Codec
from fprdo_bridge.encoders.job import EncodeJob
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.files import same_file
from fprdo_bridge.video.output import check_output
from fprdo_bridge.video.raw import count_frames

LOG_MARK = "# fprdo "  # how our logs begin


def check(codec: Codec, job: EncodeJob, stock: bool = False) -> None:
    """Look at a job before it runs, and before weights are computed for it.

    Raises
    ------
    FprdoError
        Bad input; `running.encode` says the same. Whether the encoder knows the job's options is not looked at.
    """
    if stock and job.weights:
        raise FprdoError(f"{job.weights}: the stock encoder takes no weights; use the patched one")
    if job.weight_file:
        check_file(job.weight_file)
    check_settings(codec, job)
    available = count_frames(job.source, job.fmt)
    if available < job.frames:
        raise FprdoError(f"{job.title}: has {available} frames, {job.frames} asked for")
    check_suffix(job.bitstream, codec.standard, codec.decoded_format(job))
    if job.recon:
        check_output(job.recon, job.frames, codec.decoded_format(job))
    _check_outputs(job)


def check_settings(codec: Codec, job: EncodeJob) -> None:
    """What `check` looks at but for the files of samples, weights and results; raises as it does."""
    fmt = job.fmt
    if fmt.bit_depth > codec.max_bit_depth:
        raise FprdoError(
            f"{job.title}: {codec.title} codes up to {codec.max_bit_depth} bits, not {fmt.bit_depth}; reduce the depth"
        )
    for name in job.options:
        if not re.fullmatch(r"[A-Za-z0-9][\w-]*", codec.full_name(name), re.ASCII):
            raise FprdoError(f"encoder option {name!r}: give its name only, like SAO")
    if not job.config:
        raise FprdoError(f"{job.bitstream}: no encoder configuration file given; name one")
    for path in job.config:
        check_file(path)
    codec.check_options(job)
    codec.check(job)
    _check_rate(codec, job)


def check_file(path: Path) -> None:
    """FprdoError unless `path` is a regular file."""
    if not path.is_file():
        raise FprdoError(f"{path}: {'is no regular file' if path.exists() else 'no such file'}; check the name")


def _check_rate(codec: Codec, job: EncodeJob) -> None:
    rate = job.rate
    if rate.kind not in codec.rates:
        raise FprdoError(f"rate control {rate.kind!r}: {codec.title} has {', '.join(codec.rates)} here")
    depth = codec.coded_bit_depth(job)
    lowest = -6 * (depth - 8)  # -QpBdOffsetY, H.265 clause 7.4.3.2.1 and H.264 clause 7.4.2.1.1
    if rate.kind == "abr" and rate.value < 1:
        raise FprdoError(f"bit rate {rate.value}: use 1 kbit/s or more")
    if rate.kind != "abr" and not lowest <= rate.value <= 51:
        raise FprdoError(f"{rate}: use {lowest} to 51 for {depth} bits")


def _check_outputs(job: EncodeJob) -> None:
    outputs = [path for path in (job.bitstream, job.log, job.recon) if path]
    inputs = [path for path in (job.source, job.weight_file, *job.config) if path]
    for index, path in enumerate(outputs):
        if any(same_file(path, other) for other in inputs + outputs[:index]):
            raise FprdoError(f"{path}: is written and used otherwise in one encode; give another name")
        if path.is_dir():
            raise FprdoError(f"{path}: is a folder; give a file name")
    if job.log and job.log.is_file() and not _is_log(job.log):
        raise FprdoError(
            f"{job.log}: the encoder's log would go there, and this file is none; move it or give the "
            "bitstream another name"
        )


def _is_log(path: Path) -> bool:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read(len(LOG_MARK)) == LOG_MARK
