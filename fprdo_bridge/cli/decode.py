"""fprdo decode: decode a bitstream with a stock decoder."""

from __future__ import annotations

import argparse
from fractions import Fraction

from fprdo_bridge.cli import console, standard
from fprdo_bridge.cli.arguments import add_decoded_format_arguments, format_request_of, keep_inputs
from fprdo_bridge.cli.values import file_path
from fprdo_bridge.encoders import decoders
from fprdo_bridge.files import regular_file, workspace
from fprdo_bridge.text import printable
from fprdo_bridge.video.output import check_output, write_frames

HELP = "decode with a stock decoder, into a picture, a .y4m or a .yuv file"
USAGE = "fprdo decode bitstream -o FILE [options]"
DESCRIPTION = (
    "Decodes a bitstream with a decoder that knows nothing of weights. Size, chroma format, depth and colours are "
    "those that the bitstream declares, unless an option says otherwise. The last line says what was checked."
)
EXAMPLE = "fprdo decode photo.bin -o photo-decoded.png --decoder libavcodec"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of this command."""
    parser.add_argument("bitstream", type=file_path, help="HEVC or AVC, as a byte stream or in an .mp4 or .mkv file")
    parser.add_argument(
        "-o",
        "--output",
        type=file_path,
        required=True,
        metavar="FILE",
        help=".yuv, .y4m, or a picture by its suffix; - for Y4M on standard output",
    )
    parser.add_argument(
        "--decoder",
        choices=decoders(),
        help="default: the own one of an encoder of the same standard that is built, else libavcodec",
    )
    add_decoded_format_arguments(parser)


def run(options: argparse.Namespace) -> None:
    """Decode a bitstream into a picture, a .y4m or a raw file."""
    from fprdo_bridge.bitstream.container import byte_stream
    from fprdo_bridge.bitstream.probe import probe
    from fprdo_bridge.encoders.decoding import decoding

    regular_file(options.bitstream, "no such bitstream")
    keep_inputs([options.output], [options.bitstream])
    output = standard.output_file(options.output, "decoded.y4m")
    check_output(output, 1)
    with workspace() as folder, byte_stream(options.bitstream, folder) as bitstream:
        said = probe(bitstream)
        fmt = format_request_of(options).apply(said.fmt)
        with decoding(bitstream, fmt, options.decoder) as decoded:
            count = write_frames(output, decoded.frames, fmt, said.frame_rate or Fraction(30))
        report = decoded.report
    standard.send(output, options.output)
    console.result(
        f"{printable(str(options.output))}: {count} picture{'s' * (count > 1)} of {fmt.width}x{fmt.height}, "
        f"4:{fmt.chroma[1]}:{fmt.chroma[2]}, {fmt.bit_depth} bit\n{report}"
    )
