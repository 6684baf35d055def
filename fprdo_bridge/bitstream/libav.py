"""libavcodec as a decoder: an independent second beside the encoders' own."""

from collections.abc import Iterator
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import av

from fprdo_bridge.bitstream.monochrome import with_equal_depths
from fprdo_bridge.bitstream.nal_units import Standard
from fprdo_bridge.bitstream.probe import read_bitstream, standard_of
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.video.container import PIXEL_FORMATS, picture_planes
from fprdo_bridge.video.formats import Frame, VideoFormat, coded_format, crop_frame

TITLE = "libavcodec"

# Its decoders know these bit depths.
_DEPTHS = {Standard.HEVC: (8, 9, 10, 12), Standard.AVC: (8, 9, 10, 12, 14)}


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
    name = picture.format.name
    if name not in PIXEL_FORMATS:
        raise FprdoError(
            f"{bitstream}: libavcodec decodes it to pixel format {name}, which is not supported here; use the "
            "encoder's own decoder"
        )
    # libavcodec adds grey chroma to AVC without any.
    grey = standard is Standard.AVC and coded.chroma == "400" and PIXEL_FORMATS[name][0] == "420"
    try:
        return picture_planes(picture, coded, "400" if grey else None)
    except FprdoError as error:
        raise FprdoError(f"{bitstream}: {error}; check size, chroma format and bit depth") from None
