"""What tests of several modules need."""

import os
import signal

# A shell that starts the tests in the background has them ignore Ctrl-C, and so would the programs that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# As the command does, before torch is loaded: threads that spin while they wait starve the encoders beside them.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import pytest

from fprdo_bridge import toolchain


@pytest.fixture(scope="session")
def tools() -> toolchain.Toolchain:
    """HM as build.py made it; a test that needs it fails where it is missing."""
    return toolchain.find("hm")
