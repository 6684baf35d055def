"""Where sources come from, and that nothing is taken that is not the pinned one."""

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from project import TOY, Project
from server import Server

pytestmark = pytest.mark.slow


def test_directory_with_products_is_taken(project, tmp_path):
    source = tmp_path / "checkout"
    project.trees.write_tree(TOY | {"bin/TAppEncoder": b"product", ".git/HEAD": b"ref"}, source)
    done = project.run("fetch", FPRDO_HM_SOURCE=str(source))
    assert done.returncode == 0 and "content verified" in done.stdout, done.stderr
    assert project.archives.read_archive(project.pin().cached) == TOY


def test_source_that_is_not_the_pinned_one_is_refused(fetched, tmp_path):
    before = fetched.pin().cached.read_bytes()
    changed = tmp_path / "changed"
    fetched.trees.write_tree(TOY | {"encoder.cpp": b"int main() {}\n", "extra.cpp": b"\n"}, changed)
    error = fetched.fails("hm", "--source", str(changed))
    assert f"{changed}: not the source of HM 18.0" in error and "encoder.cpp changed, extra.cpp added" in error
    assert "no such directory or archive" in fetched.fails("hm", "--source", str(tmp_path / "nothing"))
    assert "has no pin of this version, only of 18.0" in fetched.fails("hm", "--version", "9.1")
    assert fetched.pin().cached.read_bytes() == before


@pytest.mark.parametrize(
    "make, why",
    [
        (lambda folder: os.mkfifo(folder / "pipe"), "pipe: neither a file nor a folder"),
        (lambda folder: (folder / os.fsdecode(b"caf\xe9.h")).touch(), r"a file named b'cfg/caf\xe9.h', not printable"),
        (lambda folder: (folder / "link").symlink_to("toy.cfg"), "link: a link"),
        (lambda folder: [(folder / "huge").touch(), os.truncate(folder / "huge", 1 << 31)], "20000 files or 128 MB"),
    ],
)
def test_folder_that_is_no_source_is_refused_before_it_is_read(project, tmp_path, make, why):
    source = tmp_path / "source"
    project.trees.write_tree(TOY, source)
    make(source / "cfg")
    error = project.fails("fetch", "--source", str(source))
    assert why in error and error.count("\n") == 0
    assert project.cached() == []


def test_folder_of_very_many_files_is_not_read_to_its_end(project, tmp_path, monkeypatch):
    monkeypatch.setattr(project.trees, "MOST_FILES", 2)
    project.trees.write_tree(TOY, tmp_path / "source")
    for path in (tmp_path / "source", project.archive):
        with pytest.raises(project.console.BuildError, match=f"{path.name}: not the source of an encoder .more than 2"):
            project.sources.read_named_source(path, project.pin())


def test_path_that_is_no_utf8_can_be_named(project, tmp_path):
    source = tmp_path / os.fsdecode(b"caf\xe9")
    project.trees.write_tree(TOY, source)
    done = project.run("fetch", "--source", str(source), LC_ALL="C.UTF-8", PYTHONUTF8="1")
    assert done.returncode == 0 and r"caf\udce9, content verified" in done.stdout, done.stderr


@pytest.mark.parametrize("word", ["--source", "--version"])
def test_empty_values_are_refused(fetched, word):
    error = fetched.fails("fetch", word, "")
    assert error == f"build.py: error: {word} '': empty; give it a value or leave it out"


@pytest.mark.parametrize("options", [["-I"], ["-P"]])
def test_isolated_interpreter_finds_the_series(fetched, options):
    done = subprocess.run(
        [sys.executable, *options, "build.py", "verify"],
        cwd=fetched.root,
        capture_output=True,
        text=True,
        env=fetched.environment(),
    )
    assert done.returncode == 0, done.stderr


def test_damaged_cache_is_dropped_and_fetched_again(fetched, server):
    fetched.pin().cached.write_bytes(b"damaged")
    server.pages["/toy.tar.gz"] = (200, fetched.archive.read_bytes(), None)
    text = (fetched.root / "third_party" / "sources.toml").read_text()
    (fetched.root / "third_party" / "sources.toml").write_text(
        text.replace("upstream = []", f'upstream = ["{server.url}/toy.tar.gz"]')
    )
    done = fetched.run("fetch")
    assert done.returncode == 0 and "dropped from the cache" in done.stdout, done.stderr
    assert fetched.pin().cached.read_bytes() == fetched.archive.read_bytes()


