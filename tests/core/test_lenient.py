"""Any JSON value gives text, a number, an object, a list or nothing (contract 5.11)."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexmo_dispatch_core.lenient import (
    kind_in_words,
    parse_object,
    text_or_empty,
    to_decimal,
    to_float,
    to_int,
    to_list,
    to_object,
    to_text,
    without_mark,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((" a\t", "a"), ("", None), (" ", None), (None, None), (True, None), ([], None)),
        *(
            (447700900000, "447700900000"),
            (4.477e11, "447700000000"),
            (1.5, None),
            (float("inf"), None),
            (1e300, None),
        ),
        (10**40, "1" + "0" * 40),
    ],
)
def test_to_text(value: object, text: str | None) -> None:
    """Ids and addresses are trimmed; numbers become digits without exponent or fraction."""
    assert to_text(value) == text


@pytest.mark.parametrize(
    ("value", "number"),
    [
        *((1, 1), ("2", 2), (" 3 ", 3), ("-4", -4), (5.0, 5), (True, None), (1.5, None), ("1.5", None)),
        *(
            ("", None),
            ("x", None),
            ("9" * 400, None),
            (10**400, None),
            (float("nan"), None),
            ("\u0661", None),
            (None, None),
        ),
    ],
)
def test_to_int(value: object, number: int | None) -> None:
    """Whole numbers of up to 18 digits, also as text."""
    assert to_int(value) == number


@pytest.mark.parametrize(
    ("value", "number"),
    [
        *((1, 1.0), (1.5, 1.5), ("52.3091", 52.3091), (" -33.8568 ", -33.8568), ("1e2", 100.0), (True, None)),
        *(("nan", None), ("inf", None), ("1_0", None), ("52,3", None), (10**400, None), (float("nan"), None)),
        *(("9" * 400, None), (None, None)),
    ],
)
def test_to_float(value: object, number: float | None) -> None:
    """Finite numbers, also as text."""
    assert to_float(value) == number


@pytest.mark.parametrize(
    ("value", "price"),
    [
        *(
            ("0.0333", "0.0333"),
            ("0.0060", "0.0060"),
            ("1E-2", "0.01"),
            (" 1 ", "1"),
            (".5", "0.5"),
            ("-1", "-1"),
        ),
        *((0.0333, "0.0333"), (0.1, "0.1"), (3, "3"), (1e-7, "1E-7")),
    ],
)
def test_to_decimal_is_exact(value: object, price: str) -> None:
    """From text, or from the shortest text of a number (contract 5.11); digits are kept."""
    assert str(to_decimal(value)) == str(Decimal(price))


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, "", "free", "0,0333", "NaN", "Infinity", "1_000", "1E999999999", "\u0663", [], {}),
        *(float("nan"), float("inf"), 10**400, "9" * 400, "0x1"),
    ],
)
def test_to_decimal_is_none_not_zero(value: object) -> None:
    """A missing or unreadable price is None (contract 5.11)."""
    assert to_decimal(value) is None


def test_an_endless_number_has_no_text() -> None:
    """More digits than Python converts are nothing, and no exception."""
    assert to_text(10**5000) is None
    assert text_or_empty(10**5000) == ""


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(ANY_JSON)
def test_no_value_raises(value: object) -> None:
    """Every reader gives its own type, or nothing, for every value."""
    assert isinstance(to_text(value), str | None)
    assert isinstance(to_int(value), int | None)
    assert isinstance(to_float(value), float | None)
    assert isinstance(to_decimal(value), Decimal | None)
    assert isinstance(text_or_empty(value), str)
    assert isinstance(to_object(value), dict)
    assert isinstance(to_list(value), list)


@given(st.binary(max_size=64))
def test_no_bytes_raise(body: bytes) -> None:
    """Any bytes hold an object or nothing."""
    assert isinstance(parse_object(body), dict | None)


@pytest.mark.parametrize(
    ("value", "text"),
    [(" a\t", "a"), (7, "7"), (1.5, "1.5"), (True, ""), (None, ""), ([], ""), ({"a": 1}, "")],
)
def test_a_word_is_text_or_empty(value: object, text: str) -> None:
    """Numbers are shown as they are; what is neither is not shown."""
    assert text_or_empty(value) == text


@pytest.mark.parametrize(
    ("value", "objects", "items"),
    [
        ({"a": 1}, {"a": 1}, [{"a": 1}]),
        ([1, 2], {}, [1, 2]),
        (None, {}, []),
        (0, {}, [0]),
        ("ab", {}, ["ab"]),
    ],
)
def test_one_where_several_are_expected(value: object, objects: dict[str, int], items: list[object]) -> None:
    """A value alone is a list of one; what is no object is an empty one."""
    assert to_object(value) == objects
    assert to_list(value) == items


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"a": 1}', {"a": 1}),
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        (b"[1]", None),
        (b"null", None),
        (b"{", None),
        (b"", None),
    ],
)
def test_an_object_is_read_with_its_mark(body: bytes, value: dict[str, int] | None) -> None:
    """Some editors write a byte-order mark before UTF-8."""
    assert parse_object(body) == value
    assert without_mark(b"a\xef\xbb\xbf") == b"a\xef\xbb\xbf"


def test_numbers_end_where_they_are_no_longer_exact() -> None:
    """Floats at 10**16, whole numbers at 10**18, texts at 64 characters."""
    below, text = float(10**16 - 2), "1" * 64

    assert (to_text(below), to_text(1e16)) == (str(10**16 - 2), None)
    assert (to_int(below), to_int(1e16), to_int(-1e16)) == (10**16 - 2, None, None)
    assert (to_int(10**18 - 1), to_int(10**18), to_int(-(10**18))) == (10**18 - 1, None, None)
    assert (to_int("9" * 18), to_int("9" * 19)) == (10**18 - 1, None)
    assert (to_float(text), to_float(text + "1")) == (float(text), None)
    assert (to_decimal(text), to_decimal(text + "1")) == (Decimal(text), None)
    assert (to_decimal(10**63), to_decimal(10**64)) == (Decimal(10**63), None)
    assert to_decimal(-(10**64)) is None
    assert to_decimal(1e70) == Decimal("1e70")


def test_what_something_is_in_words() -> None:
    """The value itself may be a secret."""
    assert kind_in_words("secret") == "a str"
    assert kind_in_words(str) == "the class str"
