"""Memory that a network's passes take and give back many times a second.

The C library gets each large block from the system and returns it at once, so every layer of every pass pays for fresh
pages: a third of the time of a map. Inside of `reused_memory` it keeps what is freed and hands it out again.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

# Of <malloc.h> of the GNU C library, and its own values.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_USUAL_TRIM, _USUAL_MMAPS = 64 << 20, 65536

_lock = threading.Lock()
_depth = 0


@contextmanager
def reused_memory() -> Iterator[None]:
    """Keep freed memory for reuse within the block, and return it to the system at the end of the outermost one.

    Nothing but time changes, and the process's memory stays at the peak within the block. C libraries other than GNU's
    are left as they are.
    """
    global _depth
    with _lock:
        _depth += 1
        if _depth == 1:
            _keep(True)
    try:
        yield
    finally:
        with _lock:
            _depth -= 1
            if _depth == 0:
                _keep(False)


def _keep(on: bool) -> None:
    library = _gnu_library()
    if library is None:
        return
    library.mallopt(_M_MMAP_MAX, 0 if on else _USUAL_MMAPS)
    library.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1 if on else _USUAL_TRIM)
    if not on:
        library.malloc_trim(ctypes.c_size_t(0))


@cache
def _gnu_library() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL(None)
        library.gnu_get_libc_version, library.mallopt, library.malloc_trim  # noqa: B018
    except (OSError, TypeError, AttributeError):  # no such symbol; Windows knows no CDLL(None)
        return None
    return library
