"""Weights of a picture in memory that an encoder in another process reads where they lie."""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from fprdo_bridge.errors import FprdoError
from fprdo_bridge.importance.weight_map import ONE, TRANSFORM_SIZES, Layout, WeightMap, fill_record
from fprdo_bridge.session.arguments import check_kind, plain_weights
from fprdo_bridge.values import shown, whole_number
from fprdo_bridge.video.formats import VideoFormat, coded_format


class WeightBuffer:
    """A map record (docs/idse-format.md) in shared memory, 1.0 everywhere at first.

    Parameters
    ----------
    fmt : of the pictures to code
    transform_sizes : of the shapes; () for pixel weights alone

    Attributes
    ----------
    planes : uint16 (h, w) per component, writable: pixel weights from 1 on, 256 is 1.0, of mean 256
    shapes : block size N -> uint16 per component, writable, each block of mean 256; laid out as in `WeightMap`

    Raises
    ------
    FprdoError
        No VideoFormat, another transform size, or there is no memory for it.
    """

    def __init__(self, fmt: VideoFormat, transform_sizes: Iterable[int] = TRANSFORM_SIZES):
        check_kind("fmt", fmt, VideoFormat, "a VideoFormat")
        self.layout = Layout.of(coded_format(fmt), known_sizes(transform_sizes))
        try:
            # A file without a name: nothing is left behind, however this process ends.
            if hasattr(os, "memfd_create"):
                self.file = open(os.memfd_create("fprdo-weights"), "r+b")
            else:
                self.file = tempfile.TemporaryFile(prefix="fprdo-")
            self.file.truncate(self.layout.map_bytes)
            self._record = np.frombuffer(mmap.mmap(self.file.fileno(), self.layout.map_bytes), "<u2")
        except OSError as error:
            raise FprdoError(f"weights of {fmt.width}x{fmt.height}: no memory for them ({error.strerror})") from error
        self._record[:] = ONE
        self.planes, self.shapes = self.layout.views(self._record)

    def fill(self, weights: WeightMap | Sequence[np.ndarray] | np.ndarray, where: str = "weights") -> None:
        """Take over weights in floating point, mean 1, in the fixed point of the buffer.

        Parameters
        ----------
        weights : a map, or one array (h, w) per component where the buffer has no shapes
        where : what a message begins with

        Raises
        ------
        FprdoError
            Another type, shape or plane count; a NaN, infinite or negative weight. The buffer is undefined then.
        """
        given = _as_map(weights, where)
        for what, group in (
            ("planes", given.planes),
            *((f"{n}x{n} shapes", group) for n, group in given.shapes.items()),
        ):
            if len(group) != len(self.planes):
                raise FprdoError(
                    f"{where}: {len(group)} {what} given; {self.layout.chroma} has {len(self.planes)} components, "
                    "give one for each"
                )
        missing = [n for n in self.layout.transform_sizes if n not in given.shapes]
        if missing:
            there = tuple(n for n in TRANSFORM_SIZES if n in given.shapes)
            raise FprdoError(
                f"{where}: without shapes for transforms of {', '.join(map(str, missing))}; say "
                f"transform_sizes={there}, or give a WeightMap that has them"
            )
        fill_record(self._record, given, self.layout, where)

    def is_flat(self) -> bool:
        """Whether every pixel weight is 1.0, so that no QP changes."""
        return all((plane == ONE).all() for plane in self.planes)


def known_sizes(sizes: Iterable[int]) -> tuple[int, ...]:
    """Transform sizes in order; FprdoError if they are anything but sizes that shapes can have."""
    try:
        known = {whole_number("transform size", size) for size in sizes}
    except Exception:
        known = {0}
    if not known <= set(TRANSFORM_SIZES):
        raise FprdoError(f"transform_sizes {shown(sizes)}: give some of {TRANSFORM_SIZES}, or () for none")
    return tuple(sorted(known))


def _as_map(given: object, where: str) -> WeightMap:
    if not isinstance(given, WeightMap):
        planes = plain_weights(given, where)
        return WeightMap(planes, {}, (1.0,) * len(planes))
    if not isinstance(given.shapes, Mapping):
        raise FprdoError(
            f"{where}: a WeightMap whose shapes are {type(given.shapes).__name__}; give a mapping from block "
            "size to arrays"
        )
    planes = plain_weights(given.planes, where)
    return WeightMap(
        planes, {n: plain_weights(group, where) for n, group in given.shapes.items()}, (1.0,) * len(planes)
    )
