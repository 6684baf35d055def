"""Output files appear whole or not at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fprdo_bridge.errors import FprdoError


@contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` when the block succeeds, remove it otherwise.

    The temporary name keeps the suffix of `path`, because picture writers choose the format by it. Missing parent
    folders are made.

    Raises
    ------
    FprdoError
        The folder cannot be made or written, or the disk is full (any OSError inside the block).
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem[:40]}.", suffix=path.suffix)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        os.replace(temporary, path)
        temporary = None
    except OSError as error:
        raise FprdoError(f"{path}: cannot be written ({error.strerror or error}); "
                         "check that the folder is writable and the disk has room") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
