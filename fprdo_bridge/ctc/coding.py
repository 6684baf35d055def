"""What test conditions need of encoders, decoders and weights: the one place that knows their interfaces."""

from __future__ import annotations

import hashlib
import re
import shlex
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from fprdo_bridge import encoders
from fprdo_bridge.bitstream import libav
from fprdo_bridge.ctc import material
from fprdo_bridge.ctc.conditions import Clip, EncoderSetting, Variant
from fprdo_bridge.encoders import DEFAULT, Codec, running
from fprdo_bridge.encoders.checking import check_settings
from fprdo_bridge.encoders.decoding import decode_own
from fprdo_bridge.encoders.job import EncodeJob, IdseOptions, Rate
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.importance.regions import RegionSettings
from fprdo_bridge.importance.weighting import WeightSettings, map_settings_json, write_weights
from fprdo_bridge.video.formats import Frame, VideoFormat
from fprdo_bridge.video.raw import count_frames, read_yuv
from fprdo_bridge.video.source import Source


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

    def how(self) -> dict[str, Any]:
        """The setup as JSON, for `restored`."""
        return {**asdict(self), "config": [str(path) for path in self.config]}

    @classmethod
    def restored(cls, how: Mapping[str, Any]) -> Setup:
        """The setup of a worker, whose configuration files may lie elsewhere."""
        return cls(
            how["encoder"],
            how["version"],
            how["build"],
            how["stock"],
            tuple(map(Path, how["config"])),
            tuple(how["config_hashes"]),
            dict(how["options"]),
            IdseOptions(**how["idse"]) if how["idse"] else None,
        )


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
    codec, idse = encoders.get(setting.encoder), variant.idse_of(setting)
    tools = codec.tools()
    config: tuple[Path, ...] = (
        _file(data, setting.config, tools.config_dir)
        if setting.config
        else codec.config_for(setting.structure, fmt, tools),
    )
    if clip.config:
        config += (_file(data, clip.config, tools.config_dir),)
    options = dict(setting.options)
    if clip.intra_period and setting.structure == "randomaccess":
        options[codec.intra_period_option] = str(clip.intra_period)
    if variant.kind == "aq":
        if not codec.adaptive_qp(variant.mode):
            raise FprdoError(
                f"variant {variant.name}: {codec.title} has no adaptive QP of its own; name the encoders that it "
                f'is for, like encoders = ["{DEFAULT}"]'
            )
        options |= codec.adaptive_qp(variant.mode)
    if variant.kind == "defaults":
        options |= codec.own_defaults
    if idse is not None:
        options = {**codec.weighted_options(idse), **options}
    options |= variant.options
    program = tools.stock_encoder if idse is None else tools.encoder
    return Setup(
        codec.name,
        tools.version,
        program.parent.parent.name,
        idse is None,
        config,
        tuple(hashlib.sha256(path.read_bytes()).hexdigest() for path in config),
        options,
        idse,
    )


def _job(
    setup: Setup,
    fmt: VideoFormat,
    frames: int,
    rate: Fraction,
    control: str,
    value: float,
    source: Path,
    folder: Path,
    weights: Path | None,
    title: str,
) -> EncodeJob:
    """The encode of a rate point, with its outputs in `folder`."""
    return EncodeJob(
        source=source,
        fmt=fmt,
        frames=frames,
        rate=Rate(control, value),
        bitstream=folder / "bitstream.bin",
        recon=folder / "recon.yuv",
        config=setup.config,
        options=dict(setup.options),
        weights=weights,
        idse=setup.idse or IdseOptions(),
        frame_rate=rate,
        portable=True,
        title=title,
    )


def point(
    setup: Setup, fmt: VideoFormat, frames: int, rate: Fraction, control: str, value: float, title: str
) -> tuple[dict[str, Any], list[str]]:
    """What determines the bitstream of a rate point besides the source and the weights: the encoder's build, its
    command line without the names of files, and the content of its configuration files. Also lines for the user about
    it.

    Raises
    ------
    FprdoError
        What the encoder would refuse, as far as it does not depend on the source's samples.
    """
    codec = encoders.get(setup.encoder)
    place = Path("/fprdo")  # stands for every folder: a name in a command line is no part of a result
    job = _job(
        setup,
        fmt,
        frames,
        rate,
        control,
        value,
        place / "source.yuv",
        place,
        None if setup.idse is None else place / "weights.idse",
        title,
    )
    _check(codec, job, setup)
    command = codec.command(job, place / codec.name)
    for number, path in enumerate(setup.config):
        command = [word.replace(str(path.absolute()), f"config {number}") for word in command]
    spec = {"encoder": setup.encoder, "build": setup.build, "configs": list(setup.config_hashes), "command": command}
    return spec, codec.remarks(job)


def _file(data: Path, name: str, own: Path) -> Path:
    """A configuration file of the user, or one that the encoder brings."""
    for path in (data / name, own / name):
        if path.is_file():
            return path
    raise FprdoError(f"{data / name}: no such configuration file; check the name and --data")


def _check(codec: Codec, job: EncodeJob, setup: Setup) -> None:
    """What encoders.checking looks at, but for the source. Raises FprdoError."""
    adaptive = any(setup.options.get(name, "0") != "0" for name in codec.adaptive_qp(1))
    of_preset = setup.idse is not None and setup.idse.aq_strength > 0  # which does without it at constant QP
    if adaptive and not of_preset and job.rate.kind == "qp" and not codec.adaptive_at_constant_qp:
        raise FprdoError(
            f"{job.title}: {codec.title} has no adaptive quantisation at constant QP; give rate points as crf"
        )
    try:
        check_settings(codec, job)
    except FprdoError as error:
        raise FprdoError(str(error) if str(error).startswith(job.title) else f"{job.title}: {error}") from None


