"""x264, the AVC encoder."""

from fprdo_bridge.encoders.x264.codec import X264

__all__ = ["X264"]
