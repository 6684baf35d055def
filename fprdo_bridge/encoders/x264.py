"""x264, the AVC encoder: command line, run, results."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from fprdo_bridge.encoders import running
from fprdo_bridge.bitstream.nal_units import sei_bits
from fprdo_bridge.encoders.structures import KINDS, own_config
from fprdo_bridge.encoders.log import EncodeLog, IdseSummary, PictureLog
from fprdo_bridge.encoders.job import EncodeJob, IdseOptions
from fprdo_bridge.encoders.running import Encoder, EncodeResult
from fprdo_bridge.encoders.x264_log import parse_log, parse_picture
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.video.formats import VideoFormat, coded_format
from fprdo_bridge.toolchain import Toolchain

__all__ = ["KINDS", "STOCK_DECODERS", "EncodeJob", "EncodeLog", "EncodeResult", "IdseOptions", "IdseSummary",
           "PictureLog", "command", "config_for", "encode", "parse_log", "remarks", "weighted_options"]

STOCK_DECODERS: dict[str, Callable] = {}  # it brings none; libavcodec's is everybody's

# What is given unless the user gives one of the options on the right: decisions by error alone, which is what the weights
# stand for, and one thread, since the number of threads is part of what x264 decides.
_DEFAULTS = (("no-psy", "", {"psy", "no-psy", "psy-rd", "tune"}),
             ("aq-mode", "0", {"aq-mode", "aq-strength", "tune"}),
             ("threads", "1", {"threads"}))

# --colorprim, --transfer, --colormatrix of each Recommendation (H.264 tables E-3 to E-5).
_COLOUR = {"bt601": ("smpte170m", "smpte170m", "smpte170m"), "bt709": ("bt709", "bt709", "bt709"),
           "bt2020": ("bt2020", "bt2020-10", "bt2020nc")}


def config_for(kind: str, fmt: VideoFormat, tools: Toolchain) -> Path:
    """Our list of options for a coding structure, cfg/x264/KIND.cfg; it serves every format.

    Parameters
    ----------
    kind : {"intra", "lowdelay", "randomaccess"}

    Raises
    ------
    FprdoError
        Unknown kind.
    """
    return own_config("x264", kind)


def weighted_options(idse: IdseOptions) -> dict[str, str]:
    """x264's own options that weighted encodes need: none, a macroblock has its own QP in any case."""
    return {}


def remarks(config: Sequence[Path], options: Mapping[str, str]) -> list[str]:
    """What is done that x264 does not do by itself, for the user to know."""
    added = [f"--{name}{value and ' ' + value}" for name, value, _ in _missing(config, options)]
    return [f"x264 runs with {', '.join(added)}, with weights and without; give these options to have it otherwise"] if added else []


def _missing(config: Sequence[Path], options: Mapping[str, str]) -> list[tuple[str, str, set[str]]]:
    given = {name for path in config for name, _ in _read_config(path)} | set(options)
    return [default for default in _DEFAULTS if not default[2] & given]


