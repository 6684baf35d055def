"""The C and C++ compilers of this machine."""

from __future__ import annotations

import os
import shutil
import subprocess

from third_party.console import BuildError


class NoTool(BuildError):
    """A program that compiles an encoder is not on this machine."""


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
    return (
        subprocess.run(
            [compiler, "-Werror", flag, "-x", language, "-fsyntax-only", os.devnull], capture_output=True
        ).returncode
        == 0
    )
