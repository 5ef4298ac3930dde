"""Keeps an authorization ready: fetches a token when one is due, once for all calls that need it.

`auth` defines the credentials and the token request.
"""

from __future__ import annotations

import asyncio
import copy
import logging
from collections.abc import Awaitable, Callable

from nexmo_dispatch_async.auth import RenewsEarly
from nexmo_dispatch_async.exceptions import (
    APIError,
    AuthenticationError,
    OutcomeUnknownError,
    TokenUnavailableError,
)
from nexmo_dispatch_async.interruption import interrupt
from nexmo_dispatch_async.sansio import Request, Response
from nexmo_dispatch_async.transport.decision import Pause, decide
from nexmo_dispatch_async.transport.failures import without_token
from nexmo_dispatch_async.transport.settings import TransportSettings
from nexmo_dispatch_async.transport.statistics import Counters

__all__ = ["TokenKeeper"]

logger: logging.Logger = logging.getLogger("nexmo_dispatch_async")


class TokenKeeper:
    """Fetches tokens, one request at a time.

    Args:
        settings: The settings of the transport.
        send: Sends a token request; the number is that of the attempt.
        sleep: Waits between attempts.
        counters: The counts of the client.
    """

    __slots__ = ("_auth", "_counters", "_failure", "_fetches", "_lock", "_send", "_settings", "_sleep")

    def __init__(
        self,
        settings: TransportSettings,
        send: Callable[[Request, int], Awaitable[Response]],
        *,
        sleep: Callable[[float], Awaitable[object]],
        counters: Counters,
    ) -> None:
        # settings and parts
        self._auth = settings.auth
        self._settings = settings
        self._send, self._sleep = send, sleep
        self._counters = counters
        # one fetch at a time: the number of ended fetches, and the error of the last one
        self._lock = asyncio.Lock()
        self._fetches = 0
        self._failure: APIError | None = None

    @property
    def busy(self) -> bool:
        """Whether a fetch is in progress."""
        return self._lock.locked()

    async def renew(self, until: float | None = None) -> str:
        """Return an authorization; fetch a token unless another call just did.

        During a fetch the other calls use a token that is due but still valid, and so does this call if there
        is no new token; then only invalid credentials fail a call.

        A lock replaces a shared task: the call that holds the lock fetches, and if it is cancelled the next
        call does. When a fetch fails, the calls that waited for it fail with it, without a fetch of their
        own. A fetch that ended because the time of its call was over does not count as a failure.

        Args:
            until: The time by the clock after which the call has no use for a token: no wait ends later and
                no repetition begins later. A request in progress is not interrupted.

        Raises:
            NotSentError: There is no token; the error contains the reason.
        """
        seen = self._fetches
        await self._acquire(until)
        try:
            authorization = self._auth.authorization(self._settings.clock())
            if authorization is not None:
                return authorization
            if self._failure is not None and self._fetches != seen:
                # A copy, because a traceback belongs to one task.
                raise copy.copy(self._failure)
            self._failure = None
            early = self._postponed() is not None
            try:
                given_up = await self._fetch(once=early, until=until)
            except APIError as error:
                good = None if isinstance(error, AuthenticationError) else self._postponed()
                if early and good is not None:
                    logger.info("the old token is used, since there is no new one: %s", error.message)
                    return good
                self._failure = copy.copy(error)
                raise
            finally:
                self._fetches += 1
            if given_up is not None:
                raise given_up
        finally:
            self._lock.release()
        authorization = self._auth.authorization(self._settings.clock())
        if authorization is None:
            raise TokenUnavailableError("the token was over before it could be used", phase="token")
        return authorization

    async def _acquire(self, until: float | None) -> None:
        """Wait for the end of the current fetch, if there is one."""
        if until is None or not self._lock.locked():
            await self._lock.acquire()
            return
        try:
            async with asyncio.timeout(max(0.0, until - self._settings.clock())):
                await self._lock.acquire()
        except TimeoutError:
            message = "no access token within the time of the policy: another call still waits for one"
            raise TokenUnavailableError(message, phase="token") from None

    def _postponed(self) -> str | None:
        """Return the token that is due but still valid, which every call may use during the fetch."""
        return self._auth.postpone(self._settings.clock()) if isinstance(self._auth, RenewsEarly) else None

    async def _fetch(self, *, once: bool, until: float | None) -> APIError | None:
        """Fetch a token; return the error if there was no time for another attempt."""
        request = self._auth.token_request()
        started = self._settings.clock()
        attempt = 0
        while True:
            attempt += 1
            self._counters.token_requests += 1
            try:
                response = await self._send(request, attempt)
                self._auth.receive_token(response, self._settings.clock(), epoch=self._settings.wall_clock())
            except asyncio.CancelledError as error:
                # Whatever the outcome of the token request, the call that needs the token was not sent.
                interrupt(error, "not_sent", request.summary, anyway=True)
                raise
            except APIError as error:
                failure = without_token(error) if isinstance(error, OutcomeUnknownError) else error
            else:
                self._counters.tokens += 1
                logger.debug("%s: a new token after %d attempts", request.summary, attempt)
                return None
            failure.attempts = attempt
            failure.phase = "token"
            decision = decide(
                failure,
                "token",
                self._settings.retry,
                attempt=attempt,
                elapsed=self._settings.clock() - started,
                random=self._settings.random(),
            )
            if once or not isinstance(decision, Pause):
                raise failure
            if until is not None and self._settings.clock() + decision.seconds > until:
                return failure
            logger.info(
                "attempt %d failed, the next in %.2f s: %s", attempt, decision.seconds, failure.message
            )
            await self._sleep(decision.seconds)
