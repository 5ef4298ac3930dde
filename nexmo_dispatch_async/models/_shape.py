"""Compares a JSON value with a struct type and reports every difference.

It is imported for bad input only, since `msgspec.inspect` is slow to import.
"""

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import Any, NamedTuple, cast

from msgspec import inspect

from nexmo_dispatch_async.models.findings import Finding, rule_url

__all__ = ["problems", "with_extra"]

# A hostile body can hold a problem per byte; more than this is of no use.
MAX_FINDINGS = 100


class _Place(NamedTuple):
    """The place of a value in the body: the step (from 1) and the path inside of it."""

    step: int | None
    path: str = ""
    #: Whether unknown members are accepted.
    extra: bool = False

    def member(self, name: str) -> "_Place":
        """Return the place of a member of the object at this place."""
        return self._replace(path=f"{self.path}.{name}" if self.path else name)

    def item(self, index: int) -> "_Place":
        """Return the place of an item of the array at this place; items of `workflow` are steps."""
        if self.step is None and self.path == "workflow":
            return _Place(index + 1, extra=self.extra)
        return self._replace(path=f"{self.path}[{index}]")


def problems(
    value: object, kind: type[Any], *, step: int | None = None, extra: bool = False
) -> list[Finding]:
    """Return every structural problem that prevents the conversion of a JSON value to a `kind`.

    Args:
        value: Decoded JSON.
        kind: The struct.
        step: Number of the step that the value is; None for a whole workflow.
        extra: Unknown members are no problem.
    """
    findings: list[Finding] = []
    _check(findings, value, inspect.type_info(kind), _Place(step, extra=extra))
    return findings


def with_extra(value: object, kind: type[Any]) -> object:
    """Return a JSON value without problems, with unknown members moved into `extra`, for conversion."""
    return _gathered(value, inspect.type_info(kind))


def _gathered(value: object, info: inspect.Type) -> object:
    choices = info.types if isinstance(info, inspect.UnionType) else (info,)
    structs = [choice for choice in choices if isinstance(choice, inspect.StructType)]
    arrays = [choice for choice in choices if isinstance(choice, inspect.VarTupleType)]
    if arrays and isinstance(value, list):
        return [_gathered(item, arrays[0].item_type) for item in cast("list[object]", value)]
    if not structs or not isinstance(value, dict):
        return value
    members = cast("dict[str, object]", value)
    field = structs[0].tag_field
    struct = next((each for each in structs if field is None or each.tag == members.get(field)), structs[0])
    known = _members(struct)
    kept = {
        name: _gathered(item, known[name].type) if name in known else item
        for name, item in members.items()
        if name in known or name == field
    }
    extra = {name: item for name, item in members.items() if name not in known and name != field}
    return {**kept, "extra": extra} if extra else kept


def _members(struct: inspect.StructType) -> dict[str, inspect.Field]:
    """Return the members of an object, without `extra`, which holds unknown members."""
    return {item.encode_name: item for item in struct.fields if item.name != "extra"}


def _add(findings: list[Finding], rule: str, place: _Place, message: str) -> None:
    if len(findings) < MAX_FINDINGS:
        findings.append(Finding(rule, "error", place.step, place.path, message, rule_url(rule)))


def _check(findings: list[Finding], value: object, info: inspect.Type, place: _Place) -> None:
    choices = info.types if isinstance(info, inspect.UnionType) else (info,)
    structs = [choice for choice in choices if isinstance(choice, inspect.StructType)]
    arrays = [choice for choice in choices if isinstance(choice, inspect.VarTupleType)]
    scalars = [scalar for choice in choices if (scalar := _scalar(choice)) is not None]
    if structs and isinstance(value, dict):
        _object(findings, cast("dict[str, object]", value), structs, place)
    elif arrays and isinstance(value, list):
        for index, item in enumerate(cast("list[object]", value)):
            _check(findings, item, arrays[0].item_type, place.item(index))
    elif not any(fits(value) for _, fits in scalars):
        expected = (
            ["an object"] * len(structs[:1]) + ["an array"] * len(arrays) + [name for name, _ in scalars]
        )
        _add(findings, "type", place, f"must be {' or '.join(expected)}, not {_describe(value)}")


def _object(
    findings: list[Finding], value: dict[str, object], structs: list[inspect.StructType], place: _Place
) -> None:
    members = dict(value)
    struct = structs[0]
    if struct.tag_field is not None:
        tags = {str(choice.tag): choice for choice in structs}
        tag = members.pop(struct.tag_field, None)
        if not isinstance(tag, str) or tag not in tags:
            # Without a known type, the other members cannot be checked.
            rule = "required" if tag is None else "type"
            near = get_close_matches(tag[:60], tags, n=1, cutoff=0.75) if isinstance(tag, str) else []
            hint = f"; did you mean `{near[0]}`?" if near else ""
            _add(findings, rule, place.member(struct.tag_field), f"must be {_listing(tags)}{hint}")
            return
        struct = tags[tag]
    fields = _members(struct)
    for name, item in fields.items():
        if name in members:
            _check(findings, members[name], item.type, place.member(name))
        elif item.required:
            _add(findings, "required", place.member(name), "is missing")
    for name in [name for name in members if name not in fields and not place.extra]:
        near = get_close_matches(name[:60], fields, n=1, cutoff=0.75)
        hint = f"did you mean `{near[0]}`?" if near else f"known here: {', '.join(fields)}"
        _add(findings, "unknown-member", place.member(name[:60]), f"is not a member of this object; {hint}")


def _scalar(info: inspect.Type) -> tuple[str, Callable[[object], bool]] | None:
    """Return the name of a scalar type for messages, and its test."""
    match info:
        case inspect.StrType():
            return "text", lambda value: isinstance(value, str)
        case inspect.IntType():
            return "a whole number", lambda value: isinstance(value, int) and not isinstance(value, bool)
        case inspect.DictType():
            return "an object", lambda value: isinstance(value, dict)
        case inspect.LiteralType(values=values):
            return _listing(map(str, values)), lambda value: isinstance(value, str) and value in values
        case _:
            return None


def _describe(value: object) -> str:
    names: dict[type, str] = {dict: "an object", list: "an array", str: "text", bool: "true or false"}
    names[float] = "a fraction"
    return "null" if value is None else names.get(type(value), "a number")


def _listing(names: Iterable[str]) -> str:
    return " or ".join(f'"{name}"' for name in names)
