"""Raw files: what their names say, and the layouts that are read."""

from fractions import Fraction

import av
import numpy as np
import pytest

from fprdo_bridge.errors import FprdoError
from fprdo_bridge.video.formats import VideoFormat, first_difference
from fprdo_bridge.video.raw import read_yuv, write_yuv
from fprdo_bridge.video.raw_layout import PLANAR, RawLayout
from fprdo_bridge.video.raw_name import rate_in_name, read_name
from fprdo_bridge.video.source import FormatRequest, open_source

EIGHT = (416, 240)


def said(name: str, **asked) -> dict:
    """What a name says, without what it does not say."""
    fields = vars(read_name(name, **asked))
    return {
        what: value
        for what, value in fields.items()
        if value is not None and value != PLANAR and (what, value) != ("sizes", (EIGHT,))
    }


# ---- names ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, expected",
    [
        # clips of JCT-VC, JVET, UVG and Xiph
        ("Cactus_1920x1080_50", dict(sizes=((1920, 1080),), frame_rate=50)),
        ("Traffic_2560x1600_30_crop", dict(sizes=((2560, 1600),), frame_rate=30)),
        ("NebutaFestival_2560x1600_60_10bit_crop", dict(sizes=((2560, 1600),), frame_rate=60, bit_depth=10)),
        ("ArenaOfValor_1920x1080_60_8bit_420", dict(sizes=((1920, 1080),), frame_rate=60, bit_depth=8, chroma="420")),
        (
            "Campfire_3840x2160_30fps_10bit_bt709_420_videoRange",
            dict(sizes=((3840, 2160),), frame_rate=30, bit_depth=10, matrix="bt709", chroma="420", full_range=False),
        ),
        (
            "BalloonFestival_1920x1080p_24_10b_709_420",
            dict(sizes=((1920, 1080),), frame_rate=24, bit_depth=10, chroma="420"),
        ),
        (
            "Beauty_1920x1080_120fps_420_8bit_YUV",
            dict(sizes=((1920, 1080),), frame_rate=120, bit_depth=8, chroma="420"),
        ),
        ("crowd_run_1080p50", dict(sizes=(), frame_rate=50)),
        ("park_joy_1920x1080p50", dict(sizes=((1920, 1080),), frame_rate=50)),
        # depth
        ("a_416x240_10bit", dict(bit_depth=10)),
        ("a_416x240_10-bit", dict(bit_depth=10)),
        ("a_416x240_10b", dict(bit_depth=10)),
        ("a_416x240_8b", dict(bit_depth=8)),
        ("a_416x240_12bits", dict(bit_depth=12)),
        ("a_416x240_10bpc", dict(bit_depth=10)),
        ("a_416x240_60_10", dict(frame_rate=60, bit_depth=10)),
        ("a_416x240_60_8", dict(frame_rate=60, bit_depth=8)),
        ("a_416x240_50_10b_420", dict(frame_rate=50, bit_depth=10, chroma="420")),
        ("a_416x240_12_30fps", dict(bit_depth=12, frame_rate=30)),
        ("a_416x240_8", dict(bit_depth=8)),
        ("a_416x240_10_8bit", dict(frame_rate=10, bit_depth=8)),
        # rates
        ("a_416x240_29.97", dict(frame_rate=Fraction("29.97"))),
        ("a_59.94fps_416x240", dict(frame_rate=Fraction("59.94"))),
        ("a_416x240_60hz", dict(frame_rate=60)),
        ("a_416x240_50p", dict(frame_rate=50)),
        ("a_416x240_fps25", dict(frame_rate=25)),
        ("a_416x240_25_fps_10bit", dict(frame_rate=25, bit_depth=10)),
        ("a_416x240-50.420", dict(frame_rate=50, chroma="420")),
        ("a_416x240_300", {}),
        ("a_416x240_001", {}),
        ("a_416x240_1000frames", {}),
        # chroma formats
        ("a_416x240_4:2:2", dict(chroma="422")),
        ("a_416x240_4-4-4_10bit", dict(chroma="444", bit_depth=10)),
        ("a_416x240_4_2_0", dict(chroma="420")),
        ("a_416x240_420", dict(chroma="420")),
        ("a_416x240_444p", dict(chroma="444")),
        ("a_416x240_yuv422", dict(chroma="422")),
        ("a_416x240_yuv400p10le", dict(chroma="400", bit_depth=10)),
        ("a_416x240_gray12le", dict(chroma="400", bit_depth=12)),
        ("a_416x240_grey", dict(chroma="400")),
        ("a_416x240_mono", dict(chroma="400")),
        ("a_416x240_yu12", dict(chroma="420", bit_depth=8)),
        ("a_416x240_p444", dict(chroma="444")),
        ("a_416x240_422be_10bit", dict(chroma="422", bit_depth=10, layout=RawLayout(big_endian=True))),
        ("a_416x240_luma", dict(chroma="400")),
        ("a_416x240_08bit", dict(bit_depth=8)),
        ("a_416x240_y16", dict(chroma="400", bit_depth=16)),
        ("a_416x240_420mpeg2", dict(chroma="420", siting="left")),
        ("a_416x240_yuv420jpeg", dict(chroma="420", siting="center")),
        # colour
        ("a_416x240_yuvj420p", dict(chroma="420", full_range=True)),
        ("a_416x240_full-range", dict(full_range=True)),
        ("a_416x240_limitedRange", dict(full_range=False)),
        ("a_416x240_BT.2020", dict(matrix="bt2020")),
        ("a_416x240_rec601", dict(matrix="bt601")),
        ("a_416x240_bt2020nc_10bit", dict(matrix="bt2020", bit_depth=10)),
        # layouts
        ("a_416x240_i420", dict(chroma="420", bit_depth=8)),
        ("a_416x240_i210", dict(chroma="422", bit_depth=10)),
        ("a_416x240_YV12", dict(chroma="420", bit_depth=8, layout=RawLayout(cr_first=True))),
        ("a_416x240_yvu444p", dict(chroma="444", layout=RawLayout(cr_first=True))),
        ("a_416x240.nv12", dict(chroma="420", bit_depth=8, layout=RawLayout("semiplanar"))),
        ("clipNV12_416x240", dict(chroma="420", bit_depth=8, layout=RawLayout("semiplanar"))),
        ("a_416x240NV21", dict(chroma="420", bit_depth=8, layout=RawLayout("semiplanar", cr_first=True))),
        ("a_416x240_nv12_semi-planar", dict(chroma="420", bit_depth=8, layout=RawLayout("semiplanar"))),
        ("a_416x240_p010le", dict(chroma="420", bit_depth=10, layout=RawLayout("semiplanar", high_bits=True))),
        ("a_416x240_p016", dict(chroma="420", bit_depth=16, layout=RawLayout("semiplanar", high_bits=True))),
        ("a_416x240_p210be", dict(chroma="422", bit_depth=10, layout=RawLayout("semiplanar", False, True, True))),
        ("a_416x240_yuv422_uyvy", dict(chroma="422", bit_depth=8, layout=RawLayout("uyvy"))),
        ("a_416x240_yuyv422_packed", dict(chroma="422", bit_depth=8, layout=RawLayout("yuyv"))),
        ("a_416x240_yuy2", dict(chroma="422", bit_depth=8, layout=RawLayout("yuyv"))),
        ("a_416x240_y210", dict(chroma="422", bit_depth=10, layout=RawLayout("yuyv", high_bits=True))),
        ("a_416x240_yuv420p10be", dict(chroma="420", bit_depth=10, layout=RawLayout(big_endian=True))),
        ("a_416x240_16bit_big-endian", dict(bit_depth=16, layout=RawLayout(big_endian=True))),
        ("a_416x240_10bit_be", dict(bit_depth=10, layout=RawLayout(big_endian=True))),
        # titles
        ("to_be_or_not_416x240_10bit", dict(bit_depth=10)),
        ("clip010_416x240", {}),
        ("conv12_416x240", {}),
        ("p01_416x240", {}),
        ("44012_416x240", {}),
        ("shot-2020_416x240", {}),
        ("le_mans_416x240", {}),
        ("packedlunch_416x240", {}),
    ],
)
def test_what_a_name_says(name, expected):
    assert said(f"/nv12/yuv444p/{name}.yuv") == expected


