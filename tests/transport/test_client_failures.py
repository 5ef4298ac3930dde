"""Each way a send can fail: what the client raises, and how many POSTs the server saw."""

import asyncio
import select
import socket
import traceback
import warnings
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from nexmo_dispatch_async.auth import BearerToken, KpnOAuth
from nexmo_dispatch_async.client import DispatchClient
from nexmo_dispatch_async.exceptions import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    CertificateError,
    ClientClosedError,
    ConfigurationError,
    OutcomeUnknownError,
    ProtocolError,
)
from nexmo_dispatch_async.retry import RetryPolicy, Timeout
from nexmo_dispatch_async.sansio import Request
from nexmo_dispatch_async.transport import progress
from nexmo_dispatch_async.transport.failures import failure_of
from nexmo_dispatch_async.transport.progress import Phase, Progress
from nexmo_dispatch_async.transport.session_wire import Body
from nexmo_dispatch_async.workflow import Workflow
from tests.support.misbehaving import (
    ACCEPTED,
    Connection,
    RawServer,
    Received,
    accept,
    answering,
    close_after_body,
    hang,
    reply,
    reset_after_body,
)
from tests.support.tls import client_context, server_context

# The promises of this module hold on both wires: see conftest.
BOTH_WIRES = True

Handler = Callable[[Received, Connection], Awaitable[None]]


@pytest.fixture(params=["http", "https"])
def tls(request: pytest.FixtureRequest, certificate: Path) -> Iterator[tuple[Any, Any]]:
    """Yield the contexts of server and client, both `None` for plain HTTP."""
    if request.param == "http":
        yield None, None
    else:
        yield server_context(certificate), client_context(certificate)


def client_of(base_url: str, session: aiohttp.ClientSession | None = None, **settings: Any) -> DispatchClient:
    async def no_sleep(_seconds: float) -> None: ...

    return DispatchClient(
        auth=BearerToken("very-secret"),
        application_id="app",
        base_url=base_url,
        session=session,
        sleep=no_sleep,
        **settings,
    )


async def reset_in_the_answer(_request: Received, connection: Connection) -> None:
    await connection.write(reply(202, ACCEPTED)[:-10])
    connection.reset()


CHUNKED = b"HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n"

# what the server does; what the client raises; POSTs the server sees. tests/failures.py has many more.
FAILURES: dict[str, tuple[Handler, type[APIError], int]] = {
    "resets after the body": (reset_after_body, OutcomeUnknownError, 1),
    "reset in the answer": (reset_in_the_answer, ProtocolError, 1),
    "no response in time": (hang, OutcomeUnknownError, 1),
    "bad chunk": (answering(CHUNKED + b"zz\r\n"), ProtocolError, 1),
    "bad compression": (
        answering(reply(202, b"not gzip", {"Content-Encoding": "gzip"})),
        ProtocolError,
        1,
    ),
    "endless answer": (answering(reply(202, b"x" * 100_000)), ProtocolError, 1),
    "endless chunks": (answering(CHUNKED + (b"4000\r\n" + b"x" * 0x4000 + b"\r\n") * 5), ProtocolError, 1),
    "500": (answering(reply(500)), OutcomeUnknownError, 1),
}


@pytest.mark.parametrize("name", FAILURES)
async def test_what_each_failure_means(workflow: Workflow, tls: tuple[Any, Any], name: str) -> None:
    """Contract 3.8: after bytes left nothing is repeated; nothing foreign escapes."""
    handler, kind, posts = FAILURES[name]
    server_tls, client_tls = tls
    async with RawServer(handler, ssl_context=server_tls) as server:
        connector = aiohttp.TCPConnector(ssl=client_tls) if client_tls else None
        async with aiohttp.ClientSession(connector=connector) as session:
            client = client_of(
                server.base_url, session, timeout=Timeout(connect=2, total=0.2), max_response=50_000
            )
            with pytest.raises(APIError) as caught:
                await client.send(workflow)

    assert type(caught.value) is kind, caught.value
    assert len([r for r in server.received if r.method == "POST"]) == posts
    assert len(server.received) == posts
    assert caught.value.attempts == posts
    assert caught.value.request == "POST /dispatch"
    shown = f"{caught.value!r} {caught.value.__cause__!r}"
    assert "very-secret" not in shown
    assert "44741" not in shown


