"""The `repr` of an object whose `__init__` raised: the traceback of a failed test shows it."""

import dataclasses
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from typing import cast

import pytest

import nexmo_dispatch_async
import nexmo_dispatch_core
import nexmo_dispatch_webhooks
from nexmo_dispatch_async import ConfigurationError, DispatchClient
from nexmo_dispatch_core.unfinished import shows_unfinished

PACKAGES = (nexmo_dispatch_async, nexmo_dispatch_core, nexmo_dispatch_webhooks)


def classes() -> Iterator[type]:
    """Yield the classes of the packages that have an `__init__` and a `__repr__` of ours, written by hand."""
    roots = tuple(f"{package.__name__}." for package in PACKAGES)
    for package, root in zip(PACKAGES, roots, strict=True):
        for found in pkgutil.walk_packages(package.__path__, root):
            if found.name.endswith("__main__"):
                continue
            module = importlib.import_module(found.name)
            for each in vars(module).values():
                # A dataclass has its fields before anything of ours can raise.
                if (
                    inspect.isclass(each)
                    and each.__module__ == module.__name__
                    and not dataclasses.is_dataclass(each)
                    and all(
                        inspect.isfunction(method) and method.__module__.startswith(roots)
                        for method in (each.__init__, each.__repr__)
                    )
                ):
                    yield each


CLASSES: list[type[object]] = sorted(
    set(classes()), key=lambda each: f"{each.__module__}.{each.__qualname__}"
)


@pytest.mark.parametrize("made", CLASSES, ids=lambda each: f"{each.__module__}.{each.__qualname__}")
def test_an_object_without_attributes_has_a_repr(made: type) -> None:
    """`__init__` may raise before the first attribute: the traceback names the class, and no second error."""
    assert made.__name__ in repr(cast("object", object.__new__(made)))


def test_a_client_with_a_wrong_setting_is_shown() -> None:
    """What pytest shows of the frame of `__init__` is the client, not an error of its `repr`."""
    with pytest.raises(ConfigurationError) as caught:
        DispatchClient.kpn("id", "secret", "app", base_url="ftp://example.com")

    shown = [
        repr(entry.frame.f_locals["self"]) for entry in caught.traceback if "self" in entry.frame.f_locals
    ]
    assert "<DispatchClient: __init__ did not finish>" in shown


def test_a_fault_of_what_an_object_holds_is_not_hidden() -> None:
    """An attribute that another object misses is a fault of the `repr`."""

    class Holder:
        held = object()

        @shows_unfinished
        def __repr__(self) -> str:
            return str(self.held.missing)  # type: ignore[attr-defined]  # on purpose

    with pytest.raises(AttributeError, match="missing"):
        repr(Holder())
