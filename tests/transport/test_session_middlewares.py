"""A session of the caller whose middleware repeats requests: what the client says of the first attempt."""

from __future__ import annotations

import aiohttp
import pytest

from nexmo_dispatch_async.exceptions import APIConnectionError, APIError, OutcomeUnknownError
from nexmo_dispatch_async.workflow import Workflow
from tests.support.clients import client_of
from tests.support.misbehaving import Connection, RawServer, Received


async def again(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Make a second attempt, as middlewares do that retry."""
    try:
        return await handler(request)
    except aiohttp.ClientError:
        return await handler(request)


@pytest.mark.parametrize(("reads_one", "outcome"), [(True, OutcomeUnknownError), (False, APIConnectionError)])
async def test_a_second_attempt_that_finds_no_server_says_nothing_of_the_first(
    workflow: Workflow, reads_one: bool, outcome: type[APIError]
) -> None:
    """A POST that left is unknown, and is not repeated; one for which there was no server is not sent."""

    async def read_and_vanish(_: Received, connection: Connection) -> None:
        stop(server)
        connection.reset()

    async with RawServer(read_and_vanish) as server, aiohttp.ClientSession(middlewares=(again,)) as session:
        if not reads_one:
            stop(server)
        with pytest.raises(outcome) as caught:
            await client_of(server, session=session).send(workflow)

    assert type(caught.value) is outcome
    assert caught.value.attempts == (1 if reads_one else 4)
    assert server.posts == reads_one


def stop(server: RawServer) -> None:
    """Let the server accept no more connections."""
    assert server._server is not None
    server._server.close()
