"""build.py and patches/series.py: sources against pins, strict patches, refresh, builds that happen once, clear errors.

Most tests work on a copy of the project in a temporary folder whose "HM" is a tiny CMake project, pinned as the real
one is. Nothing is taken from the network; downloads come from a server on this machine.
"""

import importlib.util
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # for patches.series, which build.py imports

from patches.series import (PatchError, apply_patch, changes, export_file, export_patch, parse_patch,  # noqa: E402
                            rebase_series)


def load(root: Path) -> ModuleType:
    """build.py of the project in `root`, as a module."""
    spec = importlib.util.spec_from_file_location("fprdo_build", root / "build.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["fprdo_build"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


# ---------------------------------------------------------------------------------------------------------------------
# Differences and patches

LINES = st.lists(st.sampled_from([b"a\n", b"b\n", b"{\n", b"\n", b"a\r\n", b"}\n", b"\xe9\n"]), max_size=25)
CONTENT = st.builds(lambda lines, cut: b"".join(lines).removesuffix(b"\n") if cut else b"".join(lines), LINES,
                    st.booleans())
TREES = st.dictionaries(st.sampled_from(["a.txt", "dir/b.cpp", "dir/c.h"]), CONTENT.filter(bool))
HEADER = b"Description: what\nAuthor: who\nLast-Update: 2026-01-01\n\n"


def longest_common(a: list[bytes], b: list[bytes]) -> int:
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, left in enumerate(a):
        for j, right in enumerate(b):
            table[i + 1][j + 1] = table[i][j] + 1 if left == right else max(table[i][j + 1], table[i + 1][j])
    return table[-1][-1]


@given(LINES, LINES)
def test_changes_turn_old_into_new_and_are_fewest(old, new):
    made, at, edits = [], 0, 0
    for a, b, c, d in changes(old, new):
        assert (at < a or at == 0) and old[at:a] == new[len(made):c]
        made += old[at:a] + new[c:d]
        at, edits = b, edits + (b - a) + (d - c)
    assert made + old[at:] == new
    assert edits == len(old) + len(new) - 2 * longest_common(old, new)


def test_files_that_differ_in_very_many_lines_are_one_change():
    """Time and memory of the shortest edit script of such files are out of bounds."""
    old = [b"%d\n" % n for n in range(6000)]
    new = old[:3] + [line.replace(b"\n", b"\r\n") for line in old[3:-2]] + old[-2:]
    assert changes(old, new) == [(3, 5998, 3, 5998)]
    assert changes(old, old[:3] + old[-2:]) == [(3, 5998, 3, 3)]
    patch = parse_patch("p.patch", export_patch(HEADER, {"f": b"".join(old)}, {"f": b"".join(new)}))
    assert apply_patch({"f": b"".join(old)}, patch)[0] == {"f": b"".join(new)}


@given(LINES, LINES, st.integers(0, 5))
def test_bounded_changes_turn_old_into_new(old, new, most):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("patches.series.MOST_EDITS", most)
        made, at = [], 0
        for a, b, c, d in changes(old, new):
            assert (at < a or at == 0) and old[at:a] == new[len(made):c] and (a < b or c < d)
            made += old[at:a] + new[c:d]
            at = b
        assert made + old[at:] == new


@given(TREES, TREES)
def test_export_parse_apply_round_trip(old, new):
    text = export_patch(HEADER, old, new)
    patch = parse_patch("p.patch", text)
    assert patch.header == HEADER
    made, notes = apply_patch(old, patch)
    assert made == new and notes == []
    assert export_patch(patch.header, old, made) == text


@given(LINES.filter(bool), LINES.filter(bool), st.integers(0, 20))
def test_no_hunk_has_more_than_two_context_lines_in_a_row(old, new, number):
    middle = [b"%d\n" % i for i in range(number)]
    run = 0
    for line in export_file("f", b"".join(old + middle + new), b"".join(new + middle + old)).splitlines():
        run = run + 1 if line.startswith(b" ") else 0
        assert run <= 2


@pytest.mark.skipif(shutil.which("patch") is None, reason="needs GNU patch")
@settings(max_examples=25, deadline=None)
@given(CONTENT.filter(bool), CONTENT.filter(bool))
def test_exported_patches_mean_the_same_to_gnu_patch(tmp_path_factory, old, new):
    if old == new:
        return
    folder = tmp_path_factory.mktemp("gnu")
    (folder / "f").write_bytes(old)
    (folder / "p").write_bytes(export_file("f", old, new))
    subprocess.run(["patch", "-p1", "--binary", "--fuzz=0", "-s", "-i", "p"], cwd=folder, check=True)
    assert (folder / "f").read_bytes() == new


@given(st.lists(TREES, min_size=2, max_size=4), TREES, st.data())
def test_refresh_ends_in_the_edited_tree_or_refuses(trees, edited, data):
    series = [parse_patch(f"{n}.patch", export_patch(HEADER, *pair)) for n, pair in enumerate(zip(trees, trees[1:]))]
    target = data.draw(st.integers(0, len(series) - 1))
    try:
        after = rebase_series(trees, edited, target, series)
    except PatchError:
        assert target < len(series) - 1  # the last patch takes any edit
        return
    assert len(after) == len(trees) and after[:target + 1] == trees[:target + 1] and after[-1] == edited
    if edited == trees[-1]:
        assert after == trees


TEXT = "".join(f"line {n}\n" for n in range(1, 41)).encode()
EDITED = TEXT.replace(b"line 20\n", b"line 20\nnew\n")


def edit() -> "object":
    return parse_patch("p.patch", export_patch(HEADER, {"f": TEXT}, {"f": EDITED}))


def test_moved_hunk_is_applied_and_noted():
    tree, notes = apply_patch({"f": b"before\nbefore\n" + TEXT}, edit())
    assert tree["f"] == b"before\nbefore\n" + EDITED
    assert notes == ["p.patch:7: applied +2 lines away in f"]


@pytest.mark.parametrize("content, why", [
    (TEXT.replace(b"line 20\n", b"line 20 \n"), "nowhere in the file"),     # fuzz would take these
    (TEXT.replace(b"line 21\n", b""), "nowhere in the file"),
    (TEXT.replace(b"\n", b"\r\n"), "nowhere in the file"),
    (b"x\n" + TEXT + TEXT, "at several other places"),
])
def test_inexact_or_ambiguous_context_is_refused(content, why):
    with pytest.raises(PatchError, match=f"p.patch:7: does not apply to f at line 20: its old lines are {why}"):
        apply_patch({"f": content}, edit())


@pytest.mark.parametrize("text, why", [
    (b"--- a/f\n+++ b/g\n@@ -1 +1 @@\n-a\n+b\n", "expected a pair of lines"),
    (b"--- a/../f\n+++ b/../f\n@@ -1 +1 @@\n-a\n+b\n", "points out of the tree"),
    (b"--- a/f\n+++ b/f\n", "no hunk follows"),
    (b"--- a/f\n+++ b/f\n@@ -1,2 +1 @@\n-a\n+b\n", "does not hold the 2 old and 1 new lines"),
    (b"--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n+b\n+c\n", "expected a pair of lines"),
    (b"--- a/f\n+++ b/f\n@@ -x +1 @@\n-a\n+b\n", "expected '@@"),
    (b"--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n+b\n-- \n2.39\n", "expected a pair of lines"),
])
def test_malformed_patches_are_refused(text, why):
    with pytest.raises(PatchError, match=rf"^p.patch:\d+: .*{re.escape(why)}"):
        parse_patch("p.patch", HEADER + text)


def test_creating_a_file_that_exists_and_changing_one_that_does_not_are_refused():
    create = parse_patch("p.patch", export_patch(HEADER, {}, {"f": b"a\n"}))
    with pytest.raises(PatchError, match="f is there already"):
        apply_patch({"f": b"b\n"}, create)
    with pytest.raises(PatchError, match="f is not there"):
        apply_patch({}, edit())


# ---------------------------------------------------------------------------------------------------------------------
# The real HM: `build.py test` has fetched and built it before pytest begins

def test_pristine_source_and_series_of_hm_verify():
    build = load(ROOT)
    build.verify(build.find_pin("hm", None), None)


def test_changed_hm_source_is_refused_by_name(tmp_path):
    build = load(ROOT)
    pin = build.find_pin("hm", None)
    tree = build.read_archive(pin.cached)
    del tree["COPYING"]
    tree["source/App/TAppEncoder/encmain.cpp"] += b"\n"
    with pytest.raises(build.BuildError, match=r"486 files of 487; COPYING missing, source/App/\S+ changed\)"):
        build.check_content(tree, pin, "there")


def test_second_build_of_hm_does_nothing():
    def state():
        return {path: path.stat().st_mtime_ns for path in (ROOT / "third_party" / "build").rglob("*")}

    before = state()
    started = time.monotonic()
    done = subprocess.run([sys.executable, "build.py", "hm"], cwd=ROOT, capture_output=True, text=True,
                          env={"PATH": ""})  # nothing that could compile or fetch is at hand
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - started < 5
    assert state() == before
    tools = json.loads((ROOT / "third_party" / "build" / "tools.json").read_text())["hm"]
    for key in ("encoder", "stock_encoder", "stock_decoder"):
        assert os.access(ROOT / "third_party" / "build" / tools[key], os.X_OK)
    assert (ROOT / "third_party" / "build" / tools["config_dir"] / "encoder_intra_main.cfg").is_file()


# ---------------------------------------------------------------------------------------------------------------------
# A small project: the real build.py, a tiny encoder

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
    "encoder.cpp": b"#include <cstdio>\r\n" + b"".join(b"// %d\r\n" % n for n in range(30))
                   + b'int main()\r\n{\r\n  puts("stock");\r\n}\r\n',
    "unwanted.cpp": b"#error this target is not asked for\n",
    "cfg/toy.cfg": b"QP : 32\n",
}
FIRST = {"encoder.cpp": TOY["encoder.cpp"].replace(b'puts("stock")', b'puts("first")')}
SECOND = {"encoder.cpp": FIRST["encoder.cpp"].replace(b"// 5\r\n", b"// 5\r\n// second\r\n"), "new.h": b"// new\n"}


