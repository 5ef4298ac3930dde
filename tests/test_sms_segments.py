"""SMS segments, counted exactly (3GPP TS 23.038 and 23.040)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexmo_dispatch_async.sms_segments import Segments, count_segments, non_gsm_characters, split_segments

# The default alphabet and the extension table in code order, written out once more to check the sets.
BASIC = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§"
    "¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
EXTENSION = "\f^{}\\[~]|€"


def test_alphabet_is_complete() -> None:
    """127 characters of one septet, 10 of two; the 128th code is the escape."""
    assert len(BASIC) == 127
    assert count_segments(BASIC) == Segments("gsm-7", 127, 1, 160, 33)
    assert count_segments(EXTENSION) == Segments("gsm-7", 20, 1, 160, 140)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Segments("gsm-7", 0, 1, 160, 160)),
        ("a" * 160, Segments("gsm-7", 160, 1, 160, 0)),
        ("a" * 161, Segments("gsm-7", 161, 2, 153, 145)),
        ("a" * 306, Segments("gsm-7", 306, 2, 153, 0)),
        ("a" * 307, Segments("gsm-7", 307, 3, 153, 152)),
        ("€" * 80, Segments("gsm-7", 160, 1, 160, 0)),
        # 153 is odd: the 77th euro does not fit into the first segment and is not split.
        ("€" * 81, Segments("gsm-7", 162, 2, 153, 143)),
        ("€" * 153, Segments("gsm-7", 306, 3, 153, 151)),
        ("a" * 152 + "€" + "a" * 8, Segments("gsm-7", 162, 2, 153, 143)),
        ("я" * 70, Segments("ucs-2", 70, 1, 70, 0)),
        ("я" * 71, Segments("ucs-2", 71, 2, 67, 63)),
        ("я" * 134, Segments("ucs-2", 134, 2, 67, 0)),
        ("😀" * 35, Segments("ucs-2", 70, 1, 70, 0)),
        # 67 is odd: the 34th pair is not split.
        ("😀" * 36, Segments("ucs-2", 72, 2, 67, 61)),
        ("😀" * 67, Segments("ucs-2", 134, 3, 67, 65)),
        ("a" * 69 + "`", Segments("ucs-2", 70, 1, 70, 0)),
        ("\ud800", Segments("ucs-2", 1, 1, 70, 69)),
        ("\uffff" * 70, Segments("ucs-2", 70, 1, 70, 0)),
    ],
)
def test_segments_are_counted(text: str, expected: Segments) -> None:
    """Limits 160 and 70 alone, 153 and 67 when concatenated; pairs stay together."""
    assert count_segments(text) == expected


def test_split_never_tears_a_pair_apart() -> None:
    """An escape and its character, and both halves of an emoji, travel in one segment."""
    euros, faces = split_segments("€" * 81), split_segments("a" + "😀" * 36)

    assert [len(part) for part in euros] == [76, 5]
    assert [len(part) for part in faces] == [34, 3]


@pytest.mark.parametrize(
    ("text", "lengths"),
    [
        ("", [0]),
        ("a" * 160, [160]),
        ("a" * 161, [153, 8]),
        ("a" * 306, [153, 153]),
        ("a" * 307, [153, 153, 1]),
        ("я" * 70, [70]),
        ("я" * 71, [67, 4]),
        ("я" * 134, [67, 67]),
        ("я" * 135, [67, 67, 1]),
    ],
)
def test_segments_are_as_long_as_they_can_be(text: str, lengths: list[int]) -> None:
    """160 and 70 characters alone, 153 and 67 of several."""
    parts = split_segments(text)

    assert ([len(part) for part in parts], "".join(parts)) == (lengths, text)


def test_characters_that_force_ucs_2_are_named() -> None:
    """One typographic quote makes an SMS dearer; this shows which one it was."""
    assert non_gsm_characters("It\u2019s \u2019fine\u2019 \u2013 really") == "\u2019\u2013"


def units(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


@given(st.text(alphabet=st.sampled_from("a€я😀\n"), max_size=400))
def test_split_and_count_agree(text: str) -> None:
    """Parts join to the text, each fits, and there are as many as counted; the encoding is one for all."""
    count = count_segments(text)

    parts = split_segments(text)

    assert "".join(parts) == text
    assert len(parts) == count.segments
    cost = units if count.encoding == "ucs-2" else lambda part: sum(2 if c == "€" else 1 for c in part)
    assert all(cost(part) <= count.per_segment for part in parts)
    assert count.remaining == count.per_segment - cost(parts[-1])
