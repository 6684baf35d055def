"""How tests call the command."""

import sys
from collections import namedtuple
from pathlib import Path

Said = namedtuple("Said", "status out err")
FAST = ("--extractor", "efficientnet_lite0", "--probes", "2")
PROGRAM = (sys.executable, "-m", "fprdo_bridge.cli")


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}
