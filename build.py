#!/usr/bin/env python3
"""Builds fprdo and the encoders that it patches, and runs the demo and the tests.

    python3 build.py                  everything, then the demo (fprdo quickstart)
    python3 build.py test [ARGS]      everything, then pytest ARGS
    python3 build.py hm               HM only: fetch, verify, patch, compile
    python3 build.py x264             x264 only
    python3 build.py jm               JM only
    python3 build.py doctor           what is installed, what is missing, how to get it

Python's standard library only. What is done already is skipped: the virtual environment and every build tree are named
or stamped by a hash of what they were made from. patches/README.md tells how to change a patch, third_party/README.md
where the sources come from.
"""

from __future__ import annotations

import sys

if sys.version_info < (3, 11):
    sys.stderr.write("build.py: error: Python 3.11 or newer is needed (tomllib), this is %d.%d; "
                     "run build.py with a newer python3\n" % sys.version_info[:2])
    raise SystemExit(2)

import argparse
import errno
import fcntl
import gzip
import hashlib
import http.client
import importlib.util
import io
import json
import lzma
import os
import platform
import re
import select
import shlex
import shutil
import signal
import subprocess
import sysconfig
import tarfile
import tempfile
import time
import tomllib
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent
if str(ROOT) not in sys.path:  # with python -I or PYTHONSAFEPATH
    sys.path.append(str(ROOT))

from patches.series import Patch, PatchError, Tree, export_patch, read_series, rebase_series, snapshots, verify_series

THIRD_PARTY = ROOT / "third_party"
CACHE, WORK, BUILD = THIRD_PARTY / "cache", THIRD_PARTY / "patched", THIRD_PARTY / "build"
LOGS = BUILD / "logs"
NATIVE = ROOT / "fprdo_bridge" / "native"
VENV = ROOT / ".venv"


class BuildError(Exception):
    """What the user has to know, in one line; `detail` (the end of a log) is printed before it."""

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.detail = detail


class NoSource(BuildError):
    """None of the places that may have an encoder's source gave it."""


class NoTool(BuildError):
    """A program that compiles an encoder is not on this machine."""


# ---------------------------------------------------------------------------------------------------------------------
# Recipes: what build.py knows of each encoder. Another encoder is another entry here, pins in third_party/sources.toml
# and a series in patches/NAME/.

@dataclass(frozen=True)
class Recipe:
    name: str
    title: str
    revision: int                   # part of every build's hash: raise it when `compile` or the flags' meaning changes
    flags: tuple[str, ...]          # compiler flags, each used only where the compiler knows it
    native: str                     # folder of the patched tree that takes native_files()
    patched: dict[str, str]         # key in tools.json -> program built from the patched tree
    stock: dict[str, str]           # the same from the untouched tree
    config_dir: str                 # the encoder's own configuration files, below its top folder
    products: tuple[str, ...]       # top-level folders that a used checkout holds beside the source
    compile: Callable[[Build, Tools, Path, Path, Progress], Path]
    machine: Callable[[], tuple[str, ...]] = tuple  # what else decides the programs on this machine: part of the hash
    needs: tuple[str, ...] = ()     # programs of this machine that `compile` runs, beside those of find_tools
    optional: bool = False          # the quickstart and the tests go on without it where source or tools are missing

    @property
    def variable(self) -> str:
        """The environment variable that names its source."""
        return f"FPRDO_{self.name.upper()}_SOURCE"


def compile_with_cmake(build: Build, tools: Tools, source: Path, objects: Path, progress: Progress) -> Path:
    """Compile `source` with its objects in `objects`; return the folder that holds the programs at some depth."""
    c_flags, cxx_flags = (" ".join(flag for flag in build.pin.recipe.flags if accepts(compiler, flag, language))
                          for compiler, language in ((tools.cc, "c"), (tools.cxx, "c++")))
    run([tools.cmake, "-S", str(source), "-B", str(objects), *tools.generator, "-DCMAKE_BUILD_TYPE=Release",
         f"-DCMAKE_C_COMPILER={tools.cc}", f"-DCMAKE_CXX_COMPILER={tools.cxx}",
         f"-DCMAKE_C_FLAGS={c_flags}", f"-DCMAKE_CXX_FLAGS={cxx_flags}",
         # Objects that a library shares with the program; without a library, the source's own choice stays.
         *(["-DCMAKE_POSITION_INDEPENDENT_CODE=ON"] if "library" in build.programs else [])], build.log, progress)
    run([tools.cmake, "--build", str(objects), "--parallel", str(os.cpu_count() or 1),
         "--target", *build.programs.values()], build.log, progress)
    return source / "bin"


# x264 as the package uses it: raw pictures in, bitstream out, 8 and 10 bits in one program.
X264_OPTIONS = ("--bit-depth=all", "--disable-opencl", "--disable-avs", "--disable-swscale", "--disable-lavf",
                "--disable-ffms", "--disable-gpac", "--disable-lsmash", "--disable-bashcompletion")


def assembler() -> str | None:
    """nasm of the version that x264 asks for (2.13)."""
    nasm = shutil.which("nasm")
    said = subprocess.run([nasm, "-v"], capture_output=True, text=True).stdout if nasm else ""
    version = re.search(r"version (\d+)\.(\d+)", said)
    return nasm if version and (int(version[1]), int(version[2])) >= (2, 13) else None


def x264_machine() -> tuple[str, ...]:
    """x264's assembly for x86 is written for nasm; other machines' goes through the C compiler."""
    x86 = platform.machine().lower() in ("x86_64", "amd64", "i386", "i586", "i686")
    return ("--disable-asm",) if x86 and not assembler() else ()


