"""Comparisons on one tiny picture: they do what is missing and nothing else."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
from clips import clip
from comparing import SETTINGS, compare, find_job, names, other_tools, redone, same_but_for_time, stamps

from fprdo_bridge.ctc.points import MODES, CompareSettings
from fprdo_bridge.ctc.results_folder import MARKER
from fprdo_bridge.encoders.job import IdseOptions
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.importance.weighting import WeightSettings
from fprdo_bridge.video.formats import VideoFormat
from fprdo_bridge.video.pictures import load_picture, save_picture
from fprdo_bridge.video.raw import write_yuv
from fprdo_bridge.video.source import FormatRequest, open_source

# ---- resume ----------------------------------------------------------------------------------------------------------


def test_a_second_run_does_nothing(folder, finished, sequence, tools):
    before = stamps(folder, "*/*")
    lines = []
    assert compare([sequence], SETTINGS, tools, folder, lines.append) == finished[1]
    assert stamps(folder, "*/*") == before
    assert lines == ["8 of 8 points are there already"]


def test_a_missing_bitstream_comes_back(folder, finished, sequence, tools):
    before = stamps(folder)
    (folder / "bitstreams" / "face-idse-qp37.bin").unlink()
    assert compare([sequence], SETTINGS, tools, folder) == finished[1]
    assert redone(before, stamps(folder)) == {"face-idse-qp37.bin"}


@pytest.mark.parametrize("kind", ["encode", "decode", "score", "map"])
def test_a_job_that_is_missing_is_done_alone(folder, finished, sequence, tools, kind):
    before, jobs = stamps(folder), set(folder.glob("store/jobs/*/*"))
    gone = find_job(folder, kind)
    shutil.rmtree(gone)
    points = compare([sequence], SETTINGS, tools, folder)
    assert same_but_for_time(points) == same_but_for_time(finished[1])
    assert redone(before, stamps(folder)) == set()  # the same bits again
    assert gone.is_dir() and set(folder.glob("store/jobs/*/*")) == jobs


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"key": "other"}', '{"result": 3, "provenance": {}}'])
def test_a_damaged_job_is_done_again(folder, finished, sequence, tools, damage):
    record = find_job(folder, "encode") / "record.json"
    record.write_text(damage)
    assert same_but_for_time(compare([sequence], SETTINGS, tools, folder)) == same_but_for_time(finished[1])
    assert json.loads(record.read_text())["kind"] == "encode"


@pytest.mark.parametrize(
    "change, expected",
    [
        (dict(idse=IdseOptions(tau=2)), names(["idse"])),
        (dict(idse_options={"MaxCuDQPDepth": "0"}), names(["idse"])),
        (dict(weights=WeightSettings("efficientnet_lite0", probes=2, seed=1)), names(["idse"])),
        (dict(options={"SAO": "0"}), names()),
        (dict(config="lowdelay"), names()),
        (dict(qps=(27, 30, 32, 37, 42)), names(qps=[30])),
        (dict(qps=(42, 37, 32, 27, 27)), set()),
    ],
    ids=str,
)
def test_a_change_redoes_what_it_concerns(folder, sequence, tools, change, expected):
    before = stamps(folder)
    points = compare([sequence], replace(SETTINGS, **change), tools, folder)
    assert redone(before, stamps(folder)) == expected
    assert len(points) == 2 * len(set(change.get("qps", SETTINGS.qps)))


def test_other_samples_redo_everything(folder, tools, tmp_path):
    """A picture of the same name."""
    before = stamps(folder, "*/*.[bi]*[ne]")
    save_picture(tmp_path / "face.png", load_picture("skimage:astronaut")[21:117, 150:230])
    compare([open_source(str(tmp_path / "face.png"))], SETTINGS, tools, folder)
    assert redone(before, stamps(folder, "*/*.[bi]*[ne]")) == names() | {"face.idse"}


def test_another_meaning_of_the_same_samples_redoes_everything(tmp_path, tools):
    """Networks see R'G'B', so the matrix decides weights and distances."""
    fmt = VideoFormat(48, 40)
    write_yuv(tmp_path / "face_48x40.yuv", clip(fmt, 1), fmt)
    results = []
    for matrix in ("bt709", "bt601"):
        before = stamps(tmp_path / "out", "*/*.[bi]*[ne]")
        sequence = open_source(str(tmp_path / "face_48x40.yuv"), FormatRequest(matrix=matrix))
        results.append(compare([sequence], SETTINGS, tools, tmp_path / "out"))
        assert redone(before, stamps(tmp_path / "out", "*/*.[bi]*[ne]")) == {
            name.replace("face-", "face_48x40-") for name in names()
        } | {"face_48x40.idse"}
    assert all(a.distance != b.distance for a, b in zip(*results))
    bits = [{mode: [point.bits for point in points if point.mode == mode] for mode in MODES} for points in results]
    assert bits[0]["sse"] == bits[1]["sse"] and bits[0]["idse"] != bits[1]["idse"]


