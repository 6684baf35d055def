"""x264 as build.py patched it, configured in another way than build.py does."""

import os
import subprocess
from pathlib import Path

import pytest

from fprdo_bridge.toolchain import Toolchain


def build_without_assembly(
    folder: Path, tools: Toolchain, cflags: str = "-O1", ldflags: str = "", bit_depth: str = "all", chroma: str = "all"
) -> Path:
    """The patched x264 in C alone, built in `folder`; skips the test where the compiler cannot have these flags."""
    (folder / "empty.c").write_text("int main(void) { return 0; }\n")
    compiler = os.environ.get("CC", "cc")
    trial = [compiler, *cflags.split(), *ldflags.split(), "empty.c", "-o", "empty"]
    if subprocess.run(trial, cwd=folder, capture_output=True).returncode:
        pytest.skip(f"{' '.join(trial)} fails here")
    source = tools.encoder.parent.parent / "src"
    configure = [
        "bash",
        str(source / "configure"),
        f"--bit-depth={bit_depth}",
        f"--chroma-format={chroma}",
        "--disable-asm",
        "--disable-opencl",
        "--disable-avs",
        "--disable-swscale",
        "--disable-lavf",
        "--disable-ffms",
        "--disable-gpac",
        "--disable-lsmash",
        "--disable-bashcompletion",
        f"--extra-cflags={cflags}",
        f"--extra-ldflags={ldflags}",
    ]
    for command in (configure, ["make", f"-j{os.cpu_count()}", "x264"]):
        done = subprocess.run(command, cwd=folder, env=os.environ | {"CC": compiler}, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    return folder / "x264"
