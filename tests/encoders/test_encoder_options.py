"""Options of the encoders themselves: those that would move what is coded are refused, by every name that they have
and in configuration files too; what a user asks for wins over what the package adds."""

import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from clips import clip, logged_command, make_job
from oracles import check_reconstruction, random_map, sequence_psnr, write_maps

from fprdo_bridge import cli, encoders
from fprdo_bridge.encoders.checking import check
from fprdo_bridge.encoders.codec import Codec
from fprdo_bridge.encoders.hm import HM
from fprdo_bridge.encoders.jm import JM
from fprdo_bridge.encoders.job import EncodeJob, IdseOptions, Rate
from fprdo_bridge.encoders.options import Rule
from fprdo_bridge.encoders.running import encode
from fprdo_bridge.encoders.x264 import X264
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.importance.idse_file import ones
from fprdo_bridge.toolchain import Toolchain
from fprdo_bridge.video.formats import VideoFormat, deepened
from fprdo_bridge.video.raw import read_yuv

CODECS = [encoders.get(name) for name in encoders.ENCODERS]
RULES = [
    pytest.param(codec, name, rule, id=f"{codec.name}-{name}")
    for codec in CODECS
    for rule in codec.rules
    for name in rule.names.split()
]
FMT = VideoFormat(64, 64)


def job_for(codec: Codec, folder: Path, tools: dict[str, Toolchain], **arguments) -> EncodeJob:
    return make_job(folder, FMT, tools[codec.name], codec=codec, **arguments)


# ---- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("codec, name, rule", RULES)
def test_every_rule_refuses_and_says_what_to_do(tmp_path, tools_of, codec: Codec, name: str, rule: Rule):
    job = job_for(codec, tmp_path, tools_of)
    with pytest.raises(FprdoError) as error:
        check(codec, replace(job, options={name: "7"}))
    assert str(error.value) == f"encoder option {name}: {name}=7 {rule.reason}"
    for value in rule.harmless:
        check(codec, replace(job, options={name: value}))
    (tmp_path / "mine.cfg").write_text(f"{name} {':' if codec is HM else '='} 7\n")
    ours = replace(job, config=(*job.config, tmp_path / "mine.cfg"))
    if rule.ours:
        check(codec, ours)
    else:
        with pytest.raises(FprdoError) as error:
            check(codec, ours)
        assert str(error.value) == f"{tmp_path / 'mine.cfg'}: {name}=7 {rule.reason}"
        for value in rule.harmless:
            check(codec, replace(ours, options={name: value}))  # the user's word counts


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
def test_the_tables_hold_names_that_the_encoder_knows(tools_of, codec: Codec):
    program = tools_of[codec.name].encoder
    names = {name for rule in codec.rules for name in rule.names.split()}
    names |= {file.name for file in codec.input_files} | {file.switch for file in codec.input_files} - {""}
    if codec is HM:
        said = subprocess.run([program, "--help"], capture_output=True, text=True).stdout
        unknown = {name for name in names if f"--{name}" not in said}
    else:
        unknown = {name for name in names if name.encode() + b"\0" not in program.read_bytes()}
    assert unknown == ({"InternalBitDepth"} if codec is JM else set())


@pytest.mark.parametrize(
    "codec, option, full",
    [
        (HM, "fs", "FrameSkip"),
        (HM, "-fs", "FrameSkip"),
        (HM, "ts", "TemporalSubsampleRatio"),
        (HM, "f", "FramesToBeEncoded"),
        (HM, "q", "QP"),
        (HM, "b", "BitstreamFile"),
        (HM, "o", "ReconFile"),
        (HM, "fr", "FrameRate"),
        (HM, "wdt", "SourceWidth"),
        (JM, "startframe", "StartFrame"),
        (JM, "FRAMESKIP", "FrameSkip"),
        (JM, "qpislice", "QPISlice"),
        (X264, "see", "seek"),
        (X264, "frames", "frames"),
        (X264, "mux", "muxer"),
        (X264, "dump", "dump-yuv"),
        (X264, "vf", "vf"),
        (X264, "video-f", "video-filter"),
        (X264, "crop", "crop-rect"),
        (X264, "bitr", "bitrate"),
        (X264, "crf", "crf"),
        (X264, "out-", "out-"),
        (X264, "fp", "fps"),
        (X264, "stdo", "stdout"),
        (X264, "tcfile-i", "tcfile-in"),
    ],
)
def test_short_names_and_beginnings_are_those_options(codec: Codec, option: str, full: str):
    assert codec.full_name(option) == full


