"""Bitstreams: what they say about their pictures, and that every legal form of them keeps a decoder, which says what
it checked."""

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from clips import make_job

from fprdo_bridge import cli, encoders
from fprdo_bridge.bitstream.bits import BitReader
from fprdo_bridge.bitstream.hashes import hashes
from fprdo_bridge.bitstream.monochrome import with_equal_depths
from fprdo_bridge.bitstream.nal_units import Standard, nal_units, without_padding
from fprdo_bridge.bitstream.parameter_sets import parse_sps
from fprdo_bridge.bitstream.probe import Probe, probe, standard_of
from fprdo_bridge.encoders.codec import Codec
from fprdo_bridge.encoders.decoding import decode_own, decoding
from fprdo_bridge.encoders.hm import HM
from fprdo_bridge.encoders.jm import JM
from fprdo_bridge.encoders.running import encode
from fprdo_bridge.encoders.x264 import X264
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.video.formats import VideoFormat, first_difference
from fprdo_bridge.video.raw import read_yuv

CODECS = [encoders.get(name) for name in encoders.ENCODERS]


# ---- parameter sets --------------------------------------------------------------------------------------------------


def test_codes_of_the_standards():
    """H.264 table 9-2 and 9-3: 1, 010, 011, 00100 are 0, 1, 2, 3 unsigned and 0, 1, -1, 2 signed."""
    bits = "".join(["1", "010", "011", "00100", "101", "1", "00111"])
    data = int(bits.ljust(24, "0"), 2).to_bytes(3, "big")
    reader = BitReader(data)
    assert [reader.ue() for _ in range(4)] == [0, 1, 2, 3] and reader.position == 12
    assert reader.u(3) == 5 and reader.flag() and reader.ue() == 6
    reader = BitReader(data)
    assert [reader.se() for _ in range(4)] == [0, 1, -1, 2]
    with pytest.raises(EOFError):
        BitReader(b"\0\0").ue()


SAID = [
    VideoFormat(96, 64),
    VideoFormat(98, 66, "420", 10, "bt2020", True, "topleft", (128, 117)),
    VideoFormat(64, 48, "422", 10),
    VideoFormat(64, 49, "400", 8, aspect=(16, 11)),
    VideoFormat(65, 49, "444", 8, "bt601", siting="left"),
    VideoFormat(96, 64, "420", 8, siting="center", aspect=(200, 199)),
]


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
@pytest.mark.parametrize("fmt", SAID, ids=str)
@pytest.mark.parametrize("rate", [Fraction(30000, 1001), Fraction(25, 2)], ids=str)
def test_the_sources_word_is_carried_and_read_back(tmp_path, tools_of, codec: Codec, fmt: VideoFormat, rate: Fraction):
    if codec is JM and fmt.bit_depth > 8:
        fmt = replace(fmt, width=96)
    job = make_job(tmp_path, fmt, tools_of[codec.name], codec=codec, frame_rate=rate, recon=None)
    encode(codec, job, tools_of[codec.name])
    said = probe(job.bitstream)
    assert said == Probe(codec.standard, fmt, rate) and said.fmt.aspect == fmt.aspect
    with av.open(str(job.bitstream), format=codec.standard.value) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.framerate == rate
        assert stream.sample_aspect_ratio == (Fraction(*fmt.aspect) if fmt.aspect else None)
        assert (stream.codec_context.width, stream.codec_context.height) == (fmt.width, fmt.height)


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
def test_slices_do_not_change_with_what_is_said(tmp_path, tools_of, codec: Codec):
    """Only parameter sets do, and x264's list of its options."""
    slices = []
    for fmt, rate in (
        (VideoFormat(64, 64), Fraction(30)),
        (VideoFormat(64, 64, matrix="bt601", full_range=True, siting="center", aspect=(4, 3)), Fraction(30000, 1001)),
    ):
        job = make_job(tmp_path, fmt, tools_of[codec.name], codec=codec, kind="randomaccess", frames=3, frame_rate=rate)
        data = encode(codec, job, tools_of[codec.name]).bitstream.read_bytes()
        units = [data[start:end] for start, end in nal_units(data)]
        slices.append([unit for unit in units if codec.standard.is_slice(codec.standard.unit_type(unit))])
    assert len(slices[0]) >= 3 and slices[0] == slices[1]


