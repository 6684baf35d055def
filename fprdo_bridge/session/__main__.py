"""Starts worker.py, which is not run itself: what a distortion imports must find that very module."""

import os
import sys

# NumPy's BLAS would start threads, which spin for a while at the encoder's cost, and nothing here multiplies matrices.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from fprdo_bridge.session.worker import main

sys.exit(main(int(sys.argv[1]), sys.argv[2], sys.argv[3:]))
