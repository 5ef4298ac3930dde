"""Text that no store and no network takes: half a surrogate pair, which UTF-8 cannot write, and a NUL."""

from __future__ import annotations

import inspect
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from nexmo_dispatch_async import BasicAuth, CareWindow, DispatchClient, sms
from nexmo_dispatch_async.applications import Applications
from nexmo_dispatch_async.bulk import Campaign, OptOutList, WorkflowTemplate
from nexmo_dispatch_async.bulk.campaign_file import load
from nexmo_dispatch_async.bulk.ledger.jetstream import JetStreamLedger
from nexmo_dispatch_async.bulk.ledger.jetstream_opt_outs import JetStreamOptOutStore
from nexmo_dispatch_async.bulk.ledger.opt_outs_sqlite import SqliteOptOutStore
from nexmo_dispatch_async.bulk.ledger.places import open_ledger
from nexmo_dispatch_async.bulk.ledger.postgres import PostgresLedger
from nexmo_dispatch_async.bulk.ledger.postgres_opt_outs import PostgresOptOutStore
from nexmo_dispatch_async.bulk.ledger.sqlite import SqliteLedger
from nexmo_dispatch_async.bulk.rejects import RejectsFile
from nexmo_dispatch_async.care_window.sqlite import SqliteWindowStore
from nexmo_dispatch_async.exceptions import ConfigurationError
from nexmo_dispatch_async.tracking import Tracker
from nexmo_dispatch_async.tracking.postgres import PostgresTrackingStore
from nexmo_dispatch_async.tracking.sqlite import SqliteTrackingStore
from nexmo_dispatch_webhooks import (
    ConfigurationError as ReceiverConfigurationError,
)
from nexmo_dispatch_webhooks import HmacVerification, JwtVerification, Router, RouterError, sign, verify
from nexmo_dispatch_webhooks.inbox import MemoryInbox, PostgresInbox, SqliteInbox

HALF: Final = "a\udcff"
NUL: Final = "a\0b"
#: No server: each check comes before a connection.
POSTGRES: Final = "postgresql://127.0.0.1:1/none"
NATS: Final = "nats://127.0.0.1:1/none"
ERRORS: Final = (ConfigurationError, ReceiverConfigurationError, RouterError)


class World(NamedTuple):
    """One object of each class with text arguments."""

    campaign: Campaign
    opt_outs: OptOutList
    window: CareWindow
    inbox: SqliteInbox
    applications: Applications


Call = Callable[[World, str], Any]

