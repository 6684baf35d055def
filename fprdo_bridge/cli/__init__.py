"""The command fprdo.

Nothing is imported here, so that Ctrl-C is handled from the first moment on.
"""

__all__ = ["main", "program"]


def main(words: list[str] | None = None) -> int:
    """Run one command of a process that goes on; see `fprdo_bridge.cli.entry.main`."""
    from fprdo_bridge.cli import entry

    return entry.main(words)


def program() -> None:
    """Run the command of sys.argv and end the process with its exit status: 0, 1, 2 or 130."""
    try:
        from fprdo_bridge.cli import entry

        entry.program()
    except KeyboardInterrupt:  # before there was a handler, or while the first one was being handled
        import os

        os.write(2, b"fprdo: stopped; run it again to go on\n")
        os._exit(130)
