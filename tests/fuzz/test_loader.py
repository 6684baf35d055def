"""Damaged weight files under AddressSanitizer and UBSan: the encoders' loader and Python's reader say the same of each.

Checksums are made right after most changes, so that what lies behind them is reached. The cases follow from fixed
seeds. A longer run, for FPRDO_FUZZ_SECONDS from the seed FPRDO_FUZZ_SEED on:

    FPRDO_FUZZ_SECONDS=3600 FPRDO_FUZZ_SEED=1 .venv/bin/python -m pytest tests/fuzz/test_loader.py

A failure names its seed; the file stays in pytest's temporary folder.
"""

import os
import random
import struct
import subprocess
import time
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from oracles import random_map, write_maps
from sanitizers import sanitizer_flags
from weight_files import front_bytes, record_count

from fprdo_bridge.errors import FprdoError
from fprdo_bridge.importance.idse_file import IdseFile
from fprdo_bridge.video.formats import VideoFormat

pytestmark = pytest.mark.slow
HERE = Path(__file__).resolve().parent
NATIVE = HERE.parent.parent / "fprdo_bridge" / "native"
SECONDS = float(os.environ.get("FPRDO_FUZZ_SECONDS", 0))
FIRST_SEED = int(os.environ.get("FPRDO_FUZZ_SEED", 0))
BATCH, BATCHES = 250, 8

# Offset and struct format of what a header says.
FIELDS = {8: "H", 10: "H", 12: "I", 16: "I", 20: "B", 21: "B", 22: "B", 23: "B", 24: "I", 28: "I", 32: "I", 36: "I",
          40: "Q", 48: "Q", 56: "I", 60: "I"}  # fmt: skip
METADATA = (
    b"",
    b"{",
    b"null",
    b"[" * 3000,
    b'{"a": ' * 3000 + b"1" + b"}" * 3000,
    b'{"plane_gain": [1%s, 1, 1]}' % (b"0" * 400),
    b'{"plane_gain": [1e999]}',
    b'{"plane_gain": [1, 2, 3], "plane_gain": [1, 2, 3]}',
    b'{"plane_gain": NaN}',
    b'{"plane_gain": "\xff\xfe"}',
    b'{"extractor": {"name": "\\ud800"}}',
    b'{"map_sha256": 7, "source_sha256": []}',
    b"\0" * 4096,
    b'{"long": "%s"}' % (b"x" * 100000),
    b"{}",
)