#: Method and argument -> a call that fails by this argument alone.
CALLS: Final[dict[str, Call]] = {
    "Campaign.open name": lambda _, text: entered(Campaign.open(":memory:", name=text)),
    "Campaign.run plan": lambda world, text: world.campaign.run(plan=text),
    "Campaign.pause reason": lambda world, text: world.campaign.pause(text),
    "Campaign.pause by": lambda world, text: world.campaign.pause(by=text),
    "Campaign.resume by": lambda world, text: world.campaign.resume(by=text),
    "Campaign.stop reason": lambda world, text: world.campaign.stop(text),
    "Campaign.stop by": lambda world, text: world.campaign.stop(by=text),
    "Campaign.release by": lambda world, text: world.campaign.release(by=text),
    "open_ledger name": lambda _, text: open_ledger(POSTGRES, name=text),
    "PostgresLedger.open name": lambda _, text: PostgresLedger.open(POSTGRES, text),
    "JetStreamLedger.open name": lambda _, text: JetStreamLedger.open(NATS, text),
    "OptOutList.suppress addresses": lambda world, text: world.opt_outs.suppress("31612345678", text),
    "OptOutList.suppress reason": lambda world, text: world.opt_outs.suppress("31612345678", reason=text),
    "OptOutList.unsuppress addresses": lambda world, text: world.opt_outs.unsuppress(text),
    "OptOutList.link addresses": lambda world, text: world.opt_outs.link("31612345678", text),
    "OptOutList.suppressed address": lambda world, text: world.opt_outs.suppressed(text),
    "OptOutList.list after": lambda world, text: world.opt_outs.list(after=text),
    "OptOutList.import_ addresses": lambda world, text: world.opt_outs.import_([text]),
    "OptOutList.import_ reason": lambda world, text: world.opt_outs.import_([], reason=text),
    "PostgresOptOutStore name": lambda _, text: PostgresOptOutStore(POSTGRES, name=text),
    "JetStreamOptOutStore name": lambda _, text: JetStreamOptOutStore(NATS, name=text),
    "CareWindow.record customer": lambda world, text: world.window.record(text),
    "CareWindow.status customer": lambda world, text: world.window.status(text),
    "SqliteInbox.retry handler": lambda world, text: world.inbox.retry(handler=text),
    "SqliteInbox.retry kind": lambda world, text: world.inbox.retry(kind=text),
    "SqliteInbox owner": lambda _, text: SqliteInbox("new.db", owner=text),
    "SqliteInbox schema": lambda _, text: SqliteInbox("new.db", schema=text),
    "PostgresInbox schema": lambda _, text: PostgresInbox(POSTGRES, schema=text),
    "Router.add name": lambda _, text: Router().add(handler, name=text),
    "Applications.create name": lambda world, text: world.applications.create(name=text),
    "Applications.create status_url": lambda world, text: world.applications.create(
        name="shop", status_url=f"https://shop.example/{text}"
    ),
    "Applications.create public_key": lambda world, text: world.applications.create(
        name="shop", public_key=text
    ),
    "Applications.update name": lambda world, text: world.applications.update("id", name=text),
    "sign api_key": lambda _, text: sign(b"{}", secret="s", api_key=text, jti="1"),
    "sign jti": lambda _, text: sign(b"{}", secret="s", api_key="a", jti=text),
    "sign application_id": lambda _, text: sign(b"{}", secret="s", api_key="a", jti="1", application_id=text),
}
#: How a message names an argument, where it is one of several.
WORDS: Final = dict.fromkeys(("address", "addresses"), "an address of the opt-out list")
#: Arguments that are refused for another reason: no state, no channel and no number is such a text.
REFUSED: Final[dict[str, Call]] = {
    "Campaign.add plan": lambda world, text: world.campaign.add([], plan=text),
    "Campaign.test number": lambda world, text: world.campaign.test(text),
    "SqliteInbox.retry which": lambda world, text: world.inbox.retry(text),  # type: ignore[arg-type]
    "SqliteInbox.purge state": lambda world, text: world.inbox.purge(text),  # type: ignore[arg-type]
    "SqliteInbox.list state": lambda world, text: world.inbox.list(text),  # type: ignore[arg-type]
    "CareWindow.record channel": lambda world, text: world.window.record("316", channel=text),
    "Applications.get application_id": lambda world, text: world.applications.get(text),
    "Applications.delete application_id": lambda world, text: world.applications.delete(text),
    "Applications.update application_id": lambda world, text: world.applications.update(text, name="shop"),
    "OptOutList.open path": lambda _, text: OptOutList.open(f"postgresql://127.0.0.1:1/{text}"),
    "PostgresTrackingStore url": lambda _, text: PostgresTrackingStore(f"postgresql://127.0.0.1:1/{text}"),
    "PostgresInbox url": lambda _, text: PostgresInbox(f"postgresql://127.0.0.1:1/{text}"),
    "PostgresLedger.open url": lambda _, text: PostgresLedger.open(f"postgresql://127.0.0.1:1/{text}", "a"),
    "JetStreamLedger.open url": lambda _, text: JetStreamLedger.open(f"nats://127.0.0.1:1/{text}", "a"),
}
#: Paths of files: bytes of another encoding are the name of a file, and a NUL never is.
PATHS: Final[dict[str, Call]] = {
    "Campaign.open path": lambda _, path: entered(Campaign.open(path)),
    "open_ledger path": lambda _, path: open_ledger(path),
    "SqliteLedger.open path": lambda _, path: SqliteLedger.open(path),
    "OptOutList.open path": lambda _, path: OptOutList.open(path),
    "SqliteOptOutStore path": lambda _, path: SqliteOptOutStore(path),
    "Tracker path": lambda _, path: Tracker(path),
    "SqliteTrackingStore path": lambda _, path: SqliteTrackingStore(path),
    "SqliteWindowStore path": lambda _, path: SqliteWindowStore(path),
    "SqliteInbox path": lambda _, path: SqliteInbox(path),
    "RejectsFile path": lambda _, path: RejectsFile(path),
    "load path": lambda _, path: load(path),
    "Campaign.add rows": lambda world, path: world.campaign.add(Path(f"{path}.csv")),
    "Campaign.plan rows": lambda world, path: world.campaign.plan(f"{path}.csv"),
}
#: Arguments that no store and no network gets: they are compared, or name something in messages.
COMPARED: Final = frozenset(
    {
        *("OptOutList.attach words", "OptOutList.attach codes", "Campaign.rows state"),
        *("Campaign.wait latest", "CareWindow.status channel"),
        # one of two words, or for its URL and its method a field like the others
        *("Applications.create encoding", "Applications.update encoding"),
        *(f"Applications.create {end}_{what}" for end in ("status", "inbound") for what in ("url", "method")),
        *(
            f"Applications.update {end}_{what}"
            for end in ("status", "inbound", "answer", "event")
            for what in ("url", "method")
        ),
        *("Applications.create type", "Applications.update type", "Applications.update public_key"),
        # an id of a callback may hold such text (contract 5.11): a tracker escapes it
        *("Tracker.follow dispatch_uuid", "Tracker.result dispatch_uuid", "Tracker.wait_for status"),
        *("Tracker.learn state", "Tracker.wait_for state"),
        # a path or a URL, and a function
        *("Campaign.open ledger", "OptOutList.open normalise"),
    }
)
CLASSES: Final = (Campaign, OptOutList, Tracker, CareWindow, SqliteInbox, Applications)


async def handler(event: object) -> None:
    """Do nothing."""


async def entered(context: Any) -> None:
    """Enter and leave a context."""
    async with context:
        pass


