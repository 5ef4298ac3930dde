"""`setup`: mount a receiver on an aiohttp application.

Thin by intent: it reads the body under its limits and writes the answer; `receiver` does the rest.
"""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import anyio
from aiohttp import HttpVersion11, web
from aiohttp.http_exceptions import HttpProcessingError

from nexmo_dispatch_webhooks.aiohttp_answer_fast_path import accept, is_plain
from nexmo_dispatch_webhooks.checks import check_adapter, checks
from nexmo_dispatch_webhooks.exceptions import (
    BodyTooLargeError,
    ConfigurationError,
    InvalidBodyError,
    RequestRefusedError,
    RequestTimeoutError,
    UnsupportedMediaTypeError,
)
from nexmo_dispatch_webhooks.logs import logger
from nexmo_dispatch_webhooks.receiver import UNSET, Answer, InboxSource, Receiver, Unset
from nexmo_dispatch_webhooks.refusals import WrongSignature
from nexmo_dispatch_webhooks.routing import Router
from nexmo_dispatch_webhooks.sansio import RawRequest, Verification
from nexmo_dispatch_webhooks.signature import Secret

__all__ = ["MAX_BODY", "RECEIVERS", "setup"]

#: Contract 5.11 suggests 1 MiB; the limit holds after decompression, and without a Content-Length.
MAX_BODY = 1024 * 1024
#: The receivers of an application, by the path where they are mounted.
RECEIVERS = web.AppKey("nexmo_dispatch_receivers", dict[str, Receiver])

_DECODED = frozenset({"", "identity", "gzip", "deflate"})


def setup(
    app: web.Application,
    router: Router,
    path: str = "/webhooks",
    *,
    secrets: Mapping[str, Secret] | None = None,
    verification: Verification | Unset | None = UNSET,
    wrong_signature: WrongSignature = 401,
    inbox: InboxSource = None,
    max_body: int = MAX_BODY,
    body_timeout: float | None = 15.0,
    values: Mapping[str, Any] | None = None,
    health_path: str | None = None,
    clock: Callable[[], float] = time.time,
) -> Receiver:
    """Receive callbacks at `path` and at every path below it; any kind may come on any (contract 9.10).

    An inbox starts after all cleanup contexts of the application, including those that are added later, and
    is drained before they end, after the last answer: resources of handlers belong in cleanup contexts.

    The receiver answers with 200 (handled, also without a matching handler), 400 (no JSON object), 401 (not
    authentic), 403 (made by a web page, and not verified), 408 (the body arrived too slowly), 413 (too
    large), 415 (not gzip or deflate, or neither verified nor JSON), 500 (a handler failed) or 503 (not
    signed, or not stored; contract 5.10). With an inbox handlers run after the answer, so 500 does not occur.

    Args:
        app: The application, not started yet.
        router: The handlers; registration ends when the application starts.
        path: Path of the receiver.
        secrets: Signature secrets by `api_key`, several for a rotation: `{"key": ["new", "old"]}`.
        verification: Instead of *secrets*: another `Verification`, or None to accept any origin.
        wrong_signature: The answer to a token or signature that is there and wrong: 401, which the service
            takes as final, or 503, after which it repeats the callback for 24 hours.
        inbox: Where to store before answering: the path of an SQLite file, the URL of a Postgres
            database (`postgresql://…`) or of NATS (`nats://…`), or an inbox, which is started and
            drained with the application. None runs the handlers before the answer.
        max_body: Maximum size of a body in bytes, after decompression.
        body_timeout: Seconds until a body must have arrived; None for no limit.
        values: Values for parameters of handlers, by name.
        health_path: Path of the health probes: 200 with figures as long as the process lives;
            `<health_path>/ready` is 503 while no event can be stored. None for no such routes.
        clock: Returns epoch seconds.

    Returns:
        The receiver, also at `app[RECEIVERS][path]`, the path without a slash at its end.

    Raises:
        ConfigurationError: Neither *secrets* nor *verification* was given, *path* is taken, or a setting
            cannot work.
    """
    checks.instance("app", app, web.Application, advice="setup(app, router, …)")
    check_adapter(path, health_path, max_body, body_timeout)
    receiver = Receiver(
        router,
        secrets=secrets,
        verification=verification,
        wrong_signature=wrong_signature,
        inbox=inbox,
        values=values,
        clock=clock,
    )
    mount = path.rstrip("/")
    _note(app, receiver, mount or "/")
    bodies = _Bodies(max_body, body_timeout)
    _live_with(app, receiver)
    app.on_shutdown.append(bodies.stop)
    _add_callbacks(app, _Callbacks(receiver, bodies, max_body), mount)
    if health_path is not None:
        _add_health(app, receiver, health_path.rstrip("/"))
    return receiver


