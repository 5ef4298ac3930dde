"""The account and its access tokens (contract 2)."""

import aiohttp
import pytest

from nexmo_dispatch_async.simulator import Simulator
from nexmo_dispatch_async.simulator.world.seeded_random import SeededRandom
from nexmo_dispatch_async.simulator.world.tokens import Account, Tokens


def test_an_account_follows_from_the_seed_and_keeps_its_secrets() -> None:
    account = Account(SeededRandom(0))

    assert account.accepts(account.client_id, account.client_secret)
    assert not account.accepts(account.client_id, "wrong")
    assert Account(SeededRandom(0)).client_id == account.client_id != Account(SeededRandom(1)).client_id
    assert account.client_secret not in repr(account)
    assert len(account.signature_secret) == 64


def test_a_token_ends_with_its_lifetime() -> None:
    tokens = Tokens(SeededRandom(0))
    token = tokens.issue(0, 3599)

    assert len(token) == 28
    assert tokens.state(f"Bearer {token}", 3_598_999) == "valid"
    assert tokens.state(f"bearer {token}", 3_599_000) == "expired"


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer x", "Basic {}", "{}"])
def test_anything_else_is_no_token(header: str | None) -> None:
    tokens = Tokens(SeededRandom(0))
    token = tokens.issue(0, 3599)

    assert tokens.state(header and header.format(token), 0) == "invalid"


def test_tokens_can_be_expired_and_old_ones_are_forgotten() -> None:
    tokens = Tokens(SeededRandom(0))
    first = tokens.issue(0, 3599)

    tokens.expire()

    assert tokens.state(f"Bearer {first}", 0) == "expired"
    for _ in range(1000):
        tokens.issue(0, 3599)
    assert tokens.state(f"Bearer {first}", 0) == "invalid"
    assert tokens.issued == 1001


@pytest.mark.parametrize("speed", [60, 1000])
async def test_a_fast_clock_does_not_shorten_tokens(speed: float) -> None:
    """A client keeps its token for 3599 seconds of its own; at any speed the simulator takes it as long."""
    real = [0.0]
    answers: list[tuple[float, int]] = []
    async with (
        Simulator(speed=speed, monotonic=lambda: real[0]) as sim,
        aiohttp.ClientSession() as session,
    ):
        form = {"client_id": sim.client_id, "client_secret": sim.client_secret}
        async with session.post(sim.token_url + "?grant_type=client_credentials", data=form) as answer:
            headers = {"Authorization": f"Bearer {(await answer.json())['access_token']}"}
        for moment in (61.0, 3598.0, 3599.0):
            real[0] = moment
            async with session.get(sim.base_url + "/applications", headers=headers) as answer:
                answers.append((moment, answer.status))

    assert answers == [(61.0, 200), (3598.0, 200), (3599.0, 401)]
