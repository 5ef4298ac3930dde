"""Faults: which requests and callbacks they meet, and what a client or a receiver then sees."""

import asyncio
import json
import socket
from typing import Any

import aiohttp
import pytest

from nexmo_dispatch_async.exceptions import ConfigurationError
from nexmo_dispatch_async.simulator import Fault, Faults, Simulator
from nexmo_dispatch_async.simulator.world.faults import FORMS
from nexmo_dispatch_async.simulator.world.seeded_random import SeededRandom
from tests.simulator.conftest import Caller, Receiver
from tests.simulator.support import step, workflow

DEFAULT = "999000000001"


def hits(faults: Faults, times: int, route: str = "POST /dispatch", *who: str) -> list[list[str]]:
    return [[fault.kind for fault in faults.on_request(route, lambda: who)] for _ in range(times)]


# ---- which they meet


def test_a_fault_is_added_listed_and_removed_as_json() -> None:
    faults = Faults(SeededRandom(0))

    first = faults.add({"kind": "error", "status": 502, "count": 1})
    second = faults.add(Fault(kind="latency", seconds=2))

    listed = json.loads(json.dumps(faults.to_builtins()))
    assert [entry["id"] for entry in listed] == [first, second]
    assert (listed[0]["kind"], listed[0]["status"], listed[0]["route"]) == ("error", 502, "*")
    assert (listed[0]["met"], listed[0]["hits"], listed[0]["spent"]) == (0, 0, False)
    assert repr(faults) == "<Faults error, latency>"
    faults.remove(first)
    assert [armed.id for armed in faults] == [second]
    faults.clear()
    assert len(faults) == 0
    assert repr(faults) == "<Faults none>"
    assert not faults.on_requests
    with pytest.raises(KeyError):
        faults.remove(second)


