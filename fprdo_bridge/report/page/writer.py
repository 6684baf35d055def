"""Writes the page: one HTML file that loads nothing."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from fprdo_bridge import __version__
from fprdo_bridge.ctc.results import manifests
from fprdo_bridge.ctc.store import Store
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.files import replacing
from fprdo_bridge.report.maps import OCTAVES, palette
from fprdo_bridge.report.page import answer as answers
from fprdo_bridge.report.page import curves, forest, material, sample, tables
from fprdo_bridge.report.page.originals import Originals
from fprdo_bridge.report.page.shown import Viewer
from fprdo_bridge.report.page.what_ran import what_ran
from fprdo_bridge.text import printable

_PICTURES = 7 << 20  # bytes of the page that pictures may take
_CURVES = 24  # items whose curves are there, those of the sample first
_LINES = 40  # of what is missing or failed
_PARTS = Path(__file__).with_name("parts")


@dataclass(frozen=True)
class Wishes:
    """What the reader of the page wants.

    Attributes
    ----------
    pictures : names of items, or SET/ITEM, that are shown; none for the worst, the median and the best
    count : how many are shown if none is named
    data : folder of the originals; None for where they were
    """

    pictures: Sequence[str] = ()
    count: int = sample.FEW
    data: Path | None = None


def write_page(
    store: Store,
    name: str | None,
    path: Path,
    wishes: Wishes = Wishes(),
    say: Callable[[str], None] = lambda line: None,
) -> None:
    """Write the page of the conditions `name` of a store.

    Parameters
    ----------
    name : None for the only one; a store without any gives a page that says so

    Raises
    ------
    FprdoError
        The store has several conditions or others, a name is wrong, or the file cannot be written.
    """
    there = manifests(store)
    if name is None and len(there) > 1:
        raise FprdoError(f"{store.folder}: holds {', '.join(there)}; name one of them")
    if name is None and not there:
        page = render(None, str(store.folder), {}, [])
    else:
        found = material.read(store, name or there[0], say)
        page = render(found, str(store.folder), data_of(found, wishes), pictures_of(found, wishes, say))
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8", errors="replace")


def data_of(found: material.Material, wishes: Wishes) -> dict[str, Any]:
    """Curves and tables."""
    places = [choice.place for choice in sample.choose(found, wishes.pictures, wishes.count)]
    places += [place for place in found.keys if place not in places][: max(0, _CURVES - len(places))]
    order = list(found.keys)
    shown = sorted(dict.fromkeys(places), key=order.index)
    return {
        "looks": curves.looks(found),
        "encoders": {one: answers.encoder_title(found, one) for one, _ in found.results.runs()},
        "measures": curves.measures(found),
        "places": [*curves.sets_curves(found), *curves.item_curves(found, shown)],
        "without_curves": len(order) - len(shown),
        "tables": tables.tables(found),
        "palette": "".join(f"{r:02x}{g:02x}{b:02x}" for r, g, b in palette()),
        "octaves": OCTAVES,
    }


def pictures_of(found: material.Material, wishes: Wishes, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """The sample, as the viewer shows it."""
    viewer = Viewer(found, Originals(found, wishes.data), _PICTURES, say)
    return [viewer.show(choice) for choice in sample.choose(found, wishes.pictures, wishes.count)]


def render(found: material.Material | None, folder: str, data: dict[str, Any], pictures: list[dict[str, Any]]) -> str:
    """The page as text.

    Parameters
    ----------
    found : None for a store without any run
    folder : of the store, for the page to name
    data : of `data_of`
    pictures : of `pictures_of`
    """
    import jinja2
    from markupsafe import Markup

    def script(value: object) -> Markup:
        """JSON inside of a script element."""
        text = json.dumps(clean(value), allow_nan=False, separators=(",", ":"))
        return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_PARTS),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: value if isinstance(value, Markup) else clean(value),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["script"] = script
    environment.globals["part"] = lambda name: Markup((_PARTS / name).read_text(encoding="utf-8"))
    answer = answers.answer(found) if found else None
    return environment.get_template("page.html").render(
        version=__version__,
        folder=folder,
        found=found,
        answer=answer,
        drawings=_drawings(answer) if answer else [],
        first=_first(answer) if answer else 0,
        problems=found.results.problems[:_LINES] if found else [],
        more_problems=max(0, len(found.results.problems) - _LINES) if found else 0,
        failed=found.failed[:_LINES] if found else [],
        ran=what_ran(found) if found else None,
        pictures=pictures,
        packed=packed(json.dumps(clean(data), allow_nan=False).encode()) if data else "",
        plotly=_plotly() if data and data["places"] else "",
    )


def _drawings(answer: answers.Answer) -> list[tuple[answers.Figure, forest.Drawing]]:
    span = forest.span_of(answer.figures)
    return [(one, forest.draw(one, answer.encoders, span)) for one in answer.figures]


def _first(answer: answers.Answer) -> int:
    """The setting of the figure that is shown first: the cards' own."""
    wanted = [(card.anchor, card.variant) for card in answer.cards]
    for number, one in enumerate(answer.figures):
        if one.kind == "face" and (one.anchor, one.label) in wanted:
            return number
    return 0


def clean(value: Any) -> Any:
    """JSON whose texts have control characters and signs of direction as escapes; ends of lines stay."""
    if isinstance(value, str):
        return value if value.startswith("data:") else "\n".join(map(printable, value.split("\n")))
    if isinstance(value, dict):
        return {clean(key): clean(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [clean(one) for one in value]
    return value


def packed(data: bytes) -> str:
    """Gzip in base64, the same bytes for the same data; the page's script unpacks it."""
    return base64.b64encode(gzip.compress(data, 9, mtime=0)).decode("ascii")


@cache
def _plotly() -> str:
    """The script that plotly's package brings, packed."""
    from importlib.resources import files

    return packed((files("plotly") / "package_data" / "plotly.min.js").read_bytes())
