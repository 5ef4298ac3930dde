"""`Route`: a handler with the conditions that an event must meet.

It decides whether an event is wanted; it runs nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, cast

from nexmo_dispatch_webhooks.events import (
    CHANNEL_NAMES,
    CHANNELS,
    Event,
    FinalReport,
    InboundMessage,
    Kind,
    MessageStatus,
    UnknownEvent,
)
from nexmo_dispatch_webhooks.exceptions import RouterError
from nexmo_dispatch_webhooks.injection import describe, is_async, kinds_wanted, require_async

__all__ = ["KINDS", "Condition", "Handler", "OneOrMore", "Route", "make_route"]

Handler = Callable[..., Awaitable[Any]]
OneOrMore = str | Collection[str]
Condition = Callable[[Any], object]

KINDS: frozenset[Kind] = frozenset({"message-status", "inbound-message", "final-report", "unknown"})
_ERROR_CLASSES = frozenset({"temporary", "permanent", "configuration", "request", "unknown"})


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """A handler and its filters; None means that anything goes."""

    handler: Handler
    name: str
    kinds: frozenset[Kind] = KINDS
    statuses: frozenset[str] | None = None
    channels: frozenset[str] | None = None
    contents: frozenset[str] | None = None
    error_classes: frozenset[str] | None = None
    senders: frozenset[str] | None = None
    when: tuple[Condition, ...] = ()

    def conditions(self) -> tuple[Condition, ...]:
        """What an event of the right kind must meet, each as a function: only what was asked for."""
        statuses, channels, contents = self.statuses, self.channels, self.contents
        errors, senders = self.error_classes, self.senders
        found: list[Condition] = []
        if statuses is not None:
            found.append(lambda event: _fold(getattr(event, "status", None)) in statuses)
        if channels is not None:
            found.append(lambda event: not channels.isdisjoint(_channels(event)))
        if contents is not None:
            found.append(lambda event: _content(event) in contents)
        if errors is not None:
            found.append(lambda event: _error_class(event) in errors)
        if senders is not None:
            found.append(lambda event: not senders.isdisjoint(_senders(event)))
        return (*found, *self.when)


def make_route(
    handler: Handler,
    *,
    kind: Kind | Collection[Kind] | None,
    status: OneOrMore | None,
    channel: OneOrMore | None,
    content: OneOrMore | None,
    error_class: OneOrMore | None,
    sender: OneOrMore | None,
    when: Condition | Sequence[Condition],
    name: str | None,
) -> Route:
    """Check a handler and its filters; the arguments are those of `Router.add`.

    Raises:
        RouterError: the handler is not async, or is for other events, or a filter can never match.
    """
    require_async(handler)
    kinds = KINDS if kind is None else frozenset(_texts("kind", kind))
    if not kinds <= KINDS:
        raise RouterError(f"unknown kind; there are {', '.join(sorted(KINDS))}")
    wanted = kinds_wanted(handler)
    if wanted is not None and kinds.isdisjoint(wanted):
        raise RouterError(
            f"{describe(handler)} is annotated for {', '.join(sorted(wanted))}, and registered for "
            f"{', '.join(sorted(kinds))}"
        )
    error_classes = _words("error_class", error_class)
    if error_classes is not None and not error_classes <= _ERROR_CLASSES:
        raise RouterError(f"unknown error class; there are {', '.join(sorted(_ERROR_CLASSES))}")
    return Route(
        handler,
        name or describe(handler),
        cast("frozenset[Kind]", kinds),
        statuses=_words("status", status),
        channels=None if channel is None else frozenset(map(_known_channel, _texts("channel", channel))),
        contents=_words("content", content),
        error_classes=error_classes,
        senders=None if sender is None else frozenset(map(_bare, _texts("sender", sender))),
        when=_conditions(when),
    )


# --- checking filters --------------------------------------------------------------------------------


def _texts(name: str, value: str | Collection[Any]) -> list[str]:
    items: list[Any] = [value] if isinstance(value, str) else list(value)
    if not items:
        raise RouterError(f"{name} is an empty collection, so the handler would never run")
    for item in items:
        if not isinstance(item, str) or not item.strip():
            raise RouterError(f"{name} takes text, one or several")
    return items


def _words(name: str, value: OneOrMore | None) -> frozenset[str] | None:
    return None if value is None else frozenset(item.strip().casefold() for item in _texts(name, value))


def _known_channel(name: str) -> str:
    known = CHANNEL_NAMES.get(name.strip().lower())
    if known is None:
        raise RouterError(f"unknown channel {name!r}; there are {', '.join(sorted(CHANNELS))}")
    return known


def _conditions(when: Condition | Sequence[Condition]) -> tuple[Condition, ...]:
    conditions: tuple[Any, ...] = (when,) if callable(when) else tuple(when)
    for condition in conditions:
        if not callable(condition):
            raise RouterError("when takes a function of the event, or several")
        if is_async(condition):
            raise RouterError(
                f"{describe(condition)} is async: a filter must be a plain function of the event"
            )
    return conditions


# --- reading events ----------------------------------------------------------------------------------


def _fold(value: object) -> str | None:
    return value.casefold() if isinstance(value, str) else None


def _channels(event: Event) -> set[str]:
    if isinstance(event, FinalReport):
        return {message.channel for message in event.messages if message.channel is not None}
    return set() if isinstance(event, UnknownEvent) else {event.channel}


def _content(event: Event) -> str | None:
    return _fold(event.content.type) if isinstance(event, InboundMessage) else None


def _error_class(event: Event) -> str | None:
    return event.error.error_class if isinstance(event, MessageStatus) and event.error is not None else None


def _senders(event: Event) -> set[str]:
    if not isinstance(event, MessageStatus | InboundMessage):
        return set()
    return {_bare(text) for text in (event.from_.number, event.from_.id) if text is not None}


def _bare(sender: str) -> str:
    """Without case, and without the plus that people write before a number and the service does not."""
    return sender.strip().removeprefix("+").casefold()
