"""Hostile requests for a live receiver, and the driver that counts what they are answered."""

import asyncio
import base64
import gzip
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nexmo_dispatch_webhooks import sign
from nexmo_dispatch_webhooks.testing import status_body

SERVER = Path(__file__).parent / "receiver_process.py"
SECRET = "signature-secret-of-the-hostile-tests-0123456789"
MIB = 1024 * 1024
#: An HTTP request as bytes; the pauses between the parts are for slow ones; HANG_UP is for one that is left.
Request = tuple[bytes, ...]
HANG_UP = b""
Attack = Callable[[random.Random], Request]

_BOMB = gzip.compress(b" " * (16 * MIB))
_DEEP = [b"[" * 100_000, b'{"a":' * 100_000, b'{"a":' * 20_000 + b"1" + b"}" * 20_000]
_PAUSE = 0.05


def request(body: bytes, *headers: str, path: str = "/webhooks") -> bytes:
    """An HTTP request with a Content-Length and a content type."""
    lines = [f"POST {path} HTTP/1.1", "Host: x", "Content-Type: application/json", *headers]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode("latin-1") + body


def chunked(*chunks: bytes, headers: str = "") -> bytes:
    """The start of a chunked request, without its end."""
    head = f"POST /webhooks HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n{headers}\r\n".encode()
    return head + b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)


def good(number: int) -> bytes:
    """A genuine status."""
    body = json.dumps(status_body(message_uuid=f"m{number}", timestamp="2025-01-01T14:00:00.000Z")).encode()
    return request(body, "Authorization: " + sign(body, secret=SECRET, api_key="k", jti=str(number)))


# --- tokens: 401, and 503 where there is none ---


def _body(rnd: random.Random) -> bytes:
    return json.dumps({"message_uuid": f"{rnd.getrandbits(64):x}", "status": "read"}).encode()


def _encode(value: Any) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def mutated_token(rnd: random.Random) -> Request:
    """A genuine token with some of its characters changed, cut or repeated."""
    body = _body(rnd)
    genuine = sign(body, secret=SECRET, api_key="k", jti="j").encode()
    token = bytearray(genuine)
    for _ in range(rnd.randint(1, 4)):
        at = rnd.randrange(7, len(token) - 1)  # the last character holds bits that do not count
        match rnd.randrange(3):
            case 0:
                token[at] = rnd.choice([c for c in b"abcXYZ019-_.=+/~" if c != token[at]])
            case 1:
                del token[at : at + rnd.randint(1, 20)]
            case _:
                token[at:at] = token[7 : 7 + rnd.randint(1, 20)]
    if token == genuine:  # one change took back the other
        del token[-20:]
    return (request(body, "Authorization: " + token.decode()),)


def forged_header(rnd: random.Random) -> Request:
    """`alg: none` and its relatives, with and without a signature."""
    body = _body(rnd)
    _, claims, signature = sign(body, secret=SECRET, api_key="k", jti="j").split(".")
    alg: Any = rnd.choice(
        ["none", "None", "NONE", "nOnE", "RS256", "HS384", "HS512", "", None, 256, ["HS256"], {}]
    )
    header = _encode({"alg": alg, "typ": "JWT", **rnd.choice([{}, {"kid": "../../x"}, {"jwk": {}}])})
    return (request(body, f"Authorization: Bearer {header}.{claims}.{rnd.choice(['', signature])}"),)


def forged_claims(rnd: random.Random) -> Request:
    """The genuine header and signature over other claims."""
    body = _body(rnd)
    header, _, signature = sign(body, secret=SECRET, api_key="k", jti="j").split(".")
    claims: Any = rnd.choice(
        [b"\xff\x00", b"", {}, [], 1, {"iss": "Vonage", "api_key": "k"}, b"[" * 2000, {"api_key": "k" * 3000}]
    )
    return (request(body, f"Authorization: {header}.{_encode(claims)}.{signature}"),)


def wrong_hash(rnd: random.Random) -> Request:
    """A genuine token over another body."""
    token = sign(_body(rnd), secret=SECRET, api_key="k", jti="j")
    return (request(_body(rnd), "Authorization: " + token),)


