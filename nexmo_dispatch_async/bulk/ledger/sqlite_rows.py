"""How a row of a campaign lies in its SQLite file, and back."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import msgspec

from nexmo_dispatch_async.bulk.ledger.records import SKIP_REASONS, Claimed, News, Row, SkipReason, State

__all__ = [
    "CODES",
    "LATER",
    "READY",
    "REFUSED",
    "SENDING",
    "SENT",
    "SKIPPED",
    "UNKNOWN",
    "Candidate",
    "candidates",
    "claimed_of",
    "pack_news",
    "pack_uuid",
    "row_of",
    "skip_code",
    "skip_of",
    "state_of",
    "unpack_news",
    "unpack_uuid",
]

#: A `pending` row is either ready, or waits for its `not_before`: a claim looks only at those that are ready.
READY: Final = 0
LATER: Final = 1
SENDING: Final = 2
SENT: Final = 3
REFUSED: Final = 4
UNKNOWN: Final = 5
SKIPPED: Final = 6
_NAMES: Final[tuple[State, ...]] = ("pending", "pending", "sending", "sent", "refused", "unknown", "skipped")
#: Codes of a state, as they stand in a condition.
CODES: Final[dict[State, tuple[int, ...]]] = {
    "pending": (READY, LATER),
    "sending": (SENDING,),
    "sent": (SENT,),
    "refused": (REFUSED,),
    "unknown": (UNKNOWN,),
    "skipped": (SKIPPED,),
}
_is_usual_uuid = re.compile("[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}").fullmatch

_values = msgspec.json.Decoder(list[str]).decode
_news = msgspec.msgpack.Decoder(list[Any]).decode


def state_of(code: int) -> State:
    """Return the state of a code."""
    return _NAMES[code]


def skip_of(code: int | None) -> SkipReason | None:
    """Return the reason of a number."""
    return None if code is None else SKIP_REASONS[code]


def skip_code(reason: SkipReason | None) -> int | None:
    """Return the number of a reason for skipping."""
    return None if reason is None else SKIP_REASONS.index(reason)


def pack_uuid(dispatch_uuid: str) -> bytes | str | None:
    """Return an id in sixteen bytes, or as it is when it is none of the usual form."""
    if _is_usual_uuid(dispatch_uuid) is not None:
        return bytes.fromhex(dispatch_uuid.replace("-", ""))
    return dispatch_uuid or None


def unpack_uuid(packed: bytes | str | None) -> str:
    """Return the id as text."""
    return _dashed(packed.hex()) if isinstance(packed, bytes) else packed or ""


def _dashed(digits: str) -> str:
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def pack_news(news: News, dispatch_uuid: str, client_ref: str) -> bytes:
    """Return news without what the row says already."""
    values: list[Any] = [getattr(news, name) for name in News.__struct_fields__]
    own = {"dispatch_uuid": dispatch_uuid, "client_ref": client_ref}
    for index, name in enumerate(News.__struct_fields__):
        if name in own and values[index] == own[name]:
            values[index] = None
    return msgspec.msgpack.encode(values)


def unpack_news(packed: bytes | None, dispatch_uuid: str, client_ref: str) -> News | None:
    """Return the news of a row."""
    if packed is None:
        return None
    values: dict[str, Any] = dict(zip(News.__struct_fields__, _news(packed), strict=True))
    own: dict[str, Any] = {"dispatch_uuid": dispatch_uuid, "client_ref": client_ref}
    values |= {name: text for name, text in own.items() if values[name] is None}
    return News(**values)


class Candidate(NamedTuple):
    """A row as a claim reads it; `usual` is 0 for one that may have to wait, or be skipped."""

    id: int
    usual: int
    attempts: int | None
    address: str
    key: str | None
    shape: int
    fields: list[str]
    line: int | None
    language: str | None
    variant: str | None
    channels: list[str] | None


candidates: Final[Callable[[str], list[Candidate]]] = msgspec.json.Decoder(list[Candidate]).decode


def claimed_of(row: Candidate, bucket: str, names: dict[int, list[str]]) -> Claimed:
    """Return a row as a claim hands it out."""
    row_id, _, attempts, address, key, shape, fields, line, language, variant, channels = row
    return Claimed(
        id=row_id,
        key=address if key is None else key,
        address=address,
        fields=dict(zip(names[shape], fields, strict=True)),
        bucket=bucket,
        line=line or 0,
        language=language or "",
        variant=variant or "",
        channels=tuple(channels) if channels else (),
        attempts=(attempts or 0) + 1,
    )


def row_of(
    row: tuple[Any, ...], lanes: dict[int, tuple[str, str]], names: dict[int, list[str]], ref: str
) -> Row:
    """Return a row as a scan gives it; *row* is of `sqlite_sql.SCAN`, *ref* its `client_ref`."""
    (row_id, state, lane, not_before, expires, attempts, at, uuid, error, code, skip) = row[:11]
    (address, key, shape, fields, line, language, variant, channels, news) = row[11:]
    bucket, zone = lanes[lane]
    dispatch_uuid = unpack_uuid(uuid)
    return Row(
        id=row_id,
        key=address if key is None else key,
        address=address,
        fields={} if fields is None else dict(zip(names[shape], _values(fields), strict=True)),
        bucket=bucket,
        state=state_of(state),
        line=line or 0,
        zone=zone,
        language=language or "",
        variant=variant or "",
        channels=tuple(_values(channels)) if channels else (),
        not_before=not_before or 0.0,
        expires=math.inf if expires is None else expires,
        skip=skip_of(skip),
        attempts=attempts or 0,
        changed=at or 0.0,
        dispatch_uuid=dispatch_uuid,
        error=error or "",
        code=code or "",
        news=unpack_news(news, dispatch_uuid, ref),
    )
