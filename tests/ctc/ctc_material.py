"""Small pictures, conditions on them, and networks of known answers for the tests of test conditions."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch

from fprdo_bridge.video.pictures import load_picture, save_picture

TWO = """
title = "two small pictures"

[[sets]]
name = "small"
folder = "small"

[[encoders]]
encoder = "x264"
crf = [22, 27, 32, 37]

[maps.few]
extractor = "ctc_material:edges"
probes = 1

[[variants]]
kind = "stock"

[[variants]]
kind = "idse"
tau = [0.3, 1]

[[variants]]
kind = "qp-map"
tau = 1

[[variants]]
kind = "aq"

[[tasks]]
task = "features"
extractor = "ctc_material:edges"

[statistics]
resamples = 50
"""


def write_pictures(folder: Path, count: int = 2, side: int = 64) -> Path:
    """Windows of a photograph as folder/small/pN.png; returns `folder`."""
    (folder / "small").mkdir(parents=True, exist_ok=True)
    photograph = load_picture("skimage:astronaut")
    for number in range(count):
        row, column = (37 * number) % (512 - side), (61 * number + 150 + number // 448) % (512 - side)
        save_picture(folder / "small" / f"p{number}.png", photograph[row : row + side, column : column + side])
    return folder


def write_conditions(folder: Path, text: str = TWO, name: str = "two") -> Path:
    """A file of conditions."""
    path = folder / f"{name}.toml"
    path.write_text(text)
    return path


def edges():
    """An extractor that costs nothing: two fixed convolutions."""
    from fprdo_bridge.importance.extractors import Extractor

    generator = torch.Generator().manual_seed(1)
    module = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(4, 4, 3, padding=1)
    )
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return Extractor("edges", module, ["0", "2"])


class _Picky(torch.nn.Module):
    """Fails on pictures of 72 columns, unless CTC_CALM is set."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = torch.nn.Conv2d(3, 4, 3, padding=1)
        with torch.no_grad():
            for parameter in self.inner.parameters():
                parameter.copy_(torch.linspace(-1, 1, parameter.numel()).reshape(parameter.shape))

    def forward(self, rgb: torch.Tensor) -> torch.Tensor:
        if rgb.shape[-1] == 72 and not os.environ.get("CTC_CALM"):
            raise RuntimeError("no such picture for me")
        return self.inner(rgb)


def picky():
    """An extractor that fails on some pictures."""
    from fprdo_bridge.importance.extractors import Extractor

    return Extractor("picky", _Picky(), ["inner"])


class Squares(torch.nn.Module):
    """Finds saturated red (category 1) and green (category 2) squares: connected areas of a colour, as sure as the
    colour is pure."""

    def forward(self, ctc_material: list[torch.Tensor]) -> list[dict[str, torch.Tensor]]:
        from skimage.measure import label, regionprops

        found = []
        for picture in ctc_material:
            array = picture.numpy()
            boxes, labels, scores, masks = [], [], [], []
            for category, channel in ((1, 0), (2, 1)):
                others = array[[one for one in range(3) if one != channel]].max(0)
                purity = array[channel] - others
                for region in regionprops(label(purity > 0.3)):
                    y0, x0, y1, x1 = region.bbox
                    if region.area >= 9:
                        boxes.append([x0, y0, x1, y1])
                        labels.append(category)
                        scores.append(float(purity[region.coords[:, 0], region.coords[:, 1]].mean()))
                        mask = np.zeros(array.shape[1:], np.float32)
                        mask[region.coords[:, 0], region.coords[:, 1]] = 1
                        masks.append(mask)
            found.append(
                {
                    "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
                    "labels": torch.tensor(labels),
                    "scores": torch.tensor(scores),
                    "masks": torch.tensor(np.array(masks)).reshape(-1, 1, *array.shape[1:]),
                }
            )
        return found


def squares() -> Squares:
    """The detector of the tests."""
    return Squares()


def square_picture(seed: int, side: int = 96) -> tuple[np.ndarray, list[tuple[int, list[int]]]]:
    """Noise with red and green squares in it, and what they are: (category, [x, y, width, height])."""
    rng = np.random.default_rng(seed)
    picture = rng.integers(90, 160, (side, side, 3)).astype(np.uint8)
    truth = []
    for category in (1, 2, 1):
        edge, x, y = int(rng.integers(12, 20)), int(rng.integers(0, side // 2 - 20)), 4 + 30 * len(truth)
        picture[y : y + edge, x : x + edge] = [230, 20, 20] if category == 1 else [20, 230, 20]
        truth.append((category, [x, y, edge, edge]))
    return picture, truth


def tracker():
    """Follows the brightest block of 8x8 samples: one track, number 1."""

    def track(picture: np.ndarray) -> list[tuple[int, int, int, int, int]]:
        luma = picture.mean(2)
        rows, columns = luma.shape[0] // 8, luma.shape[1] // 8
        means = luma[: rows * 8, : columns * 8].reshape(rows, 8, columns, 8).mean((1, 3))
        row, column = np.unravel_index(means.argmax(), means.shape)
        return [(1, int(column) * 8, int(row) * 8, 8, 8)] if means.max() > 180 else []

    return track


def broken():
    """A plug-in that cannot be made."""
    raise RuntimeError("no weights here")
