"""Object detection and instance segmentation: COCO's average precision, by pycocotools.

Truth is what the annotations say, or, where there are none, what the network finds on the original picture with a score
of at least `threshold` (arXiv 2205.06519 finds that BD-rates of the two differ by less than 0.7 points at middle
rates).
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from fprdo_bridge.ctc import schema
from fprdo_bridge.ctc.jobs import digest
from fprdo_bridge.ctc.schema import Table
from fprdo_bridge.ctc.tasks.base import Frames, Measure, Record, Reducer, Task, call, package
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.importance.device import exact_arithmetic, find_device

if TYPE_CHECKING:
    from torch import Tensor

Box = dict[str, Any]  # as in a file of COCO's format
_TORCHVISION = "torchvision:"
_FLOOR = 0.05  # score below which a detection is not kept
_MOST = 100  # detections of a picture, as COCO counts


class Detection(Task):
    """COCO AP (IoU 0.50 to 0.95) and AP50 of the boxes, in per cent.

    Arguments: `network`, "torchvision:NAME" with its default weights, or `module:callable` that returns a module like
    torchvision's detectors: it takes a list of RGB (3, height, width) float32 in [0, 1] and returns for each a dict
    with boxes (n, 4) as x1, y1, x2, y2, labels (n), scores (n) and, for segmentation, masks (n, 1, height, width);
    labels are category numbers of the annotations. `truth`: "boxes" or "original"; without it, boxes where there are
    annotations. `threshold`: of the truth from original pictures.
    """

    name = "detection"
    iou: ClassVar[str] = "bbox"
    measures: tuple[Measure, ...] = (
        Measure("ap", "AP, %", pool="set", digits=2),
        Measure("ap50", "AP50, %", pool="set", digits=2),
    )
    needs_original = True
    memory = 3 << 30
    seconds = 8.0

    def __init__(self, arguments: Table):
        self.network = arguments.take("network", schema.text)
        self.truth_from = arguments.take("truth", schema.one_of("boxes", "original"), None)
        self.threshold = arguments.take("threshold", schema.number(_FLOOR, 1), 0.5)
        if ":" not in self.network:
            raise arguments.error("network", f"{self.network!r}: use torchvision:NAME or module:callable")
        self._module: Any = None
        super().__init__(arguments)

    @property
    def title(self) -> str:
        return f"{self.name} {self.network.partition(':')[2]}"

    def _load(self) -> Any:
        if self._module is None:
            package("pycocotools", f"task {self.name}")
            self._module = (
                torchvision_detector(self.network.removeprefix(_TORCHVISION))
                if self.network.startswith(_TORCHVISION)
                else call(self.network, "network")
            )
            if not callable(self._module):
                raise FprdoError(
                    f"network {self.network} returned {type(self._module).__name__}: return a torch.nn.Module"
                )
            self._device = find_device(self.device)
            if hasattr(self._module, "eval"):
                self._module.eval()
            if hasattr(self._module, "parameters"):  # other code runs where it likes
                self._module.to(self._device)
            else:
                self._device = find_device("cpu")
        return self._module

    def identity(self) -> dict[str, object]:
        from fprdo_bridge.importance.extractors import state_fingerprint

        network = self._load()
        weights = state_fingerprint(network.state_dict()) if hasattr(network, "state_dict") else None
        return {
            "network": self.network,
            "weights": weights,
            "truth": self.truth_from,
            "threshold": self.threshold,
            "iou": self.iou,
        }

    def _boxes(self, original: Frames) -> list[list[Box]] | None:
        """True boxes of each frame, None where the original is the truth."""
        if self.truth_from == "original" or original.annotations is None and self.truth_from is None:
            return None
        if original.annotations is None:
            raise FprdoError(f'task {self.title}: truth = "boxes" needs annotations; name them with the set')
        images = _annotations(original.annotations)
        if original.image_id is None:  # a clip: its frames in the order of the file
            return [images[number] for number in sorted(images)]
        return [images.get(original.image_id, [])]

    def check(self, original: Frames) -> None:
        self._boxes(original)

    def truth(self, original: Frames) -> object:
        boxes = self._boxes(original)
        return None if boxes is None else digest(boxes)

    def prepare(self, original: Frames) -> Any:
        return self._boxes(original)

    def score(self, prepared: Any, decoded: Frames) -> Record:
        import torch

        frames = []
        network = self._load()
        with torch.no_grad(), exact_arithmetic(self._device):
            for picture in decoded.rgb():
                found = network([picture[0].to(self._device)])
                frames.append(self._kept(found[0] if isinstance(found, (list, tuple)) and found else found, picture))
        if prepared is not None and len(prepared) != len(frames):
            raise FprdoError(
                f"task {self.title}: the annotations have {len(prepared)} pictures, the clip {len(frames)} frames"
            )
        return {"frames": frames, "size": [decoded.fmt.height, decoded.fmt.width]}

    def score_original(self, prepared: Any, original: Frames) -> Record:
        return {**self.score(prepared, original), "truth": prepared}

    def _kept(self, found: Any, picture: Tensor) -> dict[str, list[Any]]:
        """A network's answer as JSON."""
        try:
            if not isinstance(found, Mapping):
                raise TypeError(f"{type(found).__name__} is no dict")
            boxes, labels, scores = (np.asarray(found[name].cpu()) for name in ("boxes", "labels", "scores"))
            order = [int(index) for index in np.argsort(-scores, kind="stable")[:_MOST] if scores[index] >= _FLOOR]
            kept: dict[str, list[Any]] = {
                "boxes": [
                    [round(float(value), 3) for value in (x1, y1, x2 - x1, y2 - y1)]
                    for x1, y1, x2, y2 in boxes[order].reshape(-1, 4)
                ],
                "labels": [int(labels[index]) for index in order],
                "scores": [round(float(scores[index]), 6) for index in order],
            }
            if self.iou == "segm":
                kept["masks"] = [_encode(np.asarray(found["masks"][index, 0].cpu()) >= 0.5) for index in order]
        except (KeyError, TypeError, IndexError, ValueError, AttributeError) as error:
            raise FprdoError(
                f"network {self.network} returned no detections of torchvision's form on a "
                f"{picture.shape[-1]}x{picture.shape[-2]} picture ({type(error).__name__}: {error})"
            ) from None
        return kept

    def reducer(self, records: Sequence[Record], originals: Sequence[Record]) -> Reducer:
        truth = [
            original["truth"]
            if original.get("truth") is not None
            else [self._as_truth(frame) for frame in original["frames"]]
            for original in originals
        ]
        return _Precision(self.iou, truth, records, package("pycocotools.cocoeval", f"task {self.name}", "pycocotools"))

    def _as_truth(self, frame: Mapping[str, list[Any]]) -> list[Box]:
        found = []
        for index, score in enumerate(frame["scores"]):
            if score >= self.threshold:
                one = {
                    "category_id": frame["labels"][index],
                    "bbox": frame["boxes"][index],
                    "iscrowd": 0,
                    "area": frame["boxes"][index][2] * frame["boxes"][index][3],
                }
                found.append(one | ({"segmentation": frame["masks"][index]} if self.iou == "segm" else {}))
        return found


