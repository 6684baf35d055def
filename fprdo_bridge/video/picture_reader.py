"""Picture files as R'G'B' of sRGB: samples, orientation, transparency and what colours mean.

Pillow reads the samples of 8 bits. It keeps 8 of 16 bits in colour, so libavcodec reads those again, and the upper 8
must be Pillow's.
"""

import os
import re
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from fprdo_bridge.errors import FprdoError
from fprdo_bridge.files import regular_file
from fprdo_bridge.text import printable
from fprdo_bridge.video import picture_colour

Samples = NDArray[np.uint8] | NDArray[np.uint16]

SKIMAGE_PREFIX = "skimage:"
# What is read, by Pillow's names. Its many other formats have no plain R'G'B' meaning, or are rarely used and tested.
_FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "PPM", "GIF")
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".ppm", ".pgm", ".pbm", ".pnm", ".gif")
_ORIENTATION, _COLOUR_SPACE, _EXIF, _INTEROPERABILITY = 0x0112, 0xA001, 0x8769, 0xA005  # EXIF tags
_BITS_PER_SAMPLE = 258  # TIFF tag
_GREY16 = ("I;16", "I;16B", "I;16L", "I;16N")  # Pillow's modes


@dataclass(frozen=True)
class LoadedPicture:
    """A picture as sRGB.

    Attributes
    ----------
    rgb : uint8 or, where the file has 16 bits, uint16, of the whole range; (height, width, 3)
    notes : what was converted or is not known, one line each
    aspect : sample aspect ratio, width to height, where the file says that samples are not square
    """

    rgb: Samples
    notes: tuple[str, ...] = ()
    aspect: tuple[int, int] | None = None


def read_picture(name: str | os.PathLike[str]) -> LoadedPicture:
    """Read a PNG, JPEG, WebP, TIFF, BMP, PPM or GIF picture, or one of scikit-image.

    Grey is repeated three times, transparency is composed on white, a camera's orientation tag is applied; of an
    animation it is the first picture. Colours are converted to sRGB by the ICC profile, or by a PNG's cICP, or its cHRM
    and gAMA (picture_colour); without any of these they are sRGB.

    Parameters
    ----------
    name : str or path
        A file, or `skimage:astronaut` and the like: `skimage.data.astronaut()`.

    Raises
    ------
    FprdoError
        The picture is missing, damaged, too large, of another format, or has no plain RGB meaning.
    """
    if str(name).startswith(SKIMAGE_PREFIX):
        return LoadedPicture(_skimage_picture(str(name).removeprefix(SKIMAGE_PREFIX)))
    path = regular_file(name, "no such picture")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's remarks on large or slightly damaged pictures
            return _read(path)
    except UnidentifiedImageError:
        raise FprdoError(
            f"{name}: not a readable picture, as it is none of PNG, JPEG, WebP, TIFF, BMP, PPM and GIF; "
            "convert it to PNG, or give raw samples the suffix .yuv"
        ) from None
    except Exception as error:  # Pillow raises nearly everything, depending on the format and the place of the damage
        raise FprdoError(
            f"{name}: not a readable picture ({_one_line(error)}); give a PNG, JPEG or WebP file"
        ) from error


def _read(path: Path) -> LoadedPicture:
    notes: list[str] = []
    with Image.open(path, formats=_FORMATS) as image:
        if max(image.size) > 65535:
            raise ValueError(f"{image.width}x{image.height}: both sides must be 1 to 65535 samples")
        if image.format == "TIFF":
            orientation = _orientation(image, notes)
            with _standard_error_closed():  # libtiff writes its own remarks
                image.load()  # which turns it
        else:
            image.load()
            orientation = _orientation(image, notes)
        chunks = _png_chunks(path) if image.format == "PNG" else {}
        if getattr(image, "is_animated", False) and image.format != "MPO":
            notes.append("has several pictures; the first one is taken")
        aspect = _aspect(image, chunks, orientation)
        if _has_16_bits(image, path):
            samples, alpha = _deep_samples(image, path, orientation)
        else:
            samples, alpha = _samples(image, notes)
            if image.format != "TIFF":
                samples, alpha = _turned(samples, orientation), None if alpha is None else _turned(alpha, orientation)
        if image.mode != "CMYK":
            samples = _srgb(samples, image, chunks, notes)
    if alpha is not None and alpha.min() < np.iinfo(alpha.dtype).max:
        samples = _on_white(samples, alpha)
        notes.append("is transparent in places; it is composed on white")
    return LoadedPicture(np.require(samples, requirements=["C", "W"]), tuple(map(printable, notes)), aspect)


