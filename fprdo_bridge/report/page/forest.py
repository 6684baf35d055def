"""Where the answer's figure has its marks: numbers for the template that draws it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from fprdo_bridge.report.page.answer import Figure

_LINE = 17  # between two marks of a row
_GAP = 13  # between two rows
_TOP = 22


@dataclass(frozen=True)
class Layout:
    """Sizes: of the figure, of its margins, and of the line above a row that holds its name; 0 for a name beside it."""

    width: float
    left: float
    right: float
    above: float


WIDE = Layout(800, 256, 96, 0)
NARROW = Layout(366, 12, 70, 17)  # of a phone


@dataclass(frozen=True)
class Mark:
    """A number with its interval; positions in the figure's units."""

    encoder: int
    y: float
    x: float | None
    low: float | None
    high: float | None
    text: str
    title: str
    tone: str


@dataclass(frozen=True)
class Label:
    """A row's name, with the band behind it."""

    text: str
    cost: bool
    x: float
    y: float
    anchor: str
    top: float
    height: float


@dataclass(frozen=True)
class Drawing:
    """The figure.

    Attributes
    ----------
    ticks : (x, per cent)
    missing : rows that no encoder has a number of, with a reason; they are not drawn
    narrow : the same for a phone
    """

    width: float
    height: float
    left: float
    right: float
    zero: float
    ticks: list[tuple[float, str]]
    labels: list[Label]
    marks: list[Mark]
    missing: list[tuple[str, str]]
    narrow: Drawing | None = None


def draw(figure: Figure, encoders: list[str], span: tuple[float, float]) -> Drawing:
    """The figure for wide windows, with the same for narrow ones; parameters as of `place`."""
    return replace(place(figure, encoders, span, WIDE), narrow=place(figure, encoders, span, NARROW))


def place(figure: Figure, encoders: list[str], span: tuple[float, float], layout: Layout) -> Drawing:
    """Place everything.

    Parameters
    ----------
    encoders : all of the page, in the order of their colours
    span : per cent at the left and the right end
    """
    low, high = span

    def x(percent: float) -> float:
        share = (min(max(percent, low), high) - low) / (high - low)
        return round(layout.left + share * (layout.width - layout.left - layout.right), 1)

    labels, marks, y = [], [], float(_TOP)
    drawn = [row for row in figure.rows if any(dot.amount.percent is not None for dot in row.dots)]
    for row in drawn:
        height = layout.above + _LINE * len(row.dots) + _GAP
        if layout.above:
            labels.append(Label(shorten(row.title, 48), row.cost, 8, y + 15, "start", y, height))
        else:
            labels.append(Label(shorten(row.title), row.cost, layout.left - 12, y + height / 2 + 4, "end", y, height))
        for number, dot in enumerate(row.dots):
            amount = dot.amount
            at = y + layout.above + _GAP / 2 + _LINE * (number + 0.5)
            text = "n/a" if amount.percent is None else f"{amount.percent:+.1f} %"
            title = f"{row.title}, {dot.encoder}: {text}" + (
                f" ({amount.interval})" if amount.interval else f": {amount.reason}" if amount.reason else ""
            )
            marks.append(
                Mark(
                    encoders.index(dot.encoder),
                    at,
                    None if amount.percent is None else x(amount.percent),
                    None if amount.low is None else x(amount.low),
                    None if amount.high is None else x(amount.high),
                    text,
                    title,
                    amount.tone,
                )
            )
        y += height
    missing = [
        (row.title, next((dot.amount.reason for dot in row.dots if dot.amount.reason), "nothing to compare"))
        for row in figure.rows
        if row not in drawn
    ]
    ticks = [(x(one), f"{one:+g}" if one else "0") for one in ticks_of(low, high)]
    return Drawing(layout.width, y + 26, layout.left, layout.width - layout.right, x(0), ticks, labels, marks, missing)


def shorten(text: str, longest: int = 40) -> str:
    """A label that fits beside the figure."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def span_of(figures: list[Figure]) -> tuple[float, float]:
    """Ends of an axis that holds 0 and nearly all numbers: intervals far out are cut off there."""
    values = [dot.amount.percent for one in figures for row in one.rows for dot in row.dots]
    known = sorted(value for value in values if value is not None)
    ends = [
        end
        for one in figures
        for row in one.rows
        for dot in row.dots
        for end in (dot.amount.low, dot.amount.high)
        if end is not None
    ]
    low, high = min([0.0, *known]), max([0.0, *known])
    room = max(high - low, 5.0)
    low = min([low, *(end for end in ends if end >= low - room / 2)])
    high = max([high, *(end for end in ends if end <= high + room / 2)])
    step = step_of(low, high)
    return math.floor(low / step - 0.1) * step, math.ceil(high / step + 0.1) * step


def step_of(low: float, high: float) -> float:
    """A round distance of about six ticks."""
    rough = max(high - low, 1.0) / 6
    base = 10.0 ** math.floor(math.log10(rough))
    return next(base * factor for factor in (1, 2, 2.5, 5, 10) if base * factor >= rough)


def ticks_of(low: float, high: float) -> list[float]:
    """Round values of an axis."""
    step = step_of(low, high)
    return [number * step for number in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]
