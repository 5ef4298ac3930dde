"""An inbox on Postgres: several processes handle its events, and handlers write in its transactions."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from psycopg import AsyncConnection, OperationalError

from nexmo_dispatch_core.postgres.database import Connection
from nexmo_dispatch_webhooks import ConfigurationError, Context, Event, MessageStatus, Receiver, Router
from nexmo_dispatch_webhooks.exceptions import InboxError, StatementError
from nexmo_dispatch_webhooks.inbox import HandlerRetryPolicy, PostgresInbox, StoreInbox
from nexmo_dispatch_webhooks.inbox.postgres import PostgresInboxStore
from nexmo_dispatch_webhooks.inbox.postgres_transaction import PostgresTransaction
from tests.support.postgres_server import PostgresServer
from tests.webhooks.inbox.support import frozen, in_workflow, put, status_bytes

pytestmark = pytest.mark.engines

SCHEMA = """
CREATE TABLE IF NOT EXISTS counts (name text PRIMARY KEY, n integer NOT NULL CHECK (n < 3));
"""
COUNT = "INSERT INTO counts AS c VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET n = c.n + 1"

Open = Callable[..., PostgresInbox]


@pytest.fixture
async def make(database: str) -> AsyncIterator[Open]:
    """Make inboxes of one database, as in several processes; they are closed in the end."""
    made: list[StoreInbox] = []

    def build(**settings: Any) -> PostgresInbox:
        made.append(PostgresInbox(database, schema=SCHEMA, **settings))
        return made[-1]  # type: ignore[return-value]  # it was made here

    yield build
    for inbox in made:
        await inbox.aclose()


def counts(postgres: PostgresServer, database: str) -> dict[str, int]:
    """What handlers counted."""
    name = database.partition("?")[0].rpartition("/")[2]
    rows = postgres.sql("SELECT name, n FROM counts ORDER BY name", name).splitlines()
    return {row.partition("|")[0]: int(row.partition("|")[2]) for row in rows}


async def test_writes_of_a_handler_are_committed_with_its_mark(
    make: Open, postgres: PostgresServer, database: str
) -> None:
    """Statements as on SQLite, and whatever a handler does on the connection of the transaction."""

    async def statements(event: MessageStatus, context: Context) -> None:
        context.transaction.execute(COUNT, ("by position",))
        context.transaction.execute(
            "INSERT INTO counts VALUES (:name, 1::int) -- :none, '?'", {"name": "100 %"}
        )
        context.transaction.executemany(COUNT, [("twice",), ("twice",)])

    async def connection(event: MessageStatus, context: Context) -> None:
        own = await context.transaction.connection()
        found = await (await own.execute("SELECT count(*) FROM counts")).fetchone()
        await own.execute("INSERT INTO counts VALUES ('own', 1)")
        await own.execute("INSERT INTO counts VALUES ('seen', 2)" if found else "SELECT 1")

    inbox = make()
    await inbox.start(frozen(statements, connection))
    await put(inbox, status_bytes(1))
    await put(inbox, status_bytes(1))
    await inbox.idle()

    assert counts(postgres, database) == {"100 %": 1, "by position": 1, "own": 1, "seen": 2, "twice": 2}
    (record,) = await inbox.list()
    assert (record.state, len(record.done)) == ("handled", 2)


async def test_a_handler_that_fails_leaves_nothing_behind(
    make: Open, postgres: PostgresServer, database: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither what it did itself nor its statements; and a failed statement is named without its values."""

    async def raises(event: MessageStatus, context: Context) -> None:
        await (await context.transaction.connection()).execute("INSERT INTO counts VALUES ('gone', 1)")
        context.transaction.execute(COUNT, ("gone too",))
        raise ValueError

    async def breaks(event: MessageStatus, context: Context) -> None:
        context.transaction.execute(COUNT, ("private words",))
        context.transaction.execute("INSERT INTO counts VALUES ('private words', 7)")

    inbox = make(retry=HandlerRetryPolicy(attempts=1))
    await inbox.start(frozen(raises, breaks))
    await put(inbox, status_bytes(1))
    await inbox.idle()

    record = await inbox.show(1)
    assert counts(postgres, database) == {}
    assert [failure.error for failure in record.failed] == ["ValueError", "TransactionError"]
    assert "statement 2 of 2 in context.transaction failed: " in record.failed[1].message
    assert "private words" not in caplog.text + repr(record.failed)


async def test_a_connection_that_is_cut_is_no_failure_of_a_handler(
    make: Open, postgres: PostgresServer, database: str
) -> None:
    """Its event is handled again, by whichever process, and counts no attempt; its effect is made once."""
    cut: list[int] = []
    attempts: list[int] = []

    async def handler(event: MessageStatus, context: Context) -> None:
        attempts.append(context.attempt)
        own = await context.transaction.connection()
        await own.execute(COUNT.replace("?", "'effect'"))
        if not cut:
            cut.append(1)
            await asyncio.to_thread(postgres.cut, database)
        await own.execute("SELECT 1")

    inbox = make(poll=0.2, lease=5.0)
    await inbox.start(frozen(handler))
    await put(inbox, status_bytes(1))
    async with asyncio.timeout(25):
        while len(attempts) < 2 or inbox.health().pending:  # noqa: ASYNC110 - housekeeping has no event
            await asyncio.sleep(0.05)

    assert set(attempts) == {0}
    assert counts(postgres, database) == {"effect": 1}
    assert (await inbox.show(1)).state == "handled"


