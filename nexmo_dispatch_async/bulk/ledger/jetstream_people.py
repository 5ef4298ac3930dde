"""`PeopleView`: an opt-out list and the messages to each person, made of the messages of its stream.

The module does no I/O.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Iterable, Sequence
from typing import TypeVar

from nexmo_dispatch_async.bulk.ledger import jetstream_rows as form
from nexmo_dispatch_async.bulk.ledger.jetstream_rows import PeopleNames, Person, person_hash
from nexmo_dispatch_async.bulk.ledger.records import Cap, Suppressed
from nexmo_dispatch_core.jetstream.stream import Message, Write
from nexmo_dispatch_core.unfinished import shows_unfinished

__all__ = ["PeopleChange", "PeopleView"]

T = TypeVar("T")


#: When, and for which row.
Messages = tuple[tuple[float, str], ...]


class PeopleView:
    """The people of a list, by the tokens of their addresses.

    Args:
        names: The subjects of the list.
    """

    def __init__(self, names: PeopleNames) -> None:
        self.names = names
        self.version: int = 0
        self.marker_seq: int = 0
        self.people: dict[str, Person] = {}
        self.histories: dict[str, Messages] = {}
        # by subject
        self._seqs: dict[str, int] = {}

    @shows_unfinished
    def __repr__(self) -> str:
        return f"<PeopleView of {len(self.people)} addresses>"

    def apply(self, message: Message) -> None:
        """Take a message in; one that is known already changes nothing."""
        names, subject = self.names, message.subject
        if message.seq <= self._seqs.get(subject, 0):
            return
        if subject.startswith(names.people):
            self._seqs[subject] = message.seq
            self.people[subject[len(names.people) :]] = form.decode_person(message.data)
        elif subject.startswith(names.histories):
            self._seqs[subject] = message.seq
            self.histories[subject[len(names.histories) :]] = form.decode_history(message.data)
        elif subject == names.version:
            self.version = max(self.version, message.seq)
        elif subject == names.marker:
            self.marker_seq = max(self.marker_seq, message.seq)

    def seq(self, subject: str) -> int:
        """Return the sequence of a subject; 0 where it is new."""
        return self._seqs.get(subject, 0)

    def confirm(self, subject: str, seq: int) -> None:
        """Note the sequence of what this process stored."""
        self._seqs[subject] = max(seq, self.seq(subject))

    def find(self, address: str) -> Suppressed | None:
        """Return the entry of an address."""
        person = self.people.get(person_hash(address))
        if person is None or not person.reason:
            return None
        return Suppressed(address=address, reason=person.reason, at=person.at)

    def list(self, after: str, limit: int) -> builtins.list[Suppressed]:
        """Return entries in the order of their addresses."""
        found = sorted(one.address for one in self.people.values() if one.reason and one.address > after)
        return [entry for address in found[:limit] if (entry := self.find(address)) is not None]

    def addresses(self) -> builtins.list[str]:
        """Return the tokens of all addresses with a history."""
        return [token for token, messages in self.histories.items() if messages]


class PeopleChange:
    """Changes of a list that are stored together, or taken back.

    Args:
        view: The list; it shows the changes at once.
    """

    def __init__(self, view: PeopleView) -> None:
        self._view = view
        # what was there before, by token
        self._people: dict[str, Person | None] = {}
        self._histories: dict[str, Messages | None] = {}

    @shows_unfinished
    def __repr__(self) -> str:
        return f"<PeopleChange of {len(self)} addresses>"

    def __len__(self) -> int:
        return len(self._people) + len(self._histories)

    # --- opt-outs ---

    def suppress(self, addresses: Iterable[str], reason: str, at: float) -> int:
        """Add addresses and all of the same people; return the number of new entries."""
        new = [each for each in self._of_people(addresses) if not self._person(each).reason]
        for address in new:
            self._set(address, Person(address, reason, at, self._person(address).same))
        return len(new)

    def unsuppress(self, addresses: Iterable[str]) -> int:
        """Remove addresses and all of the same people; return the number of removed entries."""
        gone = [each for each in self._of_people(addresses) if self._person(each).reason]
        for address in gone:
            self._set(address, Person(address, same=self._person(address).same))
        return len(gone)

    def link(self, addresses: Sequence[str]) -> None:
        """Note the addresses of a person; when one is on the list, the others join it."""
        known = self._of_people(addresses)
        for address in known:
            person = self._person(address)
            if person.same != known:
                self._set(address, Person(address, person.reason, person.at, known))
        entries = [self._person(address) for address in known if self._person(address).reason]
        if entries:
            first = min(entries, key=lambda entry: entry.at)
            self.suppress([first.address], first.reason, first.at)

    def unlink(self, address: str) -> None:
        """Erase which other addresses a person has."""
        for each in self._person(address).same:
            person = self._person(each)
            self._set(each, Person(each, person.reason, person.at))

    def _of_people(self, addresses: Iterable[str]) -> tuple[str, ...]:
        found = set(addresses)
        for address in tuple(found):
            found.update(self._person(address).same)
        return tuple(sorted(found))

    def _person(self, address: str) -> Person:
        return self._view.people.get(person_hash(address)) or Person(address)

    def _set(self, address: str, person: Person) -> None:
        token = person_hash(address)
        self._people.setdefault(token, self._view.people.get(token))
        # nothing is kept of an address that is not on the list, and belongs to no other
        self._view.people[token] = person if person.reason or person.same else Person("")

    # --- history ---

    def free_at(self, address: str, cap: Cap, now: float) -> float | None:
        """Return when a person may get a message again, in epoch seconds; None for now."""
        messages = self._view.histories.get(person_hash(address), ())
        counted = sorted(at for at, _ in messages if at + cap.window > now)
        return counted[-cap.messages] + cap.window if len(counted) >= cap.messages else None

    def note(self, address: str, source: str, at: float) -> None:
        """Count a message."""
        token = person_hash(address)
        self._set_history(token, (*self._view.histories.get(token, ()), (at, source)))

    def unnote(self, address: str, source: str, at: float) -> None:
        """Remove a message that was not sent from the count."""
        token = person_hash(address)
        kept = list(self._view.histories.get(token, ()))
        if (at, source) in kept:
            kept.remove((at, source))
            self._set_history(token, tuple(kept))

    def forget(self, token: str, before: float = math.inf) -> int:
        """Erase messages to an address before a time; return their number."""
        known = self._view.histories.get(token, ())
        kept = tuple(one for one in known if one[0] >= before)
        if len(kept) != len(known):
            self._set_history(token, kept)
        return len(known) - len(kept)

    def _set_history(self, token: str, messages: Messages) -> None:
        self._histories.setdefault(token, self._view.histories.get(token))
        self._view.histories[token] = messages

    # --- storing ---

    def writes(self) -> builtins.list[Write]:
        """Return the messages that store the changes; empty for no change."""
        view, names = self._view, self._view.names
        found: builtins.list[Write] = []
        for token in self._people:
            subject = names.people + token
            found.append(Write(subject, form.encode(view.people[token]), view.seq(subject)))
        for token in self._histories:
            subject = names.histories + token
            found.append(Write(subject, form.encode(view.histories[token]), view.seq(subject)))
        if self._people:
            found.append(Write(names.version, b"", view.version))
        if found:
            found.append(Write(names.marker))
        return found

    def confirm(self, subject: str, seq: int) -> None:
        """Note the sequence of a message of `writes` that was stored."""
        view, names = self._view, self._view.names
        if subject == names.version:
            view.version = seq
        elif subject == names.marker:
            view.marker_seq = max(view.marker_seq, seq)
        else:
            view.confirm(subject, seq)

    def undo(self) -> None:
        """Take the changes back."""
        _restore(self._view.people, self._people)
        _restore(self._view.histories, self._histories)


def _restore(now: dict[str, T], before: dict[str, T | None]) -> None:
    for token, value in before.items():
        if value is None:
            now.pop(token, None)
        else:
            now[token] = value
