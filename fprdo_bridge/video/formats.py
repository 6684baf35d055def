"""What the samples of a frame are: size, chroma format, bit depth and colour, odd sizes included.

A chroma plane of a subsampled format covers the last odd luma column or row with a sample of its own, so its size
rounds up.
"""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from fprdo_bridge.errors import FprdoError
from fprdo_bridge.values import flag, one_of, shown, whole_number

Frame = tuple[np.ndarray, ...]  # planes Y[, Cb, Cr], fmt.dtype, shapes fmt.plane_shapes

# (SubWidthC, SubHeightC) and chroma_format_idc, H.265 table 6-1.
_SUBSAMPLING = {"400": (1, 1), "420": (2, 2), "422": (2, 1), "444": (1, 1)}
_CHROMA_FORMAT_IDC = {"400": 0, "420": 1, "422": 2, "444": 3}
# matrix_coeffs, H.265 table E.5 and H.264 table E-5; both 5 and 6 are BT.601.
MATRICES = {1: "bt709", 5: "bt601", 6: "bt601", 9: "bt2020"}
SITINGS = ("left", "center", "topleft")  # by chroma_sample_loc_type, H.265 figure E.1 and H.264 figure E-1


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
    siting : {"left", "center", "topleft"}
        Where the chroma samples of 4:2:0 lie: chroma_sample_loc_type 0 (on every second luma column, between two rows),
        1 (in the middle of four luma samples, as in JPEG) or 2 (on a luma sample, as BT.2020 has it).
    aspect : (int, int), optional
        Sample aspect ratio, width to height of one sample, both 1 to 65535; None where nobody says it. It changes how
        pictures are shown, not what the samples are, so two formats that differ in it alone are equal.

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
    aspect: tuple[int, int] | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        width, height = whole_number("picture width", self.width), whole_number("picture height", self.height)
        if not (1 <= width <= 65535 and 1 <= height <= 65535):
            raise FprdoError(f"picture size {width}x{height}: both sides must be 1 to 65535 luma samples")
        for name, value in (
            ("width", width),
            ("height", height),
            ("bit_depth", whole_number("bit depth", self.bit_depth, 8, 16)),
            ("chroma", one_of("chroma format", self.chroma, tuple(_SUBSAMPLING))),
            ("matrix", one_of("colour matrix", self.matrix, ("bt601", "bt709", "bt2020"))),
            ("siting", one_of("chroma siting", self.siting, SITINGS)),
            ("full_range", flag("full range", self.full_range)),
        ):
            object.__setattr__(self, name, value)  # as Python's own types
        if self.aspect is not None:
            if not isinstance(self.aspect, (tuple, list)) or len(self.aspect) != 2:
                raise FprdoError(f"sample aspect ratio {shown(self.aspect)}: give two numbers, such as (4, 3)")
            across, down = (whole_number("sample aspect ratio", side) for side in self.aspect)
            if not (1 <= across <= 65535 and 1 <= down <= 65535):
                raise FprdoError(f"sample aspect ratio {across}:{down}: both numbers must be 1 to 65535")
            object.__setattr__(self, "aspect", (across, down))

    @property
    def chroma_format_idc(self) -> int:
        """0 to 3 for 4:0:0, 4:2:0, 4:2:2, 4:4:4 (H.265 clause 6.2)."""
        return _CHROMA_FORMAT_IDC[self.chroma]

    @property
    def chroma_sample_loc_type(self) -> int:
        """Code of `siting` (H.265 clause E.3.1, H.264 clause E.2.1)."""
        return SITINGS.index(self.siting)

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
    return tuple(
        np.pad(plane, ((0, rows - plane.shape[0]), (0, columns - plane.shape[1])), mode="edge")
        for plane, (rows, columns) in zip(frame, coded.plane_shapes, strict=True)
    )


def crop_frame(frame: Frame, fmt: VideoFormat) -> Frame:
    """The top left part of `frame` that `fmt` shows, as contiguous planes."""
    return tuple(
        np.ascontiguousarray(plane[:rows, :columns])
        for plane, (rows, columns) in zip(frame, fmt.plane_shapes, strict=True)
    )


def deepened(frames: Iterable[Frame], fmt: VideoFormat, deeper: VideoFormat) -> Iterator[Frame]:
    """Frames of format `fmt` at the bit depth of `deeper`, as encoders take them that code more bits than their source
    has: every sample times 2^(bits more)."""
    shift = deeper.bit_depth - fmt.bit_depth
    for frame in frames:
        yield tuple(plane.astype(deeper.dtype) << shift for plane in frame) if shift else frame


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
    for index, (a, b) in enumerate(itertools.zip_longest(frames_a, frames_b)):
        if a is None or b is None:
            return f"the {'first' if a is None else 'second'} ends before picture {index}"
        for name, plane_a, plane_b in itertools.zip_longest(("Y", "Cb", "Cr")[: max(len(a), len(b))], a, b):
            if plane_a is None or plane_b is None or plane_a.shape != plane_b.shape:
                return f"picture {index}: plane {name} is missing or of another size"
            if not np.array_equal(plane_a, plane_b):
                row, column = np.argwhere(plane_a != plane_b)[0]
                return (
                    f"picture {index}, {name}, row {row}, column {column}: "
                    f"{plane_a[row, column]} and {plane_b[row, column]}"
                )
    return None
