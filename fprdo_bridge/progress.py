"""How far a long step is, in lines of text."""

import time
from collections.abc import Callable

_SECONDS = 5.0


def percentage(label: str, say: Callable[[str], None]) -> Callable[[float], None]:
    """A callback that takes the share done, 0 to 1, and says it every five seconds; short steps stay silent."""
    last = time.monotonic()

    def show(share: float) -> None:
        nonlocal last
        if time.monotonic() - last >= _SECONDS:
            last = time.monotonic()
            say(f"{label}: {100 * share:.0f} %")

    return show