class Project:
    """A copy of the project in `root`; `places` are its upstream URLs."""

    def __init__(self, root: Path, places: tuple[str, ...] = ()) -> None:
        self.root = root
        for name in ("build.py", "pyproject.toml", "setup.py", "constraints.txt", "patches/series.py"):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, root / name)
        shutil.copytree(ROOT / "fprdo_bridge" / "native", root / "fprdo_bridge" / "native",
                        ignore=shutil.ignore_patterns("*.so", "*.o", "__pycache__"))
        (root / "third_party").mkdir()
        self.build = load(root)
        others = [name for name in self.build.RECIPES if name != "hm"]  # their sources are nowhere
        (root / "third_party" / "sources.toml").write_text("".join(
            f'[{name}]\ndefault = "0"\n[{name}.versions."0"]\ntree_sha256 = "{"0" * 64}"\nfiles = 1\nupstream = []\n'
            for name in others) +
            f'[hm]\ndefault = "18.0"\n[hm.versions."18.0"]\ntree_sha256 = "{self.build.tree_hash(TOY)}"\n'
            f'files = {len(TOY)}\nupstream = {json.dumps(places)}\n')
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
        self.build.pack(TOY, self.archive, "toy-18.0")

    @property
    def pin(self) -> object:
        return self.build.find_pin("hm", None)

    def environment(self, **changed: str) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "HOME": str(self.root)} | changed

    def run(self, *words: str, **environment: str) -> subprocess.CompletedProcess:
        return subprocess.run([sys.executable, "build.py", *words], cwd=self.root, capture_output=True, text=True,
                              env=self.environment(**environment), stdin=subprocess.DEVNULL)

    def fails(self, *words: str, **environment: str) -> str:
        """The one line of error with which build.py must end, leaving nothing half-written."""
        done = self.run(*words, **environment)
        assert done.returncode == 2, (done.stdout, done.stderr)
        *before, last = done.stderr.splitlines()
        assert last.startswith("build.py: error: ") and "Traceback" not in done.stderr
        assert [path for path in self.root.rglob(".*") if path.name != ".hypothesis"] == []
        return last if not before else "\n".join([*before, last])

    def series(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.patches.iterdir()}

    def cached(self) -> list[Path]:
        return list((self.root / "third_party" / "cache").glob("**/*"))


