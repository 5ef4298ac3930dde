"""The dry run tells what would be done, and its hash is the same for the same messages only."""

import sys
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import pytest
from msgspec.structs import replace

from nexmo_dispatch_async.bulk.campaign_file import load
from nexmo_dispatch_async.bulk.ledger.opt_outs import OptOutList
from nexmo_dispatch_async.bulk.ledger.records import ClaimRequest, Recipient, Result
from nexmo_dispatch_async.bulk.ledger.sqlite import SqliteLedger
from nexmo_dispatch_async.bulk.plan import Plan, PlannedCost, ends_at, intake_of, make_plan, plan_of
from nexmo_dispatch_async.bulk.rejects import RejectsFile
from nexmo_dispatch_async.bulk.rows.intake import Intake
from nexmo_dispatch_async.bulk.rows.number_zones import NumberZones
from nexmo_dispatch_async.bulk.sending.calendar import Calendar
from nexmo_dispatch_async.bulk.settings import (
    CampaignSettings,
    Pace,
    PeopleSettings,
    QuietHours,
    Rate,
    Source,
    Variants,
)
from nexmo_dispatch_async.bulk.templates.template import WorkflowTemplate
from nexmo_dispatch_async.channels import sms, whatsapp
from nexmo_dispatch_async.exceptions import ConfigurationError
from nexmo_dispatch_async.tariff import Tariff

AMSTERDAM = ZoneInfo("Europe/Amsterdam")
NOON = datetime(2026, 3, 27, 12, 0, tzinfo=AMSTERDAM).timestamp()
FILE = """
[campaign]
name = "spring"
ledger = "spring.db"
zone = "Europe/Amsterdam"
[rows]
file = "people.csv"
country = "NL"
[columns]
channels = "via"
language = "lang"
[pace]
rate = "2/h"
[quiet]
from = "21:00"
to = "09:00"
zone_by_number = true
[budget]
max_spend = "0.01"
[tariff]
fee = "0"
[tariff.prices]
sms = { 31 = "0.10" }
whatsapp = "0.05"
[template]
default_language = "en"
[[template.message]]
channel = "whatsapp"
from = "447418342140"
to = "{phone}"
template = "ns:spring"
parameters = ["{name}"]
locale = "nl"
until = "read"
within = "10m"
[[template.message]]
channel = "sms"
language = "en"
from = "31647356950"
to = "{phone}"
text = "Hi {name}"
until = "delivered"
within = "10m"
[[template.message]]
channel = "sms"
language = "nl"
from = "31647356950"
to = "{phone}"
text = "Hoi {name}"
"""
PEOPLE = """phone,name,via,lang
+31 6 17185666,Ann,,
06-17185667,Bob,sms,nl
06-17185666,Cas,,
06-17185668,,,
+44 7700 900123,Dee,,
"""


def campaign(folder: Path, file: str = FILE, people: str = PEOPLE) -> CampaignSettings:
    folder.mkdir(exist_ok=True)
    (folder / "people.csv").write_text(people, "utf-8")
    (folder / "spring.toml").write_text(file, "utf-8")
    return load(folder / "spring.toml")


async def test_the_dry_run_counts_what_would_be_done(tmp_path: Path) -> None:
    """Counts, costs, duration, duplicates, rejects and warnings are those of the rows."""
    with RejectsFile(tmp_path / "rejects.csv") as rejects:
        plan = await plan_of(campaign(tmp_path), now=NOON, rejects=rejects)

    assert (plan.rows, plan.recipients, plan.rejected, plan.duplicates) == (5, 3, 2, 1)
    assert plan.rules == {"duplicate": 1, "field-empty": 1}
    assert plan.channels == {"sms": 1, "whatsapp": 2}
    assert plan.languages == {"": 2, "nl": 1}
    assert plan.buckets == {"sms|31647356950": 1, "whatsapp|447418342140": 2}
    # One by WhatsApp and SMS, one by SMS alone, and one to a country without an SMS price.
    assert plan.cost == PlannedCost(Decimal("0.15"), Decimal("0.15"), Decimal("0.25"), "EUR", 1)
    assert plan.seconds == 3 * 1800
    assert [(reject.line, reject.rule) for reject in plan.rejects] == [(4, "duplicate"), (5, "field-empty")]
    assert (tmp_path / "rejects.csv").exists()
    assert [warning.split(":")[0] for warning in plan.warnings] == [
        "2 of 5 rows are rejected",
        "a STOP holds for this campaign alone",
        "1 row has no price",
        "the expected cost is above max_spend 0.01",
    ]
    assert msgspec.json.decode(msgspec.json.encode(plan), type=Plan) == plan


