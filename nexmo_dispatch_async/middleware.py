"""Code of yours around each call and around each attempt: measure, trace, count, change.

A client without middleware does not pass through here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Literal, TypeVar

import msgspec

from nexmo_dispatch_async.interruption import interrupt
from nexmo_dispatch_async.sansio import Request, Response

__all__ = ["Attempt", "AttemptHandler", "CallHandler", "Middleware", "around_attempt", "around_call"]

T = TypeVar("T")


class Attempt(msgspec.Struct, frozen=True):
    """One HTTP request.

    Attributes:
        request: Without its authorization, which no middleware sees. Its `repr` may be logged, its body not.
        number: Counted from 1 within the call, or within the fetching of one token.
        purpose: `call`, or `token` for a request to the token endpoint, whose body holds the secret.
    """

    request: Request
    number: int
    purpose: Literal["call", "token"]


class Middleware:
    """Base of middlewares: override one method or both, and pass it in `DispatchClient(middleware=[…])`.

    The first of the list is the outermost. `proceed` goes on with the next one, in the end with the request
    itself. Whatever it raises should be raised again, and it should be awaited once: twice would send twice.
    """

    async def call(self, request: Request, proceed: Callable[[Request], Awaitable[T]]) -> T:
        """Stand around a whole call: waiting for a slot, attempts, pauses. `proceed` returns its value.

        It raises what the caller would get: an `APIError`, or a `ClientClosedError`.
        """
        return await proceed(request)

    async def attempt(self, attempt: Attempt, proceed: Callable[[Attempt], Awaitable[Response]]) -> Response:
        """Stand around one request. `proceed` returns the answer, whatever its status.

        It raises an `APIError` if no whole answer came.
        """
        return await proceed(attempt)


CallHandler = Callable[[Request, Callable[[Request], Awaitable[Any]]], Awaitable[Any]]
AttemptHandler = Callable[[Attempt, Callable[[Attempt], Awaitable[Response]]], Awaitable[Response]]


def around_call(middleware: Sequence[Middleware]) -> CallHandler | None:
    """Return the chain of those that stand around calls, or `None` if none does."""
    links = [each.call for each in middleware if type(each).call is not Middleware.call]
    if not links:
        return None

    async def run(request: Request, proceed: Callable[[Request], Awaitable[Any]]) -> Any:
        done = False

        async def innermost(request: Request) -> Any:
            nonlocal done
            value = await proceed(request)
            done = True
            return value

        try:
            return await _linked(links, innermost)(request)
        except asyncio.CancelledError as error:
            interrupt(error, "sent" if done else "not_sent", request.summary)
            raise

    return run


def around_attempt(middleware: Sequence[Middleware]) -> AttemptHandler | None:
    """Return the chain of those that stand around attempts, or `None` if none does."""
    links = [each.attempt for each in middleware if type(each).attempt is not Middleware.attempt]
    if not links:
        return None

    async def run(attempt: Attempt, proceed: Callable[[Attempt], Awaitable[Response]]) -> Response:
        answered = False

        async def innermost(attempt: Attempt) -> Response:
            nonlocal answered
            response = await proceed(attempt)
            answered = True
            return response

        try:
            response: Response = await _linked(links, innermost)(attempt)
        except asyncio.CancelledError as error:
            # An answer that nobody read any more: what it said is lost.
            interrupt(error, "unknown" if answered else "not_sent", attempt.request.summary)
            raise
        return response

    return run


def _linked(links: Sequence[Callable[..., Any]], innermost: Callable[..., Any]) -> Callable[..., Any]:
    for link in reversed(links):
        innermost = partial(link, proceed=innermost)
    return innermost