@pytest.fixture
def project(tmp_path) -> Project:
    return Project(tmp_path / "project")


@pytest.fixture
def fetched(project) -> Project:
    project.build.obtain_source(project.pin, str(project.archive))
    return project


# The series as a whole

def test_verify_accepts_a_sound_series(fetched):
    fetched.build.verify(fetched.pin, None)


def replaced(name: str, old: bytes, new: bytes):
    def damage(folder: Path) -> None:
        text = (folder / name).read_bytes()
        assert old in text
        (folder / name).write_bytes(text.replace(old, new))
    return damage


FIRST_PATCH, SECOND_PATCH = "0001-first.patch", "0002-second.patch"


@pytest.mark.parametrize("damage, why", [
    (replaced("series", b"0002", b"0001-first.patch\n0002"), "lists 0001-first.patch 2 times"),
    (replaced("series", b"0002", b"# 0002"), "0002-second.patch: not listed in the series"),
    (lambda folder: (folder / FIRST_PATCH).unlink(), "lists 0001-first.patch, which is not beside it"),
    (lambda folder: (folder / FIRST_PATCH).write_bytes(HEADER), "0001-first.patch: changes nothing"),
    (lambda folder: (folder / "series").write_text(f"{SECOND_PATCH}\n{FIRST_PATCH}\n"), "applied +1 lines away"),
    (replaced("series", b"the toy's", b"the toy\xb4s"), "series: byte 10 is not UTF-8"),
    (replaced("series", b"0002", b"  # 0002"), "0002-second.patch: not listed in the series"),
    (replaced(FIRST_PATCH, b"Author", b"By"), "no Author: field"),
    (replaced(FIRST_PATCH, b"-  puts", b"- puts"), "does not apply to encoder.cpp"),
    (replaced(FIRST_PATCH, b"@@ -33,3 +33,3 @@", b"@@ -31,3 +31,3 @@"), "applied +2 lines away"),
    (replaced(SECOND_PATCH, b" // 5\r\n", b"-// 5\r\n+// 5\r\n"), "is not what its own result exports to"),
])
def test_verify_refuses_a_damaged_series(fetched, damage, why):
    damage(fetched.patches)
    assert why in fetched.fails("verify", "hm")


# Editing and refreshing

def test_refresh_without_edits_changes_no_byte(fetched):
    before = fetched.series()
    fetched.build.patch(fetched.pin, None)
    fetched.build.refresh(fetched.pin, None)
    assert fetched.series() == before


@pytest.mark.parametrize("target", ["0001-first.patch", "0002-second.patch", None])
def test_refresh_round_trip(fetched, target):
    before = fetched.series()
    fetched.build.patch(fetched.pin, None)
    path = fetched.work / "encoder.cpp"
    path.write_bytes(path.read_bytes().replace(b"// 20\r\n", b"// 20\r\n// edited\r\n"))
    (fetched.work / "added.h").write_bytes(b"no newline at its end")
    (fetched.work / "encoder.cpp~").write_bytes(b"an editor's copy is no part of the source")
    (fetched.work / "bin").mkdir()
    (fetched.work / "bin" / "product").write_bytes(b"nor is what was compiled there")
    fetched.build.refresh(fetched.pin, target)
    after = fetched.series()
    touched = target or "0002-second.patch"
    assert b"+// edited\r\n" in after[touched] and b"added.h" in after[touched]
    for name in before.keys() - {touched}:
        assert b"edited" not in after[name] and b"added.h" not in after[name]
    fetched.build.verify(fetched.pin, None)

    edited = fetched.build.WorkTree(fetched.pin).read()
    shutil.rmtree(fetched.work)
    fetched.build.patch(fetched.pin, None)
    assert fetched.build.WorkTree(fetched.pin).read() == edited
    fetched.build.refresh(fetched.pin, None)
    assert fetched.series() == after


