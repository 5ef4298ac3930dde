"""Every way a send can fail, made to happen by a real TCP server: the cases behind docs/failures.md.

`python -m tests.failures` prints the table; tests/transport/test_failures_page.py holds the page against it.
"""

import asyncio
import contextlib
import json
import socket
import ssl
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from nexmo_dispatch_async.auth import KpnOAuth
from nexmo_dispatch_async.client import DispatchClient
from nexmo_dispatch_async.exceptions import APIError
from nexmo_dispatch_async.retry import Timeout
from nexmo_dispatch_async.workflow import Workflow
from tests.conftest import payload
from tests.support.misbehaving import (
    ACCEPTED,
    Connection,
    Handler,
    RawServer,
    Received,
    accept,
    answering,
    close_after_body,
    hang,
    reply,
    reset_after_body,
)
from tests.support.paths import PAYLOADS
from tests.support.ports import HeldPort
from tests.support.tls import client_context, make_certificate, server_context
from tests.support.tls_thread import TlsThread

SHORT = 0.05  # seconds, where the network has to time out


@dataclass
class Scene:
    """A server, and a client that is about to send."""

    server: RawServer
    certificate: Path
    tls: bool
    base_url: str
    token_url: str
    workflow: Workflow
    timeout: Timeout = field(default_factory=Timeout)
    resolver: AbstractResolver | None = None
    trusted: bool = True
    warm: bool = False
    #: what happens on the idle connection of a client that is warm
    meanwhile: Callable[[], object] | None = None


Prepare = Callable[[Scene, AsyncExitStack], Any]


@dataclass(frozen=True)
class Case:
    """One line of the table."""

    name: str
    answer: Handler | tuple[bytes, ...] = accept
    prepare: Prepare | None = None
    token: Handler | tuple[bytes, ...] | None = None
    over: tuple[str, ...] = ("http", "https")


def in_turn(*answers: bytes) -> tuple[bytes, ...]:
    """Return answers to give in turn, the last one for ever."""
    return answers


def handler_of(answer: Handler | tuple[bytes, ...]) -> Handler:
    return answering(*answer) if isinstance(answer, tuple) else answer


# --- answers --------------------------------------------------------------------------------------


def example(name: str) -> bytes:
    """Return the answer of an example file of the contract."""
    recorded = payload(f"errors/{name}.json")
    return reply(recorded["status"], recorded["body"], recorded["headers"])


def problem(status: int, code: str) -> bytes:
    """Return a problem in Vonage's style (contract 3.8)."""
    body = {"type": f"https://developer.vonage.com/api-errors#{code}", "title": code, "detail": "…"}
    return reply(status, body, {"Content-Type": "application/problem+json"})


def limited(seconds: str, status: int = 429) -> bytes:
    return reply(status, b"", {"Retry-After": seconds})


NO_CREDIT = {
    "type": "https://developer.vonage.com/api-errors",
    "title": "Your request parameters didn't validate.",
    "detail": "Found errors validating 1 of your submitted parameters.",
    "invalid_parameters": [{"name": "balance", "reason": "The account has no credit."}],
    "instance": "0b9e6d6e",
}
HTML = {"Content-Type": "text/html"}
PAGE = b"<html><body><h1>Bad Gateway</h1></body></html>"
XML = (
    b'<?xml version="1.0"?><fault><faultstring>Access Token expired</faultstring><detail>'
    b"<errorcode>keymanagement.service.access_token_expired</errorcode></detail></fault>"
)
FORBIDDEN = {
    "error": {"transactionId": "0b9e6d6e", "status": "403", "name": "Forbidden", "message": "Forbidden"}
}


async def half_a_head(_request: Received, connection: Connection) -> None:
    await connection.write(b"HTTP/1.1 202 Acc")
    connection.close()


async def half_a_body(_request: Received, connection: Connection) -> None:
    await connection.write(reply(202, ACCEPTED)[:-10])
    connection.close()


async def stalled_body(_request: Received, connection: Connection) -> None:
    await connection.write(reply(202, ACCEPTED)[:-10])
    await asyncio.Event().wait()


async def reset(_head: Received, connection: Connection) -> None:
    connection.reset()
    raise ConnectionResetError


async def stop_reading(_head: Received, connection: Connection) -> None:
    connection.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    transport: Any = connection.writer.transport
    transport.pause_reading()
    await asyncio.Event().wait()


