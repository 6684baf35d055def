"""Picture files in and out, as R'G'B'."""

import io
import os
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from fprdo_bridge.errors import FprdoError
from fprdo_bridge.files import regular_file, replacing
from fprdo_bridge.video.formats import Frame, VideoFormat

SKIMAGE_PREFIX = "skimage:"
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".ppm", ".pgm")


def load_picture(name: str | os.PathLike) -> np.ndarray:
    """Read a PNG, JPEG or WebP picture (or any other that Pillow reads), or a picture of scikit-image.

    Parameters
    ----------
    name : str or path
        A file, or `skimage:astronaut` and the like: `skimage.data.astronaut()`.

    Returns
    -------
    numpy.ndarray
        uint8, (height, width, 3), R'G'B'. Grey is repeated three times, transparency is composed on white, 16-bit
        samples keep their high byte, a camera's orientation tag is applied; of an animation the first picture.

    Raises
    ------
    FprdoError
        The picture is missing, damaged, or of a kind that has no plain RGB meaning.

    Examples
    --------
    >>> load_picture("skimage:astronaut").shape
    (512, 512, 3)
    """
    if str(name).startswith(SKIMAGE_PREFIX):
        return _skimage_picture(str(name).removeprefix(SKIMAGE_PREFIX))
    regular_file(name, "no such picture")
    try:
        with Image.open(name) as image:
            image.load()
            return _rgb8(ImageOps.exif_transpose(image))
    # Pillow reports damage as OSError or, depending on the format and the place, as SyntaxError or ValueError.
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise FprdoError(f"{name}: not a readable picture ({_one_line(error)}); "
                         "give a PNG, JPEG or WebP file") from error


def _rgb8(image: Image.Image) -> np.ndarray:
    """(height, width, 3) uint8 of a Pillow image; ValueError if its samples cannot be told to 8 bits."""
    if image.mode.startswith("I"):  # I;16 and its relatives, or I, which some Pillow versions give for 16-bit grey
        grey = np.asarray(image)
        if grey.min() < 0 or grey.max() > 65535:
            raise ValueError("samples of more than 16 bits")
        return np.repeat((grey >> 8).astype(np.uint8)[..., np.newaxis], 3, axis=2)
    if image.mode == "F":
        raise ValueError("floating-point samples")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return np.array(image.convert("RGB"))


def _skimage_picture(name: str) -> np.ndarray:
    import skimage.data

    # A name that is not a picture (data_dir, a stereo pair, a face list) fails the checks below; those that are not in
    # the package would start a download, which scikit-image does only if pooch is installed.
    maker = getattr(skimage.data, name, None) if name in skimage.data.__all__ and name != "download_all" else None
    try:
        picture = maker() if maker else None
    except Exception as error:  # whatever a download raises
        raise FprdoError(f"{SKIMAGE_PREFIX}{name}: not available here ({_one_line(error)}); "
                         "astronaut, chelsea, coffee and rocket come with scikit-image") from error
    if (isinstance(picture, np.ndarray) and picture.dtype == np.uint8
            and (picture.ndim == 2 or picture.ndim == 3 and picture.shape[2] in (3, 4))):
        return _rgb8(Image.fromarray(picture))
    raise FprdoError(f"{SKIMAGE_PREFIX}{name}: scikit-image has no such 8-bit picture; try skimage:astronaut")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def save_picture(path: str | os.PathLike, rgb: np.ndarray) -> None:
    """Write a uint8 (height, width, 3) R'G'B' picture; the suffix chooses the format (WebP lossless, JPEG quality 95).

    Raises
    ------
    FprdoError
        Pillow does not write that suffix, or the file cannot be written.
    """
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:
        raise FprdoError(f"{path}: a picture to save must be uint8 (height, width, 3), not {rgb.dtype} {rgb.shape}")
    suffix = Path(path).suffix.lower()
    options = {".webp": {"lossless": True}, ".jpg": {"quality": 95}, ".jpeg": {"quality": 95}}.get(suffix, {})
    kind = Image.registered_extensions().get(suffix)
    if kind is None:
        raise FprdoError(f"{path}: unknown picture type {suffix or '(no suffix)'}; use .png, .webp or .jpg")
    data = io.BytesIO()  # so that what Pillow refuses is not taken for what the disk does
    try:
        Image.fromarray(rgb).save(data, kind, **options)
    except (KeyError, OSError, ValueError):
        raise FprdoError(f"{path}: Pillow does not write a colour picture as {suffix}; "
                         "use .png, .webp or .jpg") from None
    with replacing(path) as temporary:
        temporary.write_bytes(data.getvalue())


def picture_to_frame(rgb: np.ndarray, fmt: VideoFormat) -> Frame:
    """Convert a uint8 (height, width, 3) R'G'B' picture to a frame (colour.rgb_to_frame)."""
    import torch  # slow to load, and raw files do without

    from fprdo_bridge.video.colour import rgb_to_frame

    return rgb_to_frame(torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 255, fmt)


def frame_to_picture(frame: Frame, fmt: VideoFormat) -> np.ndarray:
    """uint8 (height, width, 3) R'G'B' of a frame (colour.frame_to_rgb)."""
    from fprdo_bridge.video.colour import frame_to_rgb

    return (frame_to_rgb(frame, fmt)[0].permute(1, 2, 0) * 255 + 0.5).floor().byte().numpy()
