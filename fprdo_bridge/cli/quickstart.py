"""fprdo quickstart: the demo."""

from __future__ import annotations

import argparse
from pathlib import Path

from fprdo_bridge.cli import console

FOLDER = Path("out/demo")

HELP = "the demo: four pictures of scikit-image through HM, JM and x264 as far as they are built, into out/demo"
USAGE = "fprdo quickstart"
DESCRIPTION = f"The same as: fprdo ctc run quickstart -o {FOLDER}, the maps drawn, and the page written."
EXAMPLE = "fprdo quickstart"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of this command: none."""


def run(options: argparse.Namespace) -> None:
    """Run the conditions `quickstart`, draw what the network sees, write the page.

    The encoders are HM, JM and x264, as far as they are built. The path of the page is the last line.

    Raises
    ------
    SystemExit
        Some jobs failed; status 1.
    """
    from fprdo_bridge.cli.parser import run as run_words
    from fprdo_bridge.ctc.results import maps_of
    from fprdo_bridge.ctc.store import Store
    from fprdo_bridge.encoders.job import IdseOptions
    from fprdo_bridge.report import heatmap
    from fprdo_bridge.video.source import open_source

    failed: SystemExit | None = None
    try:
        run_words(["ctc", "run", "quickstart", "-o", str(FOLDER)])
    except SystemExit as error:  # some jobs failed; the page shows the others
        failed = error
    with Store(FOLDER, create=False) as store:
        for name, weights in maps_of(store, "quickstart").items():
            heatmap.draw_weight_file(weights, IdseOptions(), open_source(f"skimage:{name}"), FOLDER / f"map-{name}.png")
    console.result(f"{FOLDER}/: map-*.png")
    run_words(["report", str(FOLDER), "quickstart", "-o", str(FOLDER / "page.html")])
    if failed:
        raise failed
