"""The control API for a first contact: credentials to copy, a sample, an inbound message, a new start."""

import json
from typing import Any

import pytest

from nexmo_dispatch_async import KpnOAuth
from nexmo_dispatch_async.client import DispatchClient
from nexmo_dispatch_async.simulator import Simulator
from tests.simulator.conftest import Caller, Receiver
from tests.simulator.control.test_routes import Panel, whatsapp_then_sms
from tests.simulator.support import step, workflow


@pytest.fixture
async def panel(sim: Simulator, caller: Caller) -> Panel:
    """The control panel of `sim`."""
    return Panel(sim, caller.session)


async def test_the_account_is_what_a_client_and_a_receiver_need(panel: Panel) -> None:
    """The URLs are those by which the caller reaches the simulator."""
    here = panel.sim.url.replace("127.0.0.1", "localhost")
    async with panel.session.get(f"{here}/control/account") as response:
        account = await response.json()

    auth = KpnOAuth(account["client_id"], account["client_secret"], token_url=account["token_url"])
    async with DispatchClient(
        auth=auth, base_url=account["base_url"], application_id=account["application"]
    ) as client:
        page = await client.applications.list()

    assert account["base_url"].startswith(here)
    assert account["signature_secrets"] == f"{panel.sim.api_key}={panel.sim.signature_secret}"
    assert [application.id for application in page.applications] == [account["application"]]
    assert [application["id"] for application in account["applications"]] == [account["application"]]


async def test_the_default_application_is_one_that_is_there(panel: Panel, caller: Caller) -> None:
    """Without one the sample says so; one that was created by the API counts."""
    panel.sim._engine.applications.delete(caller.application)
    none, refused = await panel.get("/control/sample")
    later = panel.sim._engine.applications.add("later")

    status, sample = await panel.get("/control/sample")

    assert (none, "no application" in refused["error"]) == (409, True)
    assert (status, sample["application"]) == (200, later.id)
    assert (await caller.send(sample["body"], ApplicationId=later.id))[0] == 202


@pytest.mark.parametrize(
    ("channel", "ends"),
    [
        ("sms", ({"type": "sms", "number": "31600000001"}, {"type": "sms", "number": "999500000001"})),
        ("messenger", ({"type": "messenger", "id": "page"}, {"type": "messenger", "id": "person"})),
    ],
)
async def test_a_customer_writes_out_of_nowhere(
    panel: Panel, receiver: Receiver, channel: str, ends: tuple[dict[str, str], dict[str, str]]
) -> None:
    """The signed callback has arrived when the call returns."""
    to, customer = ends
    addresses = {"to": list(to.values())[1], "from": list(customer.values())[1]}

    status, answer = await panel.post(
        "/control/inbound", {"channel": channel, **addresses, "text": "Are you open?"}
    )

    (callback,) = receiver.callbacks
    assert (status, answer["clock"]["now_ms"]) == (200, 0)
    assert (callback.body["to"], callback.body["from"]) == ends
    assert callback.body["message"]["content"] == {"type": "text", "text": "Are you open?"}
    assert callback.headers["authorization"].startswith("Bearer ey")


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"channel": "pigeon"}, 400),
        ({"from": ""}, 400),
        ({"to": "x" * 51}, 400),
        ({"text": ""}, 400),
        ({"text": 5}, 400),
        ({"colour": "red"}, 400),
        ({"application": "0a3b5c7d-57be-49e0-9e56-b0d3221e1dc6"}, 404),
    ],
)
async def test_an_inbound_message_is_checked(
    panel: Panel, receiver: Receiver, change: dict[str, Any], status: int
) -> None:
    whole = {"channel": "sms", "from": "999500000001", "to": "31600000001", "text": "Hi"}

    got, answer = await panel.post("/control/inbound", whole | change)

    assert (got, bool(answer["error"])) == (status, True)
    assert receiver.callbacks == []


async def test_totals_tell_outcomes_cost_and_failovers(panel: Panel, caller: Caller) -> None:
    """The cost is the sum of what the cards say: prices, and a fee for each workflow that was charged."""
    await caller.send(workflow(step("sms", "999000000001")))
    await caller.send(workflow(step("whatsapp", "999313000001", within=60), step("sms", "999000000001")))
    await caller.send(workflow(step("messenger", "999313400003")))
    await caller.send(whatsapp_then_sms())
    await panel.sim.advance(30)

    _, state = await panel.get("/control/state")

    totals = state["totals"]
    told = {name: totals[name] for name in ("accepted", "in_flight", "completed", "errors", "failed_over")}
    assert told == {"accepted": 4, "in_flight": 1, "completed": 2, "errors": 1, "failed_over": 1}
    assert float(totals["cost"]) == pytest.approx(sum(float(w.get("cost", 0)) for w in state["workflows"]))


async def test_clearing_forgets_what_was_sent_and_what_is_under_way(
    panel: Panel, caller: Caller, receiver: Receiver
) -> None:
    """No callback follows, the rest stays as it is, and the next workflow gets a number of its own."""
    receiver.answers.extend([503])
    _, sent = await caller.send(workflow(step("sms", "999000000001")))
    await caller.send(whatsapp_then_sms())
    await panel.sim.advance(0.2)
    arrived = len(receiver.callbacks)

    status, _ = await panel.post("/control/clear")
    await panel.sim.advance_until_idle()

    _, state = await panel.get("/control/state")
    gone, _ = await panel.get(f"/control/workflows/{sent['dispatch_uuid']}")
    _, again = await caller.send()
    assert status == 200
    assert (state["workflows"], state["callbacks"], state["totals"]["in_flight"]) == ([], [], 0)
    assert (gone, len(receiver.callbacks)) == (404, arrived)
    assert state["clock"]["now_ms"] >= 200
    assert again["dispatch_uuid"] != sent["dispatch_uuid"]
    assert (await panel.only())["number"] == 3


async def test_a_delivery_in_progress_is_forgotten_as_well(
    panel: Panel, caller: Caller, receiver: Receiver
) -> None:
    """The receiver's answer to a cleared callback leads to no record and to no second attempt."""

    async def clear() -> None:
        panel.sim.clear()

    receiver.on_callback = clear
    receiver.answers.extend([503])
    await caller.send(workflow(step("sms", "999000000001")))

    await panel.sim.advance(0.2)
    idle = await panel.sim.advance_until_idle()

    assert idle
    assert len(receiver.callbacks) == 1
    assert panel.sim.records == []
    assert json.loads(panel.sim.transcript().splitlines()[0])["record"] == "dropped"