@pytest.mark.parametrize(
    "name, message",
    [
        ("a_416x240_gbrp", "gbrp in its name means R'G'B' samples"),
        ("a_416x240_8bit_rgb", "rgb in its name means R'G'B'"),
        ("a_416x240_gbrp10le", "gbrp10le"),
        ("a_416x240_rgb24", "rgb24"),
        ("a_416x240_BGRA", "bgra"),
        ("a_416x240_xyz12le", "xyz12le"),
        ("a_416x240_bayer_rggb8", "colour filter array"),
        ("a_416x240_yuva420p", "alpha"),
        ("a_416x240_ayuv64le", "alpha"),
        ("a_416x240_packed", "packed in its name does not say in which order"),
        ("a_416x240_semi-planar", "semiplanar in its name"),
        ("a_416x240_yuv444p_packed", "says both yuv444p and packed"),
        ("a_416x240_nv12_planar", "says both nv12 and planar"),
        ("a_416x240_v210", "v210"),
        ("a_416x240_yuv420sp", "yuv420sp in its name means an unknown pixel format"),
        ("a_416x240_420sp", "420sp"),
        ("a_416x240_420i", "fields"),
        ("a_416x240_y10", "y10"),
        ("a_416x240_42010le", "42010le"),
        ("a_416x240_yuv411p", "yuv411p"),
        ("a_416x240_440p", "440p"),
        ("a_416x240_yuv444p10msble", "yuv444p10msble"),
        ("a_416x240_nv15", "nv15"),
        ("a_416x240_yuv420p10xe", "yuv420p10xe"),
        ("a_416x240_p10le", "p10le"),
        ("a_416x240_p014", "p014"),
        ("a_416x240_yuv420p24", "yuv420p24"),
        ("a_416x240_gray24", "gray24"),
        ("a_416x240_nv12_tiled", "tiled"),
        ("a_416x240_pq", "HDR"),
        ("a_416x240_10b_HLG_2020", "HDR"),
        ("a_416x240_HDR10", "HDR"),
        ("a_416x240_bt2100", "HDR"),
        ("a_416x240_bt2020c", "constant luminance"),
        ("a_416x240_interlaced", "fields"),
        ("a_416x240_1080i", "fields"),
        ("a_416x240_50i", "fields"),
        ("a_1920x1080i", "1920x1080i in its name means fields"),
        ("a_1920x1080i50", "fields"),
        ("a_416x240_420_422", "says both 420 and 422"),
        ("a_416x240_nv12_444", "says both nv12 and 444|says both 444 and nv12"),
        ("a_416x240_10bit_8bit", "says both 10bit and 8bit"),
        ("a_416x240_30fps_60fps", "says both 30fps and 60fps"),
        ("a_416x240_p010_8bit", "says both 8bit and p010"),
        ("a_416x240_yv12_nv12", "says both yv12 and nv12"),
        ("a_416x240_yuv420p10be_le", "says both yuv420p10be and le"),
        ("a_416x240_bt601_bt709", "says both bt601 and bt709"),
        ("a_416x240_0fps", "0fps in its name is no frame rate"),
        ("a_416x240_30000_1001fps", "1001fps in its name is no frame rate"),
        (
            "a_416x240_10",
            "10 in its name may be the frame rate or the bit depth; give --bit-depth, or write 10fps or 10bit",
        ),
        ("a_416x240p12", "12 in its name may be"),
        ("a_416x240_16", "16 in its name may be"),
    ],
)
def test_what_is_refused(name, message):
    with pytest.raises(FprdoError, match=message) as error:
        open_source(f"/absent/{name}.yuv")
    assert str(error.value).startswith(f"/absent/{name}.yuv: ") and "\n" not in str(error.value)


