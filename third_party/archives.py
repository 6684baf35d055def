"""Tar archives of source trees, read into memory under limits that hold before anything is read.

The reader is our own. Python's tarfile reads a long name or a pax header whole whatever its size, keeps a record of
every member, and follows sparse files. This one knows what releases are made of: plain files, folders, long names
(GNU's and pax's) and comments. It refuses the rest at its header, and reads the archive once, from front to back.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from third_party import trees
from third_party.console import BuildError
from third_party.trees import Tree

BLOCK = 512
MOST_NAME = 1024  # characters of a path
MOST_EXTENDED = 64 << 10  # bytes of one long name, pax header or comment
XZ_MEMORY = 160 << 20  # xz -9 needs 65 MB to decompress; its headers can ask for 4 GB

RECORD_LENGTH = re.compile(rb"([1-9][0-9]{0,5}) ")
PLAIN, FOLDER, LONG_NAME, PAX, COMMENT = b"0", b"5", b"L", b"x", b"g"


class Damaged(Exception):
    """The archive breaks off, or its headers make no sense."""


@dataclass(frozen=True)
class Member:
    name: str
    kind: bytes
    size: int  # bytes of a plain file


class XzStream(io.RawIOBase):
    """What an .xz file holds; lzma.LZMAFile would take as much memory as the file's headers ask for."""

    def __init__(self, packed: IO[bytes]) -> None:
        self.packed = packed
        self.decoder = lzma.LZMADecompressor(memlimit=XZ_MEMORY)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while True:
            data = b""
            if self.decoder.eof:  # another stream may follow, after zeros that fill up the file
                data = (self.decoder.unused_data or self.packed.read(1 << 16)).lstrip(b"\0")
                if not data:
                    return 0
                self.decoder = lzma.LZMADecompressor(memlimit=XZ_MEMORY)
            elif self.decoder.needs_input:
                data = self.packed.read(1 << 16)
                if not data:
                    raise Damaged
            out = self.decoder.decompress(data, len(buffer))
            if out:
                buffer[: len(out)] = out
                return len(out)


def decompressed(packed: IO[bytes]) -> IO[bytes] | gzip.GzipFile:
    """The bytes of the tar archive in a file that may be packed by gzip, bzip2 or xz."""
    magic = packed.read(6)
    packed.seek(0)
    if magic.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=packed)
    if magic.startswith(b"BZh"):
        return bz2.BZ2File(packed)
    if magic == b"\xfd7zXZ\0":
        return io.BufferedReader(XzStream(packed))
    return packed


class Reader:
    """The members of a tar archive, one after the other; at most trees.MOST_BYTES of it are read."""

    def __init__(self, origin: Path, stream: IO[bytes] | gzip.GzipFile) -> None:
        self.origin, self.stream, self.left = origin, stream, trees.MOST_BYTES

    def read(self, size: int) -> bytes:
        """The next `size` bytes; what fills up their last block is skipped."""
        whole = size + -size % BLOCK
        if whole > self.left:
            raise trees.too_large(self.origin)
        self.left -= whole
        data = self.stream.read(size)
        if len(data) + len(self.stream.read(whole - size)) != whole:
            raise Damaged
        return data

    def next(self) -> Member | None:
        """The next file or folder, None at the end. The content of a file has to be read before its successor."""
        long_name, fields = None, dict[bytes, bytes]()
        while any(header := self.read(BLOCK)):
            if number(header[148:156]) != sum(header[:148]) + 8 * ord(" ") + sum(header[156:]):
                raise Damaged
            kind, size = header[156:157], number(header[124:136])
            if kind not in (LONG_NAME, PAX, COMMENT):
                return self.member(header, kind, size, long_name, fields)
            if size > MOST_EXTENDED:
                raise BuildError(
                    f"{self.origin}: holds a name or comment of {size} bytes, not the source of an "
                    "encoder; give the unchanged release"
                )
            data = self.read(size)
            if kind == LONG_NAME:
                long_name = text(data)
            elif kind == PAX:
                fields = pax_fields(data)
        return None

    def member(
        self, header: bytes, kind: bytes, size: int, long_name: str | None, fields: dict[bytes, bytes]
    ) -> Member:
        name = text(header[:100])
        if header[257:263] == b"ustar\0" and (prefix := text(header[345:500])):
            name = f"{prefix}/{name}"
        name = name if long_name is None else long_name
        if b"path" in fields:
            name = text(fields[b"path"])
        if b"size" in fields:
            if not re.fullmatch(rb"[0-9]{1,20}", fields[b"size"]):
                raise Damaged
            size = int(fields[b"size"])
        if kind == b"\0":  # of the time before folders had a letter of their own
            kind = FOLDER if name.endswith("/") else PLAIN
        sparse = any(key.startswith(b"GNU.sparse.") for key in fields)
        name = name.rstrip("/") if kind == FOLDER else name
        top, *below = name.split("/")
        if kind not in (PLAIN, FOLDER) or sparse or top == "" or ".." in below or len(name) > MOST_NAME:
            shown = repr(name if len(name) <= 100 else f"{name[:100]}...")
            raise BuildError(f"{self.origin}: holds {shown}, not a plain file inside its folder; refused")
        return Member(name, kind, size if kind == PLAIN else 0)


