"""Bitstreams in .mp4 and .mkv files: packed and unpacked without coding anything again."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
from av.bitstream import BitStreamFilterContext

from fprdo_bridge.bitstream.libav import readable, supports
from fprdo_bridge.bitstream.nal_units import Standard
from fprdo_bridge.bitstream.probe import standard_of
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.video.formats import VideoFormat
from fprdo_bridge.video.pictures import WRITTEN

_FORMATS = {".mp4": "mp4", ".mkv": "matroska"}  # libavformat's names
_OTHERS = (
    ".3gp",
    ".asf",
    ".avi",
    ".f4v",
    ".flv",
    ".gif",
    ".ivf",
    ".m2ts",
    ".m4v",
    ".mov",
    ".mpeg",
    ".mpg",
    ".mts",
    ".mxf",
    ".nut",
    ".ogg",
    ".ogv",
    ".ts",
    ".vob",
    ".webm",
    ".wmv",
)
_TAGS = {Standard.HEVC: "hvc1", Standard.AVC: "avc1"}  # parameter sets in the header of the file, not in the stream
_TO_BYTE_STREAM = {"hevc": "hevc_mp4toannexb", "h264": "h264_mp4toannexb"}


def container_of(path: Path) -> str | None:
    """The container that the suffix of a bitstream asks for; None for a plain byte stream."""
    return _FORMATS.get(path.suffix.lower())


def check_suffix(path: Path, standard: Standard, fmt: VideoFormat) -> None:
    """Refuse a bitstream whose suffix promises a kind of file that is not written here, or not with this format.

    Raises
    ------
    FprdoError
        It is that of another container, of a picture or of samples; libavcodec, which packs it, does not know `fmt`.
    """
    suffix = path.suffix.lower()
    if suffix in _OTHERS or suffix in WRITTEN or suffix in (".yuv", ".y4m"):
        raise FprdoError(
            f"{path}: a bitstream is not written as {path.suffix}; use {' or '.join(_FORMATS)}, or another "
            "suffix, such as .bin, for a plain byte stream"
        )
    if container_of(path) and not supports(fmt, standard):
        raise FprdoError(
            f"{path}: {standard.title} of {fmt.bit_depth} bits is not packed into {path.suffix}; use another suffix, "
            "such as .bin, for a plain byte stream"
        )


def mux(bitstream: Path, path: Path, fmt: VideoFormat, frame_rate: Fraction, order: Sequence[int]) -> None:
    """Pack a byte stream into the container that the suffix of `path` asks for.

    Parameters
    ----------
    fmt : of its pictures
    order : for each picture in coding order a number by which pictures of one coded sequence are shown

    Raises
    ------
    FprdoError
        The bitstream has another number of pictures, or cannot be packed.
    """
    standard = standard_of(bitstream)
    shown = _display_order(order)
    rate = {"framerate": str(frame_rate)}
    delay = max(position - place for position, place in enumerate(shown))  # pictures that wait for earlier ones
    try:
        with (
            av.open(readable(bitstream, standard, fmt), "r", format=standard.value, options=rate) as source,
            av.open(str(path), "w", format=_FORMATS[path.suffix.lower()], options=_options(path, frame_rate)) as target,
        ):
            stream = source.streams.video[0]
            track = target.add_stream_from_template(stream)
            if path.suffix.lower() == ".mp4":
                track.codec_context.codec_tag = _TAGS[standard]
            track.time_base = 1 / frame_rate
            packets = [packet for packet in source.demux(stream) if packet.size]
            if len(packets) != len(shown):
                raise FprdoError(f"{path.name}: has {len(packets)} pictures where {len(shown)} were coded")
            for position, packet in enumerate(packets):
                packet.stream = track
                packet.time_base = 1 / frame_rate
                packet.pts, packet.dts, packet.duration = shown[position], position - delay, 1
                target.mux(packet)
    except av.error.FFmpegError as error:
        raise FprdoError(f"{path.name}: the bitstream cannot be packed into it ({error.strerror})") from error


def _options(path: Path, frame_rate: Fraction) -> dict[str, str]:
    return {"video_track_timescale": str(frame_rate.numerator)} if path.suffix.lower() == ".mp4" else {}


def _display_order(order: Sequence[int]) -> list[int]:
    """Place of each picture in output order; the count begins anew at every IDR picture, which has the number 0."""
    keys = []
    sequence = 0
    for index, number in enumerate(order):
        sequence += index > 0 and number == 0
        keys.append((sequence, number))
    places = {key: place for place, key in enumerate(sorted(keys))}
    return [places[key] for key in keys]


@contextmanager
def byte_stream(path: Path, folder: Path) -> Iterator[Path]:
    """The bitstream itself, or that in a .mp4 or .mkv file, unpacked into `folder`.

    Raises
    ------
    FprdoError
        The file cannot be read, or holds no HEVC or AVC.
    """
    if not container_of(path) or not path.is_file():
        yield path
        return
    unpacked = folder / "bitstream"
    try:
        with av.open(str(path)) as source, open(unpacked, "wb") as target:
            stream = source.streams.video[0]
            name = stream.codec_context.name
            if name not in _TO_BYTE_STREAM:
                raise FprdoError(f"{path}: holds {name}, which is not decoded here; give HEVC or AVC")
            annex_b = BitStreamFilterContext(_TO_BYTE_STREAM[name], stream)
            for packet in source.demux(stream):
                for part in annex_b.filter(packet if packet.size else None):
                    target.write(bytes(part))
    except (av.error.FFmpegError, IndexError) as error:
        reason = getattr(error, "strerror", None) or "no video"
        raise FprdoError(f"{path}: cannot be read ({reason}); it is damaged or no {path.suffix} file") from error
    try:
        yield unpacked
    except FprdoError as error:  # it names the file that the user does not know
        raise FprdoError(str(error).replace(str(unpacked), str(path))) from error
