"""No web site and no neighbour gets at the service's own endpoints, by whatever name it reaches this port."""

import json
import logging
from urllib.parse import urlencode

import aiohttp
import pytest

from nexmo_dispatch_async import Workflow, sms
from nexmo_dispatch_async.exceptions import ConfigurationError
from nexmo_dispatch_async.simulator import Simulator
from nexmo_dispatch_async.simulator.api.origin_check import own_hosts
from nexmo_dispatch_async.simulator.api.service import BASE_PATH, DISPATCH_PATH, TOKEN_PATH
from tests.simulator.api.test_server_fast_path import headers_of, request, talk
from tests.simulator.conftest import Caller
from tests.simulator.support import workflow

WORKFLOW = Workflow.failover(sms.text("Hi", from_="31647356950", to="999000000001"))
# What a browser says of a page elsewhere, and of one whose name was pointed at this machine.
STRANGERS = [
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://localhost:3000"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Host": "evil.example"},
    {"Host": "evil.example:8701", "Origin": "http://evil.example:8701", "Sec-Fetch-Site": "same-origin"},
    {"Host": "0.0.0.0:8701"},
    {"Host": ""},
]
APPLICATION = {
    "name": "inside",
    "type": "messages",
    "status_url": "http://169.254.169.254/",
    "inbound_url": "http://169.254.169.254/",
}


@pytest.mark.parametrize("headers", STRANGERS, ids=str)
async def test_a_page_elsewhere_reaches_no_endpoint(caller: Caller, headers: dict[str, str]) -> None:
    """With the right credentials it still gets no token, makes no application and sends nothing."""
    await caller.sign_in()
    sim, before = caller.sim, dict(caller.sim.counts)
    known = {"Authorization": f"Bearer {caller.token}", "ApplicationId": caller.application.id}
    form = urlencode({"client_id": sim.client_id, "client_secret": sim.client_secret})
    calls = [
        ("POST", TOKEN_PATH + "?grant_type=client_credentials", form, "application/x-www-form-urlencoded"),
        ("POST", DISPATCH_PATH, json.dumps(workflow()), "application/json"),
        ("POST", BASE_PATH + "/applications", json.dumps(APPLICATION), "application/json"),
        ("POST", BASE_PATH + "/applications", urlencode(APPLICATION), "application/x-www-form-urlencoded"),
        ("GET", BASE_PATH + "/applications", "", "application/json"),
        ("GET", "/openapi.json", "", "application/json"),
        ("GET", "/nowhere", "", "application/json"),
    ]

    answers: list[int] = []
    for method, path, body, kind in calls:
        sent = {**known, "Content-Type": kind, **headers}
        async with caller.session.request(method, sim.url + path, data=body, headers=sent) as answer:
            answers.append(answer.status)

    assert answers == [403] * len(calls)
    assert (sim.tokens_issued, sim.accepted, len(sim.applications)) == (1, 0, 1)
    assert dict(sim.counts) == before


async def test_the_answer_says_what_to_do(caller: Caller) -> None:
    """A program that calls a container by its name learns why, in the form that clients read."""
    async with caller.session.post(
        caller.sim.base_url + "/dispatch", json=workflow(), headers={"Host": "simulator:8701"}
    ) as answer:
        told = await answer.json()

    assert told["error"]["status"] == "403 - Forbidden"
    assert told["error"]["message"].startswith("the Host header is neither a loopback address")
    assert told["error"]["message"].endswith("nor an allowed host")


@pytest.mark.parametrize("stranger", ["Host: evil.example", "Origin: http://evil.example"])
async def test_the_fast_lane_is_guarded_alike(caller: Caller, stranger: str) -> None:
    """An ordinary send takes another way to the service, and no shorter one."""
    headers, body = await headers_of(caller), json.dumps(workflow()).encode()
    whole = request(body, *headers, *([] if stranger.startswith("Host") else [stranger]))
    if stranger.startswith("Host"):
        whole = whole.replace(b"Host: localhost", stranger.encode())

    (refused,) = await talk(caller.sim, whole, answers=1)

    assert refused[0] == 403
    assert caller.sim.accepted == 0