def compile_with_configure(build: Build, tools: Tools, source: Path, objects: Path, progress: Progress) -> Path:
    """The same for x264, whose scripts may have lost their mode bits in an archive."""
    make, bash = shutil.which("make"), shutil.which("bash")
    machine = x264_machine()
    if machine:
        say(f"{build.pin.title}: no nasm 2.13 or newer, so it is built without assembly and is several times slower; "
            "install nasm and run build.py x264 again")
    for name in ("configure", "config.guess", "config.sub", "version.sh"):
        (source / name).chmod(0o755)
    objects.mkdir(exist_ok=True)
    flags = " ".join(flag for flag in build.pin.recipe.flags if accepts(tools.cc, flag, "c"))
    if not (objects / "config.mak").exists():
        run(["env", f"CC={tools.cc}", bash, str(source / "configure"), *X264_OPTIONS, *machine,
             f"--extra-cflags={flags}"], build.log, progress, objects)
    run([make, f"-j{os.cpu_count() or 1}", *build.programs.values()], build.log, progress, objects)
    return objects


RECIPES = {
    "hm": Recipe(
        name="hm", title="HM", revision=1,
        # HM compiles with -Werror; gcc 12 reports these two where there is nothing wrong.
        flags=("-Wno-error=array-bounds", "-Wno-error=maybe-uninitialized"),
        native="source/Lib/TLibCommon",
        patched={"encoder": "TAppEncoder", "library": "fprdo-hm.so"},
        stock={"stock_encoder": "TAppEncoder", "stock_decoder": "TAppDecoder"},
        config_dir="cfg", products=(".git", "bin", "lib", "build"), compile=compile_with_cmake),
    "x264": Recipe(
        name="x264", title="x264", revision=1, flags=(), native="common",
        patched={"encoder": "x264"}, stock={"stock_encoder": "x264"},
        config_dir=".", products=(".git",), compile=compile_with_configure, machine=x264_machine,
        needs=("make", "bash"), optional=True),
    "jm": Recipe(
        name="jm", title="JM", revision=1,
        # JM compiles with -Werror too; gcc 12 sees a use after free in its list of decoded pictures.
        flags=("-Wno-error=use-after-free",),
        native="source/app/lencod",
        patched={"encoder": "lencod", "library": "fprdo-jm.so"},
        stock={"stock_encoder": "lencod", "stock_decoder": "ldecod"},
        config_dir="cfg", products=(".git", "bin", "lib", "build"), compile=compile_with_cmake, optional=True),
}


@dataclass(frozen=True)
class Pin:
    """One version of one encoder, as third_party/sources.toml pins it."""
    recipe: Recipe
    version: str
    tree_sha256: str
    files: int
    upstream: list[str]
    distribution: dict[str, str] = field(default_factory=dict)  # pool path and sha256 of the distribution's archive
    also: tuple[str, ...] = ()  # tree_sha256 of trees that differ in nothing that is compiled or patched

    @property
    def title(self) -> str:
        return f"{self.recipe.title} {self.version}"

    @property
    def label(self) -> str:
        return f"{self.recipe.name}-{self.version}"

    @property
    def cached(self) -> Path:
        return CACHE / f"{self.label}.tar.gz"


def find_pin(name: str, version: str | None) -> Pin:
    path = THIRD_PARTY / "sources.toml"
    try:
        section = tomllib.loads(path.read_text(encoding="utf-8"))[name]
        versions = section["versions"]
        version = version or section["default"]
        if version not in versions:
            raise BuildError(f"{RECIPES[name].title} {version}: third_party/sources.toml has no pin of this version, "
                             f"only of {', '.join(versions)}")
        return Pin(recipe=RECIPES[name], version=version, **versions[version])
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise BuildError(f"{path}: not a valid list of sources ({error!r})") from error


# ---------------------------------------------------------------------------------------------------------------------
# Saying what happens

def say(text: str) -> None:
    print(text, flush=True)


class Progress:
    """One long step: a line that ticks on a terminal, otherwise a plain line every quarter of a minute."""

    def __init__(self, label: str) -> None:
        self.label, self.start, self.shown = label, time.monotonic(), 0.0
        self.live = sys.stdout.isatty()

    def __enter__(self) -> Progress:
        if not self.live:
            say(f"{self.label} ...")
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        if self.live:
            print("\r\x1b[K", end="", flush=True)
        if kind is None:
            say(f"{self.label}: done ({self.elapsed:.0f} s)")

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.start

    def show(self, state: str) -> None:
        if self.elapsed - self.shown < (0.2 if self.live else 15):
            return
        self.shown = self.elapsed
        text = f"{self.label} {state} ({self.elapsed:.0f} s)"
        if self.live:
            print("\r\x1b[K" + text[:shutil.get_terminal_size().columns - 1], end="", flush=True)
        else:
            say(text)


# What ninja, make and pip print as they go on.
STATE = re.compile(rb"^(\[ *\d+(?:/\d+|%)\]| *(?:Collecting|Downloading|Installing) [^\s(]+)", re.MULTILINE)


