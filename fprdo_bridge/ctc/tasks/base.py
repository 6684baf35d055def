"""The interface of a task: prepare an original once, score what was decoded, reduce a set."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from fprdo_bridge.ctc.schema import Table
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.importance.device import DEFAULT_DEVICE
from fprdo_bridge.video.formats import Frame, VideoFormat

if TYPE_CHECKING:
    from torch import Tensor

Record = Mapping[str, Any]  # what `score` returns, as JSON
Reducer = Callable[[np.ndarray], Mapping[str, float]]  # indices of pictures -> value by measure


class Frames:
    """A picture or clip as a task sees it; it may be iterated any number of times.

    Attributes
    ----------
    fmt : VideoFormat
    image_id, annotations : of a picture with truth in COCO's format: its number there, and the path of the file
    """

    def __init__(
        self,
        fmt: VideoFormat,
        read: Callable[[], Iterator[Frame]],
        image_id: int | None = None,
        annotations: str | None = None,
    ):
        self.fmt, self._read, self.image_id, self.annotations = fmt, read, image_id, annotations

    def __iter__(self) -> Iterator[Frame]:
        """Planes of code values, one frame in memory at a time."""
        return self._read()

    def rgb(self) -> Iterator[Tensor]:
        """The frames as on a display: float32 (1, 3, height, width) in [0, 1]."""
        from fprdo_bridge.video.colour import frame_to_rgb

        return (frame_to_rgb(frame, self.fmt) for frame in self)

    def rgb8(self) -> Iterator[np.ndarray]:
        """The frames as uint8 (height, width, 3)."""
        for picture in self.rgb():
            yield (picture[0].permute(1, 2, 0) * 255 + 0.5).floor().byte().numpy()


@dataclass(frozen=True)
class Measure:
    """One number of a task.

    Attributes
    ----------
    key : in a record, or in what the reducer returns
    title : in tables, after the task's own
    distance : smaller is better; BD-rates take -10 log10 of it
    pool : "picture": a BD-rate per picture or clip, then the mean; "set": one curve of the whole set. What conditions
        say goes before it.
    judge : a task's, whose curves are made monotone first; False for measures of the picture such as PSNR
    digits : decimals in tables
    """

    key: str
    title: str
    distance: bool = False
    pool: str = "picture"
    judge: bool = True
    digits: int = 3


class Task:
    """A judge.

    `arguments` of the conditions come to `__init__` as a schema.Table; reading a key that is missing or wrong raises
    with the key's name. Nothing is loaded before `identity` or `prepare`.
    """

    name: ClassVar[str]  # in conditions
    measures: tuple[Measure, ...]
    needs_original: ClassVar[bool] = False  # `reduce` wants the records of the originals too
    revision: ClassVar[int] = 1  # raised when a score changes for the same input
    memory: int = 600 << 20  # bytes, besides a worker's own
    seconds: float = 1.0  # of one core per million luma samples, roughly
    device: str = DEFAULT_DEVICE  # where its network runs, a name of importance.device; set after `__init__`

    def __init__(self, arguments: Table):
        arguments.done()

    @property
    def title(self) -> str:
        """In tables."""
        return self.name

    def identity(self) -> dict[str, object]:
        """All that determines a score besides the pictures, as JSON; FprdoError if a package or a network is
        missing."""
        return {}

    def check(self, original: Frames) -> None:
        """Refuse a picture that cannot be judged, as far as that is known from its format and its truth."""

    def truth(self, original: Frames) -> object:
        """What determines a score besides the pictures and `identity`, such as true boxes, as JSON."""
        return None

    def prepare(self, original: Frames) -> Any:
        """What is worth keeping while many decoded versions of one original are scored."""
        return original

    def score(self, prepared: Any, decoded: Frames) -> Record:
        """Judge one decoded picture or clip; numbers under the keys of the measures, None where there is none."""
        raise NotImplementedError

    def score_original(self, prepared: Any, original: Frames) -> Record:
        """The record of an original, which `reducer` gets where `needs_original` says so: its score, and what else of
        it a set needs."""
        return self.score(prepared, original)

    def reducer(self, records: Sequence[Record], originals: Sequence[Record]) -> Reducer:
        """A function that pools a set at one rate point: indices into `records` -> value by measure. Here: means."""
        table = {
            measure.key: np.array(
                [math.nan if record.get(measure.key) is None else record[measure.key] for record in records], float
            )
            for measure in self.measures
        }
        return lambda indices: {key: float(values[indices].mean()) for key, values in table.items()}


def package(name: str, what: str, install: str = "") -> ModuleType:
    """Import an optional package. Raises FprdoError that names it."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name.partition(".")[0]:
            raise
        raise FprdoError(f"{what} needs the package {install or name}: pip install {install or name}") from None
    except Exception as error:  # a package that does not fit the others here
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise FprdoError(
            f"{what} needs the package {install or name}, which cannot be imported here ({reason}); install a "
            "version that fits"
        ) from error


def call(spec: str, what: str) -> Any:
    """What `module:callable` returns. Raises FprdoError if it cannot be imported or fails."""
    module, _, attribute = spec.partition(":")
    if not all(part.isidentifier() for part in module.split(".")) or not attribute:
        raise FprdoError(f"{what} {spec!r}: write module:callable, the module on the Python path")
    try:
        return getattr(importlib.import_module(module), attribute)()
    except FprdoError:
        raise
    except (Exception, SystemExit) as error:  # whatever somebody's code raises
        reason = (str(error).splitlines() or ["no message"])[0]
        raise FprdoError(f"{what} {spec}: {type(error).__name__}: {reason}; correct {module}") from error
