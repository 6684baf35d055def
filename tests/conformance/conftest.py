"""One encoder after the other, as the subject of each test of the suite."""

import pytest
from built import optional_tools
from subject import SUBJECTS, Subject

from fprdo_bridge.toolchain import Toolchain


@pytest.fixture(params=SUBJECTS)
def subject(request) -> Subject:
    return SUBJECTS[request.param]


@pytest.fixture
def tools(subject) -> Toolchain:
    """Its programs; of the encoders that a project may do without, the tests are skipped where they are not built."""
    first = next(iter(SUBJECTS))
    return subject.codec.tools() if subject.codec.name == first else optional_tools(subject.codec.name)
