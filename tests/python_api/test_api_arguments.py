"""Arguments of another type, shape or range: one short line that begins with the argument's name."""

from functools import partial

import numpy as np
import provided
import pytest
from clips import clip

from fprdo_bridge import Encoder, compiled, toolchain
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.importance.idse_file import WeightMap, ones
from fprdo_bridge.session.weight_buffer import WeightBuffer
from fprdo_bridge.video.formats import VideoFormat

FMT = VideoFormat(72, 56)


def test_refusals(monkeypatch):
    with pytest.raises(FprdoError, match="use one of hm, jm"):
        Encoder("x265")
    with pytest.raises(FprdoError, match="give fmt"):
        Encoder("hm").encode(clip(FMT, 1), 32)
    with pytest.raises(FprdoError, match="give one of them"):
        Encoder("hm").encode(clip(FMT, 1), 32, fmt=FMT, weights=ones(FMT), provider=lambda picture: ones(FMT))
    tools = toolchain.find("hm")
    monkeypatch.setattr(
        toolchain,
        "find",
        lambda name, title: toolchain.Toolchain(
            tools.version, tools.key, tools.encoder, tools.stock_encoder, tools.config_dir
        ),
    )
    with pytest.raises(FprdoError, match="without a library; run python3 build.py hm"):
        Encoder("hm")


@pytest.mark.parametrize(
    "given, message",
    [
        (None, "NoneType given"),
        ("text", "str given"),
        (np.ones((3, 3), np.float32), "picture 0"),
        (tuple(np.ones((3, 3), np.float32) for _ in range(3)), "picture 0"),
        (tuple(np.ones(shape, np.complex64) for shape in FMT.plane_shapes), "picture 0"),
        (tuple(np.full(shape, np.nan, np.float32) for shape in FMT.plane_shapes), "picture 0"),
    ],
)
def test_weights_that_are_none(given, message):
    with pytest.raises(FprdoError, match=message):
        Encoder("hm").encode(clip(FMT, 1), 32, fmt=FMT, provider=lambda picture: given, transform_sizes=())


@pytest.mark.parametrize(
    "fmt", [VideoFormat(64, 56), VideoFormat(72, 48), VideoFormat(72, 56, "400"), VideoFormat(72, 56, "444")]
)
@pytest.mark.parametrize("how", ["weights", "provider"])
def test_buffers_of_another_format(fmt, how):
    buffer = WeightBuffer(fmt)
    with pytest.raises(
        FprdoError, match=f"^weights.*: a buffer for .*width={fmt.width}.*is coded; make it for this format"
    ):
        Encoder("hm").encode(clip(FMT, 1), 32, fmt=FMT, **{how: buffer if how == "weights" else lambda picture: buffer})


def test_a_buffer_of_the_coded_format_with_shapes_of_its_own(encoder):
    fmt = VideoFormat(71, 55)  # coded as 72x56
    encoder.encode(clip(fmt, 1), 32, fmt=fmt, weights=WeightBuffer(fmt, (4, 8)))


def planes_of(fmt: VideoFormat, count: int | None = None) -> tuple[np.ndarray, ...]:
    """Weights of 1.0 for `count` planes, those beyond the format's like its last."""
    shapes = fmt.plane_shapes
    return tuple(np.ones(shapes[min(index, len(shapes) - 1)], np.float32) for index in range(count or len(shapes)))


