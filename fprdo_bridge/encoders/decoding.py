"""The decoders of a bitstream: the encoders' own, which are stock programs, and libavcodec as an independent second."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path

from fprdo_bridge import encoders
from fprdo_bridge.bitstream import libav
from fprdo_bridge.bitstream.hashes import hashes
from fprdo_bridge.bitstream.nal_units import Standard, nal_units, without_padding
from fprdo_bridge.bitstream.probe import read_bitstream, standard_of
from fprdo_bridge.encoders.codec import Codec
from fprdo_bridge.encoders.log import DecodedPicture, DecoderLog
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.files import folder_for, replacing, workspace
from fprdo_bridge.processes import child
from fprdo_bridge.text import printable
from fprdo_bridge.toolchain import Toolchain
from fprdo_bridge.video.formats import Frame, VideoFormat, coded_format, crop_frame, first_difference
from fprdo_bridge.video.raw import read_yuv, write_yuv

# Seconds that a decoder may take: far more than any needs, but one that reads damage for ever comes to an end.
_LEAST_SECONDS, _SECONDS_PER_MEGABYTE = 60.0, 30.0  # of decoded samples


@dataclass(frozen=True)
class DecodeReport:
    """What a decoder found.

    Attributes
    ----------
    decoder : its title
    pictures : that it decoded
    verified : those whose hash is that of the bitstream
    second : title of a decoder that gave the same pictures, where there was no hash to verify; empty if there was none
    details : per picture, in decoding order, from decoders that tell
    refused : what the encoder's own decoder said where this one took its place; empty if it did not
    """

    decoder: str
    pictures: int
    verified: int
    second: str = ""
    details: tuple[DecodedPicture, ...] = ()
    refused: str = ""

    def __str__(self) -> str:
        return f"{self._checked}. {self.refused}." if self.refused else f"{self._checked}."

    @property
    def _checked(self) -> str:
        if self.second:
            return f"Decoded by {self.decoder} and {self.second}, which agree"
        if self.verified == self.pictures:
            return f"Decoded by {self.decoder}, which verified the hash of every picture"
        if self.verified:
            return (
                f"Decoded by {self.decoder}, which verified the hashes of {self.verified} of {self.pictures} pictures"
            )
        return f"Decoded by {self.decoder}; there was no hash to verify"


class Decoding:
    """A bitstream while it is decoded.

    Attributes
    ----------
    frames : in output order, one in memory at a time
    """

    def __init__(self, frames: Iterator[Frame], report: DecodeReport) -> None:
        self._report, self._count = report, 0
        self.frames = self._counted(frames)

    def _counted(self, frames: Iterator[Frame]) -> Iterator[Frame]:
        for frame in frames:
            self._count += 1
            yield frame

    @property
    def report(self) -> DecodeReport:
        """What the decoder found, once the frames are through."""
        return replace(self._report, pictures=self._count, verified=min(self._report.verified, self._count))


@contextmanager
def decoding(bitstream: Path, fmt: VideoFormat, decoder: str | None = None) -> Iterator[Decoding]:
    """Decode, and check as well as the bitstream allows: by the hashes in it, or else by a second decoder.

    What was cut between two pictures is a shorter bitstream, which is right by itself.

    Parameters
    ----------
    bitstream : HEVC or AVC byte stream
    fmt : of the frames
    decoder : name of an encoder that brings one, or "libavcodec", which gets a second one where it notices less;
        None: that of an encoder of the standard which is built, and libavcodec where there is none, or where that
        ends with an error status (not by a crash or a failed assertion, which mean damage) on a bitstream whose hashes
        libavcodec can verify; the report says so

    Raises
    ------
    FprdoError
        The bitstream is missing, damaged, cut short, or not of format `fmt` (padded by `coded_format`), which may be
        seen only when its frames are asked for; the decoder is of the other standard or not built.
    """
    standard = standard_of(bitstream)
    found = hashes(bitstream)
    # libavcodec does not notice that HEVC without hashes was cut short.
    alone = decoder == libav.TITLE and (standard is Standard.AVC or found.total > 0)
    codec = None if alone else _own(standard, bitstream, decoder)
    if found.cut:
        raise FprdoError(
            f"{bitstream}: its last picture has lost its hash, so the file was cut short; encode or copy it again"
        )
    if codec and not found.total and libav.supports(fmt, standard):
        for _ in libav.decode_libav(bitstream, fmt):  # it ends on damage that JM's decoder would read for ever
            pass
    refused = ""
    with workspace() as folder:
        if codec:
            try:
                report = decode_own(codec, codec.tools(), bitstream, folder / "decoded.yuv", fmt)
            except _Unreadable as error:
                if decoder or not found.md5 or not libav.supports(fmt, standard):
                    raise
                codec, refused = None, printable(error.reason)
        if codec is None:
            report = DecodeReport(libav.TITLE, 0, found.md5, refused=refused)
            yield Decoding(libav.decode_libav(bitstream, fmt), report)
        elif report.verified or not libav.supports(fmt, standard):
            yield Decoding(read_yuv(folder / "decoded.yuv", fmt), report)
        else:
            frames = _agreeing(
                bitstream, codec.title, read_yuv(folder / "decoded.yuv", fmt), libav.decode_libav(bitstream, fmt)
            )
            yield Decoding(frames, replace(report, second=libav.TITLE))


def _agreeing(bitstream: Path, title: str, frames: Iterator[Frame], others: Iterator[Frame]) -> Iterator[Frame]:
    """The frames of a decoder, each compared with libavcodec's."""
    for number, (frame, other) in enumerate(zip_longest(frames, others)):
        if frame is None or other is None or first_difference([frame], [other]):
            raise FprdoError(
                f"{bitstream}: {title}'s decoder and {libav.TITLE} differ from picture {number} on; it is damaged "
                "or cut short, encode or copy it again"
            )
        yield frame


