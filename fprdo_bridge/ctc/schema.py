"""Reading a TOML table key by key: every complaint names the file and the key, and no key is left unread."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any, TypeVar, overload

from fprdo_bridge.errors import FprdoError

_REQUIRED: Any = object()
T = TypeVar("T")
D = TypeVar("D")


class Table:
    """A table of a file, and the keys of it that have been read.

    Parameters
    ----------
    values : what the file says
    place : how messages name it, such as "kodak.toml: encoders[1]"
    """

    def __init__(self, values: object, place: str):
        if not isinstance(values, Mapping):
            raise FprdoError(f"{place}: {reprlib.repr(values)} is no table; write keys and values")
        self._values: Mapping[str, Any] = values
        self.place, self._read = place, set[str]()

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def error(self, key: str, message: str) -> FprdoError:
        """An error that names a key of this table."""
        return FprdoError(f"{self.place}{'' if self.place.endswith(': ') else '.'}{key}: {message}")

    @overload
    def take(self, key: str, kind: Callable[[object], T]) -> T: ...
    @overload
    def take(self, key: str, kind: Callable[[object], T], default: D) -> T | D: ...
    def take(self, key: str, kind: Callable[[object], T], default: Any = _REQUIRED) -> Any:
        """The value of a key, as `kind` makes it; `kind` raises ValueError with what is right instead."""
        self._read.add(key)
        if key not in self._values:
            if default is _REQUIRED:
                raise self.error(key, "is missing")
            return default
        try:
            return kind(self._values[key])
        except ValueError as error:
            raise self.error(key, f"{reprlib.repr(self._values[key])}: {error}") from None

    def tables(self, key: str, required: bool = False) -> list[Table]:
        """The tables of an array of tables."""
        self._read.add(key)
        found = self._values.get(key, [])
        if not isinstance(found, list) or required and not found:
            raise self.error(
                key,
                f"write at least one [[{key}]]"
                if isinstance(found, list)
                else f"{reprlib.repr(found)}: write [[{key}]]",
            )
        joint = "" if self.place.endswith(": ") else "."
        return [Table(one, f"{self.place}{joint}{key}[{index}]") for index, one in enumerate(found)]

    def table(self, key: str) -> Table:
        """A table inside; an empty one if it is missing."""
        self._read.add(key)
        return Table(self._values.get(key, {}), f"{self.place}{'' if self.place.endswith(': ') else '.'}{key}")

    def keys(self) -> list[str]:
        """All keys, read or not."""
        return list(self._values)

    def rest(self) -> dict[str, object]:
        """What has not been read, now read."""
        left = {key: value for key, value in self._values.items() if key not in self._read}
        self._read |= set(left)
        return left

    def done(self) -> None:
        """Refuse keys that nobody has read."""
        for key in self._values:
            if key not in self._read:
                near = difflib.get_close_matches(key, self._read, n=3, cutoff=0.4) or sorted(self._read)
                raise self.error(key, f"no such key; use {', '.join(near)}")


# ---- kinds of values -------------------------------------------------------------------------------------------------


def text(value: object) -> str:
    """A string that is not empty."""
    if not isinstance(value, str) or not value:
        raise ValueError('give a text, like "kodak"')
    return value


def flag(value: object) -> bool:
    """true or false."""
    if not isinstance(value, bool):
        raise ValueError("use true or false")
    return value


def whole(low: int, high: int) -> Callable[[object], int]:
    """A whole number of a range."""

    def kind(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"use a whole number from {low} to {high}")
        return value

    return kind


def number(low: float, high: float) -> Callable[[object], float]:
    """A number of a range."""

    def kind(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
            raise ValueError(f"use a number from {low:g} to {high:g}")
        return value

    return kind


def one_of(*allowed: str) -> Callable[[object], str]:
    """One of some words."""

    def kind(value: object) -> str:
        if value not in allowed or not isinstance(value, str):
            raise ValueError(f"use one of {', '.join(allowed)}")
        return value

    return kind


def several(kind: Callable[[object], T], fewest: int = 1) -> Callable[[object], tuple[T, ...]]:
    """A list."""

    def whole_list(value: object) -> tuple[T, ...]:
        if not isinstance(value, list) or len(value) < fewest:
            raise ValueError(f"give a list of {fewest} or more")
        return tuple(kind(one) for one in value)

    return whole_list


def one_or_several(kind: Callable[[object], T]) -> Callable[[object], tuple[T, ...]]:
    """A value or a list of values."""
    return lambda value: several(kind)(value) if isinstance(value, list) else (kind(value),)


def size(value: object) -> tuple[int, int]:
    """Luma samples, written like "416x240"."""
    width, _, height = str(value).partition("x")
    if not isinstance(value, str) or not (width.isdecimal() and height.isdecimal()):
        raise ValueError('write a size like "416x240"')
    return int(width), int(height)


def rate(value: object) -> Fraction:
    """Pictures per second, a number or a text like "30000/1001"."""
    try:
        found = Fraction(str(value))
    except (ValueError, ZeroDivisionError):
        found = Fraction(0)
    if isinstance(value, bool) or not 0 < found <= 100_000:
        raise ValueError('give a frame rate like 50 or "30000/1001"')
    return found


def digest(value: object) -> str:
    """An MD5 of 32 hexadecimal digits."""
    if not isinstance(value, str) or len(value) != 32 or set(value.lower()) - set("0123456789abcdef"):
        raise ValueError("give an MD5 of 32 hexadecimal digits")
    return value.lower()


def options(value: object) -> dict[str, str]:
    """Options of an encoder: names, and values as texts or numbers."""
    if not isinstance(value, Mapping):
        raise ValueError("give a table, like { SAO = 0 }")
    for name, one in value.items():
        if isinstance(one, bool) or not isinstance(one, (str, int, float)):
            raise ValueError(f"option {name}: give a text or a number, such as 0 for off, 1 for on")
    return {name: str(one) for name, one in value.items()}


def points(value: object) -> tuple[float, ...]:
    """Rate points: a list of different numbers, or { first = 22, step = 5, count = 6 }."""
    if isinstance(value, Mapping):
        if set(value) != {"first", "step", "count"} or not all(isinstance(one, int) for one in value.values()):
            raise ValueError("give a list, or { first = 22, step = 5, count = 6 }")
        if not (1 <= value["count"] <= 100 and value["step"]):
            raise ValueError("count must be 1 to 100, and step not 0")
        return tuple(value["first"] + index * value["step"] for index in range(value["count"]))
    found = several(number(-100, 10_000_000))(value)
    if len(set(found)) < len(found):
        raise ValueError("a rate point stands twice")
    return found


def names(values: Sequence[str], table: Table, key: str) -> None:
    """Refuse a name that stands twice."""
    for value in values:
        if values.count(value) > 1:
            raise table.error(key, f"{value!r} stands twice; give each a name of its own")
