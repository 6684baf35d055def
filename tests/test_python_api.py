"""Encoders that Python drives: the same bitstreams whichever way the weights come, and errors that reach the caller."""

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import provided
import pytest
from clips import clip
from conftest import optional_tools
from oracles import random_map

from fprdo_bridge import Encoder, compiled, toolchain
from fprdo_bridge.bitstream.decoders import decode_libav
from fprdo_bridge.encoders.job import EncodeJob, IdseOptions
from fprdo_bridge.session.provider import Provider
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.video.formats import VideoFormat, first_difference
from fprdo_bridge.video.pictures import save_picture
from fprdo_bridge.video.raw import write_yuv
from fprdo_bridge.importance.idse_file import WeightMap, ones, write_idse
from fprdo_bridge.session.weight_buffer import WeightBuffer

FMT = VideoFormat(72, 56)
PLAIN = IdseOptions(rdoq=0, qp_map=False, sao=False)
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(params=["hm", "jm"])
def encoder(request) -> Encoder:
    if request.param == "jm":
        optional_tools("jm")
    return Encoder(request.param)


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    """Workers find `provided` where pytest found it."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(Path(__file__).parent), os.environ.get("PYTHONPATH")))))


def from_file(encoder: Encoder, folder: Path, maps, frames, qp: int = 32, idse: IdseOptions = IdseOptions()) -> bytes:
    write_yuv(folder / "source.yuv", frames, FMT)
    write_idse(folder / "maps.idse", maps, FMT, frame_count=len(maps))
    job = EncodeJob(source=folder / "source.yuv", fmt=FMT, frames=len(frames), qp=qp, bitstream=folder / "file.bin",
                    config=(encoder.codec.config_for("intra", FMT, encoder.tools),), weights=folder / "maps.idse", idse=idse,
                    options=encoder.codec.weighted_options(idse))
    return encoder.codec.encode(job, encoder.tools).bitstream.read_bytes()


def test_file_array_and_provider_make_one_bitstream(encoder, tmp_path):
    frames, maps = clip(FMT, 2), [random_map(FMT, seed) for seed in (1, 2)]
    asked, coded = [], []

    def provider(picture):
        asked.append((picture.poc, picture.frame, picture.fmt))
        return maps[picture.frame]
    given = encoder.encode(frames, 32, fmt=FMT, provider=provider, on_picture=coded.append)
    assert given.bitstream == from_file(encoder, tmp_path, maps, frames)
    assert sorted(asked) == [(0, 0, FMT), (1, 1, FMT)]
    assert [picture.poc for picture in coded] == [picture.poc for picture in given.log.pictures] == [0, 1]
    assert given.log.idse.weighted > 0 and given.log.idse.unweighted == 0 and given.log.idse.pictures == 2
    assert len(given.reconstruction) == 2 and given.reconstruction[0][0].shape == (56, 72)
    array = encoder.encode(frames[:1], 32, fmt=FMT, weights=maps[0])
    assert array.bitstream == from_file(encoder, tmp_path, maps[:1], frames[:1]) != given.bitstream


def test_file_callback_and_distortion_that_computes_the_same_sum(encoder, tmp_path):
    """Weights from a file; from a callback; from a callback, and the weighted sum of every decision from Python."""
    frames, as_it_is = clip(FMT, 2), IdseOptions(tau=0)
    stripes = WeightMap(tuple(plane.astype(np.float32) / 256 for plane in provided.stripes(FMT)), {}, (1.0, 1.0, 1.0))
    shaped = replace(random_map(FMT, 3), planes=stripes.planes)
    file = from_file(encoder, tmp_path, [shaped] * 2, frames, 27, as_it_is)
    callback = encoder.encode(frames, 27, fmt=FMT, provider=lambda picture: shaped, idse=as_it_is)
    both = encoder.encode(frames, 27, fmt=FMT, provider=lambda picture: shaped, idse=as_it_is, distortion=provided.weighted)
    assert file == callback.bitstream == both.bitstream != encoder.encode(frames, 27, fmt=FMT).bitstream
    other = encoder.encode(frames, 27, fmt=FMT, provider=lambda picture: shaped, idse=as_it_is, distortion=provided.plain)
    assert other.bitstream != file  # it was asked


def test_weights_of_one_are_no_weights(encoder):
    """With every setting as it is, the QP map too."""
    frames = clip(FMT, 2)
    stock = encoder.encode(frames, 32, fmt=FMT)
    assert encoder.encode(frames, 32, fmt=FMT, weights=ones(FMT), options={}).bitstream == stock.bitstream
    assert encoder.encode(frames, 32, fmt=FMT, weights=WeightBuffer(FMT), options={}).bitstream == stock.bitstream
    provider = encoder.encode(frames, 32, fmt=FMT, provider=lambda picture: ones(FMT), options={}, idse=IdseOptions(qp_map=False))
    assert provider.bitstream == stock.bitstream


def test_buffer_is_read_where_it_lies(encoder, tmp_path):
    """One buffer, written by the provider before each picture, nothing taken over by anybody."""
    frames, maps = clip(FMT, 2), [random_map(FMT, seed) for seed in (1, 2)]
    buffer = WeightBuffer(FMT)

    def provider(picture):
        buffer.fill(maps[picture.frame])
        return buffer
    assert encoder.encode(frames, 32, fmt=FMT, provider=provider).bitstream == from_file(encoder, tmp_path, maps, frames)
    alone = encoder.encode(frames[:1], 32, fmt=FMT, provider=provider).bitstream
    assert alone == from_file(encoder, tmp_path, maps[:1], frames[:1])
    buffer.planes[0][:, :36] //= 2
    assert encoder.encode(frames[:1], 32, fmt=FMT, weights=buffer).bitstream != alone


def test_buffer_changed_while_in_use(encoder, tmp_path):
    """Decisions become anybody's guess, the bitstream stays what decoders read."""
    fmt, rng, done = VideoFormat(144, 112), np.random.default_rng(0), threading.Event()
    buffer = WeightBuffer(fmt)

    def change():
        while not done.is_set():
            for array in (*buffer.planes, *(shape for group in buffer.shapes.values() for shape in group)):
                array[:] = rng.integers(0, 65536, array.shape)
    thread = threading.Thread(target=change)
    thread.start()
    try:
        encoded = encoder.encode(clip(fmt, 2), 27, fmt=fmt, provider=lambda picture: buffer)
    finally:
        done.set()
        thread.join()
    (tmp_path / "bitstream").write_bytes(encoded.bitstream)
    assert first_difference(encoded.reconstruction, decode_libav(tmp_path / "bitstream", fmt)) is None


