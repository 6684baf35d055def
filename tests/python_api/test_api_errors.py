"""What goes wrong in functions of the caller: his exception as it is, or one line."""

import time

import numpy as np
import provided
import pytest
from clips import clip

from fprdo_bridge import Encoder, compiled
from fprdo_bridge.encoders.job import IdseOptions
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.importance.idse_file import ones
from fprdo_bridge.session.provider import Provider
from fprdo_bridge.video.formats import VideoFormat

FMT = VideoFormat(72, 56)
PLAIN = IdseOptions(rdoq=0, qp_map=False, sao=False)


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
