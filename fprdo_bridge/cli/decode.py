"""fprdo decode: decode a bitstream with a stock decoder."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from fprdo_bridge import toolchain
from fprdo_bridge.cli import console
from fprdo_bridge.cli.arguments import add_format_arguments, format_request_of, keep_inputs
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.text import printable
from fprdo_bridge.video.pictures import save_frame
from fprdo_bridge.video.raw import read_yuv, write_yuv

HELP = DESCRIPTION = "decode with a stock decoder, into a picture or a .yuv file"
EXAMPLE = "fprdo decode photo.bin -o photo-decoded.png --decoder libavcodec"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of this command."""
    parser.add_argument("bitstream", type=Path, help="HEVC or AVC byte stream")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE",
                        help=".yuv, or a picture by its suffix")
    parser.add_argument("--decoder", choices=("hm", "jm", "libavcodec"),
                        help="default: hm for HEVC; for AVC jm if it is built, else libavcodec")
    add_format_arguments(parser, frames=False)


def run(options: argparse.Namespace) -> None:
    """Decode a bitstream into a picture or a raw file."""
    from fprdo_bridge.bitstream.decoders import (bitstream_codec, bitstream_format, check_complete, check_decoder,
                                                 decode_hm, decode_jm, decode_libav)

    keep_inputs([options.output], [options.bitstream])
    fmt = format_request_of(options).apply(bitstream_format(options.bitstream))
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
            save_frame(options.output, decoded[0][1], fmt)
            count = 1
    console.result(f"{printable(str(options.output))}: {count} picture{'s' * (count > 1)} of "
                   f"{fmt.width}x{fmt.height}, 4:{fmt.chroma[1]}:{fmt.chroma[2]}, {fmt.bit_depth} bit")
