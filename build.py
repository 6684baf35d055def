#!/usr/bin/env python3
"""Builds fprdo and the encoders that it patches, and runs the demo and the tests.

    python3 build.py                  everything, then the demo (fprdo quickstart)
    python3 build.py test [ARGS]      everything, then pytest ARGS; --fast: the package only, and its quick tests
    python3 build.py check            lint, types and the order of imports
    python3 build.py docs             the documentation as a site, in out/site
    python3 build.py hm               HM only: fetch, verify, patch, compile
    python3 build.py x264             x264 only
    python3 build.py jm               JM only
    python3 build.py x265             x265, which is built on request alone: about ten minutes
    python3 build.py doctor           what is installed, what is missing, how to get it

Python's standard library only. What is done already is skipped: the virtual environment and every build tree are named
or stamped by a hash of what they were made from. This page holds the commands; what they are made of lies in
third_party/ (recipes, sources, builds, .venv) and patches/ (series, work trees). The README.md of each tells how to
change a patch and where the sources come from.
"""

from __future__ import annotations

import sys

if sys.version_info < (3, 11):
    sys.stderr.write(
        "build.py: error: Python 3.11 or newer is needed (tomllib), this is %d.%d; "
        "run build.py with a newer python3\n" % sys.version_info[:2]
    )
    raise SystemExit(2)

import argparse
import errno
import fcntl
import importlib.util
import io
import os
import shutil
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent
if str(ROOT) not in sys.path:  # with python -I or PYTHONSAFEPATH
    sys.path.append(str(ROOT))
SITE = ROOT / "out" / "site"

from patches.series import PatchError, read_series, verify_series
from patches.worktree import WORK, WorkTree, patch, refresh
from third_party.builds import BUILD, NATIVE, build_encoder, forget_tools, patch_folder, plan_builds
from third_party.compilers import NoTool, find_compiler
from third_party.console import BuildError, call, catch_signals, say
from third_party.recipes import RECIPES, assembler
from third_party.sources import CACHE, THIRD_PARTY, NoSource, Pin, find_pin, obtain_source, source_at_hand
from third_party.venv import NO_CUDA, VENV, VENV_STAMP, find_program, install_package, package_installed

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
    found = [
        *CACHE.glob(".fetch-*"),
        *BUILD.glob(".*.tmp"),
        *BUILD.glob("*/.src.*"),
        *BUILD.glob("*/.complete.*.tmp"),
        *VENV.glob(f".{VENV_STAMP.name}.*.tmp"),
    ]
    for name in RECIPES:
        found += [*WORK.glob(f".{name}-*"), *(ROOT / "patches" / name).glob(".*.patch.*.tmp")]
    for path in found:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def is_built(pin: Pin) -> bool:
    return all(build.finished() for build in plan_builds(pin, read_series(patch_folder(pin))))


def build_all() -> None:
    for recipe in RECIPES.values():
        try:
            pin = find_pin(recipe)
            if recipe.on_request and not is_built(pin):
                forget_tools(recipe.name)
                say(
                    f"{pin.title}: not built; python3 build.py {recipe.name} builds it; going on without {recipe.title}"
                )
                continue
            build_encoder(pin)
        except (NoSource, NoTool) as error:
            if not recipe.optional:
                raise
            forget_tools(recipe.name)
            say(f"{error}; going on without {recipe.title}")


def quickstart() -> int:
    with alone():
        install_package()
        build_all()
    return call([str(VENV / "bin" / "fprdo"), "quickstart"])


def test(fast: bool, arguments: list[str]) -> int:
    with alone():
        install_package(("test",))
        if not fast:
            build_all()
    quick = ("-m", "fast", "--hypothesis-profile=fast", "-n", "auto") if fast else ()
    return call([str(VENV / "bin" / "python"), "-m", "pytest", *quick, *arguments])


def check() -> int:
    with alone():
        install_package(("check",))
    failed = []
    c_files = [
        str(path)
        for folder in (NATIVE, ROOT / "tests")
        for path in sorted(folder.rglob("[!_]*.*"))
        if path.suffix in (".c", ".h", ".cpp")
    ]
    for name, *arguments in (
        ("ruff", "check"),
        ("ruff", "format", "--check"),
        ("clang-format", "--dry-run", "-Werror", *c_files),
        ("lint-imports", "--no-logo"),
        ("mypy",),
    ):
        say(f"{name}:")
        if call([str(VENV / "bin" / name), *arguments]) != 0:
            failed.append(name)
    say(f"check: {', '.join(failed)} failed" if failed else "check: all passed")
    return int(bool(failed))


