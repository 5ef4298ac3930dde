"""100,000 hostile requests against a receiver on a live socket, over each adapter; run by `make soak`."""

import pytest

from tests.support.hostile import MIB, attack

COUNT, SLOW = 100_000, 300
#: What an allocator may keep for itself, after the first fifth: 100 bytes a request.
ALLOWED_GROWTH = 8 * MIB
#: How long a genuine request may take meanwhile, in seconds, where client and server share two cores.
LONGEST, USUAL = 5.0, 0.5


@pytest.mark.timeout(600)
@pytest.mark.parametrize("adapter", ["aiohttp", "asgi"])
async def test_100_000_hostile_requests(adapter: str) -> None:
    """Only 4xx, or 503 if unsigned; no traceback, memory flat, and good traffic is served meanwhile."""
    result = await attack(adapter, count=COUNT, slow_count=SLOW)

    print(f"\n{adapter}: {result.report()}")
    assert result.wrong == []
    assert result.answers.total() + result.hung_up + result.left == COUNT
    assert result.hung_up < COUNT / 100
    assert set(result.good) == {200}
    assert sorted(result.delays)[int(len(result.delays) * 0.99)] < USUAL
    assert max(result.delays) < LONGEST
    assert result.memory[-1] - result.memory[0] < ALLOWED_GROWTH
    assert "Traceback" not in result.log
