"""Regions of interest: factors on the weights from a mask picture, from boxes, and from boxes for each frame.

A sample's factor is that of the mask times that of the boxes which cover it. Where boxes overlap, the largest factor
above 1 counts and the smallest below 1, one times the other, so that their order does not matter.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fprdo_bridge.errors import FprdoError
from fprdo_bridge.files import regular_file
from fprdo_bridge.importance.weight_map import WeightMap
from fprdo_bridge.values import shown
from fprdo_bridge.video.formats import VideoFormat, coded_format
from fprdo_bridge.video.picture_reader import read_picture

if TYPE_CHECKING:
    from numpy.typing import NDArray

LOWEST_FACTOR, LARGEST_FACTOR, DEFAULT_FACTOR = 0.01, 100.0, 4.0

Box = tuple[float, float, float, float, float]  # x, y, width, height in luma samples, and the factor


@dataclass(frozen=True)
class RegionSettings:
    """Regions as a user names them, which are the same for every frame but for those of `boxes_file`.

    Parameters
    ----------
    mask : grey picture of the frames' size; black leaves a weight as it is, white multiplies it by `mask_factor`
    mask_factor : 0.01 to 100; values between black and white go from 1 to it in a straight line
    boxes : (x, y, width, height, factor) in luma samples from the top left
    boxes_file : JSON of detections or annotations in COCO's format, see `Regions`
    boxes_factor : of those that have no "factor" of their own

    Raises
    ------
    FprdoError
        A factor or a box is out of its range.
    """

    mask: str | None = None
    mask_factor: float = DEFAULT_FACTOR
    boxes: tuple[Box, ...] = ()
    boxes_file: str | None = None
    boxes_factor: float = DEFAULT_FACTOR

    def __post_init__(self) -> None:
        object.__setattr__(self, "mask_factor", checked_factor("mask factor", self.mask_factor))
        object.__setattr__(self, "boxes_factor", checked_factor("boxes factor", self.boxes_factor))
        object.__setattr__(self, "boxes", tuple(checked_box(_said(box), box) for box in self.boxes))

    def __bool__(self) -> bool:
        return bool(self.mask or self.boxes or self.boxes_file)

    def load(self, fmt: VideoFormat, frames: int, name: str) -> Regions:
        """The regions of a source, see `Regions`."""
        return Regions(fmt, **asdict(self), frames=frames, name=name)

    def content(self) -> dict[str, object]:
        """All that determines the factors, as JSON: files by their hashes."""
        return {
            **asdict(self),
            "mask": self.mask and _sha256(self.mask, "no such mask"),
            "boxes_file": self.boxes_file and _sha256(self.boxes_file, "no such file of boxes"),
        }


class Regions:
    """Factors on the weights of a sequence.

    Parameters
    ----------
    fmt : of the frames as they are shown
    mask : a picture file or an array (height, width), uint8, uint16, or floating point from 0 to 1; None for none
    mask_factor, boxes, boxes_factor : see `RegionSettings`
    boxes_file : JSON in COCO's format. A list of detections has for each "image_id", which is the frame's number from 0
        on, and "bbox": [x, y, width, height] in luma samples. An object has such entries as "annotations", and
        "images" whose "id" in rising order are the frames; a single picture is that of its file name. A "factor"
        beside a "bbox" is its own. "category_id", "score" and whatever else stands there is not looked at.
    frames : number of frames that are coded
    name : of the source without suffix, by which a picture is found among "images"

    Raises
    ------
    FprdoError
        A file cannot be read or is none of its kind; a size, a box or a factor does not fit; no frame has a box.
    """

    def __init__(
        self,
        fmt: VideoFormat,
        *,
        mask: str | os.PathLike[str] | NDArray[Any] | None = None,
        mask_factor: float = DEFAULT_FACTOR,
        boxes: Iterable[Sequence[float]] = (),
        boxes_file: str | os.PathLike[str] | None = None,
        boxes_factor: float = DEFAULT_FACTOR,
        frames: int = 1,
        name: str = "",
    ):
        self._fmt, self._coded = fmt, coded_format(fmt)
        mask_factor = checked_factor("mask factor", mask_factor)
        boxes_factor = checked_factor("boxes factor", boxes_factor)
        self._boxes = [_inside(checked_box(_said(box), box), _said(box), fmt) for box in _listed("boxes", boxes)]
        self._of_frame: dict[int, list[Box]] = {}
        self._description: dict[str, object] = {}
        self._mask = None
        if mask is not None:
            shares = self._array(mask) if isinstance(mask, np.ndarray) else self._picture(Path(mask))
            self._mask = 1 + (mask_factor - 1) * _grown(shares, self._coded)
            self._description |= {
                "mask_sha256": hashlib.sha256(shares.tobytes()).hexdigest(),
                "mask_factor": mask_factor,
            }
        if self._boxes:
            self._description["boxes"] = [list(box) for box in self._boxes]
        if boxes_file is not None:
            path = Path(boxes_file)
            self._of_frame = _boxes_of(path, boxes_factor, fmt, frames, name)
            self._description |= {
                "boxes_file": path.name,
                "boxes_sha256": _sha256(path, "no such file of boxes"),
                "boxes_factor": boxes_factor,
            }

    @property
    def same_for_all(self) -> bool:
        """Whether all frames have the same factors."""
        return not self._of_frame

    def description(self) -> dict[str, object]:
        """What the metadata of a weight file say: factors, boxes, and files by name and hash; empty for none."""
        return dict(self._description)

    def factors(self, frame: int = 0) -> NDArray[np.float64]:
        """Factors (height, width) of a coded frame's luma samples."""
        above = np.ones(self._fmt.plane_shapes[0])
        below = above.copy()
        for x, y, width, height, factor in (*self._boxes, *self._of_frame.get(frame, ())):
            place = np.s_[math.floor(y) : math.ceil(y + height), math.floor(x) : math.ceil(x + width)]
            above[place] = np.maximum(above[place], factor)
            below[place] = np.minimum(below[place], factor)
        found = _grown(above * below, self._coded)
        return found if self._mask is None else found * self._mask

    def weigh(self, weight_map: WeightMap, frame: int = 0) -> WeightMap:
        """A map times the factors of a frame: each plane again of mean 1, shapes of blocks and plane_gain as they were.

        A chroma sample has the mean factor of the luma samples that it covers.

        Parameters
        ----------
        weight_map : of the coded format (`coded_format`)
        frame : number among those that are coded

        Raises
        ------
        FprdoError
            The map is of another size.
        """
        luma, planes = self.factors(frame), []
        expected = self._coded.plane_shapes
        if tuple(plane.shape for plane in weight_map.planes) != expected:
            raise FprdoError(f"weight map of {[plane.shape for plane in weight_map.planes]}: give one of {expected}")
        for number, plane in enumerate(weight_map.planes):
            factor = luma if number == 0 else _subsampled(luma, self._coded)
            weighed = plane.astype(np.float64) * factor
            mean = weighed.mean()
            planes.append((weighed / mean if mean > 0 else weighed).astype(np.float32))
        return WeightMap(tuple(planes), weight_map.shapes, weight_map.plane_gain)

    def _picture(self, path: Path) -> NDArray[np.float64]:
        """Grey from 0 to 1."""
        loaded = read_picture(path)
        if any("transparent" in note for note in loaded.notes):
            raise FprdoError(f"{path}: is transparent in places; a mask is grey, white where it counts, and opaque")
        rgb = loaded.rgb
        if (rgb != rgb[..., :1]).any():
            raise FprdoError(f"{path}: is a picture in colour; a mask is grey, white where it counts")
        self._description["mask"] = path.name
        self._check_size(rgb.shape, str(path))
        return rgb[..., 0] / float(np.iinfo(rgb.dtype).max)

    def _array(self, mask: NDArray[Any]) -> NDArray[np.float64]:
        if mask.ndim != 2 or mask.dtype not in (np.uint8, np.uint16) and mask.dtype.kind != "f":
            raise FprdoError(
                f"mask of {mask.dtype} {mask.shape}: give an array (height, width), uint8, uint16 or floating point"
            )
        self._check_size(mask.shape, "mask")
        shares = mask / float(np.iinfo(mask.dtype).max) if mask.dtype.kind == "u" else mask.astype(np.float64)
        if not ((shares >= 0) & (shares <= 1)).all():
            raise FprdoError("mask: floating point goes from 0, which leaves a weight as it is, to 1; scale it")
        return shares

    def _check_size(self, shape: tuple[int, ...], what: str) -> None:
        if shape[:2] not in (self._fmt.plane_shapes[0], self._coded.plane_shapes[0]):
            raise FprdoError(
                f"{what}: is {shape[1]}x{shape[0]}, the frames are {self._fmt.width}x{self._fmt.height}; make the mask "
                "of their size"
            )


