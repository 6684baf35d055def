"""Picture files: exact samples of 8 and 16 bits, and one clear line for what cannot be read."""

import io
import struct
import time
import zlib

import av
import numpy as np
import pytest
import tifffile
from picture_files import png
from PIL import Image

from fprdo_bridge.errors import FprdoError
from fprdo_bridge.video.formats import VideoFormat, first_difference
from fprdo_bridge.video.picture_reader import read_picture
from fprdo_bridge.video.pictures import frame_to_picture, load_picture, picture_to_frame, save_frame, save_picture
from fprdo_bridge.video.source import FormatRequest, open_source


@pytest.fixture
def rgb() -> np.ndarray:
    return np.random.default_rng(7).integers(0, 256, (13, 17, 3), dtype=np.uint8)


@pytest.fixture
def deep() -> np.ndarray:
    return np.random.default_rng(8).integers(0, 65536, (13, 17, 4), dtype=np.uint16)


# ---- 8 bits --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".png", ".webp", ".PNG"])
def test_lossless_pictures_round_trip(tmp_path, rgb, suffix):
    save_picture(tmp_path / f"a{suffix}", rgb)
    assert np.array_equal(load_picture(tmp_path / f"a{suffix}"), rgb)


def test_jpeg_round_trip_is_close(tmp_path):
    ramp = np.broadcast_to(np.arange(0, 240, 4, dtype=np.uint8)[:, None, None], (60, 40, 3))
    save_picture(tmp_path / "a.jpg", ramp)
    assert np.abs(load_picture(tmp_path / "a.jpg").astype(int) - ramp).max() <= 4


def test_grey_is_repeated(tmp_path, rgb):
    Image.fromarray(rgb[..., 0]).save(tmp_path / "grey.png")
    assert np.array_equal(load_picture(tmp_path / "grey.png"), np.repeat(rgb[..., :1], 3, axis=2))


def test_transparency_is_composed_on_white(tmp_path):
    Image.fromarray(np.array([[[10, 20, 30, 255], [10, 20, 30, 0]]], np.uint8)).save(tmp_path / "a.png")
    assert load_picture(tmp_path / "a.png").tolist() == [[[10, 20, 30], [255, 255, 255]]]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_tag_is_applied(tmp_path, suffix, orientation):
    """Row 0 and column 0 of the file are at the side of the picture that EXIF's table 6 names."""
    stored = np.zeros((16, 24, 3), np.uint8)
    stored[:8, :8], stored[:8, 16:] = 250, 120  # grey, so that JPEG keeps it
    seen = {
        1: stored,
        2: stored[:, ::-1],
        3: stored[::-1, ::-1],
        4: stored[::-1],
        5: stored.swapaxes(0, 1),
        6: np.rot90(stored, -1),
        7: stored[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(stored),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored).save(tmp_path / f"a{suffix}", exif=exif)
    picture = read_picture(tmp_path / f"a{suffix}")
    assert picture.rgb.shape == seen.shape and np.abs(picture.rgb.astype(int) - seen).max() <= 2
    assert picture.notes == ()


@pytest.mark.parametrize(
    "name, shape",
    [("astronaut", (512, 512, 3)), ("rocket", (427, 640, 3)), ("camera", (512, 512, 3)), ("logo", (500, 500, 3))],
)
def test_pictures_of_scikit_image(name, shape):
    picture = load_picture(f"skimage:{name}")
    assert picture.shape == shape and picture.dtype == np.uint8


@pytest.mark.parametrize("name", ["nobody", "data_dir", "stereo_motorcycle", "download_all", "lfw_subset"])
def test_what_is_no_picture_of_scikit_image(name):
    with pytest.raises(FprdoError, match=f"skimage:{name}"):
        load_picture(f"skimage:{name}")


def test_unreadable_pictures(tmp_path, rgb):
    noise_rgb = np.random.default_rng(3).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for suffix in (".png", ".jpg", ".webp"):
        whole = tmp_path / f"whole{suffix}"
        save_picture(whole, noise_rgb)
        cut = tmp_path / f"cut{suffix}"
        cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
        with pytest.raises(FprdoError, match=f"cut{suffix}: not a readable picture"):
            load_picture(cut)
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(FprdoError, match="text.png: not a readable picture"):
        load_picture(tmp_path / "text.png")
    with pytest.raises(FprdoError, match="gone.png: no such picture"):
        load_picture(tmp_path / "gone.png")
    Image.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / "float.tiff")
    with pytest.raises(FprdoError, match="floating-point"):
        load_picture(tmp_path / "float.tiff")


