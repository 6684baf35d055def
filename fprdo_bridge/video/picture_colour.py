"""What the colours of a picture file mean, and their way to sRGB.

sRGB is what networks are trained on, and what the matrix of a bitstream (VideoFormat.matrix) assumes of R'G'B'. A
space of three curves and a matrix, as of Display P3 or Adobe RGB, is computed here in double precision; colours outside
of sRGB are clipped. That is ICC's media-relative colorimetric intent. Other profiles (CMYK, tables) go through
LittleCMS with that intent and black point compensation, at 8 bits.
"""

import io
import struct
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

Curve = Callable[[NDArray[np.float64]], NDArray[np.float64]]  # code values to light, both in [0, 1]

_D50 = np.array([0.9642, 1.0, 0.8249])  # ICC.1 clause 7.2.16
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_D65 = (0.3127, 0.3290)
# x and y of red, green and blue by ColourPrimaries of ITU-T H.273 table 2, where white is D65.
_PRIMARIES = {
    1: ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060)),
    5: ((0.640, 0.330), (0.290, 0.600), (0.150, 0.060)),
    6: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070)),
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}
_ROWS = 256  # rows that are converted at a time


@dataclass(frozen=True)
class RgbSpace:
    """R'G'B' by a curve per component and a matrix from R, G, B to X, Y, Z under D50, both in [0, 1]."""

    curves: tuple[Curve, Curve, Curve]
    matrix: NDArray[np.float64]


def srgb_decode(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Code values of sRGB to light (IEC 61966-2-1)."""
    return np.where(values <= 0.04045, values / 12.92, ((np.maximum(values, 0) + 0.055) / 1.055) ** 2.4)


def srgb_encode(light: NDArray[np.float64]) -> NDArray[np.float64]:
    """Light to code values of sRGB; the inverse of `srgb_decode`."""
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * np.maximum(light, 0) ** (1 / 2.4) - 0.055)


def from_primaries(
    primaries: tuple[tuple[float, float], ...], white: tuple[float, float] = _D65, curve: Curve = srgb_decode
) -> RgbSpace:
    """The space of given chromaticities x, y (red, green, blue), adapted to D50 by Bradford's matrix.

    Raises
    ------
    ValueError
        The chromaticities span no space.
    """

    def xyz(point: tuple[float, float]) -> NDArray[np.float64]:
        x, y = point
        if y <= 0:
            raise ValueError(f"chromaticity {x:g}, {y:g}")
        return np.array([x / y, 1, (1 - x - y) / y])

    columns = np.stack([xyz(point) for point in primaries], axis=1)
    if abs(np.linalg.det(columns)) < 1e-6:
        raise ValueError(f"primaries {primaries} lie on a line")
    matrix = columns * np.linalg.solve(columns, xyz(white))
    gain = (_BRADFORD @ _D50) / (_BRADFORD @ xyz(white))
    return RgbSpace((curve,) * 3, np.linalg.inv(_BRADFORD) @ (gain[:, None] * _BRADFORD) @ matrix)


SRGB = from_primaries(_PRIMARIES[1])


def power(exponent: float) -> Curve:
    """Light is the code value to the power `exponent`."""
    return lambda values: np.maximum(values, 0) ** exponent


def space_of_png(chromaticities: tuple[float, ...] | None, gamma: float | None) -> RgbSpace:
    """The space that a PNG's cHRM (x, y of white, red, green, blue) and gAMA (exponent of code values) describe.

    Programs write a gAMA of 1/2.2 for sRGB itself (PNG specification, clause 11.3.2.5), so it means sRGB's curve.

    Raises
    ------
    ValueError
        The chunks describe no space.
    """
    curve: Curve = srgb_decode
    if gamma is not None and not 0.45 <= gamma <= 0.46:
        if not 0.01 <= gamma <= 100:
            raise ValueError(f"gamma {gamma:g}")
        curve = power(1 / gamma)
    if chromaticities is None:
        return from_primaries(_PRIMARIES[1], curve=curve)
    points = [(float(x), float(y)) for x, y in zip(chromaticities[::2], chromaticities[1::2])]
    return from_primaries(tuple(points[1:]), points[0], curve)


def space_of_cicp(code_points: bytes) -> RgbSpace:
    """The space that a PNG's cICP chunk names: primaries, transfer characteristics, matrix and range of ITU-T H.273.

    The transfer characteristics of BT.601, BT.709 and BT.2020 are taken for sRGB's, which displays show them with.

    Raises
    ------
    ValueError
        High dynamic range, limited range, or code points that are not known here.
    """
    primaries, transfer, matrix, full_range = code_points
    if transfer in (16, 18):
        raise ValueError("high dynamic range (PQ or HLG)")
    curve = {
        1: srgb_decode,
        6: srgb_decode,
        13: srgb_decode,
        14: srgb_decode,
        15: srgb_decode,
        4: power(2.2),
        5: power(2.8),
        8: power(1.0),
    }.get(transfer)
    if primaries not in _PRIMARIES or curve is None or matrix != 0 or full_range != 1:
        raise ValueError(f"code points {primaries}/{transfer}/{matrix}/{full_range}")
    return from_primaries(_PRIMARIES[primaries], curve=curve)


# ---- ICC profiles --------------------------------------------------------------------------------------------------


def icc_space(profile: bytes) -> RgbSpace | None:
    """The space of an ICC profile of curves and a matrix, or of one curve for grey; None for a profile of tables.

    Raises
    ------
    ValueError, struct.error, IndexError
        The profile is damaged.
    """
    tags = _icc_tags(profile)
    if any(tag in tags for tag in ("A2B0", "A2B1", "A2B2", "D2B0", "D2B1")):
        return None
    if icc_model(profile) == "GRAY" and "kTRC" in tags:
        return RgbSpace((_icc_curve(tags["kTRC"]),) * 3, SRGB.matrix)
    names = ("rTRC", "gTRC", "bTRC", "rXYZ", "gXYZ", "bXYZ")
    if icc_model(profile) != "RGB" or any(name not in tags for name in names):
        return None
    red, green, blue = (_icc_curve(tags[name]) for name in names[:3])
    columns = [[value / 65536 for value in struct.unpack(">3i", tags[name][8:20])] for name in names[3:]]
    return RgbSpace((red, green, blue), np.array(columns).T)


def icc_model(profile: bytes) -> str:
    """Colour model of the samples: "RGB", "GRAY", "CMYK" or another (ICC.1 clause 7.2.6); "" where there is none."""
    return profile[16:20].decode("latin-1").strip()


def icc_name(profile: bytes) -> str:
    """The profile's own description, in printable characters."""
    name = ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(profile)))
    return " ".join("".join(c if c.isprintable() else " " for c in name).split())[:60] or "without a name"


