"""Any sequence of calls, against a model: states go only where they may, and counts equal a recount."""

from __future__ import annotations

import asyncio
import itertools
import tempfile
from collections.abc import Awaitable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from nexmo_dispatch_async.bulk.ledger.conformance_claims import (
    NOW,
    SMS,
    WHATSAPP,
    assert_recount,
    person,
    uuid_of,
)
from nexmo_dispatch_async.bulk.ledger.jetstream import JetStreamLedger
from nexmo_dispatch_async.bulk.ledger.memory import MemoryLedger
from nexmo_dispatch_async.bulk.ledger.records import Cap, Claimed, ClaimRequest, News, Result, State
from nexmo_dispatch_async.bulk.ledger.sqlite import SqliteLedger

T = TypeVar("T")
#: Where a row may go within one call, by what the call was.
_MAY: dict[str, set[tuple[State, State]]] = {
    "add": set(),
    "claim": {("pending", "sending"), ("pending", "skipped")},
    "record": {
        *(("sending", state) for state in ("sent", "refused", "unknown")),
        ("unknown", "refused"),
        *((state, "sent") for state in ("pending", "refused", "unknown", "skipped")),
    },
    "reap": {("sending", "unknown"), ("sending", "sent")},
    "observe": {(state, "sent") for state in ("pending", "refused", "unknown", "skipped")},
    "resend of unknown": {("unknown", "pending")},
    "resend of refused": {("refused", "pending")},
    "drop of unknown": {("unknown", "skipped")},
    "drop of pending": {("pending", "skipped")},
    "expire": {("pending", "skipped")},
    "forget": set(),
}
IDS = st.integers(1, 12)
TIMES = st.integers(0, 9).map(lambda n: NOW + n)


