"""Maps that are finished while their file is not: what a run need not compute again after it was stopped or killed."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from fprdo_bridge.errors import FprdoError
from fprdo_bridge.files import folder_for, sweep, workspace
from fprdo_bridge.importance.idse_file import IdseFile, write_idse
from fprdo_bridge.importance.weight_map import Layout, Record, WeightMap
from fprdo_bridge.video.formats import VideoFormat

_MARK = ".fprdo-maps"
_MARK_TEXT = b"maps of an unfinished weight file; fprdo removes this folder when the file is complete\n"
_OURS = re.compile(r"\d+\.idse|[0-9a-f]{64}\.key")  # a map; what the maps were computed from


class KeptMaps:
    """The folder `.NAME.maps` beside a weight file, with one file for each finished map; a context manager.

    The folder belongs to one run at a time: it holds a file with our mark, and a run locks that file as long as it
    lives. A folder of that name without the mark is somebody else's, and never touched. In ours, maps of other inputs
    are removed.

    Parameters
    ----------
    path : the weight file to be
    key : SHA-256 of all that decides the maps, in hexadecimal
    fmt : format of the maps
    transform_sizes : of the maps' shapes

    Raises
    ------
    FprdoError
        On entering: the folder cannot be made, is in the way, or belongs to a run that is alive.
    """

    def __init__(self, path: Path, key: str, fmt: VideoFormat, transform_sizes: tuple[int, ...]):
        self.folder = _folder_of(path)
        self._path, self._key = path, f"{key}.key"
        self._fmt, self._layout = fmt, Layout.of(fmt, transform_sizes)
        self._mark: BinaryIO | None = None

    def __enter__(self) -> KeptMaps:
        try:
            self._mark = _take(self.folder, self._path)
            sweep(self.folder)
            if not (self.folder / self._key).exists():
                for entry in _ours(self.folder):
                    entry.unlink()
                (self.folder / self._key).touch()
        except OSError as error:
            raise FprdoError(
                f"{self._path}: the folder {self.folder} for its maps cannot be written "
                f"({error.strerror or error}); check that the folder is writable and the disk has room"
            ) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None or not any(entry.suffix == ".idse" for entry in _ours(self.folder)):
            _remove(self.folder)
        if self._mark is not None:
            self._mark.close()

    def get(self, number: int) -> Record | None:
        """The map if it was finished before; None too if a crash of the machine left it damaged."""
        try:
            with IdseFile(self._part(number)) as file:
                return file.record(0) if file.layout == self._layout and file.map_count == 1 else None
        except FprdoError:
            return None

    def put(
        self, number: int, weight_map: WeightMap, first: int = 0, frames: int = 1, metadata: Mapping[str, object] = {}
    ) -> Record:
        """Keep a map, and give it back in fixed point.

        Its file is a weight file of its own, which others may read while the run goes on (growing.py).

        Parameters
        ----------
        first, frames : which frames have this map
        metadata : of its file
        """
        path = self._part(number)
        write_idse(
            path,
            [weight_map],
            self._fmt,
            frame_count=frames,
            frames_per_map=frames,
            transform_sizes=self._layout.transform_sizes,
            metadata={**metadata, "first_frame": first},
        )
        with IdseFile(path) as file:
            return file.record(0)

    def _part(self, number: int) -> Path:
        return self.folder / f"{number}.idse"


def kept_parts(path: Path) -> dict[int, Path]:
    """The finished maps of a weight file to be: first frame -> weight file of one map."""
    found: dict[int, Path] = {}
    for entry in _ours(_folder_of(path)):
        if entry.suffix == ".idse":
            with suppress(FprdoError), IdseFile(entry) as file:
                first = file.metadata.get("first_frame")
                if isinstance(first, int):
                    found[first] = entry
    return found


def discard(path: Path) -> None:
    """Remove the folder of a weight file's maps if there is one, carries our mark and belongs to no living run."""
    with suppress(OSError, FprdoError), ExitStack() as stack:
        folder = _folder_of(path)
        if folder.is_dir():
            stack.enter_context(_take(folder, path))
            _remove(folder)


def _folder_of(path: Path) -> Path:
    name = os.path.basename(os.path.realpath(path))
    return folder_for(path) / f".{name[:200]}.maps"


def _ours(folder: Path) -> list[Path]:
    """What we wrote there, but for the mark."""
    with suppress(OSError):
        return [entry for entry in folder.iterdir() if _OURS.fullmatch(entry.name)]
    return []


def _take(folder: Path, path: Path) -> BinaryIO:
    """The locked mark of the folder, which is made if need be."""
    while True:
        _make(folder)
        try:
            mark = open(folder / _MARK, "rb", opener=_no_link)
            if mark.read(len(_MARK_TEXT) + 1) != _MARK_TEXT:
                mark.close()
                raise FileNotFoundError
        except OSError as error:
            if not os.path.lexists(folder):
                continue  # another run has just removed it
            raise FprdoError(
                f"{path}: {folder} is in the way, and it is not fprdo's; move it, or choose another output"
            ) from error
        try:
            fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            mark.close()
            raise FprdoError(
                f"{path}: another run is computing these weights; wait for it, or choose another output"
            ) from None
        except OSError:
            pass  # a disk without locks
        with suppress(OSError):
            if os.path.samestat(os.fstat(mark.fileno()), os.stat(folder / _MARK)):
                return mark
        mark.close()  # another run has removed it before it was locked


def _make(folder: Path) -> None:
    """Make the folder with its mark in one step, so that no kill leaves it without."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    if folder.is_symlink() or folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        return
    with workspace(folder.parent) as work:
        new = work / "maps"
        new.mkdir()
        (new / _MARK).write_bytes(_MARK_TEXT)
        try:
            os.rename(new, folder)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise  # those: another run was faster, or something of this name has appeared


def _no_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def _remove(folder: Path) -> None:
    """Remove what we wrote, the mark last, and the folder if nothing else lies in it."""
    for entry in _ours(folder):
        with suppress(OSError):
            entry.unlink()
    for left in folder.glob(".fprdo-*"):  # of a part that was being written
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)
    with suppress(OSError):
        (folder / _MARK).unlink()
    with suppress(OSError):
        folder.rmdir()
