"""The command fprdo."""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import signal
import sys
import tempfile
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from fprdo_bridge import __version__
from fprdo_bridge.encoders import ENCODERS
from fprdo_bridge.encoders.job import EncodeJob, IdseOptions
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.importance.weighting import WeightSettings
from fprdo_bridge.progress import percentage
from fprdo_bridge.video.pictures import frame_to_picture
from fprdo_bridge.video.source import FormatRequest, Source, open_source

# Before torch is loaded: OpenMP threads that spin while they wait starve the encoders beside them, and one another. Four
# sketches beside two HM encodes took 2 to 15 s with spinning and 1 s without.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

QUICKSTART_PICTURES = ("skimage:astronaut", "skimage:chelsea", "skimage:coffee", "skimage:rocket")


def say(line: str) -> None:
    """Progress goes to standard error, so that standard output holds results alone; nowhere if nobody listens."""
    if sys.stderr is None:
        return
    try:
        print(line, file=sys.stderr, flush=True)
    except BrokenPipeError:
        sys.stderr = None


def _fail(message: str) -> int:
    """Say what is wrong in one line, whatever stands in file names; returns the exit status."""
    say("fprdo: error: " + message.replace("\n", "\\n").replace("\r", "\\r"))
    return 2


# ---- commands --------------------------------------------------------------------------------------------------------

def weights(options: argparse.Namespace) -> None:
    """Compute importance weights."""
    from fprdo_bridge.importance.weighting import write_weights

    sequence, settings = sequence_of(options), weight_settings_of(options)
    path = options.output or Path(f"{sequence.name}.idse")
    _keep_inputs([path], [options.source])
    write_weights(sequence, settings, path, progress=percentage(f"weights of {sequence.name}", say))
    if options.json:
        print(json.dumps({"weights": str(path), "width": sequence.fmt.width, "height": sequence.fmt.height,
                          "frames": sequence.frames}))
    else:
        print(f"{path}: weights of {sequence.fmt.width}x{sequence.fmt.height}, {sequence.frames} "
              f"frame{'s' if sequence.frames > 1 else ''}")


def encode(options: argparse.Namespace) -> None:
    """Encode a picture or a raw file."""
    from fprdo_bridge import encoders, toolchain
    from fprdo_bridge.encoders import running
    from fprdo_bridge.video.formats import coded_format
    from fprdo_bridge.importance.weighting import write_weights

    if options.plain and options.weights:
        raise FprdoError(f"--plain encodes without weights, --weights {options.weights} with; leave one out")
    codec, tools = encoders.get(options.encoder), toolchain.find(options.encoder)
    sequence, idse = sequence_of(options), idse_options_of(options)
    _keep_inputs([options.output, options.output.with_name(f"{options.output.name}.log"), options.recon], [options.source, options.weights])
    config = config_of(options, codec, sequence, tools)
    with tempfile.TemporaryDirectory(prefix="fprdo-") as folder:
        extra = {} if options.plain else codec.weighted_options(idse)
        job = EncodeJob(source=sequence.yuv(Path(folder)), fmt=sequence.fmt, frames=sequence.frames, qp=options.qp,
                        bitstream=options.output, recon=options.recon, config=(config,),
                        options=extra | dict(options.option), weights=options.weights, idse=idse,
                        frame_rate=sequence.frame_rate, rate=options.rate_control, title=sequence.origin)
        running.check(codec.ENCODER, job)
        if not options.plain and job.weights is None:
            job = replace(job, weights=Path(folder) / "weights.idse")
            write_weights(sequence, weight_settings_of(options), job.weights,
                          progress=percentage(f"weights of {sequence.name}", say))
        for line in encoders.remarks(options.encoder, job.config, job.options):
            say(line)
        many = sequence.frames > 1
        result = codec.encode(job, tools, progress=(lambda p: say(f"POC {p.poc}: {p.bits} bits")) if many else None)
    for note in result.log.notes:
        say(f"{options.encoder}: {note}")
    summary = {"bitstream": str(result.bitstream), "bits": result.bits,
               "psnr": [value if math.isfinite(value) else None for value in result.log.psnr],  # JSON has no infinity
               "seconds": result.log.seconds, "log": result.log_file and str(result.log_file),
               "idse": vars(result.log.idse) if result.log.idse else None}
    if options.json:
        print(json.dumps(summary))
    else:
        psnr = "".join(f", {name} {value:.2f} dB" for name, value in zip(("Y", "Cb", "Cr"), result.log.psnr))
        fmt = sequence.fmt
        odd = "" if coded_format(fmt) == fmt else f"; to decode, give --size {fmt.width}x{fmt.height}"
        print(f"{result.bitstream}: {result.bits} bits{psnr}, {result.log.seconds:.1f} s{odd}")


