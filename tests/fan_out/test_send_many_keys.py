"""A caller's own key of each workflow comes back with its outcome, and goes nowhere else."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from nexmo_dispatch_async.channels import sms
from nexmo_dispatch_async.exceptions import BadRequestError, ConfigurationError, InvalidWorkflowError
from nexmo_dispatch_async.fan_out.fan_out import NotSent, Refused, Sent, Unknown
from nexmo_dispatch_async.retry import RetryPolicy
from nexmo_dispatch_async.workflow import Workflow
from tests.support.clients import client_of
from tests.support.misbehaving import ACCEPTED, Connection, RawServer, Received, hang, reply

ANSWERS = {"sent": reply(202, ACCEPTED), "no": reply(400), "odd": reply(500), "later": reply(429)}


def named(text: str) -> Workflow:
    return Workflow.failover(sms.text(text, from_="31647356950", to="999100000001"))


async def answer_by_text(request: Received, connection: Connection) -> None:
    """Answer each text with what it asks for."""
    text = request.json["workflow"][0]["message"]["content"]["text"]
    await connection.write(ANSWERS[text])


async def test_each_outcome_has_the_key_of_its_workflow() -> None:
    """Whichever of the four it is, also when the rules here refuse the workflow."""
    items: list[tuple[object, Workflow]] = [
        *((name, named(name)) for name in ANSWERS),
        (5, Workflow.failover()),
    ]
    async with (
        RawServer(answer_by_text) as server,
        client_of(server, retry=RetryPolicy(attempts=1)) as client,
    ):
        outcomes = {outcome.key: outcome async for outcome in client.send_many(items)}

    assert {key: type(outcome) for key, outcome in outcomes.items()} == {
        "sent": Sent,
        "no": Refused,
        "odd": Unknown,
        "later": NotSent,
        5: Refused,
    }
    assert [outcomes[key].workflow for key, _ in items] == [workflow for _, workflow in items]


async def test_a_key_may_be_anything_and_is_handed_back_as_it_is(workflow: Workflow) -> None:
    """None, a pair, an object that neither compares nor hashes: nothing looks at it."""

    class Row:
        __hash__ = None  # type: ignore[assignment]  # the point of it

        def __eq__(self, other: object) -> bool:
            raise AssertionError("compared")

    keys: list[Any] = [None, ("a", "b"), Row(), workflow]

    async def stream() -> AsyncIterator[tuple[Any, Workflow]]:
        for key in keys:
            yield key, workflow

    async with RawServer() as server, client_of(server) as client:
        outcomes = [outcome async for outcome in client.send_many(stream(), limit=1)]

    assert all(outcome.key is key for outcome, key in zip(outcomes, keys, strict=True))


async def test_without_a_key_it_is_none(workflow: Workflow) -> None:
    async with RawServer() as server, client_of(server) as client:
        outcomes = [outcome async for outcome in client.send_many([workflow])]

    assert [outcome.key for outcome in outcomes] == [None]


async def test_a_key_is_not_sent_and_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    """It may be a number or a name: neither request, repr nor log has it."""
    key = "Jansen-447700900123"
    caplog.set_level("DEBUG")
    async with (
        RawServer(answer_by_text) as server,
        client_of(server, retry=RetryPolicy(attempts=1)) as client,
    ):
        outcomes = [o async for o in client.send_many((key, named(name)) for name in ANSWERS)]

    requests = b"".join(request.body + str(request.headers).encode() for request in server.received)
    assert len(outcomes) == len(server.received) == 4
    assert "Jansen" not in f"{outcomes!r}{caplog.text}{requests!r}"


async def test_what_was_cut_short_keeps_its_key(workflow: Workflow) -> None:
    """Leaving early tells of the pairs that were under way."""
    async with (
        RawServer(hang) as server,
        client_of(server) as client,
        client.send_many([("left", workflow)]) as outcomes,
    ):
        pending = asyncio.ensure_future(anext(outcomes))
        await asyncio.wait_for(server.arrived.wait(), 5)
        pending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pending

    assert outcomes.interrupted == [("left", workflow)]


async def test_an_item_that_is_neither_is_named(workflow: Workflow) -> None:
    """A pair the wrong way round, or of three."""
    async with RawServer() as server, client_of(server) as client:
        for item in ((workflow, "key"), ("key", workflow, 3), "text"):
            wrong: Any = [item]
            with pytest.raises(ConfigurationError, match=r"send a Workflow.failover"):
                _ = [outcome async for outcome in client.send_many(wrong)]

    assert server.posts == 0


async def test_a_refusal_by_the_rules_and_one_by_the_service_have_one_type() -> None:
    """What the rules found and what the service said are read the same way."""
    async with RawServer(answer_by_text) as server, client_of(server) as client:
        workflows = [("service", named("no")), ("rules", Workflow.failover())]
        errors = {o.key: o.error async for o in client.send_many(workflows) if isinstance(o, Refused)}

    service, rules = errors["service"], errors["rules"]
    assert (type(service), type(rules)) == (BadRequestError, InvalidWorkflowError)
    assert (service.outcome, service.status, service.error_class, service.findings) == (
        "refused",
        400,
        "request",
        (),
    )
    assert (rules.outcome, rules.status, rules.error_class, rules.details, rules.code) == (
        "refused",
        None,
        "request",
        None,
        "",
    )
    assert rules.findings
