"""Arguments that say where bits go besides what a network sees: masks and boxes."""

from __future__ import annotations

import argparse

from fprdo_bridge.cli.values import file_name, number, shown
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.importance.regions import DEFAULT_FACTOR, Box, RegionSettings, checked_factor


def add_region_arguments(parser: argparse.ArgumentParser) -> None:
    """Masks and boxes."""
    group = parser.add_argument_group(
        "regions (factors on the weights; --extractor none leaves the network out, so that they stand alone)"
    )
    group.add_argument(
        "--mask",
        type=file_name,
        metavar="PICTURE",
        help="grey picture of the frames' size: white counts, black does not",
    )
    group.add_argument(
        "--mask-factor",
        type=factor,
        metavar="F",
        help=f"factor of white, 0.01 to 100; greys lie between 1 and it (default {DEFAULT_FACTOR:g})",
    )
    group.add_argument(
        "--box",
        type=box,
        action="append",
        metavar="X,Y,W,H,FACTOR",
        help="luma samples of every frame and their factor, repeatable, like 96,64,200,120,4",
    )
    group.add_argument(
        "--boxes",
        type=file_name,
        metavar="FILE.json",
        help="boxes of each frame: detections or annotations in COCO's format, see docs/regions.md",
    )
    group.add_argument(
        "--boxes-factor",
        type=factor,
        metavar="F",
        help=f'factor of its boxes that have no "factor" of their own (default {DEFAULT_FACTOR:g})',
    )


def regions_of(options: argparse.Namespace) -> RegionSettings:
    """The settings of add_region_arguments()."""
    for value, option, needed, there in (
        (options.mask_factor, "--mask-factor", "--mask", options.mask),
        (options.boxes_factor, "--boxes-factor", "--boxes", options.boxes),
    ):
        if value is not None and there is None:
            raise FprdoError(f"{option} {value:g}: is of {needed}, which is not given; add it or leave both out")
    return RegionSettings(
        mask=options.mask,
        mask_factor=DEFAULT_FACTOR if options.mask_factor is None else options.mask_factor,
        boxes=tuple(options.box or ()),
        boxes_file=options.boxes,
        boxes_factor=DEFAULT_FACTOR if options.boxes_factor is None else options.boxes_factor,
    )


def refuse_making_maps(options: argparse.Namespace, why: str) -> None:
    """FprdoError if there are regions, or a network is named, where no weights are computed."""
    for option in ("mask", "box", "boxes", "predictor", "extractor", "layer"):
        if getattr(options, option, None):
            raise FprdoError(f"--{option}: {why}; leave one out")


def factor(text: str) -> float:
    """A factor."""
    value = number(text)
    try:
        return checked_factor("factor", value)
    except FprdoError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def box(text: str) -> Box:
    """Five numbers of X,Y,W,H,FACTOR; whether it lies in the frames is looked at when they are known."""
    parts = text.split(",")
    try:
        x, y, width, height, strength = map(number, parts)
    except (ValueError, argparse.ArgumentTypeError):
        raise argparse.ArgumentTypeError(
            f"{shown(text)} is no box; write five numbers like 96,64,200,120,4 (X,Y,W,H,FACTOR)"
        ) from None
    return x, y, width, height, strength