async def test_an_answer_over_the_cap_costs_no_other_send_its_connection(workflow: Workflow) -> None:
    """Once it is read it is in use again: giving up the first request must not break the second."""
    long, short = reply(202, {**ACCEPTED, "more": "x" * 60_000}), reply(202, ACCEPTED)
    async with (
        RawServer(answering(*[long, short] * 20)) as server,
        client_of(server.base_url, limit=1, max_response=50_000) as client,
    ):
        results = await asyncio.gather(*(client.send(workflow) for _ in range(40)), return_exceptions=True)

    assert [type(result).__name__ for result in results] == ["ProtocolError", "Dispatch"] * 20


@pytest.mark.parametrize("sends", [200, pytest.param(1000, marks=pytest.mark.long)])
async def test_sends_to_a_server_that_reads_and_closes(workflow: Workflow, sends: int) -> None:
    """As many POSTs and unknown outcomes as sends: nothing is sent twice."""
    async with RawServer(close_after_body) as server, client_of(server.base_url) as client:
        errors = await asyncio.gather(*(client.send(workflow) for _ in range(sends)), return_exceptions=True)

    assert {type(error) for error in errors} == {OutcomeUnknownError}
    assert len(server.received) == sends


# --- before a byte left ---------------------------------------------------------------------------


async def test_a_refused_connection_is_tried_again_and_then_not_sent(
    workflow: Workflow, hold_port: Callable[[], int]
) -> None:
    async with client_of(f"http://127.0.0.1:{hold_port()}") as client:
        with pytest.raises(APIConnectionError, match="POST /dispatch: no connection: ") as caught:
            await client.send(workflow)

    assert caught.value.attempts == 4
    assert isinstance(caught.value.__cause__, ConnectionRefusedError)


async def test_an_unknown_host_is_not_sent(workflow: Workflow) -> None:
    class NoNames(aiohttp.abc.AbstractResolver):
        async def resolve(self, host: str, port: int = 0, family: Any = 0) -> Any:
            raise OSError(None, "no such name")

        async def close(self) -> None: ...

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=NoNames())) as session:
        with pytest.raises(APIConnectionError):
            await client_of("https://nowhere.example", session).send(workflow)


async def test_an_unknown_certificate_is_not_sent(workflow: Workflow, certificate: Path) -> None:
    async with (
        RawServer(ssl_context=server_context(certificate)) as server,
        client_of(server.base_url) as client,
    ):
        with pytest.raises(CertificateError, match="certificate verify failed") as caught:
            await client.send(workflow)

    assert server.received == []
    assert caught.value.error_class == "configuration"
    assert caught.value.attempts == 1, "what is trusted is a setting: nothing to wait for"


async def test_a_certificate_that_is_not_the_pinned_one_is_not_sent(
    workflow: Workflow, certificate: Path
) -> None:
    async with (
        RawServer(ssl_context=server_context(certificate)) as server,
        client_of(server.base_url, ssl=aiohttp.Fingerprint(b"0" * 32)) as client,
    ):
        with pytest.raises(
            CertificateError, match=r"no connection: the certificate has another fingerprint; "
        ):
            await client.send(workflow)

    assert server.received == []


async def test_a_token_endpoint_that_is_not_trusted_is_asked_once(
    workflow: Workflow, certificate: Path
) -> None:
    async with RawServer(ssl_context=server_context(certificate)) as server:
        auth = KpnOAuth("id", "client-secret", server.token_url)
        async with DispatchClient(auth=auth, application_id="app", base_url=server.base_url) as client:
            with pytest.raises(CertificateError) as caught:
                await client.send(workflow)

    assert caught.value.phase == "token"
    assert client.statistics().token_requests == 1


