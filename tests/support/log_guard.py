"""Reads everything that is logged, at DEBUG and with tracebacks, and looks for what must never be in it."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.support.paths import REQUESTS

#: What the tests use as secrets and tokens.
SECRETS = (
    "client-secret",
    "very-secret",
    "Bearer ",
    "Basic ",
    "secret-token",
    "PRIVATE KEY",
    "proxy-password",
)
#: A number of a telephone or a person, and the tokens that the server of the tests hands out.
PATTERN = re.compile(r"(?<![0-9A-Za-z.-])\+?\d{7,}(?![0-9A-Za-z-])|\btoken\d+\b")


def leaves(value: Any, name: str = "") -> Iterator[str]:
    """Yield the numbers, ids, texts and parameters of a request."""
    if isinstance(value, dict):
        for key, member in value.items():
            yield from leaves(member, key)
    elif isinstance(value, list):
        for member in value:
            yield from leaves(member, name)
    elif name in {"number", "id", "text", "caption", "default", "url", "client_ref"} and len(str(value)) > 5:
        yield str(value)


def private_values() -> list[str]:
    """Return everything personal in the example requests."""
    found: set[str] = set()
    for path in REQUESTS.glob("*.json"):
        found.update(leaves(json.loads(path.read_bytes())))
    return sorted(found)


class LogGuard(logging.Handler):
    """Keeps the records that hold something private."""

    private = private_values()

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.records = 0
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records += 1
        said = self.format(record)
        hits = [each for each in (*SECRETS, *self.private) if each in said] + PATTERN.findall(said)
        if hits:
            self.found.append(f"{record.name} {record.levelname}: {said!r} has {hits!r}")


@contextmanager
def guarded() -> Iterator[LogGuard]:
    """Let everything be logged, and read it."""
    guard = LogGuard()
    root = logging.getLogger()
    before = root.level
    root.addHandler(guard)
    root.setLevel(logging.DEBUG)
    try:
        yield guard
    finally:
        root.setLevel(before)
        root.removeHandler(guard)