class LedgerMachine(RuleBasedStateMachine):
    """Calls of a ledger in any order; the model is the state of each row, and which claims are open."""

    #: A `Ledger` or twins, of any type then; None until `begin`, before which Hypothesis may end an example.
    ledger: Any = None

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.states: dict[int, State] = {}
        self.claims: list[Claimed] = []
        self.posts: dict[int, int] = {}
        self.allowed: dict[int, int] = {}
        self.proven: set[int] = set()
        self.opted_out: set[str] = set()

    def run(self, call: Awaitable[T]) -> T:
        async def done() -> T:
            return await call

        return self.loop.run_until_complete(done())

    async def open(self) -> Any:
        return MemoryLedger(clock=lambda: NOW)

    @initialize()
    def begin(self) -> None:
        self.ledger = self.run(self.open())

    async def close(self) -> None:
        await self.ledger.aclose()

    def teardown(self) -> None:
        if self.ledger is not None:
            self.run(self.close())
        self.loop.close()

    def changed(self, call: str, back: frozenset[int] = frozenset()) -> None:
        """Hold every change of the call against what is allowed; *back* may go from sending to pending."""
        rows = self.run(self.ledger.scan(limit=1000))
        for row in rows:
            before = self.states.get(row.id)
            if before is not None and before != row.state and not (row.id in back and row.state == "pending"):
                moves = _MAY[call] | (_MAY["claim"] if call == "wave" else set())
                assert (before, row.state) in moves, (call, row.id)
        self.states = {row.id: row.state for row in rows}

    @rule(numbers=st.lists(st.integers(0, 11), max_size=6), data=st.data())
    def add(self, numbers: list[int], data: st.DataObject) -> None:
        rows = [
            person(
                n // 2,
                key=str(n),
                bucket=data.draw(st.sampled_from([SMS, WHATSAPP])),
                zone=data.draw(st.sampled_from(["", "Asia/Tokyo"])),
                not_before=data.draw(st.sampled_from([0.0, NOW + 3])),
                expires=data.draw(st.sampled_from([NOW + 5, NOW + 99])),
                skip=data.draw(st.sampled_from([None, None, None, "hold_out"])),
            )
            for n in numbers
        ]
        added = self.run(self.ledger.add(rows))
        assert added.added + len(added.duplicates) == len(rows)
        self.changed("add")

    @rule(limit=st.integers(0, 4), now=TIMES, data=st.data())
    def claim(self, limit: int, now: float, data: st.DataObject) -> None:
        request = ClaimRequest(
            limit=limit,
            now=now,
            buckets=data.draw(st.sampled_from([None, {SMS: 1}, {SMS: 2, WHATSAPP: 1}])),
            closed_zones=data.draw(st.sampled_from([frozenset[str](), frozenset({"Asia/Tokyo"})])),
            cap=data.draw(
                st.sampled_from([Cap(messages=1, window=4, over="defer"), Cap(messages=1, window=4)])
            ),
        )
        claimed = self.run(self.ledger.claim(request))
        assert len(claimed) <= limit
        assert [row.id for row in claimed] == sorted(row.id for row in claimed)
        for row in claimed:
            assert self.states[row.id] == "pending"
            assert row.id not in self.proven, "messaged after a result told that it was sent"
            assert row.address not in self.opted_out
            assert request.buckets is None or row.bucket in request.buckets
            self.posts[row.id] = self.posts.get(row.id, 0) + 1
            assert self.posts[row.id] <= 1 + self.allowed.get(row.id, 0), "messaged twice"
        self.claims += claimed
        self.changed("claim")

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), at=TIMES)
    def record(self, data: st.DataObject, at: float) -> None:
        chosen = data.draw(st.lists(st.sampled_from(self.claims), max_size=4, unique_by=lambda row: row.id))
        results: list[Result] = []
        back: set[int] = set()
        known = {row.id: row for row in self.run(self.ledger.scan(limit=1000))}
        for row in chosen:
            state: Any = data.draw(st.sampled_from(["sent", "refused", "unknown", "pending"]))
            uuid = uuid_of(row.id) if state == "sent" else ""
            code = "1240" if state == "refused" and data.draw(st.booleans()) else ""
            attempts = row.attempts
            results.append(
                Result(id=row.id, state=state, at=at, attempts=attempts, dispatch_uuid=uuid, code=code)
            )
            current = known[row.id].attempts == row.attempts and self.states[row.id] == "sending"
            if state == "pending" and current and known[row.id].news is None:
                back.add(row.id)
                self.allowed[row.id] = self.allowed.get(row.id, 0) + 1
        self.run(self.ledger.record(results))
        self.proven.update(told.id for told in results if told.state == "sent")
        self.changed("record", frozenset(back))

    @rule(row_id=IDS, at=TIMES, by_ref=st.booleans(), reached=st.sampled_from(["", "delivered", "read"]))
    def observe(self, row_id: int, at: float, by_ref: bool, reached: str) -> None:
        ref = f"{self.ledger.reference}-{row_id}" if by_ref else ""
        cost = "0.0500" if reached else ""
        news = News(dispatch_uuid=uuid_of(row_id), client_ref=ref, at=at, reached=reached, cost=cost)
        self.run(self.ledger.observe([news]))
        self.changed("observe")
        assert self.run(self.ledger.observe([news])).changed == 0

    @rule()
    def reap(self) -> None:
        assert self.run(self.ledger.reap()) == list(self.states.values()).count("sending")
        self.changed("reap")

    @rule(ids=st.lists(IDS, max_size=3), state=st.sampled_from(["unknown", "refused"]))
    def resend(self, ids: list[int], state: str) -> None:
        self.run(self.ledger.resend(ids, state=state))
        before = dict(self.states)
        self.changed(f"resend of {state}")
        for row_id, now in self.states.items():
            if now != before[row_id]:
                self.allowed[row_id] = self.allowed.get(row_id, 0) + 1

    @rule(ids=st.lists(IDS, max_size=2), state=st.sampled_from(["unknown", "pending"]))
    def drop(self, ids: list[int], state: str) -> None:
        chosen = [row_id for row_id in set(ids) if self.states.get(row_id) == state]
        assert self.run(self.ledger.drop(ids, state=state)) == len(chosen)
        self.changed(f"drop of {state}")

    @rule(now=TIMES, limit=st.integers(1, 3))
    def expire(self, now: float, limit: int) -> None:
        assert self.run(self.ledger.expire(now, limit=limit)) <= limit
        self.changed("expire")

    @rule(before=TIMES)
    def forget(self, before: float) -> None:
        gone = {row.id for row in self.run(self.ledger.scan(limit=1000)) if row.address}
        count = self.run(self.ledger.forget(before))
        gone -= {row.id for row in self.run(self.ledger.scan(limit=1000)) if row.address}
        assert len(gone) == count
        self.changed("forget")

    @rule(number=st.integers(0, 5))
    def opt_out(self, number: int) -> None:
        opt_outs: Any = getattr(self.ledger, "opt_outs")  # noqa: B009 - not of the protocol
        self.run(opt_outs.suppress(person(number).address))
        self.opted_out.add(person(number).address)

    @invariant()
    def counts_equal_a_recount(self) -> None:
        if self.ledger is not None:
            self.run(assert_recount(self.ledger))


