"""Inputs are regular files. Outputs appear whole or not at all, and what a killed run leaves is swept by the next one.

Everything temporary lies in a folder `.fprdo-XXXXXXXX`, which holds a file `.owner`. A run locks that file as long as
it lives. A folder whose lock is free belongs to nobody: its run was killed.
"""

import errno
import fcntl
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from fprdo_bridge.errors import FprdoError

_PREFIX = ".fprdo-"
_OWNER = ".owner"
_OWNER_TEXT = "temporary folder of fprdo; the next run removes it when this file's lock is free\n"
_FULL = 1 << 20  # bytes; where so little is left, a disk is full
_LINKS = 40  # symbolic links in a row, as many as Linux follows

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def regular_file(path: str | os.PathLike[str], missing: str = "cannot be read (no such file)") -> Path:
    """`path` itself, or where it links to, is a regular file: one that has a length and can be read more than once.

    Parameters
    ----------
    missing : what the message says where nothing is there

    Raises
    ------
    FprdoError
        Nothing is there, or a folder, pipe, socket or device, which is not opened and so not waited for; "-", which
        means standard input elsewhere; text that names no file, such as one with a NUL.
    """
    if os.fspath(path) == "-":
        raise FprdoError("-: standard input is not read; write it to a file and name that (./- is a file of this name)")
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        raise FprdoError(f"{path}: {missing}; check the name") from None
    except OSError as error:
        raise FprdoError(f"{path}: cannot be read ({error.strerror}); check the name") from None
    except ValueError as error:  # a NUL, or a lone surrogate
        raise FprdoError(f"{os.fspath(path)!r}: is no file name ({error})") from None
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "no regular file")
        raise FprdoError(f"{path}: is {kind}; give a regular file, which can be read more than once")
    return Path(path)


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path, whose name is that of `path`; put the file in place when the block succeeds.

    The block makes the file. A regular file is replaced in one step, through symbolic links, which stay; it keeps its
    permissions. What is no regular file, such as /dev/null, a named pipe or /dev/stdout, stays and gets the content.
    Missing parent folders are made.

    Raises
    ------
    FprdoError
        The folder cannot be made or written, or the disk is full (any OSError inside the block).
    """
    path = Path(path)
    try:
        final = path if is_stream(path) else _through_links(path)
        if not is_stream(path):
            final.parent.mkdir(parents=True, exist_ok=True)
            if final.exists() and not os.access(final, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        with workspace(folder_for(path)) as folder:
            temporary = folder / path.name
            yield temporary
            if is_stream(path):
                _write_into(path, temporary)
            else:
                if final.exists():
                    temporary.chmod(stat.S_IMODE(final.stat().st_mode))
                os.replace(temporary, final)
    except OSError as error:
        raise FprdoError(
            f"{path}: cannot be written ({error.strerror or error}); "
            "check that the folder is writable and the disk has room"
        ) from error


@contextmanager
def workspace(place: str | os.PathLike[str] | None = None) -> Iterator[Path]:
    """A folder in `place` (None: the system's temporary folder) for the block alone; its path is absolute.

    What killed runs left in `place` is removed first.

    Raises
    ------
    FprdoError
        The block fails while the disk of the system's temporary folder is full. The message names the disk, because a
        program that finds it full often reports another error.
    """
    temporary = place is None
    place = Path(place or tempfile.gettempdir()).absolute()
    sweep(place)
    folder, owner = _owned_folder(place)
    try:
        yield folder
    except (FprdoError, OSError) as error:
        if temporary and not isinstance(error, _TemporaryFull) and disk_is_full(folder):
            raise _TemporaryFull(
                f"{place}: the disk is full; make room there, or set TMPDIR to a folder with room (noticed by: {error})"
            ) from error
        raise
    finally:
        _remove(folder)
        owner.close()


class _TemporaryFull(FprdoError):
    """Said once, by the innermost of several temporary folders."""


def disk_is_full(folder: Path) -> bool:
    """Whether the disk that holds `folder` has less than 1 MiB left for this user."""
    room = os.statvfs(folder)
    return room.f_bavail * room.f_frsize < _FULL


def sweep(place: Path) -> None:
    """Remove the temporary folders in `place` that carry our mark and whose run is gone."""
    with suppress(OSError):
        for folder in place.glob(f"{_PREFIX}*"):
            with suppress(OSError):
                _remove_if_left(folder)


def is_stream(path: str | os.PathLike[str]) -> bool:
    """Whether `path` names what is there to be written into, not to be replaced: a device, a pipe, a descriptor."""
    if _descriptor(path) is not None:
        return True
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def folder_for(path: str | os.PathLike[str]) -> Path:
    """Where the temporary files of an output belong: on the same disk, or the system's temporary folder for a
    stream."""
    return Path(tempfile.gettempdir()) if is_stream(path) else _through_links(Path(path)).parent


def same_file(one: str | os.PathLike[str], other: str | os.PathLike[str]) -> bool:
    """Whether two names lead to one regular file, there or to be; devices such as /dev/null may be named twice."""
    if is_stream(one) or is_stream(other):
        return False
    if os.path.realpath(one) == os.path.realpath(other):
        return True
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False


def _through_links(path: Path) -> Path:
    final = Path(os.path.realpath(path))
    if final.is_symlink():  # realpath() gives up on links in a circle
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    return final


def _descriptor(path: str | os.PathLike[str]) -> int | None:
    """The number of this process's open file that `path` names, like 1 for /dev/stdout; None for any other path."""
    name = os.path.abspath(path)
    for _ in range(_LINKS):
        number = re.fullmatch(rf"/(?:dev|proc/(?:self|{os.getpid()}))/fd/(\d+)", name)
        if number:
            return int(number[1])
        if not os.path.islink(name):
            return None
        name = os.path.normpath(os.path.join(os.path.dirname(name), os.readlink(name)))
    return None


def _write_into(path: Path, source: Path) -> None:
    number = _descriptor(path)
    # A duplicate shares its position with the original: what is written next follows.
    with open(source, "rb") as data, open(path if number is None else os.dup(number), "wb") as stream:
        shutil.copyfileobj(data, stream)


def _owned_folder(place: Path) -> tuple[Path, TextIO]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=place))
        try:
            owner = open(folder / _OWNER, "x", encoding="ascii")
        except FileNotFoundError:  # another run took the empty folder for left
            continue
        owner.write(_OWNER_TEXT)
        owner.flush()
        with suppress(OSError):  # a disk without locks: nobody will sweep this folder
            fcntl.flock(owner, fcntl.LOCK_EX)
        with suppress(OSError):
            if os.path.samestat(os.fstat(owner.fileno()), os.stat(folder / _OWNER)):
                return folder, owner
        owner.close()  # another run took the folder for left before it was locked


def _remove_if_left(folder: Path) -> None:
    """Remove a temporary folder of this user whose lock is free, or that a run was killed in before it was marked."""
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        return
    inside = os.listdir(folder)
    if not inside:
        folder.rmdir()
        return
    with open(folder / _OWNER, encoding="ascii", opener=_no_link) as owner:
        text = owner.read(len(_OWNER_TEXT) + 1)
        if text == _OWNER_TEXT or not text and inside == [_OWNER]:
            fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)  # OSError: its run is alive
            _remove(folder)


def _no_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def _remove(folder: Path) -> None:
    """The mark goes last, so that a removal which is interrupted can be finished by another run."""
    with suppress(OSError):
        for entry in list(folder.iterdir()):
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            elif entry.name != _OWNER:
                with suppress(OSError):
                    entry.unlink()
    shutil.rmtree(folder, ignore_errors=True)
