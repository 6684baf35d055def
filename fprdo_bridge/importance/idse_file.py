"""The .idse weight file, versions 1 and 2: what docs/idse-format.md specifies, written in a stream, read map by map."""

from __future__ import annotations

import json
import os
import stat
import struct
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral
from pathlib import Path
from typing import BinaryIO

import numpy as np

from fprdo_bridge.errors import FprdoError
from fprdo_bridge.files import replacing
from fprdo_bridge.importance.ranges import is_amount
from fprdo_bridge.importance.weight_map import (
    ALIGNMENT,
    FRACTION_BITS,
    ONE,
    TRANSFORM_SIZES,
    Layout,
    Record,
    WeightMap,
    aligned,
    fill_record,
    ones,
)
from fprdo_bridge.values import shown
from fprdo_bridge.video.formats import VideoFormat

__all__ = ["ONE", "TRANSFORM_SIZES", "IdseFile", "Layout", "Record", "WeightMap", "fill_record", "ones", "write_idse"]

MAGIC = b"IDSE\r\n\x1a\n"
VERSION, SHARED_VERSION = 1, 2  # in the second, several maps may be one record

# Everything up to the header's checksum: magic, version, header size, width, height, chroma_format_idc, fraction bits,
# transform sizes (bit n for 2^n: the sum of the sizes), reserved, maps, frames per map, frames, records (0 in version
# 1), map size, maps offset, metadata size, reserved.
_HEADER = struct.Struct("<8sHHIIBBBBIIIIQQI32s")
_HEADER_BYTES = _HEADER.size + 4
_CHROMA = ("400", "420", "422", "444")
_LARGEST_COUNT = (1 << 32) - 1
_LARGEST_METADATA = 1 << 26  # bytes, so that no file asks for more memory than that
# plane_gain is known only after the last map; this many bytes are kept for it when the place of the maps is fixed.
_PLANE_GAIN_ROOM = 128


