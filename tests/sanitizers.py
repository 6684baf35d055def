"""What a compiler needs for AddressSanitizer and UBSan."""

import shutil
import subprocess
from pathlib import Path


def sanitizer_flags(folder: Path) -> list[str] | None:
    """Flags for both sanitizers, None where the compiler or their runtime is missing. A probe is left in `folder`."""
    flags = ["-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-fno-omit-frame-pointer"]
    probe = folder / "probe.c"
    probe.write_text("int main(void) { return 0; }\n")
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None
    built = subprocess.run([compiler, *flags, str(probe), "-o", str(folder / "probe")], capture_output=True)
    return None if built.returncode else flags
