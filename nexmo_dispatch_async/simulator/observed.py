"""The read-only half of `Simulator`: counts, records, outcomes, the transcript.

It changes nothing; the clock, the server and manual control are in `simulator.py`.
"""

from __future__ import annotations

from collections import Counter

from nexmo_dispatch_async.simulator.api.server import Server
from nexmo_dispatch_async.simulator.api.service import Service
from nexmo_dispatch_async.simulator.engine import Engine
from nexmo_dispatch_async.simulator.world.history import CallbackAttempt, Record, RequestSeen, StepSent

__all__ = ["Observed"]


class Observed:
    """Read-only properties of a `Simulator`."""

    _engine: Engine
    _service: Service
    _server: Server

    @property
    def counts(self) -> Counter[str]:
        """Number of requests by route: `counts["POST /dispatch"]`, `counts["GET /applications"]`."""
        return self._service.counts

    @property
    def tokens_issued(self) -> int:
        """Number of access tokens issued."""
        return self._service.gateway.tokens.issued

    @property
    def accepted(self) -> int:
        """Number of workflows accepted."""
        return self._engine.accepted

    @property
    def in_flight(self) -> int:
        """Number of workflows that have not ended."""
        return self._engine.in_flight

    @property
    def peak_requests(self) -> int:
        """Maximum number of requests handled concurrently so far."""
        return self._server.peak

    @property
    def open_to_others(self) -> bool:
        """Whether the server is bound to a non-loopback address; False before the simulator runs."""
        return self._server.open_to_others

    @property
    def records(self) -> list[Record]:
        """All records, oldest first."""
        return list(self._engine.history)

    @property
    def requests(self) -> list[RequestSeen]:
        """Requests to the service and their responses."""
        return [record for record in self._engine.history if isinstance(record, RequestSeen)]

    @property
    def deliveries(self) -> list[CallbackAttempt]:
        """All attempts to deliver a callback, each with the receiver's response."""
        return [record for record in self._engine.history if isinstance(record, CallbackAttempt)]

    def sent_channels(self, dispatch_uuid: str | None = None) -> list[str]:
        """Return the channels of the steps sent, in order, of one workflow or of all."""
        return [
            record.channel
            for record in self._engine.history
            if isinstance(record, StepSent) and dispatch_uuid in (None, record.dispatch_uuid)
        ]

    def outcome(self, dispatch_uuid: str) -> str | None:
        """Return the outcome of a workflow: `completed`, `error`, or None while it runs.

        Raises:
            KeyError: No workflow in memory has this uuid.
        """
        return self._engine.runs[dispatch_uuid].failover.outcome

    def transcript(self) -> bytes:
        """Return all records as JSON lines; equal seeds and equal requests give equal bytes."""
        return self._engine.history.transcript()
