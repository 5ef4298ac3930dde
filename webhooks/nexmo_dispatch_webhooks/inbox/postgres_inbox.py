"""`PostgresInbox`: an inbox in a Postgres database, which any number of processes share."""

from __future__ import annotations

from typing import Any, Unpack

from nexmo_dispatch_webhooks.exceptions import ConfigurationError
from nexmo_dispatch_webhooks.inbox.inbox import StoreInbox
from nexmo_dispatch_webhooks.inbox.postgres_settings import PostgresInboxOptions, PostgresSettings

__all__ = ["PostgresInbox"]


class PostgresInbox(StoreInbox):
    """An inbox in a Postgres database; `setup(…, inbox="postgresql://…")` makes one with the defaults.

    Every process that uses the database receives and handles events. Events of one conversation are handled
    in order, by one process at a time.

    Args:
        url: `postgresql://user@host/database`, or any connection string of libpq.
        **options: The fields of `InboxSettings` and of `PostgresSettings`. Retries go by the clock of the
            server unless `clock` is given, leases in any case.

    Raises:
        ConfigurationError: A setting is out of its range, or the extra `postgres` is not installed.
    """

    def __init__(self, url: str, **options: Unpack[PostgresInboxOptions]) -> None:
        try:
            from nexmo_dispatch_webhooks.inbox.postgres import PostgresInboxStore
        except ImportError:
            raise ConfigurationError(
                "an inbox on Postgres needs psycopg: pip install 'nexmo-dispatch-async[postgres]'"
            ) from None
        of_store: dict[str, Any] = {}  # Any, twice: the fields have the types of PostgresInboxOptions
        of_inbox: dict[str, Any] = {}
        for name, value in options.items():
            (of_store if name in PostgresSettings.__struct_fields__ else of_inbox)[name] = value
        store = PostgresInboxStore(url, clock=options.get("clock"), **of_store)
        super().__init__(store, **of_inbox)
