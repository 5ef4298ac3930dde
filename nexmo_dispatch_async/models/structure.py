"""Reads JSON into the request structs, and names every structural problem when that is not possible.

It looks at shapes only: which members are there and what kind of value they hold. Whether the values are
allowed is judged by `nexmo_dispatch_async.rules`.
"""

from typing import NoReturn, TypeVar

import msgspec

from nexmo_dispatch_async.exceptions import InvalidWorkflowError
from nexmo_dispatch_async.models.findings import Finding, rule_url
from nexmo_dispatch_async.models.lenient import without_mark

__all__ = ["convert", "decode", "load"]

T = TypeVar("T")


def load(data: bytes | str) -> object:
    """Decode JSON without a type; a byte-order mark before it is left out.

    Raises:
        InvalidWorkflowError: The bytes are not JSON.
    """
    data = without_mark(data) if isinstance(data, bytes) else data.removeprefix("\ufeff")
    try:
        return msgspec.json.decode(data)
    except RecursionError:
        _refuse("json", "is nested too deeply")
    except UnicodeError:
        _refuse("json", "is not valid UTF-8")
    except msgspec.DecodeError as error:
        _refuse("json", f"cannot be read as JSON: {error}")


def decode(data: bytes | str, kind: type[T]) -> T:
    """Decode the JSON of one step.

    Raises:
        InvalidWorkflowError: The bytes are not JSON or have another shape; every problem is named.
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return convert(load(data), kind, step=1)


def convert(value: object, kind: type[T], *, step: int | None = None) -> T:
    """Turn decoded JSON into a struct.

    Raises:
        InvalidWorkflowError: The value has another shape; every problem is named.
    """
    from nexmo_dispatch_async.models._shape import problems

    try:
        return msgspec.convert(value, kind)
    except (msgspec.ValidationError, RecursionError) as error:
        # Should the walk and msgspec ever disagree, then msgspec's words are better than none.
        findings = problems(value, kind, step=step) or [_finding("type", str(error))]
    raise InvalidWorkflowError(findings)


def _refuse(rule: str, message: str) -> NoReturn:
    raise InvalidWorkflowError([_finding(rule, message)]) from None


def _finding(rule: str, message: str) -> Finding:
    return Finding(rule, "error", None, "", message, rule_url(rule))
