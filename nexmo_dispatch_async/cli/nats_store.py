"""A space on NATS JetStream for `nexmo-dispatch doctor`: its servers, its streams."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from nexmo_dispatch_async.bulk.ledger.places import split_url
from nexmo_dispatch_async.exceptions import ConfigurationError, DispatchError
from nexmo_dispatch_core.findings import Finding, bad

__all__ = ["examine_store"]


class _StoreError(DispatchError):
    """The servers cannot be used; the message names neither user nor password."""


async def examine_store(store: str) -> list[Finding]:
    """Return what may go wrong with a space, each finding with its cure.

    Args:
        store: The URL of the space.

    Raises:
        DispatchError: No server can be reached, the URL cannot be read, or the server is too old.
    """
    if find_spec("nats") is None:
        cure = "pip install 'nexmo-dispatch-async[nats]' where this program runs"
        return [bad("dependency-missing", "a store on NATS needs nats-py, which is not installed", cure)]
    from nexmo_dispatch_core.jetstream.connection import Connection
    from nexmo_dispatch_core.jetstream.examination import examine

    try:
        connection = Connection(split_url(store)[0], error=_error, name="nexmo-dispatch doctor", timeout=5.0)
    except ValueError as error:
        raise ConfigurationError(str(error)) from None
    await connection.open()
    try:
        return await examine(connection)
    finally:
        await connection.aclose()


def _error(failure: Any) -> _StoreError:  # Any: a class that needs nats-py
    return _StoreError(failure.text)
