"""The whole: real requests in, virtual time, real callbacks out."""

import asyncio
import json
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import anyio
import pytest

from nexmo_dispatch_async import Workflow, sms, viber
from nexmo_dispatch_async.exceptions import ConfigurationError
from nexmo_dispatch_async.simulator import (
    Fault,
    People,
    Person,
    Record,
    Settings,
    Simulator,
    StepSent,
)
from nexmo_dispatch_async.simulator.world.people import PROFILES
from tests.simulator.conftest import Caller, Receiver
from tests.simulator.support import step, workflow

NEVER_READS, DEFAULT, SILENT = "999100000001", "999000000001", "999500000001"
FALL_BACK = workflow(
    step("viber_service_msg", NEVER_READS, within=600, until="read"),
    step("sms", DEFAULT, client_ref="order-1"),
)


async def test_a_send_through_the_sdk_fails_over() -> None:
    """What the README promises, in its own words."""
    async with Simulator() as sim, sim.client() as client:
        dispatch = await client.send(
            Workflow.failover(
                viber.text("Hi", from_="VSM-ID-40817", to=NEVER_READS).until("read", within=600),
                sms.text("Hi", from_="31647356950", to=DEFAULT),
            )
        )
        assert sim.sent_channels() == ["viber_service_msg"]
        assert sim.outcome(dispatch.dispatch_uuid) is None

        await sim.advance(600)

        assert sim.sent_channels(dispatch.dispatch_uuid) == ["viber_service_msg", "sms"]
        assert sim.outcome(dispatch.dispatch_uuid) == "completed"
        assert (sim.accepted, sim.in_flight, sim.tokens_issued) == (1, 0, 1)
        assert sim.deliveries == []


async def test_a_client_takes_the_last_application(sim: Simulator) -> None:
    sim.create_application(name="first")
    second = sim.create_application(name="second")
    async with sim.client() as client:
        listed = [application.name async for application in client.applications.iterate()]
        await client.send(Workflow.failover(sms.text("Hi", from_="KPN", to=DEFAULT)))

    assert listed == ["first", "second"]
    assert sim.requests[-1].status == 202
    async with sim.client(application_id=second.id) as client:
        assert (await client.applications.get(second.id)).name == "second"


async def test_600_seconds_take_less_than_50_milliseconds(caller: Caller, receiver: Receiver) -> None:
    """Viber until read within 600 s, never read: `advance(600)` yields the SMS and the final report.

    The milliseconds are those of this process, which has all parts: a busy machine does not count. Nothing
    waits either, for which a second of real time is the bound.
    """
    took: list[float] = []
    lasted: list[float] = []
    for _ in range(5):
        receiver.callbacks.clear()
        status, _body = await caller.send(FALL_BACK)
        assert status == 202

        started, begun = time.process_time(), time.monotonic()
        await caller.sim.advance(600)
        took.append(time.process_time() - started)
        lasted.append(time.monotonic() - begun)

        assert receiver.statuses() == [
            ("viber_service_msg", "submitted"),
            ("viber_service_msg", "delivered"),
            ("sms", "submitted"),
            ("sms", "delivered"),
            ("report", "completed"),
        ]

    print(f"advance(600) took {min(took) * 1000:.1f} ms of processor time")
    assert min(took) < 0.050
    assert min(lasted) < 1.0


async def play(seed: int, receiver: Receiver) -> bytes:
    """One run with failover, a reply, failures and retries; return all that was to be seen."""
    receiver.answers[:] = [200, 503, 500, 404, 200]
    async with Simulator(seed=seed) as sim, aiohttp.ClientSession() as session:
        application = sim.create_application(status_url=receiver.url + "/s", inbound_url=receiver.url + "/i")
        caller = Caller(sim, session, application)
        await caller.send(FALL_BACK)
        await caller.send({"template": "failover"})
        await caller.send(workflow(step("whatsapp", "999700000001")))
        await caller.send(workflow(step("sms", "999411900001", within=15), step("sms", "999313000001")))
        await sim.advance(600)
        await sim.advance_until_idle()
        return sim.transcript()


async def test_one_seed_one_transcript(receiver: Receiver) -> None:
    """Bodies, signatures, order, retries and the receiver's answers are the same bytes on two runs."""
    first = await play(7, receiver)
    arrived = [(c.raw, c.headers["authorization"]) for c in receiver.callbacks]
    receiver.callbacks.clear()

    second = await play(7, receiver)

    assert second == first
    assert [(c.raw, c.headers["authorization"]) for c in receiver.callbacks] == arrived
    assert b'"status":503' in first
    assert await play(8, receiver) != first


