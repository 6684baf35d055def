"""From frames to a weight file: sharing of maps, resuming, progress."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fprdo_bridge.errors import FprdoError
from fprdo_bridge.importance.idse_file import IdseFile
from fprdo_bridge.importance.weighting import WeightSettings, write_weights
from fprdo_bridge.video.formats import VideoFormat
from fprdo_bridge.video.raw import write_yuv
from fprdo_bridge.video.source import Source, open_source

SETTINGS = WeightSettings("efficientnet_lite0", probes=2, frames_per_map=2)


@pytest.fixture(scope="module")
def extractor():
    return SETTINGS.load()


@pytest.fixture
def clip(tmp_path: Path) -> Source:
    """Five frames of noise, 33x18: coded as 34x18."""
    fmt = VideoFormat(33, 18)
    noise = np.random.default_rng(3)
    write_yuv(
        tmp_path / "clip_33x18.yuv",
        [tuple(noise.integers(0, 256, shape, dtype=np.uint8) for shape in fmt.plane_shapes) for _ in range(5)],
        fmt,
    )
    return open_source(str(tmp_path / "clip_33x18.yuv"))


def test_groups_of_frames_share_the_map_of_their_first(clip, tmp_path, extractor):
    shares = []
    write_weights(clip, SETTINGS, tmp_path / "clip.idse", extractor, shares.append)
    assert np.allclose(shares, np.arange(1, 7) / 6)
    with IdseFile(tmp_path / "clip.idse") as file:
        assert (file.map_count, file.frames_per_map, file.frame_count) == (3, 2, 5)
        assert (file.layout.width, file.layout.height) == (34, 18)
        maps = [file.raw_map(number)[0] for number in range(3)]
        assert file.metadata["source_sha256"] == clip.sha256()
        assert file.metadata["device"] == extractor.device.type
    assert not np.array_equal(maps[0][0], maps[1][0])
    fmt = clip.fmt
    write_yuv(tmp_path / "third.yuv", [list(clip.read())[2]], fmt)
    third = open_source(str(tmp_path / "third.yuv"), request_of(fmt))
    write_weights(third, SETTINGS, tmp_path / "third.idse", extractor)
    with IdseFile(tmp_path / "third.idse") as file:
        for plane, expected in zip(file.raw_map(0)[0], maps[1]):
            assert np.array_equal(plane, expected)


def request_of(fmt: VideoFormat):
    from fprdo_bridge.video.source import FormatRequest

    return FormatRequest(size=(fmt.width, fmt.height))


def test_a_stopped_run_goes_on_where_it_was(clip, tmp_path, extractor):
    write_weights(clip, SETTINGS, tmp_path / "whole.idse", extractor)
    path, shares = tmp_path / "stopped.idse", []

    def stop_in_the_third_map(share: float) -> None:
        if share > 0.7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_weights(clip, SETTINGS, path, extractor, stop_in_the_third_map)
    assert not path.exists()
    write_weights(clip, SETTINGS, path, extractor, shares.append)
    assert np.allclose(shares, [5 / 6, 1]), "only the third map is computed"
    assert path.read_bytes() == (tmp_path / "whole.idse").read_bytes()
    assert not list(tmp_path.glob(".*")), "nothing else is left"


def test_other_settings_do_not_reuse_kept_maps(clip, tmp_path, extractor):
    path, shares = tmp_path / "clip.idse", []

    def stop_at_the_end(share: float) -> None:
        if share == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_weights(clip, SETTINGS, path, extractor, stop_at_the_end)
    write_weights(clip, replace(SETTINGS, seed=1), path, extractor, shares.append)
    assert len(shares) == 6


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"frames_per_map": 0}, "0 frames per map: use 1 or more"),
        ({"frames_per_map": 1.0}, "frames per map 1.0: give a whole number"),
        ({"probes": 0}, "probes 0: use at least 1"),
        ({"probes": "16"}, "probes '16': give a whole number"),
        ({"probes": True}, "probes True: give a whole number"),
        ({"signs_per_noise": -1}, "signs per noise -1: use at least 1"),
        ({"seed": -1}, "seed -1: use 0 to"),
        ({"seed": 1 << 63}, "seed 9223372036854775808: use 0 to"),
        ({"seed": 0.5}, "seed 0.5: use 0 to"),
        ({"jitter": math.nan}, "jitter nan: use a standard deviation"),
        ({"jitter": math.inf}, "jitter inf: use a"),
        ({"jitter": -1.0}, "jitter -1.0: use a"),
        ({"jitter": None}, "jitter None: use a"),
        ({"jitter": 10**400}, "jitter 1000.*: use a"),
    ],
)
def test_bad_settings_are_said(setting, message):
    with pytest.raises(FprdoError, match=f"^{message}"):
        WeightSettings(**setting)
