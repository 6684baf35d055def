"""Encoder time with weights against the stock encoder: paired runs on a picture or a clip.

    .venv/bin/python tests/benchmarks/encoder_time.py [SOURCE] [--qp 27 37] [--pairs 9]
    .venv/bin/python tests/benchmarks/encoder_time.py CLIP.y4m --encoder x264 --config randomaccess \\
        --rate-control crf --qp 28 36 --weights-every 8 --option preset=medium

Takes the options of `fprdo encode`. Each pair codes the same pictures with the stock encoder, with all weights 1.0 (the
same decisions: the bridge's own cost) and with the network's weights, one after the other, so that whatever else the
machine does hits all three alike. Seconds are the encoder's user and system time, of one pass. Ratios are taken within
pairs; printed are their median and range. The time for the weights themselves is that of the clock.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from fprdo_bridge import encoders
from fprdo_bridge.cli import arguments
from fprdo_bridge.encoders.job import EncodeJob, Rate
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.importance.idse_file import IdseFile, WeightMap, ones, write_idse
from fprdo_bridge.importance.weighting import write_weights
from fprdo_bridge.video.formats import VideoFormat, coded_format


def cpu_seconds(command: list[str], folder: Path) -> float:
    """User and system time of a command that must succeed, run in `folder`."""
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(errors.decode(errors="replace"))
    return usage.ru_utime + usage.ru_stime


def maps_of_ones(weights: IdseFile, fmt: VideoFormat) -> Iterator[WeightMap]:
    """For each map of a file one of all weights 1, the same object where the file has the map before it again."""
    before = np.zeros(0)
    for number in range(weights.map_count):
        values = weights.record(number).values
        if not np.array_equal(values, before):
            unit = ones(fmt, weights.layout.transform_sizes)
        before = values
        yield unit


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("source", nargs="?", default="skimage:astronaut")
    parser.add_argument("-q", "--qp", type=int, nargs="+", default=[27, 37])
    parser.add_argument("--pairs", type=int, default=9)
    arguments.add_encoder_arguments(parser)
    arguments.add_preset_argument(parser)
    arguments.add_idse_arguments(parser)
    arguments.add_weight_arguments(parser)
    arguments.add_format_arguments(parser)
    return parser.parse_args()


def main() -> None:
    options = parse_arguments()
    codec = encoders.get(options.encoder)
    tools = codec.tools()
    sequence, settings, idse = (
        arguments.sequence_of(options),
        arguments.weight_settings_of(options),
        arguments.coding_options_of(options),
    )
    fmt, sizes = coded_format(sequence.fmt), codec.shapes_wanted(idse)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        unit, network = folder / "ones.idse", folder / "network.idse"
        start = time.perf_counter()
        write_weights(sequence, settings, network, transform_sizes=sizes)
        seconds = time.perf_counter() - start
        with IdseFile(network) as weights:
            count = weights.record_count
            write_idse(
                unit,
                maps_of_ones(weights, fmt),
                fmt,
                transform_sizes=weights.layout.transform_sizes,
                frame_count=weights.frame_count,
                frames_per_map=weights.frames_per_map,
            )
        print(
            f"{sequence.name} {sequence.fmt}, {sequence.frames} frame{'s' if sequence.frames > 1 else ''}: "
            f"{count} map{'s' if count > 1 else ''} in {seconds:.1f} s",
            flush=True,
        )
        plain = EncodeJob(
            source=sequence.yuv(folder),
            fmt=sequence.fmt,
            frames=sequence.frames,
            rate=Rate(options.rate_control, options.qp[0]),
            bitstream=folder / "coded.bin",
            config=(codec.config(options.config, sequence.fmt, tools),),
            options=dict(options.option),
            idse=idse,
            frame_rate=sequence.frame_rate,
        )
        for qp in options.qp:
            stock = replace(plain, rate=Rate(options.rate_control, qp))
            weighted = replace(stock, weights=network, options={**codec.weighted_options(idse), **stock.options})
            commands = {
                "stock": codec.command(stock, tools.stock_encoder),
                "weights 1.0": codec.command(replace(stock, weights=unit), tools.encoder),
                "IDSE": codec.command(weighted, tools.encoder),
            }
            runs = [
                {label: cpu_seconds(command, folder) for label, command in commands.items()}
                for _ in range(options.pairs)
            ]
            seconds = statistics.median(run["stock"] for run in runs)
            print(f"{options.rate_control.upper()} {qp}: stock {seconds:.3f} s", end="")
            for label in ("weights 1.0", "IDSE"):
                ratios = [run[label] / run["stock"] for run in runs]
                print(
                    f"; {label} {statistics.median(ratios):.3f} times stock ({min(ratios):.3f} to {max(ratios):.3f})",
                    end="",
                )
            print(flush=True)


if __name__ == "__main__":
    try:
        main()
    except FprdoError as error:
        sys.exit(f"encoder_time.py: error: {error}")
