"""Recognises replies that opt out, by a list of words, without guessing a language. It does no I/O."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from nexmo_dispatch_async.exceptions import ConfigurationError

__all__ = ["STOPPED", "STOP_WORDS", "is_stop", "normal_words"]

#: Words that carriers treat as an opt-out and that have no other meaning. Add the words of your languages.
STOP_WORDS: Final = ("stop", "stopall", "unsubscribe")

#: The reason of an entry of the opt-out list that such a reply made.
STOPPED: Final = "stop"


def normal_words(words: Iterable[str]) -> frozenset[str]:
    """Return words in the form for comparisons with replies.

    Raises:
        ConfigurationError: *words* is a single text, holds an empty word, or none.
    """
    if isinstance(words, str):
        raise ConfigurationError("words is one text: give a list of words, such as ['stop', 'afmelden']")
    normal = frozenset(_normal(word) for word in words)
    if not normal or "" in normal:
        raise ConfigurationError("words is empty or holds an empty word: give at least one, such as 'stop'")
    return normal


def is_stop(text: str | None, words: frozenset[str]) -> bool:
    """Return whether a whole reply is one of the words, ignoring case, space and surrounding marks.

    Args:
        text: Text of the reply; `None` without a text.
        words: Result of `normal_words`.
    """
    return text is not None and _normal(text) in words


def _normal(text: str) -> str:
    return " ".join(text.casefold().split()).strip(" .!\"'")
