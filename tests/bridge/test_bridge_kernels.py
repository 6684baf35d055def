"""Every version of the weighted SSE against the scalar one, bit for bit; the bridge under sanitizers."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sanitizers import sanitizer_flags

from fprdo_bridge.native._idse import ffi, lib
from fprdo_bridge.native.picture import WeightedPicture
from fprdo_bridge.settings import IdseOptions
from fprdo_bridge.video.formats import VideoFormat

ROOT = Path(__file__).resolve().parents[2]
FMT = VideoFormat(200, 136, "400")
KERNELS = {"AVX2": lib.IDSE_AVX2, "NEON": lib.IDSE_NEON}
SAMPLES = (np.int16, np.int32, np.uint16, np.uint8)


def picture_of(weights: np.ndarray) -> WeightedPicture:
    return WeightedPicture((weights,), {}, FMT, IdseOptions(tau=0))


def distortions(picture: WeightedPicture, x: int, y: int, a: np.ndarray, b: np.ndarray, shift: int) -> list[int]:
    """The block's distortion by every way on which samples of this type go."""
    found = [picture.distortion(picture.block(lib.IDSE_INTRA, 0, x, y, a, b, shift))]
    if a.dtype.kind == "i":
        return found
    found += [
        picture.scaled_distortion(picture.block(lib.IDSE_INTRA, 0, x, y, a, b), scale) for scale in (65536, 41285)
    ]
    # The block in an original that begins at the picture's corner.
    height, width = a.shape
    plane = np.zeros((FMT.height + 64, FMT.width + 64), a.dtype)
    plane[y : y + height, x : x + width] = a
    handle, result = picture._picture, ffi.new("int64_t *")
    lib.idse_jm_original(handle, 0, ffi.cast("void *", plane.ctypes.data), plane.strides[0], plane.shape[0], a.itemsize)
    block = picture.block(lib.IDSE_INTRA, 0, 0, 0, plane[y : y + height, x : x + width], b)
    assert lib.idse_jm_distortion(handle, block, result)
    return [*found, result[0]]


def by_kernels(weights: np.ndarray, *block) -> dict[str, list[int]]:
    found = {}
    for name, number in {"scalar": lib.IDSE_SCALAR, **KERNELS}.items():
        picture = picture_of(weights)
        if lib.idse_use_kernels(picture._picture, number):
            found[name] = distortions(picture, *block)
    return found


def test_this_machine_has_a_vector_version():
    features = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    expected = "AVX2" if " avx2 " in features else "NEON" if os.uname().machine == "aarch64" else None
    if expected is None:
        pytest.skip("no AVX2, no AArch64")
    assert lib.idse_use_kernels(picture_of(np.full((136, 200), 256, np.uint16))._picture, KERNELS[expected])


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(sorted(SAMPLES, key=str)),
    st.sampled_from((2, 3, 4, 6, 8, 12, 16, 20, 24, 32, 48, 64)),
    st.sampled_from((1, 2, 3, 4, 7, 8, 16, 32, 64)),
    st.integers(0, 40),
    st.integers(0, 40),
    st.integers(1, 16),
    st.booleans(),
    st.sampled_from((0, 2, 4, 16)),
    st.integers(0, 2**32 - 1),
)
def test_vector_kernels_are_the_scalar_one(sample, width, height, x, y, depth, extreme, shift, seed):
    rng = np.random.default_rng(seed)
    info = np.iinfo(sample)
    low, high = max(int(info.min), -(2 ** (depth - 1))), min(int(info.max), 2**depth - 1)
    draw = (
        (lambda: rng.choice([low, high], (height + 1, width + 5)))
        if extreme
        else (lambda: rng.integers(low, high, (height + 1, width + 5), endpoint=True))
    )
    a, b = (draw().astype(sample) for _ in range(2))
    weights = (
        rng.choice([1, 255, 256, 257, 32768, 65535], (136, 200)) if extreme else rng.integers(1, 65536, (136, 200))
    )
    found = by_kernels(weights.astype(np.uint16), x, y, a[:height, :width], b[:height, :width].copy(), shift)
    assert all(values == found["scalar"] for values in found.values()), found


@pytest.mark.parametrize("sample", SAMPLES)
def test_largest_sum(sample):
    """A 64x64 block of the largest difference that a sample type has: 4096 of its squares, at weight 1.0."""
    info = np.iinfo(np.int16 if sample == np.int32 else sample)  # of up to 16 bits
    a, b = np.full((65, 64), info.max, sample), np.full((65, 64), info.min, sample)
    largest = 4096 * (int(info.max) - int(info.min)) ** 2
    for values in by_kernels(np.full((136, 200), 256, np.uint16), 0, 0, a[:64], b[:64], 0).values():
        assert values[0] == largest


@pytest.mark.parametrize("machine", ["native", "aarch64"])
def test_kernels_in_c(tmp_path, machine):
    """What encoders are compiled of, without Python between; AArch64 in an emulator."""
    compiler, run = {"native": ("cc", []), "aarch64": ("aarch64-linux-gnu-gcc", ["qemu-aarch64"])}[machine]
    missing = [name for name in (compiler, *run) if shutil.which(name) is None]
    if missing:
        pytest.skip(f"no {' and no '.join(missing)}")
    program = tmp_path / "kernels"
    subprocess.run(
        [
            compiler,
            "-O2",
            "-std=gnu99",
            "-static",
            f"-I{ROOT / 'fprdo_bridge' / 'native'}",
            str(ROOT / "tests" / "bridge" / "kernels.c"),
            *map(str, sorted((ROOT / "fprdo_bridge" / "native").glob("kernels_*.c"))),
            "-o",
            str(program),
        ],
        check=True,
    )
    result = subprocess.run([*run, str(program)], capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (0, "0 of 20000 differ\n")


@pytest.mark.slow
def test_kernel_and_format_tests_under_sanitizers(tmp_path):
    """The bridge compiled with AddressSanitizer and UBSan in a copy of the package, and the tests that exercise it."""
    flags = sanitizer_flags(tmp_path)
    # Exceptions of C++ pass through AddressSanitizer, which looks for their library when it is loaded itself.
    runtime = (
        [
            subprocess.run(["cc", f"-print-file-name={name}"], capture_output=True, text=True).stdout.strip()
            for name in ("libasan.so", "libstdc++.so.6")
        ]
        if flags
        else [""]
    )
    if not all(map(os.path.isabs, runtime)):
        pytest.skip("the compiler has no AddressSanitizer runtime to load before Python")
    shutil.copytree(
        ROOT / "fprdo_bridge", tmp_path / "fprdo_bridge", ignore=shutil.ignore_patterns("*.so", "*.o", "_idse.c")
    )
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    environment = {
        **os.environ,
        "PYTHONPATH": str(tmp_path),
        "CFLAGS": " ".join(flags),
        "LDFLAGS": " ".join(flags[2:3]),
    }
    built = subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext", "--inplace"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr[-2000:]
    environment |= {"LD_PRELOAD": " ".join(runtime), "ASAN_OPTIONS": "detect_leaks=0", "PYTHONMALLOC": "malloc"}
    where = subprocess.run(
        [
            sys.executable,
            "-c",
            "from fprdo_bridge.native import _idse, _quantise; print(_idse.__file__, _quantise.__file__)",
        ],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert where.stdout.count(str(tmp_path)) == 2, where.stderr[-2000:]
    tests = [str(ROOT / "tests" / name) for name in ("bridge", "test_idse_file.py")]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "not sanitizers and not wrap", *tests],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