def decode(options: argparse.Namespace) -> None:
    """Decode a bitstream into a picture or a raw file."""
    from fprdo_bridge import toolchain
    from fprdo_bridge.bitstream.decoders import (bitstream_codec, bitstream_format, check_complete, check_decoder,
                                              decode_hm, decode_jm, decode_libav)
    from fprdo_bridge.video.pictures import save_picture
    from fprdo_bridge.video.raw import read_yuv, write_yuv

    _keep_inputs([options.output], [options.bitstream])
    fmt = _format_request(options).apply(bitstream_format(options.bitstream))
    decoder = options.decoder or {"hevc": "hm", "h264": "jm" if toolchain.built(["jm"]) else "libavcodec"}[
        bitstream_codec(options.bitstream)]
    check_decoder(options.bitstream, decoder)
    check_complete(options.bitstream, decoder, fmt)
    with tempfile.TemporaryDirectory(prefix="fprdo-") as folder:
        if decoder in ("hm", "jm"):
            raw = Path(folder) / "decoded.yuv"
            {"hm": decode_hm, "jm": decode_jm}[decoder](options.bitstream, toolchain.find(decoder), raw, fmt)
            frames = read_yuv(raw, fmt)
        else:
            frames = decode_libav(options.bitstream, fmt)
        if options.output.suffix.lower() == ".yuv":
            count = write_yuv(options.output, frames, fmt)
        else:
            decoded = list(zip(range(2), frames))
            if len(decoded) > 1:
                raise FprdoError(f"{options.bitstream}: has several pictures and {options.output} holds one; "
                                 "decode to a .yuv file")
            save_picture(options.output, frame_to_picture(decoded[0][1], fmt))
            count = 1
    print(f"{options.output}: {count} picture{'s' if count > 1 else ''} of {fmt.width}x{fmt.height}, "
          f"4:{fmt.chroma[1]}:{fmt.chroma[2]}, {fmt.bit_depth} bit")


def compare(options: argparse.Namespace) -> None:
    """SSE against IDSE on given pictures and QPs."""
    from fprdo_bridge import toolchain
    from fprdo_bridge.report import tables
    from fprdo_bridge.ctc.compare import CompareSettings
    from fprdo_bridge.ctc.compare import compare as run

    settings = CompareSettings(
        qps=tuple(options.qp), config=options.config, options=dict(options.option), idse=idse_options_of(options),
        idse_options=dict(options.idse_option), weights=weight_settings_of(options),
        measure=tuple(options.measure or ()),
        encoder=options.encoder, rate=options.rate_control)
    tools = toolchain.find(options.encoder)
    for source in options.source:
        if any("\udc80" <= character <= "\udcff" for character in source):
            raise FprdoError(f"{source}: the name would stand in tables and pictures and is not UTF-8; rename the file")
    request = _format_request(options)
    sequences = [open_source(source, request, options.frames, options.frame_rate) for source in options.source]
    points = run(sequences, settings, tools, options.output, say)
    judge = settings.judges[0]
    for pattern in (".results.*.csv", ".rd-curves.*.png", ".map-*.png"):  # what a killed run has left
        for path in options.output.glob(pattern):
            path.unlink(missing_ok=True)
    tables.write_csv(options.output / "results.csv", points)
    try:
        rates = tables.format_bd_rates(points, settings.judges)
    except FprdoError:
        if not options.json:  # they took long
            print(f"\n{tables.format_points(points, judge)}\n", flush=True)
        raise
    tables.draw_curves(options.output / "rd-curves.png", points, judge)
    for sequence in sequences:
        _draw(options.output / "weights" / f"{sequence.name}.idse", 0, settings.idse, sequence,
              options.output / f"map-{sequence.name}.png")
    if options.json:
        print(tables.to_json(points, settings))
    else:
        print(f"\n{tables.format_points(points, judge)}\n\n{rates}\n")
        print(f"Every bitstream decoded by {' and '.join(points[0].decoders)}: equal to the encoder's reconstruction.")
        print(f"{options.output}/: results.csv, rd-curves.png, map-*.png, bitstreams/, weights/")


def show(options: argparse.Namespace) -> None:
    """Draw a weight map."""
    sequence = sequence_of(options) if options.source else None
    path = options.output or options.weights.with_name(f"map-{options.weights.stem}.png")
    _keep_inputs([path], [options.source, options.weights])
    _draw(options.weights, options.frame, idse_options_of(options), sequence, path, options.block)
    print(path)


