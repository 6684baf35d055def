"""x265's command lines."""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from fprdo_bridge.bitstream.nal_units import Standard, hevc_pictures
from fprdo_bridge.encoders.job import EncodeJob
from fprdo_bridge.encoders.log import EncodeLog, PictureLog
from fprdo_bridge.encoders.x26x import COLOUR, Default, X26xCodec
from fprdo_bridge.encoders.x265 import log
from fprdo_bridge.encoders.x265.options import INPUT_FILES, NO_LIST, OPTIONS, RULES
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.video.formats import coded_format

# Decisions by error alone, which is what the weights stand for, and one thread, since the number of threads is part of
# what x265 decides.
_DEFAULTS = (
    Default("psy-rd", "0", frozenset({"psy-rd", "no-psy-rd", "tune"})),
    Default("psy-rdoq", "0", frozenset({"psy-rdoq", "no-psy-rdoq", "tune"})),
    Default("aq-mode", "0", frozenset({"aq-mode", "aq-strength", "hevc-aq", "tune"})),
    Default("pools", "none", frozenset({"pools", "numa-pools", "frame-threads"})),
    Default("frame-threads", "1", frozenset({"pools", "numa-pools", "frame-threads"})),
)
_CTUS = (64, 32, 16)
_DEEP = "x265-10bit"  # the program for 10 bits, beside that for 8


class _X265(X26xCodec):
    name = "x265"
    title = "x265"
    standard = Standard.HEVC
    max_bit_depth = 10
    chroma_qp_options = ("cbqpoffs", "crqpoffs")
    own_defaults: ClassVar[Mapping[str, str]] = {"psy-rd": "2.0", "psy-rdoq": "1.0", "aq-mode": "2"}
    seconds_per_megasample = 3.0
    bytes_per_sample = 80
    rules = RULES
    input_files = INPUT_FILES
    long_options = OPTIONS
    first_pass = "first-pass.265"

    def check(self, job: EncodeJob) -> None:
        if job.fmt.bit_depth not in (8, 10):
            raise FprdoError(f"{job.title}: x265 codes 8 and 10 bits, not {job.fmt.bit_depth}; convert it")
        if min(coded_format(job.fmt).width, coded_format(job.fmt).height) < _CTUS[-1]:
            raise FprdoError(
                f"{job.title}: x265 codes pictures from 16x16 on, not {job.fmt.width}x{job.fmt.height}; pad it"
            )
        if job.rate.kind != "abr" and job.rate.value < 0:
            raise FprdoError(f"{job.rate}: use 0 to 51 with x265, whatever the bit depth")
        for setting in self.settings(job):
            if setting.name not in OPTIONS.flags | OPTIONS.with_value:
                raise setting.refused("is no option of x265; write the whole name, as x265 --fullhelp has it")
        self.command(job, Path(self.name))

    def defaults(self, job: EncodeJob) -> tuple[Default, ...]:
        """A picture has to have the size of a CTU, 64x64 by default."""
        fmt = coded_format(job.fmt)
        fitting = [size for size in _CTUS if size <= min(fmt.width, fmt.height)][:1]
        smaller = [Default("ctu", str(size), frozenset({"ctu"})) for size in fitting if size < _CTUS[0]]
        return (*_DEFAULTS, *smaller)

    def remarks(self, job: EncodeJob) -> list[str]:
        added = [f"--{name} {value}" for name, value in self.missing(job).items()]
        text = f"x265 runs with {', '.join(added)}, with weights and without; give these options to have it otherwise"
        return [text] if added else []

    def whole_paths(self, options: Mapping[str, str]) -> dict[str, str]:
        return {
            name: options[name] if options[name] in NO_LIST else path
            for name, path in super().whole_paths(options).items()
        }

    def command(self, job: EncodeJob, program: Path) -> list[str]:
        """Options of the configuration files come before those of the job. At rate "abr" it is that of the second pass
        without its `--pass` and `--stats`, which belong to the run."""
        fmt = coded_format(job.fmt)
        primaries, transfer, matrix = COLOUR[fmt.matrix]
        given = {
            "input-res": f"{fmt.width}x{fmt.height}",
            "input-csp": f"i{fmt.chroma}",
            "input-depth": str(fmt.bit_depth),
            "output-depth": str(fmt.bit_depth),
            "range": "full" if fmt.full_range else "limited",
            "fps": f"{job.frame_rate.numerator}/{job.frame_rate.denominator}",
            "frames": str(job.frames),
            "colorprim": primaries,
            "transfer": transfer,
            "colormatrix": matrix,
            "csv": "/dev/stdout",
            "csv-log-level": "1",
            "no-progress": "",
            "repeat-headers": "",  # so that parameter sets count in its log, as they do in the others'
            "no-info": "",  # but not its list of options before each of them
        }
        if fmt.aspect:
            given["sar"] = f"{fmt.aspect[0]}:{fmt.aspect[1]}"
        if fmt.chroma == "420":
            given["chromaloc"] = str(fmt.chroma_sample_loc_type)
        unit = 32 if any(setting.name == "min-cu-size" for setting in self.settings(job)) else 8
        if fmt.chroma != "400" and fmt.width % unit == fmt.height % unit == 0:  # it would count its own padding
            given["psnr"] = ""
        arguments = self.long_options.arguments
        if fmt.bit_depth > 8:
            program = program.with_name(_DEEP)
        words = [str(program), *arguments(given), *arguments(self.missing(job)), *_rate(job)]
        words += [*self.weight_words(job), *self.words_of(job)]
        if job.recon:
            words += ["--recon", str(job.recon.absolute())]
        return [*words, "--output", str(job.bitstream.absolute()), "--input", str(job.source.absolute())]

    def parse_log(self, text: str) -> EncodeLog:
        return log.parse_log(text)

    def parse_picture(self, line: str, planes: int) -> PictureLog | None:
        return log.parse_picture(line, planes)

    def bytes_written(self, bitstream: Path, job: EncodeJob, log: EncodeLog) -> int | None:
        """x265 does not tell the size of its file: it is whole if all pictures are there and the last one is."""
        if log.bytes_written is None or not bitstream.is_file():
            return log.bytes_written
        size, pictures = bitstream.stat().st_size, hevc_pictures(bitstream.read_bytes())
        if len(pictures) < len(log.pictures):
            return max(size + 1, log.bytes_written)
        last = pictures[-1]
        missing = log.pictures[-1].bits // 8 - last.units
        # It counts parameter sets where it repeats them, which a single picture makes it do, and a byte of them twice.
        whole = missing <= 1 or abs(missing - last.parameter_sets) <= 1
        return size if whole else size + missing


def _rate(job: EncodeJob) -> list[str]:
    name = "bitrate" if job.rate.kind == "abr" else job.rate.kind
    return [f"--{name}", str(job.rate.value)]


X265 = _X265()
