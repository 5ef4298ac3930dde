"""`OptOutList`: the opt-out list and the number of messages per person, over all campaigns that share it."""

from __future__ import annotations

import builtins
import os
import time
from collections.abc import AsyncIterable, Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, Protocol, Self

from nexmo_dispatch_async.bulk.ledger.records import Cap, Suppressed
from nexmo_dispatch_async.bulk.ledger.stop_words import STOP_WORDS, STOPPED, is_stop, normal_words
from nexmo_dispatch_async.bulk.ledger.transitions import OPT_OUT_CODES
from nexmo_dispatch_async.checks import checks
from nexmo_dispatch_async.exceptions import ConfigurationError
from nexmo_dispatch_async.phone_numbers.normalizer import as_digits
from nexmo_dispatch_core.checks import LARGEST, unstorable
from nexmo_dispatch_core.unfinished import shows_unfinished
from nexmo_dispatch_webhooks.events import InboundMessage, MessageStatus

__all__ = ["MemoryOptOutStore", "OptOutList", "OptOutStore", "Suppressed", "normal_address"]

#: Addresses in one transaction of an import.
_PIECE = 1000


class _Router(Protocol):
    """The part of a router that `attach` needs; the receiver's `Router` has it."""

    def add(self, handler: Any, *, kind: Any) -> object:
        """Register a handler."""
        ...


class OptOutStore(Protocol):
    """The store of an `OptOutList`. Each method is atomic, and its changes are durable when it returns."""

    async def suppress(self, addresses: Sequence[str], *, reason: str, at: float) -> int:
        """Add addresses and all linked to them, but keep known entries; return the number of new ones."""
        ...

    async def unsuppress(self, addresses: Sequence[str]) -> int:
        """Remove addresses and all linked to them; return the number of removed entries."""
        ...

    async def link(self, people: Sequence[Sequence[str]]) -> None:
        """Store the addresses of each person, which add up; when one is on the list, the others join it."""
        ...

    async def find(self, addresses: Sequence[str]) -> builtins.list[Suppressed]:
        """Return the entries of those addresses that are on the list, in any order."""
        ...

    async def list(self, *, after: str, limit: int) -> builtins.list[Suppressed]:
        """Return entries in the order of their addresses, only addresses behind *after*."""
        ...

    async def forget(self, before: float) -> int:
        """Erase the history of messages before a time, in epoch seconds; return their number."""
        ...

    async def aclose(self) -> None:
        """Release all resources."""
        ...


