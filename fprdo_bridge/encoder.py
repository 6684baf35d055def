"""An encoder that Python drives: weights and distortion come from arrays and functions (docs/python-api.md)."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from multiprocessing.connection import Listener
from pathlib import Path

import numpy as np

from fprdo_bridge import codecs, toolchain
from fprdo_bridge.codecs import running
from fprdo_bridge.codecs.encode_log import EncodeLog, PictureLog
from fprdo_bridge.codecs.job import EncodeJob, IdseOptions
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.frames import Frame, VideoFormat, coded_format, read_yuv, write_yuv
from fprdo_bridge.importance.idse_file import TRANSFORM_SIZES, Layout, WeightMap, map_record, ones
from fprdo_bridge.native.in_process import Block, Reference, Setup
from fprdo_bridge.sequence import open_sequence

__all__ = ["Block", "Encoded", "Encoder", "Picture", "compiled"]

IN_PROCESS = ("hm", "jm")


@dataclass(frozen=True)
class Picture:
    """A picture that an encoder is about to code."""

    poc: int           # number in output order
    frame: int         # number of its source frame
    fmt: VideoFormat   # what the encoder codes: sides rounded up where the chroma format asks for it


@dataclass(frozen=True)
class Encoded:
    """A finished encode."""

    bitstream: bytes
    recon: tuple[Frame, ...]
    log: EncodeLog           # per picture bits, PSNR and QP; decision counters in log.idse
    wall_seconds: float


@dataclass(frozen=True)
class compiled:  # noqa: N801, reads as what it says: distortion=compiled(make)
    """A distortion that runs at native speed: `make()` is called in the worker and returns a function of C type
    `double (void *context, const idse_block *block)` (native/idse.h) from cffi, ctypes or numba's cfunc."""

    make: Callable[[], object]


class _Provider:
    """Answers a worker's questions in a thread of the caller's process, so that `provider` sees all that its author sees."""

    def __init__(self, folder: Path, setup: Setup, weights: Callable[[Picture], WeightMap], fmt: VideoFormat):
        self.folder, self.setup, self.weights, self.fmt = folder, setup, weights, fmt
        self.error: BaseException | None = None
        self.listener = Listener(str(folder / "socket"), "AF_UNIX")
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        try:
            with self.listener.accept() as connection:
                connection.send(self.setup)
                while True:
                    self._answer(connection, *connection.recv())
        except (EOFError, OSError):
            return  # the worker has ended; its status says how
        except BaseException as error:  # handed to the caller; closing the connection ends the worker
            self.error = self.error or error

    def _answer(self, connection, kind: str, *what) -> None:
        if kind == "raised":
            self.error = what[0]
            return
        path = self.folder / f"map-{what[-1]}"
        if kind == "end":
            path.unlink()
            return
        picture = Picture(*what, self.fmt)
        where = f"weights of picture {picture.poc}"
        record = map_record(_as_map(self.weights(picture), where), self.setup.layout, where)
        path.write_bytes(record)
        connection.send(str(path))

    def close(self) -> None:
        if self.thread.is_alive():  # still in accept(), where the worker did not come to connect
            try:
                from multiprocessing.connection import Client
                Client(str(self.folder / "socket"), "AF_UNIX").close()
            except OSError:
                pass
        self.thread.join(timeout=2)  # longer only if `provider` does not return, which nobody can make it
        self.listener.close()


def _check_types(arrays: Iterable[np.ndarray], where: str) -> None:
    for array in arrays:
        if array.dtype.kind != "f":
            raise FprdoError(f"{where}: {array.dtype} given; use float32, mean 1")


def _as_map(given: object, where: str) -> WeightMap:
    if isinstance(given, WeightMap):
        _check_types(given.planes + tuple(plane for group in given.shapes.values() for plane in group), where)
        return given
    if isinstance(given, np.ndarray):
        given = (given,)
    if isinstance(given, (tuple, list)) and given and all(isinstance(plane, np.ndarray) for plane in given):
        _check_types(given, where)
        return WeightMap(tuple(given), {}, (1.0,) * len(given))
    raise FprdoError(f"{where}: {type(given).__name__} given; give a WeightMap, or one float32 array per plane")


