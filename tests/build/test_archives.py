"""The archive reader: what it takes, what it refuses, and that its memory is bounded whatever an archive claims."""

import gzip
import io
import lzma
import resource
import struct
import subprocess
import sys
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from project import TOY, Project


@pytest.mark.parametrize("options, top", [(["toy"], ""), (["./toy"], ""), (["."], "toy")])
def test_archive_may_begin_with_a_dot(project, tmp_path, options, top):
    project.trees.write_tree(TOY, tmp_path / "here" / "toy")
    packed = tmp_path / "packed.tar"
    subprocess.run(["tar", "-cf", packed, "-C", tmp_path / "here" / top, *options], check=True)
    assert project.archives.read_archive(packed) == TOY


LONG = {"/".join(["a" * 90] * 3) + f"/{n}.h": b"%d" % n for n in range(3)} | {"caf\xe9/" + "b" * 120: b"text"}


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("mode", ["w:", "w:gz", "w:bz2", "w:xz"])
def test_every_form_of_archive_is_read(project, tmp_path, mode, kind):
    """Long names are split, or stand in headers of their own; a comment, as git writes it, is left out."""
    tree = TOY if kind == tarfile.USTAR_FORMAT else TOY | LONG
    packed = tmp_path / "packed"
    with tarfile.open(packed, mode, format=kind, pax_headers={"comment": "0" * 40}) as archive:
        for name in ("toy", *(f"toy/{name}" for name in tree)):
            member = tarfile.TarInfo(name)
            member.type = tarfile.DIRTYPE if name == "toy" else tarfile.REGTYPE
            member.size = len(tree.get(name[4:], b""))
            archive.addfile(member, io.BytesIO(tree.get(name[4:])))
    assert project.archives.read_archive(packed) == tree


def test_streams_in_a_row_are_one_archive(project, tmp_path):
    """As `cat a.xz b.xz` and parallel compressors make them."""
    packed = gzip.decompress(project.archive.read_bytes())
    for compress in (gzip.compress, lzma.compress):
        (tmp_path / "packed").write_bytes(compress(packed[:700]) + compress(packed[700:]))
        assert project.archives.read_archive(tmp_path / "packed") == TOY


@pytest.mark.parametrize("part", [0, 0.01, 0.3, 0.7])
def test_truncated_archive_is_refused(project, tmp_path, part):
    cut, whole = tmp_path / "cut.tar.gz", project.archive.read_bytes()
    cut.write_bytes(whole[: int(part * len(whole))])
    assert "not a readable tar archive, or cut short" in project.fails("fetch", "--source", str(cut))
    assert project.cached() == []


@pytest.mark.parametrize(
    "name, kind",
    [
        ("toy/../../escape", tarfile.REGTYPE),
        ("/etc/absolute", tarfile.REGTYPE),
        ("toy/link", tarfile.SYMTYPE),
        ("toy/hard", tarfile.LNKTYPE),
    ],
)
def test_archive_that_reaches_out_is_refused(project, tmp_path, name, kind):
    bad = tmp_path / "bad.tar"
    with tarfile.open(bad, "w") as archive:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, "/etc/passwd"
        archive.addfile(member, io.BytesIO())
    assert "not a plain file inside its folder; refused" in project.fails("fetch", "--source", str(bad))


# What an archive can claim, and the memory that it may take

MEMORY = 400 << 20  # of address space; build.py itself takes 60 MB, the largest source that is read 128 MB


def header(kind: bytes, size: int, name: str = "toy/file") -> bytes:
    member = tarfile.TarInfo(name)
    member.type, member.size = kind, size
    return member.tobuf(tarfile.GNU_FORMAT)


def zeros(size: int) -> Iterator[bytes]:
    for at in range(0, size, 1 << 20):
        yield bytes(min(1 << 20, size - at))


def long_headers(kind: bytes) -> Callable[[], Iterator[bytes]]:
    def archive() -> Iterator[bytes]:
        yield header(kind, 420 << 20)
        yield from zeros(420 << 20)
        yield header(tarfile.REGTYPE, 0)

    return archive


def many_long_names() -> Iterator[bytes]:
    for _ in range(4000):
        yield header(tarfile.GNUTYPE_LONGNAME, 60 << 10) + bytes(60 << 10)


def large_file() -> Iterator[bytes]:
    yield header(tarfile.REGTYPE, 420 << 20)
    yield from zeros(420 << 20)


def large_files() -> Iterator[bytes]:
    for number in range(420):
        yield header(tarfile.REGTYPE, 1 << 20, f"toy/{number}") + bytes(1 << 20)


def many_folders() -> Iterator[bytes]:
    for number in range(300_000):
        yield header(tarfile.DIRTYPE, 0, f"toy/{number}") if number % 1000 == 0 else PLAIN_FOLDER


def many_files() -> Iterator[bytes]:
    for number in range(25_000):
        yield header(tarfile.REGTYPE, 0, f"toy/{number}")


def sparse_file() -> Iterator[bytes]:
    """A file of 1 TB of which nothing is stored, with 2 million pieces."""
    first = bytearray(header(tarfile.GNUTYPE_SPARSE, 0))
    first[482] = 1  # a block with 21 more pieces follows
    first[483:495] = b"\x80" + (1 << 40).to_bytes(11, "big")
    first[148:156] = b"%06o\0 " % (sum(first[:148]) + 8 * ord(" ") + sum(first[156:]))
    yield bytes(first)
    piece = b"%011o %011o " % (1, 1)
    for _ in range(100_000):
        yield (piece * 21).ljust(504, b"\0") + b"\1" + bytes(7)