def test_distortion_that_computes_the_same_sum(encoder, tmp_path):
    """Plain SSE in the encoder, in Python and in C behind a pointer."""
    frames = clip(FMT, 1)
    stock = encoder.encode(frames, 30, fmt=FMT)
    python = encoder.encode(frames, 30, fmt=FMT, distortion=provided.read_only, idse=PLAIN)
    native = encoder.encode(frames, 30, fmt=FMT, distortion=compiled(provided.compiled_plain), idse=PLAIN)
    assert stock.bitstream == python.bitstream == native.bitstream


def test_a_distortion_decides(encoder):
    frames = clip(FMT, 1)
    nothing_matters = encoder.encode(frames, 22, fmt=FMT, distortion=provided.zero, idse=PLAIN)
    assert len(nothing_matters.bitstream) < len(encoder.encode(frames, 22, fmt=FMT).bitstream)
    masked = encoder.encode(frames, 22, fmt=FMT, distortion=provided.zero, decisions=2, idse=PLAIN)
    assert masked.bitstream == encoder.encode(frames, 22, fmt=FMT).bitstream  # an intra picture has no skip


def test_weights_of_pixels_only(encoder):
    planes = tuple(np.ones(shape, np.float32) for shape in FMT.plane_shapes)
    one = encoder.encode(clip(FMT, 1), 32, fmt=FMT, weights=planes, transform_sizes=(), idse=PLAIN)
    assert one.bitstream == encoder.encode(clip(FMT, 1), 32, fmt=FMT).bitstream


# ---- what goes wrong ---------------------------------------------------------------------------------------------

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


@pytest.mark.parametrize("given, message", [
    (None, "NoneType given"), ("text", "str given"), (np.ones((3, 3), np.float32), "picture 0"),
    (tuple(np.ones((3, 3), np.float32) for _ in range(3)), "picture 0"),
    (tuple(np.ones(shape, np.complex64) for shape in FMT.plane_shapes), "picture 0"),
    (tuple(np.full(shape, np.nan, np.float32) for shape in FMT.plane_shapes), "picture 0")])
