"""Fixtures of the tests of campaigns."""

from collections.abc import Iterator

import pytest

from nexmo_dispatch_async.simulator import Simulator
from tests.bulk.service import running_service


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    """A simulator in a thread of its own, and an environment that names it."""
    with running_service(monkeypatch) as sim:
        yield sim
