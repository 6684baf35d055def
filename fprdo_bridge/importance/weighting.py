"""From frames to a weight file: which network, how many probes, which frames share a map."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fprdo_bridge import __version__
from fprdo_bridge.files import replacing
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.video.formats import coded_format, pad_frame

if TYPE_CHECKING:
    from fprdo_bridge.video.formats import Frame
    from fprdo_bridge.importance.extractors import Extractor
    from fprdo_bridge.importance.idse_file import WeightMap
    from fprdo_bridge.video.source import Source


@dataclass(frozen=True)
class WeightSettings:
    """Everything that a weight file depends on besides the frames.

    Parameters
    ----------
    extractor : name or plug-in `module:callable` (importance.extractors)
    layers : feature maps; None for the extractor's own choice
    probes : sketches per map
    seed : of the sketches' signs and noise, 0 to 2^63 - 1
    jitter : standard deviation of the noise at which probes are taken, in code values at 8 bits
    frames_per_map : frames that share the map of their first one
    """

    extractor: str = "efficientnet_lite0"
    layers: tuple[str, ...] | None = None
    probes: int = 16
    seed: int = 0
    jitter: float = 5.0
    frames_per_map: int = 1

    def __post_init__(self) -> None:
        if self.frames_per_map < 1:
            raise FprdoError(f"{self.frames_per_map} frames per map: use 1 or more")
        if not 0 <= self.seed < 1 << 63:
            raise FprdoError(f"seed {self.seed}: use 0 to 2^63 - 1")

    def load(self) -> Extractor:
        """The extractor; FprdoError if it cannot be had."""
        from fprdo_bridge.importance.extractors import load_extractor  # loads torch

        return load_extractor(self.extractor, self.layers)


def write_weights(sequence: Source, settings: WeightSettings, path: Path, extractor: Extractor | None = None,
                  progress: Callable[[float], None] | None = None) -> None:
    """Compute the maps of a sequence, in the size that the encoder codes, and write them.

    The maps of a sequence are kept one by one in the folder `.NAME.maps` beside `path` until the file is complete, so
    that a run which was stopped goes on where it was.

    Parameters
    ----------
    extractor : settings.load() if the caller has it already
    progress : called with the share that is done, 0 to 1, after every probe

    Raises
    ------
    FprdoError
        The extractor fails, or the file cannot be written; then none is left.
    """
    from fprdo_bridge.importance.idse_file import IdseFile, write_idse
    from fprdo_bridge.importance.weights import compute_map

    extractor = extractor or settings.load()
    fmt = coded_format(sequence.fmt)
    count = -(-sequence.frames // settings.frames_per_map)

    def one_map(number: int, frame: Frame) -> WeightMap:
        step = (lambda probes: progress((number + probes / settings.probes) / count)) if progress else None
        return compute_map(pad_frame(frame, sequence.fmt, fmt), fmt, extractor, probes=settings.probes,
                           seed=settings.seed, jitter=settings.jitter, progress=step)

    def maps(kept: Path) -> Iterator[WeightMap]:
        for index, frame in enumerate(sequence.read()):
            number, rest = divmod(index, settings.frames_per_map)
            if rest:
                continue
            if count == 1:
                yield one_map(number, frame)
                continue
            part = kept / f"{number}.idse"
            if not part.exists():
                write_idse(part, [one_map(number, frame)], fmt, frame_count=1)
            with IdseFile(part) as file:
                yield file.map(0)

    metadata = {"software": f"fprdo {__version__}", "source": sequence.name, "source_sha256": sequence.sha256(),
                "extractor": extractor.description(), "probes": settings.probes, "seed": settings.seed,
                "jitter": settings.jitter,
                "colour": {"matrix": fmt.matrix, "full_range": fmt.full_range, "siting": fmt.siting,
                           "bit_depth": fmt.bit_depth}}
    kept = path.with_name(f".{path.name}.maps")
    key = kept / weights_key(sequence, settings, extractor)
    if count > 1 and not key.exists():
        shutil.rmtree(kept, ignore_errors=True)
        with replacing(key) as temporary:
            temporary.touch()
    write_idse(path, maps(kept), fmt, frame_count=sequence.frames, frames_per_map=settings.frames_per_map,
               metadata=metadata)
    shutil.rmtree(kept, ignore_errors=True)


def weights_key(sequence: Source, settings: WeightSettings, extractor: Extractor) -> str:
    """Hash of all that decides the weights of a sequence, for those who keep them."""
    text = json.dumps([__version__, sequence.sha256(), asdict(settings), extractor.description()], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
