"""Where the encoders and decoders are that build.py made.

build.py writes `third_party/build/tools.json`: for each encoder its version, the key of its build (hash of sources and
patches) and the paths of its programs, relative to that file. The environment variable FPRDO_TOOLS names another
tools.json.
"""

import json
import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from fprdo_bridge.errors import FprdoError

_DEFAULT = Path(__file__).resolve().parent.parent / "third_party" / "build" / "tools.json"


@dataclass(frozen=True)
class Toolchain:
    """One built encoder with its stock twin. All paths are absolute."""

    version: str
    key: str  # names sources and patches; equal keys mean equal programs
    encoder: Path  # patched
    stock_encoder: Path  # from the untouched tree
    config_dir: Path  # the stock tree's cfg/
    stock_decoder: Path | None = None  # from the untouched tree, if the encoder brings one
    library: Path | None = None  # patched, with one entry, where the encoder can be called in process


def find(name: str, title: str = "") -> Toolchain:
    """The tools of encoder `name`, which messages call `title`.

    Raises
    ------
    FprdoError
        They are not built, tools.json is damaged, or a file that it names is gone.
    """
    title = title or name
    listing = Path(os.environ.get("FPRDO_TOOLS") or _DEFAULT).absolute()
    remedy = f"run python3 build.py {name}"
    try:
        entries = json.loads(listing.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FprdoError(f"{title} is not built (looked for {listing}): {remedy}") from None
    except (OSError, ValueError) as error:
        raise FprdoError(f"{listing}: not a readable list of tools ({error}): {remedy}") from None
    if not isinstance(entries, dict) or name not in entries:
        raise FprdoError(f"{title} is not built ({listing} has no entry {name!r}): {remedy}")
    entry = entries[name]
    values: dict[str, Any] = {}
    for field in fields(Toolchain):
        value = entry.get(field.name) if isinstance(entry, dict) else None
        if value is None and field.default is None:
            continue
        if not isinstance(value, str):
            raise FprdoError(f"{listing}: entry {name!r} has no {field.name!r}: {remedy}")
        if field.type is str:
            values[field.name] = value
            continue
        path = values[field.name] = listing.parent / value
        if not path.exists():
            raise FprdoError(f"{title} is not complete ({field.name} {path} is missing): {remedy}")
    return Toolchain(**values)


def is_built(name: str) -> bool:
    """Whether `find` finds the tools of encoder `name`."""
    try:
        find(name)
    except FprdoError:
        return False
    return True
