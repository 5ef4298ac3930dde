"""A clock for tests: it moves when somebody sleeps by it, or when the test says so."""

import asyncio


class Time:
    """Give it as `clock` and `sleep`; `slept` are the waits that somebody asked for."""

    started = 1000.0

    def __init__(self) -> None:
        self.now = self.started
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)
