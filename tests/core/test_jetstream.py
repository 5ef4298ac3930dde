"""What both packages need of JetStream, against a real server."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import struct
from collections.abc import AsyncIterator, Iterator

import pytest

from nexmo_dispatch_core.jetstream.address import is_nats, read_address
from nexmo_dispatch_core.jetstream.connection import Connection
from nexmo_dispatch_core.jetstream.durability import Durability, require_durable, sync_always
from nexmo_dispatch_core.jetstream.failures import Failure, RefusedError, WrongSequenceError, failure_of
from nexmo_dispatch_core.jetstream.lease import Lease, LostLeaseError
from nexmo_dispatch_core.jetstream.stream import Shape, Stream, Write
from tests.support.nats_server import NatsServer
from tests.support.started import started

SECRET = "nats://someone:secret@"


class StoreError(Exception):
    """Of the package that uses a store."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.text)
        self.kind = failure.kind


def connection_to(url: str, timeout: float = 15.0) -> Connection:
    return Connection(url, error=StoreError, name="test", timeout=timeout)


@pytest.fixture
async def connection(nats_url: str) -> AsyncIterator[Connection]:
    """An open connection to an empty space."""
    made = connection_to(nats_url)
    await made.open()
    yield made
    await made.aclose()


@pytest.fixture
async def stream(connection: Connection) -> Stream:
    """A stream of subjects that hold one message each."""
    made = Stream(connection, Shape(f"{connection.space}_x", (f"{connection.space}.x.>",)))
    await made.require(create=True)
    return made


@pytest.fixture
def own_server() -> Iterator[NatsServer]:
    """A server that a test may stop."""
    with started(NatsServer()) as server:
        yield server


# --- addresses, failures, durability: without a server


def test_an_address_names_several_servers_and_shows_no_secret() -> None:
    """Host and space are shown; user and password are not."""
    address = read_address("nats://someone:se%2Fcret@one:4222,two,three:4224/spring")

    assert address.servers == ("nats://one:4222", "nats://two", "nats://three:4224")
    assert (address.user, address.password) == ("someone", "se/cret")
    assert (read_address("nats://token@one").user, read_address("nats://one").user) == ("token", None)
    assert (address.space, repr(address)) == ("spring", "<Address spring at one>")
    assert (is_nats("nats://host"), is_nats("TLS://host"), is_nats("inbox.db")) == (True, True, False)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        (f"{SECRET}[broken", "cannot be read"),
        (f"{SECRET}host:port/x", "cannot be read"),
        (SECRET, "cannot be read"),
        (f"{SECRET}host/a.b", "letters, digits"),
        (f"{SECRET}host/x?password=secret", "unknown options"),
        ("tls://someone:secret@host/x?ca=/nowhere/secret", "certificate"),
    ],
)
def test_an_address_that_cannot_be_read_is_not_quoted(url: str, problem: str) -> None:
    """The message says the form, and holds neither user nor password nor path."""
    with pytest.raises(ValueError, match=problem) as caught:
        read_address(url)

    shown = f"{caught.value} {caught.value.__cause__} {caught.value.__context__}"
    assert "secret" not in shown
    assert "someone" not in shown


@pytest.mark.parametrize(
    ("number", "status", "kind"),
    [
        (10077, 400, "full"),
        (10023, 503, "full"),
        (10059, 404, "missing"),
        (10005, 400, "away"),
        (10008, 503, "away"),
        (10176, 400, "away"),
        (10039, 503, "other"),
        (1, 400, "other"),
        (1, 503, "away"),
    ],
)
def test_each_error_of_the_server_has_a_kind(number: int, status: int, kind: str) -> None:
    """A full store is told from a store without a leader, and both from an existing message."""
    assert failure_of(RefusedError(number, status)).kind == kind


def test_campaigns_refuse_a_stream_that_may_lose_a_write(nats_url: str) -> None:
    """Each cause is named, with what it loses; the loss may be accepted."""
    connection = connection_to(nats_url)
    require_durable(connection, Durability(3, sync_always=True))
    for durability, cause in [
        (Durability(1, sync_always=True), "one replica"),
        (Durability(3, sync_always=False), "power failure of most servers"),
        (Durability(3), "monitoring port"),
    ]:
        with pytest.raises(StoreError, match=cause):
            require_durable(connection, durability)
        require_durable(connection, durability, accept_loss=True)


# --- connections


