"""What test conditions need of encoders, decoders and weights: the one place that knows their interfaces."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path

from fprdo_bridge import encoders
from fprdo_bridge.bitstream import libav
from fprdo_bridge.ctc.conditions import Clip, EncoderSetting, Variant
from fprdo_bridge.encoders import running
from fprdo_bridge.encoders.decoding import decode_own
from fprdo_bridge.encoders.job import EncodeJob, IdseOptions, Rate
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.importance.weighting import WeightSettings, write_weights
from fprdo_bridge.video.formats import Frame, VideoFormat
from fprdo_bridge.video.raw import count_frames, read_yuv
from fprdo_bridge.video.source import Source

_HIGHEST = 51  # QP of HEVC and AVC; conditions made for VVC go to 63


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
    codec = encoders.get(encoder)
    return f"{codec.title} {codec.tools().version}"


def setup(setting: EncoderSetting, variant: Variant, clip: Clip, fmt: VideoFormat, data: Path) -> Setup:
    """Configuration and options of an encode.

    Raises
    ------
    FprdoError
        The encoder is not built, a configuration file is missing, or the encoder has not what the variant asks for.
    """
    codec, weighted = encoders.get(setting.encoder), variant.idse is not None
    tools = codec.tools()
    config = (_file(data, setting.config, tools.config_dir),) if setting.config else (codec.config_for(setting.structure, fmt, tools),)
    if clip.config:
        config += (_file(data, clip.config, tools.config_dir),)
    options = dict(setting.options)
    if clip.intra_period and setting.structure == "randomaccess":
        options[codec.intra_period_option] = str(clip.intra_period)
    if variant.kind == "aq":
        if not codec.adaptive_qp(variant.mode):
            raise FprdoError(f"variant {variant.name}: {codec.title} has no adaptive QP of its own; name the encoders that it "
                             "is for, like encoders = [\"hm\"]")
        options |= codec.adaptive_qp(variant.mode)
    if variant.kind == "defaults":
        options |= codec.own_defaults
    if variant.idse is not None:
        options = {**codec.weighted_options(variant.idse), **options}
    options |= variant.options
    program = tools.encoder if weighted else tools.stock_encoder
    return Setup(codec.name, tools.version, program.parent.parent.name, not weighted, config,
                 tuple(hashlib.sha256(path.read_bytes()).hexdigest() for path in config), options, variant.idse)


def _file(data: Path, name: str, own: Path) -> Path:
    """A configuration file of the user, or one that the encoder brings."""
    for path in (data / name, own / name):
        if path.is_file():
            return path
    raise FprdoError(f"{data / name}: no such configuration file; check the name and --data")


def check(setup: Setup, fmt: VideoFormat, control: str, value: float, title: str) -> None:
    """Refuse at plan time what the encoder would refuse; the source need not be there. Raises FprdoError."""
    encoder = encoders.get(setup.encoder)
    adaptive = any(setup.options.get(name, "0") != "0" for name in encoder.adaptive_qp(1))
    if adaptive and control == "qp" and not encoder.adaptive_at_constant_qp:
        raise FprdoError(f"{title}: {encoder.title} has no adaptive quantisation at constant QP; give rate points as crf")
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
    codec, samples = encoders.get(encoder), fmt.width * fmt.height
    return (0.02 + codec.seconds_per_megasample * samples * frames / 1e6,
            (40 << 20) + codec.bytes_per_sample * samples)


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
    codec = encoders.get(spec["encoder"])
    tools = codec.tools()
    program = tools.stock_encoder if how["stock"] else tools.encoder
    if program.parent.parent.name != spec["build"]:
        raise FprdoError(f"{program}: is another build than the plan's ({spec['build']}); run python3 build.py {codec.name} "
                         "here from the same sources")
    job = EncodeJob(source=source, fmt=fmt, frames=frames, rate=Rate(spec["control"], spec["value"]), bitstream=folder / "bitstream.bin",
                    recon=folder / "recon.yuv", config=tuple(map(Path, how["config"])), options=dict(spec["options"]),
                    weights=weights, idse=IdseOptions(**spec["idse"]) if spec["idse"] else IdseOptions(),
                    frame_rate=rate, portable=True, title=how["title"])
    result = running.encode(codec, job, tools, stock=how["stock"])
    recon = frames_hash(read_yuv(job.recon, result.fmt))
    job.recon.unlink()
    result.log_file.rename(folder / "log.txt")
    idse = result.log.idse
    return Encoded(result.bits, 8 * job.bitstream.stat().st_size, recon, result.log.seconds or 0.0,
                   result.peak_memory, " ".join(result.command), idse.qp_offset_mean if idse else 0.0)


def compiler(encoder: str, stock: bool) -> str:
    """The compiler that made a program, as the program says."""
    tools = encoders.get(encoder).tools()
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
    codec = encoders.get(encoder)
    return [*([codec.title] if codec.decoder else []), f"{libav.TITLE} {version}"]


def verify(encoder: str, bitstream: Path, fmt: VideoFormat, expected: str, folder: Path) -> dict[str, float]:
    """Decode with every stock decoder; returns seconds by decoder.

    Raises
    ------
    FprdoError
        A decoder fails, gives other samples than the encoder's reconstruction, or there is none for this format.
    """
    seconds = {}
    codec = encoders.get(encoder)
    if codec.decoder:
        started = time.perf_counter()
        decode_own(codec, codec.tools(), bitstream, folder / "decoded.yuv", fmt)
        seconds[codec.title] = time.perf_counter() - started
        _compare(codec.title, bitstream, read_yuv(folder / "decoded.yuv", fmt), expected)
        (folder / "decoded.yuv").unlink()
    if libav.supports(fmt, codec.standard):
        started = time.perf_counter()
        _compare(libav.TITLE, bitstream, libav.decode_libav(bitstream, fmt), expected)
        seconds[libav.TITLE] = time.perf_counter() - started
    if not seconds:
        raise FprdoError(f"{bitstream}: no stock decoder reads {fmt}; use another bit depth or chroma format")
    return seconds


def _compare(name: str, bitstream: Path, frames: Iterable[Frame], expected: str) -> None:
    if frames_hash(frames) != expected:
        raise FprdoError(f"{bitstream.name}: {name} decodes something else than the encoder's reconstruction; this is a "
                         "bug, please report it")


def decode(encoder: str, bitstream: Path, fmt: VideoFormat, folder: Path) -> Iterator[Frame]:
    """The pictures of a bitstream, by the fastest decoder that reads it."""
    codec = encoders.get(encoder)
    if libav.supports(fmt, codec.standard):
        return libav.decode_libav(bitstream, fmt)
    decode_own(codec, codec.tools(), bitstream, folder / "decoded.yuv", fmt)
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
