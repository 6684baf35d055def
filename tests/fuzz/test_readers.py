"""Damaged sources: whatever stands in a file or its name, a reader gives frames of the format it says, or one line.

The cases follow from fixed seeds. A longer run, for FPRDO_FUZZ_SECONDS from the seed FPRDO_FUZZ_SEED on:

    FPRDO_FUZZ_SECONDS=3600 FPRDO_FUZZ_SEED=1 .venv/bin/python -m pytest tests/fuzz/test_readers.py

A failure names its seed; the file stays in pytest's temporary folder.
"""

import io
import os
import random
import re
import signal
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
from picture_files import cmyk_profile, curv, para, png, profile, swapping_profile
from PIL import Image

from fprdo_bridge.errors import FprdoError
from fprdo_bridge.text import printable
from fprdo_bridge.video.formats import VideoFormat, check_frame
from fprdo_bridge.video.source import FormatRequest, open_source
from fprdo_bridge.video.y4m import write_y4m

pytestmark = pytest.mark.slow
SECONDS = float(os.environ.get("FPRDO_FUZZ_SECONDS", 0))
FIRST_SEED = int(os.environ.get("FPRDO_FUZZ_SEED", 0))


Y4M_WORDS = b"""W6 W0 W-1 W65536 W99999999999 W H4 H Hx F25:1 F0:0 F1:0 F-1:2 F9:9:9 Ip It I? I A1:1 A0:0 A9:x
    C420 C420p10 C422 C444 Cmono C420paldv C411 C C444alpha XYSCSS=422 XCOLORRANGE=FULL XCOLORRANGE= X YUV4MPEG2"""
RAW_WORDS = """8x6 16x4 0x3 7x5 99999999999x2 x 8x6i 30fps 29.97fps 0fps 1e9fps fps60 50 60 8 10 12 300 10bit 10-bit 8b
    99bit 1bit 12b 420 422 444 400 411 4:2:0 4:4:4 yuv420p yuv420p10le yuv444p16be yuvj422p gray gray10le nv12 nv21 nv16
    p010 p010be p210 y210 yuyv uyvy yv12 i420 i010 be le big-endian packed planar semi-planar gbrp rgb v210 bt709 bt2020
    full-range pq 1080i 50i tff clip crop final to be or not"""


def seeds(count: int) -> Iterator[random.Random]:
    """A generator per case: `count` of them, or as many as SECONDS allow."""
    end = time.monotonic() + SECONDS
    seed = FIRST_SEED
    while time.monotonic() < end if SECONDS else seed < FIRST_SEED + count:
        yield random.Random(seed)
        seed += 1


@pytest.fixture(autouse=True)
def limits(monkeypatch, capfd):
    """A damaged header asks for less memory than the machine has, and no library writes to the terminal."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1 << 20)
    yield
    assert capfd.readouterr() == ("", "")


def read(path: Path, request: FormatRequest = FormatRequest(), **asked) -> int:
    """Frames that could be read; an FprdoError of one line that names the file counts as none."""
    signal.signal(signal.SIGALRM, lambda *_: pytest.fail(f"{path!r} takes longer than 20 s", pytrace=True))
    signal.alarm(20)
    try:
        source = open_source(str(path), request, **asked)
        assert source.name and "/" not in source.name
        count = 0
        for frame in source.read():
            check_frame(frame, source.fmt)
            count += 1
        assert count == source.frames
        assert all(printable(note) == note for note in source.notes)
        return count
    except FprdoError as error:
        text = str(error)
        assert text.startswith((printable(str(path)), repr(str(path)))) and printable(text) == text, repr(text)
        assert len(text) < 1000 + 2 * len(str(path)), repr(text)
        return 0
    finally:
        signal.alarm(0)


# ---- mutations -----------------------------------------------------------------------------------------------------


def mutated(data: bytes, rng: random.Random) -> bytes:
    """`data` with one to four changes."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(changed)) if changed else 0
        if rng.random() < 0.5:  # headers come first
            place = min(place, rng.randrange(64))
        kind = rng.randrange(7)
        if kind == 0:
            changed[place : place + 1] = bytes([rng.randrange(256)])
        elif kind == 1 and changed:
            changed[min(place, len(changed) - 1)] ^= 1 << rng.randrange(8)
        elif kind == 2:
            changed[place : place + 4] = rng.choice(
                (
                    b"\0\0\0\0",
                    b"\xff\xff\xff\xff",
                    b"\x7f\xff\xff\xff",
                    b"\x80\0\0\0",
                    struct.pack(">I", rng.randrange(1 << 17)),
                    struct.pack("<I", 1 << 16),
                )
            )
        elif kind == 3:
            del changed[place : place + rng.randint(1, 16)]
        elif kind == 4:
            changed[place:place] = changed[place : place + rng.randint(1, 16)]
        elif kind == 5:
            del changed[rng.randrange(len(changed) + 1) :]
        else:
            other = rng.randrange(len(changed) + 1)
            changed[place : place + 8] = changed[other : other + 8]
    return bytes(changed)


