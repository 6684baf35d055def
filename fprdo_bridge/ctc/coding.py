"""What test conditions need of encoders, decoders and weights: the one place that knows their interfaces."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path

from fprdo_bridge import encoders, toolchain
from fprdo_bridge.bitstream.decoders import bitstream_codec, decode_libav, supported_by_libav
from fprdo_bridge.ctc.conditions import Clip, EncoderSetting, Variant
from fprdo_bridge.encoders.job import EncodeJob, IdseOptions
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.importance.weighting import WeightSettings, write_weights
from fprdo_bridge.video.formats import Frame, VideoFormat
from fprdo_bridge.video.raw import count_frames, read_yuv
from fprdo_bridge.video.source import Source

# An encoder's own perceptual quantisation: the options that switch it on, and x264's defaults, which fprdo switches off
# otherwise (encoders/x264.py).
_AQ = {"hm": lambda mode: {"AdaptiveQP": "1"}, "x264": lambda mode: {"aq-mode": str(mode)}}
_DEFAULTS = {"x264": {"psy-rd": "1.0:0.0", "aq-mode": "1"}}
_INTRA_PERIOD = {"hm": "IntraPeriod", "jm": "IntraPeriod", "x264": "keyint"}

_HIGHEST = 51  # QP of HEVC and AVC; conditions made for VVC go to 63

# Seconds of one core per million luma samples, and bytes per luma sample: for plans, refined while a run goes on.
_SECONDS = {"hm": 14.0, "jm": 10.0, "x264": 0.8}
_MEMORY = {"hm": 110, "jm": 60, "x264": 60}


@dataclass(frozen=True)
class Setup:
    """How one encoder is run on one clip under one variant, without the rate point.

    Attributes
    ----------
    build : the build tree of the program, named by the hash of sources and patches
    stock : whether it is the unpatched program
    config : configuration files, and `config_hashes` their contents
    """

    encoder: str
    version: str
    build: str
    stock: bool
    config: tuple[Path, ...]
    config_hashes: tuple[str, ...]
    options: Mapping[str, str]
    idse: IdseOptions | None

    def spec(self) -> dict[str, object]:
        """What of it determines a bitstream."""
        return {"encoder": self.encoder, "build": self.build, "configs": list(self.config_hashes),
                "options": [list(pair) for pair in self.options.items()],  # the last of two equal ones wins
                "idse": asdict(self.idse) if self.idse else None}

    def how(self) -> dict[str, object]:
        """What else a worker has to know."""
        return {"config": [str(path) for path in self.config], "stock": self.stock, "version": self.version}


def title(encoder: str) -> str:
    """Name and version of an encoder, such as "HM 18.0"; FprdoError if it is not built."""
    return f"{toolchain.TITLES.get(encoder, encoder)} {_tools(encoder).version}"


def _tools(encoder: str) -> toolchain.Toolchain:
    encoders.get(encoder)  # the name is checked first
    return toolchain.find(encoder)


def setup(setting: EncoderSetting, variant: Variant, clip: Clip, fmt: VideoFormat, data: Path) -> Setup:
    """Configuration and options of an encode.

    Raises
    ------
    FprdoError
        The encoder is not built, a configuration file is missing, or the encoder has not what the variant asks for.
    """
    name, tools = setting.encoder, _tools(setting.encoder)
    codec, weighted = encoders.get(name), variant.idse is not None
    config = (_file(data, setting.config, tools.config_dir),) if setting.config else (codec.config_for(setting.structure, fmt, tools),)
    if clip.config:
        config += (_file(data, clip.config, tools.config_dir),)
    options = dict(setting.options)
    if clip.intra_period and setting.structure == "randomaccess":
        options[_INTRA_PERIOD[name]] = str(clip.intra_period)
    if variant.kind == "aq":
        if name not in _AQ:
            raise FprdoError(f"variant {variant.name}: {toolchain.TITLES[name]} has no adaptive QP of its own; name the "
                             f"encoders that it is for, like encoders = [\"hm\"]")
        options |= _AQ[name](variant.mode)
    if variant.kind == "defaults":
        options |= _DEFAULTS.get(name, {})
    if weighted:
        options |= codec.weighted_options(variant.idse)
    options |= variant.options
    program = tools.encoder if weighted else tools.stock_encoder
    return Setup(name, tools.version, program.parent.parent.name, not weighted, config,
                 tuple(hashlib.sha256(path.read_bytes()).hexdigest() for path in config), options, variant.idse)


def _file(data: Path, name: str, own: Path) -> Path:
    """A configuration file of the user, or one that the encoder brings."""
    for path in (data / name, own / name):
        if path.is_file():
            return path
    raise FprdoError(f"{data / name}: no such configuration file; check the name and --data")


def check(setup: Setup, fmt: VideoFormat, control: str, value: float, title: str) -> None:
    """Refuse at plan time what the encoder would refuse; the source need not be there. Raises FprdoError."""
    encoder = encoders.get(setup.encoder).ENCODER
    aq = setup.encoder == "x264" and setup.options.get("aq-mode", "0") != "0"
    if aq and control == "qp":
        raise FprdoError(f"{title}: x264 has no adaptive quantisation at constant QP; give rate points as crf")
    if control not in encoder.rates:
        raise FprdoError(f"{title}: {encoder.title} knows {', '.join(encoder.rates)}, not {control}")
    if fmt.bit_depth > encoder.max_bit_depth:
        raise FprdoError(f"{title}: {encoder.title} codes up to {encoder.max_bit_depth} bits, not {fmt.bit_depth}")
    lowest = -6 * (fmt.bit_depth - 8)
    if control != "abr" and not lowest <= value <= _HIGHEST:
        raise FprdoError(f"{title}: {control.upper()} {value:g} is not one of {encoder.title}'s, {lowest} to {_HIGHEST} for "
                         f"{fmt.bit_depth} bits")


def cost(encoder: str, fmt: VideoFormat, frames: int) -> tuple[float, int]:
    """Rough seconds of one core, and bytes of memory, of an encode."""
    samples = fmt.width * fmt.height
    return 0.02 + _SECONDS.get(encoder, 5.0) * samples * frames / 1e6, (40 << 20) + _MEMORY.get(encoder, 80) * samples


# ---- encoding --------------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Encoded:
    """What an encode left besides its files.

    `bits` counts pictures and parameter sets, `bitstream_bits` the whole file; `recon` is the hash of the encoder's
    reconstruction (`frames_hash`); `memory` is the peak in bytes, None where it is not known.
    """

    bits: int
    bitstream_bits: int
    recon: str
    seconds: float
    memory: int | None
    command: str
    qp_offset_mean: float


def encode(spec: Mapping, how: Mapping, source: Path, fmt: VideoFormat, frames: int, rate: Fraction, weights: Path | None,
           folder: Path) -> Encoded:
    """Run an encoder; leaves bitstream.bin and log.txt in `folder`.

    Parameters
    ----------
    spec, how : of an encode job: Setup's, with control and value of the rate
    source : raw samples of format `fmt`
    rate : pictures per second

    Raises
    ------
    FprdoError
        The build differs from the one of the plan, or the encode fails.
    """
    name = spec["encoder"]
    codec, tools = encoders.get(name), _tools(name)
    program = tools.stock_encoder if how["stock"] else tools.encoder
    if program.parent.parent.name != spec["build"]:
        raise FprdoError(f"{program}: is another build than the plan's ({spec['build']}); run python3 build.py {name} here "
                         "from the same sources")
    job = EncodeJob(source=source, fmt=fmt, frames=frames, qp=spec["value"], bitstream=folder / "bitstream.bin",
                    recon=folder / "recon.yuv", config=tuple(map(Path, how["config"])), options=dict(spec["options"]),
                    weights=weights, idse=IdseOptions(**spec["idse"]) if spec["idse"] else IdseOptions(),
                    frame_rate=rate, rate=spec["control"], title=how["title"])
    result = codec.encode(job, tools, stock=how["stock"])
    recon = frames_hash(read_yuv(job.recon, fmt))
    job.recon.unlink()
    result.log_file.rename(folder / "log.txt")
    idse = result.log.idse
    return Encoded(result.bits, 8 * job.bitstream.stat().st_size, recon, result.log.seconds or 0.0,
                   getattr(result, "peak_memory", None), " ".join(result.command), idse.qp_offset_mean if idse else 0.0)


def compiler(encoder: str, stock: bool) -> str:
    """The compiler that made a program, as the program says."""
    tools = _tools(encoder)
    data = (tools.stock_encoder if stock else tools.encoder).read_bytes()
    found = re.search(rb"GCC: \([^)]{0,80}\) [\d.]+|clang version [\d.]+", data)
    return found[0].decode("ascii", "replace") if found else "unknown"


# ---- decoding --------------------------------------------------------------------------------------------------------

def frames_hash(frames: Iterable[Frame]) -> str:
    """SHA-256 over the samples of all frames, 16-bit samples in little-endian order."""
    found = hashlib.sha256()
    for frame in frames:
        for plane in frame:
            found.update(plane.astype(plane.dtype.newbyteorder("<"), copy=False).tobytes())
    return found.hexdigest()


def decoders(encoder: str) -> list[str]:
    """Names and versions of the stock decoders that check an encoder's bitstreams."""
    import av

    version = ".".join(map(str, av.library_versions["libavcodec"]))
    return [*encoders.get(encoder).STOCK_DECODERS, f"libavcodec {version}"]


