"""python -m fprdo_bridge.cli"""

from fprdo_bridge.cli import program

program()
