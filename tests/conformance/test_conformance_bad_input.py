"""Weight files, settings and options that cannot be used: one line, exit status 2, and no output."""

import re
import struct
import subprocess
import zlib
from dataclasses import replace

import pytest
from clips import make_job
from oracles import random_map, run, run_all, same, write_maps
from subject import SUBJECTS, Subject

from fprdo_bridge.encoders.job import EncodeJob
from fprdo_bridge.importance.idse_file import ones
from fprdo_bridge.settings import BRIDGE_SETTINGS, Setting
from fprdo_bridge.toolchain import Toolchain
from fprdo_bridge.video.formats import VideoFormat

FMT = VideoFormat(48, 32)


@pytest.fixture
def job(tmp_path, subject, tools) -> EncodeJob:
    """An encode of two frames with a good file, to be spoiled."""
    weights = write_maps(
        tmp_path / "w.idse", [random_map(FMT, seed) for seed in range(2)], FMT, metadata={"name": "bad"}
    )
    (tmp_path / "out").mkdir()
    return make_job(tmp_path, FMT, tools, frames=2, codec=subject.codec, weights=weights)


def failed(subject: Subject, tools: Toolchain, job: EncodeJob, *words: str) -> subprocess.CompletedProcess[str]:
    """A run of the bare encoder that ends with an error and makes no file."""
    folder = job.bitstream.parent
    done = subprocess.run(
        [*subject.codec.command(job, tools.encoder), *words], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode > 0, (done.returncode, done.stdout[-500:], done.stderr[-500:])
    assert list(folder.iterdir()) == []
    return done


def refusal(subject: Subject, tools: Toolchain, job: EncodeJob, *words: str) -> str:
    """The one line about the weights, which is the last that the encoder says."""
    done = failed(subject, tools, job, *words)
    lines = [line for line in done.stderr.splitlines() if line.startswith("IDSE: error: ")]
    assert done.returncode == 2 and len(lines) == 1 and done.stderr.rstrip().endswith(lines[0]), done.stderr
    return lines[0].removeprefix("IDSE: error: ")


def test_the_good_file_is_taken(subject, tools, job):
    assert run(job, tools.encoder, "good", subject.codec).idse.pictures == 2


def flipped(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]


def versioned(data: bytes, version: int) -> bytes:
    """Another version with a checksum that is right."""
    changed = bytearray(data)
    struct.pack_into("<H", changed, 8, version)
    (maps,) = struct.unpack_from("<I", changed, 24)
    (metadata,) = struct.unpack_from("<I", changed, 56)
    struct.pack_into("<I", changed, 92, zlib.crc32(changed[96 : 96 + 4 * maps + metadata], zlib.crc32(changed[:92])))
    return bytes(changed)


def maps_offset(data: bytes) -> int:
    return struct.unpack_from("<Q", data, 48)[0]


REMAKE = "make the map again with: fprdo weights"
DAMAGE = {
    "empty": (lambda data: b"", f"not an .idse weight file; {REMAKE}"),
    "text": (lambda data: b"no weights at all\n" * 40, f"not an .idse weight file; {REMAKE}"),
    "picture": (lambda data: b"\x89PNG" + data[4:], f"not an .idse weight file; {REMAKE}"),
    "cut-8": (lambda data: data[:8], "not an .idse weight file"),
    "cut-12": (lambda data: data[:12], f"truncated, 12 bytes where the header alone has 96; {REMAKE}"),
    "cut-95": (lambda data: data[:95], "truncated, 95 bytes where the header alone has 96"),
    "cut-96": (
        lambda data: data[:96],
        r"truncated, 96 bytes where the header promises \d+ maps of \d+ bytes from byte \d+ on; copy it again or make",
    ),
    "cut-half": (lambda data: data[: len(data) // 2], r"truncated, \d+ bytes where the header promises \d+"),
    "cut-1": (lambda data: data[:-1], r"truncated, \d+ bytes where the header promises \d+"),
    "longer": (lambda data: data + b"\0", r"too long, \d+ bytes where the header promises \d+"),
    "header-width": (lambda data: flipped(data, 12), "the header contradicts itself"),
    "header-reserved": (lambda data: flipped(data, 70), "wrong checksum of the header; copy it again"),
    "header-crc": (lambda data: flipped(data, 92), "wrong checksum of the header"),
    "map-crc": (lambda data: flipped(data, 96), "wrong checksum of the header"),
    "metadata": (lambda data: flipped(data, 106), "wrong checksum of the header"),
    "first-map": (lambda data: flipped(data, maps_offset(data)), "wrong checksum of map 0 of 2; copy it again"),
    "last-byte": (lambda data: flipped(data, len(data) - 1), "wrong checksum of map 1 of 2"),
    "version-3": (
        lambda data: versioned(data, 3),
        "version 3, this encoder reads versions 1 and 2; update the encoder",
    ),
    "version-65535": (lambda data: versioned(data, 65535), "version 65535"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_weight_files(subject, tools, job, damage):
    change, message = DAMAGE[damage]
    job.weights.write_bytes(change(job.weights.read_bytes()))
    assert re.match(f"{re.escape(str(job.weights))}: .*{message}", refusal(subject, tools, job))


def test_weight_files_of_something_else(subject, tools, job, tmp_path):
    for other, frames, message in (
        (VideoFormat(32, 48), 2, "weights for 32x48, the pictures are 48x32; make the map again with: fprdo"),
        (VideoFormat(48, 32, "444"), 2, "weights for 4:4:4, the pictures are coded as 4:2:0; make the map"),
        (VideoFormat(48, 32, "400"), 2, "weights for 4:0:0, the pictures are coded as 4:2:0"),
        (FMT, 1, "weights for 1 frames, 2 are needed; code fewer frames"),
    ):
        weights = write_maps(tmp_path / "other.idse", [ones(other)] * frames, other)
        assert refusal(subject, tools, replace(job, weights=weights)).startswith(f"{weights}: {message}")
    for path, message in (
        (tmp_path / "gone.idse", r"cannot be opened \(No such file or directory\); give the path"),
        (tmp_path, "not an .idse weight file"),
        (job.source / "w.idse", r"cannot be opened \(Not a directory\)"),
    ):
        assert re.match(f"{re.escape(str(path))}: {message}", refusal(subject, tools, replace(job, weights=path)))


def beyond(setting: Setting) -> tuple[float, float]:
    """The values next to the range."""
    low = setting.low if setting.above else setting.low - (0.5 if setting.no_limit else 1)
    return low, setting.high + 1


@pytest.mark.parametrize(
    ("setting", "value"),
    [(setting, value) for setting in BRIDGE_SETTINGS for value in beyond(setting)],
    ids=lambda one: one.name if isinstance(one, Setting) else f"{one:g}",
)
def test_settings_out_of_range(subject, tools, job, setting, value):
    if subject.codec.name in setting.without:
        pytest.skip(f"{subject.codec.title} has no option for it")
    option, text = setting.option(subject.codec.name), f"{value:g}"
    said = refusal(subject, tools, job, *subject.words(option, text))
    assert said == subject.said(option, text) + setting.encoder_allowed


@pytest.mark.parametrize("value", ["nan", "inf", "much"])
def test_settings_that_are_no_numbers(subject, tools, job, value):
    """Refused by name and value, by the encoder's own parser or by ours."""
    option = BRIDGE_SETTINGS[0].option(subject.codec.name)
    done = failed(subject, tools, job, *subject.words(option, value))
    assert any(value in line and option in line for line in done.stderr.splitlines()), done.stderr


@pytest.mark.parametrize(
    ("subject", "words"), [(name, words) for name in SUBJECTS for words in SUBJECTS[name].refused], indirect=["subject"]
)
def test_combinations_that_make_no_sense(subject, tools, job, words):
    assert refusal(subject, tools, job, *words) == subject.refused[words]


def test_combinations_are_free_without_weights(subject, tools, tmp_path):
    plain = make_job(tmp_path, FMT, tools, codec=subject.codec, options=subject.allowed)
    run_all({"stock": (plain, tools.stock_encoder), "patched": (plain, tools.encoder)}, subject.codec)
    assert same(tmp_path, "stock", "patched")


def test_the_stock_encoder_knows_no_weights(subject, tools, job):
    """It ends, or (JM, which passes over what it does not know) it reports no use of them."""
    done = subprocess.run(
        subject.codec.command(job, tools.stock_encoder), cwd=job.bitstream.parent, capture_output=True, text=True
    )
    assert done.returncode or not re.search("^IDSE", done.stdout + done.stderr, re.MULTILINE)
