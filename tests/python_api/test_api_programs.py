"""Programs that hand a distortion of their own to a worker, which has to find it again."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

PROGRAM = """
import sys

import numpy as np
from fprdo_bridge import Encoder
from fprdo_bridge.video.formats import VideoFormat
{imports}

class Own(Exception):
    pass


def distortion(block):
    {body}


def main():
    fmt = VideoFormat(32, 32, "400")
    Encoder("hm").encode([(np.zeros((32, 32), np.uint8),)], 32, fmt=fmt, distortion=distortion)
    print("coded")
{end}
"""
MAIN = """
if __name__ == "__main__":
    main()
"""


def program(
    folder: Path,
    *arguments: str,
    cwd: Path,
    path: str = str(ROOT),
    imports: str = "",
    body: str = "return 0.0",
    end: str = MAIN,
) -> str:
    """What a program prints, or its traceback, whose `distortion` has that body."""
    folder.mkdir(exist_ok=True)
    (folder / "program.py").write_text(PROGRAM.format(imports=imports, body=body, end=end))
    (folder / "beside.py").write_text("def value(block):\n    return 0.0\n")
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        env=os.environ | {"PYTHONPATH": path},
    ).stdout


@pytest.mark.parametrize(
    "arguments, cwd, imports",
    [
        (["program.py"], "folder", "import beside"),
        (["folder/program.py"], ".", "import beside"),
        (["-m", "program"], "folder", "import beside"),
        (["-m", "folder.program"], ".", "from . import beside"),
        (["program.py"], "folder", "sys.path.insert(0, '../other')\nimport elsewhere as beside"),
    ],
)
def test_modules_beside_the_program(tmp_path, arguments, cwd, imports):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "elsewhere.py").write_text("def value(block):\n    return 0.0\n")
    # The package too is found by a path that holds in the program's folder alone.
    path = os.path.relpath(ROOT, (tmp_path / cwd).resolve())
    assert (
        program(
            tmp_path / "folder",
            *arguments,
            cwd=tmp_path / cwd,
            path=path,
            imports=imports,
            body="return beside.value(block)",
        )
        == "coded\n"
    )


def test_an_exception_of_the_program(tmp_path):
    said = program(tmp_path / "folder", "program.py", cwd=tmp_path / "folder", body='raise Own("mine")')
    assert "FprdoError: Own: mine (raised in the worker in " in said and "program.py, line 14;" in said


def test_a_program_that_begins_whenever_it_is_loaded(tmp_path):
    said = program(tmp_path / "folder", "program.py", cwd=tmp_path / "folder", end="main()")
    assert "FprdoError: an encode began while a worker loaded its distortion; put what the program does behind" in said


def test_a_function_that_only_the_program_has(tmp_path):
    said = program(
        tmp_path / "folder",
        "program.py",
        cwd=tmp_path / "folder",
        end="""
if __name__ == "__main__":
    def late(block):
        return 0.0
    distortion = late
    main()
""",
    )
    assert "distortion late: not there when" in said and "define it at the top" in said
