"""`nexmo-dispatch bulk` on Postgres and NATS: the URL comes from the environment, and is shown nowhere."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator
from pathlib import Path

import anyio
import pytest

from nexmo_dispatch_async.bulk.campaign_file import CampaignFileError, load, parse
from nexmo_dispatch_async.bulk.ledger.ledger import Ledger
from nexmo_dispatch_async.bulk.ledger.places import join_url, open_ledger
from nexmo_dispatch_async.bulk.ledger.records import ClaimRequest, Result
from nexmo_dispatch_async.bulk.plan import unlisted
from nexmo_dispatch_async.bulk.settings import CampaignSettings
from nexmo_dispatch_async.cli import bulk_lists
from nexmo_dispatch_async.cli.stores import STORE
from nexmo_dispatch_async.simulator import Simulator
from nexmo_dispatch_async.simulator.world.faults import Fault
from tests.bulk.callbacks import BEGIN
from tests.bulk.campaigns import recipients
from tests.bulk.service import run
from tests.support.postgres_server import PostgresServer

PASSWORD = "open-sesame"
CAMPAIGN = """
[campaign]
name = "spring"
ledger = "{ledger}"
[rows]
file = "customers.csv"
[template]
[[template.message]]
channel = "sms"
from = "31647356950"
to = "{{phone}}"
text = "Hello {{name}}"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A campaign of twenty people, whose ledger is in the store of the environment."""
    lines = [f"+99900000{n:04d},Name {n}" for n in range(20)]
    (tmp_path / "customers.csv").write_text("\n".join(["phone,name", *lines, "06-12,Short"]), "utf-8")
    path = tmp_path / "spring.toml"
    path.write_text(CAMPAIGN.format(ledger=f"${STORE}"), "utf-8")
    return path


@pytest.fixture(params=["database", "nats_url"])
def store(request: pytest.FixtureRequest) -> str:
    """The URL of an empty store, on each engine."""
    return str(request.getfixturevalue(request.param))


@pytest.mark.engines
def test_every_command_of_a_campaign_in_a_store(
    store: str, file: Path, service: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a campaign in a file does, it does in a store, by its TOML file and by the variable alone."""
    monkeypatch.setenv(STORE, join_url(store, "spring"))

    service.faults.add(Fault(kind="half_response", route="POST /dispatch", count=1))
    code, out, err = run("run", file, "--accept-loss")

    assert code == 3, err
    assert "19 sent" in out
    assert (file.parent / "spring.rejects.csv").exists()
    outputs = [out, err]
    for code, *arguments in (
        (3, "status"),
        (3, "status", file, "--verify"),
        (0, "pause"),
        (0, "resume", "--rate", "5"),
        (0, "stop"),
        (0, "unknown", "list"),
        (0, "opt-out", "add", "+999000000001"),
        (0, "opt-out", "list"),
        (0, "report", "--json"),
        (0, "export", "--state", "sent"),
        (0, "unknown", "drop", "all"),
        (0, "forget", "--older", "1d"),
        (0, "status"),
    ):
        found, out, err = run(*arguments)
        assert found == code, (arguments, err)
        outputs += [out, err]
    assert store.partition("//")[2] not in "".join(outputs)
    figures = json.loads(run("report", "--json")[1])
    assert (figures["name"], figures["rows"]) == ("spring", 20)
    assert run("status", join_url(store, "summer"))[0] == 1


