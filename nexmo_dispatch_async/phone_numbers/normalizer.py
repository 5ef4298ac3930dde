"""Normalises telephone numbers in any spelling to the digits that the service accepts (contract 3.3).

Nothing is guessed: an ambiguous number is refused, since the other reading is another person's number.
"""

from __future__ import annotations

import re
import unicodedata
from types import ModuleType

from nexmo_dispatch_async.exceptions import ConfigurationError, DispatchError
from nexmo_dispatch_async.models.user_ids import is_user_id
from nexmo_dispatch_async.phone_numbers.countries import COUNTRIES, Country
from nexmo_dispatch_core.unfinished import shows_unfinished

__all__ = ["NO_NUMBER", "NumberNormalizer", "PhoneNumberError", "as_digits", "international"]

#: What to do about an empty cell of a number.
NO_NUMBER = "is empty; fill in the number, or leave the row out"

# Characters that people and programs write around and between digits. "(0)" is dialled in the same country
# only.
_FILLERS = re.compile(r"\(0\)|[\s()./\u2010-\u2015\u2212\u00b7_-]+")
_WRAPPED = re.compile(r'=?"(.*)"|\'(.*)|tel:(.*)', re.IGNORECASE | re.DOTALL)
_ROUNDED = re.compile(r"[+-]?\d+(?:[.,]\d+)?[eE]\+?\d+")
_FLOAT = re.compile(r"(\d{7,15})[.,]0")
_FORM = re.compile(r"\+?\d+")
# The contract has at most 15 digits; fewer than 7 are too few for a country code and a number (3.3).
_SHORTEST, _LONGEST = 7, 15
_BY_CODE: dict[str, Country] = {country.code: country for country in COUNTRIES.values()}

# A country code that is not assigned: the simulator's test numbers begin with it, and no table has them.
_UNASSIGNED = "999"
# The length of a test number: of the national numbers only Austria's are as long, and none of them begins so.
_TEST_NUMBER = 12


class PhoneNumberError(DispatchError, ValueError):
    """A text is no phone number, or an ambiguous one; the message names the problem, never the number.

    Attributes:
        field: Name of the field.
        rule: Id of the rule, as in docs/campaign_files.md.
        advice: What is wrong and what to do.
    """

    def __init__(self, field: str, rule: str, advice: str) -> None:
        self.field = field
        self.rule = rule
        self.advice = advice
        super().__init__(f"{field}: {advice} [{rule}]")

    def __reduce__(self) -> tuple[type[PhoneNumberError], tuple[str, str, str]]:
        return type(self), (self.field, self.rule, self.advice)


class NumberNormalizer:
    """Reads `+31 6…`, `0031 6…`, `316…` and `06-…` as one number: `316…`.

    WhatsApp user ids (contract 5.5) pass unchanged.

    Example:
        NumberNormalizer("NL")("06-17 18 56 66") == "31617185666"

    Args:
        country: ISO 3166 code of the country of numbers without a country code; `""` for none.

    Raises:
        ConfigurationError: There is no such country, or the country requires the extra `phone`.
    """

    def __init__(self, country: str = "NL") -> None:
        self.country: str = country.strip().upper()
        self._phonenumbers = _phonenumbers()
        self._own = COUNTRIES.get(self.country)
        if not self.country or self._own is not None:
            return
        if self._phonenumbers is None:
            raise ConfigurationError(
                f"country {country!r} is not among {', '.join(COUNTRIES)}; "
                "pip install 'nexmo-dispatch-async[phone]' adds all the others"
            )
        if self.country not in self._phonenumbers.SUPPORTED_REGIONS:
            raise ConfigurationError(f'country {country!r} is no ISO 3166 code, such as "NL" or "GB"')

    @shows_unfinished
    def __repr__(self) -> str:
        return f"NumberNormalizer({self.country!r})"

    def __call__(self, value: str, *, field: str = "number") -> str:
        """Return the digits of a number in E.164, or a user id unchanged.

        Args:
            value: Number or user id, as written in the source.
            field: Name of the field, for the error.

        Raises:
            PhoneNumberError: The value is no number or is ambiguous; the text never contains the value.
        """
        # The usual case first: an import calls this for every row.
        if value.isascii() and value.isdigit():
            text = value
        else:
            text = _unwrapped(value)
            if is_user_id(text):
                return text
            text = _digits(text, field)
        if text[0] == "+":
            return self._international(text[1:], field)
        if text.startswith("00"):
            return self._international(text[2:], field)
        if text.startswith(_UNASSIGNED) and len(text) >= _TEST_NUMBER:
            return self._international(text, field)
        own = self._own
        if own is not None:
            if own.trunk and text.startswith(own.trunk) and not _is_in(own, text[len(own.code) :], text):
                return _national(own, text[len(own.trunk) :], field)
            return self._bare(text, own, field)
        if self._phonenumbers is not None and self.country:
            return self._parsed(self._phonenumbers, text, field)
        if text[0] == "0":
            raise PhoneNumberError(
                field, "number-country", "has no country code; write it with +, or name the country"
            )
        return self._international(text, field)

    def _bare(self, text: str, own: Country, field: str) -> str:
        """Read digits without + and trunk prefix: E.164, or a national number whose leading 0 was lost."""
        national = own.shortest <= len(text) <= own.longest
        foreign = _country_of(text)
        # In countries without a trunk prefix no digit can be lost, so the number is complete.
        as_usual = own.trunk in ("", "1") and foreign is not own
        if national and foreign is not None and not as_usual:
            advice = "can be read as a national and as an international number; write + and the country code"
            raise PhoneNumberError(field, "number-ambiguous", advice)
        if national:
            return own.code + text
        if foreign is not None:
            return text
        if self._phonenumbers is not None and text[0] != "0" and not text.startswith(tuple(_BY_CODE)):
            return self._international(text, field)
        advice = f"is no number of {self.country}; write a foreign one with + and the country code"
        raise PhoneNumberError(field, "number-country", advice)

    def _international(self, text: str, field: str) -> str:
        """Check the digits after + or 00."""
        digits = _checked(text, field)
        if digits is None and self._phonenumbers is not None and not text.startswith(_UNASSIGNED):
            return self._parsed(self._phonenumbers, f"+{text}", field)
        return text if digits is None else digits

    def _parsed(self, library: ModuleType, text: str, field: str) -> str:
        """Read a number with the tables of `phonenumbers`; its length must be possible.

        The number need not be assigned: tables age, and no table has the numbers reserved for fiction.
        """
        try:
            number = library.parse(text, self.country or None)
        except library.NumberParseException:
            number = None
        if number is None or not library.is_possible_number(number):
            raise PhoneNumberError(field, "number-length", "is not possible in its country; correct it")
        return str(library.format_number(number, library.PhoneNumberFormat.E164))[1:]


