"""The package in .venv, and what `doctor` says of a machine."""

import re
import shutil

import pytest
from project import Project


def test_package_is_installed_again_when_the_kernel_changes(project):
    venv = project.venv
    (project.root / ".venv" / "bin").mkdir(parents=True)
    (project.root / ".venv" / "bin" / "fprdo").touch()
    venv.write_venv_stamp(place=str(project.root), extras=["test"], key=venv.package_key())
    assert venv.package_installed() and venv.package_installed(("test",)) and not venv.package_installed(("more",))
    with open(project.root / "fprdo_bridge" / "native" / "picture.c", "a") as out:
        out.write("\n")
    assert not venv.package_installed()


def test_venv_of_another_place_or_python_is_made_again_and_not_used(project, monkeypatch):
    venv, commands = project.venv, []
    program = project.root / ".venv" / "bin" / "python"
    program.parent.mkdir(parents=True)
    program.touch(mode=0o755)
    shutil.copy(program, program.with_name("no-such-tool"))
    monkeypatch.setattr(venv, "run", lambda command, *_: commands.append(command))
    venv.write_venv_stamp()
    venv.make_venv()
    assert commands == [] and venv.find_program("no-such-tool") == str(program.with_name("no-such-tool"))
    for changed in ({"place": "/elsewhere"}, {"python": "cpython-27"}):
        venv.write_venv_stamp(**changed, key=venv.package_key())
        assert venv.find_program("no-such-tool") is None and not venv.package_installed()
        venv.make_venv()
        assert commands.pop()[-2:] == ["--clear", str(project.root / ".venv")]
        assert venv.venv_is_ours()


def test_doctor_says_what_is_missing(fetched):
    well = fetched.run("doctor")
    assert well.returncode == 0, well.stdout + well.stderr
    assert re.search(r"^ok +HM 18.0 source +third_party/cache/", well.stdout, re.MULTILINE)
    assert re.search(r"^later +HM 18.0 patched +build.py hm compiles it", well.stdout, re.MULTILINE)
    fetched.pin().cached.unlink()
    ill = fetched.run("doctor", PATH="")
    assert ill.returncode == 1 and "Traceback" not in ill.stderr
    assert re.search(r"^MISSING +C\+\+ compiler +no C\+\+ compiler found", ill.stdout, re.MULTILINE)
    assert re.search(r"^MISSING +HM 18.0 source +no cached copy", ill.stdout, re.MULTILINE)
    assert re.search(r"^later +JM 0 source +no cached copy", ill.stdout, re.MULTILINE)


def test_doctor_looks_at_the_named_source_and_names_upstream(tmp_path):
    project = Project(tmp_path / "project", ("http://127.0.0.1:9/toy.tar.gz",))
    none = project.run("doctor", PATH="")
    assert re.search(
        r"^MISSING +HM 18.0 source .* yourself from http://127.0.0.1:9/toy.tar.gz, then build.py hm --so",
        none.stdout,
        re.MULTILINE,
    )
    named = project.run("doctor", FPRDO_HM_SOURCE=str(project.archive))
    assert re.search(
        r"^ok +HM 18.0 source +\S+toy.tar.gz \(FPRDO_HM_SOURCE\), content verified$", named.stdout, re.MULTILINE
    )
    wrong = project.run("doctor", FPRDO_HM_SOURCE=str(project.patches))
    assert wrong.returncode == 1
    assert re.search(r"^MISSING +HM 18.0 source +\S+patches/hm: not the source of HM 18.0", wrong.stdout, re.MULTILINE)


@pytest.mark.slow
def test_doctor_misses_nothing_for_what_is_built(fetched):
    assert fetched.run("hm").returncode == 0
    (fetched.root / ".venv" / "bin").mkdir(parents=True)
    (fetched.root / ".venv" / "bin" / "fprdo").touch()
    fetched.venv.write_venv_stamp(key=fetched.venv.package_key())
    fetched.pin().cached.unlink()
    done = fetched.run("doctor", PATH="")
    assert done.returncode == 0 and "MISSING" not in done.stdout, done.stdout
    assert re.search(r"^later +C compiler +no C compiler", done.stdout, re.MULTILINE)
    assert re.search(r"^later +HM 18.0 source +no cached copy", done.stdout, re.MULTILINE)
