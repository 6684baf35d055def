"""The coding structures that configurations are named after, the same for every encoder."""

from pathlib import Path

from fprdo_bridge.errors import FprdoError

KINDS = ("intra", "lowdelay", "randomaccess")
_CONFIGS = Path(__file__).resolve().parents[2] / "cfg"


def check_kind(kind: str) -> None:
    """FprdoError unless `kind` is one of KINDS."""
    if kind not in KINDS:
        raise FprdoError(f"coding structure {kind!r}: use one of {', '.join(KINDS)}")


def own_config(encoder: str, kind: str) -> Path:
    """cfg/ENCODER/KIND.cfg of this repository. Raises as `check_kind`."""
    check_kind(kind)
    return _CONFIGS / encoder / f"{kind}.cfg"


def config_text(path: Path) -> str:
    """Text of a configuration file, without the byte order mark that some editors put before it; bytes that are not
    UTF-8 stand for themselves.

    Raises
    ------
    FprdoError
        It cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise FprdoError(f"{path}: cannot be read ({error.strerror}); name an encoder configuration file") from None
