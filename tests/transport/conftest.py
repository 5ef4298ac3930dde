"""The wires of a client: tests of what happens on the network run over both."""

import inspect

import pytest

from nexmo_dispatch_async.transport import wire_fast_path

WIRES = ("fast path", "session")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the tests of a module with `BOTH_WIRES` once for each wire."""
    module: object = getattr(metafunc, "module", None)  # pytest leaves its type open
    if getattr(module, "BOTH_WIRES", False) and inspect.iscoroutinefunction(metafunc.function):
        metafunc.parametrize("wire", WIRES, indirect=True)


@pytest.hookimpl(tryfirst=True)  # before those that are not asked for are left out
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave scenes on the session's wire over TLS to `make test-long`: each of the two is in a short test."""
    for item in items:
        params: dict[str, object] = getattr(getattr(item, "callspec", None), "params", {})
        if params.get("wire") == "session" and params.get("scene") == "https":
            item.add_marker(pytest.mark.long)


@pytest.fixture(autouse=True)
def wire(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the wire of the clients in a test: that of the usual client, unless parametrised."""
    name: str = getattr(request, "param", WIRES[0])
    if name == "session":
        monkeypatch.setattr(wire_fast_path, "is_supported", _is_unsupported)
    return name


def _is_unsupported(_session: object) -> bool:
    return False
