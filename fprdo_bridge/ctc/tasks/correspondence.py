"""Matching under known warps: a task without a network.

The decoded picture is matched against warped copies of the original, as a map or a database keeps them. SIFT of
scikit-image without its doubling of the picture; matches are mutual nearest neighbours within the ratio test.
"""

from __future__ import annotations

import math
from importlib.metadata import version
from typing import Any

import numpy as np

from fprdo_bridge.ctc.schema import Table
from fprdo_bridge.ctc.tasks.base import Frames, Measure, Record, Task, package
from fprdo_bridge.errors import FprdoError

_RATIO = 0.8  # of the nearest and the second nearest descriptor
_NEAR = 3.0  # samples within which a match is right
_SMALLEST = 32  # samples a side


def _homographies(height: int, width: int) -> list[np.ndarray]:
    """Rotation by 20 degrees, scaling by 0.7, and a perspective tilt, each about the picture's middle."""
    middle = np.array([[1, 0, width / 2], [0, 1, height / 2], [0, 0, 1]])
    cosine, sine = math.cos(math.radians(20)), math.sin(math.radians(20))
    warps = (
        [[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]],
        [[0.7, 0, 0], [0, 0.7, 0], [0, 0, 1]],
        [[1, 0.1, 0], [0.05, 0.95, 0], [0.3 / width, 0.2 / height, 1]],
    )
    return [middle @ np.array(warp) @ np.linalg.inv(middle) for warp in warps]


class Correspondence(Task):
    """Three measures over three warps of the first frame's luma.

    inliers: right matches (within 3 samples) as a share of all matches. found: right matches as a share of those that
    the original itself gives. pose: error of the homography that the matches give (RANSAC, fixed seed), as the mean
    distance of the picture's corners in percent of its diagonal, at most 100; BD-rates take -10 log10 of it.
    """

    name = "correspondence"
    measures = (
        Measure("inliers", "inliers", pool="set"),
        Measure("found", "found", pool="set"),
        Measure("pose", "pose error, %", distance=True, pool="set"),
    )
    seconds = 3.5
    memory = 400 << 20

    def __init__(self, arguments: Table):
        super().__init__(arguments)

    def identity(self) -> dict[str, object]:
        return {"scikit-image": version("scikit-image")}

    def check(self, original: Frames) -> None:
        if min(original.fmt.width, original.fmt.height) < _SMALLEST:
            raise FprdoError(f"correspondence needs pictures of {_SMALLEST} samples a side")

    def prepare(self, original: Frames) -> Any:
        transform = package("skimage.transform", "task correspondence", "scikit-image")

        luma = _luma(original)
        warps = [transform.ProjectiveTransform(matrix) for matrix in _homographies(*luma.shape)]
        views = [_sift(transform.warp(luma, one.inverse, mode="edge", order=1)) for one in warps]
        own = _sift(luma)
        right = [int(_right(_matches(own, view), one).sum()) for view, one in zip(views, warps)]
        return {"shape": luma.shape, "warps": warps, "views": views, "right": right}

    def score(self, prepared: Any, decoded: Frames) -> Record:
        decoded_points = _sift(_luma(decoded))
        inliers, found, pose = [], [], []
        for view, one, own in zip(prepared["views"], prepared["warps"], prepared["right"]):
            pairs = _matches(decoded_points, view)
            right = _right(pairs, one)
            inliers.append(right.mean() if len(right) else 0.0)
            found.append(right.sum() / own if own else math.nan)
            pose.append(_pose_error(pairs, one, prepared["shape"]))
        share = float(np.nanmean(found)) if not all(map(math.isnan, found)) else None
        return {"inliers": float(np.mean(inliers)), "found": share, "pose": float(np.mean(pose))}


def _luma(frames: Frames) -> np.ndarray:
    plane = next(iter(frames))[0]
    return plane.astype(np.float64) / frames.fmt.max_value


def _sift(luma: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions (n, 2) as x, y, and descriptors; none where the picture has no keypoint."""
    detector = package("skimage.feature", "task correspondence", "scikit-image").SIFT(upsampling=1)
    try:
        with np.errstate(all="ignore"):  # flat areas
            detector.detect_and_extract(luma)
    except RuntimeError:  # "SIFT found no features"
        return np.zeros((0, 2)), np.zeros((0, 128), np.uint8)
    return detector.positions[:, ::-1], detector.descriptors


def _matches(a: tuple[np.ndarray, np.ndarray], b: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Positions in both pictures of the mutual matches."""
    if min(len(a[0]), len(b[0])) < 2:
        return np.zeros((0, 2)), np.zeros((0, 2))
    match = package("skimage.feature", "task correspondence", "scikit-image").match_descriptors
    pairs = match(a[1], b[1], max_ratio=_RATIO, cross_check=True)
    return a[0][pairs[:, 0]], b[0][pairs[:, 1]]


def _right(pairs: tuple[np.ndarray, np.ndarray], warp: Any) -> np.ndarray:
    if not len(pairs[0]):
        return np.zeros(0, bool)
    near: np.ndarray = np.linalg.norm(warp(pairs[0]) - pairs[1], axis=1) < _NEAR
    return near


def _pose_error(pairs: tuple[np.ndarray, np.ndarray], warp: Any, shape: tuple[int, int]) -> float:
    ransac = package("skimage.measure", "task correspondence", "scikit-image").ransac
    kind = package("skimage.transform", "task correspondence", "scikit-image").ProjectiveTransform
    height, width = shape
    corners = np.array([[0, 0], [width, 0], [0, height], [width, height]], float)
    if len(pairs[0]) < 8:
        return 100.0
    found, _ = ransac(pairs, kind, min_samples=4, residual_threshold=_NEAR, max_trials=300, rng=0)
    if found is None:
        return 100.0
    with np.errstate(all="ignore"):
        error = np.linalg.norm(found(corners) - warp(corners), axis=1).mean() / math.hypot(height, width) * 100
    return float(min(error, 100.0)) if math.isfinite(error) else 100.0
