"""The stock decoders: HM's own, which checks every picture's MD5, and libavcodec as an independent second."""

import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from fprdo_bridge.atomic import replacing
from fprdo_bridge.codecs.hm_log import DecodedPicture, parse_decoder_log
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.frames import Frame, VideoFormat, coded_format, crop_frame, read_yuv, write_yuv
from fprdo_bridge.toolchain import Toolchain

# libavcodec's HEVC decoder knows these bit depths, and these pixel formats for them; the yuvj ones say full range.
_LIBAV_DEPTHS = (8, 9, 10, 12)
_LIBAV_FORMATS = {f"{prefix}{'' if depth == 8 else f'{depth}le'}": (chroma, depth)
                  for depth in _LIBAV_DEPTHS
                  for prefix, chroma in (("gray", "400"), ("yuv420p", "420"), ("yuv422p", "422"), ("yuv444p", "444"))}
_LIBAV_FORMATS |= {f"yuvj{chroma}p": (chroma, 8) for chroma in ("420", "422", "444")}
_LIBAV_MATRICES = {5: "bt601", 6: "bt601", 1: "bt709", 9: "bt2020"}  # matrix_coeffs, H.265 table E.5


@dataclass(frozen=True)
class DecodeReport:
    """What HM's decoder found, pictures in decoding order."""

    pictures: tuple[DecodedPicture, ...]

    @property
    def unverified(self) -> int:
        """Pictures without a hash in the bitstream; 0 for every bitstream of codecs.hm.encode."""
        return sum(picture.verified is None for picture in self.pictures)


def decode_hm(bitstream: Path, tools: Toolchain, out_yuv: Path, fmt: VideoFormat) -> DecodeReport:
    """Decode with the stock HM decoder into raw YUV of format `fmt`, in output order.

    Raises
    ------
    FprdoError
        The bitstream is missing, damaged or not of format `fmt` (padded by `coded_format`), or the MD5 of a picture is
        not the one that the encoder wrote. Then `out_yuv` is not touched.
    """
    _check_readable(bitstream)
    coded = coded_format(fmt)
    with replacing(out_yuv) as temporary, tempfile.TemporaryDirectory(dir=out_yuv.parent, prefix=".fprdo-") as work:
        decoded = Path(work) / "decoded.yuv"
        arguments = [str(tools.stock_decoder), "-b", str(bitstream.absolute()), "-o", str(decoded.absolute()),
                     "-d", "0"]  # at the bit depth of the bitstream
        try:
            run = subprocess.run(arguments, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8",
                                 errors="replace")
        except OSError as error:
            raise FprdoError(f"{arguments[0]}: cannot be run ({error.strerror}); run python3 build.py hm") from error
        pictures = parse_decoder_log(run.stdout)
        for picture in pictures:
            if picture.verified is False:
                raise FprdoError(f"{bitstream}: the MD5 of picture {picture.poc} is not the encoder's; the bitstream "
                                 "is damaged, or the encoder lost step with the standard")
        size = decoded.stat().st_size if decoded.exists() else 0
        if run.returncode or not size:
            said = (run.stderr + run.stdout).split("\n")
            last = next((line.strip() for line in reversed(said) if line.strip()), "no message")
            raise FprdoError(f"{bitstream}: HM's decoder cannot read it (exit status {run.returncode}: {last})")
        if size != len(pictures) * coded.frame_bytes:
            raise FprdoError(f"{bitstream}: decodes to {size} bytes for {len(pictures)} pictures, not {coded}; "
                             "check size, chroma format and bit depth")
        write_yuv(temporary, (crop_frame(frame, fmt) for frame in read_yuv(decoded, coded)), fmt)
    return DecodeReport(pictures)


def supported_by_libav(fmt: VideoFormat) -> bool:
    """Whether libavcodec's HEVC decoder knows the format's bit depth."""
    return fmt.bit_depth in _LIBAV_DEPTHS


