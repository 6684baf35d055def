"""A weight file that becomes shorter while an encoder uses it: one line that names it, no signal, no result."""

import os
import re
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest
from clips import clip, make_job
from oracles import random_map, write_maps

from fprdo_bridge import encoders
from fprdo_bridge.encoders import running
from fprdo_bridge.encoders.codec import Codec
from fprdo_bridge.encoders.job import EncodeJob
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.settings import IdseOptions
from fprdo_bridge.toolchain import Toolchain
from fprdo_bridge.video.formats import VideoFormat
from fprdo_bridge.video.raw import write_yuv

pytestmark = pytest.mark.slow
FMT, FRAMES = VideoFormat(208, 160), 60
SLOW = {"x264": {"preset": "placebo"}}  # so that it does not end before the file is cut


def long_job(folder: Path, tools: Toolchain, codec: Codec, **arguments) -> EncodeJob:
    """An encode of many pictures, each with a map of its own."""
    weights = write_maps(folder / "w.idse", [random_map(FMT, seed % 4) for seed in range(FRAMES)], FMT)
    job = make_job(folder, FMT, tools, kind="lowdelay", codec=codec, weights=weights, **arguments)
    write_yuv(job.source, clip(FMT, 6) * (FRAMES // 6), FMT)
    return replace(job, frames=FRAMES, bitstream=folder / "clip.bin", recon=None)


@pytest.mark.parametrize("name", encoders.ENCODERS)
@pytest.mark.parametrize("qp_map", [True, False], ids=["qp-map", "no-qp-map"])
def test_one_line_names_the_file(tmp_path, request, name, qp_map):
    tools = request.getfixturevalue("tools" if name == "hm" else f"{name}_tools")
    codec = encoders.get(name)
    job = long_job(tmp_path, tools, codec, options=SLOW.get(name, {}), idse=IdseOptions(qp_map=qp_map))
    command = codec.command(job, tools.encoder)
    (tmp_path / "run").mkdir()
    process = subprocess.Popen(command, cwd=tmp_path / "run", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    # The bitstream is opened after the weights have been checked.
    end = time.monotonic() + 60
    while not job.bitstream.exists() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.005)
    os.truncate(job.weights, 100_000)
    _, said = process.communicate(timeout=300)
    assert process.returncode > 0, f"{process.returncode}: {said[-500:]}"
    (line,) = re.findall("^IDSE: error: (.*)$", said, re.MULTILINE)
    assert line.startswith(f"{job.weights}: has become shorter than the "), line


def test_fprdo_says_it_in_one_line_and_leaves_nothing(tmp_path, tools):
    """The file is cut when the first picture is reported, some pictures later as HM's output is buffered."""
    job = long_job(tmp_path, tools, encoders.get("hm"))
    with pytest.raises(
        FprdoError, match="has become shorter than the .* bytes that it had when it was opened"
    ) as error:
        running.encode(encoders.get("hm"), job, tools, progress=lambda picture: os.truncate(job.weights, 100_000))
    assert str(error.value).startswith(f"{job.weights}: ") and "\n" not in str(error.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source.yuv", "w.idse"]
