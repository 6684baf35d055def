"""What goes wrong in functions of the caller: his exception as it is, or one line."""

import time

import numpy as np
import provided
import pytest
from clips import clip

from fprdo_bridge import Encoder, compiled
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.importance.idse_file import ones
from fprdo_bridge.session.provider import Provider
from fprdo_bridge.settings import IdseOptions
from fprdo_bridge.video.formats import VideoFormat

FMT = VideoFormat(72, 56)
PLAIN = IdseOptions(rdoq=0, qp_map=False, sao=False, chroma_qp_offset=0, deblock_offset=0)


def test_an_exception_of_the_provider_is_the_callers(encoder):
    def provider(picture):
        if picture.frame == 1:
            raise ZeroDivisionError("of the provider")
        return ones(FMT)

    with pytest.raises(ZeroDivisionError, match="of the provider"):
        encoder.encode(clip(FMT, 2), 32, fmt=FMT, provider=provider)


def test_an_error_after_the_encoder_succeeded(monkeypatch):
    answer = Provider._answer

    def failing(self, kind, *what):
        answer(self, kind, *what)
        if kind == "returned":
            raise ZeroDivisionError("late")

    monkeypatch.setattr(Provider, "_answer", failing)
    with pytest.raises(ZeroDivisionError, match="late"):
        Encoder("hm").encode(clip(FMT, 1), 32, fmt=FMT, weights=ones(FMT))


def test_an_oserror_of_the_provider_is_no_lost_connection(encoder, tmp_path):
    with pytest.raises(FileNotFoundError, match="weights.npy"):
        encoder.encode(clip(FMT, 1), 32, fmt=FMT, provider=lambda picture: np.load(tmp_path / "weights.npy"))


@pytest.mark.parametrize(
    "function, kind, message",
    [
        (provided.raises, KeyError, "component 0"),
        (provided.recurses, RecursionError, "maximum recursion depth"),
        (provided.groups, ExceptionGroup, "two"),
        (provided.is_full, OSError, "full"),
        (provided.interrupts, FprdoError, "^KeyboardInterrupt .raised in the worker in .*provided.py, line"),
        (provided.no_number, FprdoError, "not a number"),
        (provided.negative, FprdoError, "negative"),
        (provided.huge, FprdoError, "2\\^44 or more"),
        (provided.nothing, FprdoError, "^distortion None: not a number"),
        (provided.text, FprdoError, "^distortion '1.0': not a number"),
        (provided.truth, FprdoError, "^distortion True: not a number"),
        (provided.array, FprdoError, "^distortion array.*: not a num"),
    ],
)
def test_bad_distortions(encoder, function, kind, message):
    with pytest.raises(kind, match=message):
        encoder.encode(clip(FMT, 1), 32, fmt=FMT, distortion=function)


@pytest.mark.parametrize(
    "function, message",
    [
        (provided.other_arguments, "OtherArguments: first block at 0 "),
        (provided.lock, "Lock: holds a lock "),
        (provided.other_text, "OtherText: code 17 "),
        (provided.no_text, "NoText: its text cannot be had "),
        (provided.exits, "SystemExit: enough "),
    ],
)
def test_exceptions_that_pickle_does_not_copy(encoder, function, message):
    with pytest.raises(
        FprdoError, match=f"^{message}.*raised in the worker in .*provided.py, line [1-9].*pickle can copy"
    ):
        encoder.encode(clip(FMT, 1), 32, fmt=FMT, distortion=function)


def test_an_exception_behind_a_pointer(encoder):
    with pytest.raises(KeyError, match="behind a pointer"):
        encoder.encode(clip(FMT, 1), 32, fmt=FMT, distortion=compiled(provided.raises_behind_a_pointer))


def test_a_distortion_that_no_other_process_can_import():
    with pytest.raises(FprdoError, match="defined at the top of a module"):
        Encoder("hm").encode(clip(FMT, 1), 32, fmt=FMT, distortion=lambda block: 0.0)


def test_a_distortion_that_has_its_name_no_more(monkeypatch):
    given, frames = provided.plain, clip(FMT, 1)
    with pytest.raises(FprdoError, match="^distortion Scale.distortion: is not what provided has under that name"):
        Encoder("hm").encode(frames, 32, fmt=FMT, distortion=provided.Scale().distortion)
    own = Encoder("hm").encode(frames, 32, fmt=FMT, distortion=provided.Scale.of_the_class, idse=PLAIN)
    assert own.bitstream == Encoder("hm").encode(frames, 32, fmt=FMT).bitstream
    monkeypatch.setattr(provided, "plain", provided.zero)
    with pytest.raises(FprdoError, match="^distortion plain: is not what provided has"):
        Encoder("hm").encode(frames, 32, fmt=FMT, distortion=given)


def test_a_worker_that_is_killed(encoder):
    with pytest.raises(FprdoError, match="signal 9|SIGKILL|Killed|-9"):
        encoder.encode(clip(FMT, 1), 32, fmt=FMT, distortion=provided.kills)


def test_a_provider_that_sleeps(encoder):
    def provider(picture):
        time.sleep(1)
        return ones(FMT)

    assert encoder.encode(clip(FMT, 1), 32, fmt=FMT, provider=provider).wall_seconds > 1


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even a text")


class WithArguments(Exception):
    def __init__(self, first, second):
        super().__init__(first)
        self.second = second


def deep(number: int = 0) -> None:
    deep(number + 1)


KINDS = [
    SystemExit(3),
    KeyboardInterrupt(),
    GeneratorExit(),
    StopIteration(4),
    MemoryError(),
    OSError(28, "full"),
    EOFError(),
    BrokenPipeError(),
    ExceptionGroup("two", [ValueError(1), KeyError(2)]),
    Unprintable(),
    WithArguments(1, lambda: 2),
    UnicodeDecodeError("utf-8", b"x", 0, 1, "bad"),
    FprdoError("mine"),
    Warning("w"),
    AssertionError(),
    BaseException("all"),
]


@pytest.mark.parametrize("error", KINDS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("where", ["frames", "provider", "on_picture"])
def test_whatever_the_callers_functions_raise_is_raised_as_it_is(tmp_path, monkeypatch, where, error):
    """And nothing stays behind."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    fmt = VideoFormat(16, 16, "400")
    frames = clip(fmt, 1)

    def raises(*_):
        raise error

    def one_frame_and_no_more():
        yield frames[0]
        raise error

    given = one_frame_and_no_more() if where == "frames" else frames
    generator_stops = where == "frames" and isinstance(error, StopIteration)
    with pytest.raises(RuntimeError if generator_stops else type(error)) as raised:
        Encoder("hm").encode(given, 32, fmt=fmt, **{} if where == "frames" else {where: raises})
    # A generator cannot end with StopIteration: Python makes it a RuntimeError.
    assert raised.value is error or raised.value.__cause__ is error
    assert list(tmp_path.iterdir()) == []


def test_a_provider_without_end_of_recursion(tmp_path):
    with pytest.raises(RecursionError):
        Encoder("hm").encode(clip(FMT, 1), 32, fmt=FMT, provider=lambda picture: deep())
