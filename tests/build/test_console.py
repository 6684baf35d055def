"""How programs that build.py runs end when the user stops it."""

import os
import signal
import subprocess
import sys
import time

import pytest
from project import Project

pytestmark = pytest.mark.slow

CHILD = """import pathlib, signal, sys, time
signal.signal(signal.SIGTERM, signal.default_int_handler)
try:
    print("at work", flush=True)
    time.sleep(60)
finally:
    time.sleep(float(sys.argv[1]))  # more than Python grants a child of subprocess.call
    pathlib.Path("cleaned").touch()
"""
PARENT = """import sys
from third_party import console
console.catch_signals()
console.call([sys.executable, "child.py", sys.argv[1]])
"""


def start_child(project: Project, seconds: str, hangup: signal.Handlers = signal.SIG_DFL) -> subprocess.Popen:
    """A program run by build.py's `call`, in a session of its own, that takes `seconds` to clean up."""
    (project.root / "child.py").write_text(CHILD)
    process = subprocess.Popen(
        [sys.executable, "-c", PARENT, seconds],
        cwd=project.root,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, hangup),
    )  # the tests may ignore it
    assert process.stdout.readline() == "at work\n"
    return process


@pytest.mark.parametrize(
    "stop, everywhere", [(signal.SIGTERM, False), (signal.SIGHUP, False), (signal.SIGHUP, True), (signal.SIGINT, True)]
)
def test_stopped_demo_cleans_up(project, stop, everywhere):
    """`everywhere`: as a terminal does it, to every process; or else to build.py alone."""
    process = start_child(project, "0.6")
    (os.killpg if everywhere else os.kill)(process.pid, stop)
    process.communicate(timeout=30)
    assert process.returncode != 0 and (project.root / "cleaned").exists()


def test_second_stop_kills_the_demo(project):
    process = start_child(project, "30")
    process.terminate()
    time.sleep(0.5)
    process.terminate()
    process.communicate(timeout=10)
    assert process.returncode != 0 and not (project.root / "cleaned").exists()


def test_hangup_stays_ignored_where_it_is(project):
    process = start_child(project, "0", hangup=signal.SIG_IGN)
    process.send_signal(signal.SIGHUP)
    time.sleep(0.5)
    assert process.poll() is None
    process.terminate()
    process.communicate(timeout=30)
    assert (project.root / "cleaned").exists()
