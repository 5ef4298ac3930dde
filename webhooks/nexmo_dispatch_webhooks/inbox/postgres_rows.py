"""Conversion between events and rows of the tables on Postgres."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from nexmo_dispatch_webhooks.inbox.records import (
    STATES,
    FailureTally,
    NewRecord,
    PendingEvent,
    Record,
    RecordState,
    StoredFailure,
)
from nexmo_dispatch_webhooks.inbox.store import RecordChoice
from nexmo_dispatch_webhooks.signature import Claims

__all__ = ["columns_of", "id_of", "number_of", "pending_of", "record_of", "stored", "tally_of"]

_NUMBERS: dict[RecordState, int] = {state: number for number, state in enumerate(STATES)}

_decode_claims = msgspec.json.Decoder(Claims).decode


def number_of(state: RecordState) -> int:
    """Return the number of a state."""
    return _NUMBERS[state]


def columns_of(records: Sequence[NewRecord]) -> dict[str, Sequence[object]]:
    """Return new records by column, for `postgres_statements.ADD`."""
    return {
        "locks": sorted({record.lane for record in records}),
        "keys": [record.key for record in records],
        "lanes": [record.lane for record in records],
        "states": [_NUMBERS["pending" if record.parsable else "quarantined"] for record in records],
        "kinds": [record.kind for record in records],
        "received": [record.received_at for record in records],
        "paths": [record.path.encode() for record in records],
        "claims": [record.claims for record in records],
        "bodies": [record.body for record in records],
    }


def tally_of(row: Sequence[Any]) -> FailureTally:
    """Return the tally in a row of `postgres_statements.SUMMARY`."""
    state, kind, handler, error, count, oldest = row
    return FailureTally(STATES[int(state)], kind, handler, error, count, _moment(oldest))


def id_of(which: RecordChoice) -> int | None:
    """Return the id that was chosen, None for all records."""
    return None if which == "all" else int(which)


def stored(failed: Sequence[StoredFailure]) -> str:
    """Return failures as JSON without NULs, which Postgres cannot store."""
    return msgspec.json.encode(failed).decode().replace("\\u0000", "")


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def record_of(row: Sequence[Any]) -> Record:
    """Return the record in a row of `postgres_statements.LOAD` or `LIST`."""
    (record_id, _, state, kind, received_at, attempts, due, done, failed, finished_at, *contents) = row
    path, claims, size, body = contents[:4]
    return Record(
        id=record_id,
        state=STATES[int(state)],
        kind=kind,
        received_at=_moment(received_at),
        path="" if path is None else bytes(path).decode(),
        size=size or 0,
        attempts=attempts,
        done=tuple(done),
        failed=msgspec.convert(failed, tuple[StoredFailure, ...]),
        next_attempt_at=_moment(due) if due else None,
        finished_at=None if finished_at is None else _moment(finished_at),
        claims=_claims(claims),
        body=None if body is None else bytes(body),
    )


def _claims(stored: bytes | None) -> Claims | None:
    try:
        return _decode_claims(stored) if stored else None
    except msgspec.DecodeError:  # another version wrote them; the event is handled without them
        return None


def pending_of(row: Sequence[Any], token: int) -> PendingEvent:
    """Return the claimed event in a row of `postgres_statements.TAKE`; it is due, so it needs no due time."""
    record = record_of(row)
    return PendingEvent(
        record.id,
        row[1],
        record.received_at.timestamp(),
        record.attempts,
        0.0,
        record.done,
        record.kind,
        token=token,
        content=record,
    )
