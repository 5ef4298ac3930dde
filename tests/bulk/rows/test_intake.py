"""Rows become recipients or rejects, and to add a corrected source again adds only what is new."""

import asyncio
import csv
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nexmo_dispatch_async.bulk.ledger.memory import MemoryLedger
from nexmo_dispatch_async.bulk.rejects import RejectsFile, RowError
from nexmo_dispatch_async.bulk.rows.intake import Intake, RejectedRowsError
from nexmo_dispatch_async.bulk.rows.readers import SourceError
from nexmo_dispatch_async.bulk.settings import Columns, Variants
from nexmo_dispatch_async.bulk.templates.template import FunctionTemplate, WorkflowTemplate
from nexmo_dispatch_async.channels import sms, whatsapp
from nexmo_dispatch_async.exceptions import ConfigurationError
from nexmo_dispatch_async.workflow import Workflow

WHATSAPP, SMS, PERSON = "447418342140", "31647356950", "31617185666"
TEMPLATE = WorkflowTemplate(
    whatsapp.template("ns:x", ["{name}"], from_=WHATSAPP, to="{phone}", locale="nl").until("read", within=60),
    sms.text("Hi {name}", from_=SMS, to="{phone}").until("delivered", within=60),
)
ANN = {"phone": "06-17185666", "name": "Ann"}


def intake(**settings: Any) -> Intake:
    return Intake(settings.pop("template", TEMPLATE), country="NL", **settings)


def refusal(work: Callable[[], object]) -> tuple[str, str]:
    with pytest.raises(RowError) as caught:
        work()
    return caught.value.field, caught.value.rule


def test_a_row_is_frozen_with_its_number_normalised() -> None:
    """Only the fields that the template reads are kept, and the address is the key."""
    recipient, rendered = intake().recipient(7, {**ANN, "salary": "1"})

    assert (recipient.key, recipient.address, recipient.line) == (PERSON, PERSON, 7)
    assert recipient.fields == {"phone": PERSON, "name": "Ann"}
    assert recipient.bucket == f"whatsapp|{WHATSAPP}"
    assert rendered.body == TEMPLATE.render(recipient).body
    assert intake(keep=("salary",)).recipient(7, {**ANN, "salary": "1"})[0].fields["salary"] == "1"


def test_columns_say_more_about_a_row() -> None:
    """Key, channels, language, zone and times come from the columns that are named."""
    columns = Columns(
        key="id", channels="via", language="lang", zone="zone", not_before="from", expires="to", variant="v"
    )
    row = {
        **ANN,
        "id": "c-1",
        "via": "SMS > wa",
        "lang": "nl",
        "zone": "Asia/Tokyo",
        "from": "2026-03-29T18:00",
        "to": "2026-03-29T18:00Z",
        "v": "b",
    }

    recipient, rendered = intake(columns=columns).recipient(1, row)

    assert (recipient.key, recipient.address) == ("c-1", PERSON)
    assert recipient.channels == rendered.channels == ("sms", "whatsapp")
    assert recipient.bucket == f"sms|{SMS}"
    assert (recipient.language, recipient.zone, recipient.variant) == ("nl", "Asia/Tokyo", "b")
    assert recipient.expires - recipient.not_before == 9 * 3600


@pytest.mark.parametrize(
    ("change", "field", "rule"),
    [
        ({"phone": "x"}, "phone", "number-form"),
        ({"phone": ""}, "phone", "number-missing"),
        ({"name": ""}, "name", "field-empty"),
        ({"name": "x" * 1000}, "name", "text-length"),
        ({"id": " "}, "id", "key-missing"),
        ({"via": "pigeon"}, "via", "channel"),
        ({"zone": "Mars/Base"}, "zone", "zone"),
        ({"zone": "../etc"}, "zone", "zone"),
        ({"from": "29-03-2026"}, "from", "time"),
        ({"from": "2026-03-29", "to": "2026-03-28"}, "to", "time"),
        ({"v": "c"}, "v", "variant"),
    ],
)
def test_a_row_that_cannot_be_used_names_its_column(change: dict[str, str], field: str, rule: str) -> None:
    """Every reject has a column, a rule and a cure."""
    columns = Columns(key="id", channels="via", zone="zone", not_before="from", expires="to", variant="v")
    each = intake(columns=columns, variants=Variants(shares={"a": 1, "b": 1}))

    assert refusal(lambda: each.recipient(1, {**ANN, "id": "1", **change})) == (field, rule)


