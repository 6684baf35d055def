"""What callers hand over, checked before an encoder starts: each refusal is one line that begins with the argument's name."""

from __future__ import annotations

import os
import reprlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from fprdo_bridge.encoders.job import whole_number
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.video.formats import Frame, VideoFormat, check_frame

_FRAMES = "give a sequence of frames, each a tuple of NumPy arrays, one per plane, such as [(y, cb, cr)]"


def shown(value: object) -> str:
    """A value in a message: short, on one line, whatever its class does when it is asked for a text."""
    try:
        return " ".join(reprlib.repr(value).split())
    except Exception:
        return f"of type {type(value).__name__}"


def check_kind(what: str, value: object, kinds: type | tuple[type, ...], wanted: str) -> None:
    """FprdoError unless the value is of one of the kinds."""
    if not isinstance(value, kinds):
        raise FprdoError(f"{what} {shown(value)}: give {wanted}")


def check_function(what: str, value: object) -> None:
    """FprdoError unless the value can be called."""
    if not callable(value):
        raise FprdoError(f"{what} {shown(value)}: give a function")


def path_of(what: str, value: object) -> Path:
    """A path; FprdoError for what is none, or for a name that no file can have."""
    try:
        path = os.fsdecode(os.fspath(value))  # type: ignore[arg-type]
    except Exception:
        raise FprdoError(f"{what} {shown(value)}: give a path") from None
    if not path or "\0" in path:
        raise FprdoError(f"{what} {shown(path)}: no file has such a name; give a path")
    return Path(path)


def number_from(what: str, value: object, lowest: int) -> int:
    """A whole number of any type, not below `lowest`."""
    number = whole_number(what, value)
    if number < lowest:
        raise FprdoError(f"{what} {number}: use {lowest} or more")
    return number


def checked_frames(frames: object, fmt: VideoFormat, skip: int = 0, count: int | None = None) -> Iterator[Frame]:
    """The frames, one at a time, as plain arrays of the machine's byte order.

    Raises
    ------
    FprdoError
        `frames` is nothing to iterate over, has none or less than were asked for, or one of them is no frame of the format.
    """
    if not isinstance(frames, Iterable) or isinstance(frames, (str, bytes, np.ndarray)):
        raise FprdoError(f"frames: {type(frames).__name__} given; {_FRAMES}")
    number = skip
    for number, frame in enumerate(islice(frames, skip, None if count is None else skip + count), skip + 1):
        if not isinstance(frame, (tuple, list)):
            raise FprdoError(f"frames: {type(frame).__name__} where frame {number - 1} should be; {_FRAMES}")
        plain = tuple(_plane(plane, fmt, number - 1) for plane in frame)
        try:
            check_frame(plain, fmt)
        except FprdoError as error:
            raise FprdoError(f"frame {number - 1}: {error}") from None
        yield plain
    if count is not None and number < skip + count:
        raise FprdoError(f"frames: {count} asked for{f' after the first {skip}' if skip else ''}, there are fewer; "
                         "give more frames, or a smaller count")
    if number == skip:
        raise FprdoError(f"frames: there are none{f' after the first {skip}' if skip else ''}; give one or more")


def _plane(plane: object, fmt: VideoFormat, number: int) -> np.ndarray:
    if not isinstance(plane, np.ndarray):
        raise FprdoError(f"frame {number}: {type(plane).__name__} where a plane should be; {_FRAMES}")
    if isinstance(plane, np.ma.MaskedArray):
        raise FprdoError(f"frame {number}: a masked array where a plane should be; fill it (numpy.ma.filled)")
    plain = np.ndarray.view(plane, np.ndarray)  # without what a subclass adds
    return plain.astype(fmt.dtype) if plain.dtype == fmt.dtype.newbyteorder() else plain


def plain_weights(weights: object, where: str) -> tuple[np.ndarray, ...]:
    """Arrays of weights as plain ones, one per plane; FprdoError for anything else."""
    planes = (weights,) if isinstance(weights, np.ndarray) else weights
    if not isinstance(planes, Sequence) or isinstance(planes, (str, bytes)) or not planes:
        raise FprdoError(f"{where}: {type(weights).__name__} given; give a WeightMap, a WeightBuffer, or one float32 array per plane")
    for plane in planes:
        if not isinstance(plane, np.ndarray) or isinstance(plane, np.ma.MaskedArray) or plane.dtype.kind != "f":
            kind = plane.dtype if type(plane) is np.ndarray else type(plane).__name__
            raise FprdoError(f"{where}: {kind} given; use arrays of float32, mean 1")
    return tuple(np.ndarray.view(plane, np.ndarray) for plane in planes)
