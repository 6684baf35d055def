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