def test_settings_that_are_wrong_are_named() -> None:
    """Wrong settings are errors before any row is read."""
    for settings in ({"duplicates": "last"}, {"zone": "Mars"}):
        with pytest.raises(ConfigurationError):
            intake(**settings)
    for wrong in ({"hold_out": 1.0}, {"shares": {"a": 0}}, {"shares": {"": 1}}):
        with pytest.raises(ConfigurationError):
            Variants(**wrong)


SPELLINGS = "phone;name\r\n+31 6 17185666;Ann\r\n0031617185666;Bob\r\n31617185667;Cas\r\n06-17185667;Dee\r\n"


async def test_two_names_on_one_number_get_one_message(tmp_path: Path) -> None:
    """Spellings of one number are one key: the first row is taken, the others are rejects with their line."""
    path = tmp_path / "people.csv"
    path.write_text(SPELLINGS, "utf-8-sig", newline="")
    ledger = MemoryLedger()

    taken = await intake().take(path, ledger)

    assert (taken.rows, taken.added, taken.rejected, taken.duplicates) == (4, 2, 2, 2)
    assert [(reject.line, reject.rule) for reject in taken.rejects] == [(3, "duplicate"), (5, "duplicate")]
    assert [reject.advice for reject in taken.rejects] == [
        f"came before in this source, in line {line}; only that one is taken" for line in (2, 4)
    ]
    assert [row.fields["name"] for row in await ledger.scan()] == ["Ann", "Cas"]


async def test_a_corrected_source_adds_only_what_is_new(tmp_path: Path) -> None:
    """Adding again is idempotent, whatever was rejected the first time."""
    path, ledger = tmp_path / "people.csv", MemoryLedger()
    path.write_text("phone,name\n0617185666,Ann\n0617185667,\n06,Cas\n", "utf-8")
    first = await intake().take(path, ledger)
    path.write_text("phone,name\n0617185666,Ann\n0617185667,Bob\n0617185668,Cas\n", "utf-8")

    second = await intake().take(path, ledger)
    third = await intake().take(path, ledger)

    assert (first.added, first.rejected) == (1, 2)
    assert (second.added, second.already, second.rejected) == (2, 1, 0)
    assert (third.added, third.already) == (0, 3)
    assert [row.fields["name"] for row in await ledger.scan()] == ["Ann", "Bob", "Cas"]


async def test_duplicates_may_be_an_error_or_rows_of_their_own(tmp_path: Path) -> None:
    """`error` takes nothing, `allow` takes all, and a key of its own tells people of one number apart."""
    path = tmp_path / "people.csv"
    path.write_text("id,phone,name\n1,0617185666,Ann\n2,0617185666,Bob\n", "utf-8")

    ledger = MemoryLedger()
    with pytest.raises(RejectedRowsError, match="nothing was added"):
        await intake(duplicates="error").take(path, ledger)
    assert (await ledger.counts()).total == 0

    for settings in ({"duplicates": "allow"}, {"columns": Columns(key="id")}):
        ledger = MemoryLedger()
        taken = await intake(**settings).take(path, ledger)
        again = await intake(**settings).take(path, ledger)
        assert (taken.added, again.added, again.already) == (2, 0, 2)


