"""The reasons of rejected rows: the field, the rule and the correction, never the value of the field."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self, TextIO

from nexmo_dispatch_async.bulk.safe_cells import safe_cell
from nexmo_dispatch_async.checks import checks
from nexmo_dispatch_async.exceptions import DispatchError

__all__ = ["Reject", "RejectsFile", "RowError"]


class RowError(DispatchError, ValueError):
    """A row cannot be used; the text names the field, the problem and the correction, without personal data.

    Attributes:
        field: Name of the column or field, `""` for the whole row.
        rule: Id of the rule, as in docs/rules.md or docs/campaign_files.md.
        advice: What is wrong and what to do.
    """

    def __init__(self, field: str, rule: str, advice: str) -> None:
        self.field = field
        self.rule = rule
        self.advice = advice
        super().__init__(f"{field}: {advice} [{rule}]" if field else f"{advice} [{rule}]")

    def __reduce__(self) -> tuple[type[RowError], tuple[str, str, str]]:
        return type(self), (self.field, self.rule, self.advice)


class Reject(NamedTuple):
    """One rejected row.

    Attributes:
        line: Line of the source, from 1; 0 when it has none.
        field: Name of the column or field, `""` for the whole row.
        rule: Id of the rule.
        advice: What is wrong and what to do.
    """

    line: int
    field: str
    rule: str
    advice: str


class RejectsFile:
    """A CSV file of rejects: line, field, rule, correction. The file contains no personal data.

    The file is created at the first reject, so no file means no rejects, and is written while rows are read.

    Args:
        path: Path of the file; an existing file is replaced.

    Raises:
        ConfigurationError: *path* is no path.
    """

    def __init__(self, path: str | Path) -> None:
        checks.path("path", path)
        self.path: Path = Path(path)
        self._file: TextIO | None = None
        self.path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def write(self, rejects: Iterable[Reject]) -> None:
        """Append rejects.

        Raises:
            OSError: The file cannot be written.
        """
        rows = [(each.line, safe_cell(each.field), each.rule, each.advice) for each in rejects]
        if not rows:
            return
        if self._file is None:
            self._file = self.path.open("w", encoding="utf-8-sig", newline="")
            csv.writer(self._file).writerow(Reject._fields)
        csv.writer(self._file).writerows(rows)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
