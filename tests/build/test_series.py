"""patches/diff.py and patches/series.py: differences, strict patches, and edits folded back into a series."""

import re
import shutil
import subprocess
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from project import HEADER

from patches import diff
from patches.diff import changes, export_file
from patches.series import Patch, PatchError, apply_patch, export_patch, parse_patch, rebase_series

LINES = st.lists(st.sampled_from([b"a\n", b"b\n", b"{\n", b"\n", b"a\r\n", b"}\n", b"\xe9\n"]), max_size=25)
CONTENT = st.builds(
    lambda lines, cut: b"".join(lines).removesuffix(b"\n") if cut else b"".join(lines), LINES, st.booleans()
)
TREES = st.dictionaries(st.sampled_from(["a.txt", "dir/b.cpp", "dir/c.h"]), CONTENT.filter(bool))


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
        assert (at < a or at == 0) and old[at:a] == new[len(made) : c]
        made += old[at:a] + new[c:d]
        at, edits = b, edits + (b - a) + (d - c)
    assert made + old[at:] == new
    assert edits == len(old) + len(new) - 2 * longest_common(old, new)


@pytest.mark.slow
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
        patched.setattr(diff, "MOST_EDITS", most)
        made, at = [], 0
        for a, b, c, d in changes(old, new):
            assert (at < a or at == 0) and old[at:a] == new[len(made) : c] and (a < b or c < d)
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
    series = [parse_patch(f"{n}.patch", export_patch(HEADER, *pair)) for n, pair in enumerate(pairwise(trees))]
    target = data.draw(st.integers(0, len(series) - 1))
    try:
        after = rebase_series(trees, edited, target, series)
    except PatchError:
        assert target < len(series) - 1  # the last patch takes any edit
        return
    assert len(after) == len(trees) and after[: target + 1] == trees[: target + 1] and after[-1] == edited
    if edited == trees[-1]:
        assert after == trees


TEXT = "".join(f"line {n}\n" for n in range(1, 41)).encode()
EDITED = TEXT.replace(b"line 20\n", b"line 20\nnew\n")


def edit() -> Patch:
    return parse_patch("p.patch", export_patch(HEADER, {"f": TEXT}, {"f": EDITED}))


def test_moved_hunk_is_applied_and_noted():
    tree, notes = apply_patch({"f": b"before\nbefore\n" + TEXT}, edit())
    assert tree["f"] == b"before\nbefore\n" + EDITED
    assert notes == ["p.patch:7: applied +2 lines away in f"]


@pytest.mark.parametrize(
    "content, why",
    [
        (TEXT.replace(b"line 20\n", b"line 20 \n"), "nowhere in the file"),  # fuzz would take these
        (TEXT.replace(b"line 21\n", b""), "nowhere in the file"),
        (TEXT.replace(b"\n", b"\r\n"), "nowhere in the file"),
        (b"x\n" + TEXT + TEXT, "at several other places"),
    ],
)
def test_inexact_or_ambiguous_context_is_refused(content, why):
    with pytest.raises(PatchError, match=f"p.patch:7: does not apply to f at line 20: its old lines are {why}"):
        apply_patch({"f": content}, edit())


@pytest.mark.parametrize(
    "text, why",
    [
        (b"--- a/f\n+++ b/g\n@@ -1 +1 @@\n-a\n+b\n", "expected a pair of lines"),
        (b"--- a/../f\n+++ b/../f\n@@ -1 +1 @@\n-a\n+b\n", "points out of the tree"),
        (b"--- a/f\n+++ b/f\n", "no hunk follows"),
        (b"--- a/f\n+++ b/f\n@@ -1,2 +1 @@\n-a\n+b\n", "does not hold the 2 old and 1 new lines"),
        (b"--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n+b\n+c\n", "expected a pair of lines"),
        (b"--- a/f\n+++ b/f\n@@ -x +1 @@\n-a\n+b\n", "expected '@@"),
        (b"--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n+b\n-- \n2.39\n", "expected a pair of lines"),
    ],
)
def test_malformed_patches_are_refused(text, why):
    with pytest.raises(PatchError, match=rf"^p.patch:\d+: .*{re.escape(why)}"):
        parse_patch("p.patch", HEADER + text)


def test_creating_a_file_that_exists_and_changing_one_that_does_not_are_refused():
    create = parse_patch("p.patch", export_patch(HEADER, {}, {"f": b"a\n"}))
    with pytest.raises(PatchError, match="f is there already"):
        apply_patch({"f": b"b\n"}, create)
    with pytest.raises(PatchError, match="f is not there"):
        apply_patch({}, edit())