def wrong_key(rnd: random.Random) -> Request:
    """Another secret, or another account."""
    body = _body(rnd)
    token = rnd.choice(
        [
            sign(body, secret="another", api_key="k", jti="j"),
            sign(body, secret="", api_key="k", jti="j"),
            sign(body, secret=SECRET, api_key="another", jti="j"),
        ]
    )
    return (request(body, "Authorization: " + token),)


def wrong_time(rnd: random.Random) -> Request:
    """Rightly signed, from yesterday or from tomorrow."""
    body, now = _body(rnd), int(time.time())
    token = rnd.choice(
        [
            sign(body, secret=SECRET, api_key="k", jti="j", iat=now - 90_001),
            sign(body, secret=SECRET, api_key="k", jti="j", iat=now + 3600),
            sign(body, secret=SECRET, api_key="k", jti="j", iat=10**18),
        ]
    )
    return (request(body, "Authorization: " + token),)


def no_token(rnd: random.Random) -> Request:
    """Other schemes, noise, or nothing; also on odd paths."""
    noise = "".join(chr(rnd.randrange(0x21, 0xFF)) for _ in range(rnd.randint(0, 200))).replace("\x7f", "")
    scheme = rnd.choice(["Bearer", "Basic", "bearer bearer", "", "Bearer ....", "Bearer " + "." * 1000])
    path = "/webhooks/" + rnd.choice(["", "%00", "%ff%fe", "a%20b", "..%2f..", "x" * 500, "?a=b"])
    return (request(_body(rnd), f"Authorization: {scheme} {noise}".rstrip(), path=path),)


# --- bodies: 400, 401, 413, 415, and 503 without a token ---


def signed_nonsense(rnd: random.Random) -> Request:
    """Authentic, so it reaches the parser: deep nesting, NUL bytes, broken UTF-8, no object."""
    body = rnd.choice(
        [
            *_DEEP[: 1 + rnd.randrange(3)],
            bytes(rnd.randrange(1, 200)),
            b'{"message_uuid": "a\x00b"}',
            b'{"a": "\xff\xfe"}',
            rnd.randbytes(300),
            b"",
            b"[]",
            b'"text"',
            b"NaN",
            b'{"a": 1,}',
            b"{'a': 1}",
            b'{"a": ' + b"9" * 5000 + b"",
        ]
    )
    return (request(body, "Authorization: " + sign(body, secret=SECRET, api_key="k", jti="j")),)


def wrong_media_type(rnd: random.Random) -> Request:
    """No token on what is no JSON either, or an encoding that is not supported."""
    header = rnd.choice(
        [
            "Content-Type: text/plain",
            "Content-Type: \x80\xff",
            "Content-Encoding: br, gzip",
            "Content-Encoding: x",
        ]
    )
    body = _body(rnd)
    head = request(body, header).replace(b"Content-Type: application/json\r\n", b"", 1)
    return (head,)


