"""Figures of matplotlib that do not depend on the user's settings, and texts in them that are never markup."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fprdo_bridge.errors import FprdoError
from fprdo_bridge.files import replacing
from fprdo_bridge.text import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TYPES = ("png", "jpg", "jpeg", "webp", "tif", "tiff", "svg", "pdf", "eps")  # need no program besides matplotlib

# Keyword arguments of a text that shows a name: a pair of $ is no mathematics, and a backslash no TeX.
LITERAL: dict[str, Any] = {"parse_math": False, "usetex": False}


@contextmanager
def figure(path: Path, width: float, height: float) -> Iterator[Figure]:
    """Yield an empty figure of this size in inches, and write it to `path` in the format of its suffix (PNG if none).

    Raises
    ------
    FprdoError
        matplotlib does not know the type of file, or the file cannot be written.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    suffix = path.suffix.lower().lstrip(".") or "png"
    if suffix not in _TYPES:
        raise FprdoError(f"{path}: unknown picture type .{suffix}; use .png, .webp, .svg or .pdf")
    with matplotlib.rc_context(dict(matplotlib.rcParamsDefault) | {"backend": "agg"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        new = Figure(figsize=(width, height), dpi=110, layout="constrained")
        canvas = FigureCanvasAgg(new)
        yield new
        with replacing(path) as temporary:
            canvas.print_figure(temporary, format=suffix)


def literal(text: str, longest: int = 80) -> str:
    """A name as a figure shows it: in one line, and cut if it is long."""
    text = printable(text)
    return text if len(text) <= longest else f"{text[: longest - 3]}..."
