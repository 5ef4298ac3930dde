"""A server of its own process that answers every POST with a 202 and counts how many it holds at once.

Run as a program it prints its port. It answers a few milliseconds after a request is complete, so that
requests in flight overlap, and tells its counts to `GET /counts`. It ends with its standard input.
"""

import asyncio
import json
import sys

ANSWER_AFTER = 0.004  # seconds
ACCEPTED = json.dumps({"dispatch_uuid": "aaaaaaaa-bbbb-cccc-dddd-0123456789ab"}).encode()
TOKEN = json.dumps({"access_token": "counting-server-token", "expires_in": "3599"}).encode()


class Counter(asyncio.Protocol):
    """One connection; the counts are shared by all of them."""

    posts = in_flight = max_in_flight = tokens = 0

    def __init__(self) -> None:
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, end, rest = self.buffer.partition(b"\r\n\r\n")
        if not end:
            return
        length = 0
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            if name.strip().lower() == b"content-length":
                length = int(value)
        if len(rest) < length:
            return
        self.buffer = rest[length:]
        if head.startswith(b"GET "):
            counts = {
                "posts": Counter.posts,
                "max_in_flight": Counter.max_in_flight,
                "tokens": Counter.tokens,
            }
            self.answer(200, json.dumps(counts).encode())
        elif b"accesstoken" in head.split(b"\r\n", 1)[0]:
            Counter.tokens += 1
            self.answer(200, TOKEN)
        else:
            Counter.posts += 1
            Counter.in_flight += 1
            Counter.max_in_flight = max(Counter.max_in_flight, Counter.in_flight)
            asyncio.get_running_loop().call_later(ANSWER_AFTER, self.accept)

    def accept(self) -> None:
        Counter.in_flight -= 1
        self.answer(202, ACCEPTED)

    def answer(self, status: int, body: bytes) -> None:
        if not self.transport.is_closing():
            fields = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            self.transport.write(f"HTTP/1.1 {status} OK\r\n{fields}".encode() + body)


async def main() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Counter, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(main())
