"""Presets: words for many settings, the same in the command, in test conditions and in Python."""

import argparse
from dataclasses import fields

import pytest

from fprdo_bridge import encoders
from fprdo_bridge.cli.arguments import (
    add_idse_arguments,
    add_preset_argument,
    add_weight_arguments,
    idse_options_of,
    weight_settings_of,
)
from fprdo_bridge.ctc.conditions import load
from fprdo_bridge.encoders import ENCODERS
from fprdo_bridge.encoders.structures import KINDS
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.importance.weighting import WeightSettings
from fprdo_bridge.settings import DEFAULT_PRESET, PRESETS, IdseOptions


def settings_of(preset: str) -> tuple[IdseOptions, WeightSettings]:
    return IdseOptions.preset(preset), WeightSettings(**PRESETS[preset].weights)


def parsed(*words: str, encoder: str | None = None) -> tuple[IdseOptions, WeightSettings]:
    parser = argparse.ArgumentParser()
    for add in (add_preset_argument, add_idse_arguments, add_weight_arguments):
        add(parser)
    options = parser.parse_args(words)
    return idse_options_of(options, encoder), weight_settings_of(options)


def test_the_default_preset_is_the_defaults():
    assert settings_of(DEFAULT_PRESET) == (IdseOptions(), WeightSettings()) == parsed()


@pytest.mark.parametrize("preset", PRESETS)
def test_the_command_knows_each(preset):
    assert parsed("--preset", preset) == settings_of(preset)
    assert PRESETS[preset].help and "\n" not in PRESETS[preset].help


@pytest.mark.parametrize("inter", [False, True])
@pytest.mark.parametrize("encoder", [None, *ENCODERS])
def test_no_two_presets_are_the_same(encoder, inter):
    found = {(IdseOptions.preset(name, encoder, inter=inter), settings_of(name)[1]) for name in PRESETS}
    assert len(found) == len(PRESETS)


@pytest.mark.parametrize("preset", PRESETS)
def test_encoders_may_have_values_of_their_own(preset):
    generic = IdseOptions.preset(preset)
    assert set(PRESETS[preset].own) <= set(ENCODERS)
    for encoder in ENCODERS:
        own, parsed_own = IdseOptions.preset(preset, encoder), parsed("--preset", preset, encoder=encoder)[0]
        differing = {one.name for one in fields(own) if getattr(own, one.name) != getattr(generic, one.name)}
        assert own == parsed_own and differing == set(PRESETS[preset].own.get(encoder, {}))
        assert IdseOptions.preset(preset, encoder, tau=9.0).tau == 9 == parsed("--tau", "9", encoder=encoder)[0].tau


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("encoder", [None, *ENCODERS])
def test_pictures_that_are_predicted_keep_the_filters_of_the_encoder(preset, encoder):
    own, inter = IdseOptions.preset(preset, encoder), IdseOptions.preset(preset, encoder, inter=True)
    assert own.deblock_offset == -4 and own.chroma_qp_offset in (1, 2)
    assert (inter.deblock_offset, inter.chroma_qp_offset) == (0, 0)
    differing = {one.name for one in fields(own) if getattr(own, one.name) != getattr(inter, one.name)}
    assert differing <= {"deblock_offset", "chroma_qp_offset", *PRESETS[preset].inter.get(encoder, {})}
    assert IdseOptions.preset(preset, encoder, inter=True, deblock_offset=-2).deblock_offset == -2


@pytest.mark.parametrize("encoder", ENCODERS)
def test_an_encoder_knows_whether_pictures_are_predicted(tmp_path, encoder):
    codec = encoders.get(encoder)
    option = codec.intra_period_option
    assert [codec.predicts(word, {}) for word in KINDS] == [False, True, True]
    assert codec.predicts("intra", {option: "8"}) and not codec.predicts("lowdelay", {option: "1"})
    file, mark = tmp_path / "own.cfg", ":" if encoder == "hm" else "="
    for text, predicted in (("", True), (f"{option} {mark} 1\n", False), (f"{option} {mark} 32\n", True)):
        file.write_text(text)
        assert codec.predicts(str(file), {}) is codec.predicts(file, {}) is predicted
    with pytest.raises(FprdoError, match=r"gone\.cfg: no such file"):
        codec.predicts(tmp_path / "gone.cfg", {})


