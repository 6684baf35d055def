"""Reads the syntax elements of a parameter set."""


class BitReader:
    """The descriptors of clause 7.2 and 9.1 (H.264), 7.2 and 9.2 (H.265), in the order of the bits.

    Raises
    ------
    EOFError
        From every method, where the data ends too early.
    """

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "big")
        self._left = self._length = 8 * len(data)

    def u(self, length: int) -> int:
        """u(n): an unsigned number of `length` bits."""
        self._left -= length
        if self._left < 0:
            raise EOFError("parameter set ends too early")
        return self._value >> self._left & (1 << length) - 1

    @property
    def position(self) -> int:
        """How many bits were read."""
        return self._length - self._left

    def flag(self) -> bool:
        """u(1)."""
        return bool(self.u(1))

    def ue(self) -> int:
        """ue(v): an unsigned Exp-Golomb code."""
        zeros = 0
        while not self.u(1):
            zeros += 1
        return (1 << zeros) - 1 + self.u(zeros)

    def se(self) -> int:
        """se(v): a signed Exp-Golomb code."""
        code = self.ue()
        return (code + 1) // 2 if code & 1 else -(code // 2)