def test_a_doubtful_number_is_clear_with_the_bit_depth():
    assert said("a_416x240_10.yuv", bit_depth=10) == dict(bit_depth=10)
    assert said("a_416x240_10.yuv", bit_depth=8) == dict(frame_rate=10)
    assert said("a_416x240_nv12_10.yuv") == dict(chroma="420", bit_depth=8, layout=RawLayout("semiplanar"))
    assert said("a_416x240_10_nv12.yuv") == dict(
        chroma="420", bit_depth=8, frame_rate=10, layout=RawLayout("semiplanar")
    )


def test_rate_in_a_name():
    assert rate_in_name("clip_30fps.y4m") == 30 and rate_in_name("clip_29.97FPS.y4m") == Fraction("29.97")
    assert rate_in_name("clip_416x240_50.y4m") is None and rate_in_name("clip_0fps.y4m") is None


@pytest.mark.parametrize("name", ["clip.yuv", "crop_64x64_of_1920x1080.yuv", "0x10.yuv", "416x.yuv", "clip_cif.yuv"])
def test_a_name_without_one_size(tmp_path, name):
    (tmp_path / name).write_bytes(bytes(96))
    with pytest.raises(FprdoError, match="give the size explicitly"):
        open_source(str(tmp_path / name))
    assert open_source(str(tmp_path / name), FormatRequest((8, 8))).fmt == VideoFormat(8, 8)