@contextmanager
def _standard_error_closed() -> Iterator[None]:
    """Lose what C code writes to standard error: a damaged picture is told in one line, which is ours."""
    try:
        kept = os.dup(2)
    except OSError:  # nobody listens as it is
        yield
        return
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


# ---- samples -------------------------------------------------------------------------------------------------------


def _has_16_bits(image: Image.Image, path: Path) -> bool:
    """Whether the file holds 16 bits per sample; ValueError for other depths above 8."""
    if image.mode == "F":
        raise ValueError("floating-point samples")
    with open(path, "rb") as file:
        start = file.read(4096)
    bits = 8
    if image.format == "PNG":
        bits = start[24]  # of IHDR
    elif image.format == "TIFF":
        bits = max(image.tag_v2.get(_BITS_PER_SAMPLE, (8,)))  # type: ignore[attr-defined]
    elif image.format == "PPM" and (match := _PNM_HEADER.match(start)):
        bits = 16 if int(match[4]) > 255 else 8
    if bits > 8 and bits != 16:
        raise ValueError(f"samples of {bits} bits")
    return bits == 16


def _samples(image: Image.Image, notes: list[str]) -> tuple[Samples, Samples | None]:
    """(height, width, 3) of a Pillow image, and (height, width) of its alpha channel if it has one."""
    if image.mode in ("I", "F", "LAB", "HSV") or image.mode in _GREY16:
        raise ValueError(f"samples of Pillow's mode {image.mode}")
    if image.mode == "CMYK":
        return np.asarray(_from_cmyk(image, notes)), None
    if image.has_transparency_data:
        layer = np.asarray(image.convert("RGBA"))
        return layer[..., :3], layer[..., 3]
    return np.asarray(image.convert("RGB")), None


def _from_cmyk(image: Image.Image, notes: list[str]) -> Image.Image:
    profile = image.info.get("icc_profile")
    if profile and picture_colour.icc_model(profile) == "CMYK":
        try:
            converted = picture_colour.by_littlecms(image, profile)
            notes.append(f"is CMYK, converted to sRGB by its profile {picture_colour.icc_name(profile)}")
            return converted
        except Exception as error:  # whatever a damaged profile leads to
            notes.append(f"has a colour profile that cannot be used ({_one_line(error)})")
    notes.append("is CMYK without a usable profile, converted to sRGB by complement of inks: colours are approximate")
    return image.convert("RGB")


def _deep_samples(image: Image.Image, path: Path, orientation: int) -> tuple[Samples, Samples | None]:
    """The 16-bit samples and alpha of a picture that Pillow has loaded, turned upright."""
    if image.mode in ("La", "RGBa"):
        raise ValueError("16-bit samples multiplied by their alpha")
    data = path.read_bytes()
    deep = _netpbm(data) if image.format == "PPM" else _by_libavcodec(data, str(image.format).lower())
    deep = _turned(deep, orientation)
    if image.format != "PPM":
        shallow = np.asarray(image)
        if image.format != "TIFF":
            shallow = _turned(shallow, orientation)
        shallow = shallow.reshape(*shallow.shape[:2], -1)
        own = deep[..., [0, 0, 0, 1]] if deep.shape[2] == 2 else deep  # Pillow repeats grey beside alpha
        own = own[..., : shallow.shape[2]]
        if not np.array_equal(own if image.mode in _GREY16 else own >> 8, shallow):
            raise ValueError("16-bit samples of a kind that is not read here")
    alpha = deep[..., -1] if deep.shape[2] in (2, 4) else None
    colour = deep[..., : deep.shape[2] - (alpha is not None)]
    return np.repeat(colour, 3, axis=2) if colour.shape[2] == 1 else colour, alpha