def verify(encoder: str, bitstream: Path, fmt: VideoFormat, expected: str, folder: Path) -> dict[str, float]:
    """Decode with every stock decoder; returns seconds by decoder.

    Raises
    ------
    FprdoError
        A decoder fails, gives other samples than the encoder's reconstruction, or there is none for this format.
    """
    seconds = {}
    for name, decode in encoders.get(encoder).STOCK_DECODERS.items():
        started = time.perf_counter()
        decode(bitstream, _tools(encoder), folder / "decoded.yuv", fmt)
        seconds[name] = time.perf_counter() - started
        _compare(name, bitstream, read_yuv(folder / "decoded.yuv", fmt), expected)
        (folder / "decoded.yuv").unlink()
    if supported_by_libav(fmt, bitstream_codec(bitstream)):
        started = time.perf_counter()
        _compare("libavcodec", bitstream, decode_libav(bitstream, fmt), expected)
        seconds["libavcodec"] = time.perf_counter() - started
    if not seconds:
        raise FprdoError(f"{bitstream}: no stock decoder reads {fmt}; use another bit depth or chroma format")
    return seconds


def _compare(name: str, bitstream: Path, frames: Iterable[Frame], expected: str) -> None:
    if frames_hash(frames) != expected:
        raise FprdoError(f"{bitstream.name}: {name} decodes something else than the encoder's reconstruction; this is a "
                         "bug, please report it")


