"""Encoders that Python drives: the same bitstreams whichever way the weights come, one by one and at once."""

import os
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import provided
import pytest
from built import optional_tools
from clips import clip
from oracles import random_map

from fprdo_bridge import Encoder, compiled
from fprdo_bridge.bitstream.libav import decode_libav
from fprdo_bridge.encoders.job import EncodeJob, Rate
from fprdo_bridge.encoders.running import encode
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.importance.idse_file import WeightMap, ones, write_idse
from fprdo_bridge.session.weight_buffer import WeightBuffer
from fprdo_bridge.settings import DEFAULT_PRESET, IdseOptions
from fprdo_bridge.video.formats import VideoFormat, first_difference
from fprdo_bridge.video.pictures import save_picture
from fprdo_bridge.video.raw import write_yuv

FMT = VideoFormat(72, 56)
PLAIN = IdseOptions(rdoq=0, qp_map=False, sao=False, chroma_qp_offset=0, deblock_offset=0)


def from_file(encoder: Encoder, folder: Path, maps, frames, qp: int = 32, idse: IdseOptions | None = None) -> bytes:
    idse = idse or IdseOptions.preset(DEFAULT_PRESET, encoder.codec.name)
    write_yuv(folder / "source.yuv", frames, FMT)
    write_idse(folder / "maps.idse", maps, FMT, frame_count=len(maps))
    job = EncodeJob(
        source=folder / "source.yuv",
        fmt=FMT,
        frames=len(frames),
        rate=Rate("qp", qp),
        bitstream=folder / "file.bin",
        config=(encoder.codec.config_for("intra", FMT, encoder.tools),),
        weights=folder / "maps.idse",
        idse=idse,
        options=encoder.codec.weighted_options(idse),
    )
    return encode(encoder.codec, job, encoder.tools).bitstream.read_bytes()


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
    both = encoder.encode(
        frames, 27, fmt=FMT, provider=lambda picture: shaped, idse=as_it_is, distortion=provided.weighted
    )
    assert file == callback.bitstream == both.bitstream != encoder.encode(frames, 27, fmt=FMT).bitstream
    other = encoder.encode(
        frames, 27, fmt=FMT, provider=lambda picture: shaped, idse=as_it_is, distortion=provided.plain
    )
    assert other.bitstream != file  # it was asked


def test_weights_of_one_are_no_weights(encoder):
    """With every setting as it is, the QP map too."""
    frames = clip(FMT, 2)
    stock = encoder.encode(frames, 32, fmt=FMT)
    assert encoder.encode(frames, 32, fmt=FMT, weights=ones(FMT), options={}).bitstream == stock.bitstream
    assert encoder.encode(frames, 32, fmt=FMT, weights=WeightBuffer(FMT), options={}).bitstream == stock.bitstream
    provider = encoder.encode(
        frames, 32, fmt=FMT, provider=lambda picture: ones(FMT), options={}, idse=IdseOptions(qp_map=False)
    )
    assert provider.bitstream == stock.bitstream


def test_buffer_is_read_where_it_lies(encoder, tmp_path):
    """One buffer, written by the provider before each picture, nothing taken over by anybody."""
    frames, maps = clip(FMT, 2), [random_map(FMT, seed) for seed in (1, 2)]
    buffer = WeightBuffer(FMT)

    def provider(picture):
        buffer.fill(maps[picture.frame])
        return buffer

    assert encoder.encode(frames, 32, fmt=FMT, provider=provider).bitstream == from_file(
        encoder, tmp_path, maps, frames
    )
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
                array[:] = rng.integers(1, 65536, array.shape)

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


def test_frames_of_a_file(encoder, tmp_path):
    """The same bitstream from arrays and from a raw file whose format is given; a picture is converted to it."""
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


def test_the_library_exports_its_entry_and_nothing_else(encoder):
    listed = subprocess.run(
        ["nm", "-D", "--defined-only", str(encoder.tools.library)], capture_output=True, text=True, check=True
    ).stdout
    names = [line.split()[-1] for line in listed.splitlines() if " T " in line]
    assert names == ["fprdo_encode"]


# ---- many --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("objects, names", [(1, ("hm", "hm")), (2, ("hm", "hm")), (2, ("hm", "jm")), (1, ("jm", "jm"))])
def test_two_at_once(objects, names):
    """Of one object or of two, in threads; the providers wait for each other, so none begins after the other's end."""
    if "jm" in names:
        optional_tools("jm")
    frames, maps = clip(FMT, 2), [random_map(FMT, seed) for seed in (1, 2)]
    encoders = [Encoder(name) for name in names] if objects == 2 else [Encoder(names[0])] * 2
    both_here = threading.Barrier(2, timeout=60)

    def encode(number, wait=True):
        def provider(picture):
            if wait:
                both_here.wait()
            return maps[number]

        return encoders[number].encode(frames, 32, fmt=FMT, provider=provider).bitstream

    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(encode, range(2)))
    assert both == [encode(number, wait=False) for number in range(2)] and both[0] != both[1]


def test_seconds_of_the_encoder(encoder):
    """User and system time of the encoder, in a worker or not: without Python's, and without what passes while it
    waits."""
    fmt = VideoFormat(144, 112)
    frames = clip(fmt, 2)

    def slow(picture):
        time.sleep(0.5)
        return ones(fmt)

    plain = encoder.encode(frames, 22, fmt=fmt)
    driven = encoder.encode(frames, 22, fmt=fmt, provider=slow, options={}, idse=IdseOptions(qp_map=False))
    assert driven.bitstream == plain.bitstream and driven.wall_seconds > 1
    assert plain.encoder_seconds > 0.05 and 0.3 < driven.encoder_seconds / plain.encoder_seconds < 3


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no /proc")
def test_twenty_in_a_row_leave_nothing():
    encoder, frames, weights = Encoder("hm"), clip(VideoFormat(32, 32), 1), ones(VideoFormat(32, 32))

    def places():
        return {str(path) for path in Path("/dev/shm").glob("fprdo-*")} if Path("/dev/shm").is_dir() else set()

    before = places()

    def encode():
        return encoder.encode(frames, 40, fmt=VideoFormat(32, 32), weights=weights).bitstream

    first = encode()
    threads, memory = threading.active_count(), resident()
    descriptors = len(os.listdir("/proc/self/fd"))
    assert all(encode() == first for _ in range(20))
    assert threading.active_count() <= threads and len(os.listdir("/proc/self/fd")) <= descriptors
    assert resident() - memory < 16 << 20
    assert places() <= before