def test_weights_that_are_none(given, message):
    with pytest.raises(FprdoError, match=message):
        Encoder("hm").encode(clip(FMT, 1), 32, fmt=FMT, provider=lambda picture: given, transform_sizes=())


@pytest.mark.parametrize("fmt", [VideoFormat(64, 56), VideoFormat(72, 48), VideoFormat(72, 56, "400"),
                                 VideoFormat(72, 56, "444")])
@pytest.mark.parametrize("how", ["weights", "provider"])
def test_buffers_of_another_format(fmt, how):
    buffer = WeightBuffer(fmt)
    with pytest.raises(FprdoError, match=f"^weights.*: a buffer for .*width={fmt.width}.*is coded; make it for this format"):
        Encoder("hm").encode(clip(FMT, 1), 32, fmt=FMT, **{how: buffer if how == "weights" else lambda picture: buffer})


def test_a_buffer_of_the_coded_format_with_shapes_of_its_own(encoder):
    fmt = VideoFormat(71, 55)  # coded as 72x56
    encoder.encode(clip(fmt, 1), 32, fmt=fmt, weights=WeightBuffer(fmt, (4, 8)))


@pytest.mark.parametrize("function, kind, message", [
    (provided.raises, KeyError, "component 0"), (provided.no_number, FprdoError, "not a number"),
    (provided.negative, FprdoError, "negative"), (provided.huge, FprdoError, "2\\^44 or more"),
    (provided.nothing, TypeError, "NoneType")])
def test_bad_distortions(encoder, function, kind, message):
    with pytest.raises(kind, match=message):
        encoder.encode(clip(FMT, 1), 32, fmt=FMT, distortion=function)


@pytest.mark.parametrize("function, message", [
    (provided.other_arguments, "OtherArguments: first block at 0 "), (provided.lock, "Lock: holds a lock "),
    (provided.other_text, "OtherText: code 17 "), (provided.no_text, "NoText: its text cannot be had "),
    (provided.exits, "SystemExit: enough ")])
def test_exceptions_that_pickle_does_not_copy(encoder, function, message):
    with pytest.raises(FprdoError, match=f"^{message}.*raised in the worker in .*provided.py, line [1-9].*pickle can copy"):
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


def test_frames_of_a_file(encoder, tmp_path):
    """The same bitstream from arrays, from a raw file whose format is given, and from a picture that is converted to it."""
    fmt, path = VideoFormat(72, 56, siting="center"), tmp_path / "clip.yuv"
    frames = clip(fmt, 2)
    write_yuv(path, frames, fmt)
    arrays = encoder.encode(frames, 32, fmt=fmt).bitstream
    assert encoder.encode(path, 32, fmt=fmt).bitstream == arrays
    with pytest.raises(FprdoError, match="clip.yuv: the name says no picture size"):
        encoder.encode(path, 32)
    save_picture(tmp_path / "grey.png", np.full((56, 72, 3), 128, np.uint8))
    encoded = encoder.encode(tmp_path / "grey.png", 32, fmt=fmt)
    assert [plane.shape for plane in encoded.reconstruction[0]] == list(fmt.plane_shapes)


def test_refusals(monkeypatch):
    with pytest.raises(FprdoError, match="use one of hm, jm"):
        Encoder("x265")
    with pytest.raises(FprdoError, match="give fmt"):
        Encoder("hm").encode(clip(FMT, 1), 32)
    with pytest.raises(FprdoError, match="give one of them"):
        Encoder("hm").encode(clip(FMT, 1), 32, fmt=FMT, weights=ones(FMT), provider=lambda picture: ones(FMT))
    tools = toolchain.find("hm")
    monkeypatch.setattr(toolchain, "find", lambda name: toolchain.Toolchain(
        tools.version, tools.key, tools.encoder, tools.stock_encoder, tools.config_dir))
    with pytest.raises(FprdoError, match="without a library; run python3 build.py hm"):
        Encoder("hm")


def test_the_library_exports_its_entry_and_nothing_else(encoder):
    listed = subprocess.run(["nm", "-D", "--defined-only", str(encoder.tools.library)], capture_output=True, text=True,
                            check=True).stdout
    names = [line.split()[-1] for line in listed.splitlines() if " T " in line]
    assert names == ["fprdo_encode"]


