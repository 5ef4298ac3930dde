"""The server of the client benchmark: responds to every POST with 202 at once, over plain HTTP and over TLS.

It checks nothing and measures nothing: it runs in a process of its own so that its work does not count.

    python benchmarks/server.py certificate.pem key.pem

prints the two ports, without arguments only that of plain HTTP, and ends with its standard input.
"""

from __future__ import annotations

import asyncio
import itertools
import ssl
import sys
import uuid

# The header fields of the gateway's responses (contract 1.4), so that a response costs as much as a real one.
ANSWER = (
    b"HTTP/1.1 202 Accepted\r\n"
    b"Date: Mon, 06 Jul 2026 12:00:00 GMT\r\n"
    b"Content-Type: application/json\r\n"
    b"Content-Length: %d\r\n"
    b"quota-limit: 100000\r\nquota-used: 17\r\nquota-reset-UTC: 2026-07-07 00:00:00 UTC\r\n"
    b"\r\n%s"
)
# Different ids in no order, as from the gateway: equal ids would be cheaper to keep.
DISPATCHED = [b'{"dispatch_uuid":"%s"}' % str(uuid.uuid4()).encode() for _ in range(8192)]
# The Messages API, which is what the official SDK speaks.
MESSAGED = b'{"message_uuid":"aaaaaaaa-bbbb-cccc-dddd-0123456789ab"}'
TO_DISPATCH = itertools.cycle([ANSWER % (len(body), body) for body in DISPATCHED])
TO_MESSAGES = ANSWER % (len(MESSAGED), MESSAGED)


class Connection(asyncio.Protocol):
    """One connection: requests in order, one at a time."""

    def __init__(self) -> None:
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while True:
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self.buffer[:end].lower()
            at = head.find(b"\r\ncontent-length:")
            length = int(head[at + 17 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self.buffer) < end + 4 + length:
                return
            self.buffer = self.buffer[end + 4 + length :]
            self.transport.write(TO_MESSAGES if head.startswith(b"post /v1/messages") else next(TO_DISPATCH))


async def main(certificate: str = "", key: str = "") -> None:
    loop = asyncio.get_running_loop()
    servers = [await loop.create_server(Connection, "127.0.0.1", 0, backlog=256)]
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        servers.append(await loop.create_server(Connection, "127.0.0.1", 0, backlog=256, ssl=context))
    print(*(server.sockets[0].getsockname()[1] for server in servers), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
