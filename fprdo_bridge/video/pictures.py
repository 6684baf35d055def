"""Picture files in and out, as R'G'B' of sRGB.

Files of 16 bits keep them: PNG, TIFF and PPM in, PNG and PPM out.
"""

import io
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fprdo_bridge.errors import FprdoError
from fprdo_bridge.files import replacing
from fprdo_bridge.values import whole_number
from fprdo_bridge.video.formats import Frame, VideoFormat
from fprdo_bridge.video.picture_reader import Samples, read_picture

# What is written: suffix -> Pillow's name and options.
WRITTEN: dict[str, tuple[str, dict[str, Any]]] = {
    ".png": ("PNG", {}),
    ".webp": ("WEBP", {"lossless": True}),
    ".jpg": ("JPEG", {"quality": 95}),
    ".jpeg": ("JPEG", {"quality": 95}),
    ".tif": ("TIFF", {}),
    ".tiff": ("TIFF", {}),
    ".bmp": ("BMP", {}),
    ".ppm": ("PPM", {}),
}


def load_picture(name: str | os.PathLike[str]) -> Samples:
    """Read a PNG, JPEG, WebP, TIFF, BMP, PPM or GIF picture, or one of scikit-image, as R'G'B' of sRGB.

    Grey is repeated three times, transparency is composed on white, a camera's orientation tag is applied. An animation
    gives its first picture. Colours of another space that the file names are converted.

    Parameters
    ----------
    name : a file, or `skimage:astronaut` and the like for `skimage.data.astronaut()`

    Returns
    -------
    (height, width, 3) of the whole range: uint8, or uint16 where the file has 16 bits

    Raises
    ------
    FprdoError
        The picture is missing, damaged, too large, of another format, or has no plain RGB meaning.

    Examples
    --------
    >>> load_picture("skimage:astronaut").shape
    (512, 512, 3)
    """
    return read_picture(name).rgb


def picture_to_frame(rgb: Samples, fmt: VideoFormat) -> Frame:
    """Convert R'G'B' to a frame by the matrix, range, chroma format and siting of `fmt`.

    The conversion is a floating-point one and rounds once, so that 16 bits keep their precision.

    Parameters
    ----------
    rgb : (fmt.height, fmt.width, 3) of the whole range, uint8 or uint16
    fmt : the format of the frame

    Returns
    -------
    planes Y, or Y, Cb and Cr, of shapes fmt.plane_shapes: fmt.dtype, rounded half up, 0 to fmt.max_value

    Raises
    ------
    FprdoError
        The picture is no such array, or does not have the size of `fmt`.
    """
    import torch  # slow to load, and raw files do without

    from fprdo_bridge.video.colour import rgb_to_frame

    if not isinstance(rgb, np.ndarray) or rgb.dtype not in (np.uint8, np.uint16) or rgb.shape[2:] != (3,):
        got = f"{rgb.dtype} {rgb.shape}" if isinstance(rgb, np.ndarray) else type(rgb).__name__
        raise FprdoError(f"picture of {got}: give an array (height, width, 3) of uint8 or uint16")
    if rgb.dtype == np.uint8:
        values = torch.from_numpy(rgb).float() / 255
    else:
        values = torch.from_numpy(rgb.astype(np.float64)) / 65535
    return rgb_to_frame(values.permute(2, 0, 1)[None], fmt)


def frame_to_picture(frame: Frame, fmt: VideoFormat, bits: int = 8) -> Samples:
    """Convert a frame to R'G'B' as a display shows it: by the matrix, range, chroma format and siting of `fmt`.

    Parameters
    ----------
    frame : integer planes Y, or Y, Cb and Cr, of shapes fmt.plane_shapes
    fmt : the format of the frame
    bits : per sample of the picture, 8 or 16

    Returns
    -------
    (fmt.height, fmt.width, 3) of the whole range, rounded half up and clipped: uint8, or uint16 for 16 bits; of 4:0:0
    three times the same

    Raises
    ------
    FprdoError
        `bits` is neither 8 nor 16, or the planes do not have the shapes of `fmt`.
    """
    import torch

    from fprdo_bridge.video.colour import frame_to_rgb, planes_to_rgb

    if whole_number("bits of a picture", bits) not in (8, 16):
        raise FprdoError(f"bits of a picture {bits}: use 8 or 16")
    if bits == 8:
        return (frame_to_rgb(frame, fmt)[0].permute(1, 2, 0) * 255 + 0.5).floor().byte().numpy()
    planes = [torch.from_numpy(plane.astype(np.float64)) for plane in frame]
    rgb = planes_to_rgb(planes, fmt)[0].clamp(0, 1).permute(1, 2, 0)
    return (rgb * 65535 + 0.5).floor().numpy().astype(np.uint16)


