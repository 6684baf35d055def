"""What a comparison measures: its settings, its points, and the BD-rates between them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from fprdo_bridge.ctc import metrics
from fprdo_bridge.ctc.statistics import Curve, bd_rate
from fprdo_bridge.encoders import DEFAULT
from fprdo_bridge.encoders.job import IdseOptions
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.importance.specification import DEFAULT_EXTRACTOR, EFFICIENTNET_LITE
from fprdo_bridge.importance.weighting import NO_NETWORK, WeightSettings

MODES = ("sse", "idse")


@dataclass(frozen=True)
class CompareSettings:
    """What a comparison does besides the sources.

    Parameters
    ----------
    qps : at least four, for BD-rate; what they are says `rate`
    config : coding structure ("intra", "lowdelay", "randomaccess") or an encoder configuration file
    options : further encoder options, for both modes
    idse_options : further encoder options for the weighted encodes alone
    idse : run-time settings of the weights
    weights : how weights are computed
    measure : extractors by whose features the decoded pictures are judged; empty: the one of the weights
    encoder : one of encoders.ENCODERS
    rate : what `qps` are, see EncodeJob.rate

    Raises
    ------
    FprdoError
        There are fewer than four different QPs.
    """

    qps: tuple[float, ...] = (27, 32, 37, 42)
    config: str = "intra"
    options: Mapping[str, str] = field(default_factory=dict)
    idse_options: Mapping[str, str] = field(default_factory=dict)
    idse: IdseOptions = IdseOptions()
    weights: WeightSettings = WeightSettings()
    measure: tuple[str, ...] = ()
    encoder: str = DEFAULT
    rate: str = "qp"

    def __post_init__(self) -> None:
        if len(set(self.qps)) < 4:
            raise FprdoError(f"QPs {', '.join(map(str, self.qps))}: BD-rate needs at least four different ones")

    @property
    def judges(self) -> tuple[str, ...]:
        """The extractors that measure; of the default weights, and of those without a network, it is the default
        network at the pictures' own size."""
        default = self.weights.extractor in (DEFAULT_EXTRACTOR, *NO_NETWORK) and not self.weights.layers
        return self.measure or (EFFICIENTNET_LITE[0] if default else self.weights.extractor,)


@dataclass(frozen=True)
class Point:
    """One encode, measured.

    Attributes
    ----------
    sequence : name of the source
    encoder : title and version, like "HM 18.0"
    mode : "sse" (stock encoder) or "idse" (patched encoder with weights)
    qp : quantisation parameter, or what else the settings' `rate` says
    frames, width, height : number of pictures, their size in luma samples
    bits : of the whole sequence, parameter sets counted, SEI messages not
    psnr : dB per plane
    distance : extractor -> relative feature distance, mean over the frames; NaN if it could not be measured
    encoder_seconds : CPU time of the encoder
    decoders : stock decoders whose output is the encoder's reconstruction, sample by sample; empty: none was asked
    qp_offset_mean : mean offset of the quantisation groups, 0 for SSE
    unmeasured : extractor -> why it gives no distance
    """

    sequence: str
    encoder: str
    mode: str
    qp: float
    frames: int
    width: int
    height: int
    bits: int
    psnr: tuple[float, ...]
    distance: Mapping[str, float]
    encoder_seconds: float
    decoders: tuple[str, ...]
    qp_offset_mean: float
    unmeasured: Mapping[str, str] = field(default_factory=dict)

    def quality(self, judge: str) -> float:
        """Feature quality in dB, -10 log10 of the relative feature distance; NaN if that could not be measured."""
        if judge in self.unmeasured:
            return float("nan")
        return metrics.feature_quality_db(self.distance[judge])

    def record(self) -> dict[str, Any]:
        """What JSON takes; a distance that could not be measured is None."""
        distance = {judge: None if judge in self.unmeasured else value for judge, value in self.distance.items()}
        return asdict(self) | {"distance": distance}

    @property
    def bits_per_sample(self) -> float:
        """Bits per luma sample."""
        return self.bits / (self.frames * self.width * self.height)


@dataclass(frozen=True)
class BdRate:
    """A BD-rate of IDSE against SSE in per cent (negative: fewer bits), or None and the reason why there is none."""

    percent: float | None
    reason: str = ""


@dataclass(frozen=True)
class Comparison:
    """What a comparison found.

    Attributes
    ----------
    points : by source, mode and QP
    left_out : name of a source that has no points -> why
    """

    points: tuple[Point, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)

    def bd_rates(self, judge: str) -> dict[str, tuple[BdRate, BdRate]]:
        """`bd_rates` of the points, and of the sources that were left out the reason."""
        return bd_rates(self.points, judge) | {
            name: (BdRate(None, reason), BdRate(None, reason)) for name, reason in self.left_out.items()
        }

    @property
    def judges(self) -> tuple[str, ...]:
        """The extractors that measured."""
        return tuple(self.points[0].distance)

    @property
    def is_comparable(self) -> bool:
        """Whether any source has a BD-rate."""
        return any(
            rate.percent is not None for judge in self.judges for pair in self.bd_rates(judge).values() for rate in pair
        )


def bd_rates(points: Iterable[Point], judge: str) -> dict[str, tuple[BdRate, BdRate]]:
    """Per source the BD-rates at equal feature quality and at equal luma PSNR."""
    points = list(points)
    return {
        name: (
            _bd_rate([p for p in points if p.sequence == name], lambda p: p.quality(judge), judge),
            _bd_rate([p for p in points if p.sequence == name], lambda p: p.psnr[0]),
        )
        for name in dict.fromkeys(point.sequence for point in points)
    }


def mean_rate(rates: Iterable[BdRate]) -> tuple[float | None, int]:
    """The mean of those that there are, and how many these are; (None, 0) if there is none."""
    values = [rate.percent for rate in rates if rate.percent is not None]
    return (sum(values) / len(values), len(values)) if values else (None, 0)


def _bd_rate(points: list[Point], quality: Callable[[Point], float], judge: str = "") -> BdRate:
    for point in points:
        if judge in point.unmeasured:
            return BdRate(None, point.unmeasured[judge])
    curves = []
    try:
        for mode in MODES:
            of_mode = [p for p in points if p.mode == mode]
            curves.append(Curve(tuple(p.bits for p in of_mode), tuple(map(quality, of_mode))))
        return BdRate(bd_rate(*curves).percent)
    except FprdoError as error:
        of = "" if len(curves) == len(MODES) else f"{MODES[len(curves)]}: "
        return BdRate(None, f"BD-rate: {of}{error}; choose other QPs")
