"""The bridge in several threads at once, watched by ThreadSanitizer: x264 built with it, frame threads and sliced
threads.

x264 has races of its own, by design (it copies a context whose thread still runs): reports in which nothing of ours
occurs are not counted. They also show that the sanitizer sees what it should.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from clips import clip
from oracles import random_map, write_maps
from x264_builds import build_without_assembly

from fprdo_bridge.video.formats import VideoFormat
from fprdo_bridge.video.raw import write_yuv


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory, x264_tools) -> Path:
    """The patched x264 of build.py, 8 bits and without assembly, which ThreadSanitizer cannot look into."""
    return build_without_assembly(
        tmp_path_factory.mktemp("sanitized"),
        x264_tools,
        "-fsanitize=thread -g -O1",
        "-fsanitize=thread",
        bit_depth="8",
        chroma="420",
    )


@pytest.mark.parametrize(
    "threads, rate",
    [(("--threads", "4"), ("--crf", "28")), (("--threads", "4", "--sliced-threads"), ("--qp", "28"))],
    ids=["frames", "slices"],
)
def test_no_race_in_our_code(tmp_path, sanitized, threads, rate):
    fmt, frames = VideoFormat(192, 192), 16
    write_yuv(tmp_path / "clip.yuv", clip(fmt, frames), fmt)
    # Three frames a map, so that maps are shared, replaced and alive at once.
    weights = write_maps(
        tmp_path / "random.idse",
        [random_map(fmt, seed) for seed in range(6)],
        fmt,
        frame_count=frames,
        frames_per_map=3,
    )
    randomised = [shutil.which("setarch"), "-R"] if shutil.which("setarch") else []  # what TSan's shadow cannot have
    done = subprocess.run(
        [
            *randomised,
            sanitized,
            "--input-res",
            "192x192",
            "--no-progress",
            "--no-psy",
            "--aq-mode",
            "0",
            *rate,
            *threads,
            "--idse-weights",
            weights,
            "-o",
            tmp_path / "out.264",
            tmp_path / "clip.yuv",
        ],
        env=os.environ | {"TSAN_OPTIONS": "exitcode=0 history_size=4"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and "IDSE summary: pictures 16 " in done.stderr, done.stderr[-2000:]
    reports = done.stderr.split("WARNING: ThreadSanitizer")[1:]
    ours = [report for report in reports if re.search(r"#\d+ idse_\w+ |/common/idse\.c:", report)]
    assert not ours, ours[0]
    if "--sliced-threads" not in threads:
        assert reports  # of thread_sync_context and the like
