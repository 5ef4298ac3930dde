"""Defaults of arguments and fields are values: help() and error reporters render them with the signature."""

import inspect
import pydoc
from collections.abc import Iterator
from types import BuiltinFunctionType, FunctionType, MappingProxyType, ModuleType

import msgspec
import pytest

from nexmo_dispatch_async import DispatchClient
from tests.test_exports import modules

#: Shown with an address or without a hash, though they are the same for the whole life of the process.
CONSTANT = (FunctionType, BuiltinFunctionType, MappingProxyType, msgspec.Raw)


def is_value(default: object) -> bool:
    """Return whether a default cannot change, and shows no more than the source does."""
    if isinstance(default, msgspec.Struct):
        return default.__struct_config__.frozen
    if isinstance(default, CONSTANT):
        return True
    try:
        hash(default)
    except TypeError:  # a dict, a list, a dataclass that is not frozen, the environment
        return False
    return " at 0x" not in repr(default)  # an open thing, such as a session or a loop


def functions_of(owner: type | ModuleType) -> Iterator[FunctionType]:
    """Yield the functions that a class or a module defines, with those of properties and class methods."""
    for value in vars(owner).values():
        found = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
        if isinstance(found, FunctionType) and found.__module__.startswith("nexmo_dispatch"):
            yield found


def defaults() -> Iterator[tuple[str, object]]:
    """Yield each default of an argument or a field, with its place."""
    for module in modules():
        owners: list[type | ModuleType] = [module]
        owners += [
            each
            for _, each in inspect.getmembers(module, inspect.isclass)
            if each.__module__ == module.__name__
        ]
        for owner in owners:
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
