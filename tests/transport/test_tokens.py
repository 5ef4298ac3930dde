"""Promises about a token that is due and still good. Others about tokens are in test_client."""

import asyncio

import pytest

from nexmo_dispatch_async import (
    AuthenticationError,
    DispatchClient,
    KpnOAuth,
    Request,
    Response,
    TokenUnavailableError,
    Workflow,
)
from tests.support.clients import kpn_client_of
from tests.support.clock import Time
from tests.support.misbehaving import Connection, RawServer, Received, answering, reply


async def test_a_token_that_cannot_be_renewed_early_is_used_to_its_end(workflow: Workflow) -> None:
    """One try in half a minute, as long as the old token is good; then the policy applies."""
    time = Time()
    token = reply(200, {"access_token": "t", "expires_in": 3600})
    handler = answering(token, reply(503), reply(429), b"nonsense\r\n\r\n", reply(503))
    async with RawServer(token_handler=handler) as server, kpn_client_of(server, time) as client:
        await client.send(workflow)
        asked: list[int] = []
        for now in (3485, 3500, 3514, 3516, 3550, 3599):
            time.now = time.started + now
            await client.send(workflow)
            asked.append(len(server.token_requests))
        assert time.slept == []
        time.now = time.started + 3600
        with pytest.raises(TokenUnavailableError) as caught:
            await client.send(workflow)

    assert asked == [2, 2, 2, 3, 4, 5]
    assert caught.value.attempts == 4
    assert server.posts == 7


async def test_no_other_send_waits_while_a_token_is_renewed_early(workflow: Workflow) -> None:
    time = Time()
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def slow_token(_request: Received, connection: Connection) -> None:
        if server.token_requests[1:]:
            asked.set()
            await go_on.wait()
        await connection.write(reply(200, {"access_token": "t", "expires_in": 3600}))

    async with RawServer(token_handler=slow_token) as server, kpn_client_of(server, time) as client:
        await client.send(workflow)
        time.now += 3500
        renewing = asyncio.create_task(client.send(workflow))
        await asked.wait()
        await asyncio.gather(*(client.send(workflow) for _ in range(10)))
        assert not renewing.done()
        go_on.set()
        await renewing

    assert len(server.token_requests) == 2


async def test_credentials_that_became_wrong_are_told_at_once(workflow: Workflow) -> None:
    """The old token will not be good for long either."""
    time = Time()
    handler = answering(
        reply(200, {"access_token": "t", "expires_in": 3600}), reply(401, {"ErrorCode": "invalid_client"})
    )
    async with RawServer(token_handler=handler) as server, kpn_client_of(server, time) as client:
        await client.send(workflow)
        time.now += 3500
        for _ in range(2):
            with pytest.raises(AuthenticationError):
                await client.send(workflow)

    assert len(server.token_requests) == 3


class FourMethods:
    """Credentials that are no more than the `Auth` protocol asks for."""

    def __init__(self, inner: KpnOAuth) -> None:
        self._inner = inner

    def authorization(self, now: float) -> str | None:
        return self._inner.authorization(now)

    def token_request(self) -> Request:
        return self._inner.token_request()

    def receive_token(self, response: Response, now: float, *, epoch: float = 0.0) -> None:
        self._inner.receive_token(response, now, epoch=epoch)

    def reject(self, authorization: str) -> bool:
        return self._inner.reject(authorization)


async def test_credentials_that_cannot_postpone_are_renewed_when_they_say_so(workflow: Workflow) -> None:
    time = Time()
    token = reply(200, {"access_token": "t", "expires_in": 3600})
    handler = answering(token, reply(503), token)
    async with RawServer(token_handler=handler) as server:
        auth = FourMethods(KpnOAuth("id", "client-secret", server.token_url))
        async with DispatchClient(
            auth=auth, application_id="app", base_url=server.base_url, clock=time, sleep=time.sleep
        ) as client:
            await client.send(workflow)
            time.now += 3500
            await client.send(workflow)

    assert len(server.token_requests) == 3
    assert len(time.slept) == 1
