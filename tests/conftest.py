"""What tests of several modules need."""

import os
import signal

# A shell that starts the tests in the background has them ignore Ctrl-C, and so would the programs that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# As the command does, before torch is loaded: threads that spin while they wait starve the encoders beside them.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import pytest

from fprdo_bridge import Encoder, toolchain
from fprdo_bridge.errors import FprdoError


@pytest.fixture(scope="session")
def tools() -> toolchain.Toolchain:
    """HM as build.py made it; a test that needs it fails where it is missing."""
    return toolchain.find("hm")


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


@pytest.fixture(scope="session")
def jm_tools() -> toolchain.Toolchain:
    return optional_tools("jm")


@pytest.fixture(scope="session")
def x264_tools() -> toolchain.Toolchain:
    return optional_tools("x264")


@pytest.fixture(params=["hm", "jm"])
def encoder(request) -> Encoder:
    """Each encoder that Python drives."""
    if request.param == "jm":
        optional_tools("jm")
    return Encoder(request.param)
