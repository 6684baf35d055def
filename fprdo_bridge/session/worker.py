"""The worker: an encoder's shared library in a process of its own, whose provider asks the process that started it.

    python -m fprdo_bridge.session DESCRIPTOR LIBRARY ARGUMENTS...

DESCRIPTOR is the number of an open Unix socket. First comes a `Setup`. Then, for each picture, the worker sends
("begin", poc, frame), gets the descriptor of a map record (docs/idse-format.md) in shared memory, and reads it where it
lies until it sends ("end", frame). An encoder that returns is followed by ("returned", its seconds of user and system
time). Whatever Python code raises here is sent as ("raised", the exception by pickle or None, what `described` says of
it, where), and the worker ends: an exception cannot pass through an encoder.
"""

from __future__ import annotations

import ctypes
import math
import mmap
import os
import pickle
import resource
import signal
import sys
import traceback
from _ctypes import CFuncPtr
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle
from types import TracebackType
from typing import Any, TypeVar

import numpy as np

from fprdo_bridge.errors import FprdoError
from fprdo_bridge.native._idse import ffi, lib
from fprdo_bridge.session import setup as told
from fprdo_bridge.session.picture import Block
from fprdo_bridge.session.setup import Setup
from fprdo_bridge.values import described, shown

_F = TypeVar("_F", bound=Callable[..., object])
_FAILED = 3  # exit status after ("raised", ...)
_TYPES = {(1, 0): np.uint8, (2, 0): np.uint16, (2, 1): np.int16, (4, 1): np.int32}


class Worker:
    """The provider's side of a running encode."""

    def __init__(self, connection: Connection, setup: Setup):
        self.connection, self.setup = connection, setup
        self.maps: dict[int, np.ndarray] = {}  # by source frame: what the encoder reads
        self.distortion: Callable[[Block], object] | None = None

    def fail(self, error: BaseException) -> None:
        """Say what was raised and end, whatever comes of that: the encoder would go on with another distortion."""
        try:
            try:
                pickled = pickle.dumps(error)
            except Exception:  # a class of the script, a lock in it; its own pickling may raise anything
                pickled = None
            where = [
                f" in {frame.f_code.co_filename}, line {line}" for frame, line in traceback.walk_tb(error.__traceback__)
            ]
            self.connection.send(("raised", pickled, described(error), where[-1] if where else ""))
        finally:
            os._exit(_FAILED)

    def begin(self, poc: int, frame: int, weight_map: Any) -> None:
        self.connection.send(("begin", poc, frame))
        with open(recv_handle(self.connection), "rb") as file:
            record = np.frombuffer(
                mmap.mmap(file.fileno(), self.setup.layout.map_bytes, access=mmap.ACCESS_READ), np.uint16
            )
        self.maps[frame] = record
        planes, shapes = self.setup.layout.views(record)
        for component, plane in enumerate(planes):
            weight_map.pixel[component] = ffi.cast("uint16_t *", plane.ctypes.data)
            for size, group in shapes.items():
                weight_map.shape[component][size.bit_length() - 3] = ffi.cast(
                    "uint16_t *", group[component].ctypes.data
                )

    def end(self, frame: int) -> None:
        del self.maps[frame]
        self.connection.send(("end", frame))

    def ask_distortion(self, block: Any) -> float:
        assert self.distortion is not None
        original = _view(block, block.original, block.original_stride)
        coded = _view(block, block.coded, block.coded_stride)
        asked = Block(block.decision, block.component, block.x, block.y, original, coded, self.setup.bit_depth)
        value: Any = self.distortion(asked)
        if not isinstance(value, (str, bytes, bool)):  # which float() takes too
            with suppress(Exception):
                return float(value)
        raise FprdoError(f"distortion {shown(value)}: not a number; return a finite value from 0 up to 2^44")

    def refuse(self, value: float) -> None:
        what = "not a number" if math.isnan(value) else "negative" if value < 0 else "2^44 or more"
        self.fail(FprdoError(f"distortion {value}: {what}; return a finite value from 0 up to 2^44"))


