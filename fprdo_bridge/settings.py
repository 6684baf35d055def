"""The run-time settings of the weighted distortion, one row each.

From these rows come the options of the command and of the encoders, their ranges and help, and the structure that the C
bridge reads them from. A new setting is a new row, and

    python3 -m fprdo_bridge.settings

which writes native/settings.inc again and prints the table of docs/settings.md. What the setting does stands in the
bridge, where it is a field of `idse_settings`.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from fprdo_bridge.errors import FprdoError
from fprdo_bridge.values import shown

__all__ = ["DEFAULT_PRESET", "PRESETS", "SETTINGS", "IdseOptions", "Preset", "Setting", "option_names"]

INCLUDE = Path(__file__).parent / "native" / "settings.inc"


def _camel_case(name: str) -> str:
    return "IDSE" + "".join(word.capitalize() for word in name.split("_"))


def _dashed(name: str) -> str:
    return f"idse-{name}".replace("_", "-")


@dataclass(frozen=True)
class _Family:
    """How an encoder names its options."""

    weights: str  # the weight file
    named: Callable[[str], str]


_HM = _Family("IDSEWeightFile", _camel_case)  # and that of every encoder that is not listed
_DASHED = _Family("idse-weights", _dashed)
_FAMILIES = {"hm": _HM, "jm": _HM, "x264": _DASHED, "x265": _DASHED}


@dataclass(frozen=True)
class Setting:
    """One run-time setting.

    Attributes
    ----------
    name : of the field in `IdseOptions` and in the C structure `idse_settings`
    kind : float, int or bool
    default : of that kind
    low, high : the range, both ends in it
    help : one line, without the default
    metavar : what stands for the value in the command's help
    above : `low` itself is out of the range
    no_limit : 0 is in the range too
    without : encoders that do not have it as an option
    idle : encoders that have the option and nothing that it could change
    of_encoder : the encoder has it without us, under names that its codec knows; the bridge has no such field
    """

    kind: type
    low: float
    high: float
    help: str
    metavar: str | None = None
    above: bool = False
    no_limit: bool = False
    without: tuple[str, ...] = ()
    idle: tuple[str, ...] = ()
    of_encoder: bool = False
    name: str = ""
    default: Any = None

    @property
    def flag(self) -> str:
        """The command's option."""
        return "--" + self.name.replace("_", "-")

    def option(self, encoder: str) -> str:
        """The encoder's option."""
        return _FAMILIES.get(encoder, _HM).named(self.name)

    @property
    def choices(self) -> tuple[int, ...] | None:
        """The values, where they are few."""
        few = self.kind is not float and self.high - self.low < 4
        return tuple(range(int(self.low), int(self.high) + 1)) if few else None

    def accepts(self, value: object) -> bool:
        """Whether a value is of the kind and in the range; a NaN is in none."""
        if self.kind is float:
            number = isinstance(value, Real)
        else:
            number = isinstance(value, Integral) or type(value).__name__ in ("bool", "bool_")  # NumPy's is no number
        try:
            inside = self.low < value if self.above else self.low <= value  # type: ignore[operator]
            return number and bool((inside and value <= self.high) or (self.no_limit and value == 0))  # type: ignore[operator]
        except Exception:  # of a class of its own
            return False

    @property
    def allowed(self) -> str:
        """The range in words."""
        span = f"{self.low:g} to {self.high:g}"
        if self.choices:
            *first, last = map(str, self.choices)
            return f"{', '.join(first)} or {last}"
        if self.no_limit:
            return f"0 for no limit, or {span}"
        if self.above:
            return f"above {self.low:g}, up to {self.high:g}"
        return span if self.kind is float else f"a whole number from {span}"

    @property
    def encoder_allowed(self) -> str:
        """The same in an encoder's messages."""
        if self.above:
            return f"give a value above {self.low:g} and up to {self.high:g}"
        return f"give {'0 for no limit, or ' * self.no_limit}a value from {self.low:g} to {self.high:g}"

    def text(self, value: float) -> str:
        """A value as the encoders' command lines take it."""
        return repr(float(value)) if self.kind is float else f"{value:d}"


def _setting(default: float, kind: type, low: float, high: float, help: str, **more: Any) -> Any:
    return field(default=default, metadata={"setting": Setting(kind, low, high, help, **more)})