def test_what_is_listed_can_be_added_again() -> None:
    faults = Faults(SeededRandom(0))
    faults.add(
        Fault(kind="error", route="GET *", recipient="44*", probability=0.5, skip=1, count=2, form="xml")
    )

    (entry,) = faults.to_builtins()
    fields = {name: value for name, value in entry.items() if name in Fault.__struct_fields__}
    faults.add(fields)

    first, second = faults
    assert first.fault == second.fault


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "not a valid fault"),
        ({"kind": "fire"}, "fire"),
        ({"kind": "error", "colour": 1}, "colour"),
        ({"kind": "error", "probability": 2}, "probability must be a number from 0 to 1"),
        ({"kind": "error", "skip": -1}, "skip must be a number from 0"),
        ({"kind": "error", "count": -1}, "count must be a number from 0"),
        ({"kind": "error", "retry_after": -1}, "retry_after must be a number from 0"),
        ({"kind": "latency", "seconds": -1}, "seconds must be a number"),
        ({"kind": "error", "status": 99}, "status must be a number from 200 to 599"),
        ({"kind": "error", "when": "never"}, "when"),
        ({"kind": "error", "form": "poem"}, "form"),
    ],
)
def test_what_is_no_fault_is_refused_by_name(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Faults(SeededRandom(0)).add(fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "fire"}, "kind"),
        ({"kind": "error", "when": "x"}, "when"),
        ({"kind": "error", "form": "x"}, "form"),
    ],
)
def test_python_is_told_the_same(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Fault(**fields)


def test_it_is_for_a_route_and_a_recipient() -> None:
    faults = Faults(SeededRandom(0))
    faults.add(Fault(kind="error", route="POST *", recipient="4477*"))

    assert hits(faults, 1, "GET /applications") == [[]]
    assert hits(faults, 1, "POST /dispatch", "316", "44660") == [[]]
    assert hits(faults, 1, "POST /dispatch", "316", "\t447700") == [["error"]]


def test_some_are_let_through_and_then_it_is_spent() -> None:
    faults = Faults(SeededRandom(0))
    faults.add(Fault(kind="quota", skip=2, count=3))

    assert hits(faults, 7) == [[], [], ["quota"], ["quota"], ["quota"], [], []]
    (armed,) = faults
    assert (armed.met, armed.hits, armed.spent) == (5, 3, True)


def test_chance_is_drawn_from_the_seed() -> None:
    def play(seed: int) -> list[list[str]]:
        faults = Faults(SeededRandom(seed))
        faults.add(Fault(kind="reset", probability=0.3))
        return hits(faults, 1000)

    assert play(1) == play(1) != play(2)
    assert 250 < sum(map(len, play(1))) < 350


def test_the_first_one_that_hits_is_the_one_besides_a_latency() -> None:
    faults = Faults(SeededRandom(0))
    faults.add(Fault(kind="reset", count=1))
    faults.add(Fault(kind="error"))
    faults.add(Fault(kind="latency"))
    faults.add(Fault(kind="lost"))

    assert hits(faults, 2) == [["reset", "latency"], ["error", "latency"]]
    assert [f.kind for f in faults.on_callback(("lost",), "final-report", ())] == ["lost"]


# ---- what a client sees


async def answer(caller: Caller, body: object = None) -> tuple[int, bytes, dict[str, str]]:
    """Send, and return the answer as it is."""
    if not caller.token:
        await caller.sign_in()
    headers = {"Authorization": f"Bearer {caller.token}", "ApplicationId": caller.application.id}
    url = caller.sim.base_url + "/dispatch"
    async with caller.session.post(url, json=body or workflow(), headers=headers) as response:
        return response.status, await response.read(), dict(response.headers)


@pytest.mark.parametrize(("when", "accepted"), [("before", 0), ("after", 1)])
async def test_a_reset(caller: Caller, when: str, accepted: int) -> None:
    """Before: the service has not received it. After: the workflow exists, but no response says so."""
    caller.sim.faults.add({"kind": "reset", "when": when, "route": "POST /dispatch"})

    with pytest.raises(aiohttp.ClientConnectionError):
        await answer(caller)

    assert caller.sim.accepted == accepted
    assert caller.sim.requests[-1].fault == "reset"
    assert caller.sim.requests[-1].status == (202 if accepted else 0)


async def test_half_a_response(caller: Caller) -> None:
    caller.sim.faults.add(Fault(kind="half_response", route="POST /dispatch", count=1))

    with pytest.raises(aiohttp.ClientPayloadError):
        await answer(caller)

    assert caller.sim.accepted == 1
    assert (await answer(caller))[0] == 202


async def test_half_a_response_to_a_client_that_has_left(
    caller: Caller, caplog: pytest.LogCaptureFixture
) -> None:
    """The simulator logs no traceback of its own for it."""
    await caller.sign_in()
    caller.sim.faults.add(Fault(kind="half_response", route="POST /dispatch"))
    body = json.dumps(workflow()).encode()
    head = (
        f"POST {caller.sim.base_url.removeprefix(caller.sim.url)}/dispatch HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Authorization: Bearer {caller.token}\r\nApplicationId: {caller.application.id}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )

    with socket.create_connection(("127.0.0.1", int(caller.sim.url.rsplit(":", 1)[1]))) as client:
        client.sendall(head.encode() + body)
    with pytest.raises(aiohttp.ClientPayloadError):
        await answer(caller)

    assert caller.sim.accepted == 2
    assert caplog.records == []


@pytest.mark.parametrize("form", FORMS)
async def test_an_error_has_the_shape_that_was_asked_for(caller: Caller, form: str) -> None:
    """Contract 3.8."""
    caller.sim.faults.add(
        {"kind": "error", "form": form, "status": 429, "retry_after": 7, "route": "*dispatch"}
    )

    status, body, headers = await answer(caller)

    marks = {
        "kpn": b'{"error":{"transactionId":',
        "kpn_flat": b'{"transactionId":',
        "error_response": b'{"errorResponse":{"code":"429"',
        "apigee": b"SpikeArrestViolation",
        "unauthorized": b'"error_title":"Too Many Requests"',
        "problem": b"#throttled",
        "html": b"<h1>429 Too Many Requests</h1>",
        "xml": b"<fault><faultstring>",
        "text": b"429 Too Many Requests\n",
        "empty": b"",
    }
    assert (status, headers["Retry-After"]) == (429, "7")
    assert marks[form] in body
    assert caller.sim.accepted == 0


@pytest.mark.parametrize(("when", "accepted"), [("before", 0), ("after", 1)])
async def test_an_error_before_and_after(caller: Caller, when: str, accepted: int) -> None:
    """A 504 tells nothing about whether the workflow exists (contract 3.8)."""
    caller.sim.faults.add(
        {"kind": "error", "when": when, "status": 504, "form": "html", "route": "*dispatch"}
    )

    status, body, headers = await answer(caller)

    assert (status, headers["Content-Type"]) == (504, "text/html")
    assert b"Gateway Time" in body
    assert caller.sim.accepted == accepted


async def test_an_unknown_status_has_a_name_too(caller: Caller) -> None:
    caller.sim.faults.add({"kind": "error", "status": 599, "form": "apigee"})

    status, body, _ = await answer_without_token(caller.sim)

    assert status == 599
    assert json.loads(body)["fault"]["faultstring"] == "Error"


async def answer_without_token(sim: Simulator) -> tuple[int, bytes, None]:
    async with (
        aiohttp.ClientSession() as session,
        session.post(sim.base_url + "/dispatch", data=b"x") as response,
    ):
        return response.status, await response.read(), None


async def test_an_answer_is_held_back_but_not_the_service(caller: Caller) -> None:
    """Latency is real and comes after the request was handled: the order of things does not depend on it."""
    await caller.sign_in()
    caller.sim.faults.add(Fault(kind="latency", seconds=30, count=1))

    sending = asyncio.create_task(answer(caller))
    while not caller.sim.accepted:  # noqa: ASYNC110 - a test has no event for "accepted"
        await asyncio.sleep(0)
    await answer(caller)

    assert caller.sim.accepted == 2
    assert not sending.done()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending


async def test_a_client_that_left_is_not_reset(caller: Caller) -> None:
    """The client has disconnected before the fault: the server goes on."""
    await caller.sign_in()
    caller.sim.faults.add(Fault(kind="latency", seconds=0.02, count=1))
    caller.sim.faults.add(Fault(kind="reset", when="after", count=1))
    sending = asyncio.create_task(answer(caller))
    while not caller.sim.accepted:  # noqa: ASYNC110 - a test has no event for "accepted"
        await asyncio.sleep(0)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending

    while caller.sim._server.active:  # noqa: ASYNC110 - a test has no event for "answered"
        await asyncio.sleep(0)

    assert (await answer(caller))[0] == 202


async def test_the_quota_drops_mid_run(caller: Caller) -> None:
    """Contract 3.8, 9.18: 429 or 500, told by the body."""
    caller.sim.faults.add(Fault(kind="quota", route="POST /dispatch", skip=2, count=1))
    caller.sim.faults.add(Fault(kind="quota", route="POST /dispatch", skip=2, status=500, retry_after=3))

    answers = [await answer(caller) for _ in range(4)]

    assert [status for status, _, _ in answers] == [202, 202, 429, 500]
    assert all(b"policies.ratelimit.QuotaViolation" in body for _, body, _ in answers[2:])
    assert answers[2][2]["quota-limit"] == "1000000"
    assert answers[3][2]["Retry-After"] == "3"


async def test_tokens_expire_now(sim: Simulator) -> None:
    """Contract 2.3: the client fetches one new token and goes on."""
    from nexmo_dispatch_async import Workflow, sms

    async with sim.client() as client:
        await client.send(Workflow.failover(sms.text("Hi", from_="KPN", to=DEFAULT)))
        sim.faults.add(Fault(kind="expire_tokens", count=1))

        await client.send(Workflow.failover(sms.text("Hi", from_="KPN", to=DEFAULT)))

    assert [request.status for request in sim.requests] == [200, 202, 401, 200, 202]


async def test_a_fault_for_a_recipient_reads_any_body(caller: Caller) -> None:
    caller.sim.faults.add(Fault(kind="error", recipient="4477*", status=500))
    await caller.sign_in()

    for body in ({"workflow": [{"to": {"number": 447700900123}}]}, {"to": {"id": "4477x"}}):
        assert (await answer(caller, body))[0] == 500
    for odd in ([1], {"workflow": 3}, {"workflow": [3, {"to": 1}, {"to": {"id": None}}]}):
        assert (await answer(caller, odd))[0] == 400
    assert (await answer_without_token(caller.sim))[0] == 401


# ---- what a receiver sees


def arrivals(receiver: Receiver) -> list[str]:
    return [status for _, status in receiver.statuses()]


async def run(caller: Caller, *faults: Fault, seconds: float = 30, to: str = DEFAULT) -> None:
    for fault in faults:
        caller.sim.faults.add(fault)
    await caller.send(workflow(step("whatsapp", to)))
    await caller.sim.advance(seconds)


async def test_a_lost_callback_is_in_the_log_only(caller: Caller, receiver: Receiver) -> None:
    await run(caller, Fault(kind="lost", route="message-status", skip=1, count=1))

    assert arrivals(receiver) == ["submitted", "completed", "read"]
    lost = [d for d in caller.sim.deliveries if d.failure == "lost"]
    assert [(d.fault, d.retry_at_ms, d.attempt) for d in lost] == [("lost", None, 1)]


async def test_a_duplicate_is_the_same_bytes(caller: Caller, receiver: Receiver) -> None:
    await run(
        caller, Fault(kind="duplicate", route="final-report"), Fault(kind="duplicate", count=1, seconds=9)
    )

    assert arrivals(receiver) == ["submitted", "delivered", "completed", "completed", "submitted", "read"]
    first, again = receiver.callbacks[0], receiver.callbacks[4]
    assert (first.raw, first.headers["authorization"]) == (again.raw, again.headers["authorization"])
    assert [d.fault for d in caller.sim.deliveries].count("duplicate") == 2


async def test_a_duplicate_that_fails_is_not_tried_again(caller: Caller, receiver: Receiver) -> None:
    receiver.answers[:] = [200, 503]
    await run(caller, Fault(kind="duplicate", count=1), to="999500000001", seconds=3600)

    assert arrivals(receiver) == ["submitted", "submitted"]


async def test_two_callbacks_swap_places(caller: Caller, receiver: Receiver) -> None:
    """Contract 10.5: the final report before the last `delivered`."""
    await run(caller, Fault(kind="reorder", route="message-status", skip=1, count=1))

    assert arrivals(receiver) == ["submitted", "completed", "delivered", "read"]


async def test_what_nothing_overtakes_goes_out_in_the_end(caller: Caller, receiver: Receiver) -> None:
    await run(caller, Fault(kind="reorder", count=1, seconds=60), to="999500000001", seconds=59.9)
    assert arrivals(receiver) == []

    await caller.sim.advance(1)

    assert arrivals(receiver) == ["submitted"]


async def test_a_callback_comes_late_and_says_when_it_was(caller: Caller, receiver: Receiver) -> None:
    await run(caller, Fault(kind="late", route="message-status", count=1, seconds=20))

    assert arrivals(receiver) == ["delivered", "completed", "read", "submitted"]
    assert receiver.callbacks[-1].body["timestamp"] == "2025-01-01T00:00:00.100Z"


async def test_statuses_come_after_the_final_report(caller: Caller, receiver: Receiver) -> None:
    await run(caller, Fault(kind="late"))

    assert arrivals(receiver) == ["completed", "submitted", "delivered", "read"]


async def test_late_without_a_report_is_a_day(caller: Caller, receiver: Receiver) -> None:
    await run(caller, Fault(kind="late"), to="999500000001", seconds=86_000)
    assert arrivals(receiver) == []

    await caller.sim.advance(500)

    assert arrivals(receiver) == ["submitted"]


async def test_an_unsigned_callback_is_signed_when_it_is_tried_again(
    caller: Caller, receiver: Receiver
) -> None:
    """Contract 5.9."""
    receiver.answers[:] = [503]
    await run(caller, Fault(kind="unsigned", count=1), to="999500000001", seconds=10)

    assert ["authorization" in callback.headers for callback in receiver.callbacks] == [False, True]
    assert [(d.fault, bool(d.authorization)) for d in caller.sim.deliveries] == [
        ("unsigned", False),
        ("", True),
    ]


async def test_a_receiver_that_is_marked_down_is_not_asked(caller: Caller, receiver: Receiver) -> None:
    await run(
        caller,
        Fault(kind="receiver_down", count=1),
        Fault(kind="receiver_down", skip=1, count=1, status=503),
        to="999500000001",
        seconds=20,
    )

    assert [(d.status, d.failure) for d in caller.sim.deliveries] == [
        (None, "connection refused"),
        (503, None),
        (200, None),
    ]
    assert len(receiver.callbacks) == 1


async def test_a_callback_fault_is_for_a_recipient(caller: Caller, receiver: Receiver) -> None:
    caller.sim.faults.add(Fault(kind="lost", recipient="9997*"))
    await caller.send(workflow(step("sms", "999700000001", within=15), step("sms", DEFAULT)))
    await caller.send(workflow(step("sms", "999000000002")))

    await caller.sim.advance(60)

    assert [c.body.get("status") for c in receiver.callbacks] == ["submitted", "delivered", "completed"]


async def test_a_fault_that_is_taken_away_is_gone(caller: Caller, receiver: Receiver) -> None:
    caller.sim.faults.add(Fault(kind="lost"))
    await run(caller, seconds=1)
    caller.sim.faults.clear()

    await caller.sim.advance(30)

    assert arrivals(receiver) == ["read"]