def docs() -> int:
    with alone():
        install_package(("docs",))
    status = call(["env", "NO_MKDOCS_2_WARNING=1", str(VENV / "bin" / "mkdocs"), "build", "--strict", "--clean"])
    if status == 0:
        say(f"documentation: {SITE.relative_to(ROOT)}; read it with python3 -m http.server -d {SITE.relative_to(ROOT)}")
    return status


def fetch(pin: Pin, source: str | None) -> None:
    tree = obtain_source(pin, source)
    say(f"{pin.title}: pristine source in {pin.cached.relative_to(ROOT)} ({len(tree)} files, content verified)")


def verify(pin: Pin, source: str | None) -> None:
    tree = obtain_source(pin, source)
    say(f"{pin.title}: pristine source matches its pin ({len(tree)} files)")
    series = read_series(patch_folder(pin))
    verify_series(tree, series)
    say(f"{pin.title}: {len(series)} patches, each listed once, apply with fuzz 0 and export to the same bytes")


def clean(everything: bool) -> None:
    if everything:
        for recipe in RECIPES.values():
            work = WorkTree(find_pin(recipe))
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
    pins = {name: find_pin(recipe) for name, recipe in RECIPES.items()}
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
            row(
                name,
                shutil.which(name),
                f"{recipe.title} needs it and is left out without; install {name}",
                needed=False,
            )
    row(
        "nasm",
        assembler(),
        "x264's and x265's assembly for x86 needs it; without, they are several times slower; install nasm",
        needed=False,
    )
    row(
        "package", package_installed() and f"installed in {VENV.name}", f"build.py installs it; {NO_CUDA}", needed=False
    )
    for name, pin in pins.items():
        try:
            row(f"{pin.title} source", source_at_hand(pin), "")
        except BuildError as error:
            row(f"{pin.title} source", None, str(error), needed=not pin.recipe.optional and not built[name])
        for build in builds[name]:
            row(
                f"{pin.title} {build.kind}",
                build.finished() and build.folder.relative_to(ROOT),
                f"build.py {name} compiles it",
                needed=False,
            )
    width = max(len(what) for _, what, _ in rows)
    for state, what, text in rows:
        say(f"{state:8}{what:{width + 2}}{text}")
    return int(any(state == "MISSING" for state, _, _ in rows))


def parse_arguments(words: list[str]) -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(
        prog="build.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")

    def command(
        name: str, text: str, codec: bool = True, version: bool = True, source: bool = False
    ) -> argparse.ArgumentParser:
        one = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        if codec:
            one.add_argument(
                "codec", nargs="?", default="hm", choices=sorted(RECIPES), help="the encoder (default: hm)"
            )
        if version:
            one.add_argument("--version", metavar="X.Y", help="one of third_party/sources.toml (default: its default)")
        if source:
            one.add_argument(
                "--source",
                metavar="DIR|ARCHIVE",
                help="take the source from there; its content must "
                "match the pin (also: environment variable FPRDO_<NAME>_SOURCE, as in FPRDO_HM_SOURCE)",
            )
        return one

    for name, recipe in RECIPES.items():
        command(name, f"fetch, verify, patch and compile {recipe.title}", codec=False, source=True)
    command("fetch", "get the pristine source into third_party/cache and verify its content", source=True)
    command("patch", "write the patched source to third_party/patched, for editing", source=True)
    command("build", "compile the patched and the stock encoder", source=True)
    command(
        "verify",
        "check the source against its pin, and the series: fuzz 0, none orphaned, same bytes again",
        source=True,
    )
    command("refresh", "turn an edited third_party/patched tree back into the series").add_argument(
        "--patch", metavar="NAME", help="the patch that takes the edits (default: the last one)"
    )
    command("clean", "remove the build trees", codec=False, version=False).add_argument(
        "--all", action="store_true", help="also the cache, the work trees and .venv"
    )
    command(
        "test", "install and build everything, then run pytest with the further arguments", codec=False, version=False
    ).add_argument("--fast", action="store_true", help="only the quick tests, which need no encoder")
    command("check", "run ruff, clang-format, import-linter and mypy", codec=False, version=False)
    command("docs", "write the documentation as a site to out/site", codec=False, version=False)
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
        return test(options.fast, rest)
    if command in ("check", "docs", "doctor"):
        return {"check": check, "docs": docs, "doctor": doctor}[command]()
    with alone():
        if command == "clean":
            clean(options.all)
            return 0
        pin = find_pin(RECIPES[command if command in RECIPES else options.codec], options.version)
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
