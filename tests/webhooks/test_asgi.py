"""What is particular to ASGI: scopes, lifespan, mounting, hang-ups; the rest is in `test_adapters`."""

import gzip
import json
import zlib
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from starlette.applications import Starlette
from starlette.requests import Request as StarletteRequest
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.routing import Router as StarletteRouter

from nexmo_dispatch_webhooks import ConfigurationError, Context, Event, RawRequest, Router, RouterError
from nexmo_dispatch_webhooks.asgi import ASGIReceiver
from nexmo_dispatch_webhooks.inbox import SqliteInbox
from tests.webhooks.adapters import BODY, JSON, packed, serve_asgi

Message = dict[str, Any]


def scope(path: str = "/", **changes: Any) -> Message:
    """An HTTP scope as a server gives it."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "method": "POST",
        "path": path,
        "root_path": "",
        "headers": [(b"content-type", b"application/json")],
        **changes,
    }


def body(*chunks: bytes) -> list[Message]:
    """A request body in pieces, as a server gives it."""
    last = len(chunks) - 1
    return [{"type": "http.request", "body": c, "more_body": i < last} for i, c in enumerate(chunks)]


async def call(app: ASGIReceiver, scope: Message, received: Iterable[Message]) -> list[Message]:
    """Run one scope on given messages; return what was sent."""
    queue, sent = list(received), []

    async def receive() -> Message:
        return queue.pop(0)

    async def send(message: Any) -> None:
        sent.append(dict(message))

    await app(scope, receive, send)
    return sent


async def status(app: ASGIReceiver, scope: Message, received: Iterable[Message]) -> int:
    sent = await call(app, scope, received)
    return int(sent[0]["status"])


def receiver(router: Router | None = None, **settings: Any) -> ASGIReceiver:
    return ASGIReceiver(router or Router(), **{"verification": None, **settings})


# --- the start ---


def test_settings_are_checked_at_once() -> None:
    with pytest.raises(ConfigurationError, match="say how callbacks are verified"):
        ASGIReceiver(Router())
    with pytest.raises(ConfigurationError, match="path must start with /"):
        receiver(path="hooks")
    with pytest.raises(ConfigurationError, match="health_path must start with /"):
        receiver(health_path="health")
    with pytest.raises(ConfigurationError, match="max_body must be a whole number, at least 1, not str"):
        receiver(max_body="1MiB")
    with pytest.raises(ConfigurationError, match="body_timeout must be a number of seconds, above 0"):
        receiver(body_timeout=0)


async def test_lifespan_starts_and_stops() -> None:
    app = receiver()

    sent = await call(
        app, {"type": "lifespan"}, [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    )

    assert [m["type"] for m in sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert repr(app) == "<ASGIReceiver at /, not started>"


async def test_a_handler_that_cannot_be_called_stops_the_start() -> None:
    """The server prints the reason and ends, before the first callback."""
    router = Router()

    @router.register()
    async def handle(event: Event, nothing_gives_this: str) -> None: ...

    sent = await call(receiver(router), {"type": "lifespan"}, [{"type": "lifespan.startup"}])

    assert [m["type"] for m in sent] == ["lifespan.startup.failed"]
    assert "nothing_gives_this" in sent[0]["message"]
    with pytest.raises(RouterError, match="nothing_gives_this"):
        await receiver(router).__aenter__()


class Broken:
    """An inbox of the application, with exceptions of its own."""

    def __init__(self, method: str) -> None:
        self.method = method

    async def start(self, router: Router) -> None:
        self.fail("start")

    async def put(self, request: RawRequest, context: Context, event: Event | None) -> None: ...

    async def aclose(self) -> None:
        self.fail("aclose")

    def fail(self, method: str) -> None:
        if method == self.method:
            raise OSError("db://user:" + "password"[::-1])


@pytest.mark.parametrize(("method", "event"), [("start", "startup"), ("aclose", "shutdown")])
async def test_any_exception_of_the_lifespan_is_told_to_the_server(
    method: str, event: str, caplog: pytest.LogCaptureFixture
) -> None:
    """One that escapes means "no lifespan here" to servers, which then serve all the same."""
    app = receiver(inbox=Broken(method))

    sent = await call(
        app, {"type": "lifespan"}, [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    )

    assert sent[-1]["type"] == f"lifespan.{event}.failed"
    assert sent[-1]["message"].endswith("of the receiver failed: OSError")
    assert "password"[::-1] not in caplog.text + str(sent)
    assert "test_asgi.py" in caplog.text


async def test_a_path_makes_an_sqlite_inbox(tmp_path: Path) -> None:
    """As with aiohttp's `setup`; what was answered is handled before the end, or after the next start."""
    router, seen = Router(), []

    @router.register()
    async def keep(event: Event) -> None:
        seen.append(event.kind)

    async with receiver(router, inbox=tmp_path / "inbox.db") as app:
        assert isinstance(app.receiver.inbox, SqliteInbox)
        assert await status(app, scope(), body(BODY)) == 200

    assert seen == ["message-status"]
    assert (tmp_path / "inbox.db").exists()
    with pytest.raises(ConfigurationError, match="inbox takes a path, None, or an object"):
        receiver(inbox=object())


