"""An inbox on JetStream: several processes store events, one handles them, and what it writes is fenced."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from nexmo_dispatch_webhooks import ConfigurationError, InboxError, InboxFullError, InboxLostError, Router
from nexmo_dispatch_webhooks.inbox import JetStreamInbox
from nexmo_dispatch_webhooks.inbox.conformance import record
from nexmo_dispatch_webhooks.inbox.jetstream import JetStreamInboxStore
from nexmo_dispatch_webhooks.inbox.records import NewRecord, StoredFailure
from nexmo_dispatch_webhooks.receiver import Receiver

pytestmark = pytest.mark.engines

LEASE = 10.0


class Stores:
    """Stores of several processes in one space, with one clock."""

    def __init__(self, url: str) -> None:
        self.now = 100.0
        self.url = url
        self.made: list[JetStreamInboxStore] = []

    async def new(self, **options: Any) -> JetStreamInboxStore:
        clock: Callable[[], float] = lambda: self.now  # noqa: E731 - read at each call
        self.made.append(JetStreamInboxStore(self.url, clock=clock, monotonic=clock, lease=LEASE, **options))
        await self.made[-1].open()
        return self.made[-1]


@pytest.fixture
async def stores(nats_url: str) -> AsyncIterator[Stores]:
    made = Stores(nats_url)
    yield made
    for store in made.made:
        await store.aclose()


class Heard:
    """A listener that notes the ids, and wakes who waits for a number of them."""

    def __init__(self, store: JetStreamInboxStore) -> None:
        self.ids: list[int] = []
        self._changed = asyncio.Event()
        store.on_added = self

    def __call__(self, record_id: int, record: NewRecord) -> None:
        self.ids.append(record_id)
        self._changed.set()

    async def wait(self, number: int) -> list[int]:
        async with asyncio.timeout(20):
            while len(self.ids) < number:
                self._changed.clear()
                await self._changed.wait()
        return self.ids


async def test_one_process_tells_the_events_of_all(stores: Stores) -> None:
    """In the order of the ids, each once, whichever process stored it, and without a poll."""
    one, other = await stores.new(), await stores.new()
    await other.add(record(0))
    assert await one.claim()
    assert not await other.claim()
    heard = Heard(one)
    assert [item.id for item in await one.pending()] == [1]

    await asyncio.gather(*((one, other)[n % 2].add(record(n)) for n in range(1, 41)))

    assert await heard.wait(40) == list(range(2, 42))
    assert not await one.changed()


async def test_a_poll_finds_events_whose_hints_were_lost(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = await stores.new(), await stores.new()
    await one.claim()
    heard = Heard(one)
    await one.pending()

    async def lost(*_: object) -> None:
        """Lose a hint."""

    monkeypatch.setattr(other._connection, "tell", lost)
    await other.add(record(1))
    assert heard.ids == []

    await one.changed()
    assert heard.ids == [1]
    assert (await one.load(1)).body is not None


async def test_what_a_process_left_is_taken_over(stores: Stores) -> None:
    """Events without a mark, with their attempts; what is marked, quarantined or forgotten is left out."""
    one, other = await stores.new(), await stores.new()
    await one.claim()
    Heard(one)
    await one.pending()
    for number in range(6):
        await one.add(record(number))
    one.finish(1)
    one.finish(3)
    failed = (StoredFailure("bad", "ValueError"),)
    await one.postpone(2, attempts=1, due=99.0, done=["good"], failed=failed)
    await one.postpone(4, attempts=6, due=None, done=[], failed=failed)
    await one.purge(3, states=("handled",), before=None)
    assert await one.claim()  # the report goes with it
    assert not await other.claim()
    assert (await other.count()).pending == 3
    await one._connection.aclose()  # it dies
    stores.made.remove(one)

    stores.now += LEASE / 2
    assert not await other.claim()
    stores.now += LEASE
    assert await other.claim()

    items = [(item.id, item.attempts, list(item.done)) for item in await other.pending()]
    assert items == [(2, 1, ["good"]), (5, 0, []), (6, 0, [])]
    counts = await other.count()
    assert (counts.pending, counts.quarantined, counts.retrying) == (3, 1, 1)


async def test_a_process_that_slept_past_its_lease_marks_nothing(
    stores: Stores, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither a mark nor a failure counts, and it says so before it handles another event."""
    one, other = await stores.new(), await stores.new()
    await one.claim()
    Heard(one)
    await one.pending()
    for number in range(2):
        await one.add(record(number))
    assert not await other.claim()
    stores.now += LEASE + 1
    assert one.lapsed
    assert await other.claim()

    one.finish(1)
    with pytest.raises(InboxError, match="another process may have record 2"):
        await one.postpone(2, attempts=1, due=None, done=[], failed=())
    await one.count()

    assert [item.id for item in await other.pending()] == [1, 2]
    assert "handled after the lease was lost" in caplog.text
    assert not await one.claim()
    other.finish(1)
    assert (await one.load(1)).state in {"pending", "handled"}
    assert (await other.load(1)).state == "handled"


