"""Which map serves which picture."""

import numpy as np
import pytest
from coding import Coding
from oracles import random_map, same
from subject import Encodes

from fprdo_bridge.importance.idse_file import ones
from fprdo_bridge.settings import IdseOptions
from fprdo_bridge.video.formats import VideoFormat
from fprdo_bridge.video.raw import read_yuv


def test_maps_belong_to_pictures_in_output_order(tmp_path, subject, tools):
    """In coding order, the first picture to change is the one whose map did."""
    for number, how in enumerate(subject.reordered):
        fmt, folder = VideoFormat(72, 128), tmp_path / str(number)
        folder.mkdir()
        coding, flat = Coding(subject, tools, folder, fmt, how), [ones(fmt)] * how.frames
        maps = {"base": flat} | {
            f"poc{poc}": [*flat[:poc], random_map(fmt, poc), *flat[poc + 1 :]] for poc in range(how.frames)
        }
        logs = coding.run(
            **{
                name: coding.weighted(coding.maps(name, chosen), idse=IdseOptions(qp_map=False))
                for name, chosen in maps.items()
            }
        )
        order = [picture.poc for picture in logs["base"].pictures]
        assert sorted(order) == list(range(how.frames)) and (order != sorted(order)) == (how.kind == "randomaccess")
        coded = {name: list(read_yuv(folder / f"{name}.yuv", fmt)) for name in maps}
        for poc in range(how.frames):
            changed = [p for p in order if not all(map(np.array_equal, coded["base"][p], coded[f"poc{poc}"][p]))]
            assert changed and changed[0] == poc, f"map {poc} changed pictures {changed}, coded in order {order}"


def test_frames_that_share_a_map(tmp_path, subject, tools):
    fmt = VideoFormat(72, 64)
    coding = Coding(subject, tools, tmp_path, fmt, subject.shared)
    frames = subject.shared.frames
    one, two = random_map(fmt, 1), random_map(fmt, 2)
    files = {
        "shared": coding.maps("shared", [one, two], frames_per_map=frames // 2),
        "single": coding.maps("single", [one] * (frames // 2) + [two] * (frames // 2)),
        "otherwise": coding.maps("otherwise", [one] + [two] * (frames - 1)),
    }
    coding.run(**{name: coding.weighted(path) for name, path in files.items()})
    assert same(tmp_path, "shared", "single") and not same(tmp_path, "shared", "otherwise")


def test_maps_beyond_the_coded_frames_do_not_matter(tmp_path, subject, tools):
    fmt = VideoFormat(72, 64)
    coding = Coding(subject, tools, tmp_path, fmt, subject.shared)
    maps = [random_map(fmt, seed) for seed in range(subject.shared.frames)]
    extra, other = random_map(fmt, 98), random_map(fmt, 99)
    chosen = {"exact": maps, "more": [*maps, extra], "other": [*maps, other], "last": [*maps[:-1], other]}
    coding.run(
        **{name: coding.weighted(coding.maps(name, some, frame_count=len(some))) for name, some in chosen.items()}
    )
    assert same(tmp_path, "exact", "more") and same(tmp_path, "exact", "other") and not same(tmp_path, "exact", "last")


def test_pictures_that_are_left_out_have_maps_of_their_own(tmp_path, subject, tools):
    """Frames 0 and 2 of three are coded, with the maps of these frames."""
    if subject.every_second is None:
        pytest.skip(f"{subject.codec.title} leaves no picture out by itself")
    fmt = VideoFormat(72, 64)
    coding = Coding(subject, tools, tmp_path, fmt, Encodes(frames=3, options=subject.every_second))
    maps, other = [random_map(fmt, seed) for seed in range(3)], random_map(fmt, 8)
    chosen = {"base": maps, "odd": [maps[0], other, maps[2]], "even": [*maps[:2], other]}
    logs = coding.run(**{name: coding.weighted(coding.maps(name, some)) for name, some in chosen.items()})
    assert len(logs["base"].pictures) == logs["base"].idse.pictures == 2
    assert same(tmp_path, "base", "odd") and not same(tmp_path, "base", "even")
    base, even = (list(read_yuv(tmp_path / f"{name}.yuv", fmt)) for name in ("base", "even"))
    assert np.array_equal(base[0][0], even[0][0]) and not np.array_equal(base[1][0], even[1][0])