async def test_programs_are_served(caller: Caller) -> None:
    """They send no Origin, and call by loopback name or address, or are on the simulator's own page."""
    own = caller.sim.url.removeprefix("http://")
    answers: list[int] = []
    for headers in (
        {},
        {"Host": "localhost:8701"},
        {"Origin": f"http://{own}", "Sec-Fetch-Site": "same-origin"},
    ):
        status, _ = await caller.send(**headers)
        answers.append(status)

    assert answers == [202, 202, 202]


async def test_a_container_may_be_called_by_its_name() -> None:
    """The name is given once, and holds for the service and for the control API."""
    async with Simulator(allowed_hosts=["simulator"]) as sim, aiohttp.ClientSession() as session:
        answers: list[int] = []
        for host in ("Simulator:8701", "other:8701"):
            for path in (BASE_PATH + "/applications", "/control/state", "/openapi.json"):
                async with session.get(sim.url + path, headers={"Host": host}) as answer:
                    answers.append(answer.status)

    assert answers == [401, 200, 200, 403, 403, 403]


@pytest.mark.parametrize("name", ["", "*", "*.example", "http://simulator", "simulator:8701", "a/b", "a@b"])
def test_an_allowed_host_is_a_bare_name(name: str) -> None:
    """A wildcard would let every web site in again."""
    with pytest.raises(
        ConfigurationError, match=r"^an allowed host must be a name or an address without scheme"
    ):
        own_hosts("127.0.0.1", [name])


def test_addresses_and_a_single_name_are_taken() -> None:
    assert own_hosts("0.0.0.0", "Simulator") == {"simulator"}  # noqa: S104 - binds nothing here
    assert own_hosts("sim.test", ["fe80::1"]) == {"sim.test", "fe80::1"}


async def test_an_open_bind_is_said_and_can_be_called(caplog: pytest.LogCaptureFixture) -> None:
    """`0.0.0.0` is no address to call: the simulator names loopback, and warns of who else may call."""
    with caplog.at_level(logging.WARNING, "nexmo_dispatch_async"):
        async with Simulator(host="0.0.0.0") as sim, sim.client() as client:  # noqa: S104 - what is tested
            sent = await client.send(WORKFLOW)
            await sim.advance(5)
            open_to_others, url = sim.open_to_others, sim.url

            assert sim.outcome(sent.dispatch_uuid) == "completed"

    assert open_to_others
    assert url.startswith("http://127.0.0.1:")
    (warning,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warning.startswith("the simulator listens on 0.0.0.0: any client")


async def test_a_loopback_bind_is_not_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    async with Simulator() as sim:
        assert not sim.open_to_others

    assert caplog.records == []


async def issued(sim: Simulator) -> str:
    """Return a token that the simulator issues."""
    async with aiohttp.ClientSession() as session:
        form = {"client_id": sim.client_id, "client_secret": sim.client_secret}
        url = sim.token_url + "?grant_type=client_credentials"
        async with session.post(url, data=form) as answer:
            return str((await answer.json())["access_token"])


async def secrets_of(seed: int | str | None) -> list[str]:
    """Return everything about a simulator that lets one in or signs for it."""
    async with Simulator(seed=seed) as sim:
        return [sim.client_id, sim.client_secret, sim.api_key, sim.signature_secret, await issued(sim)]


async def test_no_two_installations_share_credentials() -> None:
    """Without a seed credentials, secrets and tokens are drawn anew; no stranger knows them beforehand."""
    first, second, published = [await secrets_of(seed) for seed in (None, None, 0)]

    assert not {*first} & {*second}
    assert not {*first, *second} & {*published}


async def test_a_seed_gives_the_same_credentials_again() -> None:
    assert await secrets_of(7) == await secrets_of(7)


async def test_ids_are_repeatable_without_a_seed() -> None:
    """Tests of users go the same way each time; only secrets differ."""
    ids: list[str] = []
    for _ in range(2):
        async with Simulator() as sim, sim.client() as client:
            ids.append((await client.send(WORKFLOW)).dispatch_uuid)

    assert ids[0] == ids[1]
