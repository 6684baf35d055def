"""Drawing code that the page and fprdo show share: colours, means, errors, blocks, animations."""

import base64
import io

import av
import numpy as np
import pytest
from PIL import Image
from report_material import bitstream

from fprdo_bridge.bitstream.blocks import read_blocks
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.importance.idse_file import WeightMap, write_idse
from fprdo_bridge.report import maps
from fprdo_bridge.report.animation import draw_animation
from fprdo_bridge.report.page.shown import error_map
from fprdo_bridge.settings import IdseOptions
from fprdo_bridge.video.formats import VideoFormat
from fprdo_bridge.video.pictures import load_picture, picture_to_frame

FMT = VideoFormat(64, 48)


def test_octaves():
    assert maps.octaves(np.array([[256, 512, 64]], np.uint16)).tolist() == [[0, 1, -2]]


def test_offsets_follow_the_weights():
    """Weights above the mean ask for a lower QP, those below for a higher one."""
    luma = np.full((48, 64), 64, np.uint16)
    luma[:16, :16] = 2048
    planes = (luma, np.full((24, 32), 256, np.uint16), np.full((24, 32), 256, np.uint16))
    found = maps.qp_offsets(planes, FMT, IdseOptions(), 16)
    assert len(found) == 3 and len(found[0]) == 4
    assert found[0][0] < 0 < found[2][3]


def test_colours():
    plane = np.array([[32, 256, 2048]], np.uint16)
    found = maps.coloured(plane)
    assert found.tolist() == [[maps.palette()[index].tolist() for index in (0, 128, 255)]]
    mixed = maps.coloured(plane, np.zeros((1, 3, 3), np.uint8))
    assert mixed.shape == (1, 3, 3) and mixed.tolist() != found.tolist()


def test_errors_are_bytes_of_16_steps_an_octave():
    original, decoded = np.zeros((8, 8)), np.zeros((8, 8))
    decoded[:4, :4] = 4  # 16 = 2^4, eight octaves above 1/16
    kind, _, data = error_map(original, decoded, 4).partition(",")
    assert kind == "data:image/png;base64"
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
    assert pixels.tolist() == [[128, 0], [0, 0]]


# ---- blocks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [22, 37])
def test_blocks_of_avc(tmp_path, value):
    path = tmp_path / "a.264"
    frame = picture_to_frame(load_picture("skimage:astronaut")[:64, :96], VideoFormat(96, 64))
    path.write_bytes(bitstream(frame, VideoFormat(96, 64), value))
    found = read_blocks(path)
    assert {(one.x, one.y) for one in found} == {(x, y) for x in range(0, 96, 16) for y in range(0, 64, 16)}
    assert {(one.width, one.height) for one in found} == {(16, 16)}
    assert abs(np.mean([one.qp for one in found]) - value) < 12
    with pytest.raises(FprdoError, match="has no frame 1"):
        read_blocks(path, 1)


