"""fprdo: feature-preserving rate-distortion optimisation for the standard reference encoders."""

__version__ = "0.1.0"
