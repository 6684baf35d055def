"""Encoders that build.py made, or the reason why a test goes without."""

import os

import pytest

from fprdo_bridge import toolchain
from fprdo_bridge.errors import FprdoError


def optional_tools(name: str) -> toolchain.Toolchain:
    """An encoder as build.py made it. Where its source cannot be had, the tests that need it are skipped and say why;
    where FPRDO_<NAME>_SOURCE names it, it has to be there."""
    variable = f"FPRDO_{name.upper()}_SOURCE"
    try:
        return toolchain.find(name)
    except FprdoError as error:
        if os.environ.get(variable):
            raise
        pytest.skip(f"{error}; if its source cannot be had, name a copy: {variable}=DIR python3 build.py test")