@pytest.mark.engines
async def test_refused_credentials_are_said_at_once() -> None:
    """Long before the timeout, and without user and password."""
    with started(NatsServer(lines=["authorization { user: someone, password: other }"])) as server:
        connection = connection_to(server.url(user="someone:secret@"), timeout=60.0)
        with pytest.raises(StoreError, match="refused the credentials") as caught:
            await connection.open()
        assert caught.value.kind == "rights"
        assert "someone" not in f"{connection!r} {caught.value.__cause__} {caught.value.__context__}"


async def test_a_reset_does_not_hide_refused_credentials() -> None:
    """A server that closes with a ping unread sends a reset behind its words."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"server_id": "x", "version": "2.15.0", "auth_required": true}\r\n')
        await reader.readuntil(b"PING")
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.write(b"-ERR 'Authorization Violation'\r\n")
        writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    connection = connection_to(f"nats://someone:secret@127.0.0.1:{port}")
    with pytest.raises(StoreError, match="refused the credentials"):
        await connection.open()
    server.close()


async def test_a_server_that_is_not_there_is_an_error_in_time() -> None:
    connection = connection_to("nats://someone:secret@127.0.0.1:1/x", timeout=0.5)

    with pytest.raises(StoreError, match="cannot be reached") as caught:
        await connection.open()

    assert (caught.value.kind, caught.value.__context__) == ("away", None)
    assert not connection.is_open


async def test_an_old_server_is_refused() -> None:
    """It has no atomic batches: what is fenced today would not be."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        info = {
            "server_id": "x",
            "version": "2.9.25",
            "headers": True,
            "max_payload": 1048576,
            "jetstream": True,
        }
        writer.write(b"INFO " + json.dumps(info).encode() + b"\r\n")
        while line := await reader.readline():
            if line.startswith(b"PING"):
                writer.write(b"PONG\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    connection = connection_to(f"nats://127.0.0.1:{port}")
    with pytest.raises(StoreError, match=r"version 2\.9\.25: nats-server 2\.12\.1 is needed"):
        await connection.open()
    server.close()


@pytest.mark.engines
async def test_a_user_without_rights_is_told_so() -> None:
    """The server tells it beside the response, which never comes."""
    user = '{ user: u, password: p, permissions: { publish: ["$JS.API.STREAM.INFO.>"], subscribe: ">" } }'
    with started(NatsServer(lines=[f"authorization {{ users: [ {user} ] }}"])) as server:
        connection = connection_to(server.url("abc", "u:p@"))
        await connection.open()
        stream = Stream(connection, Shape("abc_x", ("abc.x.*",)))
        with pytest.raises(StoreError, match="may not do this") as caught:
            await stream.require(create=True)
        assert caught.value.kind == "rights"
        await connection.aclose()


@pytest.mark.engines
async def test_a_server_without_jetstream_is_refused() -> None:
    server = NatsServer(lines=[])
    conf = server.folder / "conf"
    lines = [line for line in conf.read_text("utf-8").splitlines() if not line.startswith("jetstream")]
    conf.write_text("\n".join(lines), "utf-8")
    with started(server), pytest.raises(StoreError, match="JetStream is not enabled"):
        await connection_to(server.url()).open()


@pytest.mark.engines
async def test_the_monitoring_port_tells_when_writes_reach_the_disk(
    nats_server: NatsServer, own_server: NatsServer
) -> None:
    """A client cannot see it; without an answer it is not known."""
    found = [
        await sync_always(f"http://127.0.0.1:{port}") for port in (nats_server.monitor, own_server.monitor, 1)
    ]

    assert found == [False, True, None]


# --- streams


@pytest.mark.engines
async def test_a_message_is_stored_once_under_a_filter(stream: Stream, connection: Connection) -> None:
    """Another subject below the same key counts as well."""
    key = f"{connection.space}.x.key"

    assert await stream.put(Write(f"{key}.e", b"one", 0, f"{key}.>")) == 1
    for name in ("e", "f"):
        with pytest.raises(WrongSequenceError):
            await stream.put(Write(f"{key}.{name}", b"two", 0, f"{key}.>"))

    found = await stream.last(f"{key}.*")
    assert found is not None
    assert (found.seq, found.data) == (1, b"one")
    assert (await stream.state()).last == 1


@pytest.mark.engines
async def test_a_batch_is_stored_as_a_whole_or_not_at_all(stream: Stream, connection: Connection) -> None:
    name = f"{connection.space}.x"
    await stream.put_together([Write(f"{name}.a", b"1"), Write(f"{name}.b", b"1", 0)])

    with pytest.raises(WrongSequenceError):
        await stream.put_together([Write(f"{name}.c", b"2"), Write(f"{name}.b", b"2", 0)])

    assert sorted(await stream.subjects(f"{name}.>")) == [f"{name}.a", f"{name}.b"]
    assert await stream.count(f"{name}.>") == 2


@pytest.mark.engines
async def test_deleted_messages_are_gone(stream: Stream, connection: Connection) -> None:
    """Again without effect; and what follows is found."""
    name = f"{connection.space}.x"
    for letter in "abc":
        await stream.put(Write(f"{name}.{letter}"))

    for _ in range(2):
        await stream.delete(2)
    await stream.clear(f"{name}.a")

    following = await stream.following(1, f"{name}.*")
    assert following is not None
    assert following.seq == 3
    assert (await stream.get(2), await stream.get(9), await stream.last(f"{name}.a")) == (None, None, None)


@pytest.mark.engines
async def test_a_full_stream_is_no_existing_message(connection: Connection) -> None:
    shape = Shape(f"{connection.space}_full", (f"{connection.space}.full.*",), max_bytes=2000)
    stream = Stream(connection, shape)
    await stream.require(create=True)

    writes = [Write(f"{connection.space}.full.{number}", bytes(100), 0) for number in range(100)]

    with pytest.raises(StoreError, match="no room") as caught:
        await asyncio.gather(*(stream.put(write) for write in writes))

    assert caught.value.kind == "full"


@pytest.mark.engines
async def test_a_deleted_stream_is_said_at_once(stream: Stream, connection: Connection) -> None:
    """Reading and writing; a stream that only waits for its leader is waited for instead."""
    await connection.request(f"$JS.API.STREAM.DELETE.{stream.name}")

    for call in (stream.put(Write(f"{connection.space}.x.a")), stream.get(1), stream.state()):
        with pytest.raises(StoreError, match="was deleted") as caught:
            await call
        assert caught.value.kind == "missing"
    with pytest.raises(StoreError, match="was deleted"):
        await stream.require(create=False)


@pytest.mark.engines
async def test_a_stream_waits_for_the_servers_of_its_replicas(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cluster that starts has a leader before it knows all servers: the stream is made a moment later."""
    request, refused = connection.request, list[str]()

    async def early(subject: str, payload: bytes = b"", headers: dict[str, str] | None = None) -> bytes:
        if ".STREAM.CREATE." in subject and len(refused) < 2:
            refused.append(subject)
            return b'{"error": {"code": 400, "err_code": 10005, "description": "no suitable peers"}}'
        return await request(subject, payload, headers)

    monkeypatch.setattr(connection, "request", early)
    stream = Stream(connection, Shape(f"{connection.space}_x", (f"{connection.space}.x.>",)))
    await stream.require(create=True)

    assert len(refused) == 2
    assert await stream.messages() == 0


@pytest.mark.engines
async def test_a_stream_of_another_shape_or_release_is_refused(connection: Connection) -> None:
    """One whose messages expire would lose events."""
    space = connection.space
    foreign = {"name": f"{space}_y", "subjects": [f"{space}.y.>"], "max_age": 10**12}
    await connection.request(f"$JS.API.STREAM.CREATE.{space}_y", json.dumps(foreign).encode())
    newer = Stream(connection, Shape(f"{space}_z", (f"{space}.z.>",), version=2))
    await newer.require(create=True)

    with pytest.raises(StoreError, match="of another shape"):
        await Stream(connection, Shape(f"{space}_y", (f"{space}.y.>",))).require(create=True)
    with pytest.raises(StoreError, match="install the newer release"):
        await Stream(connection, Shape(f"{space}_z", (f"{space}.z.>",))).require(create=True)


@pytest.mark.engines
async def test_a_restart_of_the_server_costs_a_wait(own_server: NatsServer) -> None:
    """A call that comes meanwhile is carried out when the server is back, with all that it acknowledged."""
    connection = connection_to(own_server.url("again"), timeout=25.0)
    await connection.open()
    stream = Stream(connection, Shape("again_x", ("again.x.*",)))
    await stream.require(create=True)
    await stream.put(Write("again.x.a", b"1"))

    own_server.stop(signal.SIGKILL)
    later = asyncio.create_task(stream.put(Write("again.x.b", b"2", 0)))
    await asyncio.to_thread(own_server.start)

    assert await later == 2
    found = await stream.last("again.x.a")
    assert found is not None
    await connection.aclose()
    with pytest.raises(StoreError, match="closed"):
        await stream.state()


# --- the lease


class Leases:
    """Leases of several processes on one subject, with one clock."""

    def __init__(self, stream: Stream, space: str) -> None:
        self.now = 0.0
        self.subject = f"{space}.x.lease"
        self._stream = stream

    def new(self) -> Lease:
        return Lease(self._stream, self.subject, seconds=10.0, monotonic=lambda: self.now)


@pytest.fixture
def leases(stream: Stream, connection: Connection) -> Leases:
    return Leases(stream, connection.space)


@pytest.mark.engines
async def test_one_process_holds_the_lease_as_long_as_it_lives(leases: Leases) -> None:
    """Another takes it after its time without a sign of life, and reads what was reported."""
    one, other = leases.new(), leases.new()
    assert await one.hold(b"1")
    for number in range(3):
        assert not await other.hold()
        leases.now += 9.0
        assert await one.hold(b"%d" % number)

    assert not await other.hold()
    assert (other.report, one.lapsed) == (b"2", False)
    leases.now += 10.0
    assert one.lapsed
    assert await other.hold()
    assert not await one.hold()
    assert not one.held


@pytest.mark.engines
async def test_a_lease_that_is_given_up_is_free_at_once(leases: Leases) -> None:
    one, other = leases.new(), leases.new()
    await one.hold(b"7")
    await one.give_up()
    await one.give_up()

    assert await other.hold()


@pytest.mark.engines
async def test_a_process_that_slept_past_its_lease_writes_nothing(leases: Leases, stream: Stream) -> None:
    """Though it never learned that its lease was taken."""
    one, other = leases.new(), leases.new()
    await one.hold()
    await other.hold()
    leases.now += 11.0
    assert await other.hold()
    mark = f"{leases.subject}.mark"

    with pytest.raises(LostLeaseError):
        await one.write([Write(mark, b"stale")])
    await other.write([Write(mark, b"fresh")])

    found = await stream.last(mark)
    assert found is not None
    assert found.data == b"fresh"


@pytest.mark.engines
async def test_a_write_whose_response_was_lost_counts_once(
    leases: Leases, stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The holder recognises its own message, and holds the lease still."""
    one = leases.new()
    await one.hold()
    put = stream.put_together

    async def twice(writes: list[Write]) -> int:
        await put(writes)
        return await put(writes)

    monkeypatch.setattr(stream, "put_together", twice)
    before = (await stream.state()).last
    await one.write([Write(f"{leases.subject}.mark", b"1", 0)])
    monkeypatch.undo()

    assert (await stream.state()).last == before + 2
    assert await one.hold()


@pytest.mark.engines
async def test_a_condition_that_fails_costs_no_lease(leases: Leases) -> None:
    """A write that expected another message is refused, and the lease is held."""
    one = leases.new()
    await one.hold()
    await one.write([Write(f"{leases.subject}.mark", b"1", 0)])

    with pytest.raises(WrongSequenceError):
        await one.write([Write(f"{leases.subject}.mark", b"2", 0)])

    assert await one.hold()


async def test_a_server_that_serves_nothing_is_left_for_another(own_server: NatsServer) -> None:
    """It takes connections, as one that lost its cluster does: the call after a failure goes elsewhere."""
    closed = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        listening.close()  # it takes one connection
        info = {"server_id": "x", "version": "2.15.1", "headers": True, "max_payload": 1048576}
        writer.write(b"INFO " + json.dumps(info | {"jetstream": True}).encode() + b"\r\n")
        while line := await reader.readline():
            if line.startswith(b"PING"):
                writer.write(b"PONG\r\n")
        writer.close()
        closed.set()

    own_server.stop()
    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    connection = connection_to(f"nats://127.0.0.1:{port},127.0.0.1:{own_server.port}/x", timeout=1.0)
    await connection.open()
    await asyncio.to_thread(own_server.start)
    stream = Stream(connection, Shape("x", ("x.>",)))

    with pytest.raises(StoreError, match="did not answer in time"):
        await stream.messages()
    async with asyncio.timeout(20):
        await closed.wait()
        connection._timeout = 15.0  # the next call is to succeed, however long a new connection takes
        assert await stream.messages() is None

    await connection.aclose()
