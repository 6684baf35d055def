"""fprdo: feature-preserving rate-distortion optimisation for the standard reference encoders."""

__all__ = ["Encoder", "WeightBuffer", "compiled"]
__version__: str


def __getattr__(name: str) -> object:
    """The Python API and the version, loaded when they are first asked for."""
    if name == "__version__":
        return _version()
    if name in __all__:
        from fprdo_bridge.session import encoder

        return getattr(encoder, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _version() -> str:
    """What git's tags said when the package was installed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("fprdo")
    except PackageNotFoundError:
        return "0+unknown"
