"""A weight map to look at: luma weights over the picture, and the QP offsets that the encoder takes from them."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np

from fprdo_bridge.encoders.job import IdseOptions
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.importance.growing import GrowingFile, open_weights
from fprdo_bridge.importance.idse_file import IdseFile
from fprdo_bridge.report.figures import LITERAL, figure, literal
from fprdo_bridge.report.maps import COLOURS, OCTAVES, OPACITY, octaves, qp_offsets
from fprdo_bridge.video.formats import VideoFormat, coded_format
from fprdo_bridge.video.pictures import frame_to_picture
from fprdo_bridge.video.source import Source

_WIDTH, _HIGHEST = 7.0, 40.0  # inches of a panel
_SMALLEST = 1.0  # point; numbers below that size would take long to draw and nobody could read them


def draw_weight_file(
    weight_file: Path, options: IdseOptions, sequence: Source | None, path: Path, frame: int = 0, block: int = 32
) -> None:
    """Write a picture of the map of one frame of a weight file.

    Parameters
    ----------
    options : run-time settings; the QP offsets are those of an encoder that runs with them
    sequence : what the weights were computed on, to be shown beside the map; None for the map alone
    frame : from 0 on
    block : luma size of the quantisation groups whose offsets are written

    Raises
    ------
    FprdoError
        The weight file is damaged, has no such frame or is of another size than the sequence; or see `draw_map`.
    """
    with open_weights(weight_file) as file:
        fmt = checked_format(file, weight_file, sequence)
        if not 0 <= frame < file.frame_count:
            raise FprdoError(f"{weight_file}: has frames 0 to {file.frame_count - 1}, not {frame}")
        picture = None
        if sequence:
            pictures = list(islice(sequence.read(), frame, frame + 1))
            picture = frame_to_picture(pictures[0], sequence.fmt) if pictures else None
        planes, _ = file.raw_map(frame // file.frames_per_map)
        extractor = file.metadata.get("extractor", {})
        name = extractor.get("name", "unknown extractor") if isinstance(extractor, dict) else str(extractor)
        title = f"{sequence.name if sequence else weight_file.stem}: what {name} sees"
        draw_map(path, planes, fmt, options, picture, title, block)


def checked_format(file: IdseFile | GrowingFile, name: Path, sequence: Source | None) -> VideoFormat:
    """The format that the weights of `file`, called `name`, are for.

    Raises
    ------
    FprdoError
        The sequence is of another size or chroma format.
    """
    fmt = VideoFormat(file.layout.width, file.layout.height, file.layout.chroma)
    if sequence:
        coded = coded_format(sequence.fmt)
        if (coded.width, coded.height) != (fmt.width, fmt.height):
            raise FprdoError(
                f"{name}: weights for {fmt.width}x{fmt.height}, {sequence.origin} is "
                f"{sequence.fmt.width}x{sequence.fmt.height}; give the picture they were computed on"
            )
        if sequence.fmt.chroma != fmt.chroma:
            raise FprdoError(
                f"{name}: weights for {fmt.chroma}, {sequence.origin} is {sequence.fmt.chroma}; give the picture they "
                "were computed on"
            )
    return fmt


def draw_map(
    path: Path,
    planes: tuple[np.ndarray, ...],
    fmt: VideoFormat,
    options: IdseOptions,
    picture: np.ndarray | None,
    title: str,
    block: int = 32,
) -> None:
    """Write a PNG (or any format of matplotlib's, by suffix) with the map, and the picture beside it if there is one.

    Parameters
    ----------
    planes : uint16 pixel weights of shapes fmt.plane_shapes, 8 fraction bits
    options : run-time settings; the QP offsets are those of an encoder that runs with them
    picture : uint8 (height, width, 3), at least as large as the map shows; None for the map alone
    block : luma size of the quantisation groups whose offsets are written

    Raises
    ------
    FprdoError
        The file cannot be written, or matplotlib does not know its type.
    """
    from matplotlib.patheffects import withStroke

    offsets = qp_offsets(planes, fmt, options, block)
    columns = 1 if picture is None else 2
    panel_width = min(_WIDTH, _HIGHEST * fmt.width / fmt.height)  # of the picture in its panel
    panel_height = max(2.0, panel_width * fmt.height / fmt.width)
    size = min(8.0, 0.42 * block * panel_width * 72 / fmt.width)
    numbers = options.qp_map and size >= _SMALLEST
    with figure(path, columns * max(panel_width, 4.0) + 0.9, panel_height + 0.9) as page:
        axes = page.subplots(1, columns, squeeze=False)[0]
        if picture is not None:
            axes[0].imshow(picture)
            axes[0].set_title("picture", fontsize=10)
            grey = picture.mean(axis=2)
            axes[1].imshow(grey, cmap="gray", vmin=-160, vmax=400)  # pale, so that the map and the numbers stand out
        shown = axes[-1]
        image = shown.imshow(
            octaves(planes[0]),
            cmap=COLOURS,
            vmin=-OCTAVES,
            vmax=OCTAVES,
            alpha=1.0 if picture is None else OPACITY,
            interpolation="nearest",
            extent=(-0.5, fmt.width - 0.5, fmt.height - 0.5, -0.5),
        )
        if numbers:
            for y, row in zip(range(0, fmt.height, block), offsets):
                for x, offset in zip(range(0, fmt.width, block), row):
                    shown.text(
                        (x + min(x + block, fmt.width)) / 2,
                        (y + min(y + block, fmt.height)) / 2,
                        f"{offset:+d}" if offset else "0",
                        ha="center",
                        va="center",
                        fontsize=size,
                        color="white",
                        clip_on=True,
                        path_effects=[withStroke(linewidth=1.2, foreground="black")],
                    )
        shown.set_title("luma weights" + (f", QP offsets of {block}x{block} blocks" if numbers else ""), fontsize=10)
        for axis in axes:
            axis.set_axis_off()
        bar = page.colorbar(image, ax=shown, fraction=0.045, pad=0.015, ticks=range(-OCTAVES, OCTAVES + 1))
        bar.set_ticklabels([f"{2.0**octave:g}" for octave in range(-OCTAVES, OCTAVES + 1)])
        bar.set_label("weight (1 is the mean)", fontsize=9)
        page.suptitle(literal(title), fontsize=11, **LITERAL)
