"""Encoders whose weights, or whose distortion, come from a provider."""

import math

import numpy as np
import pytest
from bridge_material import CLIP, INTER, INTRA, SKIP, flat, open_encoder, said

from fprdo_bridge.native._idse import ffi, lib
from fprdo_bridge.native.picture import ONE, WeightedPicture


class Provider:
    """Weights from arrays of this process, 256 is 1.0, and a distortion that says what it was asked."""

    def __init__(self, planes: tuple[np.ndarray, ...], decisions: int = 0):
        self.planes, self.asked, self.refused, self.value = planes, [], [], 12.75
        self.callbacks = {
            "begin": ffi.callback("int(void *, int, int, idse_map *)", self.begin),
            "end": ffi.callback("void(void *, int)", lambda context, frame: None),
            "distortion": ffi.callback("double(void *, const idse_block *)", self.distortion),
            "refuse": ffi.callback("void(void *, double)", lambda context, value: self.refused.append(value)),
        }
        self.struct = ffi.new(
            "idse_provider *", {"bytes": ffi.sizeof("idse_provider"), "decisions": decisions, **self.callbacks}
        )

    def begin(self, context, poc, frame, weight_map) -> int:
        for component, plane in enumerate(self.planes):
            weight_map.pixel[component] = ffi.cast("uint16_t *", plane.ctypes.data)
        return int(poc < 2)

    def distortion(self, context, block) -> float:
        self.asked.append(
            tuple(
                getattr(block, name)
                for name in ("decision", "component", "x", "y", "width", "height", "sample_bytes", "is_signed", "shift")
            )
        )
        return self.value

    def picture(self, poc: int = 0, **options) -> tuple[object, object]:
        """An encoder and a picture that read from here."""
        handle = open_encoder("", frames=3, provider=self.struct, **options)
        return handle, lib.idse_picture_begin(handle, poc)


@pytest.mark.parametrize("sample", [np.uint8, np.uint16, np.int16, np.int32])
def test_a_provided_distortion_takes_the_place_of_every_kernel(sample):
    provider = Provider(flat(CLIP), decisions=INTRA | INTER)
    handle, picture = provider.picture()
    samples, found = np.zeros((8, 4), sample), ffi.new("uint64_t *")
    block = WeightedPicture.block(INTRA, 1, 4, 8, samples, samples)
    kind = (np.dtype(sample).itemsize, int(np.dtype(sample).kind == "i"))
    assert lib.idse_distortion(picture, block, found) and found[0] == 12
    assert lib.idse_x264_distortion(picture, block, 131072, found) and found[0] == 25  # of 12.75 twice
    assert provider.asked == [(INTRA, 1, 4, 8, 4, 8, *kind, 0)] * 2
    block.decision = SKIP  # which it does not decide
    assert lib.idse_distortion(picture, block, found) and found[0] == 0 and len(provider.asked) == 2


def test_a_provided_distortion_takes_the_place_of_jms():
    provider = Provider(flat(CLIP), decisions=INTRA)
    handle, picture = provider.picture()
    plane, found = np.zeros((64, 64), np.uint16), ffi.new("int64_t *")
    lib.idse_jm_original(picture, 0, ffi.from_buffer(plane), 128, 64, 2)
    block = WeightedPicture.block(INTRA, 0, 0, 0, plane[8:16, 4:8], plane[:8, :4])
    assert lib.idse_jm_distortion(picture, block, found) and found[0] == 12.75 * 32
    assert provider.asked == [(INTRA, 0, 4, 8, 4, 8, 2, 0, 0)]


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf, 2.0**44])
def test_a_provided_distortion_out_of_range_is_refused(value):
    provider = Provider(flat(CLIP), decisions=15)
    provider.value = value
    handle, picture = provider.picture()
    samples, found = np.zeros((4, 4), np.uint8), ffi.new("uint64_t *")
    block = WeightedPicture.block(INTER, 0, 0, 0, samples, samples)
    for call in (
        lambda: lib.idse_distortion(picture, block, found),
        lambda: lib.idse_x264_distortion(picture, block, 65536, found),
    ):
        assert call() and found[0] == 0
    assert len(provider.refused) == 2 and (provider.refused == [value] * 2 or math.isnan(value))


def test_what_a_provider_cannot_give():
    planes = flat(CLIP)
    planes[1][0, 0] = 0
    handle, picture = Provider(planes).picture()
    assert picture == ffi.NULL
    assert said(handle) == "provider: a pixel weight of picture 0 is 0, the least is 1; raise it"
    handle, picture = Provider(flat(CLIP)).picture(poc=2)
    assert picture == ffi.NULL and said(handle) == "provider: no weights for picture 2"
    assert not lib.idse_qp_offsets(handle, 0, 16, 2, 1, ffi.new("float[2]"))
    assert said(handle).startswith("provider: has its maps in coding order")


def test_encoders_of_one_process_have_providers_of_their_own(three_maps):
    """An encoder from a file between two from providers, opened before any of them begins a picture."""
    weights = (
        [np.full(shape, ONE, np.uint16) for shape in CLIP.plane_shapes],
        [np.full(shape, ONE, np.uint16) for shape in CLIP.plane_shapes],
    )
    for planes, corner in zip(weights, (300, 400)):
        planes[0][0, 0], planes[0][0, 1] = corner, 2 * ONE - corner
    providers = [Provider(tuple(planes)) for planes in weights]
    handles = [
        open_encoder("", provider=providers[0].struct, tau=0),
        open_encoder(three_maps, tau=0),
        open_encoder("", provider=providers[1].struct, tau=0),
    ]
    corners = [256 * lib.idse_mean(lib.idse_picture_begin(handle, 0), 0, 0, 0, 1, 1) for handle in handles]
    assert corners == [300, 320, 400]


def test_a_provider_of_another_build_is_refused():
    provider = ffi.new("idse_provider *", {"bytes": ffi.sizeof("idse_provider") - 8})
    assert open_encoder("", provider=provider).startswith("encoder library and Python package are of different builds")