def _icc_tags(profile: bytes) -> dict[str, bytes]:
    if profile[36:40] != b"acsp":
        raise ValueError("no ICC signature")
    (count,) = struct.unpack(">I", profile[128:132])
    tags = {}
    for index in range(min(count, 1000)):
        name, offset, size = struct.unpack(">4sII", profile[132 + 12 * index : 144 + 12 * index])
        tags[name.decode("latin-1")] = profile[offset : offset + size]
    return tags


def _icc_curve(tag: bytes) -> Curve:
    """A curve of type curv or para (ICC.1 clauses 10.6 and 10.18)."""
    if tag[:4] == b"curv":
        (count,) = struct.unpack(">I", tag[8:12])
        table = np.array(struct.unpack(f">{count}H", tag[12 : 12 + 2 * count]), float)
        if count == 0:
            return power(1.0)
        if count == 1:
            return power(float(table[0]) / 256)
        return lambda values: np.interp(values, np.linspace(0, 1, count), table / 65535)
    if tag[:4] != b"para":
        raise ValueError(f"curve of type {tag[:4]!r}")
    (kind,) = struct.unpack(">H", tag[8:10])
    count = {0: 1, 1: 3, 2: 4, 3: 5, 4: 7}[kind]
    values = [value / 65536 for value in struct.unpack(f">{count}i", tag[12 : 12 + 4 * count])]
    g, a, b, c, d, e, f = values + [0.0] * (7 - count)
    if kind == 0:
        return power(g)
    if kind in (1, 2):  # Y = (aX + b)^g + c above -b/a, else c
        c, d, e, f = 0.0, -b / a, c, c
    return lambda values: np.where(values >= d, np.maximum(a * values + b, 0) ** g + e, c * values + f)


# ---- conversion ----------------------------------------------------------------------------------------------------


def is_srgb(space: RgbSpace) -> bool:
    """Whether conversion to sRGB changes no 8-bit code value by three quarters or more: profiles of sRGB differ so."""
    steps = np.linspace(0, 1, 18)
    corners = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    return float(np.abs(_converted(corners, space) - corners).max()) < 0.75 / 255


def to_srgb(samples: NDArray[np.uint8] | NDArray[np.uint16], space: RgbSpace) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Convert (height, width, 3) R'G'B' of full range to sRGB of the same type, rounded, clipped to its gamut."""
    largest = np.iinfo(samples.dtype).max
    result = np.empty_like(samples)
    for top in range(0, len(samples), _ROWS):
        part = samples[top : top + _ROWS] / largest
        result[top : top + _ROWS] = np.floor(_converted(part, space) * largest + 0.5)
    return result


def _converted(values: NDArray[np.float64], space: RgbSpace) -> NDArray[np.float64]:
    light = np.stack([curve(values[..., index]) for index, curve in enumerate(space.curves)], axis=-1)
    light = light @ (np.linalg.inv(SRGB.matrix) @ space.matrix).T
    return np.clip(srgb_encode(np.clip(light, 0, 1)), 0, 1)


def by_littlecms(image: Image.Image, profile: bytes) -> Image.Image:
    """Convert a Pillow image (RGB, CMYK or L) by its ICC profile to sRGB, mode RGB.

    Raises
    ------
    ImageCms.PyCMSError, ValueError
        LittleCMS cannot use the profile for these samples.
    """
    converted = ImageCms.profileToProfile(
        image,
        ImageCms.ImageCmsProfile(io.BytesIO(profile)),
        ImageCms.createProfile("sRGB"),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        outputMode="RGB",
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    if converted is None:
        raise ValueError("no conversion")
    return converted
