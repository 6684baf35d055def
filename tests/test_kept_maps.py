"""A run that is stopped goes on where it was, by whatever kill; nobody else's file is touched."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from networks import tiny_extractor

from fprdo_bridge.errors import FprdoError
from fprdo_bridge.importance.extractors import Extractor
from fprdo_bridge.importance.weighting import WeightSettings, write_weights
from fprdo_bridge.video.formats import VideoFormat
from fprdo_bridge.video.raw import write_yuv
from fprdo_bridge.video.source import Source, open_source

SETTINGS = WeightSettings(frames_per_map=1, probes=1)
FRAMES = 3
_EVENTS = ("open", "os.", "shutil.", "tempfile.", "fcntl.")  # of sys.addaudithook: whatever touches files


@pytest.fixture
def clip(tmp_path: Path) -> Source:
    fmt = VideoFormat(16, 12)
    noise = np.random.default_rng(3)
    (tmp_path / "source").mkdir()
    path = tmp_path / "source" / "clip_16x12.yuv"
    write_yuv(
        path,
        [tuple(noise.integers(0, 256, shape, dtype=np.uint8) for shape in fmt.plane_shapes) for _ in range(FRAMES)],
        fmt,
    )
    return open_source(str(path))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "clip.idse"


@pytest.fixture(scope="module")
def extractor():
    return tiny_extractor()


def run_in_child(act, kill_at: int | None = None) -> int:
    """Call `act` in a copy of this process, which kills itself in front of its `kill_at`-th operation on files.

    Returns the number of these operations, or -9.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            torch.set_num_threads(1)  # the threads of the parent are not there
            events = 0

            def count(event: str, arguments: tuple) -> None:
                nonlocal events
                if event.startswith(_EVENTS):
                    events += 1
                    if events == kill_at:
                        os.kill(os.getpid(), signal.SIGKILL)

            sys.addaudithook(count)
            act()
            os.write(writing, str(events).encode())
        finally:
            os._exit(0)
    os.close(writing)
    _, status = os.waitpid(child, 0)
    with open(reading) as answer:
        said = answer.read()
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else int(said)


@pytest.mark.slow
def test_kill_9_in_front_of_every_operation_on_files(clip, out, extractor):
    """The next run makes the same file, and nothing else is left; maps that were finished are not computed again."""
    write_weights(clip, SETTINGS, out, extractor)
    expected = out.read_bytes()
    out.unlink()
    shares = []

    def act():
        write_weights(clip, SETTINGS, out, extractor, shares.append)

    operations = run_in_child(act)
    assert out.read_bytes() == expected and operations > 50
    saved = 0
    for kill_at in range(1, operations + 1):
        out.unlink(missing_ok=True)
        assert run_in_child(act, kill_at) == -signal.SIGKILL
        shares.clear()
        write_weights(clip, SETTINGS, out, extractor, shares.append)
        saved += FRAMES - len(shares)
        assert out.read_bytes() == expected, kill_at
        assert list(out.parent.iterdir()) == [out], kill_at
    assert saved > operations / 2


@pytest.mark.parametrize("seed", range(3))
def test_kills_in_a_row(clip, out, extractor, seed):
    """At seeded places, one after another: each run gets at least as far as the one before."""
    rng = np.random.default_rng(seed)
    write_weights(clip, SETTINGS, out, extractor)
    expected = out.read_bytes()
    out.unlink()
    for _ in range(8):
        run_in_child(lambda: write_weights(clip, SETTINGS, out, extractor), int(rng.integers(1, 150)))
    write_weights(clip, SETTINGS, out, extractor)
    assert out.read_bytes() == expected and list(out.parent.iterdir()) == [out]


def test_other_settings_and_damage_are_not_reused(clip, out, extractor):
    def stop(share: float) -> None:
        if share > 0.9:
            raise KeyboardInterrupt

    def stopped_run(settings: WeightSettings) -> Path:
        with pytest.raises(KeyboardInterrupt):
            write_weights(clip, settings, out, extractor, stop)
        return out.with_name(".clip.idse.maps")

    write_weights(clip, SETTINGS, out, extractor)
    expected = out.read_bytes()
    kept = stopped_run(SETTINGS)
    parts = sorted(kept.glob("*.idse"))
    assert len(parts) == FRAMES - 1
    parts[0].write_bytes(bytes(parts[0].stat().st_size))  # as after a crash of the machine
    shares = []
    write_weights(clip, SETTINGS, out, extractor, shares.append)
    assert len(shares) == 2 and out.read_bytes() == expected and not kept.exists()
    stopped_run(WeightSettings(frames_per_map=1, probes=1, seed=1))
    shares = []
    write_weights(clip, SETTINGS, out, extractor, shares.append)
    assert len(shares) == FRAMES and out.read_bytes() == expected and not kept.exists()
    stopped_run(SETTINGS)
    one = open_source(clip.origin, frames=1)
    write_weights(one, SETTINGS, out, extractor)
    assert not kept.exists()


