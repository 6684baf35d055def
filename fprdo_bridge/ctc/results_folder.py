"""The folder of a comparison, which may hold files of others: what is not ours is neither written over nor removed.

A file `.fprdo-results` marks the folder. Its first line says what it is, each further line is the name of a file of
ours as JSON text. The marker is locked as long as a comparison works in the folder.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import stat
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import IO

from fprdo_bridge.errors import FprdoError
from fprdo_bridge.files import workspace

MARKER = ".fprdo-results"
_FIRST = '{"fprdo": "results of a comparison", "version": 1}'
_VERSION = re.compile(r'\{"fprdo": "results of a comparison", "version": ([0-9]+)\}')

# What the version without a marker left: working folders of points, the beginning of its table, a mark in its pictures.
_POINT = re.compile(r"(.+)-(?:sse|idse)-qp-?[0-9]+(?:\.json|\.bin|\.log|\.bin\.log)?")
_TABLE = b"sequence,encoder,mode,qp,"
_DRAWN = b"Software\0Matplotlib"


class ResultsFolder:
    """A context: inside it the folder exists, is locked against other comparisons, and knows which files are ours.

    Parameters
    ----------
    path : made if need be; removed again at the end if it was made here and nothing was claimed

    Raises
    ------
    FprdoError
        The folder cannot be made or written, another comparison works in it, or its marker is of a later version.
    """

    def __init__(self, path: Path):
        self.path = path
        self._stack = ExitStack()
        self._made: list[Path] = []
        self._ours: set[str] = set()
        self._old = False  # made by the version without a marker
        self._marker: IO[str] | None = None

    def __enter__(self) -> ResultsFolder:
        try:
            self._made = [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
            self.path.mkdir(parents=True, exist_ok=True)
            self._marker = self._stack.enter_context(self._lock())
        except OSError as error:
            self._remove_made()
            raise FprdoError(
                f"{self.path}: cannot be written ({error.strerror or error}); choose another output folder"
            ) from None
        try:
            self._ours = self._read_marker()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if os.fstat(self._file.fileno()).st_size == 0:  # nothing was claimed
            (self.path / MARKER).unlink(missing_ok=True)
        self._stack.close()
        self._remove_made()

    def workspace(self) -> Path:
        """An empty folder inside this one for what is not finished; it goes with the context."""
        return self._stack.enter_context(workspace(self.path))

    def claim(self, names: Iterable[str]) -> None:
        """Note that these files, given by their names in the folder, are ours from now on.

        Raises
        ------
        FprdoError
            A file of one of these names is there and is not ours. Then none is claimed.
        """
        new = sorted(set(names) - self._ours)
        for name in new:
            self._check_free(name)
        lines = [json.dumps(name) for name in new]
        if os.fstat(self._file.fileno()).st_size == 0:
            lines = [_FIRST, *(json.dumps(name) for name in sorted(self._ours)), *lines]
        if lines:
            try:
                self._file.write("".join(line + "\n" for line in lines))
                self._file.flush()
            except OSError as error:
                raise FprdoError(
                    f"{self.path / MARKER}: cannot be written ({error.strerror}); check that the disk has room"
                ) from None
        self._ours |= set(new)
        if self._old:
            _sweep_without_marker(self.path)
            self._old = False

    def discard(self, names: Iterable[str]) -> None:
        """Remove those of these files that are ours."""
        for name in set(names) & self._ours:
            with suppress(OSError):
                (self.path / name).unlink()

    def ours(self) -> frozenset[str]:
        """Names of the files that are ours, there or to be."""
        return frozenset(self._ours)

    @property
    def _file(self) -> IO[str]:
        if self._marker is None:
            raise RuntimeError("a ResultsFolder is a context; enter it first")
        return self._marker

    def _check_free(self, name: str) -> None:
        for part in (*reversed(Path(name).parents[:-1]), Path(name)):
            there = self.path / part
            try:
                mode = os.lstat(there).st_mode
            except FileNotFoundError:
                continue
            except OSError as error:
                raise FprdoError(
                    f"{there}: cannot be written ({error.strerror}); choose another output folder"
                ) from None
            if str(part) == name or not stat.S_ISDIR(mode):
                raise FprdoError(
                    f"{there}: is in the way and not of an earlier comparison; move it, or choose another output folder"
                )

    def _lock(self) -> IO[str]:
        """The marker, open and locked; an empty file where there was none."""
        while True:
            marker = open(self.path / MARKER, "a+", encoding="ascii", errors="replace", opener=_regular)
            try:
                fcntl.flock(marker, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(os.fstat(marker.fileno()), os.stat(self.path / MARKER)):
                    return marker
            except FileNotFoundError:
                pass  # another run removed it when it had claimed nothing
            except BlockingIOError:
                marker.close()
                raise FprdoError(
                    f"{self.path}: another run is working here; wait for it or choose another folder"
                ) from None
            except BaseException:
                marker.close()
                raise
            marker.close()

    def _read_marker(self) -> set[str]:
        self._file.seek(0)
        first, *lines = self._file.read().split("\n")
        if not first and not lines:
            names = _files_without_marker(self.path)
            self._old = bool(names)
            return names
        version = _VERSION.fullmatch(first)
        if not version and _FIRST.startswith(first) and not lines:  # a run was killed while it wrote this
            self._file.truncate(0)
            return set()
        if not version:
            raise FprdoError(f"{self.path / MARKER}: is not of fprdo; choose another output folder")
        if version[1] != "1":
            raise FprdoError(f"{self.path}: holds results of a later version of fprdo; choose another output folder")
        if lines and lines[-1]:  # killed in the middle of a line
            self._file.write("\n")
        names = set()
        for line in lines:
            with suppress(ValueError):
                names.add(str(json.loads(line)))
        return names

    def _remove_made(self) -> None:
        for folder in self._made:
            try:
                folder.rmdir()
            except OSError:  # there is something in it
                return


def _regular(path: str, flags: int) -> int:
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FprdoError(f"{path}: is no regular file; choose another output folder")
    return descriptor


def _files_without_marker(folder: Path) -> set[str]:
    """Files that are certainly of a comparison by the version that left no marker; none if the folder is another."""
    if not (folder / ".lock").is_file() or (folder / ".lock").stat().st_size:
        return set()
    names, sequences = set(), set()
    for path in (folder / "points").glob("*.json"):
        with suppress(OSError, ValueError, LookupError, TypeError, RecursionError):
            entry = json.loads(path.read_text(encoding="utf-8"))
            stem = f"{entry['sequence']}-{entry['mode']}-qp{entry['qp']}"
            if path.stem == stem and entry["key"]:
                sequences.add(entry["sequence"])
    for path in (folder / "weights").glob("*.key"):
        with suppress(OSError, ValueError):
            if re.fullmatch("[0-9a-f]{64}", path.read_text(encoding="ascii")):
                sequences.add(path.stem)
                names |= {f"weights/{path.name}", f"weights/{path.stem}.idse"}
    for path in (*(folder / "points").glob("*"), *(folder / "bitstreams").glob("*")):
        point = _POINT.fullmatch(path.name)  # a run that was killed leaves a bitstream without its record
        if point and point[1] in sequences:
            names.add(f"{path.parent.name}/{path.name}")
    for name in ("results.csv", "rd-curves.png", *(f"map-{sequence}.png" for sequence in sequences)):
        with suppress(OSError), open(folder / name, "rb") as file:
            begin = file.read(1000)
            if sequences and (begin.startswith(_TABLE) or name.endswith(".png") and _DRAWN in begin):
                names.add(name)
    return names


def _sweep_without_marker(folder: Path) -> None:
    """Remove the lock file of that version, and the working folder that a killed run left, if it is one."""
    with suppress(OSError):
        (folder / ".lock").unlink()
        left = list((folder / ".work").iterdir())
        if all(entry.suffix == ".yuv" or entry.is_dir() and _POINT.fullmatch(entry.name) for entry in left):
            shutil.rmtree(folder / ".work", ignore_errors=True)