async def test_probes_see_the_end_and_may_ask_for_the_head_alone() -> None:
    """As with aiohttp; also without an inbox."""
    app = receiver(health_path="/health")

    async with app:
        full, head = [
            await call(app, scope("/health/ready", method=method), []) for method in ("GET", "HEAD")
        ]
    after = await status(app, scope("/health/ready", method="GET"), [])

    assert full[0]["status"] == 200
    assert json.loads(full[1]["body"]) == {
        "ready": True,
        "missing_signatures": 0,
        "wrong_signatures": 0,
        "wrong_token_times": 0,
    }
    assert (head[0], head[1]["body"]) == (full[0], b"")
    assert after == 503


async def test_a_forgotten_start_is_a_loud_error() -> None:
    """Mounted without its lifespan it would not be ready; the server answers 500 and the service repeats."""
    with pytest.raises(ConfigurationError, match="async with receiver"):
        await call(receiver(), scope(), body(BODY))


# --- scopes and paths ---


async def test_a_websocket_is_turned_away() -> None:
    sent = await call(receiver(), {"type": "websocket"}, [{"type": "websocket.connect"}])

    assert sent == [{"type": "websocket.close", "code": 1008}]


async def test_an_unknown_scope_is_an_error() -> None:
    """As the ASGI specification asks."""
    with pytest.raises(ConfigurationError, match="'telepathy'"):
        await call(receiver(), {"type": "telepathy"}, [])


@pytest.mark.parametrize(
    ("mount", "root", "path", "tail"),
    [
        ("/", "", "/", ""),
        ("/", "", "/status", "status"),
        ("/hooks", "", "/hooks", ""),
        ("/hooks/", "", "/hooks/", ""),
        ("/hooks", "", "/hooks/a/b", "a/b"),
        ("/hooks", "", "/hooksa", None),
        ("/hooks", "", "/other", None),
        ("/", "/api", "/api", ""),  # ASGI since 2.1: the path holds the root_path
        ("/", "/api/", "/api/status", "status"),
        ("/hooks", "/api", "/api/hooks/x", "x"),
        ("/hooks", "/api", "/hooks/x", "x"),  # a framework that cuts it off
        ("/hooks", "/api", "/api/x", None),
    ],
)
async def test_paths(mount: str, root: str, path: str, tail: str | None) -> None:
    """Handlers see the path below the mount point, wherever the receiver is mounted; other paths are 404."""
    router, seen = Router(), []

    @router.register()
    async def keep(event: Event, context: Context) -> None:
        seen.append(context.path)

    async with receiver(router, path=mount) as app:
        answer = await status(app, scope(path, root_path=root), body(BODY))

    assert (answer, seen) == ((404, []) if tail is None else (200, [tail]))


async def test_405_names_the_method() -> None:
    async with receiver() as app:
        sent = await call(app, scope(method="GET"), [])

    assert sent[0]["status"] == 405
    assert (b"allow", b"POST") in sent[0]["headers"]


async def test_of_several_headers_the_first_counts() -> None:
    """As on the other adapter, so that both check the same token."""
    headers = [(b"content-type", b"text/plain"), (b"content-type", b"application/json")]

    async with receiver() as app:
        assert await status(app, scope(headers=headers), body(BODY)) == 415


async def test_headers_may_be_any_iterable() -> None:
    """ASGI promises no more than that."""
    headers = iter([(b"content-type", b"application/json"), (b"content-type", b"text/plain")])

    async with receiver() as app:
        assert await status(app, scope(headers=headers), body(BODY)) == 200


# --- bodies ---


async def test_a_client_that_hangs_up_gets_no_answer() -> None:
    """Nothing is handled and nothing is counted."""
    async with receiver() as app:
        sent = await call(
            app, scope(), [{"type": "http.request", "more_body": True}, {"type": "http.disconnect"}]
        )

    assert sent == []
    assert app.receiver.statistics().answers == {}


async def test_a_client_that_hangs_up_before_the_answer() -> None:
    """ASGI 2.4: sending raises OSError; the event is handled and the service will repeat it."""
    messages = body(BODY)

    async def receive() -> Message:
        return messages.pop(0)

    async def send(_: Any) -> None:
        raise ConnectionResetError

    async with receiver() as app:
        await app(scope(), receive, send)

    assert app.receiver.statistics().answers == {200: 1}


@pytest.mark.parametrize("length", [b"1001", b"9" * 5000])
async def test_content_length_over_the_limit_is_413_unread(length: bytes) -> None:
    """The connection is closed rather than drained."""
    async with receiver(max_body=1000) as app:
        sent = await call(app, scope(headers=[(b"content-length", length)]), [])

    assert sent[0]["status"] == 413
    assert (b"connection", b"close") in sent[0]["headers"]


