"""An encoder that Python drives: weights and distortion come from arrays and functions (docs/python-api.md)."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from fprdo_bridge import encoders
from fprdo_bridge.encoders import running
from fprdo_bridge.encoders.job import PROVIDED, EncodeJob, Rate
from fprdo_bridge.encoders.log import PictureLog
from fprdo_bridge.encoders.running import EncodeResult, Launch
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.files import same_file, workspace
from fprdo_bridge.importance.weight_map import TRANSFORM_SIZES, Layout
from fprdo_bridge.session.arguments import (
    OwnErrors,
    check_function,
    check_kind,
    checked_frames,
    number_from,
    options_of,
    path_of,
    rate_of,
    text_of,
)
from fprdo_bridge.session.encoded import Encoded, Reconstruction
from fprdo_bridge.session.picture import Block, Picture
from fprdo_bridge.session.provider import Provider, Weights, of_layout
from fprdo_bridge.session.setup import Reference, Setup
from fprdo_bridge.session.weight_buffer import WeightBuffer, known_sizes
from fprdo_bridge.settings import DEFAULT_PRESET, IdseOptions
from fprdo_bridge.values import shown, whole_number
from fprdo_bridge.video.formats import Frame, VideoFormat, coded_format
from fprdo_bridge.video.output import check_output, write_frames
from fprdo_bridge.video.raw import write_yuv
from fprdo_bridge.video.source import FormatRequest, open_source

_PACKAGES = str(Path(__file__).resolve().parents[2])


@dataclass(frozen=True)
class compiled:
    """A distortion that runs at native speed.

    Parameters
    ----------
    make : called without arguments in the worker; returns a function of C type
        `double (void *context, const idse_block *block)` (native/idse.h) from cffi, ctypes or numba's cfunc. It must be
        importable there, like a distortion in Python.
    """

    make: Callable[[], object]


class Encoder:
    """A patched encoder, run in a process of its own for every encode.

    An object holds no state between two encodes. Any number of objects, and of threads that use one, encode at once.

    Parameters
    ----------
    name : of an encoder that is built as a library, such as "hm" or "jm"
    config : path of an encoder configuration file, or "intra", "lowdelay", "randomaccess" for the package's own choice

    Raises
    ------
    FprdoError
        No such encoder, it is not built, or not as a library.
    """

    def __init__(self, name: str, config: str | os.PathLike[str] = "intra"):
        able = ", ".join(one for one in encoders.ENCODERS if encoders.get(one).in_process)
        name = text_of("encoder", name, f"one of {able}")
        if name not in able.split(", "):
            raise FprdoError(f"encoder {shown(name)}: use one of {able}")
        check_kind("config", config, (str, os.PathLike), "the path of a configuration file, or a name such as 'intra'")
        path = path_of("config", config)
        # A word such as intra means a coding structure, and ./intra a file of that name.
        self.codec, self.config = encoders.get(name), str.__str__(config) if isinstance(config, str) else path
        self.tools = self.codec.tools()
        if self.tools.library is None:
            raise FprdoError(f"{name}: built without a library; run python3 build.py {name}")

    def encode(
        self,
        frames: str | os.PathLike[str] | Iterable[Frame],
        qp: int,
        *,
        fmt: VideoFormat | None = None,
        weights: Weights | None = None,
        provider: Callable[[Picture], Weights] | None = None,
        distortion: Callable[[Block], float] | compiled | None = None,
        decisions: int = 15,
        transform_sizes: Sequence[int] = TRANSFORM_SIZES,
        idse: IdseOptions | None = None,
        options: Mapping[str, str | int | float] | None = None,
        frame_rate: Fraction | int | float | None = None,
        skip: int = 0,
        count: int | None = None,
        recon: str | os.PathLike[str] | None = None,
        on_picture: Callable[[PictureLog], None] | None = None,
    ) -> Encoded:
        """Code frames.

        Parameters
        ----------
        frames : picture, .yuv, .y4m or .mp4 file and the like (docs/sources.md), or frames (tuples of planes) of format
            `fmt`: a list, or anything that gives them one after the other, of which one is in memory at a time
        qp : quantisation parameter, 0 to 51, from -6 (depth - 8) on above 8 bits
        fmt : what the frames are; needed where they come from no file, or from a file that does not say it
        weights : the same weights for every picture: a WeightBuffer, a WeightMap, or float32 arrays per plane, mean 1
        provider : called with each Picture when it begins, in a thread of this process; returns its weights, which the
            encoder uses until the picture ends
        distortion : called in the worker with each Block of the decisions that `decisions` names; returns what takes
            the place of sum(w e^2): finite, from 0 up to 2^44. It runs in another process and must be importable there.
        decisions : sum of 1 (intra), 2 (inter skip), 4 (inter residual), 8 (inter)
        transform_sizes : of the shapes in the maps, some of 4, 8, 16, 32; () for weights of pixels only
        idse : what the weights may change; None for the preset `balanced` of the encoder and its `config`
        options : further options of the encoder; None for those that `fprdo encode` gives it with weights
        frame_rate : pictures per second; None: the file's, else 30
        skip : frames to leave out at the beginning
        count : frames to code; None for all that follow
        recon : a file to write the reconstruction to, whose suffix says what it is: .yuv, .y4m, or that of a picture
            for one frame; None: it can be read from the result, and from nowhere else
        on_picture : called with each picture when it is coded

        Returns
        -------
        Encoded
            The bitstream, the encoder's log, and the reconstruction, which is read from a file when it is asked for.

        Raises
        ------
        FprdoError
            Bad input, or the encoder failed. Nothing is left behind, and `recon` is not touched.
        BaseException
            Whatever `frames`, `provider`, `on_picture` or `distortion` raises is raised here as it is, but what pickle
            cannot copy from the worker, as an FprdoError with its text.
        """
        if weights is not None and provider is not None:
            raise FprdoError("weights and provider: give one of them")
        function = distortion.make if isinstance(distortion, compiled) else distortion
        check_function("provider", provider, missing=provider is None)
        check_function("distortion", function, missing=distortion is None)
        check_function("on_picture", on_picture, missing=on_picture is None)
        check_kind("fmt", fmt, (VideoFormat, type(None)), "a VideoFormat")
        check_kind("idse", idse, (IdseOptions, type(None)), "IdseOptions")
        given: Mapping[str, str] | None = None if options is None else options_of(options)
        if idse is None:
            # The job refuses names that are no text.
            named = {name: value for name, value in (given or {}).items() if isinstance(name, str)}
            idse = IdseOptions.preset(DEFAULT_PRESET, self.codec.name, inter=self.codec.predicts(self.config, named))
        decisions = _checked_decisions(decisions)
        transform_sizes = known_sizes(transform_sizes)
        skip, count = number_from("skip", skip, 0), None if count is None else number_from("count", count, 1)
        output = None if recon is None else path_of("recon", recon)
        weighted = weights is not None or provider is not None
        plain = not weighted and distortion is None
        own = OwnErrors()
        report = None if on_picture is None else own.of_function(on_picture)
        with own.alone(), workspace() as folder:
            source = _source(frames, fmt, own, skip, count, folder)
            config = self.codec.config(self.config, source.fmt, self.tools)
            if output is not None:
                _check_output(output, source, config)
            if given is None:
                # An own distortion needs none of what goes with the weights.
                needed = idse if weighted else replace(idse, chroma_qp_offset=0, deblock_offset=0)
                given = {} if plain else self.codec.weighted_options(needed)
            job = EncodeJob(
                source=source.path,
                fmt=source.fmt,
                frames=source.frames,
                rate=Rate("qp", qp),
                bitstream=folder / "out" / "bitstream",
                recon=folder / "out" / "recon.yuv",
                config=(config,),
                options=given,
                weights=None if plain else PROVIDED,
                idse=idse,
                frame_rate=source.frame_rate if frame_rate is None else rate_of("frame rate", frame_rate),
                title=source.title,
            )
            job.bitstream.parent.mkdir()
            if plain:
                result = running.encode(self.codec, job, self.tools, progress=report)
                seconds = result.cpu_seconds
            else:
                ask, layout, flat = _maps(weights, provider, source.fmt, transform_sizes)
                setup = Setup(
                    path=[os.path.abspath(entry) for entry in sys.path if isinstance(entry, str)],  # "" is where we are
                    layout=layout,
                    bit_depth=self.codec.coded_bit_depth(job),
                    decisions=0 if function is None else decisions,
                    distortion=None if function is None else Reference.of(function),
                    compiled=isinstance(distortion, compiled),
                    flat=flat,
                )
                result, seconds = self._in_worker(job, setup, ask, report)
            reconstruction = Reconstruction(folder / "out" / "recon.yuv", result.fmt)
            if output is not None:
                write_frames(output, reconstruction, result.fmt, result.frame_rate)
            return Encoded(result.bitstream.read_bytes(), reconstruction, result.log, result.wall_seconds, seconds)

    def _in_worker(
        self,
        job: EncodeJob,
        setup: Setup,
        weights: Callable[[Picture], Weights],
        on_picture: Callable[[PictureLog], None] | None,
    ) -> tuple[EncodeResult, float]:
        """Run the encoder's library in a worker whose questions are answered here; the result and its CPU seconds."""
        # This very package, wherever this process found it: the worker runs in a folder of its own.
        load = f"import sys; sys.path.insert(0, {_PACKAGES!r}); import fprdo_bridge.session.__main__"
        assert self.tools.library is not None
        tools = replace(self.tools, encoder=self.tools.library)
        answers = Provider(setup, weights, coded_format(job.fmt))
        launch = Launch((sys.executable, "-c", load, str(answers.descriptor)), (answers.descriptor,))
        try:
            result = running.encode(self.codec, job, tools, progress=on_picture, launch=launch)
        except FprdoError:
            answers.close()
            if answers.error is None:
                raise
            raise answers.error from None  # whatever the encoder made of it
        except BaseException:
            answers.close()
            raise
        answers.close()
        if answers.error is not None:
            raise answers.error
        seconds = answers.encoder_seconds
        return result, result.cpu_seconds if seconds is None else seconds  # None: the thread was too late


