"""Assertions for users' tests: silent when they hold, a timeline that tells the story when they do not."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from nexmo_dispatch_async import DispatchClient, Workflow
from nexmo_dispatch_async.models.responses import Dispatch
from nexmo_dispatch_async.simulator import Simulator
from nexmo_dispatch_async.simulator.assertions import (
    assert_callbacks_accepted,
    assert_outcome,
    assert_sent,
    assert_status,
    timeline,
)
from nexmo_dispatch_async.simulator.world.history import CallbackAttempt
from tests.simulator.conftest import Receiver
from tests.simulator.support import step, workflow

VIBER, SMS = "viber_service_msg", "sms"


@dataclass
class Sent:
    sim: Simulator
    client: DispatchClient
    dispatch: Dispatch

    async def send(self, *steps: dict[str, Any]) -> Dispatch:
        return await self.client.send(Workflow.from_json(_json(*steps)))


def _json(*steps: dict[str, Any]) -> bytes:
    import msgspec

    return msgspec.json.encode(workflow(*steps))


@pytest.fixture
async def sent(sim: Simulator, receiver: Receiver) -> AsyncIterator[Sent]:
    """A workflow that stays unread on Viber: it fails over to SMS after 600 s."""
    sim.create_application(status_url=receiver.url, inbound_url=receiver.url)
    async with sim.client() as client:
        scenario = Sent(sim, client, Dispatch(dispatch_uuid=""))
        scenario.dispatch = await scenario.send(
            step(VIBER, "999100000001", within=600, until="read"), step(SMS, "999000000001")
        )
        yield scenario


async def test_what_holds_is_silent(sent: Sent) -> None:
    await sent.sim.advance(600)

    assert_sent(sent.sim, [VIBER, SMS])
    assert_sent(sent.sim, (VIBER, SMS), sent.dispatch)
    assert_sent(sent.sim, [], "another workflow")
    assert_outcome(sent.sim, "completed")
    assert_outcome(sent.sim, "completed", sent.dispatch)
    assert_outcome(sent.sim, "completed", sent.dispatch.dispatch_uuid)
    assert_status(sent.sim, SMS, "delivered")
    assert_status(sent.sim, VIBER, "submitted", sent.dispatch)
    assert_callbacks_accepted(sent.sim)


async def test_other_channels_are_shown_with_the_timeline(sent: Sent) -> None:
    await sent.sim.advance(60)

    with pytest.raises(AssertionError) as caught:
        assert_sent(sent.sim, [VIBER, SMS])

    assert str(caught.value) == "\n".join(
        [
            "expected viber_service_msg → sms to be sent, but it was viber_service_msg",
            "",
            "timeline until 60.000s:",
            *timeline(sent.sim).splitlines(),
        ]
    )
    assert "step 1 sent on viber_service_msg" in str(caught.value)
    assert "step 1 delivered" in str(caught.value)
    assert "← callback message-status submitted → 200" in str(caught.value)


async def test_nothing_sent_says_so(sim: Simulator) -> None:
    with pytest.raises(
        AssertionError, match=r"but it was nothing at all\n\ntimeline .*:\n *nothing happened"
    ):
        assert_sent(sim, [SMS])


async def test_an_unexpected_step_is_named(sent: Sent) -> None:
    with pytest.raises(AssertionError, match="expected nothing to be sent, but it was viber_service_msg"):
        assert_sent(sent.sim, [])


async def test_a_workflow_that_still_runs_is_no_outcome(sent: Sent) -> None:
    assert_outcome(sent.sim, None, sent.dispatch)

    with pytest.raises(AssertionError, match="expected the outcome completed, but the workflow still runs"):
        assert_outcome(sent.sim, "completed", sent.dispatch)


async def test_the_wrong_one_of_several_is_shown_alone(sent: Sent) -> None:
    """Without a workflow all must have ended so; the timeline is that of the first that has not."""
    await sent.sim.advance(600)
    failed = await sent.send(step(SMS, "999313000001"))
    await sent.sim.advance(5)

    with pytest.raises(AssertionError) as caught:
        assert_outcome(sent.sim, "completed")

    assert "but workflow 2 of 2 ended with error" in str(caught.value)
    assert "step 1 rejected (1300)" in str(caught.value)
    assert VIBER not in str(caught.value)
    assert_status(sent.sim, SMS, "rejected", failed, code=1300)
    with pytest.raises(AssertionError, match="expected a workflow that still runs, but the workflow ended"):
        assert_outcome(sent.sim, None, failed)


async def test_no_workflow_and_an_unknown_one(sim: Simulator) -> None:
    with pytest.raises(AssertionError, match="but no workflow was sent"):
        assert_outcome(sim, "completed")
    with pytest.raises(AssertionError, match="this simulator knows no workflow 123"):
        assert_outcome(sim, "completed", "123")


@pytest.mark.parametrize(
    ("channel", "status", "code", "told"),
    [
        (VIBER, "read", None, "to be read, but it was submitted, delivered"),
        (SMS, "delivered", None, "sms to be delivered, but nothing was sent on sms"),
        (VIBER, "rejected", 1300, r"to be rejected \(1300\), but it was submitted"),
    ],
)
async def test_another_status_is_shown(
    sent: Sent, channel: str, status: str, code: int | None, told: str
) -> None:
    await sent.sim.advance(60)

    with pytest.raises(AssertionError, match=told):
        assert_status(sent.sim, channel, status, code=code)


async def test_a_message_without_status_yet(sent: Sent) -> None:
    with pytest.raises(AssertionError, match="but it was nothing yet"):
        assert_status(sent.sim, VIBER, "read")


async def test_callbacks_that_were_refused_or_not_answered(sent: Sent, receiver: Receiver) -> None:
    receiver.answers.append(503)
    await sent.sim.advance(60)

    with pytest.raises(AssertionError) as caught:
        assert_callbacks_accepted(sent.sim)

    assert "1 of 3 callbacks were not accepted: message-status submitted → 503" in str(caught.value)
    assert "← callback message-status submitted, attempt 2 → 200" in str(caught.value)


async def test_a_receiver_that_is_not_there(sim: Simulator) -> None:
    sim.create_application(status_url="http://127.0.0.1:9/")
    async with sim.client() as client:
        await client.send(Workflow.from_json(_json(step(SMS, "999000000001"))))
        await sim.advance(0)

    with pytest.raises(AssertionError, match=r"message-status submitted → no answer \("):
        assert_callbacks_accepted(sim)


async def test_without_callbacks_the_missing_url_is_suspected(sim: Simulator) -> None:
    with pytest.raises(AssertionError, match="none was sent: has the application a status_url"):
        assert_callbacks_accepted(sim)


async def test_a_timeline_shows_the_newest_lines(sent: Sent) -> None:
    await sent.sim.advance(600)
    whole = timeline(sent.sim, limit=1000).splitlines()

    short = timeline(sent.sim, limit=3).splitlines()

    assert short == [f"             … {len(whole) - 3} more before", *whole[-3:]]
    assert any("step 1 expired" in line for line in whole)
    assert any("workflow completed" in line for line in whole)


async def test_a_timeline_names_no_address_and_no_text(sent: Sent) -> None:
    """It ends in the logs of builds."""
    await sent.sim.advance(600)

    shown = timeline(sent.sim)

    assert "9991" not in shown
    assert "Hello" not in shown


async def test_a_spoilt_callback_is_shown_without_its_status(sim: Simulator) -> None:
    attempt = CallbackAttempt(
        at_ms=0, number=1, attempt=1, kind="message-status", url="", body="{", authorization="", status=400
    )
    sim._history.add(attempt)

    assert timeline(sim).endswith("← callback message-status → 400")
