"""A customer list of any size as people keep it, made while it is read, and what becomes of each line."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

__all__ = ["CustomerList"]

# Reserved for fiction by the regulator of the country; the last digits make a person.
_NUMBERS = (
    "+44 7700 9{:05d}",
    "0044 7700 9{:05d}",
    "447700 9{:05d}",
    "07700-9{:05d}",
)


class CustomerList:
    """Blocks of lines with a byte-order mark, CRLF, quotes, empty lines, bad lines and several spellings.

    Args:
        blocks: How many blocks of twelve lines, of which five are good.
        note: Characters of a note in each row, to make the file long.
        corrected: Whether the bad lines were corrected.
    """

    def __init__(self, blocks: int, *, note: int = 20, corrected: bool = False) -> None:
        self._blocks = blocks
        self._note = "n" * note
        self._corrected = corrected
        #: Rules of the rejects, with their number.
        self.rejects: Counter[str] = Counter()
        #: Rows that are taken.
        self.good = 0

    def __iter__(self) -> Iterator[bytes]:
        """Yield the blocks, the header with the first one."""
        head = b"\xef\xbb\xbf"
        head += b"id ; phone; name ;code;note\r\n"
        for number in range(self._blocks):
            yield head + self._block(number)
            head = b""
        assert sum(self.rejects.values()) + self.good == self._blocks * 10

    def write(self, path: Path) -> Path:
        """Write all of it into a file."""
        with path.open("wb") as file:
            file.writelines(self)
        return path

    def feed(self, path: Path) -> Thread:
        """Write all of it into a pipe, in a thread."""
        thread = Thread(target=self.write, args=(path,))
        thread.start()
        return thread

    def _block(self, number: int) -> bytes:
        person, note = number * 6 % 100_000, self._note
        key = f"{number:08d}"

        def phone(offset: int) -> str:
            return _NUMBERS[(number + offset) % len(_NUMBERS)].format((person + offset) % 100_000)

        lines = [
            f"{key}a;{phone(0)};Ann;A1;{note}",
            f'{key}b;{phone(1)};"O""Neil; B";B2;{note}',
            "",
            f'{key}c;{phone(2)};Cas;"C\r\n3";{note}',
            f'{key}d;{phone(3)};Dee "5"" D;D4;{note}',
            f"{key}e;{phone(4)};Ren\u00e9e;E5;{note}",
            f"{key}a;{phone(0)};Twin;A1;{note}",  # the key again
            f"{key}f;{phone(5)};;F6;{note}",  # no name
            f"{key}g;{phone(5)};Gus;{note}",  # a cell is missing
            f"{key}h;0770;Hal;H8;{note}",  # no number
            f'{key}i;{phone(5)};"Ida;I9;{note}',  # a quote left open
        ]
        if self._corrected:
            lines[7] = f"{key}f;{phone(5)};Fay;F6;{note}"
            lines[8] = f"{key}g;{phone(5)};Gus;G7;{note}"
            lines[9] = f"{key}h;{phone(5)};Hal;H8;{note}"
            lines[10] = f'{key}i;{phone(5)};"Ida";I9;{note}'
        self.good += 9 if self._corrected else 5
        wrong = (
            {} if self._corrected else {"field-empty": 1, "columns": 1, "number-length": 1, "csv-quotes": 1}
        )
        self.rejects.update({"duplicate": 1, **wrong})
        return ("\r\n".join(lines) + "\r\n").encode()