@dataclass(frozen=True)
class IdseOptions:
    """Run-time settings of the weighted distortion; the defaults are the encoders'.

    Parameters
    ----------
    tau : float
        0 to 1000: share of plain SSE mixed into the weights, w' = (w + tau) / (1 + tau).
    power : float
        Above 0, up to 1: exponent of the weights.
    clip : float
        Largest weight, 1 to 255 times the mean; 0 for no limit.
    rdoq : int
        0: off, 1: mean weight of the transform unit, 2: one weight per coefficient.
    qp_map : bool
        Whether each quantisation group gets a QP offset from its mean weight.
    qp_map_clip : int
        0 to 12: largest QP offset.
    sao : bool
        Whether SAO decides with the weights.
    decisions : int
        Bit mask, 0 to 31, of the mode decisions that use the weights.
    chroma_qp_offset : int
        -12 to 12: what the encoder adds to the QP of Cb and Cr. Weights move bits from luma to chroma: at equal PSNR of
        chroma its rate rises by 10 to 20 %. An offset of 1 moves them back.
    deblock_offset : int
        -6 to 6: offset of both thresholds of the deblocking filter in units of two QPs, as in the syntax
        (slice_beta_offset_div2 in HEVC, 7.4.7.1, and AVC, 7.4.3). Standard thresholds smooth more than squared error
        and networks want.
    aq_strength : float
        0 to 3: strength of the encoder's own AQ of x264 and x265 (aq-mode 2) beside the weights; 0 for none. It has no
        effect at constant QP.

    Raises
    ------
    FprdoError
        A value is of another type or out of its range.
    """

    tau: float = _setting(1.5, float, 0, 1000, "weight of plain SSE mixed in: w' = (w + tau) / (1 + tau)", metavar="T")
    power: float = _setting(
        1.0,
        float,
        0,
        1,
        "exponent of the weights: w^power, brought back to mean 1, before tau",
        metavar="P",
        above=True,
    )
    clip: float = _setting(
        0.0,
        float,
        1,
        255,
        "largest weight as a multiple of the mean, before tau; 0: no limit",
        metavar="C",
        no_limit=True,
    )
    rdoq: int = _setting(
        2, int, 0, 2, "weights in RDOQ or trellis; 0: off, 1: mean weight of the block, 2: one weight per coefficient"
    )
    qp_map: bool = _setting(
        True, bool, 0, 1, "QP offset round(-3 log2(mean weight)) for every quantisation group or macroblock"
    )
    qp_map_clip: int = _setting(6, int, 0, 12, "largest absolute QP offset, 0 to 12", metavar="N")  # MAX_QP_CLIP in C
    sao: bool = _setting(
        True, bool, 0, 1, "SAO divides lambda by the mean weight of the CTU (HEVC)", without=("x264",), idle=("jm",)
    )
    decisions: int = _setting(
        31, int, 0, 31, "decisions that use the weights, a sum of 1: intra, 2: skip, 4: inter residual, 8: inter CU, "
        "16: Cb and Cr in these", metavar="MASK"
    )  # fmt: skip
    chroma_qp_offset: int = _setting(
        1, int, -12, 12, "added to the QP of Cb and Cr, by the encoder's own option", metavar="N", of_encoder=True
    )
    deblock_offset: int = _setting(
        -4,
        int,
        -6,
        6,
        "offset of both deblocking thresholds, by the encoder's own options",
        metavar="N",
        of_encoder=True,
    )
    aq_strength: float = _setting(
        0.0,
        float,
        0,
        3,
        "strength of the encoder's own aq-mode 2 beside the weights; 0: off",
        metavar="S",
        of_encoder=True,
        without=("hm", "jm"),
    )

    def __post_init__(self) -> None:
        for setting in SETTINGS:
            value = getattr(self, setting.name)
            if not setting.accepts(value):
                raise FprdoError(f"{_camel_case(setting.name)} {shown(value)}: use {setting.allowed}")
            if not isinstance(value, (float, int)):  # NumPy's numbers, which JSON does not know
                object.__setattr__(self, setting.name, setting.kind(value))

    @classmethod
    def preset(
        cls, name: str, encoder: str | None = None, *, inter: bool = False, **given: float | None
    ) -> IdseOptions:
        """The settings of a preset for an encoder (docs/settings.md), and those `given` over them.

        Parameters
        ----------
        name : of the preset
        encoder : such as "x264"; None: the values of encoders that have none of their own
        inter : whether pictures are predicted from others, as under "lowdelay" and "randomaccess"

        Raises
        ------
        FprdoError
            There is no such preset, or a value is of another type or out of its range.
        """
        preset = _preset(name)
        return cls(**{**preset.values(encoder, inter), **_without_none(given)})

    def options(self, encoder: str, weights: Path | str | None) -> list[tuple[str, str]]:
        """The settings as options of an encoder, name and value, and first the weight file, if there is one."""
        given = [] if weights is None else [(_FAMILIES.get(encoder, _HM).weights, str(weights))]
        return given + [
            (setting.option(encoder), setting.text(getattr(self, setting.name)))
            for setting in BRIDGE_SETTINGS
            if encoder not in setting.without
        ]


