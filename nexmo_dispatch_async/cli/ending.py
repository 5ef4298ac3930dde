"""Graceful end of a serving command by SIGINT or SIGTERM.

It also works where SIGINT is ignored at the start, as in a process that a script starts with `&`.
"""

import asyncio
import signal
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Final, Self

from nexmo_dispatch_async.cli.screen import show

__all__ = ["Ending"]

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_Handler = Callable[[int, FrameType | None], object] | int | signal.Handlers | None


class Ending:
    """Turns the first signal into a graceful end; a second signal ends the process at once.

    Outside of the main thread there are no signals: a command that runs there is ended by cancellation.

    Example:
        with Ending() as ending:
            ...  # start serving
            await ending.wait()
    """

    def __init__(self) -> None:
        self._signalled = asyncio.Event()
        self._before: dict[signal.Signals, _Handler] = {}

    def __enter__(self) -> Self:
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            before = signal.getsignal(number)
            try:
                loop.add_signal_handler(number, self._end, number)
            except NotImplementedError:  # event loops on Windows have no signal handlers
                signal.signal(number, lambda got, _: loop.call_soon_threadsafe(self._end, got))
            except (RuntimeError, ValueError):  # not the main thread
                return self
            self._before[number] = before
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop_listening()
        for number, before in self._before.items():
            signal.signal(number, before)

    async def wait(self) -> None:
        """Wait for the first signal."""
        await self._signalled.wait()

    def _end(self, number: int) -> None:
        self._signalled.set()
        self._stop_listening()
        for each in self._before:
            signal.signal(each, signal.SIG_DFL)
        # last: a second signal during the output must already end the process
        show(f"{signal.Signals(number).name}: ending; a second one ends at once", error=True)

    def _stop_listening(self) -> None:
        loop = asyncio.get_running_loop()
        for number in self._before:
            try:
                loop.remove_signal_handler(number)
            except NotImplementedError:
                return
