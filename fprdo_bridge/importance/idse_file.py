"""The .idse weight file, version 1: what docs/idse-format.md specifies, written in a stream and read memory-mapped."""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fprdo_bridge.files import replacing
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.video.formats import VideoFormat
from fprdo_bridge.native import _quantise

MAGIC = b"IDSE\r\n\x1a\n"
VERSION = 1
FRACTION_BITS = 8
ONE = 1 << FRACTION_BITS
LARGEST = 65535
TRANSFORM_SIZES = (4, 8, 16, 32)

# Everything up to the header's checksum: magic, version, header size, width, height, chroma_format_idc, fraction bits,
# transform sizes (bit n for 2^n: the sum of the sizes), reserved, maps, frames per map, frames, reserved, map size,
# maps offset, metadata size, reserved.
_HEADER = struct.Struct("<8sHHIIBBBBIIIIQQI32s")
_HEADER_BYTES = _HEADER.size + 4
_ALIGNMENT = 64
_CHROMA = ("400", "420", "422", "444")
# plane_gain is known only after the last map; this many bytes are kept for it when the place of the maps is fixed.
_PLANE_GAIN_ROOM = 128


@dataclass(frozen=True)
class WeightMap:
    """Weights of one picture, mean 1.

    Parameters
    ----------
    planes : float32 (h, w) per component: pixel weights, >= 0, mean 1
    shapes : block size N -> float32 (ceil(h/N) N, ceil(w/N) N) per component: the relative weight at vertical frequency
        v, horizontal frequency u of block (by, bx) in [by N + v, bx N + u], >= 0, each block of mean 1
    plane_gain : per component, what its samples weigh on average, luma 1; 0 for a plane that the features do not see
    """

    planes: tuple[np.ndarray, ...]
    shapes: Mapping[int, tuple[np.ndarray, ...]]
    plane_gain: tuple[float, ...]


