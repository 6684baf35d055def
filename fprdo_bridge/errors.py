"""The one exception that a user's mistake raises."""

from fprdo_bridge.text import printable


class FprdoError(Exception):
    """Bad input or a missing tool: one line that names the file or value and the remedy.

    The command line prints the message and exits with status 2; library users catch it.
    """

    def __str__(self) -> str:
        """The message in one line, whatever names and values stand in it."""
        return printable(super().__str__())