@pytest.mark.parametrize("option", ["q", "p", "no", "fram"])
def test_beginnings_of_several_options_stay_what_they_are(option):
    """x264 itself says that they are ambiguous."""
    assert X264.full_name(option) == option


@pytest.mark.parametrize(
    "codec, line",
    [
        (HM, "FrameSkip : 2   # of the test"),
        (HM, "TemporalSubsampleRatio: 8"),
        (HM, "ConfWinRight :16"),
        (JM, "startframe = 1"),
        (JM, 'FrameSkip="1"  # quoted'.replace('="', ' = "')),
        (X264, "seek = 2"),
        (X264, "frame=1"),
    ],
)
@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["plain", "byte-order-mark"])
def test_configuration_files_get_the_same_look(tmp_path, tools_of, codec: Codec, line: str, mark: str):
    (tmp_path / "mine.cfg").write_text(f"{mark}{line}\n", encoding="utf-8")
    job = job_for(codec, tmp_path, tools_of)
    if line == "frame=1":  # ambiguous, which x264 says itself
        with pytest.raises(FprdoError, match="ambiguous"):
            encode(codec, replace(job, config=(tmp_path / "mine.cfg",)), tools_of[codec.name])
        return
    with pytest.raises(FprdoError, match=r"mine\.cfg: \w+=\d+ would"):
        check(codec, replace(job, config=(*job.config, tmp_path / "mine.cfg")))


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
def test_a_byte_order_mark_is_skipped(tmp_path, tools_of, codec: Codec):
    job = job_for(codec, tmp_path, tools_of)
    marked = tmp_path / "marked.cfg"
    marked.write_bytes(b"\xef\xbb\xbf" + job.config[0].read_bytes())
    plain = encode(codec, job, tools_of[codec.name]).bitstream.read_bytes()
    assert encode(codec, replace(job, config=(marked,)), tools_of[codec.name]).bitstream.read_bytes() == plain


@pytest.mark.parametrize(
    "codec, option", [(HM, "dQPFile"), (HM, "SEIFGCExternalMask"), (JM, "QmatrixFile"), (X264, "cqmfile")], ids=str
)
def test_input_files_must_be_there(tmp_path, tools_of, codec: Codec, option: str):
    options = {option: "gone.txt"} | ({"ScalingMatrixPresentFlag": "1"} if codec is JM else {})
    job = job_for(codec, tmp_path, tools_of, options=options)
    with pytest.raises(FprdoError, match=f"{option}=gone.txt names no file that is there; check the name"):
        check(codec, job)
    (tmp_path / "mine.cfg").write_text(f"{option} {':' if codec is HM else '='} matrix.txt\n")
    relative = replace(
        job,
        config=(*job.config, tmp_path / "mine.cfg"),
        options={name: value for name, value in options.items() if name != option},
    )
    with pytest.raises(FprdoError, match=f"mine.cfg: {option}=matrix.txt names a file; give its whole path"):
        check(codec, relative)


