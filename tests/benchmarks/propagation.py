"""Importance propagated through references, in HM low delay: what it saves, and what luma pays.

    .venv/bin/python tests/benchmarks/crop_clips.py out/clips
    .venv/bin/python tests/benchmarks/propagation.py out/clips/{carphone,bikes-small,bunny-small}.y4m

An error in a block is carried on into the blocks that are predicted from it. As in a macroblock tree, the importance of
a 16x16 block of frame t is

    I_t = w_t + sum over the blocks of frame t + 1 of their overlap with it, moved back, times share times I_{t+1}

with the mean weight w_t of the block, (w + tau) / (1 + tau), and share = 1 - inter / intra, of the sums of absolute
differences from the block that motion search finds and from the block's mean. The weights are multiplied by
(I_t / w_t)^0.4. The mean of a frame goes into its QP, -3 log2(mean), rounded, with mean 0 over the clip (HM's option
dQPFile), and its map keeps the rest at mean 1. Importance comes from 24 frames more than are coded, as else the last
frames would count less because the clip ends there.

"In maps alone" has no QP of frames. "Plain" has the QP of frames that weights of 1, propagated, give, with the preset's
own maps or with the stock encoder. Printed are BD-rates against the stock encoder, of features of lite0 and of luma
PSNR, and their means.
"""

import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a source tree that is not installed

from fprdo_bridge import Encoder, IdseOptions, compute_map, load_extractor
from fprdo_bridge.ctc.statistics import Curve, bd_rate
from fprdo_bridge.encoders.hm import HM
from fprdo_bridge.importance.extractors import feature_distance
from fprdo_bridge.processes import cores
from fprdo_bridge.video.colour import frame_to_rgb
from fprdo_bridge.video.source import open_source

_FRAMES, _BEHIND, _FRAMES_PER_MAP, _QPS = 65, 24, 8, (22, 27, 32, 37)
_BLOCK, _RANGE, _STRENGTH = 16, 8, 0.4
_VECTOR_COST = 4  # absolute differences that a step of a motion vector costs
_PRESETS = {"neutral": 1.5, "balanced": 0.5, "machine": 0.15}  # tau of HM's presets for prediction

Planes = list[np.ndarray]


