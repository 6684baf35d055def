"""What the package knows of an encoder: all that a new encoder has to bring (docs/porting.md)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from fprdo_bridge import toolchain
from fprdo_bridge.bitstream.nal_units import Standard
from fprdo_bridge.encoders.job import EncodeJob, IdseOptions
from fprdo_bridge.encoders.log import DecoderLog, EncodeLog, PictureLog
from fprdo_bridge.encoders.options import InputFile, Rule, Setting, check_files, check_settings
from fprdo_bridge.encoders.structures import KINDS, config_text
from fprdo_bridge.files import regular_file
from fprdo_bridge.toolchain import Toolchain
from fprdo_bridge.video.formats import VideoFormat, coded_format


class OwnDecoder(ABC):
    """The decoder that comes with an encoder. It runs in a folder of its own."""

    BITSTREAM = "bitstream"  # what it reads there, and
    DECODED = "decoded.yuv"  # what it writes

    @abstractmethod
    def command(self, program: Path) -> list[str]:
        """The command line that decodes BITSTREAM into DECODED at the bit depth of the bitstream."""

    @abstractmethod
    def parse_log(self, output: str, errors: str) -> DecoderLog:
        """Read what it printed on standard output and standard error."""


class Codec(ABC):
    """An encoder: command line, configuration, log, and what it adds to a job or refuses of it.

    Attributes
    ----------
    name : what the command line and build.py call it
    title : what messages call it
    standard : of its bitstreams
    max_bit_depth : largest depth that it codes
    rates : what it knows of Rate.kind
    transform_sizes : N of its NxN transforms, for which it asks a map's shapes
    in_process : whether it is built as a library too, which a provider of weights needs
    logs_on_stderr : its standard error is what `parse_log` reads, not its standard output
    decoder : its own decoder; None if it brings none
    intra_period_option : its option for the number of pictures from one intra picture to the next
    own_defaults : options that undo what this package gives an encoder by itself
    chroma_qp_options : its options that add an offset to the QP of Cb and Cr
    adaptive_at_constant_qp : whether its adaptive quantisation acts at Rate.kind "qp"
    seconds_per_megasample : rough time of one core for a million luma samples, for plans
    bytes_per_sample : rough memory for a luma sample of a picture, for plans
    rules : options that are refused
    input_files : options that name files for reading
    local_weights : what `commands_in` calls the weight file; "" if it is its own name
    """

    name: str
    title: str
    standard: Standard
    max_bit_depth: int
    rates: tuple[str, ...] = ("qp",)
    transform_sizes: tuple[int, ...] = (4, 8, 16, 32)
    in_process: bool = False
    logs_on_stderr: bool = False
    decoder: OwnDecoder | None = None
    intra_period_option: str
    own_defaults: ClassVar[Mapping[str, str]] = {}
    chroma_qp_options: tuple[str, ...]
    adaptive_at_constant_qp: bool = True
    seconds_per_megasample: float = 10.0
    bytes_per_sample: int = 100
    rules: tuple[Rule, ...] = ()
    input_files: tuple[InputFile, ...] = ()
    local_weights: str = ""

    # ---- what every encoder brings -----------------------------------------------------------------------------------

    @abstractmethod
    def config_for(self, kind: str, fmt: VideoFormat, tools: Toolchain) -> Path:
        """The configuration file for a coding structure (structures.KINDS) and a format.

        Raises
        ------
        FprdoError
            Unknown kind, or the file is missing.
        """

    @abstractmethod
    def parse_config(self, text: str, path: Path) -> list[tuple[str, str]]:
        """Names and values in a configuration file, in its order; FprdoError if a line cannot be understood."""

    @abstractmethod
    def command(self, job: EncodeJob, program: Path) -> list[str]:
        """The command line that codes `job`, its source being of format `coded_format(job.fmt)`.

        Options of the weights stand in it only if the job has weights, so that the stock encoder understands it
        otherwise. The options of the job come last.
        """

    @abstractmethod
    def parse_log(self, text: str) -> EncodeLog:
        """Read the output of a run; a run that stopped early gives the pictures that it coded.

        Raises
        ------
        FprdoError
            The IDSE summary is damaged.
        """

    @abstractmethod
    def parse_picture(self, line: str, planes: int) -> PictureLog | None:
        """The picture of one line of output, None if the line is about something else; `planes` is 1 or 3."""

    # ---- what an encoder may bring -----------------------------------------------------------------------------------

    def full_name(self, option: str) -> str:
        """The name of an option for one of its short names, abbreviations or spellings; an unknown one as it is."""
        return option

    def check(self, job: EncodeJob) -> None:  # noqa: B027, few have something
        """Refuse jobs that this encoder cannot do; FprdoError."""

    def commands_in(self, folder: Path, job: EncodeJob, program: Path) -> list[list[str]]:
        """The command lines of a run in `folder`, which is there for it alone; the last one's log counts."""
        return [self.command(job, program)]

    def coded_bit_depth(self, job: EncodeJob) -> int:
        """The bit depth of the bitstream, and so of the reconstruction; FprdoError if the job asks for one that is
        refused."""
        return job.fmt.bit_depth

    def quantisation_groups(self) -> Mapping[str, str]:
        """Options of its own that the QP map needs."""
        return {}

    def deblocking(self, offset: int) -> Mapping[str, str]:
        """Options of its own that give both thresholds of its deblocking filter an offset, -6 to 6 as in the syntax.
        None of them: it has none."""
        return {}

    def adaptive_qp(self, mode: int) -> Mapping[str, str]:
        """Options that switch its own perceptual quantisation on; `mode` is one of its own. None of them: it has
        none."""
        return {}

    def remarks(self, job: EncodeJob) -> list[str]:
        """Lines for the user about what this module adds to an encode by itself."""
        return []

    def bytes_written(self, bitstream: Path, job: EncodeJob, log: EncodeLog) -> int | None:
        """The size that a finished run's bitstream must have; None if the run did not finish."""
        return log.bytes_written

    def finish(self, bitstream: Path, job: EncodeJob, log: EncodeLog) -> EncodeLog:
        """What is left to do with the bitstream of a run; returns the run's log as it is to be reported."""
        return log

    # ---- what follows ------------------------------------------------------------------------------------------------

    def weighted_options(self, idse: IdseOptions) -> Mapping[str, str]:
        """Options of its own that weighted encodes get; the user's win over them."""
        chroma = dict.fromkeys(self.chroma_qp_options, str(idse.chroma_qp_offset)) if idse.chroma_qp_offset else {}
        deblocking = self.deblocking(idse.deblock_offset) if idse.deblock_offset else {}
        return {**(self.quantisation_groups() if idse.qp_map else {}), **chroma, **deblocking}

    def shapes_wanted(self, idse: IdseOptions) -> tuple[int, ...]:
        """N of the NxN shapes that it will ask of a map."""
        return self.transform_sizes if idse.rdoq == 2 else ()

    def tools(self) -> Toolchain:
        """Its programs; FprdoError if they are not built."""
        return toolchain.find(self.name, self.title)

    def config(self, name: str | Path, fmt: VideoFormat, tools: Toolchain) -> Path:
        """The configuration that a user names: the word for a coding structure means that structure, everything else a
        file, so ./intra is a file of that name."""
        return self.config_for(name, fmt, tools) if isinstance(name, str) and name in KINDS else Path(name)

    def predicts(self, config: str | Path, options: Mapping[str, str]) -> bool:
        """Whether pictures are predicted from others, under a configuration as `config` takes it and options over it.

        Raises
        ------
        FprdoError
            The file cannot be read.
        """
        word = isinstance(config, str) and config in KINDS
        found = not word or config != KINDS[0]
        path = None if word else regular_file(config, "no such file")
        lines = self.parse_config(config_text(path), path) if path else []
        for name, value in (*lines, *options.items()):
            if self.full_name(name) == self.full_name(self.intra_period_option):
                found = str(value).strip() != "1"
        return found

    def decoded_format(self, job: EncodeJob) -> VideoFormat:
        """The format of the reconstruction and of what a decoder gives: the visible size at the coded bit depth."""
        return replace(job.fmt, bit_depth=self.coded_bit_depth(job))

    def bitstream_format(self, job: EncodeJob) -> VideoFormat:
        """The format that the bitstream declares: sides rounded up to what the chroma format can crop."""
        return coded_format(self.decoded_format(job))

    def settings(self, job: EncodeJob) -> list[Setting]:
        """All settings of the job's configuration files and options, in the order in which they apply."""
        found = [
            Setting(self.full_name(name), value, path, name)
            for path in job.config
            for name, value in self.parse_config(config_text(path), path)
        ]
        return found + [Setting(self.full_name(name), value, given=name) for name, value in job.options.items()]

    def check_options(self, job: EncodeJob) -> None:
        """Refuse options that the job's other fields decide, or that would give other pictures, sizes, depths or
        files than the job says.

        Raises
        ------
        FprdoError
            Names the option and what to use instead.
        """
        settings = {setting.name: setting for setting in self.settings(job)}  # the last one of a name counts
        check_settings(settings.values(), self.rules)
        check_files(settings, self.input_files)

    def whole_paths(self, options: Mapping[str, str]) -> dict[str, str]:
        """The options with their input files named from the root on: the encoder runs in another folder."""
        files = {file.name for file in self.input_files}
        return {
            name: str(Path(value).absolute()) if value and self.full_name(name) in files else value
            for name, value in options.items()
        }
