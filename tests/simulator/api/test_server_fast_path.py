"""The fast lane: whatever way the bytes come, the answers are those that aiohttp would have given."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexmo_dispatch_async.simulator import Simulator
from nexmo_dispatch_async.simulator.api.answers import Reply
from nexmo_dispatch_async.simulator.api.server_fast_path import FastPathProtocol, Unusual, read_request
from tests.simulator.conftest import Caller
from tests.simulator.support import workflow

PATH = "/communication/nexmo/dispatch"


def request(body: bytes = b"{}", *headers: str, path: str = PATH, method: str = "POST") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


# ---- reading


def test_a_send_is_read_whole() -> None:
    data = request(b'{"a":1}', "ApplicationId:  app ", "content-type: application/json") + b"POST"

    read = read_request(bytearray(data))

    assert read is not None
    headers, body, taken = read
    assert (body, data[taken:]) == (b'{"a":1}', b"POST")
    assert (headers.get("applicationid"), headers.get("Content-Type")) == ("app", "application/json")
    assert headers.get("X-None", "?") == "?"


@given(st.integers(1, 200))
def test_what_is_not_complete_is_waited_for(cut: int) -> None:
    data = request(b'{"a":1}', "ApplicationId: app")

    read = read_request(bytearray(data[:cut]))

    assert (read is None) == (cut < len(data))


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n",
        b"POST /communication/nexmo/dispatch HTTP/1.0\r\n\r\n",
        b"POST /communication/nexmo/dispatch?x=1 HTTP/1.1\r\n\r\n",
        b"POST /communication/nexmo/dispatch HTTP/1.1\r\n\r\n",
        request(path="/communication/nexmo/dispatch/"),
        request(b"", "Transfer-Encoding: chunked"),
        request(b"", "Content-Encoding: gzip"),
        request(b"", "Expect: 100-continue"),
        request(b"", "Connection: close"),
        request(b"", "Host: again"),
        request(b"", "no colon"),
        request(b"", ": no name"),
        request(b"", "X-Folded: a\r\n b: c"),
        request(b"", "X-Control: \x01"),
        request(b"", "X-Latin: \xe9"),
        request(b"", "X-Bare: a\rb"),
        request().replace(b"Content-Length: 2", b"Content-Length: +2"),
        request().replace(b"Content-Length: 2", b"Content-Length: 9999999"),
        request().replace(b"Host: localhost", b"X-Host: localhost"),
        request(b"", "X-Long: " + "x" * 9000),
        b"POST /communication/nexmo/dispatch HTTP/1.1\r\n" + b"x" * 9000,
    ],
)  # fmt: skip
def test_anything_unusual_is_left_to_aiohttp(data: bytes) -> None:
    with pytest.raises(Unusual):
        read_request(bytearray(data))


# ---- one connection, without a network


class Wire(asyncio.Transport):
    """A transport that writes down what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.reading = True
        self.protocol: object = None

    def write(self, data: Any) -> None:
        self.written += data

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def set_protocol(self, protocol: object) -> None:
        self.protocol = protocol


class Fallback(asyncio.Protocol):
    def __init__(self) -> None:
        self.got = b""

    def data_received(self, data: bytes) -> None:
        self.got += data


def lane(
    answer: Callable[..., Reply | None],
) -> tuple[FastPathProtocol, Wire, Fallback, set[asyncio.Transport]]:
    fallback, wire, open_ones = Fallback(), Wire(), set[asyncio.Transport]()
    protocol = FastPathProtocol(answer, lambda: "Wed, 01 Jan 2025 00:00:00 GMT", lambda: fallback, open_ones)
    protocol.connection_made(wire)
    return protocol, wire, fallback, open_ones


def accept(headers: object, body: bytes) -> Reply:
    return Reply(202, body, {"X-One": "1"})


def test_requests_are_answered_in_order_until_the_writer_is_full() -> None:
    protocol, wire, _, open_ones = lane(accept)

    protocol.data_received(request(b"1"))
    protocol.pause_writing()
    protocol.data_received(request(b"2") + request(b"3")[:-1])
    assert (
        wire.written.count(b"HTTP/1.1 202 Accepted\r\nX-One: 1\r\nContent-Length: 1\r\n"),
        wire.reading,
    ) == (1, False)
    protocol.resume_writing()
    protocol.data_received(b"3")

    assert wire.reading
    assert [part[-1:] for part in wire.written.split(b"HTTP")[1:]] == [b"1", b"2", b"3"]
    assert open_ones == {wire}
    protocol.connection_lost(None)
    protocol.connection_lost(None)
    protocol.pause_writing()
    protocol.resume_writing()
    assert open_ones == set()


def test_what_the_lane_may_not_answer_is_handed_over_with_all_bytes() -> None:
    protocol, wire, fallback, open_ones = lane(lambda *_: None)

    protocol.data_received(request(b"1") + b"more")

    assert fallback.got == request(b"1") + b"more"
    assert wire.protocol is fallback
    assert (wire.written, open_ones) == (b"", set())


# ---- on a port


async def talk(sim: Simulator, *parts: bytes, answers: int) -> list[tuple[int, bytes]]:
    """Send parts one by one over one connection, and read so many answers."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(sim.url.rsplit(":", 1)[1]))
    for part in parts:
        writer.write(part)
        await writer.drain()
        await asyncio.sleep(0)
    told: list[tuple[int, bytes]] = []
    for _ in range(answers):
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
        told.append((int(head.split(b" ")[1]), await reader.readexactly(length)))
    writer.close()
    await writer.wait_closed()
    return told


async def headers_of(caller: Caller) -> list[str]:
    await caller.sign_in()
    return [
        f"Authorization: Bearer {caller.token}",
        f"applicationid: {caller.application.id}",
        "Content-Type: application/json",
    ]


async def test_all_ways_to_send_lead_to_a_workflow(caller: Caller) -> None:
    """In pieces, two at once, chunked, with a slash, and after another request on the same connection."""
    headers, body = await headers_of(caller), json.dumps(workflow()).encode()
    whole = request(body, *headers)
    head = "\r\n".join(
        [f"POST {PATH} HTTP/1.1", "Host: localhost", *headers, "Transfer-Encoding: chunked", "", ""]
    )
    chunked = head.encode() + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    listing = request(b"", *headers, method="GET", path="/communication/nexmo/applications")
    slashed = request(body, *headers, path=PATH + "/")

    parts = (whole[:9], whole[9:90], whole[90:] + whole, chunked, listing, slashed, whole)
    told = await talk(caller.sim, *parts, answers=6)

    assert [status for status, _ in told] == [202, 202, 202, 200, 202, 202]
    assert len({answer for _, answer in told}) == 6
    assert caller.sim.accepted == 5


async def test_both_lanes_answer_alike(caller: Caller) -> None:
    headers, body = await headers_of(caller), json.dumps(workflow()).encode()

    for sent in (body, b"nonsense", b'{"template":"failover"}'):
        fast, slow = await talk(
            caller.sim, request(sent, *headers), request(sent, *headers, "TE: trailers"), answers=2
        )
        assert fast[0] == slow[0]
        assert sorted(json.loads(fast[1])) == sorted(json.loads(slow[1]))


async def test_an_open_connection_ends_with_the_server() -> None:
    sim = Simulator()
    async with sim:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(sim.url.rsplit(":", 1)[1]))
        while not sim._server._fast:  # noqa: ASYNC110 - a test has no event for "connected"
            await asyncio.sleep(0)

    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()
