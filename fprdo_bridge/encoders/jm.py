"""JM, the AVC reference encoder: command line, run, results."""

import os
import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

from fprdo_bridge.encoders import running
from fprdo_bridge.bitstream.colour_description import colour_codes
from fprdo_bridge.bitstream.decoders import decode_jm
from fprdo_bridge.encoders.structures import KINDS, own_config
from fprdo_bridge.encoders.log import EncodeLog, IdseSummary, PictureLog
from fprdo_bridge.encoders.jm_log import parse_log, parse_picture
from fprdo_bridge.encoders.job import EncodeJob, IdseOptions
from fprdo_bridge.encoders.running import LOCAL_WEIGHTS, Encoder, EncodeResult
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.video.formats import VideoFormat, coded_format
from fprdo_bridge.toolchain import Toolchain

__all__ = ["KINDS", "STOCK_DECODERS", "EncodeJob", "EncodeLog", "EncodeResult", "IdseOptions", "IdseSummary",
           "PictureLog", "command", "config_for", "encode", "parse_log", "weighted_options"]

STOCK_DECODERS = {"JM": decode_jm}
_SMALLEST = 16  # samples of a side; JM refuses less

# LevelIDC, MaxMBPS, MaxFS, MaxDpbMbs: H.264 table A-1. In the High profiles JM takes 1.1 for 1b, so it is left out.
_LEVELS = ((10, 1485, 99, 396), (12, 6000, 396, 2376), (13, 11880, 396, 2376),
           (21, 19800, 792, 4752), (22, 20250, 1620, 8100), (30, 40500, 1620, 8100), (31, 108000, 3600, 18000),
           (32, 216000, 5120, 20480), (40, 245760, 8192, 32768), (42, 522240, 8704, 34816),
           (50, 589824, 22080, 110400), (51, 983040, 36864, 184320), (52, 2073600, 36864, 184320),
           (60, 4177920, 139264, 696320), (61, 8355840, 139264, 696320), (62, 16711680, 139264, 696320))
_REFERENCES = 4  # frames that the decoded picture buffer of a level must hold, as our configurations need

# What stock JM 19.1 crashes on, and what does instead.
_CRASHES = {("PicInterlace", 2): "PicInterlace=0 or 1, or MbInterlace", ("RDOptimization", 3): "RDOptimization=1"}


def _profile(fmt: VideoFormat) -> int:
    """ProfileIDC of the least High profile that has chroma format and bit depth (H.264 clause A.2)."""
    if fmt.chroma == "444" or fmt.bit_depth > 10:
        return 244
    if fmt.chroma == "422":
        return 122
    return 100 if fmt.bit_depth == 8 else 110


