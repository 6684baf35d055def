"""Source trees in memory: read from folders, written to folders, hashed; and files that are written whole."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from third_party.console import BuildError

Tree = dict[str, bytes]  # POSIX path below the top folder -> content

MOST_FILES = 20_000  # files and folders; far more than any encoder's source has
MOST_BYTES = 128 << 20  # ten times the largest of them


def write_atomically(path: Path, data: bytes) -> None:
    write_together({path: data})


def write_together(files: dict[Path, bytes]) -> None:
    """Write all of these files, or none where one cannot be written."""
    temporary = {path: path.with_name(f".{path.name}.{os.getpid()}.tmp") for path in files}
    try:
        for path, data in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary[path].write_bytes(data)
        for path in files:
            os.replace(temporary[path], path)
    finally:
        for path in temporary.values():
            path.unlink(missing_ok=True)


def read_json(path: Path) -> dict[str, Any]:
    """What build.py noted there; nothing if it did not or the note is damaged, and the step is done again."""
    try:
        noted = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return noted if isinstance(noted, dict) else {}


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder that becomes `path` (replacing it) when the block succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as scratch:
        new, old = Path(scratch) / "new", Path(scratch) / "old"
        new.mkdir()
        yield new
        if path.exists():
            os.replace(path, old)
        os.replace(new, path)


def write_tree(tree: Tree, folder: Path) -> None:
    for name, data in tree.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def too_large(origin: Path) -> BuildError:
    return BuildError(
        f"{origin}: not the source of an encoder (more than {MOST_FILES} files or {MOST_BYTES >> 20} "
        "MB); give the unchanged release"
    )


def check_member(origin: Path, name: str, count: int, size: int) -> None:
    """Refuse a file that has no place in a source tree, before it is read.

    `count` and `size` are the files and bytes of the tree so far, this one included.
    """
    if not name.isprintable():
        raise BuildError(f"{origin}: holds a file named {os.fsencode(name)!r}, not printable UTF-8; remove it")
    if count > MOST_FILES or size > MOST_BYTES:
        raise too_large(origin)


def read_folder(folder: Path, skip_top: tuple[str, ...] = (), skip_ends: tuple[str, ...] = ()) -> Tree:
    tree, size = Tree(), 0
    for place, folders, names in os.walk(folder):
        if Path(place) == folder:
            folders[:] = [name for name in folders if name not in skip_top]
        for name in [*folders, *names]:
            if (Path(place) / name).is_symlink():
                raise BuildError(f"{Path(place) / name}: a link; a source tree holds plain files only")
        for name in names:
            path = Path(place) / name
            if path.name == ".git" or name.endswith(skip_ends):  # a work tree of git has a file of that name
                continue
            if not path.is_file():
                raise BuildError(f"{path}: neither a file nor a folder; a source tree holds plain files only")
            inside = path.relative_to(folder).as_posix()
            size += path.stat().st_size
            check_member(folder, inside, len(tree) + 1, size)
            tree[inside] = path.read_bytes()
    return tree


def tree_hash(tree: Tree) -> str:
    """sha256 over the sorted lines "path NUL sha256-of-content": the content alone, not how it came."""
    listing = "".join(f"{name}\0{hashlib.sha256(tree[name]).hexdigest()}\n" for name in sorted(tree))
    return hashlib.sha256(listing.encode()).hexdigest()


def digest(*parts: str | bytes) -> str:
    total = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        total.update(len(data).to_bytes(8, "little") + data)
    return total.hexdigest()
