"""`CampaignView`: all rows of a campaign as one process knows them, made of the messages of its stream.

Keys, addresses and fields stay in the stream: a view holds what decides about a row, and where it lies.
Counts come of the messages alone, so that they cannot differ from the rows. The module does no I/O.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from collections.abc import Iterator

import msgspec
from msgspec import Struct

from nexmo_dispatch_async.bulk.ledger import jetstream_rows as form
from nexmo_dispatch_async.bulk.ledger.jetstream_pending import Lane, PendingRows
from nexmo_dispatch_async.bulk.ledger.jetstream_rows import Chunk, Head, Marker, Names, RowState, StoredRow
from nexmo_dispatch_async.bulk.ledger.records import Control
from nexmo_dispatch_async.bulk.ledger.transitions import Tally
from nexmo_dispatch_core.jetstream.stream import Message
from nexmo_dispatch_core.unfinished import shows_unfinished

__all__ = ["CampaignView", "Worker"]

_NO_ROW = b"\0" * 16


class Worker(Struct):
    """A process that works on the campaign.

    Attributes:
        seq: Of its last sign of life.
        seen: When this process saw that sign, by its monotonic clock.
        sends: Whether it claims rows.
        stamp: When the server stored that sign, in ISO 8601; for the eye, since clocks may differ.
    """

    seq: int
    seen: float
    sends: bool
    stamp: str = ""


class _Held(Struct):
    holder: str = ""
    report: bool | None = None


class CampaignView:
    """The rows, the workers and the controls of a campaign.

    Args:
        names: The subjects of the campaign.
    """

    def __init__(self, names: Names) -> None:
        self.names = names
        # the campaign
        self.head: Head = Head("", "")
        self.head_seq: int = 0
        self.control: Control = Control()
        self.control_seq: int = 0
        self.marker: Marker = Marker()
        self.marker_seq: int = 0
        self.bounds_seq: int = 0
        self.workers: dict[str, Worker] = {}
        # the rows
        self.pending: PendingRows = PendingRows()
        self.tally: Tally = Tally()
        self.keys: dict[bytes, int] = {}
        self._codes = bytearray(1)
        self._hashes: list[bytes] = [_NO_ROW]
        self._seqs = array("Q", [0])
        self._states: dict[int, RowState] = {}
        self._firsts: list[int] = []
        # what came before its place in the order of the ids
        self._waiting: dict[int, Chunk] = {}
        self._early: dict[int, Message] = {}
        self._chunk_seqs: dict[int, int] = {}
        self._by_uuid: dict[str, int] = {}
        self._sending: dict[str, set[int]] = {}

    @shows_unfinished
    def __repr__(self) -> str:
        return f"<CampaignView of {len(self)} rows>"

    def __len__(self) -> int:
        return len(self._codes) - 1

    # --- messages ---

    def apply(self, message: Message, now: float) -> int:
        """Take a message in; one that is known already changes nothing.

        Args:
            message: Of the campaign.
            now: Seconds of a monotonic clock.

        Returns:
            The id of the row whose state changed, 0 for none.
        """
        names, subject = self.names, message.subject
        if subject.startswith(names.states):
            return self._apply_state(int(subject[len(names.states) :]), message)
        if subject.startswith(names.rows):
            first = int(subject[len(names.rows) :])
            if message.seq > self._chunk_seqs.get(first, 0):
                self.put_chunk(form.decode_chunk(message.data), message.seq)
        elif subject.startswith(names.workers):
            self._put_worker(subject[len(names.workers) :], message, now)
        elif subject == names.head and message.seq > self.head_seq:
            self.head, self.head_seq = form.decode_head(message.data), message.seq
        elif subject == names.control and message.seq > self.control_seq:
            self.control = msgspec.json.decode(message.data, type=Control)
            self.control_seq = message.seq
        elif subject == names.marker and message.seq > self.marker_seq:
            self.marker, self.marker_seq = form.decode_marker(message.data), message.seq
        elif subject == names.bounds:
            self.bounds_seq = max(self.bounds_seq, message.seq)
        return 0

    def _apply_state(self, row_id: int, message: Message) -> int:
        if row_id > len(self):
            # its recipient comes later, where it was erased since then
            self._early[row_id] = message
            return 0
        if message.seq <= self._seqs[row_id]:
            return 0
        self.put(row_id, form.decode_state(message.data), message.seq)
        return row_id

    def _put_worker(self, name: str, message: Message, now: float) -> None:
        held = msgspec.json.decode(message.data, type=_Held)
        if not held.holder:
            self.workers.pop(name, None)
        elif (known := self.workers.get(name)) is None or message.seq > known.seq:
            self.workers[name] = Worker(message.seq, now, bool(held.report), message.stamp)

    def put_chunk(self, chunk: Chunk, seq: int) -> None:
        """Take recipients in: new ones, or known ones whose personal data were erased."""
        known = self._chunk_seqs.get(chunk.first)
        self._chunk_seqs[chunk.first] = seq
        if known is not None:
            for row_id, row in enumerate(chunk.rows, chunk.first):
                if not row.key and self.keys.get(self._hashes[row_id]) == row_id:
                    del self.keys[self._hashes[row_id]]
            return
        self._waiting[chunk.first] = chunk
        while (following := self._waiting.pop(len(self) + 1, None)) is not None:
            self._firsts.append(following.first)
            for row_id, row in enumerate(following.rows, following.first):
                self._append(row_id, row, following.at)
                if (early := self._early.pop(row_id, None)) is not None:
                    self._apply_state(row_id, early)

    def _append(self, row_id: int, row: StoredRow, at: float) -> None:
        hashed = form.key_hash(row.key)
        self._hashes.append(hashed)
        if row.key:
            self.keys[hashed] = row_id
        self._seqs.append(0)
        self._codes.append(form.PENDING)
        self.pending.append(Lane(row.bucket, row.zone), math.inf if row.expires is None else row.expires)
        if row.skip:
            skipped = form.code_of("skipped")
            self._states[row_id] = RowState(skipped, row.not_before, row.skip, changed=at)
            self._codes[row_id] = skipped
        else:
            self.pending.put(row_id, row.not_before)
            if row.not_before:
                self._states[row_id] = RowState(form.PENDING, row.not_before)
        self._count(self.state(row_id), 1)

    # --- rows ---

    def state(self, row_id: int) -> RowState:
        """Return what became of a row."""
        return self._states.get(row_id, _NEW)

    def seq(self, row_id: int) -> int:
        """Return the sequence of the state of a row; 0 where it has none."""
        return self._seqs[row_id]

    def confirm(self, row_id: int, seq: int) -> None:
        """Note the sequence of a state that this process stored."""
        self._seqs[row_id] = max(seq, self._seqs[row_id])

    def put(self, row_id: int, state: RowState, seq: int | None = None) -> None:
        """Change the state of a row."""
        before = self.state(row_id)
        self._count(before, -1)
        self._count(state, 1)
        if seq is not None:
            self._seqs[row_id] = seq
        self._states[row_id] = state
        self._codes[row_id] = state.state
        if state.state == form.PENDING:
            self.pending.put(row_id, state.not_before)
        else:
            self.pending.remove(row_id)
        if before.state == form.SENDING:
            self._sending.get(before.worker, set()).discard(row_id)
        if state.state == form.SENDING:
            self._sending.setdefault(state.worker, set()).add(row_id)
        for uuid in state.uuids:
            self._by_uuid[uuid] = row_id

    def _count(self, state: RowState, n: int) -> None:
        tally = self.tally
        tally.add(form.state_of(state.state), form.skip_of(state.skip), n)
        if state.news:
            tally.ended += n * state.ended
            if state.reached:
                tally.reached[state.reached] += n
            tally.pay(state.cost, state.currency, n)

    def by_uuid(self, uuid: str) -> int | None:
        """Return the row of a workflow."""
        return self._by_uuid.get(uuid)

    def sending(self, process: str | None = None, worker: str | None = None) -> list[int]:
        """Return the rows that are `sending`, by id.

        Args:
            process: Only those of a process.
            worker: Only those of one of its workers.
        """
        found: list[int] = []
        for name, rows in list(self._sending.items()):
            if not rows:
                del self._sending[name]
                continue
            holder, _, inner = name.partition("/")
            if process in (None, holder) and worker in (None, inner):
                found += rows
        return sorted(found)

    def senders(self) -> set[str]:
        """Return the processes with rows that are `sending`."""
        return {name.partition("/")[0] for name, rows in self._sending.items() if rows}

    def ids(self, code: int | None, after: int) -> Iterator[int]:
        """Yield the ids of rows in a state, by ascending id."""
        if code is None:
            yield from range(max(after, 0) + 1, len(self._codes))
            return
        row_id = max(after, 0)
        while (row_id := self._codes.find(code, row_id + 1)) > 0:
            yield row_id

    # --- recipients ---

    def chunks(self) -> list[int]:
        """Return the first ids of all messages of recipients."""
        return list(self._firsts)

    def chunk_of(self, row_id: int) -> int:
        """Return the first id of the message that holds a recipient."""
        return self._firsts[bisect_right(self._firsts, row_id) - 1]

    def chunk_seq(self, first: int) -> int:
        """Return the sequence of a message of recipients; 0 where it is new."""
        return self._chunk_seqs.get(first, 0)


_NEW = RowState()