def oversize(rnd: random.Random) -> Request:
    """Larger than the limit, said in advance or not."""
    size = rnd.choice([MIB + 1, 10 * MIB, 10**12, 10**17])
    said = f"POST /webhooks HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode() + b"{"
    return (said,) if rnd.random() < 0.9 else (chunked(*[b" " * 65536] * 17),)


def gzip_bomb(rnd: random.Random) -> Request:
    """A small body that would unpack to 16 MiB."""
    return (request(_BOMB, "Content-Encoding: gzip"),)


def broken_compression(rnd: random.Random) -> Request:
    """Cut short, damaged, or not compressed at all."""
    data = rnd.choice([gzip.compress(_body(rnd)), zlib.compress(_body(rnd)), rnd.randbytes(100)])
    cut = data[: rnd.randrange(1, len(data) - 4)]
    return (request(cut, "Content-Encoding: " + rnd.choice(["gzip", "deflate"])),)


# --- framing: answered by the HTTP server ---


def no_http(rnd: random.Random) -> Request:
    """NUL bytes, noise, and headers that are none."""
    return (
        rnd.choice(
            [
                b"\x00\x01\x02\r\n\r\n",
                b"POST /webhooks HTTP/1.1\r\nHost: x\r\nA\x00: b\r\nContent-Length: 0\r\n\r\n",
                b"POST /webhooks HTTP/1.1\r\nHost: x\r\nA: b\x00c\r\nContent-Length: 0\r\n\r\n",
                b"POST /webhooks\x00 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
                b"POST /webhooks HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
                b"POST /webhooks HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{",
                b"GET / HTTP/9.9\r\n\r\n",
                rnd.randbytes(100).replace(b"\n", b"").replace(b"\r", b"") + b"\r\n\r\n",
            ]
        ),
    )


def broken_chunks(rnd: random.Random) -> Request:
    """Chunk sizes that are no numbers."""
    size = rnd.choice([b"ZZ", b"-1", b"\x00", b"fffffffffffffffffffffff"])
    return (chunked(_body(rnd)) + size + b"\r\n\r\n\r\n",)


def many_headers(rnd: random.Random) -> Request:
    """10,000 of them."""
    return (request(b"{}", *["X: y"] * 10_000),)


# --- slow ones: 408 ---


def endless(rnd: random.Random) -> Request:
    """A chunked body that stops in the middle without an end."""
    return (chunked(_body(rnd)),)


def slow(rnd: random.Random) -> Request:
    """A body that comes a few bytes at a time."""
    data = request(b" " * 10_000)
    return (data[:-10_000], *[b" "] * 200)


def hang_up(rnd: random.Random) -> Request:
    """A body that is abandoned halfway: any client can repeat that for ever, so it must not fill the log."""
    half = request(_body(rnd))[: -rnd.randint(1, 20)]
    return (rnd.choice([half, chunked(_body(rnd)), chunked() + b"5\r\n{"]), HANG_UP)


#: The attacks with their weights; slow ones are few, and go over connections of their own.
ATTACKS: dict[Attack, float] = {
    mutated_token: 20,
    forged_header: 12,
    forged_claims: 10,
    wrong_hash: 12,
    wrong_key: 6,
    wrong_time: 6,
    no_token: 10,
    signed_nonsense: 10,
    wrong_media_type: 5,
    oversize: 2,
    gzip_bomb: 0.3,
    broken_compression: 3,
    no_http: 2,
    broken_chunks: 1,
    many_headers: 0.4,
}
SLOW: dict[Attack, float] = {endless: 1, slow: 1, hang_up: 1}
#: Requests without a signature, or signed for another time: 503, so that a genuine callback is repeated.
UNSIGNED = {no_token, wrong_time, wrong_media_type, many_headers, broken_compression}
#: After these the server hangs up, whether it says so or not, and perhaps before everything was sent.
ENDS = {oversize, gzip_bomb, no_http, broken_chunks, broken_compression, many_headers, endless, slow, hang_up}


@dataclass
class Result:
    """What came of a run."""

    answers: Counter[int] = field(default_factory=lambda: Counter[int]())
    attacks: Counter[str] = field(default_factory=lambda: Counter[str]())
    #: Attacks that were answered neither 4xx nor as unsigned, with the answer; 0 when there was none.
    wrong: list[tuple[str, int]] = field(default_factory=list)
    #: Attacks that did not wait for an answer.
    left: int = 0
    #: Answered 4xx by closing the connection before all was sent, so that the answer was lost on the way.
    hung_up: int = 0
    good: Counter[int] = field(default_factory=lambda: Counter[int]())
    delays: list[float] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)
    log: str = ""
    seconds: float = 0.0

    def report(self) -> str:
        """A few lines for people."""
        delays = statistics.quantiles(self.delays, n=100)
        memory = [round(size / MIB, 1) for size in self.memory]
        median, p99, longest = (
            f"{value * 1000:.1f} ms" for value in (delays[49], delays[98], max(self.delays))
        )
        answers = dict(sorted(self.answers.items()))
        return f"""\
{self.attacks.total()} hostile requests in {self.seconds:.0f} s: {answers}, {self.hung_up} cut off, \
{self.left} left
{self.good.total()} good requests meanwhile: {dict(self.good)}, median {median}, p99 {p99}, longest {longest}
resident memory at a fifth and at the end: {memory} MiB; {len(self.log.splitlines())} lines of log"""


