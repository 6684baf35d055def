"""Arguments that several commands share: how they are declared, and what they mean."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path

from fprdo_bridge import encoders
from fprdo_bridge.cli import console, standard
from fprdo_bridge.cli.regions import add_region_arguments, regions_of
from fprdo_bridge.cli.values import assignment, file_name, frame_rate, number, size, whole
from fprdo_bridge.encoders import DEFAULT, ENCODERS
from fprdo_bridge.encoders.job import RATE_KINDS
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.importance.device import DEVICES
from fprdo_bridge.importance.regions import NO_REGIONS
from fprdo_bridge.importance.weighting import WeightSettings
from fprdo_bridge.settings import DEFAULT_PRESET, PRESETS, SETTINGS, IdseOptions, preset_weights
from fprdo_bridge.video.formats import SITINGS, coded_format
from fprdo_bridge.video.picture_series import is_series, series_files
from fprdo_bridge.video.source import FormatRequest, Source, open_source

SOURCE_HELP = (
    "picture (PNG, JPEG, WebP), .y4m, .mp4, .mkv or raw .yuv file, numbered pictures like shot-%%04d.png, "
    "skimage:NAME, or - for Y4M on standard input"
)


# ---- groups of arguments ---------------------------------------------------------------------------------------------


def add_format_arguments(parser: argparse.ArgumentParser) -> None:
    """What a source holds or becomes, and which of its frames are taken."""
    group = parser.add_argument_group("format (what a .yuv file holds, or what a picture is converted to)")
    _add_sample_arguments(group, "from the file's name", "420", "8", "bt709", "limited", "left")
    group.add_argument("--skip", type=whole, default=0, metavar="N", help="leave out the first N frames (default 0)")
    group.add_argument("--frames", type=whole, metavar="N", help="only N frames (default: all that follow)")
    group.add_argument(
        "--frame-rate",
        type=frame_rate,
        metavar="R",
        help="pictures per second, like 30 or 30000/1001 (default: from the file, else 30)",
    )


def add_decoded_format_arguments(parser: argparse.ArgumentParser) -> None:
    """What a bitstream holds; FormatRequest leaves open what is not given."""
    group = parser.add_argument_group("format (where the bitstream does not declare it, or declares it wrong)")
    _add_sample_arguments(group, *["as declared"] * 6)


def _add_sample_arguments(group: argparse._ArgumentGroup, *defaults: str) -> None:
    sides, chroma, depth, matrix, span, siting = defaults
    group.add_argument("--size", type=size, metavar="WxH", help=f"luma samples (default: {sides})")
    group.add_argument("--chroma", choices=("400", "420", "422", "444"), help=f"chroma format (default: {chroma})")
    group.add_argument("--bit-depth", type=whole, metavar="N", help=f"bits per sample, 8 to 16 (default: {depth})")
    group.add_argument("--matrix", choices=("bt601", "bt709", "bt2020"), help=f"colour matrix (default: {matrix})")
    group.add_argument("--range", choices=("limited", "full"), help=f"range of code values (default: {span})")
    group.add_argument("--siting", choices=SITINGS, help=f"where chroma samples of 4:2:0 lie (default: {siting})")


def add_coding_arguments(parser: argparse.ArgumentParser) -> None:
    """Everything that an encode with weights depends on but its source."""
    for add in (
        add_preset_argument,
        add_encoder_arguments,
        add_idse_arguments,
        add_weight_arguments,
        add_format_arguments,
    ):
        add(parser)


def add_preset_argument(parser: argparse.ArgumentParser) -> None:
    """A word for many settings, which those that are given replace one by one."""
    parser.add_argument(
        "--preset",
        choices=tuple(PRESETS),
        default=DEFAULT_PRESET,
        help="settings of weights: "
        + "; ".join(
            f"{name}{' (default)' * (name == DEFAULT_PRESET)}: {preset.help}" for name, preset in PRESETS.items()
        )
        + ". What is given besides wins",
    )


def add_weight_arguments(parser: argparse.ArgumentParser) -> None:
    """How weights are computed."""
    group = add_sketch_arguments(parser)
    group.add_argument(
        "--predictor",
        type=file_name,
        metavar="FILE",
        help="network of fprdo distill, which gives the map of its extractor from the picture in one pass",
    )
    group.add_argument(
        "--frames-per-map",
        "--weights-every",
        type=whole,
        metavar="N",
        help="frames that share a map, which is that of their first one "
        f"(default {WeightSettings.frames_per_map}); a still scene keeps its own",
    )
    group.add_argument(
        "--cuts",
        action=argparse.BooleanOptionalAction,
        help="whether a cut begins a new map (default on)",
    )
    add_region_arguments(parser)


def add_sketch_arguments(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """How the map of a picture is computed by sketches of a network."""
    default = WeightSettings()
    group = parser.add_argument_group("weights (how they are computed)")
    group.add_argument(
        "--extractor",
        metavar="NAME",
        help="network: lite0, lite1, lite2 or your own as module:callable; then @SCALES at which it looks, like "
        "lite0@224, and :LAYERS, see docs/extractors.md (default lite0@224,full); variance: as variance AQ, without a "
        "network; none: regions alone",
    )
    group.add_argument(
        "--layer",
        action="append",
        metavar="NAME",
        help="feature map to preserve, repeatable (a judge names its own: --measure NAME:LAYER)",
    )
    group.add_argument(
        "--probes",
        type=whole,
        metavar="K",
        help=f"Jacobian sketches per map (default {default.probes})",
    )
    group.add_argument(
        "--signs-per-noise",
        type=whole,
        metavar="N",
        help="sketches that share a noise and a forward pass; more are faster (default 1)",
    )
    group.add_argument("--seed", type=whole, metavar="N", help=f"of the sketches (default {default.seed})")
    group.add_argument(
        "--jitter",
        type=number,
        metavar="SIGMA",
        help=f"noise at which sketches are taken, in 8-bit code values (default {default.jitter:g})",
    )
    add_device_argument(group)
    return group


def add_device_argument(group: argparse._ActionsContainer) -> None:
    """Where networks run."""
    group.add_argument(
        "--device",
        choices=DEVICES,
        help="where networks run (default auto: a GPU if torch sees one, else the processor)",
    )


def add_idse_arguments(parser: argparse.ArgumentParser) -> None:
    """How the encoder uses weights."""
    group = parser.add_argument_group("weights at run time (the encoder's IDSE options)")
    for setting in SETTINGS:
        text = setting.help.replace("%", "%%")
        if setting.kind is bool:
            group.add_argument(
                setting.flag,
                action=argparse.BooleanOptionalAction,
                help=f"{text} (default {'on' if setting.default else 'off'})",
            )
        else:
            group.add_argument(
                setting.flag,
                type=number if setting.kind is float else whole,
                choices=setting.choices,
                metavar=setting.metavar,
                help=f"{text} (default {setting.default:g})",
            )


def add_encoder_arguments(parser: argparse.ArgumentParser) -> None:
    """Which encoder, and its own options."""
    group = parser.add_argument_group("encoder")
    group.add_argument("--encoder", choices=tuple(ENCODERS), default=DEFAULT, help="(default %(default)s)")
    group.add_argument(
        "--config",
        default="intra",
        metavar="NAME|FILE",
        help="intra (default), lowdelay, randomaccess, or an encoder configuration file",
    )
    group.add_argument(
        "--rate-control",
        choices=RATE_KINDS,
        default="qp",
        help="what -q is: QP (default), or, of encoders that have it, constant rate factor, or kilobit per second "
        "in two passes",
    )
    group.add_argument(
        "--option",
        type=assignment,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="further encoder option, repeatable, like --option SAO=0",
    )


# ---- what they mean --------------------------------------------------------------------------------------------------


def sequence_of(options: argparse.Namespace) -> Source:
    """The source with what its options say about format and frames; says what it has noted."""
    return open_named(options.source, options)


def open_named(name: str, options: argparse.Namespace) -> Source:
    """The source `name`, as `sequence_of`."""
    if name == standard.NAME:
        name = str(standard.source_file(options.frames, options.skip))
    source = open_source(name, format_request_of(options), options.frames, options.frame_rate, options.skip)
    for note in source.notes:
        console.say(note)
    return source


def format_request_of(options: argparse.Namespace) -> FormatRequest:
    """The settings of add_format_arguments()."""
    return FormatRequest(
        options.size,
        options.chroma,
        options.bit_depth,
        options.matrix,
        None if options.range is None else options.range == "full",
        options.siting,
    )


def weight_settings_of(options: argparse.Namespace) -> WeightSettings:
    """The settings of add_weight_arguments() or add_sketch_arguments(), and of the preset where they are not given."""
    own = ("layers", "regions")
    given = {one.name: getattr(options, one.name, None) for one in fields(WeightSettings) if one.name not in own}
    layers = tuple(options.layer) if options.layer else None
    if given["predictor"] and (options.extractor or layers):
        raise FprdoError(
            f"--predictor {options.predictor}: gives the maps of the extractor it was made from; leave --extractor and "
            "--layer out"
        )
    regions = regions_of(options) if "mask" in options else NO_REGIONS
    return WeightSettings(**preset_weights(options.preset, given), layers=layers, regions=regions)


def idse_options_of(options: argparse.Namespace, encoder: str | None = None, inter: bool = False) -> IdseOptions:
    """The settings of add_idse_arguments(), and where they are not given of the preset (IdseOptions.preset)."""
    given = {setting.name: getattr(options, setting.name) for setting in SETTINGS}
    return IdseOptions.preset(options.preset, encoder, inter=inter, **given)


def coding_options_of(options: argparse.Namespace) -> IdseOptions:
    """`idse_options_of` for the encoder and the configuration of add_coding_arguments()."""
    inter = encoders.get(options.encoder).predicts(options.config, dict(options.option))
    return idse_options_of(options, options.encoder, inter)


def say_idle_settings(options: argparse.Namespace) -> None:
    """Say which of the settings of add_coding_arguments() that are given and switched on have no effect."""
    for setting in SETTINGS:
        never = options.encoder in (*setting.without, *setting.idle)
        idle = never or setting.name == "aq_strength" and options.rate_control == "qp"
        if idle and getattr(options, setting.name):
            where = encoders.get(options.encoder).title + " at constant QP" * (not never)
            console.say(f"{setting.flag} has no effect in {where}")


def check_weights(weights: Path, source: Source, force: bool) -> None:
    """Refuse weights of other pictures; say so where that cannot be told. Nothing is looked at if the user insists.

    Weights of another size or chroma format are left to whoever uses them, whose message says more.
    """
    from fprdo_bridge.importance.idse_file import IdseFile
    from fprdo_bridge.importance.source_check import check_source

    if force:
        return
    coded = coded_format(source.fmt)
    with IdseFile(weights) as file:
        layout = file.layout
        if (layout.width, layout.height, layout.chroma) == (coded.width, coded.height, coded.chroma):
            remark = check_source(file, source)
            if remark:
                console.say(remark)


def add_force_argument(parser: argparse.ArgumentParser) -> None:
    """The user's word that weights of other pictures are meant."""
    parser.add_argument(
        "--force-weights", action="store_true", help="use the weights though they were computed from other pictures"
    )


def keep_inputs(outputs: Iterable[Path | None], inputs: Iterable[str | Path | None]) -> None:
    """Refuse to write over a file that is read, one of numbered pictures among them."""
    named = [Path(name) for name in inputs if name is not None]
    read = [path for name in named for path in (series_files(name) if is_series(name) else [name])]
    for output in outputs:
        if output is not None and output.exists() and any(path.exists() and output.samefile(path) for path in read):
            raise FprdoError(f"{output}: is read by this command; give the output another name")