@pytest.mark.parametrize(
    "name, parameters",
    [
        ("libx265", "scaling-list=default:log-level=none"),
        ("libx265", "sar=5:log-level=none:bframes=4:b-pyramid=1"),
        ("libx265", "colorprim=bt2020:colormatrix=bt2020nc:transfer=bt709:range=full:log-level=none:lossless=1"),
        ("libx264", "cqm=jvt:profile=high:level=5"),
        ("libx264", "interlaced=1:nal-hrd=vbr:vbv-maxrate=500:vbv-bufsize=500"),
    ],
)
@pytest.mark.parametrize("pixels", ["yuv420p", "yuv444p"])
def test_foreign_bitstreams(tmp_path, name, parameters, pixels):
    """Scaling lists, reference picture sets told from one another, long VUIs: as libavcodec reads them."""
    path, standard = tmp_path / "foreign.bin", Standard.HEVC if name == "libx265" else Standard.AVC
    if name == "libx264" and pixels == "yuv444p":
        parameters = parameters.replace("profile=high:", "")
    with av.open(str(path), "w", format=standard.value) as container:
        stream = container.add_stream(name, rate=Fraction(24000, 1001), options={f"{name[3:]}-params": parameters})
        stream.width, stream.height, stream.pix_fmt = 112, 80, pixels
        pictures = [
            av.VideoFrame.from_ndarray(
                np.full((120, 112) if pixels == "yuv420p" else (3, 80, 112), shade, np.uint8), pixels
            )
            for shade in range(0, 120, 10)
        ]
        for packet in [*(packet for picture in pictures for packet in stream.encode(picture)), *stream.encode(None)]:
            container.mux(packet)
    said = probe(path)
    with av.open(str(path), format=standard.value) as container:
        stream = container.streams.video[0]
        assert said.frame_rate == stream.guessed_rate == Fraction(24000, 1001)
        assert said.fmt.aspect == (stream.sample_aspect_ratio and stream.sample_aspect_ratio.as_integer_ratio())
        assert (said.fmt.width, said.fmt.height, f"yuv{said.fmt.chroma}p") == (112, 80, pixels)
        assert said.fmt.matrix == ("bt2020" if "bt2020" in parameters else "bt709") and said.fmt.full_range == (
            "full" in parameters
        )


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda data: data[: data.index(b"\1\x42") + 12], "sequence parameter set is damaged"),
        (lambda data: b"x" + data, "begins with no NAL unit"),
        (lambda data: b"\0" * 40, "begins with no NAL unit"),
        (lambda data: data.replace(b"\1\x42", b"\1\x44"), "has no sequence parameter"),
        (
            lambda data: data.replace(b"\1\x42", b"\1\x42" + b"\xff" * 60),
            "damaged|bits and chroma|chroma of|bit depth|picture size",
        ),
    ],
)
def test_what_is_no_bitstream(tmp_path, tools_of, spoil, message):
    job = make_job(tmp_path, VideoFormat(64, 64), tools_of["hm"])
    encode(HM, job, tools_of["hm"])
    bad = tmp_path / "bad.bin"
    bad.write_bytes(spoil(job.bitstream.read_bytes()))
    with pytest.raises(FprdoError, match=message) as error:
        probe(bad)
    assert str(error.value).startswith(f"{bad}: ") and "\n" not in str(error.value)


# ---- legal forms -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def encoded(tmp_path_factory, tools, jm_tools) -> dict[str, tuple[bytes, bytes]]:
    """Bitstream and reconstruction of three pictures."""
    fmt, found = VideoFormat(64, 64), {}
    for codec, own in ((HM, tools), (JM, jm_tools)):
        job = make_job(tmp_path_factory.mktemp(codec.name), fmt, own, codec=codec, kind="randomaccess", frames=3)
        encode(codec, job, own)
        found[codec.name] = (job.bitstream.read_bytes(), job.recon.read_bytes())
    return found


