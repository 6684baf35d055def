"""The virtual environment .venv, which holds the package, what it needs, and build tools that the system lacks."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sys
import sysconfig
from pathlib import Path

from third_party.compilers import find_compilers
from third_party.console import LOGS, ROOT, BuildError, Progress, run, say
from third_party.trees import digest, read_json, write_atomically

VENV = ROOT / ".venv"
NATIVE = ROOT / "fprdo_bridge" / "native"
VENV_STAMP = VENV / "fprdo-installed.json"
PACKAGE_LOG = LOGS / "python-packages.log"
NO_CUDA = (
    "on Linux, torch's default wheel brings several GB of CUDA; to take the CPU wheel, set PIP_INDEX_URL to "
    "PyTorch's index of CPU wheels and PIP_EXTRA_INDEX_URL to your usual one before build.py runs"
)


def venv_origin() -> dict[str, str]:
    """What a .venv is made anew for: a venv holds absolute paths, and modules compiled for one version of Python."""
    return {"place": str(ROOT), "python": sys.implementation.cache_tag}


def write_venv_stamp(**content: object) -> None:
    write_atomically(VENV_STAMP, json.dumps(venv_origin() | content).encode())


def venv_is_ours() -> bool:
    """Whether .venv was made where this checkout is, by this version of Python."""
    return venv_origin().items() <= read_json(VENV_STAMP).items()


def find_program(name: str) -> str | None:
    ours = VENV / "bin" / name
    return shutil.which(name) or (str(ours) if venv_is_ours() and os.access(ours, os.X_OK) else None)


def make_venv() -> None:
    """An interpreter with pip in .venv; made again if the checkout has moved or Python is another one."""
    if venv_is_ours() and (VENV / "bin" / "python").exists():
        return
    if importlib.util.find_spec("ensurepip") is None:
        raise BuildError(f"{sys.executable} cannot make virtual environments (no ensurepip); install python3-venv")
    LOGS.mkdir(parents=True, exist_ok=True)
    with Progress("Python: making .venv") as progress:
        run(
            [sys.executable, "-m", "venv", *(["--clear"] if VENV_STAMP.exists() else []), str(VENV)],
            PACKAGE_LOG,
            progress,
        )
    write_venv_stamp()


def pip_install(label: str, arguments: list[str]) -> None:
    command = [
        str(VENV / "bin" / "python"),
        "-m",
        "pip",
        "install",
        "--no-input",
        "--disable-pip-version-check",
        "--progress-bar",
        "off",
        "-c",
        str(ROOT / "constraints.txt"),
        *arguments,
    ]
    LOGS.mkdir(parents=True, exist_ok=True)
    try:
        with Progress(f"Python: installing {label}") as progress:
            run(command, PACKAGE_LOG, progress)
    except BuildError as error:
        raise BuildError(
            f"{error}; check the network, pip's settings and the disk's room, then run it again", error.detail
        ) from error


def package_key() -> str:
    inputs = [ROOT / name for name in ("pyproject.toml", "setup.py", "constraints.txt")]
    inputs += [
        path
        for path in sorted(NATIVE.rglob("*"))
        if path.suffix in (".c", ".cpp", ".h", ".inc") and not path.name.startswith("_")
    ]  # made from the others
    inputs.append(NATIVE / "build_idse.py")
    return digest(*(path.read_bytes() for path in inputs))


def package_installed(extras: tuple[str, ...] = ()) -> bool:
    stamp = read_json(VENV_STAMP)
    return (
        venv_is_ours()
        and stamp.get("key") == package_key()
        and set(extras) <= set(stamp.get("extras", ()))
        and (VENV / "bin" / "fprdo").exists()
    )


def install_package(extras: tuple[str, ...] = ()) -> None:
    """The package, editable, with its dependencies and compiled kernel, in .venv."""
    if package_installed(extras):
        say("Python packages: ready in .venv")
        return
    find_compilers()
    if not (Path(sysconfig.get_path("include")) / "Python.h").exists():
        raise BuildError(f"{sys.executable} has no Python.h, which the kernel's binding needs; install python3-dev")
    make_venv()
    PACKAGE_LOG.unlink(missing_ok=True)
    extras = tuple(sorted({*extras, *read_json(VENV_STAMP).get("extras", ())}))
    write_venv_stamp(extras=extras)
    for old in NATIVE.glob("_*.so"):  # so that they are compiled from the source as it is now
        old.unlink()
    # The build's requirements come first, pinned as the rest; then no second, unpinned set has to be fetched for it.
    pip_install("what builds the package", ["setuptools", "setuptools-scm", "cffi", "pybind11"])
    pip_install(
        "the package and what it needs",
        ["--no-build-isolation", "-e", str(ROOT) + (f"[{','.join(extras)}]" if extras else "")],
    )
    write_venv_stamp(extras=extras, key=package_key())
