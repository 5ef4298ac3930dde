"""One TOML file describes a campaign; what is wrong in it is told at once, with table, key and cure."""

import pickle
import re
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from nexmo_dispatch_async.bulk.campaign_file import CampaignFileError, load, parse, tariff_of, template_of
from nexmo_dispatch_async.bulk.ledger.records import Cap, Recipient
from nexmo_dispatch_async.bulk.plan import intake_of
from nexmo_dispatch_async.bulk.settings import AbortIf, Canary, Columns, QuietHours, Rate, Source, Variants
from nexmo_dispatch_async.bulk.units import duration, minutes, money, ramp, rate, share
from nexmo_dispatch_async.channels import sms, viber, whatsapp
from nexmo_dispatch_async.workflow import Workflow

SMALL = """
[campaign]
name = "spring"
ledger = "spring.db"
[rows]
file = "customers.csv"
[[template.message]]
channel = "sms"
from = "31647356950"
to = "{phone}"
text = "Hi {name}"
"""

WHOLE = """
[campaign]
name = "spring"
ledger = "spring.db"
zone = "Europe/Amsterdam"
start_at = 2026-03-29T18:00:00
send_until = 2026-03-29T21:00:00+02:00
strict = true

[rows]
file = "customers.csv"
format = "csv"
delimiter = ";"
encoding = "cp1252"
country = "NL"
duplicates = "allow"

[columns]
key = "id"
language = "lang"

[variants]
shares = { a = 3, b = 1 }
hold_out = "10%"
salt = "s"

[pace]
rate = ["50/h for 1h 30m", "1/s"]
over = "6h"
limit = 10
by_bucket = { whatsapp = "20/s" }

[quiet]
from = "21:00"
to = "9:30"
days = ["sunday"]

[canary]
first = 100
until = "delivered"
share = "80%"
within = "1h"

[budget]
max_spend = "250.10"

[abort_if]
refused = 0.05
last = 100

[people]
file = "people.db"
exclude = ["winter.db"]
cap = { messages = 2, within = "7d", over = "defer" }

[tariff]
fee = "0.001"
[tariff.prices]
sms = 0.07
whatsapp = { 31 = "0.05", "" = "0.06" }

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
language = "nl"
from = "31647356950"
to = "{phone}"
text = "Hallo {name}"

[[template.message]]
channel = "sms"
language = "en"
from = "31647356950"
to = "{phone}"
text = "Hello {name}"

[[template.variants.b.message]]
channel = "viber"
from = "12345"
to = "{phone}"
image = "https://example.com/b.png"
ttl = 60
"""


def problems(text: str | bytes) -> list[tuple[str, str]]:
    with pytest.raises(CampaignFileError) as caught:
        parse(text)
    return [(problem.table, problem.key) for problem in caught.value.problems]


def test_a_small_file_is_enough() -> None:
    """Name, ledger, rows and one message make a campaign."""
    settings = parse(SMALL)

    assert (settings.name, settings.ledger, settings.source) == (
        "spring",
        "spring.db",
        Source("customers.csv"),
    )
    assert (settings.start_at, settings.quiet, settings.max_spend, settings.tariff) == (None,) * 4
    assert tariff_of(settings) is None