@pytest.mark.parametrize(
    "decoder", [[], ["--decoder", "own"], ["--decoder", "libavcodec"]], ids=["default", "own", "libavcodec"]
)
@pytest.mark.parametrize("name", ["hm", "jm"])
@pytest.mark.parametrize("form", ["as-it-is", "one-zero-at-the-end", "many-zeros", "zeros-before", "short-start-codes"])
def test_every_legal_form_keeps_a_decoder(tmp_path, monkeypatch, capsys, encoded, decoder, name, form):
    """leading_zero_8bits and trailing_zero_8bits, clause B.1.1 of both standards; and without zero_byte, as some
    tools write."""
    data, recon = encoded[name]
    if form == "short-start-codes":
        data = data.replace(b"\0\0\0\1", b"\0\0\1")
    before, after = {"zeros-before": (200, 0), "one-zero-at-the-end": (0, 1), "many-zeros": (0, 3000)}.get(form, (0, 0))
    monkeypatch.chdir(tmp_path)
    Path("p.bin").write_bytes(bytes(before) + data + bytes(after))
    words = [name if word == "own" else word for word in decoder]
    assert cli.main(["decode", "p.bin", "-o", "d.yuv", *words]) == 0, capsys.readouterr().err
    assert Path("d.yuv").read_bytes() == recon
    said = capsys.readouterr().out.splitlines()[1]
    if name == "hm":
        assert (
            said
            == f"Decoded by {'libavcodec' if 'libavcodec' in words else 'HM'}, which verified the hash of every picture."  # noqa: E501
        )
    else:
        assert said == (
            "Decoded by libavcodec; there was no hash to verify."
            if "libavcodec" in words
            else "Decoded by JM and libavcodec, which agree."
        )


@pytest.mark.parametrize(
    "options, said",
    [
        ({"SEIDecodedPictureHash": "0"}, "Decoded by HM and libavcodec, which agree."),
        ({"SEIDecodedPictureHash": "2"}, "Decoded by HM, which verified the hash of every picture."),
        ({"SEIDecodedPictureHash": "3"}, "Decoded by HM, which verified the hash of every picture."),
        ({"AccessUnitDelimiter": "1"}, "Decoded by HM, which verified the hash of every picture."),
    ],
)
def test_hashes_and_delimiters(tmp_path, tools, monkeypatch, capsys, options, said):
    monkeypatch.chdir(tmp_path)
    job = make_job(tmp_path, VideoFormat(64, 64), tools, frames=2, kind="lowdelay", options=options)
    encode(HM, job, tools)
    assert standard_of(job.bitstream) is Standard.HEVC
    for decoder in ([], ["--decoder", "libavcodec"]):
        assert cli.main(["decode", str(job.bitstream), "-o", "d.yuv", *decoder]) == 0, capsys.readouterr().err
        assert Path("d.yuv").read_bytes() == job.recon.read_bytes()
        expected = said
        if decoder and "0" not in options.values():  # libavcodec looks at MD5 alone
            expected = (
                "Decoded by libavcodec; there was no hash to verify."
                if "SEIDecodedPictureHash" in options
                else "Decoded by libavcodec, which verified the hash of every picture."
            )
        assert capsys.readouterr().out.splitlines()[1] == expected


