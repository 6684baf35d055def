"""An encoder's own rate control with weights: bits stay within its accuracy, buffers are kept, the rest is refused."""

from pathlib import Path

import pytest
from clips import make_job
from oracles import region_map, write_maps

from fprdo_bridge.encoders.hm import HM
from fprdo_bridge.encoders.jm import JM
from fprdo_bridge.encoders.job import EncodeJob, IdseOptions
from fprdo_bridge.encoders.running import EncodeResult, encode
from fprdo_bridge.encoders.x264 import X264
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.video.formats import VideoFormat

FMT = VideoFormat(176, 96)
FRAMES = 50
RATE = 30


def weights_of(folder: Path, fmt: VideoFormat, frames: int) -> Path:
    """Weights of the left half nine times those of the right."""
    one, _ = region_map(fmt, slice(0, fmt.height), slice(0, fmt.width // 2), 9)
    return write_maps(folder / "weights.idse", [one], fmt, frame_count=frames, frames_per_map=frames)


def job_of(folder: Path, tools, weighted: bool, **arguments) -> EncodeJob:
    weights = weights_of(folder, FMT, FRAMES) if weighted else None
    return make_job(
        folder,
        FMT,
        tools,
        codec=X264,
        frames=FRAMES,
        kind="randomaccess",
        recon=None,
        weights=weights,
        idse=IdseOptions(tau=0),
        **arguments,
    )


def lowest_fullness(result: EncodeResult, kbit: float, buffer: float, start: float = 0.9) -> float:
    """Of a decoder's buffer (H.264 annex C) into which `kbit` per second flow, in kbit; below 0 it has run dry."""
    fullness = lowest = start * buffer
    for picture in result.log.pictures:
        fullness -= picture.bits / 1000
        lowest = min(lowest, fullness)
        fullness = min(buffer, fullness + kbit / RATE)
    return lowest


@pytest.mark.parametrize("rate, value", [("crf", 20), ("abr", 300)])
def test_vbv_is_kept_with_weights(tmp_path, x264_tools, rate, value):
    limits = {"vbv-maxrate": "300", "vbv-bufsize": "60"}
    free = encode(X264, job_of(tmp_path, x264_tools, True, rate="crf", qp=20), x264_tools)
    assert lowest_fullness(free, 300, 60) < 0, "the limits matter"
    for weighted in (False, True):
        job = job_of(tmp_path, x264_tools, weighted, rate=rate, qp=value, options=limits)
        kept = encode(X264, job, x264_tools)
        assert lowest_fullness(kept, 300, 60) > 0 and kept.bits < free.bits


@pytest.mark.parametrize("kbit", [60, 200])
def test_an_average_bit_rate_is_met_with_weights(tmp_path, x264_tools, kbit):
    missed = []
    for weighted in (False, True):
        job = job_of(tmp_path, x264_tools, weighted, rate="abr", qp=kbit)
        missed.append(abs(encode(X264, job, x264_tools).kbps / kbit - 1))
    assert missed[1] < max(0.05, 1.5 * missed[0]), missed


@pytest.mark.parametrize("kbit", [60, 200])
@pytest.mark.parametrize("level", ["0", "1"], ids=["picture", "ctu"])
def test_hm_meets_its_target_as_well_as_without_weights(tmp_path, tools, kbit, level):
    """The offsets of the map lie around the QP of the controller, which is not told of them."""
    options = {
        "RateControl": "1",
        "TargetBitrate": str(1000 * kbit),
        "KeepHierarchicalBit": "2",
        "LCULevelRateControl": level,
    }
    rates, frames = [], 13
    for weighted in (False, True):
        weights = weights_of(tmp_path, FMT, frames) if weighted else None
        shared = dict(kind="lowdelay", frames=frames, recon=None, weights=weights, idse=IdseOptions(tau=0))
        job = make_job(tmp_path, FMT, tools, options=options | {"MaxCuDQPDepth": "1"}, **shared)
        result = encode(HM, job, tools)
        rates.append(result.kbps)
        assert not weighted or result.log.idse.qp_offset_max - result.log.idse.qp_offset_min >= 6
    missed = [abs(rate / kbit - 1) for rate in rates]
    assert missed[1] < missed[0] + 0.05, rates


def test_rate_control_of_jm_is_refused(tmp_path, jm_tools):
    fmt, options = VideoFormat(64, 48), {"RateControlEnable": "1", "RCUpdateMode": "1"}
    job = make_job(tmp_path, fmt, jm_tools, codec=JM, options=options, weights=weights_of(tmp_path, fmt, 1))
    with pytest.raises(FprdoError, match="cannot be combined with RateControlEnable; "):
        encode(JM, job, jm_tools)
    assert not job.bitstream.exists()
