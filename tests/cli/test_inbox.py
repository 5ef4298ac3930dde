"""`nexmo-dispatch inbox` on a file that a receiver has filled."""

import asyncio
import json
import re
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from nexmo_dispatch_async.cli.app import app
from nexmo_dispatch_webhooks import Event, Receiver, Router
from nexmo_dispatch_webhooks.inbox import HandlerRetryPolicy, SqliteInbox
from nexmo_dispatch_webhooks.testing import WebhookClient, inbound_body
from tests.support import commands

SECRETS = {"k": "secret"}
TEXT = "call me on 447700900555"

run = partial(commands.run, "inbox")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """An inbox with a handled status, a body that is no JSON, and an inbound message whose handler fails."""
    path, router = tmp_path / "inbox.db", Router()

    @router.message_status()
    async def good(event: Event) -> None: ...

    @router.inbound_message(name="answer")
    async def bad(event: Event) -> None:
        raise LookupError

    async def fill() -> None:
        inbox = SqliteInbox(path, retry=HandlerRetryPolicy(attempts=1))
        async with (
            Receiver(router, secrets=SECRETS, inbox=inbox) as receiver,
            WebhookClient(receiver, secrets=SECRETS, raise_failures=False) as client,
        ):
            await client.post_status()
            await client.post(b"no JSON")
            await client.post(inbound_body(TEXT, from_="447700900321"))

    asyncio.run(fill())
    return path


def test_each_command_prints_json(file: Path) -> None:
    """`--json` prints an object a record, a failure or a count, without personal data unless asked for."""

    def objects(*arguments: str) -> list[dict[str, Any]]:
        done = CliRunner().invoke(app, ["inbox", *arguments, "--json"])
        assert done.exit_code == 0, done.output
        return [json.loads(line) for line in done.stdout.splitlines()]

    records = objects("list", str(file))
    assert {record["state"] for record in records} >= {"quarantined", "handled"}
    wrong = next(record for record in records if record["state"] == "quarantined" and record["failed"])
    assert wrong["failed"][0]["error"]
    assert set(objects("summary", str(file))[0]) >= {"count", "handler", "error", "kind", "state"}
    shown = objects("show", str(file), str(wrong["id"]))[0]
    assert isinstance(shown["body"], dict)
    assert isinstance(objects("show", str(file), str(wrong["id"]), "--plain")[0]["body"], str)
    assert objects("retry", str(file), str(wrong["id"])) == [{"retried": 1}]
    assert list(objects("purge", str(file), "all")[0]) == ["forgotten"]


def test_list_shows_states_and_failures(file: Path) -> None:
    """One line for each record, without personal data; filters and pages."""
    code, out, err = run("list", file)
    page = run("list", file, "--state", "quarantined", "--limit", "1")

    assert (code, err) == (0, "")
    lines = [line.split() for line in out.splitlines()]
    assert [line[:3] for line in lines] == [
        ["1", "handled", "message-status"],
        ["2", "quarantined", "unparsable"],
        ["3", "quarantined", "inbound-message"],
    ]
    assert "1 failed attempt: answer (LookupError)" in out
    assert page[1].split()[:2] == ["2", "quarantined"]
    assert page[2] == "more may follow: --after 2\n"
    assert run("list", file, "--after", "2")[1].split()[0] == "3"


def test_show_redacts_the_body(file: Path) -> None:
    """Its shape is there; `--plain` says that texts and numbers may be shown."""
    code, out, _ = run("show", file, "3")

    assert code == 0
    assert "  failed: answer (LookupError)" in out
    assert '"type": "whatsapp"' in out
    assert "447700900" not in out
    assert TEXT in run("show", file, "3", "--plain")[1]
    assert "7 bytes that are no JSON object" in run("show", file, "2")[1]


def test_retry_one_or_all(file: Path) -> None:
    code, out, _ = run("retry", file, "3")

    assert (code, out.split()[:2]) == (0, ["1", "record"])
    assert run("list", file, "--state", "pending")[1].split()[0] == "3"
    assert run("retry", file, "all")[1].startswith("1 record ")  # the other one is due already
    assert len(run("list", file, "--state", "pending")[1].splitlines()) == 2


