"""`Router`: which handlers an event reaches, in which order, and what became of each.

It knows events, not HTTP. Handlers run in the order of registration, one after the other; one that
fails does not hide the rest, and an event that nobody handles is visible in the result.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from nexmo_dispatch_webhooks.error_codes import ERROR_CLASSES
from nexmo_dispatch_webhooks.events import (
    CHANNELS,
    Event,
    FinalReport,
    InboundMessage,
    Kind,
    MessageStatus,
    UnknownEvent,
)
from nexmo_dispatch_webhooks.exceptions import HandlerError, RouterError, RouterFrozenError
from nexmo_dispatch_webhooks.injection import Context, describe, is_async, plan_arguments, require_async
from nexmo_dispatch_webhooks.parsing import CHANNEL_NAMES

__all__ = ["Context", "DispatchResult", "Handler", "HandlerFailure", "Route", "Router"]

Handler = Callable[..., Awaitable[Any]]
H = TypeVar("H", bound=Handler)
OneOrMore = str | Collection[str]
Condition = Callable[[Any], object]
#: Around each handler: `async def middleware(event, context, call_next)`, which awaits `call_next(event)`.
Middleware = Callable[[Any, Context, Callable[[Any], Awaitable[Any]]], Awaitable[Any]]

_KINDS: dict[Kind, type] = {
    "message-status": MessageStatus,
    "inbound-message": InboundMessage,
    "final-report": FinalReport,
    "unknown": UnknownEvent,
}
_ERROR_CLASSES = frozenset({*ERROR_CLASSES.values(), "unknown"})


@dataclass(frozen=True, slots=True)
class HandlerFailure:
    """A handler that raised, or the filter in front of it."""

    handler: str
    error: Exception = field(repr=False)  # its message is the application's and may hold personal data


@dataclass(frozen=True, slots=True)
class DispatchResult:
    """What became of one event: which handlers succeeded, and which failed with what."""

    handled: tuple[str, ...] = ()
    failures: tuple[HandlerFailure, ...] = ()

    @property
    def unhandled(self) -> bool:
        """Whether no handler wanted the event."""
        return not self.handled and not self.failures

    def raise_for_failures(self) -> None:
        """Raise HandlerError when a handler failed."""
        if self.failures:
            raise HandlerError(self.failures) from self.failures[0].error


@dataclass(frozen=True, slots=True)
class Route:
    """A handler with the conditions that an event must meet, all of them."""

    handler: Handler
    name: str
    kinds: frozenset[Kind]
    statuses: frozenset[str] | None = None
    channels: frozenset[str] | None = None
    contents: frozenset[str] | None = None
    error_classes: frozenset[str] | None = None
    senders: frozenset[str] | None = None
    when: tuple[Condition, ...] = ()

    def matches(self, event: Event) -> bool:
        """Whether the event meets every condition; what `when` raises comes through."""
        return (
            event.kind in self.kinds
            and (self.statuses is None or _fold(getattr(event, "status", None)) in self.statuses)
            and (self.channels is None or not self.channels.isdisjoint(_channels(event)))
            and (self.contents is None or _fold(getattr(event, "content", None), "type") in self.contents)
            and (self.error_classes is None or _error_class(event) in self.error_classes)
            and (self.senders is None or not self.senders.isdisjoint(_senders(event)))
            and all(condition(event) for condition in self.when)
        )


@dataclass(frozen=True, slots=True)
class _Included:
    router: Router
    prefix: str


@dataclass(frozen=True, slots=True)
class _Bound:
    """A route with the middlewares of the routers around it, outermost first."""

    route: Route
    middlewares: tuple[Middleware, ...]


class Router:
    """A list of handlers with filters; routers compose with `include_router`.

    Args:
        *routers: routers to include at once.
        name: for messages about composition.
        values: what handlers may ask for by parameter name, besides `event` and `context`.
    """

    def __init__(
        self, *routers: Router, name: str = "router", values: Mapping[str, Any] | None = None
    ) -> None:
        self.name = name
        self.values: dict[str, Any] = dict(values or {})
        self._entries: list[Route | _Included] = []
        self._fallbacks: list[Route] = []
        self._middlewares: list[Middleware] = []
        self._outer: list[Any] = []
        self._parent: Router | None = None
        self._frozen = False
        self._plans: dict[Handler, Any] = {}
        for router in routers:
            self.include_router(router)

    def __repr__(self) -> str:
        state = "frozen" if self._frozen else "open"
        return f"<Router {self.name!r}: {sum(1 for _ in self.routes())} handlers, {state}>"

    # --- registration ---

    def add(
        self,
        handler: Handler,
        *,
        kind: Kind | Collection[Kind] | None = None,
        status: OneOrMore | None = None,
        channel: OneOrMore | None = None,
        content: OneOrMore | None = None,
        error_class: OneOrMore | None = None,
        sender: OneOrMore | None = None,
        when: Condition | Sequence[Condition] = (),
        name: str | None = None,
    ) -> Route:
        """Register a handler for the events that meet every filter given.

        Args:
            handler: an async function; see `plan_arguments` for what it may ask for.
            kind: `message-status`, `inbound-message`, `final-report`, `unknown`; None for all.
            status: statuses, compared without case. They are an open list, so any text is accepted.
            channel: channels in any spelling of contract 5.11. A final report matches when one of
                its messages went over the channel.
            content: content types of inbound messages; an open list as well.
            error_class: `temporary`, `permanent`, `configuration`, `request`, `unknown` (contract 6.1).
            sender: numbers or ids of the `from` side.
            when: plain functions of the event whose result is truthy for events that are wanted.
            name: how results and logs name the handler; its qualified name when None.

        Raises:
            RouterError: the handler is not async, or a filter can never match.
            RouterFrozenError: the receiver has started.
        """
        self._require_open()
        require_async(handler)
        kinds = frozenset(_KINDS) if kind is None else frozenset(_collection("kind", kind))
        if not kinds <= _KINDS.keys():
            raise RouterError(f"unknown kind; there are {', '.join(_KINDS)}")
        route = Route(
            handler,
            name or describe(handler),
            kinds,  # type: ignore[arg-type]  # checked against the keys above
            statuses=_words("status", status),
            channels=None
            if channel is None
            else frozenset(map(_known_channel, _collection("channel", channel))),
            contents=_words("content", content),
            error_classes=_words("error_class", error_class),
            senders=_words("sender", sender),
            when=_conditions(when),
        )
        if route.error_classes is not None and not route.error_classes <= _ERROR_CLASSES:
            raise RouterError(f"unknown error class; there are {', '.join(sorted(_ERROR_CLASSES))}")
        self._entries.append(route)
        return route

    def register(self, kind: Kind | Collection[Kind] | None = None, **filters: Any) -> Callable[[H], H]:
        """Decorator over `add`, for any kind or several."""

        def decorate(handler: H) -> H:
            self.add(handler, kind=kind, **filters)
            return handler

        return decorate

    def message_status(
        self,
        *,
        status: OneOrMore | None = None,
        channel: OneOrMore | None = None,
        error_class: OneOrMore | None = None,
        sender: OneOrMore | None = None,
        when: Condition | Sequence[Condition] = (),
        name: str | None = None,
    ) -> Callable[[H], H]:
        """Decorator for message-status events; the filters are those of `add`."""
        return self.register(
            "message-status",
            status=status,
            channel=channel,
            error_class=error_class,
            sender=sender,
            when=when,
            name=name,
        )

    def inbound_message(
        self,
        *,
        content: OneOrMore | None = None,
        channel: OneOrMore | None = None,
        sender: OneOrMore | None = None,
        when: Condition | Sequence[Condition] = (),
        name: str | None = None,
    ) -> Callable[[H], H]:
        """Decorator for inbound-message events; the filters are those of `add`."""
        return self.register(
            "inbound-message", content=content, channel=channel, sender=sender, when=when, name=name
        )

    def final_report(
        self,
        *,
        status: OneOrMore | None = None,
        channel: OneOrMore | None = None,
        when: Condition | Sequence[Condition] = (),
        name: str | None = None,
    ) -> Callable[[H], H]:
        """Decorator for final-report events; the filters are those of `add`."""
        return self.register("final-report", status=status, channel=channel, when=when, name=name)

    def unknown(
        self, *, when: Condition | Sequence[Condition] = (), name: str | None = None
    ) -> Callable[[H], H]:
        """Decorator for JSON objects that fit no kind (contract 5.1, step 5)."""
        return self.register("unknown", when=when, name=name)

    def fallback(self, handler: H) -> H:
        """Decorator for events that reach no other handler of this router or of those included in it."""
        self._require_open()
        require_async(handler)
        self._fallbacks.append(Route(handler, describe(handler), frozenset(_KINDS)))
        return handler

    def middleware(self, function: Middleware) -> Middleware:
        """Decorator: run around each handler of this router and of the included ones.

        `async def timing(event, context, call_next)` awaits `call_next(event)` to go on, and skips the
        handler when it does not.
        """
        self._require_open()
        require_async(function)
        self._middlewares.append(function)
        return function

    def outer_middleware(self, function: H) -> H:
        """Decorator: run around the whole request, before it is verified or parsed.

        `async def limit(request, call_next)` returns an `Answer`, its own or that of `call_next(request)`.
        Only the router that is given to `setup` may have some.
        """
        self._require_open()
        require_async(function)
        if self._parent is not None:
            raise RouterError(
                f"{self.name} is included in another router: outer middleware belongs to that one"
            )
        self._outer.append(function)
        return function

    @property
    def outer_middlewares(self) -> tuple[Any, ...]:
        """The functions around the request, outermost first."""
        return tuple(self._outer)

    def include_router(self, router: Router, *, prefix: str = "") -> None:
        """Put all the handlers of another router here, at this place in the order.

        Args:
            router: a router that is not included anywhere yet.
            prefix: take only what arrives below this path of the mount point, for example `/team-a`.

        Raises:
            RouterError: the router is this one, contains this one, is included already, or has
                outer middleware.
        """
        self._require_open()
        if not isinstance(router, Router):  # pyright: ignore[reportUnnecessaryIsInstance] - callers without a checker
            raise RouterError(f"include_router takes a Router, not {type(router).__name__}")
        if router is self:
            raise RouterError(f"{self.name} cannot include itself")
        if router._parent is not None:
            raise RouterError(f"{router.name} is included in {router._parent.name} already")
        ancestor = self._parent
        while ancestor is not None:
            if ancestor is router:
                raise RouterError(f"{self.name} is inside of {router.name}: including that would be a cycle")
            ancestor = ancestor._parent
        if router._outer:
            raise RouterError(
                f"{router.name} has outer middleware, which belongs to the router given to setup"
            )
        router._parent = self
        self._entries.append(_Included(router, _prefix(prefix)))

    def freeze(self, values: Mapping[str, Any] | None = None) -> None:
        """End the registration, and check that every handler can be called with what is provided.

        Args:
            values: more values for handlers, besides those of the routers.

        Raises:
            RouterError: a handler asks for something that nothing provides.
        """
        for router, inherited in self._walk({**(values or {})}):
            plans = router._plans
            for route in (*router._own_routes(), *router._fallbacks):
                plans[route.handler] = plan_arguments(route.handler, inherited)
            router._frozen = True

    def _require_open(self) -> None:
        if self._frozen:
            raise RouterFrozenError(f"{self.name} is in use: register handlers before the receiver starts")

    # --- reading ---

    def routes(self) -> Iterator[Route]:
        """All routes in the order in which they run, those of included routers among them."""
        for entry in self._entries:
            if isinstance(entry, Route):
                yield entry
            else:
                yield from entry.router.routes()

    def fetch(self, event: Event, context: Context | None = None) -> tuple[Handler, ...]:
        """The handlers that the event would reach, in order, without running any.

        What a `when` filter raises comes through; in `dispatch` it is a failure of its handler.
        """
        found: list[Handler] = []
        for _, bound, problem in self._select(event, context or Context(), ()):
            if problem is not None:
                raise problem.error
            found.append(bound.route.handler)
        return tuple(found)

    # --- running ---

    async def dispatch(self, event: Event, context: Context | None = None) -> DispatchResult:
        """Run every matching handler, one after the other, in the order of registration.

        An exception of a handler is collected and the next one runs; cancellation comes through at once.

        Returns:
            Which handlers succeeded and which failed. Nothing is raised for a failure: see
            `DispatchResult.raise_for_failures`.

        Raises:
            RouterError: a handler asks for something that nothing provides.
        """
        if not self._frozen and self._parent is None:
            self._refresh()
        context = context or Context()
        handled: list[str] = []
        failures: list[HandlerFailure] = []
        for router, bound, problem in self._select(event, context, ()):
            if problem is not None:
                failures.append(problem)
                continue
            try:
                await _run(router, bound, event, context)
            except Exception as error:  # noqa: BLE001 - a handler may raise anything; the result names it
                failures.append(HandlerFailure(bound.route.name, error))
            else:
                handled.append(bound.route.name)
        return DispatchResult(tuple(handled), tuple(failures))

    def _refresh(self) -> None:
        """Plan the calls of an open router, as `freeze` does, without ending the registration."""
        for router, inherited in self._walk({}):
            for route in (*router._own_routes(), *router._fallbacks):
                if route.handler not in router._plans:
                    router._plans[route.handler] = plan_arguments(route.handler, inherited)

    def _own_routes(self) -> Iterator[Route]:
        return (entry for entry in self._entries if isinstance(entry, Route))

    def _walk(self, inherited: dict[str, Any]) -> Iterator[tuple[Router, dict[str, Any]]]:
        """This router and those below, each with the values that its handlers may ask for."""
        values = {**inherited, **self.values}
        yield self, values
        for entry in self._entries:
            if isinstance(entry, _Included):
                yield from entry.router._walk(values)

    def _select(
        self, event: Event, context: Context, outer: tuple[Middleware, ...]
    ) -> list[tuple[Router, _Bound, HandlerFailure | None]]:
        middlewares = (*outer, *self._middlewares) if self._middlewares else outer
        selected: list[tuple[Router, _Bound, HandlerFailure | None]] = []
        for entry in self._entries:
            if isinstance(entry, _Included):
                if _below(context.path, entry.prefix):
                    selected += entry.router._select(event, context, middlewares)
                continue
            try:
                wanted = entry.matches(event)
            except Exception as error:  # noqa: BLE001 - a filter of the application may raise anything
                failure = HandlerFailure(entry.name, error)
                selected.append((self, _Bound(entry, middlewares), failure))
            else:
                if wanted:
                    selected.append((self, _Bound(entry, middlewares), None))
        if not selected:
            selected = [(self, _Bound(route, middlewares), None) for route in self._fallbacks]
        return selected


async def _run(router: Router, bound: _Bound, event: Event, context: Context) -> None:
    handler = bound.route.handler
    if not bound.middlewares:
        args, kwargs = router._plans[handler](event, context)
        await handler(*args, **kwargs)
        return

    async def call(position: int, current: Any) -> Any:
        if position == len(bound.middlewares):
            args, kwargs = router._plans[handler](current, context)
            return await handler(*args, **kwargs)
        return await bound.middlewares[position](current, context, lambda inner: call(position + 1, inner))

    await call(0, event)


# --- filters -----------------------------------------------------------------------------------------


def _collection(name: str, value: str | Collection[str]) -> list[str]:
    items = [value] if isinstance(value, str) else list(value)
    if not items:
        raise RouterError(f"{name} is an empty collection, so the handler would never run")
    for item in items:
        if not isinstance(item, str) or not item.strip():  # pyright: ignore[reportUnnecessaryIsInstance] - as above
            raise RouterError(f"{name} takes text, one or several")
    return items


def _words(name: str, value: OneOrMore | None) -> frozenset[str] | None:
    return None if value is None else frozenset(item.strip().casefold() for item in _collection(name, value))


def _known_channel(name: str) -> str:
    known = CHANNEL_NAMES.get(name.strip().lower())
    if known is None:
        raise RouterError(f"unknown channel {name!r}; there are {', '.join(sorted(CHANNELS))}")
    return known


def _conditions(when: Condition | Sequence[Condition]) -> tuple[Condition, ...]:
    conditions = (when,) if callable(when) else tuple(when)
    for condition in conditions:
        if not callable(condition):
            raise RouterError("when takes a function of the event, or several")
        if is_async(condition) or inspect.iscoroutinefunction(condition):
            raise RouterError(
                f"{describe(condition)} is async: a filter must be a plain function of the event"
            )
    return conditions


def _fold(value: Any, attribute: str | None = None) -> str | None:
    if attribute is not None:
        value = getattr(value, attribute, None)
    return value.casefold() if isinstance(value, str) else None


def _channels(event: Event) -> set[str]:
    if isinstance(event, FinalReport):
        return {message.channel for message in event.messages if message.channel is not None}
    return set() if isinstance(event, UnknownEvent) else {event.channel}


def _error_class(event: Event) -> str | None:
    error = getattr(event, "error", None)
    return None if error is None else error.error_class


def _senders(event: Event) -> set[str]:
    if not isinstance(event, MessageStatus | InboundMessage):
        return set()
    return {text.casefold() for text in (event.from_.number, event.from_.id) if text is not None}


def _prefix(prefix: str) -> str:
    return "/" + prefix.strip("/") if prefix.strip("/") else ""


def _below(path: str, prefix: str) -> bool:
    return not prefix or ("/" + path.strip("/") + "/").startswith(prefix + "/")
