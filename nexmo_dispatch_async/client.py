"""`DispatchClient`: the only module of the SDK that awaits the network.

What a request says and what an answer means is for `sansio`, `auth` and `retry` to decide, without a socket.
"""

from __future__ import annotations

import asyncio
import copy
import os
import random
import time
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from nexmo_dispatch_async._version import __version__
from nexmo_dispatch_async.applications import Applications
from nexmo_dispatch_async.auth import KPN_TOKEN_URL, Auth, KpnOAuth, check_url, header_text
from nexmo_dispatch_async.exceptions import (
    APIError,
    AuthenticationError,
    ClientClosedError,
    ConfigurationError,
    OutcomeUnknownError,
    TokenUnavailableError,
)
from nexmo_dispatch_async.fan_out import FanOut, SendOutcome, outcome_of
from nexmo_dispatch_async.models.responses import Dispatch
from nexmo_dispatch_async.phase import (
    FOREIGN,
    Body,
    Phase,
    failure_of,
    may_repeat,
    presentable,
    without_token,
)
from nexmo_dispatch_async.retry import RetryPolicy, Timeout
from nexmo_dispatch_async.sansio import (
    Request,
    Response,
    decipher_dispatch,
    decipher_response,
    dispatch_request,
)

if TYPE_CHECKING:
    from nexmo_dispatch_async.tracking import Tracker
    from nexmo_dispatch_async.workflow import Workflow

__all__ = ["KPN_BASE_URL", "VONAGE_URL", "DispatchClient"]

T = TypeVar("T")

KPN_BASE_URL = "https://api-prd.kpn.com/communication/nexmo"
VONAGE_URL = "https://api.nexmo.com"

_USER_AGENT = f"nexmo-dispatch-async/{__version__}"


