"""python -m fprdo_bridge.cli"""

import sys

from fprdo_bridge.cli import main

sys.exit(main())
