"""One table of settings: what C, the encoders, the command and the documentation say of it."""

import argparse
import math
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from fprdo_bridge import encoders
from fprdo_bridge.cli.arguments import add_idse_arguments, add_preset_argument, idse_options_of
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.native._idse import ffi, lib
from fprdo_bridge.native.picture import WeightedPicture, default_settings
from fprdo_bridge.settings import (
    BRIDGE_SETTINGS,
    DEFAULT_PRESET,
    INCLUDE,
    SETTINGS,
    IdseOptions,
    c_include,
    option_names,
    table,
)
from fprdo_bridge.video.formats import VideoFormat

ROOT = Path(__file__).resolve().parent.parent
FMT = VideoFormat(8, 8, "400")


def test_the_c_table_is_that_of_the_rows():
    assert INCLUDE.read_text() == c_include(), "run python3 -m fprdo_bridge.settings"


def test_the_structure_has_the_rows_in_order():
    kinds = {"double": float, "int": int}
    fields = [(name, kinds[field.type.cname]) for name, field in ffi.typeof("idse_settings").fields]
    assert fields == [(setting.name, float if setting.kind is float else int) for setting in BRIDGE_SETTINGS]
    expected = {setting.name: setting.default for setting in BRIDGE_SETTINGS}
    assert default_settings() == expected and vars(IdseOptions()).items() >= expected.items()


def values_of(setting) -> list[float]:
    """Values at the ends of the range and beyond."""
    near = [setting.low, setting.high, 0, 1, -1, setting.low - 1, setting.high + 1, 2**31 - 1, -(2**31)]
    if setting.kind is not float:
        return [int(value) for value in near]
    more = [0.5, setting.low - 1e-9, setting.low + 1e-9, setting.high - 1e-9, setting.high + 1e-9, 1e300, 5e-324]
    return [float(value) for value in (*near, *more)] + [math.nan, math.inf, -math.inf]


@pytest.mark.parametrize("setting", BRIDGE_SETTINGS, ids=lambda setting: setting.name)
def test_package_and_encoders_accept_the_same(setting):
    for value in values_of(setting):
        given = vars(IdseOptions()) | {setting.name: value}
        refused = []
        for call in (
            lambda: IdseOptions(**given),
            lambda: WeightedPicture((np.full((8, 8), 256, np.uint16),), {}, FMT, SimpleNamespace(**given)),
        ):
            try:
                call()
            except FprdoError as error:
                refused.append(str(error))
        assert len(refused) in (0, 2), (value, refused)
        if refused:
            name = setting.option("hm")
            assert refused[0].startswith(f"{name} {value}: use {setting.allowed}")
            assert re.fullmatch(rf"{name} is \S+; {re.escape(setting.encoder_allowed)}", refused[1])
            assert math.isnan(value) or math.isclose(float(refused[1].split()[2].rstrip(";")), value, rel_tol=1e-9)


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
@pytest.mark.parametrize("value", ["1", None, [1], np.zeros(2), 1j, object()], ids=lambda value: type(value).__name__)
def test_other_types_are_one_line(setting, value):
    with pytest.raises(FprdoError, match=rf"^{setting.option('hm')} .*: use ") as error:
        IdseOptions(**{setting.name: value})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name, value", [("rdoq", 2.0), ("qp_map", 1.0), ("decisions", 31.0)])
def test_whole_numbers_are_whole(name, value):
    with pytest.raises(FprdoError, match=rf"{value}: use "):
        IdseOptions(**{name: value})


def test_numpys_numbers_are_numbers():
    options = IdseOptions(tau=np.float32(0.5), rdoq=np.int64(1), qp_map=np.bool_(False), decisions=np.uint8(3))
    assert options == IdseOptions(tau=0.5, rdoq=1, qp_map=False, decisions=3)
    assert [type(value) for value in vars(options).values()] == [setting.kind for setting in SETTINGS]
    assert ("IDSEQpMap", "0") in options.options("hm", "w.idse")


@pytest.mark.parametrize("name", encoders.ENCODERS)
def test_options_of_an_encoder(name):
    """What a command line gets is what the encoder's own table has, and what its user may not give himself."""
    given = IdseOptions(tau=2, qp_map=False).options(name, "w.idse")
    rows = re.findall(
        rf'^IDSE_{name.upper()}_SETTING\((\w+), (\w+), .*, "([\w-]+)", "', INCLUDE.read_text(), re.MULTILINE
    )
    assert [option for option, _ in given[1:]] == [option for _, _, option in rows]
    assert {field for _, field, _ in rows} == {
        setting.name for setting in BRIDGE_SETTINGS if name not in setting.without
    }
    assert tuple(option for option, _ in given) == option_names(name)
    assert given[0][1] == "w.idse" and {"2.0", "0"} <= {value for _, value in given}
    assert IdseOptions().options(name, None) == IdseOptions().options(name, "w.idse")[1:]
    codec = encoders.get(name)
    for option in option_names(name):
        assert codec.full_name(option) == option


