"""The command as users call it: what it writes, what it says about mistakes, and what an interrupt leaves."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from clips import clip, logged_command
from limits import file_size_limit
from PIL import Image

from fprdo_bridge import cli
from fprdo_bridge.bitstream.libav import decode_libav
from fprdo_bridge.ctc.results_folder import MARKER
from fprdo_bridge.encoders.hm import HM
from fprdo_bridge.encoders.job import EncodeJob, Rate
from fprdo_bridge.encoders.running import encode
from fprdo_bridge.importance.idse_file import IdseFile, ones, write_idse
from fprdo_bridge.video.formats import VideoFormat, first_difference
from fprdo_bridge.video.pictures import load_picture, save_picture
from fprdo_bridge.video.raw import read_yuv, write_yuv
from fprdo_bridge.video.source import open_source

pytestmark = pytest.mark.encoder

Said = namedtuple("Said", "status out err")
FAST = ("--probes", "2")
PROGRAM = (sys.executable, "-m", "fprdo_bridge.cli")


@pytest.fixture
def fprdo(tmp_path, monkeypatch, capsys):
    """Runs the command in an empty folder; status, standard output and standard error."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str | Path) -> Said:
        capsys.readouterr()
        try:
            status = cli.main([str(word) for word in words])
        except SystemExit as exit:  # argparse
            status = exit.code
        return Said(status, *capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Path:
    """A folder with a picture of odd size, one of even size, and their weights."""
    folder = tmp_path_factory.mktemp("made")
    photo = load_picture("skimage:astronaut")
    save_picture(folder / "odd.png", photo[20:85, 150:247])
    save_picture(folder / "even.png", photo[20:84, 150:230])
    for name in ("odd", "even"):
        assert cli.main(["weights", str(folder / f"{name}.png"), "-o", str(folder / f"{name}.idse"), *FAST]) == 0
    return folder


@pytest.fixture
def here(made, tmp_path) -> Path:
    """Copies of those in the folder where the command runs."""
    for path in made.iterdir():
        shutil.copy(path, tmp_path)
    return tmp_path


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


# ---- what it does ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, width, height", [("odd", 97, 65), ("even", 80, 64)])
def test_weights_encode_decode(fprdo, here, name, width, height):
    said = fprdo(
        "encode", f"{name}.png", "-o", "out/p.bin", "-q", 32, "--weights", f"{name}.idse", "--recon", "out/r.yuv"
    )
    assert said.status == 0 and said.err == "" and said.out.startswith("out/p.bin: ")
    assert files(here / "out") == {"p.bin", "p.bin.log", "r.yuv"}
    assert "--MaxCuDQPDepth=1" in logged_command(Path("out/p.bin.log"))
    fmt = VideoFormat(width, height)
    recon = next(read_yuv("out/r.yuv", fmt))
    for decoder in ("hm", "libavcodec"):
        said = fprdo("decode", "out/p.bin", "-o", f"{decoder}.yuv", "--decoder", decoder, "--size", f"{width}x{height}")
        title = {"hm": "HM"}.get(decoder, decoder)
        assert said.status == 0 and said.out == (
            f"{decoder}.yuv: 1 picture of {width}x{height}, 4:2:0, 8 bit\n"
            f"Decoded by {title}, which verified the hash of every picture.\n"
        )
        assert first_difference([recon], read_yuv(f"{decoder}.yuv", fmt)) is None
        assert (
            fprdo(
                "decode", "out/p.bin", "-o", f"{decoder}.png", "--decoder", decoder, "--size", f"{width}x{height}"
            ).status
            == 0
        )
    decoded = [load_picture(f"{decoder}.png") for decoder in ("hm", "libavcodec")]
    assert decoded[0].shape == (height, width, 3) and (decoded[0] == decoded[1]).all()
    error = decoded[0].astype(int) - load_picture(f"{name}.png")
    assert 1 < (error**2).mean() < 100


def test_decode_without_a_size_gives_what_is_coded(fprdo, here):
    said = fprdo("encode", "odd.png", "-o", "p.bin", "-q", 40, "--weights", "odd.idse")
    assert said.status == 0 and said.out.endswith(" s; to decode, give --size 97x65\n")
    assert fprdo("encode", "even.png", "-o", "e.bin", "-q", 40, "--plain").out.endswith(" s\n")
    assert fprdo("decode", "p.bin", "-o", "p.yuv").out.startswith("p.yuv: 1 picture of 98x66, 4:2:0, 8 bit\n")


def test_encode_computes_the_weights_itself(fprdo, here):
    assert fprdo("encode", "even.png", "-o", "given.bin", "-q", 32, "--weights", "even.idse").status == 0
    said = fprdo("encode", "even.png", "-o", "computed.bin", "-q", 32, *FAST)
    assert said.status == 0
    assert fprdo("encode", "even.png", "-o", "other.bin", "-q", 32, *FAST, "--seed", 1).status == 0
    given, computed, other = (Path(f"{name}.bin").read_bytes() for name in ("given", "computed", "other"))
    assert given == computed != other
    assert not list(here.glob("*computed*.idse"))


def test_plain_is_the_stock_encoder(fprdo, here, tools):
    assert fprdo("encode", "odd.png", "-o", "plain.bin", "-q", 32, "--plain").status == 0
    sequence = open_source("odd.png")
    job = EncodeJob(
        sequence.yuv(here),
        sequence.fmt,
        1,
        Rate("qp", 32),
        here / "stock.bin",
        (HM.config_for("intra", sequence.fmt, tools),),
    )
    encode(HM, job, tools, stock=True)
    assert Path("plain.bin").read_bytes() == Path("stock.bin").read_bytes()
    assert fprdo("encode", "odd.png", "-o", "weighted.bin", "-q", 32, "--weights", "odd.idse").status == 0
    assert Path("plain.bin").read_bytes() != Path("weighted.bin").read_bytes()


def test_options_reach_the_encoder(fprdo, here):
    """Each run-time option arrives with its value, and so does an option of the encoder's own."""
    said = fprdo(
        "encode",
        "even.png",
        "-o",
        "p.bin",
        "-q",
        30,
        "--weights",
        "even.idse",
        "--tau",
        0.75,
        "--power",
        0.5,
        "--clip",
        8,
        "--rdoq",
        1,
        "--no-qp-map",
        "--qp-map-clip",
        4,
        "--no-sao",
        "--decisions",
        17,
        "--option",
        "SignHideFlag=0",
        "--config",
        "lowdelay",
        "--frame-rate",
        "25",
    )
    assert said.status == 0
    command = logged_command(Path("p.bin.log"))
    for word in (
        "--IDSETau=0.75",
        "--IDSEPower=0.5",
        "--IDSEClip=8.0",
        "--IDSERdoq=1",
        "--IDSEQpMap=0",
        "--IDSEQpMapClip=4",
        "--IDSESao=0",
        "--IDSEDecisions=17",
        "--SignHideFlag=0",
    ):
        assert word in command
    assert command[command.index("-q") + 1] == "30" and command[command.index("-fr") + 1] == "25"
    assert "encoder_lowdelay_main.cfg" in command[command.index("-c") + 1]


def test_raw_video_of_ten_bits(fprdo, tmp_path):
    """4:2:2, two frames with a map each."""
    fmt = VideoFormat(50, 35, "422", 10)
    write_yuv("clip.yuv", clip(fmt, 3), fmt)
    shape = ("--size", "50x35", "--chroma", "422", "--bit-depth", "10")
    said = fprdo("weights", "clip.yuv", *shape, "--frames", 2, *FAST, "--json")
    assert json.loads(said.out) == {"weights": "clip.idse", "width": 50, "height": 35, "frames": 2}
    with IdseFile("clip.idse") as weights:
        assert (weights.map_count, weights.frame_count, weights.layout.chroma) == (2, 2, "422")
        weights.verify()
        assert any((a != b).any() for a, b in zip(weights.raw_map(0)[0], weights.raw_map(1)[0]))
    said = fprdo(
        "encode",
        "clip.yuv",
        *shape,
        "--frames",
        2,
        "--weights",
        "clip.idse",
        "-o",
        "c.bin",
        "-q",
        27,
        "--recon",
        "r.yuv",
        "--config",
        "randomaccess",
        "--json",
    )
    result = json.loads(said.out)
    assert sorted(said.err.splitlines())[0].startswith("POC 0: ") and len(said.err.splitlines()) == 2
    assert result["idse"]["pictures"] == 2 and result["idse"]["unweighted"] == 0 and result["idse"]["weighted"] > 0
    recon = list(read_yuv("r.yuv", fmt))
    assert len(recon) == 2
    for decoder in ("hm", "libavcodec"):
        said = fprdo("decode", "c.bin", "-o", "d.yuv", "--decoder", decoder)
        assert said.out.startswith("d.yuv: 2 pictures of 50x35, 4:2:2, 10 bit\n")
        assert first_difference(recon, read_yuv("d.yuv", fmt)) is None
    assert fprdo("weights", "clip.yuv", *shape, "-o", "shared.idse", "--frames-per-map", 3, *FAST).status == 0
    with IdseFile("shared.idse") as weights:
        assert (weights.map_count, weights.frame_count, weights.frames_per_map) == (1, 3, 3)


def test_scales_and_layers_of_an_extractor(fprdo, here):
    """The form NAME[@SCALES][:LAYERS], and probes that share a forward pass, stand in the metadata."""
    words = (
        "weights",
        "even.png",
        "-o",
        "w.idse",
        "--extractor",
        "lite0@32,full:_blocks.2",
        "--signs-per-noise",
        2,
        *FAST,
    )
    assert fprdo(*words).status == 0
    with IdseFile("w.idse") as weights:
        extractor = weights.metadata["extractor"]
        assert (extractor["name"], extractor["layers"], extractor["scales"]) == (
            "efficientnet_lite0",
            ["_blocks.2"],
            [32, "full"],
        )
        assert weights.metadata["signs_per_noise"] == 2
    for wrong, says in (
        ("lite0@9", "scale '9'"),
        ("lite0:x", "no layer 'x'"),
        ("lite0:_fc --layer _fc", "layers are named there and"),
    ):
        said = fprdo(*f"weights even.png --extractor {wrong}".split())
        assert said.status == 2 and says in said.err and len(said.err.splitlines()) == 1


@pytest.mark.parametrize("chroma", ["400", "444"])
def test_pictures_in_other_chroma_formats(fprdo, here, chroma):
    """These can be cropped to odd sizes."""
    said = fprdo("encode", "odd.png", "-o", "p.bin", "-q", 27, "--chroma", chroma, "--recon", "r.yuv", *FAST)
    assert said.status == 0, said.err
    said = fprdo("decode", "p.bin", "-o", "d.yuv")
    assert said.out.startswith(f"d.yuv: 1 picture of 97x65, 4:{chroma[1]}:{chroma[2]}, 8 bit\n")
    fmt = VideoFormat(97, 65, chroma)
    assert first_difference(read_yuv("r.yuv", fmt), decode_libav(Path("p.bin"), fmt)) is None


@pytest.mark.parametrize("output", ["p.264", "out/p.264"])
def test_two_passes_with_relative_names(fprdo, here, x264_tools, output):
    said = fprdo(
        "encode",
        "even.png",
        "-o",
        output,
        "--encoder",
        "x264",
        "--config",
        "randomaccess",
        "--plain",
        "--rate-control",
        "abr",
        "-q",
        400,
    )
    assert said.status == 0, said.err
    assert Path(output).stat().st_size > 100 and not list(Path(output).parent.glob(".*"))


def test_json_has_no_infinity(fprdo, tmp_path):
    """The chroma of a grey picture is coded without loss."""
    grey = np.repeat(load_picture("skimage:astronaut")[:64, :64, :1], 3, axis=2)
    save_picture("grey.png", grey)

    def no_constant(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    said = fprdo("encode", "grey.png", "-o", "grey.bin", "-q", 32, "--plain", "--json")
    psnr = json.loads(said.out, parse_constant=no_constant)["psnr"]
    assert 25 < psnr[0] < 50 and psnr[1:] == [None, None]
    said = fprdo("compare", "grey.png", "-o", "out", "--json", *FAST)
    assert said.status == 0, said.err
    points = json.loads(said.out, parse_constant=no_constant)["points"]
    assert len(points) == 8 and points[0]["psnr"][1:] == [None, None]


def test_show(fprdo, here):
    sizes = {}
    for name, words in {
        "map-even.png": (),
        "beside.png": ("even.png", "-o", "beside.png"),
        "fine.png": ("-o", "fine.png", "--block", "8"),
        "off.png": ("-o", "off.png", "--no-qp-map"),
        "tau.png": ("-o", "tau.png", "--tau", "10"),
    }.items():
        said = fprdo("show", "even.idse", *words)
        assert said == (0, f"{name}\n", "")
        with Image.open(name) as picture:
            assert picture.format == "PNG"
            sizes[name] = picture.size
            assert np.asarray(picture.convert("L")).std() > 10
    assert sizes["beside.png"][0] > 1.7 * sizes["map-even.png"][0] > 1000
    assert 500 < sizes["map-even.png"][1] < 1200
    plain, fine, off, tau = (Path(name).read_bytes() for name in ("map-even.png", "fine.png", "off.png", "tau.png"))
    assert len({plain, fine, off, tau}) == 4
    assert (here / "even.png").stat().st_size < 40000  # the picture itself is not written over
    assert fprdo("show", "odd.idse", "odd.png").status == 0  # weights of 98x66


@pytest.mark.parametrize(
    "words", ["encode other.png -o o.bin -q 40 --weights even.idse", "show even.idse other.png -o o.png"]
)
def test_weights_of_another_picture(fprdo, here, words):
    """Of the same size they are refused, unless the user says that they are meant."""
    save_picture("other.png", load_picture("skimage:astronaut")[30:94, 150:230])
    said = fprdo(*words.split())
    assert said.status == 2 and said.out == "" and len(said.err.splitlines()) == 1
    assert said.err.startswith(
        "fprdo: error: even.idse: the weights of even were computed from another picture than frame 0 "
        "of other.png; compute its own (fprdo weights), or say --force-weights"
    )
    assert not list(here.glob("o.*"))
    assert fprdo(*words.split(), "--force-weights").status == 0
    shutil.copy("even.png", "other.png")
    assert fprdo(*words.split()).err == ""
    said = fprdo(*words.split(), "--matrix", "bt601")
    assert said.status == 0 and len(said.err.splitlines()) == 1 and "matrix bt709, not bt601" in said.err


def test_show_a_frame_of_a_sequence(fprdo, tmp_path):
    fmt = VideoFormat(64, 48)
    write_yuv("clip_64x48.yuv", clip(fmt, 2), fmt)
    first, second = ones(fmt), ones(fmt)
    second.planes[0][:24] = 1.9
    second.planes[0][24:] = 0.1
    write_idse("clip.idse", [first, second], fmt, frame_count=2)
    for frame in (0, 1):
        assert fprdo("show", "clip.idse", "clip_64x48.yuv", "--frame", frame, "-o", f"{frame}.png").status == 0
    assert Path("0.png").read_bytes() != Path("1.png").read_bytes()


def test_version_and_help(fprdo):
    assert fprdo("--version").out.startswith("fprdo ")
    for command in ("weights", "encode", "decode", "compare", "show"):
        said = fprdo(command, "--help")
        assert said.status == 0 and f"example: fprdo {command}" in " ".join(said.out.split())


def test_a_name_that_is_not_utf8(fprdo, here):
    name = os.fsdecode(b"\xff\xfe")
    Path("even.png").rename(f"{name}.png")
    assert fprdo("weights", f"{name}.png", *FAST) == (0, "\\udcff\\udcfe.idse: weights of 80x64, 1 frame\n", "")
    with IdseFile(f"{name}.idse") as weights:
        assert weights.metadata["source"] == name
    said = fprdo("encode", f"{name}.png", "-o", f"{name}.bin", "-q", 40, "--weights", f"{name}.idse")
    assert said.status == 0 and os.fsencode(f"{name}.idse") in Path(f"{name}.bin.log").read_bytes()
    assert fprdo("decode", f"{name}.bin", "-o", f"{name}.yuv").status == 0
    assert fprdo("show", f"{name}.idse").status == 0
    said = fprdo("compare", f"{name}.png", "-o", "cmp", *FAST)
    assert said.status == 0 and "\\udcff\\udcfe" in said.out
    assert "\\udcff\\udcfe,HM 18.0,sse,27" in Path("cmp/results.csv").read_text(encoding="utf-8")


@pytest.mark.parametrize("form", ["table", "json"])
def test_a_comparison_without_bd_rates(fprdo, tmp_path, form):
    """All points of such a picture are alike. Everything else is there."""
    save_picture("dot.png", np.full((1, 1, 3), 99, np.uint8))
    said = fprdo("compare", "dot.png", "-o", "cmp", *FAST, *(["--json"] if form == "json" else []))
    error = said.err.splitlines()[-1]
    assert said.status == 2 and error.startswith("fprdo: error: no picture has a BD-rate; the first one, dot: ")
    if form == "json":
        data = json.loads(said.out)
        assert len(data["points"]) == 8 and data["bd_rate_percent"]["efficientnet_lite0"]["dot"]["psnr_y"] is None
    else:
        rows = [line.split()[:2] for line in said.out.splitlines()[2:6]]
        assert rows == [["dot", qp] for qp in ("27", "32", "37", "42")] and "n/a: dot, PSNR Y: BD-rate: " in said.out
    assert {"results.csv", "rd-curves.png", "map-dot.png"} <= files(Path("cmp"))


def test_one_flat_picture_among_others(fprdo, here):
    """Its BD-rates are n/a with the reason; those of the other one stand, and the exit status is 0."""
    save_picture("flat.png", np.full((64, 64, 3), 99, np.uint8))
    said = fprdo("compare", "flat.png", "even.png", "-o", "cmp", *FAST, "--json")
    assert said.status == 0
    data = json.loads(said.out)
    table = data["bd_rate_percent"]["efficientnet_lite0"]
    assert len(data["points"]) == 16
    assert table["flat"]["features"] is None and table["flat"]["psnr_y"] is None
    assert "a picture coded without loss?" in table["flat"]["reasons"]["features"]
    assert table["mean"]["features"] == table["even"]["features"] and table["mean"]["pictures"]["features"] == 1
    said = fprdo("compare", "flat.png", "even.png", "-o", "cmp", *FAST)
    assert said.status == 0
    even = f"even {table['even']['features']:.2f} {table['even']['psnr_y']:.2f}"
    assert [" ".join(line.split()) for line in said.out.splitlines()][15:18] == [
        "flat n/a n/a",
        even,
        even.replace("even", "mean"),
    ]


def test_results_come_before_drawings_and_before_the_other_pictures(here):
    """A table stands on standard output when its picture is done, the BD-rates before the first figure."""
    shutil.copy(here / "even.png", here / "next.png")
    words = ["compare", "even.png", "next.png", "-o", "cmp", *FAST]
    process = subprocess.Popen(
        [*PROGRAM, *words], cwd=here, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    lines, drawn = [], {}
    for line in process.stdout:
        lines.append(line)
        drawn[line] = sorted(path.name for path in (here / "cmp").glob("*.png"))
    assert process.wait() == 0, lines
    tables = [number for number, line in enumerate(lines) if line.startswith("HM 18.0  ")]
    last = next(number for number, line in enumerate(lines) if line.startswith("[16/16]"))
    assert len(tables) == 2 and tables[0] < last < tables[1]
    rates = next(line for line in lines if line.startswith("HM 18.0 BD-rate, %"))
    assert drawn[rates] == [] and drawn[lines[-1]] == ["map-even.png", "map-next.png", "rd-curves.png"]


def test_drawings_of_more_pictures_on_request(fprdo, here, x264_tools):
    names = [f"{letter}.png" for letter in "abcdef"]
    for name in names:
        shutil.copy("even.png", name)

    def drawn(*words) -> set[str]:
        said = fprdo("compare", *names, "-o", "cmp", "--probes", 1, "--encoder", "x264", *words)
        assert said.status == 0, said.err
        return {path.name for path in Path("cmp").glob("*.png")}

    assert drawn() == {"rd-curves.png", *(f"map-{letter}.png" for letter in "abcd")}
    assert drawn("--maps", "all", "--curves", 5) == {"rd-curves.png", "rd-curves-2.png", *(f"map-{n}" for n in names)}
    with Image.open("cmp/rd-curves.png") as first, Image.open("cmp/rd-curves-2.png") as second:
        assert first.width > 1400 and second.width < 700
    Path("cmp/map-mine.png").touch()
    assert drawn("--maps", 1, "--curves", 0) == {"map-a.png", "map-mine.png"}


def test_comparing_in_a_folder_of_others(fprdo, here):
    """Nothing of the user's is removed or written over, and what is in the way is named."""
    Path(".work").mkdir()
    for name in (".work/thesis.txt", "results.csv", ".lock"):
        Path(name).write_text("mine")
    before = {path: path.read_bytes() for path in here.rglob("*") if path.is_file()}
    said = fprdo("compare", "even.png", "-o", ".", *FAST)
    assert said == (
        2,
        "",
        "fprdo: error: results.csv: is in the way and not of an earlier comparison; move it, or choose "
        "another output folder\n",
    )
    assert {path: path.read_bytes() for path in here.rglob("*") if path.is_file()} == before
    Path("results.csv").rename("mine.csv")
    assert fprdo("compare", "even.png", "-o", ".", *FAST).status == 0
    for path, content in before.items():
        assert Path("mine.csv" if path.name == "results.csv" else path).read_bytes() == content
    said = fprdo("compare", "even.png", "-o", ".", *FAST)
    assert said.status == 0 and said.err == "8 of 8 points are there already\n"
    said = fprdo("compare", "map-even.png", "rd-curves.png", "-o", ".", *FAST)
    assert said.status == 2 and "rd-curves.png: is read by this command" in said.err


def test_a_long_name(fprdo, here):
    name = "e" * 247  # with .bin.log the longest that a disk takes
    Path("even.png").rename(f"{name}.png")
    said = fprdo("encode", f"{name}.png", "-o", f"{name}e.bin", "-q", 40, "--plain")
    assert said.status == 2 and said.err.endswith("e.bin.log: File name too long; check the path and the disk's room\n")
    assert fprdo("encode", f"{name}.png", "-o", f"{name}.bin", "-q", 40, "--plain").status == 0
    assert fprdo("weights", f"{name}.png", "-o", "w.idse", *FAST).status == 0


@pytest.mark.parametrize(
    "words",
    [
        "weights a\nb.png",
        "weights even.png a\rb",
        "weights even.png --extractor a:\n",
        "encode even.png -o o.bin -q 3 --weights a\nb",
        "decode a\nb -o d.png",
    ],
)
def test_a_line_break_in_a_name(fprdo, here, words):
    said = fprdo(*words.split(" "))
    assert said.status == 2 and said.err.startswith("fprdo: error: ") and len(said.err.splitlines()) == 1


@pytest.mark.parametrize(
    "words",
    [
        "show pipe.idse",
        "encode even.png -o o.bin -q 32 --weights pipe.idse",
        "weights pipe.png",
        "weights pipe.y4m",
        "weights pipe_16x16.yuv",
        "encode pipe -o o.bin -q 32 --plain",
        "show even.idse pipe.webp",
        "decode pipe.bin -o o.yuv",
        "compare even.png pipe.png -o cmp",
        "encode even.png -o o.bin -q 32 --plain --config pipe.cfg",
        "compare even.png -o cmp --config pipe.cfg",
        "compare even.png -o cmp --config pipe.cfg --encoder x264",
    ],
)
def test_pipes_are_refused_and_not_waited_for(fprdo, here, x264_tools, words):
    for name in ("pipe", "pipe.idse", "pipe.png", "pipe.y4m", "pipe_16x16.yuv", "pipe.webp", "pipe.bin", "pipe.cfg"):
        os.mkfifo(name)
    before = files(here)
    said = fprdo(*words.split())
    assert said.status == 2 and said.out == "" and len(said.err.splitlines()) == 1
    assert said.err.startswith("fprdo: error: pipe") and ("is a pipe" in said.err or "is no regular file" in said.err)
    assert files(here) == before


def test_a_plug_in_of_the_current_folder(here, x264_tools):
    """The installed program finds it as python -m does, for weights and for judges; it hides nothing that is installed."""
    (here / "net.py").write_text(
        "import torch\ndef make(): return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU())\n"
    )
    (here / "numpy.py").write_text("raise SystemExit('the wrong numpy')\n")
    program = Path(sys.executable).with_name("fprdo")
    for words in (
        "weights even.png -o w.idse --probes 1 --extractor net:make --layer 0",
        "weights even.png -o w.idse --probes 1 --extractor net:make:0,1",
        "encode even.png -o o.264 -q 30 --encoder x264 --probes 1 --extractor net:make:0",
        "compare even.png -o cmp --encoder x264 --probes 1 --extractor net:make:0 --measure net:make:0,1 "
        "--measure net:make:1 --maps 0",
    ):
        run = subprocess.run([program, *words.split()], cwd=here, capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
    assert "features net:make:0,1   features net:make:1   PSNR Y" in run.stdout
    header = (here / "cmp" / "results.csv").read_text().splitlines()[0]
    assert '"feature_distance_net:make:0,1",feature_distance_net:make:1' in header


def test_quality_with_a_fraction(fprdo, here, x264_tools):
    """Constant rate factor 27.5 is one; as QP or bit rate it is none."""
    x264 = ("--encoder", "x264", "--plain", "-o", "o.264")
    said = fprdo("encode", "even.png", *x264, "-q", "27.5", "--rate-control", "crf")
    assert said.status == 0 and "--crf 27.5 " in Path("o.264.log").read_text().splitlines()[0]
    for words, message in (
        (("-q", "27.5"), "QP 27.5: "),
        (("-q", "400.5", "--rate-control", "abr"), "400.5"),
        (("-q", "1e300"), "'1e300' is too large"),
    ):
        said = fprdo("encode", "even.png", *x264, *words)
        assert said.status == 2 and message in said.err and len(said.err.splitlines()) == 1
    assert fprdo("encode", "even.png", *x264, "-q", "27.0").status == 0
    said = fprdo(
        "compare",
        "even.png",
        "-o",
        "cmp",
        "--encoder",
        "x264",
        "--probes",
        1,
        "-q",
        22.5,
        27,
        32,
        37,
        "--rate-control",
        "crf",
        "--maps",
        0,
        "--curves",
        0,
    )
    assert said.status == 0 and [line.split()[1] for line in said.out.splitlines()[2:6]] == ["22.5", "27", "32", "37"]
    assert (here / "cmp" / "bitstreams" / "even-idse-qp22.5.bin").exists()


@pytest.mark.parametrize(
    "words",
    [
        "weights a\0b.png",
        "weights even.png -o a\0b",
        "encode even.png -o o -q 30 --option a=\0",
        "weights even.png --extractor a:\0",
        "show even.idse --frame \0",
        "\0",
        "--\0=1",
    ],
)
def test_a_nul_character(fprdo, here, words):
    said = fprdo(*words.split(" "))
    assert said.status == 2 and said.out == "" and said.err.count("\n") == 1
    assert said.err.startswith("fprdo: error: ") and "holds a NUL character; leave it out" in said.err


@pytest.mark.parametrize(
    "option",
    [
        "--probes",
        "--seed",
        "--frames",
        "--skip",
        "--bit-depth",
        "--frames-per-map",
        "--size",
        "--frame-rate",
        "--jitter",
    ],
)
@pytest.mark.parametrize("value", ["1" + 400 * "0", 5000 * "9", "nan", "-inf", "1e400", ""])
def test_numbers_beyond_all_ranges(fprdo, here, option, value):
    said = fprdo("weights", "even.png", f"{option}={value}")
    assert said.status == 2 and said.out == "" and said.err.count("\n") == 1
    assert said.err.startswith(f"fprdo: error: argument {option}") and len(said.err) < 300


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


@pytest.mark.parametrize(
    "encoder, option",
    [
        ("hm", "BitstreamFile"),
        ("hm", "ReconFile"),
        ("hm", "InputFile"),
        ("jm", "outputfile"),
        ("jm", "ReconFile"),
        ("jm", "InputFile"),
        ("x264", "output"),
        ("x264", "dump-yuv"),
        ("x264", "dump"),
        ("x264", "stats"),
    ],
)
def test_options_that_name_the_files_of_a_run(fprdo, here, jm_tools, x264_tools, encoder, option):
    before = files(here)
    said = fprdo(
        "encode", "even.png", "-o", "o.bin", "-q", 32, "--plain", "--encoder", encoder, "--option", f"{option}=z"
    )
    assert said.status == 2 and said.err.startswith(f"fprdo: error: encoder option {option}: ")
    assert files(here) == before


def test_the_program_is_installed():
    command = [Path(sys.executable).with_name("fprdo"), "weights", "gone.png"]
    run = subprocess.run(command, capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (2, "fprdo: error: gone.png: no such picture; check the name\n")


# ---- bad input ---------------------------------------------------------------------------------------------------


@pytest.fixture
def spoiled(here) -> Path:
    """All kinds of files that are not what they should be."""
    (here / "text.png").write_text("no picture")
    (here / "cut.png").write_bytes((here / "even.png").read_bytes()[:3000])
    (here / "empty.png").touch()
    (here / "clip_16x16.yuv").write_bytes(bytes(385))
    (here / "nosize.yuv").write_bytes(bytes(384))
    (here / "good_16x16.yuv").write_bytes(bytes(768))
    weights = (here / "even.idse").read_bytes()
    (here / "text.idse").write_text("no weights")
    (here / "cut.idse").write_bytes(weights[:-100])
    (here / "flipped.idse").write_bytes(weights[:-200] + bytes([weights[-200] ^ 1]) + weights[-199:])
    (here / "future.idse").write_bytes(weights[:8] + b"\2" + weights[9:])
    (here / "text.bin").write_text("no bitstream")
    (here / "folder").mkdir()
    return here


ENCODE = "encode even.png -o out.bin -q 32 --weights even.idse"
MISTAKES = [
    ("weights gone.png", "gone.png: no such picture; check the name"),
    ("weights folder", "folder: is a folder; give a regular file"),
    ("weights text.png", "text.png: not a readable picture"),
    ("weights cut.png", "cut.png: not a readable picture"),
    ("weights empty.png", "empty.png: not a readable picture"),
    ("weights skimage:nothing", "skimage:nothing: scikit-image has no such"),
    ("weights clip_16x16.yuv", "clip_16x16.yuv: 385 bytes are not a whole number of 16x16"),
    ("weights nosize.yuv", "nosize.yuv: the name says no picture size"),
    ("weights nosize.yuv --size 0x16", "picture size 0x16: both sides must be"),
    ("weights gone_16x16.yuv", "gone_16x16.yuv: cannot be read"),
    ("weights good_16x16.yuv --frames 3", "good_16x16.yuv: has 2 frames, 3 asked for"),
    ("weights good_16x16.yuv --frames 0", "good_16x16.yuv: 0 frames asked for; use --frames 1 or more"),
    ("weights even.png --frames 2", "even.png: a picture is 1 frame, 2 asked for"),
    ("weights even.png --size 8x8", "even.png: is 80x64, not 8x8"),
    ("weights even.png --size big", "'big' is no size; write it like 416x240"),
    ("weights even.png --chroma 421", "invalid choice: '421'"),
    ("weights even.png --bit-depth 7", "bit depth 7: use 8 to 16"),
    ("weights even.png --frame-rate 0", "'0' is no frame rate"),
    ("weights even.png --probes 0", "probes 0: use at least 1"),
    ("weights even.png --probes many", "'many' is no whole number"),
    ("weights even.png --frames-per-map 0", "0 frames per map: use 1 or more"),
    ("weights even.png --jitter nan", "'nan': use a finite number"),
    (
        "weights even.png --seed 99999999999999999999 --probes 1",
        "'99999999999999999999' is too large; use a whole number below 2^63",
    ),
    ("weights even.png --extractor unheard_of", "unknown extractor 'unheard_of': use efficientnet_lite0"),
    ("weights even.png --extractor no_module:network", "No module named 'no_module'"),
    ("weights even.png --layer nothing", "no layer 'nothing': near names are"),
    ("weights even.png -o even.png/w.idse --probes 1", "even.png/w.idse: cannot be written"),
    ("weights even.png -o even.png --probes 1", "even.png: is read by this command"),
    ("weights even.png -o folder --probes 1", "folder: cannot be written"),
    ("weights", "the following arguments are required: source"),
    ("unweighted even.png", "invalid choice: 'unweighted'"),
    ("weights even.png --quiet", "unrecognized arguments: --quiet"),
    (ENCODE + " --weights text.idse", "text.idse: not an .idse weight file: write one with fprdo weights"),
    (ENCODE + " --weights cut.idse", "cut.idse: truncated"),
    (ENCODE + " --weights flipped.idse", "flipped.idse: wrong checksum of map 0 of 1"),
    (ENCODE + " --weights future.idse", "future.idse: .idse version 2, this fprdo reads version 1"),
    (ENCODE + " --weights odd.idse", "odd.idse: weights for 98x66, the pictures are 80x64"),
    (ENCODE + " --chroma 444", "even.idse: weights for 4:2:0, the pictures are coded as 4:4:4"),
    (ENCODE + " --weights gone.idse", "gone.idse: no such file"),
    (ENCODE + " -q 52", "QP 52: use 0 to 51"),
    (ENCODE + " -q -1", "QP -1: use 0 to 51"),
    (ENCODE + " -q high", "'high' is no number"),
    (ENCODE + " --tau -1", "IDSETau -1.0: use 0 to 1000"),
    (ENCODE + " --tau nan", "'nan': use a finite number"),
    (ENCODE + " --power 0", "IDSEPower 0.0: use above 0"),
    (ENCODE + " --clip 0.5", "IDSEClip 0.5: use 0 for no limit"),
    (ENCODE + " --rdoq 3", "invalid choice: 3"),
    (ENCODE + " --qp-map-clip 13", "IDSEQpMapClip 13: use"),
    (ENCODE + " --decisions 32", "IDSEDecisions 32: use"),
    (ENCODE + " --option SAO", "'SAO' is no option; write it like SAO=0"),
    (ENCODE + " --option NoSuchOption=1", "Unknown option `NoSuchOption'"),
    (ENCODE + " --option RateControl=1", "cannot be combined with RateControl; set RateControl to 0"),
    (ENCODE + " --config gone.cfg", "gone.cfg: no such file"),
    (ENCODE + " --bit-depth 16", "HM codes up to 12 bits, not 16"),
    (ENCODE + " --plain", "--plain encodes without weights, --weights even.idse with"),
    (ENCODE + " --encoder x265", "invalid choice: 'x265'"),
    (ENCODE + " -o folder", "folder: is a folder"),
    (ENCODE + " -o even.png", "even.png: is read by this command"),
    (ENCODE + " --recon even.png", "even.png: is read by this command"),
    (ENCODE + " -o even.idse", "even.idse: is read by this command"),
    (ENCODE + " -o even.png/out.bin", "cannot be written"),
    ("encode even.png -o out.bin -q 52", "QP 52: use 0 to 51"),  # before the weights are computed, as the next ones
    ("encode even.png -o out.bin -q 32 --config gone.cfg", "gone.cfg: no such file"),
    ("encode even.png -o out.bin -q 32 --rate-control crf", "rate control 'crf': HM has qp here"),
    ("encode even.png -o out.bin -q 32 --bit-depth 16", "even.png: HM codes up to 12 bits, not 16"),
    ("decode text.bin -o d.yuv", "text.bin: no HEVC or AVC bitstream"),
    ("decode even.idse -o d.yuv", "even.idse: no HEVC or AVC bitstream"),
    ("decode gone.bin -o d.yuv", "gone.bin: no such bitstream"),
    ("decode folder -o d.yuv", "folder: is a folder; give a regular file"),
    ("show text.idse", "text.idse: not an .idse weight file"),
    ("show flipped.idse", "flipped.idse: damaged .idse file, map 0 has checksum"),
    ("show gone.idse", "gone.idse: cannot be read"),
    ("show even.idse odd.png", "even.idse: weights for 80x64, odd.png is 97x65; give the picture"),
    ("show even.idse --frame 1", "even.idse: has frames 0 to 0, not 1"),
    ("show even.idse even.png -o even.png", "even.png: is read by this command"),
    ("show even.idse -o map.xyz", "map.xyz: unknown picture type .xyz"),
    ("show even.idse --tau -1", "IDSETau -1.0: use"),
    ("show even.idse -o even.png/map.png", "cannot be written"),
    ("compare even.png -o cmp -q 27 32 37", "QPs 27, 32, 37: BD-rate needs at least four"),
    ("compare even.png even.png -o cmp", "two inputs are called even"),
    ("compare gone.png -o cmp", "gone.png: no such picture"),
    ("compare even.png -o even.png", "even.png: cannot be written"),
    ("compare even.png -o cmp --measure nothing", "unknown extractor 'nothing'"),
    ("compare even.png -o cmp --tau -1", "IDSETau -1.0"),
    ("compare even.png -o cmp -q 27 32 37 52", "QP 52: use 0 to 51"),
    ("compare even.png -o cmp --config gone.cfg", "gone.cfg: no such file"),
]


@pytest.mark.parametrize("words, message", MISTAKES, ids=[words for words, _ in MISTAKES])
def test_mistakes(fprdo, spoiled, words, message):
    contents = {path: path.read_bytes() for path in spoiled.rglob("*") if path.is_file()}
    said = fprdo(*words.split())
    assert said.status == 2 and said.out == ""
    assert len(said.err.splitlines()) == 1 and said.err.startswith("fprdo: error: ") and message in said.err
    assert {path: path.read_bytes() for path in spoiled.rglob("*") if path.is_file()} == contents


@pytest.mark.parametrize("encoder", ["hm", "jm", "x264"])
def test_samples_above_the_bit_depth(fprdo, tmp_path, jm_tools, x264_tools, encoder):
    """Such as those of an 8-bit file with a wrong name."""
    Path("c_16x16_10bit.yuv").write_bytes(np.random.default_rng(1).integers(0, 256, 2 * 768, np.uint8).tobytes())
    for words in (["--plain"], FAST):
        said = fprdo("encode", "c_16x16_10bit.yuv", "-o", "p.bin", "-q", 32, "--encoder", encoder, *words)
        assert said.status == 2 and said.err.splitlines()[-1].startswith("fprdo: error: c_16x16_10bit.yuv: frame 0")
        assert "Y sample " in said.err and "does not fit 10 bits" in said.err
    assert files(tmp_path) == {"c_16x16_10bit.yuv"}


@pytest.mark.parametrize(
    "words, message",
    [
        ("--option NoSuchOption=1", "Unknown option `NoSuchOption'"),
        ("--idse-option BIM=1", "cannot be combined with BIM"),
    ],
)
def test_mistakes_that_a_comparison_finds_later(fprdo, here, words, message):
    """Weights and points that are done stay; no table is written."""
    said = fprdo("compare", "even.png", "-o", "cmp", *FAST, *words.split())
    errors = [line for line in said.err.splitlines() if "error" in line]
    assert said.status == 2 and said.out == "" and len(errors) == 1 and message in errors[0]
    assert errors[0] == said.err.splitlines()[-1] and errors[0].startswith("fprdo: error: ")
    kept = files(here / "cmp")
    assert not [name for name in kept if name.endswith((".csv", ".png", ".yuv")) or ".work" in name]
    assert len([name for name in kept if name.startswith("points/")]) == len(
        [name for name in kept if name.endswith(".bin")]
    )


@pytest.mark.parametrize(
    "words, message",
    [
        ("-o d.xyz", "d.xyz: unknown kind of file .xyz"),
        ("-o p.bin", "p.bin: is read by this command"),
        ("-o d.yuv --size 5x5", "check size"),
        ("-o d.yuv --chroma 444", "check size, chroma format"),
        ("-o d.yuv --decoder libavcodec --bit-depth 10", "check size, chroma format and bit depth"),
        ("-o d.yuv --decoder ffmpeg", "invalid choice: 'ffmpeg'"),
        ("-o p.bin.log/d.yuv", "cannot be written"),
    ],
)
def test_mistakes_in_decoding(fprdo, here, words, message):
    assert fprdo("encode", "even.png", "-o", "p.bin", "-q", 40, "--plain").status == 0
    before = files(here)
    said = fprdo("decode", "p.bin", *words.split())
    assert said.status == 2 and said.out == "" and len(said.err.splitlines()) == 1
    assert said.err.startswith("fprdo: error: ") and message in said.err
    assert files(here) == before


@pytest.mark.parametrize("encoder, title, own, other", [("hm", "HEVC", "hm", "jm"), ("x264", "AVC", "jm", "hm")])
def test_the_decoder_of_the_other_standard(fprdo, here, jm_tools, x264_tools, encoder, title, own, other):
    """Asked, JM's would never end and HM's crash."""
    assert fprdo("encode", "even.png", "-o", "p.bin", "-q", 40, "--plain", "--encoder", encoder).status == 0
    message = f"fprdo: error: p.bin: is {title}; use --decoder {own} or libavcodec\n"
    assert fprdo("decode", "p.bin", "-o", "d.yuv", "--decoder", other) == (2, "", message)
    assert not Path("d.yuv").exists()


@pytest.mark.parametrize("encoder, decoder", [("hm", "hm"), ("hm", "libavcodec"), ("jm", "jm"), ("jm", "libavcodec")])
def test_a_bitstream_cut_short(fprdo, tmp_path, jm_tools, encoder, decoder):
    """Anywhere in its last picture, or in its only one."""
    fmt = VideoFormat(64, 64)
    write_yuv("c_64x64.yuv", clip(fmt, 2), fmt)
    for count in (1, 2):
        assert (
            fprdo(
                "encode",
                "c_64x64.yuv",
                "-o",
                "p.bin",
                "-q",
                32,
                "--plain",
                "--encoder",
                encoder,
                "--frames",
                count,
                "--config",
                "lowdelay",
            ).status
            == 0
        )
        data = Path("p.bin").read_bytes()
        start = max(position for position in range(len(data) - 100) if data[position : position + 3] == b"\0\0\1")
        before = files(tmp_path)
        for length in (start + 20, (start + len(data)) // 2, len(data) - (60 if encoder == "hm" else 20)):
            Path("cut.bin").write_bytes(data[:length])
            said = fprdo("decode", "cut.bin", "-o", "d.yuv", "--decoder", decoder)
            assert said.status == 2 and len(said.err.splitlines()) == 1
            assert said.err.startswith("fprdo: error: cut.bin: ")
            assert "cut short" in said.err and ".cpp" not in said.err
        Path("cut.bin").unlink()
        assert files(tmp_path) == before
        assert fprdo("decode", "p.bin", "-o", "d.yuv", "--decoder", decoder).status == 0
        Path("d.yuv").unlink()


def test_several_pictures_do_not_go_into_one(fprdo, tmp_path):
    fmt = VideoFormat(16, 16)
    write_yuv("c_16x16.yuv", clip(fmt, 2), fmt)
    assert fprdo("encode", "c_16x16.yuv", "-o", "p.bin", "-q", 40, "--plain").status == 0
    said = fprdo("decode", "p.bin", "-o", "p.png")
    assert said.status == 2 and "p.png: is one picture, and there are several; use .yuv or .y4m" in said.err
    assert not Path("p.png").exists()


@pytest.mark.parametrize(
    "words", ["encode even.png -o out.bin -q 32", "compare even.png -o cmp", "decode p.bin -o p.yuv --decoder hm"]
)
def test_without_hm(fprdo, here, monkeypatch, words):
    assert fprdo("encode", "even.png", "-o", "p.bin", "-q", 40, "--plain").status == 0
    before = files(here)
    monkeypatch.setenv("FPRDO_TOOLS", str(here / "nowhere" / "tools.json"))
    said = fprdo(*words.split())
    message = f"HM is not built (looked for {here}/nowhere/tools.json): run python3 build.py hm"
    assert said == (2, "", f"fprdo: error: {message}\n")
    assert files(here) == before


def test_decoding_does_not_need_hm(fprdo, here, monkeypatch):
    assert fprdo("encode", "even.png", "-o", "p.bin", "-q", 40, "--plain", "--recon", "r.yuv").status == 0
    monkeypatch.setenv("FPRDO_TOOLS", str(here / "nowhere" / "tools.json"))
    said = fprdo("decode", "p.bin", "-o", "d.yuv")
    assert (
        said.out.endswith("\nDecoded by libavcodec, which verified the hash of every picture.\n") and said.status == 0
    )
    assert Path("d.yuv").read_bytes() == Path("r.yuv").read_bytes()


def test_weights_do_not_need_hm(fprdo, here, monkeypatch):
    monkeypatch.setenv("FPRDO_TOOLS", str(here / "nowhere" / "tools.json"))
    assert fprdo("weights", "even.png", "-o", "w.idse", *FAST).status == 0
    assert fprdo("show", "w.idse").status == 0


# ---- full disk, interrupt ----------------------------------------------------------------------------------------


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
    errors = [line for line in said.err.splitlines() if not line.startswith(("weights of ", "POC "))]
    assert len(errors) == 1 and errors[0].startswith("fprdo: error: ")
    left = {name for name in files(here) - before if Path(name).is_file() and not name.endswith(MARKER)}
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
    points = [name for name in left if name.startswith("cmp/points/")]
    assert len(points) == len([name for name in left if name.endswith(".bin")]) < 8
    if words.startswith("compare"):
        assert points
        for name in points:
            json.loads((tmp_path / name).read_text())


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
    words = [*PROGRAM, "weights", "clip_64x64.yuv", "-o", "w.idse", "--probes", "20"]
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


def test_interrupt_stops_the_encoder(tmp_path):
    """At once, and no encoder goes on by itself in the background; left alone this one takes 20 s or more."""
    fmt = VideoFormat(320, 320)
    write_yuv(tmp_path / "clip_320x320.yuv", clip(fmt, 9), fmt)
    words = "encode clip_320x320.yuv -o w.bin -q 1 --plain --config lowdelay"
    process = subprocess.Popen([*PROGRAM, *words.split()], cwd=tmp_path, text=True, stderr=subprocess.PIPE)
    process.stderr.readline()
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert children
    process.send_signal(signal.SIGINT)
    deadline = time.monotonic() + 10
    process.communicate(timeout=60)
    while any(Path(f"/proc/{child}").exists() for child in children):
        time.sleep(0.05)
    assert time.monotonic() < deadline
