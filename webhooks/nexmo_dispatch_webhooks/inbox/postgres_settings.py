"""The settings of an inbox on Postgres: one frozen struct, checked once."""

from __future__ import annotations

from typing import TypedDict

import msgspec

from nexmo_dispatch_core.checks import DAY
from nexmo_dispatch_webhooks.checks import checks
from nexmo_dispatch_webhooks.inbox.settings import InboxOptions

__all__ = ["PostgresInboxOptions", "PostgresOptions", "PostgresSettings"]


class PostgresSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of the connections of an inbox.

    Attributes:
        connections: Maximum number of connections of the store itself; one more connection listens.
        handler_connections: Maximum number of connections for transactions of handlers.
        timeout: Maximum wait for a connection or a response, in seconds.
        schema: SQL for the tables of handlers, run at every opening (`CREATE TABLE IF NOT EXISTS …`).
        migrate: Whether opening the store migrates tables of an older release; otherwise such tables raise an
            InboxError, and `nexmo-dispatch migrate` migrates them.

    Raises:
        ConfigurationError: A setting is out of its range; the message names the setting and the rule.
    """

    connections: int = 4
    handler_connections: int = 8
    timeout: float = 30.0
    schema: str = ""
    migrate: bool = True

    def __post_init__(self) -> None:
        checks.count("connections", self.connections)
        checks.count("handler_connections", self.handler_connections)
        checks.seconds("timeout", self.timeout, zero=False, most=DAY)
        checks.texts(schema=self.schema)
        checks.instance("migrate", self.migrate, bool)


class PostgresOptions(TypedDict, total=False):
    """The fields of `PostgresSettings` as keyword arguments of a store."""

    connections: int
    handler_connections: int
    timeout: float
    schema: str
    migrate: bool


class PostgresInboxOptions(InboxOptions, PostgresOptions, total=False):
    """The keyword arguments of `PostgresInbox`: fields of `InboxSettings` and of `PostgresSettings`."""