def decode(encoder: str, bitstream: Path, fmt: VideoFormat, folder: Path) -> Iterator[Frame]:
    """The pictures of a bitstream, by the fastest decoder that reads it."""
    if supported_by_libav(fmt, bitstream_codec(bitstream)):
        return decode_libav(bitstream, fmt)
    decode_own = next(iter(encoders.get(encoder).STOCK_DECODERS.values()))
    decode_own(bitstream, _tools(encoder), folder / "decoded.yuv", fmt)
    return read_yuv(folder / "decoded.yuv", fmt, 0, count_frames(folder / "decoded.yuv", fmt))


# ---- weights ---------------------------------------------------------------------------------------------------------

def map_spec(settings: WeightSettings) -> dict[str, object]:
    """What of map settings determines a map; loads the network once to name its weights. Raises FprdoError."""
    return {"settings": {**asdict(settings), "layers": list(settings.layers) if settings.layers else None},
            "extractor": settings.load().description()}


def map_settings(spec: Mapping) -> WeightSettings:
    """The settings of a map job."""
    settings = spec["settings"]
    return WeightSettings(**{**settings, "layers": tuple(settings["layers"]) if settings["layers"] else None})


def write_map(source: Source, settings: WeightSettings, extractor: object, path: Path) -> None:
    """Compute the weights of a source. Raises FprdoError."""
    write_weights(source, settings, path, extractor)


def map_cost(settings: WeightSettings, fmt: VideoFormat, frames: int) -> tuple[float, int, int]:
    """Rough seconds of one core, bytes of memory and bytes on the disk of a map."""
    samples, maps = fmt.width * fmt.height, -(-frames // settings.frames_per_map)
    return (1 + maps * settings.probes * 1.2 * samples / 1e6, (400 << 20) + 1300 * min(samples, 1 << 21),
            (64 << 10) + 15 * samples * maps)
