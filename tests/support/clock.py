"""A clock for tests, which moves by `sleep` or when the test moves it."""

import asyncio


class Time:
    """Give it as `clock` and `sleep`; `slept` are the requested sleeps."""

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