def test_edit_that_meets_a_later_patch_is_refused_and_nothing_written(fetched):
    before = fetched.series()
    fetched.build.patch(fetched.pin, None)
    path = fetched.work / "encoder.cpp"
    path.write_bytes(path.read_bytes().replace(b"// second\r\n", b"// again\r\n"))
    error = fetched.fails("refresh", "hm", "--patch", "0001-first.patch")
    assert "encoder.cpp: the edits meet lines of 0002-second.patch" in error and error.count("\n") == 0
    assert fetched.series() == before
    fetched.build.refresh(fetched.pin, None)
    fetched.build.verify(fetched.pin, None)


def test_new_patch_begins_as_a_header(fetched):
    (fetched.patches / "0003-third.patch").write_bytes(HEADER)
    (fetched.patches / "series").write_text("0001-first.patch\n0002-second.patch\n0003-third.patch\n")
    fetched.build.patch(fetched.pin, None)
    (fetched.work / "cfg" / "toy.cfg").unlink()
    fetched.build.refresh(fetched.pin, None)
    fetched.build.verify(fetched.pin, None)
    assert b"+++ /dev/null\n" in fetched.series()["0003-third.patch"]


def test_refresh_writes_all_patches_or_none(fetched, monkeypatch):
    fetched.build.patch(fetched.pin, None)
    before, stamp = fetched.series(), fetched.build.WorkTree(fetched.pin).written()
    path = fetched.work / "encoder.cpp"
    path.write_bytes(path.read_bytes().replace(b"// 2\r\n", b"// 2\r\n// edited\r\n"))
    write = Path.write_bytes

    def until_full(path: Path, data: bytes) -> int:
        if SECOND_PATCH in path.name:
            write(path, data[:10])
            raise OSError(28, "No space left on device")
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", until_full)
    with pytest.raises(OSError, match="No space left"):
        fetched.build.refresh(fetched.pin, FIRST_PATCH)
    monkeypatch.undo()
    assert fetched.series() == before and fetched.build.WorkTree(fetched.pin).written() == stamp
    fetched.build.refresh(fetched.pin, FIRST_PATCH)
    changed = [name for name in before if fetched.series()[name] != before[name]]
    assert sorted(changed) == [FIRST_PATCH, SECOND_PATCH]


def test_refresh_of_a_work_tree_with_an_old_stamp_names_patch(fetched):
    fetched.build.patch(fetched.pin, None)
    stamp = fetched.root / "third_party" / "patched" / "hm-18.0.sha256"
    stamp.write_text("of an older series")  # but the tree is what the series makes
    assert fetched.fails("refresh", "hm").endswith("; run build.py patch hm, then edit and refresh")
    path = fetched.work / "encoder.cpp"
    path.write_bytes(path.read_bytes().replace(b"// 20\r\n", b""))
    assert "go back to that series, or remove the folder" in fetched.fails("refresh", "hm")
    fetched.build.write_atomically(stamp, fetched.build.tree_hash(fetched.build.WorkTree(fetched.pin).read()).encode())
    assert fetched.fails("refresh", "hm").endswith("; run build.py patch hm, then edit and refresh")
    assert fetched.run("patch", "hm").returncode == 0 and fetched.run("refresh", "hm").returncode == 0


def test_edits_are_never_overwritten(fetched):
    fetched.build.patch(fetched.pin, None)
    (fetched.work / "cfg" / "toy.cfg").write_text("QP : 37\n")
    for words in (["patch", "hm"], ["clean", "--all"]):
        assert "holds edits that are not in the series" in fetched.fails(*words)
    assert (fetched.work / "cfg" / "toy.cfg").read_text() == "QP : 37\n"
    (fetched.work / "cfg" / "toy.cfg").write_bytes(TOY["cfg/toy.cfg"])
    fetched.build.clean(everything=True)
    assert not fetched.work.exists()


def test_refresh_refuses_another_series_unknown_patch_and_bridge_files(fetched):
    assert "make it with build.py patch hm" in fetched.fails("refresh", "hm")
    fetched.build.patch(fetched.pin, None)
    assert "--patch 9.patch: not in" in fetched.fails("refresh", "hm", "--patch", "9.patch")
    bridge = fetched.work / "source" / "Lib" / "TLibCommon" / "idse.c"
    bridge.parent.mkdir(parents=True)
    bridge.write_text("/* mine */\n")
    assert "no part of the patches" in fetched.fails("refresh", "hm")
    bridge.unlink()
    (fetched.work / "encoder.o").write_bytes(b"ELF\0")
    assert "encoder.o: holds NUL bytes" in fetched.fails("refresh", "hm")
    (fetched.work / "encoder.o").unlink()
    (fetched.patches / "0002-second.patch").unlink()
    (fetched.patches / "series").write_text("0001-first.patch\n")
    assert "was made from another series" in fetched.fails("refresh", "hm")


# Sources

