"""cffi builder: compiles idse.c, the very file the encoders compile, into `fprdo_bridge.native._idse` (API mode).

The declarations are read from idse.h between its C++ guards, so there is one list of them.
"""

from pathlib import Path

from cffi import FFI

HERE = Path(__file__).parent


def declarations(header: str) -> str:
    """The part of idse.h that cffi parses: everything between the extern "C" guard and the C++ overloads."""
    body = header.split('extern "C" {\n#endif\n', 1)[1].split("#ifdef __cplusplus", 1)[0]
    return body.replace("FILE *out", "void *out")


# What worker.py answers when an encoder that runs as a library asks.
CALLBACKS = """
extern "Python" {
  int provider_begin(void *context, int poc, int frame, idse_map *map);
  void provider_end(void *context, int frame);
  double provider_distortion(void *context, const idse_block *block);
  void provider_refuse(void *context, double value);
}
"""

ffibuilder = FFI()
ffibuilder.cdef(declarations((HERE / "idse.h").read_text()) + CALLBACKS)
ffibuilder.set_source(
    "fprdo_bridge.native._idse",
    '#include "idse.h"',
    sources=["fprdo_bridge/native/idse.c"],
    include_dirs=["fprdo_bridge/native"],
    extra_compile_args=["-O3", "-std=c99"],
)

if __name__ == "__main__":
    ffibuilder.compile(verbose=True)
