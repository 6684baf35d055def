"""The two streams of the command: results on standard output, everything else on standard error."""

from __future__ import annotations

import sys

from fprdo_bridge.text import printable

MISTAKE = 2  # exit status after one line that says what is wrong

_LONGEST = 2500  # characters of a message: enough for an encoder's command line

_lost: list[str] = []  # why results could not be written
_aside: list[bool] = []  # standard output has the samples or bits themselves


def prepare() -> None:
    """Let both streams take any file name."""
    _lost.clear()
    _aside.clear()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # neither closed nor a caller's own
            stream.reconfigure(errors="backslashreplace")


def say(line: str) -> None:
    """Write a line about progress or a mistake to standard error; nowhere if nobody listens or the disk is full."""
    if sys.stderr is None:
        return
    try:
        print(printable(line), file=sys.stderr, flush=True)
    except OSError:
        sys.stderr = None


def fail(message: str) -> int:
    """Say what is wrong in one line; returns the exit status. The middle of a very long line is left out."""
    if len(message) > _LONGEST:
        message = f"{message[: _LONGEST * 3 // 4]} ... {message[-_LONGEST // 4 :]}"
    say(f"fprdo: error: {message}")
    return MISTAKE


def aside() -> None:
    """From now on results are lines on standard error: standard output is a file of samples or bits."""
    _aside.append(True)


def result(text: str) -> None:
    """Write lines of results to standard output.

    Names in them went through `printable` already. A run does not end because they cannot be written: its files are
    worth more. `finish` says so.
    """
    if _aside:
        for line in text.split("\n"):
            say(line)
        return
    if sys.stdout is None:
        return
    try:
        print(text, flush=True)
    except BrokenPipeError:  # a reader like head, who has seen enough
        sys.stdout = None
    except OSError as error:
        sys.stdout = None
        _lost.append(error.strerror or str(error))


def flush() -> None:
    """Hand over what is left in the streams, such as a help text."""
    for name in ("stdout", "stderr"):
        try:
            stream = getattr(sys, name)
            if stream is not None:
                stream.flush()
        except OSError as error:
            setattr(sys, name, None)
            if name == "stdout" and not isinstance(error, BrokenPipeError):
                _lost.append(error.strerror or str(error))


def finish() -> int:
    """Exit status of a command that has done its work: 0, or 2 if its results could not be written."""
    flush()
    if _lost:
        return fail(f"standard output: cannot be written ({_lost[0]}); the files of the command are complete")
    return 0
