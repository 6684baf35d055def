"""cfg/NAME/idse.cfg, with which users run an encoder without the package: the default preset, the same bitstream."""

from dataclasses import replace
from pathlib import Path

import pytest
from coding import Coding
from oracles import random_map, same
from subject import SUBJECTS, Encodes

from fprdo_bridge.encoders.structures import KINDS
from fprdo_bridge.settings import DEFAULT_PRESET, IdseOptions
from fprdo_bridge.video.formats import VideoFormat

CONFIGS = Path(__file__).resolve().parents[2] / "cfg"
OVERLAYS = {name: CONFIGS / name / "idse.cfg" for name in SUBJECTS if (CONFIGS / name / "idse.cfg").exists()}


@pytest.mark.parametrize("subject", OVERLAYS, indirect=True)
def test_an_overlay_holds_the_default_preset(subject):
    path = OVERLAYS[subject.codec.name]
    values = dict(subject.codec.parse_config(path.read_text(), path))
    balanced = IdseOptions.preset(DEFAULT_PRESET, subject.codec.name)
    defaults = dict(balanced.options(subject.codec.name, None))
    ours = {name: float(values.pop(name)) for name in list(values) if name.startswith("IDSE")}
    assert ours == {
        name: float(value)
        for name, value in defaults.items()
        if name in ours or name.removeprefix("IDSE").lower() not in subject.without_effect
    }
    assert values == subject.codec.weighted_options(balanced)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("subject", OVERLAYS, indirect=True)
def test_an_overlay_makes_the_packages_bitstream(tmp_path, subject, tools, kind):
    fmt, frames = VideoFormat(72, 56), 3
    coding = Coding(subject, tools, tmp_path, fmt, Encodes(kind, frames, 32))
    weights = coding.maps("w", [random_map(fmt, seed) for seed in range(frames)])
    job, overlay = coding.job, OVERLAYS[subject.codec.name]
    balanced = IdseOptions.preset(DEFAULT_PRESET, subject.codec.name)
    logs = coding.run(
        package=coding.weighted(weights, idse=balanced, options=subject.codec.weighted_options(balanced)),
        stock=None,
        overlay=replace(job, config=(*job.config, overlay), options={"IDSEWeightFile": str(weights)}),
    )
    assert same(tmp_path, "package", "overlay") and not same(tmp_path, "overlay", "stock")
    assert logs["package"].idse == logs["overlay"].idse
    coding.check_decoders("overlay")
