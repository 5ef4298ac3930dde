"""`Route`: a handler with the conditions that an event must meet.

The module decides whether an event matches; it runs no handler.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypedDict, TypeVar, cast, get_args

from nexmo_dispatch_core.checks import unstorable
from nexmo_dispatch_webhooks.events import (
    BUILDER_NAMES,
    CHANNEL_NAMES,
    CHANNELS,
    Channel,
    ErrorClass,
    Event,
    FinalReport,
    InboundMessage,
    Kind,
    MessageStatus,
    ReportStatus,
    Status,
    UnknownEvent,
)
from nexmo_dispatch_webhooks.exceptions import RouterError
from nexmo_dispatch_webhooks.injection import annotated_kinds, describe, is_async, misfit, require_async

__all__ = [
    "KINDS",
    "EventCondition",
    "Filters",
    "Handler",
    "OneOrMore",
    "Route",
    "When",
    "make_route",
    "with_parentheses",
]

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

Handler = Callable[..., Awaitable[Any]]
OneOrMore: TypeAlias = T | Collection[T]
#: A synchronous function of an event of the class, whose result is truthy for matching events.
EventCondition: TypeAlias = Callable[[T], object]
When: TypeAlias = EventCondition[T] | Sequence[EventCondition[T]]

KINDS: frozenset[Kind] = frozenset(get_args(Kind))
_ERROR_CLASSES = frozenset(get_args(ErrorClass))


class Filters(TypedDict, total=False):
    """The filters that `Router.register` passes to `Router.add`."""

    status: OneOrMore[Status | ReportStatus | str] | None
    channel: OneOrMore[Channel | str] | None
    content: OneOrMore[str] | None
    error_class: OneOrMore[ErrorClass] | None
    sender: OneOrMore[str] | None
    when: When[Any]
    name: str | None


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """A handler and its filters; None accepts every value."""

    handler: Handler
    name: str
    kinds: frozenset[Kind] = KINDS
    statuses: frozenset[str] | None = None
    channels: frozenset[str] | None = None
    contents: frozenset[str] | None = None
    error_classes: frozenset[str] | None = None
    senders: frozenset[str] | None = None
    when: tuple[EventCondition[Any], ...] = ()

    def conditions(self) -> tuple[EventCondition[Any], ...]:
        """Return the conditions for an event of the right kind, as functions; only for given filters."""
        statuses, channels, contents = self.statuses, self.channels, self.contents
        errors, senders = self.error_classes, self.senders
        found: list[EventCondition[Any]] = []
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
    kind: OneOrMore[Kind] | None,
    status: OneOrMore[str] | None,
    channel: OneOrMore[str] | None,
    content: OneOrMore[str] | None,
    error_class: OneOrMore[ErrorClass] | None,
    sender: OneOrMore[str] | None,
    when: When[Any],
    name: str | None,
) -> Route:
    """Check a handler and its filters; the arguments are those of `Router.add`.

    Raises:
        RouterError: The handler is not async, or is for other events, a filter can never match, or no inbox
            can store the name.
    """
    require_async(handler)
    name = name or describe(handler)
    if why := unstorable(name):
        raise RouterError(f"name {why}")
    kinds = KINDS if kind is None else _known("kind", _texts("kind", kind), KINDS)
    annotated = annotated_kinds(handler)
    if annotated is not None and kinds.isdisjoint(annotated):
        raise RouterError(
            f"{describe(handler)} is annotated for {', '.join(sorted(annotated))}, and registered for "
            f"{', '.join(sorted(kinds))}"
        )
    error_classes = _words("error_class", error_class)
    return Route(
        handler,
        name,
        cast("frozenset[Kind]", kinds),
        statuses=_words("status", status),
        channels=None if channel is None else frozenset(map(_channel, _texts("channel", channel))),
        contents=_words("content", content),
        error_classes=error_classes and _known("error_class", error_classes, _ERROR_CLASSES),
        senders=None if sender is None else frozenset(map(_bare, _texts("sender", sender))),
        when=_conditions(when),
    )


def with_parentheses(method: F) -> F:
    """Make a method that returns a decorator refuse a handler in the place of its filters.

    Otherwise `@router.register` would replace the handler by a decorator that is never called.
    """

    @functools.wraps(method)
    def checked(router: Any, *arguments: Any, **filters: Any) -> Any:
        if arguments and callable(arguments[0]):
            name = method.__name__
            raise RouterError(
                f"{name} takes filters, and what it returns the handler: write `@router.{name}()`"
            )
        return method(router, *arguments, **filters)

    return cast("F", checked)


# --- checking filters --------------------------------------------------------------------------------


def _items(value: Any) -> list[Any]:
    if isinstance(value, str | bytes):
        return [value]
    if isinstance(value, Mapping):
        # Its keys would count: `{"read": False}` would match `read`, contrary to its intention.
        raise RouterError("a filter takes one value or a list, tuple or set of them, not a mapping")
    try:
        return list(value)
    except TypeError:
        return [value]


def _texts(name: str, value: object) -> list[str]:
    items = _items(value)
    if not items:
        raise RouterError(f"{name} is an empty collection, so the handler would never run")
    for item in items:
        if not isinstance(item, str) or not item.strip():
            # the value itself is not shown: a sender is the number of a person
            what = "an empty one" if isinstance(item, str) else type(item).__name__
            raise RouterError(f'{name} takes text, one or several, not {what}: write {name}="…"')
    return items


def _words(name: str, value: object) -> frozenset[str] | None:
    return None if value is None else frozenset(item.strip().casefold() for item in _texts(name, value))


def _known(name: str, words: Iterable[str], known: Collection[str]) -> frozenset[str]:
    unknown = sorted(set(words).difference(known))
    if unknown:
        raise RouterError(
            f"unknown {name} {', '.join(map(repr, unknown))}; there are {', '.join(sorted(known))}"
        )
    return frozenset(words)


def _channel(name: str) -> str:
    written = name.strip().lower()
    known = CHANNEL_NAMES.get(BUILDER_NAMES.get(written, written))
    if known is None:
        raise RouterError(f"unknown channel {name!r}; there are {', '.join(sorted(CHANNELS))}")
    return known


def _conditions(when: When[Any]) -> tuple[EventCondition[Any], ...]:
    conditions: Sequence[Any] = (when,) if callable(when) else _items(when)
    for condition in conditions:
        if not callable(condition):
            raise RouterError(
                f"when takes a function of the event, or several, not {type(condition).__name__}: "
                "write `when=lambda event: …`"
            )
        if is_async(condition):
            raise RouterError(
                f"{describe(condition)} is async: a filter must be a plain function of the event"
            )
        reason = misfit(condition, "event")
        if reason is not None:
            raise RouterError(
                f"{describe(condition)} is called with one argument, the event ({reason}): "
                "write `lambda event: …`"
            )
    return tuple(conditions)


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
    """Return a sender in lower case, without the leading plus that the service does not send."""
    return sender.strip().removeprefix("+").casefold()
