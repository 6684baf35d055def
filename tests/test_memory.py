"""Long clips: memory does not grow with the number of frames."""

import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from clips import make_job
from networks import tiny_extractor

from fprdo_bridge import Encoder, VideoFormat, ones
from fprdo_bridge.ctc.schema import Table
from fprdo_bridge.ctc.tasks.base import Frames
from fprdo_bridge.ctc.tasks.features import Features
from fprdo_bridge.ctc.tasks.picture import PictureQuality
from fprdo_bridge.encoders import get, running
from fprdo_bridge.encoders.decoding import decoding
from fprdo_bridge.importance.growing import open_weights
from fprdo_bridge.importance.regions import RegionSettings
from fprdo_bridge.importance.weighting import REGIONS_ALONE, WeightSettings, write_weights
from fprdo_bridge.video.formats import Frame
from fprdo_bridge.video.output import write_frames
from fprdo_bridge.video.raw import read_yuv, write_yuv
from fprdo_bridge.video.source import FormatRequest, Source, open_source

pytestmark = pytest.mark.slow

FMT = VideoFormat(48, 32)
FEW, MANY = 100, 1000


def moving(count: int, fmt: VideoFormat = FMT) -> Iterator[Frame]:
    """A gradient that moves."""
    for number in range(count):
        yield tuple(
            ((np.add.outer(np.arange(rows), 2 * np.arange(columns)) + 3 * number) % 256).astype(fmt.dtype)
            for rows, columns in fmt.plane_shapes
        )


def source_of(folder: Path, count: int) -> Source:
    write_yuv(folder / f"{count}.yuv", moving(count), FMT)
    return open_source(str(folder / f"{count}.yuv"), FormatRequest.of(FMT))


def flat(act: Callable[[int], object], fmt: VideoFormat = FMT, few: int = FEW, many: int = MANY) -> None:
    """The peak of Python's and NumPy's memory while `act` handles many frames is that of few.

    Hashes and lines of a log grow, so half of what the frames take is allowed.
    """
    act(3)  # what is loaded and kept once
    peaks = []
    for count in (few, many):
        tracemalloc.start()
        act(count)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < (many - few) * fmt.frame_bytes // 2, peaks


def test_the_measure_sees_a_clip_in_memory():
    with pytest.raises(AssertionError):
        flat(lambda count: list(moving(count)))


def test_weights(tmp_path):
    extractor, settings = tiny_extractor(), WeightSettings(probes=1, frames_per_map=50)
    flat(lambda count: write_weights(source_of(tmp_path, count), settings, tmp_path / "w.idse", extractor))


def test_weights_of_boxes_and_their_reading(tmp_path):
    (tmp_path / "b.json").write_text('[{"image_id": 0, "bbox": [0, 0, 8, 8]}]')
    settings = WeightSettings(REGIONS_ALONE, regions=RegionSettings(boxes_file=str(tmp_path / "b.json")))
    for count in (3, FEW, MANY):
        write_weights(source_of(tmp_path, count), settings, tmp_path / f"{count}.idse")

    def read(count: int) -> None:
        with open_weights(tmp_path / f"{count}.idse") as file:
            assert file.frame_count == count
            for number in range(count):
                file.raw_map(number)

    flat(read)


def test_an_encode_and_its_decode(tmp_path, x264_tools):
    x264 = get("x264")

    def code(count: int) -> None:
        folder = tmp_path / str(count)
        folder.mkdir(exist_ok=True)
        job = make_job(folder, FMT, x264_tools, codec=x264, kind="lowdelay", qp=40)
        source = source_of(tmp_path, count)
        job = replace(job, source=Path(source.origin), frames=source.frames, recon=None)
        running.encode(x264, job, x264_tools)
        with decoding(job.bitstream, FMT) as decoded:
            assert write_frames(folder / "decoded.y4m", decoded.frames, FMT, 30) == count

    flat(code)


def test_judges(tmp_path):
    tasks = PictureQuality(Table({}, "picture")), Features(Table({}, "features"))
    tasks[1]._network = tiny_extractor()

    def judge(count: int) -> None:
        path = Path(source_of(tmp_path, count).origin)
        original = Frames(FMT, lambda: read_yuv(path, FMT))
        for task in tasks:
            task.score(task.prepare(original), Frames(FMT, lambda: moving(count)))

    flat(judge)


def test_the_python_api(tools):
    fmt = VideoFormat(64, 64, "400")
    encoder, weights = Encoder("hm"), ones(fmt, ())

    def code(count: int) -> None:
        encoded = encoder.encode(moving(count, fmt), 45, fmt=fmt, weights=weights, transform_sizes=())
        assert sum(1 for _ in encoded.reconstruction) == count

    flat(code, fmt, 40, 200)
