"""A weight file that becomes shorter while an encoder uses it: one line that names it, no signal, no result."""

import os
import re
import subprocess
import time
from dataclasses import replace

import pytest
from clips import make_job
from oracles import random_map, write_maps

from fprdo_bridge import encoders
from fprdo_bridge.encoders import running
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.video.formats import VideoFormat

pytestmark = pytest.mark.slow
FMT, FRAMES = VideoFormat(208, 160), 60
SLOW = {"x264": {"preset": "placebo"}}  # so that it does not end before the file is cut


@pytest.mark.parametrize("name", encoders.ENCODERS)
@pytest.mark.parametrize("qp_map", [True, False], ids=["qp-map", "no-qp-map"])
def test_one_line_names_the_file(tmp_path, request, name, qp_map):
    tools = request.getfixturevalue("tools" if name == "hm" else f"{name}_tools")
    codec = encoders.get(name)
    maps = [random_map(FMT, seed) for seed in range(FRAMES)]
    weights = write_maps(tmp_path / "w.idse", maps, FMT)
    job = make_job(
        tmp_path, FMT, tools, kind="lowdelay", frames=FRAMES, codec=codec, weights=weights, options=SLOW.get(name, {})
    )
    job = replace(job, idse=replace(job.idse, qp_map=qp_map), bitstream=tmp_path / "clip.bin", recon=None)
    command = codec.command(job, tools.encoder)
    (tmp_path / "run").mkdir()
    process = subprocess.Popen(
        command, cwd=tmp_path / "run", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    # The bitstream is opened after the weights have been checked.
    end = time.monotonic() + 60
    while not job.bitstream.exists() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.005)
    os.truncate(weights, 100_000)
    said, _ = process.communicate(timeout=300)
    assert process.returncode > 0, f"{process.returncode}: {said[-500:]}"
    (line,) = re.findall("^IDSE: error: (.*)$", said, re.MULTILINE)
    assert line.startswith(f"{weights}: has become shorter than the "), line


def test_fprdo_says_it_in_one_line_and_leaves_nothing(tmp_path, tools):
    """The file is cut when the first picture is reported, some pictures later as HM's output is buffered."""
    codec = encoders.get("hm")
    weights = write_maps(tmp_path / "w.idse", [random_map(FMT, seed) for seed in range(FRAMES)], FMT)
    job = make_job(tmp_path, FMT, tools, frames=FRAMES, codec=codec, weights=weights)
    job = replace(job, bitstream=tmp_path / "clip.bin", recon=None)
    with pytest.raises(
        FprdoError, match="has become shorter than the .* bytes that it had when it was opened"
    ) as error:
        running.encode(codec, job, tools, progress=lambda picture: os.truncate(weights, 100_000))
    assert str(error.value).startswith(f"{weights}: ") and "\n" not in str(error.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source.yuv", "w.idse"]
