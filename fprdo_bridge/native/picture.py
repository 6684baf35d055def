"""The encoders' own kernel in Python: weights of one picture as an encoder sees them, run-time settings applied.

Only this module touches the compiled `_idse`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from fprdo_bridge.errors import FprdoError
from fprdo_bridge.native._idse import ffi as _ffi
from fprdo_bridge.native._idse import lib as _lib
from fprdo_bridge.settings import BRIDGE_SETTINGS, IdseOptions

if TYPE_CHECKING:
    from fprdo_bridge.video.formats import VideoFormat

ONE = _lib.IDSE_ONE
FREQUENCIES, SAMPLES, UNORDERED = _lib.IDSE_FREQUENCIES, _lib.IDSE_SAMPLES, _lib.IDSE_UNORDERED
_SIZES = (4, 8, 16, 32)


def default_settings() -> dict[str, float]:
    """The settings that an encoder has when no option is given, by their names in idse.h."""
    settings = _ffi.new("idse_settings *")
    _lib.idse_settings_default(settings)
    return {name: getattr(settings, name) for name, _ in _ffi.typeof("idse_settings").fields}


def lambda_scale(qp_offset: int) -> int:
    """What lambda is multiplied by for a QP offset of -12 to 12, times 65536."""
    return int(_lib.idse_x264_lambda_scale(qp_offset))


class WeightedPicture:
    """The weights of one picture.

    Parameters
    ----------
    planes : uint16 arrays of shapes fmt.plane_shapes, 8 fraction bits (256 is 1.0)
    shapes : block size -> uint16 arrays per component, as in the .idse format; may be empty
    fmt : VideoFormat
    options : IdseOptions; tau, power, clip and the QP clip matter here

    Raises
    ------
    FprdoError
        An array has another shape or type, or an option is out of range.
    """

    def __init__(
        self,
        planes: Sequence[np.ndarray],
        shapes: Mapping[int, Sequence[np.ndarray]],
        fmt: VideoFormat,
        options: IdseOptions,
    ):
        weight_map = _ffi.new("idse_map *")
        keep = []
        expected = {0: fmt.plane_shapes} | {
            n: [tuple(-(-side // n) * n for side in shape) for shape in fmt.plane_shapes] for n in shapes
        }
        for size, arrays in {0: planes, **shapes}.items():
            for component, (array, shape) in enumerate(zip(arrays, expected[size], strict=True)):
                if array.shape != tuple(shape) or array.dtype != np.uint16:
                    raise FprdoError(
                        f"weights of component {component}: {array.dtype} {array.shape} given; "
                        f"use uint16 {tuple(shape)}"
                    )
                keep.append(_ffi.from_buffer("uint16_t[]", np.ascontiguousarray(array)))
                if size:
                    weight_map.shape[component][_SIZES.index(size)] = keep[-1]
                else:
                    weight_map.pixel[component] = keep[-1]
        values = {setting.name: getattr(options, setting.name) for setting in BRIDGE_SETTINGS}
        settings = _ffi.new("idse_settings *", values)
        sequence = _ffi.new(
            "idse_sequence *",
            {
                "width": fmt.width,
                "height": fmt.height,
                "coded_width": fmt.width,
                "coded_height": fmt.height,
                "chroma_format_idc": fmt.chroma_format_idc,
                "frames": 1,
                "frame_step": 1,
            },
        )
        message = _ffi.new("char[]", _lib.IDSE_MESSAGE_BYTES)
        picture = _lib.idse_picture_create(weight_map, settings, sequence, message)
        if picture == _ffi.NULL:
            raise FprdoError(_ffi.string(message).decode())
        self._picture = _ffi.gc(picture, _lib.idse_picture_destroy)

    @staticmethod
    def block(
        decision: int, component: int, x: int, y: int, original: np.ndarray, coded: np.ndarray, shift: int = 0
    ) -> object:
        """The `idse_block *` of two arrays (height, width) of one type: uint8, uint16, int16 or int32; rows may be
        strided."""
        height, width = original.shape
        block = _ffi.new(
            "idse_block *",
            {
                "decision": decision,
                "component": component,
                "x": x,
                "y": y,
                "width": width,
                "height": height,
                "sample_bytes": original.itemsize,
                "is_signed": original.dtype.kind == "i",
                "shift": shift,
            },
        )
        for name, array in (("original", original), ("coded", coded)):
            setattr(block, name, _ffi.cast("void *", array.ctypes.data))
            setattr(block, f"{name}_stride", array.strides[0] // array.itemsize)
        return block

    def distortion(self, block: object) -> int | None:
        """floor(sum w (((original - coded)^2) >> shift)) of a block, None where its decision keeps its plain SSE."""
        found = _ffi.new("uint64_t *")
        return found[0] if _lib.idse_distortion(self._picture, block, found) else None

    def scaled_distortion(self, block: object, scale: int) -> int | None:
        """x264's: floor(sum w (original - coded)^2 scale / 65536) of a block, None as above."""
        found = _ffi.new("uint64_t *")
        return found[0] if _lib.idse_x264_distortion(self._picture, block, scale, found) else None

    def coefficient_weights(
        self, component: int, x: int, y: int, size: int, count: int, scale: int, places: Sequence[int] | None = None
    ) -> tuple[np.ndarray, bool]:
        """Weights (count, count) uint32, 8 fraction bits, of the lowest frequencies of a size x size block, vertical
        frequency first, and 0 where `places` (u count + v; None: all) leaves a frequency out; whether they are one and
        the same, which is then the first of them."""
        weights = np.zeros((count, count), np.uint32)
        wanted = bytes(range(count**2) if places is None else places)
        same = _lib.idse_x264_coefficient_weights(
            self._picture,
            component,
            x,
            y,
            size,
            size,
            size,
            count,
            wanted,
            len(wanted),
            scale,
            _ffi.cast("uint32_t *", weights.ctypes.data),
        )
        return weights.T, bool(same)

    def mean(self, component: int, x: int, y: int, width: int, height: int) -> float:
        """Mean weight of the visible part of a block."""
        return float(_lib.idse_mean(self._picture, component, x, y, width, height))

    def tu_weights(
        self, component: int, x: int, y: int, size: int, order: int = FREQUENCIES
    ) -> tuple[np.ndarray, float]:
        """Weights (size, size) float64 of a transform unit's coefficients, and its mean weight."""
        mean = _ffi.new("double *")
        weights = _lib.idse_tu_weights(self._picture, component, x, y, size, order, mean)
        return np.frombuffer(_ffi.buffer(weights, 8 * size * size)).reshape(size, size).copy(), mean[0]

    def tu_weights_in_integers(self, component: int, x: int, y: int, size: int, order: int = FREQUENCIES) -> np.ndarray:
        """x265's: floor(256 w) (size, size) int32 of the same weights."""
        weights = np.zeros((size, size), np.int32)
        _lib.idse_x265_coefficient_weights(
            self._picture, component, x, y, size, order, _ffi.cast("int32_t *", weights.ctypes.data)
        )
        return weights

    def qp_offset(self, x: int, y: int, width: int, height: int) -> int:
        """QP offset of the quantisation group whose luma block this is."""
        return int(_lib.idse_qp_offset(self._picture, x, y, width, height))

    def counters(self) -> dict[str, int]:
        """Calls so far, by their names in idse.h."""
        counters = _lib.idse_picture_counters(self._picture)
        return {name: getattr(counters, name) for name, _ in _ffi.typeof("idse_counters").fields}