async def test_an_effect_is_made_once_when_the_result_of_its_commit_is_lost(
    make: Open, postgres: PostgresServer, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The handler of a commit that came through all the same is not run again, whatever comes after it."""
    lost = asyncio.Event()
    lent: list[Connection] = []
    commit = AsyncConnection.commit

    async def commit_and_lose(connection: Connection) -> None:
        await commit(connection)
        if connection in lent and not lost.is_set():
            lost.set()
            raise OperationalError("the connection was cut")

    async def own_connection(event: MessageStatus, context: Context) -> None:
        lent.append(await context.transaction.connection())
        await lent[-1].execute(COUNT.replace("?", "'effect'"))

    async def statements(event: MessageStatus, context: Context) -> None:
        context.transaction.execute(COUNT, ("other effect",))

    monkeypatch.setattr(AsyncConnection, "commit", commit_and_lose)
    inbox = make(poll=0.2, lease=5.0, retry=HandlerRetryPolicy(wait_initial=0.01))
    await inbox.start(frozen(own_connection, statements))
    await put(inbox, status_bytes(1))
    await lost.wait()
    async with asyncio.timeout(25):
        while (await inbox.show(1)).state != "handled":  # noqa: ASYNC110 - housekeeping has no event
            await asyncio.sleep(0.05)

    assert counts(postgres, database) == {"effect": 1, "other effect": 1}
    record = await inbox.show(1)
    assert (record.attempts, len(record.done), record.failed) == (0, 2, ())


async def test_an_event_is_not_overtaken_when_a_process_loses_its_claims(make: Open) -> None:
    """A handler still runs when the lease ends: the next event of its lane waits for the one before it."""
    seen: list[str] = []
    begun, gate = asyncio.Event(), asyncio.Event()

    async def handler(event: MessageStatus, context: Context) -> None:
        context.transaction.execute("SELECT 1")
        begun.set()
        await gate.wait()
        seen.append(event.message_uuid)

    inbox = make(poll=0.05)
    await inbox.start(frozen(handler))
    await put(inbox, in_workflow(1, "w"))
    await begun.wait()
    await put(inbox, in_workflow(2, "w"))
    store = inbox.store
    assert isinstance(store, PostgresInboxStore)
    worker = store._worker
    await store._execute("UPDATE nexmo_dispatch.inbox_workers SET until = 0")
    async with asyncio.timeout(25):
        # It has none for a moment, or another one already.
        while store._worker == worker:  # noqa: ASYNC110 - housekeeping has no event
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
        gate.set()
        while inbox.health().pending:  # noqa: ASYNC110 - the same
            await asyncio.sleep(0.05)

    assert seen in (["m1", "m1", "m2"], ["m1", "m2"])


async def test_two_processes_share_the_events(make: Open) -> None:
    """Each event is handled once, those of a workflow in order, and both take part."""
    seen: dict[int, list[str]] = {0: [], 1: []}
    order: list[str] = []

    def handler(number: int) -> Any:
        async def handle(event: MessageStatus) -> None:
            seen[number].append(event.message_uuid)
            order.append(event.message_uuid)
            await asyncio.sleep(0.001)

        return handle

    inboxes = [make(concurrency=2) for _ in range(2)]
    for number, inbox in enumerate(inboxes):
        await inbox.start(frozen(count=handler(number)))
    for number in range(120):
        await put(inboxes[number % 2], in_workflow(number, f"w{number % 12}"))
    async with asyncio.timeout(25):
        while len(order) < 120:
            for inbox in inboxes:
                await inbox.idle()

    assert sorted(order) == sorted(f"m{number}" for number in range(120))
    for workflow in range(12):
        mine = [int(name[1:]) for name in order if int(name[1:]) % 12 == workflow]
        assert mine == sorted(mine)
    assert seen[0]
    assert seen[1]


async def test_a_receiver_takes_a_url(database: str) -> None:
    """As it takes the path of a file."""
    handled = asyncio.Event()
    router = Router()

    @router.register()
    async def handler(event: Event) -> None:
        handled.set()

    receiver = Receiver(router, verification=None, inbox=database)
    assert isinstance(receiver.inbox, PostgresInbox)
    with pytest.raises(ConfigurationError, match="the URL of a Postgres database"):
        Receiver(Router(), verification=None, inbox="mysql://127.0.0.1")


async def test_the_server_is_named_without_its_secrets() -> None:
    """Neither `repr` nor an error shows user, password or address."""
    inbox = PostgresInbox("postgresql://someone:secret@127.0.0.1:1/name", timeout=5.0)
    with pytest.raises(InboxError) as caught:
        await inbox.start(frozen())
    shown = f"{caught.value!r} {inbox!r} {caught.value.__cause__} {caught.value.__context__}"
    assert "cannot be reached" in shown
    assert "secret" not in shown
    assert "someone" not in shown


@pytest.mark.parametrize(
    ("text", "parameters", "message"),
    [
        ("COMMIT", (), "COMMIT is not possible"),
        ("SELECT 1; SELECT 2", (), "takes one statement"),
        ("SELECT ?", (), "1 placeholders, and 0 parameters"),
        ("SELECT :a", (1,), ":a takes its value from a mapping"),
        ("SELECT ?", {"a": 1}, r"\? takes its value from a sequence"),
        ("SELECT :a", {"b": 1}, "no parameter for :a"),
        ("SELECT ?, :a", (1,), "either"),
        ("SELECT ?", ("a\0",), "a NUL"),
        ("SELECT ?", ("\ud800",), "half a surrogate"),
        ("SELECT ?", ([1],), "of type list"),
        ("SELECT ?", "a", "a single value is written"),
    ],
)
def test_statements_that_cannot_run_are_refused(text: str, parameters: Any, message: str) -> None:
    """Where they are given, without their values."""
    transaction = PostgresTransaction(None, 1, 1, lambda: None)  # type: ignore[arg-type]  # it is not used
    with pytest.raises(StatementError, match=message):
        transaction.execute(text, parameters)
