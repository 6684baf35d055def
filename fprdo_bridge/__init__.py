"""fprdo: feature-preserving rate-distortion optimisation for the standard reference encoders."""

__version__ = "0.1.0"


def __getattr__(name: str):
    """The Python API, loaded when it is first asked for: the command does without."""
    if name in ("Encoder", "WeightBuffer", "compiled"):
        from fprdo_bridge.session import encoder

        return getattr(encoder, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
