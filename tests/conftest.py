"""What tests of several modules need."""

import os
import signal

# A shell that starts the tests in the background has them ignore Ctrl-C, and so would the programs that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# As the command does, before torch is loaded: threads that spin while they wait starve the encoders beside them.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import pytest

from fprdo_bridge import toolchain
from fprdo_bridge.errors import FprdoError


@pytest.fixture(scope="session")
def tools() -> toolchain.Toolchain:
    """HM as build.py made it; a test that needs it fails where it is missing."""
    return toolchain.find("hm")


@pytest.fixture(scope="session")
def jm_tools() -> toolchain.Toolchain:
    """JM as build.py made it. Where its source cannot be had, the tests that need it are skipped and say why; where
    FPRDO_JM_SOURCE names it, JM has to be there."""
    try:
        return toolchain.find("jm")
    except FprdoError as error:
        if os.environ.get("FPRDO_JM_SOURCE"):
            raise
        pytest.skip(f"{error}; if its source cannot be had, name a copy: FPRDO_JM_SOURCE=DIR python3 build.py test")
