"""Weight maps in floating point, and the fixed-point records that files and encoders hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from numbers import Integral

import numpy as np

from fprdo_bridge.errors import FprdoError
from fprdo_bridge.importance.ranges import is_amount
from fprdo_bridge.values import shown
from fprdo_bridge.video.formats import VideoFormat

FRACTION_BITS = 8
ONE = 1 << FRACTION_BITS
TRANSFORM_SIZES = (4, 8, 16, 32)
ALIGNMENT = 64  # bytes
COMPONENTS = ("Y", "Cb", "Cr")


@dataclass(frozen=True)
class WeightMap:
    """Weights of one picture, mean 1.

    Parameters
    ----------
    planes : float (h, w) per component: pixel weights, >= 0, mean 1
    shapes : block size N -> float (ceil(h/N) N, ceil(w/N) N) per component: the relative weight at vertical frequency
        v, horizontal frequency u of block (by, bx) in [by N + v, bx N + u], >= 0, each block of mean 1
    plane_gain : per component, what its samples weigh on average, luma 1; 0 for a plane that the features do not see

    Raises
    ------
    FprdoError
        A value is of another type. Arrays are checked where the map is written.
    """

    planes: tuple[np.ndarray, ...]
    shapes: Mapping[int, tuple[np.ndarray, ...]]
    plane_gain: tuple[float, ...]

    def __post_init__(self) -> None:
        for what, group in (("planes", self.planes), ("plane_gain", self.plane_gain)):
            if not isinstance(group, (tuple, list)):
                raise FprdoError(f"weight map: {what} is {type(group).__name__}; give a tuple, one entry per component")
        if not isinstance(self.shapes, Mapping):
            raise FprdoError(
                f"weight map: shapes is {type(self.shapes).__name__}; give a mapping of block sizes to tuples"
            )
        for n, group in self.shapes.items():
            if not isinstance(group, (tuple, list)):
                raise FprdoError(
                    f"weight map: shapes of {shown(n)} are {type(group).__name__}; give a tuple, one per component"
                )
        if not all(map(is_amount, self.plane_gain)):
            raise FprdoError(f"weight map: plane_gain {shown(self.plane_gain)}; give numbers of 0 or more")


@dataclass(frozen=True)
class Layout:
    """Sizes of a file's sequence and of its map records."""

    width: int
    height: int
    chroma: str
    transform_sizes: tuple[int, ...]

    @classmethod
    def of(cls, fmt: VideoFormat, transform_sizes: Iterable[int]) -> Layout:
        """Of the maps for pictures of a format.

        Raises FprdoError for anything but a format and block sizes that shapes can have.
        """
        if not isinstance(fmt, VideoFormat):
            raise FprdoError(f"format of weights: {type(fmt).__name__} given; give a VideoFormat")
        if not isinstance(transform_sizes, Iterable):
            raise FprdoError(
                f"transform sizes {shown(transform_sizes)}: give some of {TRANSFORM_SIZES}, or () for none"
            )
        return cls(fmt.width, fmt.height, fmt.chroma, tuple(sorted({_known_size(n) for n in transform_sizes})))

    def arrays(self) -> list[tuple[int, tuple[int, int]]]:
        """The arrays of a record in order: (0 for pixel weights or the block size N, (rows, columns))."""
        planes = VideoFormat(self.width, self.height, self.chroma).plane_shapes
        return [(0, shape) for shape in planes] + [
            (n, (-(-rows // n) * n, -(-columns // n) * n)) for rows, columns in planes for n in self.transform_sizes
        ]

    @property
    def map_bytes(self) -> int:
        """Size of a record: two bytes a weight, rounded up to a multiple of 64."""
        return aligned(2 * sum(rows * columns for _, (rows, columns) in self.arrays()))

    def has_zero(self, record: np.ndarray) -> bool:
        """Whether a pixel weight of a record, which is one row of uint16, is 0: no weight (docs/idse-format.md)."""
        return any(not plane.all() for plane in self.views(record)[0])

    def views(self, record: np.ndarray) -> tuple[tuple[np.ndarray, ...], dict[int, tuple[np.ndarray, ...]]]:
        """Planes and shapes, as in `WeightMap`, as views of a record, which is one row of uint16."""
        arrays: dict[int, list[np.ndarray]] = {n: [] for n in (0, *self.transform_sizes)}
        for n, (rows, columns) in self.arrays():
            arrays[n].append(record[: rows * columns].reshape(rows, columns))
            record = record[rows * columns :]
        return tuple(arrays[0]), {n: tuple(arrays[n]) for n in self.transform_sizes}


@dataclass(frozen=True)
class Record:
    """A map in the fixed point of a file.

    Attributes
    ----------
    layout : what the values mean
    values : uint16 (layout.map_bytes / 2,), 256 is 1.0, in the order of `Layout.arrays`, then zeros
    plane_gain : as in `WeightMap`
    """

    layout: Layout
    values: np.ndarray
    plane_gain: tuple[float, ...]


def ones(fmt: VideoFormat, transform_sizes: Iterable[int] = TRANSFORM_SIZES) -> WeightMap:
    """The map under which weighted distortion is plain SSE: all weights 1.

    Parameters
    ----------
    fmt : the format of the pictures
    transform_sizes : block sizes N that the map has shapes for, some of 4, 8, 16 and 32; () for none

    Returns
    -------
    WeightMap of float32 arrays: planes of shapes fmt.plane_shapes, for each N and component a shape whose sides are
    those of the plane rounded up to multiples of N, and a plane_gain of 1 per component

    Raises
    ------
    FprdoError
        `fmt` is no VideoFormat, or a block size is none of these.
    """
    layout = Layout.of(fmt, transform_sizes)
    arrays = {
        n: tuple(np.ones(shape, np.float32) for size, shape in layout.arrays() if size == n)
        for n in (0, *layout.transform_sizes)
    }
    planes = arrays.pop(0)
    return WeightMap(planes, arrays, (1.0,) * len(planes))


def fill_record(record: np.ndarray, weight_map: WeightMap, layout: Layout, where: str) -> None:
    """Write a map in fixed point into a record.

    Pixel weights are rounded half up, to 1 at least. Of a block's shape the running sum is rounded, row by row, so that
    the sum is exact. All saturate at 65535.

    Parameters
    ----------
    record : uint16 (layout.map_bytes / 2,)
    where : what a message begins with

    Raises
    ------
    FprdoError
        The map does not fit the layout, or a weight is NaN, infinite or negative; the record is undefined then.
    """
    from fprdo_bridge.native._quantise import quantise_blocks, quantise_plane  # compiled; maps are computed without it

    planes, shapes = layout.views(record)
    for n, targets in ((0, planes), *shapes.items()):
        given = weight_map.planes if n == 0 else weight_map.shapes.get(n, ())
        for component, target in enumerate(targets):
            name = COMPONENTS[component] + (f" {n}x{n} shape" if n else " plane")
            weights = given[component] if component < len(given) else None
            if not isinstance(weights, np.ndarray) or weights.dtype.kind != "f" or weights.shape != target.shape:
                got = (
                    "missing"
                    if weights is None
                    else type(weights).__name__
                    if not isinstance(weights, np.ndarray)
                    else weights.dtype
                    if weights.dtype.kind != "f"
                    else weights.shape
                )
                raise FprdoError(
                    f"{where}: {name} is {got}, {target.shape} expected: compute the map for this format, in "
                    "floating point"
                )
            if not (quantise_blocks(weights, n, target) if n else quantise_plane(weights, target)):
                raise FprdoError(
                    f"{where}: {name} has NaN, infinite or negative weights: make them finite and at least 0"
                )
    if len(weight_map.plane_gain) != len(planes):
        raise FprdoError(
            f"{where}: plane_gain has {len(weight_map.plane_gain)} numbers: give one for each of the "
            f"{len(planes)} components"
        )


def aligned(size: int) -> int:
    """`size` bytes rounded up to where the next part of a file may begin."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def _known_size(size: object) -> int:
    if isinstance(size, bool) or not isinstance(size, Integral) or size not in TRANSFORM_SIZES:
        raise FprdoError(f"transform size {shown(size)}: use some of {', '.join(map(str, TRANSFORM_SIZES))}")
    return int(size)
