"""The settings of an inbox: one frozen struct, checked once; every part of the inbox takes it whole.

The settings of the SQLite file are in `sqlite_settings`.
"""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypedDict

import anyio
import msgspec

from nexmo_dispatch_webhooks.checks import checks
from nexmo_dispatch_webhooks.events import Event, parse_event
from nexmo_dispatch_webhooks.inbox.retry import HandlerRetryPolicy

__all__ = ["HOUR", "InboxOptions", "InboxSettings"]

#: Seconds.
HOUR: Final = 3600.0
#: The events of a process that died would stay with it for ever under a lease without an end.
_LONGEST_LEASE: Final = 1e9


class InboxSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of an inbox over any store; all times are in seconds.

    Attributes:
        parse: Reads stored bodies again, after a restart and at `retry`. A function of the application may
            read bodies that `parse_event` refuses, and so take them out of quarantine.
        concurrency: Maximum number of events that are handled at the same time. Events of one kind with the
            same handlers take at most as many of these places as they leave free, so a slow handler delays
            only its own events.
        retry: When a failed handler is tried again, and when its event is quarantined.
        handler_timeout: Maximum duration of one handler, exact to `poll`; then the handler has failed. None
            for no limit.
        drain: Maximum time that `aclose()` waits for events that are being handled; the remaining events are
            handled after the next start.
        max_pending: Maximum number of pending events. Further events are refused with 503, so that the
            service repeats them.
        keep: How long the content of a handled event is kept.
        keep_quarantined: How long the content of a quarantined event is kept.
        remember: How long a repetition is recognised, at least 24 hours. The service repeats for 24 hours,
            by other sources for 72 (contract 5.10).
        lease: Where several processes handle events: time after which the others take the events of a process
            that has stopped; at least three times `poll`, which extends it.
        poll: Interval between two looks for due retries and for changes by other processes.
        clock: Returns epoch seconds; used only for stored and displayed times.
        monotonic: Returns seconds that no change of the clock affects; used for all waits and ages.
        sleep: Waits for a number of seconds.
        random: Returns numbers from 0 to 1.

    Raises:
        ConfigurationError: A setting is out of its range; the message names the setting and the rule.
    """

    parse: Callable[[bytes], Event] = parse_event
    concurrency: int = 64
    retry: HandlerRetryPolicy = HandlerRetryPolicy()
    handler_timeout: float | None = 300.0
    drain: float = 10.0
    max_pending: int = 100_000
    keep: float = 24 * HOUR
    keep_quarantined: float = 30 * 24 * HOUR
    remember: float = 73 * HOUR
    lease: float = 30.0
    poll: float = 1.0
    clock: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[object]] = anyio.sleep
    random: Callable[[], float] = random.random

    def __post_init__(self) -> None:
        for name in ("parse", "clock", "monotonic", "sleep", "random"):
            checks.function(name, getattr(self, name))
        for name in ("concurrency", "max_pending"):
            checks.count(name, getattr(self, name))
        for name in ("drain", "keep", "keep_quarantined"):
            checks.seconds(name, getattr(self, name))
        # the service repeats for so long (contract 5.10)
        checks.seconds("remember", self.remember, least=24 * HOUR)
        checks.seconds("poll", self.poll, zero=False)
        checks.seconds("lease", self.lease, zero=False, most=_LONGEST_LEASE)
        checks.seconds("handler_timeout", self.handler_timeout, zero=False, none=True)
        checks.instance("retry", self.retry, HandlerRetryPolicy)


class InboxOptions(TypedDict, total=False):
    """The fields of `InboxSettings` as keyword arguments of an inbox."""

    parse: Callable[[bytes], Event]
    concurrency: int
    retry: HandlerRetryPolicy
    handler_timeout: float | None
    drain: float
    max_pending: int
    keep: float
    keep_quarantined: float
    remember: float
    lease: float
    poll: float
    clock: Callable[[], float]
    monotonic: Callable[[], float]
    sleep: Callable[[float], Awaitable[object]]
    random: Callable[[], float]