class Twins:
    """A ledger in a file beside one in memory: whatever is asked, both answer the same."""

    def __init__(self, file: SqliteLedger | JetStreamLedger, memory: MemoryLedger) -> None:
        self.file, self.memory = file, memory
        self.reference = memory._reference = file.reference
        self.opt_outs = Both(file.opt_outs, memory.opt_outs)

    def __getattr__(self, name: str) -> Any:
        return getattr(Both(self.file, self.memory), name)


class Both:
    """Calls one method of two objects."""

    def __init__(self, one: Any, other: Any) -> None:
        self.one, self.other = one, other

    def __getattr__(self, name: str) -> Any:
        async def call(*arguments: Any, **more: Any) -> Any:
            first = await getattr(self.one, name)(*arguments, **more)
            second = await getattr(self.other, name)(*arguments, **more)
            assert first == second, name
            return first

        return call


class JetStreamMachine(LedgerMachine):
    """The same on JetStream, beside one in memory; other processes take over in between as well."""

    url = ""
    numbers = itertools.count()

    def __init__(self) -> None:
        super().__init__()
        self.name = f"campaign {next(self.numbers)}"
        self.memory = MemoryLedger(clock=lambda: NOW)

    async def open(self) -> Any:
        ledger = await JetStreamLedger.open(self.url, self.name, accept_loss=True, clock=lambda: NOW)
        return Twins(ledger, self.memory)

    @rule()
    def restart(self) -> None:
        """What was in flight is unknown; all else is as it was."""
        self.run(self.ledger.file.aclose())
        self.run(self.memory.reap())
        self.begin()
        self.changed("reap")
        assert "sending" not in self.states.values()

    async def close(self) -> None:
        await self.ledger.file.aclose()


class SqliteMachine(LedgerMachine):
    """The same in a file, beside one in memory; it is closed and opened in between as well."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(dir=_MEMORY)
        self.memory = MemoryLedger(clock=lambda: NOW)

    async def open(self) -> Any:
        file = await SqliteLedger.open(Path(self.folder.name) / "a.db", clock=lambda: NOW)
        return Twins(file, self.memory)

    @rule()
    def restart(self) -> None:
        """What was in flight is unknown; all else is as it was."""
        self.run(self.ledger.file.aclose())
        self.run(self.memory.reap())
        self.begin()
        self.changed("reap")
        assert "sending" not in self.states.values()

    def teardown(self) -> None:
        super().teardown()
        self.folder.cleanup()


#: A disk in memory, where there is one: this test is about states, not about syncs.
_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - a folder of its own within


@pytest.mark.parametrize("examples", [10, pytest.param(60, marks=pytest.mark.long)])
def test_any_calls_keep_the_promises_in_memory(examples: int) -> None:
    """Whatever is called in whatever order, a row goes from state to state as the table says."""
    run_state_machine_as_test(
        LedgerMachine, settings=settings(max_examples=examples, stateful_step_count=40, deadline=None)
    )


@pytest.mark.timeout(120)
@pytest.mark.parametrize("examples", [4, pytest.param(20, marks=pytest.mark.long)])
def test_any_calls_keep_the_promises_in_a_file(examples: int) -> None:
    """The same in a file, with restarts, and the same answers as in memory."""
    run_state_machine_as_test(
        SqliteMachine, settings=settings(max_examples=examples, stateful_step_count=30, deadline=None)
    )


@pytest.mark.engines
@pytest.mark.timeout(120)
@pytest.mark.parametrize("examples", [6, pytest.param(25, marks=pytest.mark.long)])
def test_any_calls_keep_the_promises_on_jetstream(examples: int, nats_url: str) -> None:
    """The same on JetStream, with other processes that take over, and the same answers as in memory."""
    JetStreamMachine.url = nats_url
    run_state_machine_as_test(
        JetStreamMachine, settings=settings(max_examples=examples, stateful_step_count=25, deadline=None)
    )
