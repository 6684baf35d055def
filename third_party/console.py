"""What build.py says, the programs that it runs, and how both end when the user stops them."""

from __future__ import annotations

import os
import re
import select
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOGS = ROOT / "third_party" / "build" / "logs"


class BuildError(Exception):
    """What the user has to know, in one line; `detail` (the end of a log) is printed before it."""

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.detail = detail


def say(text: str) -> None:
    print(text, flush=True)


class Progress:
    """One long step: a line that ticks on a terminal, otherwise a plain line every quarter of a minute."""

    def __init__(self, label: str) -> None:
        self.label, self.start, self.shown = label, time.monotonic(), 0.0
        self.live = sys.stdout.isatty()

    def __enter__(self) -> Progress:
        if not self.live:
            say(f"{self.label} ...")
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        if self.live:
            print("\r\x1b[K", end="", flush=True)
        if kind is None:
            say(f"{self.label}: done ({self.elapsed:.0f} s)")

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.start

    def show(self, state: str) -> None:
        if self.elapsed - self.shown < (0.2 if self.live else 15):
            return
        self.shown = self.elapsed
        text = f"{self.label} {state} ({self.elapsed:.0f} s)"
        if self.live:
            print("\r\x1b[K" + text[: shutil.get_terminal_size().columns - 1], end="", flush=True)
        else:
            say(text)


# What ninja, make and pip print as they go on.
STATE = re.compile(rb"^(\[ *\d+(?:/\d+|%)\]| *(?:Collecting|Downloading|Installing) [^\s(]+)", re.MULTILINE)


def run(command: list[str], log: Path, progress: Progress, folder: Path = ROOT) -> None:
    """Run a command with its output in `log`; raise BuildError with the end of the log when it fails."""
    state, rest = "", b""
    with open(log, "ab") as out:
        out.write(f"$ {shlex.join(command)}\n".encode())
        out.flush()
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        pipe = process.stdout
        assert pipe is not None
        try:
            while True:
                if select.select([pipe], [], [], 0.5)[0]:
                    chunk = os.read(pipe.fileno(), 65536)
                    if not chunk:
                        break
                    out.write(chunk)
                    found = STATE.findall(rest + chunk)
                    state = found[-1].decode(errors="replace").strip() if found else state
                    rest = chunk[-200:].rpartition(b"\n")[2]
                progress.show(state)
            status = process.wait()
        finally:
            if process.poll() is None:  # stopped from outside: its compilers go with it
                os.killpg(process.pid, signal.SIGTERM)
                process.wait()
            pipe.close()
    if status != 0:
        tail = log.read_text(errors="replace").splitlines()[-20:]
        raise BuildError(
            f"{progress.label}: {Path(command[0]).name} failed with exit status {status}; the whole log is {log}",
            "\n".join(tail),
        )


class Stopped(KeyboardInterrupt):
    """SIGTERM or SIGHUP, which reached this process only; a Ctrl-C reaches its children too."""


def catch_signals() -> None:
    """Let SIGTERM and SIGHUP be cleaned up after as Ctrl-C is; where nohup ignores SIGHUP, it stays ignored."""

    def stop(*_: object) -> None:
        raise Stopped

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, stop)


PATIENCE = 20  # seconds that a program gets to clean up after itself


def ends(process: subprocess.Popen[bytes]) -> bool:
    """Whether the process ends before PATIENCE does."""
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        return False
    return True


def call(command: list[str]) -> int:
    """Run a program on this terminal; when stopped, let it clean up. It is killed on a second stop, or after PATIENCE.

    A Ctrl-C has reached it already; for all else it gets SIGTERM, for the SIGHUP of a closing terminal, too, which
    would end it at once.
    """
    process = subprocess.Popen(command, cwd=ROOT, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    try:
        return process.wait()
    except KeyboardInterrupt as stop:
        try:
            if isinstance(stop, Stopped) or not ends(process):
                process.terminate()
            ended = ends(process)
        except KeyboardInterrupt:
            ended = False
        if not ended:
            process.kill()
            process.wait()
        raise
