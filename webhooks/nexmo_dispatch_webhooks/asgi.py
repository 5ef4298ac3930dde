"""`ASGIReceiver`: an ASGI 3 application, to mount in Starlette, FastAPI, Litestar or Quart, or to serve.

Thin by intent: it reads the body under its limits and writes the answer; `receiver` does the rest.
It knows no framework and opens no socket.
"""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from types import TracebackType
from typing import Any, Self

import anyio

from nexmo_dispatch_core.unfinished import shows_unfinished
from nexmo_dispatch_webhooks.checks import check_adapter
from nexmo_dispatch_webhooks.exceptions import (
    BodyTooLargeError,
    ConfigurationError,
    InvalidBodyError,
    RequestRefusedError,
    RequestTimeoutError,
    UnsupportedMediaTypeError,
    WebhookError,
)
from nexmo_dispatch_webhooks.logs import log_failure
from nexmo_dispatch_webhooks.receiver import UNSET, Answer, InboxSource, Receiver, Unset
from nexmo_dispatch_webhooks.refusals import WrongSignature
from nexmo_dispatch_webhooks.routing import Router
from nexmo_dispatch_webhooks.sansio import RawRequest, Verification
from nexmo_dispatch_webhooks.signature import Secret

__all__ = ["MAX_BODY", "ASGIReceiver"]

#: Contract 5.11 suggests 1 MiB; the limit holds after decompression, and without a Content-Length.
MAX_BODY = 1024 * 1024

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_PLAIN = frozenset({"", "identity"})
_COMPRESSED = frozenset({"gzip", "deflate"})
#: More than any sender makes of a small body; each costs a copy of what is behind it.
_MOST_MEMBERS = 100