@pytest.mark.parametrize(
    "change", [lambda t: b"\xef\xbb\xbf" + t.encode(), lambda t: t.replace("\n", "\r\n")]
)
def test_the_whole_file_is_read_into_one_unit_each(change: object, tmp_path: Path) -> None:
    """Seconds, shares, sends per second, exact amounts, paths beside the file; BOM and CRLF do not matter."""
    data = change(WHOLE)  # type: ignore[operator] # a function of the list above
    path = tmp_path / "spring.toml"
    path.write_bytes(data if isinstance(data, bytes) else data.encode())

    settings = load(path)

    assert settings.ledger == str(tmp_path / "spring.db")
    assert settings.source == Source(str(tmp_path / "customers.csv"), "csv", ";", "", "cp1252")
    assert (settings.country, settings.duplicates, settings.strict) == ("NL", "allow", True)
    assert settings.columns == Columns(key="id", language="lang")
    assert settings.variants == Variants(shares={"a": 3.0, "b": 1.0}, hold_out=0.1, salt="s")
    assert settings.send_until is not None
    assert settings.start_at is not None
    # Summer time began that morning, so 18:00 is 16:00 UTC.
    assert settings.send_until - settings.start_at == 3 * 3600
    assert settings.pace.rates == (Rate(50 / 3600, 5400.0), Rate(1.0))
    assert (settings.pace.over, settings.pace.limit) == (21600.0, 10)
    assert settings.pace.by_bucket == {"whatsapp": 20.0}
    assert settings.quiet == QuietHours(21 * 60, 9 * 60 + 30, frozenset({6}))
    assert settings.canary == Canary(100, "delivered", 0.8, 3600.0)
    assert settings.max_spend == Decimal("250.10")
    assert settings.abort_if == AbortIf(refused=0.05, last=100)
    assert settings.people.cap == Cap(2, 604800.0, "defer")
    assert settings.people.exclude == (str(tmp_path / "winter.db"),)
    tariff = tariff_of(settings)
    assert tariff is not None
    assert tariff.price(sms.text("x", from_="1", to="31617185666")) == Decimal("0.07")


def test_the_template_of_a_file_is_that_of_the_builders() -> None:
    """Every key of a message is an argument of its builder."""
    template = template_of(parse(WHOLE))
    fields = {"phone": "31617185666", "name": "Ann"}

    row = Recipient(key="", address="", fields=fields, bucket="", language="nl")
    assert template.render(row).body == (
        Workflow.failover(
            whatsapp.template(
                "ns:spring", ["Ann"], from_="447418342140", to="31617185666", locale="nl"
            ).until("read", within=600),
            sms.text("Hallo Ann", from_="31647356950", to="31617185666"),
        ).to_json()
    )
    row = Recipient(key="", address="", fields=fields, bucket="", variant="b")
    assert template.render(row).body == (
        Workflow.failover(
            viber.image("https://example.com/b.png", from_="12345", to="31617185666", ttl=60)
        ).to_json()
    )


@pytest.mark.parametrize(
    ("old", "new", "table", "key"),
    [
        ('name = "spring"', "", "campaign", "name"),
        ('name = "spring"', "name = 7", "campaign", "name"),
        ('zone = "Europe/Amsterdam"', 'zone = "Mars"', "campaign", "zone"),
        ('zone = "Europe/Amsterdam"', "", "campaign", "zone"),
        ("strict = true", 'strict = "yes"', "campaign", "strict"),
        ("strict = true", "stric = true", "campaign", "stric"),
        ("start_at = 2026-03-29T18:00:00", 'start_at = "tonight"', "campaign", "start_at"),
        ("start_at = 2026-03-29T18:00:00", "start_at = 9999-12-31T23:59:59", "campaign", "start_at"),
        ("start_at = 2026-03-29T18:00:00", "start_at = 0001-01-01T00:00:00", "campaign", "start_at"),
        ("send_until = 2026-03-29T21:00:00+02:00", "send_until = 2026-03-29", "campaign", "send_until"),
        ('format = "csv"', 'format = "pdf"', "rows", "format"),
        ('encoding = "cp1252"', 'encoding = "\\u0000"', "rows", "encoding"),
        ('file = "customers.csv"', 'file = "\\u0000.csv"', "rows", "file"),
        ('ledger = "spring.db"', 'ledger = "\\u0000.db"', "campaign", "ledger"),
        ('key = "id"', 'ky = "id"', "columns", "ky"),
        ("a = 3", "a = 0", "variants.shares", "a"),
        ("a = 3", "a = nan", "variants.shares", "a"),
        ("a = 3", f"a = 1{'0' * 400}", "variants.shares", "a"),
        ('"10%"', '"100%"', "variants", "hold_out"),
        ('"10%"', "10", "variants", "hold_out"),
        ('["50/h for 1h 30m", "1/s"]', '["50/h", "1/s"]', "pace", "rate"),
        ('["50/h for 1h 30m", "1/s"]', "0", "pace", "rate"),
        ("limit = 10", "limit = 0", "pace", "limit"),
        ("limit = 10", f"limit = 1{'0' * 30}", "pace", "limit"),
        ('"20/s"', '"fast"', "pace.by_bucket", "whatsapp"),
        ('from = "21:00"', 'from = "25:00"', "quiet", "from"),
        ('days = ["sunday"]', 'days = ["zondag"]', "quiet", "days"),
        (
            '["sunday"]',
            '["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"]',
            "quiet",
            "days",
        ),
        ("first = 100", "", "canary", "first"),
        ('share = "80%"', 'share = "0%"', "canary", "share"),
        ("refused = 0.05", "refused = 0", "abort_if", "refused"),
        ('"250.10"', '"lots"', "budget", "max_spend"),
        ('"250.10"', '"1e999999"', "budget", "max_spend"),
        ("refused = 0.05", "", "abort_if", ""),
        ('within = "7d", over', "over", "people.cap", "within"),
        ("sms = 0.07", "pigeon = 1", "tariff", "prices"),
        ('channel = "whatsapp"', 'channel = "pigeon"', "template.message 1", "channel"),
        ('template = "ns:spring"', "", "template.message 1", ""),
        ('within = "10m"', "", "template.message 1", "until"),
        ('locale = "nl"', 'local = "nl"', "template.message 1", "local"),
        ('language = "nl"', 'language = "en"', "template.message 3", "channel"),
        ('language = "nl"', 'language = "EN"', "template", "message"),
        ('text = "Hallo {name}"', 'text = "Hallo {name"', "template", "message"),
        ('text = "Hallo {name}"', 'text = ""', "template", "message"),
        ("ttl = 60", "ttl = 1", "template.variants.b", "message"),
        ("[abort_if]", "[abort]", "", "abort"),
    ],
)
def test_each_problem_names_table_and_key(old: str, new: str, table: str, key: str) -> None:
    """A wrong value, a missing key and an unknown one are told with their place."""
    assert WHOLE.count(old) >= 1

    assert (table, key) in problems(WHOLE.replace(old, new, 1))