def _level(fmt: VideoFormat, frame_rate: Fraction | int, interlaced: bool) -> int:
    """The lowest level whose picture size, macroblock rate and decoded picture buffer suffice (H.264 clause A.3.1); its
    bit rate is not looked at, as a run at fixed QP does not know its own. Levels 2.1 to 4.1 have interlaced coding."""
    sides = [-(-side // 16) for side in (fmt.width, fmt.height)]
    size = sides[0] * sides[1]
    for level, rate, picture_size, buffer in _LEVELS:
        if (size <= picture_size and size * frame_rate <= rate and max(sides) ** 2 <= 8 * picture_size
                and _REFERENCES * size <= buffer and (21 <= level <= 41 or not interlaced)):
            return level
    raise FprdoError(f"{fmt} at {float(frame_rate):g} pictures per second: above level "
                     f"{'4.1' if interlaced else '6.2'} of AVC; use smaller pictures or another encoder")


def config_for(kind: str, fmt: VideoFormat, tools: Toolchain) -> Path:
    """Our configuration file for a coding structure, cfg/jm/KIND.cfg; it serves every format.

    Parameters
    ----------
    kind : {"intra", "lowdelay", "randomaccess"}

    Raises
    ------
    FprdoError
        Unknown kind.
    """
    return own_config("jm", kind)


def weighted_options(idse: IdseOptions) -> dict[str, str]:
    """JM's own options that weighted encodes need: none, a macroblock has its own QP in any case."""
    return {}


def command(job: EncodeJob, encoder: Path) -> list[str]:
    """The command line that codes `job`, its source being of format `coded_format(job.fmt)`.

    IDSE options stand in it only if the job has weights. `job.qp` is the QP of I slices; P slices have one more and
    B slices two, before what the configuration file adds by layer. JM leaves log.dat, data.txt, stats.dat and
    leakybucketparam.cfg in its working directory.
    """
    return _command(job, encoder, lambda path, name: str(path.absolute()))


def _command(job: EncodeJob, encoder: Path, name: Callable[[Path, str], str]) -> list[str]:
    """`command`, with every file by the name that `name(path, plain)` gives it."""
    fmt = coded_format(job.fmt)
    primaries, transfer, matrix = colour_codes(fmt)
    interlaced = any(_setting(job, option) not in (None, "0") for option in ("PicInterlace", "MbInterlace"))
    settings = {
        "InputFile": name(job.source, "source.yuv"), "OutputFile": name(job.bitstream, "bitstream.264"),
        "ReconFile": name(job.recon, "recon.yuv") if job.recon else "", "FramesToBeEncoded": job.frames,
        "SourceWidth": fmt.width, "SourceHeight": fmt.height, "OutputWidth": fmt.width, "OutputHeight": fmt.height,
        "YUVFormat": fmt.chroma_format_idc, "SourceBitDepthLuma": fmt.bit_depth, "SourceBitDepthChroma": fmt.bit_depth,
        "OutputBitDepthLuma": fmt.bit_depth, "OutputBitDepthChroma": fmt.bit_depth,
        "FrameRate": f"{float(job.frame_rate):.6g}", "ProfileIDC": _profile(fmt),
        "LevelIDC": _level(fmt, job.frame_rate, interlaced),
        "QPISlice": job.qp, "QPPSlice": min(51, job.qp + 1), "QPBSlice": min(51, job.qp + 2),
        "EnableVUISupport": 1, "VUI_video_signal_type_present_flag": 1,
        "VUI_video_full_range_flag": int(fmt.full_range),
        "VUI_colour_description_present_flag": 1, "VUI_colour_primaries": primaries,
        "VUI_transfer_characteristics": transfer, "VUI_matrix_coefficients": matrix, "Verbose": 3}
    if fmt.chroma == "420":
        siting = fmt.chroma_sample_loc_type
        settings |= {"VUI_chroma_location_info_present_flag": 1, "VUI_chroma_sample_loc_type_top_field": siting,
                     "VUI_chroma_sample_loc_type_bottom_field": siting}
    arguments = [str(encoder)]
    for number, config in enumerate(job.config):  # -d instead of the file encoder.cfg of the working directory
        arguments += ["-f" if number else "-d", name(config, f"{number}.cfg")]
    for option, value in settings.items():
        arguments += ["-p", f"{option}={value}"]
    if job.weights:
        for option in job.idse.arguments(name(job.weight_file, LOCAL_WEIGHTS) if job.weight_file else str(job.weights)):
            arguments += ["-p", option.removeprefix("--")]
    for option, value in job.options.items():
        arguments += ["-p", f"{option}={value}"]
    return arguments


def _command_in(folder: Path, job: EncodeJob, encoder: Path) -> list[str]:
    """For a run in `folder`: JM's file names hold 255 characters, no blank and no equals sign, so plain ones link to
    the job's files."""
    def link(path: Path, name: str) -> str:
        os.symlink(path.absolute(), folder / name)
        return name
    return _command(job, encoder, link)


def _setting(job: EncodeJob, name: str) -> str | None:
    """What the job's configuration files and options set parameter `name` to; JM's names ignore case."""
    value = None
    for config in job.config:
        text = config.read_text(encoding="utf-8", errors="replace")
        found = re.findall(rf"^\s*{name}\s*=\s*([^\s#]+)", text, re.MULTILINE | re.IGNORECASE)
        value = found[-1] if found else value
    for option, given in job.options.items():
        value = given if option.lower() == name.lower() else value
    return value


def _check(job: EncodeJob) -> None:
    for option, value in job.options.items():
        if re.search(r'[\s="#]', value) or value.startswith("-") and not re.fullmatch(r"-[\d.]+", value):
            raise FprdoError(f"encoder option {option}={value}: JM's values hold no blank, quote, = or #")
    if min(job.fmt.width, job.fmt.height) < _SMALLEST:
        raise FprdoError(f"{job.title}: JM codes pictures from {_SMALLEST}x{_SMALLEST} on, not {job.fmt.width}x"
                         f"{job.fmt.height}; use another encoder")
    if job.fmt.bit_depth > 8 and job.fmt.width % 16:  # its reader copies rows as if there were no padding
        raise FprdoError(f"{job.title}: JM 19.1, the stock one too, misreads pictures of more than 8 bits whose width "
                         f"is no multiple of 16, such as {job.fmt.width}; crop or pad them, or use another encoder")
    for (name, value), instead in _CRASHES.items():
        if _setting(job, name) == str(value):
            raise FprdoError(f"{name}={value}: JM 19.1 crashes with it, the stock one too; use {instead}")


ENCODER = Encoder("JM", "jm", 14, command, parse_log, parse_picture, command_in=_command_in, check=_check,
                  file_options=("InputFile", "OutputFile", "ReconFile"))


def encode(job: EncodeJob, tools: Toolchain, stock: bool = False,
           progress: Callable[[PictureLog], None] | None = None) -> EncodeResult:
    """Run JM in a folder of its own; the outputs of the job and its log appear when all of it has succeeded
    (encoders.running.encode).

    The bitstream carries the colour description of the format in its VUI.

    Parameters
    ----------
    job : EncodeJob
    tools : Toolchain
        Of `toolchain.find("jm")`.
    stock : bool
        Run the unpatched encoder, which knows no weights.
    progress : callable, optional
        Called with each picture when JM reports it.

    Raises
    ------
    FprdoError
        Bad input; a parameter that JM does not know or crashes on; JM fails, codes fewer pictures or writes less than
        it should; weights that were asked for but not used in every mode decision. Then none of the outputs is touched.
    """
    return running.encode(ENCODER, job, tools.stock_encoder if stock else tools.encoder, stock, progress)
