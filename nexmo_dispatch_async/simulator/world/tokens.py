"""The account's access tokens on the virtual clock: issued, checked, expired (contract 2.1, 2.3).

It sees no HTTP: the gateway reads the requests and builds the responses.
"""

from __future__ import annotations

import hmac
from typing import Final, Literal

from nexmo_dispatch_async.simulator.world.seeded_random import SeededRandom
from nexmo_dispatch_core.unfinished import shows_unfinished

__all__ = ["Account", "TokenState", "Tokens"]

TokenState = Literal["valid", "expired", "invalid"]

_REMEMBERED: Final = 1000


class Account:
    """The only account of a simulator, derived from the seed."""

    __slots__ = ("api_key", "client_id", "client_secret", "signature_secret")

    def __init__(self, random: SeededRandom) -> None:
        self.client_id: str = random.token("client_id", 32)
        self.client_secret: str = random.token("client_secret", 16)
        self.api_key: str = random.hex("api_key")[:8]
        self.signature_secret: str = random.hex("signature_secret") + random.hex("signature_secret/2")

    @shows_unfinished
    def __repr__(self) -> str:
        return f"<Account {self.api_key}>"

    def accepts(self, client_id: str, client_secret: str) -> bool:
        """Return whether these are the account's credentials."""
        given = f"{client_id}\0{client_secret}".encode()
        return hmac.compare_digest(given, f"{self.client_id}\0{self.client_secret}".encode())


class Tokens:
    """Access tokens with their expiry, in virtual milliseconds."""

    def __init__(self, random: SeededRandom) -> None:
        self._random = random
        self._ends: dict[str, int] = {}
        self.issued: int = 0
        #: incremented when a token is issued or expired
        self.changes: int = 0

    def issue(self, now_ms: int, lifetime_s: int) -> str:
        """Return a new token that is valid for `lifetime_s` seconds; older tokens stay valid."""
        self.issued += 1
        self.changes += 1
        token = self._random.token(f"token/{self.issued}", 28)
        self._ends[token] = now_ms + lifetime_s * 1000
        while len(self._ends) > _REMEMBERED:
            del self._ends[next(iter(self._ends))]
        return token

    def state(self, authorization: str | None, now_ms: int) -> TokenState:
        """Return the state of the token in an `Authorization` header."""
        scheme, _, token = (authorization or "").partition(" ")
        ends = self._ends.get(token.strip())
        if scheme.lower() != "bearer" or ends is None:
            return "invalid"
        return "valid" if now_ms < ends else "expired"

    def expire(self) -> None:
        """Expire every token issued so far."""
        self._ends = dict.fromkeys(self._ends, 0)
        self.changes += 1

    def restore(self, token: str, ends_ms: int) -> None:
        """Add a token that an earlier simulator issued."""
        self._ends[token] = ends_ms

    def kept(self) -> list[tuple[str, int]]:
        """Return each remembered token with its expiry, in virtual milliseconds."""
        return list(self._ends.items())
