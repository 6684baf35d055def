"""Colours of picture files: profiles and chunks become sRGB, and what cannot be used is told."""

import struct
import zlib

import numpy as np
import pytest
from picture_files import ADOBE, P3, cmyk_profile, curv, para, png, profile, swapping_profile
from PIL import Image, ImageCms

from fprdo_bridge.errors import FprdoError
from fprdo_bridge.video.picture_colour import (
    SRGB,
    by_littlecms,
    from_primaries,
    icc_space,
    is_srgb,
    power,
    srgb_decode,
    srgb_encode,
    to_srgb,
)
from fprdo_bridge.video.picture_reader import read_picture
from fprdo_bridge.video.source import open_source

SRGB_PARA = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)


@pytest.fixture
def rgb() -> np.ndarray:
    return np.random.default_rng(7).integers(0, 256, (13, 17, 3), dtype=np.uint8)


# ---- profiles ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_display_p3(tmp_path, suffix):
    """The patch 230, 60, 40 of P3's primaries and a gamma of 2.2 is 251, 25, 0 of sRGB, not 230, 60, 40."""
    patch = Image.new("RGB", (16, 16), (230, 60, 40))
    options = {".webp": {"lossless": True}, ".jpg": {"quality": 100, "subsampling": 0}}.get(suffix, {})
    patch.save(tmp_path / f"a{suffix}", icc_profile=profile(curv(563)), **options)
    picture = read_picture(tmp_path / f"a{suffix}")
    assert np.abs(picture.rgb[8, 8].astype(int) - (251, 25, 0)).max() <= (2 if suffix == ".jpg" else 0)
    (note,) = picture.notes
    assert note == "is converted to sRGB by its profile test, relative colorimetric, clipped to the gamut"
    source = open_source(str(tmp_path / f"a{suffix}"))
    assert source.notes == (f"{tmp_path}/a{suffix}: {note}",)


@pytest.mark.parametrize(
    "curve",
    [
        para(0, 1.8),
        para(1, 2.2, 1.1, -0.1),
        para(2, 2.0, 1.1, -0.1, 0),
        para(3, *SRGB_PARA),
        para(4, *SRGB_PARA, 0, 0),
        curv(),
        curv(round(2.19921875 * 256)),
        curv(*(round(65535 * (i / 63) ** 1.8) for i in range(64))),
    ],
)
@pytest.mark.parametrize("primaries", [P3, ADOBE])
def test_as_littlecms_does_it(rgb, curve, primaries):
    """Curves of every type and a matrix: within a code value of LittleCMS at 8 bits, and the same at 16."""
    icc = profile(curve, primaries)
    space = icc_space(icc)
    ours = to_srgb(rgb, space)
    theirs = np.asarray(by_littlecms(Image.fromarray(rgb), icc))
    assert np.abs(ours.astype(int) - theirs).max() <= 1
    deep = to_srgb(rgb.astype(np.uint16) * 257, space)
    assert np.abs(deep / 257 - ours).max() <= 0.5


@pytest.mark.parametrize(
    "tag, value, light",
    [
        (para(0, 2.0), 0.5, 0.25),
        (para(1, 2.0, 0.5, 0.25), 0.5, 0.25),
        (para(1, 2.0, 1.0, -0.5), 0.25, 0),
        (para(2, 2.0, 0.5, 0.25, 0.125), 0.5, 0.375),
        (para(2, 2.0, 1.0, -0.5, 0.125), 0.25, 0.125),
        (para(3, 2.0, 0.5, 0.25, 0.25, 0.5), 0.5, 0.25),
        (para(3, 2.0, 0.5, 0.25, 0.25, 0.5), 0.25, 0.0625),
        (para(4, 2.0, 0.5, 0.25, 0.25, 0.5, 0.5, 0.125), 0.5, 0.75),
        (para(4, 2.0, 0.5, 0.25, 0.25, 0.5, 0.5, 0.125), 0.25, 0.1875),
        (curv(), 0.3, 0.3),
        (curv(512), 0.5, 0.25),
        (curv(0, 0, 65535), 0.75, 0.5),
    ],
)
def test_curves_by_hand(tag, value, light):
    """ICC.1 clauses 10.6 and 10.18."""
    assert icc_space(profile(tag)).curves[0](np.array([value]))[0] == pytest.approx(light, abs=1e-5)


@pytest.mark.parametrize(
    "icc",
    [
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
        profile(para(3, *SRGB_PARA), ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060))),
    ],
)
def test_profiles_of_srgb_change_nothing(tmp_path, rgb, icc):
    Image.fromarray(rgb).save(tmp_path / "a.png", icc_profile=icc)
    picture = read_picture(tmp_path / "a.png")
    assert np.array_equal(picture.rgb, rgb) and picture.notes == ()