async def called(call: Call, world: World, text: str) -> None:
    """Make a call, and await what it returns."""
    found = call(world, text)
    if inspect.isawaitable(found):
        await found


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """The objects, with stores in files of the current folder."""
    monkeypatch.chdir(tmp_path)
    template = WorkflowTemplate(sms.text("Hello", to="{phone}", from_="31647356950"))
    async with (
        DispatchClient(
            auth=BasicAuth("key", "secret"), base_url="http://127.0.0.1:1", application_id="id"
        ) as client,
        Campaign.open("spring.db", client=client, template=template) as campaign,
        OptOutList.open("opt-outs.db") as opt_outs,
        SqliteInbox("inbox.db") as inbox,
    ):
        window = CareWindow(SqliteWindowStore("window.db"))
        yield World(campaign, opt_outs, window, inbox, client.applications)


def texts_of(kind: type) -> Iterator[str]:
    """Yield the public methods of a class with the arguments that take text."""
    for name, method in inspect.getmembers(kind, callable):
        if name.startswith("_"):
            continue
        for parameter in inspect.signature(inspect.unwrap(method)).parameters.values():
            if re.search(r"\bstr\b|Literal|State|Goal", str(parameter.annotation)):
                yield f"{kind.__name__}.{name} {parameter.name}"


def test_each_text_argument_is_tried() -> None:
    """An argument that is new is in one of the tables."""
    known = {*CALLS, *REFUSED, *PATHS, *COMPARED}

    assert {each for kind in CLASSES for each in texts_of(kind)} - known == set()


async def misses(calls: Mapping[str, Call], world: World, text: str, pattern: str = "") -> list[str]:
    """Make each call; return those that ended otherwise than with an error of the package.

    They are escaped: a worker of pytest-xdist cannot report a half surrogate.

    Args:
        calls: The calls.
        world: Their objects.
        text: Their argument.
        pattern: What the message reads; it does not show the text then.
    """
    found: list[str] = []
    for name, call in calls.items():
        words = pattern.format(argument=WORDS.get(name.partition(" ")[2], name.partition(" ")[2]))
        try:
            await called(call, world, text)
        except Exception as error:  # noqa: BLE001 - any other one is what the test looks for
            is_own = type(error).__module__.startswith("nexmo_dispatch")
            if not is_own or not re.search(words, str(error)) or (pattern and text in str(error)):
                found.append(f"{name}: {error!a}")
        else:
            found.append(f"{name}: no error")
    return found


@pytest.mark.filterwarnings("ignore::nexmo_dispatch_async.urls.PlainHTTPWarning")
@pytest.mark.parametrize(
    ("text", "words"), [(HALF, "half a surrogate pair"), (NUL, "a NUL character")], ids=["half", "NUL"]
)
async def test_a_text_that_cannot_be_stored_is_refused_by_its_name(
    text: str, words: str, world: World
) -> None:
    """The error is the package's own and names the argument; it does not show the text."""
    assert await misses(CALLS, world, text, f"^{{argument}} holds {words}") == []


@pytest.mark.filterwarnings("ignore::nexmo_dispatch_async.urls.PlainHTTPWarning")
@pytest.mark.parametrize("text", [HALF, NUL], ids=["half", "NUL"])
async def test_what_is_no_word_of_a_list_no_number_and_no_url_is_refused(text: str, world: World) -> None:
    """By an error of the package."""
    assert await misses(REFUSED, world, text) == []


async def test_a_path_with_a_nul_is_refused(world: World) -> None:
    """By an error of the package, when it is given or when the file is read."""
    assert await misses(PATHS, world, NUL, "path.* holds a NUL character") == []


@pytest.mark.parametrize("wrong", [HALF, NUL, "1", 1.5, True, -1, 1 << 70], ids=ascii)
async def test_what_is_no_id_of_a_record_is_refused(wrong: Any) -> None:
    """A store would not find it, or could not look for it."""
    async with MemoryInbox() as inbox:
        with pytest.raises(ReceiverConfigurationError, match=r"^which must be a whole number, from 0 to"):
            await inbox.retry(wrong)
        for call in (inbox.show(wrong), inbox.purge(record_id=wrong)):
            with pytest.raises(
                ReceiverConfigurationError, match=r"^record_id must be a whole number, from 0"
            ):
                await call


SECRETS: Final[list[Callable[[str], object]]] = [
    lambda secret: JwtVerification({"key": secret}),
    lambda secret: JwtVerification({"key": ["right", secret]}),
    HmacVerification,
    lambda secret: sign(b"{}", secret=secret, api_key="a", jti="1"),
    lambda secret: verify(b"{}", sign(b"{}", secret="s", api_key="a", jti="1"), secrets={"a": secret}),
]


@pytest.mark.parametrize("call", SECRETS)
def test_a_secret_that_has_no_bytes_is_refused(call: Callable[[str], object]) -> None:
    """Not by the first callback, which would get a 500 as all that follow; the secret is not shown."""
    with pytest.raises(ReceiverConfigurationError, match="holds half a surrogate pair") as refused:
        call("open-sesame\udcff")

    assert "open-sesame" not in str(refused.value)
    assert refused.value.__context__ is None
