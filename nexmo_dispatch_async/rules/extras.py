"""Rules about members unknown to this package (contract 9.30).

It does not look at what the package knows.
"""

from collections.abc import Mapping, Sequence
from typing import cast

from msgspec import Struct

from nexmo_dispatch_async.models.extras import extra_of, known_members
from nexmo_dispatch_async.rules.report import Report, encodable, not_json

__all__ = ["check_extra", "check_members"]


def check_extra(report: Report, struct: object, path: str = "") -> None:
    """Report every member of `extra`, in a struct and in the structs inside of it."""
    if isinstance(struct, tuple | list):
        for index, item in enumerate(cast("Sequence[object]", struct)):
            if isinstance(item, Struct):
                check_extra(report, item, f"{path}[{index}]")
    if isinstance(struct, Struct):
        check_members(report, extra_of(struct), path)
        for encoded, attribute in known_members(type(struct)).items():
            if attribute:
                check_extra(report, getattr(struct, attribute), _below(path, encoded))


def check_members(report: Report, extra: Mapping[str, object], path: str = "") -> None:
    """Report the members of one object, and those that cannot be encoded as JSON."""
    for name, value in extra.items():
        field = _below(path, name[:60] if encodable(name) else "…")
        advice = "is no member that this package knows: it is sent as `extra` says, so look at its spelling"
        report.add("extra-member", field, advice)
        if not encodable(name):
            report.add("custom-json", field, "has a name that is not text")
        for place, problem in not_json(value, field):
            report.add("custom-json", place, problem)


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
