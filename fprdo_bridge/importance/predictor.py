"""A small network that gives the weight map of an extractor from the picture in one pass.

The picture is cut into cells of 4x4 luma samples, 48 numbers each, and goes through separable convolutions at strides
4, 8, 16 and 32. Per cell come the log weight of each component, and for each component the coefficients a_k by which
the shapes of its blocks differ from the mean shape of the training maps:

    shape(u, v) = exp(mean_log(u, v) + sum_k a_k phi_k(u / N, v / N)), brought to mean 1,

with phi the slopes along u and v, their product and the square of their sum.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from fprdo_bridge.errors import FprdoError
from fprdo_bridge.files import regular_file, replacing
from fprdo_bridge.importance.device import DEFAULT_DEVICE, find_device
from fprdo_bridge.importance.weight_map import TRANSFORM_SIZES, WeightMap
from fprdo_bridge.importance.weighting import MapMaker
from fprdo_bridge.video.colour import float_planes, planes_to_rgb
from fprdo_bridge.video.formats import VideoFormat

if TYPE_CHECKING:
    from fprdo_bridge.video.formats import Frame

VERSION = 1  # of the file and of the network in it
KIND = "fprdo predictor"
COMPONENTS = 3
BASES = 4
CELL = 4  # luma samples a side
_WHOLE = 32  # samples; the largest stride
_WIDTHS = (32, 48, 64, 80)  # at strides 4, 8, 16, 32
_RANGE = 6.0  # of log weights


class Separable(nn.Module):
    """Depthwise and pointwise convolution with a rectifier, and the input added where it fits."""

    def __init__(self, given: int, made: int, stride: int = 1):
        super().__init__()
        self.depthwise = nn.Conv2d(given, given, 5, stride, 2, groups=given)
        self.pointwise = nn.Conv2d(given, made, 1)
        self.adds = stride == 1 and given == made

    def forward(self, values: Tensor) -> Tensor:
        found = functional.relu(self.pointwise(self.depthwise(values)))
        return found + values if self.adds else found


class PredictorNetwork(nn.Module):
    """RGB (n, 3, height, width), sides multiples of 32 -> (n, COMPONENTS (1 + BASES), height / 4, width / 4)."""

    def __init__(self) -> None:
        super().__init__()
        first, *widths = _WIDTHS
        self.stem = nn.Conv2d(3 * CELL * CELL, first, 1)
        self.fine = nn.Sequential(Separable(first, first), Separable(first, first))
        self.down = nn.ModuleList(
            nn.Sequential(Separable(given, made, 2), Separable(made, made), Separable(made, made))
            for given, made in zip(_WIDTHS, widths)
        )
        self.across = nn.ModuleList(nn.Conv2d(width, first, 1) for width in widths)
        self.last = nn.Sequential(Separable(first, first), nn.Conv2d(first, COMPONENTS * (1 + BASES), 1))

    def forward(self, rgb: Tensor) -> Tensor:
        fine = self.fine(functional.relu(self.stem(functional.pixel_unshuffle(2 * rgb - 1, CELL))))
        coarse, levels = fine, []
        for down, across in zip(self.down, self.across):
            coarse = down(coarse)
            levels.append(across(coarse))
        total = levels.pop()
        for level in reversed(levels):
            total = level + functional.interpolate(total, scale_factor=2.0, mode="bilinear")
        fine = fine + functional.interpolate(total, scale_factor=2.0, mode="bilinear")
        found: Tensor = self.last(fine)
        return found


def bases(n: int) -> Tensor:
    """phi_k of n x n blocks: (BASES, n, n), vertical frequency first."""
    v, u = torch.meshgrid(torch.arange(n) / n, torch.arange(n) / n, indexing="ij")
    return torch.stack((u, v, u * v, (u + v).square() / 2))


def shapes_of(mean_log: Tensor, coefficients: Tensor, n: int) -> Tensor:
    """Shapes (..., n, n) of mean 1 from mean logs (..., n, n) and coefficients (..., BASES) of blocks."""
    logs = mean_log + torch.tensordot(coefficients, bases(n).to(coefficients.device), dims=1)
    return (torch.softmax(logs.flatten(-2), dim=-1) * n * n).reshape(logs.shape)


@dataclass(frozen=True)
class Predictor(MapMaker):
    """Maps by a trained network.

    Attributes
    ----------
    path : of the file that it comes from
    made_from : what the maps it was trained on say: extractor, probes and so on
    fingerprint : "sha256:<hex>" of the file
    """

    path: str
    made_from: Mapping[str, Any]
    fingerprint: str
    network: PredictorNetwork
    mean_logs: Mapping[int, Tensor]  # n -> (COMPONENTS, n, n)
    plane_gain: tuple[float, ...]
    device: torch.device

    name = "predictor"
    transform_sizes = TRANSFORM_SIZES

    def description(self) -> dict[str, object]:
        """What the metadata of a weight file say."""
        return {"name": self.name, "fingerprint": self.fingerprint, "version": VERSION, "of": dict(self.made_from)}

    def map(self, frame: Frame, fmt: VideoFormat) -> WeightMap:
        """The weight map of a frame of planes fmt.plane_shapes."""
        with torch.inference_mode():
            rgb = planes_to_rgb([plane.to(self.device) for plane in float_planes(frame)], fmt)
            found = self.network(padded(rgb))[0]
            planes: list[np.ndarray] = []
            shapes: dict[int, list[np.ndarray]] = {n: [] for n in TRANSFORM_SIZES}
            for component, (rows, columns) in enumerate(fmt.plane_shapes):
                down, across = (round(a / b) for a, b in zip((fmt.height, fmt.width), (rows, columns)))
                log_weight, coefficients = component_of(found, component)
                cells = -(-fmt.height // CELL), -(-fmt.width // CELL)
                weight = log_weight[: cells[0], : cells[1]].clamp(-_RANGE, _RANGE).exp()
                size = cells[0] * CELL // down, cells[1] * CELL // across
                plane = functional.interpolate(weight[None, None], size=size, mode="bilinear")[0, 0][:rows, :columns]
                planes.append((plane / plane.mean()).cpu().numpy())
                for n in TRANSFORM_SIZES:
                    blocks = -(-rows // n), -(-columns // n)
                    of_block = block_coefficients(coefficients, (n * down / CELL, n * across / CELL), blocks)
                    made = shapes_of(self.mean_logs[n][component], of_block, n)
                    shapes[n].append(made.transpose(1, 2).reshape(blocks[0] * n, blocks[1] * n).cpu().numpy())
            gain = self.plane_gain[: len(planes)]
            return WeightMap(tuple(planes), {n: tuple(of_size) for n, of_size in shapes.items()}, gain)


def padded(rgb: Tensor) -> Tensor:
    """Sides filled up to whole strides with the border's samples."""
    down, across = (-side % _WHOLE for side in rgb.shape[-2:])
    return functional.pad(rgb, (0, across, 0, down), mode="replicate")


