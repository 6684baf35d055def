"""The stock bitstream where weights say nothing, a decodable and repeatable one where they do."""

import pytest
from coding import STOCK, Coding
from oracles import random_map, same
from subject import SUBJECTS, Encodes

from fprdo_bridge.encoders.job import Rate
from fprdo_bridge.importance.idse_file import ones
from fprdo_bridge.settings import IdseOptions
from fprdo_bridge.video.formats import VideoFormat


@pytest.mark.parametrize(
    ("subject", "case"), [(name, case) for name in SUBJECTS for case in SUBJECTS[name].cases], indirect=["subject"]
)
def test_stock_without_a_say_and_decodable_with_one(tmp_path, subject, tools, case):
    case = subject.cases[case]
    coding = Coding(subject, tools, tmp_path, case.fmt, case)
    count = -(-case.frames // case.frames_per_map)
    flat = coding.maps("ones", [ones(case.fmt)] * count, frames_per_map=case.frames_per_map)
    some = coding.maps(
        "random", [random_map(case.fmt, seed) for seed in range(count)], frames_per_map=case.frames_per_map
    )
    random = coding.weighted(some, idse=IdseOptions(tau=0.1, qp_map=case.qp_map, qp_map_clip=case.qp_map_clip))
    logs = coding.run(
        stock=None,
        absent=coding.job,
        random=random,
        ones=coding.weighted(flat, idse=IdseOptions(tau=0.7, power=0.5, clip=3, qp_map=case.qp_map)),
        **{"again": random} if "threads" in case.options else {},
    )

    assert same(tmp_path, STOCK, "absent") and logs["absent"].idse is None
    assert same(tmp_path, STOCK, "ones")
    assert "again" not in logs or same(tmp_path, "random", "again")
    coding.check_decoders("random", case.libav)
    for name in ("ones", "random"):
        summary = logs[name].idse
        assert summary.pictures == case.frames
        assert summary.unweighted == 0 and summary.masked == 0 and (summary.weighted > 0) == case.decides
    said = logs["random"].idse
    if case.lossless:
        assert (tmp_path / "random.yuv").read_bytes() == coding.job.source.read_bytes()
    else:
        assert case.differs is None or same(tmp_path, STOCK, "random") != case.differs
        assert case.quantises is None or (said.rdoq > 0) == case.quantises
        assert not case.qp_map or not case.offsets or said.qp_offset_min < said.qp_offset_max
    flat_said = logs["ones"].idse
    assert flat_said.qp_groups == 0 or flat_said.qp_offset_min == flat_said.qp_offset_max == 0


@pytest.mark.parametrize("end", [0, 1], ids=["smallest", "largest"])
def test_qp_offsets_stay_in_the_range_of_qp(tmp_path, subject, tools, end):
    fmt = VideoFormat(88, 72)
    coding = Coding(subject, tools, tmp_path, fmt, Encodes(options=subject.group_options))
    weights = coding.maps("random", [random_map(fmt, 1)])
    job = coding.weighted(weights, idse=IdseOptions(tau=0, qp_map_clip=12), rate=Rate("qp", subject.extreme_qps[end]))
    said = coding.run(random=job)["random"].idse
    assert said.qp_offset_min < -3 and said.qp_offset_max > 3
    coding.check_decoders("random")
