"""What the commands work on: a picture, numbered pictures, a raw YUV file, a .y4m file or a container, as frames of one
format."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from fprdo_bridge.errors import FprdoError
from fprdo_bridge.video import container, y4m
from fprdo_bridge.video.formats import Frame, VideoFormat
from fprdo_bridge.video.picture_reader import SKIMAGE_PREFIX, SUFFIXES, read_picture
from fprdo_bridge.video.picture_series import is_series, read_series, series_files, series_name
from fprdo_bridge.video.pictures import picture_to_frame
from fprdo_bridge.video.raw import count_frames, read_yuv, write_yuv
from fprdo_bridge.video.raw_layout import PLANAR, RawLayout, check_layout
from fprdo_bridge.video.raw_name import rate_in_name, read_name


@dataclass(frozen=True)
class FormatRequest:
    """What the user said about the format; None: read off the file, its name, or the default of VideoFormat."""

    size: tuple[int, int] | None = None
    chroma: str | None = None
    bit_depth: int | None = None
    matrix: str | None = None
    full_range: bool | None = None
    siting: str | None = None
    aspect: tuple[int, int] | None = None

    @classmethod
    def of(cls, fmt: VideoFormat | None) -> "FormatRequest":
        """That it be this very format; None: nothing was said."""
        if fmt is None:
            return cls()
        return cls(
            (fmt.width, fmt.height), fmt.chroma, fmt.bit_depth, fmt.matrix, fmt.full_range, fmt.siting, fmt.aspect
        )

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
    name : last part of `origin` without a known suffix, fit for a file name
    origin : the file, or `skimage:NAME` of a picture
    fmt : VideoFormat
    frames : number of frames, from `skip` on
    frame_rate : pictures per second
    picture : the frame of a single picture; None for a YUV file, which is read as it is needed
    skip : frames of the file before the first of these
    layout : how the samples of a raw file lie
    notes : what the user should know, such as a conversion of colours; one line each
    """

    name: str
    origin: str
    fmt: VideoFormat
    frames: int
    frame_rate: Fraction
    picture: Frame | None = None
    skip: int = 0
    layout: RawLayout = PLANAR
    notes: tuple[str, ...] = ()

    def read(self) -> Iterator[Frame]:
        """The frames, one in memory at a time."""
        if self.picture:
            return iter([self.picture])
        if self.is_y4m:
            return y4m.read_frames(self.origin, self.fmt, self.frames, self.skip)
        if container.is_container(self.origin):
            return container.read_frames(self.origin, self.fmt, self.frames, self.skip)
        if is_series(self.origin):
            return read_series(series_files(self.origin)[self.skip : self.skip + self.frames], self.fmt)
        return read_yuv(self.origin, self.fmt, self.skip, self.frames, self.layout)

    @property
    def is_raw(self) -> bool:
        """Whether the source is a file of raw samples."""
        return self.picture is None and Path(self.origin).suffix.lower() == ".yuv"

    @property
    def is_y4m(self) -> bool:
        """Whether the source is a file with headers, not raw samples."""
        return Path(self.origin).suffix.lower() == ".y4m"

    def yuv(self, folder: Path) -> Path:
        """A planar raw file that begins with these frames: the source itself, or a copy of them in `folder`."""
        if self.is_raw and self.skip == 0 and self.layout == PLANAR:
            return Path(self.origin)
        path = folder / f"{self.name}.yuv"
        write_yuv(path, self.read(), self.fmt)
        return path

    def sha256(self) -> str:
        """Hash of format and samples of these frames; it decides whether a result belongs to them."""
        digest = self.digest()
        for frame in self.read():
            self.add(digest, frame)
        return digest.hexdigest()

    def digest(self) -> "hashlib._Hash":
        """What `sha256` begins with: the format. For who reads the frames anyway and adds each."""
        return hashlib.sha256(f"{self.fmt!r} {self.frames}".encode())  # str leaves out what the samples mean

    @staticmethod
    def add(digest: "hashlib._Hash", frame: Frame) -> None:
        """Add a frame to a `digest`."""
        for plane in frame:
            digest.update(plane.tobytes())


def open_source(
    origin: str,
    request: FormatRequest = FormatRequest(),
    frames: int | None = None,
    frame_rate: Fraction | None = None,
    skip: int = 0,
) -> Source:
    """A picture (PNG, JPEG, WebP, `skimage:NAME`) or numbered ones converted to Y'CbCr, a raw .yuv file, a .y4m file,
    or a container such as .mp4.

    Parameters
    ----------
    origin : path, `skimage:NAME`, or a pattern of numbered pictures such as shot-%04d.png
    request : for a picture, what to convert to, its size is its own; for a raw file, what its name does not say
        (raw_name.read_name) or says wrongly; for a .y4m file what its header does not say: matrix, range, siting;
        for a container the same, where it says it wrongly
    frames : use only so many frames; None for all
    frame_rate : None: from the file's header or name, else 30
    skip : leave out so many frames at the beginning

    Raises
    ------
    FprdoError
        The source cannot be read, its size is unknown or asked to be another, or it has fewer frames.
    """
    name = source_name(origin)
    if skip < 0:
        raise FprdoError(f"{origin}: the first {skip} frames cannot be left out; use --skip 0 or more")
    if frames is not None and frames < 1:
        raise FprdoError(f"{origin}: {frames} frames asked for; use --frames 1 or more")
    suffix = Path(origin).suffix.lower()
    layout = PLANAR
    if suffix == ".yuv":
        fmt, layout, rate = _raw_format(origin, request)
        rate = frame_rate or rate
        available = count_frames(origin, fmt)
    elif suffix == ".y4m":
        header = y4m.read_header(origin)
        fmt = _of_file(origin, header.fmt, request, "a .y4m file")
        rate = frame_rate or header.frame_rate or rate_in_name(origin)
        available = y4m.count_frames(origin, None if frames is None else skip + frames)
    elif container.is_container(origin):
        stream = container.read_stream(origin)
        fmt = _of_file(origin, stream.fmt, request, "a container")
        rate = frame_rate or stream.frame_rate
        available = container.count_frames(origin, stream.fmt, None if frames is None else skip + frames)
    elif is_series(origin):
        return _open_series(origin, name, request, frames, frame_rate, skip)
    else:
        return _open_picture(origin, name, request, frames, frame_rate, skip)
    _check_count(origin, available, frames, skip)
    return Source(name, origin, fmt, frames or available - skip, rate or Fraction(30), skip=skip, layout=layout)