# --- what has to be arranged ----------------------------------------------------------------------


class Resolver(AbstractResolver):
    """Knows localhost, and has one other answer for everything else."""

    def __init__(self, *, hangs: bool) -> None:
        self.hangs = hangs

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        if host == "localhost":
            found = ResolveResult(
                hostname=host, host="127.0.0.1", port=port, family=socket.AF_INET, proto=0, flags=0
            )
            return [found]
        if self.hangs:
            await asyncio.Event().wait()
        raise OSError(None, "no such name")

    async def close(self) -> None: ...


def unknown_name(scene: Scene, _stack: AsyncExitStack) -> None:
    """Let the name of the service be unknown; that of the token endpoint is found."""
    scene.resolver = Resolver(hangs=False)
    scene.base_url = scene.base_url.replace("localhost", "nowhere.localhost")
    scene.base_url = scene.base_url.replace("127.0.0.1", "nowhere.localhost")


def slow_name(scene: Scene, stack: AsyncExitStack) -> None:
    unknown_name(scene, stack)
    scene.resolver = Resolver(hangs=True)
    scene.timeout = Timeout(connect=SHORT)


def elsewhere(scene: Scene, port: int) -> None:
    scheme, host = ("https", "localhost") if scene.tls else ("http", "127.0.0.1")
    scene.base_url = f"{scheme}://{host}:{port}"


def refused(scene: Scene, stack: AsyncExitStack) -> None:
    elsewhere(scene, stack.enter_context(HeldPort()).number)


def full_queue(scene: Scene, stack: AsyncExitStack) -> None:
    """Listen, accept no connection, and fill the queue: connecting neither succeeds nor fails."""
    sock = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
    for _ in range(2):
        filler = stack.enter_context(socket.socket())
        filler.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            filler.connect(sock.getsockname())
    elsewhere(scene, sock.getsockname()[1])
    scene.timeout = Timeout(connect=SHORT)


def silent_handshake(scene: Scene, stack: AsyncExitStack) -> None:
    sock = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    elsewhere(scene, sock.getsockname()[1])
    scene.timeout = Timeout(connect=SHORT)


