"""Builds of the encoders: third_party/build/NAME-VERSION[-stock]-HASH/{src,bin}, and the tools that make them."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from patches.series import Patch, read_series, snapshots
from third_party.compilers import NoTool, find_compilers
from third_party.console import LOGS, ROOT, BuildError, Progress, say
from third_party.sources import THIRD_PARTY, Pin, obtain_source
from third_party.trees import Tree, digest, new_folder, read_json, write_atomically, write_tree
from third_party.venv import find_program, make_venv, pip_install

BUILD = THIRD_PARTY / "build"
NATIVE = ROOT / "fprdo_bridge" / "native"


@dataclass(frozen=True)
class Tools:
    cc: str
    cxx: str
    cmake: str
    generator: list[str]  # cmake's options that choose it


def find_tools(pin: Pin) -> Tools:
    """The compilers, cmake and ninja (or make); cmake and ninja are installed into .venv where the system has none.

    What else the encoder needs has to be there.
    """
    cc, cxx = find_compilers()
    for name in pin.recipe.needs:
        if not shutil.which(name):
            raise NoTool(f"{pin.title}: no {name} found; install {name}")
    cmake, ninja = find_program("cmake"), find_program("ninja")
    missing = ([] if cmake else ["cmake"]) + ([] if ninja or find_program("make") else ["ninja"])
    if missing:
        make_venv()
        pip_install(f"{' and '.join(missing)} into .venv", missing)
        cmake, ninja = find_program("cmake"), find_program("ninja")
    if cmake is None:
        raise NoTool(f"{pin.title}: pip left no cmake in .venv; install cmake")
    generator = ["-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}"] if ninja else ["-G", "Unix Makefiles"]
    return Tools(cc, cxx, cmake, generator)


@dataclass(frozen=True)
class Build:
    pin: Pin
    kind: str  # "patched" or "stock"
    key: str  # the hash in the folder's name
    programs: dict[str, str]  # key in tools.json -> program

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
    return {
        path.name: path.read_bytes() for path in sorted(NATIVE.glob("[!_]*")) if path.suffix in (".c", ".h", ".inc")
    }


def patch_folder(pin: Pin) -> Path:
    return ROOT / "patches" / pin.recipe.name


def plan_builds(pin: Pin, series: list[Patch]) -> list[Build]:
    recipe, native = pin.recipe, native_files()
    common = (pin.tree_sha256, str(recipe.revision), *recipe.flags, *recipe.machine())
    patches = [part for patch in series for part in (patch.name, patch.text)]
    return [
        Build(pin, "stock", digest(*common)[:12], recipe.stock),
        Build(pin, "patched", digest(*common, *patches, *native.values())[:12], recipe.patched),
    ]


def build_encoder(pin: Pin, source: str | None = None) -> None:
    series = read_series(patch_folder(pin))
    builds = plan_builds(pin, series)
    pending = [build for build in builds if not build.finished()]
    if pending:
        tools = find_tools(pin)  # a missing compiler is said before anything is fetched
        pristine = obtain_source(pin, source)
        trees, notes = snapshots(pristine, series)
        for note in notes:
            say(f"{pin.title}: {note}")
        native = {f"{pin.recipe.native}/{name}": data for name, data in native_files().items()}
        for build in pending:
            compile_build(build, pristine if build.kind == "stock" else trees[-1] | native, tools)
    elif source:
        obtain_source(pin, source)
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
    entry = {
        "version": pin.version,
        "key": patched.key,
        "config_dir": stock.configurations.relative_to(BUILD).as_posix(),
    }
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