def blocks(plane: np.ndarray) -> np.ndarray:
    """A plane in whole blocks: (rows, 16, columns, 16)."""
    height, width = (size // _BLOCK for size in plane.shape)
    return plane[: height * _BLOCK, : width * _BLOCK].reshape(height, _BLOCK, width, _BLOCK)


def motion(current: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Per block the vector (rows, columns, 2) to where it comes from, and the share of it that comes from there."""
    height, width = current.shape
    padded = np.pad(reference, _RANGE, mode="edge")
    least = np.full((height // _BLOCK, width // _BLOCK), np.inf)
    vectors, inter = np.zeros((*least.shape, 2), int), least.copy()
    for y in range(-_RANGE, _RANGE + 1):
        for x in range(-_RANGE, _RANGE + 1):
            moved = padded[_RANGE + y : _RANGE + y + height, _RANGE + x : _RANGE + x + width]
            found = np.abs(blocks(current) - blocks(moved)).sum((1, 3))
            better = found + _VECTOR_COST * (abs(x) + abs(y)) < least
            least[better] = (found + _VECTOR_COST * (abs(x) + abs(y)))[better]
            inter[better], vectors[better] = found[better], (y, x)
    whole = blocks(current)
    intra = np.abs(whole - whole.mean((1, 3), keepdims=True)).sum((1, 3))
    return vectors, np.clip(1 - inter / np.maximum(intra, 1), 0, 1)


def importance(own: Sequence[np.ndarray], moves: Sequence[tuple[np.ndarray, np.ndarray]]) -> list[np.ndarray]:
    """I_t of every frame from the mean weights of its blocks; moves[t] is that of frame t + 1."""
    found = [own[-1]]
    for before, (vectors, share) in zip(reversed(own[:-1]), reversed(moves)):
        rows, columns = before.shape
        samples = np.zeros((rows * _BLOCK + 2 * _RANGE, columns * _BLOCK + 2 * _RANGE))
        for row, column in np.ndindex(rows, columns):
            y, x = vectors[row, column] + _RANGE + (row * _BLOCK, column * _BLOCK)
            samples[y : y + _BLOCK, x : x + _BLOCK] += share[row, column] * found[-1][row, column] / _BLOCK**2
        found.append(before + blocks(samples[_RANGE:-_RANGE, _RANGE:-_RANGE]).sum((1, 3)))
    return found[::-1]


def propagated(
    maps: Sequence[Sequence[np.ndarray]], moves: Sequence[tuple[np.ndarray, np.ndarray]], tau: float
) -> tuple[list[Planes], list[int]]:
    """Maps with tau in them and the importance of later frames, and the QP offsets of the frames."""
    mixed = [[(plane + tau) / (1 + tau) for plane in one] for one in maps]
    own = [blocks(one[0]).mean((1, 3)) for one in mixed]
    gains = [(after / before) ** _STRENGTH for after, before in zip(importance(own, moves), own)]
    levels = np.array([-3 * np.log2((gain * before).mean()) for gain, before in zip(gains, own)])
    planes = []
    for one, gain in zip(mixed, gains):
        height, width = one[0].shape
        fine = np.kron(gain, np.ones((_BLOCK, _BLOCK)))
        fine = np.pad(fine, ((0, height - fine.shape[0]), (0, width - fine.shape[1])), mode="edge")
        weighed = [plane * fine[:: 1 + (c > 0), :: 1 + (c > 0)] for c, plane in enumerate(one)]  # 4:2:0
        planes.append([(plane / plane.mean()).astype(np.float32) for plane in weighed])
    return planes, [round(level) for level in levels - levels.mean()]


def measure(path: str) -> dict[str, tuple[float, float]]:
    """BD-rates of each variant on a clip: features, luma PSNR."""
    torch.set_num_threads(1)
    source = open_source(path, frames=_FRAMES + _BEHIND)
    fmt, seen = source.fmt, list(source.read())
    frames = seen[:_FRAMES]
    extractor, judge, encoder = load_extractor(), load_extractor("lite0"), Encoder("hm", "lowdelay")
    starts = [compute_map(frame, fmt, extractor, transform_sizes=()).planes for frame in seen[::_FRAMES_PER_MAP]]
    maps = [starts[number // _FRAMES_PER_MAP] for number in range(len(seen))]
    ones = [[np.ones_like(plane) for plane in one] for one in maps]
    luma = [frame[0].astype(float) for frame in seen]
    moves = [motion(after, before) for before, after in zip(luma, luma[1:])]

    def encode(
        name: str, planes: Sequence[Sequence[np.ndarray]] | None, tau: float, offsets: Sequence[int]
    ) -> tuple[Curve, Curve]:
        idse = IdseOptions.preset("balanced", "hm", inter=True, tau=tau)
        rates, distances, errors = [], [], []
        with tempfile.TemporaryDirectory() as folder:
            options = dict(HM.weighted_options(idse)) if planes else {}
            if offsets:
                options["dQPFile"] = str(Path(folder) / "qp")
                Path(folder, "qp").write_text("".join(f"{offset}\n" for offset in offsets))
            provide: Callable | None = planes and (lambda picture: tuple(planes[picture.frame]))
            for qp in _QPS:
                given = {"provider": provide, "idse": idse, "transform_sizes": ()} if planes else {}
                coded = encoder.encode(frames, qp, fmt=fmt, options=options, **given)
                pairs = list(zip(frames, coded.reconstruction, strict=True))
                rgb = [(frame_to_rgb(one, fmt), frame_to_rgb(other, fmt)) for one, other in pairs]
                rates.append(float(len(coded.bitstream)))
                distances.append(np.mean([feature_distance(judge, one, other) for one, other in rgb]))
                psnr = [
                    -10 * np.log10(np.square(one[0].astype(float) - other[0]).mean() / 255**2) for one, other in pairs
                ]
                errors.append(float(np.mean(psnr)))
        print(f"{Path(path).stem}: {name}", file=sys.stderr, flush=True)
        return Curve(rates, [-10 * float(np.log10(one)) for one in distances]), Curve(rates, errors)

    found = {"stock": encode("stock", None, 0, ())}
    for name, tau in _PRESETS.items():
        found[name] = encode(name, maps, tau, ())
    for name in ("balanced", "machine"):
        planes, offsets = propagated(maps, moves, _PRESETS[name])
        found[f"propagated, {name}"] = encode(f"propagated, {name}", planes, 0, offsets[:_FRAMES])
    found["propagated in maps alone, machine"] = encode("in maps alone, machine", planes, 0, ())
    _, offsets = propagated(ones, moves, 0)
    found["plain, machine"] = encode("plain, machine", maps, _PRESETS["machine"], offsets[:_FRAMES])
    found["plain, stock"] = encode("plain, stock", None, 0, offsets[:_FRAMES])
    anchors = found.pop("stock")
    return {
        name: tuple(bd_rate(anchor, one).percent for anchor, one in zip(anchors, curves))
        for name, curves in found.items()
    }


def main(paths: Sequence[str]) -> None:
    """Print the table."""
    with ProcessPoolExecutor(cores()) as pool:
        clips = dict(zip([Path(path).stem for path in paths], pool.map(measure, paths)))
    print("| features, luma PSNR | " + " | ".join(clips) + " | mean |")
    print("|---|" + "---|" * (len(clips) + 1))
    for name in next(iter(clips.values())):
        rows = [one[name] for one in clips.values()]
        print(f"| {name} | " + " | ".join(f"{x:+.1f}, {y:+.1f}" for x, y in (*rows, np.mean(rows, 0))) + " |")


if __name__ == "__main__":
    main(sys.argv[1:])