def test_a_profile_at_16_bits(tmp_path):
    """Sixteen bits go through the profile as such."""
    ramp = np.arange(0, 65536, 64, dtype=np.uint16)
    rows = ramp.repeat(3).astype(">u2").tobytes()
    chunk = b"test\0\0" + zlib.compress(profile(para(0, 1.8)))
    (tmp_path / "a.png").write_bytes(png(1024, 1, 16, 2, rows, (b"iCCP", chunk)))
    picture = read_picture(tmp_path / "a.png")
    expected = srgb_encode((ramp / 65535) ** 1.8)
    assert picture.rgb.dtype == np.uint16
    assert np.abs(picture.rgb[0, :, 1] / 65535 - expected).max() < 3e-5  # the matrix is rounded to 16 bits
    assert len(picture.notes) == 1


def test_grey_profile(tmp_path):
    ramp = np.arange(256, dtype=np.uint8)[None]
    Image.fromarray(ramp).save(tmp_path / "a.png", icc_profile=profile(para(0, 1.0), model=b"GRAY"))
    picture = read_picture(tmp_path / "a.png")
    assert np.array_equal(picture.rgb[0, :, 2], np.floor(srgb_encode(ramp[0] / 255) * 255 + 0.5))
    assert "profile test" in picture.notes[0]


def test_alpha_keeps_out_of_the_profile(tmp_path):
    patch = Image.new("RGBA", (4, 4), (230, 60, 40, 255))
    patch.putpixel((0, 0), (230, 60, 40, 0))
    patch.save(tmp_path / "a.png", icc_profile=profile(curv(563)))
    picture = read_picture(tmp_path / "a.png")
    assert picture.rgb[1, 1].tolist() == [251, 25, 0] and picture.rgb[0, 0].tolist() == [255, 255, 255]


@pytest.mark.parametrize("bits", [8, 16])
def test_profile_of_tables(tmp_path, bits):
    """LittleCMS converts by tables, at 8 bits; this one swaps red and blue."""
    colours = np.array([[(0, 0, 0), (255, 0, 0), (0, 0, 255), (255, 255, 0), (255, 255, 255)]])
    rows = (colours * (257 if bits == 16 else 1)).astype(f">u{bits // 8}").tobytes()
    chunk = b"test\0\0" + zlib.compress(swapping_profile())
    (tmp_path / "a.png").write_bytes(png(5, 1, bits, 2, rows, (b"iCCP", chunk)))
    picture = read_picture(tmp_path / "a.png")
    assert picture.rgb.dtype == np.uint8 and np.abs(picture.rgb.astype(int) - colours[..., ::-1]).max() <= 4
    (note,) = picture.notes
    assert "by its profile test, relative colorimetric with black point compensation" in note
    assert ("8 of its 16 bits are kept" in note) == (bits == 16)


@pytest.mark.parametrize(
    "icc",
    [
        b"no profile",
        profile(para(0, 1.8))[:200],
        profile(b"none" + bytes(20)),
        profile(para(0, 1.8), model=b"GRAY"),
        profile(para(0, 1.8), model=b"CMYK"),
    ],
)
def test_useless_profiles_are_told(tmp_path, rgb, icc):
    Image.fromarray(rgb).save(tmp_path / "a.png", icc_profile=icc)
    picture = read_picture(tmp_path / "a.png")
    assert np.array_equal(picture.rgb, rgb)
    (note,) = picture.notes
    assert note.startswith("has a colour profile that cannot be used (") and note.endswith(
        "; its colours are taken as sRGB"
    )
    assert note.isprintable()


# ---- CMYK ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_cmyk_without_a_profile(tmp_path, suffix):
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / f"a{suffix}")
    picture = read_picture(tmp_path / f"a{suffix}")
    assert np.abs(picture.rgb[8, 8].astype(int) - (255, 0, 0)).max() <= 3
    (note,) = picture.notes
    assert note.startswith("is CMYK without a usable profile") and "approximate" in note


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_cmyk_by_its_profile(tmp_path, suffix):
    """Inks of a profile that makes cyan a pure green."""
    Image.new("CMYK", (16, 16), (255, 0, 0, 0)).save(tmp_path / f"a{suffix}", icc_profile=cmyk_profile())
    picture = read_picture(tmp_path / f"a{suffix}")
    assert np.abs(picture.rgb[8, 8].astype(int) - (0, 255, 0)).max() <= 12
    assert picture.notes == ("is CMYK, converted to sRGB by its profile test",)


def test_cmyk_with_a_useless_profile(tmp_path):
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(
        tmp_path / "a.jpg", icc_profile=profile(para(0, 1.8), model=b"CMYK")
    )
    first, second = read_picture(tmp_path / "a.jpg").notes
    assert "cannot be used" in first and "approximate" in second


# ---- chunks of PNG -------------------------------------------------------------------------------------------------


def chrm(white, primaries) -> tuple[bytes, bytes]:
    return b"cHRM", struct.pack(">8I", *(round(v * 100000) for point in (white, *primaries) for v in point))


def gama(value: float) -> tuple[bytes, bytes]:
    return b"gAMA", struct.pack(">I", round(value * 100000))


D65 = (0.3127, 0.3290)
SRGB_CHRM = chrm(D65, ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06)))


