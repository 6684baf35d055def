"""An encoder that Python drives: weights and distortion come from arrays and functions (docs/python-api.md)."""

from __future__ import annotations

import os
import pickle
import reprlib
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from multiprocessing.connection import Client, Listener
from multiprocessing.reduction import send_handle
from pathlib import Path

import numpy as np

from fprdo_bridge import encoders, toolchain
from fprdo_bridge.encoders import running
from fprdo_bridge.encoders.log import EncodeLog, PictureLog
from fprdo_bridge.encoders.job import EncodeJob, IdseOptions, whole_number
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.video.formats import Frame, VideoFormat, coded_format
from fprdo_bridge.video.raw import read_yuv, write_yuv
from fprdo_bridge.importance.idse_file import TRANSFORM_SIZES, Layout, WeightMap
from fprdo_bridge.session.worker import Block, Reference, Setup, described
from fprdo_bridge.video.source import FormatRequest, open_source
from fprdo_bridge.session.weight_buffer import WeightBuffer, known_sizes

__all__ = ["Block", "Encoded", "Encoder", "Picture", "WeightBuffer", "compiled"]

IN_PROCESS = ("hm", "jm")
_PACKAGES = str(Path(__file__).resolve().parents[2])

Weights = WeightBuffer | WeightMap | Sequence[np.ndarray]


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
    encoder_seconds: float | None = None  # user and system time of an encoder in a worker, without Python's start


@dataclass(frozen=True)
class compiled:  # noqa: N801, reads as what it says: distortion=compiled(make)
    """A distortion that runs at native speed: `make()` is called in the worker and returns a function of C type
    `double (void *context, const idse_block *block)` (native/idse.h) from cffi, ctypes or numba's cfunc."""

    make: Callable[[], object]


class _Provider:
    """Answers a worker's questions in a thread of the caller's process, so that `provider` sees all that its author sees."""

    def __init__(self, address: Path, setup: Setup, weights: Callable[[Picture], Weights], fmt: VideoFormat):
        self.address, self.setup, self.weights, self.fmt = address, setup, weights, fmt
        self.error: BaseException | None = None
        self.encoder_seconds: float | None = None
        self.held: dict[int, WeightBuffer] = {}  # by source frame: what the encoder reads
        self.own: list[WeightBuffer] = []        # to be filled with what `weights` returns
        self.free: list[WeightBuffer] = []
        self.listener = Listener(str(address), "AF_UNIX")
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
            self.error = error

    def _answer(self, connection, kind: str, *what) -> None:
        if kind == "raised":
            self.error = _raised(*what)
        elif kind == "returned":
            self.encoder_seconds = what[0]
        elif kind == "end":
            buffer = self.held.pop(what[0])
            if any(buffer is own for own in self.own):
                self.free.append(buffer)
        else:
            picture = Picture(*what, self.fmt)
            try:
                buffer = self._buffer(self.weights(picture), f"weights of picture {picture.poc}")
            except BaseException as error:  # OSError too, which is not the connection's here
                self.error = error
                raise
            self.held[picture.frame] = buffer
            send_handle(connection, buffer.file.fileno(), None)

    def _buffer(self, given: Weights, where: str) -> WeightBuffer:
        if isinstance(given, WeightBuffer):
            return _of_layout(given, self.setup.layout, where)
        if not self.free:
            self.own.append(WeightBuffer(self.fmt, self.setup.layout.transform_sizes))
            self.free.append(self.own[-1])
        self.free[-1].fill(given, where)
        return self.free.pop()

    def close(self) -> None:
        if self.thread.is_alive():  # still in accept(), where the worker did not come to connect
            try:
                Client(str(self.address), "AF_UNIX").close()
            except OSError:
                pass
        self.thread.join(timeout=2)  # longer only if `provider` does not return, which nobody can make it
        self.listener.close()


def _of_layout(buffer: WeightBuffer, layout: Layout, where: str) -> WeightBuffer:
    """The buffer, if it is what the encoder will read: it goes by the layout alone, whatever memory there is."""
    if buffer.layout != layout:
        raise FprdoError(f"{where}: a buffer for {buffer.layout}, {layout} is coded; make it for this format")
    return buffer