def checked_factor(what: str, value: Any) -> float:
    """A factor; FprdoError unless it is a number from 0.01 to 100."""
    if not _is_number(value) or not LOWEST_FACTOR <= float(value) <= LARGEST_FACTOR:
        raise FprdoError(f"{what} {shown(value)}: use {LOWEST_FACTOR:g} to {LARGEST_FACTOR:g}; 1 changes nothing")
    return float(value)


def checked_box(what: str, box: object) -> Box:
    """x, y, width, height and factor; FprdoError for anything else."""
    if not isinstance(box, (tuple, list)) or len(box) != 5 or not all(map(_is_number, box)):
        raise FprdoError(f"{what}: give x, y, width, height and factor, five finite numbers")
    x, y, width, height = (float(value) for value in box[:4])
    if x < 0 or y < 0 or width <= 0 or height <= 0:
        raise FprdoError(f"{what}: x and y begin at 0 in the top left, width and height are above 0")
    return x, y, width, height, checked_factor(f"{what}: factor", box[4])


def _said(box: object) -> str:
    plain = isinstance(box, (tuple, list)) and all(map(_is_number, box))
    return f"box {','.join(f'{value:g}' for value in box) if plain else shown(box)}"  # type: ignore[attr-defined]


def _is_number(value: object) -> bool:
    try:
        return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:
        return False


