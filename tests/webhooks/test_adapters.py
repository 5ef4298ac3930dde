"""What holds over every adapter, on real sockets: answers (contract 5.10), limits, and hostile bodies."""

import asyncio
import gzip
import logging
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import ClientSession

from nexmo_dispatch_webhooks import Event, Router, RouterFrozenError, sign
from nexmo_dispatch_webhooks.inbox import MemoryInbox
from tests.webhooks import adapters
from tests.webhooks.adapters import BODY, JSON, SECRET, Served, Stop, packed
from tests.webhooks.payloads import encode, inbound_body, report_body, status_body

Serve = Callable[..., Awaitable[Served]]


@pytest.fixture(params=["aiohttp", "asgi"])
async def serve(request: pytest.FixtureRequest) -> AsyncIterator[Serve]:
    """Start a receiver on a free loopback port; settings go to the adapter."""
    async with ClientSession() as session:
        stops: list[Stop] = []

        async def start(**settings: Any) -> Served:
            served = await adapters.serve(request.param, session, **settings)
            stops.append(served.stop)
            return served

        yield start
        for stop in stops:
            await stop()


@pytest.mark.parametrize(
    ("path", "tail"),
    [
        *(
            ("/webhooks", ""),
            ("/webhooks/", ""),
            ("/webhooks/status", "status"),
            ("/webhooks/a/b%20c", "a/b c"),
        ),
        *(("/webhooks/inbound-message", "inbound-message"), ("/webhooks/a%2Fb%25", "a/b%")),
    ],
)
async def test_any_kind_on_any_path(serve: Serve, path: str, tail: str) -> None:
    """The status URL gets statuses and reports, and an application may name any path (contract 9.10)."""
    served = await serve()
    bodies = [status_body(), inbound_body({"type": "text", "text": "x"}), report_body(), {"what": "ever"}]

    assert [await served.signed(encode(body), path=path) for body in bodies] == [200] * 4
    assert [(event.kind, context.path) for event, context in served.seen] == [
        (kind, tail) for kind in ("message-status", "inbound-message", "final-report", "unknown")
    ]


@pytest.mark.parametrize("path", ["/", "/webhooksx", "/webhook", "/x/webhooks"])
async def test_other_paths_are_not_ours(serve: Serve, path: str) -> None:
    """The mount point is whole segments."""
    served = await serve()

    assert await served.signed(path=path) == 404


async def test_mounted_at_the_root(serve: Serve) -> None:
    served = await serve(path="/")

    assert [await served.signed(path=path) for path in ("/", "/x/y")] == [200, 200]


async def test_answers(serve: Serve) -> None:
    """200, 400, 401, 413, 415 and 503, and 405 for other methods, each with a short text."""
    served = await serve(max_body=10_000)

    assert await served.signed() == 200
    assert await served.signed(encode({"what": "ever"})) == 200
    assert await served.signed(b"not json") == 400
    assert await served.signed(b"") == 400
    assert await served.post() == 503
    assert await served.post(authorization="Bearer a.b.c") == 401
    assert await served.signed(b" " * 10_001) == 413
    assert await served.signed(content_type="text/plain") == 200
    assert await served.signed(content_encoding="compress") == 415
    async with served.session.get(served.url + "/webhooks") as answer:
        assert answer.status == 405
    wrong = JSON | {"Authorization": "Bearer a.b.c"}
    async with served.session.post(served.url + "/webhooks", data=BODY, headers=wrong) as answer:
        assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert await answer.text() == "the token is not signed with HS256"


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


@pytest.mark.parametrize(("wrong_signature", "status"), [(401, 401), (503, 503)])
async def test_what_is_not_signed_comes_again_and_what_is_signed_wrongly_as_set(
    serve: Serve, wrong_signature: int, status: int
) -> None:
    """No token: always 503, which the service repeats; a wrong one: the setting; health counts both (5.9)."""
    served = await serve(wrong_signature=wrong_signature, health_path="/health")
    wrong = sign(BODY, secret="the secret before the change", api_key="k", jti="j")

    assert await served.post() == 503
    assert await served.post(authorization=wrong) == status
    assert await served.signed() == 200

    async with served.session.get(served.url + "/health") as answer:
        health = await answer.json()
    assert (health["ready"], health["missing_signatures"], health["wrong_signatures"]) == (True, 1, 1)
    assert len(served.seen) == 1


@pytest.mark.parametrize(
    "marks", [{"origin": "https://evil.example"}, {"origin": "null"}, {"sec_fetch_site": "cross-site"}]
)
async def test_without_verification_a_web_page_cannot_post(serve: Serve, marks: dict[str, str]) -> None:
    """Neither as JSON nor without a content type, which needs no preflight; a genuine callback gets in."""
    served = await serve(secrets=None, verification=None)

    assert await served.post(**marks) == 403
    async with served.session.post(
        served.url + "/webhooks",
        data=BODY,
        headers={name.replace("_", "-"): value for name, value in marks.items()},
        skip_auto_headers=["Content-Type"],
    ) as answer:
        assert answer.status == 403
    assert served.seen == []
    assert await served.post() == 200


async def test_verification_none_said_out_loud(serve: Serve) -> None:
    """Then every request with a JSON content type is accepted (contract 5.1)."""
    served = await serve(secrets=None, verification=None)

    assert await served.post() == 200
    assert await served.post(content_type="text/plain") == 415


async def test_clock_is_passed_in(serve: Serve) -> None:
    """A token of today is too old for a clock in a week, without waiting for it; it may come again."""
    served = await serve(clock=lambda: 4_000_000_000.0)

    assert await served.signed() == 503


