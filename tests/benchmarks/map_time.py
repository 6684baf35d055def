"""Time and memory of weight maps on a device, and how far its maps are from the processor's.

    .venv/bin/python tests/benchmarks/map_time.py [--device cpu|cuda|mps] [--preset fast] [--sizes 768x512 1920x1080]

Pictures are made here: noise of all scales, with edges. Seconds are those of the clock from planes to map: the first
map of a size, then the median of further ones, whose memory and random numbers are there already. Memory is the
largest that the process had so far, and on a GPU the largest that torch had for this size. A map holds pixel weights
and shapes, of mean 1; differences are between weights. Needs numpy, torch and the extractor's packages, and nothing
compiled.
"""

import argparse
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a source tree that is not installed

from fprdo_bridge.errors import FprdoError
from fprdo_bridge.importance.device import DEVICES
from fprdo_bridge.importance.extractors import Extractor
from fprdo_bridge.importance.memory import reused_memory
from fprdo_bridge.importance.weight_map import WeightMap
from fprdo_bridge.importance.weighting import MapMaker, WeightSettings
from fprdo_bridge.importance.weights import compute_map
from fprdo_bridge.settings import PRESETS
from fprdo_bridge.video.formats import Frame, VideoFormat

_SIZES = ((768, 512), (1920, 1080), (3840, 2160))


def picture(fmt: VideoFormat) -> Frame:
    """Noise whose amplitude falls with its frequency, rectified so that it has edges; the same for every run."""
    rng = np.random.default_rng(1)
    planes = []
    for rows, columns in fmt.plane_shapes:
        plane = np.zeros((rows, columns), np.float32)
        for step in (4, 16, 64, 256):
            coarse = rng.standard_normal((-(-rows // step) + 1, -(-columns // step) + 1)).astype(np.float32)
            plane += np.sqrt(step) * np.kron(coarse, np.ones((step, step), np.float32))[:rows, :columns]
        planes.append(np.clip(128 + 4 * plane, 16, 235).astype(np.uint8))
    return tuple(planes)


def host_mebibytes() -> float:
    """The largest resident memory of this process so far."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def timed(
    fmt: VideoFormat, frame: Frame, extractor: Extractor | MapMaker, settings: WeightSettings
) -> tuple[float, WeightMap]:
    start = time.perf_counter()
    if isinstance(extractor, MapMaker):
        found = extractor.map(frame, fmt)
    else:
        found = compute_map(
            frame, fmt, extractor, probes=settings.probes, signs_per_noise=settings.signs_per_noise, seed=settings.seed
        )
    return time.perf_counter() - start, found


def arrays(found: WeightMap) -> list[np.ndarray]:
    return [*found.planes, *(plane for planes in found.shapes.values() for plane in planes)]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=DEVICES, default="auto")
    parser.add_argument("--extractor", default=WeightSettings.extractor)
    parser.add_argument("--predictor", default="", help="file of fprdo distill instead")
    parser.add_argument("--preset", choices=tuple(PRESETS), default="fast")
    parser.add_argument("--probes", type=int)
    parser.add_argument("--signs-per-noise", type=int)
    parser.add_argument("--sizes", nargs="+", type=lambda text: tuple(map(int, text.split("x"))), default=_SIZES)
    parser.add_argument("--maps", type=int, default=3, help="further maps of each size (default 3)")
    return parser.parse_args()


def main() -> None:
    options = parse_arguments()
    given = {"probes": options.probes, "signs_per_noise": options.signs_per_noise}
    values = {**PRESETS[options.preset].weights, **{key: value for key, value in given.items() if value}}
    settings = WeightSettings(extractor=options.extractor, device=options.device, predictor=options.predictor, **values)
    extractor = settings.load()
    device = extractor.device
    what = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    print(
        (settings.predictor or f"{settings.extractor}, {settings.probes} probes, {settings.signs_per_noise} to a noise")
        + f"; {device} ({what}), "
        f"torch {torch.__version__}",
        flush=True,
    )
    with reused_memory():
        for width, height in options.sizes:
            fmt = VideoFormat(width, height)
            frame = picture(fmt)
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(device)
            first, _ = timed(fmt, frame, extractor, settings)
            times = [timed(fmt, frame, extractor, settings)[0] for _ in range(options.maps)]
            usual = statistics.median(times) if times else first
            memory = f"host {host_mebibytes():.0f} MiB"
            if device.type == "cuda":
                memory += f", device {torch.cuda.max_memory_allocated(device) / (1 << 20):.0f} MiB"
            print(
                f"{width}x{height}: first map {first:.2f} s, then {usual:.3f} s, {1 / usual:.2f} a second; {memory}",
                flush=True,
            )
    if device.type != "cpu":
        fmt = VideoFormat(*_SIZES[0])
        frame = picture(fmt)
        _, there = timed(fmt, frame, extractor, settings)
        _, again = timed(fmt, frame, extractor, settings)
        _, here = timed(fmt, frame, replace(settings, device="cpu").load(), settings)
        same = all(np.array_equal(a, b) for a, b in zip(arrays(there), arrays(again)))
        apart = [np.abs(a - b) for a, b in zip(arrays(there), arrays(here))]
        print(
            f"{fmt.width}x{fmt.height}: weights of {device} and cpu differ by {max(map(np.max, apart)):.1e} at most, "
            f"{max(float(np.sqrt(np.square(one).mean())) for one in apart):.1e} RMS; a second map on {device} is "
            + ("the same" if same else "another")
        )


if __name__ == "__main__":
    try:
        main()
    except FprdoError as error:
        sys.exit(f"map_time.py: error: {error}")
