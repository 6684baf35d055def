"""What x264 and x265 have in common: options in the manner of getopt_long, what is given by itself, two passes."""

import re
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from fprdo_bridge.encoders.codec import Codec
from fprdo_bridge.encoders.job import EncodeJob
from fprdo_bridge.encoders.structures import own_config
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.settings import IdseOptions
from fprdo_bridge.toolchain import Toolchain
from fprdo_bridge.video.formats import VideoFormat

# --colorprim, --transfer, --colormatrix of each Recommendation (H.264 tables E-3 to E-5).
COLOUR = {
    "bt601": ("smpte170m", "smpte170m", "smpte170m"),
    "bt709": ("bt709", "bt709", "bt709"),
    "bt2020": ("bt2020", "bt2020-10", "bt2020nc"),
}


_AUTO_VARIANCE = 2  # aq-mode


@dataclass(frozen=True)
class LongOptions:
    """All options of a program that reads them with getopt_long: those without a value, and those with one."""

    flags: frozenset[str]
    with_value: frozenset[str]

    def arguments(self, options: Mapping[str, str]) -> list[str]:
        """Words of the command line, by full names. A flag has the value "" or 1; with 0 it is left out.

        Raises
        ------
        FprdoError
            A flag has another value, which the program would take for a file; an option has none.
        """
        words: list[str] = []
        for name, value in options.items():
            if name in self.flags:
                if value not in ("", "0", "1"):
                    raise FprdoError(
                        f"encoder option {name}={value}: {name} takes no value; give {name}= or {name}=1, or "
                        f"{name}=0 to leave it out"
                    )
                words += [f"--{name}"] * (value != "0")
            elif name in self.with_value and not value:
                raise FprdoError(f"encoder option {name}: give a value, like {name}=VALUE")
            else:
                words += [f"--{name}", value] if value else [f"--{name}"]
        return words


@dataclass(frozen=True)
class Default:
    """An option that is given unless the user gives one of `unless`."""

    name: str
    value: str
    unless: frozenset[str]


class X26xCodec(Codec):
    """x264 or x265.

    Attributes
    ----------
    long_options : all of its own and ours
    first_pass : name of the first pass's bitstream
    """

    rates = ("qp", "crf", "abr")
    intra_period_option = "keyint"
    adaptive_at_constant_qp = False
    long_options: LongOptions
    first_pass: str

    @abstractmethod
    def defaults(self, job: EncodeJob) -> tuple[Default, ...]:
        """What it is given by itself."""

    def config_for(self, kind: str, fmt: VideoFormat, tools: Toolchain) -> Path:
        """cfg/NAME/KIND.cfg, which serves every format."""
        return own_config(self.name, kind)

    def parse_config(self, text: str, path: Path) -> list[tuple[str, str]]:
        """A line is `name = value`, or `name` alone; # begins a comment."""
        settings = []
        for number, line in enumerate(text.splitlines(), 1):
            name, _, value = (part.strip() for part in line.partition("#")[0].partition("="))
            if name and not re.fullmatch(r"[a-z0-9][\w-]*", name):
                raise FprdoError(
                    f"{path}, line {number}: {name!r} is no option of {self.title}; write it like keyint = 1 or a bare "
                    "name"
                )
            if name:
                settings.append((name, value))
        return settings

    def missing(self, job: EncodeJob) -> dict[str, str]:
        """Those of its defaults that the job's own options leave in force."""
        given = {setting.name for setting in self.settings(job)}
        return {default.name: default.value for default in self.defaults(job) if not default.unless & given}

    def deblocking(self, offset: int) -> Mapping[str, str]:
        return {"deblock": f"{offset}:{offset}"}

    def adaptive_qp(self, mode: int) -> Mapping[str, str]:
        return {"aq-mode": str(mode)}

    def weighted_options(self, idse: IdseOptions) -> Mapping[str, str]:
        own = {**self.adaptive_qp(_AUTO_VARIANCE), "aq-strength": f"{idse.aq_strength:g}"} if idse.aq_strength else {}
        return {**super().weighted_options(idse), **own}

    def words_of(self, job: EncodeJob) -> list[str]:
        """Words of the job's configuration files and options; those of the job come last."""
        settings = {setting.name: setting.value for setting in self.settings(job)} | self.whole_paths(
            {setting.name: setting.value for setting in self.settings(job) if setting.config is None}
        )
        return self.long_options.arguments(settings)

    def weight_words(self, job: EncodeJob) -> list[str]:
        """Words of the weight file and its settings; none without weights."""
        given = job.idse.options(self.name, job.weight_file.absolute()) if job.weight_file else []
        return [word for name, value in given for word in (f"--{name}", value)]

    def commands_in(self, folder: Path, job: EncodeJob, program: Path) -> list[list[str]]:
        """Two passes for an average bit rate, both with the weights: the tree's QP offsets, which the second pass
        takes from the first, hold the map's."""
        if job.rate.kind != "abr":
            return [self.command(job, program)]
        stats = ["--stats", str(folder / f"{self.name}.stats")]
        first = replace(job, recon=None, bitstream=folder / self.first_pass)
        return [
            [*self.command(first, program), "--pass", "1", *stats],
            [*self.command(job, program), "--pass", "2", *stats],
        ]
