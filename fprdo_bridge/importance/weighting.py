"""From frames to a weight file: which network, how many probes, which frames share a map."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fprdo_bridge import __version__
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.files import is_stream
from fprdo_bridge.importance.device import DEFAULT_DEVICE, device_name
from fprdo_bridge.importance.memory import reused_memory
from fprdo_bridge.importance.ranges import check_sketch_numbers
from fprdo_bridge.importance.regions import NO_REGIONS, RegionSettings
from fprdo_bridge.importance.specification import DEFAULT_EXTRACTOR
from fprdo_bridge.values import flag, whole_number
from fprdo_bridge.video.formats import coded_format, pad_frame

if TYPE_CHECKING:
    import torch

    from fprdo_bridge.importance.extractors import Extractor
    from fprdo_bridge.importance.kept_maps import KeptMaps
    from fprdo_bridge.importance.regions import Regions
    from fprdo_bridge.importance.scenes import Survey
    from fprdo_bridge.importance.weight_map import Record, WeightMap
    from fprdo_bridge.video.formats import Frame, VideoFormat
    from fprdo_bridge.video.source import Source


REGIONS_ALONE, VARIANCE = "none", "variance"  # as extractor
NO_NETWORK = (REGIONS_ALONE, VARIANCE)


class MapMaker:
    """In the place of an extractor: what gives the map of a frame at once.

    Attributes
    ----------
    name : for metadata and messages
    transform_sizes : of the shapes in its maps
    device : where it runs, None where nothing runs
    """

    name: str
    transform_sizes: tuple[int, ...] = ()
    device: torch.device | None = None

    def description(self) -> dict[str, object]:
        """What the metadata of a weight file say."""
        raise NotImplementedError

    def map(self, frame: Frame, fmt: VideoFormat) -> WeightMap:
        """The weights of a frame of planes fmt.plane_shapes."""
        raise NotImplementedError


@dataclass(frozen=True)
class NoNetwork(MapMaker):
    """Weights of 1, or those of variance AQ (importance.variance).

    Parameters
    ----------
    name : one of NO_NETWORK
    """

    name: str

    def description(self) -> dict[str, object]:
        """What the metadata of a weight file say."""
        return {"name": self.name}

    def map(self, frame: Frame, fmt: VideoFormat) -> WeightMap:
        """The weights of a frame, without transform shapes."""
        from fprdo_bridge.importance.variance import variance_map
        from fprdo_bridge.importance.weight_map import ones

        return variance_map(frame, fmt) if self.name == VARIANCE else ones(fmt, ())


@dataclass(frozen=True)
class WeightSettings:
    """Everything that a weight file depends on besides the frames.

    Parameters
    ----------
    extractor : NAME[@SCALES][:LAYERS], a name or a plug-in `module:callable` (importance.specification);
        "variance" for the weights of variance AQ, "none" for the regions alone
    layers : feature maps, where `extractor` names none; None for the extractor's own choice
    probes : sketches per map and scale
    seed : of the sketches' signs and noise, 0 to 2^63 - 1
    jitter : standard deviation of the noise at which probes are taken, 0 to 255, in code values at 8 bits
    frames_per_map : frames that share the map of their first one, at most: a map ends at a cut, and a scene that stands
        still keeps its own (importance.scenes)
    signs_per_noise : probes that share a noise and a forward pass; more cost less and average over less noise
    regions : factors on the weights
    cuts : whether a map ends at a cut
    device : where the network runs: "auto" (a GPU if there is one), "cpu", "cuda" or "mps"; decides over rounding alone
    predictor : file of `fprdo distill`, which gives the maps instead of the extractor; "" for none

    Raises
    ------
    FprdoError
        A number is out of range, the device has another name, or there is neither a network nor a region.
    """

    extractor: str = DEFAULT_EXTRACTOR
    layers: tuple[str, ...] | None = None
    probes: int = 16
    seed: int = 0
    jitter: float = 5.0
    frames_per_map: int = 8
    signs_per_noise: int = 1
    regions: RegionSettings = NO_REGIONS
    cuts: bool = True
    device: str = DEFAULT_DEVICE
    predictor: str = ""

    def __post_init__(self) -> None:
        check_sketch_numbers(self.probes, self.seed, self.jitter, self.signs_per_noise)
        if whole_number("frames per map", self.frames_per_map) < 1:
            raise FprdoError(f"{self.frames_per_map} frames per map: use 1 or more")
        object.__setattr__(self, "cuts", flag("cuts", self.cuts))
        if self.extractor in NO_NETWORK and self.layers:
            raise FprdoError(f"extractor {self.extractor}: has no layers; leave them out")
        if self.extractor == REGIONS_ALONE and not self.regions:
            raise FprdoError(
                f"extractor {REGIONS_ALONE}: weights come from regions alone; give --mask, --box or --boxes"
            )
        device_name(self.device)

    def load(self) -> Extractor | MapMaker:
        """The extractor or predictor on its device; FprdoError if one of them cannot be had."""
        if self.predictor:
            from fprdo_bridge.importance.predictor import load_predictor  # loads torch

            return load_predictor(self.predictor, self.device)
        if self.extractor in NO_NETWORK:
            return NoNetwork(self.extractor)
        from fprdo_bridge.importance.extractors import load_extractor  # loads torch

        return load_extractor(self.extractor, self.layers, self.device)


def write_weights(
    sequence: Source,
    settings: WeightSettings,
    path: Path,
    extractor: Extractor | MapMaker | None = None,
    progress: Callable[[float], None] | None = None,
    transform_sizes: Sequence[int] | None = None,
) -> None:
    """Compute the maps of a sequence, in the size that the encoder codes, and write them.

    The maps of a sequence are kept one by one in the folder `.NAME.maps` beside `path` until the file is complete, so
    that a run which was stopped goes on where it was (`KeptMaps`).

    Parameters
    ----------
    path : of the .idse file; a device or pipe gets the file too, and then nothing is kept
    extractor : settings.load() if the caller has it already
    progress : called with the share that is done, 0 to 1, after every probe
    transform_sizes : of the shapes, where an encoder asks for no others; None for all that the extractor gives

    Raises
    ------
    FprdoError
        The extractor fails, or the file cannot be written; then none is left.
    """
    from fprdo_bridge.importance.idse_file import write_idse
    from fprdo_bridge.importance.kept_maps import KeptMaps, discard
    from fprdo_bridge.importance.scenes import survey
    from fprdo_bridge.importance.source_check import colour_description
    from fprdo_bridge.importance.weight_map import TRANSFORM_SIZES

    if path.is_dir():
        raise FprdoError(f"{path}: cannot be written (it is a folder); give a file name")
    fmt = coded_format(sequence.fmt)
    regions = settings.regions.load(sequence.fmt, sequence.frames, sequence.name) if settings.regions else None
    extractor = extractor or settings.load()
    drawn, alone = not isinstance(extractor, MapMaker), extractor.name == REGIONS_ALONE
    found = survey(sequence, sequence.frames if alone else settings.frames_per_map, settings.cuts and not alone)
    known = extractor.transform_sizes if isinstance(extractor, MapMaker) else TRANSFORM_SIZES
    sizes = tuple(n for n in known if transform_sizes is None or n in transform_sizes)
    maps = _Maps(sequence, settings, extractor, sizes, regions, found, progress)
    metadata = {
        "software": f"fprdo {__version__}",
        "source": sequence.name,
        "source_sha256": found.identity,
        "map_sha256": list(found.hashes[:: maps.frames_per_map]),
        "extractor": extractor.description(),
        **(_drawn(settings) if drawn else {}),
        **({"device": extractor.device.type} if extractor.device else {}),
        **({"regions": regions.description()} if regions else {}),
        "colour": colour_description(fmt),
    }
    with ExitStack() as stack:
        stack.enter_context(reused_memory())
        kept = None
        if maps.computed > 1 and drawn and not is_stream(path):
            kept = stack.enter_context(KeptMaps(path, _key(found.identity, settings, extractor, sizes), fmt, sizes))
        write_idse(
            path,
            maps.records(kept),
            fmt,
            frame_count=sequence.frames,
            frames_per_map=maps.frames_per_map,
            transform_sizes=sizes,
            metadata=metadata,
        )
    if kept is None and not is_stream(path):
        discard(path)  # of a longer sequence that was to be written there


class _Maps:
    """The maps of a sequence in the order of the file, each computed when it is asked for; one or two in memory.

    Attributes
    ----------
    frames_per_map : of the file
    computed : number of maps that differ
    """

    def __init__(
        self,
        sequence: Source,
        settings: WeightSettings,
        extractor: Extractor | MapMaker,
        sizes: tuple[int, ...],
        regions: Regions | None,
        survey: Survey,
        progress: Callable[[float], None] | None,
    ):
        self._sequence, self._settings, self._extractor, self._regions = sequence, settings, extractor, regions
        self._survey, self._progress, self._sizes = survey, progress, sizes
        self._fmt = coded_format(sequence.fmt)
        self._one_for_all = regions is None or regions.same_for_all  # frames of a scene
        self.frames_per_map = survey.frames_per_map if self._one_for_all else 1
        self.computed = len(survey.starts) if self._one_for_all else sequence.frames

    def records(self, kept: KeptMaps | None) -> Iterator[WeightMap | Record]:
        """The maps; those that an earlier run has kept are not computed again, and those that are go there."""
        starts = {start: number for number, start in enumerate(self._survey.starts)}
        scene, first = 0, 0
        key: Frame = ()  # the frame that its map is computed from
        network: WeightMap | None = None
        record: WeightMap | Record | None = None
        for index, frame in enumerate(self._sequence.read()):
            if index in starts:
                scene, first, key, network, record = starts[index], index, frame, None, None
            if index % self.frames_per_map:
                continue
            if record is None or not self._one_for_all:
                number = index // self.frames_per_map
                record = kept.get(number) if kept else None
                if record is None:
                    network = network or self._network_map(scene, key)
                    record = self._weighed(network, index)
                    if kept:
                        record = kept.put(number, record, index, self._span(scene, first), self._of_part())
            yield record

    def _span(self, scene: int, first: int) -> int:
        """Number of frames that a kept map is for."""
        if not self._one_for_all:
            return 1
        starts = (*self._survey.starts, self._sequence.frames)
        return starts[scene + 1] - first

    def _of_part(self) -> dict[str, object]:
        return {"software": f"fprdo {__version__}", "extractor": self._extractor.description()}

    def _weighed(self, network: WeightMap, frame: int) -> WeightMap:
        return network if self._regions is None else self._regions.weigh(network, frame)

    def _network_map(self, scene: int, frame: Frame) -> WeightMap:
        frame = pad_frame(frame, self._sequence.fmt, self._fmt)
        if isinstance(self._extractor, MapMaker):
            return self._extractor.map(frame, self._fmt)
        from fprdo_bridge.importance.weights import compute_map  # loads torch

        scenes, progress, settings = len(self._survey.starts), self._progress, self._settings
        return compute_map(
            frame,
            self._fmt,
            self._extractor,
            probes=settings.probes,
            seed=settings.seed,
            jitter=settings.jitter,
            signs_per_noise=settings.signs_per_noise,
            transform_sizes=self._sizes,
            progress=(lambda share: progress((scene + share) / scenes)) if progress else None,
        )


def _drawn(settings: WeightSettings) -> dict[str, object]:
    """How sketches were drawn, for the metadata."""
    return {name: getattr(settings, name) for name in ("probes", "seed", "jitter", "signs_per_noise")}


def map_settings_json(settings: WeightSettings) -> dict[str, object]:
    """What of the settings determines a map, as JSON: files of regions by their hashes; without regions not named."""
    found = asdict(settings)
    del found["regions"], found["device"], found["predictor"]  # rounding alone; known by its description
    return {**found, **({"regions": settings.regions.content()} if settings.regions else {})}


def _key(identity: str, settings: WeightSettings, extractor: Extractor | MapMaker, sizes: tuple[int, ...]) -> str:
    device = str(extractor.device)  # maps of one file are of one
    values = {**map_settings_json(settings), "device": device, "shapes": sizes}
    text = json.dumps([__version__, identity, values, extractor.description()], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
