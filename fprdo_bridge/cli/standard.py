"""The name "-": Y4M from standard input, and results to standard output.

Frames are read more than once, so standard input goes into a file of the temporary folder first, which a command that
ends removes and the next run sweeps. An output for "-" is made in a file too, and is sent when it is whole.
"""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from fprdo_bridge.cli import console
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.files import workspace
from fprdo_bridge.video import y4m

NAME = "-"
_LONGEST_LINE = 1024
_BLOCK = 1 << 20

_files = ExitStack()  # temporary folders of the command that runs
_copies: list[Path] = []  # of standard input, in those folders


def clear() -> None:
    """Remove what the command has put into the temporary folder.

    A mistake that ends the command, if one does, then speaks of standard input instead of its copy, which is gone.
    """
    error = sys.exc_info()[1]
    if isinstance(error, FprdoError) and error.args:
        message = str(error.args[0])
        for path in _copies:
            if str(path) in message:
                message = message.replace(str(path), "standard input").replace("copy it again", "send it again")
        error.args = (message,)
    _copies.clear()
    _files.close()


def source_file(frames: int | None, skip: int) -> Path:
    """A .y4m file with what standard input gives: all, or what is needed for `frames` behind the first `skip`.

    Raises
    ------
    FprdoError
        Standard input is closed, a terminal, no Y4M, or cannot be read.
    """
    path = _files.enter_context(workspace()) / "standard-input.y4m"
    _copies.append(path)
    stream = getattr(sys.stdin, "buffer", None)
    if stream is None:
        raise FprdoError("-: standard input is closed; name a file")
    try:
        if stream.isatty():
            raise FprdoError("-: standard input is a terminal; send a Y4M stream, like PROGRAM | fprdo weights -")
        with open(path, "wb") as file:
            _copy(stream, file, path, None if frames is None else frames + skip)
    except OSError as error:
        raise FprdoError(f"-: standard input cannot be read ({error.strerror or error}); name a file") from None
    return path


def _copy(stream: BinaryIO, file: BinaryIO, path: Path, frames: int | None) -> None:
    head = stream.readline(_LONGEST_LINE)
    file.write(head)
    if not head.startswith(b"YUV4MPEG2"):
        raise FprdoError("-: standard input is no Y4M (YUV4MPEG2) stream; name a file for anything else")
    if frames is None:
        shutil.copyfileobj(stream, file, _BLOCK)
        return
    file.flush()
    size = y4m.read_header(path).fmt.frame_bytes
    for _ in range(frames):
        line = stream.readline(_LONGEST_LINE)
        file.write(line)
        if not line.startswith(b"FRAME"):  # the end, or damage: who reads the file says which
            return
        left = size
        while left and (data := stream.read(min(left, _BLOCK))):
            file.write(data)
            left -= len(data)


def output_file(path: Path, name: str) -> Path:
    """Where an output is to be made: `path` itself, or for "-" a file `name` that `send` hands over.

    From then on the command's results are lines on standard error.
    """
    if str(path) != NAME:
        return path
    console.aside()
    return _files.enter_context(workspace()) / name


def send(made: Path, path: Path) -> None:
    """Hand over what `output_file` gave, if it was for "-". A reader that has gone is no mistake."""
    if str(path) != NAME:
        return
    stream = getattr(sys.stdout, "buffer", None)
    if stream is None:
        raise FprdoError("-: standard output is closed; name a file")
    try:
        with open(made, "rb") as file:
            shutil.copyfileobj(file, stream, _BLOCK)
        stream.flush()
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")
    except OSError as error:
        raise FprdoError(f"-: standard output cannot be written ({error.strerror or error}); name a file") from None


def only_one(*paths: Path | None) -> None:
    """Refuse two outputs on standard output."""
    if sum(path is not None and str(path) == NAME for path in paths) > 1:
        raise FprdoError("-: two outputs cannot share standard output; give one of them a file name")
