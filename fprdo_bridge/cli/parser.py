"""The command line: one parser with a part for each command."""

from __future__ import annotations

import argparse
import sys
import textwrap
from typing import NoReturn

from fprdo_bridge import __version__
from fprdo_bridge.cli import compare, console, ctc, decode, distill, encode, quickstart, report, show, standard, weights
from fprdo_bridge.cli.values import shown
from fprdo_bridge.errors import FprdoError

# A module per command: HELP (a line), DESCRIPTION, EXAMPLE, USAGE (optional), add_arguments(parser), run(options).
COMMANDS = {
    "weights": weights,
    "encode": encode,
    "decode": decode,
    "compare": compare,
    "show": show,
    "distill": distill,
    "ctc": ctc,
    "report": report,
    "quickstart": quickstart,
}

_DESCRIPTION = (
    "Standard video encoders that spend their bits on what a vision network sees. A network gives each sample of a "
    "picture a weight, the patched encoder decides by the weighted error, and every standard decoder reads the result."
)
_EXIT_STATUS = """\
fprdo COMMAND --help shows the arguments of a command and an example.

exit status:
  0    done
  1    fprdo ctc alone: some of its jobs failed, and the results of the others are there
  2    a mistake; one line on standard error names what is wrong, and what to do
  130  stopped by Ctrl-C or SIGTERM; weights, compare and ctc go on there when they are run again
"""


class _Parser(argparse.ArgumentParser):
    """One line for a wrong command line, as for every other mistake."""

    def error(self, message: str) -> NoReturn:
        sys.exit(console.fail(f"{message}; see {self.prog} --help"))

    def _print_message(self, message: str, file: object = None) -> None:
        console.result(message.removesuffix("\n"))  # help and version; argparse itself ignores a full disk


def build_parser() -> argparse.ArgumentParser:
    """The parser; what it returns has the module of the command as `module`."""
    parser = _Parser(
        prog="fprdo",
        usage="fprdo COMMAND ...",
        description=_wrapped(_DESCRIPTION),
        epilog=_EXIT_STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"fprdo {__version__}")
    commands = parser.add_subparsers(
        title="commands", dest="command", metavar="COMMAND", required=True, prog="fprdo", parser_class=_Parser
    )
    for name, module in COMMANDS.items():
        one = commands.add_parser(
            name,
            help=module.HELP,
            usage=getattr(module, "USAGE", None),
            allow_abbrev=False,
            description=_wrapped(module.DESCRIPTION),
            epilog=f"example: {module.EXAMPLE}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        one.set_defaults(module=module)
        module.add_arguments(one)
    return parser


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 88, break_on_hyphens=False)


def run(words: list[str] | None) -> None:
    """Run the command of a command line; None for that of the process.

    Raises
    ------
    FprdoError
        A mistake of the user.
    SystemExit
        The command line is wrong (status 2), asks for help or the version (0), or jobs of test conditions failed (1).
    """
    words = sys.argv[1:] if words is None else words
    for word in words:
        if "\0" in word:
            raise FprdoError(f"{shown(word)}: holds a NUL character; leave it out")
    options = build_parser().parse_args(words)
    try:
        options.module.run(options)
    finally:
        standard.clear()
