"""Series as a whole, and work trees: what people edit comes back into the patches, and no edit is lost."""

import shutil
from pathlib import Path

import pytest
from project import FIRST_PATCH, HEADER, SECOND_PATCH, TOY

pytestmark = pytest.mark.slow


def test_verify_accepts_a_sound_series(fetched):
    fetched.build.verify(fetched.pin(), None)


def replaced(name: str, old: bytes, new: bytes):
    def damage(folder: Path) -> None:
        text = (folder / name).read_bytes()
        assert old in text
        (folder / name).write_bytes(text.replace(old, new))

    return damage


@pytest.mark.parametrize(
    "damage, why",
    [
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
    ],
)
def test_verify_refuses_a_damaged_series(fetched, damage, why):
    damage(fetched.patches)
    assert why in fetched.fails("verify", "hm")


# Editing and refreshing


def test_refresh_without_edits_changes_no_byte(fetched):
    before = fetched.patch_texts()
    fetched.worktree.patch(fetched.pin(), None)
    fetched.worktree.refresh(fetched.pin(), None)
    assert fetched.patch_texts() == before


@pytest.mark.parametrize("target", ["0001-first.patch", "0002-second.patch", None])
def test_refresh_round_trip(fetched, target):
    before = fetched.patch_texts()
    fetched.worktree.patch(fetched.pin(), None)
    path = fetched.work / "encoder.cpp"
    path.write_bytes(path.read_bytes().replace(b"// 20\r\n", b"// 20\r\n// edited\r\n"))
    (fetched.work / "added.h").write_bytes(b"no newline at its end")
    (fetched.work / "encoder.cpp~").write_bytes(b"an editor's copy is no part of the source")
    (fetched.work / "bin").mkdir()
    (fetched.work / "bin" / "product").write_bytes(b"nor is what was compiled there")
    fetched.worktree.refresh(fetched.pin(), target)
    after = fetched.patch_texts()
    touched = target or "0002-second.patch"
    assert b"+// edited\r\n" in after[touched] and b"added.h" in after[touched]
    for name in before.keys() - {touched}:
        assert b"edited" not in after[name] and b"added.h" not in after[name]
    fetched.build.verify(fetched.pin(), None)

    edited = fetched.worktree.WorkTree(fetched.pin()).read()
    shutil.rmtree(fetched.work)
    fetched.worktree.patch(fetched.pin(), None)
    assert fetched.worktree.WorkTree(fetched.pin()).read() == edited
    fetched.worktree.refresh(fetched.pin(), None)
    assert fetched.patch_texts() == after


def test_edit_that_meets_a_later_patch_is_refused_and_nothing_written(fetched):
    before = fetched.patch_texts()
    fetched.worktree.patch(fetched.pin(), None)
    path = fetched.work / "encoder.cpp"
    path.write_bytes(path.read_bytes().replace(b"// second\r\n", b"// again\r\n"))
    error = fetched.fails("refresh", "hm", "--patch", "0001-first.patch")
    assert "encoder.cpp: the edits meet lines of 0002-second.patch" in error and error.count("\n") == 0
    assert fetched.patch_texts() == before
    fetched.worktree.refresh(fetched.pin(), None)
    fetched.build.verify(fetched.pin(), None)


def test_new_patch_begins_as_a_header(fetched):
    (fetched.patches / "0003-third.patch").write_bytes(HEADER)
    (fetched.patches / "series").write_text("0001-first.patch\n0002-second.patch\n0003-third.patch\n")
    fetched.worktree.patch(fetched.pin(), None)
    (fetched.work / "cfg" / "toy.cfg").unlink()
    fetched.worktree.refresh(fetched.pin(), None)
    fetched.build.verify(fetched.pin(), None)
    assert b"+++ /dev/null\n" in fetched.patch_texts()["0003-third.patch"]


def test_refresh_writes_all_patches_or_none(fetched, monkeypatch):
    fetched.worktree.patch(fetched.pin(), None)
    before, stamp = fetched.patch_texts(), fetched.worktree.WorkTree(fetched.pin()).written()
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
        fetched.worktree.refresh(fetched.pin(), FIRST_PATCH)
    monkeypatch.undo()
    assert fetched.patch_texts() == before and fetched.worktree.WorkTree(fetched.pin()).written() == stamp
    fetched.worktree.refresh(fetched.pin(), FIRST_PATCH)
    changed = [name for name in before if fetched.patch_texts()[name] != before[name]]
    assert sorted(changed) == [FIRST_PATCH, SECOND_PATCH]


def test_refresh_of_a_work_tree_with_an_old_stamp_names_patch(fetched):
    fetched.worktree.patch(fetched.pin(), None)
    stamp = fetched.root / "third_party" / "patched" / "hm-18.0.sha256"
    stamp.write_text("of an older series")  # but the tree is what the series makes
    assert fetched.fails("refresh", "hm").endswith("; run build.py patch hm, then edit and refresh")
    path = fetched.work / "encoder.cpp"
    path.write_bytes(path.read_bytes().replace(b"// 20\r\n", b""))
    assert "go back to that series, or remove the folder" in fetched.fails("refresh", "hm")
    edited = fetched.worktree.WorkTree(fetched.pin()).read()
    fetched.trees.write_atomically(stamp, fetched.trees.tree_hash(edited).encode())
    assert fetched.fails("refresh", "hm").endswith("; run build.py patch hm, then edit and refresh")
    assert fetched.run("patch", "hm").returncode == 0 and fetched.run("refresh", "hm").returncode == 0


def test_edits_are_never_overwritten(fetched):
    fetched.worktree.patch(fetched.pin(), None)
    (fetched.work / "cfg" / "toy.cfg").write_text("QP : 37\n")
    for words in (["patch", "hm"], ["clean", "--all"]):
        assert "holds edits that are not in the series" in fetched.fails(*words)
    assert (fetched.work / "cfg" / "toy.cfg").read_text() == "QP : 37\n"
    (fetched.work / "cfg" / "toy.cfg").write_bytes(TOY["cfg/toy.cfg"])
    fetched.build.clean(everything=True)
    assert not fetched.work.exists()


def test_refresh_refuses_another_series_unknown_patch_and_bridge_files(fetched):
    assert "make it with build.py patch hm" in fetched.fails("refresh", "hm")
    fetched.worktree.patch(fetched.pin(), None)
    assert "--patch 9.patch: not in" in fetched.fails("refresh", "hm", "--patch", "9.patch")
    bridge = fetched.work / "source" / "Lib" / "TLibCommon" / "idse" / "picture.c"
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
