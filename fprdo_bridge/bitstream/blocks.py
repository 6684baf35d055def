"""What a bitstream says of its blocks, read back by a decoder: their places, sizes and QPs."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import av
from av.sidedata.sidedata import SideDataContainer, Type

from fprdo_bridge.bitstream.nal_units import Standard
from fprdo_bridge.bitstream.probe import standard_of
from fprdo_bridge.errors import FprdoError

_HEAD = struct.Struct("@IQQIi8i")  # AVVideoEncParams: number, offset and size of the blocks, type, QP, chroma offsets
_BLOCK = struct.Struct("@iiiii")  # AVVideoBlockParams: x, y, width, height, difference of the QP


@dataclass(frozen=True)
class Block:
    """A block of luma samples with one QP."""

    x: int
    y: int
    width: int
    height: int
    qp: int


def read_blocks(bitstream: Path, frame: int = 0) -> list[Block] | None:
    """The macroblocks of a picture of an AVC bitstream, as libavcodec has parsed them.

    Parameters
    ----------
    frame : in output order, from 0 on

    Returns
    -------
    None for HEVC, of which libavcodec exports none.

    Raises
    ------
    FprdoError
        The bitstream is damaged or has no such frame.
    """
    standard = standard_of(bitstream)
    if standard is not Standard.AVC:
        return None
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
