"""`read_page`: many messages of a stream in one request, from any of its replicas.

A replica may lag behind the leader: a page then ends earlier, and leaves out no message before its end.
"""

from __future__ import annotations

import json
from functools import partial
from typing import Final

from msgspec import Struct
from nats.aio.msg import Msg

from nexmo_dispatch_core.jetstream.connection import Connection
from nexmo_dispatch_core.jetstream.failures import Failure, RefusedError, failure_of
from nexmo_dispatch_core.jetstream.stream import Message

__all__ = ["Page", "read_page"]

#: The most messages and bytes of a page.
_MESSAGES, _BYTES = 500, 2_000_000
_END, _NOTHING = "204", "404"
_SEQUENCE: Final = "Nats-Sequence"
_BEFORE: Final = "Nats-Last-Sequence"


class Page(Struct, frozen=True):
    """Messages by ascending sequence.

    Attributes:
        messages: Without a gap.
        more: Whether the replica has more of them.
    """

    messages: tuple[Message, ...]
    more: bool


async def read_page(connection: Connection, stream: str, subject: str, seq: int) -> Page:
    """Return messages whose subjects match a filter.

    Args:
        connection: Open.
        stream: Its name; its shape is `paged`.
        subject: The filter.
        seq: The lowest sequence.

    Raises:
        Exception: Of the package.
    """
    body = {"seq": max(seq, 1), "next_by_subj": subject, "batch": _MESSAGES, "max_bytes": _BYTES}
    payload = json.dumps(body).encode()
    found = await connection.attempt(partial(connection.collect, f"$JS.API.DIRECT.GET.{stream}", payload))
    *messages, end = found
    status = _header(end, "Status")
    if status not in {_END, _NOTHING}:
        raise connection.failed(_refused(status))
    taken: list[Message] = []
    for message in messages:
        if int(_header(message, _BEFORE) or 0) != (taken[-1].seq if taken else 0):
            return Page(tuple(taken), more=True)  # a response was lost on its way
        taken.append(
            Message(
                int(_header(message, _SEQUENCE)),
                _header(message, "Nats-Subject"),
                message.data,
                _header(message, "Nats-Time-Stamp"),
            )
        )
    return Page(tuple(taken), more=int(_header(end, "Nats-Num-Pending") or 0) > 0)


def _header(message: Msg, name: str) -> str:
    return (message.headers or {}).get(name, "")


def _refused(status: str) -> Failure:
    return failure_of(RefusedError(0, int(status) if status.isdecimal() else 0))
