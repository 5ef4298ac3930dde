"""What a simulator tells about itself: counts, records, outcomes, the transcript.

It changes nothing; it is a part of `Simulator`, apart from what moves and serves.
"""

from __future__ import annotations

from collections import Counter

from nexmo_dispatch_async.simulator.api.server import Server
from nexmo_dispatch_async.simulator.api.service import Service
from nexmo_dispatch_async.simulator.engine import Engine
from nexmo_dispatch_async.simulator.world.history import CallbackAttempt, Record, RequestSeen, StepSent

__all__ = ["Observed"]


class Observed:
    """The looking half of a `Simulator`."""

    _engine: Engine
    _service: Service
    _server: Server

    @property
    def counts(self) -> Counter[str]:
        """How many requests arrived, by route: `counts["POST /dispatch"]`, `counts["GET /applications"]`."""
        return self._service.counts

    @property
    def tokens_issued(self) -> int:
        """How many access tokens were handed out."""
        return self._service.gateway.tokens.issued

    @property
    def accepted(self) -> int:
        """How many workflows were accepted."""
        return self._engine.accepted

    @property
    def in_flight(self) -> int:
        """How many workflows have not come to their end."""
        return self._engine.in_flight

    @property
    def peak_requests(self) -> int:
        """The most requests that were being answered at once."""
        return self._server.peak

    @property
    def open_to_others(self) -> bool:
        """Whether it is bound to an address that other machines may reach; False before it runs."""
        return self._server.open_to_others

    @property
    def records(self) -> list[Record]:
        """Everything that happened, oldest first."""
        return list(self._engine.history)

    @property
    def requests(self) -> list[RequestSeen]:
        """The requests and their answers."""
        return [record for record in self._engine.history if isinstance(record, RequestSeen)]

    @property
    def deliveries(self) -> list[CallbackAttempt]:
        """Every attempt to deliver a callback and what the receiver answered."""
        return [record for record in self._engine.history if isinstance(record, CallbackAttempt)]

    def sent_channels(self, dispatch_uuid: str | None = None) -> list[str]:
        """Return the channels that steps were sent on, in order; of one workflow or of all."""
        return [
            record.channel
            for record in self._engine.history
            if isinstance(record, StepSent) and dispatch_uuid in (None, record.dispatch_uuid)
        ]

    def outcome(self, dispatch_uuid: str) -> str | None:
        """Return `completed` or `error`, None while the workflow runs.

        Raises:
            KeyError: No workflow in memory has this uuid.
        """
        return self._engine.runs[dispatch_uuid].failover.outcome

    def transcript(self) -> bytes:
        """Return everything observable as JSON lines: one seed and the same requests give the same bytes."""
        return self._engine.history.transcript()
