"""What callers hand over, checked before an encoder starts: a refusal is one line that begins with the argument."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from fractions import Fraction
from itertools import islice
from numbers import Rational
from pathlib import Path
from typing import TypeVar

import numpy as np

from fprdo_bridge.errors import FprdoError
from fprdo_bridge.values import shown, whole_number
from fprdo_bridge.video.formats import Frame, VideoFormat, check_frame

_T = TypeVar("_T")
_FRAMES = "give a sequence of frames, each a tuple of NumPy arrays, one per plane, such as [(y, cb, cr)]"


class OwnErrors:
    """What functions and iterators of the caller raise, to be raised as it is: an OSError of theirs would be taken for
    one of the file that is being written.

    Attributes
    ----------
    first : None as long as they have raised nothing
    """

    def __init__(self) -> None:
        self.first: BaseException | None = None

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Note what the block raises; it is raised on."""
        try:
            yield
        except BaseException as error:
            self.first = error if self.first is None else self.first
            raise

    @contextmanager
    def alone(self) -> Iterator[None]:
        """A block that raises what was noted first, whatever has become of it."""
        try:
            yield
        except BaseException as error:
            if self.first is None or self.first is error:
                raise
            raise self.first from None

    def of_function(self, function: Callable[[_T], object]) -> Callable[[_T], None]:
        """The function, watched."""

        def watched(value: _T) -> None:
            with self.noted():
                function(value)

        return watched

    def of_iterator(self, items: Iterable[_T]) -> Iterator[_T]:
        """The items, watched."""
        with self.noted():
            iterator = iter(items)
        while True:
            with self.noted():
                try:
                    item = next(iterator)
                except StopIteration:
                    return
            yield item


def check_kind(what: str, value: object, kinds: type | tuple[type, ...], wanted: str) -> None:
    """FprdoError unless the value is of one of the kinds."""
    if not isinstance(value, kinds):
        raise FprdoError(f"{what} {shown(value)}: give {wanted}")


def check_function(what: str, value: object, missing: bool) -> None:
    """FprdoError unless the value can be called, or was not given."""
    if not missing and not callable(value):
        raise FprdoError(f"{what} {shown(value)}: give a function")


def text_of(what: str, value: object, wanted: str) -> str:
    """A text as a plain str; FprdoError for anything else."""
    if not isinstance(value, str):
        raise FprdoError(f"{what} {shown(value)}: give {wanted}")
    return str.__str__(value)  # without what a subclass adds


def path_of(what: str, value: object) -> Path:
    """A path; FprdoError for what is none, or for a name that no file can have."""
    try:
        path = str.__str__(os.fsdecode(os.fspath(value)))  # type: ignore[call-overload]
    except Exception:
        raise FprdoError(f"{what} {shown(value)}: give a path") from None
    try:
        os.lstat(path)
    except (OSError, ValueError) as error:  # ValueError: a zero byte, or what has no bytes
        if not path or isinstance(error, ValueError) or error.errno == errno.ENAMETOOLONG:
            raise FprdoError(f"{what} {shown(path)}: no file can have such a name; give another path") from None
    return Path(path)


def rate_of(what: str, value: object) -> Fraction:
    """Pictures per second, of any type of number; FprdoError for what is none. The largest is for the job to refuse."""
    rate = Fraction(0)
    if not isinstance(value, bool) and isinstance(value, (Rational, float)):
        with suppress(Exception):  # NaN, infinite, or of a class of its own
            rate = (
                Fraction(value) if isinstance(value, float) else Fraction(int(value.numerator), int(value.denominator))
            )
    if rate <= 0:
        raise FprdoError(f"{what} {shown(value)}: must be a number above 0")
    return rate


def options_of(options: object) -> dict[str, str]:
    """Options of an encoder. Names and values are for the job, which takes numbers for texts too."""
    if not isinstance(options, Mapping):
        raise FprdoError(f"encoder options {shown(options)}: give a mapping, like {{'SAO': '0'}}")
    return dict(options)


def number_from(what: str, value: object, lowest: int) -> int:
    """A whole number of any type, not below `lowest`."""
    number = whole_number(what, value)
    if number < lowest:
        raise FprdoError(f"{what} {number}: use {lowest} or more")
    return number


def checked_frames(
    frames: object, fmt: VideoFormat, own: OwnErrors, skip: int = 0, count: int | None = None
) -> Iterator[Frame]:
    """The frames, one at a time, as plain arrays of the machine's byte order.

    Raises
    ------
    FprdoError
        `frames` is nothing to iterate over, has none or less than were asked for, or one of them is no frame of the
        format.
    """
    if not isinstance(frames, Iterable) or isinstance(frames, (str, bytes, np.ndarray)):
        raise FprdoError(f"frames: {type(frames).__name__} given; {_FRAMES}")
    number = skip
    for number, frame in enumerate(
        islice(own.of_iterator(frames), skip, None if count is None else skip + count), skip + 1
    ):
        if not isinstance(frame, (tuple, list)):
            raise FprdoError(f"frames: {type(frame).__name__} where frame {number - 1} should be; {_FRAMES}")
        plain = tuple(_plane(plane, fmt, number - 1) for plane in frame)
        try:
            check_frame(plain, fmt)
        except FprdoError as error:
            raise FprdoError(f"frame {number - 1}: {error}") from None
        yield plain
    if count is not None and number < skip + count:
        raise FprdoError(
            f"frames: {count} asked for{f' after the first {skip}' if skip else ''}, there are fewer; "
            "give more frames, or a smaller count"
        )
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
    """Arrays of weights, one per plane, as plain ones of float32; FprdoError for anything else."""
    planes = (weights,) if isinstance(weights, np.ndarray) else weights
    if not isinstance(planes, (tuple, list)) or not planes:
        raise FprdoError(
            f"{where}: {type(weights).__name__} given; give a WeightMap, a WeightBuffer, or one float32 array per plane"
        )
    for plane in planes:
        if not isinstance(plane, np.ndarray) or isinstance(plane, np.ma.MaskedArray) or plane.dtype.kind != "f":
            kind = plane.dtype if type(plane) is np.ndarray else type(plane).__name__
            raise FprdoError(f"{where}: {kind} given; use arrays of float32, mean 1")
    with np.errstate(over="ignore"):  # becomes infinite, which is refused as such
        return tuple(np.ndarray.view(plane, np.ndarray).astype(np.float32, copy=False) for plane in planes)
