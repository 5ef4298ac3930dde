"""Without a running event loop of asyncio, as under trio, everything that needs one says so."""

from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from nexmo_dispatch_async.auth import KpnOAuth
from nexmo_dispatch_async.client import DispatchClient
from nexmo_dispatch_async.exceptions import ConfigurationError, DispatchError
from nexmo_dispatch_async.simulator import Simulator
from nexmo_dispatch_async.workflow import Workflow
from nexmo_dispatch_webhooks import ConfigurationError as ReceiverConfigurationError
from nexmo_dispatch_webhooks import Router
from nexmo_dispatch_webhooks.inbox import MemoryInbox, SqliteInbox


def client() -> DispatchClient:
    auth = KpnOAuth("id", "client-secret", "http://127.0.0.1:1/token")
    return DispatchClient(auth=auth, application_id="app", base_url="http://127.0.0.1:1")


def run_by_hand(coroutine: Coroutine[Any, Any, object]) -> object:
    """Run a coroutine as trio would: asyncio knows nothing of it."""
    try:
        return coroutine.send(None)
    finally:
        coroutine.close()


async def sent_many(workflow: Workflow) -> object:
    return await anext(client().send_many([workflow]))


async def page() -> object:
    return await client().applications.list()


CALLS: dict[str, Callable[[Workflow], Coroutine[Any, Any, object]]] = {
    "async with": lambda _: client().__aenter__(),
    "send": lambda workflow: client().send(workflow),
    "send_many": sent_many,
    "applications": lambda _: page(),
    "Simulator": lambda _: Simulator().__aenter__(),
}


@pytest.mark.parametrize("call", CALLS)
def test_the_sdk_says_that_it_needs_asyncio(workflow: Workflow, call: str) -> None:
    """One error of ours, a setting and no bug: `RuntimeError: no running event loop` names no cure."""
    with pytest.raises(
        ConfigurationError, match=r"^no event loop of asyncio runs: use asyncio\.run"
    ) as caught:
        run_by_hand(CALLS[call](workflow))

    assert isinstance(caught.value, DispatchError)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("kind", [MemoryInbox, SqliteInbox])
def test_an_inbox_says_that_it_needs_asyncio(kind: Any, tmp_path: Any) -> None:
    """Before it opens its file."""
    file = tmp_path / "inbox.db"
    inbox = MemoryInbox() if kind is MemoryInbox else SqliteInbox(file)

    with pytest.raises(ReceiverConfigurationError, match="no event loop of asyncio runs"):
        run_by_hand(inbox.start(Router()))

    assert not file.exists()
