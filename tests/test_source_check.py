"""Weights of another picture are refused; those of the same frames are taken, whatever part of a clip they cover."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from networks import tiny_extractor
from PIL import Image

from fprdo_bridge.errors import FprdoError
from fprdo_bridge.importance.idse_file import IdseFile, ones, write_idse
from fprdo_bridge.importance.source_check import check_source, map_hashes
from fprdo_bridge.importance.weighting import WeightSettings, write_weights
from fprdo_bridge.video.formats import VideoFormat, coded_format, pad_frame
from fprdo_bridge.video.raw import write_yuv
from fprdo_bridge.video.source import FormatRequest, Source, open_source


def picture(path: Path, seed: int) -> Path:
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (18, 33, 3), dtype=np.uint8)).save(path)
    return path


def clip(path: Path, frames: int, changed: tuple[int, ...] = (), fmt: VideoFormat = VideoFormat(16, 12)) -> Path:
    """Frames of noise; those in `changed` differ in one sample."""
    noise = np.random.default_rng(5)
    made = [tuple(noise.integers(0, 256, shape, dtype=np.uint8) for shape in fmt.plane_shapes) for _ in range(frames)]
    for index in changed:
        made[index][-1][-1, -1] ^= 1
    write_yuv(path, made, fmt)
    return path


def weights_of(source: Source, path: Path, **settings) -> Path:
    write_weights(source, WeightSettings(probes=1, **{"frames_per_map": 1} | settings), path, tiny_extractor())
    return path


def check(weights: Path, source: Source) -> str | None:
    with IdseFile(weights) as file:
        return check_source(file, source)


def test_another_picture_of_the_same_size(tmp_path):
    one, other = (
        open_source(str(picture(tmp_path / f"{name}.png", seed))) for seed, name in enumerate(("one", "other"))
    )
    weights = weights_of(one, tmp_path / "one.idse")
    assert check(weights, one) is None
    with pytest.raises(
        FprdoError,
        match=r"one.idse: the weights of one were computed from another picture than frame 0 of "
        r".*other.png; compute its own \(fprdo weights\), or say --force-weights",
    ):
        check(weights, other)
    copy = tmp_path / "renamed.png"
    copy.write_bytes((tmp_path / "one.png").read_bytes())
    assert check(weights, open_source(str(copy))) is None


def test_weights_of_a_sequence_serve_its_beginning(tmp_path):
    path = clip(tmp_path / "clip_16x12.yuv", 7)
    whole = weights_of(open_source(str(path)), tmp_path / "whole.idse", frames_per_map=2)
    start = weights_of(open_source(str(path), frames=3), tmp_path / "start.idse", frames_per_map=2)
    for frames in range(1, 8):
        assert check(whole, open_source(str(path), frames=frames)) is None
        assert check(start, open_source(str(path), frames=frames)) is None
    with pytest.raises(FprdoError, match="another picture than frame 0 of"):
        check(whole, open_source(str(path), frames=2, skip=2))


@pytest.mark.parametrize(
    "changed, frames, refused", [((4,), 7, 4), ((4,), 4, None), ((4,), 5, 4), ((3,), 7, None), ((6, 2), 7, 2)]
)
def test_every_map_is_compared(tmp_path, changed, frames, refused):
    """With one map for two frames, a change of a second frame does not concern the weights."""
    original, other = clip(tmp_path / "a_16x12.yuv", 7), clip(tmp_path / "b_16x12.yuv", 7, changed)
    weights = weights_of(open_source(str(original)), tmp_path / "a.idse", frames_per_map=2)
    source = open_source(str(other), frames=frames)
    if refused is None:
        assert check(weights, source) is None
    else:
        with pytest.raises(FprdoError, match=f"another picture than frame {refused} of"):
            check(weights, source)


@pytest.mark.parametrize(
    "request_, said",
    [
        (FormatRequest(bit_depth=10), "bit_depth 8, not 10"),
        (FormatRequest(chroma="444"), "chroma 420, not 444"),
        (FormatRequest(chroma="400", full_range=True), "chroma 420, not 400 and full_range False, not True"),
        (FormatRequest(matrix="bt601"), "matrix bt709, not bt601"),
        (FormatRequest(full_range=True), "full_range False, not True"),
        (FormatRequest(siting="center"), "siting left, not center"),
    ],
)
def test_the_same_picture_converted_otherwise_cannot_be_told(tmp_path, request_, said):
    """It may be the same and may be another: a line, no refusal."""
    for name, seed in (("one", 0), ("other", 1)):
        path = picture(tmp_path / f"{name}.png", seed)
        if name == "one":
            weights = weights_of(open_source(str(path)), tmp_path / "one.idse")
        line = check(weights, open_source(str(path), request_))
        assert line == (
            f"{weights}: the weights were computed of one with {said}, so it cannot be told whether they belong to "
            f"{path}"
        )


def test_another_size_is_not_the_question_here(tmp_path):
    weights = weights_of(open_source(str(picture(tmp_path / "one.png", 0))), tmp_path / "one.idse")
    assert check(weights, open_source(str(clip(tmp_path / "clip_16x12.yuv", 1)))) is None


def test_meaning_of_samples_alone_is_no_other_picture(tmp_path):
    """A raw file that is read with another matrix holds the same samples."""
    path = clip(tmp_path / "clip_16x12.yuv", 2)
    weights = weights_of(open_source(str(path)), tmp_path / "a.idse")
    assert check(weights, open_source(str(path), FormatRequest(matrix="bt601"))) is None


def test_files_that_do_not_say_where_they_come_from(tmp_path):
    path = clip(tmp_path / "clip_16x12.yuv", 2)
    source = open_source(str(path))
    for metadata in (None, {"map_sha256": []}, {"map_sha256": ["a"]}, {"map_sha256": "ab"}, {"map_sha256": {"0": "a"}}):
        write_idse(tmp_path / "a.idse", [ones(source.fmt)] * 2, source.fmt, frame_count=2, metadata=metadata)
        assert check(tmp_path / "a.idse", source) is None
    write_idse(
        tmp_path / "a.idse",
        [ones(source.fmt)] * 2,
        source.fmt,
        frame_count=2,
        metadata={"map_sha256": [None, 3], "source": ["x"], "colour": 7},
    )
    with pytest.raises(FprdoError, match="a.idse: the weights were computed from another picture than frame 0"):
        check(tmp_path / "a.idse", source)


def test_files_of_an_earlier_fprdo(tmp_path):
    """They hold one hash for all frames, which says something about as many frames only."""
    path = clip(tmp_path / "clip_16x12.yuv", 3)
    source = open_source(str(path))
    for digest, same in ((source.sha256(), True), ("0" * 64, False)):
        write_idse(
            tmp_path / "a.idse", [ones(source.fmt)] * 3, source.fmt, frame_count=3, metadata={"source_sha256": digest}
        )
        assert check(tmp_path / "a.idse", replace(source, frames=2)) is None
        if same:
            assert check(tmp_path / "a.idse", source) is None
        else:
            with pytest.raises(FprdoError, match="another picture than the frames of"):
                check(tmp_path / "a.idse", source)


@pytest.mark.parametrize(
    "fmt", [VideoFormat(17, 9), VideoFormat(8, 6, "422", 10), VideoFormat(5, 3, "400", 16)], ids=str
)
def test_hashes_are_what_the_specification_says(tmp_path, fmt):
    """Planes of the coded frame one after another, two bytes above 8 bits, the lower one first."""
    noise = np.random.default_rng(6)
    frames = [
        tuple(noise.integers(0, fmt.max_value + 1, shape).astype(fmt.dtype) for shape in fmt.plane_shapes)
        for _ in range(3)
    ]
    write_yuv(tmp_path / "a.yuv", frames, fmt)
    source = open_source(str(tmp_path / "a.yuv"), FormatRequest.of(fmt))
    expected = [
        hashlib.sha256(
            b"".join(
                bytes(
                    int(sample) >> shift & 255
                    for sample in plane.ravel()
                    for shift in ((0,) if fmt.bit_depth == 8 else (0, 8))
                )
                for plane in pad_frame(frame, fmt, coded_format(fmt))
            )
        ).hexdigest()
        for frame in frames
    ]
    assert list(map_hashes(source, 1)) == expected and list(map_hashes(source, 2)) == expected[::2]
    with IdseFile(weights_of(source, tmp_path / "a.idse", frames_per_map=2)) as file:
        assert file.metadata["map_sha256"] == expected[::2]
