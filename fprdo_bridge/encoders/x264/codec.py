"""x264's command lines."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from fprdo_bridge.bitstream.nal_units import Standard, sei_bits
from fprdo_bridge.encoders.job import EncodeJob
from fprdo_bridge.encoders.log import EncodeLog, PictureLog
from fprdo_bridge.encoders.x26x import COLOUR, Default, X26xCodec
from fprdo_bridge.encoders.x264 import log
from fprdo_bridge.encoders.x264.options import INPUT_FILES, OPTIONS, RULES, full_name
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.video.formats import coded_format

# Decisions by error alone, which is what the weights stand for, and one thread, since the number of threads is part of
# what x264 decides.
_DEFAULTS = (
    Default("no-psy", "", frozenset({"psy", "no-psy", "psy-rd", "tune"})),
    Default("aq-mode", "0", frozenset({"aq-mode", "aq-strength", "tune"})),
    Default("threads", "1", frozenset({"threads"})),
)
# Where encodes are compared: its assembly decides otherwise than its C, and otherwise from processor to processor.
_PORTABLE = Default("cpu-independent", "", frozenset({"cpu-independent"}))


class _X264(X26xCodec):
    name = "x264"
    title = "x264"
    standard = Standard.AVC
    max_bit_depth = 10
    transform_sizes = (4, 8, 16)  # 16: of the luma DCs of an Intra16x16 macroblock
    logs_on_stderr = True
    chroma_qp_options = ("chroma-qp-offset",)
    own_defaults: ClassVar[Mapping[str, str]] = {"psy-rd": "1.0:0.0", "aq-mode": "1"}
    seconds_per_megasample = 0.8
    bytes_per_sample = 60
    rules = RULES
    input_files = INPUT_FILES
    long_options = OPTIONS
    first_pass = "first-pass.264"

    def full_name(self, option: str) -> str:
        return full_name(option)

    def check(self, job: EncodeJob) -> None:
        if job.fmt.bit_depth not in (8, 10):
            raise FprdoError(f"{job.title}: x264 codes 8 and 10 bits, not {job.fmt.bit_depth}; convert it")
        self.command(job, Path(self.name))

    def defaults(self, job: EncodeJob) -> tuple[Default, ...]:
        return (*_DEFAULTS, _PORTABLE) if job.portable else _DEFAULTS

    def remarks(self, job: EncodeJob) -> list[str]:
        added = [f"--{name}{value and ' ' + value}" for name, value in self.missing(job).items()]
        return (
            [
                f"x264 runs with {', '.join(added)}, with weights and without; give these options to have it otherwise"
                + (" (cpu-independent=0)" if job.portable and "--cpu-independent" in added else "")
            ]
            if added
            else []
        )

    def command(self, job: EncodeJob, program: Path) -> list[str]:
        """Options of the configuration files come before those of the job. At rate "abr" it is that of the second pass
        without its `--pass` and `--stats`, which belong to the run."""
        fmt = coded_format(job.fmt)
        primaries, transfer, matrix = COLOUR[fmt.matrix]
        span = "pc" if fmt.full_range else "tv"
        given = {
            "demuxer": "raw",
            "muxer": "raw",
            "input-res": f"{fmt.width}x{fmt.height}",
            "input-csp": f"i{fmt.chroma}",
            "input-depth": str(fmt.bit_depth),
            "input-range": span,
            "output-csp": f"i{fmt.chroma}",
            "output-depth": str(fmt.bit_depth),
            "range": span,
            "fps": f"{job.frame_rate.numerator}/{job.frame_rate.denominator}",
            "frames": str(job.frames),
            "colorprim": primaries,
            "transfer": transfer,
            "colormatrix": matrix,
        }
        if fmt.aspect:
            given["sar"] = f"{fmt.aspect[0]}:{fmt.aspect[1]}"
        if fmt.chroma == "420":
            given["chromaloc"] = str(fmt.chroma_sample_loc_type)
        given["verbose"] = ""
        if fmt.chroma != "400":  # it crashes on the PSNR of 4:0:0, the stock one too
            given["psnr"] = ""
        arguments = self.long_options.arguments
        words = [str(program), *arguments(given), *arguments(self.missing(job)), *_rate(job)]
        words += [*self.weight_words(job), *self.words_of(job)]
        if job.recon:
            words += ["--dump-yuv", str(job.recon.absolute())]
        return words + ["-o", str(job.bitstream.absolute()), str(job.source.absolute())]

    def parse_log(self, text: str) -> EncodeLog:
        return log.parse_log(text)

    def parse_picture(self, line: str, planes: int) -> PictureLog | None:
        return log.parse_picture(line, planes)

    def finish(self, bitstream: Path, job: EncodeJob, log: EncodeLog) -> EncodeLog:
        """The bits of pictures without SEI messages, among them x264's list of its options, which a small picture would
        weigh less than."""
        waiting = sei_bits(bitstream.read_bytes())
        return replace(
            log,
            pictures=tuple(
                replace(picture, bits=picture.bits - bits) for picture, bits in zip(log.pictures, waiting, strict=True)
            ),
        )


def _rate(job: EncodeJob) -> list[str]:
    kind, value = job.rate.kind, job.rate.value
    if kind == "abr":
        return ["--bitrate", str(value)]
    if kind == "crf":
        return ["--crf", str(value)]
    return ["--qp", str(value + 6 * (job.fmt.bit_depth - 8))]  # x264 counts from 0 at every depth: QP'Y of the standard


X264 = _X264()
