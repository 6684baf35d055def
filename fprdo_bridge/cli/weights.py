"""fprdo weights: compute importance weights."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from fprdo_bridge.cli import console, standard
from fprdo_bridge.cli.arguments import (
    SOURCE_HELP,
    add_format_arguments,
    add_preset_argument,
    add_weight_arguments,
    keep_inputs,
    sequence_of,
    weight_settings_of,
)
from fprdo_bridge.cli.values import file_path
from fprdo_bridge.importance.weighting import write_weights
from fprdo_bridge.progress import percentage
from fprdo_bridge.text import printable

HELP = "compute the importance weights of a picture or sequence"
USAGE = "fprdo weights source [-o FILE] [options]"
DESCRIPTION = (
    "Computes how much a vision network cares about each sample of a picture, and writes it to a weight file "
    "(.idse). Of a clip the first of eight frames gets a map (--frames-per-map), and so does a cut. A run that was "
    "stopped goes on where it was."
)
EXAMPLE = "fprdo weights photo.png -o photo.idse --probes 32"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of this command."""
    parser.add_argument("source", help=SOURCE_HELP)
    parser.add_argument(
        "-o",
        "--output",
        type=file_path,
        metavar="FILE",
        help="weight file (default: NAME.idse in the current folder); - for standard output",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    add_preset_argument(parser)
    add_weight_arguments(parser)
    add_format_arguments(parser)


def run(options: argparse.Namespace) -> None:
    """Compute importance weights."""
    sequence, settings = sequence_of(options), weight_settings_of(options)
    path = options.output or Path(f"{sequence.name}.idse")
    keep_inputs([path], [options.source, options.mask, options.boxes, options.predictor])
    made = standard.output_file(path, "weights.idse")
    write_weights(sequence, settings, made, progress=percentage(f"weights of {sequence.name}", console.say))
    standard.send(made, path)
    fmt, count = sequence.fmt, sequence.frames
    if options.json:
        console.result(json.dumps({"weights": str(path), "width": fmt.width, "height": fmt.height, "frames": count}))
    else:
        console.result(f"{printable(str(path))}: weights of {fmt.width}x{fmt.height}, {count} frame{'s' * (count > 1)}")
