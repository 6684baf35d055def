"""What the tests of the bridge share: exact maps, blocks, encoders opened from files or providers."""

import os
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from fprdo_bridge.importance.idse_file import WeightMap, ones
from fprdo_bridge.native._idse import ffi, lib
from fprdo_bridge.native.picture import ONE, WeightedPicture, default_settings
from fprdo_bridge.settings import IdseOptions
from fprdo_bridge.video.formats import VideoFormat

INTRA, SKIP, RESIDUAL, INTER, CHROMA = 1, 2, 4, 8, 16
SIZES = (4, 8, 16, 32)
PLAIN = IdseOptions(tau=0, power=1, clip=0)  # weights go through as they are
CHROMAS = st.sampled_from(("400", "420", "422", "444"))
SEEDS = st.integers(0, 2**32 - 1)


def of_sum(values: np.ndarray, total: int) -> np.ndarray:
    """Whole numbers proportional to `values`, >= 0, of exactly this sum: the running sum is what is rounded."""
    running = np.floor(np.cumsum(values.ravel()) * (total / values.sum()) + 0.5)
    running[-1] = total
    return np.diff(running, prepend=0).reshape(values.shape).astype(np.int64)


def exact_plane(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Weights of mean exactly 1.0 over four decades, from 1 on: the kernel's normalisation leaves them as they are."""
    above_one = of_sum(np.exp(rng.normal(0, 2, shape)), (ONE - 1) * shape[0] * shape[1])
    return (1 + above_one).clip(1, 65535).astype(np.uint16)


def is_exact(plane: np.ndarray) -> bool:
    return plane.sum(dtype=np.int64) == ONE * plane.size  # not if 65535 cut something off


def random_shapes(rng: np.random.Generator, fmt: VideoFormat, sizes=SIZES) -> dict[int, tuple[np.ndarray, ...]]:
    """Transform shapes, each block of mean exactly 1.0."""
    shapes = {}
    for n in sizes:
        planes = []
        for rows, columns in fmt.plane_shapes:
            grid = [
                [of_sum(rng.exponential(1, (n, n)), ONE * n * n) for _ in range(-(-columns // n))]
                for _ in range(-(-rows // n))
            ]
            planes.append(np.block(grid).astype(np.uint16))
        shapes[n] = tuple(planes)
    return shapes


def flat(fmt: VideoFormat, value: int = ONE) -> tuple[np.ndarray, ...]:
    return tuple(np.full(shape, value, np.uint16) for shape in fmt.plane_shapes)


def padded(plane: np.ndarray) -> np.ndarray:
    """The plane as blocks of a padded picture see it, up to the end of the last CTU."""
    rows, columns = plane.shape
    return np.pad(plane, ((0, -rows % 64), (0, -columns % 64)), mode="edge")


def sse(picture: WeightedPicture, component: int, x: int, y: int, a: np.ndarray, b: np.ndarray, shift: int = 0) -> int:
    """The weighted distortion of a block in an intra decision."""
    found = picture.distortion(picture.block(INTRA, component, x, y, a, b, shift))
    assert found is not None
    return found


def read_weights(picture: WeightedPicture, component: int, shape: tuple[int, int]) -> np.ndarray:
    """Every weight of a plane as the kernel uses it."""
    return np.array([[picture.mean(component, x, y, 1, 1) for x in range(shape[1])] for y in range(shape[0])])


@st.composite
def blocks(draw):
    """A picture, a component, a block that may reach into the padding, and its place."""
    fmt = VideoFormat(draw(st.integers(1, 140)), draw(st.integers(1, 140)), draw(CHROMAS))
    component = draw(st.integers(0, len(fmt.plane_shapes) - 1))
    rows, columns = (-(-side // 64) * 64 for side in fmt.plane_shapes[component])
    if draw(st.booleans()):
        width = height = draw(st.sampled_from((4, 8, 16, 32, 64)))
    else:
        width, height = draw(st.sampled_from((2, 4, 8, 12, 16, 24, 32, 48, 64))), draw(st.integers(1, 64))
    return fmt, component, draw(st.integers(0, columns - width)), draw(st.integers(0, rows - height)), width, height


# ---- encoders ----------------------------------------------------------------------------------------------------

CLIP = VideoFormat(20, 12)


def sequence(fmt: VideoFormat, frames: int, step: int = 1) -> object:
    return ffi.new(
        "idse_sequence *",
        dict(
            width=fmt.width,
            height=fmt.height,
            coded_width=fmt.width + 4,
            coded_height=fmt.height + 4,
            chroma_format_idc=fmt.chroma_format_idc,
            frames=frames,
            frame_step=step,
        ),
    )


def open_encoder(
    path: Path | str, fmt: VideoFormat = CLIP, frames: int = 1, step: int = 1, provider=ffi.NULL, **options
) -> object | str:
    """An open handle, or the message why there is none."""
    chosen = ffi.new("idse_settings *", {**default_settings(), **options})
    message = ffi.new("char[]", lib.IDSE_MESSAGE_BYTES)
    handle = lib.idse_encoder_open(os.fsencode(path), chosen, sequence(fmt, frames, step), provider, message)
    if handle == ffi.NULL:
        return ffi.string(message).decode()
    assert ffi.string(message) == b""
    return ffi.gc(handle, lib.idse_encoder_close)


def said(handle: object) -> str:
    return ffi.string(lib.idse_message(handle)).decode()


def map_of(fmt: VideoFormat, corner: float) -> WeightMap:
    """A first sample that weighs more than the others."""
    whole = ones(fmt)
    for plane in whole.planes:
        plane[0, 0] = corner
        plane[0, 1] = 2 - corner
    return whole
