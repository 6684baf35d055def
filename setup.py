"""Only what pyproject.toml cannot say: the package holds a module that cffi builds."""

from setuptools import setup

setup(cffi_modules=["fprdo_bridge/native/build_idse.py:ffibuilder"])