def test_input_files_are_found_from_the_folder_of_the_user(tmp_path, tools_of, monkeypatch):
    """The encoder itself runs in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    Path("flat.txt").write_text("0\n0\n")
    job = job_for(HM, tmp_path, tools_of, frames=2, options={"dQPFile": "flat.txt"})
    plain = encode(HM, replace(job, options={}), tools_of["hm"]).bitstream.read_bytes()
    assert encode(HM, job, tools_of["hm"]).bitstream.read_bytes() == plain
    Path("steep.txt").write_text("5\n5\n")
    assert encode(HM, replace(job, options={"m": "steep.txt"}), tools_of["hm"]).bitstream.read_bytes() != plain


@pytest.mark.parametrize(
    "option, message",
    [
        ({"no-mbtree": "2"}, "no-mbtree=2: no-mbtree takes no value"),
        ({"keyint": ""}, "keyint: give a value, like keyint=VALUE"),
    ],
)
def test_values_of_x264_are_not_taken_for_its_source(tmp_path, tools_of, option, message):
    with pytest.raises(FprdoError, match=message):
        check(X264, job_for(X264, tmp_path, tools_of, options=option))


# ---- what a user asks for wins ---------------------------------------------------------------------------------------


def test_short_names_are_supported_where_they_are_not_refused(tmp_path, tools_of):
    job = job_for(HM, tmp_path, tools_of, options={"sr": "16", "-ip": "1", "SAO": "0"})
    assert [
        word for word in HM.command(job, Path("hm")) if word.startswith(("--SearchRange", "--IntraPeriod", "--SAO"))
    ] == ["--SearchRange=16", "--IntraPeriod=1", "--SAO=0"]
    encode(HM, job, tools_of["hm"])


def test_the_users_option_wins_in_weighted_encodes(tmp_path, tools_of, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    job = job_for(HM, tmp_path, tools_of)
    weights = write_maps(tmp_path / "w.idse", [random_map(FMT, 1)], FMT)
    for given, depth in (("MaxCuDQPDepth=2", "2"), ("SAO=1", "1")):
        assert (
            cli.main(
                [
                    "encode",
                    str(job.source),
                    "--size",
                    "64x64",
                    "-o",
                    "o.bin",
                    "-q",
                    "32",
                    "--weights",
                    str(weights),
                    "--option",
                    given,
                ]
            )
            == 0
        ), capsys.readouterr().err
        words = [word for word in logged_command(Path("o.bin.log")) if word.startswith("--MaxCuDQPDepth=")]
        assert words == [f"--MaxCuDQPDepth={depth}"]


def test_the_word_for_a_coding_structure_wins_over_a_file_of_that_name(tmp_path, tools_of, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("intra").write_text("no configuration at all")
    for codec in CODECS:
        own = codec.config_for("intra", FMT, tools_of[codec.name])
        assert codec.config("intra", FMT, tools_of[codec.name]) == own != Path("intra")
        assert codec.config("./intra", FMT, tools_of[codec.name]) == Path("intra")
        assert codec.config(Path("intra"), FMT, tools_of[codec.name]) == Path("intra")


# ---- rates -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind, value, message",
    [
        ("vbr", 1, "rate control 'vbr': use one of qp, crf, abr"),
        ("qp", 27.5, "QP 27.5: give a whole number"),
        ("qp", True, "QP True"),
        ("abr", 99.5, "bit rate 99.5: give a whole number"),
        ("crf", "27", "CRF '27': give a number"),
        ("crf", float("nan"), "CRF nan"),
        ("qp", np.float64(3), "QP"),
    ],
)
def test_rates_that_are_none(kind, value, message):
    with pytest.raises(FprdoError, match=message):
        Rate(kind, value)


def test_rates_are_called_by_their_kind(tmp_path):
    assert [str(Rate(kind, value)) for kind, value in (("qp", 32), ("crf", 27.5), ("crf", 27.0), ("abr", 400))] == [
        "QP 32",
        "CRF 27.5",
        "CRF 27",
        "400 kbit/s",
    ]
    job = EncodeJob(tmp_path / "s.yuv", FMT, 1, Rate("crf", 27.5), tmp_path / "o.264", ())
    words = X264.command(job, Path("x264"))
    assert words[words.index("--crf") + 1] == "27.5"
    words = X264.command(replace(job, rate=Rate("crf", np.int64(27))), Path("x264"))
    assert words[words.index("--crf") + 1] == "27"


@pytest.mark.parametrize("codec", [HM, JM], ids=lambda codec: codec.name)
def test_rates_that_an_encoder_does_not_have(tmp_path, tools_of, codec: Codec):
    with pytest.raises(FprdoError, match=f"rate control 'crf': {codec.title} has qp here"):
        check(codec, job_for(codec, tmp_path, tools_of, rate="crf"))


# ---- comparisons -----------------------------------------------------------------------------------------------------


def test_compared_encodes_decide_the_same_on_every_machine(tmp_path, tools_of):
    job = job_for(X264, tmp_path, tools_of)
    assert "--cpu-independent" not in X264.command(job, Path("x264"))
    for options, given in (({}, True), ({"cpu-independent": "0"}, False), ({"cpu-independent": ""}, True)):
        compared = replace(job, portable=True, options=options)
        assert ("--cpu-independent" in X264.command(compared, Path("x264"))) == given
        assert any("--cpu-independent" in line for line in X264.remarks(compared)) == (options == {})
    assert HM.command(replace(job_for(HM, tmp_path, tools_of), portable=True), Path("hm")) == HM.command(
        job_for(HM, tmp_path, tools_of), Path("hm")
    )


# ---- more bits than the source has -----------------------------------------------------------------------------------

DEEPER = [
    pytest.param(codec, fmt, depth, kind, id=f"{codec.name}-{fmt}-{depth}-{kind}")
    for codec, fmt, depth, kind in (
        (HM, VideoFormat(96, 64), 10, "intra"),
        (HM, VideoFormat(97, 65), 12, "lowdelay"),
        (HM, VideoFormat(64, 64, "400"), 10, "intra"),
        (HM, VideoFormat(64, 48, "444", 10), 12, "intra"),
        (HM, VideoFormat(64, 48, "420", 9), 10, "randomaccess"),
        (JM, VideoFormat(96, 64), 10, "intra"),
        (JM, VideoFormat(64, 65), 9, "lowdelay"),
        (JM, VideoFormat(64, 64, "400"), 10, "intra"),
        (JM, VideoFormat(64, 48, "422"), 12, "intra"),
        (JM, VideoFormat(64, 48, "444"), 14, "randomaccess"),
    )
]


def deeper(codec: Codec, depth: int) -> dict[str, str]:
    return {"InternalBitDepth" if codec is HM else "OutputBitDepthLuma": str(depth)}


@pytest.mark.parametrize("codec, fmt, depth, kind", DEEPER)
def test_more_bits_than_the_source_has(tmp_path, tools_of, codec: Codec, fmt: VideoFormat, depth: int, kind: str):
    """The stock bitstream where weights say nothing; decoders agree; the log's PSNR is that of these pictures."""
    tools, coded = (
        tools_of[codec.name],
        replace(fmt, width=fmt.width + fmt.width % 2, height=fmt.height + fmt.height % 2),
    )
    job = make_job(tmp_path, fmt, tools, codec=codec, kind=kind, frames=2, options=deeper(codec, depth))
    maps = {"ones": [ones(coded)] * 2, "random": [random_map(coded, seed) for seed in range(2)]}
    results = {
        "stock": encode(codec, job, tools, stock=True),
        "absent": encode(codec, replace(job, bitstream=tmp_path / "absent.bin", recon=None), tools),
    }
    results |= {
        name: encode(
            codec,
            replace(
                job,
                bitstream=tmp_path / f"{name}.bin",
                recon=tmp_path / f"{name}.yuv",
                weights=write_maps(tmp_path / f"{name}.idse", planes, coded),
                idse=IdseOptions(tau=0),
            ),
            tools,
        )
        for name, planes in maps.items()
    }
    bitstreams = {name: result.bitstream.read_bytes() for name, result in results.items()}
    assert bitstreams["stock"] == bitstreams["absent"] == bitstreams["ones"] != bitstreams["random"]
    assert results["random"].log.idse.unweighted == 0
    decoded = results["stock"].fmt
    assert decoded == replace(fmt, bit_depth=depth)
    assert check_reconstruction(codec, tools, job, tmp_path) == (codec.title, "libavcodec")
    assert check_reconstruction(
        codec, tools, replace(job, bitstream=tmp_path / "random.bin", recon=tmp_path / "random.yuv"), tmp_path
    ) == (codec.title, "libavcodec")
    psnr = sequence_psnr(zip(deepened(clip(fmt, 2), fmt, decoded), read_yuv(job.recon, decoded)), decoded)
    assert all(value > 28 for value in psnr)
    if codec is HM and fmt.width % 2 == 0:  # HM counts the padding
        assert results["stock"].log.psnr == pytest.approx(psnr, abs=1e-4)