def test_a_list_in_its_own_words_is_described() -> None:
    """One message per address, and what yes and no in a column of channels mean."""
    text = SMALL.replace("[rows]", "[rows]\nsame_address = 'first'")
    orders = "\n[columns]\nchannels = 'wa'\n[channel_orders]\nja = 'whatsapp > sms'\nnee = 'sms'\n"

    settings = parse(text + orders)
    assert settings.same_address == "first"
    assert settings.channel_orders == {"ja": "whatsapp > sms", "nee": "sms"}
    assert intake_of(settings).template.numbers == {"phone"}

    stops = parse(SMALL + "\n[people]\nstop_words = ['afmelden', 'stoppen']\n").people.stop_words
    assert stops == ("afmelden", "stoppen")
    assert ("people", "stop_words") in problems(SMALL + "\n[people]\nstop_words = ['']\n")

    assert ("channel_orders", "") in problems(text + orders.replace("channels = 'wa'", ""))
    assert ("channel_orders", "nee") in problems(text + orders.replace("'sms'", "''"))


def test_all_problems_are_told_at_once_with_cures() -> None:
    """An unknown key is told with the one that was meant, and the error can be pickled."""
    with pytest.raises(CampaignFileError) as caught:
        parse(SMALL.replace("ledger", "leger").replace("[rows]", "[rows]\ncontry = 'NL'"), name="s.toml")

    text = str(caught.value)
    assert text.startswith("s.toml has 3 problems:")
    assert "[campaign] leger: is not known; did you mean ledger?" in text
    assert '[campaign] ledger: is missing; write ledger = "spring.db"' in text
    assert "[rows] contry: is not known; did you mean country?" in text
    assert str(pickle.loads(pickle.dumps(caught.value))) == text  # noqa: S301 - our own


