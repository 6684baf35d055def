"""fprdo report: the page of a store."""

from __future__ import annotations

import argparse
from pathlib import Path

from fprdo_bridge.cli import console
from fprdo_bridge.cli.arguments import keep_inputs
from fprdo_bridge.cli.values import file_path
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.text import printable

HELP = "write the page of a store: what was saved and what it cost, curves, pictures, tables, as one HTML file"
USAGE = "fprdo report STORE [conditions] [-o FILE] [options]"
DESCRIPTION = (
    "Writes one HTML file that loads nothing: what each variant saves and what the picture pays, rate curves, tables, "
    "pictures at equal bits with maps of errors and weights, and all that was run. Half a run gives a page too."
)
EXAMPLE = "fprdo report out/demo -o page.html"

_MOST = 100  # pictures


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of this command."""
    parser.add_argument("store", type=Path, metavar="STORE", help="folder that fprdo ctc run has filled")
    parser.add_argument("conditions", nargs="?", help="name of the conditions, if the store has several")
    parser.add_argument(
        "-o", "--output", type=file_path, metavar="FILE", help="page to write (default: STORE/page.html)"
    )
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="folder of the pictures and clips that the conditions name (default: where they were coded from)",
    )
    parser.add_argument(
        "--pictures",
        metavar="N|NAME,...",
        default="3",
        help="how many pictures are shown, from the worst to the best, or which ones by name (default 3)",
    )


def run(options: argparse.Namespace) -> None:
    """Write the page."""
    from fprdo_bridge.ctc.store import Store
    from fprdo_bridge.report.page.writer import Wishes, write_page

    path = options.output or options.store / "page.html"
    names, count = pictures_of(options.pictures)
    if options.data is not None and not options.data.is_dir():
        raise FprdoError(f"--data {options.data}: no such folder")
    with Store(options.store, create=False) as store:
        keep_inputs([path], [options.store / "store.json"])
        place, folder = path.resolve(), options.store.resolve()
        if path.exists() and folder in place.parents and place.parent != folder:
            raise FprdoError(f"{path}: is a file of the store {options.store}; give the page another name")
        write_page(store, options.conditions, path, Wishes(names, count, options.data), console.say)
    console.result(printable(str(path)))


def pictures_of(text: str) -> tuple[list[str], int]:
    """Names, or how many.

    Raises
    ------
    FprdoError
        Too many, or nothing.
    """
    if text.isascii() and text.isdigit():
        if int(text) > _MOST:
            raise FprdoError(f"--pictures {text}: use 0 to {_MOST}, or names")
        return [], int(text)
    names = [name for name in text.split(",") if name]
    if not names:
        raise FprdoError("--pictures: give a number or names with commas between them")
    return names, len(names)
