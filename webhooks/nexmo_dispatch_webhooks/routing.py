"""`Router`: which handlers an event reaches, in which order, and the result of each.

The module knows events, not HTTP. Handlers run one after the other, in the order of registration; a failed
handler does not stop the others, and the result shows an event without a handler.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self, TypeVar, Unpack

import msgspec

from nexmo_dispatch_core.unfinished import shows_unfinished
from nexmo_dispatch_webhooks import events
from nexmo_dispatch_webhooks.cancellation import is_failure
from nexmo_dispatch_webhooks.events import Channel, ErrorClass, Event, Kind, ReportStatus, Status
from nexmo_dispatch_webhooks.exceptions import HandlerError, HandlerFailure, RouterError, RouterFrozenError
from nexmo_dispatch_webhooks.injection import Call, Context, describe, plan_call, require_async, takes_context
from nexmo_dispatch_webhooks.logs import current_event, watchers
from nexmo_dispatch_webhooks.middleware import (
    Middleware,
    OuterMiddleware,
    require_middleware,
    require_outer_middleware,
    through,
)
from nexmo_dispatch_webhooks.routes import (
    KINDS,
    Filters,
    Handler,
    OneOrMore,
    Route,
    When,
    make_route,
    with_parentheses,
)
from nexmo_dispatch_webhooks.selection import Plan, PlanEntry, Scope, Selected

__all__ = [
    "Context",
    "DispatchResult",
    "Handler",
    "Route",
    "Router",
    "Selected",
]

H = TypeVar("H", bound=Handler)
M = TypeVar("M", bound=Middleware)
OM = TypeVar("OM", bound=OuterMiddleware)

_UNNAMED: Final = "router"


class DispatchResult(msgspec.Struct, frozen=True):
    """The result of one event: the handlers that succeeded, and the failures."""

    handled: tuple[str, ...] = ()
    failures: tuple[HandlerFailure, ...] = ()

    @property
    def unhandled(self) -> bool:
        """Whether no handler matched the event."""
        return not self.handled and not self.failures

    def raise_for_failures(self) -> None:
        """Raise HandlerError when a handler failed."""
        if self.failures:
            raise HandlerError(self.failures) from self.failures[0].error


class _Node:
    """The state of a router: its registrations, and its place in the tree."""

    def __init__(self, name: str, values: dict[str, Any]) -> None:
        self.name = name
        self.values = values
        # registered
        self.entries: list[Route | _Branch] = []
        self.fallbacks: list[Route] = []
        self.middlewares: list[Middleware] = []
        self.outer: list[OuterMiddleware] = []
        # place and state
        self.parent: _Node | None = None
        self.frozen = False

    @property
    def shown(self) -> str:
        """The name for messages; a router without a name is told by its first handler."""
        first = next((entry for entry in self.entries if isinstance(entry, Route)), None)
        if self.name != _UNNAMED:
            return self.name
        return "a router without a name" if first is None else f"the router of {first.name}"

    def routes(self) -> Iterator[Route]:
        for entry in self.entries:
            if isinstance(entry, Route):
                yield entry
            else:
                yield from entry.node.routes()

    def plan(
        self,
        inherited: Mapping[str, Any],
        keys: set[str],
        outer: tuple[Middleware, ...],
        plan_call: Callable[[Handler, Mapping[str, Any]], Call] = plan_call,
    ) -> Plan:
        """Plan the call of each handler of this router and of included ones, with the provided values."""
        values = {**inherited, **self.values}
        around = (*outer, *self.middlewares)

        def select(route: Route) -> Selected:
            key, number = route.name, 1
            while key in keys:
                number += 1
                key = f"{route.name} ({number})"
            keys.add(key)
            observed = bool(around) or takes_context(route.handler)
            return Selected(route, key, through(around, plan_call(route.handler, values)), observed)

        by_kind: dict[Kind, list[PlanEntry]] = {kind: [] for kind in KINDS}
        for entry in self.entries:
            if isinstance(entry, Route):
                step: PlanEntry = (entry.conditions(), select(entry), None)
                kinds = entry.kinds
            else:
                step = ((), None, (entry.node.plan(values, keys, around, plan_call), entry.scope))
                kinds = KINDS
            for kind in kinds:
                by_kind[kind].append(step)
        return Plan(by_kind, [select(route) for route in self.fallbacks])

    def accounts(self) -> Iterator[str]:
        """Return the accounts that the routers included below name."""
        for entry in self.entries:
            if isinstance(entry, _Branch):
                if entry.scope.account is not None:
                    yield entry.scope.account
                yield from entry.node.accounts()

    def freeze(self) -> None:
        self.frozen = True
        for entry in self.entries:
            if isinstance(entry, _Branch):
                entry.node.freeze()


@dataclass(frozen=True, slots=True)
class _Branch:
    node: _Node
    scope: Scope


class Router:
    """A list of handlers with filters; routers compose with `include_router`.

    Args:
        *routers: Routers to include at once.
        name: Name of the router, for messages about composition.
        values: Values for parameters of handlers, by name, besides `event` and `context`; also for handlers
            of included routers, unless their router has a value of the same name.
    """

    def __init__(
        self, *routers: Router, name: str = _UNNAMED, values: Mapping[str, Any] | None = None
    ) -> None:
        self._node = _Node(name, dict(values or {}))
        self._plan: Plan | None = None  # made by `freeze`; before, whatever is asked is planned anew
        for router in routers:
            self.include_router(router)

    @shows_unfinished
    def __repr__(self) -> str:
        state = "frozen" if self._node.frozen else "open"
        return f"<Router {self._node.name!r}: {sum(1 for _ in self.routes())} handlers, {state}>"

    # --- registration ---

    def add(
        self,
        handler: Handler,
        *,
        kind: OneOrMore[Kind] | None = None,
        status: OneOrMore[Status | ReportStatus | str] | None = None,
        channel: OneOrMore[Channel | str] | None = None,
        content: OneOrMore[str] | None = None,
        error_class: OneOrMore[ErrorClass] | None = None,
        sender: OneOrMore[str] | None = None,
        when: When[Any] = (),
        name: str | None = None,
    ) -> Route:
        """Register a handler for the events that meet every filter given.

        Args:
            handler: An async function. A parameter gets the event when it is named `event` or annotated with
                an event class, the context when it is named `context` or annotated with `Context`, and
                otherwise the value of its name.
            kind: `message-status`, `inbound-message`, `final-report`, `unknown`; None for all.
            status: Statuses, compared without case. They are an open list, so any text is accepted.
            channel: Channels in any spelling of contract 5.11, or `viber`. A final report matches when one
                of its messages went over the channel.
            content: Content types of inbound messages; an open list as well.
            error_class: `temporary`, `permanent`, `configuration`, `request`, `unknown` (contract 6.1).
            sender: Numbers, with or without a plus, or ids of the `from` side.
            when: Synchronous functions of the event; the handler matches if all results are truthy.
            name: Name of the handler in results and logs; its qualified name when None.

        Raises:
            RouterError: The handler is not async, or is for other events, or a filter can never match.
            RouterFrozenError: The receiver has started.
        """
        self._require_open()
        route = make_route(
            handler,
            kind=kind,
            status=status,
            channel=channel,
            content=content,
            error_class=error_class,
            sender=sender,
            when=when,
            name=name,
        )
        self._node.entries.append(route)
        return route

    @with_parentheses
    def register(self, kind: OneOrMore[Kind] | None = None, **filters: Unpack[Filters]) -> Callable[[H], H]:
        """Decorator over `add`, for any kind or several."""

        def decorate(handler: H) -> H:
            self.add(handler, kind=kind, **filters)
            return handler

        return decorate

    @with_parentheses
    def message_status(
        self,
        *,
        status: OneOrMore[Status | str] | None = None,
        channel: OneOrMore[Channel | str] | None = None,
        error_class: OneOrMore[ErrorClass] | None = None,
        sender: OneOrMore[str] | None = None,
        when: When[events.MessageStatus] = (),
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

    @with_parentheses
    def inbound_message(
        self,
        *,
        content: OneOrMore[str] | None = None,
        channel: OneOrMore[Channel | str] | None = None,
        sender: OneOrMore[str] | None = None,
        when: When[events.InboundMessage] = (),
        name: str | None = None,
    ) -> Callable[[H], H]:
        """Decorator for inbound-message events; the filters are those of `add`."""
        return self.register(
            "inbound-message", content=content, channel=channel, sender=sender, when=when, name=name
        )

    @with_parentheses
    def final_report(
        self,
        *,
        status: OneOrMore[ReportStatus | str] | None = None,
        channel: OneOrMore[Channel | str] | None = None,
        when: When[events.FinalReport] = (),
        name: str | None = None,
    ) -> Callable[[H], H]:
        """Decorator for final-report events; the filters are those of `add`."""
        return self.register("final-report", status=status, channel=channel, when=when, name=name)

    @with_parentheses
    def unknown(self, *, when: When[events.UnknownEvent] = (), name: str | None = None) -> Callable[[H], H]:
        """Decorator for JSON objects that fit no kind (contract 5.1, step 5)."""
        return self.register("unknown", when=when, name=name)

    def fallback(self, handler: H) -> H:
        """Decorator for events that reach no other handler of this router or of included routers."""
        self._require_open()
        require_async(handler)
        self._node.fallbacks.append(Route(handler, describe(handler)))
        return handler

    def middleware(self, function: M) -> M:
        """Decorator: run around each handler of this router and of the included ones.

        `async def timing(event, context, call_next)` awaits `call_next(event)` to go on, and skips the
        handler when it does not.

        Raises:
            RouterError: It is not async, or cannot be called with these arguments.
            RouterFrozenError: The receiver has started.
        """
        self._require_open()
        require_middleware(function)
        self._node.middlewares.append(function)
        return function

    def outer_middleware(self, function: OM) -> OM:
        """Decorator: run around the whole request, before it is verified or parsed.

        `async def limit(request, call_next)` returns an `Answer`, its own or that of `call_next(request)`.
        Only the router that is given to `setup` may have some.

        Raises:
            RouterError: It is not async, or cannot be called with these arguments, or this router is included
                in another one.
            RouterFrozenError: The receiver has started.
        """
        self._require_open()
        require_outer_middleware(function)
        if self._node.parent is not None:
            raise RouterError(
                f"{self._node.name} is included in another router: outer middleware belongs there"
            )
        self._node.outer.append(function)
        return function

    @property
    def outer_middlewares(self) -> tuple[OuterMiddleware, ...]:
        """Return the functions around the request, outermost first."""
        return tuple(self._node.outer)

    def include_router(self, router: Router, *, prefix: str = "", account: str | None = None) -> None:
        """Include all handlers of another router at this place in the order.

        Args:
            router: A router that is not included anywhere yet.
            prefix: Only callbacks below this path, such as `/team-a`, relative to the mount point and to the
                prefix of this router.
            account: Only callbacks signed by this `api_key` (contract 5.9), so that no other account of the
                receiver can change its workflows; None for any account, and for unsigned callbacks.

        Raises:
            RouterError: The router is this one, contains this one, is included already, or has
                outer middleware; or *account* is no text.
        """
        self._require_open()
        scope = Scope.of(prefix, account)
        here, node = self._node, _node_of(router)
        if node is here:
            raise RouterError(f"{here.name} cannot include itself")
        if node.parent is not None:
            raise RouterError(
                f"{node.shown} is included in {node.parent.shown} already, and a router has one place: make "
                "a new Router for each application, in a function such as make_router()"
            )
        ancestor = here.parent
        while ancestor is not None:
            if ancestor is node:
                raise RouterError(f"{here.name} is inside of {node.name}: including that would be a cycle")
            ancestor = ancestor.parent
        if node.outer:
            raise RouterError(f"{node.name} has outer middleware, which belongs to the router given to setup")
        node.parent = here
        here.entries.append(_Branch(node, scope))

    def freeze(self, values: Mapping[str, Any] | None = None) -> None:
        """End the registration, and check that every handler can be called with the provided values.

        Args:
            values: More values for handlers, besides those of the routers.

        Raises:
            RouterError: A parameter of a handler has no value.
        """
        self._plan = self._node.plan(values or {}, set(), ())
        self._node.freeze()

    def bind(self, values: Mapping[str, Any] | None = None) -> Self:
        """Return a router with the same handlers, frozen with *values*; this router does not change.

        Several receivers can therefore share a router, each with its own values.
        """
        bound = copy.copy(self)
        bound.freeze(values)
        return bound

    def _require_open(self) -> None:
        if self._node.frozen:
            raise RouterFrozenError(f"{self._node.name} is in use: register before the receiver starts")

    # --- reading ---

    def routes(self) -> Iterator[Route]:
        """Return all routes in their order, including those of included routers."""
        return self._node.routes()

    def accounts(self) -> frozenset[str]:
        """Return the accounts that `include_router(account=…)` names anywhere below this router."""
        return frozenset(self._node.accounts())

    def fetch(self, event: Event, context: Context | None = None) -> tuple[Handler, ...]:
        """Return the handlers that an event would reach, in order, without running them.

        An exception of a `when` filter propagates; in `dispatch` it is a failure of its handler.
        """
        # before the start the values are not provided yet, and they do not matter here
        plan = self._plan or self._node.plan({}, set(), (), lambda handler, _: handler)
        context = context or Context()
        selected = plan.select(event, context, context.path)
        for item in selected:
            if item.error is not None:
                raise item.error
        return tuple(item.route.handler for item in selected)

    def select(self, event: Event, context: Context) -> list[Selected]:
        """Return the selected handlers of an event, in order, with the exceptions of filters."""
        if watchers:
            current_event.set(event)
        plan = self._plan
        if plan is None:  # tests of handlers dispatch without a start
            plan = self._node.plan({}, set(), ())
        return plan.select(event, context, context.path)

    # --- running ---

    async def dispatch(self, event: Event, context: Context | None = None) -> DispatchResult:
        """Run every matching handler, one after the other, in the order of registration.

        An exception of a handler is collected and the next handler runs; a cancellation of the current task
        propagates at once. A cancellation of another task, which a handler awaits, is an exception like
        others.

        Returns:
            The handlers that succeeded and those that failed; see `DispatchResult.raise_for_failures`.

        Raises:
            RouterError: A parameter of a handler has no value.
        """
        if context is None:
            context = Context()
        handled: list[str] = []
        failures: list[HandlerFailure] = []
        for item in self.select(event, context):
            try:
                if item.error is not None:
                    raise item.error
                await item.run(event, context)
            except BaseException as error:  # a handler may raise anything; the result names it
                if not is_failure(error):
                    raise
                failures.append(HandlerFailure(item.route.name, error))
            else:
                handled.append(item.route.name)
        return DispatchResult(tuple(handled), tuple(failures))


def _node_of(router: Any) -> _Node:
    if not isinstance(router, Router):
        raise RouterError(f"include_router takes a Router, not {type(router).__name__}")
    return router._node  # noqa: SLF001 - the inside of another router is composed here and nowhere else
