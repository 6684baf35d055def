"""Ends that nobody planned: kill -9, Ctrl-C, a provider that hangs. No process goes on, and nothing stays behind."""

import os
import signal
import subprocess
import time
from pathlib import Path

import programs
import pytest
from clips import clip

from fprdo_bridge import Encoder
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.processes import child
from fprdo_bridge.video.formats import VideoFormat

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="what ends with its parent needs Linux")

PLAIN = "Encoder('hm').encode(clip(FMT, 1), 32, fmt=FMT, weights=ones(FMT))\n"

SLOW_START = """
import os, sys, time
if "WORKER_SLEEPS" in os.environ:
    open(os.environ["BEGUN"], "w").close()
    time.sleep(60)
"""
PHASES = {
    "the worker starts": """
os.environ["WORKER_SLEEPS"] = "1"
"""
    + PLAIN,
    "the provider is asked": """
def provider(picture):
    provided.begun()
    time.sleep(60)
Encoder("hm").encode(clip(FMT, 1), 32, fmt=FMT, provider=provider)
""",
    "the distortion is asked": """
Encoder("hm").encode(clip(FMT, 1), 32, fmt=FMT, distortion=provided.sleeps)
""",
    "the encoder codes with weights": """
fmt = VideoFormat(320, 240)
Encoder("hm").encode(clip(fmt, 1) * 100, 22, fmt=fmt, weights=ones(fmt), on_picture=lambda picture: provided.begun())
""",
    "the encoder codes without": """
fmt = VideoFormat(320, 240)
Encoder("hm").encode(clip(fmt, 1) * 100, 22, fmt=fmt, on_picture=lambda picture: provided.begun())
""",
}


@pytest.mark.parametrize("phase", PHASES)
def test_kill_9_ends_all_and_the_next_run_sweeps(tmp_path, phase):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(SLOW_START)
    process = programs.start(tmp_path, PHASES[phase], PYTHONPATH=str(tmp_path / "site"))
    try:
        programs.wait_for(tmp_path / "begun")
        assert len(programs.members(process.pid)) == 2
        process.kill()
        assert programs.end_of(process.pid) == []
    finally:
        end(process)
    assert len(programs.left(tmp_path)) == 1
    (tmp_path / "tmp" / ".fprdo-mystuff1").mkdir()  # of a user
    (tmp_path / "tmp" / ".fprdo-mystuff1" / "notes").touch()
    programs.said(tmp_path, PLAIN)
    assert programs.left(tmp_path) == {".fprdo-mystuff1"}


def end(process: subprocess.Popen) -> None:
    for one in programs.members(process.pid):
        os.kill(one, signal.SIGKILL)
    process.communicate()


def test_the_next_encode_of_a_program_that_goes_on_sweeps_too(tmp_path):
    going_on = programs.start(tmp_path, PLAIN + "print('ready', flush=True); sys.stdin.readline()\n" + PLAIN)
    assert going_on.stdout.readline() == "ready\n"
    process = programs.start(tmp_path, PHASES["the provider is asked"])
    programs.wait_for(tmp_path / "begun")
    end(process)
    assert len(programs.left(tmp_path)) == 1
    going_on.communicate("\n")
    assert going_on.returncode == 0 and programs.left(tmp_path) == set()


def test_a_child_ends_with_the_block():
    with child(["sleep", "60"]) as process:
        assert process.poll() is None
    assert process.returncode == -signal.SIGKILL
    with pytest.raises(KeyboardInterrupt), child(["sleep", "60"]) as process:
        raise KeyboardInterrupt
    assert process.wait() == -signal.SIGKILL
    with child(["true"], stdout=subprocess.PIPE) as process:
        assert process.wait() == 0
    assert process.returncode == 0 and process.stdout.closed
    with pytest.raises(FileNotFoundError), child(["/no/such/program"]):
        pass


def test_a_child_does_not_go_by_the_thread_that_started_it(tmp_path):
    """As PR_SET_PDEATHSIG would."""
    assert (
        programs.said(
            tmp_path,
            """
from contextlib import ExitStack
from fprdo_bridge.processes import child
stack, found = ExitStack(), []
thread = threading.Thread(target=lambda: found.append(stack.enter_context(child(["sleep", "60"]))))
thread.start(); thread.join(); time.sleep(0.2)
print(found[0].poll())
stack.close()
print(found[0].poll())
""",
        )
        == "None\n-9\n"
    )


# ---- a provider that hangs -------------------------------------------------------------------------------------------

HANGS = """
began = []
def provider(picture):
    began.append(time.monotonic())
    {act}
    time.sleep(60)
try:
    Encoder("hm").encode(clip(FMT, 1), 32, fmt=FMT, provider=provider)
except BaseException as error:
    print(time.monotonic() - began[0], type(error).__name__, error)
"""
WORKERS = "[int(pid) for task in os.scandir('/proc/self/task') for pid in open(task.path + '/children').read().split()]"


@pytest.mark.parametrize(
    "act, kind",
    [
        ("os.kill(os.getpid(), signal.SIGINT)", "KeyboardInterrupt"),
        (f"[os.kill(pid, signal.SIGKILL) for pid in {WORKERS}]", "FprdoError HM failed, killed by SIGKILL"),
    ],
    ids=["Ctrl-C", "kill"],
)
def test_a_provider_that_hangs_is_given_up_after_two_seconds(tmp_path, act, kind):
    seconds, _, error = programs.said(tmp_path, HANGS.format(act=act)).partition(" ")
    assert error.startswith(kind)
    assert 1.9 < float(seconds) < 3
    assert programs.left(tmp_path) == set()


def test_ctrl_c_ends_all(tmp_path):
    """Ctrl-C in a terminal goes to the whole group: no encoder goes on."""
    process = programs.start(tmp_path, PHASES["the provider is asked"])
    try:
        programs.wait_for(tmp_path / "begun")
        os.killpg(process.pid, signal.SIGINT)
        started = time.monotonic()
        process.communicate(timeout=20)
        assert process.returncode != 0 and time.monotonic() - started < 4
        assert programs.end_of(process.pid) == []
    finally:
        end(process)
    assert programs.left(tmp_path) == set()


def test_what_on_picture_raises_ends_the_encoder(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    fmt = VideoFormat(32, 32, "400")
    frames = clip(fmt, 2)

    def raises(picture):
        raise ZeroDivisionError("of on_picture")

    with pytest.raises(ZeroDivisionError, match="of on_picture"):
        Encoder("hm").encode(frames, 32, fmt=fmt, on_picture=raises)
    with pytest.raises(FprdoError, match="smaller count"):
        Encoder("hm").encode(frames, 32, fmt=fmt, count=5)
    assert list(tmp_path.iterdir()) == []
