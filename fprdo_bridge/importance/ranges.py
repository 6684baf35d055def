"""Numbers from outside, and what they may be."""

from __future__ import annotations

import math
from numbers import Integral, Real

from fprdo_bridge.errors import FprdoError
from fprdo_bridge.values import shown, whole_number

_LARGEST_JITTER = 255  # code values at 8 bits


def check_sketch_numbers(probes: object, seed: object, jitter: object, signs_per_noise: object) -> None:
    """Raise FprdoError unless the counts are 1 or more, the seed is 0 to 2^63 - 1, the jitter 0 to 255."""
    check_count("probes", probes)
    check_count("signs per noise", signs_per_noise)
    if isinstance(seed, bool) or not isinstance(seed, Integral) or not 0 <= int(seed) < 1 << 63:
        raise FprdoError(f"seed {shown(seed)}: use 0 to 2^63 - 1")
    check_deviation("jitter", jitter)
    if jitter > _LARGEST_JITTER:  # type: ignore[operator]
        raise FprdoError(f"jitter {shown(jitter)}: use a standard deviation of 0 to {_LARGEST_JITTER}")


def check_count(what: str, value: object) -> None:
    """Raise FprdoError unless the value is a whole number of 1 or more."""
    if whole_number(what, value) < 1:
        raise FprdoError(f"{what} {value}: use at least 1")


def check_deviation(what: str, value: object) -> None:
    """Raise FprdoError unless the value is a finite number of 0 or more."""
    if not is_amount(value):
        raise FprdoError(f"{what} {shown(value)}: use a standard deviation of 0 or more")


def is_amount(value: object) -> bool:
    """Whether the value is a number from 0 up to what a float can hold."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return False
    try:
        return 0 <= float(value) < math.inf
    except OverflowError:
        return False
