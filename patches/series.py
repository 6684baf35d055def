"""Series of patches: strict reading and applying, exporting, and folding edits back into them.

Used by build.py, so Python's standard library only. Trees and patches are bytes: line ends and old encodings survive. A
hunk's old lines must be in the file exactly (fuzz 0), and what is exported depends on the two trees alone: not on
dates, the order of folders, or the version of Python.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from patches.diff import NO_NEWLINE, Lines, export_file, merge, split_lines
from third_party.trees import Tree


class PatchError(Exception):
    """A patch or series that cannot be used: one line that names it and the remedy."""


def export_patch(header: bytes, old: Tree, new: Tree) -> bytes:
    out = [header]
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name):
            text = export_file(name, old.get(name), new.get(name))
            if not text:
                raise PatchError(f"{name}: a patch cannot add or remove an empty file; put a line into it")
            out.append(text)
    return b"".join(out)


@dataclass(frozen=True)
class Hunk:
    place: str  # patch and line, for messages
    start: int  # index of the first old line
    old: Lines
    new: Lines


@dataclass(frozen=True)
class FileDiff:
    path: str
    created: bool
    removed: bool
    hunks: list[Hunk]


@dataclass(frozen=True)
class Patch:
    name: str
    text: bytes
    header: bytes  # everything above the first diff
    files: list[FileDiff]


FILE_LINES = re.compile(
    rb"--- (?:a/([^\t\n]+)|/dev/null)(?:\t[^\n]*)?\n"
    rb"\+\+\+ (?:b/([^\t\n]+)|/dev/null)(?:\t[^\n]*)?\n"
)
HUNK_LINE = re.compile(rb"@@ -(\d+)(?:,(\d+))? \+\d+(?:,(\d+))? @@")
GIT_LINES = (b"diff --git ", b"index ", b"new file mode ", b"deleted file mode ")  # read, never written


def parse_patch(name: str, text: bytes) -> Patch:
    lines = split_lines(text)
    files: list[FileDiff] = []
    at = next((i for i, line in enumerate(lines) if line.startswith((b"--- ", b"diff --git "))), len(lines))
    header = b"".join(lines[:at])
    while at < len(lines):
        if lines[at].startswith(GIT_LINES):
            at += 1
            continue
        pair = FILE_LINES.fullmatch(b"".join(lines[at : at + 2]))
        if not pair or not any(pair.groups()) or (all(pair.groups()) and pair[1] != pair[2]):
            raise broken(name, at, "expected a pair of lines '--- a/PATH' and '+++ b/PATH'")
        path = (pair[1] or pair[2]).decode(errors="replace")
        if path in [file.path for file in files] or path.startswith("/") or ".." in path.split("/"):
            raise broken(name, at, f"{path} stands twice in the patch or points out of the tree")
        at, hunks = at + 2, []
        while at < len(lines) and lines[at].startswith(b"@@"):
            hunk, at = parse_hunk(name, lines, at)
            hunks.append(hunk)
        if not hunks:
            raise broken(name, at, f"no hunk follows for {path}")
        files.append(FileDiff(path, created=pair[1] is None, removed=pair[2] is None, hunks=hunks))
    return Patch(name, text, header, files)


def parse_hunk(name: str, lines: Lines, at: int) -> tuple[Hunk, int]:
    """The hunk whose @@ is line `at`, and the index of the line after it."""
    counts = HUNK_LINE.match(lines[at])
    if not counts:
        raise broken(name, at, "expected '@@ -LINE,COUNT +LINE,COUNT @@'")
    place, want = f"{name}:{at + 1}", tuple(1 if n is None else int(n) for n in counts.group(2, 3))
    sides: tuple[Lines, Lines] = [], []
    kind = b""
    while True:
        at += 1
        line = lines[at] if at < len(lines) else b""
        if line == NO_NEWLINE:
            for side, kinds in zip(sides, (b" -", b" +")):
                if kind and kind in kinds:
                    side[-1] = side[-1].removesuffix(b"\n")
            continue
        if (len(sides[0]), len(sides[1])) == want:
            return Hunk(place, int(counts[1]) - (want[0] > 0), *sides), at
        kind = line[:1]
        if not kind or kind not in b" -+" or len(sides[0]) > want[0] or len(sides[1]) > want[1]:
            raise broken(name, at, f"the hunk above does not hold the {want[0]} old and {want[1]} new lines of its @@")
        for side, kinds in zip(sides, (b" -", b" +")):
            if kind in kinds:
                side.append(line[1:])


def broken(name: str, at: int, why: str) -> PatchError:
    return PatchError(f"{name}:{at + 1}: {why}; mend the patch, or make it again with build.py refresh")


def apply_patch(tree: Tree, patch: Patch) -> tuple[Tree, list[str]]:
    """The patched tree and a note for every hunk that fitted elsewhere than its line number says.

    A hunk's old lines must be there exactly (fuzz 0): at the stated line, moved as the hunk before it was, or else at
    one other place only.
    """
    tree, notes = dict(tree), []
    for file in patch.files:
        if file.created == (file.path in tree):
            state = "there already" if file.created else "not there"
            raise PatchError(f"{file.hunks[0].place}: {file.path} is {state}; mend the patch or the series' order")
        lines, out, at, offset = split_lines(tree.get(file.path, b"")), [], 0, 0
        for hunk in file.hunks:
            start = find_place(lines, hunk, file.path, at, hunk.start + offset)
            offset = start - hunk.start
            if offset:
                notes.append(f"{hunk.place}: applied {offset:+d} lines away in {file.path}")
            out += lines[at:start] + hunk.new
            at = start + len(hunk.old)
        out += lines[at:]
        if file.removed and out:
            raise PatchError(f"{file.hunks[0].place}: removes {file.path}, but not all of its lines; mend the patch")
        if file.removed:
            del tree[file.path]
        else:
            tree[file.path] = b"".join(out)
    return tree, notes


def find_place(lines: Lines, hunk: Hunk, path: str, first: int, stated: int) -> int:
    size = len(hunk.old)
    if first <= stated <= len(lines) and lines[stated : stated + size] == hunk.old:
        return stated
    places = [at for at in range(first, len(lines) - size + 1) if lines[at : at + size] == hunk.old] if size else []
    if len(places) != 1:
        raise PatchError(
            f"{hunk.place}: does not apply to {path} at line {stated + 1}: its old lines are "
            f"{'at several other places' if places else 'nowhere in the file'}; mend the patch"
        )
    return places[0]


def read_series(folder: Path) -> list[Patch]:
    """The patches of `folder` in the order of its file `series`; each is listed once and none is orphaned."""
    try:
        lines = [line.strip() for line in (folder / "series").read_text(encoding="utf-8").splitlines()]
    except UnicodeDecodeError as error:
        raise PatchError(f"{folder / 'series'}: byte {error.start + 1} is not UTF-8; write it anew in UTF-8") from error
    names = [line for line in lines if line and not line.startswith("#")]
    there = {path.name for path in folder.glob("*.patch")}
    for name in names:
        if names.count(name) > 1:
            raise PatchError(f"{folder / 'series'}: lists {name} {names.count(name)} times; list it once")
        if name not in there:
            raise PatchError(f"{folder / 'series'}: lists {name}, which is not beside it; add it or drop the line")
    if orphans := sorted(there - set(names)):
        raise PatchError(f"{folder / orphans[0]}: not listed in the series; list it or remove the file")
    return [parse_patch(name, (folder / name).read_bytes()) for name in names]


def snapshots(pristine: Tree, series: list[Patch]) -> tuple[list[Tree], list[str]]:
    """The tree before the series and after each of its patches, and the notes of apply_patch."""
    trees, notes = [pristine], []
    for patch in series:
        tree, more = apply_patch(trees[-1], patch)
        trees.append(tree)
        notes += more
    return trees, notes


def verify_series(pristine: Tree, series: list[Patch]) -> None:
    trees, notes = snapshots(pristine, series)
    for patch, old, new in zip(series, trees, trees[1:]):
        for name in (b"Description:", b"Author:", b"Last-Update:"):
            if not re.search(rb"^" + name + rb" *\S", patch.header, re.MULTILINE):
                raise PatchError(
                    f"{patch.name}: its header has no {name.decode()} field; say what the patch does, who "
                    "wrote it and when"
                )
        if not patch.files:
            raise PatchError(f"{patch.name}: changes nothing; drop it from the series")
        if export_patch(patch.header, old, new) != patch.text:
            moved = next((note for note in notes if note.startswith(f"{patch.name}:")), "other context or order")
            raise PatchError(
                f"{patch.name}: is not what its own result exports to ({moved}); write it anew with "
                "build.py patch and build.py refresh"
            )


def rebase_series(trees: list[Tree], edited: Tree, target: int, series: list[Patch]) -> list[Tree]:
    """The snapshots once the edits of the last one belong to patch number `target` (0 is the first).

    The later patches are taken out of the edited tree one by one, by three-way merges, so the result is `edited` to the
    byte whatever the order.
    """
    after = [edited]
    for number in range(len(series) - 1, target, -1):
        base, older, newer, tree = trees[number + 1], trees[number], after[0], {}
        for path in sorted(base.keys() | older.keys() | newer.keys()):
            in_base, in_older, in_newer = base.get(path), older.get(path), newer.get(path)
            if in_newer == in_base or in_older == in_base:
                content = in_older if in_newer == in_base else in_newer
            else:
                merged = None
                if in_base is not None and in_older is not None and in_newer is not None:
                    merged = merge(split_lines(in_base), split_lines(in_older), split_lines(in_newer))
                if merged is None:
                    raise PatchError(
                        f"{path}: the edits meet lines of {series[number].name}, which comes after "
                        f"{series[target].name}; refresh them with --patch {series[number].name}"
                    )
                content = b"".join(merged)
            if content is not None:
                tree[path] = content
        after.insert(0, tree)
    return trees[: target + 1] + after