def pax_sparse_file() -> Iterator[bytes]:
    """The pieces of a sparse file in a pax header."""
    fields = b"".join(b"%d %s\n" % (len(text) + 4, text) for text in [b"GNU.sparse.major=1", b"GNU.sparse.minor=0"])
    yield header(b"x", len(fields)) + fields.ljust(512, b"\0") + header(tarfile.REGTYPE, 400 << 20)
    yield b"50000000\n" + b"1\n" * (40 << 20)


def empty_forever() -> Iterator[bytes]:
    return zeros(64 << 20)


PLAIN_FOLDER = header(tarfile.DIRTYPE, 0)


@pytest.mark.slow
@pytest.mark.parametrize(
    "archive, why",
    [
        (long_headers(tarfile.GNUTYPE_LONGNAME), "holds a name or comment of 440401920 bytes"),
        (long_headers(tarfile.GNUTYPE_LONGLINK), "holds 'toy/file', not a plain file"),
        (long_headers(b"x"), "holds a name or comment of 440401920 bytes"),
        (long_headers(b"g"), "holds a name or comment of 440401920 bytes"),
        (many_long_names, "(more than 20000 files or 128 MB)"),
        (large_file, "(more than 20000 files or 128 MB)"),
        (large_files, "(more than 20000 files or 128 MB)"),
        (many_folders, "(more than 20000 files or 128 MB)"),
        (many_files, "(more than 20000 files or 128 MB)"),
        (sparse_file, "holds 'toy/file', not a plain file"),
        (pax_sparse_file, "holds 'toy/file', not a plain file"),
        (empty_forever, "does not hold one top folder"),
    ],
)
def test_what_an_archive_claims_takes_no_memory(project, tmp_path, archive, why):
    """Each of them is a few MB at most on disk."""
    path = tmp_path / "bomb.tar.gz"
    with gzip.open(path, "wb", compresslevel=1) as packed:
        for part in archive():
            packed.write(part)
    assert path.stat().st_size < 8 << 20
    assert why in fails_in_little_memory(project, path)


def test_an_xz_archive_cannot_ask_for_memory(project, tmp_path):
    """The header of an .xz file says how large a dictionary has to be; this one says 4 GB."""
    packed = bytearray(lzma.compress(gzip.decompress(project.archive.read_bytes())))
    size = (packed[12] + 1) * 4  # of the block's header, which ends with its checksum
    assert packed[14:16] == b"\x21\x01"  # LZMA2, one byte of settings
    packed[16] = 40
    packed[12 + size - 4 : 12 + size] = struct.pack("<I", zlib.crc32(packed[12 : 12 + size - 4]))
    (tmp_path / "bomb.tar.xz").write_bytes(packed)
    assert "takes more than 160 MB of memory to decompress" in fails_in_little_memory(project, tmp_path / "bomb.tar.xz")


def fails_in_little_memory(project: Project, path: Path) -> str:
    done = subprocess.run(
        [sys.executable, "build.py", "fetch", "--source", str(path)],
        cwd=project.root,
        capture_output=True,
        text=True,
        env=project.environment(),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY)),
    )
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr[-2000:]
    assert done.stderr.startswith(f"build.py: error: {path}: ")
    return done.stderr


@pytest.mark.slow
def test_the_largest_source_that_is_read_fits_the_memory_of_these_tests(project, tmp_path):
    """Or else the limit would end what is taken as well."""
    with gzip.open(tmp_path / "large.tar.gz", "wb", compresslevel=1) as packed:
        packed.write(header(tarfile.REGTYPE, 120 << 20))
        for part in (*zeros(120 << 20), bytes(1024)):
            packed.write(part)
    assert "not the source of HM 18.0" in fails_in_little_memory(project, tmp_path / "large.tar.gz")


@pytest.mark.parametrize(
    "place, bytes_there",
    [
        (0, b"other"),  # the checksum of the header
        (124, b"\xff" * 12),
        (124, b"\x80" + bytes(10) + b"\1"),
        (124, b"-0000000001\0"),
        (124, b"0_000000001\0"),
    ],
)
def test_a_damaged_header_is_refused(project, tmp_path, place, bytes_there):
    """tarfile takes a size below zero for a way back in the archive."""
    first = bytearray(header(tarfile.REGTYPE, 1))
    first[place : place + len(bytes_there)] = bytes_there
    if place:
        first[148:156] = b"%06o\0 " % (sum(first[:148]) + 8 * ord(" ") + sum(first[156:]))
    (tmp_path / "bad.tar").write_bytes(bytes(first) + bytes(2048))
    with pytest.raises(project.console.BuildError, match="bad.tar: not a readable tar archive, or cut short"):
        project.archives.read_archive(tmp_path / "bad.tar")


@pytest.mark.parametrize(
    "fields",
    [
        b"8 path=x\n",
        b"11 path=x\n",
        b"99999 path=x\n",
        b"path=x\n",
        b"11 path=xyz",
        b"1" * 60_000,
        b"0 a=b\n",
        b"12 size=1e3\n",
    ],
)
def test_a_damaged_pax_header_is_refused(project, tmp_path, fields):
    (tmp_path / "bad.tar").write_bytes(
        header(b"x", len(fields)) + fields + bytes(-len(fields) % 512) + header(tarfile.REGTYPE, 0) + bytes(1024)
    )
    with pytest.raises(project.console.BuildError, match="bad.tar: not a readable tar archive, or cut short"):
        project.archives.read_archive(tmp_path / "bad.tar")
