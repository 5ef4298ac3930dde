"""Recordings of callbacks without personal data: JSON lines, for `listen --record` and `replay`.

It knows files and bodies; it opens no socket. What is kept is named here; everything else is replaced.
"""

import json
import re
import secrets
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import anyio
import msgspec

from nexmo_dispatch_webhooks import Context, Event

__all__ = ["Recorded", "Recorder", "RecordingError", "Redactor", "read"]

_DEEPEST = 32
_LARGEST = 10**18
_UUID = r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"
_DATE = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?: ?(?:Z|UTC|[+-]\d\d:?\d\d))?"
_WORD = r"[A-Za-z][A-Za-z_-]{0,39}"
_SMALL = r"-?\d{1,6}(?:\.\d{1,8})?"

# Members whose text is kept where it has the form of the contract; sections 5.2 to 5.8.
_KEPT = {
    **dict.fromkeys(
        ("status", "type", "channel", "template", "direction", "currency", "message_type", "context_status"),
        _WORD,
    ),
    **dict.fromkeys(("price", "code", "title", "num_messages", "count_total"), _SMALL),
    **dict.fromkeys(("items_number", "items_total"), _SMALL),
    **dict.fromkeys(("message_uuid", "dispatch_uuid"), _UUID),
    "timestamp": _DATE,
    "href": rf"/?(?:v0\.1/)?(?:(?:dispatch|messages|workflows)/)?{_UUID}",
}
_ADDRESSES = {"to", "from", "number", "id"}
_COORDINATES = {"lat", "long", "lng", "latitude", "longitude"}
_PATH = re.compile(r"[a-z/_-]{0,100}")


class RecordingError(Exception):
    """A recording cannot be read; the message names the place and quotes nothing."""


class Recorded(msgspec.Struct, frozen=True):
    """One callback to post again."""

    body: bytes
    #: Below the mount point.
    path: str = ""
    #: Epoch seconds of its arrival; None when nothing tells it.
    at: float | None = None


class Redactor:
    """Replaces addresses and texts by placeholders: equal values get equal ones.

    Placeholders are keyed hashes, so nothing is remembered, and without the key nobody can try numbers until
    one fits. Numbers start with 999, which is no country's code.

    Args:
        key: the key of the hashes; a new random one when None, which is never stored.
    """

    def __init__(self, key: bytes | None = None) -> None:
        self._key = key or secrets.token_bytes(32)

    def body(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        """A body of the same shape, without personal data."""
        return {self._name(name): self._value(name, value, 1) for name, value in raw.items()}

    def _value(self, name: str, value: object, depth: int) -> Any:
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, dict):
            return self._object(cast("dict[str, object]", value), depth)
        if isinstance(value, list):
            items = cast("list[object]", value)
            return [] if depth > _DEEPEST else [self._value(name, item, depth + 1) for item in items]
        if isinstance(value, int) and abs(value) > _LARGEST:
            value = _LARGEST  # no number or id is longer, and printing may be
        text = value if isinstance(value, str) else repr(value)
        if name in _COORDINATES:
            return "0" if isinstance(value, str) else 0
        if name not in _ADDRESSES:
            if (form := _KEPT.get(name)) is not None and re.fullmatch(form, text.strip()):
                return value
            if not isinstance(value, str):
                return 0
        return self._placeholder(name, text) if isinstance(value, str) else int(self._number(text))

    def _object(self, value: dict[str, object], depth: int) -> dict[str, Any]:
        if depth > _DEEPEST:
            return {}
        return {self._name(name): self._value(name, item, depth + 1) for name, item in value.items()}

    def _placeholder(self, name: str, text: str) -> str:
        if not text.strip():
            return text
        if name in _ADDRESSES:
            return self._number(text) if text.strip().lstrip("+").isdecimal() else f"id-{self._hash(text)}"
        if text.startswith(("http://", "https://")):
            return f"https://example.com/{self._hash(text)}"
        return f"{'id' if name.endswith('_uuid') else 'text'}-{self._hash(text)}"

    def _name(self, name: str) -> str:
        """Names of members are the service's own words; whatever does not look like one is replaced."""
        return name if re.fullmatch("_?" + _WORD, name) else f"member-{self._hash(name)}"

    def _number(self, text: str) -> str:
        digits = int.from_bytes(self._digest(text.strip().lstrip("+")), "big") % 10**12
        return f"999{digits:012}"

    def _hash(self, text: str) -> str:
        return self._digest(text).hex()

    def _digest(self, text: str) -> bytes:
        return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8, key=self._key).digest()


class Recorder:
    """Appends redacted callbacks to a file, each written before `write` returns."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._redactor = Redactor()
        self._lock = anyio.Lock()
        self._file: anyio.AsyncFile[bytes] | None = None

    async def __aenter__(self) -> Self:
        self._file = await anyio.open_file(self._path, "ab")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._file is not None:
            await self._file.aclose()
            self._file = None

    async def write(self, event: Event, context: Context) -> None:
        """Append one callback."""
        line = {
            "at": None if context.received_at is None else round(context.received_at.timestamp(), 3),
            "path": context.path if _PATH.fullmatch(context.path) else "",
            "body": self._redactor.body(event.raw),
        }
        if self._file is None:
            raise RuntimeError("the recorder is not open")
        async with self._lock:
            await self._file.write(json.dumps(line).encode() + b"\n")
            await self._file.flush()


def read(source: Path) -> list[Recorded]:
    """The callbacks of a recording, of one body in a file, or of the `*.json` bodies below a folder.

    Raises:
        RecordingError: there is nothing to read, or something that is neither.
    """
    try:
        if source.is_dir():
            found = [Recorded(path.read_bytes()) for path in sorted(source.rglob("*.json"))]
        else:
            found = list(_lines(source.read_bytes(), source.name))
    except OSError as error:
        raise RecordingError(f"cannot read {source.name}: {error.strerror}") from None
    if not found:
        raise RecordingError(f"{source.name} holds no callbacks")
    return found


def _lines(data: bytes, name: str) -> Iterator[Recorded]:
    if _is_object(data, without="body"):
        yield Recorded(data)
        return
    for number, line in enumerate(data.splitlines(), 1):
        if line.strip():
            try:
                recorded = _LINE.decode(line)
            except (ValueError, RecursionError):
                recorded = None
            # `simulate --record` writes lines with a body, too: as a text, of requests and callbacks
            if recorded is None or bytes(recorded.body)[:1] != b"{":
                raise RecordingError(
                    f"{name}, line {number}: no callback recorded by 'nexmo-dispatch listen --record'"
                )
            yield Recorded(bytes(recorded.body), recorded.path, recorded.at)


def _is_object(data: bytes, *, without: str) -> bool:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and without not in value


class _Line(msgspec.Struct):
    body: msgspec.Raw
    path: str = ""
    at: float | None = None


_LINE = msgspec.json.Decoder(_Line)
