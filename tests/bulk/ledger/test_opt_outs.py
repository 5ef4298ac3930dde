"""The opt-out list: what a STOP does, who shares it, and what its file survives."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import anyio
import pytest
from msgspec.structs import replace

from nexmo_dispatch_async import messenger, sms
from nexmo_dispatch_async.bulk import Campaign, MemoryLedger, WorkflowTemplate
from nexmo_dispatch_async.bulk.ledger.conformance_claims import NOW, person, request, states
from nexmo_dispatch_async.bulk.ledger.conformance_results import NO_TIMES
from nexmo_dispatch_async.bulk.ledger.opt_outs import OptOutList, normal_address
from nexmo_dispatch_async.bulk.ledger.records import Cap
from nexmo_dispatch_async.bulk.ledger.sqlite import SqliteLedger
from nexmo_dispatch_async.bulk.ledger.stop_words import STOP_WORDS, is_stop, normal_words
from nexmo_dispatch_async.exceptions import ConfigurationError, OptOutError
from nexmo_dispatch_webhooks import Router, WhatsAppUser
from nexmo_dispatch_webhooks.events import Event, parse_event
from tests.bulk.fake_client import FakeClient

ANN = "447700900001"


def reply(text: str, *, sender: str = ANN, **more: Any) -> Event:
    """Return an inbound message of the v0.1 form."""
    body: dict[str, Any] = {
        "message_uuid": "aaaaaaaa-bbbb-4ccc-8ddd-ffffffffffff",
        "timestamp": datetime.fromtimestamp(NOW, UTC).isoformat().replace("+00:00", "Z"),
        "from": {"type": "sms", "number": sender},
        "to": {"type": "sms", "number": "447418342140"},
        "message": {"content": {"type": "text", "text": text}},
        "direction": "inbound",
    }
    return parse_event(json.dumps(body | more))


def rejected(code: int) -> Event:
    """Return a message status that names an error."""
    return parse_event(
        json.dumps(
            {
                "message_uuid": "aaaaaaaa-bbbb-4ccc-8ddd-ffffffffffff",
                "timestamp": datetime.fromtimestamp(NOW, UTC).isoformat().replace("+00:00", "Z"),
                "to": {"type": "sms", "number": ANN},
                "from": {"type": "sms", "number": "447418342140"},
                "status": "rejected",
                "error": {"code": code, "reason": "Illegal Number"},
                "direction": "outbound",
            }
        )
    )


_ON_SERVERS = [pytest.param(name, marks=pytest.mark.engines) for name in ("database", "nats_url")]


@pytest.fixture(params=["memory", "file", "campaign", *_ON_SERVERS])
async def opt_outs(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[OptOutList]:
    """An opt-out list of each kind."""
    if request.param == "campaign":
        async with await SqliteLedger.open(tmp_path / "a.db", clock=lambda: NOW) as ledger:
            yield ledger.opt_outs
        return
    place: Path | str = tmp_path / "people.db"
    if request.param in {"database", "nats_url"}:
        place = request.getfixturevalue(request.param)
    made = OptOutList() if request.param == "memory" else OptOutList.open(place, clock=lambda: NOW)
    async with made:
        yield made


class TestList:
    """The list by hand."""

    async def test_an_entry_keeps_its_first_reason(self, opt_outs: OptOutList) -> None:
        """Adding is idempotent, and tells how many are new."""
        assert await opt_outs.suppress(f"+{ANN}", "447700900002", reason="stop") == 2
        assert await opt_outs.suppress(ANN, "447700900003") == 1

        found = await opt_outs.suppressed(f"00{ANN}")
        assert found is not None
        assert (found.address, found.reason) == (ANN, "stop")
        assert await opt_outs.suppressed("447700900009") is None

    async def test_pages_leave_nothing_out(self, opt_outs: OptOutList) -> None:
        """The list goes by address, page after page."""
        await opt_outs.suppress(*(f"4477009{n:05d}" for n in range(7)))

        first = await opt_outs.list(limit=4)
        second = await opt_outs.list(after=first[-1].address, limit=4)

        assert [entry.address for entry in (*first, *second)] == [f"4477009{n:05d}" for n in range(7)]
        assert "4477009" not in repr(first)

    async def test_an_import_goes_in_pieces_and_twice(self, opt_outs: OptOutList) -> None:
        """Lines of a file with an end and empty ones; the same import again adds nothing."""
        lines = [f"+4477009{n:05d}\n" for n in range(1500)] + ["\n", "  \n"]

        async def slowly() -> AsyncIterator[str]:
            for line in lines:
                yield line

        assert await opt_outs.import_(lines) == 1500
        assert await opt_outs.import_(slowly()) == 0

    async def test_an_empty_address_is_refused(self, opt_outs: OptOutList) -> None:
        """It would suppress every row without an address."""
        with pytest.raises(ConfigurationError, match="empty"):
            await opt_outs.suppress(ANN, " ")

        assert await opt_outs.list() == []

    @pytest.mark.parametrize(
        ("given", "stored"),
        [
            (" +44 7700 900-001 ", ANN),
            ("0044 (7700) 900.001", ANN),
            ("+44 (0)7700 900001", ANN),
            ("\u202a+44\u00a07700\u2011900001\u202c", ANN),
            ("tel:+44-7700-900001", ANN),
            (ANN, ANN),
            ("NL.13491208655302741918", "NL.13491208655302741918"),
            ("0612345678", "0612345678"),
        ],
    )
    def test_numbers_are_stored_as_campaigns_do(self, given: str, stored: str) -> None:
        """Digits without marks; a user id stays as it is."""
        assert normal_address(given) == stored


class TestSeveralAddresses:
    """One person with a number and a user id, or with two numbers."""

    async def test_a_stop_from_one_address_counts_for_all(self, opt_outs: OptOutList) -> None:
        """Also for those that are linked later, in any order, and for a list that another has begun."""
        await opt_outs.link(ANN, "NL.13491208655302741918")
        await opt_outs.link("447700900002", "447700900003")
        await opt_outs.link(f"+{ANN}", "447700900002")

        assert await opt_outs.suppress("447700900003", reason="stop") == 4
        await opt_outs.link("NL.13491208655302741918", "447700900004")

        assert [(entry.address, entry.reason) for entry in await opt_outs.list()] == [
            (ANN, "stop"),
            ("447700900002", "stop"),
            ("447700900003", "stop"),
            ("447700900004", "stop"),
            ("NL.13491208655302741918", "stop"),
        ]
        assert await opt_outs.unsuppress("447700900002") == 5

    async def test_a_campaign_links_the_addresses_of_a_row(self) -> None:
        """A reply over Messenger keeps the row from going out over WhatsApp; other rows go."""
        template = WorkflowTemplate(
            messenger.text("Hi", from_="107083064136738", to="{psid}").until("read", within=600),
            sms.text("Hi", from_="31647356950", to="{phone}"),
        )
        ledger = MemoryLedger()
        rows = [
            {"psid": "2790000000000001", "phone": f"+{ANN}"},
            {"psid": "2790000000000002", "phone": "+447700900002"},
        ]
        async with Campaign.open(ledger, client=cast("Any", FakeClient()), template=template) as campaign:
            await campaign.add(rows)
            await ledger.opt_outs.suppress(ANN, reason="stop")
            await campaign.run()
            found = [row.skip async for row in campaign.rows()]

        assert found == ["suppressed", None]

    async def test_the_links_of_a_person_are_erased_with_the_row(self, tmp_path: Path) -> None:
        """They are personal data, as the row is: nothing of them stays in the file or its log."""
        path = tmp_path / "a.db"
        async with await SqliteLedger.open(path, clock=lambda: NOW) as ledger:
            await ledger.add([person(1)])
            await ledger.opt_outs.link(person(1).address, "NL.13491208655302741918")
            await ledger.drop([1], state="pending")
            assert await ledger.forget(NOW + 1) == 1

            for name in ("a.db", "a.db-wal"):
                assert b"NL.13491208655302741918" not in await anyio.Path(tmp_path / name).read_bytes(), name


class TestStop:
    """What replies and statuses put on the list."""

    @pytest.mark.parametrize("text", ["stop", " STOP. ", '"Stop!"', "Unsubscribe", "AFMELDEN", "geen  spam"])
    async def test_a_word_of_the_list_opts_out(self, opt_outs: OptOutList, text: str) -> None:
        """The whole reply is one of the words, apart from case, space and marks."""
        router = Router()
        opt_outs.attach(router, words=[*STOP_WORDS, "afmelden", "Geen spam"])

        (await router.dispatch(reply(text))).raise_for_failures()

        found = await opt_outs.suppressed(ANN)
        assert found is not None
        assert found.reason == "stop"

    @pytest.mark.parametrize("text", ["please do not stop", "stopp", "", "yes"])
    async def test_no_guess_is_made(self, opt_outs: OptOutList, text: str) -> None:
        """A sentence with the word in it is no opt-out."""
        router = Router()
        opt_outs.attach(router)

        (await router.dispatch(reply(text))).raise_for_failures()

        assert await opt_outs.list() == []

    @pytest.mark.parametrize(("code", "barred"), [(1240, True), (1050, True), (1000, False)])
    async def test_a_code_of_the_service_opts_out(
        self, opt_outs: OptOutList, code: int, barred: bool
    ) -> None:
        """The service knows of a STOP that never came here (contract 6.1)."""
        router = Router()
        opt_outs.attach(router)

        (await router.dispatch(rejected(code))).raise_for_failures()

        assert [entry.reason for entry in await opt_outs.list()] == ([str(code)] if barred else [])

    @pytest.mark.parametrize("text", ["9990\udcff", "9990\0"], ids=["half", "NUL"])
    async def test_an_address_that_no_store_takes_keeps_no_other_from_the_list(
        self, text: str, tmp_path: Path
    ) -> None:
        """Contract 5.11: a callback may hold it; no campaign has a row for it."""
        router = Router()
        async with OptOutList.open(tmp_path / "people.db") as opt_outs:
            opt_outs.attach(router)

            for user in (None, WhatsAppUser(wa_id="999000000001")):
                message = replace(reply("STOP", sender=text), whatsapp_user=user)
                (await router.dispatch(message)).raise_for_failures()

            assert [entry.address for entry in await opt_outs.list()] == ["999000000001"]

    async def test_handlers_have_names_that_last(self) -> None:
        """An inbox keeps the name of a handler that failed."""
        router = Router()
        OptOutList().attach(router)

        result = await router.dispatch(reply("hello"))

        assert [name.endswith("opt_outs.OptOutList.opt_out") for name in result.handled] == [True]

    async def test_words_are_a_list(self) -> None:
        """A single text would be read letter by letter."""
        for words in ("stop", [], ["stop", " "]):
            with pytest.raises(ConfigurationError, match="words"):
                normal_words(words)
        assert not is_stop(None, normal_words(["stop"]))

    async def test_a_stop_reaches_a_campaign_whose_rows_wait(self, tmp_path: Path) -> None:
        """The reply arrives between two claims of another process's campaign: nothing more is sent."""
        inbox = OptOutList.open(tmp_path / "people.db", clock=lambda: NOW)
        router = Router()
        inbox.attach(router)
        sender = OptOutList.open(tmp_path / "people.db", clock=lambda: NOW)
        async with inbox, sender, await SqliteLedger.open(tmp_path / "a.db", opt_outs=sender) as ledger:
            await ledger.add([person(0), person(1, key="first"), person(1, key="second")])
            await ledger.claim(request(limit=2))

            (await router.dispatch(reply("STOP"))).raise_for_failures()

            assert await ledger.claim(request()) == []
            assert await states(ledger) == ["sending", "sending", "skipped"]