class Encoder:
    """A patched encoder, run in a worker process for every encode.

    Parameters
    ----------
    name : {"hm", "jm"}
    config : path of an encoder configuration file, or "intra", "lowdelay", "randomaccess" for the package's own choice

    Raises
    ------
    FprdoError
        No such encoder, it is not built, or not as a library.
    """

    def __init__(self, name: str, config: str | os.PathLike = "intra"):
        if name not in IN_PROCESS:
            raise FprdoError(f"encoder {name!r}: use one of {', '.join(IN_PROCESS)}")
        self.codec, self.tools, self.config = codecs.get(name), toolchain.find(name), config
        if self.tools.library is None:
            raise FprdoError(f"{name}: built without a library; run python3 build.py {name}")

    def encode(self, frames: str | os.PathLike | Iterable[Frame], qp: int, *, fmt: VideoFormat | None = None,
               weights: WeightMap | Sequence[np.ndarray] | None = None,
               provider: Callable[[Picture], WeightMap | Sequence[np.ndarray]] | None = None,
               distortion: Callable[[Block], float] | compiled | None = None, decisions: int = 15,
               transform_sizes: Sequence[int] = TRANSFORM_SIZES, idse: IdseOptions = IdseOptions(),
               options: dict[str, str] | None = None, frame_rate: Fraction | int = 30,
               on_picture: Callable[[PictureLog], None] | None = None) -> Encoded:
        """Code frames.

        Parameters
        ----------
        frames : picture or .yuv file, or frames (tuples of planes) of format `fmt`
        qp : quantisation parameter
        fmt : needed with frames that come from no file
        weights : the same weights for every picture: a WeightMap, or float32 arrays per plane, mean 1
        provider : called with each Picture when it begins, in this process; returns its weights
        distortion : called in the worker with each Block of the decisions that `decisions` names; returns what takes the
            place of sum(w e^2): finite, not negative. It runs in another process and must be importable there.
        decisions : sum of 1 (intra), 2 (inter skip), 4 (inter residual), 8 (inter)
        transform_sizes : of the shapes in the maps; () for weights of pixels only
        idse : what the weights may change
        options : further options of the encoder
        on_picture : called with each picture when it is coded

        Raises
        ------
        FprdoError
            Bad input, or the encoder failed. Whatever `provider` or `distortion` raises is raised here as it is.
        """
        if weights is not None and provider is not None:
            raise FprdoError("weights and provider: give one of them")
        with tempfile.TemporaryDirectory(prefix="fprdo-") as name:
            folder = Path(name)
            source, fmt, count = self._source(frames, fmt, folder)
            coded = coded_format(fmt)
            config = Path(self.config) if Path(self.config).is_file() else self.codec.config_for(self.config, fmt, self.tools)
            job = EncodeJob(source=source, fmt=fmt, frames=count, qp=qp, bitstream=folder / "out" / "bitstream",
                            recon=folder / "out" / "recon.yuv", config=(config,), idse=idse, frame_rate=frame_rate,
                            options=options or {})
            job.bitstream.parent.mkdir()
            if weights is None and provider is None and distortion is None:
                result = running.encode(self.codec._ENCODER, job, self.tools.encoder, False, on_picture)
            else:
                if weights is None and provider is None:
                    weights = ones(coded, transform_sizes)
                setup = Setup(Layout(coded.width, coded.height, coded.chroma, tuple(sorted(transform_sizes))), fmt.bit_depth,
                              decisions if distortion is not None else 0,
                              Reference.of(distortion.make if isinstance(distortion, compiled) else distortion)
                              if distortion is not None else None, isinstance(distortion, compiled))
                result = self._in_process(job, setup, provider or (lambda picture: weights), coded, folder, on_picture)
            return Encoded(result.bitstream.read_bytes(), tuple(read_yuv(result.recon, fmt)), result.log, result.wall_seconds)

    @staticmethod
    def _source(frames, fmt: VideoFormat | None, folder: Path) -> tuple[Path, VideoFormat, int]:
        if isinstance(frames, (str, os.PathLike)):
            sequence = open_sequence(os.fspath(frames))
            return sequence.yuv(folder), sequence.fmt, sequence.frames
        if fmt is None:
            raise FprdoError("frames: arrays do not say what they mean; give fmt=VideoFormat(width, height, ...)")
        return folder / "source.yuv", fmt, write_yuv(folder / "source.yuv", frames, fmt)

    def _in_process(self, job: EncodeJob, setup: Setup, weights, coded: VideoFormat, folder: Path, on_picture):
        """`running.encode` with the worker in the place of the program."""
        socket_folder = tempfile.TemporaryDirectory(prefix="fprdo-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
        with socket_folder as shared:
            provider = _Provider(Path(shared), setup, weights, coded)
            encoder, marker = self.codec._ENCODER, folder / "provided"
            marker.touch()  # where a weight file would be; a library with a provider reads none
            start = [sys.executable, "-m", "fprdo_bridge.native", str(Path(shared) / "socket")]
            command_in = encoder.command_in
            encoder = replace(encoder, command=lambda *job: start + encoder_command(*job),
                              command_in=command_in and (lambda *job: start + command_in(*job)))
            encoder_command = self.codec.command
            try:
                return running.encode(encoder, replace(job, weights=marker), self.tools.library, False, on_picture)
            except FprdoError:
                provider.close()
                if provider.error is not None:
                    raise provider.error from None
                raise
            finally:
                provider.close()
