"""Middlewares around handlers and around requests: types, checks, and composition.

It registers nothing and calls nothing: `Router` registers, `Receiver` calls.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from nexmo_dispatch_webhooks.events import Event
from nexmo_dispatch_webhooks.exceptions import RouterError
from nexmo_dispatch_webhooks.injection import Call, Context, describe, misfit, require_async
from nexmo_dispatch_webhooks.sansio import Answer, RawRequest

__all__ = [
    "CallNext",
    "Middleware",
    "OuterCallNext",
    "OuterMiddleware",
    "require_middleware",
    "require_outer_middleware",
    "through",
]

#: Calls the next middleware, and finally the handler, and returns its result.
CallNext = Callable[[Event], Awaitable[Any]]
#: Around each handler: `async def middleware(event, context, call_next)`, which awaits `call_next(event)`.
Middleware = Callable[[Event, Context, CallNext], Awaitable[Any]]

#: Calls the next outer middleware, and finally the receiver.
OuterCallNext = Callable[[RawRequest], Awaitable[Answer]]
#: Around each request: `async def middleware(request, call_next)`, which returns an `Answer`.
OuterMiddleware = Callable[[RawRequest, OuterCallNext], Awaitable[Answer]]


def require_middleware(function: Middleware) -> None:
    """Refuse a middleware that is not async or cannot be called, where it is registered.

    Raises:
        RouterError: The message says what it is called with.
    """
    _require(function, "event", "context", "call_next")


def require_outer_middleware(function: OuterMiddleware) -> None:
    """Refuse an outer middleware that is not async or cannot be called, where it is registered.

    Raises:
        RouterError: The message says what it is called with.
    """
    _require(function, "request", "call_next")


def _require(function: Callable[..., Any], *arguments: str) -> None:
    require_async(function)
    reason = misfit(function, *arguments)
    if reason is not None:
        called = ", ".join(arguments)
        raise RouterError(
            f"{describe(function)} is a middleware, called with {called} ({reason}): "
            f"write `async def …({called})`"
        )


def through(middlewares: tuple[Middleware, ...], call: Call) -> Call:
    """Return the call with its middlewares around it, the first one outermost."""
    if middlewares:
        call = _all_or_nothing(call)
    for middleware in reversed(middlewares):
        call = _around(middleware, call)
    return call


def _around(middleware: Middleware, call: Call) -> Call:
    return lambda event, context: middleware(event, context, lambda event: call(event, context))


def _all_or_nothing(call: Call) -> Call:
    """Return a call that removes its statements when it fails: a middleware may suppress the exception."""

    async def run(event: Any, context: Context, statements: list[Any]) -> Any:
        before = len(statements)
        try:
            return await call(event, context)
        except BaseException:
            del statements[before:]
            raise

    def choose(event: Any, context: Context) -> Awaitable[Any]:
        collected = context.collected
        called: Awaitable[Any] = (
            call(event, context) if collected is None else run(event, context, collected.statements)
        )
        return called

    return choose
