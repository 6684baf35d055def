"""Differences of texts, as lines of bytes: the shortest edit script, three-way merges, unified diffs.

Python's standard library only. What comes out depends on the two texts alone: not on dates or the version of Python.
"""

from __future__ import annotations

import re
from itertools import pairwise

Lines = list[bytes]
Change = tuple[int, int, int, int]  # old[a:b] became new[c:d]

MOST_EDITS = 2000  # beyond it, the shortest edit script is not looked for: it takes memory as the square of its length
CONTEXT = 1  # unchanged lines around a change; it has to fit exactly, so one is enough
NO_NEWLINE = b"\\ No newline at end of file\n"


def split_lines(data: bytes) -> Lines:
    parts = data.split(b"\n")
    return [part + b"\n" for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])


def changes(old: Lines, new: Lines) -> list[Change]:
    """The shortest edit script from old to new, in order (E. Myers, An O(ND) difference algorithm, 1986).

    Not difflib's, because the same patches must come out of every version of Python. Of more than MOST_EDITS lines, all
    that lies between what both begin and end with is one change.
    """
    head = 0
    while head < min(len(old), len(new)) and old[head] == new[head]:
        head += 1
    a, b = old[head:], new[head:]
    if not a or not b:
        return [(head, len(old), head, len(new))] if a or b else []

    # Diagonal k holds the points (x, y) of the edit graph with x - y == k. reach[k] is the furthest x that d edits lead
    # to on it; negative k index the list from its end. reached[d] keeps what step d started from, for the way back.
    reach, x, y = [0] * (2 * (len(a) + len(b)) + 3), 0, 0
    reached: list[dict[int, int]] = []
    while x < len(a) or y < len(b):
        d = len(reached)
        if d > MOST_EDITS:
            tail = common_end(a, b)
            return [(head, len(old) - tail, head, len(new) - tail)]
        reached.append({k: reach[k] for k in range(-d - 1, d + 2, 2)})
        for k in range(-d, d + 1, 2):
            x = reached[d][k + 1] if comes_by_insertion(reached[d], d, k) else reached[d][k - 1] + 1
            y = x - k
            while x < len(a) and y < len(b) and a[x] == b[y]:
                x, y = x + 1, y + 1
            reach[k] = x
            if x >= len(a) and y >= len(b):
                break
    script: list[Change] = []
    for d in range(len(reached) - 1, 0, -1):
        k = x - y
        inserted = comes_by_insertion(reached[d], d, k)
        x = reached[d][k + 1 if inserted else k - 1]
        y = x - (k + 1 if inserted else k - 1)
        end = (head + x + (not inserted), head + y + inserted)
        if script and end == (script[-1][0], script[-1][2]):  # joins the change that follows it
            later = script.pop()
            end = (later[1], later[3])
        script.append((head + x, end[0], head + y, end[1]))
    return script[::-1]


def common_end(a: Lines, b: Lines) -> int:
    """How many lines at their ends are the same."""
    size = 0
    while size < min(len(a), len(b)) and a[-1 - size] == b[-1 - size]:
        size += 1
    return size


def comes_by_insertion(reach: dict[int, int], d: int, k: int) -> bool:
    """Whether the d-th edit of the path that gets furthest on diagonal k inserts a line (or else deletes one)."""
    return k == -d or (k != d and reach[k - 1] < reach[k + 1])


def merge(base: Lines, ours: Lines, theirs: Lines) -> Lines | None:
    """Both sides' changes of base; None where they overlap, or touch so that their order would be a guess."""
    edits = sorted(
        [(a, b, ours[c:d]) for a, b, c, d in changes(base, ours)]
        + [(a, b, theirs[c:d]) for a, b, c, d in changes(base, theirs)]
    )
    for (a, b, _), (c, d, _) in pairwise(edits):
        if c < b or (c == b and (a == b or c == d)):
            return None
    merged, at = [], 0
    for a, b, text in edits:
        merged += base[at:a] + text
        at = b
    return merged + base[at:]


def export_file(name: str, old: bytes | None, new: bytes | None) -> bytes:
    """The unified diff of one file (None: does not exist); empty when nothing changed."""
    a, b = split_lines(old or b""), split_lines(new or b"")
    groups: list[list[Change]] = []
    for change in changes(a, b):
        if groups and change[0] - groups[-1][-1][1] <= 2 * CONTEXT:
            groups[-1].append(change)
        else:
            groups.append([change])
    if not groups:
        return b""
    out = [
        b"--- " + (b"/dev/null" if old is None else b"a/" + name.encode()) + b"\n",
        b"+++ " + (b"/dev/null" if new is None else b"b/" + name.encode()) + b"\n",
    ]
    for group in groups:
        first, last = group[0], group[-1]
        start, end = max(first[0] - CONTEXT, 0), min(last[1] + CONTEXT, len(a))
        out.append(
            b"@@ -%s +%s @@%s\n"
            % (
                span(start, end),
                span(start + first[2] - first[0], end + last[3] - last[1]),
                enclosing_function(a, start),
            )
        )
        body, at = [], start
        for p, q, r, s in group:
            body += [b" " + line for line in a[at:p]] + [b"-" + line for line in a[p:q]]
            body += [b"+" + line for line in b[r:s]]
            at = q
        body += [b" " + line for line in a[at:end]]
        out += [line if line.endswith(b"\n") else line + b"\n" + NO_NEWLINE for line in body]
    return b"".join(out)


def span(start: int, end: int) -> bytes:
    return b"%d" % (start + 1) if end - start == 1 else b"%d,%d" % (start + (end > start), end - start)


def enclosing_function(lines: Lines, start: int) -> bytes:
    """What diff -p shows: the last line before the hunk that begins with a name."""
    for line in reversed(lines[:start]):
        if re.match(rb"[A-Za-z_$]", line):
            return b" " + line[:40].rstrip()
    return b""
