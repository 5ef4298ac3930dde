"""What an inbox is told and what it tells: the types and checks of its settings, and its health.

`StoreInbox` explains each setting.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypedDict

import msgspec

from nexmo_dispatch_webhooks.checks import checks
from nexmo_dispatch_webhooks.events import Event
from nexmo_dispatch_webhooks.inbox.retry import HandlerRetryPolicy

__all__ = ["HOUR", "InboxHealth", "InboxSettings", "check_settings"]

HOUR: Final = 3600.0


class InboxHealth(msgspec.Struct, frozen=True):
    """How the inbox is doing; free of personal data."""

    #: `running`; `standby`: stores, while another process handles; `draining`; `closed`; `failed`: a bug.
    state: str
    #: False when the last attempt to store failed.
    storing: bool
    #: Events that wait to be handled; those that wait for another attempt among them.
    pending: int
    retrying: int
    #: Seconds since the oldest of the pending events arrived.
    lag: float
    #: Events that are set aside for a human, those of earlier runs among them.
    quarantined: int
    #: Since the start: duplicates, and events that no handler wanted.
    duplicates: int
    unhandled: int
    #: True while `max_pending` events wait, so that more are refused.
    full: bool

    @property
    def ready(self) -> bool:
        """Whether new events can be taken."""
        return self.storing and not self.full and self.state in {"running", "standby"}


class InboxSettings(TypedDict, total=False):
    """The settings that inboxes share, explained at `StoreInbox`."""

    parse: Callable[[bytes], Event]
    concurrency: int
    retry: HandlerRetryPolicy
    handler_timeout: float | None
    drain: float
    max_pending: int
    keep: float
    keep_quarantined: float
    remember: float
    poll: float
    monotonic: Callable[[], float]
    sleep: Callable[[float], Awaitable[object]]
    random: Callable[[], float]


def check_settings(settings: Mapping[str, object]) -> None:
    """Refuse what would only fail later, with an event or in the housekeeping.

    Args:
        settings: those of `StoreInbox`, by their names.

    Raises:
        ConfigurationError: which setting, and the rule.
    """
    for name in ("parse", "clock", "monotonic", "sleep", "random"):
        checks.function(name, settings[name])
    for name in ("concurrency", "max_pending"):
        checks.count(name, settings[name])
    for name in ("drain", "keep", "keep_quarantined"):
        checks.seconds(name, settings[name])
    # so long the service repeats (contract 5.10)
    checks.seconds("remember", settings["remember"], least=24 * HOUR)
    checks.seconds("poll", settings["poll"], zero=False)
    checks.seconds("handler_timeout", settings["handler_timeout"], zero=False, none=True)
    if settings["retry"] is not None:
        checks.instance("retry", settings["retry"], HandlerRetryPolicy)
