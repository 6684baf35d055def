"""Builds: each happens once, a stopped one is taken up again, and what is missing is said."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from project import Project

pytestmark = pytest.mark.slow


def test_no_compiler_is_said_before_anything_is_fetched(tmp_path, server):
    project = Project(tmp_path / "project", (f"{server.url}/toy.tar.gz",))
    server.pages["/toy.tar.gz"] = (200, project.archive.read_bytes(), None)
    for words in (["hm"], ["build"], ["test"], []):
        error = project.fails(*words, PATH="")
        assert "no C compiler found" in error and "install gcc and g++" in error and error.count("\n") == 0
    assert "looked for CXX=no-such-compiler" in project.fails("hm", CXX="no-such-compiler")
    assert project.cached() == []
    assert not (project.root / ".venv").exists()


def test_build_happens_once_and_a_changed_patch_gets_a_tree_of_its_own(fetched):
    first = fetched.run("hm")
    assert first.returncode == 0, first.stdout + first.stderr

    def tools() -> dict[str, str]:
        return json.loads((fetched.root / "third_party" / "build" / "tools.json").read_text())["hm"]

    def output(key: str) -> str:
        return subprocess.check_output([fetched.root / "third_party" / "build" / tools()[key]], text=True).strip()

    assert [output(key) for key in ("encoder", "stock_encoder", "stock_decoder")] == ["first", "stock", "stock"]
    assert (fetched.root / "third_party" / "build" / tools()["config_dir"] / "toy.cfg").is_file()
    before = {path: path.stat().st_mtime_ns for path in (fetched.root / "third_party").rglob("*")}
    second = fetched.run("hm", PATH="")
    assert second.returncode == 0 and "compiling" not in second.stdout
    assert {path: path.stat().st_mtime_ns for path in (fetched.root / "third_party").rglob("*")} == before

    old = tools()
    fetched.worktree.patch(fetched.pin(), None)
    path = fetched.work / "encoder.cpp"
    path.write_bytes(path.read_bytes().replace(b"first", b"edited"))
    fetched.worktree.refresh(fetched.pin(), None)
    third = fetched.run("hm")
    assert "patched: compiling" in third.stdout and "stock: compiling" not in third.stdout
    assert output("encoder") == "edited" and tools()["key"] != old["key"]
    assert tools()["stock_encoder"] == old["stock_encoder"]


def test_without_the_source_of_an_optional_encoder_the_rest_is_built(fetched, capsys, monkeypatch):
    monkeypatch.delenv("FPRDO_JM_SOURCE", raising=False)
    tools = fetched.root / "third_party" / "build" / "tools.json"
    tools.parent.mkdir()
    tools.write_text('{"jm": {"encoder": "of an older series"}}')
    fetched.build.build_all()
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("JM 0: ")]
    assert len(said) == 1 and "name it: --source DIR|ARCHIVE, or FPRDO_JM_SOURCE; going on without JM" in said[0]
    assert list(json.loads(tools.read_text())) == ["hm"]
    monkeypatch.setenv("FPRDO_JM_SOURCE", str(fetched.root))  # a source that was named has to be right
    with pytest.raises(fetched.console.BuildError, match="not the source of JM 0"):
        fetched.build.build_all()


def test_without_the_tools_of_an_optional_encoder_the_rest_is_built(fetched, capsys, monkeypatch):
    """x264's tools are looked for before its source, and doctor names them."""
    which, missing = shutil.which, {"make", "bash"}
    monkeypatch.setattr(shutil, "which", lambda name: None if name in missing else which(name))
    monkeypatch.setattr(fetched.builds, "obtain_source", lambda *_: pytest.fail("fetched before tools were looked for"))
    with pytest.raises(fetched.compilers.NoTool, match="^x264 0: no make found; install make$"):
        fetched.builds.build_encoder(fetched.pin("x264"))
    monkeypatch.undo()
    missing.remove("make")
    monkeypatch.setattr(shutil, "which", lambda name: None if name in missing else which(name))
    monkeypatch.delenv("FPRDO_JM_SOURCE", raising=False)
    fetched.build.build_all()
    said = capsys.readouterr().out
    assert "x264 0: no bash found; install bash; going on without x264\n" in said and "JM 0: no source" in said
    fetched.build.doctor()
    said = capsys.readouterr().out
    assert re.search(r"^later +bash +x264 needs it and is left out without; install bash$", said, re.MULTILINE)
    assert re.search(r"^ok +make +/", said, re.MULTILINE)


def test_build_key_covers_the_bridge(fetched):
    keys = []
    for name in ("picture.c", "idse.h", "kernels.h"):
        keys.append([build.key for build in fetched.builds.plan_builds(fetched.pin(), [])])
        with open(fetched.root / "fprdo_bridge" / "native" / name, "a") as out:
            out.write("\n")
    keys.append([build.key for build in fetched.builds.plan_builds(fetched.pin(), [])])
    assert len({stock for stock, _ in keys}) == 1 and len({patched for _, patched in keys}) == 4


