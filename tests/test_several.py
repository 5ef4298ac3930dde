"""Where several values are meant, a mapping does not give its names, a text its letters, a set any order."""

from collections import UserList, deque
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from nexmo_dispatch_async import DispatchClient, Rules, Workflow, sms, viber, whatsapp
from nexmo_dispatch_async.auth import BearerToken, VonageJWT
from nexmo_dispatch_async.exceptions import ConfigurationError
from nexmo_dispatch_async.fan_out.fan_out import FanOut
from nexmo_dispatch_async.models import Parameter, Template, TemplateBody
from nexmo_dispatch_async.simulator import Person, Simulator
from nexmo_dispatch_async.simulator.api.origin_check import own_hosts
from nexmo_dispatch_async.simulator.assertions import assert_sent
from nexmo_dispatch_async.tariff import Tariff
from nexmo_dispatch_async.templates import render
from nexmo_dispatch_webhooks import ConfigurationError as WebhookConfigurationError
from nexmo_dispatch_webhooks import Router, RouterError, sign, testing, verify
from tests.support.keys import rsa_key

NOT_IN_ORDER: list[Any] = [
    pytest.param({"1": "Jan", "2": "1234"}, id="mapping"),
    pytest.param({"1": "Jan"}.keys(), id="names"),
    pytest.param({"Jan", "1234"}, id="set"),
    pytest.param(frozenset({"Jan"}), id="frozenset"),
    pytest.param("Jan", id="text"),
    pytest.param(b"Jan", id="bytes"),
    pytest.param(bytearray(b"Jan"), id="bytearray"),
    pytest.param(memoryview(b"Jan"), id="memoryview"),
    pytest.param((word for word in ("Jan", "1234")), id="generator"),
    pytest.param(None, id="None"),
    pytest.param(5, id="number"),
]
BUILDERS: list[Callable[[Any], Any]] = [
    lambda values: whatsapp.template("ns:t", values, from_="447418342140", to="918197792563", locale="en-GB"),
    lambda values: viber.template("t", values, from_="VSM", to="918197792563"),
]


@pytest.mark.parametrize("values", NOT_IN_ORDER)
@pytest.mark.parametrize("build", BUILDERS, ids=["whatsapp", "viber"])
def test_parameters_of_a_template_come_in_order(build: Callable[[Any], Any], values: Any) -> None:
    """Names, letters or a chance order would reach the customer: refused before the wire."""
    errors = [each for each in Workflow.failover(build(values)).lint() if each.severity == "error"]

    assert [(each.rule, each.field) for each in errors] == [("type", "message.content.template.parameters")]
    assert "Jan" not in str(errors)


@pytest.mark.parametrize("values", [["Jan", "1"], ("Jan", "1"), deque(["Jan", "1"]), UserList(["Jan", "1"])])
@pytest.mark.parametrize("build", BUILDERS, ids=["whatsapp", "viber"])
def test_any_sequence_gives_the_parameters(build: Callable[[Any], Any], values: Any) -> None:
    """Lists, tuples and whatever else has items in an order of their own."""
    content = build(values).message.content

    assert isinstance(content, Template)
    assert content.template.parameters == (Parameter("Jan"), Parameter("1"))


@pytest.mark.parametrize("values", NOT_IN_ORDER)
def test_parameters_of_a_struct_come_in_order(values: Any) -> None:
    """The same without a builder."""
    step = whatsapp.template("ns:t", from_="447418342140", to="918197792563", locale="en-GB")
    template = Template(TemplateBody("ns:t", values))
    message = type(step.message)(template)

    found = Workflow.failover(type(step)(step.from_, step.to, message)).lint()

    assert "type" in [each.rule for each in found if each.severity == "error"]


@pytest.mark.parametrize("values", NOT_IN_ORDER)
def test_a_text_is_not_filled_in_with_letters(values: Any) -> None:
    with pytest.raises(ConfigurationError, match="parameters must be a list or a tuple, not a"):
        render("Dear {{1}}", values)


@pytest.mark.parametrize("values", [value for value in NOT_IN_ORDER if value.id != "text"])
def test_replies_of_simulated_people_come_in_order(values: Any) -> None:
    if values is None:
        return
    with pytest.raises(ConfigurationError, match="reply must be a list or a tuple, not a"):
        Person(reply=values)


def test_replies_may_be_a_list() -> None:
    assert Person(reply=["one", "two"]).reply == ("one", "two")  # type: ignore[arg-type] # as a rules file has it


def test_steps_come_in_order() -> None:
    """A set of steps would fail over in an order of chance; a list in the place of a step is named."""
    first = sms.text("Hi", from_="31647356950", to="447700900123").until("delivered", within=60)
    last = sms.text("Hi", from_="31647356950", to="447700900123")
    steps: Any
    for steps in ({first, last}, {first: 1, last: 2}, "sms", None):
        workflow = Workflow(steps).with_client_ref("ref")
        assert [each.rule for each in workflow.lint()] == ["type"]
    for steps in ([first, last], {"sms": last}):
        assert "type" in [each.rule for each in Workflow.failover(steps).lint()]


