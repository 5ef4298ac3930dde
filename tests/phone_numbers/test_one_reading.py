"""The builders, a care window, a template of a campaign and its rows read a number alike."""

from datetime import UTC, datetime
from typing import Any

import pytest

from nexmo_dispatch_async import CareWindow, NumberNormalizer, PhoneNumberError, mms, sms, viber, whatsapp
from nexmo_dispatch_async.bulk.rejects import RowError
from nexmo_dispatch_async.bulk.rows.numbers import RowNumbers
from nexmo_dispatch_async.bulk.templates.template import WorkflowTemplate
from nexmo_dispatch_async.phone_numbers.normalizer import as_digits
from tests.bulk.templates.test_template import row
from tests.phone_numbers.test_normalizer import DUTCH

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DIGITS = "31617185666"
WITH_CODE = [
    spelling for spelling in DUTCH if "31" in spelling.replace("\u00a0", "") or spelling.startswith("\uff0b")
]
SENDER = "447418342140"


@pytest.mark.parametrize("spelling", WITH_CODE)
def test_a_number_with_its_country_code_is_read_everywhere(spelling: str) -> None:
    """Each spelling gives the same recipient in each builder, the same window, and the same row."""
    url = "https://media.example.com/a.png"

    steps = [
        sms.text("Hi", from_=SENDER, to=spelling),
        mms.image(url, from_="24273", to=spelling),
        whatsapp.text("Hi", from_=spelling, to=spelling),
        viber.text("Hi", from_="VSM-ID", to=spelling),
    ]
    window = CareWindow(clock=lambda: NOON)
    window.record(DIGITS)
    template = WorkflowTemplate(sms.text("Hi", from_=SENDER, to="{phone}"))

    assert len(WITH_CODE) > 8
    assert {step.to.number for step in steps} == {DIGITS}
    assert steps[2].from_.number == DIGITS
    assert window.status(spelling).open
    assert window.allows(whatsapp.text("Hi", from_=SENDER, to=spelling))
    assert template.render(row({"phone": spelling})).body == template.render(row({"phone": DIGITS})).body
    assert RowNumbers("NL")(spelling) == NumberNormalizer("NL")(spelling) == DIGITS


@pytest.mark.parametrize(
    "text",
    [
        "BISTRO12",
        "BISTRO 12",
        "24273",
        "0617185666",
        "06-17 18 56 66",
        "+31",
        "0044",
        "{phone}",
        "$NUMBER",
        "",
        "+0617185666",
    ],
)
def test_what_has_no_country_code_stays_as_it_is(text: str) -> None:
    """Names of senders, short codes, national numbers and placeholders are for the rules to judge."""
    assert as_digits(f" {text} ") == text
    assert sms.text("Hi", from_=text, to=text).to.number == text


def test_a_window_takes_a_default_country() -> None:
    """With `numbers`, a national number that an operator types is the customer who wrote."""
    window = CareWindow(clock=lambda: NOON, numbers=NumberNormalizer("NL"))
    window.record("06-17 18 56 66")

    assert window.status("+31617185666").open
    assert window.status("0617185666").open
    assert window.allows(whatsapp.text("Hi", from_=SENDER, to=DIGITS))
    assert window.status("NL.13491208655302741918").open is False
    with pytest.raises(PhoneNumberError, match=r"number: .* \[number-"):
        window.status("06-17")


def test_a_number_of_the_service_is_never_read_as_a_national_one() -> None:
    """The service writes the country code without a plus: a default country must not change its numbers."""
    window = CareWindow(clock=lambda: NOON, numbers=NumberNormalizer("DE"))
    inbound: Any = type("Event", (), {})()
    inbound.channel, inbound.timestamp = "whatsapp", NOON
    inbound.from_ = type("End", (), {"number": "6591234567", "id": None})()

    assert window.observe(inbound)
    assert window.allows(whatsapp.text("Hi", from_=SENDER, to="6591234567"))


def test_the_error_is_one_of_ours_and_shows_no_number() -> None:
    """A row gets the error of a row, other callers a `PhoneNumberError`; neither shows the number."""
    with pytest.raises(PhoneNumberError) as plain:
        NumberNormalizer("NL")("06-171", field="mobile")
    with pytest.raises(RowError) as of_row:
        RowNumbers("NL")("06-171", field="mobile")

    assert str(plain.value) == str(of_row.value)
    assert (plain.value.field, plain.value.rule) == ("mobile", "number-length")
    assert "171" not in str(plain.value)
    assert isinstance(plain.value, ValueError)