async def test_the_hash_is_stable_and_changes_with_every_part(tmp_path: Path) -> None:
    """Another folder, another day or a rejected row change nothing; a row, text, limit or price does."""
    first = (await plan_of(campaign(tmp_path / "a"), now=NOON)).hash
    same = [
        await plan_of(campaign(tmp_path / "b"), now=NOON + 86400),
        await plan_of(campaign(tmp_path / "c", people=PEOPLE + "x,y,,\n"), now=NOON),
        await plan_of(campaign(tmp_path / "d", file=FILE.replace('"spring.db"', '"other.db"')), now=NOON),
    ]
    other = [
        await plan_of(campaign(tmp_path / f"e{number}", file=file, people=people), now=NOON)
        for number, (file, people) in enumerate(
            [
                (FILE, PEOPLE.replace("Ann", "Anna")),
                (FILE, PEOPLE + "0617185669,Eve,,\n"),
                (FILE, PEOPLE.replace("sms,nl", "sms,")),
                (FILE.replace("Hoi", "Hallo"), PEOPLE),
                (FILE.replace("2/h", "3/h"), PEOPLE),
                (FILE.replace('"0.10"', '"0.11"'), PEOPLE),
                (FILE.replace('"0.01"', '"0.02"'), PEOPLE),
                (FILE.replace("21:00", "20:00"), PEOPLE),
                (FILE.replace("zone_by_number = true", ""), PEOPLE),
            ]
        )
    ]

    assert {plan.hash for plan in same} == {first}
    assert len({first, *(plan.hash for plan in other)}) == 1 + len(other)
    assert len(first) == 32


async def test_the_hash_of_python_is_that_of_the_file(tmp_path: Path) -> None:
    """A tariff counts by its prices, wherever it was written and with however many zeros."""
    settings = campaign(tmp_path)
    python = msgspec.structs.replace(settings, tariff=None)

    async def of(tariff: Tariff) -> str:
        return (await make_plan(settings.source, intake_of(settings), python, tariff=tariff, now=NOON)).hash

    planned = (await plan_of(settings, now=NOON)).hash

    assert await of(Tariff({"whatsapp": "0.050", "sms": {"31": "0.1"}}, fee="0.00")) == planned
    assert await of(Tariff({"whatsapp": "0.051", "sms": {"31": "0.1"}}, fee="0.00")) != planned


async def test_variants_hold_out_and_shared_addresses_are_counted() -> None:
    """Who is held out costs nothing and takes no time."""
    template = WorkflowTemplate(
        whatsapp.template("ns:x", from_="447418342140", to="{phone}", locale="nl").until("read", within=60),
        sms.text("Hi", from_="31647356950", to="{phone}"),
    )
    intake = Intake(template, duplicates="allow", variants=Variants(shares={"a": 1, "b": 1}, hold_out=0.25))
    settings = CampaignSettings(
        name="x", ledger="", source=Source(""), pace=Pace(rates=(Rate(10.0, 10.0), Rate(100.0)))
    )
    rows = [{"phone": f"+4477009{number % 900:05}"} for number in range(1000)]

    plan = await make_plan(
        rows, intake, settings, tariff=Tariff({"whatsapp": "0.05", "sms": "0.10"}, fee="0"), now=NOON
    )

    assert plan.recipients == 1000
    assert plan.same_address == 100
    assert sum(plan.variants.values()) == 1000
    assert set(plan.variants) == {"a", "b"}
    assert plan.cost is not None
    assert plan.cost.worst == plan.sends * Decimal("0.15")
    assert 200 < plan.held_out < 300
    assert plan.seconds == pytest.approx(10 + (plan.sends - 100) / 100)


@pytest.mark.parametrize(
    ("begins", "seconds", "ends"),
    [
        ("2026-03-27T12:00", 3600, "2026-03-27T13:00"),
        ("2026-03-27T22:00", 3600, "2026-03-28T10:00"),
        ("2026-03-27T20:30", 3600, "2026-03-28T09:30"),
        # Summer time begins on the 29th, within the quiet hours.
        ("2026-03-28T20:30", 3600, "2026-03-29T09:30"),
        ("2026-03-27T12:00", 24 * 3600, "2026-03-29T12:00"),
        ("2026-03-27T12:00", 0, "2026-03-27T12:00"),
    ],
)
def test_the_end_counts_quiet_hours(begins: str, seconds: float, ends: str) -> None:
    """Nothing is sent from nine to nine, in local time, also when clocks are changed."""
    calendar = Calendar("Europe/Amsterdam", QuietHours(21 * 60, 9 * 60))
    start, end = (
        datetime.fromisoformat(each).replace(tzinfo=AMSTERDAM).timestamp() for each in (begins, ends)
    )

    assert ends_at(start, seconds, calendar) == end
    assert ends_at(start, seconds, Calendar()) == start + seconds


