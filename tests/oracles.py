"""What the tests of every patched encoder share: weight files of a purpose, runs of the bare encoder, and what its
bitstreams decode to."""

import subprocess
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

from fprdo_bridge.bitstream import libav
from fprdo_bridge.ctc.metrics import psnr
from fprdo_bridge.encoders.codec import Codec
from fprdo_bridge.encoders.decoding import decode_own
from fprdo_bridge.encoders.hm import HM
from fprdo_bridge.encoders.job import EncodeJob
from fprdo_bridge.encoders.log import EncodeLog
from fprdo_bridge.importance.idse_file import WeightMap, ones, write_idse
from fprdo_bridge.toolchain import Toolchain
from fprdo_bridge.video.formats import Frame, VideoFormat, first_difference
from fprdo_bridge.video.raw import read_yuv


def mean1_blocks(rng: np.random.Generator, rows: int, columns: int, n: int) -> np.ndarray:
    shape = rng.exponential(1, (rows // n, n, columns // n, n))
    return (shape / shape.mean(axis=(1, 3), keepdims=True)).reshape(rows, columns).astype(np.float32)


def random_map(fmt: VideoFormat, seed: int) -> WeightMap:
    """Weights that differ by up to a hundred times between 16x16 blocks, and from sample to sample; random shapes."""
    rng = np.random.default_rng(seed)
    whole = ones(fmt)
    planes = []
    for plane in whole.planes:
        blocks = np.exp(rng.normal(0, 1, [-(-side // 16) for side in plane.shape])).repeat(16, 0).repeat(16, 1)
        weights = blocks[: plane.shape[0], : plane.shape[1]] * rng.uniform(0.5, 1.5, plane.shape)
        planes.append((weights / weights.mean()).astype(np.float32))
    shapes = {n: tuple(mean1_blocks(rng, *shape.shape, n) for shape in group) for n, group in whole.shapes.items()}
    return WeightMap(tuple(planes), shapes, whole.plane_gain)


def write_maps(path: Path, maps: list[WeightMap], fmt: VideoFormat, **arguments) -> Path:
    write_idse(path, maps, fmt, **{"frame_count": len(maps)} | arguments)
    return path


def run(job: EncodeJob, encoder: Path, name: str, codec: Codec = HM) -> EncodeLog:
    """Run the encoder itself, so that its bitstream is seen as it wrote it; outputs name.bin and name.yuv."""
    folder = job.source.parent
    place = folder / f"{name}.run"  # JM drops log files
    place.mkdir()
    this = replace(job, bitstream=folder / f"{name}.bin", recon=folder / f"{name}.yuv")
    for command in codec.commands_in(place, this, encoder):
        done = subprocess.run(command, cwd=place, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr + done.stdout[-500:]
    return codec.parse_log(done.stderr if codec.logs_on_stderr else done.stdout)


def run_all(jobs: dict[str, tuple[EncodeJob, Path]], codec: Codec = HM) -> dict[str, EncodeLog]:
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(jobs, pool.map(lambda name: run(*jobs[name], name, codec), jobs)))


def same(folder: Path, one: str, other: str) -> bool:
    """Whether bitstreams and reconstructions of two runs are equal."""
    bitstreams, reconstructions = (
        [(folder / f"{name}.{suffix}").read_bytes() for name in (one, other)] for suffix in ("bin", "yuv")
    )
    assert all(bitstreams) and all(reconstructions)
    return bitstreams[0] == bitstreams[1] and reconstructions[0] == reconstructions[1]


def region_map(fmt: VideoFormat, rows: slice, columns: slice, weight: float) -> tuple[WeightMap, np.ndarray]:
    """`weight` times as much in a region of the luma plane and what lies there of the others, and the luma mask."""
    whole = ones(fmt)
    sub_width, sub_height = fmt.subsampling
    for component, plane in enumerate(whole.planes):
        across, down = (1, 1) if component == 0 else (sub_width, sub_height)
        plane[rows.start // down : rows.stop // down, columns.start // across : columns.stop // across] *= weight
        plane /= plane.mean()
    mask = np.zeros(whole.planes[0].shape, bool)
    mask[rows, columns] = True
    return whole, mask


def sequence_psnr(pairs: Iterable[tuple[Frame, Frame]], fmt: VideoFormat) -> tuple[float, ...]:
    """PSNR of each plane, averaged over (reference, picture) pairs as HM does."""
    return tuple(np.mean([psnr(reference, picture, fmt) for reference, picture in pairs], axis=0))


def check_reconstruction(codec: Codec, tools: Toolchain, job: EncodeJob, folder: Path) -> tuple[str, ...]:
    """Titles of the decoders that know the format, each having given the encoder's reconstruction, sample by sample.

    `job` is a finished one, whose bitstream is a byte stream and whose `recon` is raw YUV; `folder` is for what the
    decoders write.
    """
    fmt = codec.decoded_format(job)
    given: dict[str, Iterator[Frame]] = {}
    if codec.decoder:
        decode_own(codec, tools, job.bitstream, folder / "decoded.yuv", fmt)
        given[codec.title] = read_yuv(folder / "decoded.yuv", fmt)
    if libav.supports(fmt, codec.standard):
        given[libav.TITLE] = libav.decode_libav(job.bitstream, fmt)
    for title, frames in given.items():
        difference = first_difference(frames, read_yuv(job.recon, fmt))
        assert not difference, f"{job.bitstream}: {title} decodes something else ({difference})"
    return tuple(given)
