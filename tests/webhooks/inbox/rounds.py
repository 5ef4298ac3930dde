"""A clock of inboxes that share a store, moved by hand: each step is a round of their housekeeping."""

from __future__ import annotations

import asyncio

__all__ = ["Rounds"]


class Rounds:
    """Clock and sleep that stand still until `step`.

    A task that a step woke comes to rest when it sleeps again, or when it says so where it waits for
    something else.
    """

    def __init__(self, now: float = 1_000_000.0) -> None:
        self.now = now
        self._sleepers: list[tuple[float, asyncio.Future[None], asyncio.Task[object]]] = []
        self._awake: set[asyncio.Task[object]] = set()
        self._rested = asyncio.Event()

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        task = asyncio.current_task()
        assert task is not None
        self._sleepers.append((self.now + seconds, future, task))
        self.rest()
        await future

    def rest(self) -> None:
        """Note that the current task waits."""
        task = asyncio.current_task()
        assert task is not None
        self._note_rest(task)

    def _note_rest(self, task: asyncio.Task[object]) -> None:
        self._awake.discard(task)
        self._rested.set()

    async def step(self, seconds: float, *, times: int = 1) -> None:
        """Let time pass; return when all tasks that woke up are at rest.

        Args:
            seconds: Of one step.
            times: Number of steps.
        """
        for _ in range(times):
            self.now += seconds
            asleep = [one for one in self._sleepers if not one[1].done()]
            self._sleepers = [one for one in asleep if one[0] > self.now]
            for until, future, task in asleep:
                if until <= self.now:
                    self._awake.add(task)
                    task.add_done_callback(self._note_rest)
                    future.set_result(None)
            while self._awake:
                self._rested.clear()
                await self._rested.wait()
