"""The caller's side of an encode in a worker: a thread that answers what the worker asks."""

from __future__ import annotations

import pickle
import socket
import threading
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from multiprocessing.reduction import send_handle
from typing import Any

import numpy as np

from fprdo_bridge.errors import FprdoError
from fprdo_bridge.importance.weight_map import Layout, WeightMap
from fprdo_bridge.session.picture import Picture
from fprdo_bridge.session.setup import Setup
from fprdo_bridge.session.weight_buffer import WeightBuffer
from fprdo_bridge.values import described
from fprdo_bridge.video.formats import VideoFormat

_PATIENCE = 2.0  # seconds that a provider has to return when its encoder has ended

Weights = WeightBuffer | WeightMap | Sequence[np.ndarray]


class Provider:
    """Asks `weights` for each picture that the worker begins, in a thread of the caller's process, so that it sees all
    that its author sees.

    Parameters
    ----------
    setup : what the worker is told first
    weights : the caller's provider
    fmt : what the encoder codes

    Attributes
    ----------
    descriptor : the worker's end of the connection, which it inherits
    error : what `weights` or the worker raised, None if nothing did
    encoder_seconds : CPU time of the encoder, None until it has returned
    """

    def __init__(self, setup: Setup, weights: Callable[[Picture], Weights], fmt: VideoFormat):
        self._setup, self._weights, self._fmt = setup, weights, fmt
        self.error: BaseException | None = None
        self.encoder_seconds: float | None = None
        self._held: dict[int, WeightBuffer] = {}  # by source frame: what the encoder reads
        self._own: list[WeightBuffer] = []  # to be filled with what `weights` returns
        self._free: list[WeightBuffer] = []
        try:
            ours, self._theirs = socket.socketpair()  # no name that others see, or that stays behind
        except OSError as error:
            raise FprdoError(
                f"encode: no connection to a worker ({error.strerror}); close files that you need no more"
            ) from error
        self._connection = Connection(ours.detach())
        self._thread = threading.Thread(target=self._serve, name="fprdo provider", daemon=True)
        self._thread.start()

    @property
    def descriptor(self) -> int:
        return self._theirs.fileno()

    def close(self) -> None:
        """The worker has ended: so does the thread, unless `weights` does not return, which nobody can make it."""
        self._theirs.close()  # from now on the connection ends where the worker's side of it does
        self._thread.join(_PATIENCE)

    def _serve(self) -> None:
        try:
            with self._connection:
                self._connection.send(self._setup)
                while True:
                    self._answer(*self._connection.recv())
        except (EOFError, OSError):
            return  # the worker has ended; its status says how
        except BaseException as error:  # handed to the caller; closing the connection ends the worker
            self.error = error

    def _answer(self, kind: str, *what: Any) -> None:
        if kind == "begin":
            self._begin(*what)
        elif kind == "end":
            self._end(*what)
        elif kind == "returned":
            (self.encoder_seconds,) = what
        else:
            self.error = _raised(*what)

    def _begin(self, poc: int, frame: int) -> None:
        try:
            buffer = self._buffer(self._weights(Picture(poc, frame, self._fmt)), f"weights of picture {poc}")
        except BaseException as error:  # OSError too, which is not the connection's here
            self.error = error
            raise
        self._held[frame] = buffer
        send_handle(self._connection, buffer.file.fileno(), None)

    def _end(self, frame: int) -> None:
        buffer = self._held.pop(frame)
        if any(buffer is own for own in self._own):
            self._free.append(buffer)

    def _buffer(self, given: Weights, where: str) -> WeightBuffer:
        if isinstance(given, WeightBuffer):
            return of_layout(given, self._setup.layout, where)
        if not self._free:
            self._own.append(WeightBuffer(self._fmt, self._setup.layout.transform_sizes))
            self._free.append(self._own[-1])
        self._free[-1].fill(given, where)
        return self._free.pop()


def of_layout(buffer: WeightBuffer, layout: Layout, where: str) -> WeightBuffer:
    """The buffer, if it is what the encoder will read: it goes by the layout alone, whatever memory there is."""
    if buffer.layout != layout:
        raise FprdoError(f"{where}: a buffer for {buffer.layout}, {layout} is coded; make it for this format")
    return buffer


def _raised(pickled: bytes | None, text: str, where: str) -> Exception:
    """The exception that a worker raised; an FprdoError with its text where pickle does not give the same one again."""
    try:
        error = pickle.loads(pickled or b"")
        # SystemExit is no Exception: it would end this program, not the worker.
        if isinstance(error, Exception) and described(error) == text:
            return error
    except BaseException:  # of its own making
        pass
    return FprdoError(
        f"{text} (raised in the worker{where}; raise an exception that pickle can copy to get it as it is)"
    )
