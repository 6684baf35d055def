"""Pictures and raw YUV in and out, sample exact, odd sizes included.

Raw YUV is planar (Y, then Cb, Cr), without headers or line padding; 8-bit samples take one byte, deeper ones two bytes,
little-endian. A chroma plane of a subsampled format covers the last odd luma column or row with a sample of its own, so
its size rounds up.
"""

import io
import itertools
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from fprdo_bridge.files import replacing
from fprdo_bridge.errors import FprdoError

Frame = tuple[np.ndarray, ...]  # planes Y[, Cb, Cr], fmt.dtype, shapes fmt.plane_shapes

# (SubWidthC, SubHeightC) and chroma_format_idc, H.265 table 6-1.
_SUBSAMPLING = {"400": (1, 1), "420": (2, 2), "422": (2, 1), "444": (1, 1)}
_CHROMA_FORMAT_IDC = {"400": 0, "420": 1, "422": 2, "444": 3}


@dataclass(frozen=True)
class VideoFormat:
    """What the samples of a sequence mean.

    Parameters
    ----------
    width, height : int
        Visible luma samples, 1 to 65535; odd sizes are allowed.
    chroma : {"400", "420", "422", "444"}
    bit_depth : int
        8 to 16, the same for luma and chroma.
    matrix : {"bt601", "bt709", "bt2020"}
        Matrix from R'G'B' to Y'CbCr.
    full_range : bool
        True: 0 to 2^depth - 1; False: the narrow ("video") range.
    siting : {"left", "center"}
        Where the chroma samples of 4:2:0 lie: HEVC chroma_sample_loc_type 0 (co-sited with every second luma column,
        between two rows) or 1 (in the middle of four luma samples, as in JPEG).

    Raises
    ------
    FprdoError
        A value is out of these ranges.
    """

    width: int
    height: int
    chroma: str = "420"
    bit_depth: int = 8
    matrix: str = "bt709"
    full_range: bool = False
    siting: str = "left"

    def __post_init__(self) -> None:
        if not (1 <= self.width <= 65535 and 1 <= self.height <= 65535):
            raise FprdoError(f"picture size {self.width}x{self.height}: both sides must be 1 to 65535 luma samples")
        if not 8 <= self.bit_depth <= 16:
            raise FprdoError(f"bit depth {self.bit_depth}: use 8 to 16")
        for what, value, allowed in (("chroma format", self.chroma, tuple(_SUBSAMPLING)),
                                     ("colour matrix", self.matrix, ("bt601", "bt709", "bt2020")),
                                     ("chroma siting", self.siting, ("left", "center"))):
            if value not in allowed:
                raise FprdoError(f"{what} {value!r}: use one of {', '.join(allowed)}")

    @property
    def chroma_format_idc(self) -> int:
        """0 to 3 for 4:0:0, 4:2:0, 4:2:2, 4:4:4 (H.265 clause 6.2)."""
        return _CHROMA_FORMAT_IDC[self.chroma]

    @property
    def subsampling(self) -> tuple[int, int]:
        """(SubWidthC, SubHeightC): luma samples per chroma sample, horizontally and vertically; (1, 1) for 4:0:0."""
        return _SUBSAMPLING[self.chroma]

    @property
    def plane_shapes(self) -> tuple[tuple[int, int], ...]:
        """(rows, columns) of Y, or of Y, Cb and Cr."""
        luma = (self.height, self.width)
        if self.chroma == "400":
            return (luma,)
        sub_width, sub_height = self.subsampling
        chroma = (-(-self.height // sub_height), -(-self.width // sub_width))
        return luma, chroma, chroma

    @property
    def dtype(self) -> np.dtype:
        """Sample type of a Frame, native byte order: uint8 for 8 bits, uint16 above."""
        return np.dtype(np.uint8 if self.bit_depth == 8 else np.uint16)

    @property
    def max_value(self) -> int:
        """Largest code value, 2^bit_depth - 1."""
        return (1 << self.bit_depth) - 1

    @property
    def frame_bytes(self) -> int:
        """Size of one frame in a raw file."""
        return sum(rows * columns for rows, columns in self.plane_shapes) * self.dtype.itemsize

    def __str__(self) -> str:
        return f"{self.width}x{self.height} {self.chroma} {self.bit_depth}-bit"


def coded_format(fmt: VideoFormat) -> VideoFormat:
    """The format handed to an HEVC encoder: sides rounded up to a multiple of SubWidthC and SubHeightC.

    HEVC crops by the conformance window, which counts in chroma samples (H.265 clause 7.4.3.2.1, conf_win_*_offset), so
    a 4:2:0 bitstream cannot say that its last luma column or row is invisible. An odd picture is coded with that
    column or row repeated (`pad_frame`) and cut again after decoding (`crop_frame`). A weight file describes the frame
    that the encoder gets, so its size is this one. 4:4:4, 4:0:0 and even sizes come back unchanged.
    """
    sub_width, sub_height = fmt.subsampling
    return replace(fmt, width=-(-fmt.width // sub_width) * sub_width, height=-(-fmt.height // sub_height) * sub_height)


def pad_frame(frame: Frame, fmt: VideoFormat, coded: VideoFormat) -> Frame:
    """`frame` of format `fmt` grown to the size of `coded`, the last column and row repeated."""
    check_frame(frame, fmt)
    return tuple(np.pad(plane, ((0, rows - plane.shape[0]), (0, columns - plane.shape[1])), mode="edge")
                 for plane, (rows, columns) in zip(frame, coded.plane_shapes, strict=True))


def crop_frame(frame: Frame, fmt: VideoFormat) -> Frame:
    """The top left part of `frame` that `fmt` shows, as contiguous planes."""
    return tuple(np.ascontiguousarray(plane[:rows, :columns])
                 for plane, (rows, columns) in zip(frame, fmt.plane_shapes, strict=True))


def check_frame(frame: Frame, fmt: VideoFormat) -> None:
    """Raise FprdoError unless the planes have the shapes, the type and the code range of `fmt`."""
    shapes = tuple(plane.shape for plane in frame)
    if shapes != fmt.plane_shapes:
        raise FprdoError(f"planes of {shapes} are not a {fmt} frame, which has {fmt.plane_shapes}")
    for name, plane in zip(("Y", "Cb", "Cr"), frame):
        if plane.dtype != fmt.dtype:
            raise FprdoError(f"{name} samples of type {plane.dtype} are not those of a {fmt} frame ({fmt.dtype})")
        if fmt.bit_depth not in (8, 16) and plane.max() > fmt.max_value:
            raise FprdoError(f"{name} sample {plane.max()} does not fit {fmt.bit_depth} bits (largest {fmt.max_value})")


def first_difference(frames_a: Iterable[Frame], frames_b: Iterable[Frame]) -> str | None:
    """None if both give the same frames, sample by sample; else where they part, such as "picture 2, Cb, row 7, column
    31: 129 and 128", or which of the two ends first."""
    ended = object()
    for index, (a, b) in enumerate(itertools.zip_longest(frames_a, frames_b, fillvalue=ended)):
        if a is ended or b is ended:
            return f"the {'first' if a is ended else 'second'} ends before picture {index}"
        for name, plane_a, plane_b in itertools.zip_longest(("Y", "Cb", "Cr")[:max(len(a), len(b))], a, b):
            if plane_a is None or plane_b is None or plane_a.shape != plane_b.shape:
                return f"picture {index}: plane {name} is missing or of another size"
            if not np.array_equal(plane_a, plane_b):
                row, column = np.argwhere(plane_a != plane_b)[0]
                return (f"picture {index}, {name}, row {row}, column {column}: "
                        f"{plane_a[row, column]} and {plane_b[row, column]}")
    return None


# ---- raw YUV ---------------------------------------------------------------------------------------------------------

def guess_format(path: str | os.PathLike) -> VideoFormat:
    """Read the format off a name such as `clip_416x240_30fps_10bit_422.yuv` or `foreman_352x288_yuv420p10le.yuv`.

    What the name does not say is 4:2:0, 8 bits and the defaults of VideoFormat.

    Raises
    ------
    FprdoError
        The name says no size, or two.
    """
    stem = Path(path).stem.lower()
    sizes = set(re.findall(r"(?<!\d)([1-9]\d*)x([1-9]\d*)(?!\d)", stem))
    if len(sizes) != 1:
        raise FprdoError(f"{path}: the name says {'no' if not sizes else 'more than one'} picture size "
                         "(like clip_416x240.yuv); give the size explicitly")
    width, height = map(int, sizes.pop())
    pixel_format = re.search(r"(?:yuvj?(420|422|444)|(gr[ae]y))p?(\d+)?(?:le)?(?![a-z\d])", stem)
    chroma = re.search(r"(?<![a-z\d])(400|420|422|444)p?(?![a-z\d])", stem)
    depth = re.search(r"(?<!\d)(\d+)[-_]?bits?(?![a-z])", stem)
    return VideoFormat(
        width, height,
        chroma=chroma[1] if chroma else (pixel_format[1] or "400") if pixel_format else "420",
        bit_depth=int(depth[1] if depth else pixel_format[3] if pixel_format and pixel_format[3] else 8))


def guess_frame_rate(path: str | os.PathLike) -> Fraction | None:
    """Frames per second from a name such as `clip_416x240_30fps.yuv` or `clip_416x240_29.97fps.yuv`; else None."""
    rate = re.search(r"(?<![\d.])(\d+(?:\.\d+)?)fps", Path(path).stem.lower())
    return Fraction(rate[1]) if rate and Fraction(rate[1]) > 0 else None


def count_frames(path: str | os.PathLike, fmt: VideoFormat) -> int:
    """Number of frames in a raw file.

    Raises
    ------
    FprdoError
        The file is missing, empty, or not a whole number of frames.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
    except OSError as error:
        raise FprdoError(f"{path}: cannot be read ({error.strerror}); check the name") from error
    if not path.is_file():
        raise FprdoError(f"{path}: not a file; name a raw YUV file")
    if size == 0 or size % fmt.frame_bytes:
        raise FprdoError(f"{path}: {size} bytes are not a whole number of {fmt} frames of {fmt.frame_bytes} bytes; "
                         "check size, chroma format and bit depth")
    return size // fmt.frame_bytes


def read_yuv(path: str | os.PathLike, fmt: VideoFormat, start: int = 0, count: int | None = None) -> Iterator[Frame]:
    """Frames `start` to `start + count - 1` of a raw file, all from `start` on if `count` is None.

    One frame is in memory at a time. The file and the range are checked before the first frame is asked for.

    Raises
    ------
    FprdoError
        As count_frames; the file has fewer frames; a sample does not fit the bit depth.
    """
    total = count_frames(path, fmt)
    count = total - start if count is None else count
    if start < 0 or count < 1 or start + count > total:
        raise FprdoError(f"{path}: frames {start} to {start + count - 1} asked for, it has 0 to {total - 1}")
    return _read_frames(Path(path), fmt, start, count)


def _read_frames(path: Path, fmt: VideoFormat, start: int, count: int) -> Iterator[Frame]:
    stored = fmt.dtype.newbyteorder("<")
    try:
        with open(path, "rb") as file:
            file.seek(start * fmt.frame_bytes)
            for index in range(start, start + count):
                data = file.read(fmt.frame_bytes)
                if len(data) != fmt.frame_bytes:
                    raise FprdoError(f"{path}: ends inside frame {index}; it was cut while being read")
                frame = []
                offset = 0
                for rows, columns in fmt.plane_shapes:
                    plane = np.frombuffer(data, stored, rows * columns, offset).reshape(rows, columns)
                    frame.append(plane.astype(fmt.dtype))  # writable, native byte order
                    offset += plane.nbytes
                try:
                    check_frame(tuple(frame), fmt)
                except FprdoError as error:
                    raise FprdoError(f"{path}: frame {index}: {error}; check bit depth and byte order") from None
                yield tuple(frame)
    except OSError as error:
        raise FprdoError(f"{path}: cannot be read ({error.strerror})") from error


def write_yuv(path: str | os.PathLike, frames: Iterable[Frame], fmt: VideoFormat) -> int:
    """Write frames as raw YUV and return how many; the file appears when the last one is written.

    Raises
    ------
    FprdoError
        No frame came, a frame is not of format `fmt`, or the file cannot be written.
    """
    count = 0
    stored = fmt.dtype.newbyteorder("<")
    with replacing(path) as temporary, open(temporary, "wb") as file:
        for frame in frames:
            check_frame(frame, fmt)
            for plane in frame:
                file.write(np.ascontiguousarray(plane, stored).data)
            count += 1
        if count == 0:
            raise FprdoError(f"{path}: no frame to write")
    return count


# ---- pictures --------------------------------------------------------------------------------------------------------

_SKIMAGE_PREFIX = "skimage:"


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
    if str(name).startswith(_SKIMAGE_PREFIX):
        return _skimage_picture(str(name).removeprefix(_SKIMAGE_PREFIX))
    try:
        with Image.open(name) as image:
            image.load()
            return _rgb8(ImageOps.exif_transpose(image))
    except FileNotFoundError:
        raise FprdoError(f"{name}: no such picture; check the name") from None
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
        raise FprdoError(f"{_SKIMAGE_PREFIX}{name}: not available here ({_one_line(error)}); "
                         "astronaut, chelsea, coffee and rocket come with scikit-image") from error
    if (isinstance(picture, np.ndarray) and picture.dtype == np.uint8
            and (picture.ndim == 2 or picture.ndim == 3 and picture.shape[2] in (3, 4))):
        return _rgb8(Image.fromarray(picture))
    raise FprdoError(f"{_SKIMAGE_PREFIX}{name}: scikit-image has no such 8-bit picture; try skimage:astronaut")


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
