"""Passes to each handler the arguments that it names: event, context, and values of the application.

The arguments are determined once per handler, from its signature; the module calls no handler.
"""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from nexmo_dispatch_webhooks import events
from nexmo_dispatch_webhooks.annotations import annotations_of, signature_of
from nexmo_dispatch_webhooks.exceptions import ConfigurationError, RouterError
from nexmo_dispatch_webhooks.signature import Claims
from nexmo_dispatch_webhooks.transaction import Transaction

__all__ = [
    "Call",
    "Context",
    "annotated_kinds",
    "describe",
    "is_async",
    "misfit",
    "plan_call",
    "require_async",
    "takes_context",
]

_EVENT_TYPES = frozenset(
    {events.MessageStatus, events.InboundMessage, events.FinalReport, events.UnknownEvent}
)
_VARIADIC = frozenset({inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD})


class Context(msgspec.Struct, frozen=True, gc=False):
    """Facts about a delivery besides the event itself.

    The `repr` shows neither the path, which may contain a secret, nor the claims.
    """

    #: The path below the mount point; any kind may come on any path (contract 9.10).
    path: str = ""
    #: Time of arrival, in epoch seconds.
    timestamp: float | None = None
    claims: Claims | None = None
    #: Number of earlier attempts at this event; 0 without an inbox.
    attempt: int = 0
    collected: Transaction | None = None

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        moment = self.received_at
        return [("received_at", moment and moment.isoformat()), ("attempt", self.attempt)]

    def __repr__(self) -> str:
        return f"Context({', '.join(f'{name}={value!r}' for name, value in self.__rich_repr__())})"

    @property
    def received_at(self) -> datetime | None:
        """The time of arrival, in UTC."""
        return None if self.timestamp is None else datetime.fromtimestamp(self.timestamp, UTC)

    @property
    def transaction(self) -> Transaction:
        """SQL to commit together with the mark that this handler is done: effects exactly once.

        Raises:
            ConfigurationError: There is no SQLite inbox, so there is nothing to commit with.
        """
        if self.collected is None:
            raise ConfigurationError('context.transaction needs an SQLite inbox: setup(…, inbox="inbox.db")')
        return self.collected


#: Calls one handler with its arguments, from event and context.
Call = Callable[[Any, Context], Any]


def describe(function: Callable[..., Any]) -> str:
    """Return a name for logs and results: module and qualified name, never bound values."""
    while isinstance(function, functools.partial):
        function = function.func
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    return f"{getattr(function, '__module__', None) or type(function).__module__}.{name}"


def is_async(function: Callable[..., Any]) -> bool:
    """Return whether a call returns a coroutine; partials and callable objects are resolved."""
    while isinstance(function, functools.partial):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - not whether it is callable, but what its call is
    )


def require_async(function: Callable[..., Any]) -> None:
    """Refuse a plain function at its registration, not at the first callback.

    Raises:
        RouterError: The function is not async; the message says what to do.
    """
    if not callable(function):
        raise RouterError(f"a handler must be an async function, not {type(function).__name__}")
    if not is_async(function):
        raise RouterError(
            f"{describe(function)} is not async: write `async def`. Blocking work would hold up every other "
            "callback; inside the handler, hand it to a thread with `await asyncio.to_thread(…)`"
        )


def misfit(function: Callable[..., Any], *arguments: str) -> str | None:
    """Return why a function cannot be called with these arguments by position; None when it can.

    None as well for what tells no signature, as some callables that are made in C.
    """
    try:
        # a decorator may call the function inside differently: what counts is what is called here
        signature = signature_of(function, follow_wrapped=False)
    except (TypeError, ValueError):
        return None
    try:
        signature.bind(*arguments)
    except TypeError as error:
        return str(error)
    return None