def _note(app: web.Application, receiver: Receiver, mount: str) -> None:
    """Note a receiver at its path, where none may be yet."""
    if RECEIVERS not in app:
        app[RECEIVERS] = {}
    if mount in app[RECEIVERS]:
        raise ConfigurationError(f"a receiver is mounted at {mount} already")
    app[RECEIVERS][mount] = receiver


class _Callbacks:
    """Answers the requests of one receiver.

    Args:
        receiver: What they are for.
        bodies: Reads bodies that do not come with their headers.
        max_body: The largest body in bytes.
    """

    def __init__(self, receiver: Receiver, bodies: _Bodies, max_body: int) -> None:
        self._receiver = receiver
        self._bodies = bodies
        self._max_body = max_body
        # Known with the first request: the application is complete then
        self._plain: bool | None = None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        if self._plain is None:
            self._plain = is_plain(request)
        content, headers = request.content, request.headers
        if not content.is_eof() or content.exception() is not None or "Content-Encoding" in headers:
            return await self._handle_later(request)
        body = content.read_nowait()  # the usual case: it came with the headers
        if len(body) > self._max_body:
            return _response(self._receiver.refuse(BodyTooLargeError.of(len(body), self._max_body)))
        # `headers` finds names in any case, so they are not copied
        raw = RawRequest(headers, body, request.match_info.get("tail", ""))
        answer = await self._receiver.handle(raw)
        if answer.status == 200 and not answer.text:
            return accept(request, plain=self._plain)
        return _response(answer)

    async def _handle_later(self, request: web.Request) -> web.StreamResponse:
        """Answer a request whose body is still to come, or compressed."""
        receiver = self._receiver
        try:
            body = await self._bodies.read(request)
        except _BrokenBodyError as broken:
            return await _hang_up(request, _response(receiver.refuse(broken.reason)))
        except RequestRefusedError as error:
            response = _response(receiver.refuse(error))
            response.force_close()  # a new connection is cheaper than the rest of the body
            return response
        except ConnectionError:
            # aiohttp would log a traceback and an address, which any client could trigger at will
            logger.debug("a client hung up before the end of its body")
            return web.Response(status=400)  # no client reads it
        raw = RawRequest(request.headers, body, request.match_info.get("tail", ""))
        return _response(await receiver.handle(raw))


def _add_callbacks(app: web.Application, callbacks: _Callbacks, mount: str) -> None:
    """Add the routes of a path and of all paths below it."""
    if "{" in mount:  # a pattern of the application's
        app.router.add_post(mount + "/{tail:.*}", callbacks.handle, expect_handler=_expect)
        app.router.add_post(mount, callbacks.handle, expect_handler=_expect)
    else:
        tree = _Tree(mount)
        tree.add_route("POST", callbacks.handle, expect_handler=_expect)
        app.router.register_resource(tree)


def _live_with(app: web.Application, receiver: Receiver) -> None:
    """Start after all cleanup contexts; end before them, when no more requests can arrive."""
    failure: Exception | None = None

    async def start(_: web.Application) -> None:
        await receiver.open()

    async def drain(_: web.Application) -> None:
        nonlocal failure
        try:
            await receiver.aclose()
        except Exception as error:  # noqa: BLE001 - raised below: first everything else has to be cleaned up
            failure = error

    async def finish(_: web.Application) -> AsyncIterator[None]:
        yield
        if receiver.is_open:  # the start of something else failed: then there is no other signal
            await receiver.aclose()
        if failure is not None:
            raise failure

    app.on_startup.append(start)
    app.on_cleanup.insert(0, drain)  # aiohttp's own entry, which ends the contexts, was the first
    app.cleanup_ctx.append(finish)


class _Tree(web.PlainResource):
    """A path and all paths below it, matched without a regular expression, since each callback is matched.

    The equivalent of `{tail:.*}`: `match_info["tail"]` is the same, and missing at the path itself.
    """

    def _match(self, path: str) -> dict[str, str] | None:
        own = self._path
        if path == own:
            return {}
        end = len(own.rstrip("/"))
        if path.startswith(own) and path[end] == "/":
            tail = path[end + 1 :]
            return {"tail": tail.replace("%2F", "/").replace("%25", "%") if "%" in tail else tail}
        return None