def cost(encoder: str, fmt: VideoFormat, frames: int) -> tuple[float, int]:
    """Rough seconds of one core, and bytes of memory, of an encode."""
    codec, samples = encoders.get(encoder), fmt.width * fmt.height
    return (0.02 + codec.seconds_per_megasample * samples * frames / 1e6, (40 << 20) + codec.bytes_per_sample * samples)


# ---- encoding --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Encoded:
    """What an encode left besides its files.

    `bits` counts pictures and parameter sets, `bitstream_bits` the whole file; `recon` is the hash of the encoder's
    reconstruction (`frames_hash`), of format `format`; `memory` is the peak in bytes; `notes` are what the encoder
    said that its user should know.
    """

    bits: int
    bitstream_bits: int
    recon: str
    format: dict[str, Any]
    seconds: float
    memory: int
    command: str
    qp_offset_mean: float
    notes: list[str]


def encode(
    setup: Setup,
    fmt: VideoFormat,
    frames: int,
    rate: Fraction,
    control: str,
    value: float,
    source: Path,
    weights: Path | None,
    folder: Path,
    title: str,
) -> Encoded:
    """Run an encoder; leaves bitstream.bin and log.txt in `folder`.

    Parameters
    ----------
    rate : pictures per second
    control, value : the rate point
    source : raw samples of format `fmt`
    weights : of an encode with weights

    Raises
    ------
    FprdoError
        The build differs from the one of the plan, or the encode fails.
    """
    codec = encoders.get(setup.encoder)
    tools = codec.tools()
    program = tools.stock_encoder if setup.stock else tools.encoder
    if program.parent.parent.name != setup.build:
        raise FprdoError(
            f"{program}: is another build than the plan's ({setup.build}); run python3 build.py {codec.name} "
            "here from the same sources"
        )
    job = _job(setup, fmt, frames, rate, control, value, source, folder, weights, title)
    result = running.encode(codec, job, tools, stock=setup.stock)
    assert result.recon and result.log_file
    recon = frames_hash(read_yuv(result.recon, result.fmt))
    result.recon.unlink()
    result.log_file.rename(folder / "log.txt")
    idse = result.log.idse
    return Encoded(
        result.bits,
        8 * job.bitstream.stat().st_size,
        recon,
        material.format_json(result.fmt),
        round(result.cpu_seconds, 3),
        result.peak_memory,
        shlex.join(result.command),
        idse.qp_offset_mean if idse else 0.0,
        list(dict.fromkeys(result.log.notes)),
    )


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


def verify(
    encoder: str, bitstream: Path, fmt: VideoFormat, expected: str, folder: Path, title: str
) -> dict[str, float]:
    """Decode with the encoder's stock decoder and libavcodec; returns seconds by decoder.

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
        _compare(codec.title, title, read_yuv(folder / "decoded.yuv", fmt), expected)
        (folder / "decoded.yuv").unlink()
    if libav.supports(fmt, codec.standard):
        started = time.perf_counter()
        _compare(libav.TITLE, title, libav.decode_libav(bitstream, fmt), expected)
        seconds[libav.TITLE] = time.perf_counter() - started
    if not seconds:
        raise FprdoError(f"{title}: no stock decoder reads {fmt}; use another bit depth or chroma format")
    return seconds


def _compare(name: str, title: str, frames: Iterable[Frame], expected: str) -> None:
    if frames_hash(frames) != expected:
        raise FprdoError(
            f"{title}: {name} decodes something else than the encoder's reconstruction; this is a bug, please report it"
        )


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
    return {
        "settings": {**map_settings_json(settings), "layers": list(settings.layers) if settings.layers else None},
        "extractor": settings.load().description(),
    }


def map_how(settings: WeightSettings, device: str) -> dict[str, object]:
    """Where the network runs, and where the files of a map are."""
    regions = {"regions": asdict(settings.regions)} if settings.regions else {}
    return {"device": device, "predictor": settings.predictor, **regions}


def map_settings(spec: Mapping[str, Any], how: Mapping[str, Any]) -> WeightSettings:
    """The settings of a map job."""
    settings = spec["settings"]
    layers = tuple(settings["layers"]) if settings["layers"] else None
    regions = RegionSettings(**how.get("regions", {}))
    own = {"device": how["device"], "predictor": how["predictor"]}
    return WeightSettings(**{**settings, **own, "layers": layers, "regions": regions})


def write_map(source: Source, settings: WeightSettings, extractor: Any, path: Path) -> None:
    """Compute the weights of a source. Raises FprdoError."""
    write_weights(source, settings, path, extractor)


def map_cost(settings: WeightSettings, fmt: VideoFormat, frames: int) -> tuple[float, int, int]:
    """Rough seconds of one core, bytes of memory and bytes on the disk of a map."""
    samples, maps = fmt.width * fmt.height, -(-frames // settings.frames_per_map)
    return (
        1 + maps * settings.probes * 1.2 * samples / 1e6,
        (400 << 20) + 1300 * min(samples, 1 << 21),
        (64 << 10) + 15 * samples * maps,
    )
