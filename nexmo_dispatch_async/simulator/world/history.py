"""The records of a simulator in chronological order, for `Simulator.transcript()`.

Records contain no access tokens, secrets or signature keys.
"""

from __future__ import annotations

import itertools
import re
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

import msgspec

__all__ = [
    "CallbackAttempt",
    "History",
    "Record",
    "RequestSeen",
    "StatusReached",
    "StepExpired",
    "StepSent",
    "WorkflowEnded",
    "as_line",
]


class _Base(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False, tag_field="record"):
    #: virtual milliseconds since the simulator's start
    at_ms: int


class RequestSeen(_Base, frozen=True, kw_only=True, tag="request"):
    """A request to the service and its response; the bodies of token requests are omitted.

    Status 0 stands for no response. `fault` names the faults that hit the request; they may have lost the
    response.
    """

    method: str
    path: str
    status: int
    body: str = ""
    answer: str = ""
    fault: str = ""


class StepSent(_Base, frozen=True, kw_only=True, tag="step_sent"):
    """A step of a workflow was sent."""

    dispatch_uuid: str
    step: int
    message_uuid: str
    channel: str


class StepExpired(_Base, frozen=True, kw_only=True, tag="step_expired"):
    """A step did not reach its status in time."""

    dispatch_uuid: str
    step: int


class StatusReached(_Base, frozen=True, kw_only=True, tag="status"):
    """A message reached a status."""

    dispatch_uuid: str
    step: int
    message_uuid: str
    status: str
    code: int | None = None


class WorkflowEnded(_Base, frozen=True, kw_only=True, tag="workflow_ended"):
    """A workflow ended; the final report follows."""

    dispatch_uuid: str
    status: str


class CallbackAttempt(_Base, frozen=True, kw_only=True, tag="callback"):
    """One attempt to deliver a callback: `status` is the receiver's response, `failure` the reason for none.

    `fault` names the faults that hit the callback.
    """

    number: int
    attempt: int
    kind: str
    url: str
    body: str
    authorization: str
    status: int | None = None
    answer: str = ""
    failure: str | None = None
    #: time of the next attempt; None after the last one
    retry_at_ms: int | None = None
    fault: str = ""


Record = RequestSeen | StepSent | StepExpired | StatusReached | WorkflowEnded | CallbackAttempt

_encode = msgspec.json.Encoder().encode

# The operating system chooses loopback ports, which would make the transcripts of equal runs differ.
_LOOPBACK_PORT: Final = re.compile(rb"(//(?:127\.0\.0\.1|localhost|\[::1\]):)\d+")


def as_line(record: Record) -> bytes:
    """Return a record as a line of JSON, with the ports of loopback addresses replaced by `*`."""
    return _LOOPBACK_PORT.sub(rb"\1*", _encode(record)) + b"\n"


class History:
    """The newest records.

    Args:
        limit: Maximum number of records.
        observer: Called with each new record.
    """

    def __init__(self, limit: int, observer: Callable[[Record], None] | None = None) -> None:
        self._records: deque[Record] = deque(maxlen=limit)
        self._observer = observer
        self.total: int = 0
        #: number of calls of `clear()`
        self.cleared: int = 0

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[Record]:
        return iter(self._records)

    def __reversed__(self) -> Iterator[Record]:
        return reversed(self._records)

    def add(self, record: Record) -> None:
        """Add a record; the oldest record is dropped beyond `limit`."""
        self.total += 1
        self._records.append(record)
        if self._observer is not None:
            self._observer(record)

    def clear(self) -> None:
        """Drop all records; `total` stays, so that no place is taken twice."""
        self._records.clear()
        self.cleared += 1

    def at(self, place: int) -> Record | None:
        """Return the record that was the `place`-th to be added, None if it was dropped."""
        back = self.total - place
        return self._records[-1 - back] if 0 <= back < len(self._records) else None

    def since(self, total: int) -> list[Record]:
        """Return the records added after the first `total`, without those dropped since."""
        newest = itertools.islice(reversed(self._records), self.total - total)
        return list(newest)[::-1]

    def transcript(self) -> bytes:
        """Return the records as JSON lines, with the ports of loopback addresses replaced by `*`."""
        dropped = self.total - len(self._records)
        lines = [b'{"record":"dropped","count":%d}' % dropped] if dropped else []
        return b"".join(line + b"\n" for line in lines) + b"".join(map(as_line, self._records))