FAULTS = (
    Fault(kind="error", route="POST /dispatch", probability=0.3, form="html"),
    Fault(kind="reset", route="POST /dispatch", when="after", skip=3, count=1),
    Fault(kind="latency", seconds=0.001, probability=0.5),
    Fault(kind="quota", skip=6, count=1, retry_after=5),
    Fault(kind="half_response", skip=8, count=1),
    Fault(kind="late", route="message-status", probability=0.2, seconds=90),
    Fault(kind="reorder", probability=0.2),
    Fault(kind="duplicate", probability=0.3),
    Fault(kind="lost", probability=0.1),
    Fault(kind="unsigned", probability=0.2),
    Fault(kind="receiver_down", probability=0.2, status=503),
)


async def play_under_faults(seed: int, receiver: Receiver) -> bytes:
    """One run in which everything goes wrong that can, with people who do as they like."""
    receiver.answers[:] = [200, 503, 500, 404, 200]
    async with Simulator(seed=seed) as sim, aiohttp.ClientSession() as session:
        sim.people["4477*"] = PROFILES["typical"]
        for fault in FAULTS:
            sim.faults.add(fault)
        application = sim.create_application(status_url=receiver.url + "/s", inbound_url=receiver.url + "/i")
        caller = Caller(sim, session, application)
        await caller.sign_in()
        for number in range(20):
            address = f"4477009000{number:02}"
            with suppress(aiohttp.ClientError, ValueError):
                await caller.send(
                    workflow(step("whatsapp", address, within=600, until="read"), step("sms", address))
                )
        await sim.advance(600)
        await sim.advance_until_idle()
        return sim.transcript()


async def test_one_seed_one_transcript_under_faults_too(receiver: Receiver) -> None:
    """What goes wrong, and when, is the same bytes on two runs; another seed is another run."""
    first = await play_under_faults(7, receiver)
    arrived = [(c.raw, c.headers.get("authorization")) for c in receiver.callbacks]
    receiver.callbacks.clear()

    second = await play_under_faults(7, receiver)

    assert second == first
    assert [(c.raw, c.headers.get("authorization")) for c in receiver.callbacks] == arrived
    assert await play_under_faults(8, receiver) != first
    told = {kind for line in first.splitlines() for kind in json.loads(line).get("fault", "").split("+")}
    assert told == {fault.kind for fault in FAULTS} | {""}


async def test_a_transcript_tells_everything_and_no_secret(caller: Caller, receiver: Receiver) -> None:
    await caller.send(FALL_BACK)
    await caller.sim.advance(600)

    lines = [json.loads(line) for line in caller.sim.transcript().splitlines()]

    assert {line["record"] for line in lines} == {
        "request", "step_sent", "status", "step_expired", "workflow_ended", "callback",
    }  # fmt: skip
    callbacks = [line for line in lines if line["record"] == "callback"]
    assert [line["body"].encode() for line in callbacks] == [c.raw for c in receiver.callbacks]
    assert {line["answer"] for line in callbacks} == {"noted"}
    for secret in (caller.sim.client_secret, caller.sim.signature_secret, caller.token):
        assert secret.encode() not in caller.sim.transcript()
        assert secret not in repr(caller.sim)
    assert len(caller.sim.records) == len(lines)


async def test_time_settles_after_an_advance(caller: Caller, receiver: Receiver) -> None:
    """`advance` waits for what the platform has under way, not for people, expiries and retries."""
    await caller.send(workflow(step("whatsapp", DEFAULT, within=600, until="read"), step("sms", DEFAULT)))

    await caller.sim.advance(0)

    assert receiver.statuses() == [("whatsapp", "submitted"), ("whatsapp", "delivered")]
    assert 1 <= caller.sim.now <= 2


async def test_time_can_be_stopped_exactly(caller: Caller, receiver: Receiver) -> None:
    await caller.send()

    await caller.sim.advance(0.5, settle=0)

    assert caller.sim.now == 0.5
    assert receiver.statuses() == [("sms", "submitted")]
    assert caller.sim.time == datetime(2025, 1, 1, 0, 0, 0, 500_000, tzinfo=UTC)
    assert caller.sim.timestamp() == caller.sim.time.timestamp()


async def test_settling_has_a_limit(caller: Caller, receiver: Receiver) -> None:
    await caller.send()

    await caller.sim.advance(0, settle=0.5)

    assert receiver.statuses() == [("sms", "submitted")]


async def test_advance_until_idle_follows_retries_to_their_end(caller: Caller, receiver: Receiver) -> None:
    receiver.answers[:] = [503] * 3
    await caller.send(workflow(step("sms", SILENT)))

    idle = await caller.sim.advance_until_idle()

    assert idle
    assert [d.status for d in caller.sim.deliveries] == [503, 503, 503, 200]
    assert caller.sim.now == 35.1


async def test_advance_until_idle_has_a_limit(caller: Caller) -> None:
    await caller.send(FALL_BACK)

    assert not await caller.sim.advance_until_idle(limit=60)
    assert caller.sim.now == 60


