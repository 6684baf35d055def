"""Values from outside: what they are in a message, and whether they are the numbers that are asked for."""

import reprlib
from numbers import Integral

from fprdo_bridge.errors import FprdoError

_LARGEST = 2 ** 31  # of every number that is asked for


def shown(value: object) -> str:
    """A value in a message: short, whatever its class does when it is asked for a text."""
    try:
        return reprlib.repr(value)
    except Exception:
        return f"of type {type(value).__name__}"


def whole_number(what: str, value: object) -> int:
    """A whole number of any type, NumPy's too, whose magnitude is below 2^31.

    Raises
    ------
    FprdoError
        Anything else, 32.0 and True among it.
    """
    if not isinstance(value, bool) and isinstance(value, Integral):
        try:
            number = int(value)
        except Exception:  # of a class of its own
            number = _LARGEST
        if abs(number) < _LARGEST:
            return number
        raise FprdoError(f"{what} {shown(value)}: give a number below {_LARGEST}")
    raise FprdoError(f"{what} {shown(value)}: give a whole number")


def described(error: BaseException) -> str:
    """An exception in one line, even if it cannot say it itself."""
    try:
        said = " ".join(str(error).split())
    except Exception:
        said = "its text cannot be had"
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
