"""How the rows of a campaign, and the people of an opt-out list, lie in a stream of JetStream, and back.

Subjects hold no number and no name of a person: a person is a hash there. The module does no I/O.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable
from typing import Final

import msgspec
from msgspec import Struct

from nexmo_dispatch_async.bulk.ledger.records import (
    SKIP_REASONS,
    STATES,
    Claimed,
    News,
    Recipient,
    Row,
    SkipReason,
    State,
)
from nexmo_dispatch_async.models.shown import AsShown

__all__ = [
    "CAMPAIGN_VERSION",
    "CHUNK",
    "PENDING",
    "SENDING",
    "Chunk",
    "Head",
    "Marker",
    "Names",
    "PeopleNames",
    "Person",
    "RowState",
    "StoredRow",
    "chunks_of",
    "claimed_of",
    "code_of",
    "decode_chunk",
    "decode_head",
    "decode_history",
    "decode_marker",
    "decode_news",
    "decode_person",
    "decode_state",
    "encode",
    "key_hash",
    "person_hash",
    "row_of",
    "skip_code",
    "skip_of",
    "state_of",
    "stored",
]

#: The version of all that this module writes.
CAMPAIGN_VERSION: Final = 1
#: Rows, and bytes, of one message of recipients.
CHUNK: Final = 250
_CHUNK_BYTES: Final = 128_000
PENDING: Final = 0
SENDING: Final = 1
_PLAIN: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


class _Private(AsShown, Struct, frozen=True, array_like=True, gc=False):
    """Base of what holds personal data: its `repr` shows none."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class StoredRow(_Private, frozen=True, array_like=True):
    """A recipient as added; without key, address and fields once its personal data were erased."""

    key: str
    address: str
    fields: dict[str, str]
    bucket: str
    line: int
    zone: str
    language: str
    variant: str
    channels: tuple[str, ...]
    not_before: float
    #: None for never: JSON and MessagePack of other languages have no infinity.
    expires: float | None
    skip: int


class Chunk(_Private, frozen=True, array_like=True):
    """Recipients with ascending ids."""

    first: int
    at: float
    rows: list[StoredRow]


class RowState(Struct, frozen=True, array_like=True, gc=False):
    """What became of a row so far.

    Attributes:
        state: Its position in `STATES`.
        not_before: Epoch seconds.
        skip: The position of the reason in `SKIP_REASONS`, from 1; 0 for none.
        claimed: Epoch seconds of the last claim.
        worker: Of a `sending` row: the process and its worker.
        uuids: Of all workflows that are known of the row, the smallest first.
        news: As MessagePack; empty without news. The five fields behind it are taken from it for the counts.
        forgotten: Whether its personal data were erased.
    """

    state: int = PENDING
    not_before: float = 0.0
    skip: int = 0
    attempts: int = 0
    changed: float = 0.0
    claimed: float = 0.0
    worker: str = ""
    uuids: tuple[str, ...] = ()
    error: str = ""
    code: str = ""
    news: bytes = b""
    news_at: float = 0.0
    ended: bool = False
    reached: str = ""
    cost: str = ""
    currency: str = ""
    forgotten: bool = False


class Head(Struct, frozen=True):
    """The campaign itself.

    Attributes:
        accepts_loss: Whether an operator accepted that the stream may lose what it acknowledged.
        stream_made: When the stream was made, in epoch seconds; one that is put back from a backup is made
            anew.
    """

    name: str
    reference: str
    plan: bytes = b""
    accepts_loss: bool = False
    stream_made: float = 0.0


class Marker(Struct, frozen=True):
    """The last message of each change; its sequence tells whether there is something new.

    Attributes:
        pending: Whether rows wait to be sent.
    """

    pending: bool = False


class Person(_Private, frozen=True, array_like=True):
    """One address of an opt-out list.

    Attributes:
        address: Empty for one that is not on the list, and belongs to no other.
        reason: Why it is on the list; empty for an address that is not.
        at: Epoch seconds of the entry.
        same: All addresses of the person.
    """

    address: str
    reason: str = ""
    at: float = 0.0
    same: tuple[str, ...] = ()


class Names:
    """The subjects of a campaign.

    Args:
        space: What the names of streams begin with.
        name: Of the campaign.
    """

    def __init__(self, space: str, name: str) -> None:
        self.root: str = f"{space}.campaigns.{_token(name)}"
        self.all: str = f"{self.root}.>"
        self.head: str = f"{self.root}.head"
        self.control: str = f"{self.root}.control"
        self.marker: str = f"{self.root}.last"
        self.rows: str = f"{self.root}.r."
        self.states: str = f"{self.root}.s."
        self.workers: str = f"{self.root}.w."
        self.rates: str = f"{self.root}.rates"
        #: Written with each claim that has bounds: of two at once the second is decided anew.
        self.bounds: str = f"{self.root}.bounds"
        self.guards: str = f"{self.root}.g."