def _listed(what: str, values: object) -> list[Any]:
    if not isinstance(values, Iterable) or isinstance(values, (str, bytes)):
        raise FprdoError(f"{what} {shown(values)}: give a list of (x, y, width, height, factor)")
    return list(values)


def _inside(box: Box, what: str, fmt: VideoFormat) -> Box:
    x, y, width, height, _ = box
    if x + width > fmt.width or y + height > fmt.height:
        raise FprdoError(f"{what}: reaches beyond the frames, which are {fmt.width}x{fmt.height}; cut it to them")
    return box


def _grown(plane: NDArray[np.float64], coded: VideoFormat) -> NDArray[np.float64]:
    """The plane with its last column and row repeated, as a frame of odd size is coded."""
    rows, columns = coded.plane_shapes[0]
    return np.pad(plane, ((0, rows - plane.shape[0]), (0, columns - plane.shape[1])), mode="edge")


def _subsampled(luma: NDArray[np.float64], fmt: VideoFormat) -> NDArray[np.float64]:
    across, down = fmt.subsampling
    rows, columns = luma.shape
    means: NDArray[np.float64] = luma.reshape(rows // down, down, columns // across, across).mean((1, 3))
    return means


def _sha256(path: str | Path, missing: str) -> str:
    return hashlib.sha256(_read(Path(path), missing)).hexdigest()


def _read(path: Path, missing: str) -> bytes:
    try:
        return regular_file(path, missing).read_bytes()
    except OSError as error:
        raise FprdoError(f"{path}: cannot be read ({error.strerror}); check the name") from None


# ---- COCO's format ---------------------------------------------------------------------------------------------------


def _boxes_of(path: Path, factor: float, fmt: VideoFormat, frames: int, name: str) -> dict[int, list[Box]]:
    """The boxes of each frame that has some."""
    found = _json(path)
    entries: object
    if isinstance(found, list):
        entries, frame_of = found, {number: number for number in range(frames)}
    elif isinstance(found, dict):
        entries, frame_of = found.get("annotations"), _images(path, found.get("images"), fmt, frames, name)
    else:
        entries, frame_of = None, {}
    if not isinstance(entries, list):
        raise FprdoError(
            f'{path}: is neither a list of detections nor an object with "images" and "annotations"; write it in '
            "COCO's format"
        )
    boxes: dict[int, list[Box]] = {}
    for number, entry in enumerate(entries):
        where = f"{path}: entry {number}"
        image = entry.get("image_id") if isinstance(entry, dict) else None
        box = entry.get("bbox") if isinstance(entry, dict) else None
        if isinstance(image, bool) or not isinstance(image, Integral) or not isinstance(box, list):
            raise FprdoError(f'{where}: has no "image_id" that is a whole number, or no "bbox": [x, y, width, height]')
        checked = checked_box(f"{where}: bbox {shown(box)}", [*box, entry.get("factor", factor)])
        if int(image) in frame_of:
            boxes.setdefault(frame_of[int(image)], []).append(_inside(checked, f"{where}: bbox {shown(box)}", fmt))
    if not boxes:
        span = "the frame that is coded (0)" if frames == 1 else f"the frames that are coded (0 to {frames - 1})"
        raise FprdoError(f"{path}: has no box for {span}; check image_id")
    return boxes


def _json(path: Path) -> object:
    try:
        return json.loads(_read(path, "no such file of boxes"))
    except (ValueError, RecursionError) as error:
        raise FprdoError(f"{path}: is no JSON ({error}); write detections in COCO's format") from None


def _images(path: Path, images: object, fmt: VideoFormat, frames: int, name: str) -> dict[int, int]:
    """The frame of each image's number."""
    if not isinstance(images, list) or not images or not all(map(_is_image, images)):
        raise FprdoError(f'{path}: its "images" are no list of objects with "id"; write it in COCO\'s format')
    if frames == 1:  # a picture, maybe one of many
        named = [image for image in images if Path(str(image.get("file_name", ""))).stem == name]
        if len(named) != 1 and len(images) != 1:
            raise FprdoError(f'{path}: {len(named)} of its "images" are called {name}; give one the "file_name"')
        images = named if len(named) == 1 else images
    images = sorted(images, key=lambda image: int(image["id"]))[:frames]
    for image in images:
        size = image.get("width", fmt.width), image.get("height", fmt.height)
        if size != (fmt.width, fmt.height):
            raise FprdoError(
                f"{path}: image {image['id']} is {shown(size[0])}x{shown(size[1])}, the frames are "
                f"{fmt.width}x{fmt.height}; give boxes of this size"
            )
    return {int(image["id"]): frame for frame, image in enumerate(images)}


def _is_image(image: object) -> bool:
    return isinstance(image, dict) and isinstance(image.get("id"), Integral) and not isinstance(image["id"], bool)


NO_REGIONS = RegionSettings()
