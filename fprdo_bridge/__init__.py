"""fprdo: feature-preserving rate-distortion optimisation for the standard reference encoders.

The names in __all__ are the package's Python interface (docs/python-api.md); everything else is private. Each is loaded
when it is first asked for, so that `import fprdo_bridge` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fprdo_bridge.encoders.log import EncodeLog, IdseSummary, PictureLog
    from fprdo_bridge.errors import FprdoError
    from fprdo_bridge.importance.extractors import Extractor, load_extractor
    from fprdo_bridge.importance.idse_file import IdseFile, write_idse
    from fprdo_bridge.importance.regions import Regions
    from fprdo_bridge.importance.weight_map import WeightMap, ones
    from fprdo_bridge.importance.weights import compute_map
    from fprdo_bridge.session.encoded import Encoded, Reconstruction
    from fprdo_bridge.session.encoder import Encoder, compiled
    from fprdo_bridge.session.picture import Block, Picture
    from fprdo_bridge.session.weight_buffer import WeightBuffer
    from fprdo_bridge.settings import IdseOptions
    from fprdo_bridge.video.formats import Frame, VideoFormat
    from fprdo_bridge.video.pictures import frame_to_picture, load_picture, picture_to_frame, save_picture
    from fprdo_bridge.video.raw import read_yuv, write_yuv

__version__: str

__all__ = [
    "Block",
    "EncodeLog",
    "Encoded",
    "Encoder",
    "Extractor",
    "FprdoError",
    "Frame",
    "IdseFile",
    "IdseOptions",
    "IdseSummary",
    "Picture",
    "PictureLog",
    "Reconstruction",
    "Regions",
    "VideoFormat",
    "WeightBuffer",
    "WeightMap",
    "compiled",
    "compute_map",
    "frame_to_picture",
    "load_extractor",
    "load_picture",
    "ones",
    "picture_to_frame",
    "read_yuv",
    "save_picture",
    "write_idse",
    "write_yuv",
]

_HOMES = {
    "encoders.log": ("EncodeLog", "IdseSummary", "PictureLog"),
    "errors": ("FprdoError",),
    "importance.extractors": ("Extractor", "load_extractor"),
    "importance.idse_file": ("IdseFile", "write_idse"),
    "importance.regions": ("Regions",),
    "importance.weight_map": ("WeightMap", "ones"),
    "importance.weights": ("compute_map",),
    "session.encoded": ("Encoded", "Reconstruction"),
    "session.encoder": ("Encoder", "compiled"),
    "session.picture": ("Block", "Picture"),
    "session.weight_buffer": ("WeightBuffer",),
    "settings": ("IdseOptions",),
    "video.formats": ("Frame", "VideoFormat"),
    "video.pictures": ("frame_to_picture", "load_picture", "picture_to_frame", "save_picture"),
    "video.raw": ("read_yuv", "write_yuv"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    if name == "__version__":
        value: object = _version()
    elif name in _HOME_OF:
        value = getattr(importlib.import_module(f"{__name__}.{_HOME_OF[name]}"), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value  # the next time without this function
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})


def _version() -> str:
    """What git's tags said when the package was installed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("fprdo")
    except PackageNotFoundError:
        return "0+unknown"
