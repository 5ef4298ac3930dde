"""A backup of a stream of NATS, and what restores it, as `nats stream backup` and `restore` do."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from nats.aio.client import Client

__all__ = ["Backup", "restore", "take_backup"]


@dataclass
class Backup:
    """The content of a stream at one time."""

    stream: str
    about: bytes
    pieces: list[bytes] = field(default_factory=list[bytes])


async def take_backup(client: Client, stream: str) -> Backup:
    """Read a stream with its state."""
    inbox = client.new_inbox()
    # its type names a future of an unknown result, which is not used
    arriving = await client.subscribe(inbox)  # pyright: ignore[reportUnknownMemberType]
    about = await _ask(client, f"SNAPSHOT.{stream}", {"deliver_subject": inbox, "no_consumers": True})
    backup = Backup(stream, json.dumps({name: about[name] for name in ("config", "state")}).encode())
    while (piece := await arriving.next_msg(timeout=10)).data:
        backup.pieces.append(piece.data)
        if piece.reply:
            await piece.respond(b"")
    await arriving.unsubscribe()
    return backup


async def restore(client: Client, backup: Backup) -> None:
    """Put a stream in the place of the one that is there."""
    await client.request(f"$JS.API.STREAM.DELETE.{backup.stream}", b"", timeout=10)
    target = await _ask(client, f"RESTORE.{backup.stream}", json.loads(backup.about))
    for piece in backup.pieces:
        await client.request(target["deliver_subject"], piece, timeout=10)
    answer = await client.request(target["deliver_subject"], b"", timeout=10)
    assert "error" not in json.loads(answer.data)


async def _ask(client: Client, verb: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = await client.request(f"$JS.API.STREAM.{verb}", json.dumps(body).encode(), timeout=10)
    found: dict[str, Any] = json.loads(answer.data)
    assert "error" not in found, found
    return found
