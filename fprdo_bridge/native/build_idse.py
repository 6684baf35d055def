"""cffi builder: compiles the bridge, the very files the encoders compile, into `fprdo_bridge.native._idse` (API mode).

The declarations are read from the headers between their C++ guards, so there is one list of them.
"""

import re
from pathlib import Path

from cffi import FFI

HERE = Path(__file__).parent
HEADERS = ("idse.h", "jm.h", "x264.h", "x265.h")


def declarations(header: str) -> str:
    """The part of a header that cffi parses: everything between its C++ guards, with the fields of the settings."""
    body = header.split('extern "C" {\n#endif\n', 1)[1].split("#ifdef __cplusplus", 1)[0]
    settings = re.findall(r"^IDSE_SETTING\((\w+), (\w+),", (HERE / "settings.inc").read_text(), re.MULTILINE)
    fields = "".join(f"  {kind} {name};\n" for kind, name in settings)
    body = re.sub(r'#define IDSE_SETTING\(.*\n#include "settings.inc"\n', fields, body)
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
ffibuilder.cdef("".join(declarations((HERE / name).read_text()) for name in HEADERS) + CALLBACKS)
ffibuilder.set_source(
    "fprdo_bridge.native._idse",
    "".join(f'#include "{name}"\n' for name in HEADERS),
    sources=sorted(f"fprdo_bridge/native/{path.name}" for path in HERE.glob("[!_]*.c")),
    depends=sorted(f"fprdo_bridge/native/{path.name}" for path in HERE.glob("[!_]*.[hi]*")),
    include_dirs=["fprdo_bridge/native"],
    extra_compile_args=["-O3", "-std=c99"],
)

if __name__ == "__main__":
    ffibuilder.compile(verbose=True)
