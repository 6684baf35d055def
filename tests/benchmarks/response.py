"""How networks respond to coding errors: is it quadratic, as the weights assume, and where do errors count most?

    .venv/bin/python tests/benchmarks/response.py kodak/*.png [--qp 27 37 47]

Each picture is coded by the stock HM, all intra. Its error e, whole or in a third of its blocks of 16x16 (by their
variance: smooth, middle, textured), is added to the picture in full and by a tenth. A quadratic response is 100 times
as large for the full error. Printed are geometric means over the pictures, and over networks and views where there are
several: the full response over 100 times the small one, and the full response for each unit of squared error beside
that of the textured third. Networks: features of lite0; classes of lite1 and lite2, five views (task `classes`).
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a source tree that is not installed

from fprdo_bridge import Encoder, VideoFormat, load_extractor, load_picture
from fprdo_bridge.ctc.conditions import TaskSetting
from fprdo_bridge.ctc.tasks import make
from fprdo_bridge.importance.extractors import feature_distance
from fprdo_bridge.video.colour import frame_to_rgb
from fprdo_bridge.video.pictures import picture_to_frame

_BLOCK = 16
_SMALL = 0.1
_NETWORKS = ("efficientnet_lite1", "efficientnet_lite2")


class _Rgb:
    """A picture (1, 3, height, width) in the place of decoded frames."""

    def __init__(self, picture: Tensor):
        self._picture = picture

    def rgb(self) -> Iterator[Tensor]:
        yield self._picture


def thirds(luma: np.ndarray) -> dict[str, np.ndarray]:
    """The blocks of a plane by their variance: name -> float32 (height, width), 1 in the blocks and 0 elsewhere."""
    height, width = (size // _BLOCK * _BLOCK for size in luma.shape)
    blocks = luma[:height, :width].astype(float).reshape(height // _BLOCK, _BLOCK, width // _BLOCK, _BLOCK)
    variance = blocks.var((1, 3))
    rank = np.digitize(variance, np.quantile(variance, [1 / 3, 2 / 3]))
    masks = {"all": np.ones_like(rank), "smooth": rank == 0, "middle": rank == 1, "textured": rank == 2}
    edges = [(0, whole - used) for whole, used in zip(luma.shape, (height, width))]
    return {
        name: np.pad(np.kron(mask, np.ones((_BLOCK, _BLOCK))), edges).astype(np.float32) for name, mask in masks.items()
    }


def main(words: list[str]) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", nargs="+")
    parser.add_argument("--qp", type=int, nargs="+", default=[27, 37, 47])
    options = parser.parse_args(words)
    encoder, extractor = Encoder("hm"), load_extractor("lite0")
    tasks = [
        make(TaskSetting("classes", {"network": name, "views": 5}), "response", "cpu") for name in _NETWORKS
    ]  # each gives the geometric mean over its views
    logs: dict[tuple[int, str], list[list[float]]] = {}
    for name in options.pictures:
        picture = load_picture(name)
        fmt = VideoFormat(picture.shape[1], picture.shape[0])
        frame = picture_to_frame(picture, fmt)
        original = frame_to_rgb(frame, fmt)
        with torch.no_grad():
            features = [one.clone() for one in extractor(original)]
        prepared = [task.prepare(_Rgb(original)) for task in tasks]

        def responses(error: Tensor) -> np.ndarray:
            changed = original + error
            distance = feature_distance(extractor, features, changed)
            return np.log([distance, *(task.score(one, _Rgb(changed))["log_kl"] for task, one in zip(tasks, prepared))])

        for qp in options.qp:
            decoded = encoder.encode([frame], qp, fmt=fmt).reconstruction[0]
            error = frame_to_rgb(decoded, fmt) - original
            whole = float(error.square().sum())
            for part, mask in thirds(frame[0]).items():
                own = error * torch.from_numpy(mask)
                energy = float(own.square().sum())
                full, small = responses(own), responses(_SMALL * own)
                ratio, each = full - small + 2 * np.log(_SMALL), full - np.log(energy)
                row = [np.log(energy / whole), ratio[0], ratio[1:].mean(), each[0], each[1:].mean()]
                logs.setdefault((qp, part), []).append(row)
        print(name, file=sys.stderr, flush=True)
    columns = ("features, full to quadratic", "KL, full to quadratic", "features for its error", "KL for its error")
    print(f"| QP | blocks | squared error | {' | '.join(columns)} |")
    print("|---|---|---|---|---|---|---|")
    for (qp, part), rows in logs.items():
        share, features_ratio, kl_ratio, features_each, kl_each = np.mean(rows, 0)
        texture = np.mean(logs[qp, "textured"], 0)
        print(
            f"| {qp} | {part} | {100 * np.exp(share):.0f} % | {np.exp(features_ratio):.2f} | {np.exp(kl_ratio):.2f} | "
            f"{np.exp(features_each - texture[3]):.1f} | {np.exp(kl_each - texture[4]):.1f} |"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
