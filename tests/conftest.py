"""What tests of several modules need."""

import os
import signal

# A shell that starts the tests in the background has them ignore Ctrl-C, and so would the programs that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# As the command does, before torch is loaded: threads that spin while they wait starve the encoders beside them.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import hypothesis
import pytest
from built import optional_tools

from fprdo_bridge import Encoder, toolchain

hypothesis.settings.register_profile("fast", max_examples=20)


@pytest.fixture(scope="session")
def tools() -> toolchain.Toolchain:
    """HM as build.py made it; a test that needs it fails where it is missing."""
    return toolchain.find("hm")


@pytest.fixture(scope="session")
def jm_tools() -> toolchain.Toolchain:
    return optional_tools("jm")


@pytest.fixture(scope="session")
def x264_tools() -> toolchain.Toolchain:
    return optional_tools("x264")


@pytest.fixture(scope="session")
def x265_tools() -> toolchain.Toolchain:
    return optional_tools("x265")


@pytest.fixture(params=["hm", "jm"])
def encoder(request) -> Encoder:
    """Each encoder that Python drives."""
    if request.param == "jm":
        optional_tools("jm")
    return Encoder(request.param)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what runs an encoder that build.py made, and what is fast: whatever is neither slow nor runs an encoder."""
    for item in items:
        fixtures = {"encoder", "tools", "jm_tools", "x264_tools", "x265_tools"} & set(getattr(item, "fixturenames", ()))
        if fixtures or item.path.parent.name in ("conformance", "encoders", "python_api"):
            item.add_marker("encoder")
        if not any(item.iter_markers("encoder")) and not any(item.iter_markers("slow")):
            item.add_marker("fast")
