"""docs/porting.md: the encoder of that page works as the page says, by the code that stands there."""

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from clips import clip

from fprdo_bridge import cli, encoders
from fprdo_bridge.encoders import structures
from fprdo_bridge.video.formats import VideoFormat, first_difference
from fprdo_bridge.video.raw import read_yuv, write_yuv

PAGE = Path(__file__).resolve().parents[2] / "docs" / "porting.md"

# The encoder itself: libavcodec's, behind the command line and the output that the page gives it.
PROGRAM = """#!{python}
import sys
from fractions import Fraction
import av, numpy as np

settings = {{"between": "0", "references": "1", "start": "0"}}
words = sys.argv[1:]
while words:
    word = words.pop(0)
    if word == "-c":
        lines = [line.partition("#")[0] for line in open(words.pop(0))]
        settings |= dict(map(str.strip, line.split("=")) for line in lines if "=" in line)
    else:
        name, value = word.removeprefix("--").split("=", 1)
        if name not in ("in", "out", "recon", "size", "frames", "rate", "qp", "period", "between", "references",
        "start"):
            sys.exit(f"error: no option {{name}}")
        settings[name] = value
width, height = map(int, settings["size"].split("x"))
size, count = width * height * 3 // 2, int(settings["frames"])
source = np.fromfile(settings["in"], np.uint8)[:size * count].reshape(count, height * 3 // 2, width)
parameters = f"qp={{settings['qp']}}:keyint={{settings['period']}}:bframes={{settings['between']}}:threads=1:psy=0"
with av.open(settings["out"], "w", format="h264") as file:
    stream = file.add_stream("libx264", rate=Fraction(settings["rate"]), options={{"x264-params": parameters}})
    stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
    frames = [av.VideoFrame.from_ndarray(picture, "yuv420p") for picture in source]
    for number, frame in enumerate(frames):
        frame.pts = number
    packets = [packet for frame in [*frames, None] for packet in stream.encode(frame)]
    coded = [(packet.pts, packet.size) for packet in packets]
    for packet in packets:
        file.mux(packet)
with av.open(settings["out"], format="h264") as file:
    shown = [frame for frame in file.decode(video=0)]
recon = np.stack([frame.to_ndarray() for frame in shown])
if settings["recon"]:
    recon.tofile(settings["recon"])
for pts, size in coded:
    number = sorted(pts for pts, _ in coded).index(pts)
    error = ((recon[number].astype(float) - source[number]) ** 2).mean() or 1e-9
    psnr = f"{{10 * np.log10(255 ** 2 / error):.2f}}"
    kind = "?IPB"[shown[number].pict_type]
    print(f"picture {{number}} {{kind}} qp {{settings['qp']}} bits {{8 * size}} psnr {{psnr}} {{psnr}} {{psnr}}")
print(f"{{sum(size for _, size in coded)}} bytes")
"""


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """The files of the page in a folder of their own, and the registry with their encoder."""
    text = PAGE.read_text(encoding="utf-8")
    blocks = dict(re.findall(r"^```(?:python)?\n# (\S+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
    assert {Path(name).name for name in blocks} == {
        "intra.cfg",
        "lowdelay.cfg",
        "randomaccess.cfg",
        "options.py",
        "log.py",
        "codec.py",
        "__init__.py",
    }
    for name, content in blocks.items():
        path = tmp_path / "checkout" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    program = tmp_path / "toy"
    program.write_text(PROGRAM.format(python=sys.executable))
    program.chmod(0o755)
    (tmp_path / "tools.json").write_text(
        json.dumps(
            {
                "toy": {
                    "version": "1",
                    "key": "0",
                    "encoder": str(program),
                    "stock_encoder": str(program),
                    "config_dir": str(tmp_path),
                }
            }
        )
    )
    monkeypatch.setenv("FPRDO_TOOLS", str(tmp_path / "tools.json"))
    monkeypatch.setattr(structures, "_CONFIGS", tmp_path / "checkout" / "cfg")
    monkeypatch.setattr(
        encoders, "__path__", [*encoders.__path__, str(tmp_path / "checkout" / "fprdo_bridge" / "encoders")]
    )
    entry = re.search(r"`\"(\w+)\": \"(\w+)\"`", text)
    monkeypatch.setitem(encoders.ENCODERS, entry[1], entry[2])
    importlib.invalidate_caches()
    monkeypatch.chdir(tmp_path)
    write_yuv("c_64x48.yuv", clip(VideoFormat(64, 48), 5), VideoFormat(64, 48))
    yield encoders.get("toy")
    for name in [name for name in sys.modules if name.startswith("fprdo_bridge.encoders.toy")]:
        del sys.modules[name]


def run(capsys, *words: str) -> tuple[int, str]:
    status = cli.main(list(words))
    said = capsys.readouterr()
    return status, said.out + said.err


@pytest.mark.parametrize("kind", structures.KINDS)
def test_the_encoder_of_the_page_codes(toy, capsys, kind):
    status, said = run(
        capsys,
        "encode",
        "c_64x48.yuv",
        "-o",
        "o.264",
        "-q",
        "30",
        "--plain",
        "--encoder",
        "toy",
        "--config",
        kind,
        "--recon",
        "r.yuv",
        "--frame-rate",
        "30000/1001",
    )
    assert status == 0, said
    assert "o.264: " in said and " dB" in said
    status, said = run(capsys, "decode", "o.264", "-o", "d.yuv")
    assert status == 0 and "d.yuv: 5 pictures of 64x48" in said, said
    fmt = VideoFormat(64, 48)
    assert first_difference(read_yuv("r.yuv", fmt), read_yuv("d.yuv", fmt)) is None
    assert toy in encoders.built() and "toy" not in encoders.decoders()


def test_odd_sizes_and_containers_come_with_it(toy, capsys):
    fmt = VideoFormat(33, 17)
    write_yuv("c_33x17.yuv", clip(fmt, 2), fmt)
    assert (
        run(
            capsys,
            "encode",
            "c_33x17.yuv",
            "-o",
            "o.mp4",
            "-q",
            "30",
            "--plain",
            "--encoder",
            "toy",
            "--recon",
            "r.y4m",
        )[0]
        == 0
    )
    assert run(capsys, "decode", "o.mp4", "-o", "d.y4m", "--size", "33x17")[0] == 0
    assert Path("d.y4m").read_bytes() == Path("r.y4m").read_bytes()


@pytest.mark.parametrize(
    "words, message",
    [
        (
            ("--option", "start=2"),
            "encoder option start: start=2 would code other pictures than the weights and the PSNR are of",
        ),
        (("--option", "qp=2"), "encoder option qp: qp=2 is what -q and --rate-control say"),
        (("--option", "colour=2"), "Toy failed, exit status 1: error: no option colour"),
        (("--chroma", "444"), "c_64x48.yuv: "),
        (("--rate-control", "crf"), "rate control 'crf': Toy has qp here"),
    ],
)
def test_the_encoder_of_the_page_refuses(toy, capsys, words, message):
    status, said = run(
        capsys, "encode", "c_64x48.yuv", "-o", "o.264", "-q", "30", "--plain", "--encoder", "toy", *words
    )
    assert status == 2 and said.startswith(f"fprdo: error: {message}") and len(said.splitlines()) == 1, said
    assert not Path("o.264").exists()


def test_the_code_of_the_page_is_in_the_projects_form(toy, tmp_path):
    folder, ruff = tmp_path / "checkout" / "fprdo_bridge", Path(sys.executable).with_name("ruff")
    if not ruff.exists():
        pytest.skip("ruff is not installed")
    for words in (["check"], ["format", "--diff"]):
        command = [ruff, *words, "--config", str(PAGE.parents[1] / "pyproject.toml"), folder]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_what_the_page_points_to_is_there():
    text = PAGE.read_text(encoding="utf-8")
    root = PAGE.parents[1]
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert (PAGE.parent / target).exists(), target
    for name in re.findall(r"`((?:hm|jm|x264)/\w+\.py)`", text):
        assert (root / "fprdo_bridge" / "encoders" / name).exists(), name
    fields = re.findall(r"^\| [^|]+ \| ([^|]+) \| [^|]+ \|$", text, re.MULTILINE)[2:]
    known = set(dir(encoders.Codec)) | {"intra_period_option", "job.rate"}
    for field in fields:
        names = re.findall(r"`([\w.]+)`", field)
        assert names and set(names) <= known, field
