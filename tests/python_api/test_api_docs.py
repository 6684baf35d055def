"""docs/python-api.md: its programs run as they are written, and it has every public name."""

import subprocess
import sys
from pathlib import Path

import pytest
from built import optional_tools

import fprdo_bridge

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "python-api.md").read_text()
PROGRAMS = {
    section.partition("\n")[0]: section.split("```python\n")[1].split("```")[0]
    for section in PAGE.split("\n## ")
    if "```python\n" in section
}


def test_there_are_six():
    assert len(PROGRAMS) == PAGE.count("```python\n") == 6


@pytest.mark.parametrize("title", PROGRAMS)
def test_program(tmp_path, title):
    if 'Encoder("jm")' in PROGRAMS[title]:
        optional_tools("jm")
    (tmp_path / "program.py").write_text(PROGRAMS[title])
    run = subprocess.run([sys.executable, str(tmp_path / "program.py")], capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout
    print(run.stdout)


def test_public_names():
    """The list, what is loaded, what type checkers see and what is documented are the same."""
    names = fprdo_bridge.__all__
    assert names == sorted(names) and set(names) <= set(dir(fprdo_bridge))
    for name in names:
        assert getattr(fprdo_bridge, name).__doc__, name
    source = Path(fprdo_bridge.__file__).read_text().partition("TYPE_CHECKING:")[2].partition("__version__")[0]
    assert (
        sorted(
            name.strip()
            for line in source.splitlines()
            if "import" in line
            for name in line.partition(" import ")[2].split(",")
        )
        == names
    )
    documented = PAGE.partition("## Public names")[2]
    assert set(names) == {
        word.partition(".")[0]
        for cell in documented.splitlines()
        if cell.startswith("| `")
        for word in cell.split("|")[1].replace("`", "").replace(",", " ").split()
    }
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        getattr(fprdo_bridge, "nothing")  # noqa: B009


def test_importing_the_package_loads_nothing():
    code = "import sys, fprdo_bridge; sys.exit('numpy' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
