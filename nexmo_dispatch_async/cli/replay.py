"""`nexmo-dispatch replay`: post recorded callbacks to a receiver and sum up the answers.

It makes up no callbacks: they come from a recording or from files.
"""

import errno
import random
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import anyio

from nexmo_dispatch_async.cli import screen
from nexmo_dispatch_async.cli.recording import Recorded, RecordingError, read
from nexmo_dispatch_async.urls import plain_host
from nexmo_dispatch_webhooks.testing import WebhookClient

__all__ = ["Plan", "run"]


@dataclass(frozen=True, slots=True)
class Plan:
    """How to post: in which order, how often, how fast."""

    #: Times faster than recorded; None for as fast as the answers come.
    speed: float | None = None
    shuffle: bool = False
    duplicate: bool = False
    #: For the order of `shuffle`.
    seed: int = 0

    def schedule(self, recorded: list[Recorded]) -> list[tuple[float, Recorded]]:
        """What to post when, in seconds from the start."""
        times = [item.at for item in recorded if item.at is not None]
        start = min(times, default=0.0)
        speed = self.speed
        due = [0.0 if item.at is None or speed is None else (item.at - start) / speed for item in recorded]
        posts = [post for post in zip(due, recorded, strict=True) for _ in range(2 if self.duplicate else 1)]
        if self.shuffle:  # the moments stay, the callbacks change places
            bodies = [item for _, item in posts]
            random.Random(self.seed).shuffle(bodies)  # noqa: S311 - an order of tests protects nothing
            posts = [(when, item) for (when, _), item in zip(posts, bodies, strict=True)]
        return sorted(posts, key=lambda post: post[0])


async def run(source: Path, to: str, secrets: Mapping[str, str] | None, plan: Plan) -> int:
    """Post everything; return 0 only if every answer was 2xx."""
    try:
        posts = plan.schedule(read(source))
    except RecordingError as error:
        screen.show(str(error), error=True)
        return 1
    if host := plain_host(to):
        note = f"note: the callbacks travel unencrypted to {host}, with what customers wrote in them"
        screen.show(note, error=True)
    answers: Counter[str] = Counter()
    failed = 0
    started = time.monotonic()
    async with WebhookClient(to, secrets=secrets) as client:
        for due, item in posts:
            await anyio.sleep(max(0.0, started + due - time.monotonic()))
            try:
                answer = await client.post(item.body, path=item.path)
            except (aiohttp.ClientError, TimeoutError) as error:
                outcome, good = f"no answer ({_reason(error)})", False
            else:
                good = 200 <= answer.status < 300
                words = " ".join(answer.text.split())[:80]
                outcome = f"{answer.status} ({words})" if words and not good else f"{answer.status}"
            answers[outcome] += 1
            failed += not good
    seconds = max(time.monotonic() - started, 0.001)
    unsigned = "" if secrets else "unsigned "
    screen.show(
        f"posted {len(posts)} {unsigned}callbacks in {seconds:.1f} s, {len(posts) / seconds:.0f} a second"
    )
    for outcome, count in sorted(answers.items()):
        screen.show(f"  {outcome}: {count}")
    return 1 if failed else 0


def _reason(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorError) and error.errno == errno.ECONNREFUSED:
        return f"{error.host} port {error.port} refused the connection: does the receiver listen there?"
    return type(error).__name__
