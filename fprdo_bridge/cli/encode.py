"""fprdo encode: encode a picture or a sequence."""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import replace

from fprdo_bridge import encoders
from fprdo_bridge.cli import console, standard
from fprdo_bridge.cli.arguments import (
    SOURCE_HELP,
    add_coding_arguments,
    add_force_argument,
    check_weights,
    coding_options_of,
    keep_inputs,
    say_idle_settings,
    sequence_of,
    weight_settings_of,
)
from fprdo_bridge.cli.regions import refuse_making_maps
from fprdo_bridge.cli.values import file_path, rate_value
from fprdo_bridge.encoders.checking import check
from fprdo_bridge.encoders.job import EncodeJob, Rate
from fprdo_bridge.encoders.running import encode
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.files import workspace
from fprdo_bridge.importance.weighting import write_weights
from fprdo_bridge.progress import percentage
from fprdo_bridge.text import printable
from fprdo_bridge.video.formats import coded_format

HELP = "encode with weights (computed on the way, or from a file)"
USAGE = "fprdo encode source -o FILE -q QP [options]"
DESCRIPTION = (
    "Encodes a picture or sequence so that its bits go where the weights are high. The weights come from a file, "
    "or are computed first. With --plain the encoder does exactly what it does without fprdo."
)
EXAMPLE = "fprdo encode photo.png -o photo.bin --qp 32 --recon photo.yuv"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of this command."""
    parser.add_argument("source", help=SOURCE_HELP)
    parser.add_argument(
        "-o",
        "--output",
        type=file_path,
        required=True,
        metavar="FILE",
        help="bitstream, or an .mp4 or .mkv file with it; its log goes beside it; - for standard output",
    )
    parser.add_argument(
        "-q",
        "--qp",
        type=rate_value,
        required=True,
        help="quantisation parameter of the slices, or what --rate-control makes of it",
    )
    parser.add_argument("--weights", type=file_path, metavar="FILE", help=".idse file (default: computed)")
    add_force_argument(parser)
    parser.add_argument("--plain", action="store_true", help="no weights: the bitstream of the unpatched encoder")
    parser.add_argument(
        "--recon",
        type=file_path,
        metavar="FILE",
        help="the encoder's reconstruction: .yuv, .y4m or a picture; - for Y4M on standard output",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    add_coding_arguments(parser)


def run(options: argparse.Namespace) -> None:
    """Encode a picture or a raw file."""
    if options.plain and options.weights:
        raise FprdoError(f"--plain encodes without weights, --weights {options.weights} with; leave one out")
    if options.plain or options.weights:
        refuse_making_maps(options, f"weights are {'not used (--plain)' if options.plain else 'those of --weights'}")
    codec = encoders.get(options.encoder)
    tools = codec.tools()
    sequence, idse = sequence_of(options), coding_options_of(options)
    standard.only_one(options.output, options.recon)
    output = standard.output_file(options.output, "bitstream")
    recon = options.recon and standard.output_file(options.recon, "recon.y4m")
    log = output.with_name(f"{output.name}.log")
    read = [options.source, options.weights, options.mask, options.boxes, options.predictor]
    keep_inputs([output, log, recon], read)
    config = codec.config(options.config, sequence.fmt, tools)
    with workspace() as folder:
        own = {} if options.plain else codec.weighted_options(idse)
        job = EncodeJob(
            source=sequence.yuv(folder),
            fmt=sequence.fmt,
            frames=sequence.frames,
            rate=Rate(options.rate_control, options.qp),
            bitstream=output,
            recon=recon,
            config=(config,),
            options={**own, **dict(options.option)},
            weights=options.weights,
            idse=idse,
            frame_rate=sequence.frame_rate,
            title=sequence.origin,
        )
        check(codec, job)
        if options.weights:
            check_weights(options.weights, sequence, options.force_weights)
        if not options.plain and job.weights is None:
            weights = folder / "weights.idse"
            job = replace(job, weights=weights)
            write_weights(
                sequence,
                weight_settings_of(options),
                weights,
                progress=percentage(f"weights of {sequence.name}", console.say),
                transform_sizes=codec.shapes_wanted(idse),
            )
        if not options.plain:
            say_idle_settings(options)
        for line in codec.remarks(job):
            console.say(line)
        progress = (lambda p: console.say(f"POC {p.poc}: {p.bits} bits")) if sequence.frames > 1 else None
        result = encode(codec, job, tools, progress=progress)
    for note in result.log.notes:
        console.say(f"{options.encoder}: {note}")
    standard.send(output, options.output)
    if recon:
        standard.send(recon, options.recon)
    summary = {
        "bitstream": str(options.output),
        "bits": result.bits,
        "psnr": [value if math.isfinite(value) else None for value in result.log.psnr],  # JSON has no infinity
        "seconds": result.log.seconds,
        "log": None if output != options.output else result.log_file and str(result.log_file),
        "idse": vars(result.log.idse) if result.log.idse else None,
    }
    if options.json:
        console.result(json.dumps(summary))
    else:
        psnr = "".join(f", {name} {value:.2f} dB" for name, value in zip(("Y", "Cb", "Cr"), result.log.psnr))
        fmt = sequence.fmt
        odd = "" if coded_format(fmt) == fmt else f"; to decode, give --size {fmt.width}x{fmt.height}"
        console.result(f"{printable(str(options.output))}: {result.bits} bits{psnr}, {result.log.seconds:.1f} s{odd}")
