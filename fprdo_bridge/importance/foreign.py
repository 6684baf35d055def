"""Code of others, such as a user's network: whatever it raises becomes one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from fprdo_bridge.errors import FprdoError

_LONGEST = 300  # characters of a reason


@contextmanager
def guarded(what: str, remedy: str) -> Iterator[None]:
    """Turn what foreign code in the block raises into an FprdoError "`what`: its reason; `remedy`".

    SystemExit and RecursionError are no exception to it. KeyboardInterrupt and FprdoError pass as they are. Where the
    memory of a GPU does not suffice, the remedy is another one.
    """
    try:
        yield
    except (FprdoError, KeyboardInterrupt):
        raise
    except BaseException as error:
        if type(error).__name__ == "OutOfMemoryError":  # torch's, which is not loaded here
            remedy = "end what else uses the GPU, or use the device cpu"
        raise FprdoError(f"{what}: {reason(error)}; {remedy}") from error


def reason(error: BaseException) -> str:
    """Type and first line of an exception, even if it cannot say its own text."""
    try:
        lines = str(error).split("\n")
    except Exception:  # its own __str__
        lines = ["its text cannot be had"]
    first = " ".join(next((line for line in lines if line.strip()), "no message").split())
    return f"{type(error).__name__}: {first if len(first) <= _LONGEST else first[:_LONGEST] + '...'}"
