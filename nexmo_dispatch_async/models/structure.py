"""Converts JSON to the request structs, or reports every structural problem.

It looks at shapes only: which members are there and what kind of value they hold. Whether the values are
allowed is judged by `nexmo_dispatch_async.rules`.
"""

from typing import NoReturn, TypeVar

import msgspec

from nexmo_dispatch_async.exceptions import InvalidWorkflowError
from nexmo_dispatch_async.models.extras import has_extra, may_have_extra
from nexmo_dispatch_async.models.findings import Finding, rule_url
from nexmo_dispatch_core.lenient import without_mark

__all__ = ["convert", "decode", "load"]

T = TypeVar("T")


def load(data: bytes | str) -> object:
    """Decode JSON without a type; a leading byte-order mark is skipped.

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


def decode(data: bytes | str, kind: type[T], *, extra: bool = False) -> T:
    """Decode the JSON of one step.

    Args:
        data: The JSON.
        kind: The struct.
        extra: Keep unknown members.

    Raises:
        InvalidWorkflowError: The bytes are not JSON or have another shape; every problem is named.
    """
    try:
        found = msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        found = None
    # A member named `extra` is unknown, too.
    if found is None or (may_have_extra(data) and has_extra(found)):
        return convert(load(data), kind, step=1, extra=extra)
    return found


def convert(value: object, kind: type[T], *, step: int | None = None, extra: bool = False) -> T:
    """Convert decoded JSON to a struct.

    Args:
        value: Decoded JSON.
        kind: The struct.
        step: Number of the step that the value is; None for a whole workflow.
        extra: Keep unknown members.

    Raises:
        InvalidWorkflowError: The value has another shape; every problem is named.
    """
    from nexmo_dispatch_async.models._shape import problems, with_extra

    findings = problems(value, kind, step=step, extra=extra)
    if not findings:
        try:
            return msgspec.convert(with_extra(value, kind) if extra else value, kind)
        except (msgspec.ValidationError, RecursionError) as error:
            # If the walk finds no problem but msgspec does, report msgspec's message.
            findings = [_finding("type", str(error))]
    raise InvalidWorkflowError(findings)


def _refuse(rule: str, message: str) -> NoReturn:
    raise InvalidWorkflowError([_finding(rule, message)]) from None


def _finding(rule: str, message: str) -> Finding:
    return Finding(rule, "error", None, "", message, rule_url(rule))