@pytest.mark.parametrize(
    "name, request_, fmt",
    [
        ("a_8x8_10bit_422.yuv", FormatRequest(bit_depth=8, chroma="420"), VideoFormat(8, 8)),
        ("a_4x4_yuv444p10le.yuv", FormatRequest((8, 8)), VideoFormat(8, 8, "444", 10)),
        ("a_8x8_bt2020.yuv", FormatRequest(matrix="bt709"), VideoFormat(8, 8)),
        ("a_8x8_bt2020_full_range.yuv", FormatRequest(), VideoFormat(8, 8, matrix="bt2020", full_range=True)),
        ("a_8x8_yuv420p10be.yuv", FormatRequest(bit_depth=10), VideoFormat(8, 8, bit_depth=10)),
    ],
)
def test_the_user_has_the_last_word(tmp_path, name, request_, fmt):
    (tmp_path / name).write_bytes(bytes(fmt.frame_bytes))
    assert open_source(str(tmp_path / name), request_).fmt == fmt


@pytest.mark.parametrize(
    "name, request_, message",
    [
        ("a_8x8_nv12.yuv", FormatRequest(chroma="444"), "its name says a layout of 420, --chroma 444"),
        ("a_8x8_p010.yuv", FormatRequest(bit_depth=8), "its name says a layout of 10, --bit-depth 8"),
        ("a_8x8_yuyv.yuv", FormatRequest(chroma="420"), "its name says a layout of 422, --chroma 420"),
        (
            "a_7x8_uyvy.yuv",
            FormatRequest(),
            "UYVY packs two pixels of 4:2:2, 7x8 422 8-bit given; use 4:2:2 of even width",
        ),
        ("a_8x8_20bit.yuv", FormatRequest(), "bit depth 20: use 8 to 16"),
        ("a_8x8_70000x8.yuv", FormatRequest(size=(70000, 8)), "picture size 70000x8"),
    ],
)
def test_but_not_against_a_layout(tmp_path, name, request_, message):
    (tmp_path / name).write_bytes(bytes(8 * 8 * 6))
    with pytest.raises(FprdoError, match=message) as error:
        open_source(str(tmp_path / name), request_)
    assert str(error.value).startswith(str(tmp_path / name))


