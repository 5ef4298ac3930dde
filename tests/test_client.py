"""Promises of the client about trying again, its own life and its settings; real sockets, an own clock."""

import asyncio
import gc
import json
from typing import Any

import aiohttp
import pytest
from aioresponses import aioresponses

from nexmo_dispatch_async.auth import BasicAuth, BearerToken, KpnOAuth
from nexmo_dispatch_async.client import DispatchClient
from nexmo_dispatch_async.exceptions import (
    APIError,
    APITimeoutError,
    BadRequestError,
    ClientClosedError,
    ConfigurationError,
    InvalidWorkflowError,
    OutcomeUnknownError,
    RateLimitError,
)
from nexmo_dispatch_async.retry import RetryPolicy, Timeout
from nexmo_dispatch_async.tracking import Tracker
from nexmo_dispatch_async.workflow import Workflow
from tests.conftest import payload
from tests.support.answers import error_reply
from tests.support.clients import APPLICATION, kpn_client_of
from tests.support.clock import Time
from tests.support.misbehaving import (
    ACCEPTED,
    Connection,
    RawServer,
    Received,
    accept,
    answering,
    hang,
    reply,
)

# --- trying again ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["kpn_429_spike_arrest", "kpn_500_quota_fault", "vonage_429_throttled"])
async def test_limits_are_waited_for(workflow: Workflow, name: str) -> None:
    """Contract 3.8: 429, or a ratelimit fault on any status."""
    time = Time()
    handler = answering(error_reply(name), reply(202, ACCEPTED))
    async with RawServer(handler) as server, kpn_client_of(server, time) as client:
        await client.send(workflow)

    assert len(server.received) == 2
    assert time.slept == [2.25 if name == "vonage_429_throttled" else 0.25]


async def test_a_limit_that_lasts_is_an_error_that_says_for_how_long(workflow: Workflow) -> None:
    handler = answering(reply(429, b"", {"Retry-After": "3600"}))
    async with RawServer(handler) as server, kpn_client_of(server) as client:
        with pytest.raises(RateLimitError) as caught:
            await client.send(workflow)

    assert len(server.received) == 1
    assert (caught.value.retry_after, caught.value.attempts) == (3600, 1)


async def test_attempts_are_counted_per_call(workflow: Workflow) -> None:
    async with RawServer(answering(reply(429))) as server, kpn_client_of(server) as client:
        with pytest.raises(RateLimitError) as caught:
            await client.send(workflow, retry=RetryPolicy(attempts=2))
        with pytest.raises(RateLimitError):
            await client.send(workflow)

    assert caught.value.attempts == 2
    assert len(server.received) == 2 + 4


async def test_unavailable_is_repeated_only_when_asked(workflow: Workflow) -> None:
    """Contract 3.8: 503 from the gateway is opt-in."""
    handler = answering(error_reply("kpn_503_flat"), error_reply("kpn_503_flat"), reply(202, ACCEPTED))
    async with RawServer(handler) as server, kpn_client_of(server) as client:
        with pytest.raises(OutcomeUnknownError):
            await client.send(workflow)
        await client.send(workflow, retry=RetryPolicy(unavailable=True))

    assert len(server.received) == 3


async def test_a_refusal_is_final(workflow: Workflow) -> None:
    handler = answering(error_reply("vonage_400_invalid_params_array"))
    async with RawServer(handler) as server, kpn_client_of(server) as client:
        with pytest.raises(BadRequestError, match="expiry_time"):
            await client.send(workflow)

    assert len(server.received) == 1


async def test_a_bad_workflow_does_not_reach_the_network() -> None:
    async with RawServer() as server, kpn_client_of(server) as client:
        with pytest.raises(InvalidWorkflowError):
            await client.send(Workflow.failover())

    assert (server.received, server.token_requests) == ([], [])