def test_directory_with_products_is_taken(project, tmp_path):
    source = tmp_path / "checkout"
    project.build.write_tree(TOY | {"bin/TAppEncoder": b"product", ".git/HEAD": b"ref"}, source)
    done = project.run("fetch", FPRDO_HM_SOURCE=str(source))
    assert done.returncode == 0 and "content verified" in done.stdout, done.stderr
    assert project.build.read_archive(project.pin.cached) == TOY


def test_source_that_is_not_the_pinned_one_is_refused(fetched, tmp_path):
    before = fetched.pin.cached.read_bytes()
    changed = tmp_path / "changed"
    fetched.build.write_tree(TOY | {"encoder.cpp": b"int main() {}\n", "extra.cpp": b"\n"}, changed)
    error = fetched.fails("hm", "--source", str(changed))
    assert f"{changed}: not the source of HM 18.0" in error and "encoder.cpp changed, extra.cpp added" in error
    assert "no such directory or archive" in fetched.fails("hm", "--source", str(tmp_path / "nothing"))
    assert "has no pin of this version, only of 18.0" in fetched.fails("hm", "--version", "9.1")
    assert fetched.pin.cached.read_bytes() == before


@pytest.mark.parametrize("make, why", [
    (lambda folder: os.mkfifo(folder / "pipe"), "pipe: neither a file nor a folder"),
    (lambda folder: (folder / os.fsdecode(b"caf\xe9.h")).touch(), r"a file named b'cfg/caf\xe9.h', not printable"),
    (lambda folder: (folder / "link").symlink_to("toy.cfg"), "link: a link"),
    (lambda folder: [(folder / "huge").touch(), os.truncate(folder / "huge", 1 << 31)], "20000 files or 1024 MB"),
])
def test_folder_that_is_no_source_is_refused_before_it_is_read(project, tmp_path, make, why):
    source = tmp_path / "source"
    project.build.write_tree(TOY, source)
    make(source / "cfg")
    error = project.fails("fetch", "--source", str(source))
    assert why in error and error.count("\n") == 0
    assert project.cached() == []


def test_folder_of_very_many_files_is_not_read_to_its_end(project, tmp_path, monkeypatch):
    monkeypatch.setattr(project.build, "MOST_FILES", 2)
    project.build.write_tree(TOY, tmp_path / "source")
    with pytest.raises(project.build.BuildError, match=r"source: not the source of an encoder \(more than 2 files"):
        project.build.read_named_source(tmp_path / "source", project.pin)
    with pytest.raises(project.build.BuildError, match=r"toy.tar.gz: not the source of an encoder \(more than 2 files"):
        project.build.read_named_source(project.archive, project.pin)


def test_path_that_is_no_utf8_can_be_named(project, tmp_path):
    source = tmp_path / os.fsdecode(b"caf\xe9")
    project.build.write_tree(TOY, source)
    done = project.run("fetch", "--source", str(source), LC_ALL="C.UTF-8", PYTHONUTF8="1")
    assert done.returncode == 0 and r"caf\udce9, content verified" in done.stdout, done.stderr


@pytest.mark.parametrize("word", ["--source", "--version"])
def test_empty_values_are_refused(fetched, word):
    error = fetched.fails("fetch", word, "")
    assert error == f"build.py: error: {word} '': empty; give it a value or leave it out"


@pytest.mark.parametrize("options", [["-I"], ["-P"]])
def test_isolated_interpreter_finds_the_series(fetched, options):
    done = subprocess.run([sys.executable, *options, "build.py", "verify"], cwd=fetched.root, capture_output=True,
                          text=True, env=fetched.environment())
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("options, top", [(["toy"], ""), (["./toy"], ""), (["."], "toy")])
def test_archive_may_begin_with_a_dot(project, tmp_path, options, top):
    project.build.write_tree(TOY, tmp_path / "here" / "toy")
    packed = tmp_path / "packed.tar"
    subprocess.run(["tar", "-cf", packed, "-C", tmp_path / "here" / top, *options], check=True)
    assert project.build.read_archive(packed) == TOY


@pytest.mark.parametrize("part", [0, 0.01, 0.3, 0.7])
def test_truncated_archive_is_refused(project, tmp_path, part):
    cut, whole = tmp_path / "cut.tar.gz", project.archive.read_bytes()
    cut.write_bytes(whole[:int(part * len(whole))])
    assert "not a readable tar archive, or cut short" in project.fails("fetch", "--source", str(cut))
    assert project.cached() == []


@pytest.mark.parametrize("name, kind", [("toy/../../escape", tarfile.REGTYPE), ("/etc/absolute", tarfile.REGTYPE),
                                        ("toy/link", tarfile.SYMTYPE), ("toy/hard", tarfile.LNKTYPE)])
def test_archive_that_reaches_out_is_refused(project, tmp_path, name, kind):
    bad = tmp_path / "bad.tar"
    with tarfile.open(bad, "w") as archive:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, "/etc/passwd"
        archive.addfile(member, io.BytesIO())
    assert "not a plain file inside its folder; refused" in project.fails("fetch", "--source", str(bad))


def test_damaged_cache_is_dropped_and_fetched_again(fetched, server):
    fetched.pin.cached.write_bytes(b"damaged")
    server.pages["/toy.tar.gz"] = (200, fetched.archive.read_bytes(), None)
    text = (fetched.root / "third_party" / "sources.toml").read_text()
    (fetched.root / "third_party" / "sources.toml").write_text(
        text.replace("upstream = []", f'upstream = ["{server.url}/toy.tar.gz"]'))
    done = fetched.run("fetch")
    assert done.returncode == 0 and "dropped from the cache" in done.stdout, done.stderr
    assert fetched.pin.cached.read_bytes() == fetched.archive.read_bytes()