def _by_libavcodec(data: bytes, codec: str) -> NDArray[np.uint16]:
    """(height, width, channels) of a PNG or TIFF file of 16 bits."""
    import av

    context: Any = av.CodecContext.create(codec, "r")
    frame = (context.decode(av.Packet(data)) + context.decode(None))[0]
    name = frame.format.name
    channels = {"gray16": 1, "ya16": 2, "rgb48": 3, "rgba64": 4}.get(name[:-2])
    if channels is None:
        raise ValueError(f"samples of libavcodec's format {name}")
    plane = frame.planes[0]
    lines = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: frame.height, : 2 * channels * frame.width]
    stored = np.dtype(">u2" if name.endswith("be") else "<u2")
    return lines.copy().view(stored).reshape(frame.height, frame.width, channels).astype(np.uint16)


_PNM_HEADER = re.compile(rb"P([2356])(?:\s|#[^\n]*\n)+(\d+)(?:\s|#[^\n]*\n)+(\d+)(?:\s|#[^\n]*\n)+(\d+)\s")


def _netpbm(data: bytes) -> NDArray[np.uint16]:
    """(height, width, 1 or 3) of a binary PGM or PPM of two bytes per sample, brought to the range 0 to 65535."""
    match = _PNM_HEADER.match(data)
    if not match or match[1] not in (b"5", b"6"):
        raise ValueError("a PNM file of more than 8 bits that is not binary")
    width, height, largest = int(match[2]), int(match[3]), int(match[4])
    channels = 3 if match[1] == b"6" else 1
    samples = np.frombuffer(data, ">u2", height * width * channels, match.end()).astype(np.float64)
    if not 255 < largest <= 65535 or samples.max() > largest:
        raise ValueError(f"samples above its largest value of {largest}")
    return np.floor(samples * 65535 / largest + 0.5).astype(np.uint16).reshape(height, width, channels)


