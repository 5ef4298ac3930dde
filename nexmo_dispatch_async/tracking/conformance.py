"""The promises of every store of a tracker, as tests that any store passes unchanged, your own included.

It needs pytest and pytest-asyncio, with `asyncio_mode = "auto"`. Subclass `TrackingStoreConformance`, and for
a store whose ages go by *now* of its calls `TrackingAgeConformance` too, with a fixture `store`. A store that
deletes now and then has to do so at each call in these tests:

    class TestMyStore(TrackingStoreConformance):
        @pytest.fixture
        async def store(self, tmp_path): yield MyStore(tmp_path / "tracking.db")
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from nexmo_dispatch_async.models.results import Money
from nexmo_dispatch_async.tracking.reducer import (
    MessageFacts,
    PlannedStep,
    ReportedEntry,
    ReportFacts,
    StatusFacts,
    WorkflowState,
)
from nexmo_dispatch_async.tracking.store import TrackingRetention, TrackingStore

__all__ = ["TrackingAgeConformance", "TrackingStoreConformance"]

_RETENTION = TrackingRetention(ended=100, open=1000, unclaimed=10, max_unclaimed=3)
_START = datetime(2025, 3, 11, 8, 21, tzinfo=UTC)


async def add(store: TrackingStore, state: WorkflowState, now: float = 0) -> WorkflowState:
    """Merge facts at a time, in seconds."""
    return await store.merge(state, now=now, retention=_RETENTION)


async def known(store: TrackingStore, dispatch_uuid: str) -> WorkflowState:
    """Return what a store knows of a workflow; asking at the beginning of time deletes nothing."""
    return await add(store, WorkflowState(dispatch_uuid))


def heard(dispatch_uuid: str, message: str, **statuses: float) -> WorkflowState:
    """Return a workflow whose callbacks told statuses of one message, each some seconds after the start."""
    facts = {name: StatusFacts(at=_START + timedelta(seconds=at)) for name, at in statuses.items()}
    return WorkflowState(dispatch_uuid, messages={message: MessageFacts(channel="sms", statuses=facts)})


def unclaimed(dispatch_uuid: str) -> WorkflowState:
    """Return a workflow without a follower, of which there was one callback."""
    return heard(dispatch_uuid, "m", submitted=0)


def followed(dispatch_uuid: str) -> WorkflowState:
    """Return a workflow with a follower."""
    return WorkflowState(dispatch_uuid, followed=True)


def ended(dispatch_uuid: str) -> WorkflowState:
    """Return a workflow whose final report has arrived."""
    return WorkflowState(dispatch_uuid, followed=True, report=ReportFacts(at=_START, status="completed"))


class TrackingStoreConformance:
    """The promises that do not depend on ages. It needs a fixture `store`, of type `TrackingStore`."""

    async def test_it_returns_everything_that_it_was_told(self, store: TrackingStore) -> None:
        """All kinds of facts are merged, and come back as they were."""
        plan = (PlannedStep("whatsapp", "0a1b", until="read"), PlannedStep("sms", "0a1b"))
        entry = ReportedEntry("m", "sms", "delivered", Money(Decimal("0.1"), "EUR"))
        price = StatusFacts(at=_START, price=Money(Decimal("0.10"), "EUR"), code=1300)
        one = WorkflowState("w", followed=True, plan=plan)
        two = WorkflowState("w", messages={"m": MessageFacts(channel="sms", statuses={"rejected": price})})
        three = heard("w", "m", submitted=0, read=9)
        four = WorkflowState(
            "w", report=ReportFacts(_START, "completed", Money(Decimal("0.1"), "EUR"), (entry,))
        )
        expected = WorkflowState("w")

        for told in (one, two, three, four):
            expected = expected.merge(told)
            assert await add(store, told) == expected

        assert await known(store, "w") == expected

    async def test_asking_about_an_unknown_workflow_leaves_nothing(self, store: TrackingStore) -> None:
        """Asking makes no workflow that would take room."""
        assert await known(store, "never heard of") == WorkflowState("never heard of")

        for number in range(3):
            await add(store, unclaimed(f"heard {number}"), now=number)

        assert [bool((await known(store, f"heard {n}")).messages) for n in range(3)] == [True] * 3

    async def test_facts_that_are_told_at_the_same_instant_are_all_kept(self, store: TrackingStore) -> None:
        """Forty callbacks of one workflow: no fact overwrites another."""
        await asyncio.gather(
            *(add(store, heard("w", f"m{number}", delivered=number)) for number in range(40))
        )

        assert len((await known(store, "w")).messages) == 40

    async def test_the_oldest_unclaimed_workflows_go_first(self, store: TrackingStore) -> None:
        """A flood of events of unknown workflows takes bounded room, and none that is followed."""
        await add(store, followed("mine"), now=0)

        for number in range(6):
            await add(store, unclaimed(f"flood {number}"), now=number)

        left = [n for n in range(6) if (await known(store, f"flood {n}")).messages]
        assert left == [3, 4, 5]
        assert (await known(store, "mine")).followed

    async def test_what_is_claimed_in_time_stays(self, store: TrackingStore) -> None:
        """The callback beat the 202: it counts once the workflow is followed."""
        await add(store, unclaimed("early"), now=0)
        await add(store, followed("early"), now=9)

        for number in range(6):
            await add(store, unclaimed(f"flood {number}"), now=50)

        assert "m" in (await known(store, "early")).messages


class TrackingAgeConformance:
    """The promises of a store whose ages go by *now*, and not by a clock of its own."""

    async def test_each_kind_is_kept_for_its_time(self, store: TrackingStore) -> None:
        """As long as `TrackingRetention` says."""
        for state in (unclaimed("u"), followed("o"), ended("e")):
            await add(store, state, now=0)

        left: dict[int, str] = {}
        for now in (11, 101, 1001):
            await add(store, followed(f"tick {now}"), now=now)
            left[now] = "".join([name for name in "uoe" if await known(store, name) != WorkflowState(name)])

        assert left == {11: "oe", 101: "o", 1001: ""}

    async def test_news_start_the_time_anew(self, store: TrackingStore) -> None:
        """Late statuses come for a day (contract 3.6, 5.10)."""
        await add(store, ended("e"), now=0)
        await add(store, unclaimed("e"), now=90)

        await add(store, followed("tick"), now=150)

        assert (await known(store, "e")).report is not None
