"""The command fprdo."""

from fprdo_bridge.cli.entry import main, program

__all__ = ["main", "program"]
