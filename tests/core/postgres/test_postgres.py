"""Connections, versions of tables, rights and notifications, on a real server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from psycopg import errors

from nexmo_dispatch_async.tracking.postgres import TRACKING
from nexmo_dispatch_core.postgres import notifications as notifications_module
from nexmo_dispatch_core.postgres import schema
from nexmo_dispatch_core.postgres.database import Connection, Database, is_postgres
from nexmo_dispatch_core.postgres.examination import examine
from nexmo_dispatch_core.postgres.failures import Failure, failure_of
from nexmo_dispatch_core.postgres.notifications import Notifications
from nexmo_dispatch_core.postgres.schema import Component
from nexmo_dispatch_webhooks.inbox.postgres_statements import INBOX
from tests.support.postgres_server import PostgresServer

pytestmark = pytest.mark.engines

FIRST = schema.Component("things", ("CREATE TABLE nexmo_dispatch.things (n integer)",))
SECOND = schema.Component("things", (*FIRST.steps, "ALTER TABLE nexmo_dispatch.things ADD COLUMN m integer"))


class OwnError(Exception):
    """The error of a package."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.text)
        self.failure = failure


def database_of(url: str, **settings: float) -> Database:
    return Database(url, error=OwnError, name="test", connections=2, **settings)


def name_of(url: str) -> str:
    return url.partition("?")[0].rpartition("/")[2]


async def test_processes_that_start_at_the_same_instant_make_the_tables_once(database: str) -> None:
    """One of them carries out the steps, the others wait and find them done."""
    found = await asyncio.gather(
        *(schema.migrate(database_of(database), [SECOND], OwnError) for _ in range(5))
    )

    assert sorted(one["things"] for one in found) == [(0, 2), (2, 2), (2, 2), (2, 2), (2, 2)]


async def test_tables_go_from_version_to_version(database: str, postgres: PostgresServer) -> None:
    """Only the missing steps are carried out; tables of a newer release are refused."""
    await schema.require(database_of(database), FIRST, OwnError)
    postgres.sql("INSERT INTO nexmo_dispatch.things VALUES (1)", name_of(database))
    await schema.require(database_of(database), SECOND, OwnError)

    assert postgres.sql("SELECT n, m FROM nexmo_dispatch.things", name_of(database)) == "1|"
    with pytest.raises(OwnError, match="version 2, and this release knows 1: install the newer release"):
        await schema.require(database_of(database), FIRST, OwnError)


async def test_a_step_that_fails_changes_nothing(database: str) -> None:
    """Neither its tables nor the version."""
    broken = schema.Component("things", ("CREATE TABLE nexmo_dispatch.things (n integer); SELECT 1 / 0",))
    with pytest.raises(OwnError, match="DivisionByZero"):
        await schema.migrate(database_of(database), [broken], OwnError)

    assert await database_of(database).alone(schema.versions) == {}


async def test_a_role_with_the_least_rights_uses_the_tables_and_makes_none(
    database: str, postgres: PostgresServer
) -> None:
    """Before the migration it is told what to do; after the grant it reads and writes rows."""
    role = f"app_{name_of(database)}"
    postgres.sql(f"CREATE ROLE {role} LOGIN")
    url = postgres.dsn(name_of(database), role)
    with pytest.raises(OwnError, match="run `nexmo-dispatch migrate"):
        await schema.require(database_of(url), INBOX, OwnError)

    await schema.migrate(database_of(database), [INBOX], OwnError)
    await schema.grant(database_of(database), role)

    await schema.require(database_of(url), INBOX, OwnError)
    findings = await examine(database_of(url), [INBOX])
    assert not [finding for finding in findings if finding.level == "bad"]
    with pytest.raises(OwnError) as caught:
        await database_of(url).alone(lambda c: c.execute("CREATE TABLE nexmo_dispatch.more (n integer)"))
    assert caught.value.failure.kind == "rights"
    postgres.sql(f"DROP OWNED BY {role}", name_of(database))
    postgres.sql(f"DROP ROLE {role}")


async def test_an_examination_names_each_risk_with_its_cure(database: str, postgres: PostgresServer) -> None:
    """Settings that lose commits, a clock that is off, a role that may do anything."""
    postgres.sql(f"ALTER DATABASE {name_of(database)} SET synchronous_commit = off")

    findings = await examine(database_of(database), [INBOX], clock=lambda: 1000.0)

    assert [finding.code for finding in findings if finding.level == "bad"] == ["postgres-durability"]
    by_level = {level: [f for f in findings if f.level == level] for level in ("good", "warning", "bad")}
    assert [finding.text[:30] for finding in by_level["bad"]] == ["fsync on, full_page_writes on,"]
    texts = " ".join(finding.text for finding in by_level["warning"])
    for words in ("no standby", "clock of the server", "superuser"):
        assert words in texts
    assert "notifications come through" in [finding.text for finding in by_level["good"]]
    assert all(finding.cure and finding.code for finding in by_level["bad"] + by_level["warning"])