@dataclass(frozen=True)
class Layout:
    """Sizes of a file's sequence and of its map records."""

    width: int
    height: int
    chroma: str
    transform_sizes: tuple[int, ...]

    @classmethod
    def of(cls, fmt: VideoFormat, transform_sizes: Iterable[int]) -> Layout:
        """Of the maps for pictures of a format."""
        return cls(fmt.width, fmt.height, fmt.chroma, tuple(sorted(set(transform_sizes))))

    def arrays(self) -> list[tuple[int, tuple[int, int]]]:
        """The arrays of a record in order: (0 for pixel weights or the block size N, (rows, columns))."""
        planes = VideoFormat(self.width, self.height, self.chroma).plane_shapes
        return [(0, shape) for shape in planes] + [
            (n, (-(-rows // n) * n, -(-columns // n) * n)) for rows, columns in planes for n in self.transform_sizes]

    @property
    def map_bytes(self) -> int:
        """Size of a record: two bytes a weight, rounded up to a multiple of 64."""
        return _aligned(2 * sum(rows * columns for _, (rows, columns) in self.arrays()))

    def views(self, record: np.ndarray) -> tuple[tuple[np.ndarray, ...], dict[int, tuple[np.ndarray, ...]]]:
        """Planes and shapes, as in `WeightMap`, as views of a record, which is one row of uint16."""
        arrays: dict[int, list[np.ndarray]] = {n: [] for n in (0, *self.transform_sizes)}
        for n, (rows, columns) in self.arrays():
            arrays[n].append(record[:rows * columns].reshape(rows, columns))
            record = record[rows * columns:]
        return tuple(arrays[0]), {n: tuple(arrays[n]) for n in self.transform_sizes}


def ones(fmt: VideoFormat, transform_sizes: Iterable[int] = TRANSFORM_SIZES) -> WeightMap:
    """The map under which weighted distortion is plain SSE: all weights 1."""
    layout = Layout.of(fmt, transform_sizes)
    arrays = {n: tuple(np.ones(shape, np.float32) for size, shape in layout.arrays() if size == n)
              for n in (0, *layout.transform_sizes)}
    planes = arrays.pop(0)
    return WeightMap(planes, arrays, (1.0,) * len(planes))


def write_idse(path: str | os.PathLike, maps: Iterable[WeightMap], fmt: VideoFormat, *, frame_count: int,
               frames_per_map: int = 1, transform_sizes: Iterable[int] = TRANSFORM_SIZES,
               metadata: Mapping[str, object] | None = None) -> None:
    """Write weight maps to a file, one at a time as the iterable gives them; the file appears whole or not at all.

    Parameters
    ----------
    maps : ceil(frame_count / frames_per_map) maps
    fmt : the format of the sequence; size and chroma format are stored
    transform_sizes : block sizes to store; every map has shapes for them
    metadata : JSON-serialisable; "plane_gain", the mean over the maps, is added

    Raises
    ------
    FprdoError
        Too few or too many maps; a map of other sizes; a NaN, infinite or negative weight; the disk is full.
    """
    layout = Layout.of(fmt, transform_sizes)
    if frame_count < 1 or frames_per_map < 1:
        raise FprdoError(f"{path}: {frame_count} frames, {frames_per_map} per map: both must be at least 1")
    map_count = -(-frame_count // frames_per_map)
    needed = f"{map_count} that {frame_count} frames need at {frames_per_map} per map"
    metadata = dict(metadata or {})
    room = len(_json_bytes(metadata)) + _PLANE_GAIN_ROOM
    maps_offset = _aligned(_HEADER_BYTES + 4 * map_count + room)
    checksums, gains = [], []
    record = np.zeros(layout.map_bytes // 2, "<u2")
    with replacing(path) as temporary, open(temporary, "wb") as file:
        file.seek(maps_offset)
        for weight_map in maps:
            if len(checksums) == map_count:
                raise FprdoError(f"{path}: more maps than the {needed}: pass as many")
            fill_record(record, weight_map, layout, f"{path}: map {len(checksums)}")
            checksums.append(zlib.crc32(record))
            gains.append(weight_map.plane_gain)
            file.write(record)
        if len(checksums) < map_count:
            raise FprdoError(f"{path}: {len(checksums)} maps given, not the {needed}: pass as many")
        metadata["plane_gain"] = [float(gain) for gain in np.mean(gains, axis=0)]
        text = _json_bytes(metadata)
        header = _HEADER.pack(
            MAGIC, VERSION, _HEADER_BYTES, layout.width, layout.height, _CHROMA.index(layout.chroma), FRACTION_BITS,
            sum(layout.transform_sizes), 0, map_count, frames_per_map, frame_count, 0, layout.map_bytes, maps_offset,
            len(text), bytes(32))
        tail = struct.pack(f"<{map_count}I", *checksums) + text
        file.seek(0)
        file.write(header + struct.pack("<I", zlib.crc32(tail, zlib.crc32(header))) + tail)


class IdseFile:
    """A weight file, opened for reading and memory-mapped; a context manager.

    Attributes
    ----------
    layout : Layout; width, height, chroma, transform_sizes
    map_count, frames_per_map, frame_count : int; frame f uses map f // frames_per_map
    metadata : dict
    plane_gain : tuple of float, from the metadata; 1 per component where they have none

    Raises
    ------
    FprdoError
        On opening: the file cannot be read, is no .idse file, is of another version, is truncated, or its header is
        damaged.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)
        try:
            size = self.path.stat().st_size
            if not (self.path.is_file() or self.path.is_dir()):  # opening a pipe would wait for its writer
                raise FprdoError(f"{self.path}: is no regular file: name an .idse file")
            with open(self.path, "rb") as file:
                head = file.read(_HEADER_BYTES)
                self._read_header(head, size)
                self._read_tail(head, file.read(4 * self.map_count + self._metadata_bytes))
        except OSError as error:
            raise FprdoError(f"{self.path}: cannot be read ({error.strerror or error}): check the path") from error
        self._bytes = np.memmap(self.path, np.uint8, "r")

    def __enter__(self) -> IdseFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the mapping; arrays that were handed out keep it alive for themselves."""
        self._bytes = None

    def raw_map(self, index: int) -> tuple[tuple[np.ndarray, ...], dict[int, tuple[np.ndarray, ...]]]:
        """Fixed-point planes and shapes (as in `WeightMap`, 256 is 1.0) as read-only uint16 views of the file.

        Raises
        ------
        FprdoError
            No such map, or its checksum is wrong.
        """
        if not 0 <= index < self.map_count:
            raise FprdoError(f"{self.path}: no map {index}: the file holds {self.map_count}")
        start = self._maps_offset + index * self.layout.map_bytes
        record = self._bytes[start:start + self.layout.map_bytes]
        checksum = zlib.crc32(record)
        if checksum != self._checksums[index]:
            raise self._damaged(f"map {index} has checksum {checksum:08x}, not {self._checksums[index]:08x}")
        return self.layout.views(record.view("<u2"))

    def map(self, index: int) -> WeightMap:
        """Map `index` as float32 weights; plane_gain from the metadata. Raises as `raw_map`."""
        planes, shapes = self.raw_map(index)
        return WeightMap(tuple(plane / np.float32(ONE) for plane in planes),
                         {n: tuple(shape / np.float32(ONE) for shape in group) for n, group in shapes.items()},
                         self.plane_gain)

    def verify(self) -> None:
        """Check the checksum of every map. Raises as `raw_map`."""
        for index in range(self.map_count):
            self.raw_map(index)

    def _read_header(self, head: bytes, size: int) -> None:
        if not head.startswith(MAGIC):
            raise FprdoError(f"{self.path}: not an .idse weight file: write one with fprdo weights")
        if len(head) >= 10 and (version := struct.unpack_from("<H", head, 8)[0]) != VERSION:
            raise FprdoError(f"{self.path}: .idse version {version}, this fprdo reads version {VERSION}: "
                             "use a newer fprdo or write the file again")
        if len(head) < _HEADER_BYTES:
            raise self._truncated(_HEADER_BYTES, size)
        (_, _, header_bytes, width, height, chroma_format_idc, fraction_bits, transforms, _,
         self.map_count, self.frames_per_map, self.frame_count, _, map_bytes, self._maps_offset,
         self._metadata_bytes, _) = _HEADER.unpack_from(head)
        for what, value, right in (("header size", header_bytes, header_bytes == _HEADER_BYTES),
                                   ("width", width, 1 <= width <= 65535), ("height", height, 1 <= height <= 65535),
                                   ("chroma format", chroma_format_idc, chroma_format_idc < len(_CHROMA)),
                                   ("fraction bits", fraction_bits, fraction_bits == FRACTION_BITS),
                                   ("transform sizes", transforms, transforms & ~sum(TRANSFORM_SIZES) == 0),
                                   ("frames per map", self.frames_per_map, self.frames_per_map >= 1),
                                   ("frame count", self.frame_count, self.frame_count >= 1)):
            if not right:
                raise self._damaged(f"{what} {value}")
        self.layout = Layout(width, height, _CHROMA[chroma_format_idc],
                             tuple(n for n in TRANSFORM_SIZES if transforms & n))
        needed = -(-self.frame_count // self.frames_per_map)
        if self.map_count != needed:
            raise self._damaged(f"{self.map_count} maps where {self.frame_count} frames at {self.frames_per_map} per "
                                f"map need {needed}")
        if map_bytes != self.layout.map_bytes:
            raise self._damaged(f"map size {map_bytes} where the picture size needs {self.layout.map_bytes}")
        tail_end = _HEADER_BYTES + 4 * self.map_count + self._metadata_bytes
        if self._maps_offset % _ALIGNMENT or self._maps_offset < tail_end:
            raise self._damaged(f"maps offset {self._maps_offset} where the metadata end at {tail_end}")
        expected = self._maps_offset + self.map_count * map_bytes
        if size < expected:
            raise self._truncated(expected, size)
        if size > expected:
            raise self._damaged(f"{size} bytes where {expected} are described")

    def _read_tail(self, head: bytes, tail: bytes) -> None:
        checksum = zlib.crc32(tail, zlib.crc32(head[:_HEADER.size]))
        if checksum != struct.unpack_from("<I", head, _HEADER.size)[0]:
            raise self._damaged("its header checksum is wrong")
        self._checksums = struct.unpack_from(f"<{self.map_count}I", tail)
        try:
            self.metadata = json.loads(tail[4 * self.map_count:].decode("utf-8"))
        except ValueError as error:
            raise self._damaged(f"its metadata are not JSON ({error})") from error
        if not isinstance(self.metadata, dict):
            raise self._damaged("its metadata are not a JSON object")
        gain = self.metadata.get("plane_gain", [1.0] * (1 if self.layout.chroma == "400" else 3))
        if (not isinstance(gain, list) or len(gain) != (1 if self.layout.chroma == "400" else 3)
                or not all(isinstance(value, (int, float)) and 0 <= value < float("inf") for value in gain)):
            raise self._damaged(f"plane_gain {gain} in its metadata")
        self.plane_gain = tuple(float(value) for value in gain)

    def _truncated(self, expected: int, size: int) -> FprdoError:
        return FprdoError(f"{self.path}: truncated, {size} of {expected} bytes: write the file again")

    def _damaged(self, what: str) -> FprdoError:
        return FprdoError(f"{self.path}: damaged .idse file, {what}: write the file again")


def fill_record(record: np.ndarray, weight_map: WeightMap, layout: Layout, where: str) -> None:
    """Write a map in fixed point into a record, one row of uint16. FprdoError, which begins with `where`, if the map does
    not fit the layout or a weight is none; the record is undefined then."""
    planes, shapes = layout.views(record)
    for n, targets in ((0, planes), *shapes.items()):
        given = weight_map.planes if n == 0 else weight_map.shapes.get(n, ())
        for component, target in enumerate(targets):
            name = ("Y", "Cb", "Cr")[component] + (f" {n}x{n} shape" if n else " plane")
            if component >= len(given) or given[component].shape != target.shape:
                got = given[component].shape if component < len(given) else "missing"
                raise FprdoError(f"{where}: {name} is {got}, {target.shape} expected: compute the map for this format")
            weights = given[component]
            if not (_quantise.quantise_blocks(weights, n, target) if n else _quantise.quantise_plane(weights, target)):
                raise FprdoError(f"{where}: {name} has NaN, infinite or negative weights: make them finite and at least 0")


def _json_bytes(metadata: Mapping[str, object]) -> bytes:
    # A file name that is not UTF-8 holds lone surrogates; a backslash with their code is JSON's way to write them too.
    return json.dumps(metadata, ensure_ascii=False, sort_keys=True).encode("utf-8", "backslashreplace")


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT
