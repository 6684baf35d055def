"""Coefficients of HEVC's transform blocks, clause 7.3.8.11: read to get behind them."""

from __future__ import annotations

from functools import cache

from fprdo_bridge.bitstream.cabac import ArithmeticDecoder

# sigCtx in a 4x4 block, table 9-50
_SMALL = (0, 1, 4, 5, 2, 3, 4, 5, 6, 6, 8, 8, 7, 7, 8, 8)


class Contexts:
    """Where the contexts of each syntax element begin, and their initValues for intra slices, tables 9-5 to 9-37."""

    SAO_MERGE, SAO_TYPE, SPLIT_CU, BYPASS, PART_MODE, PREVIOUS_MODE, CHROMA_MODE = 0, 1, 2, 5, 6, 7, 8
    SPLIT_TRANSFORM, CBF_LUMA, CBF_CHROMA, QP_DELTA, SKIP = 9, 12, 14, 19, 21
    LAST_X, LAST_Y, SUB_BLOCK, SIGNIFICANT, GREATER_1, GREATER_2 = 23, 41, 59, 63, 105, 129
    VALUES = (
        153, 200, 139, 141, 157, 154, 184, 184, 63,
        153, 138, 138, 111, 141, 94, 138, 182, 154, 154, 154, 154, 139, 139,
        *(110, 110, 124, 125, 140, 153, 125, 127, 140, 109, 111, 143, 127, 111, 79, 108, 123, 63) * 2,
        91, 171, 134, 141,
        111, 111, 125, 110, 110, 94, 124, 108, 124, 107, 125, 141, 179, 153, 125, 107, 125, 141, 179, 153, 125, 107,
        125, 141, 179, 153, 125, 140, 139, 182, 182, 152, 136, 152, 136, 153, 136, 139, 111, 136, 139, 111,
        140, 92, 137, 138, 140, 152, 138, 139, 153, 74, 149, 92, 139, 107, 122, 152, 140, 179, 166, 182, 140, 227, 122,
        197,
        138, 153, 136, 167, 152, 152,
    )  # fmt: skip


@cache
def _scan(log2: int, kind: int) -> tuple[tuple[int, int], ...]:
    """(x, y) of a block in the order of a scan, clauses 6.5.3 to 6.5.5: 0 up-right, 1 horizontal, 2 vertical."""
    size = 1 << log2
    places = [(x, y) for y in range(size) for x in range(size)]
    if kind == 0:
        places.sort(key=lambda one: (one[0] + one[1], one[0]))
    elif kind == 2:
        places.sort()
    return tuple(places)


@cache
def _significance(log2: int, chroma: bool, scan: int, first: bool, coded: int) -> tuple[int, ...]:
    """Contexts of sig_coeff_flag by position in the scan of a sub-block, clause 9.3.4.2.5.

    Parameters
    ----------
    first : whether it is the sub-block of the lowest frequencies
    coded : coded_sub_block_flag of the right one, and twice that of the lower one
    """
    found = []
    for x, y in _scan(2, scan):
        if log2 == 2:
            context = _SMALL[4 * y + x]
        elif first and x == y == 0:
            context = 0
        else:
            distance = (x + y, y, x, 0)[coded]
            context = (2 if distance == 0 else 1 if distance < 3 else 0) if coded == 0 else max(0, 2 - distance)
            if chroma:
                context += 9 if log2 == 3 else 12
            else:
                context += (0 if first else 3) + ((9 if scan == 0 else 15) if log2 == 3 else 21)
        found.append(Contexts.SIGNIFICANT + context + (27 if chroma else 0))
    return tuple(found)


def residual(d: ArithmeticDecoder, log2: int, chroma: bool, scan: int, skip: bool, hiding: bool) -> None:
    """residual_coding().

    Parameters
    ----------
    log2 : of the block's size
    scan : scanIdx
    skip : whether transform_skip_flag is there for 4x4 blocks
    hiding : whether signs may be hidden
    """
    if skip and log2 == 2:
        d.bin(Contexts.SKIP + chroma)
    x, y = _last(d, log2, chroma)
    if scan == 2:
        x, y = y, x
    blocks, inside = _scan(log2 - 2, scan), _scan(2, scan)
    final = blocks.index((x >> 2, y >> 2))
    position = inside.index((x & 3, y & 3))
    coded: set[tuple[int, int]] = set()
    state = 1  # greater1Ctx after the last flag of the block before
    for index in range(final, -1, -1):
        bx, by = blocks[index]
        neighbours = ((bx + 1, by) in coded) + 2 * ((bx, by + 1) in coded)
        infer = False
        if 0 < index < final:
            if not d.bin(Contexts.SUB_BLOCK + (neighbours > 0) + 2 * chroma):
                continue
            infer = True
        coded.add((bx, by))
        significant = [position] if index == final else []
        contexts = _significance(log2, chroma, scan, index == 0, neighbours)
        for n in range(position - 1 if index == final else 15, -1, -1):
            if n == 0 and infer and not significant:
                significant.append(0)
            elif d.bin(contexts[n]):
                significant.append(n)
        if significant:
            state = _levels(d, significant, chroma, (0 if index == 0 or chroma else 2) + (state == 0), hiding)


def _last(d: ArithmeticDecoder, log2: int, chroma: bool) -> tuple[int, int]:
    """Place of the last coefficient, clause 7.4.9.11 with the binarisation of 9.3.3."""
    offset, shift = (15, log2 - 2) if chroma else (3 * (log2 - 2) + (log2 - 1 >> 2), log2 + 1 >> 2)
    prefixes = []
    for base in (Contexts.LAST_X, Contexts.LAST_Y):
        count = 0
        while count < 2 * log2 - 1 and d.bin(base + offset + (count >> shift)):
            count += 1
        prefixes.append(count)
    places = []
    for prefix in prefixes:
        if prefix > 3:
            length = (prefix >> 1) - 1
            places.append((1 << length) * (2 + (prefix & 1)) + d.bits(length))
        else:
            places.append(prefix)
    return places[0], places[1]


def _levels(d: ArithmeticDecoder, significant: list[int], chroma: bool, group: int, hiding: bool) -> int:
    """Levels and signs of a sub-block's coefficients, from the highest frequency on; returns greater1Ctx."""
    state, greater = 1, []
    for _ in significant[:8]:
        flag = d.bin(Contexts.GREATER_1 + 4 * group + state + (16 if chroma else 0))
        greater.append(flag)
        if flag:
            state = 0
        elif 0 < state < 3:
            state += 1
    first = greater.index(1) if 1 in greater else -1
    second = d.bin(Contexts.GREATER_2 + group + (4 if chroma else 0)) if first >= 0 else 0
    hidden = hiding and significant[0] - significant[-1] > 3
    d.bits(len(significant) - hidden)
    rice = 0
    for number in range(len(significant)):
        if number >= 8:
            base, least = 1, 1
        else:
            base, least = 1 + greater[number] + (second if number == first else 0), 3 if number == first else 2
        if base < least:
            continue
        level = base + _remaining(d, rice)
        if level > 3 << rice:
            rice = min(rice + 1, 4)
    return state


def _remaining(d: ArithmeticDecoder, rice: int) -> int:
    """coeff_abs_level_remaining, clause 9.3.3.11."""
    prefix = 0
    while d.bypass():
        prefix += 1
        if prefix > 32:
            raise IndexError
    if prefix <= 3:
        return (prefix << rice) + d.bits(rice)
    return ((1 << prefix - 3) + 2 << rice) + d.bits(prefix - 3 + rice)
