"""What the bridge costs an encoder, on one picture of 768x512.

    .venv/bin/python tests/benchmarks/bridge_cost.py [PICTURE] [--encoder hm jm] [--qp 27 37] [--pairs 9]
    [--no-instructions]

Instructions (callgrind, which is part of valgrind): all weights 1.0 against the stock encoder, which takes the same
decisions. Nothing else that runs on the machine disturbs them. Time: real weights, from a file and from a callback,
against the stock encoder; one of each in turn, so that whatever else the machine does hits all of them alike. Seconds
are user and system time of the encoder; the start of the worker process, in which the encoder with a callback runs, is
printed beside them. Ratios are taken within a turn; printed are their median, the middle half and the range. Without
PICTURE it is scikit-image's rocket, enlarged.
"""

import argparse
import os
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

from fprdo_bridge import Encoder, encoders
from fprdo_bridge.encoders.job import EncodeJob, IdseOptions, Rate
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.importance.idse_file import IdseFile, WeightMap, ones, write_idse
from fprdo_bridge.importance.weighting import WeightSettings, write_weights
from fprdo_bridge.video.formats import Frame, VideoFormat
from fprdo_bridge.video.pictures import load_picture, save_picture
from fprdo_bridge.video.source import open_source

WIDTH, HEIGHT = 768, 512

# callgrind counts `rep movsb` as one instruction per byte. glibc copies large blocks with it, and JM copies so many
# that three quarters of its instructions were such bytes; vector instructions instead are counted for what they are.
WITHOUT_REP = "glibc.cpu.x86_rep_movsb_threshold=2000000000:glibc.cpu.x86_rep_stosb_threshold=2000000000"


def picture_of_size(name: str | None, folder: Path) -> Path:
    """The middle of a picture, or the rocket enlarged."""
    rgb = load_picture(name or "skimage:rocket")
    if name is None:
        rgb = (resize(rgb, (HEIGHT, WIDTH), order=3) * 255).round().clip(0, 255).astype(np.uint8)
    top, left = (rgb.shape[0] - HEIGHT) // 2, (rgb.shape[1] - WIDTH) // 2
    if top < 0 or left < 0:
        raise FprdoError(f"{name}: {rgb.shape[1]}x{rgb.shape[0]}; give a picture of at least {WIDTH}x{HEIGHT}")
    path = folder / f"{Path(name).stem if name else 'rocket'}.png"
    save_picture(path, np.ascontiguousarray(rgb[top : top + HEIGHT, left : left + WIDTH]))
    return path


def instructions(command: list[str], folder: Path) -> int:
    """Instructions that a command executes, as callgrind counts them."""
    run = subprocess.run(
        ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", *command],
        cwd=folder,
        env=os.environ | {"GLIBC_TUNABLES": WITHOUT_REP},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    counted = re.search(r"Collected : (\d+)", run.stderr)
    if run.returncode or not counted:
        sys.exit(run.stderr)
    return int(counted[1])


def children() -> float:
    """User and system time of all processes that were waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def child_seconds(command: list[str], folder: Path) -> float:
    before = children()
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return children() - before


def callback_seconds(
    encoder: Encoder, frames: list[Frame], qp: int, fmt: VideoFormat, weights: WeightMap
) -> tuple[float, float]:
    """Of the encoder, and of the rest of the worker."""
    before = children()
    seconds = encoder.encode(frames, qp, fmt=fmt, provider=lambda picture: weights).encoder_seconds
    return seconds, children() - before - seconds


def print_times(turns: int, runs: dict[str, Callable[[], tuple[float, float]]]) -> None:
    """`runs` give seconds and what else they took; the first is what the others are compared with."""
    taken = [{what: run() for what, run in runs.items()} for _ in range(turns)]
    stock, *others = runs
    print(f"  {stock}: {statistics.median(turn[stock][0] for turn in taken):.3f} s")
    for what in others:
        ratios = [turn[what][0] / turn[stock][0] for turn in taken]
        first, middle, third = statistics.quantiles(ratios, n=4)
        start = statistics.median(turn[what][1] for turn in taken)
        print(
            f"  {what}: {middle:.3f} times stock (middle half {first:.3f} to {third:.3f}, all {min(ratios):.3f} to {max(ratios):.3f})"  # noqa: E501
            + (f", and {start:.2f} s for the worker" if start else ""),
            flush=True,
        )


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
        sequence = open_source(str(picture_of_size(options.picture, folder)))
        fmt, source, frames = sequence.fmt, sequence.yuv(folder), list(sequence.read())
        unit, network = folder / "ones.idse", folder / "network.idse"
        write_idse(unit, [ones(fmt)], fmt, frame_count=1)
        if not options.no_time:
            write_weights(sequence, WeightSettings(), network)
            with IdseFile(network) as file:
                weights = file.map(0)
        for encoder in options.encoder:
            codec, driven = encoders.get(encoder), Encoder(encoder)
            tools = codec.tools()
            config = codec.config_for("intra", fmt, tools)
            for qp in options.qp:

                def job(weights: Path | None) -> EncodeJob:
                    return EncodeJob(
                        source=source,
                        fmt=fmt,
                        frames=1,
                        rate=Rate("qp", qp),
                        bitstream=folder / "bitstream",
                        config=(config,),
                        weights=weights,
                        options=codec.weighted_options(IdseOptions()) if weights == network else {},
                    )

                def command(weights: Path | None) -> list[str]:
                    return codec.command(job(weights), tools.encoder if weights else tools.stock_encoder)

                print(f"{encoder}, {sequence.name} {fmt.width}x{fmt.height}, QP {qp}", flush=True)
                if not options.no_instructions:
                    stock = instructions(command(None), folder)
                    weighted = instructions(command(unit), folder)
                    print(f"  weights 1.0: {weighted / stock:.4f} times stock's {stock:.4g} instructions", flush=True)
                if not options.no_time:
                    print_times(
                        options.pairs,
                        {
                            "stock": lambda: (child_seconds(command(None), folder), 0.0),
                            "network's weights from a file": lambda: (child_seconds(command(network), folder), 0.0),
                            "network's weights from a callback": lambda: callback_seconds(
                                driven, frames, qp, fmt, weights
                            ),
                        },
                    )


if __name__ == "__main__":
    try:
        main()
    except FprdoError as error:
        sys.exit(f"bridge_cost.py: error: {error}")