def run(command: list[str], log: Path, progress: Progress, folder: Path = ROOT) -> None:
    """Run a command with its output in `log`; raise BuildError with the end of the log when it fails."""
    state, rest = "", b""
    with open(log, "ab") as out:
        out.write(f"$ {shlex.join(command)}\n".encode())
        out.flush()
        process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, start_new_session=True)
        try:
            pipe = process.stdout.fileno()
            while True:
                if select.select([pipe], [], [], 0.5)[0]:
                    chunk = os.read(pipe, 65536)
                    if not chunk:
                        break
                    out.write(chunk)
                    found = STATE.findall(rest + chunk)
                    state = found[-1].decode(errors="replace").strip() if found else state
                    rest = chunk[-200:].rpartition(b"\n")[2]
                progress.show(state)
            status = process.wait()
        finally:
            if process.poll() is None:  # stopped from outside: its compilers go with it
                os.killpg(process.pid, signal.SIGTERM)
                process.wait()
            process.stdout.close()
    if status != 0:
        tail = log.read_text(errors="replace").splitlines()[-20:]
        raise BuildError(f"{progress.label}: {Path(command[0]).name} failed with exit status {status}; "
                         f"the whole log is {log}", "\n".join(tail))


class Stopped(KeyboardInterrupt):
    """SIGTERM or SIGHUP, which reached this process only; a Ctrl-C reaches its children too."""


def catch_signals() -> None:
    """Let SIGTERM and SIGHUP be cleaned up after as Ctrl-C is; where nohup ignores SIGHUP, it stays ignored."""
    def stop(*_: object) -> None:
        raise Stopped

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, stop)


PATIENCE = 20  # seconds that a program gets to clean up after itself


def ends(process: subprocess.Popen) -> bool:
    """Whether the process ends before PATIENCE does."""
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        return False
    return True


