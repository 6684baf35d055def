"""Weights that are being written: the maps that are finished can be read while their file grows."""

from __future__ import annotations

from bisect import bisect_right
from pathlib import Path

import numpy as np

from fprdo_bridge.errors import FprdoError
from fprdo_bridge.importance.idse_file import IdseFile
from fprdo_bridge.importance.kept_maps import kept_parts


class GrowingFile:
    """The finished maps of a weight file whose run goes on, or was stopped; read as `IdseFile` is.

    Attributes
    ----------
    layout, metadata : as in IdseFile
    frame_count : frames from 0 on that have their map
    frames_per_map : 1; a map stands for each of its frames
    """

    frames_per_map = 1

    def __init__(self, path: Path, parts: dict[int, Path]):
        self.path = path
        self._starts, self._parts = [], []
        self.frame_count = 0
        for start in sorted(parts):
            with IdseFile(parts[start]) as file:
                if start != self.frame_count:
                    break  # an earlier one was lost
                self.layout, self.metadata = file.layout, file.metadata
                self.frame_count += file.frame_count
            self._starts.append(start)
            self._parts.append(parts[start])

    @property
    def map_count(self) -> int:
        return self.frame_count

    def raw_map(self, index: int) -> tuple[tuple[np.ndarray, ...], dict[int, tuple[np.ndarray, ...]]]:
        """The map of frame `index`, as IdseFile.raw_map. Raises FprdoError if it is not there, or not any more."""
        if not 0 <= index < self.frame_count:
            raise FprdoError(f"{self.path}: no map of frame {index} yet: there are {self.frame_count}")
        with IdseFile(self._parts[bisect_right(self._starts, index) - 1]) as file:
            return file.raw_map(0)

    def __enter__(self) -> GrowingFile:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def open_weights(path: Path) -> IdseFile | GrowingFile:
    """A weight file, or what is finished of one that is being written.

    Raises
    ------
    FprdoError
        As IdseFile.
    """
    if not path.exists():
        parts = kept_parts(path)
        if 0 in parts:
            return GrowingFile(path, parts)
    return IdseFile(path)