@pytest.mark.parametrize("keys", [("X", "X", "X#2"), ("X#2", "X", "X"), ("X", "X#2", "X", "X#2", "X")])
async def test_no_row_of_a_repeated_key_is_taken_for_another(keys: tuple[str, ...]) -> None:
    """With `allow` every row gets a key of its own, whatever keys the source has, and the same every time."""
    rows = [{**ANN, "id": key} for key in keys]
    ledger = MemoryLedger()

    taken = await intake(duplicates="allow", columns=Columns(key="id")).take(rows, ledger)
    again = await intake(duplicates="allow", columns=Columns(key="id")).take(rows, ledger)

    assert (taken.added, taken.already) == (len(keys), 0)
    assert (again.added, again.already) == (0, len(keys))


@pytest.mark.parametrize("column", ["key", "language", "variant"])
def test_a_cell_that_no_database_stores_is_the_error_of_its_row(column: str) -> None:
    """A NUL character would end the import of the whole list on Postgres."""
    columns = Columns(**{column: "cell"})

    refused = refusal(lambda: intake(columns=columns).recipient(2, {**ANN, "cell": "a\0b"}))

    assert refused == ("cell", "encoding")


async def test_strict_starts_nothing_while_a_row_is_rejected(tmp_path: Path) -> None:
    """A file or a list is read before anything is added; the error lists lines, fields, rules and cures."""
    path, ledger = tmp_path / "people.csv", MemoryLedger()
    path.write_text("phone,name\n0617185666,Ann\n0617185667,\n", "utf-8")
    rejects = RejectsFile(tmp_path / "rejects.csv")

    with rejects, pytest.raises(RejectedRowsError, match="line 3, name: is empty") as caught:
        await intake().take(path, ledger, strict=True, rejects=rejects)

    assert (await ledger.counts()).total == 0
    assert "Ann" not in str(caught.value)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)  # noqa: S301 - our own
    with pytest.raises(RejectedRowsError):
        await intake().take([ANN, {}], ledger, strict=True)
    assert (await ledger.counts()).total == 0
    with pytest.raises(RejectedRowsError, match="2 rows is rejected, 1 row was added and nothing was sent"):
        await intake().take(iter([ANN, {}]), ledger, strict=True)


async def test_the_rejects_file_holds_no_personal_data(tmp_path: Path) -> None:
    """It is a CSV with line, field, rule and advice; it is not made when there is nothing to say."""
    path = tmp_path / "people.csv"
    path.write_text("phone,name\n0617185666x,Ann\n0617185667,\n0617185668,Cas,Dee\n", "utf-8")
    (tmp_path / "old.csv").write_text("of an earlier run", "utf-8")

    with RejectsFile(tmp_path / "rejects.csv") as rejects:
        await intake().take(path, MemoryLedger(), rejects=rejects)
    with RejectsFile(tmp_path / "old.csv") as rejects:
        await intake().take([ANN], MemoryLedger(), rejects=rejects)

    text = (tmp_path / "rejects.csv").read_text("utf-8-sig")
    assert [(r["line"], r["field"], r["rule"]) for r in csv.DictReader(text.splitlines())] == [
        ("2", "phone", "number-form"),
        ("3", "name", "field-empty"),
        ("4", "", "columns"),
    ]
    assert not any(word in text for word in ("Ann", "Cas", "0617"))
    assert not (tmp_path / "old.csv").exists()


async def test_a_column_that_is_missing_is_one_error(tmp_path: Path) -> None:
    """A header without a column that is needed stops at once and names what is there."""
    path = tmp_path / "people.csv"
    path.write_text("Phone,name\n0617185666,Ann\n", "utf-8")

    with pytest.raises(SourceError, match="no column 'id', 'phone'; it has 'Phone', 'name'"):
        await intake(columns=Columns(key="id")).take(path, MemoryLedger())