def decode_own(codec: Codec, tools: Toolchain, bitstream: Path, out_yuv: Path, fmt: VideoFormat) -> DecodeReport:
    """Decode with the stock decoder of an encoder into raw YUV of format `fmt`, in output order.

    HEVC bitstreams may carry a hash of every picture, AVC's carry none: there, damage that decodes to something is not
    noticed. Compare with the reconstruction (video.formats.first_difference).

    Raises
    ------
    FprdoError
        The bitstream is missing, damaged or not of format `fmt` (padded by `coded_format`), or the hash of a picture
        is not the one that the encoder wrote. Then `out_yuv` is not touched.
    """
    data = read_bitstream(bitstream)
    assert codec.decoder and tools.stock_decoder
    coded = coded_format(fmt)
    slices = sum(codec.standard.is_slice(codec.standard.unit_type(data[start:end])) for start, end in nal_units(data))
    if not slices:  # JM's decoder would crash or never end
        raise FprdoError(f"{bitstream}: holds no picture, so it is damaged or cut short; encode or copy it again")
    limit = _LEAST_SECONDS + _SECONDS_PER_MEGABYTE * slices * coded.frame_bytes / 1e6
    with replacing(out_yuv) as temporary, workspace(folder_for(out_yuv)) as work:
        clean = without_padding(data)
        if clean is data:
            os.symlink(bitstream.absolute(), work / codec.decoder.BITSTREAM)
        else:
            (work / codec.decoder.BITSTREAM).write_bytes(clean)
        command = codec.decoder.command(tools.stock_decoder)
        status, output, errors = _run(command, work, codec.name, limit)
        if status is None:
            raise FprdoError(
                f"{bitstream}: {codec.title}'s decoder did not end within {limit:.0f} s; it is damaged or cut short, "
                "encode or copy it again"
            )
        log = codec.decoder.parse_log(output, errors)
        if log.complaint:
            raise FprdoError(
                f"{bitstream}: {codec.title}'s decoder finds it damaged or cut short ({log.complaint}); encode or "
                "copy it again"
            )
        _check_decoded(bitstream, codec.title, log, status, output, errors, work / codec.decoder.DECODED, coded)
        write_yuv(temporary, (crop_frame(frame, fmt) for frame in read_yuv(work / codec.decoder.DECODED, coded)), fmt)
    return DecodeReport(
        codec.title, log.pictures, sum(picture.verified is True for picture in log.details), details=log.details
    )


class _Unreadable(FprdoError):
    """A decoder ended by itself without its pictures; another one may read the bitstream."""

    def __init__(self, bitstream: Path, reason: str) -> None:
        super().__init__(f"{bitstream}: {reason}; it is damaged or cut short, encode or copy it again")
        self.reason = reason


def _own(standard: Standard, bitstream: Path, decoder: str | None) -> Codec | None:
    """The encoder whose own decoder is asked for; without a name, or with libavcodec's, the first one that is built."""
    if decoder in (None, libav.TITLE):
        built = [codec for codec in encoders.built() if codec.decoder and codec.standard is standard]
        return built[0] if built else None
    codec = encoders.get(decoder)
    if codec.standard is not standard:
        others = [
            name for name in encoders.decoders() if name == libav.TITLE or encoders.get(name).standard is standard
        ]
        raise FprdoError(f"{bitstream}: is {standard.title}; use --decoder {' or '.join(others)}")
    return codec


def _run(command: list[str], folder: Path, name: str, limit: float) -> tuple[int | None, str, str]:
    """Exit status, None after `limit` seconds without an end, standard output and standard error."""
    status = None
    with open(folder / "output.txt", "w+b") as output, open(folder / "errors.txt", "w+b") as errors:
        try:
            with child(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=errors) as process:
                with suppress(subprocess.TimeoutExpired):
                    status = process.wait(limit)
        except OSError as error:
            raise FprdoError(f"{command[0]}: cannot be run ({error.strerror}); run python3 build.py {name}") from error
        texts = []
        for file in (output, errors):
            file.seek(0)
            texts.append(file.read().decode("utf-8", "replace"))
    return status, texts[0], texts[1]


def _check_decoded(
    bitstream: Path,
    title: str,
    log: DecoderLog,
    status: int,
    output: str,
    errors: str,
    decoded: Path,
    coded: VideoFormat,
) -> None:
    size = decoded.stat().st_size if decoded.exists() else 0
    if status or not size:
        last = next((line.strip() for line in reversed((errors + output).split("\n")) if line.strip()), "no message")
        last = last[max(0, last.find("Assertion ")) :]  # without the place in its source
        unreadable = _Unreadable(bitstream, f"{title}'s decoder cannot read it (exit status {status}: {last})")
        # A signal ends a decoder that runs into damage, or whose assertions find it: no other one is to gloss it over.
        raise FprdoError(str(unreadable)) if status < 0 else unreadable
    if size != log.pictures * coded.frame_bytes:
        raise FprdoError(
            f"{bitstream}: decodes to {size} bytes for {log.pictures} pictures, not {coded}; "
            "check size, chroma format and bit depth"
        )
