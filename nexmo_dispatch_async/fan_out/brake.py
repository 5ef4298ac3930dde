"""When many sends pause or stop, because one after the other is unknown or not sent.

It sends nothing and knows no workflow: outcomes come in, and whether the next one may go.
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
    """When `send_many()` pauses, and when it stops.

    A service that fails for all makes one outcome after the other unknown, each a matter for a human. The
    brake holds after `after` of them in a row. After each pause one workflow is tried alone: if the service
    takes or refuses it, all go on; if not, the next pause follows. After the last pause everything that is
    left is given back unsent.

    Attributes:
        after: How many in a row that are unknown or not sent, 1 or more. What the service takes or refuses
            ends a row. Those that are under way when the brake takes hold end as they may: their number comes
            on top.
        pauses: The seconds of each pause; empty to stop at once.
    """

    after: int = 20
    pauses: tuple[float, ...] = (1.0, 5.0, 15.0, 30.0)

    def __post_init__(self) -> None:
        # As object: callers without type checking pass anything.
        after, pauses = cast("object", self.after), cast("object", self.pauses)
        if not isinstance(after, int) or isinstance(after, bool) or after < 1:
            raise ConfigurationError(f"Brake.after must be a whole number of at least 1, not {after!r}")
        if not isinstance(pauses, tuple) or not all(
            isinstance(each, int | float) and 0 <= each < math.inf
            for each in cast("tuple[object, ...]", pauses)
        ):
            raise ConfigurationError(f"Brake.pauses must be a tuple of seconds of at least 0, not {pauses!r}")


class Braking:
    """The brake of one `send_many()`, while it runs.

    Args:
        brake: When to hold; `None` for never.
        pause: How to wait, in seconds.
    """

    __slots__ = ("_brake", "_changed", "_last", "_pause", "_pauses", "_row", "_state", "_trial")

    def __init__(self, brake: Brake | None, pause: Callable[[float], Awaitable[object]]) -> None:
        self._brake = brake
        self._pause = pause
        # How many in a row and the last of them; how many pauses were of no use
        self._row = 0
        self._last: APIError | None = None
        self._pauses = 0
        # Where it stands. While it is trying, one of those who send pauses and goes alone then
        self._state: _State = "open"
        self._trial = 0
        # Those who wait for it to stand elsewhere
        self._changed: asyncio.Future[None] | None = None

    async def enter(self) -> int | None:
        """Wait while it holds; return what to `leave()` with, or `None` if it has stopped for good."""
        if self._state == "open":
            return 0
        try:
            while self._is("trying"):
                if self._changed is None:
                    self._changed = asyncio.get_running_loop().create_future()
                # The future is shared by all who wait: the cancellation of one must not end it.
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
        """Take an outcome of the service.

        Args:
            trial: What `enter()` returned.
            failure: Why it is unknown or not sent, `None` if the service took or refused the workflow.
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
        """Hear that there is no outcome of the service: the next one may try."""
        if self._is_trying(trial):
            self._become("holding")

    def error(self) -> SendingStoppedError:
        """Return why a workflow that came too late was not sent."""
        return SendingStoppedError(
            f"{_REQUEST}: not tried: send_many stopped, {self._why()}",
            request=_REQUEST,
            phase="connect",
            attempts=0,
        )

    def _why(self) -> str:
        return f"{self._row} in a row were unknown or not sent, the last one: {self._last}"

    def _is(self, state: _State) -> bool:
        # A function, since the state changes while somewhere else is waited for.
        return self._state == state

    def _is_trying(self, trial: int) -> bool:
        return self._state == "trying" and trial == self._trial

    def _become(self, state: _State) -> None:
        self._state = state
        if self._changed is not None and state != "trying":
            self._changed.set_result(None)
            self._changed = None


_State = Literal["open", "holding", "trying", "stopped"]
