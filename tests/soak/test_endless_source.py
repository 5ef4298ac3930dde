"""`send_many` over an endless source for as long as it takes to see a leak; run by `make soak`."""

import asyncio
import gc
import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path

import pytest

from nexmo_dispatch_async import DispatchClient, KpnOAuth, Workflow, sms

SENDS = 200_000
LIMIT = 64
ALLOWED_GROWTH = 4 * 1024 * 1024  # bytes: what an allocator may keep for itself, 20 bytes a send

SERVER = Path(__file__).parent.parent / "support" / "counting_server.py"


@contextmanager
def counting_server() -> Iterator[str]:
    process = subprocess.Popen(
        [sys.executable, str(SERVER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
    finally:
        process.communicate(timeout=10)


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * 4096


def endless() -> Iterator[Workflow]:
    number = 0
    while True:
        number += 1
        yield Workflow.failover(
            sms.text(f"Message {number}", from_="3197010299901", to=f"4477009{number % 10**5:05}")
        )


@pytest.mark.timeout(600)
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads resident memory from Linux's /proc")
async def test_memory_is_flat_over_200_000_sends() -> None:
    """An endless source costs no memory, holds at most `limit` in flight, and leaves nothing running."""
    with counting_server() as url:
        auth = KpnOAuth("id", "secret", token_url=f"{url}/oauth/accesstoken")
        async with DispatchClient(auth=auth, application_id="app", base_url=url) as client:
            sent, early, tasks_before = 0, 0, len(asyncio.all_tasks())
            async with aclosing(client.send_many(endless(), limit=LIMIT)) as outcomes:
                async for outcome in outcomes:
                    assert outcome.outcome == "sent"
                    sent += 1
                    if sent == SENDS // 10:
                        gc.collect()
                        early = resident_bytes()
                    if sent == SENDS:
                        break
            gc.collect()
            late, tasks_after = resident_bytes(), len(asyncio.all_tasks())
        answer = urllib.request.urlopen(f"{url}/counts")  # noqa: ASYNC210,S310 - our own server, after the run
        counts = json.loads(answer.read())

    print(f"{sent} sends, {counts}, resident memory {early / 2**20:.1f} -> {late / 2**20:.1f} MiB")
    assert late - early < ALLOWED_GROWTH
    assert counts["max_in_flight"] <= LIMIT
    assert SENDS <= counts["posts"] <= SENDS + LIMIT
    assert counts["tokens"] == 1
    assert tasks_after == tasks_before