GREY = VideoFormat(72, 56, "400")
FRAME = tuple(np.zeros(shape, np.uint8) for shape in FMT.plane_shapes)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"qp": True}, "QP True: give a whole number"),
        ({"qp": 32.0}, "QP 32.0: give a whole number"),
        ({"qp": "32"}, "QP '32': give a whole number"),
        ({"qp": None}, "QP None: give a whole number"),
        ({"qp": 52}, "QP 52: use 0 to 51"),
        ({"decisions": 0}, "decisions 0: use 1 to 15"),
        ({"decisions": 16}, "decisions 16: use 1 to 15"),
        ({"decisions": True}, "decisions True: give a whole number"),
        ({"decisions": 1.0}, "decisions 1.0: give a whole number"),
        ({"frame_rate": 0}, "frame rate 0: must be a number above 0"),
        ({"frame_rate": -1}, "frame rate -1: must be"),
        ({"frame_rate": float("nan")}, "frame rate nan: must be"),
        ({"frame_rate": float("inf")}, "frame rate inf: must be"),
        ({"frame_rate": "30"}, "frame rate '30': must be"),
        ({"frame_rate": True}, "frame rate True: must be"),
        ({"transform_sizes": 4}, r"transform_sizes 4: give some of \(4, 8, 16, 32\), or \(\) for none"),
        ({"transform_sizes": "48"}, "transform_sizes '48': give some of"),
        ({"transform_sizes": (4, 5)}, "transform_sizes .4, 5."),
        ({"transform_sizes": (4.0,)}, "transform_sizes .4.0,."),
        ({"transform_sizes": None}, "transform_sizes None: give"),
        ({"options": [("SAO", "0")]}, "encoder options .*: give a mapping"),
        ({"options": "SAO=0"}, "encoder options 'SAO=0': give"),
        ({"options": {"SAO": True}}, "encoder option SAO=True: give a string or a number"),
        ({"options": {"SAO": None}}, "encoder option SAO=None: give"),
        ({"options": {3: "0"}}, "encoder option 3: give its name"),
        ({"fmt": "72x56"}, "fmt '72x56': give a VideoFormat"),
        ({"idse": {}}, "idse {}: give IdseOptions"),
        ({"provider": 3}, "provider 3: give a function"),
        ({"distortion": "sse"}, "distortion 'sse': give a function"),
        ({"distortion": compiled(None)}, "distortion None: give a function"),
        ({"on_picture": 3}, "on_picture 3: give a function"),
        ({"distortion": partial(provided.plain)}, "distortion functools.*: runs in another process"),
        ({"frames": []}, "frames: there are none; give one or more"),
        ({"frames": iter(())}, "frames: there are none"),
        ({"frames": None}, "frames: NoneType given; give a sequence of frames"),
        ({"frames": FRAME}, "frames: ndarray where frame 0 should be; give a sequence of frames"),
        ({"frames": [FRAME, FRAME[0].tolist()]}, "frame 1: list where a plane should be; give"),
        ({"frames": [FRAME, 3]}, "frames: int where frame 1 should be; give"),
        (
            {"weights": planes_of(FMT)},
            r"weights: without shapes for transforms of 4, 8, 16, 32; say transform_sizes=\(\), or",
        ),
        (
            {"weights": ones(FMT, (4, 8))},
            r"weights: without shapes for transforms of 16, 32; say transform_sizes=\(4, 8\), or",
        ),
        ({"weights": WeightMap(([[1.0]],) * 3, {}, (1.0,) * 3)}, "weights: list given; use arrays of float32"),
    ],
)
def test_arguments_that_are_none(encoder, arguments, message):
    """One short line that begins with the argument's name, before any encoder runs."""
    with pytest.raises(FprdoError, match=f"^{message}") as raised:
        encoder.encode(**{"frames": [FRAME], "qp": 32, "fmt": FMT, **arguments})
    assert len(str(raised.value)) < 240 and "/fprdo-" not in str(raised.value)


@pytest.mark.parametrize("how", ["weights", "provider"])
@pytest.mark.parametrize("fmt, count", [(FMT, 4), (FMT, 2), (GREY, 3)])
def test_weights_of_another_plane_count(how, fmt, count):
    planes, frames = planes_of(fmt, count), clip(fmt, 1)
    shapes = WeightMap(planes_of(fmt), {4: planes_of(fmt, count)}, (1.0,) * count)
    for weights, sizes, what in ((planes, (), "planes"), (shapes, (4,), "4x4 shapes")):
        with pytest.raises(
            FprdoError, match=f"^weights.*: {count} {what} given; {fmt.chroma} has {len(fmt.plane_shapes)} comp"
        ):
            Encoder("hm").encode(
                frames,
                32,
                fmt=fmt,
                transform_sizes=sizes,
                **{how: weights if how == "weights" else lambda picture: weights},
            )


def test_numbers_of_other_types(encoder):
    """NumPy's integers, frames as lists, and option values that are numbers."""
    plain = encoder.encode(
        [FRAME], 32, fmt=FMT, weights=ones(FMT, (4,)), transform_sizes=(4,), options={"SearchRange": "8"}, frame_rate=25
    )
    other = encoder.encode(
        [list(FRAME)],
        np.int64(32),
        fmt=FMT,
        weights=ones(FMT, (4,)),
        transform_sizes=[np.int64(4)] * 2,
        options={"SearchRange": 8},
        frame_rate=np.float64(25),
        decisions=np.uint8(15),
    )
    assert plain.bitstream == other.bitstream