def test_retry_by_handler_or_kind(file: Path) -> None:
    """With `all`; what another handler failed at stays where it is."""
    assert run("retry", file, "all", "--handler", "other")[:2] == (1, "")
    assert run("retry", file, "all", "--handler", "answer")[1].startswith("1 record ")
    assert run("retry", file, "all", "--kind", "unparsable")[1].startswith("1 record ")
    assert run("retry", file, "all", "--kind", "bogus")[0] == 2
    code, _, err = run("retry", file, "3", "--handler", "answer")
    assert code == 2
    assert "requires all" in err


def test_the_end_of_the_name_of_a_handler_suffices(tmp_path: Path) -> None:
    """It was no error, and matched nothing; a name that several have, or none, is told with those known."""
    path, router = tmp_path / "inbox.db", Router()

    async def bad(event: Event) -> None:
        raise LookupError

    for name in ("shop.orders.on_read", "shop.returns.on_read", "shop.orders.on_text"):
        router.register(name=name)(bad)

    async def fill() -> None:
        inbox = SqliteInbox(path, retry=HandlerRetryPolicy(attempts=1))
        async with (
            Receiver(router, secrets=SECRETS, inbox=inbox) as receiver,
            WebhookClient(receiver, secrets=SECRETS, raise_failures=False) as client,
        ):
            await client.post_status()

    asyncio.run(fill())

    code, out, err = run("retry", path, "all", "--handler", "on_read")
    assert (code, out) == (1, "")
    assert err == "on_read may be shop.orders.on_read or shop.returns.on_read: write one of them in full\n"
    code, out, err = run("retry", path, "all", "--handler", "text")
    assert (code, out) == (1, "")
    assert err.startswith(
        "no record waits for text: what failed is shop.orders.on_read, shop.orders.on_text, "
    )
    code, out, _ = run("retry", path, "all", "--handler", "on_text", "--json")
    assert (code, json.loads(out)) == (0, {"retried": 1, "handler": "shop.orders.on_text"})
    code, out, _ = run("retry", path, "all", "--handler", "on_text")
    assert (code, out.split()[:2]) == (0, ["0", "records"])  # nothing has failed since


def test_summary_counts_by_handler_and_exception(file: Path) -> None:
    """One line each, with the oldest; an inbox without failures says so."""
    code, out, _ = run("summary", file)

    assert code == 0
    lines = sorted(" ".join(line.split()) for line in out.splitlines())
    assert lines[0].startswith("1 quarantined inbound-message oldest 20")
    assert lines[0].endswith(" answer (LookupError)")
    assert lines[1].startswith("1 quarantined unparsable oldest 20")
    assert lines[1].endswith(" the body is no JSON object")
    run("purge", file, "all", "--state", "quarantined")
    assert run("summary", file)[1] == "nothing failed\n"


def test_summary_says_how_many_events_are_pending_and_since_when(tmp_path: Path) -> None:
    """Events of a handler that hangs have no failure; the age is that of the oldest."""
    path, router = tmp_path / "inbox.db", Router()

    @router.message_status()
    async def hang(event: Event) -> None:
        await asyncio.Event().wait()

    async def fill() -> None:
        inbox = SqliteInbox(path, drain=0.0)
        async with (
            Receiver(router, verification=None, inbox=inbox, clock=lambda: time.time() - 600) as receiver,
            WebhookClient(receiver, raise_failures=False) as client,
        ):
            for _ in range(3):
                await client.post_status()

    asyncio.run(fill())

    code, out, _ = run("summary", path)
    pending, nothing = out.splitlines()
    assert (code, nothing) == (0, "nothing failed")
    assert re.fullmatch(r"3 events are pending, the oldest for 6\d\d s; .*`lag` of /health grows", pending)
    (counts,) = [json.loads(line) for line in run("summary", path, "--json")[1].splitlines()]
    assert (counts["pending"], counts["quarantined"], counts["oldest"][:2]) == (3, 0, "20")


