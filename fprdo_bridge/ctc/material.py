"""What conditions name, found on the disk: pictures and clips with their hashes, and what is missing or differs."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

from fprdo_bridge import __version__
from fprdo_bridge.ctc.conditions import Clip, Conditions, Set
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.files import replacing
from fprdo_bridge.video import container
from fprdo_bridge.video.formats import Frame, VideoFormat
from fprdo_bridge.video.picture_reader import SUFFIXES, read_picture
from fprdo_bridge.video.raw import read_yuv
from fprdo_bridge.video.raw_layout import PLANAR
from fprdo_bridge.video.source import FormatRequest, Source, open_source

_BLOCK = 1 << 20


@dataclass(frozen=True)
class Item:
    """One picture or clip of a set.

    Attributes
    ----------
    name : unique in its set
    group : name of the set
    origin : file, or `skimage:NAME`
    kind : "picture", "raw" (planar), "layout" (raw samples that lie otherwise), "y4m" or "container"
    fmt : of the frames that are coded
    frames : that are coded, before subsampling
    fps : pictures per second
    content : SHA-256 of the file, of a raw one only of the frames that are coded
    image_id : of a picture with truth in COCO's format
    """

    name: str
    group: str
    origin: str
    kind: str
    fmt: VideoFormat
    frames: int
    fps: Fraction
    skip: int
    content: str
    clip: Clip
    image_id: int | None = None
    annotations: str | None = None

    def spec(self, subsample: int = 1) -> dict[str, object]:
        """All that determines the frames, for the key of a job."""
        return {
            "content": self.content,
            "kind": self.kind,
            "format": format_json(self.fmt),
            "frames": self.frames,
            "skip": 0 if self.kind == "raw" else self.skip,
            "every": subsample,
            "fps": str(self.fps / subsample),
        }

    def how(self) -> dict[str, object]:
        """Where the frames are."""
        return {"origin": self.origin, "skip": self.skip, "name": self.name}

    def coded(self, subsample: int = 1) -> int:
        """Number of frames that an encoder gets."""
        return -(-self.frames // subsample)


def format_json(fmt: VideoFormat) -> dict[str, Any]:
    """A format as JSON."""
    found = asdict(fmt)
    return {**found, "aspect": list(fmt.aspect) if fmt.aspect else None}


def format_from(found: Mapping[str, Any]) -> VideoFormat:
    """The format of `format_json`."""
    return VideoFormat(**{**found, "aspect": tuple(found["aspect"]) if found["aspect"] else None})


def read_frames(spec: Mapping[str, Any], how: Mapping[str, Any]) -> Iterator[Frame]:
    """The frames of an item's `spec` and `how`, one in memory at a time.

    Raises
    ------
    FprdoError
        The file is missing, damaged or ends too early.
    """
    fmt, skip = format_from(spec["format"]), how["skip"]
    frames: Iterator[Frame]
    if spec["kind"] == "container":
        frames = container.read_frames(how["origin"], fmt, spec["frames"], skip)
    elif spec["kind"] == "raw":
        frames = read_yuv(how["origin"], fmt, skip, spec["frames"])
    elif spec["kind"] == "picture":
        frames = open_source(how["origin"], replace(FormatRequest.of(fmt), size=None)).read()
    else:
        frames = open_source(how["origin"], FormatRequest.of(fmt), spec["frames"], None, skip).read()
    count = 0
    for frame in islice(frames, 0, None, spec["every"]):
        yield frame
        count += 1
    if count != -(-spec["frames"] // spec["every"]):
        raise FprdoError(f"{how['origin']}: ends after {count} of the frames that are asked for; copy it again")


# ---- finding ---------------------------------------------------------------------------------------------------------


class Hashes:
    """What was found of files, kept by path, size and time of change, so that a second look costs nothing."""

    def __init__(self, path: Path | None = None):
        self._path, self._changed = path, False
        self._known: dict[str, Any] = {}
        if path:
            with suppress(OSError, ValueError):
                known = json.loads(path.read_bytes())
                self._known = known if isinstance(known, dict) else {}

    def known(self, path: Path, what: list[object], find: Callable[[], Any]) -> Any:
        """What `find` finds of a file, as JSON, or found before; FprdoError if the file cannot be read."""
        try:
            state = path.stat()
            if not path.is_file():
                raise FprdoError(f"{path}: is no regular file; name a picture or clip")
            name = json.dumps([str(path.resolve()), state.st_size, state.st_mtime_ns, *what])
            if name not in self._known:
                self._known[name] = find()
                self._changed = True
            return self._known[name]
        except OSError as error:
            raise FprdoError(f"{path}: cannot be read ({error.strerror}); check the name") from None

    def of(self, path: Path, algorithm: str = "sha256", start: int = 0, length: int | None = None) -> str:
        """Hash of a file or a part of it; raises as `known`."""

        def find() -> str:
            found = hashlib.new(algorithm, usedforsecurity=False)
            with open(path, "rb") as file:
                file.seek(start)
                left = os.fstat(file.fileno()).st_size - start if length is None else length
                while left > 0 and (block := file.read(min(_BLOCK, left))):
                    found.update(block)
                    left -= len(block)
            return found.hexdigest()

        return str(self.known(path, [algorithm, start, length], find))

    def save(self) -> None:
        """Keep what was found for the next run, where there is a file for it."""
        if self._path and self._changed:
            with replacing(self._path) as temporary:
                temporary.write_text(json.dumps(self._known), encoding="utf-8")
            self._changed = False


@dataclass
class Material:
    """What was found, in the order of the conditions, and one line for each thing that was not."""

    items: list[Item] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def find(
    conditions: Conditions, data: Path, hashes: Hashes, progress: Callable[[int], None] = lambda count: None
) -> Material:
    """Everything that the conditions name.

    Parameters
    ----------
    data : folder to which the names of files are relative
    progress : called with the number of sequences looked at

    A picture or clip that is missing, unreadable, too short or of another MD5 becomes a problem; the others are found.
    """
    found = Material()
    for group in conditions.sets:
        try:
            members = list(_members(group, data))
        except FprdoError as error:
            found.problems.append(f"set {group.name}: {error}")
            continue
        seen: set[str] = set()
        for clip, image_id in members:
            try:
                if clip.name in seen:
                    raise FprdoError(f"two of the set are called {clip.name}; put them into sets of their own")
                seen.add(clip.name)
                truth = clip.annotations or group.annotations
                annotations = str(data / truth) if truth else None
                found.items.append(_item(group, clip, image_id, annotations, conditions.request, data, hashes))
            except FprdoError as error:
                found.problems.append(f"set {group.name}: {error}")
            progress(len(found.items) + len(found.problems))
    return found


def _members(group: Set, data: Path) -> Iterator[tuple[Clip, int | None]]:
    if group.clips:
        yield from ((clip, None) for clip in group.clips[: group.count])
    elif group.files:
        yield from ((Clip(_stem(file), file), None) for file in group.files[: group.count])
    else:
        folder = data / str(group.folder or group.coco)
        if not folder.is_dir():
            raise FprdoError(f"{folder}: no such folder; say with --data where the pictures lie")
        truth = _coco_images(data / group.annotations) if group.annotations else None
        files = sorted(os.listdir(folder)) if truth is None else sorted(truth)
        suffixes = tuple(SUFFIXES) + container.SUFFIXES + (".yuv", ".y4m")
        files = [name for name in files if Path(name).suffix.lower() in suffixes and not name.startswith(".")]
        if not files:
            raise FprdoError(f"{folder}: holds no picture or clip; check the name")
        for name in files[: group.count]:
            yield Clip(_stem(name), str(folder / name)), truth[name] if truth else None


def _stem(file: str) -> str:
    return file.partition(":")[2] if file.startswith("skimage:") else Path(file).stem


def _coco_images(path: Path) -> dict[str, int]:
    """File name -> image id of an annotation file in COCO's format."""
    try:
        listing = json.loads(path.read_bytes())
        return {str(image["file_name"]): int(image["id"]) for image in listing["images"]}
    except OSError as error:
        raise FprdoError(f"{path}: cannot be read ({error.strerror}); say with --data where it lies") from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise FprdoError(f"{path}: is no annotation file of COCO's format ({type(error).__name__}: {error})") from None


