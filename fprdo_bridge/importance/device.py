"""Where networks run: the processor or a GPU, chosen by name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from fprdo_bridge.errors import FprdoError
from fprdo_bridge.values import one_of

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor

DEVICES = ("auto", "cpu", "cuda", "mps")
DEFAULT_DEVICE = "auto"


def device_name(value: object) -> str:
    """One of DEVICES, whether or not this machine has it; FprdoError for anything else."""
    return one_of("device", value, DEVICES)


def find_device(name: str = DEFAULT_DEVICE) -> torch.device:
    """The device of a name. "auto" is the first GPU that torch sees, else the CPU.

    Raises
    ------
    FprdoError
        torch sees no such device here, or `name` is none of DEVICES.
    """
    import torch

    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device_name(name) == DEFAULT_DEVICE:
        return torch.device("cuda" if there["cuda"] else "mps" if there["mps"] else "cpu")
    if not there[name]:
        raise FprdoError(f"device {name}: torch {torch.__version__} sees none here; use cpu, or auto for what is there")
    return torch.device(name)


@contextmanager
def exact_arithmetic(device: torch.device) -> Iterator[None]:
    """Within the block, convolutions on a GPU are repeatable and as exact as float32 is: no TF32, no choice by time."""
    import torch

    if device.type != "cuda":
        yield
        return
    allowed = torch.backends.cuda.matmul.allow_tf32
    try:
        torch.backends.cuda.matmul.allow_tf32 = False
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = allowed


def to_host(tensors: Sequence[Tensor]) -> list[np.ndarray]:
    """Tensors of any device as arrays.

    A GPU writes them into memory that it reaches at its full speed, a tenth of the time. The system cannot swap that
    out while the arrays live, and torch keeps it for the next arrays when these are gone.
    """
    import torch

    if not tensors or tensors[0].device.type != "cuda":
        return [tensor.cpu().numpy() for tensor in tensors]
    try:
        arrays = [torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True) for tensor in tensors]
    except RuntimeError:  # as much as the system allows is taken
        return [tensor.cpu().numpy() for tensor in tensors]
    for array, tensor in zip(arrays, tensors):
        array.copy_(tensor, non_blocking=True)
    torch.cuda.synchronize(tensors[0].device)
    return [array.numpy() for array in arrays]


def wide(tensor: Tensor) -> Tensor:
    """The tensor in the widest floating point that its device has: float64, on Apple's GPUs float32."""
    return tensor.float() if tensor.device.type == "mps" else tensor.double()
