"""JM's command lines, configurations and bit depths."""

import os
import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

from fprdo_bridge.bitstream.nal_units import Standard
from fprdo_bridge.bitstream.signalling import colour_codes, signal_format
from fprdo_bridge.encoders.codec import Codec, OwnDecoder
from fprdo_bridge.encoders.jm import log
from fprdo_bridge.encoders.jm.options import INPUT_FILES, RULES
from fprdo_bridge.encoders.job import EncodeJob
from fprdo_bridge.encoders.log import DecoderLog, EncodeLog, PictureLog
from fprdo_bridge.encoders.options import Setting
from fprdo_bridge.encoders.structures import own_config
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.toolchain import Toolchain
from fprdo_bridge.video.formats import VideoFormat, coded_format

_SMALLEST = 16  # samples of a side; JM refuses less

# LevelIDC, MaxMBPS, MaxFS, MaxDpbMbs: H.264 table A-1. In the High profiles JM takes 1.1 for 1b, so it is left out.
_LEVELS = (
    (10, 1485, 99, 396),
    (12, 6000, 396, 2376),
    (13, 11880, 396, 2376),
    (21, 19800, 792, 4752),
    (22, 20250, 1620, 8100),
    (30, 40500, 1620, 8100),
    (31, 108000, 3600, 18000),
    (32, 216000, 5120, 20480),
    (40, 245760, 8192, 32768),
    (42, 522240, 8704, 34816),
    (50, 589824, 22080, 110400),
    (51, 983040, 36864, 184320),
    (52, 2073600, 36864, 184320),
    (60, 4177920, 139264, 696320),
    (61, 8355840, 139264, 696320),
    (62, 16711680, 139264, 696320),
)
_REFERENCES = 4  # frames that the decoded picture buffer of a level must hold, as our configurations need

_CANONICAL = {
    name.lower(): name
    for name in (
        *(name for rule in RULES for name in rule.names.split()),
        *(name for file in INPUT_FILES for name in (file.name, file.switch)),
        "OutputBitDepthLuma",
        "OutputBitDepthChroma",
        "SourceBitDepthRescale",
        "MbInterlace",
    )
}
_THRESHOLDS = tuple(
    f"DF{name}{kind}{letter}Slice" for name in ("Alpha", "Beta") for kind in ("Ref", "NRef") for letter in "IPB"
)
_DEPTH_OPTIONS = ("OutputBitDepthLuma", "OutputBitDepthChroma", "SourceBitDepthRescale")


class _Decoder(OwnDecoder):
    """ldecod. AVC bitstreams carry no hash of a picture, so damage that decodes to something is not noticed."""

    def command(self, program: Path) -> list[str]:
        return [
            str(program),
            "-d",
            "null",
            "-p",
            f"InputFile={self.BITSTREAM}",
            "-p",
            f"OutputFile={self.DECODED}",
            "-p",
            "WriteUV=0",
        ]

    def parse_log(self, output: str, errors: str) -> DecoderLog:
        return DecoderLog(log.parse_decoder_log(output), log.decoder_complaint(f"{output}\n{errors}"))


