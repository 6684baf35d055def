"""What the commands work on: a picture or a raw YUV file, as frames of one format."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from fprdo_bridge.errors import FprdoError
from fprdo_bridge.video import y4m
from fprdo_bridge.video.formats import Frame, VideoFormat
from fprdo_bridge.video.pictures import load_picture, picture_to_frame
from fprdo_bridge.video.raw import count_frames, guess_format, guess_frame_rate, read_yuv, write_yuv


@dataclass(frozen=True)
class FormatRequest:
    """What the user said about the format; None: read off the file's name, or the default of VideoFormat."""

    size: tuple[int, int] | None = None
    chroma: str | None = None
    bit_depth: int | None = None
    matrix: str | None = None
    full_range: bool | None = None
    siting: str | None = None

    @classmethod
    def of(cls, fmt: VideoFormat | None) -> "FormatRequest":
        """That it be this very format; None: nothing was said."""
        if fmt is None:
            return cls()
        return cls((fmt.width, fmt.height), fmt.chroma, fmt.bit_depth, fmt.matrix, fmt.full_range, fmt.siting)

    def apply(self, fmt: VideoFormat) -> VideoFormat:
        """`fmt` with what was asked for; FprdoError if the result is no format."""
        asked = {name: value for name, value in vars(self).items() if name != "size" and value is not None}
        width, height = self.size or (fmt.width, fmt.height)
        return replace(fmt, width=width, height=height, **asked)


@dataclass(frozen=True)
class Source:
    """Frames of one format.

    Attributes
    ----------
    name : short, fit for a file name
    origin : the file, or `skimage:NAME` of a picture
    fmt : VideoFormat
    frames : number of frames, from the first on
    frame_rate : pictures per second
    picture : the frame of a single picture; None for a YUV file, which is read as it is needed
    """

    name: str
    origin: str
    fmt: VideoFormat
    frames: int
    frame_rate: Fraction
    picture: Frame | None = None

    def read(self) -> Iterator[Frame]:
        """The frames, one in memory at a time."""
        if self.picture:
            return iter([self.picture])
        if self.is_y4m:
            return y4m.read_frames(self.origin, self.fmt, self.frames)
        return read_yuv(self.origin, self.fmt, count=self.frames)

    @property
    def is_y4m(self) -> bool:
        """Whether the source is a file with headers, not raw samples."""
        return Path(self.origin).suffix.lower() == ".y4m"

    def yuv(self, folder: Path) -> Path:
        """A raw file with (at least) these frames: the source itself, or samples of a picture or .y4m written into `folder`."""
        if self.picture is None and not self.is_y4m:
            return Path(self.origin)
        path = folder / f"{self.name}.yuv"
        write_yuv(path, self.read(), self.fmt)
        return path

    def sha256(self) -> str:
        """Hash of format and samples; it decides whether a result belongs to these frames."""
        digest = hashlib.sha256(f"{self.fmt!r} {self.frames}".encode())  # str leaves out what the samples mean
        for frame in self.read():
            for plane in frame:
                digest.update(plane.tobytes())
        return digest.hexdigest()


def open_source(origin: str, request: FormatRequest = FormatRequest(), frames: int | None = None,
                frame_rate: Fraction | None = None) -> Source:
    """A picture (PNG, JPEG, WebP, `skimage:NAME`) converted to Y'CbCr, a raw .yuv file or a .y4m file.

    Parameters
    ----------
    origin : path or `skimage:NAME`
    request : for a picture, what to convert to, its size is its own; for a raw file, what it holds; for a .y4m file what
        its header does not say: matrix, range, siting
    frames : use only the first frames; None for all
    frame_rate : None: from the file's header or name, else 30

    Raises
    ------
    FprdoError
        The source cannot be read, its size is unknown or asked to be another, or it has fewer frames.
    """
    rate = frame_rate or guess_frame_rate(origin) or Fraction(30)
    if Path(origin).suffix.lower() == ".yuv":
        fmt = request.apply(VideoFormat(*request.size) if request.size else guess_format(origin))
        available = count_frames(origin, fmt)
        if frames is not None and not 1 <= frames <= available:
            raise FprdoError(f"{origin}: has {available} frames, {frames} asked for; use --frames 1 to {available}")
        return Source(Path(origin).stem, origin, fmt, frames or available, rate)

    if Path(origin).suffix.lower() == ".y4m":
        own, own_rate = y4m.read_header(origin)
        fmt = request.apply(own)
        if (fmt.width, fmt.height, fmt.chroma, fmt.bit_depth) != (own.width, own.height, own.chroma, own.bit_depth):
            raise FprdoError(f"{origin}: holds {own}, not {fmt}; leave size, chroma format and bit depth out for a .y4m file")
        available = y4m.count_frames(origin)
        if frames is not None and not 1 <= frames <= available:
            raise FprdoError(f"{origin}: has {available} frames, {frames} asked for; use --frames 1 to {available}")
        return Source(Path(origin).stem, origin, fmt, frames or available, frame_rate or own_rate or rate)

    rgb = load_picture(origin)
    height, width = rgb.shape[:2]
    if request.size not in (None, (width, height)):
        raise FprdoError(f"{origin}: is {width}x{height}, not {request.size[0]}x{request.size[1]}; "
                         "leave --size out for a picture")
    if frames not in (None, 1):
        raise FprdoError(f"{origin}: a picture is 1 frame, {frames} asked for; leave --frames out")
    fmt = request.apply(VideoFormat(width, height))
    name = Path(origin).stem if Path(origin).suffix else origin.rpartition(":")[2]
    return Source(name, origin, fmt, 1, rate, picture_to_frame(rgb, fmt))