class Segmentation(Detection):
    """COCO AP and AP50 of the masks, in per cent; arguments as for detection."""

    name = "segmentation"
    iou = "segm"


class _Precision:
    """AP of a choice of items; what each picture contributes is computed once."""

    def __init__(self, iou: str, truth: Sequence[Sequence[list[Box]]], records: Sequence[Record], cocoeval: Any):
        from pycocotools.coco import COCO

        self._cocoeval = cocoeval
        self._frames: list[list[int]] = []  # of each item: its pictures
        images: list[Box] = []
        annotations: list[Box] = []
        results: list[Box] = []
        for item, record in zip(truth, records, strict=True):
            height, width = record["size"]
            self._frames.append([])
            for boxes, frame in zip(item, record["frames"], strict=True):
                number = len(images) + 1
                images.append({"id": number, "height": height, "width": width})
                self._frames[-1].append(number - 1)
                annotations += [
                    {**one, "id": len(annotations) + index, "image_id": number} for index, one in enumerate(boxes, 1)
                ]
                for index, label in enumerate(frame["labels"]):
                    one = {
                        "image_id": number,
                        "category_id": label,
                        "bbox": frame["boxes"][index],
                        "score": frame["scores"][index],
                    }
                    results.append(one | ({"segmentation": frame["masks"][index]} if iou == "segm" else {}))
        categories = sorted({one["category_id"] for one in annotations})
        results = [one for one in results if one["category_id"] in set(categories)]
        self._evaluation = None
        if not results or not annotations:
            self._empty = {"ap": 0.0, "ap50": 0.0} if annotations else {"ap": float("nan"), "ap50": float("nan")}
            return
        with contextlib.redirect_stdout(io.StringIO()):
            coco = COCO()
            coco.dataset = {
                "images": images,
                "annotations": annotations,
                "info": {},
                "categories": [{"id": one, "name": str(one)} for one in categories],
            }
            coco.createIndex()
            self._evaluation = cocoeval.COCOeval(coco, coco.loadRes(results), iou)
            self._evaluation.params.areaRng, self._evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
            self._evaluation.params.maxDets = [_MOST]
            self._evaluation.evaluate()
        self._cells = np.array(self._evaluation.evalImgs, dtype=object).reshape(len(categories), 1, len(images))
        self._categories = categories

    def __call__(self, indices: np.ndarray) -> dict[str, float]:
        if self._evaluation is None:
            return self._empty
        pictures = [frame for item in indices for frame in self._frames[item]]
        evaluation, numbers = self._evaluation, list(range(len(pictures)))
        evaluation.params.imgIds = evaluation._paramsEval.imgIds = numbers
        evaluation.evalImgs = list(self._cells[:, :, pictures].reshape(-1))
        with contextlib.redirect_stdout(io.StringIO()):
            evaluation.accumulate()
        precision = evaluation.eval["precision"][:, :, :, 0, 0]  # IoU, recall, category
        return {"ap": _mean(precision), "ap50": _mean(precision[:1])}


