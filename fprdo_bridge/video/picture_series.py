"""Numbered pictures, such as frames/shot-%04d.png, as the frames of a clip."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from fprdo_bridge.errors import FprdoError
from fprdo_bridge.video.formats import Frame, VideoFormat
from fprdo_bridge.video.picture_reader import SUFFIXES, read_picture
from fprdo_bridge.video.pictures import picture_to_frame

_NUMBER = re.compile(r"%(0[1-9])?d")


def is_series(path: str | os.PathLike[str]) -> bool:
    """Whether the name is a pattern with one %d or %04d, and no file of that very name is there."""
    name = Path(path).name
    return len(_NUMBER.findall(name)) == 1 and Path(name).suffix.lower() in SUFFIXES and not Path(path).exists()


def series_name(path: str | os.PathLike[str]) -> str:
    """The name without its number: shot of shot-%04d.png; of %04d.png that of the folder."""
    path = Path(path)
    return _NUMBER.sub("", path.stem).strip("-_. ") or path.absolute().parent.name or "pictures"


def series_files(path: str | os.PathLike[str]) -> list[Path]:
    """The pictures in the order of their numbers.

    Raises
    ------
    FprdoError
        There are none, a number in between is missing, or two have the same.
    """
    path = Path(path)
    match = _NUMBER.search(path.name)
    assert match
    digits = int(match[1]) if match[1] else 1
    form = re.compile(re.escape(path.name[: match.start()]) + r"(\d+)" + re.escape(path.name[match.end() :]))
    numbered: dict[int, Path] = {}
    try:
        names = os.listdir(path.parent)
    except OSError as error:
        raise FprdoError(f"{path.parent}: cannot be read ({error.strerror}); check the name") from None
    for name in names:
        found = form.fullmatch(name)
        if found and found[1] == f"{int(found[1]):0{digits}d}":
            numbered[int(found[1])] = path.parent / name
    if not numbered:
        raise FprdoError(f"{path}: no such pictures; check folder and digits (%04d is 0007, %d is 7)")
    numbers = sorted(numbered)
    for one, following in pairwise(numbers):
        if following != one + 1:
            raise FprdoError(f"{path}: picture {one + 1} is missing between {one} and {following}; number them in turn")
    return [numbered[number] for number in numbers]


def read_series(files: list[Path], fmt: VideoFormat) -> Iterator[Frame]:
    """The pictures as frames, converted as a single picture is; one in memory at a time.

    Raises
    ------
    FprdoError
        A picture cannot be read, or is of another size than `fmt`.
    """
    for file in files:
        rgb = read_picture(file).rgb
        if rgb.shape[:2] != (fmt.height, fmt.width):
            raise FprdoError(
                f"{file}: is {rgb.shape[1]}x{rgb.shape[0]}, the first one is {fmt.width}x{fmt.height}; use one size"
            )
        yield picture_to_frame(rgb, fmt)