@pytest.mark.parametrize(
    ("table", "key", "hint"),
    [
        ("campaign", "rate = 5", "did you mean [pace] rate?"),
        ("campaign", "max_spend = '5'", "did you mean [budget] max_spend?"),
        ("campaign", "file = 'a.csv'", "did you mean [rows] file or [people] file?"),
        ("campaign", "colour = 5", "known are "),
        ("rows", "refused = '5%'", "did you mean [abort_if] refused?"),
        ("rows", "messages = 2", "did you mean [people.cap] messages?"),
        ("rows", "max_spent = 2", "did you mean [budget] max_spend?"),
        ("rows", "ledgr = 'a.db'", "did you mean [campaign] ledger?"),
        ("rows", "text = 'Hello'", "known are "),
        ("template", "text = 'Hello'", "did you mean [[template.message]] text?"),
        ("[template.message]", "limit = 5", "did you mean [pace] limit?"),
        ("[template.message]", "quiet = 5", "did you mean quiet?"),
    ],
)
def test_a_key_in_the_wrong_table_is_told_with_the_right_one(table: str, key: str, hint: str) -> None:
    """Also with one that the file does not have: a key below the last table belongs to that one."""
    text = SMALL if f"[{table}]" in SMALL else f"{SMALL}\n[{table}]"

    with pytest.raises(CampaignFileError) as caught:
        parse(text.replace(f"[{table}]", f"[{table}]\n{key}", 1))

    name = key.partition(" ")[0]
    (problem,) = [str(each) for each in caught.value.problems if each.key == name]
    assert "is not known" in problem
    assert hint in problem


def test_a_table_in_the_wrong_place_is_told_with_the_right_one() -> None:
    """A key above the first table, too."""
    with pytest.raises(CampaignFileError) as caught:
        parse(f"rate = 5\n{SMALL}\n[cap]\nmessages = 2\n[quite]\nfrom = '21:00'\n")

    advice = {problem.key: problem.advice for problem in caught.value.problems}
    assert advice["rate"] == "is not known here; did you mean [pace] rate?"
    assert advice["cap"] == "is not known here; did you mean [people] cap?"
    assert advice["quite"] == "is not known; did you mean quiet?"


@pytest.mark.parametrize("data", [b"\xff\xff", "a = ", "a" * 10 + "\n", "campaign = 7", "x = " + "[" * 5000])
def test_what_is_no_campaign_file_is_an_error_of_ours(data: bytes | str, tmp_path: Path) -> None:
    """Neither bytes nor missing files raise anything else."""
    assert problems(data)
    with pytest.raises(CampaignFileError, match=r"none\.toml"):
        load(tmp_path / "none.toml")


def test_units() -> None:
    """What people write becomes one unit, and what they mistype is an error with an example."""
    assert [duration(each) for each in (90, "90s", "10 min", "1h 30m", "2 days", timedelta(hours=1))] == [
        90.0,
        90.0,
        600.0,
        5400.0,
        172800.0,
        3600.0,
    ]
    assert [rate(each) for each in (50, "50/s", "30/min", "36/h")] == [50.0, 50.0, 0.5, 0.01]
    assert ramp("50/s") == ramp(["50/s"]) == (Rate(50.0),)
    assert [share(each) for each in (0, 0.1, "10%", "100 %")] == [0, 0.1, 0.1, 1.0]
    assert minutes("9:05") == 545
    assert money("0.10") == Decimal("0.10")
    for read, wrong in [
        (duration, ("", "10", "x", 0, -1, "5 parsecs", True, None, float("nan"), 10**400, "36501d")),
        (rate, ("", "50", "50/x", 0, None, True, 10**400)),
        (ramp, ([], ["1/s for 1h"], ["1/s", "2/s"], [None])),
        (share, ("10", "x%", 1.1, -0.1, None, True, 10**400)),
        (minutes, ("24:00", "9", "9:60", 9, None)),
        (money, ("x", "-1", "NaN", 0.1, None, True, "1e30", "1e-30", 10**400)),
    ]:
        for each in wrong:
            with pytest.raises(ValueError, match=r"must|stage"):
                read(each)


def test_the_description_of_the_page_is_a_campaign() -> None:
    """What the page shows is read without a problem, and names every setting that there is."""
    page = Path(__file__).parents[2] / "docs" / "campaign_files.md"
    shown = re.findall(r"^```toml\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)

    settings = parse(shown[0])

    assert len(shown) == 1
    unsaid = [name for name in settings.__struct_fields__ if not re.search(rf"\b{name}\b", shown[0])]
    assert unsaid == ["source"]
    assert template_of(settings).languages == {"en", "nl"}
