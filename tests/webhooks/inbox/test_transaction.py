"""`context.transaction`: a handler's own writes and the mark that it is done, together or not at all."""

import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from nexmo_dispatch_webhooks import ConfigurationError, Context, Event, MessageStatus, Router, Transaction
from nexmo_dispatch_webhooks.inbox import HandlerRetryPolicy, MemoryInbox, StoreInbox, attempt
from tests.webhooks.inbox.support import ManualTime, frozen, make_inbox, put, status_bytes

SCHEMA = "CREATE TABLE IF NOT EXISTS counts (name TEXT PRIMARY KEY, n INTEGER NOT NULL CHECK (n < 3));"
COUNT = "INSERT INTO counts VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET n = n + 1"


@pytest.fixture
async def time() -> ManualTime:
    return ManualTime()


@pytest.fixture
async def make(tmp_path: Path, time: ManualTime) -> AsyncIterator[Callable[..., StoreInbox]]:
    made: list[StoreInbox] = []

    def build(**settings: Any) -> StoreInbox:
        made.append(make_inbox("sqlite", tmp_path, time, schema=SCHEMA, **settings))
        return made[-1]

    yield build
    for inbox in made:
        await inbox.aclose()


def counts(folder: Path) -> dict[str, int]:
    with sqlite3.connect(folder / "inbox.db") as db:
        found = dict(db.execute("SELECT name, n FROM counts").fetchall())
    db.close()
    return found


async def test_writes_are_committed_with_the_mark(make: Any, tmp_path: Path) -> None:
    """One handler, several statements, by position and by name."""

    async def count(event: MessageStatus, context: Context) -> None:
        context.transaction.execute(COUNT, (event.status,))
        context.transaction.execute("INSERT INTO counts VALUES (:name, 1)", {"name": event.message_uuid})

    inbox = make()
    await inbox.start(frozen(count))
    await put(inbox, status_bytes(1))
    await put(inbox, status_bytes(1))
    await inbox.idle()

    assert counts(tmp_path) == {"delivered": 1, "m1": 1}
    (record,) = await inbox.list()
    assert (record.state, len(record.done)) == ("handled", 1)


async def test_each_of_several_handlers_counts_once(make: Any, tmp_path: Path, time: ManualTime) -> None:
    """One fails after it asked for writes: its own are gone, those of the others stay and are made once."""
    failing = True

    async def first(event: Event, context: Context) -> None:
        context.transaction.execute(COUNT, ("first",))

    async def second(event: Event, context: Context) -> None:
        context.transaction.execute(COUNT, ("second",))
        if failing:
            raise ValueError

    async def third(event: Event, context: Context) -> None:
        context.transaction.execute(COUNT, ("third",))

    inbox = make()
    await inbox.start(frozen(first, second, third))
    await put(inbox, status_bytes(1))
    await inbox.idle()
    assert counts(tmp_path) == {"first": 1, "third": 1}

    failing = False
    await time.advance(2)
    await inbox.idle()

    assert counts(tmp_path) == {"first": 1, "second": 1, "third": 1}
    assert (await inbox.show(1)).state == "handled"


