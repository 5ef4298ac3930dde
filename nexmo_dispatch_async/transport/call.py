"""Carries calls: a slot, an authorization, attempts and pauses, until there is a value or an error.

Whether a repetition is safe is for `phase` to say, how long to wait is for `retry`, and what an answer means
is for `sansio`.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

import aiohttp

from nexmo_dispatch_async.auth import Auth
from nexmo_dispatch_async.exceptions import (
    APIError,
    AuthenticationError,
    ClientClosedError,
    ConfigurationError,
    DispatchError,
    OutcomeUnknownError,
    TokenUnavailableError,
)
from nexmo_dispatch_async.interruption import interrupt, tell
from nexmo_dispatch_async.middleware import Attempt, Middleware, around_attempt, around_call
from nexmo_dispatch_async.models.several import in_order
from nexmo_dispatch_async.retry import RetryPolicy, Timeout
from nexmo_dispatch_async.sansio import Request, Response, decipher_response
from nexmo_dispatch_async.transport.attempt import Exchange, TlsSetting, connections_of
from nexmo_dispatch_async.transport.body import may_repeat
from nexmo_dispatch_async.transport.deadlines import Deadline
from nexmo_dispatch_async.transport.proxies import Proxies
from nexmo_dispatch_async.transport.slots import Slots
from nexmo_dispatch_async.transport.statistics import ClientStatistics, Counters
from nexmo_dispatch_async.transport.tokens import TokenKeeper

if TYPE_CHECKING:
    from nexmo_dispatch_async.workflow import Workflow

__all__ = ["Carrier"]

T = TypeVar("T")

logger: logging.Logger = logging.getLogger("nexmo_dispatch_async")


class Carrier:
    """What a client is made of below its methods. The arguments are those of `DispatchClient`.

    Raises:
        ConfigurationError: A setting is wrong.
    """

    __slots__ = (
        "_around_attempt",
        "_around_call",
        "_auth",
        "_clock",
        "_counters",
        "_exchange",
        "_pauses",
        "_random",
        "_retry",
        "_sleep",
        "_slots",
        "_timeout",
        "_tokens",
        "_wall_clock",
    )

    def __init__(
        self,
        auth: Auth,
        *,
        headers: Mapping[str, str],
        session: aiohttp.ClientSession | None,
        ssl: TlsSetting,
        proxies: Proxies,
        keepalive_timeout: float,
        limit: int,
        max_response: int,
        retry: RetryPolicy,
        timeout: Timeout,
        middleware: Sequence[Middleware],
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[object]],
        random: Callable[[], float],
    ) -> None:
        if limit < 1:
            raise ConfigurationError(f"limit must be at least 1, not {limit!r}")
        # How
        self._auth = auth
        self._retry = retry
        self._timeout = timeout
        self._clock, self._wall_clock = clock, wall_clock
        self._sleep, self._random = sleep, random
        # With what: slots, connections, tokens, and what stands around
        limit = connections_of(session, limit)
        self._slots = Slots(limit)
        self._exchange = Exchange(
            session=session,
            limit=limit,
            ssl=ssl,
            proxies=proxies,
            keepalive_timeout=keepalive_timeout,
            headers=headers,
            max_response=max_response,
            clock=clock,
        )
        self._counters = Counters()
        self._tokens = TokenKeeper(
            auth,
            self._ask_for_token,
            retry=retry,
            clock=clock,
            wall_clock=wall_clock,
            sleep=self._pause_for_token,
            random=random,
            counters=self._counters,
        )
        # Who waits between two attempts, to be woken when it is closed
        self._pauses: set[Deadline] = set()
        layers = in_order("middleware", middleware)
        self._around_call = around_call(layers)
        self._around_attempt = around_attempt(layers)

    @property
    def state(self) -> str:
        """Where its connections stand, in words."""
        return self._exchange.state

    @property
    def retry(self) -> RetryPolicy:
        """The usual policy."""
        return self._retry

    def open(self) -> None:
        """Open the connection pool, unless it is open.

        Raises:
            ClientClosedError: It is closed, or belongs to another event loop.
        """
        self._exchange.open()

    async def aclose(self) -> None:
        """Close the connections, unless the session is the caller's, and end the pauses between attempts."""
        for pause in self._pauses:
            if pause.task is not asyncio.current_task():
                pause.end()
        await self._exchange.aclose()

    def statistics(self) -> ClientStatistics:
        """Return what was and is being done, in numbers."""
        return self._counters.snapshot()

    def call(
        self,
        request: Request,
        decode: Callable[[Response], T],
        retry: RetryPolicy | None = None,
        timeout: Timeout | None = None,
        workflow: Workflow | None = None,
    ) -> Awaitable[T]:
        """Return the call to await, inside of the middleware if there is any.

        Args:
            request: Without authorization.
            decode: Reads a successful answer.
            retry: Instead of the usual policy.
            timeout: Instead of the usual one.
            workflow: What is sent by it: an error or an interruption tells of it.

        Raises:
            APIError: One of its subclasses.
            ClientClosedError: It is closed or belongs to another event loop.
        """
        policy = self._retry if retry is None else retry
        limits = self._timeout if timeout is None else timeout
        if self._around_call is None:
            return self._carry(request, decode, policy, limits, workflow)
        carrying = self._around_call(
            request, lambda request: self._carry(request, decode, policy, limits, workflow)
        )
        return carrying if workflow is None else _telling(carrying, workflow)

    async def _carry(  # noqa: PLR0912, PLR0915 - one loop, with all that can end or repeat it in one view
        self,
        request: Request,
        decode: Callable[[Response], T],
        policy: RetryPolicy,
        limits: Timeout,
        workflow: Workflow | None,
    ) -> T:
        counters = self._counters
        counters.calls += 1
        started: float | None = None
        doubt: OutcomeUnknownError | None = None
        renewed = 0
        attempt = 0
        try:
            while True:
                attempt += 1
                asked = 0.0 if started is None else self._clock()
                if not self._slots.take():
                    self._exchange.open()  # rather before the wait than after
                    await self._slots.acquire()
                counters.in_flight += 1
                try:
                    now = self._clock()
                    # Waiting for a slot of our own is nobody's fault: it does not count.
                    started = now if started is None else started + now - asked
                    authorization = self._auth.authorization(now)
                    if authorization is None:
                        self._exchange.open()
                        authorization = await self._renewed(request, policy, started)
                    try:
                        response = await self._exchanged(request, authorization, limits, attempt)
                        value = decipher_response(
                            response, decode, request=request, now=self._wall_clock(), secret=authorization
                        )
                        counters.succeeded += 1
                        return value  # noqa: TRY300 - an else would run after the finally of the slot
                    except AuthenticationError as error:
                        error.attempts = attempt
                        # The gateway refused before the service saw it: once more is safe (contract 2.3).
                        if renewed or not self._auth.reject(authorization):
                            raise
                        if policy.is_over(self._clock() - started):
                            raise
                        renewed = 1
                        logger.info("%s, trying once more with a new token", error)
                        continue
                    except APIError as error:
                        error.attempts = attempt
                        if not may_repeat(error, request, policy):
                            raise
                        delay = policy.wait(
                            attempt - renewed,
                            elapsed=self._clock() - started,
                            random=self._random(),
                            retry_after=error.retry_after,
                        )
                        if delay is None:
                            raise
                        if isinstance(error, OutcomeUnknownError) and request.method != "GET":
                            doubt = error
                        failure = error
                        logger.info("attempt %d failed, the next in %.2f s: %s", attempt, delay, error)
                    except DispatchError:
                        raise
                    except BaseException as error:
                        # Of `decode`: an answer came, and what it said is lost.
                        interrupt(error, "unknown", request.summary)
                        raise
                finally:
                    counters.in_flight -= 1
                    self._slots.release()
                # Outside of the slot: others may go on meanwhile.
                counters.pausing += 1
                try:
                    if not await self.pause(delay):
                        raise failure
                finally:
                    counters.pausing -= 1
                    del failure
        except BaseException as error:
            if doubt is not None and not isinstance(error, OutcomeUnknownError):
                # Repeated because the policy said so: what came later does not tell what became of the first.
                if isinstance(error, DispatchError):
                    doubt.attempts = attempt
                    self._ended(doubt, request, workflow)
                    raise doubt from error
                interrupt(error, "unknown", request.summary, anyway=True)
            self._ended(error, request, workflow)
            raise

    def _ended(self, error: BaseException, request: Request, workflow: Workflow | None) -> None:
        """Count and log the end of a call that failed, was cancelled, or met with code that raised."""
        if workflow is not None:
            tell(error, workflow)
        if isinstance(error, APIError):
            self._counters.failed(error.outcome)
            if error.outcome == "unknown" and request.method != "GET":
                refs = {"client_refs": error.client_refs}
                logger.warning("outcome unknown after attempt %d: %s", error.attempts, error, extra=refs)
            return
        self._counters.interrupted += 1
        known = interrupt(error, "not_sent", request.summary)
        if known.outcome == "unknown" and request.method == "GET":
            known.outcome = "not_sent"
        if known.outcome == "unknown":
            self._counters.interrupted_unknown += 1
            logger.warning("%s", known, extra={"client_refs": known.client_refs})

    async def _renewed(self, request: Request, policy: RetryPolicy, started: float) -> str:
        """Return an authorization with a new token; whatever ends that, `request` was not sent."""
        until = None if policy.timeout is None else started + policy.timeout
        try:
            authorization = await self._tokens.renew(until)
        except DispatchError:
            raise
        except BaseException as error:
            interrupt(error, "not_sent", request.summary, anyway=True)
            raise
        if policy.is_over(self._clock() - started):
            message = (
                f"{request.summary}: not begun, the token came after the {policy.timeout:g} s of the policy"
            )
            raise TokenUnavailableError(message, request=request.summary, phase="token")
        return authorization

    async def pause(self, seconds: float) -> bool:
        """Wait; return whether there is to be another attempt, which there is not once it is closed."""
        if self._exchange.closed:
            return False
        pause = Deadline(asyncio.current_task(), math.inf)
        self._pauses.add(pause)
        try:
            await self._sleep(seconds)
        except asyncio.CancelledError:
            if not pause.take_back():
                raise
        finally:
            self._pauses.discard(pause)
            if pause.is_over:
                pause.take_back()
        return not self._exchange.closed

    async def _pause_for_token(self, seconds: float) -> None:
        if not await self.pause(seconds):
            raise ClientClosedError("the client is closed")

    def _exchanged(
        self, request: Request, authorization: str, limits: Timeout, number: int
    ) -> Awaitable[Response]:
        """Return one attempt to await."""
        self._counters.attempts += 1
        if logger.isEnabledFor(logging.DEBUG):
            return self._logged(request, authorization, limits, number)
        if self._around_attempt is None:
            return self._exchange.send(request, authorization, limits)
        return self._attempt(request, authorization, limits, number)

    async def _logged(self, request: Request, authorization: str, limits: Timeout, number: int) -> Response:
        began = self._clock()
        try:
            response = await self._attempt(request, authorization, limits, number)
        except APIError as error:
            logger.debug("attempt %d, %.3f s: %s", number, self._clock() - began, error)
            raise
        logger.debug(
            "attempt %d, %.3f s: %s: %d", number, self._clock() - began, request.summary, response.status
        )
        return response

    def _attempt(
        self, request: Request, authorization: str, limits: Timeout, number: int
    ) -> Awaitable[Response]:
        if self._around_attempt is None:
            return self._exchange.send(request, authorization, limits)
        return self._around_attempt(
            Attempt(request, number, "call"),
            lambda attempt: self._exchange.send(attempt.request, authorization, limits),
        )

    def _ask_for_token(self, request: Request, number: int) -> Awaitable[Response]:
        if self._around_attempt is None:
            return self._exchange.send(request, None, self._timeout)
        return self._around_attempt(
            Attempt(request, number, "token"),
            lambda attempt: self._exchange.send(attempt.request, None, self._timeout),
        )


async def _telling(carrying: Awaitable[T], workflow: Workflow) -> T:
    """Let what the middleware raises tell of the workflow, too."""
    try:
        return await carrying
    except BaseException as error:
        tell(error, workflow)
        raise
