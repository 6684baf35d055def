"""From frames to a weight file: which network, how many probes, which frames share a map."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fprdo_bridge import __version__
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.files import is_stream
from fprdo_bridge.importance.ranges import check_sketch_numbers
from fprdo_bridge.importance.regions import NO_REGIONS, RegionSettings
from fprdo_bridge.importance.specification import DEFAULT_EXTRACTOR
from fprdo_bridge.values import whole_number
from fprdo_bridge.video.formats import coded_format, pad_frame

if TYPE_CHECKING:
    from fprdo_bridge.importance.extractors import Extractor
    from fprdo_bridge.importance.weight_map import Record, WeightMap
    from fprdo_bridge.video.formats import Frame
    from fprdo_bridge.video.source import Source


NO_NETWORK = "none"  # as extractor: regions stand alone


class NoNetwork:
    """In the place of an extractor, where weights come from regions alone."""

    name = NO_NETWORK

    def description(self) -> dict[str, object]:
        """What the metadata of a weight file say."""
        return {"name": NO_NETWORK}


@dataclass(frozen=True)
class WeightSettings:
    """Everything that a weight file depends on besides the frames.

    Parameters
    ----------
    extractor : NAME[@SCALES][:LAYERS], a name or a plug-in `module:callable` (importance.specification), or "none" for
        the regions alone
    layers : feature maps, where `extractor` names none; None for the extractor's own choice
    probes : sketches per map and scale
    seed : of the sketches' signs and noise, 0 to 2^63 - 1
    jitter : standard deviation of the noise at which probes are taken, in code values at 8 bits
    frames_per_map : frames that share the map of their first one
    signs_per_noise : probes that share a noise and a forward pass; more cost less and average over less noise
    regions : factors on the weights

    Raises
    ------
    FprdoError
        A number is out of range, or there is neither a network nor a region.
    """

    extractor: str = DEFAULT_EXTRACTOR
    layers: tuple[str, ...] | None = None
    probes: int = 16
    seed: int = 0
    jitter: float = 5.0
    frames_per_map: int = 1
    signs_per_noise: int = 1
    regions: RegionSettings = NO_REGIONS

    def __post_init__(self) -> None:
        check_sketch_numbers(self.probes, self.seed, self.jitter, self.signs_per_noise)
        if whole_number("frames per map", self.frames_per_map) < 1:
            raise FprdoError(f"{self.frames_per_map} frames per map: use 1 or more")
        if self.extractor == NO_NETWORK and (self.layers or not self.regions):
            raise FprdoError(
                f"extractor {NO_NETWORK}: has no layers; leave them out"
                if self.layers
                else f"extractor {NO_NETWORK}: weights come from regions alone; give --mask, --box or --boxes"
            )

    def load(self) -> Extractor | NoNetwork:
        """The extractor; FprdoError if it cannot be had."""
        if self.extractor == NO_NETWORK:
            return NoNetwork()
        from fprdo_bridge.importance.extractors import load_extractor  # loads torch

        return load_extractor(self.extractor, self.layers)


def write_weights(
    sequence: Source,
    settings: WeightSettings,
    path: Path,
    extractor: Extractor | NoNetwork | None = None,
    progress: Callable[[float], None] | None = None,
) -> None:
    """Compute the maps of a sequence, in the size that the encoder codes, and write them.

    The maps of a sequence are kept one by one in the folder `.NAME.maps` beside `path` until the file is complete, so
    that a run which was stopped goes on where it was (`KeptMaps`).

    Parameters
    ----------
    path : of the .idse file; a device or pipe gets the file too, and then nothing is kept
    extractor : settings.load() if the caller has it already
    progress : called with the share that is done, 0 to 1, after every probe

    Raises
    ------
    FprdoError
        The extractor fails, or the file cannot be written; then none is left.
    """
    from fprdo_bridge.importance.idse_file import write_idse
    from fprdo_bridge.importance.kept_maps import KeptMaps, discard
    from fprdo_bridge.importance.source_check import colour_description, map_hashes
    from fprdo_bridge.importance.weight_map import TRANSFORM_SIZES, ones

    if path.is_dir():
        raise FprdoError(f"{path}: cannot be written (it is a folder); give a file name")
    fmt = coded_format(sequence.fmt)
    regions = settings.regions.load(sequence.fmt, sequence.frames, sequence.name) if settings.regions else None
    extractor = extractor or settings.load()
    identity = sequence.sha256()
    sizes: tuple[int, ...] = TRANSFORM_SIZES
    every = settings.frames_per_map
    if isinstance(extractor, NoNetwork):
        sizes, every = (), sequence.frames if regions is None or regions.same_for_all else every
    count = -(-sequence.frames // every)

    def one_map(number: int, frame: Frame) -> WeightMap:
        found = ones(fmt, sizes) if isinstance(extractor, NoNetwork) else network_map(extractor, number, frame)
        return found if regions is None else regions.weigh(found, number * every)

    def network_map(extractor: Extractor, number: int, frame: Frame) -> WeightMap:
        from fprdo_bridge.importance.weights import compute_map  # loads torch

        step = (lambda share: progress((number + share) / count)) if progress else None
        return compute_map(
            pad_frame(frame, sequence.fmt, fmt),
            fmt,
            extractor,
            probes=settings.probes,
            seed=settings.seed,
            jitter=settings.jitter,
            signs_per_noise=settings.signs_per_noise,
            progress=step,
        )

    def maps(kept: KeptMaps | None) -> Iterator[WeightMap | Record]:
        for index, frame in enumerate(sequence.read()):
            number, rest = divmod(index, every)
            if rest == 0 and kept is None:
                yield one_map(number, frame)
            elif rest == 0 and kept is not None:
                yield kept.get(number) or kept.put(number, one_map(number, frame))

    metadata = {
        "software": f"fprdo {__version__}",
        "source": sequence.name,
        "source_sha256": identity,
        "map_sha256": list(map_hashes(sequence, every)),
        "extractor": extractor.description(),
        **({} if isinstance(extractor, NoNetwork) else _drawn(settings)),
        **({"regions": regions.description()} if regions else {}),
        "colour": colour_description(fmt),
    }
    with ExitStack() as stack:
        kept = None
        if count > 1 and not is_stream(path):
            kept = stack.enter_context(KeptMaps(path, _key(identity, settings, extractor), fmt, sizes))
        write_idse(
            path,
            maps(kept),
            fmt,
            frame_count=sequence.frames,
            frames_per_map=every,
            transform_sizes=sizes,
            metadata=metadata,
        )
    if kept is None and not is_stream(path):
        discard(path)  # of a longer sequence that was to be written there


def _drawn(settings: WeightSettings) -> dict[str, object]:
    """How sketches were drawn, for the metadata."""
    return {name: getattr(settings, name) for name in ("probes", "seed", "jitter", "signs_per_noise")}


def map_settings_json(settings: WeightSettings) -> dict[str, object]:
    """What of the settings determines a map, as JSON: files of regions by their hashes; without regions not named."""
    found = asdict(settings)
    del found["regions"]
    return {**found, **({"regions": settings.regions.content()} if settings.regions else {})}


def _key(identity: str, settings: WeightSettings, extractor: Extractor | NoNetwork) -> str:
    text = json.dumps([__version__, identity, map_settings_json(settings), extractor.description()], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
