"""Ends that nobody planned: full disks, streams without readers, Ctrl-C and SIGTERM."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from calling import PROGRAM, files
from clips import clip
from limits import file_size_limit

from fprdo_bridge.ctc.results_folder import MARKER
from fprdo_bridge.importance.idse_file import IdseFile
from fprdo_bridge.video.formats import VideoFormat
from fprdo_bridge.video.raw import write_yuv

pytestmark = pytest.mark.encoder


def test_nobody_reads_standard_error(here):
    """Closed, or a pipe whose reader has gone: results stay on standard output, and the exit status is right."""
    for words, status in (
        (["show", "even.idse"], 0),
        (["show", "gone.idse"], 2),
        (["show"], 2),
        (["weights", "even.png", "--probes", "2", "--extractor", "gone"], 2),
    ):
        reader, writer = os.pipe()
        os.close(reader)
        for closing in ("", "2>&-"):
            run = subprocess.run(
                ["sh", "-c", f'exec "$@" {closing}', "sh", *PROGRAM, *words],
                stdout=subprocess.PIPE,
                stderr=writer,
                text=True,
                cwd=here,
            )
            assert run.returncode == status and len(run.stdout.splitlines()) == (status == 0), (words, closing, run)
        os.close(writer)


def test_variables_of_matplotlib(fprdo, here, monkeypatch):
    """A backend does not matter, as no window is opened; a time has to be one."""
    given = {"MPLBACKEND": "nonsense", "SOURCE_DATE_EPOCH": ""}
    run = subprocess.run(
        [*PROGRAM, "show", "even.idse", "-o", "w.svg"], env=os.environ | given, capture_output=True, text=True, cwd=here
    )
    assert run.returncode == 0 and not run.stderr, run.stderr
    assert (here / "w.svg").exists()
    for value in ("abc", "1e9", "9" * 20):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", value)
        said = fprdo("show", "even.idse", "-o", "x.svg")
        assert said.status == 2 and "SOURCE_DATE_EPOCH" in said.err and "give whole seconds since 1970" in said.err
        assert not Path("x.svg").exists() and os.environ["SOURCE_DATE_EPOCH"] == value
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    assert fprdo("show", "even.idse", "-o", "x.svg").status == 0 and "1970-01-02" in Path("x.svg").read_text()


@pytest.mark.parametrize(
    "words, limit",
    [
        ("weights even.png -o w.idse --probes 1", 20000),
        ("show even.idse -o w.png", 5000),
        ("decode p.bin -o w.yuv --decoder libavcodec", 4000),
        ("decode p.bin -o w.yuv", 4000),
        ("decode p.bin -o w.png --decoder libavcodec", 4000),
        ("encode even.png -o w.bin -q 10 --weights even.idse", 5000),
        ("encode clip_64x64.yuv -o w.bin -q 4 --plain", 1000),
        ("encode clip_64x64.yuv -o w.bin -q 51 --plain --recon w.yuv", 8000),
        ("compare even.png -o cmp --probes 1", 9000),
    ],
)
def test_full_disk(fprdo, here, words, limit):
    assert fprdo("encode", "even.png", "-o", "p.bin", "-q", 40, "--plain").status == 0
    assert fprdo("show", "even.idse").status == 0  # matplotlib's font cache, if there is none yet
    fmt = VideoFormat(64, 64)
    write_yuv("clip_64x64.yuv", clip(fmt, 2), fmt)
    before = files(here)
    with file_size_limit(limit):
        said = fprdo(*words.split())
    assert said.status == 2 and said.out == ""
    errors = [line for line in said.err.splitlines() if not line.startswith(("weights of ", "POC ", "["))]
    assert len(errors) == 1 and errors[0].startswith("fprdo: error: ")
    left = {name for name in files(here) - before if Path(name).is_file() and not name.endswith(MARKER)}
    if words.startswith("compare"):  # what was done before the disk was full stays
        left -= {name for name in left if name.startswith(("cmp/store/jobs/", "cmp/bitstreams/", "cmp/store/failed/"))}
        left -= {"cmp/store/store.json"}
    assert left == set()


@pytest.mark.parametrize(
    "words",
    [
        "decode p.bin -o w.yuv",
        "decode p.264 -o w.yuv --decoder jm",
        "encode even.png -o w.bin -q 40 --plain",
        "encode even.png -o w.bin -q 40 --probes 1",
    ],
)
def test_full_temporary_folder(fprdo, here, jm_tools, x264_tools, words):
    """It is named, and TMPDIR as the remedy, whatever the decoder makes of its own failure."""
    small = here / "small"
    small.mkdir()
    inside = ["unshare", "-rm", "sh", "-c", 'mount -t tmpfs -o size=8k none small && TMPDIR=$PWD/small exec "$@"', "sh"]
    if subprocess.run([*inside, "true"], cwd=here, capture_output=True).returncode:
        pytest.skip("no mount namespaces here")
    for name, encoder in (("p.bin", "hm"), ("p.264", "x264")):
        assert fprdo("encode", "even.png", "-o", name, "-q", 40, "--plain", "--encoder", encoder).status == 0
    before = files(here)
    run = subprocess.run([*inside, *PROGRAM, *words.split()], cwd=here, capture_output=True, text=True)
    assert run.returncode == 2 and run.stdout == "" and len(run.stderr.splitlines()) == 1
    assert run.stderr.startswith(
        f"fprdo: error: {small}: the disk is full; make room there, or set TMPDIR to a folder with room"
    )
    assert files(here) == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    "words, mark",
    [
        (
            "encode clip_64x64.yuv -o w.bin -q 4 --plain --recon w.yuv --option SearchRange=200 --config lowdelay",
            "POC 1",
        ),
        ("compare clip_64x64.yuv -o cmp --probes 1 --frames-per-map 9 -q 1 2 3 4 --config lowdelay", "[1/8]"),
    ],
)
def test_interrupt_leaves_nothing_half_written(tmp_path, words, mark, number):
    fmt = VideoFormat(64, 64)
    write_yuv(tmp_path / "clip_64x64.yuv", clip(fmt, 9), fmt)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    process = subprocess.Popen(
        [*PROGRAM, *words.split()],
        cwd=tmp_path,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"TMPDIR": str(scratch)},
    )
    lines = []
    for line in process.stderr:
        lines.append(line)
        if line.startswith(mark):
            break
    process.send_signal(number)
    out, rest = process.communicate(timeout=60)
    assert process.returncode == 130, lines + [rest]
    assert rest.splitlines()[-1] == "fprdo: stopped; run it again to go on" and "Traceback" not in rest and out == ""
    assert not list(scratch.iterdir())
    left = files(tmp_path) - {"clip_64x64.yuv", "scratch"}
    assert not [name for name in left if ".work" in name or name.startswith(("w.", ".w."))]
    bitstreams = [name for name in left if name.endswith(".bin") and not name.startswith("cmp/store/")]
    assert len(bitstreams) < 8
    if words.startswith("compare"):
        assert bitstreams and not list((tmp_path / "cmp" / "store" / "tmp").iterdir())
        for record in (tmp_path / "cmp" / "store").glob("jobs/*/*/record.json"):
            json.loads(record.read_text())


@pytest.mark.parametrize(
    "module",
    [
        "fprdo_bridge.errors",
        "fprdo_bridge.text",
        "numpy._core.multiarray",
        "PIL.Image",
        "fprdo_bridge.cli.weights",
        "torch._C",
        "torch.nn.functional",
        "torch",
    ],
)
def test_interrupt_during_the_imports(here, module):
    """Wherever it arrives: one line, and no traceback of a module that was half loaded."""
    words = [sys.executable, "-X", "importtime", *PROGRAM[1:], "weights", "even.png", "-o", "w.idse", "--probes", "50"]
    process = subprocess.Popen(words, cwd=here, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    for line in process.stderr:
        if line.rsplit("|", 1)[-1].strip() == module:
            process.send_signal(signal.SIGINT)
            break
    out, err = process.communicate(timeout=60)
    said = [line for line in err.splitlines() if not line.startswith("import time:")]
    assert (process.returncode, out, said) == (130, "", ["fprdo: stopped; run it again to go on"])
    assert not Path(here / "w.idse").exists()


@pytest.mark.parametrize(
    "words, says",
    [
        (
            "show even.idse",
            "standard output: cannot be written (No space left on device); the files of the command are complete",
        ),
        ("weights even.png -o w.idse --probes 1 --json", "standard output: cannot be written"),
        ("--help", "standard output: cannot be written"),
        ("--version", "standard output: cannot be written"),
        ("show gone.idse", "gone.idse: cannot be read"),
    ],
)
def test_nobody_reads_standard_output(here, words, says):
    """A full disk behind it is said, once the files are complete; that it is closed or a pipe without reader is not."""

    def run(redirection: str) -> tuple[int, list[str]]:
        done = subprocess.run(
            ["bash", "-c", f'"$@" {redirection}', "bash", *PROGRAM, *words.split()],
            stderr=subprocess.PIPE,
            text=True,
            cwd=here,
        )
        return done.returncode, done.stderr.splitlines()

    status, lines = run(">/dev/full")
    assert status == 2 and len(lines) == 1 and lines[0].startswith(f"fprdo: error: {says}")
    for redirection in (">&-", "| true; exit ${PIPESTATUS[0]}"):
        assert run(redirection) == ((2, lines) if "gone" in words else (0, []))
    assert words.endswith(("gone.idse", "--help", "--version")) or any(
        (here / name).exists() for name in ("w.idse", "map-even.png")
    )


@pytest.mark.parametrize("outputs", ["-o /dev/full --recon w.yuv", "-o w.bin --recon /dev/full"])
def test_no_output_stands_where_another_failed(fprdo, here, outputs):
    said = fprdo("encode", "even.png", "-q", 40, "--plain", *outputs.split())
    assert said.status == 2 and "fprdo: error: /dev/full: cannot be written (No space left on device)" in said.err
    assert not list(here.glob("w.*"))


def test_a_full_disk_behind_standard_error_does_not_end_a_run(here, x264_tools):
    """A comparison says much there."""
    words = ["compare", "even.png", "-o", "cmp", "--probes", "1", "--encoder", "x264", "--maps", "0", "--curves", "0"]
    run = subprocess.run(
        ["sh", "-c", '"$@" 2>/dev/full', "sh", *PROGRAM, *words], stdout=subprocess.PIPE, text=True, cwd=here
    )
    assert run.returncode == 0 and "BD-rate" in run.stdout and (here / "cmp" / "results.csv").exists()
    for words in ("show", "show gone.idse"):
        run = subprocess.run(
            ["sh", "-c", '"$@" 2>/dev/full', "sh", *PROGRAM, *words.split()], stdout=subprocess.PIPE, cwd=here
        )
        assert (run.returncode, run.stdout) == (2, b"")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_weights_go_on(tmp_path, number):
    """Maps that are done are kept in a hidden folder until the file is complete."""
    fmt = VideoFormat(64, 64)
    write_yuv(tmp_path / "clip_64x64.yuv", clip(fmt, 4), fmt)
    words = [*PROGRAM, "weights", "clip_64x64.yuv", "-o", "w.idse", "--probes", "20", "--frames-per-map", "1"]
    process = subprocess.Popen(words, cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    first = tmp_path / ".w.idse.maps" / "0.idse"
    deadline = time.monotonic() + 60
    while not first.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err.splitlines()[-1]) == (130, "", "fprdo: stopped; run it again to go on")
    assert "Traceback" not in err
    assert {path.name for path in tmp_path.iterdir()} == {"clip_64x64.yuv", ".w.idse.maps"}
    parts = sorted(first.parent.glob("*.idse"))
    assert 1 <= len(parts) < 4
    for part in parts:
        with IdseFile(part) as file:
            file.verify()
    before = [part.read_bytes() for part in parts]
    subprocess.run(words, cwd=tmp_path, check=True, capture_output=True)
    assert {path.name for path in tmp_path.iterdir()} == {"clip_64x64.yuv", "w.idse"}
    with IdseFile(tmp_path / "w.idse") as file:
        assert file.map_count == 4
        file.verify()
        assert file.raw_map(0)[0][0].tobytes() in before[0]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    "words",
    [
        "encode clip_320x320.yuv -o w.bin -q 1 --plain --config lowdelay",
        "compare clip_320x320.yuv -o cmp -q 1 2 3 4 --config lowdelay --probes 1 --frames-per-map 9 "
        "--extractor net:make:0",
    ],
)
def test_interrupt_stops_the_encoders(tmp_path, words, number):
    """At once, and none goes on by itself in the background; left alone these take 20 s or more."""
    fmt = VideoFormat(320, 320)
    write_yuv(tmp_path / "clip_320x320.yuv", clip(fmt, 9), fmt)
    (tmp_path / "net.py").write_text(
        "import torch\ndef make():\n    torch.manual_seed(0)\n"
        "    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3))\n"
    )
    process = subprocess.Popen([*PROGRAM, *words.split()], cwd=tmp_path, text=True, stderr=subprocess.PIPE)

    def read(place: str, name: str) -> str:
        with suppress(OSError):  # it has ended
            return "".join(path.read_text() for path in Path(place).glob(name))
        return ""

    def below(parent: int | str) -> list[str]:
        """What it started, and what that started."""
        own = read(f"/proc/{parent}/task", "*/children").split()
        return [one for child in own for one in (child, *below(child))]

    def encoders() -> list[str]:
        return [one for one in below(process.pid) if "TAppEncoder" in read(f"/proc/{one}", "comm")]

    while not encoders() and process.poll() is None:
        time.sleep(0.05)
    time.sleep(0.5)
    assert encoders()
    running = below(process.pid)
    process.send_signal(number)
    deadline = time.monotonic() + 10
    err = process.communicate(timeout=60)[1]
    assert process.returncode == 130 and err.splitlines()[-1] == "fprdo: stopped; run it again to go on"
    while any(Path(f"/proc/{child}").exists() for child in running):
        time.sleep(0.05)
    assert time.monotonic() < deadline
    assert not list(tmp_path.glob("**/.fprdo-????????"))