def save_frame(path: str | os.PathLike[str], frame: Frame, fmt: VideoFormat) -> None:
    """Write a frame as a picture: grey where it is 4:0:0, of 16 bits where it has more than 8 and the file can hold it.

    Raises
    ------
    FprdoError
        As save_picture.
    """
    rgb = frame_to_picture(frame, fmt, 16 if fmt.bit_depth > 8 and holds_16_bits(path) else 8)
    save_picture(path, np.ascontiguousarray(rgb[..., 0]) if fmt.chroma == "400" else rgb)


def holds_16_bits(path: str | os.PathLike[str]) -> bool:
    """Whether save_picture writes 16 bits by the suffix of `path`."""
    return Path(path).suffix.lower() in (".png", ".ppm")


def save_picture(path: str | os.PathLike[str], picture: NDArray[Any]) -> None:
    """Write R'G'B' (height, width, 3) or grey (height, width), uint8 or uint16 of the whole range.

    The suffix chooses the format: .png, .webp (lossless), .jpg (quality 95), .tif, .bmp, .ppm. PNG and PPM may have 16
    bits.

    Raises
    ------
    FprdoError
        The suffix is none of these, the picture does not fit the format, or the file cannot be written.
    """
    deep = picture.dtype == np.uint16
    if picture.dtype not in (np.uint8, np.uint16) or picture.ndim != 2 and picture.shape[2:] != (3,):
        raise FprdoError(
            f"{path}: a picture to save must be uint8 or uint16, (height, width) or (height, width, 3), "
            f"not {picture.dtype} {picture.shape}"
        )
    suffix = Path(path).suffix.lower()
    if suffix not in WRITTEN:
        raise FprdoError(
            f"{path}: unknown picture type {suffix or '(no suffix)'}; use .png, .webp, .jpg, .tif, .bmp or .ppm"
        )
    if deep and not holds_16_bits(path):
        raise FprdoError(f"{path}: 16 bits are written as .png or .ppm, not as {suffix}")
    if suffix == ".ppm" and picture.ndim == 2:
        picture = np.repeat(picture[..., None], 3, axis=2)
    kind, options = WRITTEN[suffix]
    if deep:
        data = _png16(picture) if suffix == ".png" else _ppm16(picture)
    else:
        buffer = io.BytesIO()  # so that what Pillow refuses is not taken for what the disk does
        try:
            Image.fromarray(picture).save(buffer, kind, **options)
        except (OSError, ValueError) as error:
            raise FprdoError(f"{path}: cannot be written as {suffix} ({error}); use .png") from None
        data = buffer.getvalue()
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def _png16(picture: NDArray[Any]) -> bytes:
    """A PNG of 16 bits per sample, not interlaced, each row filtered by the one above (PNG specification, clause 9)."""
    height, width = picture.shape[:2]
    rows = np.ascontiguousarray(picture, ">u2").view(np.uint8).reshape(height, -1)
    filtered = rows - np.vstack((np.zeros_like(rows[:1]), rows[:-1]))  # modulo 256
    body = np.hstack((np.full((height, 1), 2, np.uint8), filtered))

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 16, 2 if picture.ndim == 3 else 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(body.tobytes()))
        + chunk(b"IEND", b"")
    )


def _ppm16(picture: NDArray[Any]) -> bytes:
    height, width = picture.shape[:2]
    return f"P6\n{width} {height}\n65535\n".encode() + picture.astype(">u2").tobytes()
