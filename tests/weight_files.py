"""Weight files with random maps, and what tests change in them."""

import struct
import zlib
from pathlib import Path

import numpy as np

from fprdo_bridge.importance.idse_file import WeightMap, write_idse
from fprdo_bridge.video.formats import VideoFormat

FMT = VideoFormat(6, 5, "420")


def random_map(fmt: VideoFormat, sizes: tuple[int, ...], rng: np.random.Generator) -> WeightMap:
    """Means of 1 as in a computed map, with a long tail."""
    planes, shapes = [], {n: [] for n in sizes}
    for h, w in fmt.plane_shapes:
        plane = rng.gamma(0.3, size=(h, w)) + 1e-9
        planes.append((plane / plane.mean()).astype(np.float32))
        for n in sizes:
            blocks = rng.gamma(0.3, size=(-(-h // n), n, -(-w // n), n)) + 1e-9
            blocks /= blocks.mean((1, 3), keepdims=True)
            shapes[n].append(blocks.reshape(blocks.shape[0] * n, -1).astype(np.float32))
    return WeightMap(
        tuple(planes), {n: tuple(group) for n, group in shapes.items()}, (1.0, *rng.uniform(0.1, 8, len(planes) - 1))
    )


def write_random(path: Path, fmt: VideoFormat = FMT, sizes: tuple[int, ...] = (4,), frames: int = 3) -> list[WeightMap]:
    rng = np.random.default_rng(1)
    maps = [random_map(fmt, sizes, rng) for _ in range(frames)]
    write_idse(path, iter(maps), fmt, frame_count=frames, transform_sizes=sizes, metadata={"extractor": "a β c"})
    return maps


def with_header(data: bytes, offset: int, layout: str, *values: int) -> bytes:
    """The file with header fields replaced and the header checksum made right."""
    data = bytearray(data)
    struct.pack_into("<" + layout, data, offset, *values)
    struct.pack_into("<I", data, 92, zlib.crc32(bytes(data[:92]) + bytes(data[96 : front_bytes(data)])))
    return bytes(data)


def record_count(data: bytes) -> int:
    """What the header says."""
    (version,) = struct.unpack_from("<H", data, 8)
    return struct.unpack_from("<I", data, 36 if version == 2 else 24)[0]


def front_bytes(data: bytes) -> int:
    """Where the metadata end, by the header."""
    (version,), (maps,), (size,) = (
        struct.unpack_from(kind, data, place) for kind, place in (("<H", 8), ("<I", 24), ("<I", 56))
    )
    return 96 + 4 * (record_count(data) + (maps if version == 2 else 0)) + size
