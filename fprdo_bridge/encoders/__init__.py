"""Encoders and decoders: one module per encoder, and the stock decoders that read what it writes.

A module of an encoder has `config_for(kind, fmt, tools)`, `command(job, encoder)`, `parse_log(text)` and
`encode(job, tools, stock, progress)`; the job is a `encoders.job.EncodeJob` for all of them. ENCODER is what `running.encode`
and `running.check` have to know of it, KINDS are its coding structures, STOCK_DECODERS its own decoders by title:
`decode(bitstream, tools, out_yuv, fmt)`; where it has `remarks(config, options)`, they are lines for the user about what
the module adds to the command.
"""

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType

from fprdo_bridge.errors import FprdoError

ENCODERS = ("hm", "jm", "x264")


def get(name: str) -> ModuleType:
    """The module of encoder `name`.

    Raises
    ------
    FprdoError
        There is no such encoder.
    """
    if name not in ENCODERS:
        raise FprdoError(f"encoder {name!r}: use one of {', '.join(ENCODERS)}")
    return importlib.import_module(f"{__name__}.{name}")


def remarks(name: str, config: Sequence[Path], options: Mapping[str, str]) -> list[str]:
    """Lines for the user about what the module of encoder `name` adds to an encode by itself; few modules have any."""
    return getattr(get(name), "remarks", lambda *_: [])(config, options)
