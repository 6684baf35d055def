"""fprdo compare: plain SSE against weighted distortion, measured."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fprdo_bridge import encoders
from fprdo_bridge.cli import console
from fprdo_bridge.cli.arguments import (
    SOURCE_HELP,
    add_coding_arguments,
    coding_options_of,
    keep_inputs,
    open_named,
    say_idle_settings,
    weight_settings_of,
)
from fprdo_bridge.cli.values import assignment, count_or_all, rate_value
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.text import printable

if TYPE_CHECKING:
    from fprdo_bridge.ctc.points import Comparison
    from fprdo_bridge.video.source import Source

HELP = "SSE against IDSE: rate, PSNR, feature distance, BD-rate"
USAGE = "fprdo compare source ... -o DIR [-q QP QP QP QP ...] [options]"
DESCRIPTION = (
    "Encodes each source at each QP twice: with the unpatched encoder (SSE) and with weights (IDSE). Decodes every "
    "bitstream with the encoder's stock decoder and with libavcodec, measures, and prints the rate at equal quality. "
    "Results are printed as they come, and drawings are made last. A run that was stopped goes on where it was. "
    "In the folder nothing is written over that is not of an earlier comparison."
)
EXAMPLE = "fprdo compare a.png b.png --qp 22 27 32 37 -o out/ab --measure efficientnet_lite0"

_DRAWN = 4  # pictures whose curves and maps are drawn unless the user says otherwise


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of this command."""
    parser.add_argument("source", nargs="+", help=SOURCE_HELP)
    parser.add_argument(
        "-q", "--qp", type=rate_value, nargs="+", default=[27, 32, 37, 42], help="at least four (default 27 32 37 42)"
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder of results; what is done there already is not done again",
    )
    parser.add_argument(
        "--measure",
        action="append",
        metavar="EXTRACTOR",
        help="network whose features judge the decoded pictures, in the form of --extractor, repeatable "
        "(default: the one of the weights; of the default weights, lite0 at full size)",
    )
    parser.add_argument(
        "--idse-option",
        type=assignment,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="further encoder option for the weighted encodes alone, repeatable",
    )
    parser.add_argument(
        "--maps",
        type=count_or_all,
        default=_DRAWN,
        metavar="N|all",
        help="pictures whose weight map is drawn, from the first on (default %(default)s)",
    )
    parser.add_argument(
        "--curves",
        type=count_or_all,
        default=_DRAWN,
        metavar="N|all",
        help="pictures whose rate-distortion curves are drawn, from the first on (default %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print all results as JSON")
    add_coding_arguments(parser)


def run(options: argparse.Namespace) -> None:
    """Compare; results are printed as soon as they are there, and drawings come last."""
    from fprdo_bridge.ctc.compare import compare
    from fprdo_bridge.ctc.points import CompareSettings, Point
    from fprdo_bridge.ctc.results_folder import ResultsFolder
    from fprdo_bridge.report import curves, tables
    from fprdo_bridge.report.heatmap import draw_weight_file

    settings = CompareSettings(
        qps=tuple(options.qp),
        config=options.config,
        options=dict(options.option),
        idse=coding_options_of(options),
        idse_options=dict(options.idse_option),
        weights=weight_settings_of(options),
        measure=tuple(options.measure or ()),
        encoder=options.encoder,
        rate=options.rate_control,
    )
    encoders.get(options.encoder).tools()
    sources = [open_named(name, options) for name in options.source]
    judge = settings.judges[0]
    plotted, mapped = sources[: options.curves], sources[: options.maps]
    reports = ["results.csv", *curves.curve_files(len(plotted)), *map(_map_name, mapped)]
    read = [*options.source, options.mask, options.boxes, options.predictor]
    keep_inputs([options.output / name for name in reports], read)

    def complete(points: Sequence[Point]) -> None:
        if not options.json:
            console.result(f"{tables.format_points(points, judge)}\n")

    say_idle_settings(options)
    with ResultsFolder(options.output) as folder:
        found = compare(sources, settings, folder, reports=reports, say=console.say, complete=complete)
        tables.write_csv(folder.path / "results.csv", found.points)
        if options.json:
            console.result(tables.to_json(found))
        else:
            console.result(f"{tables.format_bd_rates(found)}\n\n{tables.checked(found.points)}")
        # Drawings of an earlier comparison of these pictures would contradict the tables.
        folder.discard(name for name in folder.ours() if name.startswith("rd-curves"))
        folder.discard(map(_map_name, sources))
        plots = _draw_curves(folder.path, [source for source in plotted if source.name not in found.left_out], found)
        maps = [source for source in mapped if source.name not in found.left_out]
        for source in maps:
            weights = folder.path / "weights" / f"{source.name}.idse"
            draw_weight_file(weights, settings.idse, source, folder.path / _map_name(source))
    if not options.json:
        drawn = ", ".join(["results.csv", *plots, *(["map-*.png"] if maps else [])])
        console.result(f"{printable(str(options.output))}/: {drawn}, bitstreams/, weights/, store/")
    for what, number in (("curves", options.curves), ("maps", options.maps)):
        if number < len(sources):
            console.say(f"{what} of {number} of {len(sources)} pictures drawn; --{what} all draws all")
    if not found.is_comparable:
        name, (rate, _) = next(iter(found.bd_rates(judge).items()))
        raise FprdoError(f"no picture has a BD-rate; the first one, {name}: {rate.reason}")


def _map_name(source: Source) -> str:
    return f"map-{source.name}.png"


def _draw_curves(folder: Path, sources: Sequence[Source], found: Comparison) -> list[str]:
    """Write the figures of some sources, a few in each; returns their names."""
    from fprdo_bridge.report import curves

    files = curves.curve_files(len(sources))
    for page, name in enumerate(files):
        names = {source.name for source in sources[page * curves.PANELS : (page + 1) * curves.PANELS]}
        points = [point for point in found.points if point.sequence in names]
        curves.draw_curves(folder / name, points, found.judges[0])
    return files