class TestFile:
    """The file of a shared list."""

    async def test_history_is_erased_and_the_list_stays(self, tmp_path: Path) -> None:
        """`forget` takes the messages before a moment, from the file and from its log."""
        opt_outs = OptOutList.open(tmp_path / "people.db", clock=lambda: NOW)
        async with opt_outs, await SqliteLedger.open(tmp_path / "a.db", opt_outs=opt_outs) as ledger:
            await ledger.add([person(n) for n in range(5)])
            await opt_outs.suppress(ANN)
            await ledger.claim(request())

            assert await opt_outs.forget(NOW) == 0
            assert await opt_outs.forget(NOW + 1) == 4
            assert [entry.address for entry in await opt_outs.list()] == [ANN]

        content = read(tmp_path / "people.db")
        assert b"447700900003" not in content
        assert ANN.encode() in content

    @pytest.mark.parametrize("before", NO_TIMES, ids=repr)
    async def test_what_is_no_time_erases_no_history(self, tmp_path: Path, before: Any) -> None:
        """SQLite compares it with numbers: each message would be older, and no cap would hold."""
        opt_outs = OptOutList.open(tmp_path / "people.db", clock=lambda: NOW)
        async with opt_outs, await SqliteLedger.open(tmp_path / "a.db", opt_outs=opt_outs) as ledger:
            await ledger.add([person(1)])
            await ledger.claim(request())

            with pytest.raises(ConfigurationError, match=r"^before must be epoch seconds"):
                await opt_outs.forget(before)
            assert await opt_outs.forget(NOW + 1) == 1

    async def test_the_cap_survives_a_loss_of_the_shared_file_alone(self, tmp_path: Path) -> None:
        """Two files are no single transaction when the power fails: the next opening counts again."""
        opt_outs = OptOutList.open(tmp_path / "people.db", clock=lambda: NOW)
        async with opt_outs:
            ledger = await SqliteLedger.open(tmp_path / "a.db", opt_outs=opt_outs, clock=lambda: NOW)
            await ledger.add([person(1), person(1, key="second")])
            await ledger.claim(request(limit=1))
            await ledger.aclose()
            await opt_outs.forget(NOW + 1)

            async with await SqliteLedger.open(tmp_path / "a.db", opt_outs=opt_outs) as ledger:
                assert await ledger.claim(request(cap=Cap(messages=1, window=60))) == []
                assert await states(ledger) == ["unknown", "skipped"]

    async def test_a_file_of_something_else_is_left_as_it_was(self, tmp_path: Path) -> None:
        """Neither a text nor another database becomes an opt-out list."""
        path = tmp_path / "people.db"
        other = sqlite3.connect(path)
        other.execute("CREATE TABLE theirs (a)")
        other.close()
        before = read(path)

        with pytest.raises(OptOutError, match="no opt-out list"):
            await OptOutList.open(path).list()
        with pytest.raises(OptOutError, match="no opt-out list"):
            await SqliteLedger.open(tmp_path / "a.db", opt_outs=OptOutList.open(path))

        assert read(path) == before

    async def test_a_list_in_memory_is_none_for_a_file(self, tmp_path: Path) -> None:
        """A claim in a file could not look into it."""
        with pytest.raises(ConfigurationError, match=r"OptOutList\.open"):
            await SqliteLedger.open(tmp_path / "a.db", opt_outs=OptOutList())

    async def test_a_file_that_was_removed_takes_nothing_more(self, tmp_path: Path) -> None:
        """Neither the list nor a claim promises what no restart would find."""
        opt_outs = OptOutList.open(tmp_path / "people.db")
        async with opt_outs, await SqliteLedger.open(tmp_path / "a.db", opt_outs=opt_outs) as ledger:
            await ledger.add([person(1)])
            await opt_outs.suppress(ANN)
            (tmp_path / "people.db").unlink()

            with pytest.raises(OptOutError, match="removed"):
                await opt_outs.suppress("447700900002")
            with pytest.raises(Exception, match="removed"):
                await ledger.claim(request())


def read(path: Path) -> bytes:
    return path.read_bytes()