class PeopleNames:
    """The subjects of an opt-out list.

    Args:
        space: What the names of streams begin with.
        name: Of the list.
        own: Whether it is the own list of the campaign of this name.
    """

    def __init__(self, space: str, name: str, *, own: bool = False) -> None:
        self.root: str = f"{space}.people.{'campaign' if own else 'list'}.{_token(name)}"
        self.all: str = f"{self.root}.>"
        self.marker: str = f"{self.root}.last"
        #: Written with each change of the opt-outs, and not with the history.
        self.version: str = f"{self.root}.version"
        self.people: str = f"{self.root}.p."
        self.histories: str = f"{self.root}.h."


def _token(name: str) -> str:
    """Return a name as one token of a subject."""
    return name if _PLAIN.fullmatch(name) else f"={name.encode().hex()}"


def _hash(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def person_hash(address: str) -> str:
    """Return the token of an address."""
    return _hash(address)


def key_hash(key: str) -> bytes:
    """Return what stands for a key in the memory of a process."""
    return hashlib.blake2b(key.encode(), digest_size=16).digest()


# --- codes ---


def state_of(code: int) -> State:
    """Return the state of a code."""
    return STATES[code]


def code_of(state: State) -> int:
    """Return the code of a state."""
    return STATES.index(state)


def skip_code(reason: SkipReason | None) -> int:
    """Return the code of a reason, 0 for none."""
    return 0 if reason is None else 1 + SKIP_REASONS.index(reason)


def skip_of(code: int) -> SkipReason | None:
    """Return the reason of a code."""
    return SKIP_REASONS[code - 1] if code else None


# --- rows ---


def stored(row: Recipient) -> StoredRow:
    """Return a recipient as it is stored."""
    return StoredRow(
        row.key,
        row.address,
        row.fields,
        row.bucket,
        row.line,
        row.zone,
        row.language,
        row.variant,
        row.channels,
        row.not_before,
        None if row.expires == math.inf else row.expires,
        skip_code(row.skip),
    )


def chunks_of(rows: list[StoredRow], first: int, at: float) -> list[tuple[Chunk, bytes]]:
    """Return messages of rows, and as they are written.

    Args:
        rows: In the order of their ids.
        first: The id of the first one.
        at: Epoch seconds, for rows that are skipped from the beginning.
    """
    found: list[tuple[Chunk, bytes]] = []
    start = 0
    while start < len(rows):
        number = min(CHUNK, len(rows) - start)
        while True:
            chunk = Chunk(first + start, at, rows[start : start + number])
            data = encode(chunk)
            if len(data) <= _CHUNK_BYTES or number == 1:
                break
            number = max(1, min(number - 1, number * _CHUNK_BYTES // len(data)))
        found.append((chunk, data))
        start += number
    return found


def claimed_of(row_id: int, row: StoredRow, state: RowState) -> Claimed:
    """Return a row that is handed out."""
    return Claimed(
        id=row_id,
        key=row.key,
        address=row.address,
        fields=dict(row.fields),
        bucket=row.bucket,
        line=row.line,
        language=row.language,
        variant=row.variant,
        channels=row.channels,
        attempts=state.attempts,
    )


def row_of(row_id: int, row: StoredRow, state: RowState) -> Row:
    """Return a row with all that is known of it."""
    return Row(
        id=row_id,
        key=row.key,
        address=row.address,
        fields=dict(row.fields),
        bucket=row.bucket,
        state=STATES[state.state],
        line=row.line,
        zone=row.zone,
        language=row.language,
        variant=row.variant,
        channels=row.channels,
        not_before=state.not_before,
        expires=math.inf if row.expires is None else row.expires,
        skip=skip_of(state.skip),
        attempts=state.attempts,
        changed=state.changed,
        dispatch_uuid=state.uuids[0] if state.uuids else "",
        error=state.error,
        code=state.code,
        news=decode_news(state.news) if state.news else None,
    )


encode: Final[Callable[[object], bytes]] = msgspec.msgpack.encode
decode_chunk: Final[Callable[[bytes], Chunk]] = msgspec.msgpack.Decoder(Chunk).decode
decode_state: Final[Callable[[bytes], RowState]] = msgspec.msgpack.Decoder(RowState).decode
decode_head: Final[Callable[[bytes], Head]] = msgspec.msgpack.Decoder(Head).decode
decode_marker: Final[Callable[[bytes], Marker]] = msgspec.msgpack.Decoder(Marker).decode
decode_person: Final[Callable[[bytes], Person]] = msgspec.msgpack.Decoder(Person).decode
decode_history: Final[Callable[[bytes], tuple[tuple[float, str], ...]]] = msgspec.msgpack.Decoder(
    tuple[tuple[float, str], ...]
).decode
decode_news: Final[Callable[[bytes], News]] = msgspec.msgpack.Decoder(News).decode
