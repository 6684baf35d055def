"""A small project to try build.py on: the real build.py and its modules, and a tiny encoder in the place of HM.

The tiny encoder is a CMake project of four files, pinned as the real one is. Nothing is taken from the network.
"""

import importlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))  # for patches and third_party

from patches.series import export_patch

HEADER = b"Description: what\nAuthor: who\nLast-Update: 2026-01-01\n\n"
FIRST_PATCH, SECOND_PATCH = "0001-first.patch", "0002-second.patch"


class Modules:
    """build.py of the project in `root`, and the modules that it imports from there."""

    def __init__(self, root: Path) -> None:
        def ours() -> dict[str, ModuleType]:
            return {
                name: module
                for name, module in sys.modules.items()
                if name.partition(".")[0] in ("patches", "third_party")
            }

        others = ours()
        for name in others:
            del sys.modules[name]
        sys.path.insert(0, str(root))
        try:
            spec = importlib.util.spec_from_file_location("fprdo_build", root / "build.py")
            self.build = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(self.build)
            for name, module in ours().items():
                setattr(self, name.rpartition(".")[2], module)  # sources, trees, series, ...
                del sys.modules[name]
        finally:
            sys.path.remove(str(root))
            sys.modules |= others

    def pin(self, name: str = "hm") -> object:
        return self.sources.find_pin(self.build.RECIPES[name])


TOY = {
    "CMakeLists.txt": b"""cmake_minimum_required(VERSION 3.5)
project(Toy C CXX)
execute_process(COMMAND sleep "$ENV{TOY_SLEEP}")
add_compile_options(-Wall -Werror)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_SOURCE_DIR}/bin/deep/down)
add_executable(TAppEncoder encoder.cpp)
add_library(fprdo-hm.so SHARED encoder.cpp)
set_target_properties(fprdo-hm.so PROPERTIES PREFIX "" SUFFIX "" LIBRARY_OUTPUT_DIRECTORY "${CMAKE_SOURCE_DIR}/bin")
add_executable(TAppDecoder encoder.cpp)
add_executable(Unwanted unwanted.cpp)
""",
    "encoder.cpp": b"#include <cstdio>\r\n"
    + b"".join(b"// %d\r\n" % n for n in range(30))
    + b'int main()\r\n{\r\n  puts("stock");\r\n}\r\n',
    "unwanted.cpp": b"#error this target is not asked for\n",
    "cfg/toy.cfg": b"QP : 32\n",
}
FIRST = {"encoder.cpp": TOY["encoder.cpp"].replace(b'puts("stock")', b'puts("first")')}
SECOND = {"encoder.cpp": FIRST["encoder.cpp"].replace(b"// 5\r\n", b"// 5\r\n// second\r\n"), "new.h": b"// new\n"}


class Project(Modules):
    """A copy of the project in `root`; `places` are its upstream URLs."""

    def __init__(self, root: Path, places: tuple[str, ...] = ()) -> None:
        self.root = root
        for pattern in (
            "build.py",
            "pyproject.toml",
            "setup.py",
            "constraints.txt",
            "patches/*.py",
            "third_party/*.py",
        ):
            for path in ROOT.glob(pattern):
                copy = root / path.relative_to(ROOT)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, copy)
        shutil.copytree(
            ROOT / "fprdo_bridge" / "native",
            root / "fprdo_bridge" / "native",
            ignore=shutil.ignore_patterns("*.so", "*.o", "__pycache__"),
        )
        super().__init__(root)
        others = [name for name in self.build.RECIPES if name != "hm"]  # their sources are nowhere
        (root / "third_party" / "sources.toml").write_text(
            "".join(
                f'[{name}]\ndefault = "0"\n[{name}.versions."0"]\ntree_sha256 = "{"0" * 64}"\nfiles = 1\nupstream = []\n'  # noqa: E501
                for name in others
            )
            + f'[hm]\ndefault = "18.0"\n[hm.versions."18.0"]\ntree_sha256 = "{self.trees.tree_hash(TOY)}"\n'
            f"files = {len(TOY)}\nupstream = {json.dumps(places)}\n"
        )
        for name in others:
            (root / "patches" / name).mkdir()
            (root / "patches" / name / "series").touch()
        self.patches = root / "patches" / "hm"
        self.patches.mkdir()
        (self.patches / "series").write_text("# the toy's\n0001-first.patch\n0002-second.patch\n")
        (self.patches / "0001-first.patch").write_bytes(export_patch(HEADER, TOY, TOY | FIRST))
        (self.patches / "0002-second.patch").write_bytes(export_patch(HEADER, TOY | FIRST, TOY | SECOND))
        self.work = root / "third_party" / "patched" / "hm-18.0"
        self.archive = root / "toy.tar.gz"
        self.archives.pack(TOY, self.archive, "toy-18.0")

    def environment(self, **changed: str) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "HOME": str(self.root)} | changed

    def run(self, *words: str, **environment: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "build.py", *words],
            cwd=self.root,
            capture_output=True,
            text=True,
            env=self.environment(**environment),
            stdin=subprocess.DEVNULL,
        )

    def fails(self, *words: str, **environment: str) -> str:
        """The one line of error with which build.py must end, leaving nothing half-written."""
        done = self.run(*words, **environment)
        assert done.returncode == 2, (done.stdout, done.stderr)
        *before, last = done.stderr.splitlines()
        assert last.startswith("build.py: error: ") and "Traceback" not in done.stderr
        assert [path for path in self.root.rglob(".*") if path.name != ".hypothesis"] == []
        return last if not before else "\n".join([*before, last])

    def patch_texts(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.patches.iterdir()}

    def cached(self) -> list[Path]:
        return list((self.root / "third_party" / "cache").glob("**/*"))
