"""Picture files and colour profiles, built byte by byte."""

import struct
import zlib
from inspect import signature

import numpy as np

from fprdo_bridge.video.picture_colour import SRGB, from_primaries, srgb_decode

WHITE = (0.9642, 1.0, 0.8249)
P3 = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))
ADOBE = ((0.640, 0.330), (0.210, 0.710), (0.150, 0.060))


def png(width: int, height: int, depth: int, colour_type: int, rows: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG by hand, its rows unfiltered; `chunks` come before the data."""
    lines = np.frombuffer(rows, np.uint8).reshape(height, -1)
    data = zlib.compress(np.hstack((np.zeros((height, 1), np.uint8), lines)).tobytes())
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in ((b"IHDR", header), *chunks, (b"IDAT", data), (b"IEND", b""))
    )


def fixed(value: float) -> bytes:
    return struct.pack(">i", round(value * 65536))


def para(kind: int, *values: float) -> bytes:
    return b"para\0\0\0\0" + struct.pack(">HH", kind, 0) + b"".join(map(fixed, values))


def curv(*values: int) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(f">I{len(values)}H", len(values), *values)


def profile(curve: bytes, primaries=P3, model: bytes = b"RGB ") -> bytes:
    """An ICC profile of curves and a matrix, or of one curve for grey."""
    matrix = from_primaries(primaries).matrix
    tags = {}
    if model == b"GRAY":
        tags[b"kTRC"] = curve
    else:
        for letter, column in zip(b"rgb", matrix.T):
            tags[bytes([letter]) + b"TRC"] = curve
            tags[bytes([letter]) + b"XYZ"] = b"XYZ " + bytes(4) + b"".join(map(fixed, column))
    return _icc(model, b"XYZ ", tags)


def _icc(model: bytes, connection: bytes, tags: dict[bytes, bytes], kind: bytes = b"mntr") -> bytes:
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", 5) + b"test\0" + bytes(78),
        b"wtpt": b"XYZ " + bytes(4) + b"".join(map(fixed, WHITE)),
    } | tags
    table, data = b"", b""
    start = 132 + 12 * len(tags)
    for name, content in tags.items():
        content += bytes(-len(content) % 4)
        table += name + struct.pack(">II", start + len(data), len(content))
        data += content
    header = struct.pack(
        ">I4sI4s4s4s12x4s4sI", start + len(data), b"lcms", 0x02400000, kind, model, connection, b"acsp", b"APPL", 0
    )
    header += bytes(68 - len(header)) + struct.pack(">iii", *(round(v * 65536) for v in WHITE))
    return header + bytes(128 - len(header)) + struct.pack(">I", len(tags)) + table + data


def _lut(corner) -> bytes:
    """A table of type mft1 of three or four channels to Lab, given the sRGB colour of each corner of the cube."""
    channels = len(signature(corner).parameters)
    nodes = []
    for index in range(2**channels):
        place = [index >> (channels - 1 - channel) & 1 for channel in range(channels)]
        x, y, z = SRGB.matrix @ srgb_decode(np.array(corner(*place), float)) / WHITE
        x, y, z = (t ** (1 / 3) if t > (6 / 29) ** 3 else t / 3 / (6 / 29) ** 2 + 4 / 29 for t in (x, y, z))
        lab = (116 * y - 16) * 2.55, 500 * (x - y) + 128, 200 * (y - z) + 128
        nodes += [min(255, max(0, round(float(value)))) for value in lab]
    matrix = b"".join(map(fixed, (1, 0, 0, 0, 1, 0, 0, 0, 1)))
    line = bytes(range(256))
    return b"mft1" + bytes(4) + bytes((channels, 3, 2, 0)) + matrix + channels * line + bytes(nodes) + 3 * line


def swapping_profile() -> bytes:
    """An ICC profile of a table, which swaps red and blue of sRGB at the corners of the cube."""
    return _icc(b"RGB ", b"Lab ", {b"A2B0": _lut(lambda r, g, b: (b, g, r))})


def cmyk_profile() -> bytes:
    """An ICC profile of a printer whose cyan is green."""
    return _icc(
        b"CMYK",
        b"Lab ",
        {b"A2B0": _lut(lambda c, m, y, k: ((1 - c) * (1 - k), (1 - m) * (1 - k), (1 - y) * (1 - c) * (1 - k)))},
        b"prtr",
    )