class ASGIReceiver:
    """Receive callbacks as an ASGI application; any kind may come on any path (contract 9.10).

    A server with the lifespan protocol starts and stops the receiver. A mounted application gets no lifespan
    events, so start the receiver in the framework's lifespan: `async with receiver:`.

    The receiver answers with 200 (handled, also without a matching handler), 400 (no JSON object), 401 (not
    authentic), 403 (made by a web page, and not verified), 404 (another path), 405 (no POST), 408 (the body
    arrived too slowly), 413 (too large), 415 (not gzip or deflate, or neither verified nor JSON), 500 (a
    handler failed) or 503 (not signed, or not stored; contract 5.10). With an inbox handlers run after the
    answer, so 500 does not occur.

    Args:
        router: The handlers; registration ends at the start.
        path: Path of the receiver, relative to the mount point; paths below it are accepted, too.
        secrets: Signature secrets by `api_key`, several for a rotation: `{"key": ["new", "old"]}`.
        verification: Instead of *secrets*: another `Verification`, or None to accept any origin.
        wrong_signature: The answer to a token or signature that is there and wrong: 401, which the service
            takes as final, or 503, after which it repeats the callback for 24 hours.
        inbox: Where to store before answering: the path of an SQLite file, the URL of a Postgres
            database (`postgresql://…`) or of NATS (`nats://…`), or an inbox, which is started and
            drained with the receiver. None runs the handlers before the answer.
        max_body: Maximum size of a body in bytes, before and after decompression.
        body_timeout: Seconds until a body must have arrived; None for no limit.
        values: Values for parameters of handlers, by name.
        health_path: Path of the health probes, relative to the mount point: 200 with figures as long as the
            process lives; `<health_path>/ready` is 503 while no event can be stored. None for no probes.
        clock: Returns epoch seconds.

    Raises:
        ConfigurationError: Neither *secrets* nor *verification* was given, or a setting cannot work.
    """

    def __init__(
        self,
        router: Router,
        *,
        path: str = "/",
        secrets: Mapping[str, Secret] | None = None,
        verification: Verification | Unset | None = UNSET,
        wrong_signature: WrongSignature = 401,
        inbox: InboxSource = None,
        max_body: int = MAX_BODY,
        body_timeout: float | None = 15.0,
        values: Mapping[str, Any] | None = None,
        health_path: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        check_adapter(path, health_path, max_body, body_timeout)
        #: What turns a request into an answer; its `statistics()` count them.
        self.receiver: Receiver = Receiver(
            router,
            secrets=secrets,
            verification=verification,
            wrong_signature=wrong_signature,
            inbox=inbox,
            values=values,
            clock=clock,
        )
        self._path = path.rstrip("/")
        self._health_path = None if health_path is None else health_path.rstrip("/")
        self._max_body = max_body
        self._body_timeout = body_timeout
        self._started = False

    @shows_unfinished
    def __repr__(self) -> str:
        return f"<ASGIReceiver at {self._path or '/'}, {'started' if self._started else 'not started'}>"

    async def __aenter__(self) -> Self:
        await self.receiver.open()
        self._started = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._started = False
        await self.receiver.aclose()

    async def idle(self) -> None:
        """Wait until no stored event is ready or being handled; see `Receiver.idle`."""
        await self.receiver.idle()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one scope: `http`, `lifespan`, or a `websocket`, which is refused."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        else:
            raise ConfigurationError(f"ASGI scopes of type {scope['type']!r} are not served here")

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        """Start and stop in the task of the server's one lifespan call."""
        await receive()  # lifespan.startup
        try:
            await self.__aenter__()
        except Exception as error:  # noqa: BLE001 - an inbox may raise anything; a server would go on without us
            await send({"type": "lifespan.startup.failed", "message": _reason("the start", error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()  # lifespan.shutdown
        try:
            await self.__aexit__(None, None, None)
        except Exception as error:  # noqa: BLE001 - as above
            await send({"type": "lifespan.shutdown.failed", "message": _reason("the end", error)})
            return
        await send({"type": "lifespan.shutdown.complete"})

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = _local_path(scope)
        if self._health_path is not None and scope["method"] in {"GET", "HEAD"}:
            which = _below(path, self._health_path)
            if which in {"", "ready"}:
                await self._tell_health(send, may_fail=which == "ready", head=scope["method"] == "HEAD")
                return
        tail = _below(path, self._path)
        if tail is None:
            await _answer(send, Answer(404, "not found"))
            return
        if scope["method"] != "POST":
            await _answer(send, Answer(405, "only POST is served here"), (b"allow", b"POST"))
            return
        if not self._started:
            raise ConfigurationError(
                "the receiver has not started: let the server run the lifespan, or write `async with "
                "receiver:` in the lifespan of the application that it is mounted in"
            )
        # reversed, so that of several headers with one name the first is kept; ASGI promises an iterable only
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in reversed([*scope["headers"]])
        }
        try:
            body = await self._read(headers, receive)
        except RequestRefusedError as error:
            # the rest of the body is not worth a connection; HTTP/2 knows no such header (RFC 9113, 8.2.2)
            close = [(b"connection", b"close")] if scope.get("http_version", "1.1") in {"1.0", "1.1"} else []
            await _answer(send, self.receiver.refuse(error), *close)
            return
        if body is not None:
            await _answer(send, await self.receiver.handle(RawRequest(headers, body, tail)))

    async def _tell_health(self, send: Send, *, may_fail: bool, head: bool) -> None:
        health = self.receiver.health()
        answer = Answer(503 if may_fail and not health["ready"] else 200, json.dumps(health))
        await _answer(send, answer, content_type=b"application/json", head=head)

    async def _read(self, headers: Mapping[str, str], receive: Receive) -> bytes | None:
        """Return the body, decompressed, within the limits of size and time; None after a hang-up."""
        encoding = headers.get("content-encoding", "").strip().lower()
        if encoding not in _PLAIN and encoding not in _COMPRESSED:
            raise UnsupportedMediaTypeError("the content encoding is not supported")
        length = headers.get("content-length", "")
        if length.isdecimal() and (len(length) > 18 or int(length) > self._max_body):
            raise BodyTooLargeError.of(int(length[:18]), self._max_body)
        body = bytearray()
        inflate = _Inflate(self._max_body) if encoding in _COMPRESSED else None
        received, more = 0, True
        try:
            with anyio.fail_after(self._body_timeout):
                while more:
                    chunk, more = _part_of(await receive())
                    received += len(chunk)
                    self._check_size(received)
                    body += chunk if inflate is None else inflate.feed(chunk)
        except _HungUpError:
            return None
        except TimeoutError:
            raise RequestTimeoutError("the body did not arrive in time") from None
        if inflate is not None:
            inflate.finish()
        return bytes(body)

    def _check_size(self, size: int) -> None:
        """Refuse a body that is larger than allowed by now."""
        if size > self._max_body:
            raise BodyTooLargeError.of(size, self._max_body)


def _part_of(message: MutableMapping[str, Any]) -> tuple[bytes, bool]:
    """Return a part of a body, and whether more is to come.

    Raises:
        _HungUpError: There is none, and nothing more.
    """
    if message["type"] == "http.disconnect":
        raise _HungUpError
    return message.get("body", b""), message.get("more_body", False)


class _HungUpError(Exception):
    """The client hung up before the end of its body."""


class _Inflate:
    """Decompression with a limit: ASGI servers pass compressed bodies on unchanged."""

    def __init__(self, limit: int) -> None:
        self._limit = self._left = limit
        self._stream: Any = None  # the type has no public name
        self._members = 0

    def feed(self, data: bytes) -> bytes:
        """Return the decompressed data.

        Raises:
            BodyTooLargeError: It is over the limit in all; at most one byte more was unpacked.
            InvalidBodyError: It is not compressed data.
        """
        unpacked = bytearray()
        while data:
            stream = self._stream
            if stream is None or stream.eof:
                stream = self._stream = self._begin(data)
            try:
                piece: bytes = stream.decompress(data, self._left + 1)
            except zlib.error:
                raise InvalidBodyError("the body cannot be decompressed") from None
            if len(piece) > self._left:
                raise BodyTooLargeError.of(self._limit + 1, self._limit)
            self._left -= len(piece)
            unpacked += piece
            data = stream.unused_data
        return bytes(unpacked)

    def _begin(self, data: bytes) -> Any:
        """Start with the first member; gzip may have further members (RFC 1952, 2.2)."""
        is_gzip = data[0] == 0x1F
        self._members += 1
        if self._members > 1 and (not is_gzip or self._members > _MOST_MEMBERS):
            raise InvalidBodyError("the body cannot be decompressed")
        # gzip and zlib tell so themselves; some send "deflate" without the header (RFC 9110, 8.4.1.2)
        headed = is_gzip or data[0] & 0x0F == 8
        return zlib.decompressobj(47 if headed else -zlib.MAX_WBITS)

    def finish(self) -> None:
        """Check that the end was reached."""
        if self._stream is None or not self._stream.eof:
            raise InvalidBodyError("the body cannot be decompressed")


def _reason(what: str, error: Exception) -> str:
    """Return a text that a server may print: messages of other packages may hold personal data."""
    if isinstance(error, WebhookError):
        return str(error)
    log_failure(what, error)
    return f"{what} of the receiver failed: {type(error).__qualname__}"


def _local_path(scope: Scope) -> str:
    """Return the path from the mount point: ASGI's `path` includes `root_path`, in some frameworks not.

    Litestar also removes the leading slash, and adds a trailing slash.
    """
    path: str = scope["path"]
    if not path.startswith("/"):
        path = "/" + path
    if len(path) > 1 and path.endswith("/") and not (scope.get("raw_path") or b"/").endswith(b"/"):
        path = path[:-1]
    root: str = scope.get("root_path", "").rstrip("/")
    below = _below(path, root)
    return path if below is None or not root else "/" + below


def _below(path: str, mount: str) -> str | None:
    """Return the path after `mount/`, None for a path elsewhere."""
    if path == mount:
        return ""
    return path[len(mount) + 1 :] if path.startswith(mount + "/") else None


async def _answer(
    send: Send,
    answer: Answer,
    *headers: tuple[bytes, bytes],
    content_type: bytes = b"text/plain; charset=utf-8",
    head: bool = False,
) -> None:
    body = answer.text.encode()
    fixed = [(b"content-type", content_type), (b"content-length", b"%d" % len(body))]
    if answer.status == 401:
        fixed.append((b"www-authenticate", b"Bearer"))
    try:
        await send({"type": "http.response.start", "status": answer.status, "headers": [*fixed, *headers]})
        await send({"type": "http.response.body", "body": b"" if head else body})
    except OSError:  # the client hung up (ASGI 2.4); it will repeat what it saw no answer for
        return
