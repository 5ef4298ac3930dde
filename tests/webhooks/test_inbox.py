"""The inbox: stored first, handled once, in order, retried, set aside, and left over for the next start."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from nexmo_dispatch_webhooks import (
    ConfigurationError,
    Context,
    Event,
    InboxError,
    InboxFullError,
    MessageStatus,
    Router,
    UnknownRecordError,
    parse_event,
)
from nexmo_dispatch_webhooks.inbox import Health, MemoryInbox, Record, RetryPolicy, StoreInbox
from nexmo_dispatch_webhooks.inbox import engine as engine_module
from tests.webhooks.inbox_support import ManualTime, frozen, in_workflow, make_inbox, put, status_bytes
from tests.webhooks.payloads import encode, inbound_body, report_body

Make = Callable[..., StoreInbox]
Start = Callable[..., Awaitable[StoreInbox]]


@pytest.fixture
async def time() -> ManualTime:
    return ManualTime()


@pytest.fixture(params=["memory", "sqlite"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def make(kind: str, tmp_path: Path, time: ManualTime) -> AsyncIterator[Make]:
    """Make an inbox; those that are still open are closed in the end."""
    made: list[StoreInbox] = []

    def build(**settings: Any) -> StoreInbox:
        made.append(make_inbox(kind, tmp_path, time, **settings))
        return made[-1]

    yield build
    for inbox in made:
        await inbox.aclose()


@pytest.fixture
async def start(make: Make) -> Start:
    async def run(*handlers: Any, **settings: Any) -> StoreInbox:
        inbox = make(**settings)
        await inbox.start(frozen(*handlers))
        return inbox

    return run


async def states(inbox: StoreInbox) -> list[str]:
    return [record.state for record in await inbox.list()]


class Recorder:
    """A handler that notes what it gets, and fails as long as it is told to."""

    def __init__(self, *, failing: bool = False) -> None:
        self.seen: list[tuple[str, int]] = []
        self.failing = failing

    async def __call__(self, event: Event, context: Context) -> None:
        self.seen.append((event.dedup_key[1], context.attempt))
        if self.failing:
            raise ValueError(event.raw)


# --- the way of an event ---


async def test_an_event_is_stored_and_then_handled(start: Start) -> None:
    """The handler gets the event and where it came from; the record says that it is done."""
    seen = []

    async def handler(event: MessageStatus, context: Context) -> None:
        seen.append(
            (event.message_uuid, context.path, context.received_at and context.received_at.timestamp())
        )

    inbox = await start(handler)

    await put(inbox, status_bytes(1), path="status")
    await inbox.idle()

    assert seen == [("m1", "status", 1_000_000.0)]
    (record,) = await inbox.list()
    assert (record.state, record.kind, record.path, record.attempts) == (
        "handled",
        "message-status",
        "status",
        0,
    )
    assert inbox.health() == Health("running", True, 0, 0, 0.0, 0, 0, 0, False)
    assert inbox.health().ready


async def test_a_repetition_is_handled_once(start: Start) -> None:
    """By what the event says (contract 5.10), also when other members differ, also long afterwards."""
    handler = Recorder()
    inbox = await start(handler)

    await put(inbox, status_bytes(1))
    await put(inbox, status_bytes(1, timestamp="2020-01-01T15:00:00.000Z"))
    await inbox.idle()
    await put(inbox, status_bytes(1))
    await asyncio.gather(*(put(inbox, status_bytes(2)) for _ in range(5)))
    await put(inbox, status_bytes(1, status="read"))
    await inbox.idle()

    assert [key for key, _ in handler.seen] == ["m1", "m2", "m1"]
    assert inbox.health().duplicates == 6


async def test_an_event_that_nobody_wants_is_done(start: Start) -> None:
    inbox = await start()

    await put(inbox, status_bytes(1))
    await inbox.idle()

    assert await states(inbox) == ["handled"]
    assert inbox.health().unhandled == 1


async def test_one_workflow_in_order_different_ones_in_parallel(start: Start) -> None:
    """While the first event of a workflow is handled, its next ones wait and those of others do not."""
    log: list[str] = []
    gates = {name: asyncio.Event() for name in ("a1", "a2", "b1")}
    begun = asyncio.Event()

    async def handler(event: MessageStatus) -> None:
        name = event.client_ref or ""
        log.append(f"begin {name}")
        if name == "b1":
            begun.set()
        await gates[name].wait()
        log.append(f"end {name}")

    inbox = await start(handler)
    for number, name in enumerate(["a1", "a2", "b1"]):
        await put(inbox, in_workflow(number, name[0], client_ref=name))
    await begun.wait()
    assert log == ["begin a1", "begin b1"]

    for name in ("b1", "a1", "a2"):
        gates[name].set()
    await inbox.idle()

    assert log.index("end a1") < log.index("begin a2")
    assert sorted(log) == sorted(f"{what} {name}" for what in ("begin", "end") for name in gates)


async def test_no_more_than_concurrency_at_a_time(start: Start) -> None:
    running, most = 0, 0

    async def handler(event: Event) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1

    inbox = await start(handler, concurrency=3)
    await asyncio.gather(*(put(inbox, status_bytes(n)) for n in range(40)))
    await inbox.idle()

    assert most == 3
    assert inbox.health().pending == 0


async def test_what_belongs_together_is_in_order(start: Start) -> None:
    """Statuses and report of a workflow; the messages of one customer to one number; each unknown alone."""
    from nexmo_dispatch_webhooks.inbox.records import lane_of

    def lane(body: Any) -> int:
        return lane_of(parse_event(encode(body) if isinstance(body, dict) else body))

    text = {"type": "text", "text": "hi"}
    assert lane(in_workflow(1, "DDDD")) == lane(report_body(dispatch_uuid="dddd"))
    assert lane(in_workflow(1, "d")) != lane(in_workflow(1, "e"))
    assert lane(status_bytes(1)) == lane(status_bytes(1, status="read"))
    assert lane(inbound_body(text, message_uuid="a")) == lane(inbound_body(text, message_uuid="b"))
    other = {"type": "whatsapp", "number": "447700900999"}
    assert lane(inbound_body(text, **{"from": other})) != lane(inbound_body(text))
    assert lane(inbound_body(text, **{"from": None})) == lane(inbound_body({"type": "x"}, **{"from": None}))
    assert lane({"x": 1}) != lane({"x": 2})
    assert lane(report_body(dispatch_uuid=None)) != lane(report_body(dispatch_uuid=None, status="error"))


# --- failures ---


async def test_a_failed_handler_is_tried_again_and_a_good_one_is_not(start: Start, time: ManualTime) -> None:
    """Back-off by the policy; the attempt number is in the context; the rest of the workflow waits."""
    good, bad = Recorder(), Recorder(failing=True)
    inbox = await start(good, bad, retries=RetryPolicy(wait_initial=10, wait_exp_base=2))
    await put(inbox, in_workflow(1, "w"))
    await put(inbox, in_workflow(2, "w"))
    await inbox.idle()
    assert (good.seen, bad.seen) == ([("m1", 0)], [("m1", 0)])
    assert inbox.health().retrying == 1

    await time.advance(9.9)
    assert len(bad.seen) == 1
    await time.advance(0.2)
    await inbox.idle()
    assert bad.seen == [("m1", 0), ("m1", 1)]
    record = await inbox.show(1)
    assert (record.state, record.attempts, len(record.done)) == ("pending", 2, 1)
    assert [failure.error for failure in record.failed] == ["ValueError"]
    assert record.next_attempt_at is not None
    assert record.next_attempt_at.timestamp() == pytest.approx(1_000_030.0, abs=0.5)

    bad.failing = False
    await time.advance(20)
    await inbox.idle()
    assert bad.seen == [("m1", 0), ("m1", 1), ("m1", 2), ("m2", 0)]
    assert good.seen == [("m1", 0), ("m2", 0)]
    assert await states(inbox) == ["handled", "handled"]


async def test_after_the_last_attempt_it_is_set_aside(
    start: Start, time: ManualTime, caplog: pytest.LogCaptureFixture
) -> None:
    """It can be seen, logs name handler and type only, the workflow goes on, and `retry` brings it back."""
    good, bad = Recorder(), Recorder(failing=True)
    inbox = await start(good, bad, retries=RetryPolicy(attempts=2, wait_initial=5))
    await put(inbox, in_workflow(1, "w"))
    await put(inbox, in_workflow(2, "w"))
    await inbox.idle()
    await time.advance(6)
    await inbox.idle()
    await time.advance(6)
    await inbox.idle()

    assert await states(inbox) == ["quarantined", "quarantined"]
    assert [record.id for record in await inbox.list("quarantined")] == [1, 2]
    assert inbox.health().quarantined == 2
    assert "quarantined: record 1 after 2 attempts" in caplog.text
    assert "447700900000" not in caplog.text

    bad.failing = False
    assert await inbox.retry("all") == 2
    await inbox.idle()

    assert await states(inbox) == ["handled", "handled"]
    assert [key for key, _ in good.seen] == ["m1", "m2"]
    assert await inbox.retry("all") == 0
    assert await inbox.retry(1) == 0


async def test_retry_does_not_wait_for_the_next_attempt(start: Start) -> None:
    """What waits between two attempts may be hurried, by id."""
    bad = Recorder(failing=True)
    inbox = await start(bad, retries=RetryPolicy(wait_initial=1000))
    await put(inbox, status_bytes(1))
    await put(inbox, status_bytes(2))
    await inbox.idle()
    bad.failing = False

    assert await inbox.retry(2) == 1
    await inbox.idle()

    assert await states(inbox) == ["pending", "handled"]
    assert bad.seen[-1] == ("m2", 0)


async def test_a_body_that_is_no_json_is_set_aside_until_somebody_can_read_it(
    make: Make, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The sender was authentic, so it is kept; a retry reads it again, with a `parse` of one's own."""
    handler, broken = Recorder(), b"\xff" + status_bytes(1)
    inbox = make()
    await inbox.start(frozen(handler))
    await put(inbox, broken)
    await put(inbox, broken)
    await inbox.idle()
    (record,) = await inbox.list()
    assert (record.state, record.kind, record.size) == ("quarantined", "unparsable", len(broken))
    assert (await inbox.show(1)).body == broken
    assert "quarantined: record 1" in caplog.text

    assert await inbox.retry(1) == 1
    await inbox.idle()
    (record,) = await inbox.list()
    assert (record.state, record.failed[0].handler, record.failed[0].error) == (
        "quarantined",
        "parse",
        "InvalidBodyError",
    )

    inbox._parse = lambda body: parse_event(body.lstrip(b"\xff"))
    assert await inbox.retry("all") == 1
    await inbox.idle()
    assert await states(inbox) == ["handled"]
    assert handler.seen == [("m1", 0)]