def number(field: bytes) -> int:
    """An octal number. The other form, for files of 8 GB and more, is none."""
    digits = field.partition(b"\0")[0].strip(b" ")
    if not re.fullmatch(rb"[0-7]*", digits):
        raise Damaged
    return int(digits or b"0", 8)


def text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode(errors="surrogateescape")


def pax_fields(data: bytes) -> dict[bytes, bytes]:
    """The records of a pax header, each "LENGTH KEY=VALUE" and a line feed."""
    fields, at = {}, 0
    while at < len(data):
        length = RECORD_LENGTH.match(data, at)
        end = at + int(length[1]) if length else 0
        if length is None or end > len(data) or data[end - 1 : end] != b"\n":
            raise Damaged
        key, _, value = data[length.end() : end - 1].partition(b"=")
        fields[key] = value
        at = end
    return fields


def read_archive(path: Path) -> Tree:
    """Read a tar archive into memory, less its single top folder; nothing is unpacked before it is verified."""
    tree, tops, count, size = Tree(), set(), 0, 0
    try:
        with open(path, "rb") as packed:
            reader = Reader(path, decompressed(packed))
            while (member := reader.next()) is not None:
                count, size = count + 1, size + member.size
                trees.check_member(path, member.name, count, size)
                top, _, below = member.name.partition("/")
                tops.add(top)
                if len(tops) > 1:
                    break
                if member.kind == PLAIN:
                    tree[below] = reader.read(member.size)
    except (Damaged, EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        if isinstance(error, OSError) and error.errno:  # the file itself cannot be read; bad data has no errno
            raise
        if str(error) == "Memory usage limit exceeded":
            raise BuildError(
                f"{path}: takes more than {XZ_MEMORY >> 20} MB of memory to decompress; give the unchanged release"
            ) from error
        raise BuildError(f"{path}: not a readable tar archive, or cut short; get it again") from error
    if tops == {"."} and len({name.partition("/")[0] for name in tree}) == 1:  # packed as ./NAME
        tree = {name.partition("/")[2]: data for name, data in tree.items()}
    if len(tops) != 1 or "" in tree:
        raise BuildError(f"{path}: does not hold one top folder with the source in it; give the original archive")
    return tree


def pack(tree: Tree, path: Path, top: str) -> None:
    with gzip.GzipFile(path, "wb", mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as archive:
        for name in sorted(tree):
            member = tarfile.TarInfo(f"{top}/{name}")
            member.size = len(tree[name])
            archive.addfile(member, io.BytesIO(tree[name]))
