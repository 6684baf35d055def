"""Arguments that nobody in his right mind gives: one line that begins with the argument's name, or they work."""

import decimal
import enum
from fractions import Fraction

import numpy as np
import pytest

from fprdo_bridge import Encoder, WeightBuffer, compiled
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.importance.idse_file import WeightMap, ones
from fprdo_bridge.settings import IdseOptions
from fprdo_bridge.video.formats import VideoFormat

FMT = VideoFormat(16, 16, "400")
DEEP = VideoFormat(16, 16, "400", 10)
GOOD = (np.arange(256, dtype=np.uint8).reshape(16, 16),)
WEIGHTS = np.linspace(0.5, 1.5, 256, dtype=np.float32).reshape(16, 16)


def refuses(*_, **__):
    raise RuntimeError("angry\nobject")


class Angry:
    """Whatever is done to it raises."""

    __array__ = __bool__ = __eq__ = __float__ = __fspath__ = __getitem__ = __hash__ = __index__ = __int__ = __iter__ = (
        __len__
    ) = __lt__ = __repr__ = __str__ = refuses


class AngryInt(int):
    __eq__ = __format__ = __ge__ = __gt__ = __hash__ = __index__ = __int__ = __le__ = __lt__ = __repr__ = __str__ = (
        refuses
    )


class AngryStr(str):
    __eq__ = __format__ = __fspath__ = __hash__ = __repr__ = __str__ = encode = lower = refuses


class AngryArray(np.ndarray):
    __array_function__ = __array_ufunc__ = __getitem__ = __repr__ = __str__ = astype = max = min = view = refuses


class Number(int):
    pass


class Level(enum.IntEnum):
    HIGH = 32


def angry(array: np.ndarray) -> np.ndarray:
    return np.ndarray.view(array, AngryArray)


def masked(array: np.ndarray) -> np.ndarray:
    return np.ma.array(array, mask=True)


NO_NUMBERS = [
    None,
    True,
    np.True_,
    1.5,
    float("nan"),
    float("inf"),
    1j,
    "",
    "32",
    b"32",
    (),
    [],
    {},
    object(),
    Angry(),
    AngryInt(32),
    10**30,
    10**5000,
    -(10**5000),
    np.float32(32),
    np.array(32),
    np.array([32, 33]),
    np.ma.masked,
    decimal.Decimal(32),
    Fraction(32),
    len,
    int,
    ...,
]
NO_PATHS = [True, 3, 1.5, b"\xff\0", [], {}, object(), Angry(), len, "", "a\0b", "\ud800", "x" * 5000, np.array("a")]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty temporary folder, which is empty in the end."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    monkeypatch.chdir(tmp_path)
    yield tmp_path / "tmp"
    assert list((tmp_path / "tmp").iterdir()) == []


def refused(what: str, call, *arguments, **named) -> None:
    with pytest.raises(FprdoError, match=f"^{what}") as raised:
        call(*arguments, **named)
    said = str(raised.value)
    assert said.isprintable() and len(said) < 300, said


def encode(**arguments):
    return Encoder("hm").encode(**{"frames": [GOOD], "qp": 32, "fmt": FMT, **arguments})


def test_numbers():
    for value in NO_NUMBERS:
        refused("QP ", encode, qp=value)
        refused("decisions ", encode, decisions=value)
        refused("skip ", encode, skip=value)
        if value is not None:
            refused("count ", encode, count=value)
    for value in (
        True,
        "30",
        float("nan"),
        float("inf"),
        1j,
        (),
        Angry(),
        10**30,
        10**5000,
        np.array(25),
        len,
        0,
        -1,
        decimal.Decimal(25),
        Fraction(-1, 3),
        Fraction(1, 10**400),
        1e-300,
        Fraction(10**5000, 3),
        np.float32(25),
    ):
        refused("frame rate ", encode, frame_rate=value)


def test_paths():
    for value in NO_PATHS:
        refused("(encoder|config) ", Encoder, "hm", value)
        refused("recon ", encode, recon=value)
    for value in (AngryStr("hm"), AngryStr("x265"), None, 3, "", "x" * 5000, Angry(), np.array("hm"), b"hm", "h\nm"):
        if type(value) is AngryStr and len(value) == 2:
            assert Encoder(value).tools.library
        else:
            refused("encoder ", Encoder, value)
    for value in (
        "",
        "a\0b",
        "\ud800",
        "x" * 5000,
        "a\nb",
        "nosuch.png",
        "nosuch.yuv",
        ".",
        "/dev/null",
        "skimage:nosuch",
        "skimage:",
    ):
        refused("", encode, frames=value)