def picture_seeds() -> dict[str, bytes]:
    """Small pictures of every format that is read, by name."""
    rng = np.random.default_rng(1)
    rgba = Image.fromarray(rng.integers(0, 256, (9, 11, 4), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    exif.get_ifd(0x8769)[0xA001] = 2
    files = {}
    for name, mode, kind, options in (
        ("a.png", "RGBA", "PNG", {"exif": exif}),
        ("p.png", "P", "PNG", {"transparency": 3}),
        ("1.png", "1", "PNG", {}),
        ("a.jpg", "RGB", "JPEG", {"icc_profile": profile(para(0, 1.8)), "exif": exif}),
        ("c.jpg", "CMYK", "JPEG", {}),
        ("k.jpg", "CMYK", "JPEG", {"icc_profile": cmyk_profile()}),
        ("p.jpg", "L", "JPEG", {"progressive": True}),
        ("a.webp", "RGBA", "WEBP", {"lossless": True, "exif": exif}),
        ("l.webp", "RGB", "WEBP", {}),
        ("a.tif", "RGB", "TIFF", {"icc_profile": profile(curv(563))}),
        ("l.tif", "RGB", "TIFF", {"compression": "tiff_lzw"}),
        ("z.tif", "L", "TIFF", {"compression": "tiff_adobe_deflate", "exif": exif}),
        ("a.bmp", "RGB", "BMP", {}),
        ("p.bmp", "P", "BMP", {}),
        ("a.ppm", "RGB", "PPM", {}),
        ("a.pgm", "L", "PPM", {}),
        ("a.gif", "P", "GIF", {}),
    ):
        buffer = io.BytesIO()
        (rgba.convert("RGB") if mode in ("P", "CMYK", "1") else rgba).convert(mode).save(buffer, kind, **options)
        files[name] = buffer.getvalue()
    deep = rng.integers(0, 65536, (9, 11, 3), dtype=np.uint16)
    for name, options in (
        ("d.tif", {}),
        ("e.tif", {"compression": "zlib", "predictor": True}),
        ("f.tif", {"byteorder": ">"}),
    ):
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, deep, photometric="rgb", metadata=None, **options)
        files[name] = buffer.getvalue()
    files["d.png"] = png(11, 9, 16, 2, deep.astype(">u2").tobytes())
    files["d.ppm"] = b"P6 11 9 65535\n" + deep.astype(">u2").tobytes()
    files["text.pgm"] = b"P2\n# text\n3 2\n255\n1 2 3\n4 5 6\n"
    return files


# ---- cases ---------------------------------------------------------------------------------------------------------


def test_pictures(tmp_path):
    files = sorted(picture_seeds().items())
    for name, data in files:
        (tmp_path / name).write_bytes(data)
        assert read(tmp_path / name) == 1, name
    readable = 0
    for rng in seeds(900):
        name, data = rng.choice(files)
        path = tmp_path / name
        path.write_bytes(mutated(data, rng))
        readable += read(path, FormatRequest(bit_depth=rng.choice((8, 10)), chroma=rng.choice(("400", "420", "444"))))
    assert readable


def test_chunks_of_png(tmp_path):
    """Changes that checksums do not give away: within a chunk, or of a profile within its compressed chunk."""
    rows = np.random.default_rng(2).integers(0, 256, 9 * 11 * 8, dtype=np.uint8).tobytes()
    profiles = [
        profile(para(3, 2.4, 0.9, 0.1, 0.1, 0.04)),
        profile(curv(0, 9, 65535)),
        profile(para(0, 1.8), model=b"GRAY"),
        swapping_profile(),
        cmyk_profile(),
    ]
    exif = Image.Exif()
    exif[0x0112] = 5
    small: list[Callable[[random.Random], tuple[bytes, bytes]]] = [
        lambda rng: (b"iCCP", b"x\0\0" + zlib.compress(mutated(rng.choice(profiles), rng))),
        lambda rng: (b"iCCP", mutated(b"x\0\0" + zlib.compress(rng.choice(profiles)), rng)),
        lambda rng: (b"gAMA", mutated(struct.pack(">I", 50000), rng)),
        lambda rng: (b"cHRM", mutated(struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000), rng)),
        lambda rng: (b"cICP", mutated(bytes((12, 13, 0, 1)), rng)),
        lambda rng: (b"pHYs", mutated(b"\0\0\0\3\0\0\0\2\1", rng)),
        lambda rng: (b"eXIf", mutated(exif.tobytes()[6:], rng)),
        lambda rng: (b"tRNS", mutated(bytes(6), rng)),
        lambda rng: (b"PLTE", mutated(bytes(range(48)), rng)),
        lambda rng: (b"sRGB", mutated(b"\0", rng)),
        lambda rng: (b"acTL", mutated(struct.pack(">II", 1, 0), rng)),
        lambda rng: (b"iTXt", mutated(b"XML:com.adobe.xmp", rng)),
    ]
    readable = 0
    for rng in seeds(900):
        depth, colour_type, samples = rng.choice(
            ((8, 0, 1), (8, 2, 3), (8, 3, 1), (8, 4, 2), (8, 6, 4), (16, 0, 2), (16, 2, 6), (16, 4, 4), (16, 6, 8))
        )
        chunks = [rng.choice(small)(rng) for _ in range(rng.randint(1, 4))]
        path = tmp_path / "a.png"
        path.write_bytes(png(11, 9, depth, colour_type, rows[: 9 * 11 * samples], *chunks))
        readable += read(path)
    assert readable


