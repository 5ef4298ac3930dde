"""Randomness derived from a seed and a purpose, independent of the order of the draws.

It has no state and no secrecy: the seed determines every id and latency.
"""

from __future__ import annotations

import hashlib
import math
from typing import Final

__all__ = ["SeededRandom"]

_PRECISION: Final = 1_000_000_000


class SeededRandom:
    """Draws derived from a seed and a purpose: the same purpose gives the same value in every run.

    With a stateful generator, the ids of a workflow would change as soon as two requests swapped places.
    """

    __slots__ = ("_base",)

    def __init__(self, seed: int | str) -> None:
        self._base = hashlib.blake2b(str(seed).encode(), digest_size=16)

    def _bytes(self, purpose: str) -> bytes:
        copy = self._base.copy()
        copy.update(purpose.encode())
        return copy.digest()

    def uuid(self, purpose: str) -> str:
        """Draw a version 4 uuid."""
        text = self._bytes(purpose).hex()
        variant = "89ab"[int(text[16], 16) & 3]
        return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{variant}{text[17:20]}-{text[20:]}"

    def hex(self, purpose: str) -> str:
        """Draw 32 hexadecimal digits."""
        return self._bytes(purpose).hex()

    def token(self, purpose: str, length: int) -> str:
        """Draw `length` letters and digits, at most 32."""
        alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
        digest = self._bytes(purpose) + self._bytes(purpose + "/2")
        return "".join(alphabet[byte % len(alphabet)] for byte in digest[:length])

    def chance(self, purpose: str, probability: float) -> bool:
        """Return True with a probability from 0 to 1."""
        return self.between(purpose, 1, _PRECISION) <= probability * _PRECISION

    def normal(self, purpose: str) -> float:
        """Draw from the standard normal distribution."""
        digest = self._bytes(purpose)
        first, second = (int.from_bytes(part, "big") / 2**48 for part in (digest[:6], digest[6:12]))
        return math.sqrt(-2 * math.log(1 - first)) * math.cos(2 * math.pi * second)

    def between(self, purpose: str, low: int, high: int) -> int:
        """Draw an integer from `low` to `high`, both included."""
        return low + int.from_bytes(self._bytes(purpose)[:8], "big") % (high - low + 1)