# --- the start ---


async def test_registration_ends_at_the_start(serve: Serve) -> None:
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
    """The receiver waits for the rest."""
    served = await serve()
    authorization = sign(BODY, secret=SECRET, api_key="k", jti="j")
    head = f"POST /webhooks HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization}\r\nExpect: 100-continue\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)

    writer.write(head.encode() + b"Content-Length: %d\r\n\r\n" % len(BODY))
    waits = await reader.readuntil(b"\r\n\r\n")  # it asks for the body, so it has seen the headers
    writer.write(BODY[:10])
    await writer.drain()
    writer.write(BODY[10:])
    answer = await reader.readline()
    writer.close()
    await writer.wait_closed()

    assert waits.startswith(b"HTTP/1.1 100 ")
    assert answer.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(("encoding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
async def test_compressed_bodies_are_read(serve: Serve, encoding: str, compress: Any) -> None:
    """The hash is over the JSON, as it is before a proxy compresses it."""
    served = await serve()
    authorization = sign(BODY, secret=SECRET, api_key="k", jti="j")

    assert await served.post(compress(BODY), content_encoding=encoding, authorization=authorization) == 200


@pytest.mark.parametrize("members", [2, 100])
async def test_gzip_may_have_several_members(serve: Serve, members: int) -> None:
    """Some proxies begin a new one with each piece that they pass on (RFC 1952, 2.2)."""
    served = await serve(secrets=None, verification=None)
    size = -(-len(BODY) // members)
    packed = [gzip.compress(BODY[i * size : (i + 1) * size]) for i in range(members)]

    assert await served.post(b"".join(packed), content_encoding="gzip") == 200
    assert await served.post(chunks(*packed), content_encoding="gzip") == 200
    assert len({event for event, _ in served.seen}) == 1


@pytest.mark.parametrize("encoding", ["br", "zstd", "compress", "gzip, gzip"])
async def test_other_encodings_are_refused(serve: Serve, encoding: str) -> None:
    """With 415, or by aiohttp itself with 400."""
    served = await serve()

    assert await served.signed(content_encoding=encoding) in {400, 415}
    assert served.seen == []


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
    """16 MiB in 16 KiB: never unpacked beyond the limit plus one chunk."""
    served = await serve(secrets=None, verification=None)
    bomb = gzip.compress(b" " * (16 * 1024 * 1024))

    assert await served.post(bomb, content_encoding="gzip") == 413
    assert await served.post() == 200


async def test_a_bomb_is_not_unpacked_after_its_answer(serve: Serve) -> None:
    """The server hangs up at once; aiohttp by itself would go on to unpack and discard for ten seconds."""
    served = await serve()
    bomb = gzip.compress(b" " * (16 * 1024 * 1024))
    head = (
        f"POST /webhooks HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nContent-Length: {len(bomb)}\r\n\r\n"
    )

    async with asyncio.timeout(5):
        answer = await served.raw(head.encode() + bomb)

    assert answer.startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("data", [b"not gzip at all", packed(BODY)[:-12], b"", packed(BODY) + b"more"])
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


@pytest.mark.parametrize("end", ["close", "abort"])
async def test_a_client_that_hangs_up_in_the_body_is_no_news(
    serve: Serve, end: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Any client can trigger it at will: no warning, no traceback, no address, from us or from the server."""
    caplog.set_level(logging.DEBUG)
    served = await serve(health_path="/health")
    head = b"POST /webhooks HTTP/1.1\r\nHost: x\r\n"

    for framing in (b"Content-Length: 100\r\n\r\n{", b"Transfer-Encoding: chunked\r\n\r\n5\r\n{"):
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(head + b"Expect: 100-continue\r\n" + framing)
        await reader.readuntil(b"\r\n\r\n")  # it asks for the body, so the receiver reads
        getattr(writer.transport, end)()
        await asyncio.sleep(0.02)
    async with served.session.get(served.url + "/health") as answer:
        assert answer.status == 200

    assert [
        r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING or "127.0.0" in r.getMessage()
    ] == []
    assert served.seen == []
    assert served.receiver.statistics().answers == {}


# --- the inbox ---


async def test_an_inbox_is_started_and_drained_with_the_application(serve: Serve) -> None:
    """The answer comes before the handler; what was answered is handled before the end."""
    router, may_go, handled = Router(), asyncio.Event(), []

    @router.message_status()
    async def wait(event: Event) -> None:
        await may_go.wait()
        handled.append(event.kind)

    served = await serve(router=router, inbox=MemoryInbox())

    assert await served.signed() == 200
    assert await served.signed() == 200  # the same event once more
    assert handled == []
    may_go.set()
    await served.stop()
    assert handled == ["message-status"]


async def test_health_for_probes(serve: Serve) -> None:
    """Figures of the inbox, and 503 for readiness once it is closed."""
    inbox = MemoryInbox()
    served = await serve(inbox=inbox, health_path="/health/")

    async with served.session.get(served.url + "/health") as answer:
        assert (answer.status, (await answer.json())["inbox"]["pending"]) == (200, 0)
    async with served.session.get(served.url + "/health/ready") as answer:
        assert answer.status == 200
    await inbox.aclose()
    async with served.session.get(served.url + "/health/ready") as answer:
        assert (answer.status, (await answer.json())["ready"]) == (503, False)
    async with served.session.get(served.url + "/health") as answer:
        assert (answer.status, answer.content_type) == (200, "application/json")
    async with served.session.get(served.url + "/health/other") as answer:
        assert answer.status in {404, 405}
