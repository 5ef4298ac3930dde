"""A call: attempts and pauses, until there is a value or an error.

`decision` decides what follows a failed attempt, and `sansio` what a response means.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from nexmo_dispatch_async.exceptions import (
    APIError,
    AuthenticationError,
    ClientClosedError,
    DispatchError,
    OutcomeUnknownError,
    TokenUnavailableError,
)
from nexmo_dispatch_async.interruption import interrupt, tell
from nexmo_dispatch_async.middleware import Attempt, around_attempt, around_call
from nexmo_dispatch_async.models.several import in_order
from nexmo_dispatch_async.retry import RetryPolicy, Timeout
from nexmo_dispatch_async.sansio import Request, Response, decipher_response
from nexmo_dispatch_async.transport.attempt import Attempts
from nexmo_dispatch_async.transport.connections import Connections
from nexmo_dispatch_async.transport.deadlines import Deadline
from nexmo_dispatch_async.transport.decision import GiveUp, RenewToken, decide, purpose_of
from nexmo_dispatch_async.transport.proxies import proxies_of
from nexmo_dispatch_async.transport.settings import TransportSettings
from nexmo_dispatch_async.transport.statistics import ClientStatistics, Counters
from nexmo_dispatch_async.transport.tokens import TokenKeeper
from nexmo_dispatch_async.workflow import Workflow

__all__ = ["Calls"]

T = TypeVar("T")

logger: logging.Logger = logging.getLogger("nexmo_dispatch_async")


class _Call(Generic[T]):
    """One call in progress.

    Args:
        request: The request, without authorization.
        decode: Reads a successful response.
        policy: The retry policy.
        limits: The timeouts of an attempt.
        before_write: Called just before the request is written.
    """

    # Class attributes are the initial values: most calls change three of them.
    #: The number of the attempt, and how many attempts only led to a new token.
    attempt: int = 0
    renewals: int = 0
    #: The value of the `Authorization` header of the attempt.
    authorization: str | None = None
    #: When the first attempt began, plus the time spent waiting for a slot.
    started: float | None = None
    #: The error of a request that may have been accepted and was repeated, as the policy allows.
    doubt: OutcomeUnknownError | None = None

    def __init__(
        self,
        request: Request,
        decode: Callable[[Response], T],
        policy: RetryPolicy,
        limits: Timeout,
        before_write: Callable[[], object] | None,
    ) -> None:
        self.request = request
        self.decode = decode
        self.policy = policy
        self.limits = limits
        self.before_write = before_write


class Calls:
    """Makes the calls of a client.

    Args:
        settings: The settings of the transport.
    """

    __slots__ = (
        "_around_attempt",
        "_around_call",
        "_attempts",
        "_connections",
        "_counters",
        "_limit",
        "_pauses",
        "_slots",
        "_tokens",
        "settings",
    )

    def __init__(self, settings: TransportSettings) -> None:
        self.settings: TransportSettings = settings
        # parts: slots, connections, tokens, middleware
        self._limit = settings.concurrent_requests
        self._slots = asyncio.Semaphore(self._limit)
        proxies = proxies_of(settings.proxy, trust_env=settings.trust_env)
        self._connections = Connections(settings, proxies)
        self._attempts = Attempts(settings, self._connections, proxies)
        self._counters = Counters()
        self._tokens = TokenKeeper(
            settings, self._ask_for_token, sleep=self._pause_for_token, counters=self._counters
        )
        # the pauses between two attempts, which end when the client is closed
        self._pauses: set[Deadline] = set()
        layers = in_order("middleware", settings.middleware)
        self._around_call = around_call(layers)
        self._around_attempt = around_attempt(layers)

    @property
    def state(self) -> str:
        """The state of the connections: `closed`, `not open yet` or `open`."""
        return self._connections.state

    def open(self) -> None:
        """Open the connection pool, unless it is open.

        Raises:
            ClientClosedError: It is closed, or belongs to another event loop.
        """
        self._connections.open()

    async def aclose(self) -> None:
        """Close the connections, unless the session is the caller's, and end the pauses between attempts."""
        self._connections.closed = True
        for pause in self._pauses:
            if pause.task is not asyncio.current_task():
                pause.end()
        try:
            # Before the session: once its connector is closed, aiohttp loses track of an unfinished tunnel.
            await self._attempts.aclose()
        finally:
            await self._connections.aclose()

    def statistics(self) -> ClientStatistics:
        """Return the numbers of calls, requests and tokens."""
        return self._counters.snapshot()

    def call(
        self,
        request: Request,
        decode: Callable[[Response], T],
        retry: RetryPolicy | None = None,
        timeout: Timeout | None = None,
        workflow: Workflow | None = None,
        before_write: Callable[[], object] | None = None,
    ) -> Awaitable[T]:
        """Return the awaitable call, wrapped in the middleware if there is any.

        Args:
            request: The request, without authorization.
            decode: Reads a successful response.
            retry: Retry policy, instead of that of the settings.
            timeout: Timeouts, instead of those of the settings.
            workflow: The workflow in the request, for errors and interruptions.
            before_write: Called just before the request is written; its exception ends the call unsent.

        Raises:
            APIError: One of its subclasses.
            ClientClosedError: The client is closed or belongs to another event loop.
        """
        policy = self.settings.retry if retry is None else retry
        limits = self.settings.timeout if timeout is None else timeout
        if self._around_call is None:
            return self._made(_Call(request, decode, policy, limits, before_write), workflow)
        made = self._around_call(
            request,
            lambda request: self._made(_Call(request, decode, policy, limits, before_write), workflow),
        )
        return made if workflow is None else _telling(made, workflow)

    async def _made(self, call: _Call[T], workflow: Workflow | None) -> T:
        """Make attempts, with pauses between them, until one succeeds or no further attempt is allowed."""
        self._counters.calls += 1
        try:
            while True:
                call.attempt += 1
                try:
                    return await self._attempted(call)
                except APIError as error:
                    seconds = self._seconds_to_next(call, error)
                    failure = error
                # Outside of the slot, so that other calls may use it meanwhile.
                if seconds is not None:
                    await self._paused(seconds, failure)
                del failure
        except BaseException as error:
            doubt = self._ended(call, error, workflow)
            if doubt is not None:
                raise doubt from error
            raise

    async def _attempted(self, call: _Call[T]) -> T:
        """Wait for a slot and a token, make one attempt, and read the response."""
        counters, request, settings = self._counters, call.request, self.settings
        clock = settings.clock
        call.authorization = None
        queued_at = 0.0 if call.started is None else clock()
        if counters.in_flight >= self._limit:
            self._connections.open()  # an error of a closed client must not wait for a slot
        await self._slots.acquire()
        counters.in_flight += 1
        try:
            now = clock()
            # Queueing for a slot of our own does not count as time of the call.
            call.started = now if call.started is None else call.started + now - queued_at
            authorization = settings.auth.authorization(now)
            if authorization is None:
                authorization = await self._renewed(call, call.started)
            call.authorization = authorization
            try:
                response = await self._exchanged(call, authorization)
                value = decipher_response(
                    response,
                    call.decode,
                    request=request,
                    now=settings.wall_clock(),
                    secret=authorization,
                )
            except DispatchError:
                raise
            except BaseException as error:
                # `decode` itself failed: a response arrived but was not understood.
                interrupt(error, "unknown", request.summary)
                raise
            counters.succeeded += 1
            return value
        finally:
            counters.in_flight -= 1
            self._slots.release()

    def _seconds_to_next(self, call: _Call[T], error: APIError) -> float | None:
        """Return the pause before the next attempt, in seconds; `None` to make it at once.

        Raises:
            APIError: `error`, because no further attempt is allowed.
        """
        authorization, started = call.authorization, call.started
        if authorization is None or started is None:
            # There is no token after all attempts to get one.
            raise error
        settings, request = self.settings, call.request
        error.attempts = call.attempt
        # The gateway refused the request before the service saw it: a repetition is safe (contract 2.3).
        rejected = isinstance(error, AuthenticationError) and not call.renewals
        if isinstance(error, AuthenticationError):
            error.credentials = type(settings.auth).__name__
        decision = decide(
            error,
            purpose_of(request.method),
            call.policy,
            attempt=call.attempt - call.renewals,
            elapsed=settings.clock() - started,
            random=settings.random(),
            renewable=rejected and settings.auth.reject(authorization),
        )
        if isinstance(decision, GiveUp):
            raise error
        if isinstance(decision, RenewToken):
            call.renewals = 1
            logger.info("%s, trying once more with a new token", error.message)
            return None
        if isinstance(error, OutcomeUnknownError) and request.method != "GET":
            call.doubt = error
        logger.info(
            "attempt %d failed, the next in %.2f s: %s", call.attempt, decision.seconds, error.message
        )
        return decision.seconds

    def _ended(
        self, call: _Call[T], error: BaseException, workflow: Workflow | None
    ) -> OutcomeUnknownError | None:
        """Count and log the end of a call without a value; return the error to raise instead, if any.

        After a request that may have been accepted, a later failure does not show whether it was.
        """
        doubt = call.doubt
        if doubt is None or isinstance(error, OutcomeUnknownError):
            doubt = None
        elif isinstance(error, DispatchError):
            doubt.attempts = call.attempt
            error = doubt
        else:
            interrupt(error, "unknown", call.request.summary, anyway=True)
            doubt = None
        self._count_end(error, call.request, workflow)
        return doubt

    def _count_end(self, error: BaseException, request: Request, workflow: Workflow | None) -> None:
        if workflow is not None:
            tell(error, workflow)
        if isinstance(error, APIError):
            self._counters.failed(error.outcome)
            if error.outcome == "unknown" and request.method != "GET":
                refs = {"client_refs": error.client_refs}
                logger.warning(
                    "outcome unknown after attempt %d: %s", error.attempts, error.message, extra=refs
                )
            return
        self._counters.interrupted += 1
        known = interrupt(error, "not_sent", request.summary)
        if known.outcome == "unknown" and request.method == "GET":
            known.outcome = "not_sent"
        if known.outcome == "unknown":
            self._counters.interrupted_unknown += 1
            logger.warning("%s", known, extra={"client_refs": known.client_refs})

    async def _renewed(self, call: _Call[T], started: float) -> str:
        """Return an authorization with a new token; if there is none, the request was not sent."""
        policy, request = call.policy, call.request
        self._connections.open()
        until = None if policy.timeout is None else started + policy.timeout
        try:
            authorization = await self._tokens.renew(until)
        except DispatchError:
            raise
        except BaseException as error:
            interrupt(error, "not_sent", request.summary, anyway=True)
            raise
        if policy.is_over(self.settings.clock() - started):
            message = (
                f"{request.summary}: not begun, the token came after the {policy.timeout:g} s of the policy"
            )
            raise TokenUnavailableError(message, request=request.summary, phase="token")
        return authorization

    async def _paused(self, seconds: float, failure: APIError) -> None:
        """Wait for the next attempt.

        Raises:
            APIError: `failure`, because the client was closed and there is no next attempt.
        """
        self._counters.pausing += 1
        try:
            if not await self.pause(seconds):
                raise failure
        finally:
            self._counters.pausing -= 1
            # The traceback of the error refers to this frame: a reference cycle.
            del failure

    async def pause(self, seconds: float) -> bool:
        """Wait; return whether another attempt is allowed, which it is not once the client is closed."""
        if self._connections.closed:
            return False
        pause = Deadline(asyncio.current_task(), math.inf)
        self._pauses.add(pause)
        try:
            await self.settings.sleep(seconds)
        except asyncio.CancelledError:
            if not pause.take_back():
                raise
        finally:
            self._pauses.discard(pause)
            if pause.is_over:
                pause.take_back()
        return not self._connections.closed

    async def _pause_for_token(self, seconds: float) -> None:
        if not await self.pause(seconds):
            raise ClientClosedError("the client is closed")

    def _exchanged(self, call: _Call[T], authorization: str) -> Awaitable[Response]:
        """Return one attempt to await."""
        self._counters.attempts += 1
        if logger.isEnabledFor(logging.DEBUG):
            return self._logged(call, authorization)
        if self._around_attempt is None:
            return self._attempts.send(call.request, authorization, call.limits, call.before_write)
        attempt = Attempt(call.request, call.attempt, "call")
        return self._surrounded(attempt, authorization, call.limits, call.before_write)

    async def _logged(self, call: _Call[T], authorization: str) -> Response:
        clock, began, attempt = self.settings.clock, self.settings.clock(), call.attempt
        try:
            response = await self._surrounded(
                Attempt(call.request, attempt, "call"), authorization, call.limits, call.before_write
            )
        except APIError as error:
            logger.debug("attempt %d, %.3f s: %s", attempt, clock() - began, error.message)
            raise
        summary = call.request.summary
        logger.debug("attempt %d, %.3f s: %s: %d", attempt, clock() - began, summary, response.status)
        return response

    def _ask_for_token(self, request: Request, number: int) -> Awaitable[Response]:
        return self._surrounded(Attempt(request, number, "token"), None, self.settings.timeout)

    def _surrounded(
        self,
        attempt: Attempt,
        authorization: str | None,
        limits: Timeout,
        before_write: Callable[[], object] | None = None,
    ) -> Awaitable[Response]:
        """Return an awaitable attempt, wrapped in the middleware if there is any."""
        if self._around_attempt is None:
            return self._attempts.send(attempt.request, authorization, limits, before_write)
        return self._around_attempt(
            attempt, lambda attempt: self._attempts.send(attempt.request, authorization, limits, before_write)
        )


async def _telling(made: Awaitable[T], workflow: Workflow) -> T:
    """Add the workflow to the errors that the middleware raises."""
    try:
        return await made
    except BaseException as error:
        tell(error, workflow)
        raise
