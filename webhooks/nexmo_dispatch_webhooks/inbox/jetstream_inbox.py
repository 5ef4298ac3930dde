"""`JetStreamInbox`: an inbox on NATS JetStream, which any number of processes fill, and one handles."""

from __future__ import annotations

import time
from typing import Any, Unpack

from nexmo_dispatch_webhooks.exceptions import ConfigurationError
from nexmo_dispatch_webhooks.inbox.inbox import StoreInbox
from nexmo_dispatch_webhooks.inbox.jetstream_settings import JetStreamInboxOptions, JetStreamSettings
from nexmo_dispatch_webhooks.inbox.settings import InboxSettings

__all__ = ["JetStreamInbox"]


class JetStreamInbox(StoreInbox):
    """An inbox on NATS JetStream; `setup(…, inbox="nats://…")` makes one with the defaults.

    Every process that is started with it receives events. One of them, which holds a lease, handles all
    events, those of one conversation in order; the others stand by, and one takes over `lease` seconds after
    the last sign of life of the first. Handlers have no transaction: an event whose mark was lost is handled
    again.

    Args:
        url: `nats://user:password@one:4222,two:4222/name?credentials=FILE`; processes of one name share
            their events.
        **options: The fields of `InboxSettings` and of `JetStreamSettings`.

    Raises:
        ConfigurationError: A setting is out of its range, or the extra `nats` is not installed.
    """

    def __init__(self, url: str, **options: Unpack[JetStreamInboxOptions]) -> None:
        try:
            from nexmo_dispatch_webhooks.inbox.jetstream import JetStreamInboxStore
        except ImportError:
            raise ConfigurationError(
                "an inbox on NATS needs nats-py: pip install 'nexmo-dispatch-async[nats]'"
            ) from None
        of_store: dict[str, Any] = {}  # Any, twice: the fields have the types of JetStreamInboxOptions
        of_inbox: dict[str, Any] = {}
        for name, value in options.items():
            (of_store if name in JetStreamSettings.__struct_fields__ else of_inbox)[name] = value
        settings = InboxSettings(**of_inbox)
        store = JetStreamInboxStore(
            url,
            clock=options.get("clock", time.time),
            monotonic=settings.monotonic,
            lease=max(settings.lease, 3 * settings.poll),  # each poll renews it
            **of_store,
        )
        super().__init__(store, **of_inbox)