def test_pictures_that_cannot_be_saved(tmp_path, rgb):
    for name in ("a.xyz", "a"):
        with pytest.raises(FprdoError, match="unknown picture type"):
            save_picture(tmp_path / name, rgb)
    for name in ("a.psd", "a.mpg", "a.xbm", "a.gif", "a.dds", "a.avif"):
        with pytest.raises(FprdoError, match=rf"{name}: unknown picture type \..*; use \.png, "):
            save_picture(tmp_path / name, rgb)
    with pytest.raises(FprdoError, match="a.webp: cannot be written as .webp .*; use .png"):
        save_picture(tmp_path / "a.webp", np.zeros((1, 20000, 3), np.uint8))
    for suffix in ("jpg", "webp", "tif", "bmp"):
        with pytest.raises(FprdoError, match=f"16 bits are written as .png or .ppm, not as .{suffix}"):
            save_picture(tmp_path / f"a.{suffix}", rgb.astype(np.uint16))
    with pytest.raises(FprdoError, match="uint8"):
        save_picture(tmp_path / "a.png", rgb.astype(np.float32))
    (tmp_path / "file").write_text("")
    with pytest.raises(FprdoError, match="cannot be written"):
        save_picture(tmp_path / "file" / "a.png", rgb)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif", ".bmp", ".ppm"])
@pytest.mark.parametrize("grey", [False, True])
def test_every_lossless_format(tmp_path, rgb, suffix, grey):
    path = tmp_path / f"a{suffix}"
    save_picture(path, rgb[..., 0] if grey else rgb)
    assert np.array_equal(load_picture(path), np.repeat(rgb[..., :1], 3, axis=2) if grey else rgb)


