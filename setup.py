"""Only what pyproject.toml cannot say: the package holds a module that cffi builds and one of pybind11."""

from pybind11.setup_helpers import Pybind11Extension
from setuptools import setup

setup(
    cffi_modules=["fprdo_bridge/native/build_idse.py:ffibuilder"],
    ext_modules=[
        Pybind11Extension(
            "fprdo_bridge.native._quantise",
            ["fprdo_bridge/native/quantise.cpp"],
            cxx_std=17,
            extra_compile_args=["-O3"],
        )
    ],
)
