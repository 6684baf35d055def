"""A picture as the page shows it: the original and every variant at nearly equal bits, with what explains them."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from fprdo_bridge.bitstream.blocks import read_blocks
from fprdo_bridge.ctc import coding
from fprdo_bridge.ctc.material import format_from
from fprdo_bridge.ctc.results import Run
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.files import workspace
from fprdo_bridge.importance.idse_file import IdseFile
from fprdo_bridge.native.picture import ONE
from fprdo_bridge.report.maps import qp_offsets
from fprdo_bridge.report.page.answer import encoder_title, headline_anchor, headline_variant, plain
from fprdo_bridge.report.page.material import Keys, Material, Place, encode_record, finite
from fprdo_bridge.report.page.originals import Originals
from fprdo_bridge.report.page.sample import Choice, Nearest, asked_bits, nearest
from fprdo_bridge.video.blocks import block_means
from fprdo_bridge.video.formats import Frame, VideoFormat
from fprdo_bridge.video.pictures import frame_to_picture

_QUALITY = 88  # of WebP
_LONGEST = 1280  # luma samples of a side; larger pictures are made smaller
_THUMB = 240
_FINEST = 320  # columns of a map of errors
_STEPS = 16  # of a byte of such a map in an octave
_MIDDLE = 128  # byte of weight 1
_GROUP = {"hm": 32, "jm": 16, "x264": 16, "x265": 32}  # luma size of the blocks that get QP offsets
_BOXES = 60  # of a network's answer


@dataclass(frozen=True)
class Frames:
    """A frame as it is and as it is seen."""

    frame: Frame
    fmt: VideoFormat

    @property
    def rgb(self) -> np.ndarray:
        """uint8 (height, width, 3)."""
        return frame_to_picture(self.frame, self.fmt)

    @property
    def luma(self) -> np.ndarray:
        """float64 in units of 8 bits."""
        return self.frame[0] / 2.0 ** (self.fmt.bit_depth - 8)


class Viewer:
    """Makes pictures for the page.

    Parameters
    ----------
    left : bytes that pictures may take; what does not fit is left out with a line
    say : called with a line for each picture
    """

    def __init__(self, material: Material, originals: Originals, left: int, say: Callable[[str], None]):
        self._material, self._originals, self._left, self._say = material, originals, left, say

    def show(self, choice: Choice) -> dict[str, Any]:
        """A picture with all its variants, as JSON holds it. What is missing is said in "notes"."""
        group, item = choice.place
        width, height, frames, _ = self._material.sizes[choice.place]
        number = frames // 2
        block = max(4, -(-width // _FINEST) // 4 * 4)
        notes: list[str] = []
        shown: dict[str, Any] = {
            "item": item,
            "set": group,
            "reason": choice.reason,
            "width": width,
            "height": height,
            "frame": number if frames > 1 else None,
            "block": block,
            "thumb": None,
            "notes": notes,
            "versions": [],
        }
        bits = self._bits(choice.place)
        encoder = next(iter(bits))[0] if bits else ""
        variant, anchor = headline_variant(self._material, encoder), headline_anchor(self._material, encoder)
        asked = asked_bits(bits, anchor, variant)
        if asked is None:
            notes.append("Nothing of it is coded yet.")
            return shown
        self._say(f"picture {item}")
        original = self._original(choice.place, number, notes)
        if original is not None:
            shown["original"] = self._webp(original.rgb)
            shown["thumb"] = self._webp(original.rgb, _THUMB)
        weights = self._weights(choice.place, number, notes)
        means = None
        if weights is not None:
            means = block_means(weights[0][0], block) / ONE
            shown["weights"] = _png(_MIDDLE + _STEPS * np.log2(np.maximum(means, 1 / ONE)))
        shown["asked"] = int(asked)
        for run, points in self._material.keys[choice.place].items():
            point = nearest(bits[run], asked)
            if point is None:
                notes.append(f"{run[0]}, {run[1]}: not coded yet.")
            elif self._left <= 0:
                notes.append(f"{run[0]}, {run[1]}: left out, as the page would become too large; choose less pictures.")
            else:
                try:
                    one = self._version(choice.place, run, points[point.index], point, original, weights, number, block)
                    shown["versions"].append(one)
                    shown["thumb"] = shown["thumb"] or one["picture"]
                except FprdoError as error:
                    notes.append(f"{run[0]}, {run[1]}: {error}")
        return shown

    # ---- parts -------------------------------------------------------------------------------------------------------

    def _bits(self, place: Place) -> dict[Run, list[float]]:
        """Of each run the bits of a frame's share, NaN where a point is not done."""
        one = self._material.results.sets[place[0]]
        index = one.items.index(place[1])
        return {run: list(one.bits[run][index]) for run in self._material.keys[place]}

    def _records(self, place: Place) -> Iterator[Mapping[str, Any]]:
        for points in self._material.keys[place].values():
            for keys in points:
                record = encode_record(self._material, keys)
                if record is not None:
                    yield record

    def _original(self, place: Place, number: int, notes: list[str]) -> Frames | None:
        record = next(self._records(place), None)
        if record is None:
            return None
        try:
            spec = record["spec"]["source"]
            frames = self._originals.frames(place, spec)
            return Frames(_nth(frames, number), format_from(spec["format"]))
        except FprdoError as error:
            notes.append(f"No original, no map of errors: {error}")
            return None

    def _weights(
        self, place: Place, number: int, notes: list[str]
    ) -> tuple[tuple[np.ndarray, ...], VideoFormat] | None:
        keys = [one.map for points in self._material.keys[place].values() for one in points if one.map]
        path = next((self._material.store.place(key) / "weights.idse" for key in keys
                     if self._material.store.has(key)), None)  # fmt: skip
        if path is None:
            return None
        try:
            with IdseFile(path) as file:
                fmt = VideoFormat(file.layout.width, file.layout.height, file.layout.chroma)
                planes, _ = file.raw_map(min(number, file.frame_count - 1) // file.frames_per_map)
                return planes, fmt
        except FprdoError as error:
            notes.append(f"No weights: {error}")
            return None

    def _version(
        self,
        place: Place,
        run: Run,
        keys: Keys,
        point: Nearest,
        original: Frames | None,
        weights: tuple[tuple[np.ndarray, ...], VideoFormat] | None,
        number: int,
        block: int,
    ) -> dict[str, Any]:
        material, conditions = self._material, self._material.results.conditions
        record = material.store.record(keys.encode)
        encoder, fmt = record["spec"]["encoder"], format_from(record["result"]["format"])
        bitstream = material.store.place(keys.encode) / "bitstream.bin"
        variant = next(one for one in conditions.variants if one.name == run[1])
        with workspace() as work:
            decoded = Frames(_nth(coding.decode(encoder, bitstream, fmt, work), number), fmt)
        version: dict[str, Any] = {
            "encoder": encoder_title(material, run[0]),
            "variant": run[1],
            "value": keys.value,
            "bits": int(point.bits),
            "percent": round(point.percent, 1),
            "picture": self._webp(decoded.rgb),
            "scores": self._scores(keys),
            "boxes": self._boxes(keys, number),
        }
        if original is not None:
            version["errors"] = error_map(original.luma, decoded.luma, block)
            self._left -= len(version["errors"])
        idse = variant.idse_of(next(one for one in conditions.encoders if one.name == run[0]))
        if weights is not None and idse is not None and idse.qp_map:
            size = _GROUP.get(encoder, 32)
            version["offsets"] = {"size": size, "rows": qp_offsets(*weights, idse, size)}
        version["blocks"] = blocks_json(bitstream, number)
        return version

    def _scores(self, keys: Keys) -> list[list[Any]]:
        """Title and value of every measure."""
        found = []
        for title, _, measure in self._material.results.measures():
            key = keys.scores.get(title)
            if key and self._material.store.has(key):
                value = self._material.store.record(key)["result"].get(measure.key)
                if isinstance(value, (int, float)):
                    name = f"{title} {measure.title}".strip() if measure.judge else measure.title
                    better = "lower is better" if measure.distance else "higher is better"
                    found.append([plain(name), finite(value, 5), better])
        return found

    def _boxes(self, keys: Keys, number: int) -> list[dict[str, Any]]:
        """What detectors found in the frame: boxes [x, y, width, height], label and score, the surest first."""
        found = []
        for title, key in keys.scores.items():
            if not self._material.store.has(key):
                continue
            frames = self._material.store.record(key)["result"].get("frames")
            if isinstance(frames, list) and frames and isinstance(frames[0], dict) and "boxes" in frames[0]:
                own = frames[min(number, len(frames) - 1)]
                for box, label, score in islice(zip(own["boxes"], own["labels"], own["scores"]), _BOXES):
                    if score >= 0.3:
                        found.append({"task": title, "box": box, "label": str(label), "score": round(score, 2)})
        return found

    def _webp(self, rgb: np.ndarray, longest: int = _LONGEST) -> str:
        from PIL import Image

        picture, file = Image.fromarray(rgb), io.BytesIO()
        picture.thumbnail((longest, longest))
        picture.save(file, "WEBP", quality=_QUALITY, method=4)
        text = _uri("image/webp", file.getvalue())
        self._left -= len(text)
        return text


def error_map(original: np.ndarray, decoded: np.ndarray, block: int) -> str:
    """Mean squared errors of blocks as a PNG: 16 steps an octave, 1/16 and less is 0."""
    errors = block_means((original - decoded) ** 2, block)
    return _png(_STEPS * (np.log2(np.maximum(errors, 1 / 16)) + 4))


def blocks_json(bitstream: Path, number: int) -> list[int] | None:
    """x, y, width, height, QP, intra mode or -1, x, y, ... of the blocks of a frame; None where they are not known."""
    found = read_blocks(bitstream, number)
    if found is None:
        return None
    return [
        value
        for one in found
        for value in (one.x, one.y, one.width, one.height, one.qp, -1 if one.mode is None else one.mode)
    ]


def _nth(frames: Iterable[Frame], number: int) -> Frame:
    found = next(islice(frames, number, None), None)
    if found is None:
        raise FprdoError(f"there is no frame {number}")
    return found


def _png(values: np.ndarray) -> str:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(np.clip(np.round(values), 0, 255).astype(np.uint8)).save(file, "PNG", optimize=True)
    return _uri("image/png", file.getvalue())


def _uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