@pytest.mark.engines
def test_what_is_claimed_while_rows_are_withdrawn_is_not_given_up(
    store: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have been sent: it stays `unknown`, and the command says how many these are."""
    place = join_url(store, "spring")
    monkeypatch.setenv(STORE, place)

    async def fill() -> None:
        async with await open_ledger(place, accept_loss=True) as ledger:
            await ledger.add(recipients(4))

    async def claimed_after_the_look(settings: CampaignSettings, ledger: Ledger) -> AsyncGenerator[int]:
        ids = [row_id async for row_id in unlisted(settings, ledger)]
        async with await open_ledger(place) as sender:
            (row,) = await sender.claim(ClaimRequest(limit=1, now=BEGIN))
            await sender.record([Result(id=row.id, state="unknown", at=BEGIN)])
            for row_id in ids:
                yield row_id

    anyio.run(fill)
    (file.parent / "customers.csv").write_text("phone,name\n", "utf-8")
    monkeypatch.setattr(bulk_lists, "unlisted", claimed_after_the_look)

    code, out, err = run("withdraw", file, "--yes")

    assert (code, out) == (1, "3 of 4 pending rows are given up\n")
    assert err == "1 more row is not pending any more, and stays as it is\n"
    assert json.loads(run("status", file, "--json")[1])["counts"]["states"] == {"unknown": 1, "skipped": 3}


@pytest.mark.engines
def test_rows_that_are_withdrawn_beside_a_process_that_sends(
    store: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The help says to end it first; on servers nothing refuses the command, so it says so, too."""
    place = join_url(store, "spring")
    monkeypatch.setenv(STORE, place)
    (file.parent / "customers.csv").write_text("phone,name\n", "utf-8")

    async def work() -> None:
        async with await open_ledger(place, accept_loss=True) as ledger:
            await ledger.add(recipients(3))
            (row,) = await ledger.claim(ClaimRequest(limit=1, now=BEGIN))
            await ledger.record([Result(id=row.id, state="sent", at=BEGIN)])
            words = f"a process sends, and may claim rows first: nexmo-dispatch bulk stop {file} ends it\n"
            for options in ((), ("--yes",)):
                code, _, err = await anyio.to_thread.run_sync(run, "withdraw", file, *options)
                assert (code, err) == (0, words)
            assert (await ledger.counts()).skipped == {"dropped": 2}

    anyio.run(work)


@pytest.mark.engines
def test_the_plan_asks_the_opt_out_list_of_the_store(
    store: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on SQLite: who is on it counts as no send; a store that cannot be asked is no empty list."""
    monkeypatch.setenv(STORE, store)
    code, before, err = run("plan", file, "--json")
    assert (code, json.loads(before)["suppressed"]) == (0, 0), err
    assert run("status", file)[0] == 1  # a plan makes no ledger

    async def make() -> None:
        await (await open_ledger(join_url(store, "spring"), accept_loss=True)).aclose()

    anyio.run(make)
    assert run("opt-out", "add", file, "+999000000001")[0] == 0

    code, planned, err = run("plan", file, "--json")

    assert code == 0, err
    assert json.loads(planned)["suppressed"] == 1
    assert json.loads(planned)["hash"] == json.loads(before)["hash"]
    assert "19 to send" in run("plan", file)[1]
    away = re.sub(r"//[^?]*", "//127.0.0.1:1/away", store).partition("?")[0]
    monkeypatch.setenv(STORE, away)
    code, out, err = run("plan", file)
    assert (code, out) == (1, "")
    assert "it is not known who is on the opt-out list: the ledger failed: " in " ".join(err.split())


@pytest.mark.engines
def test_a_copy_is_sent_from_when_an_operator_says_so(
    database: str, postgres: PostgresServer, file: Path, service: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error of `run` names the option; what only looks, or pauses, works before."""
    monkeypatch.setenv(STORE, database)
    assert run("run", file)[0] == 0
    name = database.partition("?")[0].rpartition("/")[2]
    postgres.sql(f"CREATE DATABASE {name}_copy TEMPLATE {name}")
    try:
        monkeypatch.setenv(STORE, postgres.dsn(f"{name}_copy"))
        code, _, err = run("run", file)
        assert (code, "(--restored)" in err) == (1, True)
        assert [run(command, file)[0] for command in ("pause", "status", "resume")] == [0, 0, 0]
        assert run("run", file, "--restored")[0] == 0
        assert run("run", file)[0] == 0
    finally:
        postgres.sql(f"DROP DATABASE {name}_copy WITH (FORCE)")


def test_the_file_names_the_variable_of_its_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that is not set, and the URL of something else, are problems of the file."""
    path = tmp_path / "spring.toml"
    path.write_text(CAMPAIGN.format(ledger=f"${STORE}"), "utf-8")
    with pytest.raises(CampaignFileError, match=f"variable {STORE}, which is not set"):
        load(path)
    monkeypatch.setenv(STORE, f"mysql://app:{PASSWORD}@db/app")
    with pytest.raises(CampaignFileError, match="must be the path of a file, postgresql:") as raised:
        load(path)
    assert PASSWORD not in str(raised.value)

    monkeypatch.setenv(STORE, f"postgresql://app:{PASSWORD}@db/app")
    settings = load(path)

    assert settings.ledger.endswith("@db/app?campaign=spring")
    assert PASSWORD not in repr(settings)


@pytest.mark.parametrize(
    "ledger", [f"${STORE}", f"postgresql://app:{PASSWORD}@db/app", r"postgresql:\u002f/a:b@c/d"]
)
def test_the_text_that_a_ledger_keeps_holds_no_password(ledger: str) -> None:
    """Workers read it with the URL that they were given; a URL that cannot be taken out keeps it back."""
    url = f"postgresql://app:{PASSWORD}@db/app"

    text = parse(CAMPAIGN.format(ledger=ledger), environ={STORE: url}).text

    assert PASSWORD not in text
    if "u002f" in ledger:
        assert not text
    else:
        assert parse(text, environ={STORE: url}).ledger == f"{url}?campaign=spring"
    assert not parse(CAMPAIGN.format(ledger="spring.db")).text


@pytest.mark.parametrize(
    "arguments",
    [
        ("status",),
        ("unknown", "list"),
        ("unknown", "resend", "1"),
        ("opt-out", "add", "+999000000001"),
        ("forget", "--older", "1d"),
        ("export",),
        ("report",),
    ],
)
def test_no_message_shows_the_password(arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that cannot be reached is an error without its URL."""
    for url in (f"postgresql://app:{PASSWORD}@127.0.0.1:1/app", f"mysql://app:{PASSWORD}@db/app"):
        monkeypatch.setenv(STORE, url)
        code, out, err = run(*arguments)
        assert code == 1
        assert err
        assert PASSWORD not in out + err