def _draw(weight_file: Path, frame: int, idse: IdseOptions, sequence: Source | None, path: Path, block: int = 32) -> None:
    from itertools import islice

    from fprdo_bridge.video.formats import VideoFormat, coded_format
    from fprdo_bridge.report.heatmap import draw_map
    from fprdo_bridge.importance.idse_file import IdseFile

    with IdseFile(weight_file) as file:
        fmt = VideoFormat(file.layout.width, file.layout.height, file.layout.chroma)
        if not 0 <= frame < file.frame_count:
            raise FprdoError(f"{weight_file}: has frames 0 to {file.frame_count - 1}, not {frame}")
        picture = None
        if sequence:
            coded = coded_format(replace(sequence.fmt, chroma=fmt.chroma))
            if (coded.width, coded.height) != (fmt.width, fmt.height):
                raise FprdoError(f"{weight_file}: weights for {fmt.width}x{fmt.height}, {sequence.origin} is "
                                 f"{sequence.fmt.width}x{sequence.fmt.height}; give the picture they were computed on")
            pictures = list(islice(sequence.read(), frame, frame + 1))
            picture = frame_to_picture(pictures[0], sequence.fmt) if pictures else None
        planes, _ = file.raw_map(frame // file.frames_per_map)
        extractor = file.metadata.get("extractor", {})
        name = extractor.get("name", "unknown extractor") if isinstance(extractor, dict) else str(extractor)
        title = f"{sequence.name if sequence else weight_file.stem}: what {name} sees"
        title = title.encode("utf-8", "backslashreplace").decode("utf-8")  # file names may be any bytes
        draw_map(path, planes, fmt, idse, picture, title, block)


# ---- arguments -------------------------------------------------------------------------------------------------------

def _keep_inputs(outputs: list[Path | None], inputs: list[str | Path | None]) -> None:
    """Refuse to write over a file that is read."""
    for output in filter(None, outputs):
        if output.exists() and any(Path(name).exists() and output.samefile(name) for name in filter(None, inputs)):
            raise FprdoError(f"{output}: is read by this command; give the output another name")


def sequence_of(options: argparse.Namespace) -> Source:
    """The source with what its options say about format and frames."""
    return open_source(options.source, _format_request(options), options.frames, options.frame_rate)


def _format_request(options: argparse.Namespace) -> FormatRequest:
    return FormatRequest(options.size, options.chroma, options.bit_depth, options.matrix,
                         None if options.range is None else options.range == "full", options.siting)


def weight_settings_of(options: argparse.Namespace) -> WeightSettings:
    """The settings of add_weight_arguments()."""
    return WeightSettings(options.extractor, tuple(options.layer) if options.layer else None, options.probes,
                          options.seed, options.jitter, options.frames_per_map)


def idse_options_of(options: argparse.Namespace) -> IdseOptions:
    """The settings of add_idse_arguments()."""
    given = {name: getattr(options, name) for name in vars(IdseOptions()) if getattr(options, name) is not None}
    return IdseOptions(**given)


def config_of(options: argparse.Namespace, codec, sequence: Source, tools) -> Path:
    """The configuration file that --config names."""
    name = options.config
    return codec.config_for(name, sequence.fmt, tools) if name in codec.KINDS else Path(name)


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; write it like 416x240")
    return int(match[1]), int(match[2])


def _assignment(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"{text!r} is no option; write it like SAO=0")
    return name, value


def _rate(text: str) -> Fraction:
    try:
        rate = Fraction(text)
        if rate <= 0:
            raise ValueError
        return rate
    except (ValueError, ZeroDivisionError):
        raise argparse.ArgumentTypeError(f"{text!r} is no frame rate; write it like 30 or 30000/1001") from None


class _Parser(argparse.ArgumentParser):
    """One line for a wrong command line, as for every other mistake."""

    def error(self, message: str) -> None:
        sys.exit(_fail(f"{message}; see {self.prog} --help"))


def add_format_arguments(parser: argparse.ArgumentParser, frames: bool = True) -> None:
    """What a source holds or becomes."""
    group = parser.add_argument_group("format (what a .yuv file holds, or what a picture is converted to)")
    group.add_argument("--size", type=_size, metavar="WxH", help="luma samples; default: from the file's name")
    group.add_argument("--chroma", choices=("400", "420", "422", "444"), help="chroma format (default 420)")
    group.add_argument("--bit-depth", type=int, metavar="N", help="bits per sample (default 8)")
    group.add_argument("--matrix", choices=("bt601", "bt709", "bt2020"), help="colour matrix (default bt709)")
    group.add_argument("--range", choices=("limited", "full"), help="code value range (default limited)")
    group.add_argument("--siting", choices=("left", "center"), help="chroma siting (default left)")
    if frames:
        group.add_argument("--frames", type=int, metavar="N", help="only the first N frames")
        group.add_argument("--frame-rate", type=_rate, metavar="R", help="pictures per second (default 30)")


def add_weight_arguments(parser: argparse.ArgumentParser) -> None:
    """How weights are computed."""
    default = WeightSettings()
    group = parser.add_argument_group("weights (how they are computed)")
    group.add_argument("--extractor", default=default.extractor, metavar="NAME",
                       help=f"network: {default.extractor} (default), efficientnet_lite1, efficientnet_lite2 or your own as "
                       "module:callable, see docs/extractors.md")
    group.add_argument("--layer", action="append", metavar="NAME", help="feature map to preserve, repeatable")
    group.add_argument("--probes", type=int, default=default.probes, metavar="K",
                       help=f"Jacobian sketches per map (default {default.probes})")
    group.add_argument("--seed", type=int, default=default.seed, metavar="N", help="of the sketches (default 0)")
    group.add_argument("--jitter", type=float, default=default.jitter, metavar="SIGMA",
                       help=f"noise at which sketches are taken, in 8-bit code values (default {default.jitter:g})")
    group.add_argument("--frames-per-map", "--weights-every", type=int, default=default.frames_per_map, metavar="N",
                       help="frames that share a map, which is that of their first one (default 1)")


def add_idse_arguments(parser: argparse.ArgumentParser) -> None:
    """How the encoder uses weights."""
    default = IdseOptions()
    group = parser.add_argument_group("weights at run time (the encoder's IDSE options)")
    group.add_argument("--tau", type=float, metavar="T", help=f"plain SSE mixed in (default {default.tau:g})")
    group.add_argument("--power", type=float, metavar="P", help=f"exponent of the weights (default {default.power:g})")
    group.add_argument("--clip", type=float, metavar="C", help="largest weight, times the mean; 0: none (default)")
    group.add_argument("--rdoq", type=int, choices=(0, 1, 2), help="0 off, 1 mean of the TU, 2 per coefficient (default)")
    group.add_argument("--qp-map", action=argparse.BooleanOptionalAction, help="QP offsets of blocks (default on)")
    group.add_argument("--qp-map-clip", type=int, metavar="N", help=f"largest QP offset (default {default.qp_map_clip})")
    group.add_argument("--sao", action=argparse.BooleanOptionalAction, help="weights in SAO (default on)")
    group.add_argument("--decisions", type=int, metavar="MASK",
                       help="decisions that use weights: 1 intra, 2 skip, 4 inter residual, 8 inter CU, 16 chroma (default 31)")


def add_encoder_arguments(parser: argparse.ArgumentParser) -> None:
    """Which encoder, and its own options."""
    group = parser.add_argument_group("encoder")
    group.add_argument("--encoder", choices=ENCODERS, default=ENCODERS[0], help="(default %(default)s)")
    group.add_argument("--config", default="intra", metavar="NAME|FILE",
                       help="intra (default), lowdelay, randomaccess, or an encoder configuration file")
    group.add_argument("--rate-control", choices=("qp", "crf", "abr"), default="qp",
                       help="what -q is: QP (default), or with x264 constant rate factor, or kilobit per second in two passes")
    group.add_argument("--option", type=_assignment, action="append", default=[], metavar="NAME=VALUE",
                       help="further encoder option, repeatable, like --option SAO=0")


def _quickstart_folders() -> list[tuple[str, str]]:
    """(encoder, output folder) of each encoder that is built, the first one in any case: its error says what to do."""
    from fprdo_bridge import toolchain

    first, *others = ENCODERS
    return [(first, "out/quickstart"), *((name, f"out/quickstart-{name}") for name in toolchain.built(others))]


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="fprdo", description="Feature-preserving rate-distortion optimisation for reference encoders.")
    parser.add_argument("--version", action="version", version=f"fprdo {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=_Parser)

    def command(function, text: str, example: str) -> argparse.ArgumentParser:
        one = commands.add_parser(function.__name__, help=text, description=text, epilog=f"example: {example}",
                                  allow_abbrev=False)
        one.set_defaults(run=function)
        return one

    source_help = "picture (PNG, JPEG, WebP), .y4m or raw .yuv file, or skimage:NAME"

    one = command(weights, "compute the importance weights of a picture or sequence",
                  "fprdo weights photo.png -o photo.idse --probes 32")
    one.add_argument("source", help=source_help)
    one.add_argument("-o", "--output", type=Path, metavar="FILE", help="weight file (default: NAME.idse)")
    one.add_argument("--json", action="store_true", help="print the result as JSON")
    add_weight_arguments(one)
    add_format_arguments(one)

    one = command(encode, "encode with weights (computed on the way, or from a file)",
                  "fprdo encode photo.png -o photo.bin --qp 32 --recon photo.yuv")
    one.add_argument("source", help=source_help)
    one.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="bitstream; its log goes beside it")
    one.add_argument("-q", "--qp", type=int, required=True, help="quantisation parameter of the slices")
    one.add_argument("--weights", type=Path, metavar="FILE", help=".idse file (default: computed)")
    one.add_argument("--plain", action="store_true", help="without weights: the stock encoder's bitstream")
    one.add_argument("--recon", type=Path, metavar="FILE", help="the encoder's reconstruction as .yuv")
    one.add_argument("--json", action="store_true", help="print the result as JSON")
    for arguments in (add_encoder_arguments, add_idse_arguments, add_weight_arguments, add_format_arguments):
        arguments(one)

    one = command(decode, "decode with a stock decoder, into a picture or a .yuv file",
                  "fprdo decode photo.bin -o photo-decoded.png --decoder libavcodec")
    one.add_argument("bitstream", type=Path)
    one.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help=".yuv, or a picture by its suffix")
    one.add_argument("--decoder", choices=("hm", "jm", "libavcodec"), help="default: hm for HEVC; for AVC jm if it is built, else libavcodec")
    add_format_arguments(one, frames=False)

    one = command(compare, "SSE against IDSE: rate, PSNR, feature distance, BD-rate",
                  "fprdo compare a.png b.png --qp 22 27 32 37 -o out/ab --measure efficientnet_lite0")
    one.add_argument("source", nargs="+", help=source_help)
    one.add_argument("-q", "--qp", type=int, nargs="+", default=[27, 32, 37, 42], help="at least four (default 27 32 37 42)")
    one.add_argument("-o", "--output", type=Path, required=True, metavar="DIR",
                     help="folder of results; what is done there already is not done again")
    one.add_argument("--measure", action="append", metavar="NAME",
                     help="extractor that judges the decoded pictures, repeatable (default: the one of the weights)")
    one.add_argument("--idse-option", type=_assignment, action="append", default=[], metavar="NAME=VALUE",
                     help="further encoder option for the weighted encodes alone, repeatable")
    one.add_argument("--json", action="store_true", help="print all results as JSON")
    for arguments in (add_encoder_arguments, add_idse_arguments, add_weight_arguments, add_format_arguments):
        arguments(one)

    one = command(show, "draw a weight map over its picture, with the QP offsets of the blocks",
                  "fprdo show photo.idse photo.png -o map.png")
    one.add_argument("weights", type=Path, help=".idse file")
    one.add_argument("source", nargs="?", help=f"the picture it was computed on: {source_help}")
    one.add_argument("-o", "--output", type=Path, metavar="FILE", help="PNG to write (default: map-NAME.png beside NAME.idse)")
    one.add_argument("--frame", type=int, default=0, metavar="N", help="frame of a sequence (default 0)")
    one.add_argument("--block", type=int, choices=(8, 16, 32, 64), default=32, help="quantisation group (default 32)")
    add_idse_arguments(one)
    add_format_arguments(one)

    one = commands.add_parser("quickstart", help="the demo: compare on four pictures of scikit-image, into out/quickstart",
                              description="The same as: fprdo compare " + " ".join(QUICKSTART_PICTURES) + " -o out/quickstart, "
                              "and with --encoder NAME -o out/quickstart-NAME for every other encoder that is built",
                              epilog="example: fprdo quickstart")
    one.set_defaults(run=None)
    return parser


def main(words: list[str] | None = None) -> int:
    """Run one command; 0, or 2 after one line that says what is wrong, or 130 after Ctrl-C."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # clean up after it as after Ctrl-C
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # neither closed nor a caller's own
            stream.reconfigure(errors="backslashreplace")  # file names may be any bytes
    parser = _parser()
    options = parser.parse_args(words)
    runs = [options]
    if options.command == "quickstart":
        runs = [parser.parse_args(["compare", *QUICKSTART_PICTURES, "--encoder", name, "-o", folder])
                for name, folder in _quickstart_folders()]
    try:
        for one in runs:
            one.run(one)
    except FprdoError as error:
        return _fail(str(error))
    except OSError as error:
        return _fail(f"{error.filename or 'writing'}: {error.strerror or error}; check the path and the disk's room")
    except KeyboardInterrupt:
        say("fprdo: stopped; run it again to go on")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
