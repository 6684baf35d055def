"""Test conditions as data: what is coded, how, at which rates, and what judges it. docs/test-conditions.md has the
keys.

A file is read once and checked whole; nothing here touches a picture, an encoder or a network.
"""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from fractions import Fraction
from pathlib import Path
from typing import Any

from fprdo_bridge.ctc import schema
from fprdo_bridge.ctc.schema import Table
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.files import regular_file
from fprdo_bridge.importance.device import DEFAULT_DEVICE, DEVICES
from fprdo_bridge.importance.weighting import WeightSettings
from fprdo_bridge.settings import DEFAULT_PRESET, PRESETS, IdseOptions
from fprdo_bridge.video.formats import SITINGS, VideoFormat
from fprdo_bridge.video.source import FormatRequest

FOLDER = Path(__file__).resolve().parents[2] / "cfg" / "ctc"
_CONTROL_KEYS = {"qp": "qp", "crf": "crf", "kbps": "abr"}
# How settings of the package are read: by the type of their default, but for these of a map.
_KINDS_OF: dict[type, Callable[[object], Any]] = {
    bool: schema.flag,
    int: schema.whole(-(10**6), 10**6),
    float: schema.number(-1e9, 1e9),
    str: schema.text,
}
_MAP_KINDS: dict[str, Callable[[object], Any]] = {
    "layers": schema.several(schema.text),
    "probes": schema.whole(1, 4096),
    "seed": schema.whole(0, 2**63 - 1),
    "jitter": schema.number(0, 1e6),
    "frames_per_map": schema.whole(1, 10**6),
}
KINDS = ("stock", "idse", "qp-map", "aq", "defaults")


@dataclass(frozen=True)
class Rates:
    """Rate points and what they are: "qp", "crf" or "abr" (kilobit per second)."""

    control: str
    points: tuple[float, ...]


@dataclass(frozen=True)
class Clip:
    """One clip of a set; what is None is read off the file or its name.

    `annotations` is a file of COCO's format whose images, by number, are the frames that are coded. `rates` are by
    coding structure, "" for all others; `intra_period` serves random access alone; `config` is read by the encoder
    after its own configuration file.
    """

    name: str
    file: str
    request: FormatRequest = FormatRequest()
    fps: Fraction | None = None
    frames: int | None = None
    skip: int = 0
    md5: str | None = None
    intra_period: int | None = None
    rates: Mapping[str, Rates] = field(default_factory=dict)
    config: str | None = None
    annotations: str | None = None


@dataclass(frozen=True)
class Set:
    """Sequences that are tabulated together: exactly one of folder, files, coco, clips.

    Attributes
    ----------
    name : of a class
    files : pictures or clips by name, `skimage:NAME` among them
    annotations : truth in COCO's format, of `coco` or `folder`
    count : the first pictures by name; None for all
    overall : whether the set counts in the overall mean
    structures : coding structures under which it is coded; empty for all
    """

    name: str
    folder: str | None = None
    files: tuple[str, ...] = ()
    coco: str | None = None
    annotations: str | None = None
    clips: tuple[Clip, ...] = ()
    count: int | None = None
    overall: bool = True
    structures: tuple[str, ...] = ()


@dataclass(frozen=True)
class EncoderSetting:
    """An encoder under a coding structure.

    `subsample` codes every so many frames only; `config` is a file that takes the place of the structure's own.
    """

    name: str
    encoder: str
    structure: str
    rates: Rates
    options: Mapping[str, str] = field(default_factory=dict)
    config: str | None = None
    subsample: int = 1

    @property
    def inter(self) -> bool:
        """Whether pictures are predicted from others; what `structure` says, of a `config` too."""
        return self.structure != "intra"


@dataclass(frozen=True)
class Variant:
    """A way to run an encoder. A list in the file is a sweep and becomes variants of one group.

    Attributes
    ----------
    name : in tables, such as "idse tau=0.5"
    group, parameter : of a sweep: its name, and the value swept if it is the one number that differs
    idse : settings of the weights, None for plain SSE
    own : by encoder, and whether pictures are predicted from others: the settings of the weights of the preset there
    map : name of the map settings
    encoders : encoders that it is for; empty for all
    rates : instead of the encoder setting's
    mode : of "aq", where the encoder has several
    """

    name: str
    kind: str
    group: str
    parameter: float | None = None
    idse: IdseOptions | None = None
    own: Mapping[tuple[str, bool], IdseOptions] = field(default_factory=dict)
    map: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    encoders: tuple[str, ...] = ()
    rates: Rates | None = None
    mode: int = 1

    def fits(self, encoder: EncoderSetting) -> bool:
        """Whether it is run with that encoder setting."""
        return not self.encoders or encoder.encoder in self.encoders or encoder.name in self.encoders

    def idse_of(self, setting: EncoderSetting) -> IdseOptions | None:
        """The settings of the weights under an encoder setting, None for plain SSE."""
        return self.own.get((setting.encoder, setting.inter), self.idse)