async def test_variants_and_hold_out_are_dealt_by_the_key() -> None:
    """The same person always gets the same, the shares hold, and another salt deals anew."""
    rows = [{"phone": f"+4477009{number:05}", "name": "x"} for number in range(4000)]

    async def dealt(salt: str) -> list[tuple[str, str | None]]:
        ledger = MemoryLedger()
        variants = Variants(shares={"a": 3, "b": 1}, hold_out=0.1, salt=salt)
        taken = await intake(variants=variants).take(rows, ledger)
        found = await ledger.scan(limit=5000)
        assert taken.held_out == sum(row.skip == "hold_out" for row in found)
        return [(row.variant, row.skip) for row in found]

    first, again, other = await dealt(""), await dealt(""), await dealt("x")

    assert first == again != other
    assert 0.72 < sum(variant == "a" for variant, _ in first) / 4000 < 0.78
    held = [variant for variant, skip in first if skip == "hold_out"]
    assert 0.08 < len(held) / 4000 < 0.12
    # Who is held out does not depend on the variant.
    assert 0.65 < held.count("a") / len(held) < 0.85


async def test_a_function_may_make_the_workflows() -> None:
    """All fields are kept for a function, and its numbers are normalised."""
    template = FunctionTemplate(
        lambda row: Workflow.failover(sms.text(row.fields["name"], from_=SMS, to=row.fields["phone"])),
        numbers=frozenset({"phone"}),
    )
    ledger = MemoryLedger()

    taken = await intake(template=template).take([{**ANN, "more": 1}, {"name": "x"}], ledger)

    (row,) = await ledger.scan()
    assert (row.key, row.fields["more"], row.bucket) == (PERSON, "1", f"sms|{SMS}")
    assert [(reject.field, reject.rule) for reject in taken.rejects] == [("phone", "field-missing")]


# --- what a list of customers says in its own words


def rejects_of(each: Intake, rows: list[dict[str, str]]) -> tuple[list[str], list[tuple[int, str, str]]]:
    async def work() -> tuple[list[str], list[tuple[int, str, str]]]:
        keys: list[str] = []
        bad: list[tuple[int, str, str]] = []
        async for good, rejected in each.prepared(rows):
            keys += [prepared.recipient.key for prepared in good]
            bad += [(reject.line, reject.field, reject.rule) for reject in rejected]
        return keys, bad

    return asyncio.run(work())


def test_one_message_for_each_number_although_rows_have_keys_of_their_own() -> None:
    """`same_address="first"` keeps the caller's key and sends no person two messages."""
    rows = [
        {**ANN, "id": "K1"},
        {**ANN, "id": "K2", "phone": "06 17 18 56 66"},
        {**ANN, "id": "K3", "phone": "+31 6 17185667"},
    ]
    columns = Columns(key="id")

    assert rejects_of(intake(columns=columns), rows) == (["K1", "K2", "K3"], [])
    keys, bad = rejects_of(intake(columns=columns, same_address="first"), rows)

    assert (keys, bad) == (["K1", "K3"], [(2, "phone", "same-address")])
    taken = asyncio.run(intake(columns=columns, same_address="first").take(rows, MemoryLedger()))
    assert taken.rejects[0].advice == "has the address of line 1 of this source; only that one is taken"
    with pytest.raises(ConfigurationError, match="same_address"):
        intake(same_address="last")


def test_a_column_says_yes_or_no_and_channel_orders_what_that_means() -> None:
    """Yes and no, in any case, stand for an order of channels; an order may stand there itself."""
    orders = {"ja": "whatsapp > sms", "Nee": "sms", "": "sms"}
    each = intake(columns=Columns(channels="wa"), channel_orders=orders)

    found = [
        each.recipient(1, {**ANN, "wa": cell})[0].channels for cell in ("Ja", "nee", "", "sms > whatsapp")
    ]

    assert found == [("whatsapp", "sms"), ("sms",), ("sms",), ("sms", "whatsapp")]
    with pytest.raises(RowError, match="channel_orders says what other words in this column stand for"):
        each.recipient(1, {**ANN, "wa": "soms"})
