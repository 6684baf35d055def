"""Y4M on standard input, and results on standard output."""

import struct
import subprocess
from pathlib import Path

import pytest
from calling import FAST, PROGRAM, files
from clips import clip
from networks import tiny_extractor

from fprdo_bridge.importance.weighting import WeightSettings, write_weights
from fprdo_bridge.video.formats import VideoFormat
from fprdo_bridge.video.source import open_source
from fprdo_bridge.video.y4m import write_y4m

FMT = VideoFormat(48, 32)


@pytest.fixture
def y4m(tmp_path) -> Path:
    write_y4m(tmp_path / "clip.y4m", clip(FMT, 4), FMT, 25)
    return tmp_path / "clip.y4m"


def piped(y4m: Path | None, *words: object, status: int = 0) -> tuple[bytes, str]:
    """Standard output and standard error of the command, with a file as a pipe on its standard input."""
    data = y4m.read_bytes() if y4m else b""
    done = subprocess.run([*PROGRAM, *map(str, words)], input=data, capture_output=True, cwd=y4m and y4m.parent)
    assert done.returncode == status, done.stderr
    return done.stdout, done.stderr.decode()


def test_bits_and_samples_through_pipes_are_those_of_files(fprdo, y4m, x264_tools):
    coding = ("-q", 32, "--encoder", "x264", "--plain", "--config", "lowdelay")
    assert fprdo("encode", "clip.y4m", "-o", "file.264", "--recon", "recon.y4m", *coding).status == 0
    bits, said = piped(y4m, "encode", "-", "-o", "-", *coding)
    assert bits == Path("file.264").read_bytes() and "-: " in said and " bits" in said
    samples, _ = piped(y4m, "encode", "-", "-o", "piped.264", "--recon", "-", *coding)
    assert samples == Path("recon.y4m").read_bytes() and Path("piped.264.log").is_file()
    samples, said = piped(y4m, "decode", "file.264", "-o", "-")
    assert samples == Path("recon.y4m").read_bytes() and "4 pictures of 48x32" in said


def test_weights_through_pipes_are_those_of_files(fprdo, y4m):
    assert fprdo("weights", "clip.y4m", "-o", "file.idse", "--frames", 2, *FAST).status == 0
    weights, _ = piped(y4m, "weights", "-", "-o", "-", "--frames", 2, *FAST)
    file = Path("file.idse").read_bytes()
    assert b'"source": "clip"' in file and b'"source": "clip"' not in weights
    maps = [data[struct.unpack_from("<Q", data, 48)[0] :] for data in (file, weights)]  # from the first map on
    assert len(maps[0]) > 1024 and maps[0] == maps[1]


def test_no_more_is_read_than_is_needed(y4m, tmp_path):
    """Behind the frames that are asked for, the stream is not Y4M any more."""
    (tmp_path / "broken.y4m").write_bytes(y4m.read_bytes()[: -FMT.frame_bytes] + b"nothing that is a frame")
    words = ("weights", "-", "-o", "w.idse", "--extractor", "none", "--box", "0,0,8,8,2")
    _, said = piped(tmp_path / "broken.y4m", *words, status=2)
    assert "ends inside frame 3" in said
    piped(tmp_path / "broken.y4m", *words, "--frames", 2, "--skip", 1)


@pytest.mark.parametrize("words", [("--frames", 10**9), ("--frames", 1, "--skip", 4 * 10**9)])
def test_more_frames_than_there_are(y4m, words):
    _, said = piped(y4m, "weights", "-", "-o", "w.idse", *words, *FAST, status=2)
    assert "standard input: has 4 frames, " in said


def test_mistakes_name_standard_input_and_not_its_copy(y4m, tmp_path):
    words = ("weights", "-", "-o", "w.idse", *FAST)
    _, said = piped(y4m, *words, "--size", "64x64", status=2)
    assert "standard input: holds 48x32" in said
    data = y4m.read_bytes()
    (tmp_path / "short.y4m").write_bytes(data[: -FMT.frame_bytes])
    _, said = piped(tmp_path / "short.y4m", *words, status=2)
    assert "standard input: ends inside frame 3, or is damaged there; send it again, or" in said
    assert "standard-input" not in said
    (tmp_path / "bits.y4m").write_bytes(b"YUV4MPEG2 W16 H16 C420p10\nFRAME\n" + b"\xff" * 768)
    _, said = piped(tmp_path / "bits.y4m", *words, status=2)  # found when the frame is read
    assert "standard input: frame 0 has samples of more than the 10 bits" in said


def test_what_standard_input_is_not(fprdo, y4m, tmp_path, monkeypatch):
    before = files(tmp_path)
    (tmp_path / "text").write_text("no video\n")
    assert "-: standard input is no Y4M (YUV4MPEG2) stream" in piped(tmp_path / "text", "weights", "-", status=2)[1]
    (tmp_path / "text").unlink()
    monkeypatch.setattr("sys.stdin", None)
    said = fprdo("weights", "-")
    assert said.status == 2 and "-: standard input is closed; name a file" in said.err
    said = fprdo("encode", "clip.y4m", "-o", "-", "--recon", "-", "-q", 32, "--plain", "--encoder", "x264")
    assert said.status == 2 and "two outputs cannot share standard output" in said.err
    assert files(tmp_path) == before


def test_show_draws_what_is_finished_of_a_file_that_grows(fprdo, y4m):
    def stop(share: float) -> None:
        if share > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_weights(
            open_source(str(y4m)), WeightSettings(frames_per_map=1, probes=1), Path("w.idse"), tiny_extractor(), stop
        )
    assert fprdo("show", "w.idse", "clip.y4m", "--frame", 1, "-o", "map.png").status == 0
    said = fprdo("show", "w.idse", "--frame", 3, "-o", "other.png")
    assert said.status == 2 and "w.idse: has frames 0 to 1, not 3" in said.err
    assert fprdo("show", "w.idse", "clip.y4m", "--animation", "-o", "m.png").out.split() == ["m-0000.png", "m-0001.png"]