def test_a_run_that_fails_at_once_leaves_nothing(clip, out):
    blind = Extractor("blind", torch.nn.Sequential(torch.nn.Flatten(0), torch.nn.ReLU()), ["1"])
    blind._network.module[0].forward = lambda rgb: rgb.detach()
    with pytest.raises(FprdoError, match="has no derivative"):
        write_weights(clip, SETTINGS, out, blind)
    assert list(out.parent.iterdir()) == []


def test_a_folder_as_output_is_said_before_anything_is_computed(clip, out, extractor):
    shares = []
    with pytest.raises(FprdoError, match="out: cannot be written .it is a folder.; give a file name"):
        write_weights(clip, SETTINGS, out.parent, extractor, shares.append)
    assert shares == [] and list(out.parent.iterdir()) == [] and len(list(out.parent.parent.iterdir())) == 2


@pytest.mark.parametrize(
    "what", ["files", "mark of others", "file", "link", "link to nowhere", "mark is a link", "mark is a pipe"]
)
def test_a_folder_of_others_is_left_alone(clip, out, extractor, tmp_path, what):
    kept = out.with_name(".clip.idse.maps")
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "0.idse").write_text("a user's")
    (mine / ".fprdo-maps").write_text("a user's")
    if what.startswith("link"):
        kept.symlink_to(mine if what == "link" else tmp_path / "nowhere")
    elif what == "file":
        kept.write_text("a user's")
    else:
        kept.mkdir()
        (kept / "0.idse").write_text("a user's")
        if what == "mark of others":
            (kept / ".fprdo-maps").write_text("a user's")
        elif what == "mark is a link":
            (kept / ".fprdo-maps").symlink_to(mine / ".fprdo-maps")
        elif what == "mark is a pipe":
            os.mkfifo(kept / ".fprdo-maps")

    def everything() -> dict:
        return {str(p): p.read_bytes() if p.is_file() else None for p in sorted(tmp_path.rglob("*"))}

    before = everything()
    with pytest.raises(
        FprdoError, match=r"clip.idse: .*/.clip.idse.maps is in the way, and it is not fprdo's; move it"
    ):
        write_weights(clip, SETTINGS, out, extractor)
    assert everything() == before
    write_weights(open_source(clip.origin, frames=1), SETTINGS, out, extractor)  # needs no such folder
    out.unlink()
    assert everything() == before


def test_what_a_user_put_into_our_folder_stays(clip, out, extractor):
    with pytest.raises(KeyboardInterrupt):
        write_weights(
            clip,
            SETTINGS,
            out,
            extractor,
            lambda share: (_ for _ in ()).throw(KeyboardInterrupt()) if share > 0.5 else None,
        )
    kept = out.with_name(".clip.idse.maps")
    (kept / "notes.txt").write_text("a user's")
    write_weights(clip, SETTINGS, out, extractor)
    assert [path.name for path in kept.iterdir()] == ["notes.txt"]


def test_two_runs_do_not_share_a_folder(clip, out, extractor):
    def second(share: float) -> None:
        with pytest.raises(FprdoError, match="clip.idse: another run is computing these weights; wait for it"):
            write_weights(clip, SETTINGS, out, extractor)

    write_weights(clip, SETTINGS, out, extractor, second)
    assert list(out.parent.iterdir()) == [out]


def test_links_devices_and_long_names(clip, out, extractor, tmp_path):
    write_weights(clip, SETTINGS, out, extractor)
    expected = out.read_bytes()
    link = tmp_path / "link.idse"
    link.symlink_to(out)
    out.unlink()
    write_weights(clip, SETTINGS, link, extractor)
    assert link.is_symlink() and out.read_bytes() == expected
    long = out.with_name("n" * 245 + ".idse")
    write_weights(clip, SETTINGS, long, extractor)
    assert long.read_bytes() == expected and sorted(out.parent.iterdir()) == sorted([out, long])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.idse", "out", "source"]
    write_weights(clip, SETTINGS, Path("/dev/null"), extractor)
    assert Path("/dev/null").is_char_device() and not Path("/dev/.null.maps").exists()


@pytest.mark.slow
def test_the_command_after_kill_9(clip, out, tmp_path):
    """fprdo weights, killed when its first map is there; the second run goes on."""
    (tmp_path / "mine.py").write_text("from networks import tiny_extractor\nnetwork = tiny_extractor\n")
    command = [
        sys.executable,
        "-m",
        "fprdo_bridge.cli",
        "weights",
        clip.origin,
        "-o",
        str(out),
        "--extractor",
        "mine:network",
        "--probes",
        "60",
    ]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    }
    run = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL)
    kept = out.with_name(".clip.idse.maps")
    while run.poll() is None and not list(kept.glob("0.idse")):
        time.sleep(0.001)
    run.kill()
    assert run.wait() == -signal.SIGKILL, "it was through before it could be killed"
    first = {path.name: path.stat().st_mtime_ns for path in kept.glob("*.idse")}
    assert first and not out.exists()
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert list(out.parent.iterdir()) == [out]
