"""The encoders: a registry of what each one brings (codec.Codec), and how they and the decoders run.

To add one, see docs/porting.md: a folder beside these modules, and its name in ENCODERS.
"""

import importlib

from fprdo_bridge import toolchain
from fprdo_bridge.bitstream.libav import TITLE
from fprdo_bridge.encoders.codec import Codec
from fprdo_bridge.errors import FprdoError

__all__ = ["DEFAULT", "ENCODERS", "Codec", "built", "decoders", "get"]

# Folder of each encoder, and the name under which it has its Codec; the first one is the default.
ENCODERS = {"hm": "HM", "jm": "JM", "x264": "X264", "x265": "X265"}
DEFAULT = next(iter(ENCODERS))


def get(name: str) -> Codec:
    """The encoder that the command line calls `name`.

    Raises
    ------
    FprdoError
        There is no such encoder.
    """
    if name not in ENCODERS:
        raise FprdoError(f"encoder {name!r}: use one of {', '.join(ENCODERS)}")
    codec = getattr(importlib.import_module(f"{__name__}.{name}"), ENCODERS[name])
    assert isinstance(codec, Codec)
    return codec


def decoders() -> list[str]:
    """What a user may ask for to decode a bitstream: the encoders that bring a decoder, and libavcodec."""
    return [*(name for name in ENCODERS if get(name).decoder), TITLE]


def built() -> list[Codec]:
    """Those encoders whose programs are there."""
    return [get(name) for name in ENCODERS if toolchain.is_built(name)]
