"""Time of the weighted SSE against a plain SSE compiled the same way, per block size and sample type.

.venv/bin/python tests/benchmarks/weighted_sse.py
"""

import subprocess
import sysconfig
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
NATIVE = HERE.parent.parent / "fprdo_bridge" / "native"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "weighted_sse"
        compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
        sources = [HERE / "weighted_sse.c", *sorted(NATIVE.glob("kernels_*.c"))]
        subprocess.run(
            [compiler, "-O3", "-std=gnu99", f"-I{NATIVE}", *map(str, sources), "-o", str(program)], check=True
        )
        subprocess.run([str(program)], check=True)


if __name__ == "__main__":
    main()
