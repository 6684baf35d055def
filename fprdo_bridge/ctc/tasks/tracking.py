"""Tracking: MOTA of the tracks on a decoded clip, against those on the original."""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import numpy as np

from fprdo_bridge.ctc import schema
from fprdo_bridge.ctc.schema import Table
from fprdo_bridge.ctc.tasks.base import Frames, Measure, Record, Reducer, Task, call, package
from fprdo_bridge.errors import FprdoError

_FAR = 0.5  # 1 - IoU of two boxes that are not the same object

Boxes = list[tuple[int, list[float]]]


class Tracking(Task):
    """MOTA by py-motmetrics, in per cent, pooled over a set: 100 (1 - (misses + false positives + switches) / objects).

    Arguments: `tracker`, `module:callable` that returns a new tracker at each call: a callable that gets the frames of
    a clip one by one, RGB (height, width, 3) uint8, and returns its tracks there as (number, x, y, width, height).
    """

    name = "tracking"
    measures = (Measure("mota", "MOTA, %", pool="set", digits=2),)
    memory = 3 << 30
    seconds = 8.0

    def __init__(self, arguments: Table):
        self.tracker = arguments.take("tracker", schema.text)
        super().__init__(arguments)

    @property
    def title(self) -> str:
        return f"tracking {self.tracker.partition(':')[2]}"

    def identity(self) -> dict[str, object]:
        package("motmetrics", "task tracking")
        made = call(self.tracker, "tracker")
        if not callable(made):
            raise FprdoError(f"tracker {self.tracker} returned {type(made).__name__}: return a callable")
        return {
            "tracker": self.tracker,
            "fingerprint": getattr(made, "fingerprint", None),
            "motmetrics": version("motmetrics"),
        }

    def _tracks(self, frames: Frames) -> list[Boxes]:
        tracker = call(self.tracker, "tracker")
        found = []
        for picture in frames.rgb8():
            try:
                found.append(
                    [
                        (int(number), [float(x), float(y), float(width), float(height)])
                        for number, x, y, width, height in tracker(picture)
                    ]
                )
            except (TypeError, ValueError) as error:
                raise FprdoError(
                    f"tracker {self.tracker}: return (number, x, y, width, height) for each track ({error})"
                ) from None
        return found

    def prepare(self, original: Frames) -> Any:
        return self._tracks(original)

    def score(self, prepared: Any, decoded: Frames) -> Record:
        library = package("motmetrics", "task tracking")
        accumulator = library.MOTAccumulator(auto_id=True)
        for truth, found in zip(prepared, self._tracks(decoded), strict=True):
            distances = _distances(
                *(np.array([box for _, box in side], float).reshape(-1, 4) for side in (truth, found))
            )
            accumulator.update([number for number, _ in truth], [number for number, _ in found], distances)
        kinds = accumulator.mot_events["Type"].value_counts()
        counts = {
            name: int(kinds.get(kind, 0))
            for name, kind in (("misses", "MISS"), ("false", "FP"), ("switches", "SWITCH"))
        }
        counts["objects"] = sum(map(len, prepared))
        return counts | {"mota": _mota(counts["misses"] + counts["false"] + counts["switches"], counts["objects"])}

    def reducer(self, records: Sequence[Record], originals: Sequence[Record]) -> Reducer:
        errors = np.array([record["misses"] + record["false"] + record["switches"] for record in records], float)
        objects = np.array([record["objects"] for record in records], float)

        def reduce(indices: np.ndarray) -> dict[str, float]:
            value = _mota(errors[indices].sum(), objects[indices].sum())
            return {"mota": math.nan if value is None else value}

        return reduce


def _distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """1 - IoU of boxes (n, 4) and (m, 4) as x, y, width, height; NaN where it is above _FAR."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, :2] + a[:, None, 2:], b[None, :, :2] + b[None, :, 2:])
    common = np.clip(high - low, 0, None).prod(2)
    union = a[:, 2:].prod(1)[:, None] + b[:, 2:].prod(1)[None, :] - common
    with np.errstate(invalid="ignore", divide="ignore"):
        distance = 1 - common / union
    return np.where(distance <= _FAR, distance, math.nan)


def _mota(errors: float, objects: float) -> float | None:
    return float(100 * (1 - errors / objects)) if objects else None
