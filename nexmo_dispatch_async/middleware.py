"""Middleware: application code around each call and each attempt, to measure, trace, count or change them.

A client without middleware does not use this module.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Literal, TypeVar, cast

import msgspec

from nexmo_dispatch_async.exceptions import APIError
from nexmo_dispatch_async.interruption import Interruption, note, outcome_of_failure
from nexmo_dispatch_async.models.responses import Dispatch
from nexmo_dispatch_async.sansio import Request, Response

__all__ = ["Attempt", "AttemptHandler", "CallHandler", "Middleware", "around_attempt", "around_call"]

T = TypeVar("T")

Outcome = Literal["sent", "not_sent", "unknown"]


class Attempt(msgspec.Struct, frozen=True):
    """One HTTP request.

    Attributes:
        request: The request, without its authorization. The `repr` may be logged, the body may not.
        number: Number of the attempt within the call or the token request, from 1.
        purpose: `call`, or `token` for a request to the token endpoint, whose body contains the secret.
    """

    request: Request
    number: int
    purpose: Literal["call", "token"]


class Middleware:
    """Base class of middlewares; override one method or both: `DispatchClient(middleware=[…])`.

    The first middleware of the list is the outermost. `proceed` calls the next middleware, and finally makes
    the request. Await `proceed` exactly once, since a second call would send twice, and let its exceptions
    propagate.
    """

    async def call(self, request: Request, proceed: Callable[[Request], Awaitable[T]]) -> T:
        """Wrap a whole call: the wait for a slot, the attempts and the pauses.

        Args:
            request: The request.
            proceed: Makes the call and returns its value; raises the exception of the call, such as an
                `APIError` or a `ClientClosedError`.
        """
        return await proceed(request)

    async def attempt(self, attempt: Attempt, proceed: Callable[[Attempt], Awaitable[Response]]) -> Response:
        """Wrap one request.

        Args:
            attempt: The attempt.
            proceed: Makes the request and returns the response, whatever its status; raises an `APIError`
                without a complete response.
        """
        return await proceed(attempt)


CallHandler = Callable[[Request, Callable[[Request], Awaitable[Any]]], Awaitable[Any]]
AttemptHandler = Callable[[Attempt, Callable[[Attempt], Awaitable[Response]]], Awaitable[Response]]


def around_call(middleware: Sequence[Middleware]) -> CallHandler | None:
    """Return the chain of the middlewares that wrap calls; `None` without any."""
    links = [each.call for each in middleware if type(each).call is not Middleware.call]
    if not links:
        return None

    async def run(request: Request, proceed: Callable[[Request], Awaitable[Any]]) -> Any:
        known = Interruption("not_sent", request.summary)

        async def innermost(request: Request) -> Any:
            nonlocal known
            known = Interruption("unknown", request.summary)
            try:
                value = await proceed(request)
            except BaseException as error:
                known = outcome_of_failure(error)
                raise
            known = Interruption(_reading(request, "sent"), request.summary, dispatch=_dispatch_in(value))
            return value

        try:
            return await _linked(links, innermost)(request)
        except BaseException as error:
            _note(error, known)
            raise

    return run


def around_attempt(middleware: Sequence[Middleware]) -> AttemptHandler | None:
    """Return the chain of the middlewares that wrap attempts; `None` without any."""
    links = [each.attempt for each in middleware if type(each).attempt is not Middleware.attempt]
    if not links:
        return None

    async def run(attempt: Attempt, proceed: Callable[[Attempt], Awaitable[Response]]) -> Response:
        known = Interruption("not_sent", attempt.request.summary)

        async def innermost(attempt: Attempt) -> Response:
            nonlocal known
            # Applies until a failure is known, and after a response that a middleware discarded.
            outcome = "not_sent" if attempt.purpose == "token" else _reading(attempt.request, "unknown")
            known = Interruption(outcome, attempt.request.summary)
            try:
                return await proceed(attempt)
            except BaseException as error:
                if outcome == "unknown":
                    known = outcome_of_failure(error)
                raise

        try:
            response: Response = await _linked(links, innermost)(attempt)
        except BaseException as error:
            _note(error, known)
            raise
        return response

    return run


def _note(error: BaseException, known: Interruption) -> None:
    """Record on the propagating exception whether the request was sent; an `APIError` has its `outcome`."""
    if not isinstance(error, APIError):
        note(error, known)


def _reading(request: Request, otherwise: Outcome) -> Outcome:
    """Return `not_sent` for a GET, which may be repeated without harm; `otherwise` for other methods."""
    return "not_sent" if request.method == "GET" else otherwise


def _dispatch_in(value: object) -> Dispatch | None:
    """Return the accepted dispatch in the value of a call; `None` without one."""
    parts = cast("tuple[object, ...]", value) if isinstance(value, tuple) else (value,)
    return next((part for part in parts if isinstance(part, Dispatch)), None)


def _linked(links: Sequence[Callable[..., Any]], innermost: Callable[..., Any]) -> Callable[..., Any]:
    for link in reversed(links):
        innermost = partial(link, proceed=innermost)
    return innermost
