"""The SMS segments of a text: GSM-7 with its extension table, or UCS-2 (3GPP TS 23.038, 23.040).

The module does not choose the encoding of a message; the service does, by the same rule (contract 3.4.3).
"""

from typing import Literal

from msgspec import Struct

__all__ = ["Segments", "count_segments", "non_gsm_characters", "split_segments"]

# Positions 0x00 to 0x7F of the default alphabet, without 0x1B, which escapes to the extension table.
_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENSION = frozenset("\f^{}\\[~]|€")
_GSM = _BASIC | _EXTENSION


class Segments(Struct, frozen=True):
    """The size of a text as SMS.

    Attributes:
        encoding: `gsm-7`, or `ucs-2` when one character is outside the GSM alphabet.
        units: Septets, or UTF-16 units; an extension character or a surrogate pair takes two.
        segments: Number of segments; an empty text takes one.
        per_segment: Units per segment: 160 or 70 for a single segment, 153 or 67 for several.
        remaining: Free units of the last segment.
    """

    encoding: Literal["gsm-7", "ucs-2"]
    units: int
    segments: int
    per_segment: int
    remaining: int


def count_segments(text: str) -> Segments:
    """Count the segments of a text; a pair of units is never split over two segments."""
    encoding, costs = _costs(text)
    units = sum(costs)
    single, several = (160, 153) if encoding == "gsm-7" else (70, 67)
    if units <= single:
        return Segments(encoding, units, 1, single, single - units)
    segments, used = 1, 0
    for cost in costs:
        if used + cost > several:
            segments, used = segments + 1, 0
        used += cost
    return Segments(encoding, units, segments, several, several - used)


def split_segments(text: str) -> list[str]:
    """Return the texts of the segments, in order; joined they are the text."""
    encoding, costs = _costs(text)
    single, several = (160, 153) if encoding == "gsm-7" else (70, 67)
    if sum(costs) <= single:
        return [text]
    parts, start, used = list[str](), 0, 0
    for index, cost in enumerate(costs):
        if used + cost > several:
            parts.append(text[start:index])
            start, used = index, 0
        used += cost
    return [*parts, text[start:]]


def non_gsm_characters(text: str) -> str:
    """Return the characters that force UCS-2, without duplicates, in order of appearance."""
    return "".join(dict.fromkeys(character for character in text if character not in _GSM))


def _costs(text: str) -> tuple[Literal["gsm-7", "ucs-2"], list[int]]:
    if _GSM.issuperset(text):
        return "gsm-7", [2 if character in _EXTENSION else 1 for character in text]
    return "ucs-2", [2 if character > "\uffff" else 1 for character in text]
