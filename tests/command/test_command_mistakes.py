"""Bad input: one line that names the file, the value and the remedy, and nothing is changed."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from calling import FAST, files
from clips import clip

from fprdo_bridge.video.formats import VideoFormat
from fprdo_bridge.video.raw import write_yuv

pytestmark = pytest.mark.encoder


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
    (here / "future.idse").write_bytes(weights[:8] + b"\3" + weights[9:])
    (here / "text.bin").write_text("no bitstream")
    for number in range(2):
        (here / f"shot-{number:04d}.png").write_bytes((here / "even.png").read_bytes())
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
    ("weights even.png --device gpu", "invalid choice: 'gpu'"),
    ("weights even.png --predictor gone.pt", "gone.pt: cannot be read"),
    ("weights even.png --predictor text.png", "text.png: is no predictor; give a file that fprdo distill has written"),
    (
        "weights even.png --predictor text.png --extractor lite0",
        "--predictor text.png: gives the maps of the extractor",
    ),
    ("distill even.png -o o.pt --steps 0", "0 steps: use 1 to 1000000"),
    ("distill even.png -o o.pt --box 0,0,8,8,2", "unrecognized arguments: --box 0,0,8,8,2"),
    ("distill even.png -o o.pt --extractor none", "--extractor none: is no network; name one whose maps are"),
    ("distill even.png -o o.pt --predictor o.pt", "unrecognized arguments: --predictor o.pt"),
    ("encode even.png -o o.bin -q 30 --frame-rate 20000", "frame rate 20000: must be a number above 0, up to 10000"),
    ("distill even.png -o folder", "folder: is no regular file"),
    ("distill even.png -o even.png", "even.png: is read by this command"),
    ("distill even.png -o o.pt --chroma 444", "even.png: is 80x64 444; give pictures of 4:2:0"),
    ("weights even.png --device mps", "device mps: torch "),  # which only Apple's machines have
    ("encode even.png -o o.bin -q 32 --device mps", "sees none here; use cpu, or auto for what is there"),
    ("compare even.png -o out --device mps", "device mps: torch "),
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
    ("weights even.png --jitter 1e300", "jitter 1e+300: use a standard deviation of 0 to 255"),
    ("weights even.png -o .", "'.' is no name of a file"),
    ("weights even.png --extractor unheard_of", "unknown extractor 'unheard_of': use efficientnet_lite0"),
    ("weights even.png --extractor no_module:network", "No module named 'no_module'"),
    ("weights even.png --layer nothing", "no layer 'nothing': near names are"),
    ("weights even.png -o even.png/w.idse --probes 1", "even.png/w.idse: cannot be written"),
    ("weights even.png -o even.png --probes 1", "even.png: is read by this command"),
    ("weights even.png -o text.png --predictor text.png", "text.png: is read by this command"),
    ("weights shot-%04d.png -o shot-0001.png --probes 1", "shot-0001.png: is read by this command"),
    ("weights even.png -o folder --probes 1", "folder: cannot be written"),
    ("weights", "the following arguments are required: source"),
    ("unweighted even.png", "invalid choice: 'unweighted'"),
    ("weights even.png --quiet", "unrecognized arguments: --quiet"),
    (ENCODE + " --weights text.idse", "text.idse: not an .idse weight file: write one with fprdo weights"),
    (ENCODE + " --weights cut.idse", "cut.idse: truncated"),
    (ENCODE + " --weights flipped.idse", "flipped.idse: wrong checksum of map 0 of 1"),
    (ENCODE + " --weights future.idse", "future.idse: .idse version 3, this fprdo reads versions 1 and 2"),
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
    (ENCODE + " --option AdaptiveQP=1", "cannot be combined with AdaptiveQP; set AdaptiveQP to 0"),
    (ENCODE + " --config gone.cfg", "gone.cfg: no such file"),
    (ENCODE + " --bit-depth 16", "HM codes up to 12 bits, not 16"),
    (ENCODE + " --plain", "--plain encodes without weights, --weights even.idse with"),
    (ENCODE + " --encoder vtm", "invalid choice: 'vtm'"),
    (ENCODE + " -o folder", "folder: is a folder"),
    (ENCODE + " -o even.png", "even.png: is read by this command"),
    (ENCODE + " --recon even.png", "even.png: is read by this command"),
    ("encode even.png -o . -q 32", "'.' is no name of a file"),
    ("encode even.png -o out.bin -q 32 --weights even.idse --predictor gone.pt", "--predictor: weights are those of"),
    ("encode even.png -o out.bin -q 32 --plain --extractor gone", "--extractor: weights are not used (--plain)"),
    (ENCODE + " -o even.idse", "even.idse: is read by this command"),
    ("encode shot-%04d.png -o o.bin -q 32 --recon shot-0000.png", "shot-0000.png: is read by this command"),
    ("encode even.png -o text.bin -q 32 --predictor text.bin", "text.bin: is read by this command"),
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
    ("show .", "'.' is no name of a file"),
    ("show even.idse --frame 1", "even.idse: has frames 0 to 0, not 1"),
    ("show even.idse even.png -o even.png", "even.png: is read by this command"),
    ("show even.idse shot-%04d.png --animation -o shot.png", "is read by this command"),
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


@pytest.mark.parametrize("option", ["--mask", "--boxes", "--predictor", "-o"])
def test_an_empty_name_is_no_file(fprdo, here, option):
    """What a shell makes of a variable that is not set."""
    said = fprdo("weights", "even.png", option, "")
    assert said.status == 2 and "'' is no name of a file" in said.err


def test_weights_of_another_chroma_format_are_not_drawn(fprdo, here):
    Path("deep_80x64.yuv").write_bytes(bytes(80 * 64 * 3))
    said = fprdo("show", "even.idse", "deep_80x64.yuv", "--chroma", "444", "--force-weights")
    assert said.status == 2 and "even.idse: weights for 420, deep_80x64.yuv is 444; give the picture" in said.err


def test_the_program_ends_as_documented():
    """A result that cannot be written is status 2 in the installed program too."""
    program = Path(sys.executable).with_name("fprdo")
    with open("/dev/full", "w") as full:
        ended = subprocess.run([program, "--version"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert ended.returncode == 2 and "standard output" in ended.stderr
