"""`Brake`: pauses and stops `send_many()` after a run of workflows that were unknown or not sent.

The module sends nothing and knows no workflow: it counts outcomes and decides whether the next send may
start.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from typing import Literal, cast

import msgspec

from nexmo_dispatch_async.exceptions import APIError, ConfigurationError, SendingStoppedError
from nexmo_dispatch_async.interruption import interrupt

__all__ = ["Brake", "Braking"]

logger: logging.Logger = logging.getLogger("nexmo_dispatch_async")

_REQUEST = "POST /dispatch"


class Brake(msgspec.Struct, frozen=True):
    """Limits after which `send_many()` pauses and stops.

    With a failing service every outcome becomes unknown, and a human has to resolve each of them. The
    brake pauses the sends after a run of such outcomes. After each pause a single workflow is tried: if the
    service accepts or refuses it, all sends resume; otherwise the next pause follows. After the last pause
    the remaining workflows are returned unsent.

    Attributes:
        after: Length of the run of workflows that were unknown or not sent, at least 1. An accepted or
            refused workflow ends a run. Sends in flight are not cancelled, so up to `limit` more may become
            unknown.
        pauses: Length of each pause in seconds; empty to stop at once.
    """

    after: int = 20
    pauses: tuple[float, ...] = (1.0, 5.0, 15.0, 30.0)

    def __post_init__(self) -> None:
        # As object: callers without type checking may pass any value.
        after, pauses = cast("object", self.after), cast("object", self.pauses)
        if not isinstance(after, int) or isinstance(after, bool) or after < 1:
            raise ConfigurationError(f"Brake.after must be a whole number of at least 1, not {after!r}")
        if not isinstance(pauses, tuple) or not all(
            isinstance(each, int | float) and 0 <= each < math.inf
            for each in cast("tuple[object, ...]", pauses)
        ):
            raise ConfigurationError(f"Brake.pauses must be a tuple of seconds of at least 0, not {pauses!r}")


class Braking:
    """The state of the brake of one running `send_many()`.

    Args:
        brake: The limits; `None` for no brake.
        pause: Waits for a number of seconds.
    """

    __slots__ = ("_brake", "_changed", "_last", "_pause", "_pauses", "_row", "_state", "_trial")

    def __init__(self, brake: Brake | None, pause: Callable[[float], Awaitable[object]]) -> None:
        self._brake = brake
        self._pause = pause
        # Length of the current run, its last failure, and the number of pauses without success
        self._row = 0
        self._last: APIError | None = None
        self._pauses = 0
        # While the state is "trying", one send pauses and then runs alone
        self._state: _State = "open"
        self._trial = 0
        # Wakes the sends that wait for another state
        self._changed: asyncio.Future[None] | None = None

    async def enter(self) -> int | None:
        """Wait until a send may start; return its ticket for `leave()`, or `None` after the final stop."""
        if self._state == "open":
            return 0
        try:
            while self._is("trying"):
                if self._changed is None:
                    self._changed = asyncio.get_running_loop().create_future()
                # All waiting sends share the future: the cancellation of one must not cancel it.
                await asyncio.shield(self._changed)
            if self._is("holding"):
                return await self._try()
        except BaseException as error:
            interrupt(error, "not_sent", _REQUEST)
            raise
        return None if self._is("stopped") else 0

    async def _try(self) -> int | None:
        pauses = () if self._brake is None else self._brake.pauses
        if self._pauses == len(pauses):
            logger.warning("%s: send_many stops: %s", _REQUEST, self._why())
            self._become("stopped")
            return None
        seconds = pauses[self._pauses]
        logger.warning("%s: send_many pauses for %g s: %s", _REQUEST, seconds, self._why())
        self._trial += 1
        trial = self._trial
        self._become("trying")
        try:
            await self._pause(seconds)
        except BaseException:
            self.abandon(trial)
            raise
        return trial

    def leave(self, trial: int, failure: APIError | None) -> None:
        """Count an outcome of the service.

        Args:
            trial: The ticket that `enter()` returned.
            failure: The error of an unknown or unsent workflow; `None` if the service accepted or refused it.
        """
        if self._brake is None or self._state == "stopped":
            return
        if failure is None:
            self._row = self._pauses = 0
            self._become("open")
            return
        self._row += 1
        self._last = failure
        if self._is_trying(trial):
            self._pauses += 1
            self._become("holding")
        elif self._state == "open" and self._row >= self._brake.after:
            self._become("holding")

    def abandon(self, trial: int) -> None:
        """End a send without an outcome of the service; the next send may try."""
        if self._is_trying(trial):
            self._become("holding")

    def error(self) -> SendingStoppedError:
        """Return the error of a workflow that is not sent after the stop."""
        return SendingStoppedError(
            f"{_REQUEST}: not tried: send_many stopped, {self._why()}",
            request=_REQUEST,
            phase="connect",
            attempts=0,
        )

    def _why(self) -> str:
        last = "" if self._last is None else self._last.message
        return f"{self._row} in a row were unknown or not sent, the last one: {last}"

    def _is(self, state: _State) -> bool:
        # A function, since type checkers do not expect the state to change during an await.
        return self._state == state

    def _is_trying(self, trial: int) -> bool:
        return self._state == "trying" and trial == self._trial

    def _become(self, state: _State) -> None:
        self._state = state
        if self._changed is not None and state != "trying":
            self._changed.set_result(None)
            self._changed = None


_State = Literal["open", "holding", "trying", "stopped"]
