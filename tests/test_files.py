"""Outputs: whole or not at all, through links, into devices and pipes; what killed runs leave is swept."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from fprdo_bridge import files
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.files import is_stream, replacing, same_file, sweep, workspace

PACKAGES = Path(files.__file__).parents[1]


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


# ---- regular files ---------------------------------------------------------------------------------------------------


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "folder" / "a.txt"
    with replacing(path) as temporary:
        assert temporary.name == "a.txt" and temporary != path
        temporary.write_text("one")
        assert not path.exists()
    assert path.read_text() == "one" and names(path.parent) == {"a.txt"}
    with pytest.raises(ValueError), replacing(path) as temporary:
        temporary.write_text("two")
        raise ValueError
    assert path.read_text() == "one" and names(path.parent) == {"a.txt"}


@pytest.mark.parametrize("umask, mode", [(0o022, 0o644), (0o077, 0o600), (0, 0o666)])
def test_permissions_are_those_of_any_new_file(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        with replacing(tmp_path / "a") as temporary:
            temporary.write_text("a")
        assert os.umask(umask) == umask
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == mode


def test_an_old_file_keeps_its_permissions(tmp_path):
    (tmp_path / "a").write_text("old")
    (tmp_path / "a").chmod(0o640)
    with replacing(tmp_path / "a") as temporary:
        temporary.write_text("new")
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640 and (tmp_path / "a").read_text() == "new"


def test_the_umask_is_left_alone_by_threads(tmp_path):
    """A thread that set it for a moment would change the files of all others."""
    before = os.umask(0o027)
    try:

        def write(number: int) -> None:
            for turn in range(20):
                with replacing(tmp_path / f"{number}-{turn}") as temporary:
                    temporary.touch()

        threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        assert os.umask(before) == 0o027
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o640} and len(names(tmp_path)) == 80


def test_errors_name_the_output(tmp_path):
    (tmp_path / "file").touch()
    for path, reason in ((tmp_path / "file" / "a", "Not a directory|File exists"), (tmp_path, "Is a directory")):
        with pytest.raises(FprdoError, match=f"{path}: cannot be written .({reason})"):
            with replacing(path) as temporary:
                temporary.write_text("a")
    with pytest.raises(FprdoError, match="a: cannot be written .No such file"), replacing(tmp_path / "a"):
        pass  # the block wrote nothing


# ---- links -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("there", [True, False])
def test_links_stay_and_their_target_is_written(tmp_path, there):
    (tmp_path / "big").mkdir()
    if there:
        (tmp_path / "big" / "o.bin").write_text("old")
    (tmp_path / "middle").symlink_to("big/o.bin")
    (tmp_path / "link.bin").symlink_to(tmp_path / "middle")
    with replacing(tmp_path / "link.bin") as temporary:
        assert temporary.parent.parent == tmp_path / "big"  # the same disk
        temporary.write_text("new")
    assert (
        os.readlink(tmp_path / "link.bin") == str(tmp_path / "middle")
        and os.readlink(tmp_path / "middle") == "big/o.bin"
    )
    assert (tmp_path / "big" / "o.bin").read_text() == "new" and not (tmp_path / "big" / "o.bin").is_symlink()
    assert names(tmp_path) == {"big", "middle", "link.bin"} and names(tmp_path / "big") == {"o.bin"}


def test_a_circle_of_links_is_refused(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with (
        pytest.raises(FprdoError, match="a: cannot be written .Too many levels"),
        replacing(tmp_path / "a") as temporary,
    ):
        temporary.touch()
    assert (tmp_path / "a").is_symlink() and (tmp_path / "b").is_symlink()


def test_same_file(tmp_path):
    (tmp_path / "a").touch()
    (tmp_path / "link").symlink_to("a")
    os.link(tmp_path / "a", tmp_path / "hard")
    (tmp_path / "to-be").symlink_to("new")
    for one, other in (("a", "a"), ("a", "link"), ("a", "hard"), ("to-be", "new")):
        assert same_file(tmp_path / one, tmp_path / other)
    assert not same_file(tmp_path / "a", tmp_path / "new")
    assert not same_file("/dev/null", "/dev/null")


# ---- what is no regular file -----------------------------------------------------------------------------------------


def test_a_device_stays(tmp_path):
    before = os.stat("/dev/null")
    (tmp_path / "null").symlink_to("/dev/null")
    for path in (Path("/dev/null"), tmp_path / "null"):
        assert is_stream(path)
        with replacing(path) as temporary:
            assert temporary.parent.parent != Path("/dev")
            temporary.write_bytes(b"gone")
    assert os.path.samestat(before, os.stat("/dev/null")) and (tmp_path / "null").is_symlink()
    assert not list(Path("/dev").glob(".fprdo-*"))


def test_a_device_of_ones_own_stays(tmp_path):
    try:
        os.mknod(tmp_path / "null", 0o666 | 0o020000, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("devices are made by root alone")
    with replacing(tmp_path / "null") as temporary:
        temporary.write_bytes(b"gone")
    assert (tmp_path / "null").is_char_device()


def test_a_pipe_gets_the_content(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    with replacing(tmp_path / "pipe") as temporary:
        temporary.write_bytes(b"content")
    reader.join(timeout=10)
    assert got == [b"content"] and (tmp_path / "pipe").is_fifo()


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "link"])
def test_standard_output_is_written_to_in_its_order(tmp_path, name):
    """Also where it is a regular file, which must not be replaced under the program that writes to it."""
    (tmp_path / "link").symlink_to("/dev/stdout")
    program = textwrap.dedent(f"""
        from fprdo_bridge.files import replacing
        print("before", flush=True)
        with replacing({name!r}) as temporary:
            temporary.write_text("content\\n")
        print("after", flush=True)
        """)
    command = [sys.executable, "-c", program]
    where = {"cwd": tmp_path, "env": os.environ | {"PYTHONPATH": str(PACKAGES)}, "check": True}
    assert subprocess.run(command, stdout=subprocess.PIPE, text=True, **where).stdout == "before\ncontent\nafter\n"
    with open(tmp_path / "out.txt", "w") as file:
        subprocess.run(command, stdout=file, **where)
    assert (tmp_path / "out.txt").read_text() == "before\ncontent\nafter\n"


# ---- sweeping --------------------------------------------------------------------------------------------------------


def killed_run(folder: Path) -> str:
    """The name of the temporary folder that a killed run leaves in `folder`."""
    program = textwrap.dedent(f"""
        import os, signal
        from fprdo_bridge.files import workspace
        with workspace({str(folder)!r}) as place:
            (place / "sub").mkdir()
            (place / "sub" / "half.yuv").write_text("half")
            (place / "half.bin").write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)
        """)
    status = subprocess.run([sys.executable, "-c", program], env=os.environ | {"PYTHONPATH": str(PACKAGES)}).returncode
    assert status == -signal.SIGKILL
    (left,) = folder.glob(".fprdo-*")
    return left.name


def test_what_a_killed_run_leaves_is_swept_by_the_next(tmp_path):
    left = killed_run(tmp_path)
    with replacing(tmp_path / "a") as temporary:
        temporary.touch()
        assert left not in names(tmp_path)
    assert names(tmp_path) == {"a"}


def test_what_a_living_run_works_in_is_not_swept(tmp_path):
    with workspace(tmp_path) as one:
        (one / "a").touch()
        with workspace(tmp_path) as other:
            assert one.exists() and one != other and (one / "a").exists()
    assert names(tmp_path) == set()


def test_only_what_carries_our_mark_is_swept(tmp_path):
    for name, content in ((".fprdo-mystuff1", {"a": "mine"}), (".fprdo-abcdefgh", {".owner": "mine", "a": "mine"})):
        (tmp_path / name).mkdir()
        for inside, text in content.items():
            (tmp_path / name / inside).write_text(text)
    (tmp_path / ".fprdo-notes").write_text("mine")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    left = killed_run(elsewhere)
    (tmp_path / ".fprdo-linked00").symlink_to(elsewhere / left)
    before = {path: path.lstat().st_mtime_ns for path in tmp_path.rglob("*")}
    sweep(tmp_path)
    assert {path: path.lstat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    sweep(elsewhere)
    assert names(elsewhere) == set()


def test_an_interrupted_removal_keeps_its_mark(tmp_path, monkeypatch):
    left = killed_run(tmp_path)

    def killed(path, **_):
        raise KeyboardInterrupt

    monkeypatch.setattr(files.shutil, "rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        sweep(tmp_path)
    monkeypatch.undo()
    assert (tmp_path / left / ".owner").exists()
    sweep(tmp_path)
    assert names(tmp_path) == set()
