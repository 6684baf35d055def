"""The stock decoders: HM's own, which checks every picture's MD5, JM's own, and libavcodec as an independent second."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from fprdo_bridge.files import replacing
from fprdo_bridge.encoders import hm_log, jm_log
from fprdo_bridge.bitstream.nal_units import nal_units
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.video.formats import Frame, VideoFormat, coded_format, crop_frame
from fprdo_bridge.video.raw import read_yuv, write_yuv
from fprdo_bridge.toolchain import Toolchain

# libavcodec's decoders know these bit depths, and these pixel formats for them; the yuvj ones say full range.
_LIBAV_DEPTHS = {"hevc": (8, 9, 10, 12), "h264": (8, 9, 10, 12, 14)}
_LIBAV_TITLES = {"hevc": "HEVC", "h264": "AVC"}
_OTHER = {"hevc": "use the HM decoder", "h264": "use the JM decoder"}
_LIBAV_FORMATS = {f"{prefix}{'' if depth == 8 else f'{depth}le'}": (chroma, depth)
                  for depth in (8, 9, 10, 12, 14)
                  for prefix, chroma in (("gray", "400"), ("yuv420p", "420"), ("yuv422p", "422"), ("yuv444p", "444"))}
_LIBAV_FORMATS |= {f"yuvj{chroma}p": (chroma, 8) for chroma in ("420", "422", "444")}
_AVC_SPS = 7  # nal_unit_type, H.264 table 7-1
# profile_idc whose sequence parameter sets have a chroma format, H.264 clause 7.3.2.1.1
_AVC_WITH_CHROMA_FORMAT = (44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244)
_HEVC_HASH = (40, 132)  # nal_unit_type and payloadType of a decoded picture hash, H.265 table 7-1 and clause D.2.1
_LIBAV_MATRICES = {5: "bt601", 6: "bt601", 1: "bt709", 9: "bt2020"}  # matrix_coeffs, H.265 table E.5


@dataclass(frozen=True)
class DecodeReport:
    """What HM's decoder found, pictures in decoding order."""

    pictures: tuple[hm_log.DecodedPicture, ...]

    @property
    def unverified(self) -> int:
        """Pictures without a hash in the bitstream; 0 for every bitstream of encoders.hm.encode."""
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
        run = _run(arguments, Path(work), "hm")
        pictures = hm_log.parse_decoder_log(run.stdout)
        for picture in pictures:
            if picture.verified is False:
                raise FprdoError(f"{bitstream}: the MD5 of picture {picture.poc} is not the encoder's; the bitstream "
                                 "is damaged, or the encoder lost step with the standard")
        _check_decoded(bitstream, "HM", run, decoded, len(pictures), coded)
        write_yuv(temporary, (crop_frame(frame, fmt) for frame in read_yuv(decoded, coded)), fmt)
    return DecodeReport(pictures)


def decode_jm(bitstream: Path, tools: Toolchain, out_yuv: Path, fmt: VideoFormat) -> int:
    """Decode with the stock JM decoder into raw YUV of format `fmt`, in output order; returns the number of pictures.

    AVC bitstreams carry no hash of a picture, so damage that decodes to something is not noticed: compare with the
    reconstruction (formats.first_difference).

    Raises
    ------
    FprdoError
        The bitstream is missing, not of format `fmt` (padded by `coded_format`), or so damaged that JM says so. Then
        `out_yuv` is not touched.
    """
    _check_readable(bitstream)
    coded = coded_format(fmt)
    with replacing(out_yuv) as temporary, tempfile.TemporaryDirectory(dir=out_yuv.parent, prefix=".fprdo-") as work:
        # JM's file names hold no blank and no equals sign, and its logs go to its working directory.
        os.symlink(bitstream.absolute(), Path(work) / "bitstream.264")
        decoded = Path(work) / "decoded.yuv"
        run = _run([str(tools.stock_decoder), "-d", "null", "-p", "InputFile=bitstream.264", "-p",
                    "OutputFile=decoded.yuv", "-p", "WriteUV=0"], Path(work), "jm")
        complaint = next((line for line in run.stdout.splitlines() + run.stderr.splitlines()
                          if line.startswith(("warning: ", "An unintentional loss", "Error "))), None)
        if complaint:
            raise FprdoError(f"{bitstream}: JM's decoder finds it damaged ({complaint.strip()})")
        pictures = jm_log.parse_decoder_log(run.stdout) or 0
        _check_decoded(bitstream, "JM", run, decoded, pictures, coded)
        write_yuv(temporary, (crop_frame(frame, fmt) for frame in read_yuv(decoded, coded)), fmt)
    return pictures