def test_objects():
    others = [True, 3, 1.5, "text", b"bytes", [], {}, object(), Angry(), np.zeros(3), compiled, ...]
    for value in others:
        refused("fmt ", encode, fmt=value)
        refused("fmt ", WeightBuffer, value)
    for value in others:
        refused("idse ", encode, idse=value)
    for value in others[:-2]:
        for what in ("provider", "distortion", "on_picture"):
            refused(f"{what} ", encode, **{what: value})
        refused("distortion ", encode, distortion=compiled(value))
    for value in (
        None,
        4,
        "48",
        b"48",
        (5,),
        (4.0,),
        (True,),
        [None],
        ["4"],
        object(),
        Angry(),
        [Angry()],
        np.array(4),
        np.ones(3),
        len,
        (10**5000,),
    ):
        refused("transform_sizes ", encode, transform_sizes=value)
        refused("transform_sizes ", WeightBuffer, FMT, value)


def test_frames_that_are_none():
    y = GOOD[0]
    for value in (
        None,
        True,
        3,
        b"bytes",
        object(),
        len,
        y,
        np.array(3),
        range(3),
        {"a": 1},
        {},
        [],
        (),
        iter(()),
        [None],
        [3],
        ["text"],
        [y],
        [Angry()],
        memoryview(b"abc"),
    ):
        refused("frames: ", encode, frames=value)
    for plane in (
        None,
        3,
        "text",
        b"bytes",
        [1, 2],
        y.tolist(),
        {},
        object(),
        Angry(),
        np.uint8(3),
        masked(y),
        memoryview(y),
    ):
        refused("frame 1: ", encode, frames=[GOOD, (plane,)])
    for plane in (
        y[None],
        y.reshape(-1),
        y[:8],
        y[:, :8],
        np.array(3, np.uint8),
        y.astype(np.int8),
        y.astype(np.int64),
        y.astype(np.uint16),
        y.astype(np.float32),
        y.astype(bool),
        y.astype(object),
        y.astype("U3"),
        y.astype("datetime64[s]"),
        np.zeros((16, 16), [("a", "u1")]),
        np.zeros((0, 0), np.uint8),
        y.astype(complex),
    ):
        refused("frame 1: ", encode, frames=[GOOD, (plane,)])
    for frame in ((), [], (y, y), (y, y, y)):
        refused("frame 1: ", encode, frames=iter([GOOD, frame]))
    refused("frame 0: ", encode, frames=[(np.full((16, 16), 1024, np.uint16),)], fmt=DEEP)


def test_frames_in_memory_of_any_kind(folder):
    y = GOOD[0]
    expected = encode().bitstream
    mapped = np.memmap(folder.parent / "mapped", np.uint8, "w+", shape=(16, 16))
    mapped[:] = y
    readonly = y.copy()
    readonly.flags.writeable = False
    wide = np.zeros((16, 32), np.uint8)
    wide[:, ::2] = y
    for plane in (
        y[::-1].copy()[::-1],
        y[:, ::-1].copy()[:, ::-1],
        np.asfortranarray(y),
        readonly,
        mapped,
        np.matrix(y),
        wide[:, ::2],
        angry(y),
        np.lib.stride_tricks.as_strided(wide, (16, 16), (32, 2)),
    ):
        assert encode(frames=[(plane,)]).bitstream == expected
        assert encode(frames=([plane] for _ in range(1))).bitstream == expected
    deep = y.astype(np.uint16) << 2
    assert encode(frames=[(deep.astype(">u2"),)], fmt=DEEP).bitstream == encode(frames=[(deep,)], fmt=DEEP).bitstream
    flat = encode(frames=[(np.full((16, 16), 7, np.uint8),)]).bitstream
    assert encode(frames=[(np.broadcast_to(np.uint8(7), (16, 16)),)]).bitstream == flat


def test_weights_that_are_none():
    w = WEIGHTS
    bad = [
        True,
        3,
        "text",
        b"bytes",
        (),
        [],
        {},
        object(),
        Angry(),
        len,
        [None],
        [3],
        [Angry()],
        [w.tolist()],
        w.astype(int),
        w > 1,
        w.astype(complex),
        w.astype(object),
        w[None],
        w.reshape(-1),
        w[:8],
        np.ones((0, 0), np.float32),
        np.float32(1),
        np.array(1, np.float32),
        masked(w),
        (w, w),
        (w, w, w),
        w * np.nan,
        -w,
        w * np.inf,
        w.astype(np.float64) * 1e300,
        iter([w]),
        WeightMap((w[:8],), {}, (1.0,)),
        ones(VideoFormat(16, 16)),
        WeightBuffer(VideoFormat(8, 8, "400")),
        WeightBuffer(VideoFormat(16, 16)),
    ]
    for value in bad:
        refused("weights: ", encode, weights=value, transform_sizes=())
        refused("weights", WeightBuffer(FMT, ()).fill, value)
    for value in (None, *bad):
        refused("weights of picture 0: ", encode, provider=lambda picture, value=value: value, transform_sizes=())
    for planes, shapes, gain in (
        (None, {}, (1.0,)),
        ((), {}, ()),
        (Angry(), {}, None),
        ((w,), None, (1.0,)),
        ((w,), Angry(), (1.0,)),
        ((w,), {4: None}, (1.0,)),
        ((w,), {"a": ()}, (1.0,)),
        ((w,), {}, Angry()),
        ((w,), {}, ("1",)),
    ):
        refused("", lambda: encode(weights=WeightMap(planes, shapes, gain), transform_sizes=()))