class OptOutList:
    """The opt-out list, and the history of messages for caps.

    Pass one `OptOutList` to all campaigns that share it. Each claim checks the list in its own transaction,
    so a STOP that arrives while a row waits is honoured.

        opt_outs = OptOutList.open("opt-outs.db")
        opt_outs.attach(router, words=("stop", "afmelden"))

    Args:
        store: The store of the list; by default in memory.
        normalise: Returns an address in the form that campaigns store.
        clock: Returns epoch seconds.
    """

    def __init__(
        self,
        store: OptOutStore | None = None,
        *,
        normalise: Callable[[str], str] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.store: OptOutStore = store if store is not None else MemoryOptOutStore()
        self._normalise = normalise or normal_address
        self._clock = clock

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        normalise: Callable[[str], str] | None = None,
        clock: Callable[[], float] = time.time,
        busy_timeout: float = 10.0,
    ) -> Self:
        """Return an `OptOutList` that processes and campaigns may share: in a file, on Postgres or on NATS.

        Args:
            path: A separate file, created at the first use, for its owner only; or `postgresql://…` or
                `nats://…`, the database or the space of the campaigns.
            normalise: Returns an address in the form that campaigns store.
            clock: Returns epoch seconds.
            busy_timeout: Maximum wait in seconds for another process that writes.

        Raises:
            ConfigurationError: *path* is no path, or a URL that cannot be read.
        """
        if isinstance(path, str) and path.startswith(("nats://", "tls://")):
            from nexmo_dispatch_async.bulk.ledger.jetstream_opt_outs import JetStreamOptOutStore

            return cls(JetStreamOptOutStore(path), normalise=normalise, clock=clock)
        if isinstance(path, str) and path.startswith(("postgresql://", "postgres://")):
            from nexmo_dispatch_async.bulk.ledger.postgres_opt_outs import PostgresOptOutStore

            return cls(PostgresOptOutStore(path), normalise=normalise, clock=clock)
        from nexmo_dispatch_async.bulk.ledger.opt_outs_sqlite import SqliteOptOutStore

        return cls(SqliteOptOutStore(path, busy_timeout=busy_timeout), normalise=normalise, clock=clock)

    @shows_unfinished
    def __repr__(self) -> str:
        return f"<OptOutList in {type(self.store).__name__}>"

    async def suppress(self, *addresses: str, reason: str = "by hand") -> int:
        """Add addresses to the opt-out list; return the number of new entries.

        Raises:
            ConfigurationError: An address is empty, or a text is one that no store takes.
            OptOutError: The store failed, and nothing was stored.
        """
        checks.texts(reason=reason)
        return await self.store.suppress(self._normal(addresses), reason=reason, at=self._clock())

    async def unsuppress(self, *addresses: str) -> int:
        """Remove addresses of people who opted in again; return the number of removed entries.

        Raises:
            ConfigurationError: An address is empty, or a text that no store takes.
            OptOutError: The store failed, and nothing was stored.
        """
        return await self.store.unsuppress(self._normal(addresses))

    async def link(self, *addresses: str) -> None:
        """Note that these addresses belong to one person: a STOP from one of them counts for all.

        A campaign does it for each row whose steps go to different addresses.

        Raises:
            ConfigurationError: An address is empty, or a text that no store takes.
            OptOutError: The store failed, and nothing was stored.
        """
        await self.store.link([self._normal(addresses)])

    async def suppressed(self, address: str) -> Suppressed | None:
        """Return the entry of an address; `None` for an address that is not on the list.

        Raises:
            ConfigurationError: The address is empty, or a text that no store takes.
            OptOutError: The store failed.
        """
        return next(iter(await self.store.find(self._normal([address]))), None)

    async def list(self, *, after: str = "", limit: int = 1000) -> builtins.list[Suppressed]:
        """Return entries in the order of their addresses.

        Args:
            after: Last address of the previous page.
            limit: Maximum number of entries, at least 1.

        Raises:
            ConfigurationError: An argument is out of its range, or a text that no store takes.
            OptOutError: The store failed.
        """
        checks.texts(after=after)
        checks.count("limit", limit, most=LARGEST)
        return await self.store.list(after=after, limit=limit)

    async def import_(self, addresses: Iterable[str] | AsyncIterable[str], *, reason: str = "import") -> int:
        """Add the addresses of an opt-out list, in pieces; return the number of new entries.

        Args:
            addresses: The addresses; empty lines are ignored.
            reason: Reason of the entries.

        Raises:
            ConfigurationError: An address or the reason is a text that no store takes.
            OptOutError: The store failed; earlier pieces are stored, and the same import may be repeated.
        """
        checks.texts(reason=reason)
        new, piece = 0, builtins.list[str]()
        async for address in _each(addresses):
            if address.strip():
                piece.append(address)
            if len(piece) == _PIECE:
                new += await self.suppress(*piece, reason=reason)
                piece.clear()
        return new + (await self.suppress(*piece, reason=reason) if piece else 0)

    async def forget(self, before: float) -> int:
        """Erase the history of messages before a time; the opt-out list stays.

        Args:
            before: Epoch seconds, before the window of every cap.

        Raises:
            ConfigurationError: *before* is no finite number, or beyond the year 9999.
            OptOutError: The store failed.
        """
        checks.epoch("before", before)
        return await self.store.forget(before)

    def attach(
        self,
        router: _Router,
        *,
        words: Iterable[str] = STOP_WORDS,
        codes: Iterable[int | str] = OPT_OUT_CODES,
    ) -> None:
        """Register handlers on a router of the receiver that add people to the list.

        Args:
            router: The receiver's `Router`.
            words: Replies that opt their sender out, compared without case and space.
            codes: Error codes of message statuses that opt their recipient out (contract 6.1).

        Raises:
            ConfigurationError: *words* is empty or holds an empty word.
        """
        stop, barred = normal_words(words), frozenset(map(str, codes))

        async def opt_out(event: InboundMessage) -> None:
            if is_stop(event.text, stop):
                await self._suppress_all(_addresses(event.from_, event.whatsapp_user), STOPPED)

        async def barred_by_the_service(event: MessageStatus) -> None:
            if event.error is not None and str(event.error.code) in barred:
                found = _addresses(event.to, event.whatsapp_user)
                await self._suppress_all(found, str(event.error.code))

        # Stable names, since inboxes store them.
        opt_out.__qualname__ = "OptOutList.opt_out"
        barred_by_the_service.__qualname__ = "OptOutList.barred_by_the_service"
        router.add(opt_out, kind="inbound-message")
        router.add(barred_by_the_service, kind="message-status")

    async def aclose(self) -> None:
        """Close the store."""
        await self.store.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def _suppress_all(self, addresses: Sequence[str], reason: str) -> None:
        if addresses:
            await self.suppress(*addresses, reason=reason)

    def _normal(self, addresses: Sequence[str]) -> builtins.list[str]:
        for address in addresses:
            checks.texts(**{"an address of the opt-out list": address})
        normal = [self._normalise(address) for address in addresses]
        if not all(normal):
            raise ConfigurationError("an address of the opt-out list is empty: give digits or a user id")
        return normal