async def test_waiting_for_a_slot_is_not_network_time(workflow: Workflow) -> None:
    """With one slot and slow answers, no call times out because of the others before it."""

    async def slow(request: Received, connection: Connection) -> None:
        await asyncio.sleep(0.03)
        await accept(request, connection)

    async with (
        RawServer(slow) as server,
        kpn_client_of(server, limit=1, timeout=Timeout(total=0.2)) as client,
    ):
        results = await asyncio.gather(*(client.send(workflow) for _ in range(10)))

    assert len(results) == 10
    assert server.most_active == 1


# --- life -----------------------------------------------------------------------------------------


async def test_use_after_close_is_an_error(workflow: Workflow) -> None:
    async with RawServer() as server:
        async with kpn_client_of(server) as client:
            await client.send(workflow)
        with pytest.raises(ClientClosedError, match="the client is closed"):
            await client.send(workflow)
        with pytest.raises(ClientClosedError):
            await client.__aenter__()
        await client.aclose()

    assert repr(client).endswith("closed)")


def test_use_from_another_loop_is_an_error(workflow: Workflow) -> None:
    async def first() -> DispatchClient:
        async with RawServer() as server, aiohttp.ClientSession() as session:
            client = kpn_client_of(server, session=session)
            await client.send(workflow)
            return client

    async def second(client: DispatchClient) -> None:
        with pytest.raises(ClientClosedError, match="another event loop"):
            await client.send(workflow)

    client = asyncio.run(first())
    asyncio.run(second(client))


async def test_it_opens_at_the_first_use(workflow: Workflow) -> None:
    async with RawServer() as server:
        client = kpn_client_of(server)
        assert repr(client) == f"DispatchClient('{server.base_url}', not open yet)"
        await client.send(workflow)
        assert repr(client).endswith("open)")
        await client.aclose()


async def test_a_session_of_your_own_is_not_closed(workflow: Workflow) -> None:
    async with RawServer() as server, aiohttp.ClientSession(raise_for_status=True) as session:
        async with kpn_client_of(server, session=session) as client:
            await client.send(workflow)
        assert not session.closed

        await session.close()
        with pytest.raises(ClientClosedError, match="session"):
            await kpn_client_of(server, session=session).send(workflow)


async def test_closing_under_way_reports_what_is_known(workflow: Workflow) -> None:
    """Bytes left, then the connection was closed here: the outcome is unknown."""
    async with RawServer(hang) as server:
        client = kpn_client_of(server)
        task = asyncio.create_task(client.send(workflow))
        await server.arrived.wait()
        await client.aclose()
        with pytest.raises(OutcomeUnknownError):
            await task


async def test_closing_between_attempts_ends_the_call(workflow: Workflow) -> None:
    async def close_instead(_seconds: float) -> None:
        await client.aclose()

    async with RawServer(answering(reply(429))) as server:
        client = DispatchClient(
            auth=KpnOAuth("a", "b", server.token_url),
            application_id=APPLICATION,
            base_url=server.base_url,
            sleep=close_instead,
        )
        with pytest.raises(RateLimitError):
            await client.send(workflow)


async def test_nothing_is_left_open(workflow: Workflow) -> None:
    async with RawServer() as server, kpn_client_of(server) as client:
        await client.send(workflow)
    gc.collect()

    assert asyncio.all_tasks() == {asyncio.current_task()}


# --- settings -------------------------------------------------------------------------------------

ENVIRONMENT = {
    "NEXMO_DISPATCH_CLIENT_ID": "id",
    "NEXMO_DISPATCH_CLIENT_SECRET": "client-secret",
    "NEXMO_DISPATCH_APPLICATION_ID": APPLICATION,
}


async def test_everything_comes_from_the_environment(workflow: Workflow) -> None:
    async with RawServer() as server:
        environ = {
            **ENVIRONMENT,
            "NEXMO_DISPATCH_BASE_URL": server.base_url + "/",
            "NEXMO_DISPATCH_TOKEN_URL": server.token_url,
        }
        async with DispatchClient.from_env(environ) as client:
            await client.send(workflow)

    assert server.received[0].header("ApplicationId") == APPLICATION
    assert server.token_requests[0].body == b"client_id=id&client_secret=client-secret"


