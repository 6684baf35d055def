"""The one exception that a user's mistake raises."""


class FprdoError(Exception):
    """Bad input or a missing tool: one line that names the file or value and the remedy.

    The command line prints the message and exits with status 2; library users catch it.
    """
