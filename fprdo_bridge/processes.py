"""Child processes that do not outlive this one, and the cores for them."""

import fcntl
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any


def cores() -> int:
    """Cores that this process may use (Linux), elsewhere all that the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def child(arguments: Sequence[str], descriptors: Sequence[int] = (), **options: Any) -> Iterator[subprocess.Popen[Any]]:
    """A process that is killed when the block ends before it, and (on Linux) when this process ends, by kill -9 too.

    The child holds the reading end of a pipe, this process alone the writing end. The kernel closes the writing end of
    a process that has ended, and then sends SIGKILL to the owner of the reading end (fcntl(2): F_SETOWN, F_SETSIG,
    O_ASYNC). PR_SET_PDEATHSIG does nearly the same, but is to be called in the child, between fork and exec, where
    Python code is not safe when other threads run; and it goes by the thread that started the child, not by the
    process.

    Parameters
    ----------
    arguments : program and its arguments
    descriptors : open files that the child gets under the same numbers
    options : of subprocess.Popen

    Raises
    ------
    OSError
        The program cannot be started.
    """
    reading, writing = os.pipe()
    with (
        open(reading, "rb", 0),
        open(writing, "wb", 0),
        subprocess.Popen(arguments, pass_fds=(*descriptors, reading), **options) as process,
    ):
        try:
            if hasattr(fcntl, "F_SETSIG"):
                fcntl.fcntl(reading, fcntl.F_SETOWN, process.pid)
                fcntl.fcntl(reading, fcntl.F_SETSIG, signal.SIGKILL)
                fcntl.fcntl(reading, fcntl.F_SETFL, fcntl.fcntl(reading, fcntl.F_GETFL) | os.O_ASYNC)
            yield process
        finally:
            if process.returncode is None:
                process.kill()