def test_a_buffer_with_a_weight_of_nothing():
    buffer = WeightBuffer(FMT, ())
    buffer.planes[0][3, 4] = 0
    refused("provider: a pixel weight of picture 0 is 0", encode, weights=buffer)


def test_weights_in_memory_of_any_kind():
    w = WEIGHTS
    expected = encode(weights=w, transform_sizes=()).bitstream
    readonly = w.copy()
    readonly.flags.writeable = False
    for value in (
        w[::-1].copy()[::-1],
        np.asfortranarray(w),
        readonly,
        np.matrix(w),
        angry(w),
        w.astype(">f4"),
        w.astype(np.float64),
        w.astype(np.longdouble),
        [w],
        WeightMap((w,), {}, (1.0,)),
    ):
        assert encode(weights=value, transform_sizes=()).bitstream == expected
        assert encode(provider=lambda picture, value=value: value, transform_sizes=()).bitstream == expected


def test_options_that_are_none():
    for value in (True, 3, "SAO=0", b"SAO", [("SAO", "0")], (), object(), Angry(), 10**5000):
        refused("encoder options ", encode, options=value)
    for name, value in (
        (3, "0"),
        (None, "0"),
        (b"SAO", "0"),
        ("", "0"),
        ("a\0", "1"),
        ("--SAO", "0"),
        ("SAO", None),
        ("SAO", True),
        ("SAO", []),
        ("SAO", Angry()),
        ("SAO", "\0"),
        ("SAO", "a\nb"),
        ("SAO", "\ud800"),
        ("SAO", 10**5000),
        ("SAO", b"0"),
        ("S\nAO", "0"),
        ("SAO", AngryInt(0)),
        ("x" * 5000, "0"),
        ("SAO", "x" * 10**6),
    ):
        refused("encoder option", encode, options={name: value})


def test_values_of_other_classes():
    expected = encode(qp=32).bitstream
    for value in (Number(32), Level.HIGH, np.int64(32), np.uint8(32)):
        assert encode(
            qp=value, frame_rate=value, decisions=np.int8(15), count=np.uint16(1), skip=Number(0)
        ).bitstream == (encode(qp=32, frame_rate=32).bitstream)
    assert encode(frame_rate=30.0).bitstream == encode(frame_rate=Fraction(30)).bitstream == expected


@pytest.mark.parametrize(
    "kind, name, values",
    [
        (IdseOptions, "tau", [None, "1", -1, 1001, float("nan"), 10**5000, Angry(), []]),
        (IdseOptions, "power", [None, "1", 0, 1.5, float("nan"), Angry()]),
        (IdseOptions, "clip", [None, "1", 0.5, 256, float("nan")]),
        (IdseOptions, "rdoq", [None, "1", 3, -1, 1.5, Angry(), 10**5000]),
        (IdseOptions, "qp_map", [None, "1", 2, Angry()]),
        (IdseOptions, "qp_map_clip", [None, "1", 13, -1, 1.5, 10**5000]),
        (IdseOptions, "sao", [None, "0", 2]),
        (IdseOptions, "decisions", [None, "1", 32, -1, 1.5]),
        (VideoFormat, "width", [None, "16", 0, -1, 65536, 16.0, True, Angry(), 10**5000]),
        (VideoFormat, "height", [None, "16", 0]),
        (VideoFormat, "chroma", [None, 420, "", "411", Angry(), ["420"]]),
        (VideoFormat, "bit_depth", [None, "8", 7, 17, 8.0, True]),
        (VideoFormat, "matrix", [None, 709, "bt470"]),
        (VideoFormat, "full_range", [None, 2, "yes", 1.0, Angry()]),
        (VideoFormat, "siting", [None, 0, "top"]),
        (VideoFormat, "aspect", ["4:3", (4,), (4, 0), (4, 3, 2), 1, (4.0, 3), Angry()]),
    ],
)
def test_fields(kind, name, values):
    needed = {"width": 16, "height": 16} if kind is VideoFormat else {}
    for value in values:
        refused("", kind, **needed | {name: value})