@pytest.mark.parametrize(
    "codec, option, message",
    [
        (HM, {"InternalBitDepth": "8"}, "InternalBitDepth=8 does not fit: HM codes this source with 10 to 12 bits"),
        (HM, {"InternalBitDepth": "13"}, "InternalBitDepth=13 does not fit"),
        (HM, {"InternalBitDepth": "ten"}, "InternalBitDepth=ten"),
        (HM, {"InternalBitDepthC": "12"}, "InternalBitDepthC=12 does not fit: it can only be 10 here"),
        (HM, {"MSBExtendedBitDepth": "12"}, "MSBExtendedBitDepth=12"),
        (HM, {"InputBitDepthC": "8"}, "InputBitDepthC=8"),
        (JM, {"OutputBitDepthLuma": "8"}, "OutputBitDepthLuma=8 does not fit: JM codes this source with 10 to 14 bits"),
        (
            JM,
            {"OutputBitDepthLuma": "10", "OutputBitDepthChroma": "12"},
            "OutputBitDepthChroma=12 does not fit: luma has 10",
        ),
        (
            JM,
            {"outputbitdepthluma": "12"},
            "OutputBitDepthLuma=12 does not fit: JM 19.1 adds bits to 8-bit sources only",
        ),
        (JM, {"InternalBitDepth": "12"}, "InternalBitDepth=12 is HM's word; JM's is OutputBitDepthLuma"),
        (X264, {"output-depth": "8"}, "output-depth=8 is that of the source"),
    ],
)
def test_depths_that_do_not_fit(tmp_path, tools_of, codec: Codec, option, message):
    job = make_job(tmp_path, VideoFormat(64, 64, bit_depth=10), tools_of[codec.name], codec=codec, options=option)
    with pytest.raises(FprdoError, match=message):
        check(codec, job)


def test_configuration_files_may_ask_for_more_bits(tmp_path, tools_of):
    """HM's main10 for an 8-bit source; JM's where the file says that samples are to be rescaled."""
    tools = tools_of["hm"]
    job = job_for(HM, tmp_path, tools_of, config=(tools.config_dir / "encoder_intra_main10.cfg",))
    assert encode(HM, job, tools).fmt.bit_depth == 10
    assert HM.coded_bit_depth(replace(job, options={"InternalBitDepth": "8"})) == 8
    assert HM.coded_bit_depth(job_for(HM, tmp_path, tools_of)) == 8
    nine = VideoFormat(64, 64, bit_depth=9)
    assert HM.coded_bit_depth(replace(job, fmt=nine, config=(HM.config_for("intra", nine, tools),))) == 9
    job = job_for(JM, tmp_path, tools_of)
    for text, depth in (("OutputBitDepthLuma = 10\n", 8), ("OutputBitDepthLuma = 10\nSourceBitDepthRescale = 1\n", 10)):
        (tmp_path / "mine.cfg").write_text(text)
        assert JM.coded_bit_depth(replace(job, config=(*job.config, tmp_path / "mine.cfg"))) == depth