async def no_tls(scene: Scene, stack: AsyncExitStack) -> None:
    """Answer a TLS handshake with something else."""

    async def talk(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    stack.callback(server.close)
    elsewhere(scene, server.sockets[0].getsockname()[1])


async def untrusted(scene: Scene, stack: AsyncExitStack) -> None:
    scene.trusted = False
    # The token has to come from somewhere else, or it would be the first thing that fails.
    scene.token_url = (await stack.enter_async_context(RawServer())).token_url


async def no_client_certificate(scene: Scene, stack: AsyncExitStack) -> None:
    """Want a certificate of the client, which has none; its handshake ends before the service says so."""
    context = server_context(scene.certificate)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(scene.certificate)
    scene.base_url = stack.enter_context(TlsThread(context)).url


def first_byte_late(scene: Scene, _stack: AsyncExitStack) -> None:
    scene.timeout = Timeout(connect=5, total=SHORT)
    scene.warm = True


def big_body(scene: Scene, _stack: AsyncExitStack) -> None:
    """Write to a service that stops to read, on a connection that exists already."""
    scene.warm = True
    scene.meanwhile = lambda: setattr(scene.server, "head_handler", stop_reading)
    scene.timeout = Timeout(connect=5, total=4 * SHORT)
    big = {
        "from": {"type": "whatsapp", "number": "447418342140"},
        "to": {"type": "whatsapp", "number": "447700900123"},
        "message": {"content": {"type": "custom", "custom": {"filler": "x" * (16 << 20)}}},
    }
    scene.workflow = Workflow.from_json(json.dumps(big))


def reset_before_body(scene: Scene, _stack: AsyncExitStack) -> None:
    scene.server.head_handler = reset


def idle_closed(scene: Scene, _stack: AsyncExitStack) -> None:
    scene.warm = True

    async def close_idle(request: Received, connection: Connection) -> None:
        await accept(request, connection)
        if len(scene.server.received) == 1:
            # Underneath asyncio, so that the client's loop learns of it only by looking at the socket.
            raw = connection.writer.get_extra_info("socket")
            getattr(raw, "_sock", raw).shutdown(socket.SHUT_RDWR)

    scene.server.handler = close_idle


def said_on_idle(scene: Scene, _stack: AsyncExitStack) -> None:
    """Send an unsolicited response on the idle connection; the client's loop has not read it yet."""
    scene.warm = True

    async def remember(request: Received, connection: Connection) -> None:
        await accept(request, connection)
        scene.meanwhile = scene.meanwhile or (lambda: connection.writer.write(reply(408)))

    scene.server.handler = remember


CASES = [
    # before a connection exists
    Case("name not found (DNS)", prepare=unknown_name),
    Case("name resolution times out", prepare=slow_name),
    Case("connection refused", prepare=refused),
    Case("TCP connection times out", prepare=full_queue),
    Case("TLS: certificate not trusted", prepare=untrusted, over=("https",)),
    Case("TLS: client certificate not taken", prepare=no_client_certificate, over=("https",)),
    Case("TLS: the other side speaks none", prepare=no_tls, over=("https",)),
    Case("TLS handshake times out", prepare=silent_handshake, over=("https",)),
    # while and after bytes leave
    Case("idle connection closed by the service", prepare=idle_closed),
    Case("idle connection on which the service says something", prepare=said_on_idle),
    Case("reset before the body is read", prepare=reset_before_body),
    Case("writing the body times out", prepare=big_body),
    Case("reset after the body", reset_after_body),
    Case("closed after the body", close_after_body),
    Case("no response in time", hang, first_byte_late),
    # a broken answer
    Case("half a header", half_a_head),
    Case("half a body", half_a_body),
    Case("the answer stalls", stalled_body, first_byte_late),
    Case("no HTTP", in_turn(b"SSH-2.0-nonsense\r\n\r\n")),
    Case("200 without `dispatch_uuid`", in_turn(reply(200, {"ok": True}))),
    Case("202 with garbage", in_turn(reply(202, b"\x00garbage"))),
    Case("202 with HTML", in_turn(reply(202, PAGE, HTML))),
    Case("303 to elsewhere", in_turn(reply(303, b"", {"Location": "/other"}))),
    Case("307 to elsewhere", in_turn(reply(307, b"", {"Location": "/other"}))),
    # credentials
    Case("401 once (token expired)", in_turn(example("kpn_401_expired_token_fault"), reply(202, ACCEPTED))),
    Case("401 for good", in_turn(example("kpn_401_invalid_token_fault"))),
    Case("401 sent as 500, once", in_turn(example("kpn_500_invalid_token_fault"), reply(202, ACCEPTED))),
    Case("401 sent as 500 in XML, for good", in_turn(reply(500, XML, {"Content-Type": "text/xml"}))),
    Case("401: project without this product", in_turn(example("kpn_401_no_product_match"))),
    Case("token endpoint: client id wrong, as 500", token=in_turn(
        reply(500, {"error": {"message": "invalid_client-invalid_client_id"}})
    )),
    Case("token endpoint: 503", token=in_turn(reply(503, PAGE, HTML))),
    Case("token endpoint: hangs up", token=close_after_body),
    # refusals
    Case("400", in_turn(example("vonage_400_invalid_params_array"))),
    Case("400 with the parameter `balance`", in_turn(reply(400, NO_CREDIT))),
    Case("402", in_turn(problem(402, "low-balance"))),
    Case("403", in_turn(reply(403, FORBIDDEN))),
    Case("404", in_turn(reply(404, {"error": {"name": "Not Found", "message": "no such application"}}))),
    Case("409", in_turn(problem(409, "conflict"))),
    Case("415", in_turn(problem(415, "content-type-header"))),
    Case("422", in_turn(problem(422, "1150"))),
    # a proxy on the way
    Case("408 once", in_turn(reply(408), reply(202, ACCEPTED))),
    Case("408 for good", in_turn(reply(408))),
    Case("421", in_turn(reply(421))),
    Case("425 once, with `Retry-After: 2`", in_turn(limited("2", 425), reply(202, ACCEPTED))),
    # limits
    Case("429 once, with `Retry-After: 2`", in_turn(limited("2"), reply(202, ACCEPTED))),
    Case("429 for good, with `Retry-After: 2`", in_turn(limited("2"))),
    Case("429 with `Retry-After: 3600`", in_turn(limited("3600"))),
    Case("429 once, without a header", in_turn(reply(429), reply(202, ACCEPTED))),
    Case("429 for good, without a header", in_turn(reply(429))),
    Case("quota sent as 500, once", in_turn(example("kpn_500_quota_fault"), reply(202, ACCEPTED))),
    Case("quota sent as 500, for good", in_turn(example("kpn_500_quota_fault"))),
    # the service is ill
    Case("500", in_turn(reply(500, {"error": {"name": "Internal Server Error"}}))),
    Case("502 in HTML", in_turn(reply(502, PAGE, HTML))),
    Case("503", in_turn(example("kpn_503_flat"))),
    Case("504", in_turn(reply(504))),
    Case("500 in XML", in_turn(reply(500, b"<fault>unexpected</fault>", {"Content-Type": "text/xml"}))),
]  # fmt: skip


@asynccontextmanager
async def client_of(scene: Scene, waits: list[float]) -> AsyncIterator[DispatchClient]:
    """Yield a client whose pauses take no time and are written down."""

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        now[0] += seconds
        await asyncio.sleep(0)

    now = [1000.0]
    context = client_context(scene.certificate) if scene.tls and scene.trusted else True
    async with AsyncExitStack() as stack:
        settings: dict[str, Any] = {"ssl": context}
        if scene.resolver is not None:
            connector = aiohttp.TCPConnector(resolver=scene.resolver, ssl=context)
            session = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
            settings = {"session": session}
        yield await stack.enter_async_context(
            DispatchClient(
                auth=KpnOAuth("id", "client-secret", scene.token_url),
                application_id="app",
                base_url=scene.base_url,
                clock=lambda: now[0],
                sleep=sleep,
                random=lambda: 0.0,
                **settings,
            )
        )


async def observe(case: Case, over: str, certificate: Path) -> str:
    """Make one failure happen and return its line of the table."""
    workflow = Workflow.from_json((PAYLOADS / "requests" / "whatsapp_text.json").read_bytes())
    waits: list[float] = []
    tls = over == "https"
    context = server_context(certificate) if tls else None
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(
            RawServer(
                handler_of(case.answer),
                None if case.token is None else handler_of(case.token),
                ssl_context=context,
            )
        )
        scene = Scene(server, certificate, tls, server.base_url, server.token_url, workflow)
        if case.prepare is not None:
            arranged = case.prepare(scene, stack)
            if arranged is not None:
                await arranged
        client = await stack.enter_async_context(client_of(scene, waits))
        if scene.warm:
            # A connection that exists already: what is timed is the write or the answer, not the handshake.
            handler = server.handler
            if case.prepare not in {idle_closed, said_on_idle}:
                server.handler = accept
            await client.send(workflow)
            server.handler = handler
            if scene.meanwhile is not None:
                scene.meanwhile()
        before = client.statistics().attempts, server.posts
        error: APIError | None = None
        try:
            await client.send(scene.workflow, timeout=scene.timeout)
        except APIError as raised:
            error = raised
        attempts = client.statistics().attempts - before[0]
        tokens = client.statistics().tokens
        posts = server.posts - before[1]
    does = _does(attempts, client.statistics().token_requests, tokens, waits)
    if error is None:
        return f"| {case.name} | {does} | nothing | sent | | {posts} |"
    kind = type(error).__name__
    return f"| {case.name} | {does} | `{kind}` | {error.outcome} | {error.phase} | {posts} |"


def _does(attempts: int, token_requests: int, tokens: int, waits: list[float]) -> str:
    parts: list[str] = []
    if tokens == 0:
        parts.append(
            "asks for a token" if token_requests == 1 else f"asks for a token {token_requests} times"
        )
    else:
        parts.append("tries once" if attempts == 1 else f"tries {attempts} times")
    if tokens > 1:
        parts.append("the second time with a new token")
    if waits:
        parts.append(f"after waits of {', '.join(f'{each:g}' for each in waits)} s")
    return ", ".join(parts)


HEAD = (
    "| what happens | what the client does | it raises | outcome | phase | POSTs |\n"
    "| --- | --- | --- | --- | --- | --- |"
)


async def _main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        certificate = make_certificate(Path(folder) / "localhost.pem")
        print(HEAD)
        for case in CASES:
            print(await observe(case, case.over[0], certificate))


if __name__ == "__main__":
    asyncio.run(_main())