def decode_libav(bitstream: Path, fmt: VideoFormat) -> Iterator[Frame]:
    """Decode with libavcodec; frames of format `fmt` in output order, one in memory at a time.

    libavcodec checks the MD5 of each picture too, but where a file was cut inside its last picture the MD5 is gone with
    the rest, and libavcodec gives what it has: compare with the reconstruction (frames.first_difference), or let the HM
    decoder judge. The file and the format are checked before the first frame is asked for.

    Raises
    ------
    FprdoError
        The bitstream is missing, damaged or not of format `fmt` (padded by `coded_format`), or libavcodec does not
        decode this format.
    """
    _check_readable(bitstream)
    if not supported_by_libav(fmt):
        raise FprdoError(f"{bitstream}: libavcodec decodes HEVC of {', '.join(map(str, _LIBAV_DEPTHS))} bits, not "
                         f"{fmt.bit_depth}; use the HM decoder")
    return _libav_frames(bitstream, fmt)


def _libav_frames(bitstream: Path, fmt: VideoFormat) -> Iterator[Frame]:
    coded = coded_format(fmt)
    try:
        with av.open(str(bitstream), format="hevc") as container:
            stream = container.streams.video[0]
            # Check the pictures' hashes, and raise where libavcodec would conceal an error.
            stream.codec_context.options = {"err_detect": "crccheck+explode"}
            for picture in container.decode(stream):
                yield crop_frame(_planes(picture, coded, bitstream), fmt)
    except (av.error.FFmpegError, IndexError) as error:
        reason = getattr(error, "strerror", None) or "no video"
        raise FprdoError(f"{bitstream}: libavcodec cannot decode it ({reason})") from error


def _planes(picture: av.VideoFrame, coded: VideoFormat, bitstream: Path) -> Frame:
    """The planes of a libav picture without the padding at the end of its lines.

    VideoFrame.to_ndarray does not know all of these pixel formats, nor odd sizes.
    """
    name = picture.format.name
    if name not in _LIBAV_FORMATS:
        raise FprdoError(f"{bitstream}: libavcodec decodes it to pixel format {name}, which is not supported here; "
                         "use the HM decoder")
    found = (picture.width, picture.height, *_LIBAV_FORMATS[name])
    if found != (coded.width, coded.height, coded.chroma, coded.bit_depth):
        raise FprdoError(f"{bitstream}: holds {found[0]}x{found[1]} {name} pictures, not {coded}; "
                         "check size, chroma format and bit depth")
    stored = coded.dtype.newbyteorder("<")
    frame = []
    for plane, (rows, columns) in zip(picture.planes, coded.plane_shapes, strict=True):
        lines = np.frombuffer(plane, np.uint8, rows * plane.line_size).reshape(rows, plane.line_size)
        samples = lines[:, :columns * stored.itemsize].copy().view(stored)
        frame.append(samples.astype(coded.dtype, copy=False))
    return tuple(frame)


def _check_readable(bitstream: Path) -> None:
    if not bitstream.is_file():
        raise FprdoError(f"{bitstream}: no such bitstream; check the name")
    if bitstream.stat().st_size == 0:
        raise FprdoError(f"{bitstream}: is empty; encode again")


def bitstream_format(bitstream: Path) -> VideoFormat:
    """Size, chroma format, bit depth, matrix and range that a bitstream declares.

    The size is the coded one (`coded_format`). A matrix or range that it leaves open is VideoFormat's default, and so is
    the chroma siting, which libavcodec does not hand out.

    Raises
    ------
    FprdoError
        The bitstream is missing, damaged, or of a kind that libavcodec does not decode.
    """
    _check_readable(bitstream)
    try:
        with av.open(str(bitstream), format="hevc") as container:
            context = container.streams.video[0].codec_context
            name = context.pix_fmt or "unknown"
            size, colorspace, full_range = (context.width, context.height), context.colorspace, context.color_range == 2
    except (av.error.FFmpegError, IndexError) as error:
        raise FprdoError(f"{bitstream}: no HEVC bitstream ({getattr(error, 'strerror', None) or error})") from error
    if name not in _LIBAV_FORMATS:
        raise FprdoError(f"{bitstream}: libavcodec decodes it to pixel format {name}, which is not supported here")
    chroma, depth = _LIBAV_FORMATS[name]
    matrix = _LIBAV_MATRICES.get(int(colorspace), VideoFormat.matrix)
    return VideoFormat(*size, chroma, depth, matrix, full_range)