async def test_a_statement_that_fails_is_a_failure_of_its_handler(
    make: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """All of that handler's statements are undone; the log says which of them failed, and shows no value."""

    async def count(event: Event, context: Context) -> None:
        context.transaction.execute(COUNT, ("kept",))
        context.transaction.execute("INSERT INTO counts VALUES ('broken', 7)")

    inbox = make(retry=HandlerRetryPolicy(attempts=1))
    await inbox.start(frozen(count))
    await put(inbox, status_bytes(1))
    await inbox.idle()

    record = await inbox.show(1)
    assert (record.state, record.failed[0].error) == ("quarantined", "TransactionError")
    assert counts(tmp_path) == {}
    assert "statement 2 of 2 in context.transaction failed: " in caplog.text
    assert "broken" not in caplog.text


async def test_another_process_finished_it_meanwhile(make: Any, tmp_path: Path) -> None:
    """Then the writes are not kept: they were made already."""

    async def count(event: Event, context: Context) -> None:
        with sqlite3.connect(tmp_path / "inbox.db", isolation_level=None) as db:
            db.execute("UPDATE events SET state = 2")
        db.close()
        context.transaction.execute(COUNT, ("twice",))

    inbox = make(retry=HandlerRetryPolicy(attempts=1))
    await inbox.start(frozen(count))
    await put(inbox, status_bytes(1))
    await inbox.idle()

    assert counts(tmp_path) == {}
    assert (await inbox.show(1)).state == "handled"


@pytest.mark.parametrize(
    "sql",
    [
        "COMMIT",
        " rollback;",
        "BEGIN IMMEDIATE",
        "pragma synchronous=off",
        "vacuum",
        "-- a\n/* b */COMMIT\nWORK",
    ],
)
def test_statements_that_would_end_the_transaction_are_refused(sql: str) -> None:
    """Other events share it."""
    transaction = Transaction()

    with pytest.raises(ValueError, match="not possible inside of the transaction"):
        transaction.execute(sql)

    assert repr(transaction) == "<Transaction of 0 statements>"


async def test_a_hidden_end_of_the_transaction_is_noticed(make: Any, tmp_path: Path) -> None:
    """A conflict may end it: nothing of it is kept, and that is the failure of its handler."""

    async def count(event: Event, context: Context) -> None:
        context.transaction.execute(COUNT, ("before",))
        context.transaction.execute(
            f"INSERT OR ROLLBACK{COUNT.removeprefix('INSERT').partition('ON')[0]}", ("before",)
        )

    inbox = make(retry=HandlerRetryPolicy(attempts=1))
    await inbox.start(frozen(count))
    await put(inbox, status_bytes(1))
    await inbox.idle()

    assert (await inbox.show(1)).state == "quarantined"
    assert counts(tmp_path) == {}


async def test_without_a_database_the_message_says_what_is_needed() -> None:
    """No inbox, or the one in memory."""
    with pytest.raises(ConfigurationError, match="needs an SQLite inbox"):
        _ = Context().transaction

    async def count(event: Event, context: Context) -> None:
        context.transaction.execute(COUNT, ("x",))

    inbox = MemoryInbox(retry=HandlerRetryPolicy(attempts=1))
    await inbox.start(frozen(count))
    await put(inbox, status_bytes(1))
    await inbox.idle()
    assert (await inbox.show(1)).failed[0].error == "ConfigurationError"
    await inbox.aclose()


async def test_trouble_of_the_file_is_no_failure_of_the_handler(
    make: Any, tmp_path: Path, time: ManualTime
) -> None:
    """However long it lasts, nothing counts as an attempt, and handlers that are done do not run again."""
    seen: list[str] = []

    async def plain(event: Event) -> None:
        seen.append("plain")

    async def count(event: Event, context: Context) -> None:
        seen.append(f"count, attempt {context.attempt}")
        context.transaction.execute(COUNT, ("once",))

    inbox = make(retry=HandlerRetryPolicy(attempts=2), busy_timeout=0.0)
    await inbox.start(frozen(plain, count))
    add, blocker = inbox.store.add, sqlite3.connect(tmp_path / "inbox.db", isolation_level=None)

    async def and_lock(record: Any) -> Any:
        record_id = await add(record)
        blocker.execute("BEGIN IMMEDIATE")
        return record_id

    inbox.store.add = and_lock
    await put(inbox, status_bytes(1))
    for _ in range(4):
        await inbox.idle()
        await time.advance(1.5)
    blocker.execute("COMMIT")
    blocker.close()
    await time.advance(1.5)
    await inbox.idle()

    assert seen[0] == "plain"
    assert len(seen) > 4
    assert set(seen[1:]) == {"count, attempt 0"}
    assert counts(tmp_path) == {"once": 1}
    assert (await inbox.show(1)).state == "handled"


async def test_only_what_sees_the_context_gets_a_transaction(
    make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For the others nothing is begun; a middleware sees the context of a handler that does not."""
    begun: list[Transaction] = []

    class Begun(Transaction):
        __slots__ = ()

        def __init__(self) -> None:
            super().__init__()
            begun.append(self)

    monkeypatch.setattr(attempt, "Transaction", Begun)
    router, inner = Router(), Router()

    @router.register()
    async def without(event: MessageStatus) -> None: ...

    @inner.register()
    async def behind_a_middleware(event: MessageStatus) -> None: ...

    @inner.middleware
    async def count(event: Event, context: Context, call_next: Any) -> Any:
        context.transaction.execute(COUNT, (event.kind,))
        return await call_next(event)

    inbox = make()
    await inbox.start(router.bind())
    await put(inbox, status_bytes(1))
    await inbox.idle()
    assert begun == []
    await inbox.aclose()

    router = Router(inner)
    inbox = make()
    await inbox.start(router.bind())
    await put(inbox, status_bytes(2))
    await inbox.idle()
    assert len(begun) == 1
    assert counts(tmp_path) == {"message-status": 1}