def _read_config(path: Path) -> list[tuple[str, str]]:
    """Options of a configuration file: a line is `name = value`, `name` or empty; # begins a comment."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise FprdoError(f"{path}: cannot be read ({error}); name an x264 configuration file") from None
    options = []
    for number, line in enumerate(lines, 1):
        name, _, value = (part.strip() for part in line.partition("#")[0].partition("="))
        if name and not re.fullmatch(r"[a-z0-9][\w-]*", name):
            raise FprdoError(f"{path}, line {number}: {name!r} is no option of x264; write it like keyint = 1 or no-mbtree")
        if name:
            options.append((name, value))
    return options


def _rate(job: EncodeJob) -> list[str]:
    if job.rate == "abr":
        return ["--bitrate", str(job.qp)]
    if job.rate == "crf":
        return ["--crf", str(job.qp)]
    return ["--qp", str(job.qp + 6 * (job.fmt.bit_depth - 8))]  # x264 counts from 0 at every depth: QP'Y of the standard


def command(job: EncodeJob, encoder: Path) -> list[str]:
    """The command line that codes `job`, its source being of format `coded_format(job.fmt)`.

    Options of the configuration files come first, those of the job last; an option with an empty value stands for itself.
    IDSE options stand in it only if the job has weights, so the stock encoder understands it otherwise. At rate "abr" it
    is that of the second pass without its `--pass` and `--stats`, which belong to the run.
    """
    fmt = coded_format(job.fmt)
    primaries, transfer, matrix = _COLOUR[fmt.matrix]
    span = "pc" if fmt.full_range else "tv"
    rate = Fraction(job.frame_rate)
    options = [("demuxer", "raw"), ("muxer", "raw"), ("input-res", f"{fmt.width}x{fmt.height}"),
               ("input-csp", f"i{fmt.chroma}"), ("input-depth", str(fmt.bit_depth)), ("input-range", span),
               ("output-csp", f"i{fmt.chroma}"), ("output-depth", str(fmt.bit_depth)), ("range", span),
               ("fps", f"{rate.numerator}/{rate.denominator}"), ("frames", str(job.frames)),
               ("colorprim", primaries), ("transfer", transfer), ("colormatrix", matrix)]
    if fmt.chroma == "420":
        options.append(("chromaloc", str(fmt.chroma_sample_loc_type)))
    options.append(("verbose", ""))
    if fmt.chroma != "400":  # it crashes on the PSNR of 4:0:0, the stock one too
        options.append(("psnr", ""))
    for path in job.config:
        options += _read_config(path)
    options += [(name, value) for name, value, _ in _missing(job.config, job.options)]
    arguments = [str(encoder)]
    for name, value in options:
        arguments += [f"--{name}", value] if value else [f"--{name}"]
    arguments += _rate(job)
    if job.weight_file:
        idse = job.idse
        arguments += ["--idse-weights", str(job.weight_file.absolute()), "--idse-tau", repr(float(idse.tau)),
                      "--idse-power", repr(float(idse.power)), "--idse-clip", repr(float(idse.clip)),
                      "--idse-rdoq", f"{idse.rdoq:d}", "--idse-qp-map", f"{idse.qp_map:d}",
                      "--idse-qp-map-clip", f"{idse.qp_map_clip:d}", "--idse-decisions", f"{idse.decisions:d}"]
    for name, value in job.options.items():
        arguments += [f"--{name}", value] if value else [f"--{name}"]
    if job.recon:
        arguments += ["--dump-yuv", str(job.recon.absolute())]
    return arguments + ["-o", str(job.bitstream.absolute()), str(job.source.absolute())]


def _command_in(folder: Path, job: EncodeJob, encoder: Path) -> list[str]:
    passes = ["--pass", "2", "--stats", str(folder / "x264.stats")] if job.rate == "abr" else []
    return command(job, encoder) + passes


def _first_pass(folder: Path, job: EncodeJob, encoder: Path) -> list[str] | None:
    """With the weights as well: MB-tree's QP offsets, which the second pass takes from the first, hold the map's."""
    if job.rate != "abr":
        return None
    first = replace(job, recon=None, bitstream=folder / "first-pass.264")
    return command(first, encoder) + ["--pass", "1", "--stats", str(folder / "x264.stats")]


def _check(job: EncodeJob) -> None:
    if job.fmt.bit_depth not in (8, 10):
        raise FprdoError(f"{job.title}: x264 codes 8 and 10 bits, not {job.fmt.bit_depth}; convert it")
    for path in job.config:
        _read_config(path)


ENCODER = Encoder("x264", "x264", 10, command, parse_log, parse_picture, command_in=_command_in,
                  first_pass=_first_pass, check=_check, rates=("qp", "crf", "abr"), logs_on_stderr=True,
                  file_options=("output", "dump-yuv", "stats"))


def encode(job: EncodeJob, tools: Toolchain, stock: bool = False,
           progress: Callable[[PictureLog], None] | None = None) -> EncodeResult:
    """Run x264; the outputs of the job and its log appear when all of it has succeeded (encoders.running.encode).

    The bitstream carries the colour description of the format in its VUI. The bits of the result's pictures are without
    SEI messages, among them x264's list of its options, which a small picture would weigh less than.

    Parameters
    ----------
    job : EncodeJob
    tools : Toolchain
        Of `toolchain.find("x264")`.
    stock : bool
        Run the unpatched encoder, which knows no weights.
    progress : callable, optional
        Called with each picture when x264 reports it.

    Raises
    ------
    FprdoError
        Bad input; x264 fails, codes fewer pictures or writes less than it should; weights that were asked for but not
        used in every mode decision. Then none of the outputs is touched.
    """
    result = running.encode(ENCODER, job, tools.stock_encoder if stock else tools.encoder, stock, progress)
    pictures = tuple(replace(picture, bits=picture.bits - bits)
                     for picture, bits in zip(result.log.pictures, sei_bits(result.bitstream), strict=True))
    return replace(result, log=replace(result.log, pictures=pictures))