# ---- layouts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words, pixels, fmt",
    [
        ("nv12", "nv12", VideoFormat(6, 4)),
        ("nv21", "nv21", VideoFormat(6, 4)),
        ("nv16", "nv16", VideoFormat(6, 4, "422")),
        ("nv24", "nv24", VideoFormat(6, 4, "444")),
        ("nv42", "nv42", VideoFormat(6, 4, "444")),
        ("nv20le", "nv20le", VideoFormat(6, 4, "422", 10)),
        ("p010le", "p010le", VideoFormat(6, 4, bit_depth=10)),
        ("p012be", "p012be", VideoFormat(6, 4, bit_depth=12)),
        ("p016", "p016le", VideoFormat(6, 4, bit_depth=16)),
        ("p210", "p210le", VideoFormat(6, 4, "422", 10)),
        ("p416be", "p416be", VideoFormat(6, 4, "444", 16)),
        ("yuyv422", "yuyv422", VideoFormat(6, 4, "422")),
        ("uyvy", "uyvy422", VideoFormat(6, 4, "422")),
        ("yvyu", "yvyu422", VideoFormat(6, 4, "422")),
        ("y210", "y210le", VideoFormat(6, 4, "422", 10)),
        ("yuv420p10be", "yuv420p10be", VideoFormat(6, 4, bit_depth=10)),
        ("444_16bit_be", "yuv444p16be", VideoFormat(6, 4, "444", 16)),
        ("gray10be", "gray10be", VideoFormat(6, 4, "400", 10)),
        ("i422", "yuv422p", VideoFormat(6, 4, "422")),
        ("nv12", "nv12", VideoFormat(7, 5)),
    ],
)
def test_layouts_as_libavutil_writes_them(tmp_path, words, pixels, fmt):
    """Frames that libswscale has brought into a layout come back sample by sample, and so they are coded."""
    rng = np.random.default_rng(1)
    frames = [
        tuple(rng.integers(0, fmt.max_value + 1, shape).astype(fmt.dtype) for shape in fmt.plane_shapes)
        for _ in range(2)
    ]
    path = tmp_path / f"a_{fmt.width}x{fmt.height}_{words}.yuv"
    path.write_bytes(b"".join(converted(frame, fmt, pixels) for frame in frames))
    source = open_source(str(path))
    assert source.fmt == fmt and source.frames == 2
    assert first_difference(source.read(), frames) is None
    (tmp_path / "work").mkdir()
    raw = source.yuv(tmp_path / "work")
    assert first_difference(read_yuv(raw, fmt), frames) is None
    write_yuv(tmp_path / f"b_{fmt.width}x{fmt.height}.yuv", frames, fmt)
    planar = open_source(str(tmp_path / f"b_{fmt.width}x{fmt.height}.yuv"), FormatRequest.of(fmt))
    assert source.sha256() == planar.sha256() and (raw == path) == (source.layout == PLANAR)
    assert first_difference(open_source(str(path), skip=1).read(), frames[1:]) is None


def converted(frame, fmt: VideoFormat, pixels: str) -> bytes:
    """The bytes of a frame in a pixel format of libavutil."""
    depth = f"{fmt.bit_depth}le" if fmt.bit_depth > 8 else ""
    picture = av.VideoFrame(
        fmt.width, fmt.height, f"gray{depth}" if fmt.chroma == "400" else f"yuv{fmt.chroma}p{depth}"
    )
    for plane, samples in zip(picture.planes, frame, strict=True):
        lines = np.zeros((plane.height, plane.line_size), np.uint8)
        data = np.ascontiguousarray(samples).view(np.uint8)
        lines[:, : data.shape[1]] = data
        plane.update(lines)
    pieces = []
    planes = picture.reformat(format=pixels, threads=1).planes  # with more, a line is lost once in 3000 times
    for number, plane in enumerate(planes):
        samples = fmt.plane_shapes[number][1]
        if len(planes) == 2 and number == 1 or len(planes) == 1 and fmt.chroma == "422":
            samples *= 2
        lines = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: plane.height]
        pieces.append(lines[:, : samples * fmt.dtype.itemsize].tobytes())
    return b"".join(pieces)


@pytest.mark.parametrize(
    "word, order", [("yv12", (0, 2, 1)), ("yvu420p", (0, 2, 1)), ("i420", (0, 1, 2)), ("iyuv", (0, 1, 2))]
)
def test_order_of_planes(tmp_path, word, order):
    planes = [np.full((4, 6), 10, np.uint8), np.full((2, 3), 20, np.uint8), np.full((2, 3), 30, np.uint8)]
    path = tmp_path / f"a_6x4_{word}.yuv"
    path.write_bytes(b"".join(planes[index].tobytes() for index in order))
    assert first_difference(open_source(str(path)).read(), [tuple(planes)]) is None


def test_vyuy(tmp_path):
    path = tmp_path / "a_2x1_vyuy.yuv"
    path.write_bytes(bytes((30, 1, 20, 2)))
    luma, cb, cr = next(open_source(str(path)).read())
    assert (luma.tolist(), cb.tolist(), cr.tolist()) == ([[1, 2]], [[20]], [[30]])


def test_low_bits_of_p010_are_not_lost(tmp_path):
    """Samples that fill 16 bits are not those of P010: dropping bits would be a silent change."""
    path = tmp_path / "a_2x2_p010.yuv"
    path.write_bytes(np.full(6, 64 * 512 + 1, "<u2").tobytes())
    with pytest.raises(FprdoError, match="a_2x2_p010.yuv: frame 0: the lower 6 bits of its samples are not 0"):
        list(open_source(str(path)).read())
