"""What a stream of JetStream loses when a machine fails, and which stream campaigns may use.

JetStream acknowledges a write when most replicas have it, and by default each of them writes to its disk
within two minutes. A killed process loses nothing. A power failure loses what no disk has: of one replica
everything since the last sync, of three replicas the same if most of the machines lose power, and in rare
cases if one does (https://jepsen.io/analyses/nats-2.12.1).
"""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import Sequence
from typing import Final, cast
from urllib.parse import urlsplit

from msgspec import Struct

from nexmo_dispatch_core.jetstream.connection import Connection
from nexmo_dispatch_core.jetstream.failures import Failure

__all__ = ["Durability", "all_sync_always", "require_durable", "sync_always"]

_ADVISED: Final = "three replicas in three zones, and `sync_interval: always` on each server"


class Durability(Struct, frozen=True):
    """How a stream is kept.

    Attributes:
        replicas: Of the stream.
        sync_always: Whether each write reaches the disk before it is acknowledged; None when that is not
            known: a client cannot see it, and the monitoring port of a server tells it.
    """

    replicas: int
    sync_always: bool | None = None

    @property
    def findings(self) -> list[str]:
        """What is lost when, worst first; empty for what is advised."""
        found: list[str] = []
        if self.replicas < 3:
            found.append(
                "one replica: while its server is away nothing is stored, and with its disk all is lost"
            )
        if self.sync_always is False:
            lost = "a power failure" if self.replicas < 3 else "a power failure of most servers at once"
            found.append(
                f"sync_interval is not `always`: {lost} loses what was acknowledged within two minutes"
            )
        if self.sync_always is None:
            found.append("whether sync_interval is `always` is not known: name all monitoring ports")
        return found


def require_durable(connection: Connection, durability: Durability, *, accept_loss: bool = False) -> None:
    """Refuse a stream in which an acknowledged write may be lost: for a campaign that is a second message.

    Args:
        connection: For the error.
        durability: Of the stream.
        accept_loss: Whether the loss is accepted.

    Raises:
        Exception: Of the package; the message says what is lost when, and what to do.
    """
    if durability.findings and not accept_loss:
        raise connection.failed(
            Failure(
                "other",
                f"a campaign needs a store that loses nothing: {'; '.join(durability.findings)}. Use "
                f"{_ADVISED}, named in the URL (?monitor=http://one:8222,…), or accept the loss "
                "(accept_loss=True): recipients may get a message twice then",
            )
        )


async def all_sync_always(monitors: Sequence[str], servers: int = 1) -> bool | None:
    """Ask the monitoring ports of servers whether each write reaches the disk of each of them.

    Args:
        monitors: URLs of the ports.
        servers: How many ports are needed for an answer.

    Returns:
        None when there are too few ports, or one of them cannot be asked.
    """
    found = [await sync_always(monitor) for monitor in dict.fromkeys(monitors)]
    if False in found:
        return False
    return None if len(found) < servers or None in found else True


async def sync_always(monitor: str, *, timeout: float = 5.0) -> bool | None:  # noqa: ASYNC109 - of a thread
    """Ask the monitoring port of a server whether each write reaches the disk.

    Args:
        monitor: Its URL, such as `http://127.0.0.1:8222`.
        timeout: Seconds.

    Returns:
        None when it cannot be asked.
    """
    return await asyncio.to_thread(_ask, monitor, timeout)


def _ask(monitor: str, seconds: float) -> bool | None:
    if urlsplit(monitor).scheme not in {"http", "https"}:
        return None
    try:
        with urllib.request.urlopen(f"{monitor.rstrip('/')}/varz", timeout=seconds) as answer:  # noqa: S310
            found: object = json.loads(answer.read(1_000_000))
    except (OSError, ValueError):
        return None
    jetstream = cast("dict[str, object]", found).get("jetstream") if isinstance(found, dict) else None
    config = cast("dict[str, object]", jetstream).get("config") if isinstance(jetstream, dict) else None
    if not isinstance(config, dict):
        return None
    return bool(cast("dict[str, object]", config).get("sync_always", False))
