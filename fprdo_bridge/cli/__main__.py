"""python -m fprdo_bridge.cli"""

from fprdo_bridge.cli.entry import program

program()