def write_idse(
    path: str | os.PathLike[str],
    maps: Iterable[WeightMap | Record],
    fmt: VideoFormat,
    *,
    frame_count: int,
    frames_per_map: int = 1,
    transform_sizes: Iterable[int] = TRANSFORM_SIZES,
    metadata: Mapping[str, object] | None = None,
) -> None:
    """Write weight maps to a file, one at a time as the iterable gives them; the file appears whole or not at all.

    Parameters
    ----------
    maps : ceil(frame_count / frames_per_map) maps; a Record, as `IdseFile.record` gives it, goes into the file as it
        is. One that is the same object as the map before it, unchanged, is stored once
    fmt : the format of the sequence; size and chroma format are stored
    frame_count, frames_per_map : 1 to 2^32 - 1
    transform_sizes : block sizes to store; every map has shapes for them
    metadata : JSON-serialisable, without NaN and infinity; "plane_gain", the mean over the maps, is added

    Raises
    ------
    FprdoError
        Too few or too many maps; a map of other sizes; a NaN, infinite or negative weight, or 0 in a Record; metadata
        that JSON cannot say; an argument of another type; the disk is full.
    """
    path = _as_path(path)
    layout = Layout.of(fmt, transform_sizes)
    for what, number in (("frames", frame_count), ("frames per map", frames_per_map)):
        if isinstance(number, bool) or not isinstance(number, Integral) or not 1 <= number <= _LARGEST_COUNT:
            raise FprdoError(f"{path}: {shown(number)} {what}: both must be at least 1, whole and below 2^32")
    if not isinstance(maps, Iterable):
        raise FprdoError(f"{path}: {type(maps).__name__} where the maps should be: give a sequence of WeightMap")
    map_count = -(-frame_count // frames_per_map)
    needed = f"{map_count} that {frame_count} frames need at {frames_per_map} per map"
    metadata = {} if metadata is None else metadata
    room = len(_json_bytes(path, metadata)) + _PLANE_GAIN_ROOM
    maps_offset = aligned(_HEADER_BYTES + 2 * 4 * map_count + room)
    checksums: list[int] = []
    records: list[int] = []  # which one each map is
    gains = []
    before: WeightMap | Record | None = None
    buffer = np.zeros(layout.map_bytes // 2, "<u2")
    with replacing(path) as temporary, open(temporary, "wb") as file:
        file.seek(maps_offset)
        for number, one in enumerate(maps):
            if number == map_count:
                raise FprdoError(f"{path}: more maps than the {needed}: pass as many")
            values = _record_values(one, buffer, layout, f"{path}: map {number}")
            checksum = zlib.crc32(values.data)
            if one is not before or checksum != checksums[-1]:  # its arrays may hold something else by now
                checksums.append(checksum)
                file.write(values.data)
            before = one
            records.append(len(checksums) - 1)
            gains.append(one.plane_gain)
        if len(records) < map_count:
            raise FprdoError(f"{path}: {len(records)} maps given, not the {needed}: pass as many")
        shared = len(checksums) < map_count
        text = _json_bytes(path, {**metadata, "plane_gain": [float(gain) for gain in np.mean(gains, axis=0)]})
        header = _HEADER.pack(
            MAGIC,
            SHARED_VERSION if shared else VERSION,
            _HEADER_BYTES,
            layout.width,
            layout.height,
            _CHROMA.index(layout.chroma),
            FRACTION_BITS,
            sum(layout.transform_sizes),
            0,
            map_count,
            frames_per_map,
            frame_count,
            len(checksums) if shared else 0,
            layout.map_bytes,
            maps_offset,
            len(text),
            bytes(32),
        )
        table = records if shared else []
        tail = struct.pack(f"<{len(checksums) + len(table)}I", *checksums, *table) + text
        file.seek(0)
        file.write(header + struct.pack("<I", zlib.crc32(tail, zlib.crc32(header))) + tail)


class IdseFile:
    """A weight file, opened for reading; a context manager.

    A map is read into memory when it is asked for. Nothing is memory-mapped: a file that another program shortens or
    replaces meanwhile gives a message, not a signal.

    Attributes
    ----------
    layout : Layout; width, height, chroma, transform_sizes
    map_count, frames_per_map, frame_count : int; frame f uses map f // frames_per_map
    record_count : int; maps that the file stores, fewer than map_count where some are the same
    metadata : dict
    plane_gain : tuple of float, from the metadata; 1 per component where they have none

    Raises
    ------
    FprdoError
        On opening: the file cannot be read, is no regular file, is no .idse file, is of another version, is truncated,
        or its header or its metadata are damaged.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = _as_path(path)
        self._file: BinaryIO | None = None
        try:
            if not stat.S_ISREG(self.path.stat().st_mode):  # opening a pipe would wait for its writer
                raise FprdoError(f"{self.path}: is no regular file: name an .idse file")
            self._file = open(self.path, "rb", buffering=0)
            self._read_front(self._file, os.fstat(self._file.fileno()).st_size)
        except BaseException as error:
            self.close()
            if not isinstance(error, OSError):
                raise
            raise FprdoError(f"{self.path}: cannot be read ({error.strerror or error}): check the path") from error

    def __enter__(self) -> IdseFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; arrays that were handed out stay valid."""
        if self._file is not None:
            self._file.close()
        self._file = None

    def record(self, index: int) -> Record:
        """Map `index` as the file holds it, read-only.

        Raises
        ------
        FprdoError
            No such map, its checksum is wrong, a pixel weight is 0, or the file was shortened or closed since it was
        opened.
        """
        if isinstance(index, bool) or not isinstance(index, Integral) or not 0 <= index < self.map_count:
            raise FprdoError(f"{self.path}: no map {index}: the file holds {self.map_count}")
        if self._file is None:
            raise FprdoError(f"{self.path}: is closed: open it again")
        size, record = self.layout.map_bytes, self._records[index]
        try:
            data = _read_at(self._file, self._maps_offset + record * size, size)
        except OSError as error:
            raise FprdoError(f"{self.path}: cannot be read ({error.strerror or error}): check the path") from error
        if len(data) < size:
            raise FprdoError(f"{self.path}: ends inside map {index}, it was cut while being read: write the file again")
        checksum = zlib.crc32(data)
        if checksum != self._checksums[record]:
            raise self._damaged(f"map {index} has checksum {checksum:08x}, not {self._checksums[record]:08x}")
        values = np.frombuffer(data, "<u2")
        if self.layout.has_zero(values):
            raise self._damaged(f"a pixel weight of map {index} is 0, the least is 1")
        return Record(self.layout, values, self.plane_gain)

    def raw_map(self, index: int) -> tuple[tuple[np.ndarray, ...], dict[int, tuple[np.ndarray, ...]]]:
        """Planes and shapes in fixed point (as in `WeightMap`, 256 is 1.0), read-only uint16. Raises as `record`."""
        return self.layout.views(self.record(index).values)

    def map(self, index: int) -> WeightMap:
        """Map `index` as float32 weights; plane_gain from the metadata. Raises as `record`."""
        planes, shapes = self.raw_map(index)
        return WeightMap(
            tuple(plane / np.float32(ONE) for plane in planes),
            {n: tuple(shape / np.float32(ONE) for shape in group) for n, group in shapes.items()},
            self.plane_gain,
        )

    def verify(self) -> None:
        """Check every map. Raises as `record`."""
        for index in {record: index for index, record in enumerate(self._records)}.values():
            self.record(index)

    def _read_front(self, file: BinaryIO, size: int) -> None:
        head = _read_at(file, 0, _HEADER_BYTES)
        self._read_header(head, size)
        length = self._front_bytes - _HEADER_BYTES
        tail = _read_at(file, _HEADER_BYTES, length)
        if len(tail) < length:
            raise self._truncated(_HEADER_BYTES + length, _HEADER_BYTES + len(tail))
        checksum = zlib.crc32(tail, zlib.crc32(head[: _HEADER.size]))
        if checksum != struct.unpack_from("<I", head, _HEADER.size)[0]:
            raise self._damaged("its header checksum is wrong")
        self._checksums = struct.unpack_from(f"<{self.record_count}I", tail)
        self._records: Sequence[int] = range(self.map_count)  # which one each map is
        if self._table_entries:
            self._records = struct.unpack_from(f"<{self._table_entries}I", tail, 4 * self.record_count)
        if max(self._records) >= self.record_count:
            raise self._damaged(f"a map is record {max(self._records)} of {self.record_count}")
        self._read_metadata(tail[length - self._metadata_bytes :])

    def _read_header(self, head: bytes, size: int) -> None:
        if not head.startswith(MAGIC):
            raise FprdoError(f"{self.path}: not an .idse weight file: write one with fprdo weights")
        version = struct.unpack_from("<H", head, 8)[0] if len(head) >= 10 else VERSION
        if version not in (VERSION, SHARED_VERSION):
            raise FprdoError(
                f"{self.path}: .idse version {version}, this fprdo reads versions {VERSION} and {SHARED_VERSION}: "
                "use a newer fprdo or write the file again"
            )
        if len(head) < _HEADER_BYTES:
            raise self._truncated(_HEADER_BYTES, size)
        (
            _,
            _,
            header_bytes,
            width,
            height,
            chroma_format_idc,
            fraction_bits,
            transforms,
            _,
            self.map_count,
            self.frames_per_map,
            self.frame_count,
            self.record_count,
            map_bytes,
            self._maps_offset,
            self._metadata_bytes,
            _,
        ) = _HEADER.unpack_from(head)
        for what, value, right in (
            ("header size", header_bytes, header_bytes == _HEADER_BYTES),
            ("width", width, 1 <= width <= 65535),
            ("height", height, 1 <= height <= 65535),
            ("chroma format", chroma_format_idc, chroma_format_idc < len(_CHROMA)),
            ("fraction bits", fraction_bits, fraction_bits == FRACTION_BITS),
            ("transform sizes", transforms, transforms & ~sum(TRANSFORM_SIZES) == 0),
            ("frames per map", self.frames_per_map, self.frames_per_map >= 1),
            ("frame count", self.frame_count, self.frame_count >= 1),
        ):
            if not right:
                raise self._damaged(f"{what} {value}")
        self.layout = Layout(
            width, height, _CHROMA[chroma_format_idc], tuple(n for n in TRANSFORM_SIZES if transforms & n)
        )
        needed = -(-self.frame_count // self.frames_per_map)
        if self.map_count != needed:
            raise self._damaged(
                f"{self.map_count} maps where {self.frame_count} frames at {self.frames_per_map} per map need {needed}"
            )
        if version == VERSION:
            self.record_count = self.map_count
        if not 1 <= self.record_count <= self.map_count:
            raise self._damaged(f"{self.record_count} records for {self.map_count} maps")
        if map_bytes != self.layout.map_bytes:
            raise self._damaged(f"map size {map_bytes} where the picture size needs {self.layout.map_bytes}")
        self._table_entries = 0 if version == VERSION else self.map_count
        self._front_bytes = _HEADER_BYTES + 4 * (self.record_count + self._table_entries) + self._metadata_bytes
        if self._maps_offset % ALIGNMENT or self._maps_offset < self._front_bytes:
            raise self._damaged(f"maps offset {self._maps_offset} where the metadata end at {self._front_bytes}")
        expected = self._maps_offset + self.record_count * map_bytes
        if size < expected:
            raise self._truncated(expected, size)
        if size > expected:
            raise self._damaged(f"{size} bytes where {expected} are described")
        if self._metadata_bytes > _LARGEST_METADATA:
            raise FprdoError(
                f"{self.path}: {self._metadata_bytes} bytes of metadata: this fprdo reads {_LARGEST_METADATA} at most"
            )

    def _read_metadata(self, text: bytes) -> None:
        try:
            self.metadata = json.loads(
                text.decode("utf-8"), parse_constant=_no_constant, object_pairs_hook=_unique_keys
            )
        except (ValueError, RecursionError) as error:  # RecursionError: nested too deep
            raise self._damaged(f"its metadata are not JSON ({error})") from error
        if not isinstance(self.metadata, dict):
            raise self._damaged("its metadata are not a JSON object")
        components = 1 if self.layout.chroma == "400" else 3
        gain = self.metadata.get("plane_gain", [1.0] * components)
        if not isinstance(gain, list) or len(gain) != components or not all(map(is_amount, gain)):
            raise self._damaged(f"plane_gain in its metadata is not {components} numbers of 0 or more")
        self.plane_gain = tuple(float(value) for value in gain)

    def _truncated(self, expected: int, size: int) -> FprdoError:
        return FprdoError(f"{self.path}: truncated, {size} of {expected} bytes: write the file again")

    def _damaged(self, what: str) -> FprdoError:
        return FprdoError(f"{self.path}: damaged .idse file, {what}: write the file again")


def _as_path(path: str | os.PathLike[str]) -> Path:
    try:
        text = os.fspath(path)
        if isinstance(text, str) and "\0" not in text:
            return Path(text)
    except TypeError:
        pass
    raise FprdoError(f"weight file {shown(path)}: is no file name: give a str or a Path")


def _record_values(one: WeightMap | Record, buffer: np.ndarray, layout: Layout, where: str) -> np.ndarray:
    if isinstance(one, Record):
        if one.layout != layout:
            raise FprdoError(f"{where}: is for {one.layout}, the file for {layout}: compute the map for this format")
        if layout.has_zero(one.values):
            raise FprdoError(f"{where}: a pixel weight is 0, the least is 1: raise it")
        return one.values
    if not isinstance(one, WeightMap):
        raise FprdoError(f"{where}: {type(one).__name__} given: give a WeightMap")
    fill_record(buffer, one, layout, where)
    return buffer


def _read_at(file: BinaryIO, offset: int, size: int) -> bytes:
    """`size` bytes from `offset` on, fewer only where the file ends."""
    parts = []
    while size and (part := os.pread(file.fileno(), size, offset)):
        parts.append(part)
        offset, size = offset + len(part), size - len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _json_bytes(path: Path, metadata: Mapping[str, object]) -> bytes:
    try:
        if not isinstance(metadata, Mapping) or not all(isinstance(key, str) for key in metadata):
            raise TypeError("a mapping whose keys are str is needed")
        text = json.dumps(dict(metadata), ensure_ascii=False, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise FprdoError(
            f"{path}: metadata that JSON cannot say ({error}): give text, finite numbers, lists and dictionaries"
        ) from error
    # A file name that is not UTF-8 holds lone surrogates; a backslash with their code is JSON's way to write them too.
    return text.encode("utf-8", "backslashreplace")


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is no number of JSON")


def _unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise ValueError(f"key {shown(twice)} stands twice")
    return found
