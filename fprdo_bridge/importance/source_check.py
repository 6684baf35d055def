"""Whether weights belong to a source: hashes of the pictures that maps were computed from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from fprdo_bridge.errors import FprdoError
from fprdo_bridge.importance.idse_file import IdseFile
from fprdo_bridge.video.formats import coded_format, pad_frame

if TYPE_CHECKING:
    from fprdo_bridge.video.formats import Frame, VideoFormat
    from fprdo_bridge.video.source import Source


def map_hashes(source: Source, frames_per_map: int) -> Iterator[str]:
    """SHA-256, in hexadecimal, of the picture of each map, which is the first one of `frames_per_map` frames.

    The samples are those of the frame that the encoder gets (sides rounded up where the chroma format asks for it):
    planes Y, Cb, Cr, row by row, one byte each at 8 bits, two above, the lower one first.
    """
    coded = coded_format(source.fmt)
    for index, frame in enumerate(source.read()):
        if index % frames_per_map == 0:
            yield frame_hash(frame, source.fmt, coded)


def check_source(file: IdseFile, source: Source) -> str | None:
    """Refuse weights that were computed from other pictures.

    Only the frames that file and source both have are compared, so the weights of a sequence serve its beginning too.

    Returns
    -------
    None if the weights belong to the source, or the file does not say where they come from; a line for the user if the
    file says it and it cannot be compared, because source and weights differ in chroma format, bit depth or colour.
    None too for a source of another size, of which the encoder or the drawing says more.

    Raises
    ------
    FprdoError
        The samples are others.
    """
    coded = coded_format(replace(source.fmt, chroma=file.layout.chroma))
    if (file.layout.width, file.layout.height) != (coded.width, coded.height):
        return None  # left to whoever uses them
    different = _first_difference(file, source)
    if different is None:
        return None
    named = file.metadata.get("source")
    origin = f" of {named}" if isinstance(named, str) and named else ""
    colour = file.metadata.get("colour")
    computed = {"chroma": file.layout.chroma, **(colour if isinstance(colour, dict) else {})}
    others = [
        f"{name} {_said(computed[name])}, not {_said(value)}"
        for name, value in {"chroma": source.fmt.chroma, **colour_description(source.fmt)}.items()
        if name in computed and computed[name] != value
    ]
    if others:
        return (
            f"{file.path}: the weights were computed{origin} with {' and '.join(others)}, so it cannot be told whether "
            f"they belong to {source.origin}"
        )
    raise FprdoError(
        f"{file.path}: the weights{origin} were computed from another picture than {different} of "
        f"{source.origin}; compute its own (fprdo weights), or say --force-weights"
    )


def colour_description(fmt: VideoFormat) -> dict[str, object]:
    """What the samples mean, as the metadata say it."""
    return {"matrix": fmt.matrix, "full_range": fmt.full_range, "siting": fmt.siting, "bit_depth": fmt.bit_depth}


def _first_difference(file: IdseFile, source: Source) -> str | None:
    """The first frame whose samples are not those of its map; None if there is none, or nothing to compare."""
    expected = file.metadata.get("map_sha256")
    if isinstance(expected, list) and len(expected) == file.map_count:
        found = map_hashes(source, file.frames_per_map)
        for number, (one, other) in enumerate(zip(expected, found)):
            if one != other:
                return f"frame {number * file.frames_per_map}"
    elif "source_sha256" in file.metadata and source.frames == file.frame_count:  # of an earlier fprdo
        if file.metadata["source_sha256"] != source.sha256():
            return "the frames"
    return None


def frame_hash(frame: Frame, fmt: VideoFormat, coded: VideoFormat) -> str:
    """The hash of one picture of format `fmt`, as `map_hashes` has it; `coded` is coded_format(fmt)."""
    digest = hashlib.sha256()
    for plane in frame if coded == fmt else pad_frame(frame, fmt, coded):
        digest.update(np.ascontiguousarray(plane, plane.dtype.newbyteorder("<")).data)
    return digest.hexdigest()


def _said(value: object) -> str:
    return str(value)[:40]
