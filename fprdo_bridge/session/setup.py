"""What a worker is told before it begins."""

from __future__ import annotations

import importlib
import os
import runpy
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fprdo_bridge.errors import FprdoError
from fprdo_bridge.importance.weight_map import Layout
from fprdo_bridge.values import shown

in_worker = False  # whether this process is one


@dataclass(frozen=True)
class Reference:
    """A function by the name under which another process can import it.

    Attributes
    ----------
    module : its full name
    name : qualified name in the module
    script : the file of a function of the program itself, None for a function of a module
    """

    module: str
    name: str
    script: str | None

    @classmethod
    def of(cls, function: Callable[..., Any]) -> Reference:
        """FprdoError if another process cannot find the function again."""
        if in_worker:
            raise FprdoError(
                "an encode began while a worker loaded its distortion; put what the program does behind "
                'if __name__ == "__main__"'
            )
        home, name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
        if not isinstance(home, str) or not isinstance(name, str):
            home, name = "", ""
        module, script = home, None
        if home == "__main__":
            main = sys.modules["__main__"]
            if main.__spec__:  # python -m: relative imports need the module's full name
                module = main.__spec__.name
            else:
                script = getattr(main, "__file__", None)
        if not module or not name or "<" in name or module == "__main__" and script is None:
            raise FprdoError(
                f"distortion {name or shown(function)}: runs in another process; give a function that is "
                "defined at the top of a module or a script"
            )
        found: Any = sys.modules.get(home)
        for part in name.split("."):
            found = getattr(found, part, None)
        if found is not function and found != function:  # a method of an object, or a name of another meaning by now
            raise FprdoError(
                f"distortion {name}: is not what {module} has under that name, which is what another process "
                "finds; give a function that is defined at the top"
            )
        return cls(module, name, script and os.path.abspath(script))

    def load(self) -> Any:
        """The function; FprdoError if it is not there, and whatever the module or script raises when it is loaded."""
        if self.script:  # not as __main__, so that what a script does behind `if __name__ == "__main__"` stays undone
            names = runpy.run_path(self.script, run_name="__worker__")
        else:
            names = vars(importlib.import_module(self.module))
        first, *rest = self.name.split(".")
        try:
            found = names[first]
            for part in rest:
                found = getattr(found, part)
        except (KeyError, AttributeError):
            raise FprdoError(
                f"distortion {self.name}: not there when {self.script or self.module} is loaded in another "
                "process; define it at the top"
            ) from None
        return found


@dataclass(frozen=True)
class Setup:
    """What a worker has to know.

    Attributes
    ----------
    path : sys.path of the process that asks
    layout : of the maps that it will get
    bit_depth : of the samples
    decisions : mask of those that ask the distortion, 0 for none
    distortion : None where the encoder's own is weighted
    compiled : whether `distortion` returns the function to call instead of being it
    flat : whether every pixel weight will be 1.0
    """

    path: list[str]
    layout: Layout
    bit_depth: int
    decisions: int
    distortion: Reference | None
    compiled: bool
    flat: bool
