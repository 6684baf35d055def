"""Fixtures of the tests that run with every encoder of the registry."""

from dataclasses import dataclass
from fractions import Fraction

import pytest
from built import optional_tools
from clips import make_job

from fprdo_bridge import encoders
from fprdo_bridge.encoders.codec import Codec
from fprdo_bridge.encoders.job import EncodeJob
from fprdo_bridge.encoders.running import EncodeResult, encode
from fprdo_bridge.toolchain import Toolchain
from fprdo_bridge.video.formats import VideoFormat


class ToolsOf(dict[str, Toolchain]):
    """Tools by name of the encoder, looked for when a test asks; it is skipped where an optional encoder is missing."""

    def __missing__(self, name: str) -> Toolchain:
        self[name] = optional_tools(name)
        return self[name]


@pytest.fixture(scope="session")
def tools_of() -> ToolsOf:
    """The tools of every encoder that is built."""
    return ToolsOf()


@dataclass(frozen=True)
class Coded:
    """A finished encode, with what made it."""

    codec: Codec
    tools: Toolchain
    job: EncodeJob
    result: EncodeResult


@pytest.fixture(params=list(encoders.ENCODERS))
def codec(request: pytest.FixtureRequest, tools_of: ToolsOf) -> Codec:
    """Each encoder, one after the other."""
    chosen = encoders.get(request.param)
    tools_of[chosen.name]  # skipped here, not in the middle of a test
    return chosen


@pytest.fixture(scope="session", params=list(encoders.ENCODERS))
def coded(request: pytest.FixtureRequest, tools_of: ToolsOf, tmp_path_factory: pytest.TempPathFactory) -> Coded:
    """Five pictures of each encoder with P and B pictures, full range BT.601 with chroma in the middle, at 12.5 Hz."""
    codec, fmt = encoders.get(request.param), VideoFormat(96, 64, matrix="bt601", full_range=True, siting="center")
    job = make_job(
        tmp_path_factory.mktemp(codec.name),
        fmt,
        tools_of[codec.name],
        codec=codec,
        kind="randomaccess",
        frames=5,
        frame_rate=Fraction(25, 2),
    )
    return Coded(codec, tools_of[codec.name], job, encode(codec, job, tools_of[codec.name], stock=True))
