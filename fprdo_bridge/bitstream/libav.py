"""libavcodec as a decoder: an independent second beside the encoders' own."""

from collections.abc import Iterator
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import av
import numpy as np

from fprdo_bridge.bitstream.monochrome import with_equal_depths
from fprdo_bridge.bitstream.nal_units import Standard
from fprdo_bridge.bitstream.probe import read_bitstream, standard_of
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.video.formats import Frame, VideoFormat, coded_format, crop_frame

TITLE = "libavcodec"

# Its decoders know these bit depths, and these pixel formats for them; the yuvj ones say full range.
_DEPTHS = {Standard.HEVC: (8, 9, 10, 12), Standard.AVC: (8, 9, 10, 12, 14)}
_PIXEL_FORMATS = {
    f"{prefix}{'' if depth == 8 else f'{depth}le'}": (chroma, depth)
    for depth in (8, 9, 10, 12, 14)
    for prefix, chroma in (("gray", "400"), ("yuv420p", "420"), ("yuv422p", "422"), ("yuv444p", "444"))
}
_PIXEL_FORMATS |= {f"yuvj{chroma}p": (chroma, 8) for chroma in ("420", "422", "444")}


def supports(fmt: VideoFormat, standard: Standard) -> bool:
    """Whether libavcodec's decoder of the standard knows the format."""
    return fmt.bit_depth in _DEPTHS[standard]


def decode_libav(bitstream: Path, fmt: VideoFormat) -> Iterator[Frame]:
    """Decode HEVC or AVC with libavcodec; frames of format `fmt` in output order, one in memory at a time.

    libavcodec checks the MD5 of each HEVC picture too, but where a file was cut inside its last picture the MD5 is gone
    with the rest, and libavcodec gives what it has; AVC has no MD5. Compare with the reconstruction
    (video.formats.first_difference). The file and the format are checked before the first frame is asked for.

    Raises
    ------
    FprdoError
        The bitstream is missing, damaged or not of format `fmt` (padded by `coded_format`), or libavcodec does not
        decode this format.
    """
    standard = standard_of(bitstream)
    if not supports(fmt, standard):
        raise FprdoError(
            f"{bitstream}: libavcodec decodes {standard.title} of "
            f"{', '.join(map(str, _DEPTHS[standard]))} bits, not {fmt.bit_depth}; use the encoder's own "
            "decoder"
        )
    return _frames(bitstream, standard, fmt)


def _frames(bitstream: Path, standard: Standard, fmt: VideoFormat) -> Iterator[Frame]:
    coded = coded_format(fmt)
    try:
        with av.open(readable(bitstream, standard, fmt), "r", format=standard.value) as container:
            stream = container.streams.video[0]
            # Check the pictures' hashes, and raise where libavcodec would conceal an error.
            stream.codec_context.options = {"err_detect": "crccheck+explode"}
            for picture in container.decode(stream):
                yield crop_frame(_planes(picture, coded, bitstream, standard), fmt)
    except (av.error.FFmpegError, IndexError) as error:
        reason = getattr(error, "strerror", None) or "no video"
        raise FprdoError(
            f"{bitstream}: libavcodec cannot decode it ({reason}); it is damaged or cut short, encode or copy it again"
        ) from error


def readable(bitstream: Path, standard: Standard, fmt: VideoFormat) -> str | BytesIO:
    """What libav opens: the file, or a copy of it that libavcodec takes (monochrome.py)."""
    if standard is Standard.AVC and fmt.chroma == "400" and fmt.bit_depth > 8:
        with suppress(EOFError, ValueError):
            return BytesIO(with_equal_depths(read_bitstream(bitstream)))
    return str(bitstream)


def _planes(picture: av.VideoFrame, coded: VideoFormat, bitstream: Path, standard: Standard) -> Frame:
    """The planes of a libav picture without the padding at the end of its lines.

    VideoFrame.to_ndarray does not know all of these pixel formats, nor odd sizes.
    """
    name = picture.format.name
    if name not in _PIXEL_FORMATS:
        raise FprdoError(
            f"{bitstream}: libavcodec decodes it to pixel format {name}, which is not supported here; use the "
            "encoder's own decoder"
        )
    chroma, depth = _PIXEL_FORMATS[name]
    if standard is Standard.AVC and coded.chroma == "400" and chroma == "420":
        chroma = "400"  # libavcodec adds grey chroma to AVC without any
    found = (picture.width, picture.height, chroma, depth)
    if found != (coded.width, coded.height, coded.chroma, coded.bit_depth):
        raise FprdoError(
            f"{bitstream}: holds {found[0]}x{found[1]} {name} pictures, not {coded}; "
            "check size, chroma format and bit depth"
        )
    stored = coded.dtype.newbyteorder("<")
    frame = []
    for plane, (rows, columns) in zip(picture.planes, coded.plane_shapes):
        lines = np.frombuffer(memoryview(plane), np.uint8, rows * plane.line_size).reshape(rows, plane.line_size)
        samples = lines[:, : columns * stored.itemsize].copy().view(stored)
        frame.append(samples.astype(coded.dtype, copy=False))
    return tuple(frame)
