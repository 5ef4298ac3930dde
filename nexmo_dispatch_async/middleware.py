"""Code of yours around each call and around each attempt: measure, trace, count, change.

A client without middleware does not pass through here.
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
    """Return the chain of those that stand around attempts, or `None` if none does."""
    links = [each.attempt for each in middleware if type(each).attempt is not Middleware.attempt]
    if not links:
        return None

    async def run(attempt: Attempt, proceed: Callable[[Attempt], Awaitable[Response]]) -> Response:
        known = Interruption("not_sent", attempt.request.summary)

        async def innermost(attempt: Attempt) -> Response:
            nonlocal known
            # Until the failure; after a response that was not read any more, its content is lost.
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
    """Record on the propagating exception whether the request was sent; an `APIError` has it already."""
    if not isinstance(error, APIError):
        note(error, known)


def _reading(request: Request, otherwise: Outcome) -> Outcome:
    """Return `otherwise`, unless it does no harm to make the request again."""
    return "not_sent" if request.method == "GET" else otherwise


def _dispatch_in(value: object) -> Dispatch | None:
    """Return what the service accepted, out of the value of a call."""
    parts = cast("tuple[object, ...]", value) if isinstance(value, tuple) else (value,)
    return next((part for part in parts if isinstance(part, Dispatch)), None)


def _linked(links: Sequence[Callable[..., Any]], innermost: Callable[..., Any]) -> Callable[..., Any]:
    for link in reversed(links):
        innermost = partial(link, proceed=innermost)
    return innermost