@pytest.mark.parametrize("decoder", [None, "hm", "libavcodec"])
def test_without_hashes_a_cut_is_noticed_by_the_second_decoder(tmp_path, tools, decoder):
    fmt = VideoFormat(64, 64)
    job = make_job(tmp_path, fmt, tools, frames=2, kind="lowdelay", options={"SEIDecodedPictureHash": "0"})
    encode(HM, job, tools)
    data = job.bitstream.read_bytes()
    assert hashes(job.bitstream).total == 0
    start = max(start for start, _ in nal_units(data))
    for length in (start + 20, (start + len(data)) // 2, len(data) - 5):
        (tmp_path / "cut.bin").write_bytes(data[:length])
        with pytest.raises(FprdoError, match=r"cut\.bin: .*cut short"):
            with decoding(tmp_path / "cut.bin", fmt, decoder) as decoded:
                list(decoded.frames)


@pytest.fixture
def decoder_of_hm(tmp_path, monkeypatch, tools):
    """Puts a shell script in the place of HM's decoder."""

    def put(script: str) -> None:
        program = tmp_path / "decoder"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        entry = {name: str(value) for name, value in vars(tools).items() if value} | {"stock_decoder": str(program)}
        (tmp_path / "tools.json").write_text(json.dumps({"hm": entry}))
        monkeypatch.setenv("FPRDO_TOOLS", str(tmp_path / "tools.json"))

    return put


def test_a_decoder_that_fails_is_replaced_by_one_that_verifies(tmp_path, decoder_of_hm, encoded):
    """And by no other: without hashes its error is the answer."""
    decoder_of_hm("echo 'cannot read this'\nexit 1")
    fmt, (data, recon) = VideoFormat(64, 64), encoded["hm"]
    (tmp_path / "p.bin").write_bytes(data)
    (tmp_path / "r.yuv").write_bytes(recon)
    with decoding(tmp_path / "p.bin", fmt) as decoded:
        assert first_difference(decoded.frames, read_yuv(tmp_path / "r.yuv", fmt)) is None
    assert (decoded.report.decoder, decoded.report.pictures, decoded.report.verified) == ("libavcodec", 3, 3)
    assert str(decoded.report) == (
        "Decoded by libavcodec, which verified the hash of every picture. HM's decoder cannot read it (exit status 1: "
        "cannot read this)."
    )
    with pytest.raises(FprdoError, match=r"p\.bin: HM's decoder cannot read it \(exit status 1: cannot read this\)"):
        with decoding(tmp_path / "p.bin", fmt, "hm"):
            pass
    units = [data[start:end] for start, end in nal_units(data)]
    (tmp_path / "p.bin").write_bytes(
        b"".join(b"\0\0\0\1" + unit for unit in units if Standard.HEVC.unit_type(unit) != 40)
    )
    with pytest.raises(FprdoError, match="HM's decoder cannot read it"):
        with decoding(tmp_path / "p.bin", fmt):
            pass


def test_a_decoder_that_damage_stops_is_not_replaced(tmp_path, decoder_of_hm, encoded):
    decoder_of_hm("echo \"Assertion 'good' failed.\" >&2\nkill -ABRT $$")
    (tmp_path / "p.bin").write_bytes(encoded["hm"][0])
    with pytest.raises(FprdoError, match=r"p\.bin: HM's decoder cannot read it \(exit status -6: Assertion"):
        with decoding(tmp_path / "p.bin", VideoFormat(64, 64)):
            pass


def test_a_first_slice_that_runs_into_the_parameter_set_before_it(tmp_path, tools, encoded):
    """The other pictures are right, hashes and all, so libavcodec would give them without a word."""
    data = encoded["hm"][0]
    start = next(start for start, end in nal_units(data) if Standard.HEVC.is_slice(data[start] >> 1))
    (tmp_path / "p.bin").write_bytes(data[: start - 1] + b"\3" + data[start:])
    with pytest.raises(FprdoError, match=r"p\.bin: HM's decoder "):
        with decoding(tmp_path / "p.bin", VideoFormat(64, 64)):
            pass


def test_a_decoder_that_does_not_end(tmp_path, decoder_of_hm, encoded, monkeypatch):
    decoder_of_hm("exec sleep 600")
    monkeypatch.setattr("fprdo_bridge.encoders.decoding._LEAST_SECONDS", 0.5)
    (tmp_path / "p.bin").write_bytes(encoded["hm"][0])
    with pytest.raises(FprdoError, match=r"p\.bin: HM's decoder did not end within 1 s; it is damaged or cut short"):
        with decoding(tmp_path / "p.bin", VideoFormat(64, 64)):
            pass


@pytest.mark.parametrize("after", [1, 2, 3, 20], ids=lambda after: f"after-{after}-bytes")
@pytest.mark.parametrize("pictures", [False, True], ids=["before-slices", "after-slices"])
def test_sei_that_is_cut(tmp_path, jm_tools, encoded, pictures, after):
    """JM's decoder reads the message on and on."""
    fmt, (data, _) = VideoFormat(64, 64), encoded["jm"]
    first = next(start for start, end in nal_units(data) if Standard.AVC.is_slice(data[start] & 31))
    whole = data if pictures else data[:first].removesuffix(b"\0\0\1")
    (tmp_path / "cut.bin").write_bytes(whole + b"\0\0\1" + (b"\6\5\xff\xff\2" + bytes(range(1, 99)))[: 1 + after])
    with pytest.raises(FprdoError, match=r"cut\.bin: .* damaged or cut short"):
        with decoding(tmp_path / "cut.bin", fmt) as decoded:
            list(decoded.frames)


def test_own_decoders_are_not_asked_without_a_slice(tmp_path, jm_tools, encoded):
    data = encoded["jm"][0]
    first = next(start for start, end in nal_units(data) if Standard.AVC.is_slice(data[start] & 31))
    (tmp_path / "cut.bin").write_bytes(data[: first - 3])
    with pytest.raises(FprdoError, match=r"cut\.bin: holds no picture, so it is damaged or cut short"):
        decode_own(JM, jm_tools, tmp_path / "cut.bin", tmp_path / "d.yuv", VideoFormat(64, 64))
    assert not (tmp_path / "d.yuv").exists()


def test_decoders_that_differ_are_an_error(tmp_path, jm_tools, encoded, monkeypatch):
    """Damage that JM's decoder takes for pictures."""
    fmt, (data, _) = VideoFormat(64, 64), encoded["jm"]
    position = len(data) - 12
    (tmp_path / "bad.bin").write_bytes(data[:position] + bytes([data[position] ^ 0x40]) + data[position + 1 :])
    with pytest.raises(FprdoError, match=r"bad\.bin: "):
        with decoding(tmp_path / "bad.bin", fmt) as decoded:
            list(decoded.frames)


def test_zeros_around_a_byte_stream():
    unit = b"\0\0\1\x40\x01\x0c\x01"
    assert without_padding(bytes(9) + unit + bytes(5)) == b"\0" + unit
    assert without_padding(b"text" + unit) == b"text" + unit
    assert without_padding(b"no start code") == b"no start code"


# ---- grey ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "codec, depth", [(JM, 10), (JM, 14), (X264, 10)], ids=lambda value: getattr(value, "name", value)
)
@pytest.mark.parametrize("jm", ["with-jm", "without-jm"])
def test_grey_of_more_than_8_bits(tmp_path, tools_of, monkeypatch, capsys, codec: Codec, depth: int, jm: str):
    fmt = VideoFormat(64, 64, "400", depth)
    job = make_job(tmp_path, fmt, tools_of[codec.name], codec=codec, kind="lowdelay", frames=2)
    encode(codec, job, tools_of[codec.name])
    assert probe(job.bitstream).fmt == fmt
    if jm == "with-jm":
        assert tools_of["jm"]  # skipped where JM is not built: then nobody agrees with libavcodec
    else:
        monkeypatch.setenv("FPRDO_TOOLS", str(tmp_path / "nowhere.json"))
    assert cli.main(["decode", str(job.bitstream), "-o", str(tmp_path / "d.yuv")]) == 0, capsys.readouterr().err
    assert (tmp_path / "d.yuv").read_bytes() == job.recon.read_bytes()
    assert ("JM and libavcodec, which agree" in capsys.readouterr().out) == (jm == "with-jm")


def test_depths_of_grey_are_made_equal_and_nothing_else(tmp_path, jm_tools):
    job = make_job(tmp_path, VideoFormat(64, 64, "400", 12), jm_tools, codec=JM, frames=2)
    encode(JM, job, jm_tools)
    data = job.bitstream.read_bytes()
    equal = with_equal_depths(data)
    old, new = ([one[start:end] for start, end in nal_units(one)] for one in (data, equal))
    changed = [(a, b) for a, b in zip(old, new, strict=True) if a != b]
    assert changed and all(Standard.AVC.unit_type(a) == Standard.AVC.sps for a, _ in changed)
    for a, b in changed:
        assert parse_sps(a, Standard.AVC).bit_depth_chroma == 8
        assert parse_sps(b, Standard.AVC) == replace(parse_sps(a, Standard.AVC), bit_depth_chroma=12)
    assert with_equal_depths(equal) is equal
