"""The public names: sorted, true, and importable from the top of each package."""

import importlib
import os
import pkgutil
import subprocess
import sys
from types import ModuleType

import pytest

PACKAGES = ["nexmo_dispatch_async", "nexmo_dispatch_webhooks"]


def modules() -> list[ModuleType]:
    found: list[ModuleType] = []
    for package in (*PACKAGES, "nexmo_dispatch_core"):
        root = importlib.import_module(package)
        found.append(root)
        names = [info.name for info in pkgutil.walk_packages(root.__path__, prefix=package + ".")]
        found.extend(importlib.import_module(name) for name in names if not name.endswith("__main__"))
    return found


@pytest.mark.parametrize("name", PACKAGES)
def test_all_is_sorted_and_true(name: str) -> None:
    """`__all__` is a table of contents: sorted, no duplicates, nothing that is not there."""
    package = importlib.import_module(name)

    exported: list[str] = package.__all__

    assert exported == sorted(set(exported))
    assert [public for public in exported if not hasattr(package, public)] == []


@pytest.mark.parametrize("name", PACKAGES)
def test_no_public_name_is_forgotten(name: str) -> None:
    """Every public name at the top of a package is in its `__all__`."""
    package = importlib.import_module(name)

    public = {
        key
        for key, value in vars(package).items()
        if not key.startswith("_") and (not isinstance(value, ModuleType) or key in package.__all__)
    }

    assert public - set(package.__all__) == set()


def test_declared_names_exist_everywhere() -> None:
    """Every name in any module's `__all__` exists in it."""
    missing = [
        f"{module.__name__}.{name}"
        for module in modules()
        for name in getattr(module, "__all__", ())
        if not hasattr(module, name)
    ]

    assert missing == []


def loaded_by(package: str) -> set[str]:
    """Return the modules that a fresh process has after importing a package."""
    code = f"import sys, {package}; print(*sorted(sys.modules))"
    # The measurement of coverage brings modules of its own into subprocesses.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return set(done.stdout.split())


@pytest.mark.parametrize("module", ["nexmo_dispatch_async", "nexmo_dispatch_async.client"])
def test_import_is_light(module: str) -> None:
    """Neither the package nor its client loads the simulator, the command line or sqlite."""
    loaded = loaded_by(module)

    heavy = {"nexmo_dispatch_async.simulator", "nexmo_dispatch_async.cli", "nexmo_dispatch_webhooks"}
    assert heavy & loaded == set()
    assert {"sqlite3", "typer", "rich", "jwt", "cryptography"} & loaded == set()


def test_what_few_need_is_imported_at_its_first_use() -> None:
    """The names of the table of contents that would make the import slower."""
    package = "nexmo_dispatch_async"
    lazy = {f"{package}.{name}" for name in ("client", "care_window", "tariff")}

    assert lazy & loaded_by(package) == set()
    with pytest.raises(AttributeError, match="no attribute 'Tarif'"):
        importlib.import_module(package).Tarif  # noqa: B018 - the access is the test


def test_the_command_line_starts_light() -> None:
    """Each command imports what it needs: campaigns and aiohttp made all of them slow to start."""
    loaded = loaded_by("nexmo_dispatch_async.cli.app")

    assert {f"nexmo_dispatch_async.{name}" for name in ("bulk", "client", "simulator")} & loaded == set()
    assert {"aiohttp", "sqlite3", "jwt", "cryptography"} & loaded == set()


def test_receiver_core_needs_no_aiohttp() -> None:
    """`import nexmo_dispatch_webhooks` loads no aiohttp, SDK or sqlite; an adapter is imported by name."""
    loaded = loaded_by("nexmo_dispatch_webhooks")

    assert {"aiohttp", "nexmo_dispatch_async", "sqlite3"} & loaded == set()
