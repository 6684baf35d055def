"""fprdo show: draw a weight map."""

from __future__ import annotations

import argparse
import glob

from fprdo_bridge.cli import console
from fprdo_bridge.cli.arguments import (
    SOURCE_HELP,
    add_force_argument,
    add_format_arguments,
    add_idse_arguments,
    add_preset_argument,
    check_weights,
    idse_options_of,
    keep_inputs,
    sequence_of,
)
from fprdo_bridge.cli.values import file_path, whole
from fprdo_bridge.text import printable

HELP = "draw a weight map over its picture, with the QP offsets of the blocks"
USAGE = "fprdo show weights [source] [-o FILE] [options]"
DESCRIPTION = (
    "Draws the luma weights of one frame of a weight file: bright is what the network cares about. The numbers are "
    "the QP offsets that an encoder takes from them with these settings. Of a file that is still being written it "
    "draws what is finished."
)
EXAMPLE = "fprdo show photo.idse photo.png -o map.png"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of this command."""
    parser.add_argument("weights", type=file_path, help=".idse file")
    parser.add_argument("source", nargs="?", help=f"the picture it was computed on: {SOURCE_HELP}")
    parser.add_argument(
        "-o", "--output", type=file_path, metavar="FILE", help="PNG to write (default: map-NAME.png beside NAME.idse)"
    )
    add_force_argument(parser)
    parser.add_argument(
        "--animation",
        action="store_true",
        help="the maps of all frames, beside the clip: an animation if FILE is .webp (default: animation-NAME.webp), "
        "NAME-0000.png and so on if it is .png",
    )
    parser.add_argument("--frame", type=whole, default=0, metavar="N", help="frame of a sequence (default 0)")
    parser.add_argument(
        "--block",
        type=whole,
        choices=(8, 16, 32, 64),
        default=32,
        help="luma samples of a quantisation group's side (default 32)",
    )
    add_preset_argument(parser)
    add_idse_arguments(parser)
    add_format_arguments(parser)


def run(options: argparse.Namespace) -> None:
    """Draw a weight map."""
    from fprdo_bridge.report.animation import draw_animation
    from fprdo_bridge.report.heatmap import draw_weight_file

    sequence = sequence_of(options) if options.source else None
    name = f"animation-{options.weights.stem}.webp" if options.animation else f"map-{options.weights.stem}.png"
    path = options.output or options.weights.with_name(name)
    numbered = path.parent.glob(f"{glob.escape(path.stem)}-*.png") if options.animation else ()
    keep_inputs([path, *numbered], [options.source, options.weights])
    if sequence and options.weights.exists():  # what is still being written has no hashes yet
        check_weights(options.weights, sequence, options.force_weights)
    if options.animation:
        for written in draw_animation(options.weights, sequence, path):
            console.result(printable(str(written)))
        return
    draw_weight_file(options.weights, idse_options_of(options), sequence, path, options.frame, options.block)
    console.result(printable(str(path)))
