"""HM, the HEVC reference encoder: command line, run, results."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

from fprdo_bridge.encoders import running
from fprdo_bridge.bitstream.colour_description import signal_colour
from fprdo_bridge.bitstream.decoders import decode_hm
from fprdo_bridge.encoders.structures import KINDS, check_kind
from fprdo_bridge.encoders.log import EncodeLog, IdseSummary, PictureLog
from fprdo_bridge.encoders.hm_log import parse_log, parse_picture
from fprdo_bridge.encoders.job import EncodeJob, IdseOptions
from fprdo_bridge.encoders.running import Encoder, EncodeResult
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.video.formats import VideoFormat, coded_format
from fprdo_bridge.toolchain import Toolchain

__all__ = ["KINDS", "STOCK_DECODERS", "EncodeJob", "EncodeLog", "EncodeResult", "IdseOptions", "IdseSummary",
           "PictureLog", "command", "config_for", "encode", "parse_log", "weighted_options"]

STOCK_DECODERS = {"HM": decode_hm}

# general_level_idc / 30, MaxLumaPs, MaxLumaSr: H.265 tables A.8 and A.9.
_LEVELS = (("1", 36864, 552960), ("2", 122880, 3686400), ("2.1", 245760, 7372800), ("3", 552960, 16588800),
           ("3.1", 983040, 33177600), ("4", 2228224, 66846720), ("4.1", 2228224, 133693440),
           ("5", 8912896, 267386880), ("5.1", 8912896, 534773760), ("5.2", 8912896, 1069547520),
           ("6", 35651584, 1069547520), ("6.1", 35651584, 2139095040), ("6.2", 35651584, 4278190080))


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
    check_kind(kind)
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
        arguments += job.idse.arguments(job.weight_file.absolute() if job.weight_file else str(job.weights))
    return arguments + [f"--{name}={value}" for name, value in job.options.items()]


# An HM built without RExt__HIGH_BIT_DEPTH_SUPPORT codes up to 12 bits.
ENCODER = Encoder("HM", "hm", 12, command, parse_log, parse_picture, finish=signal_colour,
                  file_options=("InputFile", "BitstreamFile", "ReconFile"))


def encode(job: EncodeJob, tools: Toolchain, stock: bool = False,
           progress: Callable[[PictureLog], None] | None = None) -> EncodeResult:
    """Run HM; the outputs of the job and its log appear when all of it has succeeded (encoders.running.encode).

    The bitstream carries the colour description of the format (encoders.colour_signal).

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
    return running.encode(ENCODER, job, tools.stock_encoder if stock else tools.encoder, stock, progress)