@pytest.mark.parametrize(
    "chunks",
    [
        [],
        [gama(0.45455)],
        [SRGB_CHRM],
        [gama(0.45455), SRGB_CHRM],
        [(b"sRGB", b"\0"), gama(1.0), chrm(D65, P3)],
        [(b"cICP", bytes((1, 13, 0, 1)))],
    ],
)
def test_chunks_that_say_srgb(tmp_path, rgb, chunks):
    """sRGB stands above gAMA and cHRM, and its gAMA is 1/2.2 by convention."""
    (tmp_path / "a.png").write_bytes(png(17, 13, 8, 2, rgb.tobytes(), *chunks))
    picture = read_picture(tmp_path / "a.png")
    assert np.array_equal(picture.rgb, rgb) and picture.notes == ()


@pytest.mark.parametrize(
    "chunks, expected",
    [
        ([gama(0.45455), chrm(D65, P3)], (250, 31, 14)),
        ([(b"cICP", bytes((12, 13, 0, 1)))], (250, 31, 14)),
        ([(b"cICP", bytes((12, 13, 0, 1))), gama(1.0)], (250, 31, 14)),
        ([(b"cICP", bytes((12, 4, 0, 1)))], (251, 25, 0)),
        ([gama(1.0)], tuple(np.floor(srgb_encode(np.array((230, 60, 40)) / 255) * 255 + 0.5))),
    ],
)
def test_chunks_that_say_something_else(tmp_path, chunks, expected):
    (tmp_path / "a.png").write_bytes(png(1, 1, 8, 2, bytes((230, 60, 40)), *chunks))
    picture = read_picture(tmp_path / "a.png")
    assert picture.rgb[0, 0].tolist() == list(expected) and "converted to sRGB" in picture.notes[0]


def test_white_of_a_chunk_is_white(tmp_path):
    """Whatever its chromaticity: pictures are adapted to the white of the display."""
    (tmp_path / "a.png").write_bytes(png(1, 1, 8, 2, bytes((255, 255, 255)), chrm((0.3457, 0.3585), P3), gama(0.5)))
    assert read_picture(tmp_path / "a.png").rgb[0, 0].tolist() == [255, 255, 255]


@pytest.mark.parametrize("chunk", [chrm(D65, ((0.3, 0.3),) * 3), chrm(D65, ((0.6, 0.0), *P3[1:])), gama(0.0)])
def test_useless_chunks_are_told(tmp_path, rgb, chunk):
    (tmp_path / "a.png").write_bytes(png(17, 13, 8, 2, rgb.tobytes(), chunk))
    picture = read_picture(tmp_path / "a.png")
    assert np.array_equal(picture.rgb, rgb)
    assert "useless cHRM or gAMA" in picture.notes[0] and "taken as sRGB" in picture.notes[0]


@pytest.mark.parametrize(
    "codes, reason",
    [
        ((9, 16, 0, 1), "high dynamic range"),
        ((9, 18, 0, 1), "high dynamic range"),
        ((1, 13, 0, 0), "code points 1/13/0/0"),
        ((99, 13, 0, 1), "code points 99"),
    ],
)
def test_cicp_that_is_refused(tmp_path, rgb, codes, reason):
    (tmp_path / "a.png").write_bytes(png(17, 13, 8, 2, rgb.tobytes(), (b"cICP", bytes(codes))))
    with pytest.raises(FprdoError, match=f"a.png: not a readable picture .{reason}"):
        read_picture(tmp_path / "a.png")


# ---- EXIF ----------------------------------------------------------------------------------------------------------


def test_adobe_rgb_by_exif_alone(tmp_path, rgb):
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA001] = 2
    Image.fromarray(rgb).save(tmp_path / "a.jpg", exif=exif)
    assert read_picture(tmp_path / "a.jpg").notes == (
        "is Adobe RGB by its EXIF data, but has no profile; its colours are taken as sRGB",
    )


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_damaged_exif_is_told(tmp_path, rgb, kind):
    Image.fromarray(rgb).save(tmp_path / "a", kind, exif=b"Exif\0\0garbage", lossless=True)
    picture = read_picture(tmp_path / "a")
    assert np.array_equal(picture.rgb, rgb)
    assert picture.notes == ("has damaged EXIF data; it is taken as upright",)


# ---- the space itself ----------------------------------------------------------------------------------------------


def test_srgb_by_the_book():
    """The matrix of IEC 61966-2-1, adapted to D50 as in every ICC profile of sRGB; the curve at its joint and ends."""
    book = [[0.4360747, 0.3850649, 0.1430804], [0.2225045, 0.7168786, 0.0606169], [0.0139322, 0.0971045, 0.7141733]]
    assert np.allclose(SRGB.matrix, book, atol=5e-4) and np.allclose(SRGB.matrix.sum(axis=1), (0.9642, 1, 0.8249))
    values = np.array([0, 0.04045, 0.5, 1])
    assert np.allclose(srgb_decode(values), [0, 0.0031308, 0.2140411, 1], atol=1e-7)
    assert np.allclose(srgb_encode(srgb_decode(values)), values, atol=1e-6)
    assert is_srgb(SRGB) and not is_srgb(from_primaries(P3)) and not is_srgb(from_primaries(ADOBE, curve=power(2.2)))