@pytest.mark.parametrize("preset", PRESETS)
def test_what_is_given_wins(preset):
    idse, weights = settings_of(preset)
    words = ("--preset", preset, "--tau", "7", "--extractor", "lite1", "--probes", "3", "--chroma-qp-offset", "-4")
    given_idse, given_weights = parsed(*words)
    assert (given_idse.tau, given_idse.chroma_qp_offset) == (7, -4)
    assert (given_weights.extractor, given_weights.probes) == ("lite1", 3)
    for given, own, but in ((given_idse, idse, "tau chroma_qp_offset"), (given_weights, weights, "extractor probes")):
        assert all(getattr(given, one.name) == getattr(own, one.name) for one in fields(own) if one.name not in but)


def test_zero_is_given_too():
    assert parsed("--preset", "machine", "--tau", "0", "--no-qp-map")[0].tau == 0
    assert not parsed("--no-qp-map")[0].qp_map


def test_an_unknown_preset_is_one_line():
    with pytest.raises(FprdoError, match=r"^preset 'best': use neutral, balanced, machine, fast$"):
        IdseOptions.preset("best")


CONDITIONS = """
[[sets]]
name = "s"
files = ["skimage:chelsea"]

{encoders}
[[variants]]
kind = "idse"
preset = {preset}
{more}
[[tasks]]
task = "features"
"""
SETTINGS = "\n".join(
    f'[[encoders]]\nencoder = "{encoder}"\nstructure = "{structure}"\nqp = [27, 32, 37, 42]\n'
    for encoder in ENCODERS
    for structure in ("intra", "lowdelay")
)


def alone(tmp_path, variant: str):
    path = tmp_path / "alone.toml"
    path.write_text(
        CONDITIONS.format(encoders=SETTINGS, preset='"balanced"', more="").replace('kind = "idse"', variant)
    )
    return path


def conditions(tmp_path, preset: str, more: str = ""):
    path = tmp_path / "c.toml"
    path.write_text(CONDITIONS.format(encoders=SETTINGS, preset=preset, more=more))
    return load(str(path))


def test_conditions_sweep_over_presets(tmp_path):
    found = conditions(tmp_path, '["neutral", "balanced", "machine", "fast"]')
    for name, variant in zip(PRESETS, found.variants, strict=True):
        assert variant.name == f"idse preset={name}" and variant.parameter is None
        assert (variant.idse, found.maps[variant.map]) == settings_of(name)


def test_conditions_run_an_encoders_own_values(tmp_path):
    found = conditions(tmp_path, '["neutral", "machine"]')
    assert len(found.encoders) == 2 * len(ENCODERS)
    for variant, name in zip(found.variants, ["neutral", "machine"]):
        for one in found.encoders:
            expected = IdseOptions.preset(name, one.encoder, inter=one.structure == "lowdelay")
            assert variant.idse_of(one) == expected
    (given,) = conditions(tmp_path, '"machine"', "tau = 2").variants
    assert {given.idse_of(one).tau for one in found.encoders} == {2}
    (qp_map,) = load(str(alone(tmp_path, 'kind = "qp-map"'))).variants
    assert {qp_map.idse_of(one) for one in found.encoders} == {IdseOptions(decisions=0, rdoq=0, sao=False)}


def test_in_conditions_too_what_is_given_wins(tmp_path):
    more = 'tau = [5, 6]\nmap = "mine"\n[maps.mine]\nprobes = 2\n'
    found = conditions(tmp_path, '"fast"', more)
    assert [variant.idse.tau for variant in found.variants] == [5, 6]
    assert {found.maps[variant.map].probes for variant in found.variants} == {2}
    assert [variant.parameter for variant in found.variants] == [5, 6]


def test_an_unknown_preset_in_conditions(tmp_path):
    with pytest.raises(FprdoError, match=r"c\.toml: variants\[0\]\.preset: .*use one of neutral, balanced"):
        conditions(tmp_path, '"best"')
