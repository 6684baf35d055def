"""Encodes of a subject, and what its decoders make of them."""

from dataclasses import replace
from pathlib import Path

from clips import make_job
from oracles import run_all, write_maps
from subject import Case, Encodes, Subject

from fprdo_bridge.bitstream.libav import decode_libav, supports
from fprdo_bridge.bitstream.nal_units import Standard
from fprdo_bridge.encoders.codec import Codec
from fprdo_bridge.encoders.decoding import decode_own
from fprdo_bridge.encoders.job import EncodeJob
from fprdo_bridge.encoders.log import EncodeLog
from fprdo_bridge.importance.idse_file import WeightMap
from fprdo_bridge.settings import IdseOptions
from fprdo_bridge.toolchain import Toolchain
from fprdo_bridge.video.formats import VideoFormat, first_difference
from fprdo_bridge.video.raw import read_yuv

OFF = IdseOptions(tau=0.15, rdoq=0, qp_map=False, sao=False, decisions=0)  # strong weights, used nowhere
STOCK = "stock"  # name of a run of the stock encoder


class Coding:
    """Runs of one job with different weights, settings and options, in a folder."""

    def __init__(self, subject: Subject, tools: Toolchain, folder: Path, fmt: VideoFormat, how: Encodes | Case):
        self.codec, self.tools, self.folder, self.fmt = subject.codec, tools, folder, fmt
        rate = {"rate": how.rate, "qp": how.value} if isinstance(how, Case) else {"qp": how.qp}
        self.job = make_job(
            folder, fmt, tools, kind=how.kind, frames=how.frames, codec=subject.codec, options=how.options, **rate
        )

    def maps(self, name: str, maps: list[WeightMap], **arguments) -> Path:
        """A weight file for the job."""
        return write_maps(self.folder / f"{name}.idse", maps, self.fmt, **{"frame_count": self.job.frames} | arguments)

    def run(self, **jobs: EncodeJob | None) -> dict[str, EncodeLog]:
        """Run each job with the patched encoder, and, where it is None, the job without weights with the stock one."""
        plain = replace(self.job, weights=None)
        return run_all(
            {
                name: (job or plain, self.tools.encoder if job else self.tools.stock_encoder)
                for name, job in jobs.items()
            },
            self.codec,
        )

    def weighted(self, weights: Path, **changes) -> EncodeJob:
        """The job with weights, and with settings of them or fields of the job that are other ones."""
        return replace(self.job, weights=weights, **changes)

    def check_decoders(self, name: str, libav: bool = True) -> None:
        check_decoders(self.codec, self.tools, self.folder, name, self.fmt, libav)


def check_decoders(
    codec: Codec, tools: Toolchain, folder: Path, name: str, fmt: VideoFormat, libav: bool = True
) -> None:
    """The decoders give the encoder's reconstruction; the encoder's own finds a right hash in every picture of HEVC."""
    recon, bitstream, count = list(read_yuv(folder / f"{name}.yuv", fmt)), folder / f"{name}.bin", 0
    if codec.decoder:
        report = decode_own(codec, tools, bitstream, folder / f"{name}.decoded", fmt)
        assert report.pictures == len(recon)
        assert codec.standard is not Standard.HEVC or report.verified == len(recon)
        assert first_difference(recon, read_yuv(folder / f"{name}.decoded", fmt)) is None
        count += 1
    if libav and supports(fmt, codec.standard):
        assert first_difference(recon, decode_libav(bitstream, fmt)) is None
        count += 1
    assert count > 0
