"""fprdo compare: plain SSE against weighted distortion, measured."""

from __future__ import annotations

import argparse
from pathlib import Path

from fprdo_bridge import toolchain
from fprdo_bridge.cli import console
from fprdo_bridge.cli.arguments import (SOURCE_HELP, add_encoder_arguments, add_format_arguments, add_idse_arguments,
                                        add_weight_arguments, format_request_of, idse_options_of, weight_settings_of)
from fprdo_bridge.cli.values import assignment, whole
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.text import printable
from fprdo_bridge.video.source import open_source

HELP = DESCRIPTION = "SSE against IDSE: rate, PSNR, feature distance, BD-rate"
EXAMPLE = "fprdo compare a.png b.png --qp 22 27 32 37 -o out/ab --measure efficientnet_lite0"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of this command."""
    parser.add_argument("source", nargs="+", help=SOURCE_HELP)
    parser.add_argument("-q", "--qp", type=whole, nargs="+", default=[27, 32, 37, 42],
                        help="at least four (default 27 32 37 42)")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR",
                        help="folder of results; what is done there already is not done again")
    parser.add_argument("--measure", action="append", metavar="NAME",
                        help="extractor that judges the decoded pictures, repeatable (default: the one of the weights)")
    parser.add_argument("--idse-option", type=assignment, action="append", default=[], metavar="NAME=VALUE",
                        help="further encoder option for the weighted encodes alone, repeatable")
    parser.add_argument("--json", action="store_true", help="print all results as JSON")
    for add in (add_encoder_arguments, add_idse_arguments, add_weight_arguments, add_format_arguments):
        add(parser)


def run(options: argparse.Namespace) -> None:
    """SSE against IDSE on given pictures and QPs."""
    from fprdo_bridge.ctc.compare import CompareSettings, compare
    from fprdo_bridge.report import curves, tables
    from fprdo_bridge.report.heatmap import draw_weight_file

    settings = CompareSettings(
        qps=tuple(options.qp), config=options.config, options=dict(options.option), idse=idse_options_of(options),
        idse_options=dict(options.idse_option), weights=weight_settings_of(options),
        measure=tuple(options.measure or ()),
        encoder=options.encoder, rate=options.rate_control)
    tools = toolchain.find(options.encoder)
    for source in options.source:
        if any("\udc80" <= character <= "\udcff" for character in source):
            raise FprdoError(f"{source}: the name would stand in tables and pictures and is not UTF-8; rename the file")
    request = format_request_of(options)
    sequences = [open_source(source, request, options.frames, options.frame_rate, options.skip)
                 for source in options.source]
    points = compare(sequences, settings, tools, options.output, console.say)
    judge = settings.judges[0]
    for pattern in (".results.*.csv", ".rd-curves.*.png", ".map-*.png"):  # what a killed run has left
        for path in options.output.glob(pattern):
            path.unlink(missing_ok=True)
    tables.write_csv(options.output / "results.csv", points)
    try:
        rates = tables.format_bd_rates(points, settings.judges)
    except FprdoError:
        if not options.json:  # they took long
            console.result(f"\n{tables.format_points(points, judge)}\n")
        raise
    curves.draw_curves(options.output / "rd-curves.png", points, judge)
    for sequence in sequences:
        draw_weight_file(options.output / "weights" / f"{sequence.name}.idse", settings.idse, sequence,
                         options.output / f"map-{sequence.name}.png")
    if options.json:
        console.result(tables.to_json(points, settings))
    else:
        console.result(f"\n{tables.format_points(points, judge)}\n\n{rates}\n")
        console.result(f"Every bitstream decoded by {' and '.join(points[0].decoders)}: equal to the encoder's "
                       "reconstruction.")
        console.result(f"{printable(str(options.output))}/: results.csv, rd-curves.png, map-*.png, bitstreams/, weights/")
