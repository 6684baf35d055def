"""Encoder time with weights against the stock encoder: paired runs on one picture.

    .venv/bin/python tests/benchmarks/encoder_time.py [PICTURE] [--qp 27 37] [--pairs 9]

Each pair codes the same picture with the stock encoder, with all weights 1.0 (same decisions: the bridge's own cost) and with
the network's weights, one after the other, so that whatever else the machine does hits all three alike. Seconds are the
encoder's user and system time. Ratios are taken within pairs; printed are their median and range.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from fprdo_bridge import codecs, toolchain
from fprdo_bridge.codecs.job import EncodeJob, IdseOptions
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.frames import coded_format
from fprdo_bridge.importance.idse_file import ones, write_idse
from fprdo_bridge.importance.weighting import WeightSettings, write_weights
from fprdo_bridge.sequence import open_sequence


def cpu_seconds(command: list[str], folder: Path) -> float:
    """User and system time of a command that must succeed, run in `folder`."""
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(errors.decode(errors="replace"))
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", nargs="?", default="skimage:astronaut")
    parser.add_argument("--qp", type=int, nargs="+", default=[27, 37])
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--encoder", default="hm", choices=codecs.ENCODERS)
    options = parser.parse_args()
    codec, tools = codecs.get(options.encoder), toolchain.find(options.encoder)
    sequence = open_sequence(options.picture)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        unit, network = folder / "ones.idse", folder / "network.idse"
        write_idse(unit, [ones(coded_format(sequence.fmt))], coded_format(sequence.fmt), frame_count=1)
        write_weights(sequence, WeightSettings(), network)
        source, config = sequence.yuv(folder), codec.config_for("intra", sequence.fmt, tools)
        for qp in options.qp:
            commands = {}
            for label, weights in (("stock", None), ("weights 1.0", unit), ("IDSE", network)):
                job = EncodeJob(source=source, fmt=sequence.fmt, frames=1, qp=qp, bitstream=folder / f"{label}.bin",
                                config=(config,), weights=weights,
                                options=codec.weighted_options(IdseOptions()) if label == "IDSE" else {})
                commands[label] = codec.command(job, tools.encoder if weights else tools.stock_encoder)
            runs = [{label: cpu_seconds(command, folder) for label, command in commands.items()} for _ in range(options.pairs)]
            stock = statistics.median(run["stock"] for run in runs)
            print(f"{sequence.name} {sequence.fmt.width}x{sequence.fmt.height}, QP {qp}: stock {stock:.3f} s", end="")
            for label in ("weights 1.0", "IDSE"):
                ratios = [run[label] / run["stock"] for run in runs]
                print(f"; {label} {statistics.median(ratios):.3f} times stock ({min(ratios):.3f} to {max(ratios):.3f})", end="")
            print()


if __name__ == "__main__":
    try:
        main()
    except FprdoError as error:
        sys.exit(f"encoder_time.py: error: {error}")
