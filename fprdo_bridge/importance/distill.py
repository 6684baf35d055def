"""From pictures to a predictor: maps of an extractor, then training; both go on where a stopped run was.

Maps and the state of the training lie in the folder `.NAME.distill` beside the predictor until it is written.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from fprdo_bridge.errors import FprdoError
from fprdo_bridge.files import is_stream
from fprdo_bridge.importance.idse_file import IdseFile
from fprdo_bridge.importance.predictor import VERSION, PredictorNetwork, save_predictor
from fprdo_bridge.importance.training import SCHEME, STEPS, Example, Training
from fprdo_bridge.importance.weighting import MapMaker, WeightSettings, write_weights
from fprdo_bridge.video.colour import float_planes, planes_to_rgb
from fprdo_bridge.video.formats import coded_format, pad_frame

if TYPE_CHECKING:
    from fprdo_bridge.importance.extractors import Extractor
    from fprdo_bridge.video.source import Source

_SMALLEST = 64  # samples a side
_SAVED_EVERY = 50  # steps


def distill(
    sources: Sequence[Source],
    settings: WeightSettings,
    path: Path,
    *,
    steps: int = STEPS,
    progress: Callable[[str, float], None] = lambda what, share: None,
) -> int:
    """Compute the maps of pictures, train a predictor on them, and write it.

    Parameters
    ----------
    sources : pictures of 4:2:0, at least 64 samples a side; of a clip its first frame
    settings : of the maps
    path : of the predictor
    progress : called with what is done, "maps" or "training", and the share that is done

    Returns
    -------
    Number of parameters of the network.

    Raises
    ------
    FprdoError
        A picture or a setting does not do, the extractor fails, or the predictor cannot be written.
    """
    _check(sources, settings, path, steps)
    extractor = settings.load()
    if isinstance(extractor, MapMaker):
        raise FprdoError(f"extractor {extractor.name}: is no network; name one whose maps are to be learned")
    folder = path.with_name(f".{path.name}.distill")
    folder.mkdir(parents=True, exist_ok=True)
    examples: list[tuple[Example, list[float]]] = []
    for source in sources:

        def mapped(share: float) -> None:
            progress("maps", (len(examples) + share) / len(sources))

        examples.append(_example(source, settings, extractor, folder, mapped))
    key = _digest(
        [VERSION, SCHEME, steps, asdict(settings), extractor.description(), [one.sha256() for one in sources]]
    )
    training = Training(PredictorNetwork, [one for one, _ in examples], steps, settings.seed)
    state = folder / "training.pt"
    training.resume(state, key)
    while training.step < steps:
        training.advance()
        progress("training", training.step / steps)
        if training.step % _SAVED_EVERY == 0 and training.step < steps:
            training.save(state, key)
    gains = torch.tensor([gain for _, gain in examples]).double().mean(0).tolist()
    made_from = {
        "extractor": extractor.description(),
        "probes": settings.probes,
        "signs_per_noise": settings.signs_per_noise,
        "jitter": settings.jitter,
        "seed": settings.seed,
        "pictures": len(sources),
        "steps": steps,
    }
    save_predictor(path, training.network, training.means, gains, made_from)
    shutil.rmtree(folder, ignore_errors=True)
    return sum(parameter.numel() for parameter in training.network.parameters())


def _check(sources: Sequence[Source], settings: WeightSettings, path: Path, steps: int) -> None:
    if settings.regions or settings.predictor:
        raise FprdoError("a predictor learns an extractor's maps alone; leave regions and another predictor out")
    if not 1 <= steps <= 10**6:
        raise FprdoError(f"{steps} steps: use 1 to 1000000")
    if path.is_dir() or is_stream(path):
        raise FprdoError(f"{path}: is no regular file; give the predictor a file name")
    for source in sources:
        fmt = source.fmt
        if fmt.chroma != "420" or min(fmt.width, fmt.height) < _SMALLEST:
            raise FprdoError(
                f"{source.origin}: is {fmt.width}x{fmt.height} {fmt.chroma}; give pictures of 4:2:0, "
                f"{_SMALLEST} samples a side or more"
            )


def _example(
    source: Source, settings: WeightSettings, extractor: Extractor, folder: Path, progress: Callable[[float], None]
) -> tuple[Example, list[float]]:
    frame = next(iter(source.read()))
    one = replace(source, frames=1)
    name = _digest([one.sha256(), asdict(settings), extractor.description()])
    path = folder / f"{name}.idse"
    if not path.exists():
        write_weights(one, settings, path, extractor, progress)
    progress(1.0)
    with IdseFile(path) as file:
        found = file.map(0)
    fmt = coded_format(source.fmt)
    rgb = planes_to_rgb(float_planes(pad_frame(frame, source.fmt, fmt)), fmt)
    shapes = {n: [torch.from_numpy(plane) for plane in planes] for n, planes in found.shapes.items()}
    return Example(rgb, [torch.from_numpy(plane) for plane in found.planes], shapes), list(found.plane_gain)


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()
