"""How a user names an extractor: NAME[@SCALES][:LAYERS].

| text | means |
|---|---|
| `lite0`, `efficientnet_lite0` | a network of this package; so are lite1 and lite2 |
| `my_task:detector` | a plug-in: the callable `detector` of the module `my_task` |
| `lite0@224` | the network looks at the picture reduced or enlarged to a short side of 224 samples |
| `lite0@224,352,full` | it looks three times, at the picture's own size too |
| `my_task:detector:neck,head` | the feature maps of the layers `neck` and `head` |
| `lite0@224:_blocks.4` | both |
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from fprdo_bridge.errors import FprdoError

EFFICIENTNET_LITE = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")
DEFAULT_EXTRACTOR = "efficientnet_lite0@224,full"  # as classifiers look, and as networks of positions do
_SHORT_NAMES = {name.removeprefix("efficientnet_"): name for name in EFFICIENTNET_LITE}
_BUILT_IN = {name: name for name in EFFICIENTNET_LITE} | _SHORT_NAMES

Scale = int | None  # luma samples of the picture's short side as the network sees it; None: the picture's own size
FULL: tuple[Scale, ...] = (None,)
SMALLEST_SCALE, LARGEST_SCALE = 16, 4096

_FORM = re.compile(
    rf"(?P<name>{'|'.join(map(re.escape, _BUILT_IN))}|[^:@]*:[^:@]*)"
    r"(?:@(?P<scales>[^:]*))?(?::(?P<layers>.*))?",
    re.DOTALL,
)


@dataclass(frozen=True)
class Specification:
    """An extractor as its user names it.

    Attributes
    ----------
    name : "efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2" or "module:callable"
    layers : names of feature maps; None where the text names none
    scales : at which sizes the network looks, see `Scale`; one or more, all different
    """

    name: str
    layers: tuple[str, ...] | None = None
    scales: tuple[Scale, ...] = FULL

    @classmethod
    def parse(cls, text: str) -> Specification:
        """The specification that `text` is.

        Raises
        ------
        FprdoError
            It has not the form NAME[@SCALES][:LAYERS]; the message names the part.
        """
        found = _FORM.fullmatch(text) if isinstance(text, str) else None
        if found is None:
            raise FprdoError(
                f"unknown extractor {text!r}: use {', '.join(EFFICIENTNET_LITE)} (short: "
                f"{', '.join(_SHORT_NAMES)}) or a plug-in module:callable, then @SCALES and :LAYERS if you like"
            )
        name, scales, layers = found["name"], found["scales"], found["layers"]
        return cls(
            _BUILT_IN.get(name, name),
            None if layers is None else _layers(layers, text),
            FULL if scales is None else _scales(scales, text),
        )

    @property
    def is_plug_in(self) -> bool:
        """Whether the network is a user's own."""
        return self.name not in EFFICIENTNET_LITE


def scale_names(scales: tuple[Scale, ...]) -> list[int | str]:
    """Scales as metadata and messages name them: the short side, or "full"."""
    return ["full" if scale is None else scale for scale in scales]


def _layers(text: str, whole: str) -> tuple[str, ...]:
    layers = tuple(text.split(","))
    if not all(layers):
        raise FprdoError(f"extractor {whole}: a layer without a name; write the layers like :LAYER,LAYER")
    return layers


def _scales(text: str, whole: str) -> tuple[Scale, ...]:
    scales = tuple(_scale(part, whole) for part in text.split(","))
    for scale in scales:
        if scales.count(scale) > 1:
            raise FprdoError(f"extractor {whole}: scale {scale_names((scale,))[0]} stands twice; name it once")
    return scales


def _scale(text: str, whole: str) -> Scale:
    if text == "full":
        return None
    if not re.fullmatch("[0-9]{1,6}", text) or not SMALLEST_SCALE <= int(text) <= LARGEST_SCALE:
        raise FprdoError(
            f"extractor {whole}: scale {text!r}; use the samples of the short side, {SMALLEST_SCALE} to "
            f"{LARGEST_SCALE}, or full, such as @224 or @224,352,full"
        )
    return int(text)