def _item(
    group: Set,
    clip: Clip,
    image_id: int | None,
    annotations: str | None,
    request: FormatRequest,
    data: Path,
    hashes: Hashes,
) -> Item:
    shared: dict[str, Any] = {
        "name": clip.name,
        "group": group.name,
        "clip": clip,
        "image_id": image_id,
        "annotations": annotations,
    }
    if clip.file.startswith("skimage:"):
        source = open_source(clip.file, request)
        return Item(
            **shared,
            origin=clip.file,
            kind="picture",
            fmt=source.fmt,
            frames=1,
            fps=clip.fps or source.frame_rate,
            skip=0,
            content=source.sha256(),
        )
    path = data / clip.file
    if not path.exists():
        raise FprdoError(f"{path}: is missing; say with --data where it lies")
    if clip.md5 and hashes.of(path, "md5") != clip.md5:
        raise FprdoError(f"{path}: its MD5 is {hashes.of(path, 'md5')}, not {clip.md5}; copy it again")
    suffix = path.suffix.lower()
    if suffix in SUFFIXES:
        fmt, frames, rate, kind = _picture_format(path, request, hashes), 1, Fraction(30), "picture"
        if clip.frames not in (None, 1) or clip.skip:
            raise FprdoError(f"{path}: is a picture; leave frames and skip out")
    elif suffix in container.SUFFIXES:
        stream = container.read_stream(path)
        fmt, rate, kind = clip.request.apply(stream.fmt), stream.frame_rate or Fraction(30), "container"
        frames = hashes.known(path, ["frames"], lambda: container.count_frames(path, fmt))
    else:
        source = open_source(str(path), clip.request)
        fmt, frames, rate = source.fmt, source.frames, source.frame_rate
        kind = "y4m" if source.is_y4m else "raw" if source.layout == PLANAR else "layout"
    asked = clip.frames or frames - clip.skip
    if not 0 < asked <= frames - clip.skip:
        raise FprdoError(f"{path}: has {frames} frames, {clip.skip + asked} are asked for; copy it again")
    start, length = (clip.skip * fmt.frame_bytes, asked * fmt.frame_bytes) if kind == "raw" else (0, None)
    content = hashes.of(path, "sha256", start, length)
    if kind == "layout":  # its name says how its samples lie
        content = hashlib.sha256(f"{content} {source.layout}".encode()).hexdigest()
    return Item(
        **shared,
        origin=str(path),
        kind=kind,
        fmt=fmt,
        frames=asked,
        fps=clip.fps or rate,
        skip=clip.skip,
        content=content,
    )


def _picture_format(path: Path, request: FormatRequest, hashes: Hashes) -> VideoFormat:
    """The format that the picture is converted to. The picture is read once, so that damage is found before a run."""

    def find() -> list[int | None]:
        picture = read_picture(path)
        return [picture.rgb.shape[1], picture.rgb.shape[0], *(picture.aspect or (None, None))]

    width, height, across, down = hashes.known(path, ["picture", __version__], find)
    return request.apply(VideoFormat(width, height, aspect=(across, down) if across else None))


def as_source(spec: Mapping[str, Any], how: Mapping[str, Any], raw: Path | None = None) -> Source:
    """An item as the maps read it: a picture with its frame, a clip as the raw file `raw` that holds its frames."""
    fmt, rate = format_from(spec["format"]), Fraction(spec["fps"])
    name = how.get("name", "picture")
    if spec["kind"] == "picture":
        return Source(name, how["origin"], fmt, 1, rate, next(read_frames(spec, how)))
    return Source(name, str(raw), fmt, -(-spec["frames"] // spec["every"]), rate)
