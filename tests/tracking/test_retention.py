"""How long a tracker keeps a workflow, and that a result says when nothing is known of one."""

from datetime import timedelta
from pathlib import Path

import pytest

from nexmo_dispatch_async.exceptions import WaitTimeoutError
from nexmo_dispatch_async.tracking import MemoryTrackingStore, Tracker
from nexmo_dispatch_async.tracking.sqlite import SqliteTrackingStore
from tests.support.callbacks import UUID, WHATSAPP_THEN_SMS, report, status

DAY = 24 * 3600.0
SUBMITTED = status("a", "submitted", 0, channel="whatsapp")
LATE = status("a", "delivered", 30 * DAY, channel="whatsapp")
SMS_REPORT = report("completed", 605, ("a", "whatsapp", "submitted"), ("b", "sms", "delivered"), total="0.1")


def later(seconds: list[float], store: MemoryTrackingStore | Path) -> Tracker:
    """Return a tracker whose time passes by the first entry of a list."""
    place = store if isinstance(store, MemoryTrackingStore) else SqliteTrackingStore(store)
    return Tracker(place, clock=lambda: 0.0, monotonic=lambda: seconds[0])


async def change(tracker: Tracker, times: int) -> None:
    """Let a store clean up, which happens with some of its changes."""
    for number in range(times):
        await tracker.receive(status("m", "submitted", dispatch=f"stranger {number}"))


@pytest.mark.parametrize("ended", [False, True])
async def test_a_status_that_is_a_month_late_finds_its_workflow(ended: bool, tmp_path: Path) -> None:
    """WhatsApp statuses come up to 30 days late (contract 5.10); by then nothing was forgotten."""
    seconds = [0.0]
    async with later(seconds, tmp_path / "t.db") as tracker:
        await tracker.follow(UUID, WHATSAPP_THEN_SMS).result()
        await tracker.receive(SMS_REPORT if ended else SUBMITTED)
        seconds[0] = 30 * DAY
        await change(tracker, 70)
        await tracker.receive(LATE)

        result = await tracker.result(UUID)

    assert result.ended is ended
    assert [(step.channel, step.until) for step in result.steps] == [("whatsapp", "read"), ("sms", None)]
    assert result.steps[0].status == "delivered"


async def test_memory_holds_ended_workflows_for_two_days() -> None:
    """A month of them would fill it, and a restart loses them anyway."""
    seconds = [0.0]
    store = MemoryTrackingStore()
    tracker = later(seconds, store)
    await tracker.follow(UUID, WHATSAPP_THEN_SMS).result()
    await tracker.receive(SMS_REPORT)

    kept: list[int] = []
    for seconds[0] in (1.9 * DAY, 2.1 * DAY):
        await tracker.result("another")
        kept.append(len(store))

    assert kept == [1, 0]


async def test_a_result_says_when_nothing_is_known() -> None:
    """A wrong id, a forgotten workflow, and one that was sent and has no callback yet are told apart."""
    async with Tracker() as tracker:
        wrong = await tracker.result("no such id")
        followed = await tracker.follow("no such id").result()
        sent = await tracker.follow(UUID, WHATSAPP_THEN_SMS).result()
        await tracker.receive(status("m", "submitted", dispatch="one status"))
        await tracker.receive(report("error", 1, dispatch="bare report"))
        heard = [await tracker.result(each) for each in ("one status", "bare report")]

    assert [wrong.known, followed.known, sent.known] == [False, False, True]
    assert [result.known for result in heard] == [True, True]
    assert (str(wrong), str(sent)) == ("nothing is known", "not reached, not ended")


async def test_a_wait_for_a_wrong_id_says_that_nothing_is_known() -> None:
    """A mistyped id, or another store than the sender's, looks like a slow workflow otherwise."""
    async with Tracker() as tracker:
        with pytest.raises(WaitTimeoutError, match=r"had not ended after 0 s: nothing is known of it$"):
            await tracker.follow("no such id").wait(timeout=0)
        with pytest.raises(WaitTimeoutError, match=r"had not ended after 0 s$"):
            await tracker.follow(UUID, WHATSAPP_THEN_SMS).wait(timeout=0)


async def test_what_is_followed_is_not_kept_for_ever() -> None:
    """A workflow that is never heard of again costs memory for as long as one that is not over."""
    now = [0.0]
    tracker = Tracker(clock=lambda: 0.0, monotonic=lambda: now[0], keep_open=10)

    for number in range(100):
        tracker.follow(f"workflow {number}", WHATSAPP_THEN_SMS)
        now[0] += 1

    assert len(tracker._followed) == 11
    await tracker.result("workflow 99")
    assert len(tracker._followed) == 10


async def test_unclaimed_events_are_bounded() -> None:
    """Events of unclaimed workflows: limited by number and by age, in memory."""
    now = [0.0]
    store = MemoryTrackingStore()
    tracker = Tracker(
        store, clock=lambda: 0.0, monotonic=lambda: now[0], max_unclaimed=100, keep_unclaimed=60
    )

    for number in range(1000):
        await tracker.receive(status("m", "submitted", dispatch=f"stranger {number}"))
    crowd = len(store)
    now[0] = 61
    await tracker.receive(SUBMITTED)

    assert (crowd, len(store)) == (100, 1)


async def test_ended_workflows_are_forgotten_after_a_while() -> None:
    now = [0.0]
    store = MemoryTrackingStore()
    tracker = Tracker(store, clock=lambda: 0.0, monotonic=lambda: now[0], keep=timedelta(hours=1))
    for number in range(50):
        await tracker.receive(report("completed", 1, dispatch=f"mine {number}"))
        await tracker.follow(f"mine {number}").wait(timeout=10)

    now[0] = 3601
    await tracker.receive(SUBMITTED)

    assert len(store) == 1
