"""JM, the AVC reference encoder."""

from fprdo_bridge.encoders.jm.codec import JM

__all__ = ["JM"]