def test_y4m(tmp_path):
    path = tmp_path / "a.y4m"
    files = []
    for fmt in (
        VideoFormat(6, 4),
        VideoFormat(7, 5, "444", 10, aspect=(4, 3)),
        VideoFormat(6, 4, "400", full_range=True),
    ):
        noise = np.random.default_rng(3)
        write_y4m(
            path,
            [
                tuple(noise.integers(0, fmt.max_value + 1, shape).astype(fmt.dtype) for shape in fmt.plane_shapes)
                for _ in range(3)
            ],
            fmt,
            25,
        )
        assert read(path) == 3
        files.append(path.read_bytes())
    words = re.findall(rb"\S+", Y4M_WORDS)
    readable = 0
    for rng in seeds(2000):
        data = rng.choice(files)
        if rng.random() < 0.5:
            data = mutated(data, rng)
        else:
            header, _, rest = data.partition(b"\n")
            tokens = header.split(b" ")
            for _ in range(rng.randint(1, 3)):
                tokens.insert(rng.randint(1, len(tokens)), rng.choice(words))
                if rng.random() < 0.5:
                    del tokens[rng.randrange(len(tokens))]
            data = b" ".join(tokens) + b"\n" + rest
        path.write_bytes(data)
        readable += read(path, skip=rng.choice((0, 0, 1, 2)), frames=rng.choice((None, None, 1, 3, 9)))
    assert readable


def test_raw_names(tmp_path):
    words = re.findall(r"\S+", RAW_WORDS)
    letters = "abYZ09_-. ²³٣９x×é\u200b\udcff:\n\t\x1b"
    readable = 0
    for rng in seeds(3000):
        name = "".join(rng.choice(words) + rng.choice(("_", "-", ".", " ", "_", "")) for _ in range(rng.randint(1, 6)))
        if rng.random() < 0.3:
            place = rng.randrange(len(name) + 1)
            name = name[:place] + "".join(rng.choice(letters) for _ in range(rng.randint(1, 4))) + name[place:]
        path = tmp_path / f"{name[:80]}.yuv"
        path.write_bytes(bytes(rng.choice((0, 1, 48, 72, 96, 144, 192, 288))))
        request = FormatRequest(
            size=rng.choice((None, None, (8, 6))),
            bit_depth=rng.choice((None, None, 8, 10)),
            chroma=rng.choice((None, None, None, "444")),
        )
        readable += read(path, request, skip=rng.choice((0, 0, 1)))
        path.unlink()
    assert readable
