"""Which reply opts out: a whole reply that is one of the words, and no other."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from nexmo_dispatch_async.bulk.ledger.stop_words import STOP_WORDS, is_stop, normal_words
from nexmo_dispatch_async.exceptions import ConfigurationError


@pytest.mark.parametrize(
    ("text", "stops"),
    [
        *((word, True) for word in ("stop", "stopall", "unsubscribe")),
        *((reply, True) for reply in ("STOP", " Stop! ", "'stop'", '"stop".', "stop.", "Opt  OUT")),
        *((reply, False) for reply in ("please stop", "stop it", "stopp", "", "st op", "stop?", None)),
    ],
)
def test_a_whole_reply_is_a_word(text: str | None, stops: bool) -> None:
    """Without case, space and the marks around it; a sentence that holds the word may mean another thing."""
    words = normal_words([*STOP_WORDS, " opt out."])

    assert is_stop(text, words) is stops


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("stop", "^words is one text: give a list of words, such as "),
        ([], "^words is empty or holds an empty word: give at least one, such as 'stop'"),
        (["stop", " . "], "^words is empty or holds an empty word"),
    ],
)
def test_words_without_a_sense_are_refused(words: Iterable[str], message: str) -> None:
    """The letters of one text would each opt out, and an empty word would for every picture."""
    with pytest.raises(ConfigurationError, match=message):
        normal_words(words)