@pytest.mark.parametrize(("connect", "total"), [(0.05, 5), (5, 0.05)])
async def test_no_connection_in_time_is_not_sent(workflow: Workflow, connect: float, total: float) -> None:
    """Whichever of the two limits ends it: a TLS handshake that never comes."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        async with client_of(f"https://127.0.0.1:{silent.getsockname()[1]}") as client:
            with pytest.raises(APITimeoutError, match="no connection in time") as caught:
                await client.send(
                    workflow, timeout=Timeout(connect=connect, total=total), retry=RetryPolicy(attempts=2)
                )

    assert caught.value.attempts == 2


async def test_an_idle_connection_closed_by_the_service_costs_nothing(workflow: Workflow) -> None:
    """The close arrived but the event loop did not look yet: the request moves to a new connection."""
    connections: list[Connection] = []

    async def remember(request: Received, connection: Connection) -> None:
        connections.append(connection)
        await accept(request, connection)

    async with RawServer(remember) as server, client_of(server.base_url) as client:
        await client.send(workflow)
        # Close underneath asyncio, so that the client's loop learns of it only by looking at the socket.
        connections[0].writer.get_extra_info("socket")._sock.shutdown(socket.SHUT_RDWR)
        await client.send(workflow, retry=RetryPolicy(attempts=1))

    assert len(server.received) == 2
    assert server.connections == 2


class Transport(asyncio.Transport):
    """A transport that breaks when it is written to."""

    def abort(self) -> None:
        self.closing = True

    def __init__(self, *, closing: bool = False, breaks: bool = False) -> None:
        super().__init__()
        self.closing = closing
        self.breaks = breaks
        self.written = b""

    def is_closing(self) -> bool:
        return self.closing

    def get_protocol(self) -> asyncio.BaseProtocol:
        return asyncio.Protocol()


class Writer:
    """As much of aiohttp's stream writer as a body uses."""

    def __init__(self, transport: Transport | None) -> None:
        self.transport = transport

    async def write(self, chunk: bytes) -> None:
        assert self.transport is not None
        self.transport.written += chunk
        self.transport.closing = self.transport.breaks


@pytest.mark.parametrize(
    ("transport", "phase"),
    [
        (None, Phase.STALE),
        (Transport(closing=True), Phase.STALE),
        (Transport(breaks=True), Phase.STALE),
        (Transport(), Phase.LEFT),
    ],
)
async def test_a_body_knows_how_far_it_got(transport: Transport | None, phase: Phase) -> None:
    known = Progress()
    body = Body(b"body", known)
    phases = [known.phase]
    assert body.size == body.size == 4
    phases.append(known.phase)
    assert body.decode() == "body"

    writer: Any = Writer(transport)
    if phase is Phase.LEFT:
        await body.write(writer)
    else:
        with pytest.raises(ConnectionResetError):
            await body.write(writer)

    assert [*phases, known.phase] == [Phase.UNSEEN, Phase.PREPARED, phase]
    assert body.consumed is (phase is Phase.LEFT)


async def test_a_body_that_left_is_not_written_again() -> None:
    body = Body(b"body", Progress())
    writer: Any = Writer(Transport())
    await body.write(writer)

    with pytest.raises(ConnectionResetError, match="after the request had been sent"):
        await body.write(writer)

    assert writer.transport.written == b"body"


async def test_a_body_that_was_given_up_is_not_written() -> None:
    """The task in which aiohttp writes may come late."""
    body = Body(b"body", Progress())
    assert body.size == 4
    writer: Any = Writer(Transport())

    body.abandon()
    with pytest.raises(ConnectionResetError, match="given up"):
        await body.write(writer)

    assert writer.transport.written == b""


async def test_giving_up_what_left_drops_the_connection() -> None:
    """Otherwise what waits in a buffer would hold it open until the other side took it."""
    body = Body(b"body", Progress())
    writer: Any = Writer(Transport())
    await body.write(writer)

    body.abandon()

    assert writer.transport.closing


async def test_an_answer_in_pieces_is_read_to_its_end(workflow: Workflow) -> None:
    async def in_pieces(_request: Received, connection: Connection) -> None:
        for piece in (
            CHUNKED + b"10\r\n" + b'{"dispatch_uuid"',
            b"\r\n5\r\n" + b':"u"}' + b"\r\n",
            b"0\r\n\r\n",
        ):
            await connection.write(piece)
            await asyncio.sleep(0.01)

    async with RawServer(in_pieces) as server, client_of(server.base_url) as client:
        assert (await client.send(workflow)).dispatch_uuid == "u"