def _mean(precision: np.ndarray) -> float:
    known = precision[precision > -1]
    return float(100 * known.mean()) if known.size else float("nan")


@cache
def _annotations(path: str) -> dict[int, list[Box]]:
    """Image id -> true boxes of a file in COCO's format."""
    try:
        with open(path, "rb") as file:
            listing = json.load(file)
        found: dict[int, list[Box]] = {int(image["id"]): [] for image in listing["images"]}
        for one in listing["annotations"]:
            kept = {name: one[name] for name in ("category_id", "bbox")}
            kept |= {"iscrowd": one.get("iscrowd", 0), "area": one.get("area", one["bbox"][2] * one["bbox"][3])}
            if "segmentation" in one:
                kept["segmentation"] = one["segmentation"]
            found[int(one["image_id"])].append(kept)
        return found
    except OSError as error:
        raise FprdoError(f"{path}: cannot be read ({error.strerror}); say with --data where it lies") from None
    except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
        raise FprdoError(
            f"{path}: the annotations do not fit ({type(error).__name__}: {error}); COCO's format has images "
            "with id, and annotations with image_id, category_id and bbox"
        ) from None


def _encode(mask: np.ndarray) -> dict[str, object]:
    from pycocotools import mask as masks

    found = masks.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": [int(side) for side in found["size"]], "counts": found["counts"].decode("ascii")}


def torchvision_detector(name: str) -> Any:
    """A detector of torchvision with its default weights, which it loads from its own source at the first use."""
    models = package("torchvision.models", f"network torchvision:{name}", "torchvision")
    if name not in models.list_models(module=models.detection):
        raise FprdoError(
            f"network torchvision:{name}: no such detector; use one of "
            f"{', '.join(models.list_models(module=models.detection))}"
        )
    try:
        return models.get_model(name, weights="DEFAULT").eval()
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise FprdoError(
            f"network torchvision:{name}: its weights cannot be loaded ({reason}); check the network"
        ) from error
