"""x264's command lines and configurations."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from fprdo_bridge.bitstream.nal_units import Standard, sei_bits
from fprdo_bridge.encoders.codec import Codec
from fprdo_bridge.encoders.job import EncodeJob
from fprdo_bridge.encoders.log import EncodeLog, PictureLog
from fprdo_bridge.encoders.structures import own_config
from fprdo_bridge.encoders.x264 import log
from fprdo_bridge.encoders.x264.options import INPUT_FILES, RULES, arguments, full_name
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.toolchain import Toolchain
from fprdo_bridge.video.formats import VideoFormat, coded_format

# What is given unless the user gives one of the options on the right: decisions by error alone, which is what the
# weights stand for, and one thread, since the number of threads is part of what x264 decides.
_DEFAULTS = (
    ("no-psy", "", {"psy", "no-psy", "psy-rd", "tune"}),
    ("aq-mode", "0", {"aq-mode", "aq-strength", "tune"}),
    ("threads", "1", {"threads"}),
)
# Where encodes are compared: its assembly decides otherwise than its C, and otherwise from processor to processor.
_PORTABLE = ("cpu-independent", "", {"cpu-independent"})

# --colorprim, --transfer, --colormatrix of each Recommendation (H.264 tables E-3 to E-5).
_COLOUR = {
    "bt601": ("smpte170m", "smpte170m", "smpte170m"),
    "bt709": ("bt709", "bt709", "bt709"),
    "bt2020": ("bt2020", "bt2020-10", "bt2020nc"),
}


class _X264(Codec):
    name = "x264"
    title = "x264"
    standard = Standard.AVC
    max_bit_depth = 10
    rates = ("qp", "crf", "abr")
    logs_on_stderr = True
    intra_period_option = "keyint"
    chroma_qp_options = ("chroma-qp-offset",)
    own_defaults: ClassVar[Mapping[str, str]] = {"psy-rd": "1.0:0.0", "aq-mode": "1"}
    adaptive_at_constant_qp = False
    seconds_per_megasample = 0.8
    bytes_per_sample = 60
    rules = RULES
    input_files = INPUT_FILES

    def config_for(self, kind: str, fmt: VideoFormat, tools: Toolchain) -> Path:
        """cfg/x264/KIND.cfg, which serves every format."""
        return own_config("x264", kind)

    def parse_config(self, text: str, path: Path) -> list[tuple[str, str]]:
        """A line is `name = value`, or `name` alone; # begins a comment."""
        settings = []
        for number, line in enumerate(text.splitlines(), 1):
            name, _, value = (part.strip() for part in line.partition("#")[0].partition("="))
            if name and not re.fullmatch(r"[a-z0-9][\w-]*", name):
                raise FprdoError(
                    f"{path}, line {number}: {name!r} is no option of x264; write it like keyint = 1 or no-mbtree"
                )
            if name:
                settings.append((name, value))
        return settings

    def full_name(self, option: str) -> str:
        return full_name(option)

    def check(self, job: EncodeJob) -> None:
        if job.fmt.bit_depth not in (8, 10):
            raise FprdoError(f"{job.title}: x264 codes 8 and 10 bits, not {job.fmt.bit_depth}; convert it")
        self.command(job, Path(self.name))

    def adaptive_qp(self, mode: int) -> Mapping[str, str]:
        return {"aq-mode": str(mode)}

    def remarks(self, job: EncodeJob) -> list[str]:
        added = [f"--{name}{value and ' ' + value}" for name, value in self._missing(job)]
        return (
            [
                f"x264 runs with {', '.join(added)}, with weights and without; give these options to have it otherwise"
                + (" (cpu-independent=0)" if job.portable and "--cpu-independent" in added else "")
            ]
            if added
            else []
        )

    def _missing(self, job: EncodeJob) -> list[tuple[str, str]]:
        given = {setting.name for setting in self.settings(job)}
        defaults = (*_DEFAULTS, _PORTABLE) if job.portable else _DEFAULTS
        return [(name, value) for name, value, others in defaults if not others & given]

    def command(self, job: EncodeJob, program: Path) -> list[str]:
        """Options of the configuration files come before those of the job. At rate "abr" it is that of the second pass
        without its `--pass` and `--stats`, which belong to the run."""
        fmt = coded_format(job.fmt)
        primaries, transfer, matrix = _COLOUR[fmt.matrix]
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
        settings = {setting.name: setting.value for setting in self.settings(job)} | self.whole_paths(
            {setting.name: setting.value for setting in self.settings(job) if setting.config is None}
        )
        words = [str(program), *arguments(given), *arguments(dict(self._missing(job))), *_rate(job)]
        if job.weight_file:
            for name, value in job.idse.options(self.name, job.weight_file.absolute()):
                words += [f"--{name}", value]
        words += arguments(settings)
        if job.recon:
            words += ["--dump-yuv", str(job.recon.absolute())]
        return words + ["-o", str(job.bitstream.absolute()), str(job.source.absolute())]

    def commands_in(self, folder: Path, job: EncodeJob, program: Path) -> list[list[str]]:
        """Two passes for an average bit rate, both with the weights: MB-tree's QP offsets, which the second pass
        takes from the first, hold the map's."""
        if job.rate.kind != "abr":
            return [self.command(job, program)]
        stats = ["--stats", str(folder / "x264.stats")]
        first = replace(job, recon=None, bitstream=folder / "first-pass.264")
        return [
            [*self.command(first, program), "--pass", "1", *stats],
            [*self.command(job, program), "--pass", "2", *stats],
        ]

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