class Connection:
    """A connection that opens again when the server has closed it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def exchange(self, parts: Request) -> int:
        """Send a request, return the status of its answer; 0 when the server hung up."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port, limit=256 * 1024)
        reader, writer = self._streams
        answer = asyncio.ensure_future(self._answer(reader))
        try:
            for number, part in enumerate(parts):
                if number and answer in (await asyncio.wait([answer], timeout=_PAUSE))[0]:
                    break
                if part == HANG_UP:
                    writer.transport.abort()
                writer.write(part)
            status, keep = await answer
        except (ConnectionError, asyncio.IncompleteReadError):
            status, keep = 0, False
        if not keep:
            await self.close()
        return status

    @staticmethod
    async def _answer(reader: asyncio.StreamReader) -> tuple[int, bool]:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
        await reader.readexactly(length)
        return int(head[9:12]), b"connection: close" not in head

    async def close(self) -> None:
        """Hang up."""
        if self._streams is not None:
            writer, self._streams = self._streams[1], None
            writer.close()
            await asyncio.gather(writer.wait_closed(), return_exceptions=True)


@contextmanager
def receiver(adapter: str, *, body_timeout: float, log: Any) -> Iterator[tuple[int, int]]:
    """Run a receiver process; gives its port and its process id."""
    command = [sys.executable, str(SERVER), adapter, SECRET, str(body_timeout)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline()), process.pid
    finally:
        process.communicate(timeout=10)
    assert process.returncode == 0


def resident(pid: int) -> int:
    """The resident memory of a process in bytes; 0 where there is no /proc."""
    path = Path(f"/proc/{pid}/statm")
    return int(path.read_text("ascii").split()[1]) * 4096 if path.exists() else 0


async def attack(
    adapter: str,
    *,
    count: int,
    slow_count: int,
    connections: int = 8,
    body_timeout: float = 0.5,
    seed: int = 0,
) -> Result:
    """Send *count* hostile requests, *slow_count* of them slow, and good ones all the while."""
    result = Result()
    with tempfile.TemporaryFile("w+") as log:
        with receiver(adapter, body_timeout=body_timeout, log=log) as (port, pid):
            started = time.monotonic()
            await _Run(result, port, pid, count, slow_count, random.Random(seed)).drive(connections)
            result.seconds = time.monotonic() - started
            result.memory.append(resident(pid))
        log.seek(0)
        result.log = log.read()
    return result


def _draw(attacks: dict[Attack, float], count: int, rnd: random.Random) -> Iterator[Attack]:
    """Each once, then by weight."""
    yield from attacks
    yield from rnd.choices(list(attacks), list(attacks.values()), k=count - len(attacks))


class _Run:
    def __init__(
        self, result: Result, port: int, pid: int, count: int, slow_count: int, rnd: random.Random
    ) -> None:
        self._result, self._port, self._pid, self._rnd = result, port, pid, rnd
        self._count = count
        self._fast = _draw(ATTACKS, count - slow_count, rnd)
        self._slow = _draw(SLOW, slow_count, rnd)

    async def drive(self, connections: int) -> None:
        done = asyncio.Event()
        goods = asyncio.create_task(self._good(done))
        workers = [self._worker(self._fast) for _ in range(connections)]
        workers += [self._worker(self._slow) for _ in range(connections * 2)]
        try:
            async with asyncio.timeout(540):
                await asyncio.gather(*workers)
        finally:
            done.set()
            await goods

    async def _worker(self, attacks: Iterator[Attack]) -> None:
        connection = Connection(self._port)
        for make in attacks:
            status = await connection.exchange(make(self._rnd))
            if make in ENDS:
                await connection.close()
            self._note(make, status)
        await connection.close()

    def _note(self, make: Attack, status: int) -> None:
        result, name = self._result, make.__name__
        result.attacks[name] += 1
        if status == 0 and make is hang_up:
            result.left += 1
        elif status == 0 and make in ENDS:
            result.hung_up += 1
        elif 400 <= status < 500 or (make in UNSIGNED and status == 503):
            result.answers[status] += 1
        else:
            result.wrong.append((name, status))
        if result.attacks.total() == self._count // 5:
            result.memory.append(resident(self._pid))

    async def _good(self, done: asyncio.Event) -> None:
        connection, number = Connection(self._port), 0
        while not done.is_set():
            started = time.perf_counter()
            self._result.good[await connection.exchange((good(number),))] += 1
            self._result.delays.append(time.perf_counter() - started)
            number += 1
            await asyncio.wait([asyncio.ensure_future(done.wait())], timeout=0.01)
        await connection.close()
