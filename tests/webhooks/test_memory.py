"""Bodies that cost little to send and much to unpack: a receiver process stays small and quick."""

import asyncio
import gzip
import io
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.hostile import Connection, good, receiver, request

MIB = 1024 * 1024
#: 0.9 MB that would unpack to 900 MB; as large as the limit lets in.
BOMB_SIZE = 900_000
#: What eight bombs may cost together; a single one that is unpacked whole costs 900 MiB.
GROWTH = 64 * MIB
pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="there is no /proc to read")


def bomb() -> bytes:
    """One gzip member, near the largest body that is let in, of nothing but blanks."""
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=9, mtime=0) as file:
        while packed.tell() < BOMB_SIZE:
            file.write(b" " * MIB)
    return packed.getvalue()


def peak(pid: int) -> int:
    """The most resident memory that a process ever had, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text("ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


@pytest.fixture(params=["aiohttp", "asgi"])
async def process(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[int, int]]:
    """The port and the id of a receiver process that has answered one request."""
    with (
        (tmp_path / "log").open("w", encoding="utf-8") as log,
        receiver(request.param, body_timeout=15, log=log) as (port, pid),
    ):
        connection = Connection(port)
        assert await connection.exchange((good(0),)) == 200
        await connection.close()
        yield port, pid


async def post(port: int, body: bytes, *headers: str) -> int:
    """Post on a connection of its own; 0 when the server hung up before its answer was read."""
    connection = Connection(port)
    status = await connection.exchange((request(body, "Content-Encoding: gzip", *headers),))
    await connection.close()
    return status


@pytest.mark.timeout(120)
async def test_eight_gzip_bombs_without_a_token_take_little_memory(process: tuple[int, int]) -> None:
    """A stranger needs no token to post: the unpacked size is bounded before a token is looked at."""
    port, pid = process
    before, body = peak(pid), bomb()

    async with asyncio.timeout(60):
        answers = await asyncio.gather(*(post(port, body) for _ in range(8)))

    assert set(answers) <= {413, 0}
    assert peak(pid) - before < GROWTH
    connection = Connection(port)
    assert await connection.exchange((good(1),)) == 200
    await connection.close()
