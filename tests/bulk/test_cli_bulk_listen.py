"""`bulk listen`: what people answer after the last send reaches the rows and the opt-out list."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import pytest

from nexmo_dispatch_async.bulk.campaign import Campaign
from nexmo_dispatch_async.bulk.campaign_file import parse
from nexmo_dispatch_async.bulk.ledger.ledger import TellsLife
from nexmo_dispatch_async.bulk.ledger.places import join_url, open_ledger
from nexmo_dispatch_async.bulk.ledger.records import ClaimRequest, News
from nexmo_dispatch_async.bulk.ledger.sqlite import SqliteLedger
from nexmo_dispatch_async.cli.bulk_files import campaign_stores
from nexmo_dispatch_async.cli.stores import STORE
from nexmo_dispatch_async.simulator import Simulator
from nexmo_dispatch_webhooks.testing import WebhookClient
from tests.bulk.callbacks import uuid_of
from tests.bulk.campaigns import recipients
from tests.bulk.service import run
from tests.bulk.test_cli_bulk import CAMPAIGN


@contextmanager
def listening(file: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run `bulk listen` of a campaign; yield its URL, and its process."""
    command = [sys.executable, "-m", "nexmo_dispatch_async.cli", "bulk", "listen", str(file)]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [*command, "--listen", "127.0.0.1:0"], stdout=pipe, stderr=pipe, text=True, env=os.environ.copy()
    ) as listener:
        try:
            assert listener.stderr is not None
            yield listener.stderr.readline().split()[3], listener
        finally:
            listener.kill()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A campaign of four people, which shares its opt-out list with others."""
    lines = [f"+99900000{n:04d};Name {n};nl" for n in range(4)]
    (tmp_path / "customers.csv").write_text("\n".join(["phone;name;language", *lines]), "utf-8")
    path = tmp_path / "spring.toml"
    path.write_text(CAMPAIGN + '[people]\nfile = "opt-outs.db"\nstop_words = ["afmelden"]\n', "utf-8")
    return path


def test_a_stop_after_the_end_of_a_campaign_is_heard(file: Path, service: Simulator) -> None:
    """A listener without a send takes replies for the shared list and outcomes for the rows."""
    assert run("run", file)[0] == 0
    exported = run("export", file, "--json")[1].splitlines()
    dispatch_uuid = json.loads(exported[0])["dispatch_uuid"]

    async def answer(url: str) -> list[int]:
        secrets = {service.api_key: service.signature_secret}
        async with WebhookClient(url, secrets=secrets) as people:
            stop = await people.post_inbound("Afmelden", channel="sms", from_="999000000002")
            outcome = await people.post_status("delivered", channel="sms", dispatch_uuid=dispatch_uuid)
            return [stop.status, outcome.status]

    with listening(file) as (url, listener):
        assert asyncio.run(answer(url)) == [200, 200]
        listener.send_signal(signal.SIGINT)
        out, _ = listener.communicate(timeout=20)

    assert (listener.returncode, service.accepted) == (0, 4)
    assert out.splitlines()[0] == "spring: finished, 4 of 4 done, 4 sent"
    assert run("opt-out", "list", file, "--with-addresses")[1].startswith("999000000002  ")
    assert "1 of 4 rows reached" in run("report", file)[1]


def test_a_status_of_another_campaign_comes_again_until_its_own_listener_hears_it(
    file: Path, service: Simulator
) -> None:
    """It may be all that proves that a row was sent, and an operator would resend the row (contract 5.10)."""
    other = file.with_name("summer.toml")
    other.write_text(file.read_text("utf-8").replace("spring", "summer"), "utf-8")
    for each in (file, other):
        assert run("run", each)[0] == 0

    async def reference() -> str:
        async with await SqliteLedger.open(file.with_name("spring.db"), observer=True) as ledger:
            return ledger.reference

    ref = f"{asyncio.run(reference())}-1"

    async def tell(url: str) -> int:
        secrets = {service.api_key: service.signature_secret}
        async with WebhookClient(url, secrets=secrets) as client:
            return (await client.post_status("delivered", channel="sms", client_ref=ref)).status

    answers = []
    for each in (other, file):
        with listening(each) as (url, listener):
            answers.append(asyncio.run(tell(url)))
            listener.send_signal(signal.SIGINT)
            _, told = listener.communicate(timeout=20)
            if each == other:
                assert "a status of another campaign arrived" in told

    assert answers == [500, 200]
    assert "1 of 4 rows reached" in run("report", file)[1]
    assert "0 of 4 rows reached" in run("report", other)[1]


def test_a_listener_is_not_taken_for_a_sender(file: Path, service: Simulator) -> None:
    """`bulk stop` and `bulk resume` beside it say that no process sends, and that it has the ledger."""
    assert run("run", file)[0] == 0

    with listening(file) as (_, listener):
        asked = [run(word, file)[1] for word in ("stop", "pause", "resume")]
        listener.send_signal(signal.SIGINT)
        listener.communicate(timeout=20)
    alone = run("resume", file)[1]

    resume = f"nexmo-dispatch bulk resume {file}"
    goes_on = f"spring may run: no process sends it, nexmo-dispatch bulk run {file} goes on"
    assert asked == [
        "spring is stopped: no process sends it\n",
        f"spring is paused: no process sends it, and the next run waits for {resume}\n",
        f"{goes_on} once nexmo-dispatch bulk listen, which has the ledger, is ended\n",
    ]
    assert alone == f"{goes_on}\n"


def test_a_run_that_listened_says_what_goes_on_listening(file: Path, service: Simulator) -> None:
    """It ends with the last outcome, and people answer for days."""
    _, out, _ = run("run", file, "--listen", "127.0.0.1:0")

    assert f"STOP replies may come for days: nexmo-dispatch bulk listen {file} hears them" in out


def test_a_campaign_that_never_ran_has_nothing_to_listen_for(file: Path, service: Simulator) -> None:
    """No ledger is made, and neither is a list."""
    code, _, err = run("listen", file, "--listen", "127.0.0.1:0")

    assert (code, "there is no ledger spring.db" in err) == (1, True)
    assert not (file.parent / "spring.db").exists()
    assert not (file.parent / "opt-outs.db").exists()


@pytest.mark.engines
@pytest.mark.parametrize("engine", ["database", "nats_url"])
async def test_a_listener_takes_no_part_of_the_quota(engine: str, request: pytest.FixtureRequest) -> None:
    """Beside a worker on a shared store it hears callbacks for days, and the worker keeps its whole rate."""
    place = join_url(str(request.getfixturevalue(engine)), "spring")
    text = CAMPAIGN.replace('"spring.db"', f'"${STORE}"')
    settings = parse(text, name="spring", environ={STORE: place})
    async with await open_ledger(place, accept_loss=True) as worker, AsyncExitStack() as stack:
        await worker.add(recipients(2))
        await worker.claim(ClaimRequest(limit=1, now=time.time()))
        listener, _ = await campaign_stores(settings, stack, sends=False)
        await stack.enter_async_context(Campaign.open(place, accept_loss=True))  # without a client
        observed = await listener.observe([News(dispatch_uuid=uuid_of(1), at=time.time())])
        watcher = await stack.enter_async_context(await open_ledger(place, observer=True))

        assert isinstance(watcher, TellsLife)
        assert (observed.unmatched, (await watcher.life()).senders) == ((0,), 1)

        await listener.claim(ClaimRequest(limit=1, now=time.time()))

        async with await open_ledger(place, observer=True) as later:
            assert isinstance(later, TellsLife)
            assert (await later.life()).senders == 2
