"""`PacedSends`: a client's own sends share the rates of the campaigns of the process."""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar

import anyio
import msgspec

from nexmo_dispatch_async.bulk.sending.governor import Governor, Lane
from nexmo_dispatch_async.checks import checks
from nexmo_dispatch_async.exceptions import APIError, NotSentError, RateLimitError
from nexmo_dispatch_async.middleware import Attempt, Middleware
from nexmo_dispatch_async.quota import quota_of
from nexmo_dispatch_async.sansio import Request, Response, decipher_dispatch, decipher_response

__all__ = ["PacedSends", "in_campaign"]

#: Whether the sender of a campaign makes the request: it has asked the governor before its claim.
in_campaign: ContextVar[bool] = ContextVar("in_campaign", default=False)

# Seconds until a waiting send asks again: a response to another send may have ended the pause.
_ASK_AGAIN = 0.05


class _Sender(msgspec.Struct):
    type: str = ""
    number: str = ""
    id: str = ""


class _Step(msgspec.Struct):
    from_: _Sender = msgspec.field(default_factory=_Sender, name="from")


class _Body(msgspec.Struct):
    workflow: list[_Step] = msgspec.field(default_factory=list[_Step])


_decode = msgspec.json.Decoder(_Body).decode


class PacedSends(Middleware):
    """Middleware that lets single sends and `send_many()` wait for their turn beside campaigns.

    Without it a campaign keeps to the rate that the service allows, and a one-time password beside it takes
    from the same quota unseen. With it every send counts, and each learns from the responses to the others.
    Sends of a campaign over the same client are counted once.

        client = DispatchClient(..., middleware=[PacedSends(shared_governor())])

    Args:
        governor: That of the campaigns.
        longest: Seconds that a send may wait for its turn. A longer wait, such as for a daily quota, raises
            at once.
        wall_clock: Gives epoch seconds, for dates in the headers of responses.

    Raises:
        ConfigurationError: *longest* is negative or not a number.
    """

    def __init__(
        self, governor: Governor, *, longest: float = 30.0, wall_clock: Callable[[], float] = time.time
    ) -> None:
        checks.seconds("longest", longest)
        self._governor = governor
        self._longest = longest
        self._wall = wall_clock
        self._queues: dict[str, anyio.Lock] = {}

    async def attempt(self, attempt: Attempt, proceed: Callable[[Attempt], Awaitable[Response]]) -> Response:
        """Wait for the turn of a send, and report its response to the governor.

        Raises:
            RateLimitError: The turn would come later than *longest* from now; nothing was sent.
        """
        request = attempt.request
        if attempt.purpose != "call" or in_campaign.get() or (bucket := _bucket_of(request)) is None:
            return await proceed(attempt)
        lane = self._governor.lane(f"{request.url} {request.headers.get('ApplicationId', '')}", bucket)
        await self._turn(lane, bucket, request)
        sent = anyio.current_time()
        try:
            response = await proceed(attempt)
        except NotSentError:
            lane.unreachable(sent, anyio.current_time())
            raise
        except BaseException:
            lane.lost()
            raise
        self._learn(lane, sent, request, response)
        return response

    async def _turn(self, lane: Lane, bucket: str, request: Request) -> None:
        """Return when the send may leave; sends of one bucket in the order in which they came."""
        end = anyio.current_time() + self._longest
        async with self._queues.setdefault(bucket, anyio.Lock()):
            while not lane.ask(now := anyio.current_time(), 1):
                held = lane.held(now)
                if now >= end or (now + self._longest < held.until and held.kind == "quota"):
                    wait = None if held.until == math.inf else held.until - now
                    text = f"{request.summary}: not sent, since {held.meter} holds it ({held.kind})"
                    raise RateLimitError(text, request=request.summary, phase="connect", retry_after=wait)
                await anyio.sleep(max(min(held.until - now, _ASK_AGAIN, end - now), 0.0))

    def _learn(self, lane: Lane, sent: float, request: Request, response: Response) -> None:
        now, at = anyio.current_time(), self._wall()
        try:
            decipher_response(response, decipher_dispatch, request=request, now=at)
        except RateLimitError as error:
            lane.throttled(sent, now, error)
        except APIError:
            lane.lost()  # it says nothing of the rate
        else:
            lane.accepted(now, quota_of(response.headers, now=at))


def _bucket_of(request: Request) -> str | None:
    """Return channel and sender of the first step, as campaigns count; `None` when it is no send."""
    if request.method != "POST" or request.body is None:
        return None
    try:
        steps = _decode(request.body).workflow
    except ValueError:
        return None
    return f"{steps[0].from_.type}|{steps[0].from_.number or steps[0].from_.id}" if steps else None
