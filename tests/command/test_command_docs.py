"""docs/command.md: its examples run as they are written, in their order."""

import re
import shlex
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "command.md"

pytestmark = [pytest.mark.encoder, pytest.mark.slow]


def test_the_examples(fprdo, here, x264_tools):
    Path("even.png").rename("photo.png")
    Path("odd.png").rename("other.png")
    (block,) = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    for line in block.splitlines():
        said = fprdo(*shlex.split(line)[1:])
        assert said.status == 0, (line, said.err)
    assert {"results.csv", "rd-curves.png", "map-photo.png", "map-other.png", "weights", "bitstreams", "store",
            ".fprdo-results"} == {path.name for path in Path("out/mine").iterdir()}  # fmt: skip
    assert "features lite0   features lite0@64   PSNR Y" in said.out
