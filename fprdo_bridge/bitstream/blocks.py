"""What a bitstream says of its blocks, read back by a decoder: their places, sizes and QPs."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import av
from av.sidedata.sidedata import SideDataContainer, Type

from fprdo_bridge.bitstream.hevc_intra import NotRead, intra_blocks
from fprdo_bridge.bitstream.nal_units import Standard, nal_units, payload
from fprdo_bridge.bitstream.parameter_sets import CodingTools, PictureTools, parse_coding_tools, parse_picture_tools
from fprdo_bridge.bitstream.probe import read_bitstream, standard_of
from fprdo_bridge.errors import FprdoError

_SPS, _PPS = 33, 34  # nal_unit_type of HEVC
_HEAD = struct.Struct("@IQQIi8i")  # AVVideoEncParams: number, offset and size of the blocks, type, QP, chroma offsets
_BLOCK = struct.Struct("@iiiii")  # AVVideoBlockParams: x, y, width, height, difference of the QP


@dataclass(frozen=True)
class Block:
    """A block of luma samples with one QP; `mode` is the intra mode of HEVC, 0 to 34, None of AVC."""

    x: int
    y: int
    width: int
    height: int
    qp: int
    mode: int | None = None


def read_blocks(bitstream: Path, frame: int = 0) -> list[Block] | None:
    """The blocks of a picture: of AVC the macroblocks as libavcodec has parsed them, of HEVC the prediction blocks.

    Parameters
    ----------
    frame : in output order, from 0 on

    Returns
    -------
    None for a picture of HEVC that this package does not parse: another one than the first, one that is predicted from
    others, or one of several slices or tiles.

    Raises
    ------
    FprdoError
        The bitstream is damaged or has no such frame.
    """
    standard = standard_of(bitstream)
    if standard is not Standard.AVC:
        return _of_hevc(bitstream) if frame == 0 else None
    try:
        with av.open(str(bitstream), "r", format=standard.value) as container:
            stream = container.streams.video[0]
            stream.codec_context.options = {"export_side_data": "venc_params"}
            for number, picture in enumerate(container.decode(stream)):
                if number == frame:
                    return _exported(picture)
    except (av.error.FFmpegError, IndexError) as error:
        reason = getattr(error, "strerror", None) or "no video"
        raise FprdoError(f"{bitstream}: libavcodec cannot decode it ({reason}); encode or copy it again") from error
    raise FprdoError(f"{bitstream}: has no frame {frame}")


def _of_hevc(bitstream: Path) -> list[Block] | None:
    """The blocks of the first picture."""
    data = read_bitstream(bitstream)
    sps: CodingTools | None = None
    pps: PictureTools | None = None
    try:
        for start, end in nal_units(data):
            kind = data[start] >> 1 & 63
            if kind == _SPS:
                sps = parse_coding_tools(data[start:end])
            elif kind == _PPS:
                pps = parse_picture_tools(data[start:end])
            elif kind < 32 and sps and pps:
                found = intra_blocks(kind, payload(data[start:end], standard=Standard.HEVC), sps, pps)
                return [Block(one.x, one.y, one.size, one.size, one.qp, one.mode) for one in found]
    except (NotRead, EOFError, ValueError):
        pass
    return None


def _exported(picture: av.VideoFrame) -> list[Block] | None:
    exported = cast(SideDataContainer, picture.side_data)  # av's own stub says something else
    return next((_blocks(bytes(one)) for one in exported if one.type is Type.VIDEO_ENC_PARAMS), None)


def _blocks(data: bytes) -> list[Block]:
    count, offset, size, _, qp, *_ = _HEAD.unpack_from(data)
    found = []
    for number in range(count):
        x, y, width, height, delta = _BLOCK.unpack_from(data, offset + number * size)
        found.append(Block(x, y, width, height, qp + delta))
    return found
