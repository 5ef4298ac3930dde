"""People on WhatsApp who hide their number: answered, remembered and followed by their id (contract 5.5)."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec
import pytest

from nexmo_dispatch_async import Workflow, sms, whatsapp
from nexmo_dispatch_async.care_window.sqlite import SqliteWindowStore
from nexmo_dispatch_async.care_window.window import CareWindow
from nexmo_dispatch_async.models import Address, Step
from nexmo_dispatch_async.models.user_ids import is_user_id
from nexmo_dispatch_async.redaction import mask
from nexmo_dispatch_async.rules import Rules
from nexmo_dispatch_async.simulator import Person
from nexmo_dispatch_async.simulator.api.validation import parse_dispatch
from nexmo_dispatch_async.simulator.world.violations import InvalidBody
from nexmo_dispatch_async.tracking.reducer import observe, planned
from nexmo_dispatch_async.tracking.step_matching import match_steps
from nexmo_dispatch_webhooks import InboundMessage, MessageStatus, parse_event
from nexmo_dispatch_webhooks.events import whatsapp_users
from tests.simulator.support import box, step, workflow
from tests.support.paths import OBSERVED
from tests.webhooks.payloads import encode
from tests.webhooks.test_whatsapp_users import ID, OTHER, SHAPES, in_v1

NOW = datetime(2026, 8, 3, 13, tzinfo=UTC)


def to_person(address: str) -> Step:
    return whatsapp.text("Hello", from_="447418342140", to=address)


def heard(body: object) -> CareWindow:
    window = CareWindow(clock=lambda: NOW)
    event = parse_event(encode(body))
    assert isinstance(event, InboundMessage)
    assert window.observe(event)
    return window


def rules_of(step: Step, rules: Rules | None = None) -> list[str]:
    found = Workflow.failover(step).lint(rules or Rules())
    return [finding.rule for finding in found if finding.rule not in ("single-step", "care-window")]


@pytest.mark.parametrize("body", SHAPES)
def test_the_window_opens_for_this_person_and_for_no_other(body: object) -> None:
    """Two ids with the same digits are two people: free text must not go to a stranger."""
    window = heard(body)

    assert window.status(ID).open
    assert window.status(ID.lower()).open
    assert window.allows(to_person(ID))
    for stranger in (OTHER, "13491208655302741918", "NL.1349120865530274191", "NLA.13491208655302741918"):
        assert not window.status(stranger).open
    assert not window.allows(to_person(OTHER))


def test_letters_are_part_of_a_name() -> None:
    """Whatever has letters is compared whole; a number still is in any spelling."""
    window = CareWindow(clock=lambda: NOW)
    window.record("a1b2")
    window.record("+44 (0)7700 900-111")

    assert window.status("A1B2 ").open
    assert not window.status("12").open
    assert window.status("00447700900111").open


def test_the_window_opens_for_every_name_of_the_person() -> None:
    """A step may go to the number or to either id, whichever of them the message named."""
    user = {"user_id": ID, "parent_user_id": "NL.ENT.1", "wa_id": "447700900111"}
    window = heard(in_v1(whatsapp={"sender": user}))

    assert all(window.status(name).open for name in user.values())


def test_a_file_keeps_ids_apart(tmp_path: Path) -> None:
    """A restart takes no person for another."""
    with SqliteWindowStore(tmp_path / "window.db") as store:
        CareWindow(store, clock=lambda: NOW).record(ID)
    with SqliteWindowStore(tmp_path / "window.db") as store:
        window = CareWindow(store, clock=lambda: NOW)
        assert (window.status(ID).open, window.status(OTHER).open) == (True, False)


def test_an_answer_goes_to_the_id() -> None:
    """`to=event.sender` makes a step that passes the rules and is written with `id`."""
    event = parse_event((OBSERVED / "i01_v1_inbound_bsuid_from.json").read_bytes())
    assert isinstance(event, InboundMessage)
    step = to_person(event.sender or "")

    Workflow.failover(step).check()
    assert msgspec.json.decode(step.to_json())["to"] == {"type": "whatsapp", "id": ID}
    assert rules_of(step) == []


@pytest.mark.parametrize(
    ("step", "rule"),
    [
        (msgspec.structs.replace(to_person(ID), to=Address("whatsapp", number=ID)), "e164"),
        (msgspec.structs.replace(to_person(ID), to=Address("whatsapp", id="4477")), "whatsapp-user-id"),
        (msgspec.structs.replace(to_person(ID), to=Address("whatsapp", ID, ID)), "address-extra"),
        (sms.text("Hello", from_="31647356950", to=ID), "e164"),
        (whatsapp.text("Hello", from_=ID, to=ID), "e164"),
        (to_person("IR.13491208655302741918"), "whatsapp-country"),
    ],
)
def test_ids_stand_where_they_belong(step: Step, rule: str) -> None:
    """An id is for the recipient on WhatsApp; elsewhere the finding names what to do and not whose it is."""
    found = Workflow.failover(step).lint()

    assert rule in [finding.rule for finding in found]
    assert not [finding for finding in found if "1349" in finding.message]


def test_sanctions_reach_people_without_a_number() -> None:
    """The country of an id counts like the calling code of a number."""
    assert rules_of(to_person("SD.13491208655302741918"), Rules(on=["sanctioned-country"])) == [
        "sanctioned-country"
    ]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"sent to {ID} now", "sent to …18 now"),
        ("NL.ENT.11815799212886844830", "…30"),
        ("NL.a1b2c3d4", "…d4"),
        ("see api.nexmo.com, U.S. or EU.Commission", "see api.nexmo.com, U.S. or EU.Commission"),
    ],
)
def test_texts_that_are_shown_mask_ids(text: str, shown: str) -> None:
    """Log lines and errors show of an id what they show of a number."""
    assert mask(text) == shown


def test_a_summary_shows_the_end_only() -> None:
    assert Workflow.failover(to_person(ID)).summary() == ("whatsapp text to …18",)


@pytest.mark.parametrize("where", ["to", "recipient", "beside a number"])
def test_tracking_finds_the_step_of_the_person(where: str) -> None:
    """Of two steps on WhatsApp a status belongs to the one with its recipient, however the body names it."""
    steps = to_person(OTHER).until("read", within=600), to_person(ID)
    body: dict[str, object] = {
        "channel": "whatsapp",
        "message_uuid": "m2",
        "from": "447418342140",
        "timestamp": "2026-08-03T12:14:25Z",
        "status": "submitted",
        "dispatch_uuid": "w1",
    }
    body["to"] = {"to": ID.lower(), "recipient": None, "beside a number": "447700900111"}[where]
    if where != "to":
        body["whatsapp"] = {"recipient": {"user_id": ID}}
    seen = observe(parse_event(encode(body)))
    assert seen is not None

    places, rest = match_steps(planned("w1", Workflow(steps)).merge(seen))

    assert (places, rest) == ([None, "m2"], [])


@pytest.mark.parametrize(
    "text", [ID, "nl.1", "NL.ENT.1", "N.1", "NL.", "NL.1.", "NLX.1", "4477", "NL.é1", ""]
)
def test_both_packages_know_ids_by_the_same_pattern(text: str) -> None:
    """The receiver imports nothing of the SDK, so each has its own."""
    assert is_user_id(text) == whatsapp_users.is_user_id(text) == (text in (ID, "nl.1", "NL.ENT.1"))


@pytest.mark.parametrize("version", ["v0.1", "v1"])
def test_the_simulator_plays_people_without_a_number(version: Literal["v0.1", "v1"]) -> None:
    """A step to an id is taken, its callbacks and replies name the id, and test ids have a country before."""
    made = box()
    made.settings.webhook_version = version
    made.people[ID] = Person(reply="Yes")
    silent = "NL.999500000001"
    for person in (ID, silent):
        steps = Workflow.failover(to_person(person)).to_json()
        made.engine.accept(made.application, parse_dispatch(steps))

    events = [parse_event(delivery.body) for delivery in made.run(60)]

    assert [event.sender for event in events if isinstance(event, InboundMessage)] == [ID]
    told = {(e.recipient, e.status) for e in events if isinstance(e, MessageStatus)}
    assert told == {(silent, "submitted"), *((ID, status) for status in ("submitted", "delivered", "read"))}


@pytest.mark.parametrize("text", ["4477", "NL", "NL.", "", "NL.1 "])
def test_the_simulator_refuses_what_is_no_id(text: str) -> None:
    """The same as the rules: the recipient's `id` on WhatsApp is a user id."""
    body = {**step("whatsapp", "999"), "to": {"type": "whatsapp", "id": text}}

    with pytest.raises(InvalidBody, match=r"workflow\[0\].to.id"):
        parse_dispatch(encode(workflow(body)))
