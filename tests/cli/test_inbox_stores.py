"""`nexmo-dispatch inbox` on the stores that several processes share; the file is in `test_cli_inbox`."""

import asyncio
from collections.abc import Callable
from functools import partial

import pytest

from nexmo_dispatch_async.cli.stores import STORE
from nexmo_dispatch_webhooks import Event, Receiver, Router
from nexmo_dispatch_webhooks.inbox import HandlerRetryPolicy, JetStreamInbox, PostgresInbox, StoreInbox
from nexmo_dispatch_webhooks.testing import WebhookClient, inbound_body
from tests.support import commands

SECRETS = {"k": "secret"}
PASSWORD = "open-sesame"

run = partial(commands.run, "inbox")


def fill(make: Callable[[], StoreInbox]) -> None:
    """Store a status that is handled, and a message whose handler fails."""

    async def work() -> None:
        inbox, router = make(), Router()
        called = asyncio.Event(), asyncio.Event()

        @router.message_status()
        async def good(event: Event) -> None:
            called[0].set()

        @router.inbound_message(name="answer")
        async def bad(event: Event) -> None:
            called[1].set()
            raise LookupError

        async with (
            Receiver(router, secrets=SECRETS, inbox=inbox) as receiver,
            WebhookClient(receiver, secrets=SECRETS, raise_failures=False) as client,
        ):
            await client.post_status()
            await client.post(inbound_body("hello", from_="447700900321"))
            async with asyncio.timeout(20):
                for each in called:
                    await each.wait()

    asyncio.run(work())


def assert_every_command_works() -> None:
    """Each command takes the store from the environment, and the record after it."""
    code, out, err = run("list")
    assert (code, err) == (0, "")
    lines = [line.split() for line in out.splitlines()]
    assert [line[1:3] for line in lines] == [
        ["handled", "message-status"],
        ["quarantined", "inbound-message"],
    ]
    number = lines[1][0]
    assert "answer (LookupError)" in run("summary")[1]
    assert "failed: answer" in run("show", number)[1]
    assert run("retry", "all") == (
        0,
        "1 record to be handled again by the running receiver, or at its next start\n",
        "",
    )
    assert run("purge", "all") == (0, "1 record forgotten\n", "")


@pytest.mark.engines
def test_the_inbox_on_postgres(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands do on Postgres what they do on a file, by variable or argument."""
    fill(lambda: PostgresInbox(database, retry=HandlerRetryPolicy(attempts=1)))
    assert run("list", database)[0] == 0
    monkeypatch.setenv(STORE, database)

    assert_every_command_works()


@pytest.mark.engines
def test_the_inbox_on_jetstream(nats_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same on NATS JetStream."""
    fill(lambda: JetStreamInbox(nats_url, retry=HandlerRetryPolicy(attempts=1)))
    monkeypatch.setenv(STORE, nats_url)

    assert_every_command_works()


@pytest.mark.engines
def test_a_database_without_an_inbox_is_an_error(database: str) -> None:
    """To look at a database makes no tables in it."""
    code, out, err = run("list", database)

    assert (code, out) == (1, "")
    assert "tables are missing" in err


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://app:{PASSWORD}@127.0.0.1:1/inbox",
        f"nats://app:{PASSWORD}@127.0.0.1:1/inbox?timeout={PASSWORD}",
        f"mysql://app:{PASSWORD}@127.0.0.1/inbox",
        f"postgresql://app:{PASSWORD}@[127.0.0.1/inbox",
        f"postgresql:/app:{PASSWORD}@127.0.0.1/inbox",
    ],
)
@pytest.mark.parametrize("named", ["argument", "environment"])
def test_no_message_shows_the_password(url: str, named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is wrong with a URL, the message does not quote it."""
    arguments = ["list", url] if named == "argument" else ["list"]
    if named == "environment":
        monkeypatch.setenv(STORE, url)

    code, out, err = run(*arguments)

    assert code in (1, 2)
    assert err
    assert PASSWORD not in out + err


def test_the_help_shows_no_password_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STORE, f"postgresql://app:{PASSWORD}@127.0.0.1:1/inbox")

    assert PASSWORD not in run("list", "--help")[1]


def test_without_a_store_the_message_names_the_variable() -> None:
    """An argument that is missing is an error of the command line."""
    for arguments in (["list"], ["show", "1"], ["retry", "all"]):
        code, _, err = run(*arguments)
        assert code == 2
        assert STORE in err.replace("\n", "")