def test_an_end_that_is_years_away_is_not_told() -> None:
    calendar = Calendar("Europe/Amsterdam", QuietHours(21 * 60, 9 * 60))

    assert ends_at(NOON, 1e9, calendar) is None


async def test_people_who_get_nothing_are_counted_and_cost_nothing(tmp_path: Path) -> None:
    """Those of an earlier campaign and of the opt-out list; the hash stays, since both lists may grow."""
    file = tmp_path / "people.csv"
    file.write_text("phone\n" + "".join(f"+4477009000{number:02}\n" for number in range(10)))
    settings = CampaignSettings(
        name="x",
        ledger="",
        source=Source(str(file)),
        pace=Pace(rates=(Rate(per_second=1.0),)),
    )
    intake = Intake(WorkflowTemplate(sms.text("Hi", from_="31647356950", to="{phone}")))
    tariff = Tariff({"sms": "0.10"}, fee="0")
    before = await make_plan(settings.source, intake, settings, tariff=tariff, now=NOON)
    earlier = [Recipient(key=f"{n}", address=f"4477009000{n:02}", fields={}, bucket="b") for n in (0, 1, 2)]
    async with await SqliteLedger.open(tmp_path / "winter.db") as ledger:
        await ledger.add(earlier)
        rows = await ledger.claim(ClaimRequest(limit=3, now=1.0))
        await ledger.record([Result(id=row.id, state="sent", at=1.0) for row in rows])
    async with OptOutList.open(tmp_path / "optout.db") as opt_outs:
        await opt_outs.suppress("+447700900009", "+447700900001", "+447700900077")
        both = PeopleSettings(exclude=(str(tmp_path / "winter.db"),))
        plan = await make_plan(
            settings.source,
            intake,
            replace(settings, people=both),
            tariff=tariff,
            opt_outs=opt_outs,
            now=NOON,
        )
        opted_out = await make_plan(
            settings.source, intake, settings, tariff=tariff, opt_outs=opt_outs, now=NOON
        )

    assert (plan.recipients, plan.excluded, plan.suppressed, plan.sends) == (10, 3, 1, 6)
    assert sum(plan.channels.values()) == sum(plan.languages.values()) == plan.sends
    assert plan.seconds == 6
    assert plan.cost is not None
    assert plan.cost.expected == Decimal("0.60")
    assert (opted_out.suppressed, opted_out.sends, opted_out.hash) == (2, 8, before.hash)


def test_zones_of_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A number has the zones of its country, or of its area; without the extra that is said at once."""
    zones = NumberZones()

    assert zones("31617185666") == "Europe/Amsterdam"
    assert zones("12025550123") == "America/New_York"
    assert set(zones("351912345678").split("|")) == {"Atlantic/Azores", "Europe/Lisbon"}
    assert zones("NL.13491208655302741918") == zones("") == ""

    monkeypatch.setitem(sys.modules, "phonenumbers.tzdata", None)
    with pytest.raises(ConfigurationError, match=r"nexmo-dispatch-async\[phone\]"):
        NumberZones()


async def test_a_plan_of_many_rows_keeps_none_of_them() -> None:
    """Rows are read as a stream: a million would take no more memory than a batch."""
    alive = peak = 0

    class Row(dict[str, str]):
        def __init__(self, number: int) -> None:
            nonlocal alive, peak
            super().__init__(phone=f"+4477009{number:05}")
            alive += 1
            peak = max(peak, alive)

        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    def rows() -> Iterator[Row]:
        for number in range(10_000):
            yield Row(number)

    template = WorkflowTemplate(sms.text("Hi", from_="31647356950", to="{phone}"))
    settings = CampaignSettings(name="x", ledger="", source=Source(""))
    plan = await make_plan(rows(), Intake(template), settings, now=NOON)

    assert plan.recipients == 10_000
    assert peak <= 2
    assert plan.rejects == ()
