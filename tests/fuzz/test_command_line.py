"""Command lines that nobody would type: each ends with a result, or with one line that says what is wrong.

Cases come from fixed seeds. A longer run, which goes on where the tests stop:

    FPRDO_FUZZ_SECONDS=600 python -m pytest -q tests/fuzz/test_command_line.py

A case that fails is named by its number; FPRDO_FUZZ_CASE=NUMBER runs it alone.
"""

import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from fprdo_bridge import cli
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.toolchain import find
from fprdo_bridge.video.pictures import save_picture

CASES = range(400)
SECONDS = float(os.environ.get("FPRDO_FUZZ_SECONDS", 0))
LIMIT = 120  # seconds for one case; a command that takes longer hangs

PLUG_IN = """
import torch
from fprdo_bridge.importance.extractors import Extractor

def net():
    torch.manual_seed(0)
    return Extractor("tiny", torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3)), ["0"])

def module():
    return torch.nn.Conv2d(3, 4, 3)

def text():
    return "no network"
"""

NUMBERS = [
    "0",
    "1",
    "-1",
    "2",
    "3.5",
    "27",
    "51",
    "52",
    "1e400",
    "-1e400",
    "nan",
    "inf",
    "",
    " 1",
    "1 ",
    "0x10",
    "1_0",
    "１",
    "9" * 30,
    "1" * 5000,
    "-0",
    "2147483648",
    "-9223372036854775809",
    "1/0",
    "30000/1001",
    "1e999999999",
    "true",
]
WORDS = [
    "",
    " ",
    "-",
    "--",
    "intra",
    "lowdelay",
    "hm",
    "x264",
    "420",
    "4:2:0",
    "\udcff\udcfe",
    "\x1b[31m",
    "a\nb",
    "$",
    "%s",
    "{0}",
    "n" * 300,
    "../up",
    "NUL\0",
    "=",
    "a=",
    "=b",
    "qp=27",
    "crf=1",
    "input=/dev/zero",
    "漢",
    "tiny:net",
    "tiny:gone",
    "tiny:module",
    "tiny:text",
    "gone:net",
    ":",
    "tiny:",
    "os:getcwd",
    "16x16",
    "0x0",
    "99999x99999",
    "all",
]
FILES = [
    "a.png",
    "b.png",
    "a.idse",
    "b.idse",
    "c_16x16.yuv",
    "c.y4m",
    "a.264",
    "empty",
    "empty.png",
    "text.png",
    "text.idse",
    "cut.264",
    "cut.idse",
    "cut.y4m",
    "folder",
    "folder/mine.png",
    "pipe",
    "pipe.png",
    "pipe.yuv",
    "pipe.idse",
    "dangling",
    "loop",
    "gone.png",
    "a.png/x",
    ".",
    "..",
    "/",
    "/dev/null",
    "/dev/full",
    "/dev/zero",
    "skimage:gone",
    "a",
    "tiny.py",
    "results/results.csv",
]
OUTPUTS = ["out", "out.png", "out.264", "out.idse", "out.yuv", "out.y4m", "out.mp4", "out.", "new/deep/out.bin", *FILES]
VALUES = {"numbers": NUMBERS, "words": WORDS, "files": FILES, "outputs": OUTPUTS}

# Option -> what it takes. Probes stay few, so that a case is short.
OPTIONS = {
    "-o": "outputs",
    "--output": "outputs",
    "--recon": "outputs",
    "--weights": "files",
    "--config": "files",
    "-q": "numbers",
    "--qp": "numbers",
    "--seed": "numbers",
    "--jitter": "numbers",
    "--frames-per-map": "numbers",
    "--tau": "numbers",
    "--power": "numbers",
    "--clip": "numbers",
    "--rdoq": "numbers",
    "--qp-map-clip": "numbers",
    "--decisions": "numbers",
    "--size": "words",
    "--chroma": "words",
    "--bit-depth": "numbers",
    "--matrix": "words",
    "--range": "words",
    "--siting": "words",
    "--skip": "numbers",
    "--frames": "numbers",
    "--frame-rate": "numbers",
    "--encoder": "words",
    "--rate-control": "words",
    "--option": "words",
    "--idse-option": "words",
    "--extractor": "words",
    "--layer": "words",
    "--measure": "words",
    "--decoder": "words",
    "--frame": "numbers",
    "--block": "numbers",
    "--maps": "numbers",
    "--curves": "words",
}
FLAGS = [
    "--json",
    "--plain",
    "--no-qp-map",
    "--qp-map",
    "--sao",
    "--no-sao",
    "--help",
    "--version",
    "-h",
    "--unknown",
    "-x",
]