def test_removed_source_or_configurations_of_a_build_are_made_again(fetched):
    assert fetched.run("hm").returncode == 0
    (build, patched) = fetched.builds.plan_builds(fetched.pin(), fetched.series.read_series(fetched.patches))
    assert build.finished() and patched.finished()
    shutil.rmtree(build.source / "cfg")
    done = fetched.run("hm")
    assert done.returncode == 0 and "stock: compiling" in done.stdout and "patched: compiling" not in done.stdout
    assert (build.source / "cfg" / "toy.cfg").is_file() and build.finished()


def test_interrupted_build_of_a_moved_checkout_begins_anew(fetched, tmp_path, monkeypatch):
    """cmake refuses a build folder that lies elsewhere than where it was configured."""

    def full(*_: object) -> None:
        raise OSError("no room")

    monkeypatch.setattr(shutil, "copy2", full)
    with pytest.raises(OSError, match="no room"):
        fetched.builds.build_encoder(fetched.pin())
    monkeypatch.undo()
    assert len(list(fetched.root.glob("third_party/build/*/obj-*"))) == 1
    fetched.root = fetched.root.rename(tmp_path / "moved")
    done = fetched.run("hm")
    assert done.returncode == 0, done.stdout + done.stderr
    assert list(fetched.root.glob("third_party/build/*/obj-*")) == []


def test_leftovers_of_a_killed_build_are_swept(fetched):
    third_party = fetched.root / "third_party"
    left = [
        third_party / "cache" / ".fetch-x" / "toy.tar.gz",
        third_party / "patched" / ".hm-18.0.x" / "new" / "cfg",
        third_party / "patched" / ".hm-18.0.sha256.1.tmp",
        third_party / "build" / ".tools.json.1.tmp",
        third_party / "build" / "hm-18.0-x" / ".src.x" / "new" / "cfg",
        fetched.patches / ".0001-first.patch.1.tmp",
    ]
    other = fetched.patches / ".mine"
    for path in [*left, other]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    done = fetched.run("verify")
    assert done.returncode == 0, done.stderr
    assert list(fetched.root.rglob(".*")) == [other]


def test_failed_compile_shows_the_end_of_its_log_and_goes_on_once_mended(fetched):
    fetched.worktree.patch(fetched.pin(), None)
    path = fetched.work / "encoder.cpp"
    good = path.read_bytes()
    path.write_bytes(good.replace(b'puts("first");', b'undeclared("first");'))
    fetched.worktree.refresh(fetched.pin(), None)
    error = fetched.fails("hm")
    assert "undeclared" in error
    log = re.search(r"the whole log is (\S+)", error.splitlines()[-1])[1]
    assert "undeclared" in Path(log).read_text() and len(error.splitlines()) <= 21
    assert not (fetched.root / "third_party" / "build" / "tools.json").exists()
    path.write_bytes(good)
    fetched.worktree.refresh(fetched.pin(), None)
    done = fetched.run("hm")
    assert done.returncode == 0 and "stock: compiling" not in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_stopped_build_is_no_build_and_is_taken_up_again(fetched, stop):
    process = subprocess.Popen(
        [sys.executable, "build.py", "hm"],
        cwd=fetched.root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=fetched.environment(TOY_SLEEP="60"),
    )
    assert process.stdout.readline().startswith("HM 18.0 stock: compiling")
    time.sleep(0.5)
    started = time.monotonic()
    process.send_signal(stop)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130 and time.monotonic() - started < 10
    assert errors == "build.py: stopped; run it again to go on\n"
    assert list((fetched.root / "third_party" / "build").rglob("complete")) == []
    again = fetched.run("hm")
    assert again.returncode == 0, again.stdout + again.stderr


def test_a_second_build_waits_for_the_first(fetched):
    first = subprocess.Popen(
        [sys.executable, "build.py", "hm"],
        cwd=fetched.root,
        stdout=subprocess.PIPE,
        text=True,
        env=fetched.environment(TOY_SLEEP="2"),
    )
    assert first.stdout.readline().startswith("HM 18.0 stock: compiling")
    second = fetched.run("hm")
    assert second.returncode == 0, second.stderr
    assert second.stdout.splitlines()[0] == "another build.py is at work here; waiting for it"
    assert "compiling" not in second.stdout
    first.communicate()
    assert first.returncode == 0


def test_flags_are_used_only_where_the_compiler_knows_them(fetched, tmp_path):
    """A compiler that refuses HM's flags, as clang does under -Werror, still builds."""
    compiler = tmp_path / "picky"
    compiler.write_text('#!/bin/sh\ncase "$*" in *-Wno-error=*) echo unknown >&2; exit 1;; esac\nexec c++ "$@"\n')
    compiler.chmod(0o755)
    assert not fetched.compilers.accepts(str(compiler), "-Wno-error=array-bounds", "c++")
    assert fetched.compilers.accepts(shutil.which("c++"), "-Wall", "c++")
    done = fetched.run("hm", CXX=str(compiler))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("text", ["[]", "null", "3", "{", '"text"'])
def test_damaged_notes_are_made_again(project, text):
    note = project.root / "note.json"
    note.write_text(text)
    assert project.trees.read_json(note) == {}
