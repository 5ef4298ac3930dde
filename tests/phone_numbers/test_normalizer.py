"""Numbers as people write them: one person is one number, and a number that may be two persons is refused."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexmo_dispatch_async.exceptions import ConfigurationError
from nexmo_dispatch_async.phone_numbers import NumberNormalizer, PhoneNumberError
from nexmo_dispatch_async.phone_numbers.countries import COUNTRIES

DUTCH = [
    "+31 6 17185666",
    "0031 6 17185666",
    "31617185666",
    "06-17185666",
    "06 17 18 56 66",
    "+31 (0)6-17185666",
    "+31 06 17185666",
    "0031(0)617185666",
    "617185666",
    "'0617185666",
    '="0617185666"',
    "31617185666.0",
    "tel:+31617185666",
    "\u200e+31 6\u00a017185666\u202c",
    "\uff0b31 6 \uff11\uff17\uff11\uff18\uff15\uff16\uff16\uff16",
    "06\u201117185666",
]


@pytest.mark.parametrize("spelling", DUTCH)
def test_one_person_is_one_number(spelling: str) -> None:
    """Every spelling of a Dutch number gives the same digits."""
    assert NumberNormalizer("NL")(spelling) == "31617185666"


@pytest.mark.parametrize("with_extra", [True, False])
@pytest.mark.parametrize(
    ("country", "spelling", "digits"),
    [
        ("NL", "+44 7700 900123", "447700900123"),
        ("NL", "447700900123", "447700900123"),
        ("GB", "07700 900123", "447700900123"),
        ("gb", "+44 (0)7700 900123", "447700900123"),
        ("US", "(202) 555-0123", "12025550123"),
        ("US", "1-202-555-0123", "12025550123"),
        ("US", "(323) 555-0123", "13235550123"),  # not Belgium: Americans write it so
        ("US", "+32 470 12 34 56", "32470123456"),
        ("", "+447700900123", "447700900123"),
        ("", "447700900123", "447700900123"),
        ("NL", "NL.13491208655302741918", "NL.13491208655302741918"),
        ("", " NL.13491208655302741918 ", "NL.13491208655302741918"),
    ],
)
def test_countries(
    country: str, spelling: str, digits: str, with_extra: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers of other countries and user ids come out the same with and without the extra."""
    if not with_extra:
        monkeypatch.setitem(sys.modules, "phonenumbers", None)

    assert NumberNormalizer(country)(spelling) == digits


@pytest.mark.parametrize("with_extra", [True, False])
@pytest.mark.parametrize(
    ("spelling", "rule"),
    [
        ("", "number-missing"),
        ("   ", "number-missing"),
        ("'", "number-missing"),
        ("3.16172E+10", "number-rounded"),
        ("3,16172E+10", "number-rounded"),
        ("06-1718566", "number-length"),
        ("06-171856666", "number-length"),
        ("+31 6 1718566", "number-length"),
        ("+0617185666", "number-country"),
        ("+00617185666", "number-country"),
        ("call me", "number-form"),
        ("06-17185666 / 06-17185667", "number-length"),
        ("06-17185666 or 06-17185667", "number-form"),
        ("+", "number-form"),
        ("{phone}", "number-form"),
        ("352123456", "number-ambiguous"),  # Luxembourg, or 035 without its 0
        ("1234", "number-country"),
    ],
)
def test_what_is_no_number_is_refused_with_its_rule(
    spelling: str, rule: str, with_extra: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the field and the rule and never repeats the number."""
    if not with_extra:
        monkeypatch.setitem(sys.modules, "phonenumbers", None)

    with pytest.raises(PhoneNumberError) as caught:
        NumberNormalizer("NL")(spelling, field="mobile")

    assert (caught.value.field, caught.value.rule) == ("mobile", rule)
    assert "1718" not in str(caught.value)


def test_a_number_that_is_two_of_its_own_country_is_refused() -> None:
    """In Italy 391 begins mobile numbers, and 39 is the country."""
    with pytest.raises(PhoneNumberError) as caught:
        NumberNormalizer("IT")("3912345678")

    assert caught.value.rule == "number-ambiguous"


def test_no_calling_code_begins_another_one() -> None:
    """The first code that fits is the code."""
    codes = {country.code for country in COUNTRIES.values()}

    assert not [(a, b) for a in codes for b in codes if a != b and b.startswith(a)]


def test_a_national_number_without_a_country_says_what_to_do() -> None:
    """Without a default country a leading 0 is no guess."""
    with pytest.raises(PhoneNumberError, match="name the country") as caught:
        NumberNormalizer("")("0617185666")

    assert caught.value.rule == "number-country"


def test_a_country_that_is_not_known_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A misspelt country is an error at once; a rare one names the extra."""
    with pytest.raises(ConfigurationError, match="no ISO 3166 code"):
        NumberNormalizer("Holland")
    assert NumberNormalizer("KE")("0712 123456") == "254712123456"

    monkeypatch.setitem(sys.modules, "phonenumbers", None)
    with pytest.raises(ConfigurationError, match=r"nexmo-dispatch-async\[phone\]"):
        NumberNormalizer("KE")


@given(st.sampled_from(sorted(COUNTRIES)), st.text(max_size=25) | st.from_regex(r"[+0-9 ()-]{0,20}"))
def test_a_result_is_e164_and_stays_as_it_is(country: str, spelling: str) -> None:
    """Whatever comes in, what comes out is E.164 or a user id, and with + it is read as itself."""
    normalizer = NumberNormalizer(country)
    try:
        digits = normalizer(spelling)
    except PhoneNumberError:
        return

    if "." not in digits:
        assert digits.isascii()
        assert digits.isdigit()
        assert digits[0] != "0"
        assert 7 <= len(digits) <= 15
        assert normalizer(f"+{digits}") == digits


@pytest.mark.parametrize(
    ("country", "tables"),
    [*((country, False) for country in COUNTRIES), ("", True), ("NL", True), ("KE", True)],
)
@pytest.mark.parametrize("spelling", ["+99 9200 200001", "999200200001"])
def test_numbers_of_the_simulator_pass(
    country: str, spelling: str, tables: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No country has 999, and a tutorial must not depend on which tables are installed."""
    if not tables:
        monkeypatch.setitem(sys.modules, "phonenumbers", None)

    assert NumberNormalizer(country)(spelling) == "999200200001"