def test_another_build_redoes_everything(folder, sequence, tools, tmp_path, monkeypatch):
    """Jobs are named after the build tree: the bits are the same, and so the files."""
    programs = {}
    for name in ("encoder", "stock_encoder"):
        (tmp_path / f"another-{name}").mkdir()
        (tmp_path / f"another-{name}" / "bin").symlink_to(getattr(tools, name).parent)
        programs[name] = str(tmp_path / f"another-{name}" / "bin" / getattr(tools, name).name)
    other_tools(tmp_path, monkeypatch, tools, **programs)
    before, jobs = stamps(folder), set(folder.glob("store/jobs/*/*"))
    compare([sequence], SETTINGS, tools, folder)
    assert redone(before, stamps(folder)) == set()
    assert len(set(folder.glob("store/jobs/*/*")) - jobs) == 8 * 4  # encode, decode and two scores of each point


COMMAND = [
    sys.executable,
    "-m",
    "fprdo_bridge.cli",
    "compare",
    "face.png",
    "-o",
    "out",
    "--extractor",
    "lite0",
    "--probes",
    "2",
]


def test_a_killed_run_goes_on(tmp_path, sequence, tools, finished):
    """SIGKILL after the second point; the next run does the others."""
    shutil.copy(sequence.origin, tmp_path)
    process = subprocess.Popen(COMMAND, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if line.startswith("[2/8]"):
            process.send_signal(signal.SIGKILL)
            break
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    folder = tmp_path / "out"
    assert 2 <= len(stamps(folder)) < 8
    before = stamps(folder)
    run = subprocess.run(COMMAND, cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    there = re.search(r"(\d) of 8 points are there already", run.stderr)
    assert there and 2 <= int(there[1]) < 8
    assert redone(before, stamps(folder)) == names() - set(before)
    with open(folder / "results.csv", newline="") as file:
        assert [int(row["bits"]) for row in csv.DictReader(file)] == [point.bits for point in finished[1]]
    assert {"results.csv", "rd-curves.png", "map-face.png"} < {path.name for path in folder.iterdir()}
    assert not (folder / ".work").exists() and not list((folder / "store" / "tmp").iterdir())


@pytest.mark.parametrize("marked", [True, False])
def test_a_folder_of_an_earlier_version_is_taken_up(folder, finished, sequence, tools, marked):
    """All is measured anew, since each record was of its version. What is replaced takes its log along."""
    shutil.rmtree(folder / "store")
    old = {"sequence": "face", "mode": "sse", "qp": 27, "key": "0"}
    (folder / "points").mkdir()
    (folder / "points" / "face-sse-qp27.json").write_text(json.dumps(old))
    (folder / "weights" / "face.key").write_text(64 * "0")
    for log in folder.glob("bitstreams/*.bin.log"):
        log.rename(log.with_name(log.name.replace(".bin.log", ".log")))
    if marked:
        logs = [f"bitstreams/{name.replace('.bin', '.log')}" for name in names()]
        with open(folder / MARKER, "a") as marker:
            for name in ["points/face-sse-qp27.json", "weights/face.key", *logs]:
                marker.write(json.dumps(name) + "\n")
    else:
        (folder / MARKER).unlink()
        (folder / ".lock").touch()
    lines = []
    points = compare([sequence], SETTINGS, tools, folder, lines.append)
    assert same_but_for_time(points) == same_but_for_time(finished[1])
    assert "weights of face: 2 probes through efficientnet_lite0" in lines and lines[-1].startswith("[8/8]")
    assert (folder / MARKER).exists() and not (folder / ".lock").exists() and not (folder / "points").exists()
    assert {path.name for path in folder.glob("weights/*")} == {"face.idse"}
    assert {path.name for path in folder.glob("bitstreams/*.log")} == {f"{name}.log" for name in names()}


def test_records_of_somebody_else_stay(tmp_path, folder, sequence, tools):
    """points/ is the user's where no mark names what is in it."""
    (folder / "points").mkdir()
    (folder / "points" / "mine.json").write_text("mine")
    compare([sequence], SETTINGS, tools, folder)
    assert (folder / "points" / "mine.json").read_text() == "mine"


def test_two_runs_in_one_folder(folder, sequence, tools):
    """The second is refused, the first does not notice."""
    shutil.rmtree(find_job(folder, "encode"))
    refused = []

    def meanwhile(line: str) -> None:
        with pytest.raises(FprdoError, match="another run is working here; wait for it or choose another folder"):
            compare([sequence], SETTINGS, tools, folder)
        refused.append(line)

    assert len(compare([sequence], SETTINGS, tools, folder, meanwhile)) == 8
    assert len(refused) == 2
    compare([sequence], SETTINGS, tools, folder)  # and then the folder is free


@pytest.mark.encoder
def test_the_picture_of_a_map_follows_its_settings(tmp_path, sequence):
    shutil.copy(sequence.origin, tmp_path)
    pictures = []
    for words in ([], ["--tau", "9"]):
        run = subprocess.run(COMMAND + words, cwd=tmp_path, capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        pictures.append((tmp_path / "out" / "map-face.png").read_bytes())
    assert pictures[0] != pictures[1]
    assert "Every bitstream decoded by HM and libavcodec: equal to the encoder's reconstruction." in run.stdout


# ---- mistakes --------------------------------------------------------------------------------------------------------


def test_a_decoder_that_disagrees(tmp_path, sequence, tools, monkeypatch):
    """A decoder that writes another picture than the encoder did, and says that all is well."""
    script = tmp_path / "decoder"
    script.write_text(f"""#!/bin/sh
'{tools.stock_decoder}' "$@" || exit
while [ "$1" != -o ]; do shift; done
printf '\\377' | dd of="$2" bs=1 seek=100 conv=notrunc 2>/dev/null
""")
    script.chmod(0o755)
    other_tools(tmp_path, monkeypatch, tools, stock_decoder=str(script))
    with pytest.raises(FprdoError, match=r"face hm \w+ qp \d+: HM decodes something else than the"):
        compare([sequence], SETTINGS, tools, tmp_path / "out")
    assert not list((tmp_path / "out").glob("bitstreams/*"))


def test_a_failed_encode_keeps_the_points_that_are_done(folder, finished, sequence, tools):
    settings = replace(SETTINGS, idse_options={"NoSuchOption": "1"})
    with pytest.raises(FprdoError, match="Unknown option `NoSuchOption'"):
        compare([sequence], settings, tools, folder)
    assert len(stamps(folder)) == 8 and not (folder / ".work").exists()
    before = stamps(folder)
    assert compare([sequence], SETTINGS, tools, folder) == finished[1]
    assert redone(before, stamps(folder)) == set()


def test_comparisons_that_make_no_sense(tmp_path, sequence, tools):
    for qps in ((27, 32, 37), (27, 32, 37, 37)):
        with pytest.raises(FprdoError, match="BD-rate needs at least four different ones"):
            CompareSettings(qps=qps)
    with pytest.raises(FprdoError, match="two inputs are called face"):
        compare([sequence, sequence], SETTINGS, tools, tmp_path / "out")
    (tmp_path / "file").touch()
    with pytest.raises(FprdoError, match="file: cannot be written"):
        compare([sequence], SETTINGS, tools, tmp_path / "file")
    assert os.listdir(tmp_path) == ["file"]