class _Jm(Codec):
    name = "jm"
    title = "JM"
    standard = Standard.AVC
    max_bit_depth = 14
    transform_sizes = (4, 8)
    in_process = True
    decoder = _Decoder()
    intra_period_option = "IntraPeriod"
    chroma_qp_options = ("ChromaQPOffset", "CbQPOffset", "CrQPOffset")  # the profile decides which count
    seconds_per_megasample = 10.0
    bytes_per_sample = 60
    rules = RULES
    input_files = INPUT_FILES
    local_weights = "weights.idse"

    def deblocking(self, offset: int) -> dict[str, str]:
        return {"DFParametersFlag": "1", **dict.fromkeys(_THRESHOLDS, str(offset))}

    def config_for(self, kind: str, fmt: VideoFormat, tools: Toolchain) -> Path:
        """cfg/jm/KIND.cfg, which serves every format."""
        return own_config("jm", kind)

    def parse_config(self, text: str, path: Path) -> list[tuple[str, str]]:
        """JM reads words: a name, an equals sign and a value, which may stand in quotes."""
        without_comments = re.sub(r"#.*", "", text)
        words = [quoted or plain for quoted, plain in re.findall(r'"([^"\n]*)"|([^\s"]+)', without_comments)]
        settings = []
        while len(words) >= 3:
            if words[1] == "=":
                settings.append((words[0], words[2]))
            words = words[3 if words[1] == "=" else 1 :]
        return settings

    def full_name(self, option: str) -> str:
        """JM's names ignore case."""
        return _CANONICAL.get(option.lower(), option)

    def coded_bit_depth(self, job: EncodeJob) -> int:
        """OutputBitDepthLuma of the job's options, or of its configuration files where SourceBitDepthRescale is 1."""
        source = job.fmt.bit_depth
        settings = {setting.name: setting for setting in self.settings(job)}
        rescale = settings.get("SourceBitDepthRescale", Setting("", "0"))
        wanted = settings.get("OutputBitDepthLuma")
        if wanted is None or wanted.config and rescale.value == "0":
            wanted = Setting("OutputBitDepthLuma", str(source))
        depth = int(wanted.value) if wanted.value.isdecimal() else 0
        if not source <= depth <= self.max_bit_depth:
            raise wanted.refused(
                f"does not fit: JM codes this source with {source} to {self.max_bit_depth} bits; give one of "
                "them, or another --bit-depth of a picture"
            )
        if depth != source > 8:
            raise wanted.refused("does not fit: JM 19.1 adds bits to 8-bit sources only; leave it out")
        chroma = settings.get("OutputBitDepthChroma")
        if chroma and not (chroma.config and rescale.value == "0") and chroma.value != str(depth):
            raise chroma.refused(f"does not fit: luma has {depth} bits, and both have the same here; leave it out")
        if depth != source and rescale.value == "0" and rescale.name and rescale.config is None:
            raise rescale.refused(f"contradicts OutputBitDepthLuma={depth}; leave one of them out")
        return depth

    def check(self, job: EncodeJob) -> None:
        depth = self.coded_bit_depth(job)
        for option, value in job.options.items():
            if re.search(r'[\s="#]', value) or value.startswith("-") and not re.fullmatch(r"-[\d.]+", value):
                raise FprdoError(f"encoder option {option}={value}: JM's values hold no blank, quote, = or #")
        if min(job.fmt.width, job.fmt.height) < _SMALLEST:
            raise FprdoError(
                f"{job.title}: JM codes pictures from {_SMALLEST}x{_SMALLEST} on, not {job.fmt.width}x"
                f"{job.fmt.height}; use another encoder"
            )
        if depth > 8 and job.fmt.width % 16:  # its reader copies rows as if there were no padding
            raise FprdoError(
                f"{job.title}: JM 19.1, the stock one too, misreads pictures of more than 8 bits whose width "
                f"is no multiple of 16, such as {job.fmt.width}; crop or pad them, or use another encoder"
            )

    def command(self, job: EncodeJob, program: Path) -> list[str]:
        """The rate of the job is the QP of I slices; P slices have one more and B slices two, before what the
        configuration file adds by layer. JM leaves log.dat, data.txt, stats.dat and leakybucketparam.cfg in its
        working directory."""
        return self._command(job, program, lambda path, name: str(path.absolute()))

    def commands_in(self, folder: Path, job: EncodeJob, program: Path) -> list[list[str]]:
        """JM's file names hold 255 characters, no blank and no equals sign, so plain ones link to the job's files."""

        def link(path: Path, name: str) -> str:
            os.symlink(path.absolute(), folder / name)
            return name

        return [self._command(job, program, link)]

    def _command(self, job: EncodeJob, program: Path, name: Callable[[Path, str], str]) -> list[str]:
        """`command`, with every file by the name that `name(path, plain)` gives it."""
        arguments = [str(program)]
        for number, config in enumerate(job.config):  # -d instead of the file encoder.cfg of the working directory
            arguments += ["-f" if number else "-d", name(config, f"{number}.cfg")]
        files = {
            "InputFile": name(job.source, "source.yuv"),
            "OutputFile": name(job.bitstream, "bitstream.264"),
            "ReconFile": name(job.recon, "recon.yuv") if job.recon else "",
        }
        for option, value in (files | self._settings(job)).items():
            arguments += ["-p", f"{option}={value}"]
        if job.weights:
            weights = name(job.weight_file, self.local_weights) if job.weight_file else None
            for option, value in job.idse.options(self.name, weights):
                arguments += ["-p", f"{option}={value}"]
        for option, value in self.whole_paths(job.options).items():
            if self.full_name(option) in [file.name for file in INPUT_FILES] and value:
                value = name(Path(value), f"{option}.txt")
            if self.full_name(option) not in _DEPTH_OPTIONS:  # they are among the settings
                arguments += ["-p", f"{option}={value}"]
        return arguments

    def _settings(self, job: EncodeJob) -> dict[str, object]:
        fmt, depth = coded_format(job.fmt), self.coded_bit_depth(job)
        interlaced = any(
            setting.value != "0"
            for setting in {setting.name: setting for setting in self.settings(job)}.values()
            if setting.name in ("PicInterlace", "MbInterlace")
        )
        primaries, transfer, matrix = colour_codes(fmt)
        qp = job.rate.value
        settings: dict[str, object] = {
            "FramesToBeEncoded": job.frames,
            "SourceWidth": fmt.width,
            "SourceHeight": fmt.height,
            "OutputWidth": fmt.width,
            "OutputHeight": fmt.height,
            "YUVFormat": fmt.chroma_format_idc,
            "SourceBitDepthLuma": fmt.bit_depth,
            "SourceBitDepthChroma": fmt.bit_depth,
            "OutputBitDepthLuma": depth,
            "OutputBitDepthChroma": depth,
            "SourceBitDepthRescale": int(depth != fmt.bit_depth),
            "FrameRate": f"{float(job.frame_rate):.6g}",
            "ProfileIDC": _profile(self.bitstream_format(job)),
            "LevelIDC": _level(fmt, job.frame_rate, interlaced),
            "QPISlice": qp,
            "QPPSlice": min(51, qp + 1),
            "QPBSlice": min(51, qp + 2),
            "EnableVUISupport": 1,
            "VUI_aspect_ratio_info_present_flag": 0,  # it is put in afterwards, as the timing is
            "VUI_timing_info_present_flag": 0,
            "VUI_video_signal_type_present_flag": 1,
            "VUI_video_full_range_flag": int(fmt.full_range),
            "VUI_colour_description_present_flag": 1,
            "VUI_colour_primaries": primaries,
            "VUI_transfer_characteristics": transfer,
            "VUI_matrix_coefficients": matrix,
            "TraceFile": "",
            "StatsFile": "stats.dat",
            "LeakyBucketParamFile": "leakybucketparam.cfg",
            "Verbose": 3,
        }
        if fmt.chroma == "420":
            siting = fmt.chroma_sample_loc_type
            settings |= {
                "VUI_chroma_location_info_present_flag": 1,
                "VUI_chroma_sample_loc_type_top_field": siting,
                "VUI_chroma_sample_loc_type_bottom_field": siting,
            }
        return settings

    def parse_log(self, text: str) -> EncodeLog:
        return log.parse_log(text)

    def parse_picture(self, line: str, planes: int) -> PictureLog | None:
        return log.parse_picture(line, planes)

    def finish(self, bitstream: Path, job: EncodeJob, log: EncodeLog) -> EncodeLog:
        signal_format(bitstream, self.standard, self.bitstream_format(job), job.frame_rate)
        return log


