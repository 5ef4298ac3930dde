"""Reads JSON into the request structs, and names every structural problem when that is not possible.

It looks at shapes only: which members are there and what kind of value they hold. Whether the values are
allowed is judged by `nexmo_dispatch_async.rules`.
"""

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeVar, cast

import msgspec

from nexmo_dispatch_async.exceptions import InvalidWorkflowError
from nexmo_dispatch_async.models.findings import Finding, rule_url

if TYPE_CHECKING:
    from msgspec import inspect

__all__ = ["convert", "decode", "load", "refuse"]

T = TypeVar("T")

# A hostile body can hold a problem per byte; nobody reads more than this.
MAX_FINDINGS = 100


class Place(NamedTuple):
    """Where in the body a value stands: the step (from 1) and the path inside of it."""

    step: int | None = None
    path: str = ""

    def member(self, name: str) -> "Place":
        """The place of a member of the object here."""
        return Place(self.step, f"{self.path}.{name}" if self.path else name)

    def item(self, index: int) -> "Place":
        """The place of an item of the array here; items of the top-level `workflow` are steps."""
        if self.step is None and self.path == "workflow":
            return Place(index + 1)
        return Place(self.step, f"{self.path}[{index}]")


def load(data: bytes | str) -> Any:
    """Decode JSON without a type.

    Raises:
        InvalidWorkflowError: The bytes are not JSON.
    """
    try:
        return msgspec.json.decode(data)
    except RecursionError:
        refuse([_finding("json", Place(), "is nested too deeply")])
    except UnicodeError:
        refuse([_finding("json", Place(), "is not valid UTF-8")])
    except msgspec.DecodeError as error:
        refuse([_finding("json", Place(), f"is not valid JSON: {error}")])


def decode(data: bytes | str, kind: type[T]) -> T:
    """Decode JSON into a struct.

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
    try:
        return msgspec.convert(value, kind)
    except (msgspec.ValidationError, RecursionError) as error:
        findings = problems(value, kind, step=step)
        # The walk and msgspec read the same type; should they ever disagree, its words are better than none.
        refuse(findings or [_finding("type", Place(step), str(error))])


def problems(value: object, kind: type[Any], *, step: int | None = None) -> list[Finding]:
    """Every structural problem that keeps a JSON value from being a `kind`."""
    from msgspec import inspect  # slow to import, and needed for bad input only

    walk = _Walk(inspect)
    walk.check(value, inspect.type_info(kind), Place(step))
    return walk.findings


def refuse(findings: list[Finding]) -> NoReturn:
    """Raise the error that carries these findings."""
    raise InvalidWorkflowError(findings) from None


def _finding(rule: str, place: Place, message: str) -> Finding:
    return Finding(rule, "error", place.step, place.path, message, rule_url(rule))


class _Walk:
    """Compares a JSON value with what `msgspec.inspect` says about a type."""

    def __init__(self, inspect: Any) -> None:
        self.findings: list[Finding] = []
        self.inspect = inspect
        self.scalars: dict[type, tuple[str, Callable[[object], bool]]] = {
            inspect.StrType: ("text", lambda value: isinstance(value, str)),
            inspect.IntType: ("a whole number", _is_int),
            inspect.DictType: ("an object", lambda value: isinstance(value, dict)),
        }

    def add(self, rule: str, place: Place, message: str) -> None:
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(_finding(rule, place, message))

    def check(self, value: object, info: "inspect.Type", place: Place) -> None:
        inspect = self.inspect
        choices: tuple[inspect.Type, ...] = info.types if isinstance(info, inspect.UnionType) else (info,)
        structs = [choice for choice in choices if isinstance(choice, inspect.StructType)]
        lists = [choice for choice in choices if isinstance(choice, inspect.VarTupleType)]
        scalars = [self.scalars[type(choice)] for choice in choices if type(choice) in self.scalars]
        scalars += [
            (_listing(choice.values), choice.values.__contains__)
            for choice in choices
            if isinstance(choice, inspect.LiteralType)
        ]
        if isinstance(value, dict) and structs:
            self.object(cast("dict[str, object]", value), structs, place)
        elif isinstance(value, list) and lists:
            for index, item in enumerate(cast("list[object]", value)):
                self.check(item, lists[0].item_type, place.item(index))
        elif not any(fits(value) for _, fits in scalars):
            expected = (
                ["an object"] * bool(structs) + ["an array"] * bool(lists) + [name for name, _ in scalars]
            )
            self.add("type", place, f"must be {' or '.join(expected)}, not {_kind(value)}")

    def object(self, value: dict[str, object], structs: list[Any], place: Place) -> None:
        members = dict(value)
        struct = structs[0]
        if struct.tag_field is not None:
            tags = {choice.tag: choice for choice in structs}
            here = place.member(struct.tag_field)
            tag = members.pop(struct.tag_field, None)
            struct = tags.get(tag) if isinstance(tag, str) else None
            if struct is None:
                # Without a known type nothing can be said about the other members.
                self.add("required" if tag is None else "type", here, f"must be {_listing(tags)}")
                return
        fields = {item.encode_name: item for item in struct.fields}
        for name, item in fields.items():
            if name in members:
                self.check(members[name], item.type, place.member(name))
            elif item.required:
                self.add("required", place.member(name), "is missing")
        for name in members.keys() - fields.keys():
            near = get_close_matches(name[:60], fields, n=1)
            hint = f"; did you mean `{near[0]}`?" if near else f"; known here: {', '.join(fields)}"
            self.add("unknown-member", place.member(name[:60]), f"is not a member of this object{hint}")


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _kind(value: object) -> str:
    names = {dict: "an object", list: "an array", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def _listing(names: Iterable[str]) -> str:
    return " or ".join(f'"{name}"' for name in names)