def _checked_decisions(decisions: object) -> int:
    mask = whole_number("decisions", decisions)
    if not 1 <= mask <= 15:
        raise FprdoError(
            f"decisions {mask}: use 1 to 15, a sum of 1 (intra), 2 (inter skip), 4 (inter residual) and 8 (inter)"
        )
    return mask


@dataclass(frozen=True)
class _Source:
    """What is coded.

    Attributes
    ----------
    path : raw samples, from the first frame to code on
    fmt, frames, frame_rate : of these samples
    title : in messages
    files : that are read
    """

    path: Path
    fmt: VideoFormat
    frames: int
    frame_rate: Fraction
    title: str
    files: tuple[Path, ...]


def _source(
    frames: str | os.PathLike[str] | Iterable[Frame],
    fmt: VideoFormat | None,
    own: OwnErrors,
    skip: int,
    count: int | None,
    folder: Path,
) -> _Source:
    if isinstance(frames, (str, os.PathLike)):
        given = path_of("frames", frames)
        found = open_source(str(given), FormatRequest.of(fmt), count, skip=skip)
        return _Source(found.yuv(folder), found.fmt, found.frames, found.frame_rate, found.origin, (given,))
    if fmt is None:
        raise FprdoError("frames: arrays do not say what they mean; give fmt=VideoFormat(width, height, ...)")
    path = folder / "source.yuv"
    written = write_yuv(path, checked_frames(frames, fmt, own, skip, count), fmt)
    return _Source(path, fmt, written, Fraction(30), "frames", ())


def _maps(
    weights: Weights | None,
    provider: Callable[[Picture], Weights] | None,
    fmt: VideoFormat,
    transform_sizes: tuple[int, ...],
) -> tuple[Callable[[Picture], Weights], Layout, bool]:
    """Who gives the weights of a picture, their layout, and whether every pixel weight will be 1.0."""
    if provider is not None:
        return provider, Layout.of(coded_format(fmt), transform_sizes), False
    if isinstance(weights, WeightBuffer):  # it says itself which shapes it has
        fixed = of_layout(weights, Layout.of(coded_format(fmt), weights.layout.transform_sizes), "weights")
    else:
        fixed = WeightBuffer(fmt, transform_sizes)
        if weights is not None:
            fixed.fill(weights)
    return lambda picture: fixed, fixed.layout, fixed.is_flat()


def _check_output(output: Path, source: _Source, config: Path) -> None:
    """Refuse what `write_frames` would refuse when all is coded, and what would overwrite an input."""
    check_output(output, source.frames)
    if any(same_file(output, path) for path in (*source.files, config)):
        raise FprdoError(f"recon {output}: is read in this encode; give another name")
    if output.is_dir():
        raise FprdoError(f"recon {output}: is a folder; give a file name")
