"""HM's command lines, configurations and bit depths."""

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

from fprdo_bridge.bitstream.nal_units import Standard
from fprdo_bridge.bitstream.signalling import signal_format
from fprdo_bridge.encoders.codec import Codec, OwnDecoder
from fprdo_bridge.encoders.hm import log
from fprdo_bridge.encoders.hm.options import INPUT_FILES, RULES, SHORT_NAMES
from fprdo_bridge.encoders.job import EncodeJob
from fprdo_bridge.encoders.log import DecoderLog, EncodeLog, PictureLog
from fprdo_bridge.encoders.options import same_value
from fprdo_bridge.encoders.structures import KINDS, check_kind
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.toolchain import Toolchain
from fprdo_bridge.video.formats import VideoFormat, coded_format

# general_level_idc / 30, MaxLumaPs, MaxLumaSr: H.265 tables A.8 and A.9.
_LEVELS = (
    ("1", 36864, 552960),
    ("2", 122880, 3686400),
    ("2.1", 245760, 7372800),
    ("3", 552960, 16588800),
    ("3.1", 983040, 33177600),
    ("4", 2228224, 66846720),
    ("4.1", 2228224, 133693440),
    ("5", 8912896, 267386880),
    ("5.1", 8912896, 534773760),
    ("5.2", 8912896, 1069547520),
    ("6", 35651584, 1069547520),
    ("6.1", 35651584, 2139095040),
    ("6.2", 35651584, 4278190080),
)


class _Decoder(OwnDecoder):
    """TAppDecoder, which checks the hash of every picture."""

    def command(self, program: Path) -> list[str]:
        return [str(program), "-b", self.BITSTREAM, "-o", self.DECODED, "-d", "0"]  # at the bit depth of the bitstream

    def parse_log(self, output: str, errors: str) -> DecoderLog:
        pictures = log.parse_decoder_log(output)
        wrong = next((picture.poc for picture in pictures if picture.verified is False), None)
        complaint = "" if wrong is None else f"the hash of picture {wrong} is not the encoder's"
        return DecoderLog(len(pictures), complaint, pictures)


