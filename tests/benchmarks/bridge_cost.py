"""What the bridge costs an encoder, on one picture of 768x512.

    .venv/bin/python tests/benchmarks/bridge_cost.py [PICTURE] [--encoder hm jm] [--qp 27 37] [--pairs 9] [--no-instructions]

Instructions (callgrind, which is part of valgrind): all weights 1.0 against the stock encoder, which takes the same decisions.
Nothing else that runs on the machine disturbs them. Time: real weights, from a file and from a callback, against the stock
encoder; one of each in turn, so that whatever else the machine does hits all of them alike. Seconds are user and system time of
the encoder, of the whole worker process with Python's own start where a callback gives the weights. Ratios are taken within a
turn; printed are their median, the middle half and the range. Without PICTURE it is scikit-image's rocket, enlarged.
"""

import argparse
import re
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from skimage.transform import resize

from fprdo_bridge import Encoder, codecs, toolchain
from fprdo_bridge.codecs.job import EncodeJob, IdseOptions
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.frames import load_picture, save_picture
from fprdo_bridge.importance.idse_file import IdseFile, ones, write_idse
from fprdo_bridge.importance.weighting import WeightSettings, write_weights
from fprdo_bridge.sequence import open_sequence

WIDTH, HEIGHT = 768, 512


def picture_of_size(name: str | None, folder: Path) -> Path:
    """The middle of a picture, or the rocket enlarged."""
    rgb = load_picture(name or "skimage:rocket")
    if name is None:
        rgb = (resize(rgb, (HEIGHT, WIDTH), order=3) * 255).round().clip(0, 255).astype(np.uint8)
    top, left = (rgb.shape[0] - HEIGHT) // 2, (rgb.shape[1] - WIDTH) // 2
    if top < 0 or left < 0:
        raise FprdoError(f"{name}: {rgb.shape[1]}x{rgb.shape[0]}; give a picture of at least {WIDTH}x{HEIGHT}")
    path = folder / f"{Path(name).stem if name else 'rocket'}.png"
    save_picture(path, np.ascontiguousarray(rgb[top:top + HEIGHT, left:left + WIDTH]))
    return path


def instructions(command: list[str], folder: Path) -> int:
    """Instructions that a command executes, as callgrind counts them."""
    run = subprocess.run(["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", *command], cwd=folder,
                         stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    counted = re.search(r"Collected : (\d+)", run.stderr)
    if run.returncode or not counted:
        sys.exit(run.stderr)
    return int(counted[1])


def child_seconds(run: Callable[[], object]) -> float:
    """User and system time of the processes that `run` starts and waits for."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def print_ratios(what: str, ratios: list[float]) -> None:
    first, middle, third = statistics.quantiles(ratios, n=4)
    print(f"  {what}: {middle:.3f} times stock (middle half {first:.3f} to {third:.3f}, all {min(ratios):.3f} to {max(ratios):.3f})",
          flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", nargs="?")
    parser.add_argument("--encoder", nargs="+", default=["hm", "jm"], choices=["hm", "jm"])
    parser.add_argument("--qp", type=int, nargs="+", default=[27, 37])
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--no-instructions", action="store_true", help="time alone")
    parser.add_argument("--no-time", action="store_true", help="instructions alone")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sequence = open_sequence(str(picture_of_size(options.picture, folder)))
        fmt, source = sequence.fmt, sequence.yuv(folder)
        unit, network = folder / "ones.idse", folder / "network.idse"
        write_idse(unit, [ones(fmt)], fmt, frame_count=1)
        write_weights(sequence, WeightSettings(), network)
        with IdseFile(network) as file:
            weights = file.map(0)
        for encoder in options.encoder:
            codec, tools, driven = codecs.get(encoder), toolchain.find(encoder), Encoder(encoder)
            config = codec.config_for("intra", fmt, tools)
            for qp in options.qp:
                def job(weights: Path | None) -> EncodeJob:
                    return EncodeJob(source=source, fmt=fmt, frames=1, qp=qp, bitstream=folder / "bitstream", config=(config,),
                                     weights=weights, options=codec.weighted_options(IdseOptions()) if weights == network else {})

                def command(weights: Path | None) -> list[str]:
                    return codec.command(job(weights), tools.encoder if weights else tools.stock_encoder)
                print(f"{encoder}, {sequence.name} {fmt.width}x{fmt.height}, QP {qp}", flush=True)
                if not options.no_instructions:
                    stock = instructions(command(None), folder)
                    weighted = instructions(command(unit), folder)
                    print(f"  weights 1.0: {weighted / stock:.4f} times stock's {stock:.4g} instructions", flush=True)
                if not options.no_time:
                    runs = {"stock": lambda: subprocess.run(command(None), cwd=folder, check=True, capture_output=True),
                            "from a file": lambda: subprocess.run(command(network), cwd=folder, check=True, capture_output=True),
                            "from a callback": lambda: driven.encode(source, qp, fmt=fmt, provider=lambda picture: weights)}
                    turns = [{what: child_seconds(run) for what, run in runs.items()} for _ in range(options.pairs)]
                    print(f"  stock: {statistics.median(turn['stock'] for turn in turns):.2f} s")
                    for what in runs.keys() - {"stock"}:
                        print_ratios(f"network's weights {what}", [turn[what] / turn["stock"] for turn in turns])


if __name__ == "__main__":
    try:
        main()
    except FprdoError as error:
        sys.exit(f"bridge_cost.py: error: {error}")