class MemoryOptOutStore:
    """An `OptOutStore` in memory, which `MemoryLedger` uses directly."""

    def __init__(self) -> None:
        self.entries: dict[str, Suppressed] = {}
        self.history: dict[str, list[tuple[float, str]]] = {}
        #: All addresses of a person, under each of them.
        self.same_person: dict[str, frozenset[str]] = {}

    async def suppress(self, addresses: Sequence[str], *, reason: str, at: float) -> int:
        """Add addresses."""
        return sum(self.suppress_now(address, reason, at) for address in addresses)

    async def unsuppress(self, addresses: Sequence[str]) -> int:
        """Remove addresses."""
        return sum(self.entries.pop(address, None) is not None for address in self._of_people(addresses))

    async def link(self, people: Sequence[Sequence[str]]) -> None:
        """Note the addresses of each person."""
        for addresses in people:
            known = self._of_people(addresses)
            self.same_person.update(dict.fromkeys(known, known))
            entries = [self.entries[address] for address in known if address in self.entries]
            if entries:
                first = min(entries, key=lambda entry: entry.at)
                self.suppress_now(first.address, first.reason, first.at)

    async def find(self, addresses: Sequence[str]) -> builtins.list[Suppressed]:
        """Return the entries of addresses."""
        return [self.entries[address] for address in addresses if address in self.entries]

    async def list(self, *, after: str, limit: int) -> builtins.list[Suppressed]:
        """Return a page of the list."""
        return [self.entries[address] for address in sorted(self.entries) if address > after][:limit]

    async def forget(self, before: float) -> int:
        """Erase old history."""
        erased = 0
        for address, messages in list(self.history.items()):
            kept = [message for message in messages if message[0] >= before]
            erased += len(messages) - len(kept)
            self.history[address] = kept
            if not kept:
                del self.history[address]
        return erased

    async def aclose(self) -> None:
        """Do nothing: there are no resources."""

    # --- for `MemoryLedger`, within its transaction ---

    def suppress_now(self, address: str, reason: str, at: float) -> int:
        """Add an address and the others of the same person, and return how many are new."""
        new = [each for each in self._of_people([address]) if each not in self.entries]
        self.entries.update({each: Suppressed(address=each, reason=reason, at=at) for each in new})
        return len(new)

    def unlink_now(self, address: str) -> None:
        """Erase which other addresses a person has."""
        for each in self.same_person.get(address, ()):
            del self.same_person[each]

    def free_at(self, address: str, cap: Cap, now: float) -> float | None:
        """Return when a person may get a message again, in epoch seconds; `None` for now."""
        counted = sorted(at for at, _ in self.history.get(address, ()) if at + cap.window > now)
        return counted[-cap.messages] + cap.window if len(counted) >= cap.messages else None

    def note(self, address: str, source: str, at: float) -> None:
        """Count a message."""
        self.history.setdefault(address, []).append((at, source))

    def unnote(self, address: str, source: str, at: float) -> None:
        """Remove a message that was not sent from the count."""
        if (at, source) in (messages := self.history.get(address, [])):
            messages.remove((at, source))

    def _of_people(self, addresses: Sequence[str]) -> frozenset[str]:
        """Return addresses with all others of the same people."""
        return frozenset(addresses).union(*(self.same_person.get(address, ()) for address in addresses))


def normal_address(address: str) -> str:
    """Return an address as campaigns store it: digits without `+` or `00`, or an unchanged user id.

    A number in national form is unchanged: give `OptOutList` the normaliser of the campaign.
    """
    text = as_digits(address)
    digits = text.translate({ord(mark): None for mark in " \t-./()\u00a0"})
    plain = digits.removeprefix("+")
    if not (plain.isascii() and plain.isdecimal()):
        return text
    return plain if digits.startswith("+") else plain.removeprefix("00")


def _addresses(address: Any, user: Any) -> builtins.list[str]:
    """Return all addresses of a person in a callback; WhatsApp may send a user id and a number (5.5)."""
    found = [address.number, address.id]
    if user is not None:
        found += [user.user_id, user.wa_id]
    # contract 5.11: no campaign has a row for an address that no store takes
    return list(dict.fromkeys(text for text in found if text and not unstorable(text)))


async def _each(addresses: Iterable[str] | AsyncIterable[str]) -> AsyncIterable[str]:
    if isinstance(addresses, AsyncIterable):
        async for address in addresses:
            yield address
    else:
        for address in addresses:
            yield address