def as_digits(value: str) -> str:
    """Return the digits of a number that is written with its country code; any other text is only trimmed.

    Digits alone stay as they are, since they may be a short code, and so does the name of a sender.

    Args:
        value: Number in any spelling, such as `+31 (0)6-17 18 56 66` or `0031617185666`.
    """
    text = value.strip()
    # The usual case first.
    if text.isalnum() and text[:2] != "00":
        return text
    return international(text) or text


def international(value: str) -> str | None:
    """Return the digits of a number that is written with its country code; None for any other text.

    Args:
        value: Number in any spelling.
    """
    text = _unwrapped(value)
    if not text or (text.isascii() and text.isalpha()):
        return None
    try:
        digits = _digits(text, "number").removeprefix("+").removeprefix("00")
        return _checked(digits, "number") or digits
    except PhoneNumberError:
        return None


def _checked(text: str, field: str) -> str | None:
    """Check the digits after + or 00; return the number, or None if no table here has its country.

    Raises:
        PhoneNumberError: The length is not possible, or the first digit is 0.
    """
    if not _SHORTEST <= len(text) <= _LONGEST:
        raise PhoneNumberError(
            field, "number-length", f"has {len(text)} digits after +; {_SHORTEST} to {_LONGEST} are right"
        )
    if text[0] == "0":
        raise PhoneNumberError(field, "number-country", "has a 0 after +; no country code begins with 0")
    known = _BY_CODE.get(text[:2]) or _BY_CODE.get(text[:3]) or _BY_CODE.get(text[:1])
    if known is None:
        return None
    rest = text[len(known.code) :]
    # "+31 06…": written by people who dial both. Italy's leading 0 belongs to the number.
    if known.trunk and known.trunk != "1" and rest.startswith(known.trunk):
        rest = rest[len(known.trunk) :]
    return _national(known, rest, field)


def _phonenumbers() -> ModuleType | None:
    try:
        import phonenumbers
    except ImportError:
        return None
    return phonenumbers


def _unwrapped(value: str) -> str:
    """Remove unprintable characters, and the decoration of spreadsheets and links around a number."""
    text = value.strip()
    if not text.isascii():
        normal = unicodedata.normalize("NFKC", text)
        text = "".join(letter for letter in normal if unicodedata.category(letter) != "Cf").strip()
    if text[:1] == "+" or text[:1].isdigit():
        return text
    while (found := _WRAPPED.fullmatch(text)) is not None:
        text = (found[1] or found[2] or found[3] or "").strip()
    return text


def _digits(text: str, field: str) -> str:
    """Return `+` or nothing and ASCII digits."""
    if not text:
        raise PhoneNumberError(field, "number-missing", NO_NUMBER)
    if text[-2:] in (".0", ",0") and (exact := _FLOAT.fullmatch(text)) is not None:
        return exact[1]
    bare = _FILLERS.sub("", text)
    if not bare.isascii():
        bare = "".join(str(unicodedata.decimal(letter)) if letter.isdecimal() else letter for letter in bare)
    if not _FORM.fullmatch(bare):
        if _ROUNDED.fullmatch(text):
            advice = "was rounded by a spreadsheet (3.16E+10); format the column as text and fill it in anew"
            raise PhoneNumberError(field, "number-rounded", advice)
        advice = "must be one number: digits, blanks, dashes, brackets and a leading +"
        raise PhoneNumberError(field, "number-form", advice)
    return bare


def _national(country: Country, text: str, field: str) -> str:
    if not country.shortest <= len(text) <= country.longest:
        lengths = (
            f"{country.shortest}"
            if country.shortest == country.longest
            else f"{country.shortest} to {country.longest}"
        )
        advice = f"has {len(text)} digits after the country code {country.code}, which takes {lengths}"
        raise PhoneNumberError(field, "number-length", advice)
    return country.code + text


def _is_in(country: Country, rest: str, text: str) -> bool:
    return text.startswith(country.code) and country.shortest <= len(rest) <= country.longest


def _country_of(text: str) -> Country | None:
    """Return the country whose numbers, including the calling code, match the digits."""
    # No calling code is a prefix of another.
    for size in (2, 3, 1):
        country = _BY_CODE.get(text[:size])
        if country is not None:
            return country if country.shortest <= len(text) - size <= country.longest else None
    return None
