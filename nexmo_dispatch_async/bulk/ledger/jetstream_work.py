"""`Work`: changes of a campaign that are stored together in one atomic batch, or taken back.

The views show a change at once; a reader waits until the change was stored or taken back.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from nexmo_dispatch_async.bulk.ledger import jetstream_rows as form
from nexmo_dispatch_async.bulk.ledger.jetstream_people import PeopleChange, PeopleView
from nexmo_dispatch_async.bulk.ledger.jetstream_rows import Chunk, Marker, RowState, StoredRow
from nexmo_dispatch_async.bulk.ledger.jetstream_view import CampaignView
from nexmo_dispatch_core.jetstream.stream import Message, Write
from nexmo_dispatch_core.unfinished import shows_unfinished

__all__ = ["Work"]

#: Changed rows and people after which a batch takes no more; an atomic batch has room for 1,000 messages.
_FULL: Final = 400


class Work:
    """One batch of changes.

    Args:
        view: The campaign.
        people: The opt-out list that its claims look into.
        read: Returns the message of recipients that begins with an id.
        process: The name of this process in the stream.
        reference: Of the campaign.
        shared: Whether other campaigns count the messages to a person as well.
    """

    def __init__(
        self,
        view: CampaignView,
        people: PeopleView,
        read: Callable[[int], Awaitable[Chunk]],
        *,
        process: str,
        reference: str,
        shared: bool,
    ) -> None:
        self.view = view
        self.people = people
        self.change: PeopleChange = PeopleChange(people)
        self.process = process
        self.shared = shared
        #: Whether the opt-outs must be as they are in the view when the batch is stored.
        self.checks_people: bool = False
        self._read = read
        self._reference = reference
        self._before: dict[int, RowState] = {}
        self._chunks: dict[int, tuple[Chunk, bytes]] = {}
        self._others: list[Write] = []

    @shows_unfinished
    def __repr__(self) -> str:
        return f"<Work on {len(self._before)} rows>"

    @property
    def full(self) -> bool:
        """Whether the batch has as many changes as fit."""
        return len(self._before) + len(self.change) >= _FULL

    @property
    def size(self) -> int:
        """The bytes of the recipients."""
        return sum(len(data) for _, data in self._chunks.values())

    # --- changes ---

    def set(self, row_id: int, state: RowState) -> None:
        """Change the state of a row."""
        self._before.setdefault(row_id, self.view.state(row_id))
        self.view.put(row_id, state)

    def put_chunk(self, chunk: Chunk, data: bytes) -> None:
        """Store recipients; the view shows them when they are stored."""
        self._chunks[chunk.first] = chunk, data

    def put(self, write: Write) -> None:
        """Store another message of the campaign."""
        self._others.append(write)

    def source(self, row_id: int) -> str:
        """Return what stands for a row in the history of a person."""
        return f"{self._reference}-{row_id}"

    # --- recipients ---

    async def chunk(self, first: int) -> Chunk:
        """Return recipients by the id of the first one."""
        return await self._read(first)

    async def recipient(self, row_id: int) -> StoredRow:
        """Return the recipient of a row."""
        chunk = await self._read(self.view.chunk_of(row_id))
        return chunk.rows[row_id - chunk.first]

    # --- storing ---

    def writes(self) -> list[Write]:
        """Return the messages that store the changes; empty for no change."""
        view, names = self.view, self.view.names
        found = [
            Write(f"{names.rows}{first}", data, view.chunk_seq(first))
            for first, (_, data) in self._chunks.items()
        ]
        for row_id in self._before:
            data = form.encode(view.state(row_id))
            found.append(Write(f"{names.states}{row_id}", data, view.seq(row_id)))
        found += self._others
        changes = self.change.writes()
        if found:
            if self.checks_people and not any(one.subject == self.people.names.version for one in changes):
                # a STOP that arrived meanwhile refuses the whole batch
                guard = f"{names.guards}{self.process}"
                version = self.people.names.version
                found.append(Write(guard, b"", self.people.version, expected_for=version))
            pending = len(view.pending) > 0 or any(
                not row.skip for chunk, _ in self._chunks.values() for row in chunk.rows
            )
            # A stream that was deleted and made anew has another head.
            own = any(write.subject == names.head for write in self._others)
            marker = Write(
                names.marker,
                form.encode(Marker(pending=pending)),
                None if own else view.head_seq,
                expected_for="" if own else names.head,
            )
            self._others.append(marker)
            found.append(marker)
        return found + changes

    def confirm(self, seqs: dict[str, int]) -> None:
        """Note what was stored, with the sequences by subject."""
        view, names = self.view, self.view.names
        for first, (chunk, _) in self._chunks.items():
            view.put_chunk(chunk, seqs[f"{names.rows}{first}"])
        for row_id in self._before:
            view.confirm(row_id, seqs[f"{names.states}{row_id}"])
        for write in self._others:
            view.apply(Message(seqs[write.subject], write.subject, write.data), 0.0)
        for subject, seq in seqs.items():
            if subject.startswith(self.people.names.root):
                self.change.confirm(subject, seq)

    def undo(self) -> None:
        """Take all changes back."""
        for row_id, state in self._before.items():
            self.view.put(row_id, state)
        self._before.clear()
        self.change.undo()