SETTINGS = tuple(replace(row.metadata["setting"], name=row.name, default=row.default) for row in fields(IdseOptions))
BRIDGE_SETTINGS = tuple(setting for setting in SETTINGS if not setting.of_encoder)


@dataclass(frozen=True)
class Preset:
    """A point between what tasks save and what the picture pays for it; docs/results.md has the measurements.

    Attributes
    ----------
    help : one line
    idse : settings of `IdseOptions` that differ from their defaults
    own : by encoder, what differs from `idse` there, as it gains more with other values
    inter : by encoder, what differs from both where pictures are predicted from others; beside _INTER
    weights : settings of `WeightSettings`, which say how weights are computed, that differ from their defaults
    """

    help: str
    idse: Mapping[str, Any] = field(default_factory=dict)
    own: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    inter: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    weights: Mapping[str, Any] = field(default_factory=dict)

    def values(self, encoder: str | None, inter: bool) -> dict[str, Any]:
        """What differs from the defaults of `IdseOptions` in an encoder; `inter`: see `IdseOptions.preset`."""
        predicted = {**_INTER, **self.inter.get(encoder or "", {})} if inter else {}
        return {**self.idse, **self.own.get(encoder or "", {}), **predicted}


DEFAULT_PRESET = "balanced"  # the defaults of all settings, but for the encoders that have values of their own
# AVC pays for the QP of each macroblock, which eats what a QP map saves. x264 is compared with itself as people run it,
# with adaptive quantisation, which adds to the weights.
# x265 pays more in luma and less in chroma than HM.
# What a weaker deblocking filter leaves in a picture is predicted into those that follow. There a QP map pays in no
# encoder but x265 at its strongest, and shapes of spectra are not those of residuals.
_INTER: Mapping[str, Any] = {"deblock_offset": 0, "chroma_qp_offset": 0}
_HM_INTER: Mapping[str, Any] = {"qp_map": False, "rdoq": 1}
_JM: Mapping[str, Any] = {"qp_map": False, "tau": 0.5}
_X264: Mapping[str, Any] = {"qp_map": False, "tau": 0.3, "aq_strength": 0.3}
_BALANCED: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "own": {"jm": _JM, "x264": _X264, "x265": {"tau": 2.25}},
    "inter": {"hm": {**_HM_INTER, "tau": 0.5}, "x265": {"qp_map": False, "tau": 0.3}},
}
PRESETS = {
    "neutral": Preset(
        "the picture pays nearly nothing",
        {"tau": 5.0},
        {"jm": {**_JM, "tau": 1.5}, "x264": {"qp_map": False, "tau": 4.0}, "x265": {"chroma_qp_offset": 2}},
        {
            "hm": {**_HM_INTER, "tau": 1.5},
            "x264": {"aq_strength": 0.3},
            "x265": {"qp_map": False, "tau": 1.5},
        },
    ),
    "balanced": Preset("most for tasks at a small price of the picture", **_BALANCED),
    "machine": Preset(
        "most for tasks",
        {"tau": 0.15},
        {"jm": {**_JM, "tau": 0.1}, "x264": {**_X264, "aq_strength": 0.5}, "x265": {"tau": 0.3}},
        {"hm": _HM_INTER, "x265": {"aq_strength": 0.5}},
    ),
    "fast": Preset(
        "as balanced, with maps in a fifth of the time",
        **_BALANCED,
        weights={"probes": 4, "signs_per_noise": 4},
    ),
}