def test_show_tells_where_it_failed(file: Path) -> None:
    """File and line of the handler, and no word of the exception."""
    out = run("show", file, "3")[1]

    assert "  failed: answer (LookupError)\n" in out
    assert f"    {__file__}:" in out
    assert " in file.<locals>.bad\n" in out


def test_purge_one_or_all(file: Path) -> None:
    """Handled ones unless said otherwise; the record stays known."""
    assert run("purge", file, "all", "--older-than", "1")[1] == (
        "0 records forgotten\nno handled record is older than 1 h: without --older-than all are forgotten\n"
    )
    assert run("purge", file, "all")[1] == "1 record forgotten\n"
    assert run("purge", file, "2")[1] == "1 record forgotten\n"
    assert run("purge", file, "all", "--state", "quarantined")[1] == "1 record forgotten\n"
    assert run("list", file)[1] == ""
    assert [line.split()[0] for line in run("list", file, "--state", "forgotten")[1].splitlines()] == [
        "1",
        "2",
        "3",
    ]
    assert "the body is forgotten" in run("show", file, "1")[1]


@pytest.mark.parametrize(
    "command", [["list"], ["summary"], ["show", "1"], ["retry", "all"], ["purge", "all"]]
)
def test_no_file_is_made_by_looking(tmp_path: Path, command: list[str]) -> None:
    """A mistyped name ends with 1 and leaves nothing behind."""
    missing = tmp_path / "missing.db"

    code, out, err = run(command[0], missing, *command[1:])

    assert (code, out) == (1, "")
    assert err.strip()
    assert list(tmp_path.iterdir()) == []


def test_unknown_records(file: Path) -> None:
    for command in (["show"], ["retry"], ["purge"]):
        code, out, err = run(*command, file, "99")
        assert (code, out) == (1, "")
        assert "99" in err
    assert run("purge", file, "1", "--older-than", "1")[0] == 1
    assert run("purge", file, "all", "--older-than", "1")[0] == 0  # nothing to do is no error
    assert run("retry", file, "bogus")[0] == 2
    assert run("purge", file, "9" * 30)[0] == 2


def test_show_tells_when_it_is_tried_again(tmp_path: Path) -> None:
    """And which handlers are done already."""
    path, router = tmp_path / "inbox.db", Router()

    @router.message_status(name="first")
    async def good(event: Event) -> None: ...

    @router.message_status(name="second")
    async def bad(event: Event) -> None:
        raise LookupError

    async def fill() -> None:
        async with (
            Receiver(router, verification=None, inbox=SqliteInbox(path)) as receiver,
            WebhookClient(receiver, raise_failures=False) as client,
        ):
            await client.post_status()

    asyncio.run(fill())

    out = run("show", path, "1")[1]
    assert "  done: first" in out
    assert "  next attempt: 20" in out
    assert json.loads(out[out.index("{") :])["status"] == "delivered"


# --- listen --inbox ---


def listen(path: Path) -> tuple[int, str, str]:
    done = CliRunner().invoke(
        app, ["listen", "--port", "0", "--no-verification", "--inbox", str(path)], env={"COLUMNS": "500"}
    )
    return done.exit_code, done.stdout, done.stderr


@pytest.mark.parametrize("pending", [True, False])
def test_listen_leaves_the_file_of_a_receiver(file: Path, *, pending: bool) -> None:
    """Printing is not handling: neither of what is pending nor of what its receiver stores later."""
    if pending:
        run("retry", file, "3")
    before = run("list", file)

    code, out, err = listen(file)

    assert (code, out) == (1, "")
    assert err == (
        f"the events in {file.name} belong to 'receiver' and not to 'nexmo-dispatch listen', which would "
        "mark them as handled: give it a file of its own\n"
    )
    assert run("list", file) == before


async def test_listen_leaves_the_file_of_a_running_receiver(file: Path) -> None:
    """It would print nothing now, and take over what is left when the receiver ends."""
    async with Receiver(Router(), verification=None, inbox=SqliteInbox(file)):
        code, out, err = await asyncio.to_thread(listen, file)

    assert (code, out) == (1, "")
    assert err.startswith(f"the events in {file.name} belong to 'receiver'")