@pytest.mark.parametrize("name, sign", [("hm", ":"), ("jm", "=")])
def test_overlays_hold_the_default_preset(name, sign):
    text = (ROOT / "cfg" / name / "idse.cfg").read_text()
    found = dict(re.findall(rf"^(IDSE\w+) +{sign} (\S+) +# ", text, re.MULTILINE))
    expected = dict(IdseOptions.preset(DEFAULT_PRESET, name).options(name, None))
    assert {option: float(value) for option, value in found.items()} == {
        option: float(value) for option, value in expected.items()
    }


def test_documentation_has_the_table():
    assert table() in (ROOT / "docs" / "settings.md").read_text()


def test_every_setting_is_an_argument_of_the_command():
    parser = argparse.ArgumentParser(prog="x")
    add_preset_argument(parser)
    add_idse_arguments(parser)
    assert idse_options_of(parser.parse_args([])) == IdseOptions()
    for setting in SETTINGS:
        other = {float: 0.5, int: 1 + (setting.default == 1), bool: False}[setting.kind]
        words = (
            [setting.flag.replace("--", "--no-")]
            if setting.kind is bool
            else [setting.flag, str(max(other, setting.low))]
        )
        chosen = idse_options_of(parser.parse_args(words))
        assert getattr(chosen, setting.name) == max(other, setting.low if setting.kind is not bool else 0)
        assert sum(value != default for value, default in zip(vars(chosen).values(), vars(IdseOptions()).values())) == 1
    text = " ".join(parser.format_help().split())
    for setting in SETTINGS:
        assert setting.help in text or setting.help.replace("-", "- ") in text, setting.name


def test_x264s_help_fits_its_columns():
    lines = re.findall(r'^IDSE_X264_SETTING\(.*, "(.*)"\)$', c_include(), re.MULTILINE)
    assert len(lines) == len(option_names("x264")) - 1
    for text in lines:
        for line in text.replace("\\n", "\n").splitlines():
            assert len(line) <= 80 and re.match(r" {6}--idse-[\w-]+ <\w+> +\w| {30}\S", line), line


def test_x265s_help_fits_its_columns():
    lines = re.findall(r'^IDSE_X265_SETTING\(.*, "(.*)"\)$', c_include(), re.MULTILINE)
    assert len(lines) == len(option_names("x265")) - 1
    for text in lines:
        for line in text.replace("\\n", "\n").splitlines():
            assert len(line) <= 120 and re.match(r" {3}--idse-[\w-]+ <\w+> +\w| {33}\S", line), line


@pytest.mark.parametrize("encoder", ["x264", "x265"])
@pytest.mark.parametrize("setting", BRIDGE_SETTINGS, ids=str)
def test_options_are_read_and_refused_by_their_names(setting, encoder):
    if encoder in setting.without:
        return
    read = {"x264": lib.idse_x264_set, "x265": lib.idse_x265_set}[encoder]
    settings, message = ffi.new("idse_settings *"), ffi.new("char[]", lib.IDSE_MESSAGE_BYTES)
    lib.idse_settings_default(settings)
    option = setting.option(encoder)

    def set_to(text: str) -> str:
        done = read(settings, option.encode(), text.encode(), message)
        assert done in (0, 1) and (done or ffi.string(message))
        return "" if done else ffi.string(message).decode()

    assert set_to(setting.text(setting.high)) == "" and getattr(settings, setting.name) == setting.high
    a_number = "give a number" if setting.kind is float else "give a whole number"
    for text in ("much", "", "1x", "1e999"):
        assert set_to(text) == f"--{option} {text}: {a_number}"
    for text in ("-1", "2147483648", "-2147483649"):
        assert set_to(text) == f"--{option} {text}: {setting.encoder_allowed}"
    if setting.kind is float:
        assert set_to("nan") == f"--{option} nan: {setting.encoder_allowed}"
    assert getattr(settings, setting.name) == setting.high
    assert not read(settings, b"idse-other", b"1", message)
    assert ffi.string(message) == b"--idse-other: no such option"


def test_settings_that_an_encoder_does_not_have_are_no_options():
    settings, message = ffi.new("idse_settings *"), ffi.new("char[]", lib.IDSE_MESSAGE_BYTES)
    assert not lib.idse_x264_set(settings, b"idse-sao", b"1", message)
    assert ffi.string(message) == b"--idse-sao: no such option"