async def test_a_process_that_slept_and_lost_nothing_looks_anew(stores: Stores) -> None:
    """No other process stood by: it goes on with all pending events."""
    store = await stores.new()
    await store.claim()
    Heard(store)
    await store.pending()
    await store.add(record(1))
    stores.now += LEASE + 1
    assert store.lapsed

    assert await store.claim()
    assert await store.changed()
    assert [item.id for item in await store.pending()] == [1]
    assert not store.lapsed


async def test_a_lease_that_was_lost_and_is_free_again_is_taken_from_the_beginning(stores: Stores) -> None:
    """A write found the loss: what this process knows is out of date, so it looks anew."""
    one, other = await stores.new(), await stores.new()
    await one.claim()
    Heard(one)
    await one.pending()
    for number in range(2):
        await one.add(record(number))
    assert not await other.claim()
    stores.now += LEASE + 1
    assert await other.claim()
    other.finish(2)
    await other.aclose()
    stores.made.remove(other)

    one.finish(1)
    await one.count()
    assert one.lapsed
    assert not await one.claim()

    assert await one.claim()
    assert [item.id for item in await one.pending()] == [1]
    assert not one.lapsed


async def test_an_event_is_read_while_marks_of_others_wait(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else each event of a backlog would cut a batch of marks short; its own mark comes first."""
    one, other = await stores.new(), await stores.new()
    await one.claim()
    for number in range(2):
        await other.add(record(number))
    await one.pending()
    go, write = asyncio.Event(), one._lease.write

    async def slow(*arguments: Any) -> int:
        await go.wait()
        return await write(*arguments)

    monkeypatch.setattr(one._lease, "write", slow)
    one.finish(1)

    async with asyncio.timeout(20):
        assert (await one.load(2)).state == "pending"
        reading = asyncio.create_task(one.load(1))
        assert not (await asyncio.wait({reading}, timeout=0.1))[0]
        go.set()
        assert (await reading).state == "handled"


async def test_a_retry_of_an_operator_reaches_the_process_that_handles(stores: Stores) -> None:
    """The command opens a store of its own."""
    one, command = await stores.new(), await stores.new()
    await one.claim()
    Heard(one)
    await one.pending()
    await one.add(record(1))
    await one.add(record(0, body=b"no json"))
    await one.postpone(1, attempts=6, due=None, done=[], failed=(StoredFailure("bad", "ValueError"),))
    await one.changed()

    assert await command.retry("all") == 2
    assert await one.changed()

    assert sorted(item.id for item in await one.pending()) == [1, 2]
    assert not await one.changed()


async def test_a_key_is_known_after_its_content_is_gone(stores: Stores) -> None:
    """Also when the process ended between the two steps, and after a restart of all."""
    store = await stores.new()
    await store.add(record(1))
    store.finish(1)
    await store.purge(1, states=("handled",), before=None)
    await store.aclose()

    again = await stores.new()
    assert await again.add(record(1)) is None
    assert (await again.load(1)).state == "forgotten"
    assert [found.id for found in await again.list("forgotten", limit=9, after=0)] == [1]


async def test_a_full_inbox_refuses_and_makes_room(stores: Stores) -> None:
    """The error is that of a full store, known keys stay known, and what is forgotten makes room."""
    store = await stores.new(max_bytes=1_000_000)
    await store.claim()
    Heard(store)
    await store.pending()
    big = b'{"message_uuid": "%d", "status": "read", "padding": "' + b"x" * 90_000 + b'"}'

    for number in range(11):
        await store.add(record(0, body=big % number))
    with pytest.raises(InboxFullError):
        await store.add(record(0, body=big % 12))
    for number in range(1, 12):
        store.finish(number)
    while await store.prune(handled=0.0, quarantined=1e9, keys=1e9):
        pass

    assert await store.writable()
    assert await store.add(record(0, body=big % 99)) is not None
    assert await store.add(record(0, body=big % 0)) is None


async def test_a_deleted_stream_is_a_lost_inbox(stores: Stores) -> None:
    """Said at once, and never taken for an existing event or an empty store."""
    store = await stores.new()
    await store.add(record(1))
    await store._connection.request(f"$JS.API.STREAM.DELETE.{store._names.events}")

    for call in (store.add(record(2)), store.count(), store.writable()):
        with pytest.raises(InboxLostError, match="was deleted"):
            await call


async def test_an_empty_stream_in_place_of_a_deleted_one_loses_no_new_event(stores: Stores) -> None:
    """States of deleted events do not count for new ones, and a process that goes on hears of them."""
    holder = await stores.new()
    await holder.claim()
    heard = Heard(holder)
    await holder.pending()
    for number in range(3):
        await holder.add(record(number))
        holder.finish(number + 1)
    await holder.count()
    await holder._connection.request(f"$JS.API.STREAM.DELETE.{holder._names.events}")

    other = await stores.new()
    new = await other.add(record(9))

    assert new is not None
    assert (await heard.wait(4))[-1] == new
    assert (await other.load(new)).state == "pending"


async def test_events_without_their_states_are_not_handled_again(stores: Stores) -> None:
    """The bucket was deleted: the start is refused, with what to do."""
    store = await stores.new()
    await store.add(record(1))
    await store._connection.request(f"$JS.API.STREAM.DELETE.{store._names.states}")

    with pytest.raises(InboxLostError, match="restore it"):
        await stores.new()


async def test_two_inboxes_share_the_work_and_one_takes_over(nats_url: str) -> None:
    """A whole inbox: the second receives while the first handles, and handles when the first has ended."""
    seen: list[tuple[str, str]] = []
    done = asyncio.Event()

    def router(name: str) -> Router:
        made = Router()

        async def handle(event: Any) -> None:
            seen.append((name, event.message_uuid[-1]))
            if len(seen) in {2, 3}:
                done.set()

        made.add(handle)
        made.freeze()
        return made

    one = JetStreamInbox(nats_url, poll=0.05)
    other = JetStreamInbox(nats_url, poll=0.05)
    await one.start(router("one"))
    await other.start(router("other"))
    try:
        assert (one.health().state, other.health().state) == ("running", "standby")
        async with asyncio.timeout(20):
            for number, inbox in enumerate((one, other)):
                new = record(number)
                await inbox.put(_request(new), new.context, new.event)
            await done.wait()
            done.clear()
            await one.aclose()
            new = record(2)
            await other.put(_request(new), new.context, new.event)
            await done.wait()
    finally:
        await one.aclose()
        await other.aclose()

    assert seen == [("one", "0"), ("one", "1"), ("other", "2")]


def _request(new: NewRecord) -> Any:
    from nexmo_dispatch_webhooks import RawRequest

    return RawRequest({}, new.body, new.path)


async def test_the_server_is_named_without_its_secrets() -> None:
    """Neither `repr` nor an error shows user, password or address."""
    store = JetStreamInboxStore(
        "nats://someone:secret@127.0.0.1:1/name", clock=float, monotonic=float, timeout=0.5
    )

    with pytest.raises(InboxError, match="cannot be reached") as caught:
        await store.open()

    shown = f"{caught.value} {caught.value!r} {store!r} {caught.value.__cause__} {caught.value.__context__}"
    assert "secret" not in shown
    assert "someone" not in shown
    with pytest.raises(InboxError, match="not open"):
        await store.add(record(1))
    await store.aclose()
    with pytest.raises(ConfigurationError) as refused:
        JetStreamInbox("nats://someone:secret@[broken")
    assert "secret" not in f"{refused.value} {refused.value.__cause__} {refused.value.__context__}"


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"replicas": 2}, "replicas must be 1, 3 or 5"),
        ({"max_bytes": 5}, "max_bytes"),
        ({"timeout": 0}, "timeout"),
    ],
)
def test_settings_are_checked(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        JetStreamInbox("nats://127.0.0.1", **options)


async def test_a_receiver_takes_the_url() -> None:
    """`setup(…, inbox="nats://…")`; another scheme is refused."""
    receiver = Receiver(Router(), verification=None, inbox="nats://127.0.0.1:1/name")
    assert isinstance(receiver.inbox, JetStreamInbox)
    with pytest.raises(ConfigurationError, match="nats://host/name"):
        Receiver(Router(), verification=None, inbox="mysql://host/name")
