"""Reads the tables of a file key by key and collects every problem, to report all at once.

It knows no setting.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any, TypeVar, cast

from msgspec import Struct

from nexmo_dispatch_async.exceptions import ConfigurationError

__all__ = ["CampaignFileError", "FileProblem", "Table"]

T = TypeVar("T")
#: The largest whole number: more rows, messages or sends are a slip, and SQLite counts no further than 2**63.
_MOST = 1_000_000_000


class FileProblem(Struct, frozen=True):
    """One problem of a campaign file.

    Attributes:
        table: Name of the table, such as `pace`; `""` for the file as a whole.
        key: Name of the key, `""` for the whole table.
        advice: What is wrong and what to do.
    """

    table: str
    key: str
    advice: str

    def __str__(self) -> str:
        place = " ".join(part for part in (f"[{self.table}]" if self.table else "", self.key) if part)
        return f"{place}: {self.advice}" if place else self.advice


class CampaignFileError(ConfigurationError):
    """A campaign file cannot be used.

    Attributes:
        problems: All that is wrong.
    """

    def __init__(self, name: str, problems: Iterable[FileProblem]) -> None:
        self.name = name
        self.problems: tuple[FileProblem, ...] = tuple(problems)
        lines = "".join(f"\n  {problem}" for problem in self.problems)
        count = len(self.problems)
        super().__init__(f"{name} has {count} problem{'' if count == 1 else 's'}:{lines}")

    def __reduce__(self) -> tuple[type[CampaignFileError], tuple[str, tuple[FileProblem, ...]]]:
        return type(self), (self.name, self.problems)


class Table:
    """One table.

    Args:
        values: What stands in it.
        name: Its name, for problems.
        problems: Where problems are noted.
        elsewhere: Returns the keys of all tables by their names, for a key in the wrong one.
    """

    def __init__(
        self,
        values: object,
        name: str,
        problems: list[FileProblem],
        *,
        elsewhere: Callable[[], Mapping[str, Iterable[str]]] = dict,
    ) -> None:
        self.name = name
        self.problems = problems
        self._elsewhere = elsewhere
        #: The keys that were read, by the name of their table: those of this one and of the tables in it.
        self.keys: dict[str, dict[str, None]] = {}
        if not isinstance(values, Mapping):
            self.note("", f"must be a table; write [{name}] and its keys below")
            values = {}
        self.values: Mapping[str, Any] = cast(
            "Mapping[str, Any]", values
        )  # Any: what a file holds is judged key by key
        self._read = self.keys.setdefault(name, {})

    def __contains__(self, key: str) -> bool:
        return key in self.values

    def note(self, key: str, advice: str) -> None:
        """Remember a problem."""
        self.problems.append(FileProblem(self.name, key, advice))

    def table(self, key: str) -> Table:
        """Return a table in this one; an empty one if it is missing."""
        self._read[key] = None
        name = f"{self.name}.{key}" if self.name else key
        inner = Table(self.values.get(key, {}), name, self.problems, elsewhere=self._elsewhere)
        inner.keys = self.keys
        inner._read = self.keys.setdefault(name, {})
        return inner

    def get(self, key: str, read: Callable[[object], T], default: T) -> T:
        """Return a value as `read` reads it.

        Args:
            key: Its name.
            read: Raises `ValueError` with what to write instead.
            default: For a key that is missing or wrong.
        """
        self._read[key] = None
        if key not in self.values:
            return default
        try:
            return read(self.values[key])
        except ValueError as error:
            self.note(key, str(error))
            return default

    def required(self, key: str, cure: str) -> str:
        """Return a text that must be there."""
        text = self.text(key)
        if key not in self.values:
            self.note(key, f"is missing; write {cure}")
        return text

    def text(self, key: str, default: str = "") -> str:
        """Return a text."""
        return self.get(key, _text, default)

    def flag(self, key: str) -> bool:
        """Return true or false, false when it is missing."""
        return self.get(key, _flag, default=False)

    def whole(self, key: str, default: int) -> int:
        """Return a whole number of at least 1."""
        return self.get(key, _whole, default)

    def choice(self, key: str, choices: tuple[str, ...]) -> str:
        """Return one of several words, the first when it is missing."""

        def read(value: object) -> str:
            if value not in choices:
                raise ValueError(f"must be {' or '.join(map(repr, filter(None, choices)))}")
            return str(value)

        return self.get(key, read, choices[0])

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of texts; one text is a list of one."""
        return self.get(key, _texts, ())

    def done(self) -> None:
        """Note the keys that nothing has read."""
        for key in self.values:
            if key not in self._read:
                self.note(key, f"is not known{self._hint(key)}")

    def _hint(self, key: str) -> str:
        """Return what may be meant: a key of another table, one that is spelled alike, or one of all."""
        others = {name: keys for name, keys in self._elsewhere().items() if name != self.name}
        exact = [f"[{name}] {key}".removeprefix("[] ") for name, keys in others.items() if key in keys]
        if exact:
            return f" here; did you mean {' or '.join(exact)}?"
        if near := get_close_matches(key, list(self._read), 1, 0.6):
            return f"; did you mean {near[0]}?"
        spelled = {each: name for name, keys in others.items() for each in keys}
        if near := get_close_matches(key, list(spelled), 1, 0.8):
            return f" here; did you mean [{spelled[near[0]]}] {near[0]}?".replace("[] ", "")
        return f"; known are {', '.join(self._read)}"


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError('must be a text in quotes, such as "…"')  # noqa: TRY004 - read as a wrong value
    if "\0" in value:
        raise ValueError("must not hold a NUL character")
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be true or false, without quotes")  # noqa: TRY004 - the same
    return value


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _MOST:
        raise ValueError(f"must be a whole number from 1 to {_MOST:,}")
    return value


def _texts(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list) or not all(isinstance(each, str) for each in cast("list[object]", value)):
        raise ValueError('must be a list of texts, such as ["…", "…"]')
    return tuple(cast("list[str]", value))