def component_of(found: Tensor, component: int) -> tuple[Tensor, Tensor]:
    """Of the network's output (..., h, w) the log weight (h, w) and coefficients (BASES, h, w) of a component."""
    first = COMPONENTS + BASES * component
    return found[..., component, :, :], found[..., first : first + BASES, :, :]


def block_coefficients(coefficients: Tensor, cells: tuple[float, float], blocks: tuple[int, int]) -> Tensor:
    """Means over blocks of `cells` a side: (BASES, h, w) -> (rows, columns, BASES); one cell for smaller blocks."""
    down, across = (max(round(side), 1) for side in cells)
    repeat_down, repeat_across = (max(round(1 / side), 1) for side in cells)
    values = functional.avg_pool2d(coefficients[None], (down, across), ceil_mode=True)[0]
    values = values.repeat_interleave(repeat_down, 1).repeat_interleave(repeat_across, 2)
    missing = [max(want - have, 0) for want, have in zip(blocks, values.shape[-2:])]
    values = functional.pad(values[None], (0, missing[1], 0, missing[0]), mode="replicate")[0]
    return values[:, : blocks[0], : blocks[1]].permute(1, 2, 0)


def save_predictor(
    path: Path,
    network: PredictorNetwork,
    mean_logs: Mapping[int, Tensor],
    plane_gain: Sequence[float],
    made_from: Mapping[str, Any],
) -> None:
    """Write a predictor: tensors and plain values, which are read without running code."""
    content = {
        "kind": KIND,
        "version": VERSION,
        "made_from": dict(made_from),
        "plane_gain": list(plane_gain),
        "mean_logs": {n: one.clone() for n, one in mean_logs.items()},
        "state": network.state_dict(),
    }
    write_tensors(path, content)


def write_tensors(path: Path, content: Mapping[str, Any]) -> None:
    """Write what torch saves; the bytes do not depend on the name of the file.

    Raises FprdoError if the file cannot be written.
    """
    # torch itself would put the file's name into it, and fails at a full disk with an error of its own.
    buffer = io.BytesIO()
    torch.save(dict(content), buffer)
    with replacing(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def load_predictor(name: str, device: str = DEFAULT_DEVICE) -> Predictor:
    """Read a predictor, without running code from it.

    Raises
    ------
    FprdoError
        No such file, it is not one of `fprdo distill`, or one of another version; no such device.
    """
    place = find_device(device)
    data = regular_file(name).read_bytes()
    wrong = f"{name}: is no predictor; give a file that fprdo distill has written"
    try:
        found = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # pickle, zip and torch have many
        raise FprdoError(wrong) from error
    if not isinstance(found, dict) or found.get("kind") != KIND:
        raise FprdoError(wrong)
    if found.get("version") != VERSION:
        raise FprdoError(
            f"{name}: is a predictor of version {found.get('version')}, this fprdo reads {VERSION}; make it anew with "
            "fprdo distill"
        )
    try:
        network = PredictorNetwork()
        network.load_state_dict(found["state"])
        mean_logs = {n: found["mean_logs"][n].reshape(COMPONENTS, n, n).float().to(place) for n in TRANSFORM_SIZES}
        gain = tuple(float(value) for value in found["plane_gain"])
        made_from = dict(found["made_from"])
    except Exception as error:
        raise FprdoError(f"{wrong} (it is damaged)") from error
    layout = torch.channels_last if place.type == "cpu" else torch.contiguous_format
    network.eval().requires_grad_(False).to(place, memory_format=layout)  # type: ignore[call-overload]
    fingerprint = f"sha256:{hashlib.sha256(data).hexdigest()}"
    return Predictor(str(name), made_from, fingerprint, network, mean_logs, gain, place)
