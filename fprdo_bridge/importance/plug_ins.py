"""Plug-ins: networks that a user names as `module:callable`."""

from __future__ import annotations

import importlib
import os
import sys
from contextlib import suppress
from types import ModuleType

from fprdo_bridge.errors import FprdoError
from fprdo_bridge.importance.foreign import guarded


def call_plug_in(name: str) -> object:
    """What the callable returns.

    The module is looked for on the Python path, then in the current folder.

    Parameters
    ----------
    name : "module:callable"; the module's name may have dots

    Raises
    ------
    FprdoError
        There is no such module or callable, or its code raises anything.
    """
    module_name, _, attribute = name.partition(":")
    if not all(part.isidentifier() for part in module_name.split(".")):
        raise FprdoError(
            f"extractor {name}: {module_name!r} is no name of a module: use module:callable, the module in "
            "the current folder or on the Python path"
        )
    module = _import(name, module_name)
    with guarded(f"extractor {name} cannot be made", f"correct {module_name}"):
        factory = getattr(module, attribute, None)
    if factory is None:
        raise FprdoError(
            f"extractor {name}: {getattr(module, '__file__', None) or module_name} has no {attribute!r}: name a "
            "function of it that returns the network"
        )
    if not callable(factory):
        raise FprdoError(f"extractor {name}: {attribute} is not callable: name a function that returns the network")
    with guarded(f"extractor {name} cannot be made", f"correct {attribute}"):
        return factory()


def _import(name: str, module_name: str) -> ModuleType:
    # Last, so that it hides nothing that is installed. It stays: the plug-in may import its neighbours when it runs.
    with suppress(OSError):  # the current folder is gone
        if os.getcwd() not in sys.path:
            sys.path.append(os.getcwd())
    with guarded(f"extractor {name} cannot be imported", f"correct {module_name}"):
        try:
            return importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
                raise  # a module that the plug-in needs
            raise FprdoError(
                f"extractor {name}: {error}: use module:callable, the module in the current folder or on the "
                "Python path"
            ) from error
