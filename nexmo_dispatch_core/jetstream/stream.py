"""`Stream`: one stream of JetStream as a replicated list of messages that are written under conditions.

Every read goes to the leader of the stream, and needs no consumer: nothing has to be recovered after a
failover. What is written must bear a second attempt, since the response of the first one may be lost.
"""

from __future__ import annotations

import json
import secrets
from base64 import b64decode
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final

import msgspec
from msgspec import Struct
from nats import errors

from nexmo_dispatch_core.jetstream.connection import Connection
from nexmo_dispatch_core.jetstream.failures import (
    MESSAGE_MISSING,
    STREAM_MISSING,
    WRONG_SEQUENCE,
    Failure,
    RefusedError,
    WrongSequenceError,
)
from nexmo_dispatch_core.unfinished import shows_unfinished

__all__ = ["MOST_IN_BATCH", "Message", "Shape", "Stream", "StreamState", "Write"]

#: The most messages of an atomic batch.
MOST_IN_BATCH: Final = 1000
#: The key of the version in the metadata of a stream.
_VERSION: Final = "nexmo_dispatch_version"
#: The error of a stream that exists with other settings.
_EXISTS: Final = 10058
_EXPECTED: Final = "Nats-Expected-Last-Subject-Sequence"
_EXPECTED_FOR: Final = "Nats-Expected-Last-Subject-Sequence-Subject"


class Shape(Struct, frozen=True):
    """What a stream is to be.

    Attributes:
        name: Of the stream.
        subjects: What it stores.
        version: Of what is stored in it.
        replicas: 1, 3 or 5; None for 3 in a cluster and 1 on a single server.
        max_bytes: Bytes after which it is full; -1 for the limit of the server. Nothing is dropped for new
            messages: they are refused.
        single: Whether a new message of a subject replaces the last one.
        expiring: Whether messages may have a time to live.
        paged: Whether any replica may be asked for many messages at once (`read_page`).
    """

    name: str
    subjects: tuple[str, ...]
    version: int = 1
    replicas: int | None = None
    max_bytes: int = -1
    single: bool = True
    expiring: bool = True
    paged: bool = False


class Message(Struct, frozen=True):
    """A stored message.

    Attributes:
        seq: Its sequence.
        subject: Its subject.
        data: Its content.
        stamp: When the server stored it, in ISO 8601; `""` where it was not asked for.
    """

    seq: int
    subject: str
    data: bytes
    stamp: str = ""


class Write(Struct, frozen=True):
    """A message to store.

    Attributes:
        subject: Its subject.
        data: Its content.
        expected: The sequence of the last message of the subject, 0 for none; None to store it in any case.
        expected_for: The filter of subjects that *expected* is about, instead of the subject.
        expires: Seconds after which the server deletes it; None for never.
    """

    subject: str
    data: bytes = b""
    expected: int | None = None
    expected_for: str = ""
    expires: int | None = None

    def headers(self) -> dict[str, str]:
        """Return its headers."""
        found: dict[str, str] = {}
        if self.expected is not None:
            found[_EXPECTED] = str(self.expected)
            if self.expected_for:
                found[_EXPECTED_FOR] = self.expected_for
        if self.expires is not None:
            found["Nats-TTL"] = f"{self.expires}s"
        return found


class StreamState(Struct, frozen=True):
    """The numbers of a stream.

    Attributes:
        messages: That are stored.
        bytes: Of them.
        first: The sequence of the oldest message.
        last: The sequence of the newest message, also if it was deleted.
        replicas: Of the stream.
        current: Replicas that are up to date, the leader included.
        max_bytes: After which it is full; -1 for the limit of the server.
        leader: The name of the server that leads it; empty where it is not replicated.
        created: Epoch seconds. A stream that is put back from a backup counts as made then; in a cluster its
            replicas may differ by the time that took.
    """

    messages: int
    bytes: int
    first: int
    last: int
    replicas: int
    current: int
    max_bytes: int = -1
    leader: str = ""
    created: float = 0.0


class _Error(Struct):
    code: int = 0
    err_code: int = 0


class _State(Struct):
    messages: int = 0
    bytes: int = 0
    first_seq: int = 0
    last_seq: int = 0
    subjects: dict[str, int] | None = None


class _Config(Struct):
    num_replicas: int = 1
    subjects: list[str] = []
    max_msgs_per_subject: int = -1
    max_bytes: int = -1
    max_age: int = 0
    retention: str = "limits"
    discard: str = "old"
    allow_atomic: bool = False
    allow_direct: bool = False
    allow_msg_ttl: bool = False
    metadata: dict[str, str] = {}


class _Peer(Struct):
    current: bool = False
    offline: bool = False


class _Cluster(Struct):
    leader: str = ""
    replicas: list[_Peer] = []