def preset_weights(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of `WeightSettings` in a preset, and those `given` over them; None is not given.

    Raises
    ------
    FprdoError
        There is no such preset.
    """
    return {**_preset(name).weights, **_without_none(given)}


def _preset(name: str) -> Preset:
    if name not in PRESETS:
        raise FprdoError(f"preset {shown(name)}: use {', '.join(PRESETS)}")
    return PRESETS[name]


def _without_none(given: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in given.items() if value is not None}


def option_names(encoder: str) -> tuple[str, ...]:
    """All of an encoder's options that are ours."""
    return tuple(name for name, _ in IdseOptions().options(encoder, ""))


def table() -> str:
    """The settings as a table in Markdown."""
    rows = ["| `fprdo` | HM, JM | x264, x265 | default | values | meaning |", "|---|---|---|---|---|---|"]
    for setting in SETTINGS:
        options = [_option_cell(setting, encoders) for encoders in (("HM", "JM"), ("x264", "x265"))]
        cells = [f"`{setting.flag}`", *options, f"{setting.default:g}", setting.allowed, setting.help]
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows) + "\n"


def _option_cell(setting: Setting, encoders: Sequence[str]) -> str:
    """What a setting is called in some encoders, whose options are of one family."""
    having = [encoder for encoder in encoders if encoder.lower() not in setting.without]
    if not having:
        return "none"
    name = "its own" if setting.of_encoder else f"`{setting.option(having[0].lower())}`"
    return name if len(having) == len(encoders) else f"{name}, {having[0]} alone"


# ---- C ---------------------------------------------------------------------------------------------------------------


def c_include() -> str:
    """native/settings.inc."""
    lists = {"": "type, field, initial, valid, allowed, name", **{
        f"{encoder.upper()}_": "type, field, valid, allowed, option, help" for encoder in _FAMILIES}}  # fmt: skip
    lines = [
        "/* SPDX-License-Identifier: BSD-3-Clause",
        " *",
        " * The run-time settings, one line each: of all, and of each encoder's options. Whoever includes this defines the",  # noqa: E501
        " * macros that he wants. Made from fprdo_bridge/settings.py by python3 -m fprdo_bridge.settings: change it there.",  # noqa: E501
        " */",
        "/* clang-format off */",
    ]
    for prefix, arguments in lists.items():
        lines += [f"#ifndef IDSE_{prefix}SETTING", f"#define IDSE_{prefix}SETTING({arguments})", "#endif"]
    for setting in BRIDGE_SETTINGS:
        lines.append(
            f"IDSE_SETTING({_c_type(setting)}, {setting.name}, {setting.text(setting.default)}, {_c_range(setting)}, "
            f'"{setting.encoder_allowed}", "{_camel_case(setting.name)}")'
        )
    for encoder in _FAMILIES:
        for setting in BRIDGE_SETTINGS:
            if encoder not in setting.without:
                lines.append(
                    f"IDSE_{encoder.upper()}_SETTING({_c_type(setting)}, {setting.name}, {_c_range(setting)}, "
                    f'"{setting.encoder_allowed}", "{setting.option(encoder)}", {_c_help(setting, encoder)})'
                )
    return "\n".join(lines + [f"#undef IDSE_{prefix}SETTING" for prefix in lists]) + "\n"


def _c_type(setting: Setting) -> str:
    return "double" if setting.kind is float else "int"


def _c_range(setting: Setting) -> str:
    """A condition on `value` that a NaN does not fulfil."""
    inside = f"value {'>' if setting.above else '>='} {setting.low:g} && value <= {setting.high:g}"
    return f"value == 0 || ({inside})" if setting.no_limit else inside


_HELP = {"x264": (80, "      ", 30), "x265": (120, "   ", 33)}  # line length, before an option, column of the text


def _c_help(setting: Setting, encoder: str) -> str:
    """A string literal: of x264 and x265 whole lines in the columns of their own help, a format of printf."""
    text = setting.help[0].upper() + setting.help[1:]
    if encoder in _HELP:
        width, indent, column = _HELP[encoder]
        option = f"{indent}--{setting.option(encoder)} <{'float' if setting.kind is float else 'integer'}>"
        wrapper = textwrap.TextWrapper(
            width, initial_indent=option.ljust(column - 1) + " ", subsequent_indent=column * " "
        )
        text = wrapper.fill(text.replace("%", "%%")) + "\n"
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


if __name__ == "__main__":
    INCLUDE.write_text(c_include(), encoding="utf-8")
    print(table(), end="")