async def test_a_receiver_that_is_gone_is_tried_again(sim: Simulator) -> None:
    sim.create_application(status_url="http://127.0.0.1:1/")
    async with sim.client() as client:
        await client.send(Workflow.failover(sms.text("Hi", from_="KPN", to=SILENT)))

        await sim.advance(10)

    assert [(d.attempt, d.failure) for d in sim.deliveries] == [
        (1, "connection refused"),
        (2, "connection refused"),
    ]


async def test_expired_tokens_are_renewed_by_the_client(sim: Simulator) -> None:
    """Contract 2.3."""
    async with sim.client() as client:
        await client.send(Workflow.failover(sms.text("Hi", from_="KPN", to=DEFAULT)))
        sim.expire_tokens()

        await client.send(Workflow.failover(sms.text("Hi", from_="KPN", to=DEFAULT)))

    assert [request.status for request in sim.requests] == [200, 202, 401, 200, 202]
    assert (sim.accepted, sim.tokens_issued) == (2, 2)


async def test_a_workflow_sent_from_a_callback_joins_in(caller: Caller, receiver: Receiver) -> None:
    """A receiver may send while time is being moved."""

    async def send_one_more() -> None:
        receiver.on_callback = None
        await caller.send()

    receiver.on_callback = send_one_more
    await caller.send()

    await caller.sim.advance(0)

    assert receiver.statuses().count(("report", "completed")) == 2


async def test_hands_on(caller: Caller, receiver: Receiver) -> None:
    await caller.send(FALL_BACK)
    await caller.sim.advance(5)
    (sent,) = [record for record in caller.sim.records if isinstance(record, StepSent)]

    caller.sim.set_status(sent.message_uuid, "read")
    caller.sim.reply(sent.message_uuid, "Got it")
    await caller.sim.advance(0)

    assert receiver.statuses()[-2:] == [("viber_service_msg", "read"), ("report", "completed")]
    (inbound,) = [c for c in receiver.callbacks if c.path == "/inbound"]
    assert inbound.body["message"]["content"]["text"] == "Got it"
    with pytest.raises(KeyError):
        caller.sim.set_status("unknown", "read")


async def test_a_customer_writes_first(caller: Caller, receiver: Receiver) -> None:
    """Contract 5.5.1, 7.1: it opens the care window."""
    caller.sim.settings.care_window = True
    for channel, to in (
        ("whatsapp", "447700900800"),
        ("messenger", "118820033417905"),
        ("viber_service_msg", "V"),
    ):
        caller.sim.inbound("Hello?", channel=channel, from_="447700900123", to=to)
    await caller.send(workflow(step("whatsapp", "447700900123")))

    await caller.sim.advance(1)

    assert [
        list(c.body["from"]) + list(c.body["to"]) for c in receiver.callbacks if c.path == "/inbound"
    ] == [
        ["type", "number", "type", "number"],
        ["type", "id", "type", "id"],
        ["type", "number", "type", "id"],
    ]
    assert ("whatsapp", "delivered") in receiver.statuses()
    with pytest.raises(ConfigurationError, match=r"^channel must be one of sms, .*messenger; got 'fax'$"):
        caller.sim.inbound("Hello?", channel="fax", from_="1", to="2")


async def test_an_inbound_message_needs_an_application() -> None:
    with pytest.raises(ConfigurationError, match=r"^there is no application .*create_application"):
        Simulator().inbound("Hello?", channel="sms", from_="1", to="2")


async def test_settings_people_and_config_are_combined(tmp_path: Path) -> None:
    config = tmp_path / "people.toml"
    config.write_text('[[people]]\naddress = "1"\noutcome = "silent"\n')
    heard: list[Record] = []
    people = People(Person(read_after=None))

    async with Simulator(
        config=config,
        people=people,
        settings=Settings(accept_bare_step=True),
        observer=heard.append,
        history=10,
    ) as sim:
        assert sim.settings.accept_bare_step
        assert sim.people.find("1", "sms").outcome == "silent"
        assert sim.people.find("2", "whatsapp").read_after is None
        async with aiohttp.ClientSession() as session, session.get(sim.base_url):
            assert len(heard) == 1


async def test_a_simulator_that_does_not_run_says_so() -> None:
    sim = Simulator()
    assert repr(sim) == "<Simulator not running, at 0 s, workflows in flight: 0>"

    with pytest.raises(RuntimeError, match="async with"):
        await sim.advance(1)
    with pytest.raises(RuntimeError, match="async with"):
        await sim.advance_until_idle()
    await sim.aclose()
    await sim.aclose()


@pytest.mark.parametrize(("seconds", "settle"), [(-1, 0), (0, -1), (float("nan"), 0)])
async def test_time_goes_forward_only(sim: Simulator, seconds: float, settle: float) -> None:
    with pytest.raises(ValueError, match="forward"):
        await sim.advance(seconds, settle=settle)


