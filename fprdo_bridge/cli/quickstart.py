"""fprdo quickstart: the demo."""

from __future__ import annotations

import argparse

from fprdo_bridge import encoders

PICTURES = ("skimage:astronaut", "skimage:chelsea", "skimage:coffee", "skimage:rocket")

HELP = "the demo: compare on four pictures of scikit-image, into out/quickstart"
DESCRIPTION = (f"The same as: fprdo compare {' '.join(PICTURES)} -o out/quickstart, "
               "and with --encoder NAME -o out/quickstart-NAME for every other encoder that is built")
EXAMPLE = "fprdo quickstart"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of this command: none."""


def run(options: argparse.Namespace) -> None:
    """Compare with every encoder that is built; with the first one in any case, whose error says what to do."""
    from fprdo_bridge.cli.parser import run as run_words

    first = next(iter(encoders.ENCODERS))
    for name in dict.fromkeys([first, *(codec.name for codec in encoders.built())]):
        folder = "out/quickstart" if name == first else f"out/quickstart-{name}"
        run_words(["compare", *PICTURES, "--encoder", name, "-o", folder])