def test_gif_and_animations(tmp_path):
    first, second = (Image.new("RGB", (8, 6), colour) for colour in ("red", "blue"))
    first.save(tmp_path / "a.gif", save_all=True, append_images=[second])
    picture = read_picture(tmp_path / "a.gif")
    assert picture.rgb.tolist() == [[[255, 0, 0]] * 8] * 6
    assert picture.notes == ("has several pictures; the first one is taken",)


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "PA", "RGBA"])
def test_modes(tmp_path, rgb, mode):
    """What Pillow makes of each, transparency on white."""
    image = Image.fromarray(rgb).convert("RGBA" if mode in ("LA", "PA", "RGBA") else "RGB")
    if image.mode == "RGBA":
        image.putalpha(Image.fromarray(rgb[..., 1]))
    image = image.convert(mode)
    image.save(tmp_path / ("a.tif" if mode == "PA" else "a.png"))
    picture = read_picture(next(tmp_path.iterdir()))
    layer = image.convert("RGBA")
    expected = np.asarray(Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB"))
    assert np.array_equal(picture.rgb, expected)
    assert picture.notes == (("is transparent in places; it is composed on white",) if "A" in mode else ())


def test_opaque_alpha_is_no_news(tmp_path, rgb):
    Image.fromarray(np.dstack((rgb, np.full((13, 17), 255, np.uint8)))).save(tmp_path / "a.png")
    picture = read_picture(tmp_path / "a.png")
    assert np.array_equal(picture.rgb, rgb) and picture.notes == ()


# ---- 16 bits -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels, colour_type", [(1, 0), (2, 4), (3, 2), (4, 6)])
def test_16_bit_png(tmp_path, deep, channels, colour_type):
    samples = deep[..., :channels]
    (tmp_path / "a.png").write_bytes(png(17, 13, 16, colour_type, samples.astype(">u2").tobytes()))
    colour = samples[..., :1].repeat(3, axis=2) if channels < 3 else samples[..., :3]
    if channels in (2, 4):
        alpha = samples[..., -1:].astype(float) / 65535
        colour = np.floor(colour * alpha + 65535 * (1 - alpha) + 0.5)
    picture = load_picture(tmp_path / "a.png")
    assert picture.dtype == np.uint16 and np.array_equal(picture, colour)


@pytest.mark.parametrize("colour_type, channels", [(0, 1), (2, 3)])
def test_16_bit_png_with_a_transparent_colour(tmp_path, deep, colour_type, channels):
    samples = deep[..., :channels].copy()
    samples[0, 0] = 0x1234
    rows = samples.astype(">u2").tobytes()
    (tmp_path / "a.png").write_bytes(png(17, 13, 16, colour_type, rows, (b"tRNS", channels * b"\x12\x34")))
    picture = load_picture(tmp_path / "a.png")
    assert picture[0, 0].tolist() == [65535] * 3
    assert np.array_equal(picture[1:], np.broadcast_to(samples[1:], (12, 17, 3)))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bit_orientation(tmp_path, deep, suffix, orientation):
    """As that of 8 bits."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a{suffix}"
    Image.fromarray((deep[..., :3] >> 8).astype(np.uint8)).save(tmp_path / "shallow.png", exif=exif)
    if suffix == ".png":
        rows = deep[..., :3].astype(">u2").tobytes()
        path.write_bytes(png(17, 13, 16, 2, rows, (b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))))
    else:
        tifffile.imwrite(
            path, deep[..., :3], photometric="rgb", extratags=[(0x0112, 3, 1, orientation, True)], metadata=None
        )
    assert np.array_equal(load_picture(path) >> 8, load_picture(tmp_path / "shallow.png"))


@pytest.mark.parametrize(
    "options",
    [
        dict(),
        dict(byteorder=">"),
        dict(compression="zlib"),
        dict(compression="zlib", predictor=True),
        dict(rowsperstrip=3),
    ],
)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_16_bit_tiff(tmp_path, deep, options, channels):
    """As it was written, or refused: never a wrong sample."""
    samples = deep[..., :channels]
    if channels == 4:
        samples[..., 3] = 65535
    tifffile.imwrite(
        tmp_path / "a.tif",
        samples.squeeze(),
        photometric="rgb" if channels > 1 else "minisblack",
        extrasamples=["unassalpha"] if channels == 4 else None,
        metadata=None,
        **options,
    )
    assert np.array_equal(load_picture(tmp_path / "a.tif"), np.broadcast_to(samples[..., :3], (13, 17, 3)))


@pytest.mark.parametrize(
    "magic, channels, largest", [("P5", 1, 65535), ("P6", 3, 65535), ("P5", 1, 1023), ("P6", 3, 4095)]
)
def test_16_bit_netpbm(tmp_path, deep, magic, channels, largest):
    samples = deep[..., :channels].astype(int) % (largest + 1)
    header = f"{magic}\n# two bytes\n17 13\n{largest}\n".encode()
    (tmp_path / "a.ppm").write_bytes(header + samples.astype(">u2").tobytes())
    expected = np.floor(samples * 65535.0 / largest + 0.5)
    picture = load_picture(tmp_path / "a.ppm")
    assert picture.dtype == np.uint16 and np.array_equal(picture, np.broadcast_to(expected, (13, 17, 3)))


def test_16_bits_count_in_the_frame(tmp_path):
    """A ramp of 157 levels of 10 bits keeps them; 8 bits are rounded, not cut."""
    ramp = np.linspace(20000, 30000, 256).round().astype(np.uint16)
    rows = np.tile(ramp[:, None], (4, 1, 3)).astype(">u2").tobytes()
    (tmp_path / "ramp.png").write_bytes(png(256, 4, 16, 2, rows))
    ten = open_source(str(tmp_path / "ramp.png"), FormatRequest(chroma="444", bit_depth=10, full_range=True))
    assert (
        np.array_equal(ten.picture[0][0], np.floor(ramp * 1023.0 / 65535 + 0.5))
        and len(np.unique(ten.picture[0])) == 157
    )
    eight = open_source(str(tmp_path / "ramp.png"), FormatRequest(chroma="400", full_range=True))
    assert np.array_equal(eight.picture[0][0], np.floor(ramp * 255.0 / 65535 + 0.5))


@pytest.mark.parametrize("chroma", ["400", "444"])
@pytest.mark.parametrize("bit_depth", [8, 10, 12, 16])
@pytest.mark.parametrize("suffix", [".png", ".ppm"])
def test_a_frame_as_a_picture_and_back(tmp_path, chroma, bit_depth, suffix):
    """Grey of any depth survives the way out and in, and libavcodec reads what was written."""
    fmt = VideoFormat(24, 16, chroma, bit_depth, full_range=True)
    noise = np.random.default_rng(1).integers(0, fmt.max_value + 1, (16, 24)).astype(fmt.dtype)
    middle = np.full((16, 24), 1 << (bit_depth - 1), fmt.dtype)
    frame = (noise,) if chroma == "400" else (noise, middle, middle)
    path = tmp_path / f"a{suffix}"
    save_frame(path, frame, fmt)
    picture = load_picture(path)
    assert picture.dtype == (np.uint8 if bit_depth == 8 else np.uint16)
    assert first_difference([picture_to_frame(picture, fmt)], [frame]) is None
    context = av.CodecContext.create(suffix[1:], "r")
    (shown,) = context.decode(av.Packet(path.read_bytes())) + context.decode(None)
    kinds = ("gray", "gray16") if chroma == "400" and suffix == ".png" else ("rgb24", "rgb48")
    assert shown.format.name.removesuffix("be").removesuffix("le") == kinds[bit_depth > 8]
    assert np.array_equal(
        shown.to_ndarray().reshape(16, 24, -1), picture[..., : shown.to_ndarray().reshape(16, 24, -1).shape[2]]
    )


@pytest.mark.parametrize(
    "wrong", [np.zeros((4, 6), np.uint8), np.zeros((4, 6, 3), np.float32), np.zeros((4, 6, 4), np.uint8), "photo.png"]
)
def test_what_is_no_picture_becomes_no_frame(wrong):
    with pytest.raises(FprdoError, match=r"give an array \(height, width, 3\) of uint8 or uint16"):
        picture_to_frame(wrong, VideoFormat(6, 4))


@pytest.mark.parametrize("bits", [10, 7, 0, 8.0, True, "16", None])
def test_a_picture_has_8_or_16_bits(bits):
    fmt = VideoFormat(4, 2, "400", 10)
    frame = (np.full((2, 4), 940, np.uint16),)
    with pytest.raises(FprdoError, match="^bits of a picture .*: (use 8 or 16|give a whole number)$"):
        frame_to_picture(frame, fmt, bits)
    eight, sixteen = frame_to_picture(frame, fmt), frame_to_picture(frame, fmt, 16)
    assert eight.dtype == np.uint8 and (eight == 255).all() and eight.shape == (2, 4, 3)
    assert sixteen.dtype == np.uint16 and (sixteen == 65535).all() and sixteen.shape == (2, 4, 3)


def test_a_deep_frame_in_a_shallow_format(tmp_path):
    fmt = VideoFormat(24, 16, "444", 10)
    save_frame(tmp_path / "a.webp", tuple(np.full((16, 24), 512, np.uint16) for _ in range(3)), fmt)
    assert load_picture(tmp_path / "a.webp").dtype == np.uint8


# ---- shape of samples ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "units, aspect", [((2835, 2835, 1), None), ((1, 2, 0), (2, 1)), ((2835, 3102, 1), (517, 472)), ((0, 5, 0), None)]
)
def test_aspect_of_png(tmp_path, units, aspect):
    """pHYs counts samples per unit: the more there are, the narrower they are."""
    (tmp_path / "a.png").write_bytes(png(2, 1, 8, 0, b"ab", (b"pHYs", struct.pack(">IIB", *units))))
    found = read_picture(tmp_path / "a.png").aspect
    assert found == aspect or abs(found[0] / found[1] - units[1] / units[0]) < 1e-5
    assert open_source(str(tmp_path / "a.png")).fmt.aspect == found


@pytest.mark.parametrize("orientation, aspect", [(1, (2, 1)), (6, (1, 2))])
def test_aspect_of_a_turned_jpeg(tmp_path, orientation, aspect):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg", dpi=(100, 200), exif=exif)
    assert read_picture(tmp_path / "a.jpg").aspect == aspect


# ---- what is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["DDS", "TGA", "ICO", "PCX", "SGI", "ICNS", "JPEG2000"])
def test_formats_beside_the_list(tmp_path, rgb, kind):
    """Whatever their suffix."""
    Image.fromarray(rgb).resize((32, 32)).save(tmp_path / "a.png", kind)
    with pytest.raises(
        FprdoError, match="a.png: not a readable picture, as it is none of PNG, JPEG, .*; convert it to PNG"
    ):
        load_picture(tmp_path / "a.png")


def test_a_dds_that_pillow_does_not_implement(tmp_path):
    """Its reader raises NotImplementedError."""
    (tmp_path / "a.png").write_bytes(b"DDS " + struct.pack("<I", 124) + bytes(200))
    with pytest.raises(FprdoError, match="a.png: not a readable picture"):
        load_picture(tmp_path / "a.png")


@pytest.mark.parametrize(
    "name, data, reason",
    [
        ("int32.tif", None, "samples of 32 bits"),
        ("uint12.pgm", b"P2\n2 1\n1023\n5 6\n", "PNM file of more than 8 bits"),
        ("deep.pgm", b"P5\n2 1\n1023\n\xff\xff\0\0", "above its largest value of 1023"),
        ("short.ppm", b"P6\n20 10\n65535\n\0\0", "not a readable picture"),
        ("wide.png", png(70000, 1, 1, 0, bytes(8750)), "70000x1"),
        ("empty.png", b"", "not a readable picture"),
        ("header.png", b"\x89PNG\r\n\x1a\n", "not a readable picture"),
        ("float.pfm", b"Pf\n1 1\n-1\n\0\0\0\0", "floating-point"),
    ],
)
def test_samples_that_are_not_read(tmp_path, name, data, reason):
    if data is None:
        tifffile.imwrite(tmp_path / name, np.zeros((4, 4), np.int32))
    else:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(FprdoError, match=reason) as error:
        open_source(str(tmp_path / name))
    assert "\n" not in str(error.value) and str(error.value).startswith(str(tmp_path / name))


def test_decompression_bombs(tmp_path):
    """A picture of 900 megapixels in 100 kB, and a profile of 100 MB in as little, end at once."""
    flat = zlib.compress(bytes(1 << 20), 9)
    bomb = png(30000, 30000, 8, 0, bytes(30000))[: -12 - 12 - 45]
    (tmp_path / "bomb.png").write_bytes(bomb + flat)
    profile = b"name\0\0" + zlib.compress(bytes(100 << 20), 9)
    (tmp_path / "icc.png").write_bytes(png(2, 1, 8, 0, b"ab", (b"iCCP", profile)))
    started = time.monotonic()
    for name in ("bomb.png", "icc.png"):
        with pytest.raises(FprdoError, match=f"{name}: not a readable picture"):
            load_picture(tmp_path / name)
    assert time.monotonic() - started < 5


def test_cut_everywhere(tmp_path, rgb, deep):
    """A picture that ends early is refused wherever it ends."""
    pictures = {"a.png": png(17, 13, 16, 2, deep[..., :3].astype(">u2").tobytes())}
    for suffix, kind in ((".png", "PNG"), (".jpg", "JPEG"), (".webp", "WEBP"), (".ppm", "PPM"), (".bmp", "BMP")):
        buffer = io.BytesIO()
        Image.fromarray(rgb).save(buffer, kind)
        pictures[f"b{suffix}"] = buffer.getvalue()
    for name, data in pictures.items():
        for end in range(0, len(data) - 24, max(1, len(data) // 25)):
            (tmp_path / name).write_bytes(data[:end])
            with pytest.raises(FprdoError, match="not a readable picture"):
                load_picture(tmp_path / name)


def test_pillow_warns_nobody(tmp_path, monkeypatch, recwarn):
    """Its remarks, here on a large picture, have no place between lines of progress."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    Image.new("L", (15, 10)).save(tmp_path / "large.png")
    assert load_picture(tmp_path / "large.png").shape == (10, 15, 3)
    assert not list(recwarn)
