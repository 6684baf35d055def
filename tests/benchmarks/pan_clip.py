"""A clip with real motion from the pictures of scikit-image, for measurements on video without any video at hand.

    .venv/bin/python tests/benchmarks/pan_clip.py OUT.y4m [--size 640x352] [--frames 100]

Two shots of the same length. In each the camera pans, zooms and rolls over a photograph while a disc cut out of another
one crosses in front of it on a curve, its picture turning and growing, so that pictures are predicted from one another,
never perfectly, and areas appear and disappear. Every frame has its own noise of a camera. Repeats to the byte on one
machine.
"""

import argparse
import math
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from fprdo_bridge.errors import FprdoError
from fprdo_bridge.files import replacing
from fprdo_bridge.video.colour import rgb_to_frame
from fprdo_bridge.video.formats import Frame, VideoFormat
from fprdo_bridge.video.pictures import load_picture

SHOTS = (("skimage:coffee", "skimage:chelsea"), ("skimage:rocket", "skimage:astronaut"))  # behind, in front
FRAMES_PER_SECOND = 30
NOISE = 1.5 / 255  # standard deviation


def photograph(name: str) -> Tensor:
    """(1, 3, height, width), 0 to 1."""
    return torch.from_numpy(load_picture(name)).permute(2, 0, 1)[None].float() / 255


def view(picture: Tensor, centre: tuple[float, float], scale: float, angle: float, width: int, height: int) -> Tensor:
    """(1, 3, height, width): `picture` around `centre` (shares of its sides), `scale` of its samples per sample,
    turned by `angle` in radians; mirrored at its edges."""
    rows, columns = picture.shape[2:]
    y, x = torch.meshgrid(torch.arange(height) - (height - 1) / 2, torch.arange(width) - (width - 1) / 2, indexing="ij")
    cosine, sine = scale * math.cos(angle), scale * math.sin(angle)
    grid = torch.stack(
        [
            2 * centre[0] - 1 + 2 * (cosine * x - sine * y) / columns,
            2 * centre[1] - 1 + 2 * (sine * x + cosine * y) / rows,
        ],
        -1,
    )
    return torch.nn.functional.grid_sample(
        picture, grid[None], mode="bicubic", padding_mode="reflection", align_corners=False
    ).clamp(0, 1)


def frames(fmt: VideoFormat, count: int) -> Iterator[Frame]:
    """`count` frames of `fmt`, the same for the same arguments."""
    noise = torch.Generator().manual_seed(0)
    shots = [(photograph(behind), photograph(front)) for behind, front in SHOTS]
    length = -(-count // len(shots))
    diameter = fmt.height * 9 // 16
    radius = torch.hypot(*torch.meshgrid(*[torch.arange(diameter) - (diameter - 1) / 2] * 2, indexing="ij"))
    disc = ((diameter / 2 - radius) / 4).clamp(0, 1)  # with a soft edge
    for index in range(count):
        behind, front = shots[index // length]
        time = index % length / length
        across = behind.shape[3] / fmt.width  # the width of the photograph is in view at a scale of `across`
        rgb = view(
            behind,
            (0.4 + 0.2 * time, 0.55 - 0.1 * time),
            across * (0.85 - 0.2 * time),
            0.05 * time,
            fmt.width,
            fmt.height,
        )
        cut = view(
            front, (0.5, 0.42 - 0.08 * math.sin(6 * time)), 1 - 0.3 * time, 0.3 * math.sin(5 * time), diameter, diameter
        )
        left = round((0.05 + 0.6 * time) * (fmt.width - diameter))
        top = round((0.5 + 0.4 * math.sin(4 * time)) * (fmt.height - diameter))
        place = rgb[:, :, top : top + diameter, left : left + diameter]
        place += disc * (cut - place)
        grain = torch.randn((1, 1, fmt.height, fmt.width), generator=noise) * NOISE
        yield rgb_to_frame((rgb + grain).clamp(0, 1), fmt)


def size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if not match or int(match[1]) < int(match[2]) or int(match[2]) < 64:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; write it like 640x352, landscape, 64 rows or more")
    return int(match[1]), int(match[2])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--size", type=size, default=(640, 352))
    parser.add_argument("--frames", type=int, default=100)
    options = parser.parse_args()
    fmt = VideoFormat(*options.size)
    with replacing(options.output) as temporary, open(temporary, "wb") as file:
        file.write(f"YUV4MPEG2 W{fmt.width} H{fmt.height} F{FRAMES_PER_SECOND}:1 Ip A1:1 C420mpeg2\n".encode())
        file.writelines(
            b"FRAME\n" + b"".join(plane.tobytes() for plane in frame) for frame in frames(fmt, options.frames)
        )


if __name__ == "__main__":
    try:
        main()
    except FprdoError as error:
        sys.exit(f"pan_clip.py: error: {error}")