async def test_a_handler_has_limited_time(start: Start, time: ManualTime) -> None:
    """It has failed then; the others go on, and the next attempt has its own time."""
    begun = asyncio.Event()

    async def stuck(event: MessageStatus) -> None:
        if event.message_uuid == "m1":
            begun.set()
            await asyncio.Event().wait()

    inbox = await start(stuck, handler_timeout=60.0, retries=RetryPolicy(attempts=2, wait_initial=5))
    await put(inbox, status_bytes(1))
    await put(inbox, status_bytes(2))
    for _ in range(2):
        await begun.wait()
        begun.clear()
        assert inbox.health().pending == 1
        await time.advance(62)
        await inbox.idle()
        await time.advance(6)

    assert (await inbox.show(1)).failed[0].error == "TimeoutError"
    assert await states(inbox) == ["quarantined", "handled"]


async def test_a_handler_that_awaits_something_cancelled_has_failed(start: Start) -> None:
    """It is not the inbox that is cancelled, so the other events go on."""

    async def handler(event: MessageStatus) -> None:
        if event.message_uuid == "m1":
            raise asyncio.CancelledError

    inbox = await start(handler, retries=RetryPolicy(attempts=1))

    await put(inbox, status_bytes(1))
    await put(inbox, status_bytes(2))
    await inbox.idle()

    assert await states(inbox) == ["quarantined", "handled"]
    assert (await inbox.show(1)).failed[0].error == "CancelledError"


