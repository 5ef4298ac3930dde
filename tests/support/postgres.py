"""Fixtures of a real Postgres server: one for each worker of pytest, and an empty database for each test."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest

from tests.support.postgres_server import PostgresServer, binaries
from tests.support.started import started

__all__ = ["database", "databases", "postgres", "postgres_pair"]

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A running server."""
    if binaries() is None:
        pytest.skip("there is no Postgres server: install the package `postgresql`")
    with started(PostgresServer()) as server:
        yield server


@pytest.fixture
def databases(postgres: PostgresServer) -> Iterator[Callable[[], str]]:
    """Make empty databases, and return their URLs."""
    made: list[str] = []

    def make() -> str:
        made.append(f"test_{next(_numbers)}")
        postgres.sql(f"CREATE DATABASE {made[-1]}")
        return postgres.dsn(made[-1])

    yield make
    for name in made:
        postgres.sql(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def database(databases: Callable[[], str]) -> str:
    """Return the URL of an empty database."""
    return databases()


@pytest.fixture
def postgres_pair() -> Iterator[list[PostgresServer]]:
    """A primary, and a standby that each of its commits waits for."""
    if binaries() is None:
        pytest.skip("there is no Postgres server: install the package `postgresql`")
    with started(PostgresServer()) as primary, started(PostgresServer(source=primary)) as standby:
        primary.sql("ALTER SYSTEM SET synchronous_standby_names = '*'")
        primary.sql("SELECT pg_reload_conf()")
        yield [primary, standby]