def _on_white(samples: Samples, alpha: Samples) -> Samples:
    if samples.dtype == np.uint8:
        layer = Image.fromarray(np.dstack((samples, alpha)))
        return np.asarray(Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB"))
    share = alpha[..., None] / 65535
    return np.floor(samples * share + 65535 * (1 - share) + 0.5).astype(np.uint16)


# ---- what the file says --------------------------------------------------------------------------------------------


def _orientation(image: Image.Image, notes: list[str]) -> int:
    """1 to 8, as EXIF counts them. Notes a colour space that only EXIF data name."""
    try:
        exif = image.getexif()
        adobe = exif.get_ifd(_EXIF).get(_COLOUR_SPACE) == 2 or exif.get_ifd(_INTEROPERABILITY).get(1) in ("R03", b"R03")
        if adobe and not image.info.get("icc_profile"):
            notes.append("is Adobe RGB by its EXIF data, but has no profile; its colours are taken as sRGB")
        orientation = exif.get(_ORIENTATION, 1)
        return orientation if orientation in range(1, 9) else 1
    except Exception:  # whatever damaged EXIF data lead to
        notes.append("has damaged EXIF data; it is taken as upright")
        return 1


def _turned(samples: Any, orientation: int) -> Any:
    """An array of (rows, columns, ...) as it is to be seen."""
    if orientation >= 5:
        samples = samples.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        samples = samples[:, ::-1]
    if orientation in (3, 4, 7, 8):
        samples = samples[::-1]
    return samples


def _aspect(image: Image.Image, chunks: dict[bytes, bytes], orientation: int) -> tuple[int, int] | None:
    """Sample aspect ratio by the resolutions in both directions; None if they are equal or not said."""
    x: Any = 0
    y: Any = 0
    if len(chunks.get(b"pHYs", b"")) == 9:
        x, y = struct.unpack(">II", chunks[b"pHYs"][:8])
    elif image.format in ("JPEG", "MPO"):
        x, y = image.info.get("jfif_density", (0, 0))
    elif image.format == "TIFF":
        x, y = image.info.get("dpi", (0, 0))
    if not (x > 0 and y > 0) or x == y:
        return None
    ratio = Fraction(float(y) / float(x)) if orientation < 5 else Fraction(float(x) / float(y))
    ratio = ratio.limit_denominator(1000)
    return (ratio.numerator, ratio.denominator) if 0 < ratio.numerator <= 65535 and ratio != 1 else None


def _png_chunks(path: Path) -> dict[bytes, bytes]:
    """The small chunks that Pillow does not hand out, by name."""
    chunks = {}
    with open(path, "rb") as file:
        file.seek(8)
        while len(head := file.read(8)) == 8:
            size, name = struct.unpack(">I4s", head)
            if name == b"IDAT":
                break
            if name in (b"cICP", b"pHYs") and size < 64:
                chunks[name] = file.read(size)
                file.seek(4, os.SEEK_CUR)
            else:
                file.seek(size + 4, os.SEEK_CUR)
    return chunks


def _srgb(samples: Samples, image: Image.Image, chunks: dict[bytes, bytes], notes: list[str]) -> Samples:
    """Convert by the strongest word of the file: cICP, iCCP, sRGB, cHRM and gAMA (PNG specification, clause 4.3)."""
    info = image.info
    space = None
    if b"cICP" in chunks:
        space, said = picture_colour.space_of_cicp(chunks[b"cICP"]), "its cICP chunk"
    elif profile := info.get("icc_profile"):
        try:
            name = picture_colour.icc_name(profile)
            model = picture_colour.icc_model(profile)
            if model != "RGB" and not (model == "GRAY" and image.mode in ("1", "L", "LA", "La", *_GREY16)):
                raise ValueError(f"{name} is for {model} samples")
            space, said = picture_colour.icc_space(profile), f"its profile {name}"
            if space is None:
                return _by_table(samples, profile, model, name, notes)
        except Exception as error:  # whatever a damaged profile leads to
            notes.append(
                f"has a colour profile that cannot be used ({_one_line(error)}); its colours are taken as sRGB"
            )
            return samples
    elif "srgb" not in info and ("gamma" in info or "chromaticity" in info):
        try:
            space = picture_colour.space_of_png(info.get("chromaticity"), info.get("gamma"))
            said = "its gAMA and cHRM chunks"
        except ValueError as error:
            notes.append(f"has useless cHRM or gAMA chunks ({error}); its colours are taken as sRGB")
    if space is None or picture_colour.is_srgb(space):
        return samples
    notes.append(f"is converted to sRGB by {said}, relative colorimetric, clipped to the gamut")
    return picture_colour.to_srgb(samples, space)


def _by_table(samples: Samples, profile: bytes, model: str, name: str, notes: list[str]) -> Samples:
    eight = samples if samples.dtype == np.uint8 else np.floor(samples / 257 + 0.5).astype(np.uint8)
    image = Image.fromarray(np.ascontiguousarray(eight[..., 0] if model == "GRAY" else eight))
    converted = np.asarray(picture_colour.by_littlecms(image, profile))
    lost = "" if samples.dtype == np.uint8 else "; 8 of its 16 bits are kept"
    notes.append(
        f"is converted to sRGB by its profile {name}, relative colorimetric with black point compensation{lost}"
    )
    return converted


# ---- scikit-image --------------------------------------------------------------------------------------------------


def _skimage_picture(name: str) -> NDArray[np.uint8]:
    import skimage.data

    # A name that is not a picture (data_dir, a stereo pair, a face list) fails the checks below; those that are not in
    # the package would start a download, which scikit-image does only if pooch is installed.
    maker = getattr(skimage.data, name, None) if name in skimage.data.__all__ and name != "download_all" else None
    try:
        picture = maker() if maker else None
    except Exception as error:  # whatever a download raises
        raise FprdoError(
            f"{SKIMAGE_PREFIX}{name}: not available here ({_one_line(error)}); "
            "astronaut, chelsea, coffee and rocket come with scikit-image"
        ) from error
    if (
        isinstance(picture, np.ndarray)
        and picture.dtype == np.uint8
        and (picture.ndim == 2 or picture.ndim == 3 and picture.shape[2] in (3, 4))
    ):
        samples, alpha = _samples(Image.fromarray(picture), [])
        return np.array(samples if alpha is None else _on_white(samples, alpha), np.uint8)
    raise FprdoError(f"{SKIMAGE_PREFIX}{name}: scikit-image has no such 8-bit picture; try skimage:astronaut")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
