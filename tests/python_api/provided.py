"""Distortions that the tests of the Python API give to encoders; workers import them from here."""

import ctypes
import os
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np

from fprdo_bridge.session.picture import Block
from fprdo_bridge.video.formats import VideoFormat


def stripes(fmt: VideoFormat) -> list[np.ndarray]:
    """Pixel weights, 256 is 1.0, whose mean is exactly 1."""
    planes = []
    for rows, columns in fmt.plane_shapes:
        plane = np.full((rows, columns), 256, np.int64)
        plane[:, 1::4], plane[:, 3::4] = 32, 480
        planes.append(plane[:, ::-1] if columns % 4 == 0 else np.full((rows, columns), 256))
    return planes


_STRIPES = [np.pad(plane, ((0, 64), (0, 64)), "edge") for plane in stripes(VideoFormat(72, 56))]


def weighted(block: Block) -> float:
    """What the kernels compute with these weights."""
    error = block.original.astype(np.int64) - block.coded
    rows, columns = error.shape
    return (
        float((_STRIPES[block.component][block.y : block.y + rows, block.x : block.x + columns] * error * error).sum())
        / 256
    )


def plain(block: Block) -> float:
    error = block.original.astype(np.int64) - block.coded
    return float((error * error).sum())


def read_only(block: Block) -> float:
    for view in (block.original, block.coded):
        try:
            view[0, 0] = 1
        except ValueError:
            continue
        raise AssertionError("the encoder's samples can be written to")
    return plain(block)


def raises(block: Block) -> float:
    raise KeyError(f"component {block.component}")


def no_number(block: Block) -> float:
    return float("nan")


def negative(block: Block) -> float:
    return -1.0


def huge(block: Block) -> float:
    return 2.0**44


def nothing(block: Block):
    return None


def text(block: Block):
    return "1.0"


def truth(block: Block):
    return True


def array(block: Block):
    return np.ones(2)


def begun() -> None:
    """Say to the test (api_programs.wait_for) that this place is reached."""
    Path(os.environ["BEGUN"]).touch()


def sleeps(block: Block) -> float:
    begun()
    time.sleep(60)
    return 0.0


def kills(block: Block) -> float:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("still there")


def compiled_plain():
    """The same in C, through ctypes."""
    import subprocess
    import tempfile
    from pathlib import Path

    native = Path(__file__).resolve().parents[2] / "fprdo_bridge" / "native"
    folder = Path(tempfile.mkdtemp())
    (folder / "plain.c").write_text("""
        #include "idse.h"
        double plain(void *context, const idse_block *b)
        {
          (void)context;
          int64_t sum = 0;
          for (int y = 0; y < b->height; y++)
            for (int x = 0; x < b->width; x++)
            {
              const ptrdiff_t i = y * b->original_stride + x, j = y * b->coded_stride + x;
              const int e = b->is_signed ? ((const int16_t *)b->original)[i] - ((const int16_t *)b->coded)[j]
                                         : ((const uint16_t *)b->original)[i] - ((const uint16_t *)b->coded)[j];
              sum += (int64_t)e * e;
            }
          return (double)sum;
        }""")
    subprocess.run(
        ["cc", "-O2", "-shared", "-fPIC", f"-I{native}", str(folder / "plain.c"), "-o", str(folder / "plain.so")],
        check=True,
    )
    return ctypes.CDLL(str(folder / "plain.so")).plain


def zero(block: Block) -> float:
    return 0.0


class Scale:
    """A distortion with a state, which does not travel."""

    def distortion(self, block: Block | None = None) -> float:
        return 0.0

    @classmethod
    def of_the_class(cls, block: Block) -> float:
        return plain(block)


class OtherArguments(Exception):
    def __init__(self, block: Block, reason: str):
        super().__init__(f"{reason} at {block.x}")


class Lock(Exception):
    def __init__(self, text: str):
        super().__init__(text)
        self.lock = threading.Lock()


class OtherText(Exception):
    """Pickle makes another one of it without an error."""

    def __init__(self, text: str):
        super().__init__(f"code {text}")


class NoText(OtherArguments):
    def __str__(self) -> str:
        raise RuntimeError("not even a text")


def other_arguments(block: Block) -> float:
    raise OtherArguments(block, "first block")


def lock(block: Block) -> float:
    raise Lock("holds a lock")


def other_text(block: Block) -> float:
    raise OtherText("17")


def no_text(block: Block) -> float:
    raise NoText(block, "")


def exits(block: Block) -> float:
    sys.exit("enough")


def interrupts(block: Block) -> float:
    raise KeyboardInterrupt


def recurses(block: Block) -> float:
    return recurses(block)


def groups(block: Block) -> float:
    raise ExceptionGroup("two", [ValueError(1), KeyError(2)])


def is_full(block: Block) -> float:
    raise OSError(28, "full")


def raises_behind_a_pointer():
    @ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_void_p, ctypes.c_void_p)
    def distortion(context, block):
        raise KeyError("behind a pointer")

    return distortion