def mended(data: bytearray, maps: bool = True) -> bytearray:
    """With the checksums of all maps, if wanted, and of the header, as far as they can be computed."""
    count = record_count(data)
    map_bytes, maps_offset = struct.unpack_from("<QQ", data, 40)
    if maps and count < 1000 and 0 < map_bytes < 1 << 32 and maps_offset < 1 << 32:
        for n in range(min(count, max(0, len(data) - 96) // 4)):
            start = maps_offset + n * map_bytes
            struct.pack_into("<I", data, 96 + 4 * n, zlib.crc32(data[start : start + map_bytes]))
    covered = data[96 : front_bytes(data)]
    struct.pack_into("<I", data, 92, zlib.crc32(covered, zlib.crc32(data[:92])))
    return data


def change_field(data: bytearray, rng: random.Random) -> None:
    offset, kind = rng.choice(list(FIELDS.items()))
    limit = 256 ** struct.calcsize(kind) - 1
    (old,) = struct.unpack_from("<" + kind, data, offset)
    near = old + rng.choice((-64, -2, -1, 1, 2, 64))
    wraps = (len(data) - 10**7 * old) % 2**64  # offsets and counts whose sum comes round to the size of the file
    value = rng.choice(
        (0, 1, limit, limit // 2, near % (limit + 1), rng.randint(0, limit), wraps & limit, len(data) & limit)
    )
    struct.pack_into("<" + kind, data, offset, value)


def change_weights(data: bytearray, rng: random.Random) -> None:
    """Values of the records, of the last bytes too, which are zeros."""
    (offset,) = struct.unpack_from("<Q", data, 48)
    value = rng.choice((0, 0, 1, 255, 65535, rng.randrange(65536)))
    for _ in range(rng.choice((1, 2, 500))):
        if 0 <= (place := rng.randrange(offset // 2, max(offset, len(data) - 1) // 2 + 1) * 2) < len(data) - 1:
            struct.pack_into("<H", data, place, value)


def change_metadata(data: bytearray, rng: random.Random) -> None:
    """Other metadata, of a size that the header says; the maps move as they must."""
    (size,) = struct.unpack_from("<I", data, 56)
    (offset,) = struct.unpack_from("<Q", data, 48)
    text = rng.choice(METADATA)
    front = data[: front_bytes(data) - size] + text
    front += bytes(-len(front) % 64)
    data[:offset] = front
    struct.pack_into("<I", data, 56, len(text) if rng.random() < 0.9 else size)
    struct.pack_into("<Q", data, 48, len(front))


def change_table(data: bytearray, rng: random.Random) -> None:
    """Which record a map is."""
    (size,) = struct.unpack_from("<I", data, 56)
    end = front_bytes(data) - size
    if data[8] == 2 and 100 <= end <= len(data):
        struct.pack_into("<I", data, end - 4 * rng.randint(1, 2), rng.choice((0, 1, 2, 3, 2**32 - 1)))


def change_length(data: bytearray, rng: random.Random) -> None:
    if rng.random() < 0.6:
        del data[rng.randrange(len(data)) :]
    else:
        data += bytes(rng.choice((1, 2, 63, 64, 4096)))


def change_bytes(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.randint(1, 4)):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


CHANGES = (change_field, change_field, change_weights, change_table, change_metadata, change_length, change_bytes)


def damaged(base: bytes, rng: random.Random) -> bytearray:
    data = bytearray(base)
    for _ in range(rng.choice((0, 1, 1, 1, 1, 2, 3))):
        if len(data) > 96:
            rng.choice(CHANGES)(data, rng)
    if len(data) >= 100 and rng.random() < 0.9:
        mended(data, maps=rng.random() < 0.8)
    return data


@pytest.fixture(scope="module")
def loader(tmp_path_factory) -> list[str]:
    """The loader as a program under sanitizers, and without a processor's own instructions."""
    folder = tmp_path_factory.mktemp("loader")
    flags = sanitizer_flags(folder)
    if flags is None:
        pytest.skip("the compiler has no AddressSanitizer and UBSan")
    programs = []
    for name, more in (("loader", []), ("portable", ["-DIDSE_PORTABLE"])):
        programs.append(str(folder / name))
        sources = [HERE / "loader.c", *sorted(NATIVE.glob("[!_]*.c"))]
        command = ["cc", "-std=gnu99", *flags, *more, f"-I{NATIVE}", *map(str, sources), "-lm", "-o", programs[-1]]
        subprocess.run(command, check=True)
    return programs


@pytest.fixture(scope="module")
def bases(tmp_path_factory) -> list[bytes]:
    """Files of several formats, with all shapes, with some and with none."""
    folder, files = tmp_path_factory.mktemp("bases"), []
    for chroma, size, sizes, frames, every in (
        ("420", (40, 24), (4, 8, 16, 32), 3, 1),
        ("400", (17, 5), (8,), 5, 2),
        ("422", (33, 30), (), 1, 1),
        ("444", (8, 8), (4, 32), 2, 1),
        ("420", (1, 1), (4,), 4, 4),
    ):
        fmt = VideoFormat(*size, chroma)
        maps = [random_map(fmt, seed) for seed in range(-(-frames // every))]
        path = write_maps(
            folder / "base.idse", maps, fmt, frame_count=frames, frames_per_map=every, transform_sizes=sizes
        )
        files.append(path.read_bytes())
        path = write_maps(  # version 2
            folder / "shared.idse", maps[:1] * 2 + maps[1:], fmt, frame_count=len(maps) + 1, transform_sizes=sizes
        )
        files.append(path.read_bytes())
    return files


def python_says(path: Path) -> tuple[IdseFile | None, str]:
    try:
        with IdseFile(path) as file:
            file.verify()
        return file, ""
    except FprdoError as error:
        assert str(error).startswith(f"{path}: ") and "\n" not in str(error)
        return None, str(error)


def run_batch(program: str, bases: list[bytes], seeds: range, folder: Path) -> Counter:
    """Every case of a batch; returns how often the loader said what."""
    cases = []
    for seed in seeds:
        rng = random.Random(seed)
        base = rng.choice(bases)
        path = folder / f"{seed}.idse"
        path.write_bytes(damaged(base, rng))
        file, message = python_says(path)
        width, height, chroma = struct.unpack_from("<IIB", base, 12)
        frames = 1
        if file:
            width, height, frames = file.layout.width, file.layout.height, file.frame_count
            chroma = ("400", "420", "422", "444").index(file.layout.chroma)
        cut = rng.randrange(path.stat().st_size + 1) if rng.random() < 0.2 else -1
        line = f"{width} {height} {chroma} {min(frames, 2**31 - 1)} {rng.randrange(3)} {rng.choice((1.0, 0.5))} {cut} {path}"  # noqa: E501
        cases.append((seed, path, file, message, cut, line))
    run = subprocess.run(
        [program], input="\n".join(case[-1] for case in cases) + "\n", capture_output=True, text=True, errors="replace"
    )
    answers = run.stdout.splitlines()
    assert run.returncode == 0, f"seed {seeds[len(answers)]}: {run.stderr[-3000:]}"
    said: Counter = Counter()
    for (seed, path, file, message, cut, _), line in zip(cases, answers, strict=True):
        what, _, answer = line.partition(" ")
        where = f"seed {seed}: loader: {line!r}, reader: {message!r}"
        assert what == "opened" or answer.startswith(f"{path}: "), where
        if file:
            assert what != "refused", where
            assert what == "opened" or (cut >= 0 and "has become shorter" in answer), where
        else:  # the encoders do not read the metadata
            assert what == "refused" or "metadata" in message or "plane_gain" in message, where
        said[f"{what} {answer.removeprefix(f'{path}: ')}"] += 1
        path.unlink()
    return said


def test_loader_and_reader_say_the_same(loader, bases, tmp_path):
    said: Counter = Counter()
    end, seed, batch = time.monotonic() + SECONDS, FIRST_SEED, 0
    while time.monotonic() < end if SECONDS else batch < BATCHES:
        said += run_batch(loader[batch % 2], bases, range(seed, seed + BATCH), tmp_path)
        seed, batch = seed + BATCH, batch + 1
    # What lies behind the checksums was reached, often.
    for message, least in (
        ("opened", 200),
        ("failed has become shorter", 50),
        ("refused wrong checksum of the header", 20),
        ("refused wrong checksum of map", 20),
        ("refused a pixel weight of map", 20),
        ("refused the header contradicts itself", 100),
        ("refused truncated", 50),
        ("refused too long", 20),
        ("refused .idse version", 5),
        ("refused not an .idse weight file", 5),
    ):
        found = sum(count for text, count in said.items() if text.startswith(message))
        assert found >= least, f"{message}: {found} times of {said.total()}"


def test_a_sanitizer_looks_on(loader):
    for program in loader:
        run = subprocess.run([program, "x"], capture_output=True, text=True)
        assert run.returncode and ("heap-buffer-overflow" in run.stderr or "insufficient space" in run.stderr)


def test_random_bytes_are_refused(loader, tmp_path):
    rng = np.random.default_rng(FIRST_SEED)
    lines = []
    for number in range(50):
        path = tmp_path / f"{number}.idse"
        path.write_bytes(rng.bytes(int(rng.integers(0, 3000))))
        lines.append(f"16 16 1 1 2 1.0 -1 {path}\n")
    run = subprocess.run([loader[0]], input="".join(lines), capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-3000:]
    assert run.stdout.count("refused ") == 50 == run.stdout.count(": not an .idse weight file; ")
