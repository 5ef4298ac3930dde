"""Ends a command that serves when it is told to: by SIGINT and SIGTERM alike.

Also where SIGINT is ignored from the start, as a shell has it for what a script starts with `&`.
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
    """Turns the first signal into an end in good order; the second ends the process at once.

    Outside of the main thread there are no signals, and whoever runs the command there cancels it.

    Example:
        with Ending() as ending:
            ...  # begin to serve
            await ending.wait()
    """

    def __init__(self) -> None:
        self._told = asyncio.Event()
        self._before: dict[signal.Signals, _Handler] = {}

    def __enter__(self) -> Self:
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            before = signal.getsignal(number)
            try:
                loop.add_signal_handler(number, self._end, number)
            except NotImplementedError:  # on Windows, whose loops hear of no signal
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
        """Return when the process is told to end."""
        await self._told.wait()

    def _end(self, number: int) -> None:
        self._told.set()
        self._stop_listening()
        for each in self._before:
            signal.signal(each, signal.SIG_DFL)
        # last, so that a second signal already finds it so
        show(f"{signal.Signals(number).name}: ending; a second one ends at once", error=True)

    def _stop_listening(self) -> None:
        loop = asyncio.get_running_loop()
        for number in self._before:
            try:
                loop.remove_signal_handler(number)
            except NotImplementedError:
                return
