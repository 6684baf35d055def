"""The bridge in several threads at once, watched by ThreadSanitizer: x265 built with it, frame threads, rows, pmode.

x265 has races of its own, by design: reports in which nothing of ours occurs are not counted.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from clips import clip
from oracles import random_map, write_maps

from fprdo_bridge.video.formats import VideoFormat
from fprdo_bridge.video.raw import write_yuv

SANITIZE = "-fsanitize=thread -g -O1"


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory, x265_tools) -> Path:
    """The patched x265 of build.py, 8 bits and without assembly, which ThreadSanitizer cannot look into."""
    folder = tmp_path_factory.mktemp("sanitized")
    if not shutil.which("cmake"):
        pytest.skip("no cmake on the path")
    (folder / "empty.c").write_text("int main(void) { return 0; }\n")
    compiler = os.environ.get("CC", "cc")
    if subprocess.run(
        [compiler, *SANITIZE.split(), "empty.c", "-o", "empty"], cwd=folder, capture_output=True
    ).returncode:
        pytest.skip(f"{compiler} {SANITIZE} fails here")
    configure = [
        "cmake",
        "-S",
        str(x265_tools.encoder.parent.parent / "src" / "source"),
        "-B",
        str(folder),
        "-DENABLE_SHARED=OFF",
        "-DENABLE_LIBNUMA=OFF",
        "-DENABLE_ASSEMBLY=OFF",
        "-DCMAKE_BUILD_TYPE=None",
        f"-DCMAKE_C_FLAGS={SANITIZE}",
        f"-DCMAKE_CXX_FLAGS={SANITIZE}",
    ]
    for command in (configure, ["cmake", "--build", str(folder), "--parallel", str(os.cpu_count()), "--target", "cli"]):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
    return folder / "x265"


@pytest.mark.parametrize("options", [(), ("--pmode", "--pme")], ids=["frames-and-rows", "pmode"])
def test_no_race_in_our_code(tmp_path, sanitized, options):
    fmt, frames = VideoFormat(192, 192), 12
    write_yuv(tmp_path / "clip.yuv", clip(fmt, frames), fmt)
    # Three frames a map, so that maps are shared, replaced and alive at once.
    weights = write_maps(
        tmp_path / "random.idse",
        [random_map(fmt, seed) for seed in range(4)],
        fmt,
        frame_count=frames,
        frames_per_map=3,
    )
    randomised = [shutil.which("setarch"), "-R"] if shutil.which("setarch") else []  # what TSan's shadow cannot have
    words = "--input-res 192x192 --fps 25 --crf 28 --pools 4 --frame-threads 3 --rd 3 --rdoq-level 2 --no-progress"
    done = subprocess.run(
        [
            *randomised,
            sanitized,
            *words.split(),
            *options,
            "--idse-weights",
            weights,
            "--output",
            tmp_path / "out.265",
            "--input",
            tmp_path / "clip.yuv",
        ],
        env=os.environ | {"TSAN_OPTIONS": "exitcode=0 history_size=4"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and f"IDSE summary: pictures {frames} " in done.stdout, done.stderr[-2000:]
    reports = done.stderr.split("WARNING: ThreadSanitizer")[1:]
    ours = [report for report in reports if re.search(r"#\d+ idse_\w+ |/common/idse/|[Ii]dse", report)]
    assert not ours, ours[0]