def test_settings_win_over_the_environment() -> None:
    client = DispatchClient.from_env(ENVIRONMENT, base_url="https://other/", auth=BearerToken("t"))

    assert repr(client) == "DispatchClient('https://other', not open yet)"


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        (
            {},
            r"CLIENT_ID, NEXMO_DISPATCH_CLIENT_SECRET and NEXMO_DISPATCH_APPLICATION_ID in the environment$",
        ),
        (
            {"NEXMO_DISPATCH_CLIENT_ID": "a", "NEXMO_DISPATCH_APPLICATION_ID": "b"},
            "set NEXMO_DISPATCH_CLIENT_SECRET in the environment$",
        ),
        (
            {**ENVIRONMENT, "NEXMO_DISPATCH_APPLICATION_ID": " "},
            r"set NEXMO_DISPATCH_APPLICATION_ID in the environment; .* from_env\(application_id=None\)$",
        ),
        (
            {**ENVIRONMENT, "NEXMO_DISPATCH_BASE_URL": "nowhere"},
            "^NEXMO_DISPATCH_BASE_URL must be an abs",
        ),
        ({**ENVIRONMENT, "NEXMO_DISPATCH_TOKEN_URL": "nowhere"}, "^NEXMO_DISPATCH_TOKEN_URL must be an abs"),
        ({**ENVIRONMENT, "NEXMO_DISPATCH_CLIENT_ID": "a\nb"}, "^NEXMO_DISPATCH_CLIENT_ID has characters"),
        ({**ENVIRONMENT, "NEXMO_DISPATCH_APPLICATION_ID": "a\nb"}, "^NEXMO_DISPATCH_APPLICATION_ID has char"),
    ],
)
def test_what_is_wrong_in_the_environment_is_named(environ: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        DispatchClient.from_env(environ)


def test_who_sends_no_workflow_needs_no_application() -> None:
    """A missing variable ends a program at its start, unless the program does without it and says so."""
    credentials = {k: v for k, v in ENVIRONMENT.items() if "APPLICATION" not in k}

    DispatchClient.from_env(credentials, application_id=None)
    DispatchClient.from_env(credentials, application_id=APPLICATION)
    DispatchClient.from_env(credentials, application_header=False)
    with pytest.raises(ConfigurationError, match=r"^set NEXMO_DISPATCH_APPLICATION_ID in the environment;"):
        DispatchClient.from_env({}, auth=BearerToken("t"))


async def test_an_application_that_is_none_wins_over_the_environment(workflow: Workflow) -> None:
    """A program for application calls sends nothing in the name of whatever the environment names."""
    async with DispatchClient.from_env(ENVIRONMENT, application_id=None) as client:
        with pytest.raises(ConfigurationError, match="sending needs an application_id"):
            await client.send(workflow)


ELSEWHERE = "http://127.0.0.1:8701/communication/nexmo"


@pytest.mark.parametrize(
    ("name", "other", "what"),
    [("BASE_URL", "TOKEN_URL", "the credentials"), ("TOKEN_URL", "BASE_URL", "its tokens")],
)
def test_another_service_is_named_whole(name: str, other: str, what: str) -> None:
    """Half of it would send what is secret to KPN."""
    alone = {**ENVIRONMENT, f"NEXMO_DISPATCH_{name}": ELSEWHERE}
    refused = rf"^set NEXMO_DISPATCH_{other} in the environment too: .* {what} would go to api-prd\.kpn\.com$"

    with pytest.raises(ConfigurationError, match=refused):
        DispatchClient.from_env(alone)
    with pytest.raises(ConfigurationError, match=r"^set NEXMO_DISPATCH_TOKEN_URL in the environment too"):
        DispatchClient.from_env(ENVIRONMENT, base_url=ELSEWHERE)

    DispatchClient.from_env({**alone, f"NEXMO_DISPATCH_{other}": "https://other.example/token"})
    DispatchClient.from_env({**ENVIRONMENT, f"NEXMO_DISPATCH_{name}": "https://api-prd.kpn.com/other"})
    DispatchClient.from_env(alone, auth=BearerToken("t"))  # nothing secret of the environment is sent


@pytest.mark.parametrize(("tracker", "what"), [(Tracker, "the class Tracker"), ("tracking.db", "a str")])
def test_a_tracker_is_one(tracker: Any, what: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"^tracker must be a Tracker\(…\) or None, not {what}$"):
        DispatchClient(auth=BearerToken("t"), tracker=tracker)


async def test_sending_needs_an_application_id(workflow: Workflow) -> None:
    """Contract 9.28."""
    async with RawServer() as server, kpn_client_of(server, application_id=None) as client:
        with pytest.raises(ConfigurationError, match=r"application_id=….* NEXMO_DISPATCH_APPLICATION_ID for"):
            await client.send(workflow)
        with pytest.raises(ConfigurationError, match="application_id"):
            client.send_many([workflow])

    assert server.token_requests == []


def test_nothing_shows_a_secret() -> None:
    client = DispatchClient(auth=KpnOAuth("client-id", "client-secret"), application_id=APPLICATION)

    assert "client-" not in repr(client) + repr(client.applications) + repr(client._calls.settings.auth)


async def test_switching_the_provider_changes_one_line(workflow: Workflow, mocked: aioresponses) -> None:
    """Contract 1.1, 2.4: other hosts and paths; Vonage itself takes no `ApplicationId`."""
    v2 = payload("applications/get_response_v1.json")["body"]
    mocked.post("https://api.nexmo.com/v0.1/dispatch", status=202, payload=ACCEPTED)
    mocked.put("https://api.nexmo.com/v2/applications/a", payload=v2)
    mocked.post(
        "https://api-prd.kpn.com/oauth/client_credential/accesstoken?grant_type=client_credentials",
        payload={"access_token": "t"},
    )
    mocked.post("https://api-prd.kpn.com/communication/nexmo/dispatch", status=202, payload=ACCEPTED)

    async with DispatchClient.vonage(BasicAuth("k", "s")) as client:
        await client.send(workflow)
        await client.applications.update("a", status_url="https://h/")
    async with DispatchClient.kpn("id", "secret", APPLICATION) as client:
        await client.send(workflow)

    vonage, update, _, kpn = [calls[0].kwargs for calls in mocked.requests.values()]
    assert "ApplicationId" not in vonage["headers"]
    assert vonage["headers"]["Authorization"] == "Basic azpz"
    assert json.loads(update["data"].decode()) == {
        "capabilities": {
            "messages": {
                "version": "v0.1",
                "webhooks": {"status_url": {"address": "https://h/", "http_method": "POST"}},
            }
        }
    }
    assert kpn["headers"]["ApplicationId"] == APPLICATION


# --- without sockets ------------------------------------------------------------------------------


async def test_single_exchanges_can_be_mocked(workflow: Workflow, mocked: aioresponses) -> None:
    """Users who mock aiohttp get the same typed results."""
    mocked.post("https://h/dispatch", status=202, payload=ACCEPTED)
    mocked.post("https://h/dispatch", status=404, payload={"error": {"name": "Not Found"}})

    async with DispatchClient(
        auth=BearerToken("t"), application_id=APPLICATION, base_url="https://h"
    ) as client:
        assert (await client.send(workflow)).dispatch_uuid == ACCEPTED["dispatch_uuid"]
        with pytest.raises(APIError, match="POST /dispatch: 404 Not Found"):
            await client.send(workflow)


async def test_a_mock_that_never_writes_leaves_the_outcome_unknown(
    workflow: Workflow, mocked: aioresponses
) -> None:
    """Where the body is never asked for, only an error of the connection itself proves anything."""
    mocked.post("https://h/dispatch", exception=aiohttp.ServerDisconnectedError())
    mocked.post("https://h/dispatch", exception=aiohttp.ConnectionTimeoutError())

    async with DispatchClient(
        auth=BearerToken("t"),
        application_id=APPLICATION,
        base_url="https://h",
        retry=RetryPolicy(attempts=1),
    ) as client:
        with pytest.raises(OutcomeUnknownError):
            await client.send(workflow)
        with pytest.raises(APITimeoutError):
            await client.send(workflow)
