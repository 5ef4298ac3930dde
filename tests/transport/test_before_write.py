"""A caller has the last word before a request is written: what it must not send then does not leave."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from nexmo_dispatch_async.client import DispatchClient
from nexmo_dispatch_async.exceptions import LedgerError
from nexmo_dispatch_async.interruption import outcome_of_failure
from nexmo_dispatch_async.middleware import Attempt, Middleware
from nexmo_dispatch_async.sansio import Request, Response
from nexmo_dispatch_async.workflow import Workflow
from tests.support.clients import client_of, kpn_client_of
from tests.support.misbehaving import Connection, RawServer, Received, accept

# The promises of this module hold on both wires: see conftest.
BOTH_WIRES = True

T = TypeVar("T")


class TooLateError(LedgerError):
    """What the callers of this module raise."""


def refuse() -> None:
    raise TooLateError("too late")


async def sent(
    client: DispatchClient, workflow: Workflow, before_write: Callable[[], object] | None = None
) -> int:
    """Send a workflow, and return the status of the answer."""
    request = client.ready_request(workflow.to_json())
    return await client.call(request, lambda response: response.status, before_write=before_write)


@pytest.mark.parametrize("warm", [False, True], ids=["new connection", "kept connection"])
@pytest.mark.parametrize("surrounded", [False, True], ids=["plain", "middleware"])
async def test_its_exception_ends_the_call_and_nothing_was_sent(
    workflow: Workflow, *, warm: bool, surrounded: bool
) -> None:
    """The caller gets it as it is, at once, and the client goes on."""
    middleware = [_Both()] if surrounded else []
    async with RawServer() as server, client_of(server, middleware=middleware) as client:
        if warm:
            assert await sent(client, workflow) == 202
        before = server.posts
        with pytest.raises(TooLateError) as caught:
            await sent(client, workflow, before_write=refuse)

        assert server.posts == before
        assert outcome_of_failure(caught.value).outcome == "not_sent"
        assert client.statistics().attempts == before + 1
        assert await sent(client, workflow, before_write=lambda: None) == 202
        assert server.posts == before + 1


async def test_it_is_asked_after_the_waits_for_a_token_and_a_slot(workflow: Workflow) -> None:
    """What holds when a request has waited is asked, and not what held when the call began."""
    go, is_late = asyncio.Event(), False

    async def answer(request: Received, connection: Connection) -> None:
        await go.wait()
        await accept(request, connection)

    def check() -> None:
        if is_late:
            refuse()

    async with RawServer(answer) as server, kpn_client_of(server, limit=1) as client:
        first, second = (asyncio.create_task(sent(client, workflow, before_write=check)) for _ in range(2))
        await asyncio.wait_for(server.arrived.wait(), 20)
        is_late = True
        go.set()

        assert await first == 202
        with pytest.raises(TooLateError):
            await second
    assert server.posts == 1


class _Both(Middleware):
    """Stands around calls and attempts, and changes nothing."""

    async def call(self, request: Request, proceed: Callable[[Request], Awaitable[T]]) -> T:
        return await proceed(request)

    async def attempt(self, attempt: Attempt, proceed: Callable[[Attempt], Awaitable[Response]]) -> Response:
        return await proceed(attempt)
