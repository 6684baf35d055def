"""Recipes: how each encoder is compiled, and into which programs. Another encoder is another entry here, pins in
sources.toml and a series in patches/NAME/."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from third_party.builds import Build, Tools
from third_party.compilers import NoTool, accepts
from third_party.console import Progress, run, say
from third_party.sources import Recipe


def run_cmake(
    build: Build,
    tools: Tools,
    source: Path,
    objects: Path,
    progress: Progress,
    options: Iterable[str],
    targets: Iterable[str],
) -> None:
    """Compile targets of `source` with the objects in `objects`."""
    c_flags, cxx_flags = (
        " ".join(flag for flag in build.pin.recipe.flags if accepts(compiler, flag, language))
        for compiler, language in ((tools.cc, "c"), (tools.cxx, "c++"))
    )
    run(
        [
            tools.cmake,
            "-S",
            str(source),
            "-B",
            str(objects),
            *tools.generator,
            "-DCMAKE_BUILD_TYPE=Release",
            f"-DCMAKE_C_COMPILER={tools.cc}",
            f"-DCMAKE_CXX_COMPILER={tools.cxx}",
            f"-DCMAKE_C_FLAGS={c_flags}",
            f"-DCMAKE_CXX_FLAGS={cxx_flags}",
            *options,
        ],
        build.log,
        progress,
    )
    run(
        [
            tools.cmake,
            "--build",
            str(objects),
            "--parallel",
            str(os.cpu_count() or 1),
            "--target",
            *targets,
        ],
        build.log,
        progress,
    )


def compile_with_cmake(build: Build, tools: Tools, source: Path, objects: Path, progress: Progress) -> Path:
    """Compile `source` with its objects in `objects`; return the folder that holds the programs at some depth."""
    # Objects that a library shares with the program; without a library, the source's own choice stays.
    shared = ["-DCMAKE_POSITION_INDEPENDENT_CODE=ON"] if "library" in build.programs else []
    run_cmake(build, tools, source, objects, progress, shared, build.programs.values())
    return source / "bin"


# x265: a program alone, without threads bound to memory nodes, which need a library.
X265_DEEP = "x265-10bit"
X265_OPTIONS = ("-DENABLE_SHARED=OFF", "-DENABLE_LIBNUMA=OFF", "-Wno-dev")


def compile_x265(build: Build, tools: Tools, source: Path, objects: Path, progress: Progress) -> Path:
    """The same for x265: a program of 8 bits, and one of 10. A program with both would write reconstructions of one."""
    said = subprocess.run([tools.cmake, "--version"], capture_output=True, text=True).stdout
    version = re.search(r"version (\d+)", said)
    if version and int(version[1]) >= 4:
        raise NoTool(f"{build.pin.title}: its build files are of before cmake 4, and this is {version[0]}; install 3.x")
    machine = build.pin.recipe.machine()
    if machine:
        say_without_assembly(build)
    options = (*X265_OPTIONS, *machine)
    run_cmake(build, tools, source / "source", objects / "8", progress, options, ["cli"])
    run_cmake(build, tools, source / "source", objects / "10", progress, (*options, "-DHIGH_BIT_DEPTH=ON"), ["cli"])
    (objects / "10" / "x265").replace(objects / "10" / X265_DEEP)
    return objects


# x264 as the package uses it: raw pictures in, bitstream out, 8 and 10 bits in one program.
X264_OPTIONS = (
    "--bit-depth=all",
    "--disable-opencl",
    "--disable-avs",
    "--disable-swscale",
    "--disable-lavf",
    "--disable-ffms",
    "--disable-gpac",
    "--disable-lsmash",
    "--disable-bashcompletion",
)


def assembler() -> str | None:
    """nasm of the version that x264 and x265 ask for (2.13)."""
    nasm = shutil.which("nasm")
    said = subprocess.run([nasm, "-v"], capture_output=True, text=True).stdout if nasm else ""
    version = re.search(r"version (\d+)\.(\d+)", said)
    return nasm if version and (int(version[1]), int(version[2])) >= (2, 13) else None


def without_assembly() -> bool:
    """The assembly of x264 and x265 for x86 is written for nasm; other machines' goes through the C compiler."""
    return platform.machine().lower() in ("x86_64", "amd64", "i386", "i586", "i686") and not assembler()


