"""A clip's weights as a moving picture: an animated WebP, or a PNG for each frame."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import numpy as np

from fprdo_bridge.errors import FprdoError
from fprdo_bridge.files import replacing
from fprdo_bridge.importance.growing import GrowingFile, open_weights
from fprdo_bridge.importance.idse_file import IdseFile
from fprdo_bridge.report.heatmap import checked_format
from fprdo_bridge.report.maps import coloured
from fprdo_bridge.video.pictures import frame_to_picture
from fprdo_bridge.video.source import Source

_RATE = 25.0  # frames per second where no clip says another


def draw_animation(weight_file: Path, sequence: Source | None, path: Path) -> list[Path]:
    """Write the map of every frame, beside the clip if there is one.

    Parameters
    ----------
    sequence : what the weights were computed on
    path : NAME.webp for an animation; NAME.png for NAME-0000.png, NAME-0001.png and so on

    Returns
    -------
    The files.

    Raises
    ------
    FprdoError
        The weight file is damaged, is of another size than the sequence, the suffix is another, or a file cannot be
        written.
    """
    suffix = path.suffix.lower()
    if suffix not in (".webp", ".png"):
        raise FprdoError(f"{path}: an animation is .webp or, as a picture for each frame, .png; use one of them")
    from PIL import Image

    with open_weights(weight_file) as file, closing(_pictures(file, weight_file, sequence)) as pictures:
        if suffix == ".png":
            written = []
            for number, picture in enumerate(pictures):
                written.append(path.with_name(f"{path.stem}-{number:04}.png"))
                with replacing(written[-1]) as temporary:
                    Image.fromarray(picture).save(temporary, "PNG")
            return written
        rate = float(sequence.frame_rate) if sequence else _RATE
        first = Image.fromarray(next(pictures))
        with replacing(path) as temporary:
            first.save(
                temporary,
                "WEBP",
                save_all=True,
                append_images=map(Image.fromarray, pictures),
                duration=max(1, round(1000 / rate)),
                loop=0,
                quality=85,
            )
    return [path]


def _pictures(file: IdseFile | GrowingFile, name: Path, sequence: Source | None) -> Generator[np.ndarray]:
    """Frame by frame the map, with the picture on its left."""
    fmt = checked_format(file, name, sequence)
    frames = sequence.read() if sequence else iter(())
    last, plane = -1, np.zeros(0, np.uint16)
    for number in range(file.frame_count):
        index = number // file.frames_per_map
        if index != last:
            last, plane = index, file.raw_map(index)[0][0]
        frame = next(frames, None)
        if frame is None or sequence is None:
            yield coloured(plane)
            continue
        picture = frame_to_picture(frame, sequence.fmt)[: fmt.height, : fmt.width]
        map_ = coloured(plane[: picture.shape[0], : picture.shape[1]], picture)
        yield np.concatenate([picture, map_], axis=1)
