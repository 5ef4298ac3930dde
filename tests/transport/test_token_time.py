"""`RetryPolicy.timeout` is the deadline of the whole call, the token included."""

import asyncio

import pytest

from nexmo_dispatch_async.auth import VonageJWT
from nexmo_dispatch_async.exceptions import AuthenticationError, TokenUnavailableError
from nexmo_dispatch_async.retry import RetryPolicy
from nexmo_dispatch_async.workflow import Workflow
from tests.support.clients import client_of, kpn_client_of
from tests.support.clock import Time
from tests.support.keys import rsa_key
from tests.support.misbehaving import Connection, RawServer, Received, accept, reply

SECOND = RetryPolicy(timeout=1)
TOKEN = reply(200, {"access_token": "token1", "expires_in": "3599"})


async def test_no_post_begins_after_a_token_that_took_too_long(workflow: Workflow) -> None:
    """One second, and a token that takes three: not sent. The token is there for the next call."""
    time = Time()

    async def slow(_request: Received, connection: Connection) -> None:
        time.now += 3
        await connection.write(TOKEN)

    async with RawServer(token_handler=slow) as server, kpn_client_of(server, time) as client:
        with pytest.raises(TokenUnavailableError) as caught:
            await client.send(workflow, retry=SECOND)
        assert server.posts == 0
        await client.send(workflow, retry=SECOND)

    assert caught.value.message == "POST /dispatch: not begun, the token came after the 1 s of the policy"
    assert (caught.value.outcome, caught.value.phase) == ("not_sent", "token")
    assert caught.value.steps, "it tells what was not sent"
    assert (server.posts, len(server.token_requests)) == (1, 1)


async def test_a_token_in_time_is_used(workflow: Workflow) -> None:
    time = Time()

    async def slow(_request: Received, connection: Connection) -> None:
        time.now += 0.9
        await connection.write(TOKEN)

    async with RawServer(token_handler=slow) as server, kpn_client_of(server, time) as client:
        await client.send(workflow, retry=SECOND)

    assert server.posts == 1


async def test_no_token_request_is_repeated_after_the_time_of_the_call(workflow: Workflow) -> None:
    """The policy of the call counts, not that of the client."""
    time = Time()

    async def fail(_request: Received, connection: Connection) -> None:
        time.now += 0.5
        await connection.write(reply(503))

    async with RawServer(token_handler=fail) as server, kpn_client_of(server, time) as client:
        with pytest.raises(TokenUnavailableError):
            await client.send(workflow, retry=SECOND)

    assert len(server.token_requests) == 2
    assert time.slept == [0.25]


async def test_a_call_without_time_costs_the_others_no_token(workflow: Workflow) -> None:
    """Its fetch ends early; the next one that waits makes one of its own, with the time that it has."""
    time = Time()
    first = asyncio.Event()

    async def fail_first(_request: Received, connection: Connection) -> None:
        if len(server.token_requests) == 1:
            await first.wait()
            time.now += 0.9
            await connection.write(reply(503))
        else:
            await connection.write(TOKEN)

    async with RawServer(token_handler=fail_first) as server, kpn_client_of(server, time) as client:
        hurried = asyncio.create_task(client.send(workflow, retry=SECOND))
        await asyncio.sleep(0)
        patient = asyncio.create_task(client.send(workflow))
        await asyncio.sleep(0)
        first.set()

        assert (await patient).dispatch_uuid
        with pytest.raises(TokenUnavailableError):
            await hurried

    assert len(server.token_requests) == 2


async def test_a_call_waits_for_the_fetch_of_another_no_longer_than_its_time(workflow: Workflow) -> None:
    go_on = asyncio.Event()

    async def later(_request: Received, connection: Connection) -> None:
        await go_on.wait()
        await connection.write(TOKEN)

    async with RawServer(token_handler=later) as server, kpn_client_of(server) as client:
        patient = asyncio.create_task(client.send(workflow))
        await asyncio.sleep(0)
        with pytest.raises(TokenUnavailableError, match="within the time of the policy"):
            await client.send(workflow, retry=RetryPolicy(timeout=0.05))
        go_on.set()

        assert (await patient).dispatch_uuid
        assert client.statistics().not_sent == 1

    assert len(server.token_requests) == 1


async def test_no_second_try_with_a_new_token_after_the_time(workflow: Workflow) -> None:
    """A token that was rejected is replaced once, but not after the deadline."""
    time = Time()

    async def reject(request: Received, connection: Connection) -> None:
        time.now += 3
        await (connection.write(reply(401)) if server.posts == 1 else accept(request, connection))

    async with RawServer(reject) as server, kpn_client_of(server, time) as client:
        with pytest.raises(AuthenticationError) as caught:
            await client.send(workflow, retry=SECOND)
        assert (server.posts, caught.value.attempts) == (1, 1)
        await client.send(workflow, retry=RetryPolicy(timeout=None))

    assert len(server.token_requests) == 2, "the rejected token is not used again"


async def test_credentials_that_sign_their_own_tokens_are_held_to_it_too(workflow: Workflow) -> None:
    time = Time()

    async def reject(_request: Received, connection: Connection) -> None:
        time.now += 3
        await connection.write(reply(401))

    auth = VonageJWT("7d1c2f6a-0b0e-4b57-9a2e-3f1f0a9f6c11", rsa_key())
    async with RawServer(reject) as server, client_of(server, time, auth=auth) as client:
        with pytest.raises(AuthenticationError):
            await client.send(workflow, retry=SECOND)

    assert server.posts == 1