def _add_health(app: web.Application, receiver: Receiver, path: str) -> None:
    async def alive(_: web.Request) -> web.Response:
        return web.json_response(receiver.health())

    async def ready(_: web.Request) -> web.Response:
        health = receiver.health()
        return web.json_response(health, status=200 if health["ready"] else 503)

    app.router.add_get(path or "/", alive, expect_handler=_expect)
    app.router.add_get(path + "/ready", ready, expect_handler=_expect)


async def _expect(request: web.Request) -> None:
    """Send 100 Continue, or answer 417 to an unknown expectation (RFC 9110, 10.1.1).

    The handler of aiohttp quotes the header, and fails with 500 and a traceback if the header is not text.
    """
    if request.version != HttpVersion11:
        return
    if request.headers.get("Expect", "").lower() != "100-continue":
        raise web.HTTPExpectationFailed(text="only 100-continue is expected here")
    with suppress(ConnectionError):  # a client that hung up is found when its body is read
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.writer.output_size = 0  # else aiohttp takes the answer for begun, and cannot say 500 any more


class _BrokenBodyError(Exception):
    """The body ends early: the connection cannot be read any further."""

    def __init__(self, reason: RequestRefusedError) -> None:
        super().__init__()
        self.reason = reason


def _response(answer: Answer) -> web.Response:
    headers = {"WWW-Authenticate": "Bearer"} if answer.status == 401 else None
    return web.Response(status=answer.status, text=answer.text, headers=headers)


async def _hang_up(request: web.Request, response: web.Response) -> web.Response:
    """Answer and close at once; aiohttp would wait ten seconds for the rest of the body."""
    response.force_close()
    # aiohttp would log a traceback and an address for a client that hung up before
    with suppress(ConnectionError):
        await response.prepare(request)
        await response.write_eof()
    request.protocol.force_close()
    return response


class _EndingError(RequestRefusedError):
    """503: the rest of the body will not be read any more."""

    status = 503


class _Bodies:
    """Reads bodies that arrive after their headers, decompressed, within the limits of size and time."""

    def __init__(self, max_body: int, timeout: float | None) -> None:
        self._max_body = max_body
        self._timeout = timeout
        self._reading: set[anyio.CancelScope] = set()
        self._ending = False

    async def stop(self, _: web.Application) -> None:
        """Stop waiting: after its shutdown aiohttp passes no more data on."""
        self._ending = True
        for scope in self._reading:
            scope.deadline = -math.inf

    async def read(self, request: web.Request) -> bytes:
        """Return the whole body.

        Raises:
            RequestRefusedError: The body is too large, or has an unknown encoding.
            _BrokenBodyError: The same, in the middle of the body.
            ConnectionError: The client disconnected.
        """
        encoding = request.headers.get("Content-Encoding")
        if encoding is not None and encoding.strip().lower() not in _DECODED:
            raise UnsupportedMediaTypeError("the content encoding is not supported")
        if (length := request.content_length or 0) > self._max_body:
            raise BodyTooLargeError.of(length, self._max_body)
        body = bytearray()
        try:
            with anyio.fail_after(0 if self._ending else self._timeout) as scope, self._noted(scope):
                async for chunk in request.content.iter_any():
                    self._check_size(len(body) + len(chunk), encoding)
                    body += chunk
        except TimeoutError:
            if self._ending:  # a 4xx could be taken as final
                raise _BrokenBodyError(_EndingError("the receiver ends, please repeat")) from None
            raise _BrokenBodyError(RequestTimeoutError("the body did not arrive in time")) from None
        except (HttpProcessingError, web.RequestPayloadError):
            raise _BrokenBodyError(InvalidBodyError("the body cannot be decompressed")) from None
        return bytes(body)

    def _check_size(self, size: int, encoding: str | None) -> None:
        """Refuse a body that is larger than allowed by now."""
        if size > self._max_body:
            too_large = BodyTooLargeError.of(size, self._max_body)
            # Of a compressed body aiohttp would go on to unpack the rest.
            raise too_large if encoding is None else _BrokenBodyError(too_large)

    @contextmanager
    def _noted(self, scope: anyio.CancelScope) -> Generator[None]:
        self._reading.add(scope)
        try:
            yield
        finally:
            self._reading.discard(scope)