def say_without_assembly(build: Build) -> None:
    say(
        f"{build.pin.title}: no nasm 2.13 or newer, so it is built without assembly and is several times slower; "
        f"install nasm and run build.py {build.pin.recipe.name} again"
    )


def x264_machine() -> tuple[str, ...]:
    return ("--disable-asm",) if without_assembly() else ()


def x265_machine() -> tuple[str, ...]:
    return ("-DENABLE_ASSEMBLY=OFF",) if without_assembly() else ()


def compile_with_configure(build: Build, tools: Tools, source: Path, objects: Path, progress: Progress) -> Path:
    """The same for x264, whose scripts may have lost their mode bits in an archive."""
    machine = x264_machine()
    if machine:
        say_without_assembly(build)
    for name in ("configure", "config.guess", "config.sub", "version.sh"):
        (source / name).chmod(0o755)
    objects.mkdir(exist_ok=True)
    flags = " ".join(flag for flag in build.pin.recipe.flags if accepts(tools.cc, flag, "c"))
    if not (objects / "config.mak").exists():
        run(
            [
                "env",
                f"CC={tools.cc}",
                "bash",
                str(source / "configure"),
                *X264_OPTIONS,
                *machine,
                f"--extra-cflags={flags}",
            ],
            build.log,
            progress,
            objects,
        )
    run(["make", f"-j{os.cpu_count() or 1}", *build.programs.values()], build.log, progress, objects)
    return objects


RECIPES = {
    "hm": Recipe(
        name="hm",
        title="HM",
        revision=1,
        # HM compiles with -Werror; gcc 12 reports these two where there is nothing wrong.
        flags=("-Wno-error=array-bounds", "-Wno-error=maybe-uninitialized"),
        native="source/Lib/TLibCommon/idse",
        patched={"encoder": "TAppEncoder", "library": "fprdo-hm.so"},
        stock={"stock_encoder": "TAppEncoder", "stock_decoder": "TAppDecoder"},
        config_dir="cfg",
        products=(".git", "bin", "lib", "build"),
        compile=compile_with_cmake,
    ),
    "x264": Recipe(
        name="x264",
        title="x264",
        revision=1,
        flags=(),
        native="common/idse",
        patched={"encoder": "x264"},
        stock={"stock_encoder": "x264"},
        config_dir=".",
        products=(".git",),
        compile=compile_with_configure,
        machine=x264_machine,
        needs=("make", "bash"),
        optional=True,
    ),
    "x265": Recipe(
        name="x265",
        title="x265",
        revision=1,
        flags=(),
        native="source/common/idse",
        patched={"encoder": "x265", "encoder_10bit": X265_DEEP},
        stock={"stock_encoder": "x265", "stock_encoder_10bit": X265_DEEP},
        config_dir="source",
        products=(".git",),
        compile=compile_x265,
        machine=x265_machine,
        optional=True,
        on_request=True,  # twice the time of all the others
    ),
    "jm": Recipe(
        name="jm",
        title="JM",
        revision=1,
        # JM compiles with -Werror too; gcc 12 sees a use after free in its list of decoded pictures.
        flags=("-Wno-error=use-after-free",),
        native="source/app/lencod/idse",
        patched={"encoder": "lencod", "library": "fprdo-jm.so"},
        stock={"stock_encoder": "lencod", "stock_decoder": "ldecod"},
        config_dir="cfg",
        products=(".git", "bin", "lib", "build"),
        compile=compile_with_cmake,
        optional=True,
    ),
}
