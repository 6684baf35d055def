"""The command fprdo."""

from fprdo_bridge.cli.commands import main

__all__ = ["main"]
