"""`nexmo-dispatch replay`: post recorded callbacks to a receiver and summarise the responses."""

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
from nexmo_dispatch_webhooks.signature import Secret
from nexmo_dispatch_webhooks.testing import WebhookClient

__all__ = ["Plan", "no_answer", "run"]


@dataclass(frozen=True, slots=True)
class Plan:
    """Order, repetition and speed of the posts."""

    #: Factor of the recorded speed; None posts each callback after the response to the one before.
    speed: float | None = None
    shuffle: bool = False
    duplicate: bool = False
    #: Seed of the order of `shuffle`.
    seed: int = 0

    def schedule(self, recorded: list[Recorded]) -> list[tuple[float, Recorded]]:
        """Return the callbacks with the time of each in seconds from the start."""
        times = [item.at for item in recorded if item.at is not None]
        start = min(times, default=0.0)
        speed = self.speed
        due = [0.0 if item.at is None or speed is None else (item.at - start) / speed for item in recorded]
        posts = [post for post in zip(due, recorded, strict=True) for _ in range(2 if self.duplicate else 1)]
        if self.shuffle:  # the times stay, the callbacks are permuted
            bodies = [item for _, item in posts]
            random.Random(self.seed).shuffle(bodies)  # noqa: S311 - an order of tests protects nothing
            posts = [(when, item) for (when, _), item in zip(posts, bodies, strict=True)]
        return sorted(posts, key=lambda post: post[0])


async def run(
    source: Path, to: str, secrets: Mapping[str, Secret] | None, plan: Plan, json: bool = False
) -> int:
    """Post the callbacks; return 0 only if every response was 2xx."""
    try:
        posts = plan.schedule(read(source))
    except RecordingError as error:
        screen.show(str(error), error=True)
        return 1
    if host := plain_host(to):
        note = f"note: the callbacks, with the texts of customers, are sent unencrypted to {host}"
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
                outcome, good = f"no answer ({no_answer(error)})", False
            else:
                good = 200 <= answer.status < 300
                words = " ".join(answer.text.split())[:80]
                outcome = f"{answer.status} ({words})" if words and not good else f"{answer.status}"
            answers[outcome] += 1
            failed += not good
    seconds = max(time.monotonic() - started, 0.001)
    if json:
        screen.show_json(
            {"posted": len(posts), "signed": bool(secrets), "seconds": seconds, "answers": answers}
        )
        return 1 if failed else 0
    unsigned = "" if secrets else "unsigned "
    screen.show(
        f"posted {len(posts)} {unsigned}callbacks in {seconds:.1f} s, {len(posts) / seconds:.0f} a second"
    )
    for outcome, count in sorted(answers.items()):
        screen.show(f"  {outcome}: {count}")
    return 1 if failed else 0


def no_answer(error: Exception) -> str:
    """Return why a receiver gave no answer, without its URL."""
    if isinstance(error, aiohttp.ClientConnectorError) and error.errno == errno.ECONNREFUSED:
        return f"{error.host} port {error.port} refused the connection: does the receiver listen there?"
    return type(error).__name__
