"""Values from outside: what they are in a message, and whether they are the numbers that are asked for."""

import reprlib
from collections.abc import Sequence
from numbers import Integral

import numpy as np

from fprdo_bridge.errors import FprdoError

_LARGEST = 2**31 - 1  # unless a range is given


def shown(value: object) -> str:
    """A value in a message: short, whatever its class does when it is asked for a text."""
    try:
        return reprlib.repr(value)
    except Exception:
        return f"of type {type(value).__name__}"


def whole_number(what: str, value: object, lowest: int = -_LARGEST, largest: int = _LARGEST) -> int:
    """A whole number of any type, NumPy's too, as one of Python's.

    Raises
    ------
    FprdoError
        It is out of the range, or something else, such as 32.0 or True.
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise FprdoError(f"{what} {shown(value)}: give a whole number")
    try:
        number = int(value)
    except Exception:  # of a class of its own
        raise FprdoError(f"{what} {shown(value)}: give a whole number") from None
    if not lowest <= number <= largest:
        raise FprdoError(f"{what} {shown(value)}: use {lowest} to {largest}")
    return number


def flag(what: str, value: object) -> bool:
    """Yes or no, as a bool of Python's or NumPy's, or as 1 or 0; FprdoError for anything else."""
    if isinstance(value, (bool, np.bool)):
        return bool(value)
    try:
        return bool(whole_number(what, value, 0, 1))
    except FprdoError:
        raise FprdoError(f"{what} {shown(value)}: use True or False") from None


def one_of(what: str, value: object, allowed: Sequence[str]) -> str:
    """One of some words; FprdoError for anything else."""
    if isinstance(value, str) and str.__str__(value) in allowed:
        return str.__str__(value)  # without what a subclass adds
    raise FprdoError(f"{what} {shown(value)}: use one of {', '.join(allowed)}")


def described(error: BaseException) -> str:
    """An exception in one line, even if it cannot say it itself."""
    try:
        said = " ".join(str(error).split())
    except Exception:
        said = "its text cannot be had"
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
