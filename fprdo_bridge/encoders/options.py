"""Which of an encoder's own options a user may give, by --option or in a configuration file.

An option that would change number, order, size, depth or file of the pictures behind the back of the command would make
its weights, its PSNR or its checks those of other pictures. Each encoder lists them, as data; all others pass.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fprdo_bridge.errors import FprdoError

# Reasons that several encoders have.
FILES = "names a file of the run, and the command does: SOURCE, -o and --recon"
MORE_FILES = "would write a file of its own, which the command does not hand over"
PICTURES = "would code other pictures than the weights and the PSNR are of; use --skip N and --frames N"
SUBSAMPLING = "would leave out pictures that the weights and the PSNR count; give a source without them"
FIELDS = "would code fields, and the weights and the PSNR are of frames"
RATE = "is what -q and --rate-control say"
FRAME_RATE = "is what --frame-rate, or else the source, says"
SIZE = "is what the source, or --size for a .yuv file, says"
CROP = "would show another part of the picture than the source; crop the source instead"
SOURCE_DEPTH = "is what the source, or --bit-depth, says"
CHROMA = "is what the source, or --chroma, says"
COLOUR = "is what --matrix, --range and --siting, or else the source, say"
ASPECT = "is what the source says"
SAMPLES = "would change the samples before they are coded; change the source instead"
LOG = "would change the log, which the command reads"
WEIGHTS = "is what --weights, --tau, --power, --clip, --rdoq, --qp-map, --qp-map-clip, --sao and --decisions say"


@dataclass(frozen=True)
class Setting:
    """An option with its value, as a user gave it.

    Attributes
    ----------
    name : its full name, as the encoder's documentation has it
    value : text
    config : the configuration file that it stands in; None for an option of the command line
    given : its name as the user wrote it; empty: the full one
    """

    name: str
    value: str
    config: Path | None = None
    given: str = ""

    def refused(self, reason: str) -> FprdoError:
        """The error that refuses it; `reason` ends a sentence that begins with the setting."""
        where = self.config or f"encoder option {self.given or self.name}"
        return FprdoError(f"{where}: {self.name}={self.value} {reason}")


@dataclass(frozen=True)
class Rule:
    """Options that are refused.

    Attributes
    ----------
    names : full names, with blanks between them
    reason : what they would do and what to use instead; it ends a sentence that begins with the option
    harmless : values at which they do nothing
    ours : the command sets them in any case, after the configuration files, which therefore may hold them
    """

    names: str
    reason: str
    harmless: tuple[str, ...] = ()
    ours: bool = False


@dataclass(frozen=True)
class InputFile:
    """An option that names a file for reading.

    Attributes
    ----------
    name : of the option
    switch : option that says whether the file is read; empty: it always is
    off : values of the switch at which it is not
    whole : whether it is the file's name; otherwise the beginning of several names
    """

    name: str
    switch: str = ""
    off: tuple[str, ...] = ("0", "")
    whole: bool = True


def check_settings(settings: Iterable[Setting], rules: Iterable[Rule]) -> None:
    """Refuse what the rules refuse. Of each option only the setting that counts may be among the settings.

    Raises
    ------
    FprdoError
        Names the option, its value and what to use instead.
    """
    refused = {name: rule for rule in rules for name in rule.names.split()}
    for setting in settings:
        rule = refused.get(setting.name)
        if (
            rule is None
            or rule.ours
            and setting.config
            or any(same_value(setting.value, value) for value in rule.harmless)
        ):
            continue
        raise setting.refused(rule.reason)


def check_files(settings: Mapping[str, Setting], files: Iterable[InputFile]) -> None:
    """Encoders go on without a file that they do not find, and run in a folder of their own, where a relative name in a
    configuration file leads elsewhere.

    Parameters
    ----------
    settings : by name, those that count

    Raises
    ------
    FprdoError
        A file is not there, or a configuration file names one by a relative path.
    """
    for file in files:
        setting, switch = settings.get(file.name), settings.get(file.switch)
        if setting is None or not setting.value or file.switch and (switch is None or switch.value in file.off):
            continue
        if setting.config and not Path(setting.value).is_absolute():
            raise setting.refused("names a file; give its whole path, as the encoder runs in another folder")
        if file.whole and not Path(setting.value).is_file():
            raise setting.refused("names no file that is there; check the name")


def same_value(one: str, other: str) -> bool:
    """Whether two texts are equal, or the same number."""
    try:
        return one == other or float(one) == float(other)
    except ValueError:
        return False
