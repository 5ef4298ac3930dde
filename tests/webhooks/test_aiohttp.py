"""The aiohttp adapter over real sockets: every answer of contract 5.10, limits, and hostile bodies."""

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from nexmo_dispatch_webhooks import (
    ConfigurationError,
    Context,
    Event,
    Receiver,
    Router,
    RouterFrozenError,
    sign,
)
from nexmo_dispatch_webhooks.aiohttp import RECEIVERS, setup
from tests.webhooks.payloads import encode, status_body

SECRET = "example-signature-secret-for-tests-0123456789"
BODY = encode(status_body())
JSON = {"Content-Type": "application/json"}
Serve = Callable[..., Awaitable["Served"]]


class Served:
    """A running receiver, and what its handlers saw."""

    def __init__(
        self,
        server: TestServer,
        session: ClientSession,
        receiver: Receiver,
        seen: list[tuple[Event, Context]],
    ) -> None:
        self.server, self.session, self.receiver, self.seen = server, session, receiver, seen

    async def post(self, body: Any = BODY, path: str = "/webhooks", **headers: str) -> int:
        sent = {name.replace("_", "-").title(): value for name, value in headers.items()}
        async with self.session.post(self.server.make_url(path), data=body, headers=JSON | sent) as answer:
            await answer.read()
            return answer.status

    async def signed(self, body: bytes = BODY, path: str = "/webhooks", **headers: str) -> int:
        return await self.post(
            body, path, authorization=sign(body, secret=SECRET, api_key="k", jti="j"), **headers
        )

    async def raw(self, data: bytes, *, half_close: bool = False) -> bytes:
        """Send bytes as they are; return everything until the server hangs up."""
        reader, writer = await asyncio.open_connection(self.server.host, self.server.port)
        writer.write(data)
        if half_close:
            writer.write_eof()
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        return answer


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Start a receiver on a free loopback port; settings go to `setup`."""
    async with ClientSession() as session:
        servers: list[TestServer] = []

        async def start(**settings: Any) -> Served:
            router: Router = settings.pop("router", None) or Router()
            seen: list[tuple[Event, Context]] = []

            @router.register()
            async def keep(event: Event, context: Context) -> None:
                seen.append((event, context))

            app = web.Application(middlewares=settings.pop("middlewares", ()))
            receiver = setup(app, router, **{"secrets": {"k": SECRET}, **settings})
            server = TestServer(app)
            servers.append(server)
            await server.start_server()
            return Served(server, session, receiver, seen)

        yield start
        for server in servers:
            await server.close()


@pytest.mark.parametrize(
    ("path", "tail"),
    [("/webhooks", ""), ("/webhooks/", ""), ("/webhooks/status", "status"), ("/webhooks/a/b%20c", "a/b c")],
)
async def test_any_kind_on_any_path(serve: Serve, path: str, tail: str) -> None:
    """The status URL gets statuses and reports, and an application may name any path (contract 9.10)."""
    served = await serve()

    assert await served.signed(path=path) == 200
    assert [(event.kind, context.path) for event, context in served.seen] == [("message-status", tail)]


async def test_mounted_at_the_root(serve: Serve) -> None:
    served = await serve(path="/")

    assert [await served.signed(path=path) for path in ("/", "/x/y")] == [200, 200]


async def test_answers(serve: Serve) -> None:
    """200, 400, 401, 413 and 415, and 405 for other methods, each with a short text."""
    served = await serve(max_body=10_000)

    assert await served.signed() == 200
    assert await served.signed(encode({"what": "ever"})) == 200
    assert await served.signed(b"not json") == 400
    assert await served.signed(b"") == 400
    assert await served.post() == 401
    assert await served.signed(b" " * 10_001) == 413
    assert await served.signed(content_type="text/plain") == 415
    assert await served.signed(content_encoding="compress") == 415
    async with served.session.get(served.server.make_url("/webhooks")) as answer:
        assert answer.status == 405
    async with served.session.post(served.server.make_url("/webhooks"), data=BODY, headers=JSON) as answer:
        assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert await answer.text() == "the Authorization header is missing"


async def test_500_when_a_handler_fails(serve: Serve) -> None:
    """Without an inbox the handlers run before the answer, so nothing is lost: the service repeats it."""
    router = Router()

    @router.message_status()
    async def bad(event: Event) -> None:
        raise RuntimeError

    served = await serve(router=router)

    assert await served.signed() == 500
    assert len(served.seen) == 1


# --- verification ---


async def test_rotation_of_secrets(serve: Serve) -> None:
    served = await serve(secrets={"k": ["new secret", SECRET]})

    assert await served.signed() == 200


async def test_verification_none_said_out_loud(serve: Serve) -> None:
    served = await serve(secrets=None, verification=None)

    assert await served.post() == 200


def test_missing_verification_is_a_loud_error() -> None:
    """Before anything is mounted."""
    app = web.Application()

    with pytest.raises(ConfigurationError, match="say how callbacks are verified"):
        setup(app, Router())

    assert len(app.router.routes()) == 0


async def test_clock_is_passed_in(serve: Serve) -> None:
    """A token of today is too old for a clock in a week, without waiting for it."""
    served = await serve(clock=lambda: 4_000_000_000.0)

    assert await served.signed() == 401


# --- mounting ---


def test_one_receiver_for_one_path() -> None:
    app = web.Application()
    receiver = setup(app, Router(), secrets={"k": SECRET})
    other = setup(app, Router(), "/other", verification=None)

    assert app[RECEIVERS] == {"/webhooks": receiver, "/other": other}
    with pytest.raises(ConfigurationError, match="mounted at /webhooks already"):
        setup(app, Router(), verification=None)
    with pytest.raises(ConfigurationError, match="path must start with /"):
        setup(app, Router(), "hooks", verification=None)


async def test_registration_ends_when_the_application_starts(serve: Serve) -> None:
    router = Router()
    await serve(router=router)

    with pytest.raises(RouterFrozenError):
        router.unknown()(lambda event: None)  # type: ignore[type-var]  # never looked at


async def test_values_reach_handlers(serve: Serve) -> None:
    router, got = Router(), []

    @router.register()
    async def handle(event: Event, store: str) -> None:
        got.append(store)

    served = await serve(router=router, values={"store": "s"})

    assert await served.signed() == 200
    assert got == ["s"]


async def test_sub_application(serve: Serve) -> None:
    """Mounted below another application, paths add up."""
    inner = web.Application()
    receiver = setup(inner, Router(), "/hooks", verification=None)
    app = web.Application()
    app.add_subapp("/api", inner)
    served = await serve(path="/unused")
    server = TestServer(app)
    await server.start_server()

    async with served.session.post(server.make_url("/api/hooks/x"), data=BODY, headers=JSON) as answer:
        assert answer.status == 200
    assert receiver.statistics().unhandled == 1
    await server.close()


# --- bodies ---


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def test_chunked_bodies_are_whole(serve: Serve) -> None:
    """Several chunks, hashed as one body."""
    served = await serve()
    authorization = sign(BODY, secret=SECRET, api_key="k", jti="j")

    assert await served.post(chunks(BODY[:10], BODY[10:100], BODY[100:]), authorization=authorization) == 200


async def test_a_body_may_come_after_its_headers(serve: Serve) -> None:
    """The handler waits for the rest."""
    started = asyncio.Event()

    @web.middleware
    async def tell(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        started.set()
        return await handler(request)

    served = await serve(middlewares=[tell])

    async def late() -> AsyncIterator[bytes]:
        yield BODY[:10]
        await started.wait()
        yield BODY[10:]

    assert await served.post(late(), authorization=sign(BODY, secret=SECRET, api_key="k", jti="j")) == 200


@pytest.mark.parametrize(("encoding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
async def test_compressed_bodies_are_read(serve: Serve, encoding: str, compress: Any) -> None:
    """The hash is over the JSON, as it is before a proxy compresses it."""
    served = await serve()
    authorization = sign(BODY, secret=SECRET, api_key="k", jti="j")

    assert await served.post(compress(BODY), content_encoding=encoding, authorization=authorization) == 200


@pytest.mark.parametrize("size", [999, 1000, 1001, 500_000])
async def test_limit_holds_without_a_content_length(serve: Serve, size: int) -> None:
    """Chunked and compressed bodies are cut off at the limit as well."""
    served = await serve(secrets=None, verification=None, max_body=1000)
    body = b"{" + b" " * (size - 2) + b"}"
    expected = 413 if size > 1000 else 200

    assert await served.post(body) == expected
    assert await served.post(chunks(*(body[i : i + 400] for i in range(0, size, 400)))) == expected
    assert await served.post(gzip.compress(body), content_encoding="gzip") == expected


async def test_gzip_bomb_is_413(serve: Serve) -> None:
    """64 MiB in 64 KiB: never unpacked beyond the limit plus one chunk."""
    served = await serve(secrets=None, verification=None)
    bomb = gzip.compress(b" " * (64 * 1024 * 1024))

    assert await served.post(bomb, content_encoding="gzip") == 413
    assert await served.post() == 200


@pytest.mark.parametrize("data", [b"not gzip at all", gzip.compress(BODY)[:-12], b""])
async def test_broken_compression_is_400(serve: Serve, data: bytes) -> None:
    served = await serve(secrets=None, verification=None)

    assert await served.post(data, content_encoding="gzip") == 400
    assert await served.post() == 200


async def test_slow_body_is_408(serve: Serve) -> None:
    """A chunked body without end holds a handler only for so long."""
    served = await serve(body_timeout=0.05)
    head = b"POST /webhooks HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"

    answer = await served.raw(head + b"1\r\n{\r\n")

    assert answer.startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize(
    "data",
    [
        b"POST /webhooks HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
        b"POST /webhooks HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"POST /webhooks HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        b"POST /webhooks HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 10_000 + b"\r\n",
        b"\x00\x01\x02\r\n\r\n",
    ],
    ids=["hangs up in the body", "hangs up in a chunk", "broken chunk", "10,000 headers", "no HTTP"],
)
async def test_broken_requests_leave_no_trace(
    serve: Serve, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """No 5xx, no traceback of ours, nothing handled, and the next request is served."""
    served = await serve(secrets=None, verification=None)

    answer = await served.raw(data, half_close=True)

    assert not answer.startswith(b"HTTP/1.1 5")
    assert served.seen == []
    assert [r.name for r in caplog.records if r.name.startswith("nexmo") and r.exc_info] == []
    assert await served.post() == 200