def _view(block: Any, samples: Any, stride: int) -> np.ndarray:
    sample = np.dtype(_TYPES[block.sample_bytes, block.is_signed])
    buffer = ffi.buffer(samples, sample.itemsize * ((block.height - 1) * stride + block.width))
    view = np.frombuffer(buffer, sample)
    view = np.lib.stride_tricks.as_strided(
        view, (block.height, block.width), (stride * sample.itemsize, sample.itemsize)
    )
    view.flags.writeable = False
    return view


def _worker(context: Any) -> Worker:
    worker: Worker = ffi.from_handle(context)
    return worker


def _failing(kind: type[BaseException], error: BaseException, trace: TracebackType) -> None:
    assert _running is not None
    _running.fail(error.with_traceback(trace))


_running: Worker | None = None


def _callback(function: _F) -> _F:
    """What C calls under the name of the function; what it raises ends the worker."""
    ffi.def_extern(onerror=_failing)(function)
    return function


@_callback
def provider_begin(context: Any, poc: int, frame: int, weight_map: Any) -> int:
    _worker(context).begin(poc, frame, weight_map)
    return 1


@_callback
def provider_end(context: Any, frame: int) -> None:
    _worker(context).end(frame)


@_callback
def provider_distortion(context: Any, block: Any) -> float:
    return _worker(context).ask_distortion(block)


@_callback
def provider_refuse(context: Any, value: float) -> None:
    _worker(context).refuse(value)


def _address(function: object) -> int:
    """Address of a compiled function: of cffi, ctypes or numba (cfunc), or the number itself."""
    if isinstance(function, int):
        return function
    if isinstance(function, ffi.CData) or type(function).__name__ == "_CDataBase":
        return int(ffi.cast("uintptr_t", function))
    if isinstance(function, CFuncPtr):  # the base of what ctypes.CFUNCTYPE and libraries give
        address = ctypes.cast(function, ctypes.c_void_p).value
    else:
        address = getattr(function, "address", None)
    if isinstance(address, int):
        return address
    raise FprdoError(
        f"distortion: {type(function).__name__} is no compiled function; give one of cffi, ctypes or numba's cfunc"
    )


def main(descriptor: int, library: str, arguments: list[str]) -> int:
    global _running
    told.in_worker = True
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Python's handler would wait for the encoder to return
    with Connection(descriptor) as connection:
        worker = _running = Worker(connection, connection.recv())
        setup = worker.setup
        sys.path[:] = setup.path
        provider = ffi.new("idse_provider *")
        handle = ffi.new_handle(worker)
        provider.bytes, provider.context = ffi.sizeof("idse_provider"), handle
        provider.transform_sizes, provider.flat = sum(setup.layout.transform_sizes), setup.flat
        provider.begin, provider.end, provider.refuse = lib.provider_begin, lib.provider_end, lib.provider_refuse
        provider.distortion = lib.provider_distortion
        try:
            if setup.distortion is not None:
                provider.decisions = setup.decisions
                loaded = worker.distortion = setup.distortion.load()
                if setup.compiled:
                    compiled = loaded()
                    provider.distortion = ffi.cast("double (*)(void *, const idse_block *)", _address(compiled))
                    # What Python code behind that pointer raises; ctypes and numba print it and return 0.
                    sys.unraisablehook = lambda lost: worker.fail(lost.exc_value or RuntimeError("an error was lost"))
            entry = ctypes.CDLL(library).fprdo_encode
        except BaseException as error:  # SystemExit too, which a script may raise
            worker.fail(error)
        encode = ffi.cast("int (*)(int, char **, const idse_provider *)", ctypes.cast(entry, ctypes.c_void_p).value)
        words = [ffi.new("char[]", os.fsencode(word)) for word in (library, *arguments)]
        before = resource.getrusage(resource.RUSAGE_SELF)
        status: int = encode(len(words), ffi.new("char *[]", [*words, ffi.NULL]), provider)
        after = resource.getrusage(resource.RUSAGE_SELF)
        connection.send(("returned", after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime))
        return status
