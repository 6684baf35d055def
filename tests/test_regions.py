"""Masks and boxes: factors on the weights, and what is refused."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from fprdo_bridge import FprdoError, Regions, VideoFormat, WeightMap, ones
from fprdo_bridge.importance.idse_file import IdseFile
from fprdo_bridge.importance.regions import RegionSettings
from fprdo_bridge.importance.weighting import REGIONS_ALONE, WeightSettings, write_weights
from fprdo_bridge.video.formats import coded_format
from fprdo_bridge.video.pictures import save_picture
from fprdo_bridge.video.raw import write_yuv
from fprdo_bridge.video.source import open_source

FMT = VideoFormat(20, 12)


def test_a_box_multiplies_and_the_mean_stays_1():
    luma, cb, cr = Regions(FMT, boxes=[(4, 2, 8, 6, 5)]).weigh(ones(FMT)).planes
    inside = np.zeros((12, 20), bool)
    inside[2:8, 4:12] = True
    assert np.allclose(luma[inside] / luma[~inside][0], 5) and np.allclose(luma[~inside], luma[~inside][0])
    for plane in (luma, cb, cr):
        assert plane.dtype == np.float32 and math.isclose(plane.mean(), 1, rel_tol=1e-6)
    assert np.allclose(cb[1:4, 2:6] / cb[0, 0], 5) and np.array_equal(cb, cr)


def test_a_chroma_sample_has_the_mean_factor_of_its_luma_samples():
    cb = Regions(FMT, boxes=[(5, 0, 1, 12, 3)]).weigh(ones(FMT)).planes[1]
    assert np.allclose(cb[:, 2] / cb[:, 0], 2)


def test_the_map_of_a_network_is_multiplied_and_keeps_its_shapes():
    rng = np.random.default_rng(1)
    planes = tuple(rng.gamma(1, size=shape).astype(np.float32) for shape in FMT.plane_shapes)
    given = WeightMap(planes, {4: tuple(np.full_like(plane, 1) for plane in planes)}, (1.0, 2.0, 3.0))
    found = Regions(FMT, boxes=[(0, 0, 10, 12, 4)]).weigh(given)
    ratio = found.planes[0] / planes[0]
    assert np.allclose(ratio[:, :10], 4 * ratio[0, 19]) and np.allclose(ratio[:, 10:], ratio[0, 19])
    assert found.shapes is given.shapes and found.plane_gain == given.plane_gain


def test_greys_of_a_mask_lie_between_1_and_the_factor(tmp_path):
    mask = np.zeros((12, 20), np.uint8)
    mask[:, 5:10], mask[:, 10:] = 51, 255
    save_picture(tmp_path / "mask.png", mask)
    for given in (tmp_path / "mask.png", mask, (mask / 255).astype(np.float32), mask.astype(np.uint16) * 257):
        assert np.allclose(Regions(FMT, mask=given, mask_factor=6).factors()[0, [0, 5, 10]], (1, 2, 6))
    assert np.allclose(Regions(FMT, mask=mask, mask_factor=0.5).factors()[0, [0, 5, 10]], (1, 0.9, 0.5))


def test_where_boxes_overlap_their_order_does_not_matter():
    boxes = [(0, 0, 8, 8, 4), (4, 0, 8, 8, 2), (0, 0, 6, 8, 0.5)]
    for order in (boxes, boxes[::-1]):
        factors = Regions(FMT, boxes=order, mask=np.ones((12, 20), np.float32), mask_factor=3).factors()
        assert np.allclose(factors[0, [0, 5, 7, 9, 13]], (6, 6, 12, 6, 3))


def test_a_frame_of_odd_size_is_coded_with_its_last_column_and_row_repeated():
    odd = VideoFormat(5, 3)
    factors = Regions(odd, boxes=[(4, 2, 1, 1, 7)], mask=np.ones((3, 5), np.uint8)).factors()
    assert factors.shape == (4, 6) and np.allclose(factors[2:, 4:], factors[2, 4])
    assert math.isclose(factors[3, 5] / factors[0, 0], 7)
    assert Regions(odd, boxes=[(4, 2, 1, 1, 7)]).weigh(ones(coded_format(odd))).planes[1].shape == (2, 3)


def detections(path: Path, *entries: object) -> Path:
    path.write_text(json.dumps(list(entries)))
    return path


def test_detections_are_those_of_their_frame(tmp_path):
    path = detections(
        tmp_path / "found.json",
        {"image_id": 0, "bbox": [0, 0, 4.5, 4], "score": 0.9, "category_id": 1},
        {"image_id": 2, "bbox": [10, 0, 4, 4], "factor": 9},
        {"image_id": 77, "bbox": [0, 0, 4, 4]},
    )
    regions = Regions(FMT, boxes_file=path, boxes_factor=3, frames=3)
    assert np.allclose(regions.factors(0)[0, [0, 4, 5, 10]], (3, 3, 1, 1))
    assert np.allclose(regions.factors(1), 1)
    assert np.allclose(regions.factors(2)[0, [0, 9, 10, 14]], (1, 1, 9, 1))
    assert not regions.same_for_all and Regions(FMT, boxes=[(0, 0, 4, 4, 2)]).same_for_all


def annotations(path: Path, images: list[object], *entries: object) -> Path:
    path.write_text(json.dumps({"images": images, "annotations": entries}))
    return path


def test_images_of_annotations_are_frames_in_the_order_of_their_numbers(tmp_path):
    images = [{"id": 50}, {"id": 7, "width": 20, "height": 12}]
    path = annotations(tmp_path / "a.json", images, {"image_id": 50, "bbox": [0, 0, 2, 2]})
    regions = Regions(FMT, boxes_file=path, frames=2)
    assert np.allclose(regions.factors(0), 1) and regions.factors(1)[0, 0] == 4


def test_a_picture_is_found_by_its_file_name(tmp_path):
    images = [{"id": 1, "file_name": "x/first.png"}, {"id": 2, "file_name": "x/second.png"}]
    entries = [{"image_id": 1, "bbox": [0, 0, 2, 2], "factor": 2}, {"image_id": 2, "bbox": [0, 0, 2, 2], "factor": 5}]
    path = annotations(tmp_path / "a.json", images, *entries)
    assert Regions(FMT, boxes_file=path, name="second").factors()[0, 0] == 5
    with pytest.raises(FprdoError, match=r'a\.json: 0 of its "images" are called third; give one the "file_name"'):
        Regions(FMT, boxes_file=path, name="third")


BOX = {"image_id": 0, "bbox": [0, 0, 4, 4]}
BAD_JSON = [
    ("{", "is no JSON"),
    ("[" * 100000, "is no JSON"),
    ("3", "is neither a list of detections nor an object"),
    ("{}", '"images" are no list'),
    ('{"annotations": []}', '"images" are no list'),
    ('{"images": [{"id": 0}]}', "is neither a list of detections nor an object"),
    ('{"images": [{"id": "a"}], "annotations": []}', '"images" are no list'),
    ('{"images": [{"id": 0, "width": 40, "height": 24}], "annotations": []}', "image 0 is 40x24, the frames are 20x12"),
    ("[]", r"has no box for the frame that is coded \(0\); check image_id"),
    (json.dumps([{**BOX, "image_id": 1}]), "has no box for the frame"),
    ("[3]", "entry 0: has no"),
    (json.dumps([BOX, {**BOX, "bbox": [0, 0, 4]}]), r"entry 1: bbox \[0, 0, 4\]: give x, y, width, height"),
    (json.dumps([{**BOX, "bbox": [0, 0, 4, "4"]}]), "give x, y, width"),
    (json.dumps([{**BOX, "bbox": "0044"}]), "entry 0: has no"),
    (json.dumps([{**BOX, "image_id": True}]), "entry 0: has no"),
    (json.dumps([{**BOX, "image_id": 0.5}]), "entry 0: has no"),
    (json.dumps([{**BOX, "bbox": [0, 0, 4, 0]}]), "width and height are above 0"),
    (json.dumps([{**BOX, "bbox": [-1, 0, 4, 4]}]), "begin at 0"),
    (json.dumps([{**BOX, "bbox": [17, 0, 4, 4]}]), "reaches beyond the frames, which are 20x12"),
    (json.dumps([{**BOX, "bbox": [0, 0, math.nan, 4]}]), "five finite numbers"),
    (json.dumps([{**BOX, "bbox": [0, 0, 10**400, 4]}]), "five finite numbers"),
    (json.dumps([{**BOX, "factor": 0}]), "factor 0: use 0.01 to 100"),
    (json.dumps([{**BOX, "factor": None}]), "five finite numbers"),
]


@pytest.mark.parametrize(("text", "message"), BAD_JSON)
def test_a_bad_file_of_boxes_is_one_line(tmp_path, text, message):
    path = tmp_path / "boxes.json"
    path.write_text(text)
    with pytest.raises(FprdoError, match=message) as said:
        Regions(FMT, boxes_file=path)
    assert str(said.value).startswith(str(path)) and "\n" not in str(said.value)


def test_files_that_are_not_there_or_of_another_kind(tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00\x01")
    colour = np.zeros((12, 20, 3), np.uint8)
    colour[..., 0] = 9
    save_picture(tmp_path / "colour.png", colour)
    save_picture(tmp_path / "small.png", colour[:6, :10, 1])
    for arguments, message in (
        ({"mask": tmp_path / "gone.png"}, "gone.png: no such picture"),
        ({"mask": tmp_path / "text.png"}, "text.png: not a readable picture"),
        ({"mask": tmp_path / "colour.png"}, "colour.png: is a picture in colour; a mask is grey"),
        ({"mask": tmp_path / "small.png"}, "small.png: is 10x6, the frames are 20x12"),
        ({"mask": np.zeros((12, 20), np.int32)}, "mask of int32"),
        ({"mask": np.full((12, 20), 1.5)}, "mask: floating point goes from 0"),
        ({"mask": np.full((12, 20), math.nan)}, "mask: floating point goes from 0"),
        ({"boxes_file": tmp_path / "gone.json"}, "gone.json: no such file of boxes"),
        ({"boxes_file": tmp_path}, "is a folder"),
        ({"boxes_file": tmp_path / "binary.json"}, "binary.json: is no JSON"),
        ({"boxes": 5}, "boxes 5: give a list"),
        ({"boxes": [(0, 0, 21, 1, 2)]}, "box 0,0,21,1,2: reaches beyond the frames"),
        ({"boxes": [(0, 0, 2, 1)]}, "box 0,0,2,1: give x, y, width, height and factor"),
    ):
        with pytest.raises(FprdoError, match=message):
            Regions(FMT, **arguments)


@pytest.mark.parametrize("factor", [0, -1, 101, 0.001, math.nan, math.inf, "4", True, None])
def test_a_factor_out_of_its_range(factor):
    for arguments in ({"mask_factor": factor}, {"boxes_factor": factor}):
        with pytest.raises(FprdoError, match="factor .*: use 0.01 to 100"):
            RegionSettings(**arguments)
    with pytest.raises(FprdoError, match="factor"):
        RegionSettings(boxes=((0, 0, 1, 1, factor),))


@pytest.fixture
def clip(tmp_path):
    """Four frames of one grey."""
    write_yuv(tmp_path / "clip_20x12.yuv", [tuple(np.full(s, 90, np.uint8) for s in FMT.plane_shapes)] * 4, FMT)
    return open_source(str(tmp_path / "clip_20x12.yuv"))


def test_regions_alone_are_one_map_for_a_clip_and_the_metadata_name_them(clip, tmp_path):
    save_picture(tmp_path / "mask.png", np.full((12, 20), 255, np.uint8))
    regions = RegionSettings(mask=str(tmp_path / "mask.png"), mask_factor=2, boxes=((0, 0, 10, 12, 3),))
    write_weights(clip, WeightSettings(REGIONS_ALONE, regions=regions), tmp_path / "clip.idse")
    with IdseFile(tmp_path / "clip.idse") as file:
        assert (file.map_count, file.frames_per_map, file.frame_count) == (1, 4, 4)
        assert file.layout.transform_sizes == ()
        luma = file.raw_map(0)[0][0]
        assert luma[0, 0] == 384 and luma[0, 19] == 128, "3 and 1 of mean 1"
        assert file.metadata["extractor"] == {"name": "none"} and "probes" not in file.metadata
        said = file.metadata["regions"]
    assert said["mask"] == "mask.png" and said["mask_factor"] == 2 and said["boxes"] == [[0, 0, 10, 12, 3]]
    assert len(said["mask_sha256"]) == 64


def test_boxes_of_each_frame_make_a_map_of_each_frame(clip, tmp_path):
    path = detections(tmp_path / "found.json", BOX, {"image_id": 3, "bbox": [8, 4, 4, 4]})
    settings = WeightSettings(REGIONS_ALONE, regions=RegionSettings(boxes_file=str(path), boxes_factor=2))
    write_weights(clip, settings, tmp_path / "clip.idse")
    with IdseFile(tmp_path / "clip.idse") as file:
        first, second, _, last = (file.raw_map(number)[0][0].astype(int) for number in range(4))
        assert file.metadata["regions"]["boxes_file"] == "found.json"
    assert (second == 256).all()
    assert first[0, 0] > 256 > first[5, 9] and last[5, 9] > 256 > last[0, 0]


def test_neither_a_network_nor_a_region():
    with pytest.raises(FprdoError, match="^extractor none: weights come from regions alone; give --mask"):
        WeightSettings(REGIONS_ALONE)