@dataclass(frozen=True)
class TaskSetting:
    """A judge: the plug-in's name, and what it was given."""

    task: str
    arguments: Mapping[str, object] = field(default_factory=dict)
    pool: str | None = None


@dataclass(frozen=True)
class StatisticsSetting:
    """How curves become numbers; see ctc.statistics."""

    method: str = "pchip"
    fit: str = "tasks"
    resamples: int = 500
    seed: int = 0
    matched: tuple[float, ...] = (0.0, 2.0, 5.0, 10.0)


@dataclass(frozen=True)
class Conditions:
    """A file of test conditions; `bits` says what counts as bits: "pictures" or "bitstream". `device` is where all
    networks run."""

    name: str
    title: str
    sets: tuple[Set, ...]
    encoders: tuple[EncoderSetting, ...]
    variants: tuple[Variant, ...]
    maps: Mapping[str, WeightSettings]
    tasks: tuple[TaskSetting, ...]
    anchors: tuple[str, ...]
    request: FormatRequest
    bits: str
    pool: str
    statistics: StatisticsSetting
    source: str = ""
    device: str = DEFAULT_DEVICE


def ready_made() -> list[str]:
    """The names of the files in cfg/ctc."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load(name: str) -> Conditions:
    """The conditions of a file, or of cfg/ctc/NAME.toml.

    Raises
    ------
    FprdoError
        No such file or name, no regular file, no TOML, or a value that is wrong; the message names the key.
    """
    path = Path(name)
    if path.suffix != ".toml":
        path = FOLDER / f"{name}.toml"
        if not path.is_file():
            raise FprdoError(f"{name}: no such conditions; use one of {', '.join(ready_made())}, or name a .toml file")
    try:
        source = regular_file(path).read_text(encoding="utf-8-sig")
        values = tomllib.loads(source)
    except (OSError, UnicodeDecodeError) as error:
        raise FprdoError(
            f"{path}: cannot be read ({getattr(error, 'strerror', None) or error}); check the name"
        ) from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise FprdoError(f"{path}: is no TOML ({error or 'nested too deep'}); correct it") from None
    return parse(values, path.stem, source, str(path))


def parse(values: object, name: str, source: str = "", place: str = "") -> Conditions:
    """The conditions of a parsed file; raises as `load`."""
    top = Table(values, f"{place or name}: ")
    title = top.take("title", schema.text, name)
    bits = top.take("bits", schema.one_of("pictures", "bitstream"), "pictures")
    pool = top.take("pool", schema.one_of("picture", "class", "set"), "picture")
    request = _format(top.table("format"))
    encoders = _encoders(top)
    maps = _maps(top)
    variants = _variants(top, maps, encoders)
    tasks = tuple(_task(table) for table in top.tables("tasks"))
    sets = tuple(_set(table) for table in top.tables("sets", required=True))
    schema.names([one.name for one in sets], top, "sets")
    anchors = top.take(
        "anchors", schema.several(schema.one_of(*(variant.name for variant in variants))), (variants[0].name,)
    )
    statistics = _statistics(top.table("statistics"))
    device = top.take("device", schema.one_of(*DEVICES), DEFAULT_DEVICE)
    top.done()
    return Conditions(
        name, title, sets, encoders, variants, maps, tasks, anchors, request, bits, pool, statistics, source, device
    )


def _format(table: Table) -> FormatRequest:
    found = FormatRequest(
        None,
        table.take("chroma", schema.one_of("400", "420", "422", "444"), None),
        table.take("bit-depth", schema.whole(8, 16), None),
        table.take("matrix", schema.one_of("bt601", "bt709", "bt2020"), None),
        table.take("full-range", schema.flag, None),
        table.take("siting", schema.one_of(*SITINGS), None),
    )
    table.done()
    return found


def _rates(table: Table) -> Rates | None:
    """The rate points of a table, which has at most one of qp, crf and kbps."""
    there = [key for key in _CONTROL_KEYS if key in table]
    if len(there) > 1:
        raise table.error(there[1], f"{there[0]} stands there too; give one of them")
    if not there:
        return None
    control, points = _CONTROL_KEYS[there[0]], table.take(there[0], schema.points)
    if control != "crf" and any(point != int(point) for point in points):
        raise table.error(there[0], "use whole numbers")
    low, high = {"qp": (-48, 63), "crf": (-12, 51), "abr": (1, 10_000_000)}[control]
    for point in points:
        if not low <= point <= high:
            raise table.error(there[0], f"{point:g}: use {low} to {high}")
    return Rates(control, tuple(points if control == "crf" else map(int, points)))


def _encoders(top: Table) -> tuple[EncoderSetting, ...]:
    found = []
    for table in top.tables("encoders", required=True):
        encoder = table.take("encoder", schema.text)
        structure = table.take("structure", schema.text, "intra")
        rates = _rates(table)
        if rates is None:
            raise table.error("qp", "is missing; give rate points as qp, crf or kbps")
        found.append(
            EncoderSetting(
                table.take("name", schema.text, f"{encoder} {structure}"),
                encoder,
                structure,
                rates,
                table.take("options", schema.options, {}),
                table.take("config", schema.text, None),
                table.take("subsample", schema.whole(1, 1000), 1),
            )
        )
        table.done()
    schema.names([one.name for one in found], top, "encoders")
    return tuple(found)


def _maps(top: Table) -> dict[str, WeightSettings]:
    tables, maps = top.table("maps"), {}
    for name in tables.keys():
        table = tables.table(name)
        values: dict[str, Any] = {
            one.name: table.take(
                one.name.replace("_", "-"), _MAP_KINDS.get(one.name) or _KINDS_OF[type(one.default)], one.default
            )
            for one in fields(WeightSettings)
            # Not in conditions: files of single pictures; one device for all networks of a run.
            if one.name not in ("regions", "device")
        }
        try:
            maps[name] = WeightSettings(**values)
        except FprdoError as error:
            raise FprdoError(f"{table.place}: {error}") from None
        table.done()
    return maps or {"default": WeightSettings()}


def _variants(top: Table, maps: dict[str, WeightSettings], encoders: tuple[EncoderSetting, ...]) -> tuple[Variant, ...]:
    found: list[Variant] = []
    groups: list[str] = []
    names = {one.encoder for one in encoders} | {one.name for one in encoders}
    tables = top.tables("variants")
    if not tables:
        return Variant("stock", "stock", "stock"), *_sweep(
            Table({"kind": "idse"}, top.place), "idse", "idse", maps, encoders, {}
        )
    for table in tables:
        kind = table.take("kind", schema.one_of(*KINDS))
        group = table.take("name", schema.text, kind)
        groups.append(group)
        shared: dict[str, Any] = {
            "options": table.take("options", schema.options, {}),
            "encoders": table.take("encoders", schema.several(schema.one_of(*sorted(names))), ()),
            "rates": _rates(table),
        }
        if kind in ("idse", "qp-map"):
            found += _sweep(table, kind, group, maps, encoders, shared)
        elif kind == "aq":
            modes = table.take("mode", schema.one_or_several(schema.whole(1, 3)), (1,))
            found += [
                Variant(f"{group} mode={mode}" if len(modes) > 1 else group, kind, group, mode=mode, **shared)
                for mode in modes
            ]
        else:
            found.append(Variant(group, kind, group, **shared))
        table.done()
    schema.names(groups, top, "variants")
    schema.names([one.name for one in found], top, "variants")
    return tuple(found)


def _sweep(
    table: Table,
    kind: str,
    group: str,
    maps: dict[str, WeightSettings],
    encoders: Iterable[EncoderSetting],
    shared: dict[str, Any],
) -> list[Variant]:
    """The variants of a table: one, or all combinations of what it lists."""
    values: dict[str, tuple[Any, ...]] = {
        "preset": table.take("preset", schema.one_or_several(schema.one_of(*PRESETS)), (DEFAULT_PRESET,)),
        "map": table.take("map", schema.one_or_several(schema.one_of(*maps)), ("",)),
    }
    for one in fields(IdseOptions):
        key = one.name.replace("_", "-")
        if key in table:
            values[one.name] = table.take(key, schema.one_or_several(_KINDS_OF[type(one.default)]))
    swept = [key for key, several in values.items() if len(several) > 1]
    base: dict[str, Any] = {"decisions": 0, "rdoq": 0, "sao": False} if kind == "qp-map" else {}
    variants = []
    for combination in itertools.product(*values.values()):
        settings: dict[str, Any] = dict(zip(values, combination))
        label = " ".join(f"{key.replace('_', '-')}={settings[key]}" for key in swept)
        number = len(swept) == 1 and swept[0] not in ("map", "preset")
        parameter = float(settings[swept[0]]) if number else None
        preset, chosen = settings.pop("preset"), settings.pop("map")
        try:
            idse = IdseOptions.preset(preset, **base | settings)
            tuned = {(one.encoder, one.inter) for one in encoders} if kind == "idse" else ()  # in all decisions
            own = {place: IdseOptions.preset(preset, place[0], inter=place[1], **settings) for place in tuned}
        except FprdoError as error:
            raise FprdoError(f"{table.place}: {error}") from None
        weights = chosen or _map_of(preset, maps)
        variants.append(Variant(f"{group} {label}".strip(), kind, group, parameter, idse, own, weights, **shared))
    return variants


def _map_of(preset: str, maps: dict[str, WeightSettings]) -> str:
    """The map of a preset: the first of `maps`, or one that is added where the preset says how weights are computed."""
    weights = PRESETS[preset].weights
    if not weights:
        return next(iter(maps))
    name = f"preset {preset}"
    maps[name] = WeightSettings(**weights)
    return name


def _task(table: Table) -> TaskSetting:
    task = table.take("task", schema.text)
    pool = table.take("pool", schema.one_of("picture", "class", "set"), None)
    return TaskSetting(task, table.rest(), pool)


def _set(table: Table) -> Set:
    sources = [key for key in ("folder", "files", "coco", "clips") if key in table]
    if len(sources) != 1:
        raise table.error(
            "folder",
            "give exactly one of folder, files, coco, clips" + (f"; there are {', '.join(sources)}" if sources else ""),
        )
    name = table.take("name", schema.text)
    clips = tuple(_clip(one) for one in table.tables("clips"))
    schema.names([clip.name for clip in clips], table, "clips")
    found = Set(
        name,
        table.take("folder", schema.text, None),
        table.take("files", schema.several(schema.text), ()),
        table.take("coco", schema.text, None),
        table.take("annotations", schema.text, None),
        clips,
        table.take("count", schema.whole(1, 10**9), None),
        table.take("overall", schema.flag, True),
        table.take("structures", schema.several(schema.text), ()),
    )
    if found.coco and not found.annotations:
        raise table.error("annotations", "is missing; name the file of COCO's format")
    table.done()
    return found


def _clip(table: Table) -> Clip:
    file = table.take("file", schema.text)
    request = FormatRequest(
        table.take("size", schema.size, None),
        table.take("chroma", schema.one_of("400", "420", "422", "444"), None),
        table.take("bit-depth", schema.whole(8, 16), None),
        table.take("matrix", schema.one_of("bt601", "bt709", "bt2020"), None),
        table.take("full-range", schema.flag, None),
        table.take("siting", schema.one_of(*SITINGS), None),
    )
    if request.size:
        try:
            VideoFormat(*request.size)
        except FprdoError as error:
            raise table.error("size", str(error)) from None
    own = _rates(table)
    rates = {"": own} if own else {}
    by_structure = table.table("rates")
    for structure in by_structure.keys():
        one = by_structure.table(structure)
        found = _rates(one)
        if found is None:
            raise one.error("qp", "is missing; give rate points as qp, crf or kbps")
        rates[structure] = found
        one.done()
    clip = Clip(
        table.take("name", schema.text, Path(file).stem),
        file,
        request,
        table.take("fps", schema.rate, None),
        table.take("frames", schema.whole(1, 10**7), None),
        table.take("skip", schema.whole(0, 10**7), 0),
        table.take("md5", schema.digest, None),
        table.take("intra-period", schema.whole(1, 10**6), None),
        rates,
        table.take("config", schema.text, None),
        table.take("annotations", schema.text, None),
    )
    table.done()
    return clip


def _statistics(table: Table) -> StatisticsSetting:
    default = StatisticsSetting()
    found = StatisticsSetting(
        table.take("bd-rate", schema.one_of("pchip", "akima"), default.method),
        table.take("fit", schema.one_of("tasks", "all", "none"), default.fit),
        table.take("resamples", schema.whole(0, 100_000), default.resamples),
        table.take("seed", schema.whole(0, 2**32), default.seed),
        table.take("matched", schema.several(schema.number(-100, 1000)), default.matched),
    )
    table.done()
    return found
