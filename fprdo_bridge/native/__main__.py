"""Starts in_process.py, which is not run itself: what a distortion imports must find that very module."""

import sys

from fprdo_bridge.native.in_process import main

sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