class _Hm(Codec):
    name = "hm"
    title = "HM"
    standard = Standard.HEVC
    max_bit_depth = 12  # of an HM built without RExt__HIGH_BIT_DEPTH_SUPPORT
    in_process = True
    decoder = _Decoder()
    intra_period_option = "IntraPeriod"
    chroma_qp_options = ("CbQpOffset", "CrQpOffset")
    seconds_per_megasample = 14.0
    bytes_per_sample = 110
    rules = RULES
    input_files = INPUT_FILES

    def config_for(self, kind: str, fmt: VideoFormat, tools: Toolchain) -> Path:
        check_kind(kind)
        path = tools.config_dir / _config_name(kind, fmt)
        if not path.is_file():
            raise FprdoError(f"{path}: no such configuration file; run python3 build.py hm")
        return path

    def parse_config(self, text: str, path: Path) -> list[tuple[str, str]]:
        lines = (line.partition("#")[0].partition(":") for line in text.splitlines())
        return [(name.strip(), value.strip()) for name, colon, value in lines if colon and name.strip()]

    def full_name(self, option: str) -> str:
        return SHORT_NAMES.get(option.removeprefix("-"), option)

    def coded_bit_depth(self, job: EncodeJob) -> int:
        """InternalBitDepth of the job's options or configuration files.

        HM's configuration for a coding structure, which `config_for` takes for all formats of a profile, has no say
        in it.
        """
        source = job.fmt.bit_depth
        chosen = {_config_name(kind, job.fmt) for kind in KINDS}
        settings = {
            setting.name: setting
            for setting in self.settings(job)
            if setting.config is None or setting.config.name not in chosen
        }
        wanted = settings.get("InternalBitDepth")
        depth = source
        if wanted and not same_value(wanted.value, "0"):  # 0: the source's
            depth = int(wanted.value) if wanted.value.isdecimal() else 0
            if not source <= depth <= self.max_bit_depth:
                raise wanted.refused(
                    f"does not fit: HM codes this source with {source} to {self.max_bit_depth} bits; give one "
                    "of them, or another --bit-depth of a picture"
                )
        for name, own in (
            ("InputBitDepthC", source),
            ("InternalBitDepthC", depth),
            ("OutputBitDepthC", depth),
            ("MSBExtendedBitDepth", source),
            ("MSBExtendedBitDepthC", source),
        ):
            other = settings.get(name)
            if other and other.value not in ("0", str(own)):
                raise other.refused(f"does not fit: it can only be {own} here; leave it out")
        return depth

    def check(self, job: EncodeJob) -> None:
        self.coded_bit_depth(job)

    def quantisation_groups(self) -> Mapping[str, str]:
        """The same as in cfg/hm/idse.cfg: groups of 32x32 luma samples, in CTUs of 64x64."""
        return {"MaxCuDQPDepth": "1"}

    def deblocking(self, offset: int) -> Mapping[str, str]:
        return dict.fromkeys(("LoopFilterBetaOffset_div2", "LoopFilterTcOffset_div2"), str(offset))

    def adaptive_qp(self, mode: int) -> Mapping[str, str]:
        return {"AdaptiveQP": "1"}

    def command(self, job: EncodeJob, program: Path) -> list[str]:
        fmt = coded_format(job.fmt)
        depth = self.coded_bit_depth(job)
        arguments = [str(program)]
        for config in job.config:
            arguments += ["-c", str(config.absolute())]
        arguments += [
            "-i",
            str(job.source.absolute()),
            "-b",
            str(job.bitstream.absolute()),
            # HM's files name a reconstruction; an empty name means none.
            f"--ReconFile={job.recon.absolute() if job.recon else ''}",
            "-wdt",
            str(fmt.width),
            "-hgt",
            str(fmt.height),
            "-f",
            str(job.frames),
            "-q",
            str(job.rate.value),
            "-fr",
            str(max(1, round(job.frame_rate))),  # HM takes whole numbers
            f"--InputBitDepth={fmt.bit_depth}",
            f"--InternalBitDepth={depth}",
            f"--OutputBitDepth={depth}",
            f"--InputChromaFormat={fmt.chroma}",
            f"--ChromaFormatIDC={fmt.chroma}",
            f"--Profile={_profile(self.bitstream_format(job))}",
            f"--Level={_level(fmt, job.frame_rate)}",
            "--ConformanceWindowMode=1",  # HM pads to whole minimum CUs and signals the crop
            "--SEIDecodedPictureHash=1",
        ]  # MD5
        if job.weights:
            weights = job.weight_file.absolute() if job.weight_file else None
            arguments += [f"--{option}={value}" for option, value in job.idse.options(self.name, weights)]
        return arguments + [
            f"--{self.full_name(name)}={value}" for name, value in self.whole_paths(job.options).items()
        ]

    def parse_log(self, text: str) -> EncodeLog:
        return log.parse_log(text)

    def parse_picture(self, line: str, planes: int) -> PictureLog | None:
        return log.parse_picture(line, planes)

    def finish(self, bitstream: Path, job: EncodeJob, log: EncodeLog) -> EncodeLog:
        signal_format(bitstream, self.standard, self.bitstream_format(job), job.frame_rate)
        return log


def _config_name(kind: str, fmt: VideoFormat) -> str:
    return f"encoder_{kind}_{_profile(fmt).lower().replace('-', '_')}.cfg"


def _profile(fmt: VideoFormat) -> str:
    if fmt.chroma == "420" and fmt.bit_depth <= 10:
        return "main" if fmt.bit_depth == 8 else "main10"
    return "main-RExt"


def _level(fmt: VideoFormat, frame_rate: Fraction) -> str:
    """The lowest level whose picture size and sample rate suffice (H.265 clause A.4.1); its bit rate is not looked at,
    as a run at fixed QP does not know its own."""
    sides = [-(-side // 8) * 8 for side in (fmt.width, fmt.height)]
    samples = sides[0] * sides[1]
    for name, picture_size, sample_rate in _LEVELS:
        if samples <= picture_size and samples * frame_rate <= sample_rate and max(sides) ** 2 <= 8 * picture_size:
            return name
    return "none"


HM = _Hm()
