"""The encoders' sources: their pins, and the places that may have them.

Those are the place that the user names, the cache, upstream, and the distribution's archive; third_party/README.md
tells more.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import subprocess
import tempfile
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from third_party.archives import pack, read_archive
from third_party.console import ROOT, BuildError, Progress, say
from third_party.trees import MOST_BYTES, Tree, read_folder, tree_hash

if TYPE_CHECKING:
    from third_party.builds import Build, Tools

THIRD_PARTY = ROOT / "third_party"
CACHE = THIRD_PARTY / "cache"


class NoSource(BuildError):
    """None of the places that may have an encoder's source gave it."""


@dataclass(frozen=True)
class Recipe:
    """What build.py knows of one encoder."""

    name: str
    title: str
    revision: int  # part of every build's hash: raise it when `compile` or the flags' meaning changes
    flags: tuple[str, ...]  # compiler flags, each used only where the compiler knows it
    native: str  # folder of the patched tree that takes native_files()
    patched: dict[str, str]  # key in tools.json -> program built from the patched tree
    stock: dict[str, str]  # the same from the untouched tree
    config_dir: str  # the encoder's own configuration files, below its top folder
    products: tuple[str, ...]  # top-level folders that a used checkout holds beside the source
    compile: Callable[[Build, Tools, Path, Path, Progress], Path]
    machine: Callable[[], tuple[str, ...]] = tuple  # what else decides the programs on this machine: part of the hash
    needs: tuple[str, ...] = ()  # programs of this machine that `compile` runs, beside those of find_tools
    optional: bool = False  # the quickstart and the tests go on without it where source or tools are missing
    on_request: bool = False  # built by `build.py NAME` alone; the quickstart and the tests use what is built

    @property
    def variable(self) -> str:
        """The environment variable that names its source."""
        return f"FPRDO_{self.name.upper()}_SOURCE"


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


def find_pin(recipe: Recipe, version: str | None = None) -> Pin:
    """The pin of this version of the encoder, or of its default version."""
    path = THIRD_PARTY / "sources.toml"
    try:
        section = tomllib.loads(path.read_text(encoding="utf-8"))[recipe.name]
        versions = section["versions"]
        version = version or section["default"]
        if version not in versions:
            raise BuildError(
                f"{recipe.title} {version}: third_party/sources.toml has no pin of this version, "
                f"only of {', '.join(versions)}"
            )
        return Pin(recipe=recipe, version=version, **versions[version])
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise BuildError(f"{path}: not a valid list of sources ({error!r})") from error


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
    raise NoSource(
        f"{pin.title}: no source could be had [{'; '.join(failures)}]; check the network, or get it "
        f"yourself and name it: --source DIR|ARCHIVE, or {variable}"
    )


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
        words = [
            f"{name} {'missing' if name not in tree else 'changed' if name in reference else 'added'}"
            for name in differing[:3]
        ]
        problem += f"; {', '.join(words)}" + (f" and {len(differing) - 3} more" if len(differing) > 3 else "")
    raise BuildError(
        f"{origin}: not the source of {pin.title} that third_party/sources.toml pins ({problem}); "
        "give the unchanged release"
    )


def remote_places(pin: Pin) -> Iterator[tuple[str, str, str | None]]:
    """(what it is, URL, sha256 of the archive where that is known)"""
    for url in pin.upstream:
        yield "upstream", url, None
    if pin.distribution:
        for mirror in distribution_mirrors():
            yield (
                "the distribution's source archive",
                f"{mirror.rstrip('/')}/{pin.distribution['path']}",
                pin.distribution["sha256"],
            )


def distribution_mirrors() -> list[str]:
    """The mirrors that apt is configured with; none where there is no apt."""
    try:
        answer = subprocess.run(
            ["apt-get", "indextargets", "--format", "$(SITE)", "Identifier: Packages"],
            capture_output=True,
            text=True,
            timeout=30,
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [site for site in dict.fromkeys(answer.stdout.split()) if site.startswith(("http://", "https://"))]


def open_url(url: str, method: str, timeout: float) -> http.client.HTTPResponse:
    try:
        request = urllib.request.Request(url, method=method, headers={"User-Agent": "fprdo-build"})
        response: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=timeout)
        return response
    except urllib.error.HTTPError as error:
        raise BuildError(f"{url} answers {error.code} {error.reason}") from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise BuildError(f"{url} cannot be reached ({getattr(error, 'reason', error)})") from error


def download(url: str, path: Path, sha256: str | None, progress: Progress) -> Path:
    with open_url(url, "GET", timeout=20) as response, open(path, "wb") as out:
        size, done, checksum = response.length or 0, 0, hashlib.sha256()
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
            if done > MOST_BYTES:
                raise BuildError(f"{url} sends more than {MOST_BYTES >> 20} MB")
            progress.show(f"{done / 1e6:.1f} of {size / 1e6:.1f} MB" if size else f"{done / 1e6:.1f} MB")
    if size and done != size:
        raise BuildError(f"{url} broke off after {done} of {size} bytes")
    if sha256 and checksum.hexdigest() != sha256:
        raise BuildError(f"{url} has sha256 {checksum.hexdigest()}, pinned is {sha256}")
    return path


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
    raise NoSource(
        f"no cached copy, and neither upstream nor the distribution's archive answers; get it yourself"
        f"{upstream}, then build.py {pin.recipe.name} --source DIR|ARCHIVE"
    )