def _of_file(origin: str, own: VideoFormat, request: FormatRequest, kind: str) -> VideoFormat:
    """What a file says it holds, with what was asked for; FprdoError if those contradict each other."""
    fmt = request.apply(own)
    if str(fmt) != str(own):  # size, chroma format and bit depth
        raise FprdoError(f"{origin}: holds {own}, not {fmt}; leave size, chroma format and bit depth out for {kind}")
    return fmt


def _check_count(origin: str, available: int, frames: int | None, skip: int) -> None:
    if skip >= available:
        raise FprdoError(
            f"{origin}: has {available} frames, the first {skip} are left out; use --skip 0 to {available - 1}"
        )
    if frames is not None and skip + frames > available:
        after = f" after the first {skip}" if skip else ""
        raise FprdoError(
            f"{origin}: has {available} frames, {frames} asked for{after}; use --frames 1 to {available - skip}"
        )


def source_name(origin: str) -> str:
    """Last part of a path, without the suffix if it is that of a source, or NAME of `skimage:NAME`.

    Files of a run are called after it, so that it must not lead into another folder.

    Raises
    ------
    FprdoError
        `origin` ends with no name, such as "" or "/".
    """
    if origin.startswith(SKIMAGE_PREFIX):
        name = origin.removeprefix(SKIMAGE_PREFIX)
    else:
        path = Path(origin)
        known = (".yuv", ".y4m", *SUFFIXES, *container.SUFFIXES)
        name = series_name(path) if is_series(path) else path.stem if path.suffix.lower() in known else path.name
    if not name or name == ".." or "/" in name or "\0" in name:
        raise FprdoError(f"{origin!r}: is not the name of a source; give a file, or skimage:NAME")
    return name


def _raw_format(origin: str, request: FormatRequest) -> tuple[VideoFormat, RawLayout, Fraction | None]:
    """Format, layout and frame rate of a raw file: what the user says, else what its name says, else the default."""
    said = read_name(origin, request.bit_depth)
    if request.size is None and len(said.sizes) != 1:
        raise FprdoError(
            f"{origin}: the name says {'more than one' if said.sizes else 'no'} picture size "
            "(like clip_416x240.yuv); give the size explicitly"
        )
    named = {
        what: value
        for what in ("chroma", "bit_depth", "matrix", "full_range", "siting")
        if (value := getattr(said, what)) is not None
    }
    try:
        fmt = request.apply(VideoFormat(*(request.size or said.sizes[0]), **named))
        layout = said.layout if fmt.bit_depth > 8 else replace(said.layout, big_endian=False)
    except FprdoError as error:
        raise FprdoError(f"{origin}: {error}") from None
    if layout != PLANAR:
        for option, asked, own in (
            ("--chroma", request.chroma, said.chroma),
            ("--bit-depth", request.bit_depth, said.bit_depth),
        ):
            if asked is not None and own is not None and asked != own:
                raise FprdoError(f"{origin}: its name says a layout of {own}, {option} {asked}; leave one of them out")
    check_layout(fmt, layout, origin)
    return fmt, layout, said.frame_rate


def _open_picture(
    origin: str, name: str, request: FormatRequest, frames: int | None, frame_rate: Fraction | None, skip: int
) -> Source:
    loaded = read_picture(origin)
    height, width = loaded.rgb.shape[:2]
    if request.size not in (None, (width, height)):
        raise FprdoError(
            f"{origin}: is {width}x{height}, not {request.size[0]}x{request.size[1]}; leave --size out for a picture"
        )
    if frames not in (None, 1):
        raise FprdoError(f"{origin}: a picture is 1 frame, {frames} asked for; leave --frames out")
    if skip:
        raise FprdoError(f"{origin}: a picture is 1 frame, the first {skip} are left out; leave --skip out")
    fmt = request.apply(VideoFormat(width, height, aspect=loaded.aspect))
    return Source(
        name,
        origin,
        fmt,
        1,
        frame_rate or rate_in_name(origin) or Fraction(30),
        picture_to_frame(loaded.rgb, fmt),
        notes=tuple(f"{origin}: {note}" for note in loaded.notes),
    )


def _open_series(
    origin: str, name: str, request: FormatRequest, frames: int | None, frame_rate: Fraction | None, skip: int
) -> Source:
    files = series_files(origin)
    _check_count(origin, len(files), frames, skip)
    loaded = read_picture(files[skip])
    height, width = loaded.rgb.shape[:2]
    if request.size not in (None, (width, height)):
        raise FprdoError(
            f"{origin}: holds {width}x{height} pictures, not {request.size[0]}x{request.size[1]}; leave --size out"
        )
    return Source(
        name,
        origin,
        request.apply(VideoFormat(width, height, aspect=loaded.aspect)),
        frames or len(files) - skip,
        frame_rate or rate_in_name(origin) or Fraction(30),
        skip=skip,
        notes=tuple(f"{files[skip]}: {note}" for note in loaded.notes),
    )
