"""The settings of an inbox on NATS JetStream: one frozen struct, checked once."""

from __future__ import annotations

from typing import TypedDict

import msgspec

from nexmo_dispatch_core.checks import DAY
from nexmo_dispatch_webhooks.checks import checks
from nexmo_dispatch_webhooks.exceptions import ConfigurationError
from nexmo_dispatch_webhooks.inbox.settings import InboxOptions

__all__ = ["JetStreamInboxOptions", "JetStreamOptions", "JetStreamSettings"]

#: Below it the room that is kept for deletions is too small.
_LEAST_BYTES = 1_000_000


class JetStreamSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of the streams of an inbox.

    Attributes:
        timeout: Seconds until a call has failed. A cluster elects a new leader within about six.
        replicas: Of streams that are made: 1, 3 or 5; None for 3 in a cluster and 1 on a single server.
        max_bytes: Bytes of events after which the inbox is full; None for the limit of the server.
        create: Whether streams that are missing are made; otherwise they are an InboxError.

    Raises:
        ConfigurationError: A setting is out of its range; the message names the setting and the rule.
    """

    timeout: float = 15.0
    replicas: int | None = None
    max_bytes: int | None = None
    create: bool = True

    def __post_init__(self) -> None:
        checks.seconds("timeout", self.timeout, zero=False, most=DAY)
        checks.replicas(self.replicas)
        if self.max_bytes is not None:
            checks.count("max_bytes", self.max_bytes)
            if self.max_bytes < _LEAST_BYTES:
                raise ConfigurationError(f"max_bytes must be {_LEAST_BYTES} at least, or None")
        checks.instance("create", self.create, bool)


class JetStreamOptions(TypedDict, total=False):
    """The fields of `JetStreamSettings` as keyword arguments of a store."""

    timeout: float
    replicas: int | None
    max_bytes: int | None
    create: bool


class JetStreamInboxOptions(InboxOptions, JetStreamOptions, total=False):
    """The keyword arguments of `JetStreamInbox`: fields of `InboxSettings` and of `JetStreamSettings`."""
