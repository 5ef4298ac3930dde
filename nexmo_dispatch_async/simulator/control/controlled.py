"""`ControlledSimulator`: what the control API calls of a simulator, so that it imports none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from nexmo_dispatch_async.simulator.world.applications import SimulatedApplication
from nexmo_dispatch_async.simulator.world.faults import Faults

__all__ = ["ControlledSimulator"]


class ControlledSimulator(Protocol):
    """The part of a `Simulator` that routes call; see there."""

    faults: Faults
    client_id: str
    client_secret: str
    api_key: str
    signature_secret: str

    @property
    def applications(self) -> list[SimulatedApplication]:
        """All applications, oldest first."""
        ...

    @property
    def default_application(self) -> SimulatedApplication | None:
        """The application that is meant if none is named."""
        ...

    @property
    def now(self) -> float:
        """Virtual seconds since the start."""
        ...

    @property
    def speed(self) -> float | None:
        """Virtual seconds per real second; None while time is moved by hand."""
        ...

    @speed.setter
    def speed(self, speed: float) -> None: ...

    async def advance(self, seconds: float, *, settle: float = 5.0) -> None:
        """Advance the clock."""

    async def advance_until_idle(self, *, limit: float = 172_800.0) -> bool:
        """Advance the clock until nothing is due; return whether the simulator is idle."""
        ...

    def expire_tokens(self) -> None:
        """Expire all access tokens."""

    def set_status(self, message_uuid: str, status: str, *, code: int | None = None) -> None:
        """Give a message a status."""

    def reply(self, message_uuid: str, content: str | Mapping[str, object]) -> None:
        """Let the recipient of a message reply."""

    def inbound(
        self,
        content: str | Mapping[str, object],
        *,
        channel: str,
        from_: str,
        to: str,
        application: SimulatedApplication | None = None,
    ) -> None:
        """Let a customer write."""

    def clear(self) -> None:
        """Forget all workflows, records and callbacks."""

    def transcript(self) -> bytes:
        """Return the history as JSON lines."""
        ...
