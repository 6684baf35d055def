"""The answer first: what was saved, what the picture pays, as sentences and as one figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from fprdo_bridge.ctc.summary import COST, Cell, Column, MatchedRow
from fprdo_bridge.report.page.material import Material
from fprdo_bridge.settings import IdseOptions

Name = tuple[str, str]  # task and measure


@dataclass(frozen=True)
class Amount:
    """A BD-rate in words.

    Attributes
    ----------
    percent : negative is fewer bits; None where there is none, then `reason` says why
    """

    percent: float | None
    low: float | None = None
    high: float | None = None
    reason: str = ""

    @classmethod
    def of(cls, cell: Cell | None) -> Amount:
        """Of a cell of a table."""
        if cell is None:
            return cls(None, reason="was not measured")
        return cls(cell.value, cell.low, cell.high, cell.reason)

    @property
    def number(self) -> str:
        """Such as "18.2 %"."""
        return "n/a" if self.percent is None else f"{abs(self.percent):.1f} %"

    @property
    def direction(self) -> str:
        """ "fewer bits" or "more bits", or "no number"."""
        if self.percent is None:
            return "no number yet"
        return "fewer bits" if self.percent < 0 else "more bits"

    @property
    def interval(self) -> str:
        """Such as "95 %: -21.0 to -15.3", or nothing."""
        return "" if self.low is None or self.high is None else f"95 %: {self.low:+.1f} to {self.high:+.1f}"

    @property
    def tone(self) -> str:
        """ "good", "bad", "open" where the interval holds 0, or "none"."""
        if self.percent is None:
            return "none"
        if self.low is not None and self.high is not None and self.low <= 0 <= self.high:
            return "open"
        return "good" if self.percent < 0 else "bad"


@dataclass(frozen=True)
class Card:
    """What one encoder saves and pays.

    Attributes
    ----------
    saved : bits at equal score of the headline's measure
    paid : bits at equal luma PSNR
    items : that have a number, as far as that is known, and all
    matched : (picture's cost in per cent, saved bits) of a sweep, the costs that it reached
    """

    encoder: str
    variant: str
    anchor: str
    measure: str
    saved: Amount
    paid: Amount
    items: tuple[int, int]
    matched: list[tuple[float, Amount]] = field(default_factory=list)


@dataclass(frozen=True)
class Dot:
    """A number of the figure."""

    encoder: str
    amount: Amount


@dataclass(frozen=True)
class Row:
    """A measure of the figure; `cost` is the picture's."""

    title: str
    cost: bool
    dots: list[Dot]


@dataclass(frozen=True)
class Figure:
    """One setting of the figure, for all encoders.

    Attributes
    ----------
    kind : "face": a variant as it is; "matched": a sweep, read at a cost of the picture
    label : in the list from which the reader chooses
    """

    kind: str
    anchor: str
    label: str
    rows: list[Row]


@dataclass(frozen=True)
class Answer:
    """All of it.

    Attributes
    ----------
    lead : the sentence; None without any number
    """

    lead: str | None
    cards: list[Card]
    figures: list[Figure]
    encoders: list[str]


def answer(material: Material) -> Answer:
    """What the first lines of the page say."""
    results, columns = material.results, material.summary.columns
    titles = {one: encoder_title(material, one) for one in dict.fromkeys(name for name, _ in results.runs())}
    cards = [card for one in titles if (card := _card(material, columns, one, titles[one])) is not None]
    figures = [*_face(columns, titles), *_matched(material.summary.matched, columns, titles)]
    best = next((card for card in cards if card.saved.percent is not None), None)
    return Answer(_lead(material, best) if best else None, cards, figures, list(titles.values()))


def encoder_title(material: Material, encoder: str) -> str:
    """The program's name and version with the coding structure, such as "HM 18.0 intra"; the setting's own name where
    it has one."""
    software = material.results.software.get(encoder)
    setting = next(one for one in material.results.conditions.encoders if one.name == encoder)
    own = f"{setting.encoder} {setting.structure}"
    if software is None or encoder != own:
        return encoder
    return f"{software} {setting.structure}"


def headline_anchor(material: Material, encoder: str) -> str:
    """What the first lines compare with: the encoder as people run it where that is an anchor, else the first one."""
    conditions = material.results.conditions
    runs = set(material.results.runs())
    usual = [one.name for one in conditions.variants if one.kind == "defaults" and (encoder, one.name) in runs]
    return next((name for name in usual if name in conditions.anchors), conditions.anchors[0])


def headline_variant(material: Material, encoder: str) -> str | None:
    """The variant that the first lines are about: with weights and the default settings, else the first one with
    weights, else the first one that is no anchor; None if there is none."""
    conditions, anchor = material.results.conditions, headline_anchor(material, encoder)
    runs = set(material.results.runs())
    there = [one for one in conditions.variants if (encoder, one.name) in runs and one.name != anchor]
    weighted = [one for one in there if one.kind == "idse"]
    usual = [one for one in weighted if one.idse == IdseOptions()]
    return next((one.name for one in (*usual, *weighted, *there)), None)


def headline_measure(columns: Sequence[Column]) -> Name:
    """The first task's first measure; without tasks the picture's cost."""
    judged = [one for one in columns if one.task != COST[0]]
    known = [one for one in judged if one.overall.value is not None]
    return next(((one.task, one.measure) for one in (*known, *judged)), COST)


def plain(title: str) -> str:
    """A measure's title in a sentence."""
    return "luma PSNR" if title == "PSNR Y, dB" else title


def _card(material: Material, columns: Sequence[Column], encoder: str, title: str) -> Card | None:
    variant, anchor = headline_variant(material, encoder), headline_anchor(material, encoder)
    own = [one for one in columns if (one.encoder, one.variant, one.anchor) == (encoder, variant, anchor)]
    if variant is None or not own:
        return None
    measure = headline_measure(own)
    by = {(one.task, one.measure): one for one in own}
    group = next(one.group for one in material.results.conditions.variants if one.name == variant)
    matched = [
        (row.cost, Amount.of(row.cells.get(measure)))
        for row in material.summary.matched
        if (row.encoder, row.group, row.anchor) == (encoder, group, anchor)
    ]
    paid = Amount.of(by[COST].overall) if COST in by else Amount(None)
    return Card(
        title,
        variant,
        anchor,
        plain(by[measure].title),
        Amount.of(by[measure].overall),
        paid,
        (by[measure].overall.count, by[measure].overall.of),
        [(cost, amount) for cost, amount in matched if amount.percent is not None],
    )


def _lead(material: Material, card: Card) -> str:
    counted, items = card.items
    clips = any(frames > 1 for _, _, frames, _ in material.sizes.values())
    what = ("clip" if clips else "picture") + ("s" if items != 1 else "")
    on = f"{counted} of {items}" if counted < items else f"{items}"
    said = (
        f"On {on} {what}, {card.encoder} with {card.variant} needs {card.saved.number} {card.saved.direction} than "
        f"{card.anchor} for equal {card.measure}."
    )
    if card.paid.percent is None:
        return said
    pays = "pays" if card.paid.percent >= 0 else "gains too:"
    return f"{said} The picture {pays} {card.paid.number} {card.paid.direction} for equal luma PSNR."


def _face(columns: Sequence[Column], titles: dict[str, str]) -> list[Figure]:
    found = []
    for anchor, variant in dict.fromkeys((one.anchor, one.variant) for one in columns):
        own = [one for one in columns if (one.anchor, one.variant) == (anchor, variant)]
        cells = {(one.encoder, (one.task, one.measure)): one.overall for one in own}
        found.append(Figure("face", anchor, variant, _rows(columns, cells, titles)))
    return found


def _matched(rows: Sequence[MatchedRow], columns: Sequence[Column], titles: dict[str, str]) -> list[Figure]:
    found = []
    for anchor, group, cost in dict.fromkeys((row.anchor, row.group, row.cost) for row in rows):
        own = [row for row in rows if (row.anchor, row.group, row.cost) == (anchor, group, cost)]
        cells = {(row.encoder, name): cell for row in own for name, cell in row.cells.items()}
        if any(cell.value is not None for cell in cells.values()):
            label = f"{group} where the picture pays {cost:+g} %" if cost else f"{group} where the picture pays nothing"
            found.append(Figure("matched", anchor, label, _rows(columns, cells, titles)))
    return found


def _rows(columns: Sequence[Column], cells: dict[tuple[str, Name], Cell], titles: dict[str, str]) -> list[Row]:
    names = {(one.task, one.measure): one.title for one in columns}
    chosen = [name for name in names if name[0] != COST[0]]
    if COST in names:
        chosen.append(COST)
    found = []
    for name in chosen:
        dots = [
            Dot(title, Amount.of(cells[encoder, name])) for encoder, title in titles.items() if (encoder, name) in cells
        ]
        title = plain(names[name])
        if dots:
            found.append(Row(f"the picture: {title}" if name == COST else title, name == COST, dots))
    return found