@pytest.mark.parametrize("given", [{"e164": True}, b"e164", bytearray(b"e164"), None, 5])
@pytest.mark.parametrize("setting", ["off", "on", "errors", "warnings"])
def test_settings_of_rules_are_no_mapping(setting: str, given: Any) -> None:
    """`off={"e164": False}` would switch off what it means to keep."""
    with pytest.raises(
        ConfigurationError, match=f"^{setting} must be a text, or a list, tuple or set of them"
    ):
        Rules(**{setting: given})


def test_settings_of_rules_name_rules() -> None:
    assert Rules(off="e164").severity("e164") is Rules(off={"e164"}).severity("e164") is None
    with pytest.raises(ConfigurationError, match="no such rule: 5"):
        Rules(off=[5])  # type: ignore[list-item] # what a caller without type checking writes
    with pytest.raises(ConfigurationError, match="templates must be a mapping"):
        Rules(templates=[("ns:t", "Dear {{1}}")])  # type: ignore[arg-type] # the same


@pytest.mark.parametrize("given", [{"/*/dispatch/**": {"methods": ["POST"]}}, b"/x", 5])
def test_paths_of_a_token_are_no_mapping(given: Any) -> None:
    """Restrictions beside the paths would be dropped in silence."""
    with pytest.raises(ConfigurationError, match="paths must be a text, or a list, tuple or set of them"):
        VonageJWT(
            "aaaaaaaa-bbbb-cccc-dddd-0123456789ab",
            rsa_key(),
            paths=given,
        )


@pytest.mark.parametrize("given", [{"sim": 1}, b"sim", None])
def test_allowed_hosts_are_no_mapping(given: Any) -> None:
    with pytest.raises(ConfigurationError, match="allowed_hosts must be a text"):
        own_hosts("127.0.0.1", given)


def test_channels_that_cost_nothing_are_whole_names() -> None:
    """`free="whatsapp,mms"` must not make SMS or MMS free because the letters are in it."""
    tariff = Tariff({"mms": "1", "sms": "1"})
    workflow = Workflow.failover(sms.text("Hi", from_="31647356950", to="447700900123"))
    given: Any

    assert tariff.cost(workflow, free="sms").worst == Decimal("0.002")
    assert tariff.cost(workflow, free="sms,mms").worst == Decimal("1.002")
    for given in ({"sms": False}, b"sms"):
        with pytest.raises(ConfigurationError, match="free must be a text"):
            tariff.cost(workflow, free=given)


@pytest.mark.parametrize("given", [{"a": 1}, set(), "otel", None])
async def test_middleware_comes_in_order(given: Any) -> None:
    with pytest.raises(ConfigurationError, match="middleware must be a list or a tuple"):
        DispatchClient(auth=BearerToken("t"), application_id="a", middleware=given)


@pytest.mark.parametrize("given", [{"a": 1}, "workflow", b"workflow"])
async def test_what_is_done_for_each_is_no_mapping(given: Any) -> None:
    """Names, letters and bytes are no items; it is said at the call, not while iterating."""

    async def work(item: object) -> object:
        return item

    with pytest.raises(ConfigurationError, match="items must be a list, a generator or the like, not a"):
        FanOut(given, work, limit=1)
    async with DispatchClient(auth=BearerToken("t"), application_id="a") as client:
        with pytest.raises(ConfigurationError, match="must be a list, a generator or the like, not a"):
            client.send_many(given)


async def test_one_workflow_is_not_many() -> None:
    workflow: Any = Workflow.failover(sms.text("Hi", from_="31647356950", to="447700900123"))
    async with DispatchClient(auth=BearerToken("t"), application_id="a") as client:
        with pytest.raises(ConfigurationError, match="not a Workflow"):
            client.send_many(workflow)


async def test_expected_channels_come_in_order() -> None:
    channels: Any
    async with Simulator() as sim:
        for channels in ("sms", {"sms"}, {"sms": 1}):
            with pytest.raises(ConfigurationError, match="channels must be a list or a tuple"):
                assert_sent(sim, channels)


@pytest.mark.parametrize("name", ["kind", "status", "channel", "content", "error_class", "sender", "when"])
def test_filters_of_a_router_are_no_mapping(name: str) -> None:
    """`status={"read": False}` would take what it means to leave out."""

    async def handler(event: object) -> None: ...

    for given in ({"read": False}, b"read", [b"read"]):
        with pytest.raises(RouterError):
            Router().add(handler, **{name: given})  # type: ignore[arg-type] # what a caller without type checking writes


def test_messages_of_a_report_come_in_order() -> None:
    given: Any
    for given in ({("sms", "delivered")}, {"sms": "delivered"}, "sms"):
        with pytest.raises(WebhookConfigurationError, match="in a list"):
            testing.report_body(messages=given)


def test_names_of_secrets_sign_nothing() -> None:
    """`{"key": {"new": "…"}}`: any caller who knows the word `new` would pass."""
    body = b'{"message_uuid": "m"}'
    authorization = sign(body, secret="new", api_key="k", jti="j")
    secrets: Any = {"k": {"new": "secret"}}

    with pytest.raises(WebhookConfigurationError, match="several secrets of one api_key are a list"):
        verify(body, authorization, secrets=secrets)
