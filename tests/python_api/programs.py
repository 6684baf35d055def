"""Programs that use the Python API, run in processes of their own; and which of their processes are still there."""

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TESTS = [str(Path(__file__).resolve().parents[number]) for number in (0, 1)]

START = f"""
import os, signal, sys, threading, time
sys.path[:0] = {TESTS!r}
import numpy as np
import provided
from clips import clip
from fprdo_bridge import Encoder
from fprdo_bridge.importance.idse_file import ones
from fprdo_bridge.video.formats import VideoFormat
FMT = VideoFormat(72, 56)
"""


def start(folder: Path, body: str, **environment: str) -> subprocess.Popen[str]:
    """Run START and `body` in a process group of its own, with `folder`/tmp as the temporary folder; `folder`/begun is
    what provided.begun() makes."""
    (folder / "tmp").mkdir(exist_ok=True)
    (folder / "program.py").write_text(START + body)
    paths = os.pathsep.join(filter(None, (environment.pop("PYTHONPATH", ""), str(ROOT), *TESTS)))
    return subprocess.Popen(
        [sys.executable, str(folder / "program.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env=os.environ
        | {"TMPDIR": str(folder / "tmp"), "PYTHONPATH": paths, "BEGUN": str(folder / "begun")}
        | environment,
    )


def said(folder: Path, body: str, **environment: str) -> str:
    """What such a program prints by the time it ends with status 0."""
    process = start(folder, body, **environment)
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0, out
    return out


def wait_for(path: Path, seconds: float = 60) -> None:
    """Wait until a file is there."""
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} does not appear"
        time.sleep(0.02)


def left(folder: Path) -> set[str]:
    """Names in the temporary folder of these programs."""
    return {path.name for path in (folder / "tmp").iterdir()}


def members(group: int) -> list[int]:
    """Processes of a group that have not ended."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, this = stat.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(this) == group and state not in "ZX":
            found.append(int(stat.parent.name))
    return found


def end_of(group: int, seconds: float = 5) -> list[int]:
    """Wait until all processes of a group have ended; those that have not after so many seconds."""
    deadline = time.monotonic() + seconds
    while members(group) and time.monotonic() < deadline:
        time.sleep(0.02)
    return members(group)