def plan_call(function: Callable[..., Any], values: Mapping[str, Any]) -> Call:
    """Decide once how to call a handler.

    A parameter gets the event when it is named `event` or annotated with an event class, the context
    when it is named `context` or annotated with `Context`, and otherwise the value of its name.

    Args:
        function: The handler.
        values: Values of the application, by name.

    Returns:
        A function that calls the handler, from event and context.

    Raises:
        RouterError: A parameter without a default has no value; or the function has only `*args` and
            `**kwargs`, so its parameters are unknown.
    """
    positional, named = _sources(function, values)
    if not named and [source for _, source in positional] == ["event"]:
        return lambda event, context: function(event)  # what most handlers look like
    if not named and [source for _, source in positional] == ["event", "context"]:
        return function

    def call(event: Any, context: Context) -> Any:
        def value(name: str, source: str | None) -> Any:
            if source is None:
                return values[name]
            return event if source == "event" else context

        return function(*[value(*item) for item in positional], **{item[0]: value(*item) for item in named})

    return call


#: Names of parameters, each with its source: `event`, `context`, or None for the value of the same name.
_Sources = list[tuple[str, str | None]]


def _sources(function: Callable[..., Any], values: Mapping[str, Any]) -> tuple[_Sources, _Sources]:
    """Return what a handler gets by position and by name; it raises what `plan_call` raises."""
    parameters = signature_of(function).parameters.values()
    if parameters and all(parameter.kind in _VARIADIC for parameter in parameters):
        raise RouterError(
            f"{describe(function)} takes any arguments, so its parameters are unknown: name its "
            "parameters, and let a decorator around it use `functools.wraps`"
        )
    hints = _hints(function)
    positional: _Sources = []
    named: _Sources = []
    skipped = False
    for parameter in parameters:
        name = parameter.name
        source = _source(name, hints.get(name))
        if parameter.kind in _VARIADIC:
            continue
        if source is not None or name in values:
            # By position as long as nothing before was left out: the cheaper way to call.
            by_position = parameter.kind is not parameter.KEYWORD_ONLY and not skipped and not named
            (positional if by_position else named).append((name, source))
        elif parameter.default is not parameter.empty:
            skipped = True
        else:
            raise _unprovided(function, parameter, annotated=name in hints)
    return positional, named


def _unprovided(
    function: Callable[..., Any], parameter: inspect.Parameter, *, annotated: bool
) -> RouterError:
    """Return the error of a parameter that nothing fills; `annotated`: its annotation could be read."""
    unread = parameter.annotation is not parameter.empty and not annotated
    return RouterError(
        f"{describe(function)} wants {parameter.name!r}, which nothing provides"
        + (", and whose annotation cannot be read at run time" if unread else "")
        + ": name it `event` or `context`, annotate it with an event class"
        + (" imported outside of `if TYPE_CHECKING`" if unread else "")
        + ", give it a default, or provide it in `values`"
    )


def takes_context(function: Callable[..., Any]) -> bool:
    """Return whether a handler gets the context, see `plan_call`."""
    hints = _hints(function)
    return any(_source(name, hints.get(name)) == "context" for name in signature_of(function).parameters)


def annotated_kinds(function: Callable[..., Any]) -> frozenset[events.Kind] | None:
    """Return the kinds of the event classes in a handler's annotations; None when there are none."""
    hints = _hints(function)
    named = [_members(hints.get(name)) for name in signature_of(function).parameters]
    kinds = [member.kind for members in named if _EVENT_TYPES.issuperset(members) for member in members]
    return frozenset(kinds) or None


def _source(name: str, hint: Any) -> str | None:
    if name in {"event", "context"}:
        return name
    if hint is Context:
        return "context"
    return "event" if _EVENT_TYPES.issuperset(_members(hint)) else None


def _members(hint: Any) -> tuple[Any, ...]:
    union = isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union
    return typing.get_args(hint) if union else (hint,)


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the readable annotations by name."""
    while isinstance(function, functools.partial):
        function = function.func
    target = function if inspect.isroutine(function) else getattr(function, "__call__", function)  # noqa: B004 - as above
    names = getattr(inspect.unwrap(target), "__globals__", {})
    hints: dict[str, Any] = {}
    for name, annotation in annotations_of(target).items():
        alone = types.SimpleNamespace(__annotations__={name: annotation})
        try:
            hints.update(typing.get_type_hints(alone, names))
        except Exception:  # noqa: BLE001, S112 - any text may stand there, often a name for type checkers only
            continue
    return hints
