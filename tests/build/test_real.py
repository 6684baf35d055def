"""The real HM, which `build.py test` has fetched and built before pytest begins."""

import json
import os
import subprocess
import sys
import time

import pytest
from project import ROOT, Modules

pytestmark = pytest.mark.slow


def test_pristine_source_and_series_of_hm_verify():
    real = Modules(ROOT)
    real.build.verify(real.pin(), None)


def test_changed_hm_source_is_refused_by_name(tmp_path):
    real = Modules(ROOT)
    pin = real.pin()
    tree = real.archives.read_archive(pin.cached)
    del tree["COPYING"]
    tree["source/App/TAppEncoder/encmain.cpp"] += b"\n"
    with pytest.raises(real.console.BuildError, match=r"486 files of 487; COPYING missing, source/App/\S+ changed\)"):
        real.sources.check_content(tree, pin, "there")


def test_second_build_of_hm_does_nothing():
    def state():
        return {path: path.stat().st_mtime_ns for path in (ROOT / "third_party" / "build").rglob("*")}

    before = state()
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "build.py", "hm"], cwd=ROOT, capture_output=True, text=True, env={"PATH": ""}
    )  # nothing that could compile or fetch is at hand
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - started < 5
    assert state() == before
    tools = json.loads((ROOT / "third_party" / "build" / "tools.json").read_text())["hm"]
    for key in ("encoder", "stock_encoder", "stock_decoder"):
        assert os.access(ROOT / "third_party" / "build" / tools[key], os.X_OK)
    assert (ROOT / "third_party" / "build" / tools["config_dir"] / "encoder_intra_main.cfg").is_file()
