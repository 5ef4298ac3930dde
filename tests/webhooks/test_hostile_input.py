"""A short form of tests/soak/test_hostile_input.py: every kind of hostile request, genuine ones meanwhile."""

import pytest

from tests.support.hostile import ATTACKS, SLOW, attack


@pytest.mark.parametrize("count", [100, pytest.param(250, marks=pytest.mark.long)])
@pytest.mark.parametrize("adapter", ["aiohttp", "asgi"])
async def test_hostile_input_is_refused_and_good_requests_get_200(adapter: str, count: int) -> None:
    """Nothing but 4xx, or 503 if unsigned; no traceback, and every genuine request is served."""
    result = await attack(adapter, count=count, slow_count=12, body_timeout=0.2)

    assert result.wrong == []
    assert set(result.attacks) == {attack.__name__ for attack in (*ATTACKS, *SLOW)}
    assert {400, 401, 408, 413, 415, 503} <= set(result.answers)
    assert set(result.good) == {200}
    assert result.left > 0
    assert [word for word in ("Traceback", "ERROR", "127.0.0.1") if word in result.log] == []
