"""Small networks for tests of what surrounds them."""

import torch
from torch import nn

from fprdo_bridge.importance.extractors import Extractor


def tiny_extractor(name: str = "tiny") -> Extractor:
    """One convolution and one rectifier, the same for every call."""
    generator = torch.Generator().manual_seed(8)
    network = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.ReLU())
    network[0].weight.data = torch.randn(network[0].weight.shape, generator=generator)
    network[0].bias.data = torch.randn(4, generator=generator)
    return Extractor(name, network, ["1"])
