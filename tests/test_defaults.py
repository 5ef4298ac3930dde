"""Defaults of arguments and fields are values: help() and error reporters render them with the signature."""

import dataclasses
import datetime as dt
import inspect
import pydoc
from collections.abc import Iterator
from decimal import Decimal
from enum import Enum
from types import BuiltinFunctionType, EllipsisType, FunctionType, MappingProxyType, ModuleType, NoneType

import msgspec
import pytest

from nexmo_dispatch_async import DispatchClient, Rules
from tests.test_exports import modules

#: Each of them is what it is for the whole life of the process, and shows no more than the source does.
VALUES = (NoneType, bool, int, float, str, bytes, Decimal, dt.timedelta, Enum, EllipsisType)
NAMES = (type, FunctionType, BuiltinFunctionType, msgspec.UnsetType, msgspec.Raw, Rules)
#: What msgspec and dataclasses call for a new object each time.
FACTORIES = ("Factory", "_HAS_DEFAULT_FACTORY_CLASS")


def is_value(default: object) -> bool:
    """Return whether a default cannot change, nor hold what the process has by chance."""
    match default:
        case tuple() | frozenset():
            return all(is_value(each) for each in default)
        case MappingProxyType():
            return all(is_value(each) for each in default.values())
        case msgspec.Struct():
            return default.__struct_config__.frozen
        case _ if dataclasses.is_dataclass(default):
            return default.__dataclass_params__.frozen
        case _:
            return isinstance(default, (*VALUES, *NAMES)) or type(default).__name__ in FACTORIES


def functions_of(owner: type | ModuleType) -> Iterator[FunctionType]:
    """Yield the functions that a class or a module defines, with those of properties and class methods."""
    for value in vars(owner).values():
        found = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
        if isinstance(found, FunctionType) and found.__module__.startswith("nexmo_dispatch"):
            yield found


def defaults() -> Iterator[tuple[str, object]]:
    """Yield each default of an argument or a field, with its place."""
    for module in modules():
        classes = [each for each in vars(module).values() if inspect.isclass(each)]
        for owner in (module, *(each for each in classes if each.__module__ == module.__name__)):
            for default in getattr(owner, "__struct_defaults__", ()):
                yield f"{owner.__name__} of {module.__name__}", default
            for function in functions_of(owner):
                given = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
                yield from ((f"{function.__qualname__} of {function.__module__}", each) for each in given)


def test_no_default_is_a_live_object() -> None:
    """With the environment of the process as a default, whatever shows the signature shows the secrets."""
    found = list(defaults())

    assert len(found) > 1_000
    assert sorted({place for place, default in found if not is_value(default)}) == []


def test_help_shows_nothing_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """`help(DispatchClient)` is pasted into chats and issues."""
    monkeypatch.setenv("NEXMO_DISPATCH_CLIENT_SECRET", "canary-of-the-environment")

    shown = pydoc.plain(pydoc.render_doc(DispatchClient))

    assert "from_env(" in shown
    assert "canary" not in shown