async def test_a_stale_connection_is_given_up_after_some_tries(
    workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every connection turns out closed: at last that is an error, and still nothing was sent."""
    tries = 0

    async def broken(*_args: Any, data: Any = None, **_kwargs: Any) -> None:
        nonlocal tries
        tries += 1
        await data.write_with_length(Writer(None), None)

    monkeypatch.setattr(aiohttp.ClientSession, "_request", broken)
    async with client_of("http://127.0.0.1:1") as client:
        with pytest.raises(APIConnectionError, match="closed before anything was written"):
            await client.send(workflow, retry=RetryPolicy(attempts=2))

    assert tries == 2 * 4


async def test_closing_while_connecting_is_not_sent(workflow: Workflow) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.setblocking(False)
        client = client_of(f"https://127.0.0.1:{silent.getsockname()[1]}")
        task = asyncio.create_task(client.send(workflow, timeout=Timeout(connect=0.2)))
        connection, _ = await asyncio.get_running_loop().sock_accept(silent)
        with connection:
            await client.aclose()
            with pytest.raises(ClientClosedError):
                await task


async def test_no_connection_in_time_is_a_time_out(workflow: Workflow) -> None:
    """`except TimeoutError` around a send catches it, as it does one of `asyncio.timeout()`."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        async with client_of(f"https://127.0.0.1:{silent.getsockname()[1]}") as client:
            with pytest.raises(TimeoutError, match=r"^POST /dispatch: no connection in time; ") as caught:
                await client.send(workflow, timeout=Timeout(connect=0.05), retry=RetryPolicy(attempts=2))

    assert isinstance(caught.value, APITimeoutError)
    assert caught.value.attempts == 2, "nothing in here takes it for a time-out of its own"


# --- sessions of your own -------------------------------------------------------------------------


async def test_a_session_that_authorizes_is_refused() -> None:
    """Aiohttp would refuse each request, since the client names an authorization too."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        session = aiohttp.ClientSession(auth=aiohttp.BasicAuth("user", "very-secret"))
    async with session:
        with pytest.raises(ConfigurationError, match="make your session without auth"):
            client_of("https://h", session)


async def test_what_the_session_refuses_was_not_sent(workflow: Workflow) -> None:
    """Found wrong before there is a request, as with credentials in the address: the same every time."""
    async with RawServer() as server:

        async def refuse(*_: object) -> None:
            raise ValueError("mine")

        traces = aiohttp.TraceConfig()
        traces.on_request_start.append(refuse)
        async with aiohttp.ClientSession(trace_configs=[traces]) as session:
            client = client_of(server.base_url, session)
            with pytest.raises(
                ConfigurationError,
                match=r"^POST /dispatch: nothing was sent, the session refuses it: mine$",
            ):
                await client.send(workflow)

    assert server.posts == 0
    now = client.statistics()
    assert (now.attempts, now.unknown, now.interrupted, now.interrupted_unknown) == (1, 0, 1, 0)


def test_a_session_of_another_event_loop_is_named(workflow: Workflow) -> None:
    """Each time, and with nothing of either loop in the message."""
    other = asyncio.new_event_loop()

    async def make() -> aiohttp.ClientSession:
        return aiohttp.ClientSession()

    async def use(session: aiohttp.ClientSession) -> None:
        client = client_of("http://127.0.0.1:1", session)
        for _ in range(2):
            with pytest.raises(ClientClosedError, match=r"^the session .* belongs to another event loop$"):
                await client.send(workflow)

    session = other.run_until_complete(make())
    asyncio.run(use(session))
    other.run_until_complete(session.close())
    other.close()


# --- what an error shows --------------------------------------------------------------------------


async def test_a_connection_that_breaks_shows_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """Aiohttp names the whole address: the id of an application, and its URLs in the query."""
    monkeypatch.setattr(progress, "pending_input", lambda _transport: select.POLLHUP)
    # Not where the call is written: a traceback shows its lines.
    private = ("an-application", "https://user:very-secret@h/")
    async with RawServer() as server, client_of(server.base_url) as client:
        with pytest.raises(APIConnectionError) as caught:
            await client.applications.using(retry=RetryPolicy(attempts=1)).update(
                private[0], status_url=private[1], encoding="query"
            )

    assert caught.value.message == (
        "PUT /applications/{id}: no connection: the connection was closed before anything was written"
    )
    shown = "".join(traceback.format_exception(caught.value))
    assert "an-application" not in shown
    assert "very-secret" not in shown


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            aiohttp.ConnectionTimeoutError("Connection timeout to host https://h/x?key=1"),
            "no connection in time",
        ),
        (aiohttp.InvalidURL("https://h/x?key=1"), "no connection: InvalidURL"),
        (RuntimeError("Task <Task pending name='Task-1'> got Future"), "no connection: RuntimeError"),
    ],
)
def test_neither_addresses_nor_tasks_are_shown(error: Exception, message: str) -> None:
    known = Progress()
    assert Body(b"", known).size == 0

    failure = failure_of(Request("POST", "https://h/x?key=1", {}, b"", "/x"), known, error)

    assert isinstance(failure, APIError)
    assert failure.message == f"POST /x: {message}"


def test_foreign_errors_without_text_are_named() -> None:
    request = Request("GET", "https://h/", {}, None, "/x")
    left = Progress()
    left.phase = Phase.LEFT

    error = failure_of(request, left, OSError())

    assert (
        str(error) == "GET /x: sent, and the connection broke: OSError; it only reads, so it may be repeated"
    )
