"""`Lease`: one process at a time does something, and what it writes is fenced by the revision of its lease.

The lease is the last message of a subject. Its holder replaces it again and again, each time expecting its
own last message. A process that wants it takes it over when it has seen no new message for the time of the
lease, by its own monotonic clock: so no clock of another machine matters. A holder that slept finds another
message than its own, and nothing that it writes together with its lease is stored.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence

import msgspec
from msgspec import Struct

from nexmo_dispatch_core.jetstream.failures import WrongSequenceError
from nexmo_dispatch_core.jetstream.stream import Message, Stream, Write
from nexmo_dispatch_core.unfinished import shows_unfinished

__all__ = ["Lease", "LostLeaseError"]


#: How often a write is tried while an earlier attempt is on its way, and the seconds between two tries.
_TRIES, _PAUSE = 50, 0.1


class LostLeaseError(Exception):
    """Another process has, or had, the lease; nothing was stored."""


class _Held(Struct):
    #: Of the holder; empty when it gave the lease up.
    holder: str
    #: What it reports, as JSON.
    report: msgspec.Raw = msgspec.Raw(b"null")


class Lease:
    """A lease, as one process sees it.

    Args:
        stream: Where it is kept; its subjects hold one message each.
        subject: Of the lease.
        seconds: Without a sign of life after which another process takes it.
        monotonic: Returns seconds.
    """

    def __init__(
        self, stream: Stream, subject: str, *, seconds: float, monotonic: Callable[[], float]
    ) -> None:
        self._stream = stream
        self._subject = subject
        self._seconds = seconds
        self._monotonic = monotonic
        self._name = secrets.token_hex(8)
        self._writing = asyncio.Lock()
        # as holder: the sequence of the own last message, and when it was sent
        self._own = 0
        self._renewed: float = 0.0
        # as another: which message was seen last, and since when
        self._seen = 0
        self._since = 0.0
        #: What the holder reported last, as JSON.
        self.report: bytes = b"null"

    @shows_unfinished
    def __repr__(self) -> str:
        return f"<Lease {'held' if self.held else 'not held'}>"

    @property
    def held(self) -> bool:
        """Whether this process took the lease, and has not learned that it is lost."""
        return bool(self._own)

    @property
    def lapsed(self) -> bool:
        """Whether another process may have it by now: there was no sign of life for too long."""
        return self._monotonic() >= self._renewed + self._seconds

    @property
    def age(self) -> float:
        """Seconds since this process renewed it last."""
        return self._monotonic() - self._renewed

    async def hold(self, report: bytes = b"null") -> bool:
        """Take the lease or renew it.

        Args:
            report: What others read in `report` meanwhile, as JSON.

        Returns:
            Whether this process holds it.

        Raises:
            Exception: Of the package: the stream cannot be used.
        """
        if self._own:
            try:
                await self.write([], report)
            except LostLeaseError:
                return False
            return True
        found = await self._stream.last(self._subject)
        if not self._is_free(found):
            return False
        return await self._take(0 if found is None else found.seq, report)

    def _is_free(self, found: Message | None) -> bool:
        if found is None:
            return True
        held = _decode(found.data)
        self.report = bytes(held.report)
        now = self._monotonic()
        if found.seq != self._seen:
            self._seen, self._since = found.seq, now
        return not held.holder or now - self._since >= self._seconds

    async def _take(self, expected: int, report: bytes) -> bool:
        asked_at = self._monotonic()
        async with self._writing:
            try:
                self._own = await self._stream.put(self._write(expected, report))
            except WrongSequenceError:
                if (
                    await self._adopt() is None
                ):  # else an earlier attempt succeeded, and its response was lost
                    return False
            self._renewed = asked_at
        return True

    async def write(self, writes: Sequence[Write], report: bytes | None = None) -> int:
        """Store messages together with a renewal: all of them, or none if the lease is lost.

        An attempt whose response was lost is recognised by its mark, and is not made again.

        Returns:
            The sequence of the renewal; those of *writes* are the ones before it.

        Raises:
            LostLeaseError: Another process has the lease, or had it; nothing was stored.
            WrongSequenceError: One of *writes* expected another message; nothing was stored.
            Exception: Of the package.
        """
        if report is not None:
            self.report = report
        async with self._writing:
            if not self._own:
                raise LostLeaseError
            mark = secrets.token_hex(4)
            conditional = any(write.expected is not None for write in writes)
            for _ in range(_TRIES):
                asked_at, before = self._monotonic(), self._own
                # the last message of a batch gives the sequence
                batch = [*writes, self._write(before, self.report, mark)]
                try:
                    self._own = await self._stream.put_together(batch)
                except WrongSequenceError:
                    found = await self._adopt()
                    if found is None:
                        self._own = 0
                        raise LostLeaseError from None
                    if found.holder.endswith(f".{mark}"):
                        self._renewed = asked_at
                        return self._own
                    if self._own == before:
                        if conditional:
                            raise
                        await asyncio.sleep(_PAUSE)  # an earlier attempt is on its way
                else:
                    self._renewed = asked_at
                    return self._own
            raise self._stream.busy()

    async def _adopt(self) -> _Held | None:
        """Go on from the last message if it is one of this process, and return it."""
        found = await self._stream.last(self._subject)
        held = None if found is None else _decode(found.data)
        if found is None or held is None or held.holder.partition(".")[0] != self._name:
            return None
        self._own = found.seq
        return held

    async def give_up(self, *, expires: int | None = None) -> None:
        """Let another process take the lease at once.

        Args:
            expires: Seconds after which nothing of the lease is left; None to keep its last message.
        """
        async with self._writing:
            own, self._own = self._own, 0
            if own:
                try:
                    await self._stream.put(
                        Write(
                            self._subject,
                            _encode(_Held("", msgspec.Raw(self.report))),
                            own,
                            expires=expires,
                        )
                    )
                except WrongSequenceError:
                    return

    def _write(self, expected: int, report: bytes, mark: str = "") -> Write:
        self.report = report
        return Write(self._subject, _encode(_Held(f"{self._name}.{mark}", msgspec.Raw(report))), expected)


_encode = msgspec.json.encode
_decode = msgspec.json.Decoder(_Held).decode
