"""Bodies that cost little to send and much to unpack: a receiver process stays small and quick."""

import asyncio
import zlib
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
    """One gzip member, near the largest body that is let in, of nothing but blanks.

    A mebibyte of them is packed once, and repeated: to pack all of them takes seconds. The end of the member
    is never reached, and is missing.
    """
    packer = zlib.compressobj(9, wbits=31)
    first, mebibyte = (packer.compress(b" " * MIB) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    return first + mebibyte * ((BOMB_SIZE - len(first)) // len(mebibyte))


def test_the_bomb_unpacks_to_almost_a_gigabyte() -> None:
    """What the receivers below are sent is what it is said to be."""
    body, unpacker = bomb(), zlib.decompressobj(wbits=31)

    assert unpacker.decompress(body, 3 * MIB) == b" " * 3 * MIB
    assert BOMB_SIZE * 0.99 < len(body) <= BOMB_SIZE
    assert len(body) // len(zlib.compress(b" " * MIB, 9)) * MIB > 800 * MIB


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