def with_distribution(project: Project, server: Server, tmp_path: Path, sha256: str) -> dict[str, str]:
    """Pin a distribution's archive, and let an apt-get that says `server` be its mirror be the first on PATH."""
    with open(project.root / "third_party" / "sources.toml", "a") as out:
        out.write(f'distribution = {{ path = "pool/toy.tar.gz", sha256 = "{sha256}" }}\n')
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "apt-get").write_text(f"#!/bin/sh\nprintf 'cdrom://x\\n{server.url}/mirror/\\n{server.url}/mirror/\\n'\n")
    (tools / "apt-get").chmod(0o755)
    return {"PATH": f"{tools}:{os.environ['PATH']}"}


def test_distribution_archive_comes_after_upstream(tmp_path, server):
    project = Project(tmp_path / "project", (f"{server.url}/gone.tar.gz",))
    body = project.archive.read_bytes()
    server.pages["/mirror/pool/toy.tar.gz"] = (200, body, None)
    environment = with_distribution(project, server, tmp_path, hashlib.sha256(body).hexdigest())
    done = project.run("fetch", **environment)
    assert done.returncode == 0, done.stderr
    assert "gone.tar.gz answers 404" in done.stdout
    assert project.pin().cached.read_bytes() == body


def test_wrong_checksum_is_refused(tmp_path, server):
    project = Project(tmp_path / "project")
    server.pages["/mirror/pool/toy.tar.gz"] = (200, project.archive.read_bytes(), None)
    error = project.fails("fetch", **with_distribution(project, server, tmp_path, "0" * 64))
    assert re.search(r"toy\.tar\.gz has sha256 [0-9a-f]{64}, pinned is 0{64}", error) and error.count("\n") == 0
    assert project.cached() == []


@pytest.mark.parametrize(
    "page, why",
    [
        (lambda body: (200, body, len(body) + 1), r"broke off after \d+ of \d+ bytes"),
        (lambda body: (200, b"<html>moved</html>", None), "not a readable tar archive"),
        (lambda body: (503, b"", None), "answers 503"),
    ],
)
def test_bad_answers_of_upstream(tmp_path, server, page, why):
    project = Project(tmp_path / "project", (f"{server.url}/toy.tar.gz",))
    server.pages["/toy.tar.gz"] = page(project.archive.read_bytes())
    error = project.fails("fetch", PATH="")
    assert re.search(why, error) and "--source DIR|ARCHIVE, or FPRDO_HM_SOURCE" in error
    assert project.cached() == []


def test_answer_without_an_end_is_broken_off(tmp_path, server, monkeypatch):
    project = Project(tmp_path / "project", (f"{server.url}/toy.tar.gz",))
    server.pages["/toy.tar.gz"] = (200, bytes(1 << 20), None)
    monkeypatch.setattr(project.sources, "MOST_BYTES", 1 << 18)
    with pytest.raises(project.sources.NoSource, match=r"toy\.tar\.gz sends more than 0 MB"):
        project.sources.obtain_source(project.pin())
    assert project.cached() == []


def test_answer_of_unknown_length_is_taken(tmp_path, server):
    project = Project(tmp_path / "project", (f"{server.url}/toy.tar.gz",))
    server.pages["/toy.tar.gz"] = (200, project.archive.read_bytes(), "unknown")
    done = project.run("fetch", PATH="")
    assert done.returncode == 0, done.stderr


def test_upstream_with_other_content_is_refused(tmp_path, server):
    project = Project(tmp_path / "project", (f"{server.url}/toy.tar.gz",))
    other = tmp_path / "other.tar.gz"
    project.archives.pack(TOY | {"cfg/toy.cfg": b"QP : 0\n"}, other, "toy")
    server.pages["/toy.tar.gz"] = (200, other.read_bytes(), None)
    assert f"{server.url}/toy.tar.gz: not the source of HM 18.0" in project.fails("fetch", PATH="")
    assert project.cached() == []


def test_no_network(tmp_path):
    project = Project(tmp_path / "project", ("http://127.0.0.1:9/toy.tar.gz",))
    error = project.fails("fetch", PATH="")
    assert "no source could be had" in error and "check the network" in error and error.count("\n") == 0


def test_full_disk_leaves_nothing(project):
    """A file size limit of one block stands for the full disk: the write fails in the same place."""
    done = subprocess.run(
        [
            "sh",
            "-c",
            'ulimit -f 0; exec "$@" >/dev/null',
            "sh",
            sys.executable,
            "build.py",
            "fetch",
            "--source",
            str(project.archive),
        ],
        cwd=project.root,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and done.stderr.startswith("build.py: error: ")
    assert project.cached() == []
