"""Assigns variants and the hold-out by a hash of the key, so that every run gives the same assignment."""

from __future__ import annotations

import hashlib
from itertools import accumulate

from nexmo_dispatch_async.bulk.settings import Variants

__all__ = ["Dealer"]

_WHOLE = 1 << 64


class Dealer:
    """Assigns variants and the hold-out.

    Args:
        variants: Shares, hold-out and salt.
    """

    def __init__(self, variants: Variants) -> None:
        self.hold_out: float = variants.hold_out
        self._salt = variants.salt
        total = sum(variants.shares.values())
        sums = accumulate(variants.shares.values())
        self._bounds = [(bound / total, name) for bound, name in zip(sums, variants.shares, strict=True)]

    def variant(self, key: str) -> str:
        """Return the variant of a key; `""` without variants."""
        if not self._bounds:
            return ""
        place = self._place("variant", key)
        return next((name for bound, name in self._bounds if place < bound), self._bounds[-1][1])

    def is_held_out(self, key: str) -> bool:
        """Return whether a key is held out, independently of its variant."""
        return self.hold_out > 0 and self._place("hold-out", key) < self.hold_out

    def _place(self, purpose: str, key: str) -> float:
        """Return a number in [0, 1) derived from the key."""
        data = f"{purpose}\x00{self._salt}\x00{key}".encode("utf-8", "surrogatepass")
        return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big") / _WHOLE
