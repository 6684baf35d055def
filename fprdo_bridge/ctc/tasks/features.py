"""Relative feature distance of a network: what the weights approximate to second order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fprdo_bridge.ctc import schema
from fprdo_bridge.ctc.schema import Table
from fprdo_bridge.ctc.tasks.base import Frames, Measure, Record, Task

if TYPE_CHECKING:
    from fprdo_bridge.importance.extractors import Extractor


class Features(Task):
    """Feature distance of any extractor (importance.extractors), as the mean over the frames.

    Arguments: `extractor`, a name or `module:callable`; `layers`, its feature maps.
    """

    name = "features"
    measures = (Measure("distance", "", distance=True),)
    seconds = 0.8

    def __init__(self, arguments: Table):
        self.extractor = arguments.take("extractor", schema.text, "efficientnet_lite0")
        self.layers = arguments.take("layers", schema.several(schema.text), None)
        self._network: Extractor | None = None
        super().__init__(arguments)

    @property
    def title(self) -> str:
        return f"features {self.extractor.removeprefix('efficientnet_')}"

    def _load(self) -> Extractor:
        if self._network is None:
            from fprdo_bridge.importance.extractors import load_extractor

            self._network = load_extractor(self.extractor, self.layers, self.device)
        return self._network

    def identity(self) -> dict[str, object]:
        return {"extractor": self._load().description()}

    def prepare(self, original: Frames) -> Any:
        import torch

        with torch.no_grad():
            first = next(frames := original.rgb(), None)
            rest = next(frames, None)
            # Of a picture the features are kept; of a clip they would fill the memory.
            if first is None or rest is not None:
                return original
            return [feature.clone() for feature in self._load()(first)]

    def score(self, prepared: Any, decoded: Frames) -> Record:
        from fprdo_bridge.importance.extractors import feature_distance

        references = prepared.rgb() if isinstance(prepared, Frames) else [prepared]
        distances = [
            feature_distance(self._load(), reference, frame)
            for reference, frame in zip(references, decoded.rgb(), strict=True)
        ]
        return {"distance": sum(distances) / len(distances)}
