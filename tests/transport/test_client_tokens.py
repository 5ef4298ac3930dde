"""Promises of the client about tokens; real sockets, an own clock."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from nexmo_dispatch_async.auth import BearerToken, KpnOAuth
from nexmo_dispatch_async.exceptions import AuthenticationError, PermissionDeniedError, TokenUnavailableError
from nexmo_dispatch_async.workflow import Workflow
from tests.support.answers import error_reply
from tests.support.clients import kpn_client_of
from tests.support.clock import Time
from tests.support.misbehaving import (
    ACCEPTED,
    Connection,
    RawServer,
    Received,
    answering,
    close_after_body,
    reply,
)


@pytest.mark.parametrize("sends", [200, pytest.param(1000, marks=pytest.mark.long)])
async def test_concurrent_sends_on_a_cold_client_make_one_token_request(
    workflow: Workflow, sends: int
) -> None:
    async with RawServer() as server, kpn_client_of(server) as client:
        dispatches = await asyncio.gather(*(client.send(workflow) for _ in range(sends)))

    assert {dispatch.dispatch_uuid for dispatch in dispatches} == {ACCEPTED["dispatch_uuid"]}
    assert len(server.token_requests) == 1
    assert len(server.received) == sends


def expiring(last: int, refusal: bytes) -> Callable[[Received, Connection], Any]:
    """Accept `token1` for the first `last` requests, and only `token2` from then on."""
    seen = 0

    async def handler(request: Received, connection: Connection) -> None:
        nonlocal seen
        seen += 1
        good = request.header("Authorization") == ("Bearer token1" if seen <= last else "Bearer token2")
        await connection.write(reply(202, ACCEPTED) if good else refusal)

    return handler


@pytest.mark.parametrize(
    "refusal",
    ["kpn_401_expired_token_fault", "kpn_500_invalid_token_fault", "kpn_500_invalid_token_envelope"],
)
@pytest.mark.parametrize("sends", [200, pytest.param(1000, marks=pytest.mark.long)])
async def test_a_token_rejected_in_mid_run_costs_one_more_and_no_failed_send(
    workflow: Workflow, refusal: str, sends: int
) -> None:
    """Contract 2.3: drop the token, fetch one, repeat the call once; the status may be 500."""
    async with (
        RawServer(expiring(sends * 2 // 5, error_reply(refusal))) as server,
        kpn_client_of(server) as client,
    ):
        dispatches = await asyncio.gather(*(client.send(workflow) for _ in range(sends)))

    assert len(dispatches) == sends
    assert len(server.token_requests) == 2
    # One repetition for each rejection, and no more.
    renewed = Counter(r.header("Authorization") for r in server.received)["Bearer token2"]
    assert sends * 3 // 5 <= renewed <= sends


async def test_a_token_that_ends_by_the_clock_is_renewed_once(workflow: Workflow) -> None:
    time = Time()
    async with RawServer() as server, kpn_client_of(server, time) as client:
        await asyncio.gather(*(client.send(workflow) for _ in range(50)))
        time.now += 3590
        await asyncio.gather(*(client.send(workflow) for _ in range(50)))

    assert len(server.token_requests) == 2


async def test_a_second_rejection_is_an_error(workflow: Workflow) -> None:
    handler = answering(error_reply("kpn_401_invalid_token_fault"))
    async with RawServer(handler) as server, kpn_client_of(server) as client:
        with pytest.raises(AuthenticationError) as caught:
            await client.send(workflow)

    assert len(server.received) == 2
    assert len(server.token_requests) == 2
    assert caught.value.attempts == 2


async def test_a_token_that_cannot_be_renewed_is_not_tried_twice(workflow: Workflow) -> None:
    handler = answering(error_reply("vonage_401_unauthorized"))
    async with RawServer(handler) as server, kpn_client_of(server, auth=BearerToken("t")) as client:
        with pytest.raises(AuthenticationError):
            await client.send(workflow)

    assert len(server.received) == 1


async def test_a_missing_product_asks_for_no_new_token(workflow: Workflow) -> None:
    """Contract 2.3: an entitlement error must not loop."""
    handler = answering(error_reply("kpn_401_no_product_match"))
    async with RawServer(handler) as server, kpn_client_of(server) as client:
        with pytest.raises(PermissionDeniedError):
            await client.send(workflow)

    assert (len(server.received), len(server.token_requests)) == (1, 1)


async def test_a_failing_fetch_fails_all_who_waited_without_a_stampede(workflow: Workflow) -> None:
    handler = answering(reply(500, {"error": {"message": "invalid_client-invalid_client_id"}}))
    async with RawServer(token_handler=handler) as server, kpn_client_of(server, limit=1000) as client:
        errors = await asyncio.gather(*(client.send(workflow) for _ in range(1000)), return_exceptions=True)

    assert {type(error) for error in errors} == {AuthenticationError}
    assert len({id(error) for error in errors}) == 1000, "a traceback belongs to one task"
    assert len(server.token_requests) == 1
    assert server.received == []


async def test_a_fetch_is_tried_again_within_the_policy(workflow: Workflow) -> None:
    """Contract 2.2: other 5xx are transient."""
    time = Time()
    token = reply(200, {"access_token": "t"})
    handler = answering(reply(503, b"<html>"), reply(429, b"", {"Retry-After": "3"}), token)
    async with RawServer(token_handler=handler) as server, kpn_client_of(server, time) as client:
        await client.send(workflow)

    assert len(server.token_requests) == 3
    assert time.slept == [0.25, 3.5]


@pytest.mark.parametrize("handler", [close_after_body, answering(b"nonsense\r\n\r\n"), answering(reply(503))])
async def test_a_token_endpoint_out_of_order_means_that_nothing_was_sent(
    workflow: Workflow, handler: Any
) -> None:
    async with RawServer(token_handler=handler) as server, kpn_client_of(server) as client:
        with pytest.raises(
            TokenUnavailableError, match="POST /oauth/client_credential/accesstoken"
        ) as caught:
            await client.send(workflow)

    assert caught.value.outcome == "not_sent"
    assert caught.value.attempts == 4
    assert server.received == []


async def test_a_later_send_fetches_anew_after_a_failure(workflow: Workflow) -> None:
    handler = answering(reply(401, {"ErrorCode": "invalid_client"}), reply(200, {"access_token": "t"}))
    async with RawServer(token_handler=handler) as server, kpn_client_of(server) as client:
        with pytest.raises(AuthenticationError):
            await client.send(workflow)
        dispatch = await client.send(workflow)

    assert dispatch.dispatch_uuid


async def test_credentials_that_never_yield_anything_do_not_loop(workflow: Workflow) -> None:
    class Never(KpnOAuth):
        def authorization(self, now: float) -> None:  # narrower than the parent
            return None

    async with RawServer() as server, kpn_client_of(server, auth=Never("a", "b", server.token_url)) as client:
        with pytest.raises(TokenUnavailableError, match="over before it could be used"):
            await client.send(workflow)


async def test_cancelling_the_fetching_caller_does_not_break_the_others(workflow: Workflow) -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def slow_token(_request: Received, connection: Connection) -> None:
        asked.set()
        await go_on.wait()
        await connection.write(reply(200, {"access_token": "t"}))

    async with RawServer(token_handler=slow_token) as server, kpn_client_of(server) as client:
        tasks = [asyncio.create_task(client.send(workflow)) for _ in range(10)]
        await asked.wait()
        tasks[0].cancel()
        go_on.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)

    assert isinstance(results[0], asyncio.CancelledError)
    assert all(not isinstance(result, BaseException) for result in results[1:])
    assert len(server.token_requests) == 2