TINY = ["--extractor", "tiny:net", "--probes", "1"]
X264 = ["--encoder", "x264"]
GOOD = [
    ["weights", "a.png", "-o", "out.idse", *TINY],
    ["weights", "c_16x16.yuv", "--frames", "2", "--json", *TINY],
    ["show", "a.idse"],
    ["show", "a.idse", "a.png", "-o", "out.png"],
    ["encode", "a.png", "-o", "out.264", "-q", "30", "--plain", *X264],
    ["encode", "a.png", "-o", "out.264", "-q", "30", "--weights", "a.idse", "--recon", "out.yuv", *X264],
    ["encode", "c.y4m", "-o", "out.264", "-q", "30", "--json", *X264, *TINY],
    ["decode", "a.264", "-o", "out.yuv"],
    ["decode", "a.264", "-o", "out.png", "--decoder", "libavcodec"],
    ["compare", "a.png", "-o", "out", "-q", "20", "27", "34", "41", "--maps", "0", "--curves", "0", *X264, *TINY],
]


class Hangs(BaseException):
    """A case takes longer than LIMIT."""


def hangs(number: int, frame: object) -> None:
    raise Hangs


@pytest.fixture(scope="module")
def playground(tmp_path_factory) -> Path:
    """A folder with files of all kinds, good and bad."""
    try:
        find("x264")
    except FprdoError as error:
        if os.environ.get("FPRDO_X264_SOURCE"):
            raise
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("playground")
    rng = np.random.default_rng(3)
    before = os.getcwd()
    os.chdir(folder)
    try:
        Path("tiny.py").write_text(PLUG_IN)
        for name in ("a", "b"):
            save_picture(f"{name}.png", rng.integers(0, 256, (18, 20, 3), np.uint8))
            assert cli.main(["weights", f"{name}.png", *TINY]) == 0
        Path("c_16x16.yuv").write_bytes(rng.integers(0, 256, 3 * 384, np.uint8).tobytes())
        frames = b"".join(b"FRAME\n" + bytes(rng.integers(0, 256, 384, np.uint8)) for _ in range(2))
        Path("c.y4m").write_bytes(b"YUV4MPEG2 W16 H16 F25:1 C420mpeg2\n" + frames)
        assert cli.main(["encode", "a.png", "-o", "a.264", "-q", "30", "--plain", *X264]) == 0
        for name in ("a.264", "a.idse", "c.y4m"):
            data = Path(name).read_bytes()
            Path(f"cut{Path(name).suffix}").write_bytes(data[: len(data) * 2 // 3])
        shutil.copy("a.png", "a")
        for name in ("empty", "empty.png"):
            Path(name).touch()
        for name in ("text.png", "text.idse"):
            Path(name).write_text("shopping list\n")
        for name in ("folder", "results"):
            Path(name).mkdir()
        shutil.copy("a.png", "folder/mine.png")
        Path("results/results.csv").write_text("mine\n")
        for name in ("pipe", "pipe.png", "pipe.yuv", "pipe.idse"):
            os.mkfifo(name)
        Path("dangling").symlink_to("nowhere")
        Path("loop").symlink_to("loop")
    finally:
        os.chdir(before)
    return folder


def contents(folder: Path) -> dict[str, object]:
    """What stands in a folder, by name: the bytes of a file, where a link leads, the kind of anything else."""
    found: dict[str, object] = {}
    for path in folder.rglob("*"):
        name = os.fsencode(path.relative_to(folder)).decode("utf-8", "surrogateescape")
        if "__pycache__" in name:
            continue
        found[name] = (
            os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else path.lstat().st_mode
        )
    return found


def build(folder: Path, playground: Path) -> None:
    """A fresh copy of the playground in an empty folder."""
    for path in playground.rglob("*"):
        copy = folder / path.relative_to(playground)
        if path.is_symlink():
            copy.symlink_to(os.readlink(path))
        elif path.is_dir():
            copy.mkdir(exist_ok=True)
        elif path.is_file():
            copy.parent.mkdir(exist_ok=True)
            shutil.copy(path, copy)
        else:
            os.mkfifo(copy)


def command_line(number: int) -> list[str]:
    """The case of a number: a good command line, spoiled in one to three places."""
    random_ = random.Random(number)
    words = list(random_.choice(GOOD))
    for _ in range(random_.choice((1, 1, 2, 3))):
        where = random_.randrange(len(words))
        option = random_.choice(list(OPTIONS))
        value = random_.choice(
            VALUES[OPTIONS[option]] if random_.random() < 0.8 else random_.choice(list(VALUES.values()))
        )
        kind = random_.random()
        if kind < 0.4:
            words += [option, value]
        elif kind < 0.55:
            words.append(random_.choice(FLAGS))
        elif kind < 0.75:  # another value for an option or a file that stands there
            before = words[where - 1] if where else ""
            words[where] = random_.choice(VALUES[OPTIONS.get(before, "files")])
        elif kind < 0.85:
            del words[where]
        elif kind < 0.9:
            words.insert(where, random_.choice(WORDS))
        else:
            words[where] = words[where][: random_.randrange(len(words[where]) + 1)] + random_.choice(WORDS)
        words = words or [""]
    for where, word in enumerate(words):  # a pipe as an output waits for its reader, as with every program
        if word.startswith("pipe") and where and words[where - 1] in ("-o", "--output", "--recon"):
            words[where] = "out"
    return words


def outputs(words: list[str], folder: Path) -> list[Path]:
    """What a command line may write: what it names, and what is named after that or after its input."""
    given = [Path(os.path.abspath(word)) for word in words if "\0" not in word and len(word) < 200]
    joined = [
        Path(os.path.abspath(word.partition("=")[2]))
        for word in words
        if word.startswith("--") and "=" in word and "\0" not in word and len(word) < 200
    ]
    defaults = [Path(os.path.abspath(name)) for name in ("a.idse", "b.idse", "c_16x16.idse", "c.idse", "mine.idse")]
    named = [path for path in given + joined if path != folder and path not in folder.parents]
    named += [Path(os.path.realpath(path)) for path in named]  # links are written through
    logs = [path.with_name(f"{path.name}.log") for path in named if path.name]
    return [*named, *logs, *(path.with_name(f"map-{path.stem}.png") for path in named), *defaults]


def check(number: int, folder: Path, capsys: pytest.CaptureFixture[str]) -> bool:
    """Run a case; returns whether it left the folder as it was."""
    words = command_line(number)
    before = contents(folder)
    capsys.readouterr()
    signal.alarm(LIMIT)
    try:
        status = cli.main(words)
    except SystemExit as end:
        status = end.code
    except BaseException as error:
        pytest.fail(f"case {number}: fprdo {[word[:300] for word in words]}: {error!r}")
    finally:
        signal.alarm(0)
    out, err = capsys.readouterr()
    said = f"case {number}: fprdo {[word[:300] for word in words]}: status {status}, {err[-2000:]!r}"
    assert status in (0, 2), said
    errors = [line for line in err.split("\n") if line.startswith("fprdo: error: ")]
    assert "Traceback" not in err and len(errors) == (status == 2), said
    if status == 2:
        assert err.endswith(f"{errors[0]}\n") and len(errors[0]) < 3000, said
    assert not any(character in out + err for character in "\0\x1b\r"), said
    after = contents(folder)
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    allowed = outputs(words, folder)
    for name in changed:
        path = folder / os.fsdecode(name.encode("utf-8", "surrogateescape"))
        assert status == 0 or words[0] == "compare", f"{said}: {name} changed"
        assert (
            any(path == one or one in path.parents or path in one.parents for one in allowed) or words[0] == "compare"
        ), f"{said}: {name} changed"
        # A source or a file of others is never written over, unless it is what the user names as output.
        assert name not in before or name in {os.path.relpath(one, folder) for one in allowed}, (
            f"{said}: {name} changed"
        )
    return not changed


@pytest.mark.slow
def test_command_lines(playground, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "path", list(sys.path))
    signal.signal(signal.SIGALRM, hangs)
    handler = signal.getsignal(signal.SIGALRM)
    until = time.monotonic() + SECONDS
    cases = iter(CASES)
    if "FPRDO_FUZZ_CASE" in os.environ:
        cases = iter([int(os.environ["FPRDO_FUZZ_CASE"])])
    done, folder = 0, None
    while True:
        number = next(cases, None)
        if number is None:
            if time.monotonic() >= until:
                break
            number = done
        if folder is None:
            folder = tmp_path / f"case-{number}"
            folder.mkdir()
            build(folder, playground)
            monkeypatch.chdir(folder)
        done = number + 1
        if not check(number, folder, capsys):
            shutil.rmtree(folder)
            folder = None
    signal.signal(signal.SIGALRM, handler)
