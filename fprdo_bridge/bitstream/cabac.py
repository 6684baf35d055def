"""The arithmetic decoder of HEVC, clause 9.3.4.3 of H.265, one bit at a time as the clause is written."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# rangeTabLps, table 9-52: by state, then by two bits of the range.
_LPS = (
    (128, 176, 208, 240), (128, 167, 197, 227), (128, 158, 187, 216), (123, 150, 178, 205), (116, 142, 169, 195),
    (111, 135, 160, 185), (105, 128, 152, 175), (100, 122, 144, 166), (95, 116, 137, 158), (90, 110, 130, 150),
    (85, 104, 123, 142), (81, 99, 117, 135), (77, 94, 111, 128), (73, 89, 105, 122), (69, 85, 100, 116),
    (66, 80, 95, 110), (62, 76, 90, 104), (59, 72, 86, 99), (56, 69, 81, 94), (53, 65, 77, 89), (51, 62, 73, 85),
    (48, 59, 69, 80), (46, 56, 66, 76), (43, 53, 63, 72), (41, 50, 59, 69), (39, 48, 56, 65), (37, 45, 54, 62),
    (35, 43, 51, 59), (33, 41, 48, 56), (32, 39, 46, 53), (30, 37, 43, 50), (29, 35, 41, 48), (27, 33, 39, 45),
    (26, 31, 37, 43), (24, 30, 35, 41), (23, 28, 33, 39), (22, 27, 32, 37), (21, 26, 30, 35), (20, 24, 29, 33),
    (19, 23, 27, 31), (18, 22, 26, 30), (17, 21, 25, 28), (16, 20, 23, 27), (15, 19, 22, 25), (14, 18, 21, 24),
    (14, 17, 20, 23), (13, 16, 19, 22), (12, 15, 18, 21), (12, 14, 17, 20), (11, 14, 16, 19), (11, 13, 15, 18),
    (10, 12, 15, 17), (10, 12, 14, 16), (9, 11, 13, 15), (9, 11, 12, 14), (8, 10, 12, 14), (8, 9, 11, 13),
    (7, 9, 11, 12), (7, 9, 10, 12), (7, 8, 10, 11), (6, 8, 9, 11), (6, 7, 9, 10), (6, 7, 8, 9), (2, 2, 2, 2),
)  # fmt: skip

# transIdxLps, table 9-53.
_AFTER_LPS = (
    0, 0, 1, 2, 2, 4, 4, 5, 6, 7, 8, 9, 9, 11, 11, 12, 13, 13, 15, 15, 16, 16, 18, 18, 19, 19, 21, 21, 22, 22, 23, 24,
    24, 25, 26, 26, 27, 27, 28, 29, 29, 30, 30, 30, 31, 32, 32, 33, 33, 33, 34, 34, 35, 35, 35, 36, 36, 36, 37, 37, 37,
    38, 38, 63,
)  # fmt: skip


class ArithmeticDecoder:
    """Reads bins of slice data.

    Parameters
    ----------
    data : from the first byte after the slice header on, without emulation prevention
    contexts : initValue of each context, clause 9.3.2.2
    qp : SliceQpY

    Raises
    ------
    IndexError
        From every method, where the data ends too early.
    """

    def __init__(self, data: bytes, contexts: Sequence[int], qp: int) -> None:
        self._bits = np.unpackbits(np.frombuffer(data, np.uint8)).tobytes()
        self._at = 0
        self._range = 510
        self._offset = self.bits(9, raw=True)
        self._states = [_initial(value, qp) for value in contexts]  # twice the state, and the likelier bin

    def bits(self, count: int, raw: bool = False) -> int:
        """A number of bypass bins, the first one the highest; `raw` reads bits of the data instead."""
        found = 0
        for _ in range(count):
            if raw:
                found = found << 1 | self._bits[self._at]
                self._at += 1
            else:
                found = found << 1 | self.bypass()
        return found

    def bypass(self) -> int:
        """DecodeBypass, clause 9.3.4.3.4."""
        offset = self._offset << 1 | self._bits[self._at]
        self._at += 1
        if offset >= self._range:
            self._offset = offset - self._range
            return 1
        self._offset = offset
        return 0

    def bin(self, context: int) -> int:
        """DecodeDecision, clause 9.3.4.3.2."""
        state = self._states[context]
        likely = state & 1
        index = state >> 1
        lps = _LPS[index][self._range >> 6 & 3]
        span = self._range - lps
        if self._offset < span:
            if index < 62:
                self._states[context] = state + 2
            if span < 256:
                span <<= 1
                self._offset = self._offset << 1 | self._bits[self._at]
                self._at += 1
            self._range = span
            return likely
        offset = self._offset - span
        while lps < 256:
            lps <<= 1
            offset = offset << 1 | self._bits[self._at]
            self._at += 1
        self._range, self._offset = lps, offset
        self._states[context] = _AFTER_LPS[index] << 1 | (likely if index else 1 - likely)
        return 1 - likely

    def terminate(self) -> bool:
        """DecodeTerminate, clause 9.3.4.3.5, of the end of a slice."""
        self._range -= 2
        if self._offset >= self._range:
            return True
        if self._range < 256:
            self._range <<= 1
            self._offset = self._offset << 1 | self._bits[self._at]
            self._at += 1
        return False

    @property
    def ended(self) -> bool:
        """At the end of a slice: whether the last bit that was read is rbsp_stop_one_bit, and nothing but zeros follow.

        A parser that has lost its way hardly ever gets here.
        """
        return self._bits[self._at - 1] == 1 and not any(self._bits[self._at :])


def _initial(value: int, qp: int) -> int:
    slope, offset = (value >> 4) * 5 - 45, ((value & 15) << 3) - 16
    state = min(max((slope * min(max(qp, 0), 51) >> 4) + offset, 1), 126)
    return (state - 64) << 1 | 1 if state > 63 else (63 - state) << 1
