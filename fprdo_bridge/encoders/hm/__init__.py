"""HM, the HEVC reference encoder."""

from fprdo_bridge.encoders.hm.codec import HM

__all__ = ["HM"]
