"""x265, the HEVC encoder."""

from fprdo_bridge.encoders.x265.codec import X265

__all__ = ["X265"]
