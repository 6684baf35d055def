"""Small clips and the encodes of them."""

import shlex
from pathlib import Path

import numpy as np

from fprdo_bridge.encoders.codec import Codec
from fprdo_bridge.encoders.hm import HM
from fprdo_bridge.encoders.job import EncodeJob, Rate
from fprdo_bridge.toolchain import Toolchain
from fprdo_bridge.video.formats import Frame, VideoFormat
from fprdo_bridge.video.pictures import load_picture
from fprdo_bridge.video.raw import write_yuv


def clip(fmt: VideoFormat, count: int) -> list[Frame]:
    """A window that moves over a photograph; its R, G and B serve as planes, the deeper bits are noise."""
    rgb = load_picture("skimage:astronaut")
    rng = np.random.default_rng(fmt.width)
    frames = []
    for index in range(count):
        planes = []
        for component, (rows, columns) in enumerate(fmt.plane_shapes):
            samples = rgb[20 + 2 * index :, 150 + 3 * index :, component][:rows, :columns].astype(fmt.dtype)
            extra = fmt.bit_depth - 8
            planes.append((samples << extra) + rng.integers(0, 1 << extra, samples.shape, dtype=fmt.dtype))
        frames.append(tuple(planes))
    return frames


def make_job(
    folder: Path,
    fmt: VideoFormat,
    tools: Toolchain,
    *,
    kind: str = "intra",
    frames: int = 1,
    codec: Codec = HM,
    qp: float = 32,
    rate: str = "qp",
    **arguments,
) -> EncodeJob:
    """An encode of `clip` into `folder`/out; `arguments` are fields of the job."""
    write_yuv(folder / "source.yuv", clip(fmt, frames), fmt)
    return EncodeJob(
        **{
            "source": folder / "source.yuv",
            "fmt": fmt,
            "frames": frames,
            "rate": Rate(rate, qp),
            "bitstream": folder / "out" / "clip.bin",
            "recon": folder / "out" / "recon.yuv",
            "config": (codec.config_for(kind, fmt, tools),),
        }
        | arguments
    )


def logged_command(log: Path) -> list[str]:
    """The command line that an encode's log begins with."""
    mark, _, command = log.read_text().splitlines()[0].partition(" ran: ")
    assert mark.startswith("# fprdo ")
    return shlex.split(command)
