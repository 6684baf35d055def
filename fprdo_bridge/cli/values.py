"""Types of argument values: what a word of the command line is read as, and how a wrong one is refused."""

from __future__ import annotations

import re
import sys
from argparse import ArgumentTypeError
from fractions import Fraction
from pathlib import Path

_LONG = 40  # characters of a value that a message shows


def shown(text: str) -> str:
    """A value in quotes, cut if it is long."""
    return repr(text) if len(text) <= _LONG else f"{text[:_LONG]!r}... ({len(text)} characters)"


def whole(text: str) -> int:
    """A whole number of at most 63 bits. What takes the value knows its range."""
    if not re.fullmatch(r"[+-]?[0-9]+", text):
        raise ArgumentTypeError(f"{shown(text)} is no whole number")
    if len(text) > _LONG or abs(int(text)) >= 1 << 63:
        raise ArgumentTypeError(f"{shown(text)} is too large; use a whole number below 2^63")
    return int(text)


def file_path(text: str) -> Path:
    """The name of a file; an empty one is what a shell makes of a variable that is not set."""
    path = Path(text)
    if not path.name:
        raise ArgumentTypeError(f"{shown(text)} is no name of a file")
    return path


def file_name(text: str) -> str:
    """The same, as it was written."""
    file_path(text)
    return text


def count_or_all(text: str) -> int:
    """A number from 0 on, or "all", which is the largest there is."""
    if text == "all":
        return sys.maxsize
    value = whole(text)
    if value < 0:
        raise ArgumentTypeError(f"{shown(text)}: use 0 or more, or all")
    return value


def rate_value(text: str) -> int | float:
    """What -q takes: a whole number where it is one, as 27, or with a fraction, as 27.5."""
    value = number(text)
    if abs(value) >= 1 << 31:
        raise ArgumentTypeError(f"{shown(text)} is too large")
    return int(value) if value.is_integer() else value


def number(text: str) -> float:
    """A finite number."""
    try:
        value = float(text)
    except ValueError:
        raise ArgumentTypeError(f"{shown(text)} is no number") from None
    if not abs(value) < float("inf"):  # a comparison that a NaN fails
        raise ArgumentTypeError(f"{shown(text)}: use a finite number")
    return value


def size(text: str) -> tuple[int, int]:
    """(width, height) of 416x240."""
    match = re.fullmatch(r"([0-9]{1,9})x([0-9]{1,9})", text)
    if not match:
        raise ArgumentTypeError(f"{shown(text)} is no size; write it like 416x240")
    return int(match[1]), int(match[2])


def assignment(text: str) -> tuple[str, str]:
    """(name, value) of NAME=VALUE; the value may be empty."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ArgumentTypeError(f"{shown(text)} is no option; write it like SAO=0")
    return name, value


def frame_rate(text: str) -> Fraction:
    """Pictures per second, as 30, 29.97 or 30000/1001."""
    if len(text) <= _LONG:  # the exponent of 1e999999999 would be written out
        try:
            rate = Fraction(text) if "e" not in text.lower() else Fraction(0)
            if 0 < rate < 1_000_000:
                return rate
        except (ValueError, ZeroDivisionError):
            pass
    raise ArgumentTypeError(f"{shown(text)} is no frame rate; write it like 30 or 30000/1001")