def _raised(pickled: bytes | None, text: str, where: str) -> Exception:
    """The exception that a worker raised; an FprdoError with its text where pickle does not give the same one again."""
    try:
        error = pickle.loads(pickled)
        if isinstance(error, Exception) and described(error) == text:  # SystemExit would end this program, not the worker
            return error
    except Exception:
        pass
    return FprdoError(f"{text} (raised in the worker{where}; raise an exception that pickle can copy to get it as it is)")


def _check_kind(what: str, value: object, kinds, wanted: str) -> None:
    if not isinstance(value, kinds):
        raise FprdoError(f"{what} {reprlib.repr(value)}: give {wanted}")


def _checked(frames: Iterable[Frame]) -> Iterator[Frame]:
    """The frames; FprdoError at what is none, or if there are none."""
    wanted = "give a sequence of frames, each a tuple of NumPy arrays, one per plane, such as [(y, cb, cr)]"
    if not isinstance(frames, Iterable):
        raise FprdoError(f"frames: {type(frames).__name__} given; {wanted}")
    count = 0
    for frame in frames:
        if not isinstance(frame, (tuple, list)):
            raise FprdoError(f"frames: {type(frame).__name__} where frame {count} should be; {wanted}")
        for plane in frame:
            if not isinstance(plane, np.ndarray):
                raise FprdoError(f"frame {count}: {type(plane).__name__} where a plane should be; {wanted}")
        count += 1
        yield tuple(frame)
    if not count:
        raise FprdoError("frames: there are none; give one or more")


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
        _check_kind("config", config, (str, os.PathLike), "the path of a configuration file, or a name such as 'intra'")
        self.codec, self.tools, self.config = encoders.get(name), toolchain.find(name), config
        if self.tools.library is None:
            raise FprdoError(f"{name}: built without a library; run python3 build.py {name}")

    def encode(self, frames: str | os.PathLike | Iterable[Frame], qp: int, *, fmt: VideoFormat | None = None,
               weights: Weights | None = None, provider: Callable[[Picture], Weights] | None = None,
               distortion: Callable[[Block], float] | compiled | None = None, decisions: int = 15,
               transform_sizes: Sequence[int] = TRANSFORM_SIZES, idse: IdseOptions = IdseOptions(),
               options: dict[str, str] | None = None, frame_rate: Fraction | int | None = None,
               on_picture: Callable[[PictureLog], None] | None = None) -> Encoded:
        """Code frames.

        Parameters
        ----------
        frames : picture, .yuv or .y4m file, or frames (tuples of planes) of format `fmt`
        qp : quantisation parameter
        fmt : what the frames are; needed where they come from no file, or from a file that does not say it
        weights : the same weights for every picture: a WeightBuffer, a WeightMap, or float32 arrays per plane, mean 1
        provider : called with each Picture when it begins, in a thread of this process; returns its weights, which the
            encoder uses until the picture ends
        distortion : called in the worker with each Block of the decisions that `decisions` names; returns what takes the
            place of sum(w e^2): finite, not negative. It runs in another process and must be importable there.
        decisions : sum of 1 (intra), 2 (inter skip), 4 (inter residual), 8 (inter)
        transform_sizes : of the shapes in the maps; () for weights of pixels only
        idse : what the weights may change
        options : further options of the encoder; None for those that `fprdo encode` gives it with weights
        frame_rate : pictures per second; None: the file's, else 30
        on_picture : called with each picture when it is coded

        Raises
        ------
        FprdoError
            Bad input, or the encoder failed. Whatever `provider` or `distortion` raises is raised here as it is, but what
            pickle cannot copy from the worker, as an FprdoError with its text.
        """
        if weights is not None and provider is not None:
            raise FprdoError("weights and provider: give one of them")
        function = distortion.make if isinstance(distortion, compiled) else distortion
        for what, given, value in (("provider", provider, provider), ("distortion", distortion, function),
                                   ("on_picture", on_picture, on_picture)):
            if given is not None:
                _check_kind(what, value, Callable, "a function")
        _check_kind("fmt", fmt, (VideoFormat, type(None)), "a VideoFormat")
        _check_kind("idse", idse, IdseOptions, "IdseOptions")
        if not 1 <= whole_number("decisions", decisions) <= 15:
            raise FprdoError(f"decisions {decisions}: use 1 to 15, a sum of 1 (intra), 2 (inter skip), 4 (inter residual) "
                             "and 8 (inter)")
        transform_sizes = known_sizes(transform_sizes)
        with tempfile.TemporaryDirectory(prefix="fprdo-") as name:
            folder = Path(name)
            source, fmt, count, rate, title = self._source(frames, fmt, folder)
            config = Path(self.config) if Path(self.config).is_file() else self.codec.config_for(self.config, fmt, self.tools)
            stock = weights is None and provider is None and distortion is None
            if options is None:
                options = {} if stock else self.codec.weighted_options(idse)
            job = EncodeJob(source=source, fmt=fmt, frames=count, qp=qp, bitstream=folder / "out" / "bitstream",
                            recon=folder / "out" / "recon.yuv", config=(config,), idse=idse,
                            frame_rate=rate if frame_rate is None else frame_rate, options=options, title=title)
            job.bitstream.parent.mkdir()
            if stock:
                result, seconds = running.encode(self.codec.ENCODER, job, self.tools.encoder, False, on_picture), None
            else:
                fixed = self._fixed(weights, fmt, transform_sizes) if provider is None else None
                maps = (lambda picture: fixed) if provider is None else provider
                layout = fixed.layout if fixed else Layout.of(coded_format(fmt), transform_sizes)
                path = [os.path.abspath(entry) for entry in sys.path if isinstance(entry, str)]  # "" is the folder we are in
                setup = Setup(path, layout, fmt.bit_depth, 0 if function is None else int(decisions),
                              None if function is None else Reference.of(function), isinstance(distortion, compiled),
                              fixed is not None and fixed.is_flat())
                result, seconds = self._in_process(job, setup, maps, folder, on_picture)
            return Encoded(result.bitstream.read_bytes(), tuple(read_yuv(result.recon, fmt)), result.log, result.wall_seconds,
                           seconds)

    @staticmethod
    def _fixed(weights: Weights | None, fmt: VideoFormat, transform_sizes: Sequence[int]) -> WeightBuffer:
        if isinstance(weights, WeightBuffer):  # it says itself which shapes it has
            return _of_layout(weights, Layout.of(coded_format(fmt), weights.layout.transform_sizes), "weights")
        buffer = WeightBuffer(fmt, transform_sizes)
        if weights is not None:
            buffer.fill(weights)
        return buffer

    @staticmethod
    def _source(frames, fmt: VideoFormat | None, folder: Path) -> tuple[Path, VideoFormat, int, Fraction, str]:
        if isinstance(frames, (str, os.PathLike)):
            sequence = open_source(os.fspath(frames), FormatRequest.of(fmt))
            return sequence.yuv(folder), sequence.fmt, sequence.frames, sequence.frame_rate, sequence.origin
        if fmt is None:
            raise FprdoError("frames: arrays do not say what they mean; give fmt=VideoFormat(width, height, ...)")
        return folder / "source.yuv", fmt, write_yuv(folder / "source.yuv", _checked(frames), fmt), Fraction(30), "frames"

    def _in_process(self, job: EncodeJob, setup: Setup, weights, folder: Path, on_picture) -> tuple[running.EncodeResult, float | None]:
        """`running.encode` with the worker in the place of the program."""
        # A socket's address is short: not where a temporary folder may have a long name.
        socket_folder = tempfile.TemporaryDirectory(prefix="fprdo-", dir="/tmp" if os.path.isdir("/tmp") else None)
        with socket_folder as name:
            address = Path(name) / "socket"
            provider = _Provider(address, setup, weights, coded_format(job.fmt))
            encoder, marker = self.codec.ENCODER, folder / "provided"
            marker.touch()  # where a weight file would be; a library with a provider reads none
            # This very package, wherever this process found it: the worker runs in a folder of its own.
            load = f"import sys; sys.path.insert(0, {_PACKAGES!r}); import fprdo_bridge.session.__main__"
            start = [sys.executable, "-c", load, str(address)]
            command_in = encoder.command_in
            encoder = replace(encoder, command=lambda *job: start + self.codec.command(*job),
                              command_in=command_in and (lambda *job: start + command_in(*job)))
            try:
                result = running.encode(encoder, replace(job, weights=marker), self.tools.library, False, on_picture)
            except FprdoError:
                provider.close()
                if provider.error is None:
                    raise
            finally:
                provider.close()
            if provider.error is not None:  # whatever the encoder made of it
                raise provider.error
            return result, provider.encoder_seconds
