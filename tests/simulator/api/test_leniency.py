"""What the service does not take, the simulator refuses: each leniency would hide a bug, and is a switch."""

import json
from dataclasses import fields
from typing import Any

import pytest

from nexmo_dispatch_async import PermissionDeniedError, Workflow, sms
from nexmo_dispatch_async.exceptions import BadRequestError
from nexmo_dispatch_async.simulator import Settings, Simulator
from nexmo_dispatch_async.simulator.api.validation import parse_dispatch
from nexmo_dispatch_async.simulator.world.violations import InvalidBody
from tests.simulator.conftest import Caller
from tests.simulator.control.test_routes import Panel
from tests.simulator.support import step, workflow

TEXT = Workflow.failover(sms.text("Hi", from_="31647356950", to="999000000001"))
IMAGE = {"url": "https://media.example.com/a.png"}


def carrying(channel: str, content: object) -> dict[str, Any]:
    return workflow(step(channel, "12025550143", message={"content": content}))


def image(url: object) -> dict[str, Any]:
    return carrying("whatsapp", {"type": "image", "image": {"url": url}})


FIFTY = "4" * 50
NUMBER, URL, KIND = (
    "workflow[0].to.number",
    "workflow[0].message.content.image.url",
    "workflow[0].message.content.type",
)
CASES: list[tuple[str, dict[str, Any], str]] = [
    ("accept_any_number", workflow(step("sms", FIFTY)), NUMBER),
    ("accept_any_number", workflow(step("sms", "4" * 16)), NUMBER),
    ("accept_any_number", workflow(step("viber_service_msg", FIFTY)), NUMBER),
    ("accept_any_number", workflow(step("sms", "0612345678")), NUMBER),
    (
        "accept_any_number",
        workflow({**step("whatsapp", "447700900123"), "from": {"type": "whatsapp", "number": FIFTY}}),
        "workflow[0].from.number",
    ),
    ("accept_any_url", image("x"), URL),
    ("accept_any_url", image("media.example.com/a.png"), URL),
    ("accept_any_url", image("ftp://media.example.com/a.png"), URL),
    ("accept_any_url", image("file:///etc/passwd"), URL),
    ("accept_any_url", image("https://"), URL),
    ("accept_any_url", image("http://["), URL),
    ("accept_img", carrying("mms", {"type": "img", "image": IMAGE}), KIND),
    ("accept_img", carrying("mms", {"type": "img", "img": IMAGE}), KIND),
]


@pytest.mark.parametrize(("switch", "body", "name"), CASES)
def test_a_body_that_the_service_would_refuse_is_named(switch: str, body: dict[str, Any], name: str) -> None:
    """By default 400 with the parameter; with the switch of that name it passes, and with no other."""
    raw = json.dumps(body).encode()
    others = {field.name: True for field in fields(Settings) if field.name.startswith("accept_")}
    del others[switch]

    for settings in (Settings(), Settings(**others)):  # type: ignore[arg-type]  # all of them are bool
        with pytest.raises(InvalidBody) as caught:
            parse_dispatch(raw, settings)
        assert [violation.name for violation in caught.value.violations] == [name]
    assert len(parse_dispatch(raw, Settings(**{switch: True}))) == 1  # type: ignore[arg-type]  # a bool


@pytest.mark.parametrize(
    "body",
    [
        workflow(step("sms", "4" * 15)),
        workflow({**step("sms", "447700900123"), "from": {"type": "sms", "number": "Parcels"}}),
        workflow({**step("mms", "12025550143"), "from": {"type": "mms", "number": "24273"}}),
        image("HTTPS://media.example.com/a.png?signature=x%20y#z"),
        image("http://127.0.0.1:8080/a"),
    ],
)
def test_what_is_documented_still_passes(body: dict[str, Any]) -> None:
    """Fifteen digits, names and short codes of senders, any http or https URL (contract 3.3, 3.4.2)."""
    assert len(parse_dispatch(json.dumps(body).encode())) == 1


def test_the_misspelt_image_is_named_with_its_cure() -> None:
    """Contract 9.31: the provider's own snippet writes it."""
    with pytest.raises(InvalidBody, match=r"must be one of .*; write image$"):
        parse_dispatch(json.dumps(carrying("mms", {"type": "img", "image": IMAGE})).encode())


async def test_an_application_of_voice_cannot_send() -> None:
    """It has no URL for statuses, so that nothing would ever be heard of the workflow."""
    async with Simulator() as sim:
        voice = sim._engine.applications.add("n", "voice", answer="https://a.example/")
        async with sim.client(application_id=voice.id) as client:
            with pytest.raises(PermissionDeniedError, match="no capability messages"):
                await client.send(TEXT)
            assert sim.accepted == 0

            sim.settings.accept_voice_application = True
            await client.send(TEXT)

        assert sim.accepted == 1


async def test_a_partial_update_is_refused() -> None:
    """Contract 4.3: a PUT names the application and its type; the SDK sends what it is given."""
    async with Simulator() as sim, sim.client() as client:
        made = sim.create_application(name="n")
        with pytest.raises(BadRequestError, match="name: is required; type: is required"):
            await client.applications.update(made.id, status_url="https://a.example/new")
        assert made.status_url == ""

        await client.applications.update(
            made.id, name="n", type="messages", status_url="https://a.example/whole"
        )
        assert made.status_url == "https://a.example/whole"

        sim.settings.accept_partial_update = True
        await client.applications.update(made.id, status_url="https://a.example/part")
        assert made.status_url == "https://a.example/part"


async def test_every_leniency_is_a_switch_of_a_running_simulator(sim: Simulator, caller: Caller) -> None:
    """Programs in other languages reach the same switches, all in one place, all off."""
    panel = Panel(sim, caller.session)
    names = {field.name for field in fields(Settings) if field.name.startswith("accept_")}

    _, shown = await panel.get("/control/settings")
    status, changed = await panel.post("/control/settings", dict.fromkeys(names, True))

    assert {name: shown[name] for name in names} == dict.fromkeys(names, False)
    assert status == 200
    assert {name: changed[name] for name in names} == dict.fromkeys(names, True)
    assert all(getattr(sim.settings, name) for name in names)
