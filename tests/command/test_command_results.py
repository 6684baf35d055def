"""What the command writes and prints."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from built import optional_tools
from calling import FAST, files
from clips import clip, logged_command
from PIL import Image

from fprdo_bridge.bitstream.libav import decode_libav
from fprdo_bridge.encoders import ENCODERS
from fprdo_bridge.encoders.hm import HM
from fprdo_bridge.encoders.job import EncodeJob, Rate
from fprdo_bridge.encoders.running import encode
from fprdo_bridge.importance.idse_file import IdseFile, ones, write_idse
from fprdo_bridge.video.formats import VideoFormat, first_difference
from fprdo_bridge.video.pictures import load_picture, save_picture
from fprdo_bridge.video.raw import read_yuv, write_yuv
from fprdo_bridge.video.source import open_source

pytestmark = pytest.mark.encoder


def test_settings_without_effect_are_said(fprdo, here):
    words = ("encode", "even.png", "-o", "p.bin", "-q", 32, "--weights", "even.idse")
    assert fprdo(*words, "--aq-strength", 1, "--sao").err.splitlines() == ["--aq-strength has no effect in HM"]
    assert fprdo(*words, "--aq-strength", 0, "--no-sao").err == ""
    assert fprdo(*words[:-2], "--plain", "--aq-strength", 1).err == ""
    assert fprdo(*words, "--aq-strength", 9).err.startswith("fprdo: error: IDSEAqStrength 9.0: use 0 to 3")


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


@pytest.mark.parametrize("encoder", ENCODERS)
def test_encode_computes_the_weights_itself(fprdo, tmp_path, encoder):
    """Without the shapes that the encoder has no transforms for, with the same result. The picture is smooth enough for
    the largest transforms."""
    if encoder != "hm":
        optional_tools(encoder)
    save_picture(Path("smooth.png"), load_picture("skimage:astronaut")[:64, :80])
    words = ("encode", "smooth.png", "--encoder", encoder, "-q", 32)
    assert fprdo("weights", "smooth.png", "-o", "w.idse", *FAST).status == 0
    assert fprdo(*words, "-o", "given.bin", "--weights", "w.idse").status == 0
    assert fprdo(*words, "-o", "computed.bin", *FAST).status == 0
    assert fprdo(*words, "-o", "other.bin", *FAST, "--seed", 1).status == 0
    given, computed, other = (Path(f"{name}.bin").read_bytes() for name in ("given", "computed", "other"))
    assert given == computed != other
    assert not list(tmp_path.glob("*computed*.idse"))


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
    said = fprdo("weights", "clip.yuv", *shape, "--frames", 2, "--frames-per-map", 1, *FAST, "--json")
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
        *("weights", "even.png", "-o", "w.idse", *FAST),
        *("--extractor", "lite0@32,full:_blocks.2", "--signs-per-noise", 2),
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


def test_a_plug_in_of_the_current_folder(here, x264_tools):
    """The installed program finds it as python -m does, for weights and for judges; it hides nothing that is
    installed."""
    (here / "net.py").write_text(
        "import torch\n\n\ndef make():\n    torch.manual_seed(0)\n"
        "    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU())\n"
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


def test_the_program_is_installed():
    command = [Path(sys.executable).with_name("fprdo"), "weights", "gone.png"]
    run = subprocess.run(command, capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (2, "fprdo: error: gone.png: no such picture; check the name\n")


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
