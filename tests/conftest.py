"""What tests of several modules need."""

import pytest

from fprdo_bridge import toolchain


@pytest.fixture(scope="session")
def tools() -> toolchain.Toolchain:
    """HM as build.py made it; a test that needs it fails where it is missing."""
    return toolchain.find("hm")