async def test_a_taken_port_is_told_and_leaves_nothing_open(sim: Simulator) -> None:
    port = int(sim.url.rsplit(":", 1)[1])

    with pytest.raises(OSError, match="address already in use"):
        async with Simulator(port=port):
            pass


async def test_a_cancelled_advance_loses_no_callback(caller: Caller, receiver: Receiver) -> None:
    stuck, go_on = asyncio.Event(), asyncio.Event()
    deliver = caller.sim._callback_client.deliver

    async def slow(delivery: object) -> object:
        stuck.set()
        await go_on.wait()
        return await deliver(delivery)  # type: ignore[arg-type]  # handed through

    await caller.send(workflow(step("sms", SILENT)))
    caller.sim._callback_client.deliver = slow  # type: ignore[method-assign, assignment]  # to stop in the middle
    moving = asyncio.create_task(caller.sim.advance(1))
    await stuck.wait()
    moving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await moving
    go_on.set()

    await caller.sim.advance(0)

    assert receiver.statuses() == [("sms", "submitted")]


# ---- real time


class Watch:
    """A real clock that the test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def fetch(sim: Simulator, receiver: Receiver, session: aiohttp.ClientSession) -> Caller:
    caller = Caller(sim, session, sim.create_application(status_url=receiver.url))
    await caller.sign_in()
    return caller


async def arrived(receiver: Receiver, count: int) -> None:
    """Wait for callbacks that come by themselves."""
    with anyio.fail_after(5):
        while len(receiver.callbacks) < count:  # noqa: ASYNC110 - a test has no event for "arrived"
            await asyncio.sleep(0)


async def test_real_time_delivers_by_itself(receiver: Receiver) -> None:
    """At 100,000 times the speed 10 minutes are 6 ms."""
    async with Simulator(speed=100_000) as sim, aiohttp.ClientSession() as session:
        caller = await fetch(sim, receiver, session)

        await caller.send(FALL_BACK)
        await arrived(receiver, 5)

        assert set(receiver.statuses()) >= {("sms", "delivered"), ("report", "completed")}
        assert sim.now > 600
        with pytest.raises(RuntimeError, match="by itself"):
            await sim.advance_until_idle()


async def test_a_paused_clock_can_be_put_forward(receiver: Receiver) -> None:
    async with Simulator(speed=1, monotonic=Watch()) as sim, aiohttp.ClientSession() as session:
        caller = await fetch(sim, receiver, session)
        sim.speed = 0
        await caller.send(FALL_BACK)

        await sim.advance(599)
        await arrived(receiver, 2)
        assert len(receiver.callbacks) == 2
        await sim.advance(10)
        await arrived(receiver, 5)

        assert ("report", "completed") in receiver.statuses()
        assert sim.now == 609
        assert sim.speed == 0
        assert abs((sim.time - datetime.now(UTC)).total_seconds() - 609) < 60


async def test_failed_callbacks_are_retried_in_real_time(receiver: Receiver) -> None:
    receiver.answers[:] = [503]
    async with Simulator(speed=100_000) as sim, aiohttp.ClientSession() as session:
        caller = await fetch(sim, receiver, session)
        await caller.send(workflow(step("sms", SILENT)))

        await arrived(receiver, 2)

    assert receiver.callbacks[0].raw == receiver.callbacks[1].raw


async def test_virtual_time_has_no_speed(sim: Simulator) -> None:
    assert sim.speed is None
    with pytest.raises(ValueError, match="only with advance"):
        sim.speed = 2


async def test_closing_leaves_no_task_and_no_socket(receiver: Receiver) -> None:
    before = asyncio.all_tasks()
    async with Simulator(speed=1) as sim, aiohttp.ClientSession() as session:
        caller = await fetch(sim, receiver, session)
        await caller.send()
        url = sim.url

    await asyncio.sleep(0)
    assert asyncio.all_tasks() - before == set()
    with pytest.raises(OSError, match=r"refused|Connect"):
        await asyncio.open_connection("127.0.0.1", int(url.rsplit(":", 1)[1]))


async def test_what_goes_wrong_in_the_driver_is_told_at_the_end(receiver: Receiver) -> None:
    sim = Simulator(speed=100_000)
    await sim.__aenter__()
    async with aiohttp.ClientSession() as session:
        caller = await fetch(sim, receiver, session)
        sim._callback_client.deliver = None  # type: ignore[assignment, method-assign]  # a fault of our own
        await caller.send()
        assert sim._driver is not None
        await asyncio.wait([sim._driver])

    with pytest.raises(ExceptionGroup) as caught:
        await sim.aclose()
    assert caught.group_contains(TypeError)