def planes_of(fmt: VideoFormat, count: int | None = None) -> tuple[np.ndarray, ...]:
    """Weights of 1.0 for `count` planes, those beyond the format's like its last."""
    shapes = fmt.plane_shapes
    return tuple(np.ones(shapes[min(index, len(shapes) - 1)], np.float32) for index in range(count or len(shapes)))


GREY = VideoFormat(72, 56, "400")
FRAME = tuple(np.zeros(shape, np.uint8) for shape in FMT.plane_shapes)


@pytest.mark.parametrize("arguments, message", [
    ({"qp": True}, "QP True: give a whole number"), ({"qp": 32.0}, "QP 32.0: give a whole number"),
    ({"qp": "32"}, "QP '32': give a whole number"), ({"qp": None}, "QP None: give a whole number"),
    ({"qp": 52}, "QP 52: use 0 to 51"),
    ({"decisions": 0}, "decisions 0: use 1 to 15"), ({"decisions": 16}, "decisions 16: use 1 to 15"),
    ({"decisions": True}, "decisions True: give a whole number"), ({"decisions": 1.0}, "decisions 1.0: give a whole number"),
    ({"frame_rate": 0}, "frame rate 0: must be a number above 0"), ({"frame_rate": -1}, "frame rate -1: must be"),
    ({"frame_rate": float("nan")}, "frame rate nan: must be"), ({"frame_rate": float("inf")}, "frame rate inf: must be"),
    ({"frame_rate": "30"}, "frame rate '30': must be"), ({"frame_rate": True}, "frame rate True: must be"),
    ({"transform_sizes": 4}, r"transform_sizes 4: give some of \(4, 8, 16, 32\), or \(\) for none"),
    ({"transform_sizes": "48"}, "transform_sizes '48': give some of"), ({"transform_sizes": (4, 5)}, "transform_sizes .4, 5."),
    ({"transform_sizes": (4.0,)}, "transform_sizes .4.0,."), ({"transform_sizes": None}, "transform_sizes None: give"),
    ({"options": [("SAO", "0")]}, "encoder options .*: give a mapping"), ({"options": "SAO=0"}, "encoder options 'SAO=0': give"),
    ({"options": {"SAO": True}}, "encoder option SAO=True: give a string or a number"),
    ({"options": {"SAO": None}}, "encoder option SAO=None: give"), ({"options": {3: "0"}}, "encoder option 3: give its name"),
    ({"fmt": "72x56"}, "fmt '72x56': give a VideoFormat"), ({"idse": {}}, "idse {}: give IdseOptions"),
    ({"provider": 3}, "provider 3: give a function"), ({"distortion": "sse"}, "distortion 'sse': give a function"),
    ({"distortion": compiled(None)}, "distortion None: give a function"), ({"on_picture": 3}, "on_picture 3: give a function"),
    ({"distortion": partial(provided.plain)}, "distortion .*partial.*: runs in another process"),
    ({"frames": []}, "frames: there are none; give one or more"), ({"frames": iter(())}, "frames: there are none"),
    ({"frames": None}, "frames: NoneType given; give a sequence of frames"),
    ({"frames": FRAME}, "frames: ndarray where frame 0 should be; give a sequence of frames"),
    ({"frames": [FRAME, FRAME[0].tolist()]}, "frame 1: list where a plane should be; give"),
    ({"frames": [FRAME, 3]}, "frames: int where frame 1 should be; give"),
    ({"weights": planes_of(FMT)}, r"weights: without shapes for transforms of 4, 8, 16, 32; say transform_sizes=\(\), or"),
    ({"weights": ones(FMT, (4, 8))}, r"weights: without shapes for transforms of 16, 32; say transform_sizes=\(4, 8\), or"),
    ({"weights": WeightMap(([[1.0]],) * 3, {}, (1.0,) * 3)}, "weights: list given; use arrays of float32")])
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
        with pytest.raises(FprdoError, match=f"^weights.*: {count} {what} given; {fmt.chroma} has {len(fmt.plane_shapes)} comp"):
            Encoder("hm").encode(frames, 32, fmt=fmt, transform_sizes=sizes,
                                 **{how: weights if how == "weights" else lambda picture: weights})


def test_numbers_of_other_types(encoder):
    """NumPy's integers, frames as lists, and option values that are numbers."""
    plain = encoder.encode([FRAME], 32, fmt=FMT, weights=ones(FMT, (4,)), transform_sizes=(4,), options={"SearchRange": "8"},
                           frame_rate=25)
    other = encoder.encode([list(FRAME)], np.int64(32), fmt=FMT, weights=ones(FMT, (4,)), transform_sizes=[np.int64(4)] * 2,
                           options={"SearchRange": 8}, frame_rate=np.float64(25), decisions=np.uint8(15))
    assert plain.bitstream == other.bitstream