def hevc(path, chroma="yuv420p", side=(96, 64), **options):
    """One intra picture by the x265 that comes with PyAV."""
    picture = load_picture("skimage:astronaut")[: side[1], 150 : 150 + side[0]]
    settings = {"keyint": 1, "wpp": 0, "slices": 1, "log-level": "none", "info": 0, **options}
    with av.open(str(path), "w", format="hevc") as container:
        stream = container.add_stream("libx265", rate=30)
        stream.width, stream.height, stream.pix_fmt = *side, chroma
        stream.options = {"x265-params": ":".join(f"{name}={value}" for name, value in settings.items())}
        for packet in (*stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")), *stream.encode(None)):
            container.mux(packet)
    return path


TOOLS = [
    {"qp": 22, "ipratio": 1},
    {"crf": 30, "aq-mode": 2, "aq-strength": 2.5, "qg-size": 16},
    {"crf": 12, "aq-mode": 3, "tskip": 1, "rdoq-level": 2},
    {"crf": 45, "sao": 1, "signhide": 0},
    {"crf": 20, "ctu": 16, "sao": 0},
    {"crf": 20, "ctu": 32, "min-cu-size": 16, "max-tu-size": 16, "tu-intra-depth": 4, "rd": 6, "aq-mode": 1},
    {"crf": 24, "cu-lossless": 1, "rd": 6},
    {"qp": 1, "ipratio": 1},
]


@pytest.mark.parametrize("chroma", ["yuv420p", "yuv422p", "yuv444p", "gray", "yuv420p10le"])
@pytest.mark.parametrize("options", TOOLS, ids=str)
def test_blocks_of_hevc(tmp_path, options, chroma):
    """The parser ends at the slice's last bit, and the blocks cover the picture once."""
    if "libx265" not in av.codecs_available:
        pytest.skip("PyAV has no x265 here")
    found = read_blocks(hevc(tmp_path / "a.265", chroma, **options))
    seen = np.zeros((64, 96), int)
    for one in found:
        seen[one.y : one.y + one.height, one.x : one.x + one.width] += 1
    assert (seen == 1).all()
    assert {one.width for one in found} <= {4, 8, 16, 32, 64} and {one.mode for one in found} <= set(range(35))
    assert len({one.mode for one in found}) > 3
    if "qp" in options:
        assert {one.qp for one in found} == {options["qp"]}
    elif "aq-strength" in options:
        assert len({one.qp for one in found}) > 2


def test_hevc_that_is_not_parsed(tmp_path):
    """A slice that is cut short, wavefronts, and another picture than the first have no blocks."""
    if "libx265" not in av.codecs_available:
        pytest.skip("PyAV has no x265 here")
    path = hevc(tmp_path / "a.265", crf=20)
    assert read_blocks(path) and read_blocks(path, 1) is None
    whole = path.read_bytes()
    for length in (len(whole) - 1, len(whole) - 40, len(whole) // 2):
        path.write_bytes(whole[:length])
        assert read_blocks(path) is None
    damaged = bytearray(whole)
    damaged[-60] ^= 0x55
    path.write_bytes(damaged)
    assert read_blocks(path) is None
    assert read_blocks(hevc(tmp_path / "b.265", side=(512, 256), wpp=1, crf=20)) is None


# ---- animations ------------------------------------------------------------------------------------------------------


@pytest.fixture
def weights(tmp_path):
    """Three maps that differ."""
    maps_of = []
    for number in range(3):
        planes = [np.ones(shape) for shape in FMT.plane_shapes]
        planes[0][:, 16 * number : 16 * number + 16] = 4
        planes[0] /= planes[0].mean()
        maps_of.append(WeightMap(tuple(planes), {}, (1.0, 1.0, 1.0)))
    write_idse(tmp_path / "a.idse", maps_of, FMT, frame_count=6, frames_per_map=2, transform_sizes=())
    return tmp_path / "a.idse"


def test_an_animation_has_every_frame(weights, tmp_path):
    assert draw_animation(weights, None, tmp_path / "a.webp") == [tmp_path / "a.webp"]
    with Image.open(tmp_path / "a.webp") as picture:
        assert picture.size == (64, 48) and picture.n_frames == 3  # equal neighbours are one frame of a longer duration
    written = draw_animation(weights, None, tmp_path / "b.png")
    assert [path.name for path in written] == [f"b-{number:04}.png" for number in range(6)]
    pixels = [Image.open(path).tobytes() for path in written]
    assert pixels[0] == pixels[1] != pixels[2] == pixels[3] != pixels[4]


def test_an_animation_is_of_two_types(weights, tmp_path):
    with pytest.raises(FprdoError, match="an animation is .webp or"):
        draw_animation(weights, None, tmp_path / "a.gif")
    assert not (tmp_path / "a.gif").exists()


def test_av_can_code():
    """report_material needs an AVC encoder of PyAV."""
    assert "libx264" in av.codecs_available