async def test_a_filter_that_raises_is_a_failure_of_its_handler(make: Make) -> None:
    async def handler(event: Event) -> None: ...

    def broken(event: Any) -> bool:
        raise KeyError

    router = Router()
    router.add(handler, when=broken, name="filtered")
    router.freeze()
    inbox = make(retries=RetryPolicy(attempts=1))
    await inbox.start(router)

    await put(inbox, status_bytes(1))
    await inbox.idle()

    assert [(f.handler, f.error) for f in (await inbox.show(1)).failed] == [("filtered", "KeyError")]


async def test_two_handlers_of_one_name_are_told_apart(make: Make) -> None:
    """Otherwise the second would count as done when the first is."""
    good, bad = Recorder(), Recorder(failing=True)
    router = Router()
    router.add(good, name="same")
    router.add(bad, name="same")
    router.freeze()
    inbox = make()
    await inbox.start(router)
    await put(inbox, status_bytes(1))
    await inbox.idle()
    bad.failing = False

    await inbox.retry("all")
    await inbox.idle()

    assert (len(good.seen), len(bad.seen)) == (1, 2)
    assert (await inbox.show(1)).done == ("same",)


# --- the store in trouble ---


async def test_what_cannot_be_stored_is_not_acknowledged(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service repeats it; probes see that storing fails, until it works again."""
    inbox = await start(Recorder())

    async def broken(*args: Any, **settings: Any) -> None:
        raise InboxError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(inbox.store, "add", broken)
        with pytest.raises(InboxError, match="disk full"):
            await put(inbox, status_bytes(1))
        assert not inbox.health().ready

    await put(inbox, status_bytes(1))
    assert inbox.health().ready


async def test_too_many_waiting_events_are_refused(start: Start) -> None:
    """503: the service repeats for 24 hours, and the memory is bounded (contract 5.10)."""
    gate = asyncio.Event()

    async def slow(event: Event) -> None:
        await gate.wait()

    inbox = await start(slow, max_pending=2)
    await put(inbox, status_bytes(1))
    await put(inbox, status_bytes(2))

    with pytest.raises(InboxFullError, match="too many") as caught:
        await put(inbox, status_bytes(3))
    gate.set()
    await inbox.idle()
    await put(inbox, status_bytes(3))

    assert caught.value.status == 503


async def test_a_result_that_cannot_be_written_is_tried_again(
    start: Start, time: ManualTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failure while the store is in trouble is not lost."""
    bad = Recorder(failing=True)
    inbox = await start(bad, retries=RetryPolicy(attempts=2))
    postpone = inbox.store.postpone

    async def broken(*args: Any, **settings: Any) -> None:
        monkeypatch.setattr(inbox.store, "postpone", postpone)
        raise InboxError("disk full")

    monkeypatch.setattr(inbox.store, "postpone", broken)
    await put(inbox, status_bytes(1))
    await inbox.idle()
    assert inbox.health().retrying == 1

    await time.advance(2)
    await inbox.idle()

    assert await states(inbox) == ["quarantined"]


async def test_housekeeping_survives_a_store_in_trouble(
    start: Start, time: ManualTime, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    inbox = await start()

    async def broken() -> bool:
        raise InboxError("locked")

    with monkeypatch.context() as patch:
        patch.setattr(inbox.store, "changed", broken)
        await time.advance(1.5)
    await time.advance(1.5)

    assert "the inbox failed: InboxError" in caplog.text
    assert inbox.health().state == "running"


async def test_many_waiting_events_are_read_again_in_their_turn(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory holds ids only beyond a number; the handlers see no difference."""
    monkeypatch.setattr(engine_module, "_IN_MEMORY", 3)
    gate, seen = asyncio.Event(), []

    async def handler(event: MessageStatus, context: Context) -> None:
        await gate.wait()
        seen.append((event.message_uuid, context.path, context.received_at is not None))

    inbox = await start(handler, concurrency=1)
    for number in range(10):
        await put(inbox, status_bytes(number), path="p")
    gate.set()
    await inbox.idle()

    assert seen == [(f"m{number}", "p", True) for number in range(10)]


async def test_a_record_that_was_put_aside_meanwhile_is_skipped(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else finished it, so its handlers do not run."""
    monkeypatch.setattr(engine_module, "_IN_MEMORY", 0)
    handler = Recorder()
    inbox = await start(handler)
    load = inbox.store.load

    async def finished(record_id: int) -> Record:
        inbox.store.finish(record_id)
        await inbox.store.count()
        return await load(record_id)

    monkeypatch.setattr(inbox.store, "load", finished)

    await put(inbox, status_bytes(1))
    await inbox.idle()

    assert handler.seen == []
    assert inbox.health().pending == 0


# --- the end, and the next start ---


async def test_closing_goes_on_with_what_is_there(make: Make) -> None:
    """What is ready is handled within the deadline; nothing is taken any more."""
    handler = Recorder()
    inbox = make()
    await inbox.start(frozen(handler))
    for number in range(50):
        await put(inbox, status_bytes(number))

    await inbox.aclose()

    assert len(handler.seen) == 50
    assert inbox.health().state == "closed"
    assert not inbox.health().ready


async def test_what_is_left_at_the_deadline_is_handled_after_the_next_start(
    make: Make, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """In order, and without the handlers that had succeeded."""
    first, second, gate = Recorder(), Recorder(), asyncio.Event()

    async def stuck(event: Event) -> None:
        await gate.wait()
        await second(event, Context())

    begun = make(drain=0.0)
    await begun.start(frozen(first=first, second=stuck))
    for number in range(3):
        await put(begun, in_workflow(number, "w"))
    await begun.aclose()
    assert "3 events left" in caplog.text

    gate.set()
    inbox = begun if kind == "memory" else make()
    await inbox.start(frozen(first=first, second=stuck))
    await inbox.idle()

    assert [key for key, _ in second.seen] == ["m0", "m1", "m2"]
    assert await states(inbox) == ["handled"] * 3


async def test_a_retry_that_is_due_later_stays_due_over_a_restart(
    make: Make, kind: str, time: ManualTime
) -> None:
    good, bad = Recorder(), Recorder(failing=True)
    policy = RetryPolicy(wait_initial=100)
    begun = make(retries=policy)
    await begun.start(frozen(good=good, bad=bad))
    await put(begun, status_bytes(1))
    await begun.idle()
    await begun.aclose()

    inbox = begun if kind == "memory" else make(retries=policy)
    await inbox.start(frozen(good=good, bad=bad))
    await inbox.idle()
    assert (inbox.health().retrying, inbox.health().lag) == (1, 0.0)
    bad.failing = False
    await time.advance(101)
    await inbox.idle()

    assert (good.seen, bad.seen) == ([("m1", 0)], [("m1", 0), ("m1", 1)])


async def test_an_inbox_belongs_to_one_receiver(start: Start) -> None:
    inbox = await start()

    with pytest.raises(ConfigurationError, match="started already"):
        await inbox.start(frozen())


async def test_lag_and_state_are_visible(start: Start, time: ManualTime) -> None:
    """For probes: how long the oldest event waits, without personal data."""
    gate = asyncio.Event()

    async def slow(event: Event) -> None:
        await gate.wait()

    inbox = await start(slow)
    await put(inbox, status_bytes(1))
    time.now += 7

    health = inbox.health()
    closing = asyncio.create_task(inbox.aclose())
    await asyncio.sleep(0)
    draining = inbox.health()
    gate.set()
    await closing

    assert (health.pending, health.lag) == (1, 7.0)
    assert (draining.state, draining.ready) == ("draining", False)
    assert "closed" in repr(inbox)
    assert "4477" not in repr(inbox)


async def test_a_bug_in_the_inbox_is_visible(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, and the probe says that nothing is handled any more."""
    inbox = make()
    await inbox.start(frozen(Recorder()))
    failed = asyncio.Event()

    def broken() -> None:
        failed.set()
        raise RuntimeError

    inbox._lanes.take = broken  # type: ignore[method-assign]  # the bug
    await put(inbox, status_bytes(1))
    await failed.wait()
    task = inbox._task
    assert task is not None
    await asyncio.wait({task})

    assert inbox.health().state == "failed"
    await inbox.aclose()
    assert "the inbox failed: " in caplog.text


async def test_a_cancelled_close_cancels_the_handlers(make: Make) -> None:
    """Nothing runs on after a shutdown that somebody gave up."""
    ended = asyncio.Event()

    async def stuck(event: Event) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    inbox = make(drain=1000.0)
    await inbox.start(frozen(stuck))
    await put(inbox, status_bytes(1))
    closing = asyncio.create_task(inbox.aclose())
    await asyncio.sleep(0)
    closing.cancel()

    with pytest.raises(asyncio.CancelledError):
        await closing

    assert ended.is_set()


# --- for people ---


async def test_lists_have_pages_and_no_bodies(start: Start) -> None:
    inbox = await start(Recorder())
    for number in range(5):
        await put(inbox, status_bytes(number))
    await inbox.idle()

    first = await inbox.list("handled", limit=2)
    second = await inbox.list(limit=2, after=first[-1].id)

    assert [record.id for record in first + second] == [1, 2, 3, 4]
    assert {record.body for record in first} == {None}
    assert await inbox.list("pending") == []
    assert "4477" not in repr(await inbox.show(1))
    with pytest.raises(UnknownRecordError, match="there is no record 99"):
        await inbox.show(99)


async def test_purged_content_is_gone_and_its_repetition_still_known(start: Start, time: ManualTime) -> None:
    """Personal data goes, the key stays; what was not handled cannot be purged."""
    handler = Recorder()
    inbox = await start(handler)
    await put(inbox, status_bytes(1))
    await put(inbox, b"no json")
    await inbox.idle()
    time.now += 50
    await put(inbox, status_bytes(2))
    await inbox.idle()

    assert await inbox.purge(older_than=49) == 1
    assert await inbox.purge(record_id=2) == 1
    assert await inbox.purge("quarantined") == 0
    await put(inbox, status_bytes(1))
    await inbox.idle()

    assert [(r.id, r.state) for r in await inbox.list()] == [(3, "handled")]
    gone = await inbox.show(1)
    assert (gone.state, gone.body, gone.path) == ("forgotten", None, "")
    assert len(handler.seen) == 2
    with pytest.raises(ConfigurationError, match="handled or quarantined"):
        await inbox.purge("pending")


async def test_retention_forgets_contents_and_later_keys(start: Start, time: ManualTime) -> None:
    """Contents after `keep`, quarantine after its own time, keys after `remember` (contract 5.10)."""
    handler = Recorder()
    hour = 3600.0
    inbox = await start(handler, keep=hour, keep_quarantined=2 * hour, remember=30 * hour, poll=0.5 * hour)
    await put(inbox, status_bytes(1))
    await put(inbox, b"no json")
    await inbox.idle()

    async def after(hours: float) -> list[str]:
        await time.advance(hours * hour)
        return [(await inbox.store.load(n)).state for n in (1, 2)]

    assert await after(0.6) == ["handled", "quarantined"]
    assert await after(1.5) == ["forgotten", "quarantined"]
    assert await after(2) == ["forgotten", "forgotten"]
    await put(inbox, status_bytes(1))
    await inbox.idle()
    assert len(handler.seen) == 1
    await time.advance(30 * hour)
    assert await inbox.list("forgotten") == []
    await put(inbox, status_bytes(1))
    await inbox.idle()
    assert len(handler.seen) == 2


async def test_it_can_be_looked_at_without_being_started(make: Make) -> None:
    """`async with`, or just the methods: they open the store."""
    async with make() as inbox:
        assert await inbox.list() == []
        assert inbox.health().state == "closed"
        await inbox.idle()


@pytest.mark.parametrize(
    "settings",
    [{"concurrency": 0}, {"max_pending": 0}, {"poll": 0}, {"drain": -1}, {"remember": 3600}],
)
async def test_settings_that_make_no_sense(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        MemoryInbox(**settings)


async def test_logs_hold_no_personal_data(
    start: Start, time: ManualTime, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever fails: no number, text or reference."""
    caplog.set_level(logging.DEBUG)
    inbox = await start(Recorder(failing=True), retries=RetryPolicy(attempts=2))

    for body in (
        status_bytes(1, client_ref="secret"),
        b"secret",
        encode(inbound_body({"type": "text", "text": "secret"})),
    ):
        await put(inbox, body)
    await inbox.idle()
    await time.advance(5)
    await inbox.idle()
    await inbox.retry("all")
    await inbox.idle()

    assert "447700900000" not in caplog.text
    assert "secret" not in caplog.text
