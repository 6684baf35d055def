"""What identifies the weights of a network."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Mapping

import torch
from torch import Tensor


def state_fingerprint(state: Mapping[str, object]) -> str:
    """SHA-256 over names, shapes, types and bytes of a module's state, as "sha256:<hex>".

    Parameters
    ----------
    state : as `Module.state_dict()` gives it: tensors of any type, and what modules keep beside them (extra state,
        packed parameters of quantised layers)

    Raises
    ------
    Exception
        A value can be neither read nor pickled; its own code decides which.
    """
    digest = hashlib.sha256()
    for name in sorted(state):
        _update(digest, name, state[name])
    return f"sha256:{digest.hexdigest()}"


def _update(digest: hashlib._Hash, name: str, value: object) -> None:
    if isinstance(value, Tensor):
        tensor = _plain(value)
        digest.update(f"{name} {tuple(tensor.shape)} {value.dtype}\n".encode("utf-8", "backslashreplace"))
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
        return
    digest.update(f"{name} {type(value).__qualname__}\n".encode("utf-8", "backslashreplace"))
    if isinstance(value, Mapping):
        for key in sorted(value, key=repr):
            _update(digest, f"{name}[{key!r}]", value[key])
    elif isinstance(value, (tuple, list)):
        for index, item in enumerate(value):
            _update(digest, f"{name}[{index}]", item)
    elif isinstance(value, (set, frozenset)):  # its order changes from run to run
        digest.update(repr(sorted(map(repr, value))).encode("utf-8", "backslashreplace"))
    elif value is None or isinstance(value, (str, bytes, int, float, complex)):
        digest.update(repr(value).encode("utf-8", "backslashreplace"))
    else:
        digest.update(pickle.dumps(value, protocol=4))


def _plain(tensor: Tensor) -> Tensor:
    """The tensor as numbers one after another in this machine's memory."""
    tensor = tensor.detach().cpu()
    if tensor.is_quantized:
        tensor = tensor.dequantize()
    if tensor.layout != torch.strided:
        tensor = tensor.to_dense()
    return tensor.resolve_conj().resolve_neg().contiguous()
