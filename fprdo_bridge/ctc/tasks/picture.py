"""Measures of the picture itself: PSNR per plane and as 6:1:1, SSIM and MS-SSIM of luma."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np

from fprdo_bridge.ctc import metrics
from fprdo_bridge.ctc.tasks.base import Frames, Measure, Record, Task, package

# The smallest side that five scales of an 11-tap window allow.
_SMALLEST = 161


class PictureQuality(Task):
    """PSNR, SSIM and MS-SSIM; every run has it.

    SSIM and MS-SSIM: luma, Gaussian window of 11 samples and deviation 1.5, range 255 times the depth's step, mean over
    the frames. MS-SSIM needs 161 samples a side. BD-rates take -10 log10(1 - value), which is what `ssim` and `ms_ssim`
    hold.
    """

    name = "picture"
    measures = (
        Measure("psnr_y", "PSNR Y, dB", judge=False),
        Measure("psnr_cb", "PSNR Cb, dB", judge=False),
        Measure("psnr_cr", "PSNR Cr, dB", judge=False),
        Measure("psnr_yuv", "PSNR 6:1:1, dB", judge=False),
        Measure("ssim", "SSIM, dB", judge=False),
        Measure("ms_ssim", "MS-SSIM, dB", judge=False),
    )
    memory = 200 << 20
    seconds = 0.6

    def score(self, prepared: Any, decoded: Frames) -> Record:
        library = package("pytorch_msssim", "SSIM", "pytorch-msssim")
        assert isinstance(prepared, Frames)
        fmt, rows = decoded.fmt, []
        for reference, frame in zip(prepared, decoded, strict=True):
            psnr = metrics.psnr(reference, frame, fmt)
            yuv = (6 * psnr[0] + psnr[1] + psnr[2]) / 8 if len(psnr) == 3 else psnr[0]
            rows.append(
                (*psnr, *[math.nan] * (3 - len(psnr)), yuv, *_similarities(library, reference, frame, fmt.bit_depth))
            )
        means = np.mean(np.array(rows, float), axis=0)
        similarities = [-10 * math.log10(1 - value) if value < 1 else math.inf for value in means[4:]]
        values = [
            *means[:4],
            *(math.nan if math.isnan(mean) else value for mean, value in zip(means[4:], similarities)),
        ]
        return {
            measure.key: float(value) if math.isfinite(value) else None
            for measure, value in zip(self.measures, values, strict=True)
        }


def _similarities(
    library: ModuleType, reference: Sequence[np.ndarray], frame: Sequence[np.ndarray], depth: int
) -> tuple[float, float]:
    import torch

    pair = [torch.from_numpy(planes[0].astype(np.float32))[None, None] for planes in (reference, frame)]
    span, smallest = float(255 << (depth - 8)), min(pair[0].shape[-2:])
    with torch.no_grad():
        ssim = library.ssim(*pair, data_range=span).item() if smallest >= 11 else math.nan
        many = library.ms_ssim(*pair, data_range=span).item() if smallest >= _SMALLEST else math.nan
    return ssim, many