class Server:
    """Serves `pages`: path -> (status, body, Content-Length to claim if not the true one)."""

    def __init__(self) -> None:
        self.pages: dict[str, tuple[int, bytes, int | None]] = {}
        pages = self.pages

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, body, claimed = pages.get(self.path, (404, b"", None))
                self.send_response(status)
                self.send_header("Content-Length", str(claimed or len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()


@pytest.fixture
def server():
    server = Server()
    yield server
    server.http.shutdown()
    server.http.server_close()


def with_distribution(project: Project, server: Server, tmp_path: Path, sha256: str) -> dict[str, str]:
    """Pin a distribution's archive, and let an apt-get that says `server` be its mirror be the first on PATH."""
    with open(project.root / "third_party" / "sources.toml", "a") as out:
        out.write(f'distribution = {{ path = "pool/toy.tar.gz", sha256 = "{sha256}" }}\n')
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "apt-get").write_text(f"#!/bin/sh\nprintf 'cdrom://x\\n{server.url}/mirror/\\n{server.url}/mirror/\\n'\n")
    (tools / "apt-get").chmod(0o755)
    return {"PATH": f"{tools}:{os.environ['PATH']}"}


def test_distribution_archive_comes_after_upstream(tmp_path, server):
    project = Project(tmp_path / "project", (f"{server.url}/gone.tar.gz",))
    body = project.archive.read_bytes()
    server.pages["/mirror/pool/toy.tar.gz"] = (200, body, None)
    environment = with_distribution(project, server, tmp_path, project.build.hashlib.sha256(body).hexdigest())
    done = project.run("fetch", **environment)
    assert done.returncode == 0, done.stderr
    assert "gone.tar.gz answers 404" in done.stdout
    assert project.pin.cached.read_bytes() == body


def test_wrong_checksum_is_refused(tmp_path, server):
    project = Project(tmp_path / "project")
    server.pages["/mirror/pool/toy.tar.gz"] = (200, project.archive.read_bytes(), None)
    error = project.fails("fetch", **with_distribution(project, server, tmp_path, "0" * 64))
    assert re.search(r"toy\.tar\.gz has sha256 [0-9a-f]{64}, pinned is 0{64}", error) and error.count("\n") == 0
    assert project.cached() == []


@pytest.mark.parametrize("page, why", [
    (lambda body: (200, body, len(body) + 1), r"broke off after \d+ of \d+ bytes"),
    (lambda body: (200, b"<html>moved</html>", None), "not a readable tar archive"),
    (lambda body: (503, b"", None), "answers 503"),
])
def test_bad_answers_of_upstream(tmp_path, server, page, why):
    project = Project(tmp_path / "project", (f"{server.url}/toy.tar.gz",))
    server.pages["/toy.tar.gz"] = page(project.archive.read_bytes())
    error = project.fails("fetch", PATH="")
    assert re.search(why, error) and "--source DIR|ARCHIVE, or FPRDO_HM_SOURCE" in error
    assert project.cached() == []


def test_upstream_with_other_content_is_refused(tmp_path, server):
    project = Project(tmp_path / "project", (f"{server.url}/toy.tar.gz",))
    other = tmp_path / "other.tar.gz"
    project.build.pack(TOY | {"cfg/toy.cfg": b"QP : 0\n"}, other, "toy")
    server.pages["/toy.tar.gz"] = (200, other.read_bytes(), None)
    assert f"{server.url}/toy.tar.gz: not the source of HM 18.0" in project.fails("fetch", PATH="")
    assert project.cached() == []


def test_no_network(tmp_path):
    project = Project(tmp_path / "project", ("http://127.0.0.1:9/toy.tar.gz",))
    error = project.fails("fetch", PATH="")
    assert "no source could be had" in error and "check the network" in error and error.count("\n") == 0


def test_full_disk_leaves_nothing(project):
    """A file size limit of one block stands for the full disk: the write fails in the same place."""
    done = subprocess.run(["sh", "-c", 'ulimit -f 0; exec "$@" >/dev/null', "sh", sys.executable, "build.py", "fetch",
                           "--source", str(project.archive)], cwd=project.root, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and done.stderr.startswith("build.py: error: ")
    assert project.cached() == []


# Building

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
    fetched.build.patch(fetched.pin, None)
    path = fetched.work / "encoder.cpp"
    path.write_bytes(path.read_bytes().replace(b"first", b"edited"))
    fetched.build.refresh(fetched.pin, None)
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
    with pytest.raises(fetched.build.BuildError, match="not the source of JM 0"):
        fetched.build.build_all()


def test_without_the_tools_of_an_optional_encoder_the_rest_is_built(fetched, capsys, monkeypatch):
    """x264's tools are looked for before its source, and doctor names them."""
    which, missing = shutil.which, {"make", "bash"}
    monkeypatch.setattr(shutil, "which", lambda name: None if name in missing else which(name))
    monkeypatch.setattr(fetched.build, "obtain_source", lambda *_: pytest.fail("fetched before tools were looked for"))
    with pytest.raises(fetched.build.NoTool, match="^x264 0: no make found; install make$"):
        fetched.build.build_encoder(fetched.build.find_pin("x264", None))
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
    for name in ("idse.c", "idse.h", "weighted_sse.h"):
        keys.append([build.key for build in fetched.build.plan_builds(fetched.pin, [])])
        with open(fetched.root / "fprdo_bridge" / "native" / name, "a") as out:
            out.write("\n")
    keys.append([build.key for build in fetched.build.plan_builds(fetched.pin, [])])
    assert len({stock for stock, _ in keys}) == 1 and len({patched for _, patched in keys}) == 4


def test_removed_source_or_configurations_of_a_build_are_made_again(fetched):
    assert fetched.run("hm").returncode == 0
    (build, patched) = fetched.build.plan_builds(fetched.pin, fetched.build.read_series(fetched.patches))
    assert build.finished() and patched.finished()
    shutil.rmtree(build.source / "cfg")
    done = fetched.run("hm")
    assert done.returncode == 0 and "stock: compiling" in done.stdout and "patched: compiling" not in done.stdout
    assert (build.source / "cfg" / "toy.cfg").is_file() and build.finished()


def test_interrupted_build_of_a_moved_checkout_begins_anew(fetched, tmp_path, monkeypatch):
    """cmake refuses a build folder that lies elsewhere than where it was configured."""
    def full(*_: object) -> None:
        raise OSError("no room")

    monkeypatch.setattr(fetched.build.shutil, "copy2", full)
    with pytest.raises(OSError, match="no room"):
        fetched.build.build_encoder(fetched.pin)
    monkeypatch.undo()
    assert len(list(fetched.root.glob("third_party/build/*/obj-*"))) == 1
    fetched.root = fetched.root.rename(tmp_path / "moved")
    done = fetched.run("hm")
    assert done.returncode == 0, done.stdout + done.stderr
    assert list(fetched.root.glob("third_party/build/*/obj-*")) == []


def test_leftovers_of_a_killed_build_are_swept(fetched):
    third_party = fetched.root / "third_party"
    left = [third_party / "cache" / ".fetch-x" / "toy.tar.gz", third_party / "patched" / ".hm-18.0.x" / "new" / "cfg",
            third_party / "patched" / ".hm-18.0.sha256.1.tmp", third_party / "build" / ".tools.json.1.tmp",
            third_party / "build" / "hm-18.0-x" / ".src.x" / "new" / "cfg", fetched.patches / ".0001-first.patch.1.tmp"]
    other = fetched.patches / ".mine"
    for path in [*left, other]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    done = fetched.run("verify")
    assert done.returncode == 0, done.stderr
    assert [path for path in fetched.root.rglob(".*")] == [other]


def test_failed_compile_shows_the_end_of_its_log_and_goes_on_once_mended(fetched):
    fetched.build.patch(fetched.pin, None)
    path = fetched.work / "encoder.cpp"
    good = path.read_bytes()
    path.write_bytes(good.replace(b'puts("first");', b'undeclared("first");'))
    fetched.build.refresh(fetched.pin, None)
    error = fetched.fails("hm")
    assert "undeclared" in error
    log = re.search(r"the whole log is (\S+)", error.splitlines()[-1])[1]
    assert "undeclared" in Path(log).read_text() and len(error.splitlines()) <= 21
    assert not (fetched.root / "third_party" / "build" / "tools.json").exists()
    path.write_bytes(good)
    fetched.build.refresh(fetched.pin, None)
    done = fetched.run("hm")
    assert done.returncode == 0 and "stock: compiling" not in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_stopped_build_is_no_build_and_is_taken_up_again(fetched, stop):
    process = subprocess.Popen([sys.executable, "build.py", "hm"], cwd=fetched.root, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, env=fetched.environment(TOY_SLEEP="60"))
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


CHILD = """import pathlib, signal, sys, time
signal.signal(signal.SIGTERM, signal.default_int_handler)
try:
    print("at work", flush=True)
    time.sleep(60)
finally:
    time.sleep(float(sys.argv[1]))  # more than Python grants a child of subprocess.call
    pathlib.Path("cleaned").touch()
"""
PARENT = "import sys, build; build.catch_signals(); build.call([sys.executable, 'child.py', sys.argv[1]])"


def start_child(project: Project, seconds: str, hangup: signal.Handlers = signal.SIG_DFL) -> subprocess.Popen:
    """A program run by build.py's `call`, in a session of its own, that takes `seconds` to clean up."""
    (project.root / "child.py").write_text(CHILD)
    process = subprocess.Popen([sys.executable, "-c", PARENT, seconds], cwd=project.root, stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL, text=True, start_new_session=True,
                               preexec_fn=lambda: signal.signal(signal.SIGHUP, hangup))  # whatever these tests run under
    assert process.stdout.readline() == "at work\n"
    return process


@pytest.mark.parametrize("stop, everywhere", [(signal.SIGTERM, False), (signal.SIGHUP, False), (signal.SIGHUP, True),
                                              (signal.SIGINT, True)])
def test_stopped_demo_cleans_up(project, stop, everywhere):
    """`everywhere`: as a terminal does it, to every process; or else to build.py alone."""
    process = start_child(project, "0.6")
    (os.killpg if everywhere else os.kill)(process.pid, stop)
    process.communicate(timeout=30)
    assert process.returncode != 0 and (project.root / "cleaned").exists()


def test_second_stop_kills_the_demo(project):
    process = start_child(project, "30")
    process.terminate()
    time.sleep(0.5)
    process.terminate()
    process.communicate(timeout=10)
    assert process.returncode != 0 and not (project.root / "cleaned").exists()


def test_hangup_stays_ignored_where_it_is(project):
    process = start_child(project, "0", hangup=signal.SIG_IGN)
    process.send_signal(signal.SIGHUP)
    time.sleep(0.5)
    assert process.poll() is None
    process.terminate()
    process.communicate(timeout=30)
    assert (project.root / "cleaned").exists()


def test_a_second_build_waits_for_the_first(fetched):
    first = subprocess.Popen([sys.executable, "build.py", "hm"], cwd=fetched.root, stdout=subprocess.PIPE, text=True,
                             env=fetched.environment(TOY_SLEEP="2"))
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
    assert not fetched.build.accepts(str(compiler), "-Wno-error=array-bounds", "c++")
    assert fetched.build.accepts(shutil.which("c++"), "-Wall", "c++")
    done = fetched.run("hm", CXX=str(compiler))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("text", ["[]", "null", "3", "{", "\"text\""])
def test_damaged_notes_are_made_again(project, text):
    note = project.root / "note.json"
    note.write_text(text)
    assert project.build.read_json(note) == {}


# The package and the machine

def test_package_is_installed_again_when_the_kernel_changes(project):
    build = project.build
    (project.root / ".venv" / "bin").mkdir(parents=True)
    (project.root / ".venv" / "bin" / "fprdo").touch()
    build.write_venv_stamp(place=str(project.root), extras=["test"], key=build.package_key())
    assert build.package_installed() and build.package_installed(("test",)) and not build.package_installed(("more",))
    with open(project.root / "fprdo_bridge" / "native" / "idse.c", "a") as out:
        out.write("\n")
    assert not build.package_installed()


def test_venv_of_another_place_or_python_is_made_again_and_not_used(project, monkeypatch):
    build, commands = project.build, []
    program = project.root / ".venv" / "bin" / "python"
    program.parent.mkdir(parents=True)
    program.touch(mode=0o755)
    shutil.copy(program, program.with_name("no-such-tool"))
    monkeypatch.setattr(build, "run", lambda command, *_: commands.append(command))
    build.write_venv_stamp()
    build.make_venv()
    assert commands == [] and build.find_program("no-such-tool") == str(program.with_name("no-such-tool"))
    for changed in ({"place": "/elsewhere"}, {"python": "cpython-27"}):
        build.write_venv_stamp(**changed, key=build.package_key())
        assert build.find_program("no-such-tool") is None and not build.package_installed()
        build.make_venv()
        assert commands.pop()[-2:] == ["--clear", str(project.root / ".venv")]
        assert build.venv_is_ours()


def test_doctor_says_what_is_missing(fetched):
    well = fetched.run("doctor")
    assert well.returncode == 0, well.stdout + well.stderr
    assert re.search(r"^ok +HM 18.0 source +third_party/cache/", well.stdout, re.MULTILINE)
    assert re.search(r"^later +HM 18.0 patched +build.py hm compiles it", well.stdout, re.MULTILINE)
    fetched.pin.cached.unlink()
    ill = fetched.run("doctor", PATH="")
    assert ill.returncode == 1 and "Traceback" not in ill.stderr
    assert re.search(r"^MISSING +C\+\+ compiler +no C\+\+ compiler found", ill.stdout, re.MULTILINE)
    assert re.search(r"^MISSING +HM 18.0 source +no cached copy", ill.stdout, re.MULTILINE)
    assert re.search(r"^later +JM 0 source +no cached copy", ill.stdout, re.MULTILINE)


def test_doctor_looks_at_the_named_source_and_names_upstream(tmp_path):
    project = Project(tmp_path / "project", ("http://127.0.0.1:9/toy.tar.gz",))
    none = project.run("doctor", PATH="")
    assert re.search(r"^MISSING +HM 18.0 source .* yourself from http://127.0.0.1:9/toy.tar.gz, then build.py hm --so",
                     none.stdout, re.MULTILINE)
    named = project.run("doctor", FPRDO_HM_SOURCE=str(project.archive))
    assert re.search(r"^ok +HM 18.0 source +\S+toy.tar.gz \(FPRDO_HM_SOURCE\), content verified$", named.stdout,
                     re.MULTILINE)
    wrong = project.run("doctor", FPRDO_HM_SOURCE=str(project.patches))
    assert wrong.returncode == 1
    assert re.search(r"^MISSING +HM 18.0 source +\S+patches/hm: not the source of HM 18.0", wrong.stdout, re.MULTILINE)


def test_doctor_misses_nothing_for_what_is_built(fetched):
    assert fetched.run("hm").returncode == 0
    (fetched.root / ".venv" / "bin").mkdir(parents=True)
    (fetched.root / ".venv" / "bin" / "fprdo").touch()
    fetched.build.write_venv_stamp(key=fetched.build.package_key())
    fetched.pin.cached.unlink()
    done = fetched.run("doctor", PATH="")
    assert done.returncode == 0 and "MISSING" not in done.stdout, done.stdout
    assert re.search(r"^later +C compiler +no C compiler", done.stdout, re.MULTILINE)
    assert re.search(r"^later +HM 18.0 source +no cached copy", done.stdout, re.MULTILINE)