class DispatchClient:
    """A client of the Dispatch API. Use it with `async with`, or call `aclose()` when done.

    Args:
        auth: Who is calling: `KpnOAuth`, or anything that follows the `Auth` protocol.
        application_id: In whose name workflows are sent. May be left out as long as none is sent.
        base_url: Of the service.
        session: A session of your own; it is not closed here. Its connector limits the connections.
        tracker: Follows what is sent: then `dispatch.wait()` tells what became of it. It is not closed here.
        retry: How often to try again what provably did not happen.
        timeout: How long one attempt may take.
        limit: How many requests may be under way at once; the others wait, for which there is no time-out.
        applications_path: Below the base URL, see `Applications`.
        applications_url: The base URL of the application calls, if it is another one.
        application_header: Whether workflows carry the `ApplicationId` header. KPN requires it; Vonage itself
            knows the application from the token.
        api_version: The `api-version` header, if it has to be set (contract 1.2).
        max_response: Longest answer that is read, in bytes.
        clock: Seconds that only go forward.
        wall_clock: Epoch seconds, for services that name a date to come back at.
        sleep: How to wait between attempts.
        random: A number from [0, 1), for the jitter.

    Raises:
        ConfigurationError: A setting is missing or wrong.
    """

    def __init__(
        self,
        *,
        auth: Auth,
        application_id: str | None = None,
        base_url: str = KPN_BASE_URL,
        session: aiohttp.ClientSession | None = None,
        tracker: Tracker | None = None,
        retry: RetryPolicy = RetryPolicy(),  # noqa: B008 - frozen
        timeout: Timeout = Timeout(),  # noqa: B008 - frozen
        limit: int = 100,
        applications_path: str = "/applications",
        applications_url: str | None = None,
        application_header: bool = True,
        api_version: str | None = None,
        max_response: int = 1 << 20,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        random: Callable[[], float] = random.random,
    ) -> None:
        if limit < 1:
            raise ConfigurationError(f"limit must be at least 1, not {limit!r}")
        # Who and where
        self._auth = auth
        self._application_id = application_id and header_text("application_id", application_id)
        self._base_url = check_url("base_url", base_url)
        self._application_header = application_header
        self._applications = Applications(
            self, check_url("applications_url", applications_url or base_url), applications_path
        )
        # How
        self._retry = retry
        self._timeout = _client_timeout(timeout)
        self._limit = limit
        self._max_response = max_response
        self._tracker = tracker
        # Time and chance
        self._clock, self._wall_clock = clock, wall_clock
        self._sleep, self._random = sleep, random
        # The connection pool, and the loop it belongs to once it is open
        self._session, self._owns_session = session, session is None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self._slots = asyncio.Semaphore(limit)
        # One token request at a time
        self._token_lock = asyncio.Lock()
        self._token_fetches = 0
        self._token_failure: APIError | None = None
        # Headers: those of every call, those of a dispatch, and the latter merged with the last authorization
        self._common_headers = {"User-Agent": _USER_AGENT}
        if api_version is not None:
            self._common_headers["api-version"] = header_text("api_version", api_version)
        self._dispatch_headers: dict[str, str] = {
            "Content-Type": "application/json",
            "Accept": "application/json",
        }
        if self._application_id and application_header:
            self._dispatch_headers["ApplicationId"] = self._application_id
        self._merged: tuple[str, CIMultiDict[str]] = ("", CIMultiDict())

    @classmethod
    def kpn(
        cls, client_id: str, client_secret: str, application_id: str | None = None, **settings: Any
    ) -> Self:
        """Make a client of KPN's API (contract 1.1); `settings` are arguments of `DispatchClient`."""
        settings.setdefault("auth", KpnOAuth(client_id, client_secret))
        return cls(application_id=application_id, **settings)

    @classmethod
    def vonage(cls, auth: Auth, **settings: Any) -> Self:
        """Make a client of Vonage's own API (contract 1.1, 2.4); `auth`: `VonageJWT` or `BasicAuth`."""
        settings.setdefault("base_url", f"{VONAGE_URL}/v0.1")
        settings.setdefault("applications_url", VONAGE_URL)
        settings.setdefault("applications_path", "/v2/applications")
        settings.setdefault("application_header", False)
        return cls(auth=auth, **settings)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ, **settings: Any) -> Self:
        """Make a client from environment variables.

        `NEXMO_DISPATCH_CLIENT_ID` and `NEXMO_DISPATCH_CLIENT_SECRET` are required, and
        `NEXMO_DISPATCH_APPLICATION_ID`, `NEXMO_DISPATCH_BASE_URL`, `NEXMO_DISPATCH_TOKEN_URL` optional.

        Args:
            environ: Where to look.
            **settings: Arguments of `DispatchClient`; they win over the environment.

        Raises:
            ConfigurationError: A variable is missing or wrong; the message names it.
        """

        def variable(name: str, default: str = "") -> str:
            return environ.get(f"NEXMO_DISPATCH_{name}", "").strip() or default

        if "auth" not in settings:
            missing = [name for name in ("CLIENT_ID", "CLIENT_SECRET") if not variable(name)]
            if missing:
                names = " and ".join(f"NEXMO_DISPATCH_{name}" for name in missing)
                raise ConfigurationError(f"set {names} in the environment")
            settings["auth"] = KpnOAuth(
                variable("CLIENT_ID"), variable("CLIENT_SECRET"), variable("TOKEN_URL", KPN_TOKEN_URL)
            )
        settings.setdefault("application_id", variable("APPLICATION_ID") or None)
        settings.setdefault("base_url", variable("BASE_URL", KPN_BASE_URL))
        return cls(**settings)

    def __repr__(self) -> str:
        state = "closed" if self._closed else "open" if self._loop is not None else "not open yet"
        return f"DispatchClient({self._base_url!r}, {state})"

    async def __aenter__(self) -> Self:
        self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections, unless the session is yours.

        Calls under way fail with what is known of them.
        """
        self._closed = True
        if self._owns_session and self._session is not None:
            await self._session.close()

    @property
    def applications(self) -> Applications:
        """The application calls: `create`, `list`, `get`, `update`, `delete`, `iterate`."""
        return self._applications

    async def send(
        self,
        workflow: Workflow,
        *,
        retry: RetryPolicy | None = None,
        timeout: Timeout | None = None,  # noqa: ASYNC109 - per attempt and phase, which a scope cannot tell apart
    ) -> Dispatch:
        """Send a workflow, once.

        It is checked first. It is tried again only if it provably did not happen: no connection, a token that
        the gateway rejected (once, with a new one), a quota or rate limit.

        Args:
            workflow: What to send.
            retry: Instead of the client's own policy.
            timeout: Instead of the client's own.

        Raises:
            InvalidWorkflowError: It breaks a rule of the API; nothing was sent.
            NotSentError: Nothing was accepted; sending it again is safe.
            RefusedError: The service refused it.
            OutcomeUnknownError: Bytes left and no usable answer came; it may be under way.
            ConfigurationError: The client has no `application_id`.
            ClientClosedError: The client is closed or belongs to another event loop.
        """
        workflow.check()
        self._require_application()
        request = dispatch_request(self._base_url, self._dispatch_headers, workflow.to_json())
        dispatch = await self.call(request, decipher_dispatch, retry=retry, timeout=timeout)
        return dispatch if self._tracker is None else await self._tracker.sent(dispatch, workflow)

    def send_many(
        self, workflows: Iterable[Workflow] | AsyncIterable[Workflow], *, limit: int = 64
    ) -> FanOut[Workflow, SendOutcome]:
        """Send many workflows, at most `limit` at a time, and yield one outcome for each as it completes.

        See `FanOut` for what happens when the input raises or the consumer leaves early.

        Example:
            async with client.send_many(workflows) as outcomes:
                async for outcome in outcomes:
                    print(outcome.outcome)

        Args:
            workflows: Read no further ahead than `limit`.
            limit: In flight and not yet consumed, together. The client's own `limit` applies as well.

        Raises:
            ConfigurationError: `limit` is below 1, or the client has no `application_id`.
        """
        self._require_application()
        return FanOut(workflows, self._outcome, limit=limit)

    def _require_application(self) -> None:
        if self._application_header and not self._application_id:
            raise ConfigurationError("sending needs an application_id: DispatchClient(application_id=…)")

    async def _outcome(self, workflow: Workflow) -> SendOutcome:
        return await outcome_of(workflow, self.send)

    async def call(
        self,
        request: Request,
        decode: Callable[[Response], T],
        *,
        retry: RetryPolicy | None = None,
        timeout: Timeout | None = None,  # noqa: ASYNC109 - the same
    ) -> T:
        """Carry a request with authorization, retries and typed errors: what all other methods stand on.

        Args:
            request: Without authorization.
            decode: Reads a successful answer.
            retry: Instead of the client's own policy.
            timeout: Instead of the client's own.

        Raises:
            APIError: One of its subclasses.
            ClientClosedError: The client is closed or belongs to another event loop.
        """
        policy = self._retry if retry is None else retry
        limits = self._timeout if timeout is None else _client_timeout(timeout)
        started: float | None = None
        renewed = 0
        attempt = 0
        while True:
            attempt += 1
            session = self._open()
            async with self._slots:
                now = self._clock()
                if started is None:
                    started = now
                authorization = self._auth.authorization(now)
                if authorization is None:
                    authorization = await self._renew()
                try:
                    response = await self._exchange(session, request, authorization, limits)
                    return decipher_response(response, decode, request=request, now=self._wall_clock())
                except AuthenticationError as error:
                    error.attempts = attempt
                    # The gateway refused before the service saw anything: once more is safe (contract 2.3).
                    if renewed or not self._auth.reject(authorization):
                        raise
                    renewed = 1
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
            # Outside of the slot: others may go on meanwhile.
            await self._sleep(delay)

    def _open(self) -> aiohttp.ClientSession:
        """Return the session, opened at the first use."""
        loop = asyncio.get_running_loop()
        if self._closed:
            raise ClientClosedError("the client is closed")
        if self._loop is None:
            self._loop = loop
        elif self._loop is not loop:
            raise ClientClosedError("the client belongs to another event loop: make one client per loop")
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._limit),
                cookie_jar=aiohttp.DummyCookieJar(),
                # Answers are a few hundred bytes: compressing them would cost more than it saves.
                skip_auto_headers=("Accept-Encoding",),
                timeout=self._timeout,
            )
        elif self._session.closed:
            raise ClientClosedError("the session that the client was given is closed")
        return self._session

    async def _renew(self) -> str:
        """Return an authorization, fetching a token unless somebody else just did.

        A lock instead of a shared task: whoever holds it fetches, and if they are cancelled the next one
        does. When a fetch fails, those who waited for it fail with it, without a fetch of their own.
        """
        seen = self._token_fetches
        async with self._token_lock:
            authorization = self._auth.authorization(self._clock())
            if authorization is not None:
                return authorization
            if self._token_failure is not None and self._token_fetches != seen:
                # A copy: a traceback belongs to one task.
                raise copy.copy(self._token_failure)
            self._token_failure = None
            try:
                await self._fetch_token()
            except APIError as error:
                self._token_failure = copy.copy(error)
                raise
            finally:
                self._token_fetches += 1
        authorization = self._auth.authorization(self._clock())
        if authorization is None:
            raise TokenUnavailableError("the token was over before it could be used")
        return authorization

    async def _fetch_token(self) -> None:
        request = self._auth.token_request()
        started = self._clock()
        attempt = 0
        while True:
            attempt += 1
            try:
                response = await self._exchange(self._open(), request, None, self._timeout)
                self._auth.receive_token(response, self._clock(), epoch=self._wall_clock())
            except APIError as error:
                failure = error
            else:
                return
            if isinstance(failure, OutcomeUnknownError):
                failure = without_token(failure)
            failure.attempts = attempt
            delay = self._retry.wait(
                attempt,
                elapsed=self._clock() - started,
                random=self._random(),
                retry_after=failure.retry_after,
            )
            if delay is None or isinstance(failure, AuthenticationError):
                raise failure
            await self._sleep(delay)

    async def _exchange(
        self,
        session: aiohttp.ClientSession,
        request: Request,
        authorization: str | None,
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's own, per phase
    ) -> Response:
        """Send one request and read its answer.

        Raises:
            APIConnectionError: Nothing left.
            OutcomeUnknownError: Something may have left.
        """
        headers = self._headers(request, authorization)
        url = URL(request.url, encoded=True)
        stale = 0
        while True:
            # What changes something has a body even if it is empty, because only a body knows what left.
            body = None if request.method == "GET" else Body(request.body or b"")
            try:
                reply = await session.request(
                    request.method,
                    url,
                    data=body,
                    headers=headers,
                    skip_auto_headers=_NO_CONTENT_TYPE if request.body is None else None,
                    timeout=timeout,
                    # A POST must not be repeated elsewhere, and a status is not an exception here.
                    allow_redirects=False,
                    raise_for_status=False,
                )
                try:
                    data = await self._read(reply)
                except BaseException:
                    reply.close()
                    raise
                return Response(reply.status, reply.headers, data)
            except FOREIGN as error:
                foreign = error
            if body is not None and body.phase is Phase.STALE and stale < _STALE_RETRIES:
                # A kept connection that the service had closed: not a failure of the service, so no wait.
                stale += 1
                continue
            if session.closed and (body is None or body.phase < Phase.LEFT):
                raise ClientClosedError("the client was closed before the request was sent") from foreign
            raise failure_of(request, body, foreign) from presentable(foreign)

    async def _read(self, reply: aiohttp.ClientResponse) -> bytes:
        content = reply.content
        # Nearly always all of it is there at once.
        data = await content.readany()
        while len(data) <= self._max_response and not content.at_eof():
            data += await content.readany()
        if len(data) > self._max_response:
            raise aiohttp.ClientPayloadError(f"the answer is longer than {self._max_response} bytes")
        reply.release()
        return data

    def _headers(self, request: Request, authorization: str | None) -> CIMultiDict[str]:
        """Return the header fields; those of a dispatch are merged once per token."""
        dispatch = request.headers is self._dispatch_headers
        if dispatch and self._merged[0] == authorization:
            return self._merged[1]
        merged = CIMultiDict({**self._common_headers, **request.headers})
        if authorization is not None:
            merged["Authorization"] = authorization
            if dispatch:
                self._merged = authorization, merged
        return merged


_NO_CONTENT_TYPE = ("Content-Type",)

# How often a request moves on to another connection because a kept one turns out to be closed.
_STALE_RETRIES = 3


def _client_timeout(timeout: Timeout) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=timeout.total, connect=timeout.connect, sock_connect=timeout.connect)