def _profile(fmt: VideoFormat) -> int:
    """ProfileIDC of the least High profile that has chroma format and bit depth (H.264 clause A.2)."""
    if fmt.chroma == "444" or fmt.bit_depth > 10:
        return 244
    if fmt.chroma == "422":
        return 122
    return 100 if fmt.bit_depth == 8 else 110


def _level(fmt: VideoFormat, frame_rate: Fraction, interlaced: bool) -> int:
    """The lowest level whose picture size, macroblock rate and decoded picture buffer suffice (H.264 clause A.3.1); its
    bit rate is not looked at, as a run at fixed QP does not know its own. Levels 2.1 to 4.1 have interlaced coding."""
    sides = [-(-side // 16) for side in (fmt.width, fmt.height)]
    size = sides[0] * sides[1]
    for level, rate, picture_size, buffer in _LEVELS:
        if (
            size <= picture_size
            and size * frame_rate <= rate
            and max(sides) ** 2 <= 8 * picture_size
            and _REFERENCES * size <= buffer
            and (21 <= level <= 41 or not interlaced)
        ):
            return level
    raise FprdoError(
        f"{fmt} at {float(frame_rate):g} pictures per second: above level "
        f"{'4.1' if interlaced else '6.2'} of AVC; use smaller pictures or another encoder"
    )


JM = _Jm()
