"""The blocks of an HEVC picture that is predicted from nothing but itself: a parser of its slice data, clause 7.3.8.

It decodes no samples. libavcodec, which checks every bitstream, exports no blocks of HEVC.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fprdo_bridge.bitstream.bits import BitReader
from fprdo_bridge.bitstream.cabac import ArithmeticDecoder
from fprdo_bridge.bitstream.hevc_residual import Contexts, residual
from fprdo_bridge.bitstream.parameter_sets import CodingTools, PictureTools

_HEADER = 64  # bytes that a header of an intra slice does not exceed
_IDR = (19, 20)
_INTRA = 2  # slice_type
_PLANAR, _DC, _HORIZONTAL, _VERTICAL = 0, 1, 10, 26
# Chroma modes of 4:2:2, table 8-3.
_HALF = (0, 1, 2, 2, 2, 2, 3, 5, 7, 8, 10, 11, 13, 15, 16, 18, 19, 20, 21, 22, 23, 23, 24, 24, 25, 25, 26, 27, 27, 28,
         28, 29, 29, 30, 31)  # fmt: skip


class NotRead(Exception):
    """A slice that this parser does not know: not intra, not the whole picture, tiles, or tools of other profiles."""


@dataclass(frozen=True)
class IntraBlock:
    """A prediction block: place and size in luma samples, QP of its coding unit, intra mode 0 to 34."""

    x: int
    y: int
    size: int
    qp: int
    mode: int


def intra_blocks(kind: int, data: bytes, sps: CodingTools, pps: PictureTools) -> list[IntraBlock]:
    """The blocks of a picture that is one intra slice of an IDR picture.

    Parameters
    ----------
    kind : nal_unit_type
    data : the slice without its NAL header and without emulation prevention

    Raises
    ------
    NotRead
        It is something else, or is damaged.
    """
    if kind not in _IDR or pps.tiles or pps.wavefronts or sps.pcm or sps.separate_planes:
        raise NotRead
    try:
        return _Slice(data, sps, pps).blocks()
    except (EOFError, IndexError) as error:
        raise NotRead from error


class _Slice:
    """One slice while it is parsed; availability is that of a picture of one slice and one tile."""

    def __init__(self, data: bytes, sps: CodingTools, pps: PictureTools):
        self._sps, self._pps = sps, pps
        columns, rows = sps.width + 3 >> 2, sps.height + 3 >> 2  # modes, depths and QPs are kept for 4x4 blocks
        self._modes = [[-1] * columns for _ in range(rows)]
        self._depths = [[-1] * columns for _ in range(rows)]
        self._qps = [[0] * columns for _ in range(rows)]
        self._found: list[IntraBlock] = []
        self._header(BitReader(data[:_HEADER]), data)

    def _header(self, r: BitReader, data: bytes) -> None:
        """slice_segment_header(), clause 7.3.6.1, of an IDR picture's first slice."""
        sps, pps = self._sps, self._pps
        if not r.flag():  # first_slice_segment_in_pic_flag
            raise NotRead
        r.flag()  # no_output_of_prior_pics_flag
        r.ue()
        r.u(pps.extra_header_bits)
        if r.ue() != _INTRA:
            raise NotRead
        if pps.output_flag_present:
            r.flag()
        self._sao_luma = self._sao_chroma = False
        if sps.sao:
            self._sao_luma = r.flag()
            self._sao_chroma = r.flag() if sps.chroma else False
        self._slice_qp = 26 + pps.init_qp + r.se()
        if pps.slice_chroma_offsets:
            r.se(), r.se()
        disabled = pps.deblocking_disabled
        if pps.deblocking_override and r.flag():
            disabled = r.flag()
            if not disabled:
                r.se(), r.se()
        if pps.filter_across_slices and (self._sao_luma or self._sao_chroma or not disabled):
            r.flag()
        if pps.header_extension:
            r.u(8 * r.ue())
        if not r.flag():  # alignment_bit_equal_to_one
            raise NotRead
        start = -(-r.position // 8)
        self._decoder = ArithmeticDecoder(data[start:], Contexts.VALUES, self._slice_qp)
        self._qp = self._slice_qp

    def blocks(self) -> list[IntraBlock]:
        """slice_segment_data(), clause 7.3.8.1."""
        size = 1 << self._sps.log2_ctb
        for y in range(0, self._sps.height, size):
            for x in range(0, self._sps.width, size):
                if self._sao_luma or self._sao_chroma:
                    self._sao(x, y)
                self._quadtree(x, y, self._sps.log2_ctb, 0)
                last = x + size >= self._sps.width and y + size >= self._sps.height
                if self._decoder.terminate() != last:
                    raise NotRead
        if not self._decoder.ended:
            raise NotRead
        return self._found

    def _sao(self, x: int, y: int) -> None:
        """sao(), clause 7.3.8.3."""
        d = self._decoder
        if x > 0 and d.bin(Contexts.SAO_MERGE) or y > 0 and d.bin(Contexts.SAO_MERGE):
            return
        kind = 0
        for component in range(3 if self._sps.chroma else 1):
            if not (self._sao_chroma if component else self._sao_luma):
                continue
            if component < 2:
                kind = (1 + d.bypass()) if d.bin(Contexts.SAO_TYPE) else 0
            if not kind:
                continue
            most = (1 << min(self._sps.depths[component > 0], 10) - 5) - 1
            offsets = [self._unary(most, lambda _: d.bypass()) for _ in range(4)]
            if kind == 1:
                d.bits(sum(map(bool, offsets)))
                d.bits(5)
            elif component < 2:
                d.bits(2)

    @staticmethod
    def _unary(most: int, read: Callable[[int], int]) -> int:
        """Truncated unary code."""
        count = 0
        while count < most and read(count):
            count += 1
        return count

    def _quadtree(self, x: int, y: int, log2: int, depth: int) -> None:
        """coding_quadtree(), clause 7.3.8.4."""
        sps, size = self._sps, 1 << log2
        if x + size <= sps.width and y + size <= sps.height and log2 > sps.log2_min_cb:
            deeper = (x > 0 and self._depths[y >> 2][(x >> 2) - 1] > depth) + (
                y > 0 and self._depths[(y >> 2) - 1][x >> 2] > depth
            )
            split = bool(self._decoder.bin(Contexts.SPLIT_CU + deeper))
        else:
            split = log2 > sps.log2_min_cb
        if self._pps.qp_delta and log2 >= sps.log2_ctb - self._pps.qp_delta_depth:
            self._delta_coded, self._delta = False, 0
            self._predicted = self._predict_qp(x, y)
        if not split:
            self._coding_unit(x, y, log2, depth)
            return
        half = size >> 1
        for dy in (0, half):
            for dx in (0, half):
                if x + dx < sps.width and y + dy < sps.height:
                    self._quadtree(x + dx, y + dy, log2 - 1, depth + 1)

    def _predict_qp(self, x: int, y: int) -> int:
        """qPY_PRED of a quantisation group, clause 8.6.1."""
        mask = (1 << self._sps.log2_ctb) - 1
        left = self._qps[y >> 2][(x >> 2) - 1] if x & mask else self._qp
        above = self._qps[(y >> 2) - 1][x >> 2] if y & mask else self._qp
        return left + above + 1 >> 1

    def _coding_unit(self, x: int, y: int, log2: int, depth: int) -> None:
        """coding_unit(), clause 7.3.8.5, of an intra slice."""
        d, sps = self._decoder, self._sps
        bypass = self._pps.transquant_bypass and bool(d.bin(Contexts.BYPASS))
        parts = 1 if log2 > sps.log2_min_cb or d.bin(Contexts.PART_MODE) else 2
        size = (1 << log2) // parts
        places = [(x + size * (part % parts), y + size * (part // parts)) for part in range(parts * parts)]
        flags = [d.bin(Contexts.PREVIOUS_MODE) for _ in places]
        modes = []
        for place, flag in zip(places, flags):
            candidates = self._candidates(*place)
            if flag:
                mode = candidates[self._unary(2, lambda _: d.bypass())]
            else:
                mode = d.bits(5)
                for one in sorted(candidates):
                    mode += mode >= one
            self._fill(self._modes, *place, size, mode)
            modes.append(mode)
        chroma_modes = self._chroma_modes(modes)
        self._fill(self._depths, x, y, 1 << log2, depth)
        unit = _Unit(modes, chroma_modes, parts == 2, bypass)
        self._transform_tree(unit, (x, y), log2, 0, 0, ((True, True), (True, True)))
        if self._pps.qp_delta:
            room = 6 * (sps.depths[0] - 8)
            self._qp = (self._predicted + self._delta + 52 + 2 * room) % (52 + room) - room
        self._fill(self._qps, x, y, 1 << log2, self._qp)
        self._found += [IntraBlock(*place, size, self._qp, mode) for place, mode in zip(places, modes)]

    def _fill(self, table: list[list[int]], x: int, y: int, size: int, value: int) -> None:
        columns, width = x >> 2, max(1, size >> 2)
        for row in table[y >> 2 : (y >> 2) + width]:
            row[columns : columns + width] = [value] * min(width, len(row) - columns)

    def _candidates(self, x: int, y: int) -> tuple[int, int, int]:
        """candModeList, clause 8.4.2."""
        left = self._modes[y >> 2][(x >> 2) - 1] if x > 0 else _DC
        inside = y & (1 << self._sps.log2_ctb) - 1  # of the row of coding tree blocks
        above = self._modes[(y >> 2) - 1][x >> 2] if inside else _DC
        if left == above:
            if left < 2:
                return _PLANAR, _DC, _VERTICAL
            return left, 2 + (left + 29) % 32, 2 + (left - 1) % 32
        third = next(one for one in (_PLANAR, _DC, _VERTICAL) if one not in (left, above))
        return left, above, third

    def _chroma_modes(self, modes: list[int]) -> list[int]:
        """IntraPredModeC of each part, clause 8.4.3."""
        d, found = self._decoder, []
        for mode in modes if self._sps.chroma == 3 else modes[:1] if self._sps.chroma else []:
            if d.bin(Contexts.CHROMA_MODE):
                chosen = (_PLANAR, _VERTICAL, _HORIZONTAL, _DC)[d.bits(2)]
                mode = 34 if chosen == mode else chosen
            found.append(_HALF[mode] if self._sps.chroma == 2 else mode)
        return found

    def _transform_tree(
        self,
        unit: _Unit,
        place: tuple[int, int],
        log2: int,
        depth: int,
        index: int,
        parents: tuple[tuple[bool, bool], tuple[bool, bool]],
    ) -> None:
        """transform_tree(), clause 7.3.8.8; `parents`: cbf_cb and cbf_cr of the block above, two each for 4:2:2."""
        d, sps = self._decoder, self._sps
        forced = unit.split and depth == 0
        deepest = sps.intra_depth + unit.split
        if sps.log2_min_tb < log2 <= sps.log2_max_tb and depth < deepest and not forced:
            split = bool(d.bin(Contexts.SPLIT_TRANSFORM + 5 - log2))
        else:
            split = log2 > sps.log2_max_tb or forced
        own = parents if log2 == 2 and depth else ((False, False), (False, False))
        if sps.chroma and (log2 > 2 or sps.chroma == 3):
            two = sps.chroma == 2 and (not split or log2 == 3)
            read = []
            for parent in parents:
                flags = [False, False]
                if any(parent):
                    flags[0] = bool(d.bin(Contexts.CBF_CHROMA + depth))
                    if two:
                        flags[1] = bool(d.bin(Contexts.CBF_CHROMA + depth))
                read.append((flags[0], flags[1]))
            own = read[0], read[1]
        elif not sps.chroma:
            own = ((False, False), (False, False))
        if split:
            half = 1 << log2 - 1
            for child in range(4):
                if forced:
                    unit.part = child
                at = place[0] + half * (child & 1), place[1] + half * (child >> 1)
                self._transform_tree(unit, at, log2 - 1, depth + 1, child, own)
            return
        luma = bool(d.bin(Contexts.CBF_LUMA + (depth == 0)))
        self._transform_unit(unit, place, log2, index, luma, own)

    def _transform_unit(
        self,
        unit: _Unit,
        place: tuple[int, int],
        log2: int,
        index: int,
        luma: bool,
        chroma: tuple[tuple[bool, bool], tuple[bool, bool]],
    ) -> None:
        """transform_unit(), clause 7.3.8.10."""
        sps = self._sps
        if not luma and not any(map(any, chroma)):
            return
        if self._pps.qp_delta and not self._delta_coded:
            self._read_delta()
        mode = self._modes[place[1] >> 2][place[0] >> 2]
        if luma:
            self._residual(unit, log2, 0, mode)
        if not sps.chroma:
            return
        if log2 > 2 or sps.chroma == 3:
            size = log2 if sps.chroma == 3 else log2 - 1
        elif index == 3:
            size = 2
        else:
            return
        part = unit.part if len(unit.chroma_modes) > 1 else 0
        for component, flags in enumerate(chroma, 1):
            for flag in flags:
                if flag:
                    self._residual(unit, size, component, unit.chroma_modes[part])

    def _read_delta(self) -> None:
        """cu_qp_delta_abs and its sign, clause 7.3.8.14."""
        d = self._decoder
        value = self._unary(5, lambda count: d.bin(Contexts.QP_DELTA + (count > 0)))
        if value == 5:
            order = 0
            while d.bypass():
                value += 1 << order
                order += 1
                if order > 16:
                    raise NotRead
            value += d.bits(order)
        self._delta = -value if value and d.bypass() else value
        self._delta_coded = True

    def _residual(self, unit: _Unit, log2: int, component: int, mode: int) -> None:
        scan = 0
        if log2 == 2 or log2 == 3 and (component == 0 or self._sps.chroma == 3):
            scan = 2 if 6 <= mode <= 14 else 1 if 22 <= mode <= 30 else 0
        skip = self._pps.transform_skip and not unit.bypass
        residual(self._decoder, log2, component > 0, scan, skip, self._pps.sign_hiding and not unit.bypass)


@dataclass
class _Unit:
    """A coding unit: modes of its parts, of chroma more than one with 4:4:4 alone; whether it has four parts, and
    whether it is coded without loss; the part whose transform blocks are being read."""

    modes: list[int]
    chroma_modes: list[int]
    split: bool
    bypass: bool
    part: int = 0