def call(command: list[str]) -> int:
    """Run a program on this terminal; when stopped, let it clean up. It is killed on a second stop, or after PATIENCE.

    A Ctrl-C has reached it already; for all else it gets SIGTERM, for the SIGHUP of a closing terminal, too, which
    would end it at once.
    """
    process = subprocess.Popen(command, cwd=ROOT, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    try:
        return process.wait()
    except KeyboardInterrupt as stop:
        try:
            if isinstance(stop, Stopped) or not ends(process):
                process.terminate()
            ended = ends(process)
        except KeyboardInterrupt:
            ended = False
        if not ended:
            process.kill()
            process.wait()
        raise


# ---------------------------------------------------------------------------------------------------------------------
# Files and trees

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


def read_json(path: Path) -> dict:
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


MOST_FILES, MOST_BYTES = 20_000, 1 << 30  # far more than the source of any encoder


def check_member(origin: Path, name: str, tree: Tree, size: int) -> None:
    """Refuse a file that has no place in a source tree, before its `size` bytes are read into memory."""
    if not name.isprintable():
        raise BuildError(f"{origin}: holds a file named {os.fsencode(name)!r}, not printable UTF-8; remove it")
    if len(tree) >= MOST_FILES or size > MOST_BYTES:
        raise BuildError(f"{origin}: not the source of an encoder (more than {MOST_FILES} files or "
                         f"{MOST_BYTES >> 20} MB); give the unchanged release")


def read_folder(folder: Path, skip_top: tuple[str, ...] = (), skip_ends: tuple[str, ...] = ()) -> Tree:
    tree, size = {}, 0
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
            check_member(folder, inside, tree, size)
            tree[inside] = path.read_bytes()
    return tree


def read_archive(path: Path) -> Tree:
    """Read a tar archive into memory, less its single top folder; nothing is unpacked before it is verified."""
    tree, tops, size = {}, set(), 0
    try:
        with tarfile.open(path, "r:*") as archive:
            for member in archive:
                top, *below = member.name.split("/")
                if top == "" or ".." in below or not (member.isfile() or member.isdir()):
                    raise BuildError(f"{path}: holds {member.name!r}, not a plain file inside its folder; refused")
                tops.add(top)
                if member.isfile():
                    size += member.size
                    check_member(path, member.name, tree, size)
                    tree["/".join(below)] = archive.extractfile(member).read()
    except (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        if isinstance(error, OSError) and error.errno:  # the file itself cannot be read; bad data has no errno
            raise
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


# ---------------------------------------------------------------------------------------------------------------------
# Sources: the place the user names, the cache, upstream, the distribution's archive

def obtain_source(pin: Pin, source: str | None = None) -> Tree:
    """The verified pristine source, from the first way that has it; it is in the cache afterwards.

    A place that the user names (`source`, or the environment variable FPRDO_<NAME>_SOURCE) is the only one tried.
    """
    variable = pin.recipe.variable
    source = source or os.environ.get(variable)
    CACHE.mkdir(parents=True, exist_ok=True)
    if source:
        tree = read_named_source(Path(source), pin)
        with tempfile.TemporaryDirectory(dir=CACHE, prefix=".fetch-") as scratch:
            packed = Path(scratch) / "source.tar.gz"
            pack(tree, packed, pin.label)
            os.replace(packed, pin.cached)
        say(f"{pin.title}: source taken from {source}, content verified")
        return tree
    if pin.cached.exists():
        try:
            return read_verified(pin.cached, pin)
        except BuildError as error:
            say(f"{error}; dropped from the cache")
            pin.cached.unlink()
    failures = []
    for name, url, sha256 in remote_places(pin):
        with tempfile.TemporaryDirectory(dir=CACHE, prefix=".fetch-") as scratch:
            try:
                with Progress(f"{pin.title}: fetching from {name}") as progress:
                    archive = download(url, Path(scratch) / url.rpartition("/")[2], sha256, progress)
                    tree = read_verified(archive, pin, origin=url)
            except BuildError as error:
                say(f"{pin.title}: {error}")
                failures.append(f"{name}: {error}")
                continue
            os.replace(archive, pin.cached)
            return tree
    raise NoSource(f"{pin.title}: no source could be had [{'; '.join(failures)}]; check the network, or get it "
                   f"yourself and name it: --source DIR|ARCHIVE, or {variable}")


def read_named_source(path: Path, pin: Pin) -> Tree:
    if path.is_dir():
        tree = read_folder(path, skip_top=pin.recipe.products)
        check_content(tree, pin, str(path))
        return tree
    if not path.is_file():
        raise BuildError(f"{path}: no such directory or archive; give one with the source of {pin.title}")
    return read_verified(path, pin)


def read_verified(archive: Path, pin: Pin, origin: str | None = None) -> Tree:
    tree = read_archive(archive)
    check_content(tree, pin, origin or str(archive))
    return tree


def check_content(tree: Tree, pin: Pin, origin: str) -> None:
    found = tree_hash(tree)
    if found == pin.tree_sha256 or found in pin.also:
        return
    problem = f"content hash {found[:12]}, pinned {pin.tree_sha256[:12]}; {len(tree)} files of {pin.files}"
    try:  # with a good copy at hand, name the files
        reference = read_archive(pin.cached)
    except (BuildError, OSError):
        reference = {}
    if tree_hash(reference) == pin.tree_sha256:
        differing = sorted(name for name in reference | tree if reference.get(name) != tree.get(name))
        words = [f"{name} {'missing' if name not in tree else 'changed' if name in reference else 'added'}"
                 for name in differing[:3]]
        problem += f"; {', '.join(words)}" + (f" and {len(differing) - 3} more" if len(differing) > 3 else "")
    raise BuildError(f"{origin}: not the source of {pin.title} that third_party/sources.toml pins ({problem}); "
                     "give the unchanged release")


def remote_places(pin: Pin) -> Iterator[tuple[str, str, str | None]]:
    """(what it is, URL, sha256 of the archive where that is known)"""
    for url in pin.upstream:
        yield "upstream", url, None
    if pin.distribution:
        for mirror in distribution_mirrors():
            yield ("the distribution's source archive", f"{mirror.rstrip('/')}/{pin.distribution['path']}",
                   pin.distribution["sha256"])


def distribution_mirrors() -> list[str]:
    """The mirrors that apt is configured with; none where there is no apt."""
    try:
        answer = subprocess.run(["apt-get", "indextargets", "--format", "$(SITE)", "Identifier: Packages"],
                                capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [site for site in dict.fromkeys(answer.stdout.split()) if site.startswith(("http://", "https://"))]


def open_url(url: str, method: str, timeout: float) -> http.client.HTTPResponse:
    try:
        request = urllib.request.Request(url, method=method, headers={"User-Agent": "fprdo-build"})
        return urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        raise BuildError(f"{url} answers {error.code} {error.reason}") from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise BuildError(f"{url} cannot be reached ({getattr(error, 'reason', error)})") from error


def download(url: str, path: Path, sha256: str | None, progress: Progress) -> Path:
    with open_url(url, "GET", timeout=20) as response, open(path, "wb") as out:
        size, done, checksum = int(response.headers.get("Content-Length") or 0), 0, hashlib.sha256()
        while True:
            try:
                chunk = response.read(65536)
            except (OSError, http.client.HTTPException) as error:
                raise BuildError(f"{url} broke off after {done} bytes ({error})") from error
            if not chunk:
                break
            out.write(chunk)
            checksum.update(chunk)
            done += len(chunk)
            progress.show(f"{done / 1e6:.1f} of {size / 1e6:.1f} MB" if size else f"{done / 1e6:.1f} MB")
    if size and done != size:
        raise BuildError(f"{url} broke off after {done} of {size} bytes")
    if sha256 and checksum.hexdigest() != sha256:
        raise BuildError(f"{url} has sha256 {checksum.hexdigest()}, pinned is {sha256}")
    return path


# ---------------------------------------------------------------------------------------------------------------------
# The work tree, third_party/patched/NAME-VERSION: the patched source for people to edit

EDITOR_LEFTOVERS = ("~", ".orig", ".rej", ".swp")


class WorkTree:
    def __init__(self, pin: Pin) -> None:
        self.folder = WORK / pin.label
        self.stamp = WORK / f"{pin.label}.sha256"  # the content as build.py last wrote or refreshed it
        self.products = pin.recipe.products

    def read(self) -> Tree:
        return read_folder(self.folder, self.products, EDITOR_LEFTOVERS)

    def written(self) -> str:
        return self.stamp.read_text() if self.stamp.exists() else ""

    def edited(self) -> bool:
        return self.folder.exists() and tree_hash(self.read()) != self.written()

    def refusal(self) -> BuildError:
        return BuildError(f"{self.folder}: holds edits that are not in the series; keep them with build.py refresh, or "
                          "remove the folder yourself")

    def write(self, tree: Tree) -> None:
        with new_folder(self.folder) as folder:
            write_tree(tree, folder)
        write_atomically(self.stamp, tree_hash(tree).encode())


# ---------------------------------------------------------------------------------------------------------------------
# Tools

@dataclass(frozen=True)
class Tools:
    cc: str
    cxx: str
    cmake: str
    generator: list[str]  # cmake's options that choose it


def find_compiler(variable: str, language: str, names: tuple[str, ...]) -> str:
    named = os.environ.get(variable)
    for name in (named,) if named else names:
        if found := shutil.which(name):
            return found
    looked = f"{variable}={named}" if named else ", ".join(names)
    raise NoTool(f"no {language} compiler found (looked for {looked}); install gcc and g++, or set CC and CXX")


def find_compilers() -> tuple[str, str]:
    return (find_compiler("CC", "C", ("cc", "gcc", "clang")), find_compiler("CXX", "C++", ("c++", "g++", "clang++")))


def accepts(compiler: str, flag: str, language: str) -> bool:
    return subprocess.run([compiler, "-Werror", flag, "-x", language, "-fsyntax-only", os.devnull],
                          capture_output=True).returncode == 0


def find_program(name: str) -> str | None:
    ours = VENV / "bin" / name
    return shutil.which(name) or (str(ours) if venv_is_ours() and os.access(ours, os.X_OK) else None)


def find_tools(pin: Pin) -> Tools:
    """The compilers, cmake and ninja (or make); cmake and ninja are installed into .venv where the system has none.

    What else the encoder needs has to be there.
    """
    cc, cxx = find_compilers()
    for name in pin.recipe.needs:
        if not shutil.which(name):
            raise NoTool(f"{pin.title}: no {name} found; install {name}")
    missing = [name for name, there in (("cmake", find_program("cmake")),
                                        ("ninja", find_program("ninja") or find_program("make"))) if not there]
    if missing:
        make_venv()
        pip_install(f"{' and '.join(missing)} into .venv", missing)
    ninja = find_program("ninja")
    generator = ["-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}"] if ninja else ["-G", "Unix Makefiles"]
    return Tools(cc, cxx, find_program("cmake"), generator)


# ---------------------------------------------------------------------------------------------------------------------
# Builds: third_party/build/NAME-VERSION[-stock]-HASH/{src,bin}

@dataclass(frozen=True)
class Build:
    pin: Pin
    kind: str                  # "patched" or "stock"
    key: str                   # the hash in the folder's name
    programs: dict[str, str]   # key in tools.json -> program

    @property
    def folder(self) -> Path:
        return BUILD / f"{self.pin.label}{'' if self.kind == 'patched' else '-' + self.kind}-{self.key}"

    @property
    def log(self) -> Path:
        return LOGS / f"{self.folder.name}.log"

    @property
    def stamp(self) -> Path:
        return self.folder / "complete"

    @property
    def source(self) -> Path:
        return self.folder / "src"

    @property
    def configurations(self) -> Path:
        return self.source / self.pin.recipe.config_dir

    def program(self, name: str) -> Path:
        return self.folder / "bin" / name

    def finished(self) -> bool:
        needed = [self.stamp, self.configurations, *map(self.program, self.programs.values())]
        return all(path.exists() for path in needed)


def native_files() -> Tree:
    return {name: (NATIVE / name).read_bytes() for name in ("idse.c", "idse.h", "weighted_sse.h")}


def patch_folder(pin: Pin) -> Path:
    return ROOT / "patches" / pin.recipe.name


def plan_builds(pin: Pin, series: list[Patch]) -> list[Build]:
    recipe, native = pin.recipe, native_files()
    common = (pin.tree_sha256, str(recipe.revision), *recipe.flags, *recipe.machine())
    patches = [part for patch in series for part in (patch.name, patch.text)]
    return [Build(pin, "stock", digest(*common)[:12], recipe.stock),
            Build(pin, "patched", digest(*common, *patches, *native.values())[:12], recipe.patched)]


def build_encoder(pin: Pin, source: str | None = None) -> None:
    series = read_series(patch_folder(pin))
    builds = plan_builds(pin, series)
    pending = [build for build in builds if not build.finished()]
    tools = find_tools(pin) if pending else None  # a missing compiler is said before anything is fetched
    if pending or source:
        pristine = obtain_source(pin, source)
    if pending:
        trees, notes = snapshots(pristine, series)
        for note in notes:
            say(f"{pin.title}: {note}")
        native = {f"{pin.recipe.native}/{name}": data for name, data in native_files().items()}
        for build in pending:
            compile_build(build, pristine if build.kind == "stock" else trees[-1] | native, tools)
    write_tools(pin, builds)
    for build in builds:
        say(f"{pin.title} {build.kind}: ready in {build.folder.relative_to(ROOT)}")


def compile_build(build: Build, tree: Tree, tools: Tools) -> None:
    source = build.source
    # A half build goes on only with the tools and at the place that it was begun with: cmake mixes no compilers or
    # generators, and it and x264's config.mak hold absolute paths.
    objects = build.folder / f"obj-{digest(str(build.folder), tools.cc, tools.cxx, *tools.generator)[:12]}"
    if not build.configurations.exists():
        with new_folder(source) as folder:
            write_tree(tree, folder)
    LOGS.mkdir(parents=True, exist_ok=True)
    build.log.unlink(missing_ok=True)
    with Progress(f"{build.pin.title} {build.kind}: compiling {' and '.join(build.programs.values())}") as progress:
        products = build.pin.recipe.compile(build, tools, source, objects, progress)
    (build.folder / "bin").mkdir(exist_ok=True)
    for name in build.programs.values():
        made = [path for path in sorted(products.rglob(name)) if path.is_file()]
        if not made:
            raise BuildError(f"{build.pin.title}: the compiler made no {name}; the whole log is {build.log}")
        shutil.copy2(made[0], build.program(name))
    for leftover in (*build.folder.glob("obj-*"), *(source / name for name in build.pin.recipe.products)):
        shutil.rmtree(leftover, ignore_errors=True)
    write_atomically(build.stamp, b"")


def write_tools(pin: Pin, builds: list[Build]) -> None:
    """third_party/build/tools.json, where the package looks for programs; its paths are relative to its folder."""
    path = BUILD / "tools.json"
    known = read_json(path)
    stock, patched = builds
    entry = {"version": pin.version, "key": patched.key,
             "config_dir": stock.configurations.relative_to(BUILD).as_posix()}
    for build in builds:
        entry |= {key: build.program(name).relative_to(BUILD).as_posix() for key, name in build.programs.items()}
    if known.get(pin.recipe.name) != entry:
        write_atomically(path, (json.dumps(known | {pin.recipe.name: entry}, indent=2) + "\n").encode())


def forget_tools(name: str) -> None:
    """Take an encoder out of tools.json, where one of older source or patches may stand."""
    path = BUILD / "tools.json"
    known = read_json(path)
    if known.pop(name, None):
        write_atomically(path, (json.dumps(known, indent=2) + "\n").encode())


# ---------------------------------------------------------------------------------------------------------------------
# The virtual environment

VENV_STAMP = VENV / "fprdo-installed.json"
PACKAGE_LOG = LOGS / "python-packages.log"
NO_CUDA = ("on Linux, torch's default wheel brings several GB of CUDA; to take the CPU wheel, set PIP_INDEX_URL to "
           "PyTorch's index of CPU wheels and PIP_EXTRA_INDEX_URL to your usual one before build.py runs")


def venv_origin() -> dict[str, str]:
    """What a .venv is made anew for: a venv holds absolute paths, and modules compiled for one version of Python."""
    return {"place": str(ROOT), "python": sys.implementation.cache_tag}


def write_venv_stamp(**content: object) -> None:
    write_atomically(VENV_STAMP, json.dumps(venv_origin() | content).encode())


def venv_is_ours() -> bool:
    """Whether .venv was made where this checkout is, by this version of Python."""
    return venv_origin().items() <= read_json(VENV_STAMP).items()


def make_venv() -> None:
    """An interpreter with pip in .venv; made again if the checkout has moved or Python is another one."""
    if venv_is_ours() and (VENV / "bin" / "python").exists():
        return
    if importlib.util.find_spec("ensurepip") is None:
        raise BuildError(f"{sys.executable} cannot make virtual environments (no ensurepip); install python3-venv")
    LOGS.mkdir(parents=True, exist_ok=True)
    with Progress("Python: making .venv") as progress:
        run([sys.executable, "-m", "venv", *(["--clear"] if VENV_STAMP.exists() else []), str(VENV)], PACKAGE_LOG,
            progress)
    write_venv_stamp()


def pip_install(label: str, arguments: list[str]) -> None:
    command = [str(VENV / "bin" / "python"), "-m", "pip", "install", "--no-input", "--disable-pip-version-check",
               "--progress-bar", "off", "-c", str(ROOT / "constraints.txt"), *arguments]
    LOGS.mkdir(parents=True, exist_ok=True)
    try:
        with Progress(f"Python: installing {label}") as progress:
            run(command, PACKAGE_LOG, progress)
    except BuildError as error:
        raise BuildError(f"{error}; check the network, pip's settings and the disk's room, then run it again",
                         error.detail) from error


def package_key() -> str:
    inputs = [ROOT / name for name in ("pyproject.toml", "setup.py", "constraints.txt")]
    inputs += [NATIVE / name for name in (*native_files(), "build_idse.py", "quantise.cpp")]
    return digest(*(path.read_bytes() for path in inputs))


def package_installed(extras: tuple[str, ...] = ()) -> bool:
    stamp = read_json(VENV_STAMP)
    return (venv_is_ours() and stamp.get("key") == package_key()
            and set(extras) <= set(stamp.get("extras", ())) and (VENV / "bin" / "fprdo").exists())


def install_package(extras: tuple[str, ...] = ()) -> None:
    """The package, editable, with its dependencies and compiled kernel, in .venv."""
    if package_installed(extras):
        say("Python packages: ready in .venv")
        return
    find_compilers()
    if not (Path(sysconfig.get_path("include")) / "Python.h").exists():
        raise BuildError(f"{sys.executable} has no Python.h, which the kernel's binding needs; install python3-dev")
    make_venv()
    PACKAGE_LOG.unlink(missing_ok=True)
    extras = tuple(sorted({*extras, *read_json(VENV_STAMP).get("extras", ())}))
    write_venv_stamp(extras=extras)
    for old in NATIVE.glob("_*.so"):  # so that they are compiled from the source as it is now
        old.unlink()
    # The build's requirements come first, pinned as the rest; then no second, unpinned set has to be fetched for it.
    pip_install("what builds the package", ["setuptools", "cffi", "pybind11"])
    pip_install("the package and what it needs",
                ["--no-build-isolation", "-e", str(ROOT) + (f"[{','.join(extras)}]" if extras else "")])
    write_venv_stamp(extras=extras, key=package_key())


# ---------------------------------------------------------------------------------------------------------------------
# Commands

@contextmanager
def alone() -> Iterator[None]:
    """While this build.py installs or builds, others wait that were started in the same checkout."""
    folder = os.open(THIRD_PARTY, os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another build.py is at work here; waiting for it")
            fcntl.flock(folder, fcntl.LOCK_EX)
        sweep()
        yield
    finally:
        os.close(folder)


def sweep() -> None:
    """Remove what a build.py that was killed outright had not finished writing."""
    found = [*CACHE.glob(".fetch-*"), *BUILD.glob(".*.tmp"), *BUILD.glob("*/.src.*"), *BUILD.glob("*/.complete.*.tmp"),
             *VENV.glob(f".{VENV_STAMP.name}.*.tmp")]
    for name in RECIPES:
        found += [*WORK.glob(f".{name}-*"), *(ROOT / "patches" / name).glob(".*.patch.*.tmp")]
    for path in found:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def build_all() -> None:
    for name, recipe in RECIPES.items():
        try:
            build_encoder(find_pin(name, None))
        except (NoSource, NoTool) as error:
            if not recipe.optional:
                raise
            forget_tools(name)
            say(f"{error}; going on without {recipe.title}")


def quickstart() -> int:
    with alone():
        install_package()
        build_all()
    return call([str(VENV / "bin" / "fprdo"), "quickstart"])


def test(arguments: list[str]) -> int:
    with alone():
        install_package(("test",))
        build_all()
    return call([str(VENV / "bin" / "python"), "-m", "pytest", *arguments])


def fetch(pin: Pin, source: str | None) -> None:
    tree = obtain_source(pin, source)
    say(f"{pin.title}: pristine source in {pin.cached.relative_to(ROOT)} ({len(tree)} files, content verified)")


def verify(pin: Pin, source: str | None) -> None:
    tree = obtain_source(pin, source)
    say(f"{pin.title}: pristine source matches its pin ({len(tree)} files)")
    series = read_series(patch_folder(pin))
    verify_series(tree, series)
    say(f"{pin.title}: {len(series)} patches, each listed once, apply with fuzz 0 and export to the same bytes")


def patch(pin: Pin, source: str | None) -> None:
    work = WorkTree(pin)
    trees, notes = snapshots(obtain_source(pin, source), read_series(patch_folder(pin)))
    for note in notes:
        say(f"{pin.title}: {note}")
    if work.edited() and work.read() != trees[-1]:
        raise work.refusal()
    if tree_hash(trees[-1]) != work.written() or not work.folder.exists():
        work.write(trees[-1])
    say(f"{pin.title}: patched source in {work.folder.relative_to(ROOT)}; edit it, then build.py refresh "
        f"{pin.recipe.name}")


def refresh(pin: Pin, target: str | None) -> None:
    work, series = WorkTree(pin), read_series(patch_folder(pin))
    names = [patch.name for patch in series]
    if not work.folder.exists():
        raise BuildError(f"{work.folder}: not there; make it with build.py patch {pin.recipe.name} and edit it")
    if target and target not in names:
        raise BuildError(f"--patch {target}: not in {patch_folder(pin) / 'series'} ({', '.join(names)})")
    if not series:
        raise BuildError(f"{patch_folder(pin) / 'series'}: lists no patch; list one that holds a header")
    trees, _ = snapshots(obtain_source(pin), series)
    edited = work.read()
    for name in sorted(edited):
        if b"\0" in edited[name] and edited[name] != trees[-1].get(name):
            raise BuildError(f"{work.folder / name}: holds NUL bytes, as compiled files do, and patches are text; "
                             "remove it")
    if tree_hash(trees[-1]) != work.written():
        safe = edited == trees[-1] or not work.edited()  # patch would lose no edit
        remedy = (f"run build.py patch {pin.recipe.name}, then edit and refresh" if safe else
                  f"go back to that series, or remove the folder and run build.py patch {pin.recipe.name}")
        raise BuildError(f"{work.folder}: was made from another series than the one in {patch_folder(pin)}; {remedy}")
    for name in native_files():
        if f"{pin.recipe.native}/{name}" in edited:
            raise BuildError(f"{work.folder / pin.recipe.native / name}: no part of the patches, the build copies "
                             f"{NATIVE / name} in; edit that one and remove this")
    after = rebase_series(trees, edited, names.index(target) if target else len(series) - 1, series)
    texts = [export_patch(patch.header, old, new) for patch, old, new in zip(series, after, after[1:])]
    for patch, text in zip(series, texts):
        if text == patch.header and patch.files:
            raise BuildError(f"{patch.name}: would be left without a change; drop it from the series")
    changed = [(patch, text) for patch, text in zip(series, texts) if text != patch.text]
    write_together({patch_folder(pin) / patch.name: text for patch, text in changed}
                   | {work.stamp: tree_hash(edited).encode()})
    for patch, _ in changed:
        say(f"{pin.title}: {patch.name} written")
    say(f"{pin.title}: {len(changed)} of {len(series)} patches changed")


def clean(everything: bool) -> None:
    if everything:
        for name in RECIPES:
            work = WorkTree(find_pin(name, None))
            if work.edited():
                raise work.refusal()
    for folder in (BUILD, *((CACHE, WORK, VENV) if everything else ())):
        if folder.exists():
            shutil.rmtree(folder)
            say(f"removed {folder.relative_to(ROOT)}")


def doctor() -> int:
    """Say what is there and what is missing; the exit status is 0 if nothing is missing that `build.py` cannot get."""
    rows: list[tuple[str, str, str]] = []  # state, what, how it stands or how to get it

    def row(what: str, found: object, remedy: str, needed: bool = True) -> None:
        rows.append(("ok" if found else "MISSING" if needed else "later", what, str(found or remedy)))

    row("Python", f"{sys.version.split()[0]}, {sys.executable}", "")
    row("Python venv", importlib.util.find_spec("ensurepip") and "ensurepip", "install python3-venv")
    pins = {name: find_pin(name, None) for name in RECIPES}
    builds = {name: plan_builds(pin, read_series(patch_folder(pin))) for name, pin in pins.items()}
    built = {name: all(build.finished() for build in both) for name, both in builds.items()}
    compiles = not package_installed() or not all(built[name] for name in RECIPES if not RECIPES[name].optional)
    include = Path(sysconfig.get_path("include"))
    row("Python headers", (include / "Python.h").exists() and include, "install python3-dev")
    for variable, language, names in (("CC", "C", ("cc", "gcc", "clang")), ("CXX", "C++", ("c++", "g++", "clang++"))):
        try:
            row(f"{language} compiler", find_compiler(variable, language, names), "")
        except BuildError as error:
            row(f"{language} compiler", None, str(error), needed=compiles)
    for name in ("cmake", "ninja"):
        row(name, find_program(name), "build.py installs it into .venv", needed=False)
    for recipe in RECIPES.values():
        for name in recipe.needs:
            row(name, shutil.which(name), f"{recipe.title} needs it and is left out without; install {name}",
                needed=False)
    row("nasm", assembler(), "x264's assembly for x86 needs it; without, x264 is several times slower; install nasm",
        needed=False)
    row("package", package_installed() and f"installed in {VENV.name}", f"build.py installs it; {NO_CUDA}",
        needed=False)
    for name, pin in pins.items():
        try:
            row(f"{pin.title} source", source_at_hand(pin), "")
        except BuildError as error:
            row(f"{pin.title} source", None, str(error), needed=not pin.recipe.optional and not built[name])
        for build in builds[name]:
            row(f"{pin.title} {build.kind}", build.finished() and build.folder.relative_to(ROOT),
                f"build.py {name} compiles it", needed=False)
    width = max(len(what) for _, what, _ in rows)
    for state, what, text in rows:
        say(f"{state:8}{what:{width + 2}}{text}")
    return int(any(state == "MISSING" for state, _, _ in rows))


def source_at_hand(pin: Pin) -> str:
    """Which way of getting the source would work; BuildError if none."""
    if named := os.environ.get(pin.recipe.variable):
        read_named_source(Path(named), pin)
        return f"{named} ({pin.recipe.variable}), content verified"
    if pin.cached.exists():
        try:
            read_verified(pin.cached, pin)
            return f"{pin.cached.relative_to(ROOT)}, content verified"
        except BuildError:
            pass
    for name, url, _ in remote_places(pin):
        try:
            open_url(url, "HEAD", timeout=5).close()
            return f"{name} answers ({url})"
        except BuildError:
            continue
    upstream = "".join(f" from {url}" for url in pin.upstream[:1])
    raise NoSource(f"no cached copy, and neither upstream nor the distribution's archive answers; get it yourself"
                   f"{upstream}, then build.py {pin.recipe.name} --source DIR|ARCHIVE")


def parse_arguments(words: list[str]) -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(prog="build.py", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")

    def command(name: str, text: str, codec: bool = True, version: bool = True,
                source: bool = False) -> argparse.ArgumentParser:
        one = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        if codec:
            one.add_argument("codec", nargs="?", default="hm", choices=sorted(RECIPES),
                             help="the encoder (default: hm)")
        if version:
            one.add_argument("--version", metavar="X.Y", help="one of third_party/sources.toml (default: its default)")
        if source:
            one.add_argument("--source", metavar="DIR|ARCHIVE", help="take the source from there; its content must "
                             "match the pin (also: environment variable FPRDO_<NAME>_SOURCE, as in FPRDO_HM_SOURCE)")
        return one

    for name, recipe in RECIPES.items():
        command(name, f"fetch, verify, patch and compile {recipe.title}", codec=False, source=True)
    command("fetch", "get the pristine source into third_party/cache and verify its content", source=True)
    command("patch", "write the patched source to third_party/patched, for editing", source=True)
    command("build", "compile the patched and the stock encoder", source=True)
    command("verify", "check the source against its pin, and the series: fuzz 0, none orphaned, same bytes again",
            source=True)
    command("refresh", "turn an edited third_party/patched tree back into the series").add_argument(
        "--patch", metavar="NAME", help="the patch that takes the edits (default: the last one)")
    command("clean", "remove the build trees", codec=False, version=False).add_argument(
        "--all", action="store_true", help="also the cache, the work trees and .venv")
    command("test", "install and build everything, then run pytest with the further arguments", codec=False,
            version=False)
    command("doctor", "say what is installed, what is missing, how to get it", codec=False, version=False)
    options, rest = parser.parse_known_args(words)
    if rest and options.command != "test":
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    return options, rest


def main(words: list[str]) -> int:
    options, rest = parse_arguments(words)
    command = options.command
    for name in ("source", "version", "patch"):
        if getattr(options, name, None) == "":
            raise BuildError(f"--{name} '': empty; give it a value or leave it out")
    if command is None:
        return quickstart()
    if command == "test":
        return test(rest)
    if command == "doctor":
        return doctor()
    with alone():
        if command == "clean":
            clean(options.all)
            return 0
        pin = find_pin(command if command in RECIPES else options.codec, options.version)
        if command == "refresh":
            refresh(pin, options.patch)
        else:
            {"fetch": fetch, "patch": patch, "verify": verify}.get(command, build_encoder)(pin, options.source)
    return 0


def guarded_main(words: list[str]) -> int:
    """main, with everything that a user can meet said in one line."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as stderr: paths need not be UTF-8
    try:
        return main(words)
    except (BuildError, PatchError) as error:
        if detail := getattr(error, "detail", ""):
            sys.stderr.write(detail + "\n")
        problem = str(error)
    except OSError as error:
        problem = f"{error.filename or 'writing'}: {error.strerror or error}"
        if error.errno == errno.ENOSPC:
            problem += "; make room on the disk and run it again"
    except KeyboardInterrupt:
        sys.stderr.write("build.py: stopped; run it again to go on\n")
        return 130
    sys.stderr.write(f"build.py: error: {problem}\n")
    return 2


if __name__ == "__main__":
    catch_signals()
    sys.exit(guarded_main(sys.argv[1:]))