def _run(arguments: list[str], folder: Path, name: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(arguments, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8",
                              errors="replace")
    except OSError as error:
        raise FprdoError(f"{arguments[0]}: cannot be run ({error.strerror}); run python3 build.py {name}") from error


def _check_decoded(bitstream: Path, title: str, run: subprocess.CompletedProcess[str], decoded: Path, pictures: int,
                   coded: VideoFormat) -> None:
    size = decoded.stat().st_size if decoded.exists() else 0
    if run.returncode or not size:
        said = (run.stderr + run.stdout).split("\n")
        last = next((line.strip() for line in reversed(said) if line.strip()), "no message")
        last = last[max(0, last.find("Assertion ")):]  # without the place in its source
        raise FprdoError(f"{bitstream}: {title}'s decoder cannot read it (exit status {run.returncode}: {last}); it is "
                         "damaged or cut short, encode or copy it again")
    if size != pictures * coded.frame_bytes:
        raise FprdoError(f"{bitstream}: decodes to {size} bytes for {pictures} pictures, not {coded}; "
                         "check size, chroma format and bit depth")


def bitstream_codec(bitstream: Path) -> str:
    """"hevc" or "h264", by the first NAL unit of a byte stream: HEVC begins with a parameter set, a delimiter or SEI,
    whose two header bytes do not begin an AVC bitstream.

    Raises
    ------
    FprdoError
        The bitstream is missing or empty.
    """
    _check_readable(bitstream)
    with open(bitstream, "rb") as file:
        header = file.read(64).partition(b"\0\0\1")[2][:2]
    # nal_unit_type 32 to 35 and 39 of layer 0 (H.265 table 7-1)
    return "hevc" if len(header) < 2 or header[0] in (0x40, 0x42, 0x44, 0x46, 0x4E) and header[1] == 1 else "h264"


def check_decoder(bitstream: Path, decoder: str) -> None:
    """Refuse to give a bitstream to the decoder "hm" or "jm" of the other standard, which would never end or crash.

    Raises
    ------
    FprdoError
        The bitstream is missing, empty or of the other standard.
    """
    codec = bitstream_codec(bitstream)
    own = {"hevc": "hm", "h264": "jm"}[codec]
    if decoder not in (own, "libavcodec"):
        raise FprdoError(f"{bitstream}: is {_LIBAV_TITLES[codec]}; use --decoder {own} or libavcodec")


def check_complete(bitstream: Path, decoder: str, fmt: VideoFormat) -> None:
    """Refuse a bitstream that ends inside a picture where `decoder` would not notice.

    HM's decoder notices except for a lost hash, JM's and libavcodec's of HEVC do not. HEVC: the last picture has no
    hash; where none has one, HM's decoder may judge. AVC: libavcodec tries it first, if it knows the format; it
    overlooks a loss of some bytes at the very end. What was cut between two pictures is a shorter bitstream, which is
    right by itself.

    Raises
    ------
    FprdoError
        The bitstream is not complete.
    """
    codec = bitstream_codec(bitstream)
    if codec == "h264":
        if decoder == "jm" and supported_by_libav(fmt, codec):
            for _ in decode_libav(bitstream, fmt):
                pass
        return
    data = bitstream.read_bytes()
    starts = [start for start, end in nal_units(data) if end > start + 2]
    slices = [start for start in starts if data[start] >> 1 & 63 < 32]
    hashes = [start for start in starts if (data[start] >> 1, data[start + 2]) == _HEVC_HASH]
    if hashes and slices and hashes[-1] < slices[-1]:
        raise FprdoError(f"{bitstream}: its last picture has lost its hash, so the file was cut short; encode or copy "
                         "it again")
    if not hashes and decoder == "libavcodec":
        raise FprdoError(f"{bitstream}: has no hash of a picture, without which libavcodec does not notice that a "
                         "file was cut short; use --decoder hm")


def supported_by_libav(fmt: VideoFormat, codec: str = "hevc") -> bool:
    """Whether libavcodec's decoder of `codec` ("hevc" or "h264") knows the format."""
    return fmt.bit_depth in _LIBAV_DEPTHS[codec] and not (codec == "h264" and fmt.chroma == "400" and fmt.bit_depth > 8)


def decode_libav(bitstream: Path, fmt: VideoFormat) -> Iterator[Frame]:
    """Decode HEVC or AVC with libavcodec; frames of format `fmt` in output order, one in memory at a time.

    libavcodec checks the MD5 of each HEVC picture too, but where a file was cut inside its last picture the MD5 is gone
    with the rest, and libavcodec gives what it has; AVC has no MD5. Compare with the reconstruction
    (formats.first_difference), or let the HM decoder judge. The file and the format are checked before the first frame
    is asked for.

    Raises
    ------
    FprdoError
        The bitstream is missing, damaged or not of format `fmt` (padded by `coded_format`), or libavcodec does not
        decode this format.
    """
    codec = bitstream_codec(bitstream)
    if not supported_by_libav(fmt, codec):
        raise FprdoError(f"{bitstream}: libavcodec decodes {_LIBAV_TITLES[codec]} of "
                         f"{', '.join(map(str, _LIBAV_DEPTHS[codec]))} bits"
                         f"{', and 4:0:0 of 8' if codec == 'h264' else ''}, not "
                         f"{fmt.bit_depth}; {_OTHER[codec]}")
    return _libav_frames(bitstream, codec, fmt)


def _libav_frames(bitstream: Path, codec: str, fmt: VideoFormat) -> Iterator[Frame]:
    coded = coded_format(fmt)
    try:
        with av.open(str(bitstream), format=codec) as container:
            stream = container.streams.video[0]
            # Check the pictures' hashes, and raise where libavcodec would conceal an error.
            stream.codec_context.options = {"err_detect": "crccheck+explode"}
            for picture in container.decode(stream):
                yield crop_frame(_planes(picture, coded, bitstream, codec), fmt)
    except (av.error.FFmpegError, IndexError) as error:
        reason = getattr(error, "strerror", None) or "no video"
        raise FprdoError(f"{bitstream}: libavcodec cannot decode it ({reason}); it is damaged or cut short, encode or "
                         "copy it again") from error


def _planes(picture: av.VideoFrame, coded: VideoFormat, bitstream: Path, codec: str) -> Frame:
    """The planes of a libav picture without the padding at the end of its lines.

    VideoFrame.to_ndarray does not know all of these pixel formats, nor odd sizes.
    """
    name = picture.format.name
    if name not in _LIBAV_FORMATS:
        raise FprdoError(f"{bitstream}: libavcodec decodes it to pixel format {name}, which is not supported here; "
                         f"{_OTHER[codec]}")
    chroma, depth = _LIBAV_FORMATS[name]
    if codec == "h264" and coded.chroma == "400" and chroma == "420":
        chroma = "400"  # libavcodec adds grey chroma to AVC without any
    found = (picture.width, picture.height, chroma, depth)
    if found != (coded.width, coded.height, coded.chroma, coded.bit_depth):
        raise FprdoError(f"{bitstream}: holds {found[0]}x{found[1]} {name} pictures, not {coded}; "
                         "check size, chroma format and bit depth")
    stored = coded.dtype.newbyteorder("<")
    frame = []
    for plane, (rows, columns) in zip(picture.planes, coded.plane_shapes):
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
    """Size, chroma format, bit depth, matrix and range that an HEVC or AVC bitstream declares.

    The size is the coded one (`coded_format`). A matrix or range that it leaves open is VideoFormat's default, and so
    is the chroma siting, which libavcodec does not hand out.

    Raises
    ------
    FprdoError
        The bitstream is missing, damaged, or of a kind that libavcodec does not decode.
    """
    codec = bitstream_codec(bitstream)
    try:
        with av.open(str(bitstream), format=codec) as container:
            context = container.streams.video[0].codec_context
            name = context.pix_fmt
            size, colorspace, full_range = (context.width, context.height), context.colorspace, context.color_range == 2
    except (av.error.FFmpegError, IndexError) as error:
        reason = getattr(error, "strerror", None) or error
        raise FprdoError(f"{bitstream}: no {_LIBAV_TITLES[codec]} bitstream ({reason})") from error
    if name is None:
        raise FprdoError(f"{bitstream}: no HEVC or AVC bitstream (libavcodec finds no picture in it)")
    if name not in _LIBAV_FORMATS:
        raise FprdoError(f"{bitstream}: libavcodec decodes it to pixel format {name}, which is not supported here")
    chroma, depth = _LIBAV_FORMATS[name]
    if codec == "h264" and chroma == "420" and _avc_chroma_format_idc(bitstream) == 0:
        chroma = "400"  # libavcodec adds grey chroma
    matrix = _LIBAV_MATRICES.get(int(colorspace), VideoFormat.matrix)
    return VideoFormat(*size, chroma, depth, matrix, full_range)


def _avc_chroma_format_idc(bitstream: Path) -> int:
    """What the first sequence parameter set says (H.264 clause 7.3.2.1.1); 1, which is 4:2:0, where it says nothing."""
    with open(bitstream, "rb") as file:
        data = file.read(1 << 16)
    for start, end in nal_units(data):
        if data[start] & 31 == _AVC_SPS and data[start + 1] in _AVC_WITH_CHROMA_FORMAT:
            # After one byte each of NAL unit header, profile, constraint flags and level, which is not 0: no emulation
            # prevention byte comes this early.
            bits = "".join(f"{byte:08b}" for byte in data[start + 4:min(end, start + 16)])
            _, bits = _exp_golomb(bits)  # seq_parameter_set_id
            return _exp_golomb(bits)[0]
    return 1


def _exp_golomb(bits: str) -> tuple[int, str]:
    """The value of ue(v) at the beginning (H.264 clause 9.1), and the bits after it."""
    zeros = len(bits) - len(bits.lstrip("0"))
    end = 2 * zeros + 1
    return int(bits[zeros:end] or "1", 2) - 1, bits[end:]