async def test_tables_that_the_next_process_makes_are_no_risk(
    database: str, postgres: PostgresServer
) -> None:
    """One line says so; a role that may not make them is told who does, before and after an upgrade."""
    role = f"app_{name_of(database)}"
    postgres.sql(f"CREATE ROLE {role} LOGIN")
    newer = Component(INBOX.name, (*INBOX.steps, "SELECT 1"))

    async def tables(url: str, *components: Component) -> list[tuple[str, str, str]]:
        found = await examine(database_of(url), components)
        return [(one.level, one.text, one.cure) for one in found if one.code == "postgres-tables"]

    try:
        least = postgres.dsn(name_of(database), role)
        make = "the tables of inbox, tracking are missing: stores make them when they begin"
        assert await tables(database, INBOX, TRACKING) == [("good", make, "")]
        ((level, text, cure),) = await tables(least, INBOX, TRACKING)
        assert level == "bad"
        assert text.startswith("the tables of inbox, tracking are missing, and the role may not make them: ")
        assert "nexmo-dispatch migrate --store URL --grant ROLE" in cure
        await schema.migrate(database_of(database), [INBOX], OwnError)
        await schema.grant(database_of(database), role)

        text = "the tables of inbox are missing or of an older release"
        make = f"{text}: stores make them when they begin"
        assert await tables(database, newer) == [("good", make, "")]
        ((level, found, _),) = await tables(least, newer)
        assert level == "bad"
        assert found.startswith(f"{text}, and the role may not make them: ")
    finally:
        postgres.sql(f"DROP OWNED BY {role}", name_of(database))
        postgres.sql(f"DROP ROLE {role}")


async def test_errors_say_what_it_was_without_values(database: str) -> None:
    """The driver quotes the value that is there already; ours names the constraint, and has no cause."""
    opened = database_of(database)
    await opened.open()
    await opened.run(lambda c: c.execute("CREATE TABLE people (number text PRIMARY KEY)"))
    add = "INSERT INTO people VALUES ('447700900123')"
    await opened.run(lambda c: c.execute(add))

    with pytest.raises(OwnError, match="UniqueViolation, SQLSTATE 23505, table people, constraint") as caught:
        await opened.run(lambda c: c.execute(add))

    assert "4477" not in str(caught.value)
    assert caught.value.__cause__ is caught.value.__context__ is None
    await opened.aclose()
    with pytest.raises(OwnError) as closed:
        await opened.run(lambda c: c.execute("SELECT 1"))
    assert closed.value.failure.kind == "closed"


async def test_a_call_that_takes_too_long_fails(database: str) -> None:
    """And the next one finds a connection that works."""
    opened = database_of(database)
    await opened.open()
    opened._timeout = 0.5
    with pytest.raises(OwnError, match="did not respond in time"):
        await opened.run(lambda c: c.execute("SELECT pg_sleep(30)"))

    opened._timeout = 20.0
    assert (await opened.run(lambda c: c.execute("SELECT 1"))).rowcount == 1
    await opened.aclose()


async def test_notifications_come_back_after_a_cut(database: str, postgres: PostgresServer) -> None:
    """Each new beginning says that some may have been missed."""
    heard: asyncio.Queue[str | None] = asyncio.Queue()
    opened = database_of(database)
    await opened.open()
    notifications = Notifications(opened, "things", heard.put_nowait)
    notifications.listen()
    async with asyncio.timeout(20):
        assert await heard.get() is None
        notifications.tell("one")
        assert await heard.get() == "one"
        postgres.cut(database)
        assert await heard.get() is None
        while heard.empty():
            notifications.tell("two")
            await asyncio.sleep(0.05)
    await notifications.aclose()
    await opened.aclose()


async def test_notices_that_cannot_be_sent_are_bounded(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the server takes none, further ones are left to the polls of the others."""
    monkeypatch.setattr(notifications_module, "_MOST_UNTOLD", 700)
    begun, gate, sent = asyncio.Event(), asyncio.Event(), list[int]()
    opened = database_of(database)
    await opened.open()
    notifications = Notifications(opened, "things", lambda _: None)

    async def slow(payloads: list[str], connection: Connection) -> None:
        begun.set()
        await gate.wait()
        sent.append(len(payloads))

    monkeypatch.setattr(notifications, "_send", slow)
    notifications.tell("first")
    await begun.wait()
    for number in range(2000):
        notifications.tell(str(number))
    assert len(notifications._untold) == 700
    gate.set()
    async with asyncio.timeout(20):
        while sum(sent) < 701:  # noqa: ASYNC110 - no event announces it
            await asyncio.sleep(0.005)
    await notifications.aclose()
    await opened.aclose()

    assert sent == [1, 500, 200]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (errors.DiskFull(), "full"),
        (errors.InsufficientPrivilege(), "rights"),
        (errors.UndefinedTable(), "missing"),
        (errors.AdminShutdown(), "away"),
        (errors.ReadOnlySqlTransaction(), "away"),
        (errors.DeadlockDetected(), "away"),
        (errors.CheckViolation(), "other"),
        (ConnectionRefusedError(), "away"),
        (TimeoutError(), "away"),
    ],
)
def test_failures_have_kinds(error: BaseException, kind: str) -> None:
    """So that a store tells what comes back from what does not."""
    assert failure_of(error).kind == kind


@pytest.mark.parametrize(
    ("text", "yes"),
    [
        ("postgresql://h/d", True),
        ("Postgres://h/d", True),
        ("spring.db", False),
        (None, False),
        ("a://b", False),
    ],
)
def test_urls_are_told_from_paths(text: object, yes: bool) -> None:
    assert is_postgres(text) is yes


def test_a_url_that_cannot_be_read_is_not_quoted() -> None:
    """Its password would be."""
    make: Callable[[], object] = lambda: database_of("postgresql://u:secret@[h")  # noqa: E731 - called below
    with pytest.raises(ValueError, match="cannot be read") as caught:
        make()
    assert "secret" not in f"{caught.value} {caught.value.__cause__} {caught.value.__context__}"
