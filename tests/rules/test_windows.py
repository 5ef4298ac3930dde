"""Free content and the Customer Care Window, before the wire and in the simulator (contract 7.1, 7.3)."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from nexmo_dispatch_async import CareWindow, InvalidWorkflowError
from nexmo_dispatch_async.channels import messenger, sms, viber, whatsapp
from nexmo_dispatch_async.exceptions import ConfigurationError
from nexmo_dispatch_async.models import Address, Failover, Message, MessengerOptions, Step
from nexmo_dispatch_async.rules import Rules
from nexmo_dispatch_async.rules.windows import delay_before
from nexmo_dispatch_async.simulator import Simulator
from nexmo_dispatch_async.workflow import Workflow
from tests.support.paths import ROOT

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
CUSTOMER, PSID = "447700900123", "2903557611987403"
W: dict[str, Any] = {"from_": "447418342140", "to": CUSTOMER}
M: dict[str, Any] = {"from_": "118820033417905", "to": PSID}
SMS = sms.text("hi", from_="31647356950", to=CUSTOMER)
PICTURE = "https://media.example.com/a.png"

FREE = [
    whatsapp.text("hi", **W),
    whatsapp.image(PICTURE, **W),
    whatsapp.custom({"type": "location"}, **W),
    messenger.text("hi", **M),
    messenger.text("hi", category="update", **M),
]
BOUND = [
    whatsapp.template("ns:hello", locale="en-GB", **W),
    whatsapp.custom({"type": "template", "template": {}}, **W),
    messenger.text("hi", category="message_tag", tag="ACCOUNT_UPDATE", **M),
    viber.text("hi", from_="VSM-ID", to=CUSTOMER),
    SMS,
]


@pytest.fixture
def window() -> CareWindow:
    """A window whose clock stands at noon, without any inbound message."""
    return CareWindow(clock=lambda: NOON)


def named(workflow: Workflow, rules: Rules | None = None) -> list[str]:
    """Return the findings of the rule."""
    found = workflow.lint(Rules() if rules is None else rules)
    return [str(finding) for finding in found if finding.rule == "care-window"]


@pytest.mark.parametrize("step", FREE, ids=repr)
def test_free_content_is_named_when_nothing_is_known_of_the_customer(step: Step) -> None:
    """It would be rejected with 1340 in production; lint says so, and what to do on that channel."""
    (finding,) = named(Workflow.failover(step))

    cure = "send a template" if step.channel == "whatsapp" else "use the category message_tag with a tag"
    assert finding == (
        "step 1, message.content: is free content, which fails with 1340 unless the customer wrote in the "
        f"last 24 hours; {cure}, or, in Python, let Rules(window=…) know who wrote [care-window]"
    )
    Workflow.failover(step).check()


@pytest.mark.parametrize("step", BOUND, ids=repr)
def test_what_needs_no_window_is_not_named(step: Step) -> None:
    """Templates, tagged messages, and channels without a window."""
    assert named(Workflow.failover(step)) == []


def test_the_rule_is_a_switch() -> None:
    assert named(Workflow.failover(FREE[0]), Rules(off=["care-window"])) == []


def test_free_content_inside_of_the_window_passes(window: CareWindow) -> None:
    """A step to a customer who wrote is no breach; to another one it is."""
    window.record(CUSTOMER)
    rules = Rules(window=window)
    stranger = whatsapp.text("hi", from_="447418342140", to="447700900999")

    assert named(Workflow.failover(FREE[0]), rules) == []
    assert named(Workflow.failover(stranger), rules) == [
        "step 1, message.content: is free content outside of the window; send a template [care-window]"
    ]


def test_the_window_is_asked_about_the_latest_moment_of_a_step(window: CareWindow) -> None:
    """The window may close while an earlier step waits for its expiry."""
    rules = Rules(window=window)
    workflow = Workflow.failover(SMS.until("delivered", within=600), FREE[0])

    window.record(CUSTOMER, at=NOON - timedelta(hours=24) + timedelta(seconds=601))
    assert named(workflow, rules) == []
    late = CareWindow(clock=lambda: NOON)
    late.record(CUSTOMER, at=NOON - timedelta(hours=24) + timedelta(seconds=600))
    assert named(workflow, Rules(window=late)) == [
        (
            "step 2, message.content: is free content, and the window closes before this step may be sent; "
            "send a template [care-window]"
        )
    ]


async def test_a_client_can_refuse_what_would_be_rejected(window: CareWindow) -> None:
    """With the rule as an error nothing leaves for a closed window, and free content for an open one does."""
    strict = Rules(errors=["care-window"], window=window)
    async with Simulator() as sim, sim.client(rules=strict) as client:
        with pytest.raises(InvalidWorkflowError, match="care-window"):
            await client.send(Workflow.failover(FREE[0]))
        assert sim.counts["POST /dispatch"] == 0

        window.record(CUSTOMER)
        sim.inbound("Hello?", channel="whatsapp", from_=CUSTOMER, to="447418342140")
        sent = await client.send(Workflow.failover(FREE[0]))
        await sim.advance(5)

        assert sim.outcome(sent.dispatch_uuid) == "completed"


@pytest.mark.parametrize("step", [*FREE, *BOUND], ids=repr)
async def test_the_simulator_rejects_exactly_what_lint_names(step: Step) -> None:
    """By default both are as strict as the service, so that a test finds what production would."""
    workflow = Workflow.failover(step)
    async with Simulator() as sim, sim.client() as client:
        sent = await client.send(workflow)
        await sim.advance(60)

        rejected = sim.outcome(sent.dispatch_uuid) == "error"
    assert rejected == bool(named(workflow))


def test_the_first_workflow_of_the_readme_would_be_taken() -> None:
    """What a new user copies is not rejected in production: lint has nothing to say about it."""
    readme = (ROOT / "README.md").read_text("utf-8")
    first = re.search(r"^```python *\n(.*?)^```", readme, re.DOTALL | re.MULTILINE)
    assert first is not None
    namespace: dict[str, Any] = {"__name__": "page"}  # Any: whatever the block defines

    exec(first[1], namespace)  # noqa: S102 - our own page

    workflow = namespace["workflow"]
    assert isinstance(workflow, Workflow)
    assert workflow.lint() == []


WRONG: Any = object()


@pytest.mark.parametrize(
    "step",
    [
        WRONG,
        msgspec.structs.replace(FREE[0], to=WRONG),
        msgspec.structs.replace(FREE[0], message=WRONG),
        msgspec.structs.replace(FREE[0], to=Address(type=WRONG)),
    ],
)
def test_broken_steps_are_left_to_other_rules(step: Any) -> None:
    """Whatever a step holds, lint gives findings and does not fail."""
    assert named(Workflow.failover(step)) == []


def test_odd_options_and_expiries_do_not_stop_the_look(window: CareWindow) -> None:
    """A content or an expiry of another type is named elsewhere; the delay stays within any date."""
    odd = msgspec.structs.replace(FREE[3], message=Message(FREE[3].message.content, messenger=WRONG))
    custom = whatsapp.custom(WRONG, **W)
    tagged = msgspec.structs.replace(
        FREE[3], message=Message(FREE[3].message.content, messenger=MessengerOptions("message_tag"))
    )
    endless = msgspec.structs.replace(SMS, failover=Failover(10**30, "delivered"))
    unwritten = msgspec.structs.replace(SMS, failover=Failover("soon", "delivered"))

    assert [len(named(Workflow.failover(step))) for step in (odd, custom, tagged)] == [1, 1, 0]
    assert delay_before((endless, SMS), 1) == timedelta(seconds=1_000_000_000)
    assert delay_before((unwritten, SMS), 1) == delay_before((SMS, SMS), 1) == timedelta(0)
    window.record(CUSTOMER)
    (finding,) = named(Workflow.failover(endless, FREE[0]), Rules(window=window))
    assert "closes before this step may be sent" in finding


def test_a_window_answers_allows() -> None:
    """A class in place of an object, or the store in place of the window, is told at once."""
    wrong: Any = object()

    with pytest.raises(ConfigurationError, match=r"^window must answer allows\(step, after=…\)"):
        Rules(window=wrong)


def test_repr_of_rules_tells_of_the_window(window: CareWindow) -> None:
    assert repr(Rules(window=window)) == "<Rules window known>"
