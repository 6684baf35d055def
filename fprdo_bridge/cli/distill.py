"""fprdo distill: train a predictor of an extractor's maps."""

from __future__ import annotations

import argparse
import json

from fprdo_bridge.cli import console
from fprdo_bridge.cli.arguments import (
    SOURCE_HELP,
    add_format_arguments,
    add_preset_argument,
    add_sketch_arguments,
    keep_inputs,
    open_named,
    weight_settings_of,
)
from fprdo_bridge.cli.values import file_path, whole
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.progress import percentage
from fprdo_bridge.text import printable

HELP = "train a small network that gives the maps of an extractor in one pass"
USAGE = "fprdo distill source ... -o FILE [options]"
DESCRIPTION = (
    "Computes the maps of pictures and trains a small convolutional network on them, which gives a map from the "
    "picture in one pass: --predictor FILE of the other commands. A run that was stopped goes on where it was."
)
EXAMPLE = "fprdo distill photos/*.png -o lite0.pt --probes 8"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of this command."""
    parser.add_argument("source", nargs="+", help=f"{SOURCE_HELP}; two dozen pictures or more")
    parser.add_argument("-o", "--output", type=file_path, required=True, metavar="FILE", help="the predictor")
    parser.add_argument("--steps", type=whole, default=None, metavar="N", help="of the training (default 2400)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    add_preset_argument(parser)
    add_sketch_arguments(parser)
    add_format_arguments(parser)


def run(options: argparse.Namespace) -> None:
    """Train a predictor."""
    from fprdo_bridge.importance.distill import distill
    from fprdo_bridge.importance.training import STEPS
    from fprdo_bridge.importance.weighting import NO_NETWORK

    if options.extractor in NO_NETWORK:
        raise FprdoError(f"--extractor {options.extractor}: is no network; name one whose maps are to be learned")
    settings = weight_settings_of(options)
    sources = [open_named(name, options) for name in options.source]
    keep_inputs([options.output], options.source)
    show = {what: percentage(what, console.say) for what in ("maps", "training")}
    parameters = distill(
        sources,
        settings,
        options.output,
        steps=STEPS if options.steps is None else options.steps,
        progress=lambda what, share: show[what](share),
    )
    if options.json:
        console.result(
            json.dumps({"predictor": str(options.output), "pictures": len(sources), "parameters": parameters})
        )
    else:
        console.result(
            f"{printable(str(options.output))}: predictor of {settings.extractor}, {parameters} parameters, "
            f"{len(sources)} pictures"
        )
