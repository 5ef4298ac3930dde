"""`setup`: mount a receiver on an aiohttp application.

Thin by intent: it reads the body under its limits and writes the answer; `receiver` does the rest.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import anyio
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from nexmo_dispatch_webhooks.aiohttp_answer import accept, is_plain
from nexmo_dispatch_webhooks.exceptions import (
    BodyTooLargeError,
    ConfigurationError,
    InvalidBodyError,
    RequestRefusedError,
    RequestTimeoutError,
    UnsupportedMediaTypeError,
)
from nexmo_dispatch_webhooks.receiver import UNSET, Answer, InboxSource, Receiver, Unset
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
    inbox: InboxSource = None,
    max_body: int = MAX_BODY,
    body_timeout: float | None = 15.0,
    values: Mapping[str, Any] | None = None,
    health_path: str | None = None,
    clock: Callable[[], float] = time.time,
) -> Receiver:
    """Receive callbacks at `path` and at every path below it; any kind may come on any (contract 9.10).

    Answers: 200 handled (also when no handler wanted the event), 400 no JSON object, 401 not genuine, 408
    the body came too slowly, 413 too large, 415 not JSON, 500 a handler failed, 503 the inbox could not store
    (contract 5.10). With an inbox handlers run after the answer, so 500 does not occur.

    Args:
        app: the application, not started yet.
        router: the handlers; registration ends when the application starts.
        path: where to mount.
        secrets: signature secrets by `api_key`, several for a rotation: `{"key": ["new", "old"]}`.
        verification: instead of *secrets*: another `Verification`, or None to accept anybody.
        inbox: where to store before answering: the path of an SQLite file or an inbox, which is started and
            drained with the application. None runs the handlers before the answer.
        max_body: the largest body in bytes, after decompression.
        body_timeout: seconds until a body must have arrived; None for no limit.
        values: what handlers may ask for by parameter name.
        health_path: where to tell probes how the inbox is doing: 200 with figures as long as the
            process lives; `<health_path>/ready` is 503 while no event can be taken. None for no such routes.
        clock: gives epoch seconds.

    Returns:
        The receiver, also at `app[RECEIVERS][path]`.

    Raises:
        ConfigurationError: neither *secrets* nor *verification* was given, or *path* is taken.
    """
    if not path.startswith("/"):
        raise ConfigurationError("path must start with /")
    receiver = Receiver(
        router, secrets=secrets, verification=verification, inbox=inbox, values=values, clock=clock
    )
    mount = path.rstrip("/")
    if RECEIVERS not in app:
        app[RECEIVERS] = {}
    if path in app[RECEIVERS]:
        raise ConfigurationError(f"a receiver is mounted at {path} already")
    app[RECEIVERS][path] = receiver

    async def run(_: web.Application) -> AsyncIterator[None]:
        async with receiver:
            yield

    plain: bool | None = None  # known with the first request: the application is complete then

    async def callback(request: web.Request) -> web.StreamResponse:
        nonlocal plain
        if plain is None:
            plain = is_plain(request)
        content, headers = request.content, request.headers
        if content.is_eof() and content.exception() is None and "Content-Encoding" not in headers:
            body = content.read_nowait()  # the usual case: it came with the headers
            if len(body) <= max_body:
                # `headers` finds names in any case, so they are not copied
                raw = RawRequest(headers, body, request.match_info.get("tail", ""))
                answer = await receiver.handle(raw)
                if answer.status == 200 and not answer.text:
                    return accept(request, plain=plain)
                return _response(answer)
            return _response(receiver.refuse(BodyTooLargeError("the body is too large")))
        try:
            body = await _read(request, max_body, body_timeout)
        except _BrokenBodyError as broken:
            return await _hang_up(request, _response(receiver.refuse(broken.reason)))
        except RequestRefusedError as error:
            response = _response(receiver.refuse(error))
            response.force_close()  # the rest of the body is not worth a connection
            return response
        raw = RawRequest(headers, body, request.match_info.get("tail", ""))
        return _response(await receiver.handle(raw))

    app.cleanup_ctx.append(run)
    if "{" in mount:  # a pattern of the application's
        app.router.add_post(mount + "/{tail:.*}", callback)
        app.router.add_post(mount, callback)
    else:
        tree = _Tree(mount)
        tree.add_route("POST", callback)
        app.router.register_resource(tree)
    if health_path is not None:
        _add_health(app, receiver, health_path.rstrip("/"))
    return receiver


class _Tree(web.PlainResource):
    """A path and all that is below it, found without a regular expression: each callback comes through here.

    Where others write `{tail:.*}`; `match_info["tail"]` is the same, and missing at the path itself.
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

    app.router.add_get(path or "/", alive)
    app.router.add_get(path + "/ready", ready)


class _BrokenBodyError(Exception):
    """The body ends in the middle: nothing more can be read from the connection."""

    def __init__(self, reason: RequestRefusedError) -> None:
        super().__init__()
        self.reason = reason


def _response(answer: Answer) -> web.Response:
    headers = {"WWW-Authenticate": "Bearer"} if answer.status == 401 else None
    return web.Response(status=answer.status, text=answer.text, headers=headers)


async def _hang_up(request: web.Request, response: web.Response) -> web.Response:
    """Answer, then close at once; aiohttp would wait ten seconds for the rest of the body."""
    response.force_close()
    await response.prepare(request)
    await response.write_eof()
    request.protocol.force_close()
    return response


async def _read(request: web.Request, max_body: int, body_timeout: float | None) -> bytes:
    """The body, decompressed, if it is small and quick enough."""
    encoding = request.headers.get("Content-Encoding")
    if encoding is not None and encoding.strip().lower() not in _DECODED:
        raise UnsupportedMediaTypeError("the content encoding is not supported")
    if (request.content_length or 0) > max_body:
        raise BodyTooLargeError("the body is too large")
    body = bytearray()
    try:
        with anyio.fail_after(body_timeout):
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > max_body:
                    too_large = BodyTooLargeError("the body is too large")
                    if "Content-Encoding" in request.headers:  # aiohttp would go on to unpack the rest
                        raise _BrokenBodyError(too_large)
                    raise too_large
    except TimeoutError:
        raise _BrokenBodyError(RequestTimeoutError("the body did not arrive in time")) from None
    except (HttpProcessingError, web.RequestPayloadError):
        raise _BrokenBodyError(InvalidBodyError("the body cannot be decompressed")) from None
    return bytes(body)
