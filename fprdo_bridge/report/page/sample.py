"""Which pictures are shown, and at which rate points: pure choices."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fprdo_bridge.ctc.results import Run
from fprdo_bridge.ctc.summary import COST, Column
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.report.page.answer import headline_anchor, headline_measure, headline_variant
from fprdo_bridge.report.page.material import Material, Place

FEW = 3  # pictures that are shown where nobody says how many


@dataclass(frozen=True)
class Choice:
    """A picture of the sample, and why it is in it."""

    place: Place
    reason: str


def choose(material: Material, wanted: Sequence[str] = (), count: int = FEW) -> list[Choice]:
    """The sample: the named items, else those between the worst and the best of the headline's measure.

    Parameters
    ----------
    wanted : names of items, or SET/ITEM
    count : how many, if none is named

    Raises
    ------
    FprdoError
        There is no such item.
    """
    places = list(material.keys)
    if wanted:
        return [Choice(place, "named") for name in dict.fromkeys(wanted) for place in _named(places, name)]
    ranked = ranking(material)
    if not ranked:
        return [Choice(place, "first of the run") for place in places[:count]]
    return [
        Choice(place, f"{_word(index, len(ranked))}{percent:+.1f} % bits at equal {title}")
        for index in spread(len(ranked), count)
        for place, percent, title in (ranked[index],)
    ]


def _named(places: Sequence[Place], name: str) -> list[Place]:
    found = [place for place in places if name in (place[1], "/".join(place))]
    if not found:
        some = ", ".join(item for _, item in places[:8]) + (" and so on" if len(places) > 8 else "")
        raise FprdoError(f"--pictures {name}: the run has no such picture or clip; it has {some or 'none'}")
    return found


def _word(index: int, count: int) -> str:
    if count < 3:
        return ""
    return {0: "best: ", count - 1: "worst: ", (count - 1) // 2: "median: "}.get(index, "")


def spread(size: int, count: int) -> list[int]:
    """Indices of a ranking: the ends, and between them at equal steps."""
    count = min(size, count)
    if count == 1:
        return [(size - 1) // 2]
    return [number * (size - 1) // (count - 1) for number in range(count)]


def ranking(material: Material) -> list[tuple[Place, float, str]]:
    """Items from the best to the worst by the headline's variant of the first encoder that has them: BD-rate of its
    measure, or of the first one that is taken per item."""
    for encoder in dict.fromkeys(name for name, _ in material.results.runs()):
        variant, anchor = headline_variant(material, encoder), headline_anchor(material, encoder)
        own = [
            one
            for one in material.summary.columns
            if (one.encoder, one.variant, one.anchor) == (encoder, variant, anchor)
        ]
        column = _ranked_by(own)
        if column is not None:
            known = [(place, cell.value) for place, cell in column.items.items() if cell.value is not None]
            return [(place, value, column.title) for place, value in sorted(known, key=lambda one: (one[1], one[0]))]
    return []


def _ranked_by(columns: Sequence[Column]) -> Column | None:
    with_items = [one for one in columns if any(cell.value is not None for cell in one.items.values())]
    if not with_items:
        return None
    first = headline_measure(columns)
    order = sorted(with_items, key=lambda one: ((one.task, one.measure) != first, one.task == COST[0]))
    return order[0]


@dataclass(frozen=True)
class Nearest:
    """A point of a run.

    Attributes
    ----------
    index : into the run's points
    bits : that it has
    percent : more bits than were asked for
    """

    index: int
    bits: float
    percent: float


def nearest(bits: Sequence[float], asked: float) -> Nearest | None:
    """The point whose bits are nearest to those asked for, by their ratio; None if there is none."""
    known = [(abs(math.log(value / asked)), index) for index, value in enumerate(bits) if value > 0]
    if not known:
        return None
    _, index = min(known)
    return Nearest(index, bits[index], 100 * (bits[index] / asked - 1))


def asked_bits(bits: Mapping[Run, Sequence[float]], anchor: str, variant: str | None = None) -> float | None:
    """Bits at which all variants of a picture are shown.

    They are those of a point of the first run of the anchor, or of any other run if the anchor has none: of its inner
    points the one to which the variant of the same encoder comes nearest, without such a variant the middle one.
    """
    for run in sorted(bits, key=lambda run: run[1] != anchor):
        known = sorted(value for value in bits[run] if value > 0)
        if not known:
            continue
        others = [value for value in bits.get((run[0], variant or ""), ()) if value > 0]
        inner = known[1:-1] or known
        if not others:
            return inner[len(inner) // 2]
        return min(inner, key=lambda value: min(abs(math.log(other / value)) for other in others))
    return None