# ---- programs ----------------------------------------------------------------------------------------------------

PROGRAM = """
import sys

import numpy as np
from fprdo_bridge import Encoder
from fprdo_bridge.video.formats import VideoFormat
{imports}

class Own(Exception):
    pass


def distortion(block):
    {body}


def main():
    fmt = VideoFormat(32, 32, "400")
    Encoder("hm").encode([(np.zeros((32, 32), np.uint8),)], 32, fmt=fmt, distortion=distortion)
    print("coded")
{end}
"""
MAIN = """
if __name__ == "__main__":
    main()
"""


def program(folder: Path, *arguments: str, cwd: Path, path: str = str(ROOT), imports: str = "", body: str = "return 0.0",
            end: str = MAIN) -> str:
    """What a program prints, or its traceback, whose `distortion` has that body."""
    folder.mkdir(exist_ok=True)
    (folder / "program.py").write_text(PROGRAM.format(imports=imports, body=body, end=end))
    (folder / "beside.py").write_text("def value(block):\n    return 0.0\n")
    return subprocess.run([sys.executable, *arguments], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=60, env=os.environ | {"PYTHONPATH": path}).stdout


@pytest.mark.parametrize("arguments, cwd, imports", [
    (["program.py"], "folder", "import beside"), (["folder/program.py"], ".", "import beside"),
    (["-m", "program"], "folder", "import beside"), (["-m", "folder.program"], ".", "from . import beside"),
    (["program.py"], "folder", "sys.path.insert(0, '../other')\nimport elsewhere as beside")])
def test_modules_beside_the_program(tmp_path, arguments, cwd, imports):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "elsewhere.py").write_text("def value(block):\n    return 0.0\n")
    # The package too is found by a path that holds in the program's folder alone.
    path = os.path.relpath(ROOT, (tmp_path / cwd).resolve())
    assert program(tmp_path / "folder", *arguments, cwd=tmp_path / cwd, path=path, imports=imports,
                   body="return beside.value(block)") == "coded\n"


def test_an_exception_of_the_program(tmp_path):
    said = program(tmp_path / "folder", "program.py", cwd=tmp_path / "folder", body='raise Own("mine")')
    assert "FprdoError: Own: mine (raised in the worker in " in said and "program.py, line 14;" in said


def test_a_program_that_begins_whenever_it_is_loaded(tmp_path):
    said = program(tmp_path / "folder", "program.py", cwd=tmp_path / "folder", end="main()")
    assert "FprdoError: an encode began while a worker loaded its distortion; put what the program does behind" in said


def test_a_function_that_only_the_program_has(tmp_path):
    said = program(tmp_path / "folder", "program.py", cwd=tmp_path / "folder", end="""
if __name__ == "__main__":
    def late(block):
        return 0.0
    distortion = late
    main()
""")
    assert "distortion late: not there when" in said and "define it at the top" in said


# ---- many --------------------------------------------------------------------------------------------------------

def test_two_side_by_side(encoder):
    frames, maps = clip(FMT, 1), [random_map(FMT, seed) for seed in (1, 2)]
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda weights: encoder.encode(frames, 32, fmt=FMT, weights=weights).bitstream, maps))
    assert both == [encoder.encode(frames, 32, fmt=FMT, weights=weights).bitstream for weights in maps]
    assert both[0] != both[1]


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no /proc")
def test_fifty_in_a_row_leave_nothing():
    encoder, frames, weights = Encoder("hm"), clip(VideoFormat(32, 32), 1), ones(VideoFormat(32, 32))
    def places():
        return {str(path) for path in Path("/dev/shm").glob("fprdo-*")} if Path("/dev/shm").is_dir() else set()
    before = places()
    def encode():
        return encoder.encode(frames, 40, fmt=VideoFormat(32, 32), weights=weights).bitstream
    first = encode()
    threads, memory = threading.active_count(), resident()
    descriptors = len(os.listdir("/proc/self/fd"))
    assert all(encode() == first for _ in range(50))
    assert threading.active_count() <= threads and len(os.listdir("/proc/self/fd")) <= descriptors
    assert resident() - memory < 16 << 20
    assert places() <= before
