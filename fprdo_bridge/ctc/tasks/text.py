"""Reading: what rapidocr finds on a decoded page, against what it finds on the original."""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from fprdo_bridge.ctc.schema import Table
from fprdo_bridge.ctc.tasks.base import Frames, Measure, Record, Reducer, Task, package
from fprdo_bridge.errors import FprdoError

_NEAR = 0.5  # IoU of two quadrilaterals that are one line
_SURE = 0.5  # score of a line of the original that counts as truth

Line = tuple[list[list[float]], str]


class Text(Task):
    """Detection F-score and character accuracy over lines of text, pooled over a set.

    A line of the decoded page belongs to the line of the original with which it shares at least half of their union,
    best pairs first. fscore: harmonic mean of precision and recall. characters: 1 minus the edit distance of all lines
    of the original to what was read there, by their length; a line that was not found counts whole.
    """

    name = "text"
    measures = (Measure("fscore", "F-score", pool="set"), Measure("characters", "characters", pool="set"))
    revision = 2  # records keep the lines, for the page
    memory = 900 << 20
    seconds = 4.0

    def __init__(self, arguments: Table):
        self._reader: Any = None
        super().__init__(arguments)

    def _load(self) -> Any:
        if self._reader is None:
            library = package("rapidocr_onnxruntime", "task text", "rapidocr-onnxruntime")
            package("shapely", "task text")
            self._reader = library.RapidOCR(intra_op_num_threads=1, inter_op_num_threads=1)
        return self._reader

    def identity(self) -> dict[str, object]:
        self._load()
        try:
            return {"rapidocr-onnxruntime": version("rapidocr-onnxruntime"), "onnxruntime": version("onnxruntime")}
        except PackageNotFoundError as error:
            raise FprdoError(f"task text needs the package {error.name}: pip install {error.name}") from None

    def _lines(self, frames: Frames) -> list[list[tuple[list[list[float]], str, float]]]:
        """Of each frame the lines: corners, text, score."""
        found = []
        for picture in frames.rgb8():
            lines, _ = self._load()(np.ascontiguousarray(picture[:, :, ::-1]))  # it takes B'G'R'
            found.append(
                [
                    ([[float(x), float(y)] for x, y in corners], str(text), float(score))
                    for corners, text, score in lines or []
                ]
            )
        return found

    def prepare(self, original: Frames) -> Any:
        return [
            [(corners, text) for corners, text, score in frame if score >= _SURE] for frame in self._lines(original)
        ]

    def score(self, prepared: Any, decoded: Frames) -> Record:
        true = found = matched = characters = errors = 0
        kept = []
        for truth, frame in zip(prepared, self._lines(decoded), strict=True):
            kept.append(_drawn(frame))
            lines = [(corners, text) for corners, text, _ in frame]
            pairs = match(truth, lines)
            true, found, matched = true + len(truth), found + len(lines), matched + len(pairs)
            characters += sum(len(text) for _, text in truth)
            errors += sum(
                min(len(text), edit_distance(text, lines[pairs[index]][1])) if index in pairs else len(text)
                for index, (_, text) in enumerate(truth)
            )
        counts = {"true": true, "found": found, "matched": matched, "errors": errors, "of": characters}
        return {**counts, **_values(true, found, matched, errors, characters), "frames": kept}

    def reducer(self, records: Sequence[Record], originals: Sequence[Record]) -> Reducer:
        table = np.array(
            [[record[name] for name in ("true", "found", "matched", "errors", "of")] for record in records], float
        )
        return lambda indices: {
            key: math.nan if value is None else value for key, value in _values(*table[indices].sum(axis=0)).items()
        }


def _drawn(lines: Sequence[tuple[list[list[float]], str, float]]) -> dict[str, list[Any]]:
    """What a frame's page shows, in the form of a detector's record: boxes [x, y, width, height], labels, scores."""
    boxes = []
    for corners, _, _ in lines:
        low, high = np.min(corners, axis=0), np.max(corners, axis=0)
        boxes.append([round(float(value), 1) for value in (*low, *(high - low))])
    return {
        "boxes": boxes,
        "labels": [text for _, text, _ in lines],
        "scores": [round(score, 4) for _, _, score in lines],
    }


def _values(true: float, found: float, matched: float, errors: float, of: float) -> dict[str, float | None]:
    return {
        "fscore": 2 * matched / (true + found) if true + found else None,
        "characters": 1 - errors / of if of else None,
    }


def match(truth: Sequence[Line], found: Sequence[Line]) -> dict[int, int]:
    """Index of a true line -> index of the line that was found there."""
    from shapely.geometry import Polygon

    shapes = [[Polygon(corners).buffer(0) for corners, _ in lines] for lines in (truth, found)]
    pairs = []
    for i, a in enumerate(shapes[0]):
        for j, b in enumerate(shapes[1]):
            union = a.union(b).area
            share = a.intersection(b).area / union if union else 0.0
            if share >= _NEAR:
                pairs.append((-share, i, j))
    taken: dict[int, int] = {}
    for _, i, j in sorted(pairs):
        if i not in taken and j not in taken.values():
            taken[i] = j
    return taken


def edit_distance(a: str, b: str) -> int:
    """Levenshtein distance: insertions, deletions and substitutions from one text to the other."""
    row = list(range(len(b) + 1))
    for i, left in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, right in enumerate(b, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (left != right))
    return row[-1]
