"""Where the command begins: signals first, everything else after them.

This module imports nothing that is slow, so Ctrl-C is heard from the first moment on.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import contextmanager

from fprdo_bridge.cli import console
from fprdo_bridge.errors import FprdoError

TYPE_CHECKING = False  # as in typing, which takes long to import
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType
    from typing import NoReturn

STOPPED = 130  # exit status after Ctrl-C or SIGTERM


class _Interrupts:
    """Ctrl-C and SIGTERM raise KeyboardInterrupt, and `seen` remembers it.

    What is interrupted may end in another exception: an import of numpy in an ImportError, for example.
    """

    def __init__(self) -> None:
        self.seen = False

    def __call__(self, number: int, frame: FrameType | None) -> NoReturn:
        self.seen = True
        raise KeyboardInterrupt


def main(words: list[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    words : list of str, optional
        The command line without the program's name; sys.argv[1:] by default.

    Returns
    -------
    int
        0: done. 2: one line on standard error says what is wrong. 130: stopped by Ctrl-C or SIGTERM.

    Raises
    ------
    SystemExit
        After --help and --version (status 0), after a wrong command line (status 2), and where jobs of test conditions
        failed (status 1).
    """
    interrupts = _Interrupts()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for number, handler in before.items():
            if handler is not signal.SIG_IGN:  # a shell lets what it starts with & ignore Ctrl-C
                signal.signal(number, interrupts)
        try:
            # Before torch is loaded: OpenMP threads that spin while they wait starve the encoders beside them, and one
            # another. Four sketches beside two HM encodes took 2 to 15 s with spinning and 1 s without.
            os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
            from fprdo_bridge.cli.parser import run

            console.prepare()
            with _plain_environment():
                run(words)
            return console.finish()
        except (Exception, SystemExit):
            if interrupts.seen:
                raise KeyboardInterrupt from None
            raise
    except KeyboardInterrupt:
        console.say("fprdo: stopped; run it again to go on")
        return STOPPED
    except FprdoError as error:
        return console.fail(str(error))
    except OSError as error:
        return console.fail(
            f"{error.filename or 'writing'}: {error.strerror or error}; check the path and the disk's room"
        )
    finally:
        for number, handler in before.items():
            if handler is not None:  # it was not set by Python
                signal.signal(number, handler)


@contextmanager
def _plain_environment() -> Iterator[None]:
    """Within the block no variable makes matplotlib or numpy fail.

    Raises FprdoError if SOURCE_DATE_EPOCH, the time that reproducible files hold, is no time.
    """
    given = {name: os.environ[name] for name in ("MPLBACKEND", "SOURCE_DATE_EPOCH") if name in os.environ}
    time = given.get("SOURCE_DATE_EPOCH")
    if time:
        from datetime import UTC, datetime

        try:
            datetime.fromtimestamp(int(time), UTC)
        except (ValueError, OverflowError, OSError):
            raise FprdoError(
                f"SOURCE_DATE_EPOCH {time[:80]!r}: is no time; give whole seconds since 1970, or unset it"
            ) from None
    else:
        os.environ.pop("SOURCE_DATE_EPOCH", None)
    os.environ.pop("MPLBACKEND", None)  # no window is opened
    try:
        yield
    finally:
        os.environ.update(given)


def program() -> NoReturn:
    """Run the command of sys.argv and end the process with its exit status."""
    try:
        status = main()
    except SystemExit as end:  # of argparse: a wrong command line, or help
        status = int(end.code or console.finish())
    if status == STOPPED:
        # At once: threads may still wait for an encoder, and Python would end itself by SIGINT where a compiled module
        # was interrupted.
        console.flush()
        os._exit(status)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is done; the interpreter's end would print a traceback
    sys.exit(status)
