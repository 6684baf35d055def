"""What the Python API hands over: the picture that begins, and the finished encode."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np

from fprdo_bridge.encoders.log import EncodeLog
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.video.formats import Frame, VideoFormat


class Reconstruction(Sequence[Frame]):
    """The frames that every decoder makes of the bitstream, in output order; read from a file when they are asked for.

    Iterating holds one frame in memory at a time. The file lies in the temporary folder and has no name any more, so
    the system frees its room when the object goes, when `close` is called, or when the process ends in whatever way.
    Several threads may read at once.

    Attributes
    ----------
    fmt : format of the frames; a frame is a tuple of arrays of dtype `fmt.dtype` and of shapes `fmt.plane_shapes`

    Raises
    ------
    FprdoError
        The file cannot be opened or read, or is closed.
    IndexError
        There is no frame of that number.
    """

    def __init__(self, path: Path, fmt: VideoFormat):
        self.fmt = fmt
        try:
            self._file = os.open(path, os.O_RDONLY)
        except OSError as error:
            raise FprdoError(
                f"reconstruction: cannot be opened ({error.strerror}); close those that you hold and need no more"
            ) from error
        self._frames = os.fstat(self._file).st_size // fmt.frame_bytes
        self._closing = weakref.finalize(self, os.close, self._file)

    def close(self) -> None:
        """Give the file's room back now; frames that were read stay."""
        self._closing()

    def __len__(self) -> int:
        return self._frames

    @overload
    def __getitem__(self, index: int) -> Frame: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Frame, ...]: ...

    def __getitem__(self, index: int | slice) -> Frame | tuple[Frame, ...]:
        places = range(self._frames)[index]
        return tuple(map(self._read, places)) if isinstance(places, range) else self._read(places)

    def __iter__(self) -> Iterator[Frame]:
        return map(self._read, range(self._frames))

    def __reduce__(self) -> tuple[object, ...]:
        raise FprdoError("reconstruction: is an open file, which does not go to another process; hand on its frames")

    def __repr__(self) -> str:
        return f"<reconstruction: {self._frames} frames of {self.fmt}>"

    def _read(self, index: int) -> Frame:
        if not self._closing.alive:
            raise FprdoError("reconstruction: is closed; read it before")
        data = bytearray()
        try:
            while len(data) < self.fmt.frame_bytes:
                part = os.pread(self._file, self.fmt.frame_bytes - len(data), index * self.fmt.frame_bytes + len(data))
                if not part:
                    raise FprdoError(f"reconstruction: ends inside frame {index}; another program has cut its file")
                data += part
        except OSError as error:
            raise FprdoError(f"reconstruction: cannot be read ({error.strerror})") from error
        planes, offset = [], 0
        for rows, columns in self.fmt.plane_shapes:
            stored = np.frombuffer(data, self.fmt.dtype.newbyteorder("<"), rows * columns, offset)
            planes.append(stored.reshape(rows, columns).astype(self.fmt.dtype))
            offset += stored.nbytes
        return tuple(planes)


@dataclass(frozen=True)
class Encoded:
    """A finished encode.

    Attributes
    ----------
    bitstream : the whole of it, as a byte stream (annex B of H.265 or H.264)
    reconstruction : what decoders make of it, frame by frame
    log : per picture bits, PSNR in dB and QP, in coding order; counters of the bridge in `log.idse`
    wall_seconds : from the encoder's start to its end
    encoder_seconds : user and system time of the encoder in seconds, Python's start in a worker not counted
    """

    bitstream: bytes
    reconstruction: Reconstruction
    log: EncodeLog
    wall_seconds: float
    encoder_seconds: float
