"""The programs of docs/python-api.md run as they are written."""

import subprocess
import sys
from pathlib import Path

import pytest
from built import optional_tools

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = {section.partition("\n")[0]: section.split("```python\n")[1].split("```")[0]
            for section in (ROOT / "docs" / "python-api.md").read_text().split("\n## ") if "```python\n" in section}


def test_there_are_three():
    assert list(PROGRAMS) == ["Weights from an array", "Weights computed in the callback", "Your own distortion"]


@pytest.mark.parametrize("title", PROGRAMS)
def test_program(tmp_path, title):
    if 'Encoder("jm")' in PROGRAMS[title]:
        optional_tools("jm")
    (tmp_path / "program.py").write_text(PROGRAMS[title])
    run = subprocess.run([sys.executable, str(tmp_path / "program.py")], capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout
    print(run.stdout)
