"""Mask R-CNN with ResNet-50 FPN of torchvision as the network of the maps: the published experiment's own.

`--extractor fprdo_bridge.ctc.tasks.maskrcnn:extractor` serves every command.
"""

from __future__ import annotations

from fprdo_bridge.ctc.tasks.base import package
from fprdo_bridge.importance.extractors import Extractor

_LEVELS = ("0", "1", "2", "3")  # of the pyramid, strides 4 to 32 of the resized picture


def extractor() -> Extractor:
    """The pyramid's output convolutions, on the picture resized and normalised as the detector does it.

    Raises
    ------
    FprdoError
        torchvision is not installed or does not fit torch, or its weights cannot be loaded.
    """
    import torch

    from fprdo_bridge.ctc.tasks.detection import torchvision_detector

    package("torchvision", "extractor maskrcnn_resnet50_fpn")
    detector = torchvision_detector("maskrcnn_resnet50_fpn")

    class Pyramid(torch.nn.Module):
        """Preparation and backbone of the detector."""

        def __init__(self) -> None:
            super().__init__()
            self.transform, self.backbone = detector.transform, detector.backbone

        def forward(self, rgb: torch.Tensor) -> torch.Tensor:
            """Run to the last level of the pyramid."""
            images, _ = self.transform(list(rgb))
            last: torch.Tensor = self.backbone(images.tensors)["3"]
            return last

    return Extractor("maskrcnn_resnet50_fpn", Pyramid(), [f"backbone.fpn.layer_blocks.{level}.0" for level in _LEVELS])
