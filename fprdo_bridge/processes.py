"""Child processes that do not outlive this one."""

import fcntl
import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

_thread = threading.local()  # group: whose children a thread starts


class Group:
    """The children of some threads, which another thread can end, all of them at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._children: set[subprocess.Popen[Any]] = set()
        self._ended = False

    @contextmanager
    def joined(self) -> Iterator[None]:
        """What this thread starts inside the block belongs to the group."""
        before = getattr(_thread, "group", None)
        _thread.group = self
        try:
            yield
        finally:
            _thread.group = before

    def end(self) -> None:
        """Kill the children that there are, and those to come."""
        with self._lock:
            self._ended = True
            for process in self._children:
                process.kill()

    @contextmanager
    def _holding(self, process: subprocess.Popen[Any]) -> Iterator[None]:
        with self._lock:
            self._children.add(process)
            if self._ended:
                process.kill()
        try:
            yield
        finally:
            with self._lock:
                self._children.discard(process)


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
            group: Group = getattr(_thread, "group", None) or Group()
            with group._holding(process):
                yield process
        finally:
            if process.returncode is None:
                process.kill()