@pytest.mark.parametrize("version", ["2", "3"])
async def test_no_connection_header_above_http_1(version: str) -> None:
    """Such an answer would be malformed (RFC 9113, 8.2.2)."""
    headers = [(b"content-length", b"1001")]

    async with receiver(max_body=1000) as app:
        sent = await call(app, scope(headers=headers, http_version=version), [])

    assert sent[0]["status"] == 413
    assert b"connection" not in dict(sent[0]["headers"])


def encoded(name: bytes) -> Message:
    return scope(headers=[(b"content-encoding", name)])


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        (b"gzip", packed(BODY)),
        (b"gzip", packed(BODY[:9]) + packed(b"") + packed(BODY[9:])),
        (b"GZIP", packed(BODY)),
        (b"deflate", zlib.compress(BODY)),
        (b"deflate", raw_deflate(BODY)),
        (b"identity", BODY),
    ],
)
async def test_compressed_bodies_in_any_pieces(name: bytes, data: bytes) -> None:
    """Byte for byte, with empty pieces between them."""
    pieces = [piece for i in range(len(data)) for piece in (data[i : i + 1], b"")]

    async with receiver() as app:
        assert await status(app, encoded(name), body(*pieces)) == 200


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not compressed",
        packed(BODY)[:-1],
        packed(BODY) + b"more",
        packed(BODY) + zlib.compress(b" "),
        packed(BODY) + packed(b" ")[:-1],
        packed(BODY) + packed(b"") * 100,
    ],
    ids=["empty", "no gzip", "cut short", "more after the end", "zlib", "second cut short", "too many"],
)
async def test_broken_compression_is_400(data: bytes) -> None:
    async with receiver() as app:
        assert await status(app, encoded(b"gzip"), body(data)) == 400


@pytest.mark.parametrize(("size", "expected"), [(1000, 200), (1001, 413)])
async def test_the_limit_counts_what_is_unpacked(size: int, expected: int) -> None:
    text = b"{" + b" " * (size - 2) + b"}"

    async with receiver(max_body=1000) as app:
        assert await status(app, encoded(b"gzip"), body(gzip.compress(text))) == expected
        members = gzip.compress(text[:600]), gzip.compress(text[600:])
        assert await status(app, encoded(b"gzip"), body(b"".join(members))) == expected


async def test_packed_bytes_count_too() -> None:
    """Empty blocks of deflate unpack to nothing; a stream of them without end is cut off all the same."""
    blocks = b"\x00\x00\x00\xff\xff" * 100

    async with receiver(max_body=1000) as app:
        assert await status(app, encoded(b"deflate"), body(b"\x78\x9c", blocks, blocks, blocks)) == 413


# --- in a framework ---


async def test_mounted_in_starlette_it_serves_the_url_itself() -> None:
    """A mount of Starlette redirects its own URL to the one with a slash, and the service follows nowhere.

    So the receiver stands last, knows its path, and leaves the other routes alone.
    """
    app = receiver(path="/webhooks", health_path="/health")

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with app:
            yield

    async def hello(_: StarletteRequest) -> PlainTextResponse:
        return PlainTextResponse("hello")

    routes = [Route("/hello", hello), Mount("/", app=app)]
    port, stop = await serve_asgi(Starlette(routes=routes, lifespan=lifespan))

    statuses = {}
    async with ClientSession(f"http://127.0.0.1:{port}") as session:
        for path in ("/webhooks", "/webhooks/", "/webhooks/status", "/webhooksandmore", "/"):
            async with session.post(path, data=BODY, headers=JSON, allow_redirects=False) as answer:
                statuses[path] = answer.status
        for path in ("/hello", "/health", "/health/ready"):
            async with session.get(path, allow_redirects=False) as answer:
                statuses[path] = answer.status
    await stop()

    assert statuses == {
        "/webhooks": 200, "/webhooks/": 200, "/webhooks/status": 200, "/webhooksandmore": 404, "/": 404,
        "/hello": 200, "/health": 200, "/health/ready": 200,
    }  # fmt: skip


@pytest.mark.parametrize("nested", [False, True], ids=["mounted", "mounted twice"])
async def test_mounted_in_starlette(nested: bool) -> None:
    """The framework's lifespan starts it, paths add up, and its own routes are left alone."""
    router, seen = Router(), []

    @router.message_status()
    async def keep(event: Event, context: Context) -> None:
        seen.append((event.kind, context.path))

    app = receiver(router, path="/in")
    mount = Mount("/hooks", app=app)
    routes = [Mount("/api", app=StarletteRouter(routes=[mount]))] if nested else [mount]
    prefix = "/api/hooks" if nested else "/hooks"

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with app:
            yield

    port, stop = await serve_asgi(Starlette(routes=routes, lifespan=lifespan))

    async with ClientSession(f"http://127.0.0.1:{port}") as session:
        answers = []
        for path in (f"{prefix}/in", f"{prefix}/in/a%20b/c", f"{prefix}/out", "/elsewhere"):
            async with session.post(path, data=BODY, headers=JSON) as answer:
                answers.append(answer.status)
    await stop()

    assert answers == [200, 200, 404, 404]
    assert seen == [("message-status", ""), ("message-status", "a b/c")]
    assert repr(app) == "<ASGIReceiver at /in, not started>"
