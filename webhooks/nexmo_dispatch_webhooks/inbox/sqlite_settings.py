"""The settings of the SQLite file of an inbox: one frozen struct, checked once."""

from __future__ import annotations

from typing import Final, Literal, TypedDict

import msgspec

from nexmo_dispatch_core.checks import DAY
from nexmo_dispatch_webhooks.checks import checks
from nexmo_dispatch_webhooks.inbox.settings import InboxOptions

__all__ = ["LEAST_BYTES", "RECEIVER", "SqliteInboxOptions", "SqliteOptions", "SqliteSettings", "Synchronous"]

#: `FULL`: an acknowledged event survives a loss of power. `NORMAL`: it survives the death of the process
#: at any moment (kill -9); a loss of power may take the last events.
Synchronous = Literal["FULL", "NORMAL"]
#: Bytes of the smallest file that holds an inbox with a few dozen events.
LEAST_BYTES: Final = 256 * 1024
#: The owner of an inbox of the application itself; the command line has owners of its own.
RECEIVER: Final = "receiver"


class SqliteSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of the file of an inbox.

    Attributes:
        synchronous: `FULL`, or `NORMAL`, which is faster and may lose the last events at a loss of power.
        busy_timeout: Maximum wait, in seconds, for another process that holds the file locked.
        max_bytes: Maximum size of the file, at least 256 KiB. An event without room is not acknowledged.
        schema: SQL for the tables of handlers, run at every opening (`CREATE TABLE IF NOT EXISTS …`).
        create: Whether a missing file is created; otherwise it is an InboxError.
        owner: The owner of the events; `start` refuses a file of another owner.

    Raises:
        ConfigurationError: A setting is out of its range; the message names the setting and the rule.
    """

    synchronous: Synchronous = "FULL"
    busy_timeout: float = 5.0
    max_bytes: int = 1024**3
    schema: str = ""
    create: bool = True
    owner: str = RECEIVER

    def __post_init__(self) -> None:
        checks.choice("synchronous", self.synchronous, ("FULL", "NORMAL"))
        checks.seconds("busy_timeout", self.busy_timeout, most=DAY)
        checks.count("max_bytes", self.max_bytes, least=LEAST_BYTES)
        checks.texts(schema=self.schema, owner=self.owner)


class SqliteOptions(TypedDict, total=False):
    """The fields of `SqliteSettings` as keyword arguments of a store."""

    synchronous: Synchronous
    busy_timeout: float
    max_bytes: int
    schema: str
    create: bool
    owner: str


class SqliteInboxOptions(InboxOptions, SqliteOptions, total=False):
    """The keyword arguments of `SqliteInbox`: fields of `InboxSettings` and of `SqliteSettings`."""