class _Stored(Struct):
    seq: int
    subject: str
    data: str = ""
    hdrs: str = ""


class _Response(Struct):
    error: _Error | None = None
    state: _State = msgspec.field(default_factory=_State)
    config: _Config = msgspec.field(default_factory=_Config)
    cluster: _Cluster | None = None
    created: datetime | None = None
    message: _Stored | None = None
    seq: int = 0
    total: int = 0


_decode = msgspec.json.Decoder(_Response).decode


class Stream:
    """A stream, made at the first opening.

    Args:
        connection: Open before any call.
        shape: What it is to be.
    """

    def __init__(self, connection: Connection, shape: Shape) -> None:
        self._connection = connection
        self.shape: Shape = shape
        self.name: str = shape.name

    @shows_unfinished
    def __repr__(self) -> str:
        return f"<Stream {self.name}>"

    # --- the stream itself ---

    async def messages(self) -> int | None:
        """Return the number of messages; None where there is no such stream."""

        async def ask() -> int | None:
            try:
                return (await self._api("STREAM.INFO")).state.messages
            except RefusedError as error:
                if error.number == STREAM_MISSING:
                    return None
                raise

        return await self._connection.attempt(ask)

    async def require(self, *, create: bool, first: int = 0) -> None:
        """Make the stream if it is not there, and check its shape and its version otherwise.

        Args:
            create: Whether it is made.
            first: The sequence of the first message of a new stream; 0 for 1.

        Raises:
            Exception: Of the package: it is missing and *create* is false, of a newer release, or of another
                shape.
        """
        await self._connection.attempt(partial(self._require, create=create, first=first))

    async def _require(self, *, create: bool, first: int) -> None:
        try:
            found = await self._api("STREAM.INFO")
        except RefusedError as error:
            if error.number != STREAM_MISSING or not create:
                raise
            found = await self._create(first)
        config = found.config
        version = config.metadata.get(_VERSION, "")
        if version.isdecimal() and int(version) > self.shape.version:
            raise self._connection.failed(
                Failure(
                    "other",
                    f"the stream {self.name} has version {version}, and this release knows "
                    f"{self.shape.version}: install the newer release here too",
                )
            )
        kept = 1 if self.shape.single else -1
        if (
            not version.isdecimal()
            or sorted(config.subjects) != sorted(self.shape.subjects)
            or (config.max_msgs_per_subject, config.max_age) != (kept, 0)
            or (config.retention, config.discard) != ("limits", "new")
            or not (config.allow_atomic and config.allow_msg_ttl)
            or (self.shape.paged and not config.allow_direct)
        ):
            raise self._connection.failed(
                Failure(
                    "other",
                    f"there is a stream {self.name} of another shape, which may lose or double events: "
                    "choose another name in the URL (nats://host/name), or restore its settings",
                )
            )

    async def _create(self, first: int) -> _Response:
        shape = self.shape
        replicas = shape.replicas or (3 if self._connection.clustered else 1)
        config: dict[str, Any] = {  # Any: JSON
            "name": shape.name,
            "subjects": list(shape.subjects),
            "retention": "limits",
            "storage": "file",
            "discard": "new",
            "num_replicas": replicas,
            "max_bytes": shape.max_bytes,
            "max_msgs_per_subject": 1 if shape.single else -1,
            "allow_atomic": True,
            "allow_msg_ttl": shape.expiring,
            "allow_rollup_hdrs": True,
            "allow_direct": shape.paged,
            "deny_delete": False,
            "duplicate_window": 1_000_000_000,  # the shortest sensible one: keys are known by their subjects
            "metadata": {_VERSION: str(shape.version)},
        }
        if first:
            config["first_seq"] = first
        try:
            return await self._api("STREAM.CREATE", config)
        except RefusedError as error:
            if error.number != _EXISTS:
                raise
        return await self._api("STREAM.INFO")  # another process was faster, with another first sequence

    async def state(self) -> StreamState:
        """Return the numbers of the stream."""

        async def ask() -> StreamState:
            found = await self._api("STREAM.INFO")
            peers = found.cluster.replicas if found.cluster is not None else []
            state = found.state
            return StreamState(
                state.messages,
                state.bytes,
                state.first_seq,
                state.last_seq,
                found.config.num_replicas,
                1 + sum(peer.current and not peer.offline for peer in peers),
                found.config.max_bytes,
                found.cluster.leader if found.cluster is not None else "",
                found.created.timestamp() if found.created is not None else 0.0,
            )

        return await self._connection.attempt(ask)

    # --- reading ---

    async def get(self, seq: int) -> Message | None:
        """Return the message of a sequence; None for one that was deleted."""
        return await self._get({"seq": seq})

    async def last(self, subject: str) -> Message | None:
        """Return the newest message of a subject, or of a filter."""
        return await self._get({"last_by_subj": subject})

    async def following(self, seq: int, subject: str) -> Message | None:
        """Return the first message at a sequence or behind it whose subject matches a filter."""
        return await self._get({"seq": seq, "next_by_subj": subject})

    async def _get(self, query: dict[str, object]) -> Message | None:
        async def ask() -> Message | None:
            try:
                found = (await self._api("STREAM.MSG.GET", query)).message
            except RefusedError as error:
                if error.number == MESSAGE_MISSING:
                    return None
                raise
            if found is None:
                raise RefusedError(0)
            return Message(found.seq, found.subject, b64decode(found.data))

        return await self._connection.attempt(ask)

    async def subjects(self, subject: str) -> list[str]:
        """Return all subjects that match a filter, in no order."""
        found: list[str] = []
        while True:
            page = await self._connection.attempt(partial(self._subjects, subject, len(found)))
            names = page.state.subjects or {}
            found += names
            if not names or len(found) >= page.total:
                return found

    async def count(self, subject: str) -> int:
        """Return the number of subjects that match a filter."""
        return (await self._connection.attempt(partial(self._subjects, subject, 2**31 - 1))).total

    async def _subjects(self, subject: str, offset: int) -> _Response:
        return await self._api("STREAM.INFO", {"subjects_filter": subject, "offset": offset})

    # --- writing ---

    async def put(self, write: Write) -> int:
        """Store a message, and return its sequence.

        Raises:
            WrongSequenceError: The last message is not the expected one; perhaps an earlier attempt of
                this very call stored it, and its response was lost.
        """

        async def store() -> int:
            return _stored(await self._publish(write.subject, write.data, write.headers()))

        return await self._connection.attempt(store)

    def busy(self) -> Exception:
        """Return the error of the package for a subject that others write all the time."""
        return self._connection.failed(Failure("away", "another write is on its way, for too long"))

    async def put_together(self, writes: Sequence[Write]) -> int:
        """Store messages, all or none, and return the sequence of the last one.

        Args:
            writes: At most `MOST_IN_BATCH`, each of another subject.

        Raises:
            WrongSequenceError: As for `put`; nothing was stored, or all.
        """
        if len(writes) == 1:
            return await self.put(writes[0])

        async def store() -> int:
            batch = secrets.token_hex(12)
            for number, write in enumerate(writes[:-1], 1):
                headers = {**write.headers(), "Nats-Batch-Id": batch, "Nats-Batch-Sequence": str(number)}
                await self._connection.send(write.subject, write.data, headers)
            last = writes[-1]
            headers = {
                **last.headers(),
                "Nats-Batch-Id": batch,
                "Nats-Batch-Sequence": str(len(writes)),
                "Nats-Batch-Commit": "1",
            }
            return _stored(await self._publish(last.subject, last.data, headers))

        return await self._connection.attempt(store)

    async def delete(self, seq: int, *, erase: bool = False) -> None:
        """Delete a message; again without effect.

        Args:
            seq: Its sequence.
            erase: Whether to overwrite its bytes now, which writes a block of some megabytes anew; otherwise
                they remain on the disk until the server writes the block for another reason.
        """

        async def ask() -> None:
            try:
                await self._api("STREAM.MSG.DELETE", {"seq": seq, "no_erase": not erase})
            except RefusedError as error:
                # 10043, 10057: it is gone
                if error.number not in {MESSAGE_MISSING, 10043, 10057}:
                    raise

        await self._connection.attempt(ask)

    async def clear(self, subject: str) -> None:
        """Delete all messages of a subject or of a filter."""
        await self._connection.attempt(partial(self._api, "STREAM.PURGE", {"filter": subject}))

    # --- requests ---

    async def _publish(self, subject: str, data: bytes, headers: dict[str, str]) -> bytes:
        headers["Nats-Expected-Stream"] = self.name
        try:
            return await self._connection.request(subject, data, headers)
        except errors.NoRespondersError:
            # a stream without a leader, or none at all: the same response
            await self._api("STREAM.INFO")
            raise

    async def _api(self, name: str, body: dict[str, Any] | None = None) -> _Response:  # Any: JSON
        payload = b"" if body is None else json.dumps(body).encode()
        found = _decode(await self._connection.request(f"$JS.API.{name}.{self.name}", payload))
        if found.error is not None:
            raise RefusedError(found.error.err_code, found.error.code)
        return found


def _stored(response: bytes) -> int:
    found = _decode(response)
    if found.error is None:
        return found.seq
    if found.error.err_code in WRONG_SEQUENCE:
        raise WrongSequenceError
    raise RefusedError(found.error.err_code, found.error.code)
